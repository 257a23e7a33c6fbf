//! Partitions that are there before they are opened: what is told of them, which come first, and what becomes of what
//! happens to them meanwhile.

use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::config::{BrokerConfig, Overrides, Scope, SharedConfig, TopicConfig};
use rustka_core::error::ErrorCode;
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{
    Directory, DiskEngine, Files, Fsync, Identity, Listed, Mode, OpenFile, Room,
};
use rustka_storage::testing::append;
use rustka_storage::testing::disk::{Loss, SimulatedDisk};
use rustka_storage::{Engine, Memory, Opener, Partition, PartitionName};
use rustka_wire::Uuid;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

const ROOT: &str = "/data";
const CLEAN: &str = "/data/.kafka_cleanshutdown";
const NOW: Now = Now::new(0, 1_000);
const FIRST: Uuid = Uuid([1; 16]);
const SECOND: Uuid = Uuid([2; 16]);
/// What takes longer does not come. Reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(topic: &str, topic_id: Uuid) -> PartitionName<'_> {
    PartitionName {
        topic,
        topic_id,
        index: 0,
    }
}

fn put(partition: &Partition) -> Result<i64, ErrorCode> {
    let batch = BatchBuilder::new().record(&NewRecord::default());
    let appended = append(partition, batch, Origin::Client, NOW);
    appended
        .map(|appended| appended.base_offset)
        .map_err(|refusal| refusal.code)
}

/// A disk with these topics of one partition each, and so many records in each; left in order.
fn written(topics: &[&str], records: i64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(Path::new(ROOT));
    let engine = disk.start(Path::new(ROOT), Fsync::Always);
    let engine = engine.expect("an engine");
    for topic in topics {
        let partition = Partition::open(&engine, &name(topic, FIRST), false, NOW);
        for offset in 0..records {
            assert_eq!(put(&partition), Ok(offset));
        }
        engine.work();
        assert!(partition.checkpoint());
    }
    engine.work();
    engine.close();
    disk
}

/// A storage that opens by hand.
struct Life {
    engine: Arc<DiskEngine>,
    opener: Opener,
}

impl Life {
    fn begin(disk: &SimulatedDisk) -> Life {
        let engine = disk.start(Path::new(ROOT), Fsync::Always);
        let engine = Arc::new(engine.expect("an engine"));
        let opener = Opener::new(engine.clone(), 0);
        Life { engine, opener }
    }

    fn open(&self, topic: &str, topic_id: Uuid) -> Arc<Partition> {
        self.opener.open(&name(topic, topic_id), false, NOW)
    }

    /// Ends in order.
    fn stop(self, partitions: &[&Partition]) {
        self.opener.stop();
        for partition in partitions {
            partition.checkpoint();
        }
        self.engine.work();
        self.engine.close();
    }
}

fn is_clean(disk: &SimulatedDisk) -> bool {
    disk.open(Path::new(CLEAN), Mode::Read).is_ok()
}

fn end(partition: &Partition) -> Result<i64, ErrorCode> {
    partition.usable_offsets().map(|offsets| offsets.log_end)
}

#[test]
fn what_is_asked_for_is_opened_first_and_nothing_is_told_of_the_others() {
    let disk = written(&["a", "b", "c"], 3);
    let life = Life::begin(&disk);
    let [a, b, c] = ["a", "b", "c"].map(|topic| life.open(topic, FIRST));
    let new = life.open("new", FIRST);
    assert!(!new.is_opening(), "nothing of it has to be looked for");
    assert_eq!(life.opener.left(), 3);
    // A client comes again.
    let again = Err(ErrorCode::NotLeaderOrFollower);
    assert_eq!(put(&c), again);
    assert_eq!(end(&c), again);
    let (_, fetched) = c.fetch(0, false, 1_000, true);
    assert_eq!(fetched.err(), Some(ErrorCode::NotLeaderOrFollower));
    assert_eq!(c.delete_records(2).map_err(|refusal| refusal.code), again);
    assert_eq!(c.with_state(|state| state.next_offset), again);
    assert!(!c.checkpoint(), "nothing is noted of what is not known");
    assert!(life.opener.open_next());
    assert_eq!(end(&c), Ok(3), "it was asked for");
    assert!(a.is_opening() && b.is_opening());
    assert_eq!(put(&c), Ok(3));
    while life.opener.open_next() {}
    assert_eq!((end(&a), end(&b)), (Ok(3), Ok(3)));
    assert_eq!(life.opener.left(), 0);
    life.stop(&[&a, &b, &c, &new]);
    assert!(is_clean(&disk));
}

