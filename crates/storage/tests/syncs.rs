//! A sync that failed is not believed later, wherever it was: what the system goes on showing after it may be gone when
//! the power is. What is promised in the next life is on the disk.

use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::config::{BrokerConfig, Overrides, Scope, SharedConfig, TopicConfig};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{DiskEngine, Fsync};
use rustka_storage::testing::append;
use rustka_storage::testing::disk::{Failing, Loss, SimulatedDisk};
use rustka_storage::{Partition, PartitionName};
use rustka_wire::Uuid;
use std::path::Path;
use std::sync::Arc;

const ROOT: &str = "/data";
const NAME: PartitionName<'_> = PartitionName {
    topic: "t",
    topic_id: Uuid([7; 16]),
    index: 0,
};
const NOW: Now = Now::new(0, 1);

struct Life {
    engine: DiskEngine,
    partition: Arc<Partition>,
}

impl Life {
    fn begin(disk: &SimulatedDisk, fsync: Fsync) -> Life {
        Life::try_begin(disk, fsync).expect("a start")
    }

    fn try_begin(disk: &SimulatedDisk, fsync: Fsync) -> Result<Life, String> {
        let engine = disk.start(Path::new(ROOT), fsync)?;
        let partition = Partition::open(&engine, &NAME, false, NOW);
        Ok(Life { engine, partition })
    }

    fn put(&self, key: u64) {
        let batch = BatchBuilder::new().record(&NewRecord {
            key: Some(&key.to_be_bytes()),
            value: Some(&[7; 700]),
            ..NewRecord::default()
        });
        append(&self.partition, batch, Origin::Client, NOW).expect("an append");
    }

    /// Whether all that it has says it is durable is there once the power has gone.
    fn keeps_its_promise(&self, disk: &SimulatedDisk) -> bool {
        let promised = self.partition.offsets().high_watermark;
        let rest = disk.after_crash(disk.operations(), Loss::Everything);
        let next = Life::begin(&rest, Fsync::Always);
        let found = next.partition.usable_offsets();
        let is_whole = next.partition.each_batch(0, promised, |_| true).is_ok();
        is_whole && found.is_ok_and(|found| found.high_watermark >= promised)
    }
}

/// A disk on which an earlier life was killed before anything was synced.
fn with_unsynced_records() -> SimulatedDisk {
    let disk = SimulatedDisk::new(Path::new(ROOT));
    let life = Life::begin(&disk, Fsync::Never);
    for key in 0..8 {
        life.put(key);
    }
    life.engine.write_all();
    disk
}

#[test]
fn what_a_start_could_not_sync_is_written_again_by_the_next() {
    let mut failures = 0;
    for step in 0.. {
        let disk = with_unsynced_records();
        let at = disk.operations() + step;
        disk.fail(Failing::At(at));
        let first = Life::try_begin(&disk, Fsync::Always);
        disk.fail(Failing::Never);
        drop(first);
        if disk.operations() <= at {
            break;
        }
        failures += 1;
        let second = Life::begin(&disk, Fsync::Always);
        assert_eq!(second.partition.offsets().high_watermark, 8, "step {step}");
        let failed = disk.operation(at);
        assert!(second.keeps_its_promise(&disk), "step {step}: {failed}");
    }
    assert!(failures >= 2, "{failures}");
}

fn compacted() -> Arc<SharedConfig> {
    let broker = BrokerConfig::new([], false).expect("defaults");
    let configs = [("cleanup.policy", Some("compact"))];
    let overrides = Overrides::parse(Scope::Topic, configs).expect("valid");
    Arc::new(SharedConfig::new(Arc::new(TopicConfig::resolve(
        &broker, &overrides,
    ))))
}

#[test]
fn what_compaction_could_not_sync_is_not_believed_by_the_next_start() {
    let mut failures = 0;
    for step in 0.. {
        let disk = SimulatedDisk::new(Path::new(ROOT));
        let life = Life::begin(&disk, Fsync::Interval(1_000_000));
        life.partition.obey(&compacted());
        for key in 0..12 {
            life.put(key % 3);
            if key % 4 == 3 {
                life.partition.roll();
            }
        }
        life.engine.write_all();
        let at = disk.operations() + step;
        disk.fail(Failing::At(at));
        life.partition.give_up_compaction();
        if life.partition.wants_compaction(NOW) {
            life.partition.compact(NOW, 1);
        }
        life.engine.write_all();
        disk.fail(Failing::Never);
        drop(life);
        if disk.operations() <= at {
            break;
        }
        failures += 1;
        let second = Life::begin(&disk, Fsync::Always);
        let failed = disk.operation(at);
        assert!(second.keeps_its_promise(&disk), "step {step}: {failed}");
    }
    assert!(failures > 10, "{failures}");
}
