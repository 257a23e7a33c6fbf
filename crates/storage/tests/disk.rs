//! What only the engine of files promises: few open files, copies that may be forgotten, a volume that may be full.

#[path = "files/counting.rs"]
mod counting;

use counting::Counting;
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{Directory, DiskEngine, Fsync, Identity};
use rustka_storage::testing::{self, Folder};
use rustka_storage::{Engine, Memory, Partition};
use rustka_wire::Uuid;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const NOW: Now = Now::new(0, 1_000);

struct World {
    _folder: Folder,
    files: Counting,
    engine: DiskEngine,
}

impl World {
    fn with(memory_limit: usize) -> World {
        let folder = Folder::made("disk");
        let files = Counting::default();
        files.has_free(1 << 39);
        let owner = Identity {
            node_id: 1,
            cluster_id: "disk".to_owned(),
            directory_id: Uuid([3; 16]),
        };
        let directory =
            Directory::open_in(Arc::new(files.clone()), &folder.0, &owner).expect("a directory");
        let memory = Memory::new(memory_limit);
        let engine = DiskEngine::by_hand(directory, memory, Fsync::Always).expect("an engine");
        World {
            _folder: folder,
            files,
            engine,
        }
    }

    fn partition(&self, index: i32) -> Arc<Partition> {
        Partition::new(&self.engine, Uuid([7; 16]), index, false)
    }
}

fn append(partition: &Partition, value_bytes: usize) -> i64 {
    let record = NewRecord {
        timestamp: 1_000,
        value: Some(&vec![b'x'; value_bytes]),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().record(&record);
    let appended = testing::append(partition, batch, Origin::Client, NOW);
    appended.expect("an append").base_offset
}

/// Every batch of 400 partitions was written, and each of them kept three files open: the system refused the next one.
#[test]
fn partitions_by_the_hundred_have_few_files_open() {
    let world = World::with(64 << 20);
    let partitions: Vec<_> = (0..400).map(|index| world.partition(index)).collect();
    for _ in 0..2 {
        for partition in &partitions {
            append(partition, 100);
            world.engine.work();
        }
        let open = world.files.open.load(Relaxed);
        assert!(open <= 200, "{open} files are open");
    }
    for partition in &partitions {
        assert_eq!(partition.offsets().high_watermark, 2);
    }
}

#[test]
fn what_memory_has_no_room_for_is_read_from_files() {
    let world = World::with(1 << 20);
    let partition = world.partition(0);
    for offset in 0..400 {
        world.engine.make_room().expect("copies may go");
        assert_eq!(append(&partition, 10_000), offset);
        world.engine.work();
    }
    assert!(world.engine.memory().pool.bytes_in_use() <= 2 << 20);
    assert_eq!(partition.offsets().log_start, 0, "nothing was lost");
    for offset in [0, 1, 200, 398, 399] {
        let read = partition.read(offset, i64::MAX, 0, true).expect("a read");
        let header = BatchHeader::parse(&read[0]).expect("a batch");
        assert_eq!((read.len(), header.base_offset), (1, offset));
    }
    let mut seen = 0;
    let all = partition.each_batch(0, 400, |_| {
        seen += 1;
        true
    });
    assert_eq!((all, seen), (Ok(()), 400));
}

#[test]
fn a_full_volume_refuses_before_anything_is_harmed_and_comes_back_by_itself() {
    let world = World::with(64 << 20);
    let partition = world.partition(0);
    world.engine.make_room().expect("there is room");
    append(&partition, 100);
    world.files.has_free(1_000);
    let look = || {
        world.engine.tick(NOW);
        world.engine.work();
    };
    look();
    let refused = world.engine.make_room().expect_err("it is full");
    assert_eq!(refused.code, ErrorCode::KafkaStorageError);
    let message = refused.message.expect("a sentence");
    assert!(message.contains("1000 bytes are left"), "{message}");
    assert!(
        partition
            .read(0, 1, 0, true)
            .is_ok_and(|read| read.len() == 1)
    );
    // Coordinators write on.
    assert_eq!(append(&partition, 100), 1);
    world.files.has_free(1 << 30);
    look();
    world.engine.make_room().expect("there is room again");
    assert_eq!(append(&partition, 100), 2);
    world.engine.work();
    assert_eq!(partition.offsets().high_watermark, 3);
}