#[test]
fn who_waits_for_one_opens_what_was_asked_for_and_no_more() {
    let disk = written(&["a", "b", "c"], 1);
    let life = Life::begin(&disk);
    let [a, b, c] = ["a", "b", "c"].map(|topic| life.open(topic, FIRST));
    b.hurry();
    life.opener.wait_for(&c);
    assert_eq!((end(&b), end(&c)), (Ok(1), Ok(1)));
    assert!(a.is_opening());
}

#[test]
fn what_it_was_told_before_it_was_opened_holds() {
    let disk = written(&["t"], 2);
    let life = Life::begin(&disk);
    let partition = life.open("t", FIRST);
    partition.set_leader(None, 7);
    let pairs = [("cleanup.policy", Some("compact"))];
    let overrides = Overrides::parse(Scope::Topic, pairs).expect("valid");
    let broker = BrokerConfig::new([], false).expect("valid");
    let config = TopicConfig::resolve(&broker, &overrides);
    partition.obey(&Arc::new(SharedConfig::new(Arc::new(config))));
    assert_eq!(partition.leader(), (None, 7));
    life.opener.wait_for(&partition);
    let offsets = partition.usable_offsets().expect("open");
    assert_eq!((offsets.log_end, offsets.leader_epoch), (2, 7));
    let ends = partition.with_state(|state| state.end_offset_for(0).end_offset);
    assert_eq!(ends, Ok(2), "the epoch before ends where this one begins");
    assert_eq!(put(&partition), Ok(2));
    let mut epochs = Vec::new();
    let seen = partition.each_batch(0, i64::MAX, |batch| {
        epochs.push(
            BatchHeader::parse(batch)
                .expect("a batch")
                .partition_leader_epoch,
        );
        true
    });
    assert_eq!((seen, epochs), (Ok(()), vec![0, 0, 7]));
    // Bytes that compaction has not seen are counted as in a log that was opened at once.
    assert!(partition.press_compaction());

    partition.set_leader(Some(9), 8);
    life.stop(&[&partition]);
    let life = Life::begin(&disk);
    let partition = life.open("t", FIRST);
    partition.set_leader(Some(9), 9);
    life.opener.wait_for(&partition);
    assert_eq!(partition.leader(), (Some(9), 9));
    assert_eq!(end(&partition), Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn a_topic_that_is_deleted_before_it_is_opened_leaves_nothing_to_the_next_of_its_name() {
    let disk = written(&["t", "u"], 3);
    let life = Life::begin(&disk);
    let old = life.open("t", FIRST);
    old.delete();
    assert_eq!(put(&old), Err(ErrorCode::UnknownTopicOrPartition));
    drop(old);
    let new = life.open("t", SECOND);
    assert!(
        new.is_opening(),
        "what the other one has left is in its way"
    );
    life.opener.wait_for(&new);
    assert_eq!(put(&new), Ok(0));
    let untouched = life.open("u", FIRST);
    life.opener.wait_for(&untouched);
    life.stop(&[&new, &untouched]);
    assert!(is_clean(&disk));
    let listed = disk.list(Path::new(ROOT)).expect("a list");
    let folders = listed.iter().filter(|entry| entry.is_folder);
    let mut folders: Vec<&str> = folders.map(|entry| &*entry.name).collect();
    folders.sort_unstable();
    // It goes after a delay, or at the next start.
    let deleted = format!("t-0.{}-delete", "01".repeat(16));
    assert_eq!(folders, ["t-0", &*deleted, "u-0"]);
    let engine = disk
        .start(Path::new(ROOT), Fsync::Always)
        .expect("an engine");
    let again = Partition::open(&engine, &name("t", SECOND), false, NOW);
    assert_eq!(end(&again), Ok(1));
}

#[test]
fn a_stop_before_all_is_open_is_none_in_order_and_loses_nothing() {
    let disk = written(&["a", "b"], 3);
    assert!(is_clean(&disk));
    let life = Life::begin(&disk);
    let (a, b) = (life.open("a", FIRST), life.open("b", FIRST));
    life.opener.wait_for(&a);
    assert_eq!(put(&a), Ok(3));
    life.stop(&[&a, &b]);
    assert!(!is_clean(&disk), "one of them was never looked at");
    assert_eq!(end(&b), Err(ErrorCode::NotLeaderOrFollower));
    let life = Life::begin(&disk);
    let (a, b) = (life.open("a", FIRST), life.open("b", FIRST));
    while life.opener.open_next() {}
    assert_eq!((end(&a), end(&b)), (Ok(4), Ok(3)));
    life.stop(&[&a, &b]);
    assert!(is_clean(&disk));
}

/// Begins in `disk`, deletes `old` before it is opened and gives its name to another topic, writes to that and to `kept`,
/// and stops before `late` is opened. How many records of the new one and of `kept` were durable by then.
fn meanwhile(disk: &SimulatedDisk) -> (i64, i64) {
    let life = Life::begin(disk);
    let old = life.open("old", FIRST);
    let kept = life.open("kept", FIRST);
    let late = life.open("late", FIRST);
    old.delete();
    let new = life.open("old", SECOND);
    kept.hurry();
    assert!(life.opener.open_next());
    assert_eq!(put(&kept), Ok(2));
    life.engine.work();
    life.opener.wait_for(&new);
    assert_eq!(put(&new), Ok(0));
    life.engine.work();
    let durable = [&new, &kept].map(|one| one.offsets().high_watermark);
    life.stop(&[&new, &kept, &late]);
    assert!(late.is_opening());
    durable.into()
}

#[test]
fn the_power_may_go_at_every_step_while_partitions_are_being_opened() {
    let before = written(&["old", "kept", "late"], 2);
    for is_clean in [true, false] {
        let disk = before.after_crash(before.operations(), Loss::Nothing);
        if !is_clean {
            disk.remove_file(Path::new(CLEAN)).expect("it is there");
            disk.sync_folder(Path::new(ROOT)).expect("synced");
        }
        let begun = disk.operations();
        let (new_end, kept_end) = meanwhile(&disk);
        assert_eq!((new_end, kept_end), (1, 3));
        for at in begun..=disk.operations() {
            for loss in [
                Loss::Everything,
                Loss::Nothing,
                Loss::Bytes,
                Loss::Names,
                Loss::Some(7),
            ] {
                let left = disk.after_crash(at, loss);
                let context = format!("clean {is_clean}, {at} operations, {loss:?}");
                let life = Life::begin(&left);
                let [old, kept, late] = [("old", SECOND), ("kept", FIRST), ("late", FIRST)]
                    .map(|(topic, id)| life.open(topic, id));
                while life.opener.open_next() {}
                let ends = [&old, &kept, &late].map(|one| end(one));
                let [Ok(old), Ok(kept), Ok(late)] = ends else {
                    panic!("{context}: {ends:?}");
                };
                assert!(old <= 1, "{context}: the new topic has {old}");
                assert!((2..=3).contains(&kept), "{context}: {kept}");
                assert_eq!(late, 2, "{context}");
                if at == disk.operations() {
                    assert_eq!((old, kept), (new_end, kept_end), "{context}");
                }
            }
        }
    }
}

/// A disk on which some folders cannot be looked into until their gates are open.
struct Gated {
    disk: SimulatedDisk,
    gates: Mutex<Gates>,
    told: Condvar,
}

#[derive(Default)]
struct Gates {
    shut: Vec<&'static Path>,
    /// Where somebody has waited.
    reached: Vec<PathBuf>,
}

impl Gated {
    fn with(disk: SimulatedDisk, shut: &[&'static str]) -> Arc<Gated> {
        let gates = Gates {
            shut: shut.iter().map(|folder| Path::new(*folder)).collect(),
            reached: Vec::new(),
        };
        Arc::new(Gated {
            disk,
            gates: Mutex::new(gates),
            told: Condvar::new(),
        })
    }

    /// An engine on it, with threads of its own.
    fn start(self: &Arc<Gated>) -> Arc<dyn Engine> {
        let owner = Identity {
            node_id: 1,
            cluster_id: "simulated".to_owned(),
            directory_id: Uuid([3; 16]),
        };
        let directory = Directory::open_in(self.clone(), Path::new(ROOT), &owner).expect("opens");
        let engine = DiskEngine::new(directory, Memory::new(64 << 20), Fsync::Always);
        Arc::new(engine.expect("an engine"))
    }

    fn pass(&self, path: &Path) {
        let mut gates = self.gates.lock().expect("no panic");
        while gates.shut.iter().any(|folder| path.starts_with(folder)) {
            gates.reached.push(path.to_path_buf());
            self.told.notify_all();
            gates = self.told.wait(gates).expect("no panic");
        }
    }

    /// Waits until somebody waits to look into this folder.
    fn is_reached(&self, folder: &str) {
        let gates = self.gates.lock().expect("no panic");
        let is_not = |gates: &mut Gates| !gates.reached.iter().any(|path| path.starts_with(folder));
        let waited = self.told.wait_timeout_while(gates, PATIENCE, is_not);
        assert!(
            !waited.expect("no panic").1.timed_out(),
            "nobody looks into {folder}"
        );
    }

    fn open_gate(&self, folder: &str) {
        let mut gates = self.gates.lock().expect("no panic");
        gates.shut.retain(|shut| *shut != Path::new(folder));
        self.told.notify_all();
    }
}

impl Files for Gated {
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        self.pass(folder);
        self.disk.list(folder)
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.create_folder(folder)
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn OpenFile>> {
        self.pass(path);
        self.disk.open(path, mode)
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

#[test]
fn one_that_takes_long_holds_no_other_up() {
    let topics = ["slow", "a", "b", "c", "d"];
    let gated = Gated::with(written(&topics, 2), &["/data/slow-0"]);
    let engine = gated.start();
    let opener = Arc::new(Opener::new(engine.clone(), 2));
    let all = topics.map(|topic| opener.open(&name(topic, FIRST), false, NOW));
    for partition in &all[1..] {
        opener.wait_for(partition);
        assert_eq!(end(partition), Ok(2));
    }
    assert!(all[0].is_opening());
    let waits = {
        let (opener, slow) = (opener.clone(), all[0].clone());
        std::thread::spawn(move || opener.wait_for(&slow))
    };
    gated.open_gate("/data/slow-0");
    waits.join().expect("it does not panic");
    assert_eq!(end(&all[0]), Ok(2));
    opener.stop();
    engine.close();
}

/// A topic that was deleted and made anew before a start had opened it stayed shut for ever if the thread that opened what
/// the old one had left was one that waited for that, and all others had ended meanwhile.
#[test]
fn the_next_of_a_name_is_opened_whoever_has_opened_the_one_before() {
    let gated = Gated::with(written(&["a", "t"], 2), &["/data/a-0", "/data/t-0"]);
    let engine = gated.start();
    let opener = Arc::new(Opener::new(engine.clone(), 1));
    let open = |topic, id| opener.open(&name(topic, id), false, NOW);
    let busy = open("a", FIRST);
    gated.is_reached("/data/a-0");
    let old = open("t", FIRST);
    let waits = {
        let (opener, old) = (opener.clone(), old.clone());
        std::thread::spawn(move || opener.wait_for(&old))
    };
    gated.is_reached("/data/t-0");
    old.delete();
    let new = open("t", SECOND);
    // The one thread finds that the name is taken, and has nothing else to do.
    gated.open_gate("/data/a-0");
    opener.wait_for(&busy);
    gated.open_gate("/data/t-0");
    waits.join().expect("it does not panic");
    let (told, is_open) = mpsc::channel();
    let asked = new.clone();
    std::thread::spawn(move || {
        while asked.is_opening() {
            std::thread::yield_now();
        }
        told.send(())
    });
    is_open.recv_timeout(PATIENCE).expect("it is opened");
    assert_eq!(put(&new), Ok(0));
    opener.stop();
    engine.close();
}

#[test]
fn who_comes_after_a_stop_does_not_wait_for_what_is_not_opened_any_more() {
    let disk = written(&["t"], 2);
    let life = Life::begin(&disk);
    life.opener.stop();
    let late = life.open("t", FIRST);
    life.opener.wait_for(&late);
    assert!(late.is_opening());
    life.stop(&[]);
    assert!(!is_clean(&disk), "it was never looked at");
}
