//! What happens to a log while one thread is in the midst of writing it.

use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{
    Directory, DiskEngine, Files, Fsync, Identity, Listed, Mode, OpenFile, Room,
};
use rustka_storage::testing::append;
use rustka_storage::testing::disk::{Failing, SimulatedDisk};
use rustka_storage::waiters::Waiter;
use rustka_storage::{Engine, Fate, Memory, Partition, PartitionName, Safety};
use rustka_wire::Uuid;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const ROOT: &str = "/data";
const NOW: Now = Now::new(0, 1);
const FIRST: Uuid = Uuid([1; 16]);
const SECOND: Uuid = Uuid([2; 16]);
/// Whoever is held up by nothing has done a little work by then. A slow machine makes the test find less, and not fail.
const A_WHILE: Duration = Duration::from_millis(500);

/// What happens once, and before what.
type Meanwhile = Arc<Mutex<Option<(Before, Box<dyn FnOnce() + Send>)>>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Write,
    Folder,
}

/// A disk that has something happen on another thread before it does something.
struct Beside {
    disk: SimulatedDisk,
    meanwhile: Meanwhile,
}

struct BesideFile(Arc<dyn OpenFile>, Meanwhile);

fn happens(meanwhile: &Meanwhile, before: Before) {
    let mut meanwhile = meanwhile.lock().expect("no panic");
    let due = meanwhile.take_if(|(one, _)| *one == before);
    drop(meanwhile);
    if let Some((_, happens)) = due {
        std::thread::spawn(happens).join().expect("no panic");
    }
}

impl OpenFile for BesideFile {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(into, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        happens(&self.1, Before::Write);
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

impl Files for Beside {
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        self.disk.list(folder)
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        happens(&self.meanwhile, Before::Folder);
        self.disk.create_folder(folder)
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn OpenFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(BesideFile(file, self.meanwhile.clone())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.remove_folder(folder)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn room(&self, folder: &Path) -> io::Result<Room> {
        self.disk.room(folder)
    }
}

struct World {
    disk: SimulatedDisk,
    meanwhile: Meanwhile,
    engine: Arc<DiskEngine>,
}

impl World {
    fn start() -> World {
        let disk = SimulatedDisk::new(Path::new(ROOT));
        let meanwhile = Meanwhile::default();
        let files = Beside {
            disk: disk.clone(),
            meanwhile: meanwhile.clone(),
        };
        let owner = Identity {
            node_id: 1,
            cluster_id: "simulated".to_owned(),
            directory_id: Uuid([3; 16]),
        };
        let directory = Directory::open_in(Arc::new(files), Path::new(ROOT), &owner);
        let directory = directory.expect("a directory");
        let engine = DiskEngine::by_hand(directory, Memory::new(64 << 20), Fsync::Always);
        World {
            disk,
            meanwhile,
            engine: Arc::new(engine.expect("an engine")),
        }
    }

    /// Has this happen once before the next of those.
    fn before(&self, before: Before, happens: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().expect("no panic") = Some((before, Box::new(happens)));
    }
}

fn open(engine: &DiskEngine, topic_id: Uuid) -> Arc<Partition> {
    let name = PartitionName {
        topic: "t",
        topic_id,
        index: 0,
    };
    Partition::open(engine, &name, false, NOW)
}

fn put(partition: &Partition) -> i64 {
    let batch = BatchBuilder::new().record(&NewRecord::default());
    let appended = append(partition, batch, Origin::Client, NOW);
    appended.expect("an append").base_offset + 1
}

/// What was being written while a sync failed had the same file synced once more. The system says that all is well then,
/// whatever it could not write the first time.
#[test]
fn what_is_written_while_a_sync_fails_has_none_of_its_own() {
    let world = World::start();
    let (disk, engine) = (world.disk.clone(), world.engine.clone());
    let partition = open(&engine, FIRST);
    put(&partition);
    assert!(engine.work_one(), "it is written, and its sync is due");
    let end = put(&partition);
    partition.await_write(end, Safety::Written, &Waiter::new());
    world.before(Before::Write, move || {
        disk.fail(Failing::At(disk.operations()));
        assert!(engine.work_one(), "the sync");
        disk.fail(Failing::Never);
    });
    assert!(world.engine.work_one(), "the write");
    assert_eq!(partition.fate(1), Fate::Failed);
    assert_eq!(partition.fate(end), Fate::Failed);
    let failed = world.disk.operations();
    world.engine.work();
    let later = (failed..world.disk.operations()).map(|number| world.disk.operation(number));
    let is_sync = |what: &String| what.starts_with("sync ") && what.contains(".log");
    let synced: Vec<String> = later.filter(is_sync).collect();
    assert!(synced.is_empty(), "{synced:?}");
}

/// A topic was deleted and made anew while the disk still began the first one's log: that went on in the folder of the second
/// one, whose records were not there any more after a start.
#[test]
fn a_log_that_is_slow_to_begin_does_not_go_on_in_the_folder_of_the_next_of_its_name() {
    let world = World::start();
    let old = open(&world.engine, FIRST);
    put(&old);
    let (tell_new, new) = mpsc::channel();
    let engine = world.engine.clone();
    world.before(Before::Folder, move || {
        old.delete();
        let new = open(&engine, SECOND);
        put(&new);
        let (tell, told) = mpsc::channel();
        let working = std::thread::spawn(move || {
            while engine.work_one() {}
            // Nobody listens any more where it was held up.
            let _told = tell.send(());
        });
        let _held_up = told.recv_timeout(A_WHILE);
        tell_new.send((new, working)).expect("the test waits");
    });
    assert!(world.engine.work_one(), "the first one begins");
    let (new, working) = new.recv().expect("it happened");
    working.join().expect("no panic");
    world.engine.work();
    assert_eq!(new.fate(1), Fate::Durable);
    assert_eq!(put(&new), 2);
    world.engine.work();
    world.engine.close();
    let engine = world.disk.start(Path::new(ROOT), Fsync::Always);
    let again = open(&engine.expect("an engine"), SECOND);
    assert_eq!(again.offsets().log_end, 2);
    let listed = world.disk.list(Path::new(ROOT)).expect("a folder");
    let names: Vec<_> = listed.into_iter().map(|entry| entry.name).collect();
    assert!(
        !names.iter().any(|name| name.ends_with("-stray")),
        "{names:?}"
    );
}
