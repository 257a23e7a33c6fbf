//! What only the engine of files promises: few open files, copies that may be forgotten, a volume that may be full.

use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{
    Directory, DiskEngine, Files, Fsync, Identity, Listed, Mode, OpenFile, Room, SystemFiles,
};
use rustka_storage::testing::{self, Folder};
use rustka_storage::{Engine, Memory, Partition};
use rustka_wire::Uuid;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

const NOW: Now = Now::new(0, 1_000);

/// A file system that says how full it is, and counts what is open.
struct Volume {
    free_bytes: AtomicU64,
    open: Arc<AtomicUsize>,
}

struct Counted(Arc<dyn OpenFile>, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Relaxed);
    }
}

impl OpenFile for Counted {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(into, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(bytes, at)
    }
    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.0.cut(bytes)
    }
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

impl Files for Volume {
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        SystemFiles.list(folder)
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.create_folder(folder)
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn OpenFile>> {
        let file = SystemFiles.open(path, mode)?;
        self.open.fetch_add(1, Relaxed);
        Ok(Arc::new(Counted(file, self.open.clone())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemFiles.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemFiles.remove_file(path)
    }
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.remove_folder(folder)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.sync_folder(folder)
    }
    fn room(&self, _: &Path) -> io::Result<Room> {
        Ok(Room {
            total_bytes: 1 << 40,
            free_bytes: self.free_bytes.load(Relaxed),
        })
    }
}

struct World {
    _folder: Folder,
    volume: Arc<Volume>,
    engine: DiskEngine,
}

impl World {
    fn with(memory_limit: usize) -> World {
        let folder = Folder::made("disk");
        let volume = Arc::new(Volume {
            free_bytes: AtomicU64::new(1 << 39),
            open: Arc::default(),
        });
        let owner = Identity {
            node_id: 1,
            cluster_id: "disk".to_owned(),
            directory_id: Uuid([3; 16]),
        };
        let directory = Directory::open_in(volume.clone(), &folder.0, &owner).expect("a directory");
        let memory = Memory::new(memory_limit);
        let engine = DiskEngine::by_hand(directory, memory, Fsync::Always).expect("an engine");
        World {
            _folder: folder,
            volume,
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
        let open = world.volume.open.load(Relaxed);
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
    world.volume.free_bytes.store(1_000, Relaxed);
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
    world.volume.free_bytes.store(1 << 30, Relaxed);
    look();
    world.engine.make_room().expect("there is room again");
    assert_eq!(append(&partition, 100), 2);
    world.engine.work();
    assert_eq!(partition.offsets().high_watermark, 3);
}
