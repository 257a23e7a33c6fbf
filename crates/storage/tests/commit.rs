//! Group commit: what comes while a sync is under way has the next one in common and wakes nobody, unless somebody waits
//! for no more than that it is written.

use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{DiskEngine, Fsync};
use rustka_storage::testing::append;
use rustka_storage::testing::disk::{Loss, SimulatedDisk};
use rustka_storage::waiters::Waiter;
use rustka_storage::{Engine, Fate, Partition, PartitionName, Safety};
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

struct World {
    disk: SimulatedDisk,
    engine: DiskEngine,
    partition: Arc<Partition>,
}

impl World {
    fn new() -> World {
        let disk = SimulatedDisk::new(Path::new(ROOT));
        let engine = disk.start(Path::new(ROOT), Fsync::Always);
        let engine = engine.expect("an engine");
        let partition = Partition::open(&engine, &NAME, false, NOW);
        World {
            disk,
            engine,
            partition,
        }
    }

    /// A partition with a record that is written, and whose sync is due.
    fn with_a_sync_due() -> World {
        let world = World::new();
        world.append(10);
        assert!(world.engine.work_one());
        assert_eq!(world.fates(1), (Fate::Durable, Fate::Pending));
        world
    }

    /// Appends a record; where the log ends.
    fn append(&self, bytes: usize) -> i64 {
        let value = vec![7; bytes];
        let batch = BatchBuilder::new().record(&NewRecord {
            value: Some(&value),
            ..NewRecord::default()
        });
        let appended = append(&self.partition, batch, Origin::Client, NOW);
        appended.expect("an append").base_offset + 1
    }

    /// What is known of everything below this offset: whether it is written, and whether it is durable.
    fn fates(&self, position: i64) -> (Fate, Fate) {
        let fate = |safety| self.partition.fate_of(position, safety);
        (fate(Safety::Written), fate(Safety::Durable))
    }

    /// Where the log ends in the next life, after a kill that leaves what the system has.
    fn end_after_kill(&self) -> i64 {
        let disk = self.disk.after_crash(self.disk.operations(), Loss::Nothing);
        let engine = disk.start(Path::new(ROOT), Fsync::Always);
        let partition = Partition::open(&engine.expect("an engine"), &NAME, false, NOW);
        partition.offsets().log_end
    }
}

#[test]
fn what_comes_before_a_sync_begins_has_it_in_common() {
    let world = World::with_a_sync_due();
    let syncs = world.engine.syncs();
    for _ in 0..3 {
        world.append(10);
    }
    assert_eq!(world.fates(4).0, Fate::Pending, "nobody waits for it");
    assert!(world.engine.work_one(), "the sync");
    assert_eq!(world.fates(4), (Fate::Durable, Fate::Durable));
    assert_eq!(world.engine.syncs(), syncs + 1);
    assert!(!world.engine.work_one(), "that was all");
}

#[test]
fn who_waits_for_no_more_than_written_does_not_wait_for_a_sync() {
    let world = World::with_a_sync_due();
    let end = world.append(10);
    let waiter = Waiter::new();
    world.partition.await_write(end, Safety::Written, &waiter);
    assert!(world.engine.work_one());
    assert_eq!(world.fates(end), (Fate::Durable, Fate::Pending));
    assert_eq!(world.end_after_kill(), end);
    // The next one is nobody's concern again.
    let next = world.append(10);
    let syncs = world.engine.syncs();
    assert!(world.engine.work_one());
    assert_eq!(world.engine.syncs(), syncs + 1);
    assert_eq!(world.fates(next), (Fate::Durable, Fate::Durable));
}

#[test]
fn a_wait_for_a_batch_that_is_on_its_way_already_queues_nothing() {
    let world = World::new();
    let end = world.append(10);
    for _ in 0..2 {
        world
            .partition
            .await_write(end, Safety::Written, &Waiter::new());
    }
    assert!(world.engine.work_one(), "the write");
    assert!(world.engine.work_one(), "the sync");
    assert!(!world.engine.work_one());
}

#[test]
fn more_than_a_little_is_written_beside_a_sync() {
    let world = World::with_a_sync_due();
    let mut end = 0;
    for _ in 0..5 {
        end = world.append(300_000);
    }
    assert!(world.engine.work_one());
    assert_eq!(world.fates(end), (Fate::Durable, Fate::Pending));
}

#[test]
fn a_stop_while_something_is_held_back_leaves_all_of_it() {
    let world = World::with_a_sync_due();
    let end = world.append(10);
    world.engine.close();
    let disk = world
        .disk
        .after_crash(world.disk.operations(), Loss::Everything);
    let engine = disk.start(Path::new(ROOT), Fsync::Always);
    let partition = Partition::open(&engine.expect("an engine"), &NAME, false, NOW);
    assert_eq!(partition.offsets().high_watermark, end);
}

#[test]
fn a_partition_that_is_deleted_while_something_is_held_back_leaves_nothing() {
    let world = World::with_a_sync_due();
    world.append(10);
    world.partition.delete();
    world.engine.work();
    let again = Partition::open(&world.engine, &NAME, false, NOW);
    assert_eq!(again.offsets().log_end, 0);
}
