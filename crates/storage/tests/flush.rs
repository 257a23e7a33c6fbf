//! `flush.messages` and `flush.ms` of a topic, where the broker as a whole syncs later or never.

use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::config::{BrokerConfig, Overrides, Scope, SharedConfig, TopicConfig};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{DiskEngine, Fsync};
use rustka_storage::testing::append;
use rustka_storage::testing::disk::{Loss, SimulatedDisk};
use rustka_storage::{Engine, Partition, PartitionName};
use rustka_wire::Uuid;
use std::path::Path;
use std::sync::Arc;

const NAME: PartitionName<'_> = PartitionName {
    topic: "t",
    topic_id: Uuid([7; 16]),
    index: 0,
};

struct World {
    disk: SimulatedDisk,
    engine: DiskEngine,
    partition: Arc<Partition>,
}

fn start(disk: &SimulatedDisk, fsync: Fsync) -> DiskEngine {
    disk.start(Path::new("/data"), fsync).expect("an engine")
}

impl World {
    fn with(fsync: Fsync, configs: &[(&str, &str)]) -> World {
        let disk = SimulatedDisk::new(Path::new("/data"));
        let engine = start(&disk, fsync);
        let partition = Partition::open(&engine, &NAME, false, Now::new(0, 1));
        let broker = BrokerConfig::new([], false).expect("no values");
        let pairs = configs.iter().map(|(name, value)| (*name, Some(*value)));
        let overrides = Overrides::parse(Scope::Topic, pairs).expect("valid values");
        let config = TopicConfig::resolve(&broker, &overrides);
        partition.obey(&Arc::new(SharedConfig::new(Arc::new(config))));
        World {
            disk,
            engine,
            partition,
        }
    }

    /// Appends a record and has it written.
    fn append(&self) {
        let batch = BatchBuilder::new().record(&NewRecord::default());
        let appended = append(&self.partition, batch, Origin::Client, Now::new(0, 1));
        appended.expect("an append");
        self.engine.write_all();
    }

    /// How many records a power cut would leave.
    fn kept(&self) -> i64 {
        let disk = self
            .disk
            .after_crash(self.disk.operations(), Loss::Everything);
        let engine = start(&disk, Fsync::Never);
        let partition = Partition::open(&engine, &NAME, false, Now::new(0, 1));
        partition.offsets().log_end
    }
}

#[test]
fn so_many_records_are_synced_before_they_are_seen_where_nothing_else_is() {
    let world = World::with(Fsync::Never, &[("flush.messages", "3")]);
    for end in 1..=2 {
        world.append();
        assert_eq!(world.partition.offsets().high_watermark, end);
        world.engine.work();
        assert_eq!(world.kept(), 0);
    }
    world.append();
    assert_eq!(world.partition.offsets().high_watermark, 2, "not yet");
    world.engine.work();
    assert_eq!(world.partition.offsets().high_watermark, 3);
    assert_eq!(world.kept(), 3);
    world.append();
    world.engine.work();
    assert_eq!(world.kept(), 3);
}

#[test]
fn after_so_long_everything_is_synced_and_where_nobody_says_so_nothing() {
    for (configs, kept) in [(&[("flush.ms", "500")][..], 2), (&[], 0)] {
        for fsync in [Fsync::Never, Fsync::Interval(3_600_000)] {
            let world = World::with(fsync, configs);
            // The first look of an interval is at once.
            world.engine.tick(Now::new(1, 1));
            world.engine.work();
            world.append();
            world.append();
            world.engine.tick(Now::new(1_000, 1_000));
            world.engine.work();
            assert_eq!(world.kept(), 0, "{fsync:?} {configs:?}");
            world.engine.tick(Now::new(1_500, 1_500));
            world.engine.work();
            assert_eq!(world.kept(), kept, "{fsync:?} {configs:?}");
        }
    }
}
