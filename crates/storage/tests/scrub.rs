//! What has lain in files for long is read now and then, and what of it is damaged is told of before anybody wants it.

use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{DiskEngine, DiskFigures, Files, Fsync, Mode, SystemFiles};
use rustka_storage::engine::ScrubPace;
use rustka_storage::testing;
use rustka_storage::testing::Folder;
use rustka_storage::testing::disk::SimulatedDisk;
use rustka_storage::{Engine, Partition, PartitionName};
use rustka_wire::Uuid;
use std::path::Path;
use std::sync::Arc;

const ROOT: &str = "/data";
const TOPIC: Uuid = Uuid([7; 16]);
const VALUE_BYTES: usize = 1_000;
const INTERVAL_MS: i64 = 60_000;
const PACE: ScrubPace = ScrubPace {
    bytes_per_second: 20_000,
    interval_ms: INTERVAL_MS,
};

/// A broker's storage over a disk in memory, and its clock.
struct World {
    disk: SimulatedDisk,
    engine: DiskEngine,
    partition: Arc<Partition>,
    ms: i64,
}

fn now(ms: i64) -> Now {
    Now::new(ms, 1_000_000 + ms)
}

fn open(engine: &DiskEngine, topic: &str) -> Arc<Partition> {
    let name = PartitionName {
        topic,
        topic_id: TOPIC,
        index: 0,
    };
    Partition::open(engine, &name, false, now(0))
}

impl World {
    fn start(disk: SimulatedDisk) -> World {
        let engine = disk.start(Path::new(ROOT), Fsync::Always);
        let engine = engine.expect("an engine");
        World {
            disk,
            partition: open(&engine, "t"),
            engine,
            ms: 0,
        }
    }

    /// In a new life nothing is in memory.
    fn restart(self) -> World {
        self.engine.close();
        World::start(self.disk)
    }

    fn append(&self, times: usize) {
        for _ in 0..times {
            append(&self.partition);
        }
        self.engine.work();
    }

    /// Lets a second pass, in which what is due is read; what the engine tells of itself then.
    fn pass(&mut self, seconds: i64) -> DiskFigures {
        for _ in 0..seconds {
            self.ms += 1_000;
            self.engine.scrub(now(self.ms), PACE);
            self.engine.work();
        }
        self.engine.figures().expect("files")
    }

    /// A bit changes by itself.
    fn rot(&self, file: &str, at: u64) {
        let file = self.disk.open(&Path::new(ROOT).join(file), Mode::Write);
        let file = file.expect("a file");
        let mut byte = [0];
        assert_eq!(file.read_at(&mut byte, at).expect("a byte"), 1);
        file.write_at(&[byte[0] ^ 1], at).expect("written");
    }
}

fn append(partition: &Partition) {
    let record = NewRecord {
        timestamp: 1_000,
        value: Some(&[b'x'; VALUE_BYTES]),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().record(&record);
    let appended = testing::append(partition, batch, Origin::Client, now(0));
    appended.expect("appended");
}

/// Two segments of ten batches, and one that is open.
fn filled() -> World {
    let world = World::start(SimulatedDisk::new(Path::new(ROOT)));
    for _ in 0..2 {
        world.append(10);
        world.partition.roll();
    }
    world.append(5);
    world.restart()
}

fn batch_bytes() -> u64 {
    let world = World::start(SimulatedDisk::new(Path::new(ROOT)));
    world.append(1);
    world.partition.bytes()
}

#[test]
fn a_bit_that_changes_by_itself_is_told_of_before_anybody_reads_it() {
    for (file, batch, expected) in [
        ("t-0/00000000000000000000.log", 3, 3..4),
        ("t-0/00000000000000000010.log", 9, 19..20),
        ("t-0/00000000000000000020.log", 0, 20..21),
        ("t-0/00000000000000000020.log", 4, 24..25),
    ] {
        // In its length, its magic byte, its checksum, and its last byte.
        for place in [11, 16, 18, batch_bytes() - 1] {
            let mut world = filled();
            let sound = world.pass(3);
            assert_eq!(sound.damaged_ranges, 0);
            assert!(sound.scrubbed_bytes >= 25 * batch_bytes(), "{sound:?}");
            world.rot(file, batch * batch_bytes() + place);
            assert_eq!(world.pass(5).damaged_ranges, 0, "it rests");
            world.ms += INTERVAL_MS;
            let found = world.pass(5);
            let about = format!("{file} {batch} {place}");
            assert_eq!(found.damaged_ranges, 1, "{about}");
            assert_eq!(
                world.partition.damaged(),
                std::slice::from_ref(&expected),
                "{about}"
            );
            // Others are served, this one is not.
            if let Some(before) = (expected.start % 10).checked_sub(1) {
                let from = expected.start - 1 - before;
                let read = world.partition.read(from, 25, usize::MAX, true);
                let bytes = read
                    .iter()
                    .flatten()
                    .map(|slice| slice.len())
                    .sum::<usize>();
                let whole = expected.start.abs_diff(from) * batch_bytes();
                assert_eq!(bytes as u64, whole, "{about}");
            }
            for offset in 0..25 {
                let read = world.partition.read(offset, 25, 1, true);
                match expected.contains(&offset) {
                    true => assert_eq!(read.err(), Some(ErrorCode::KafkaStorageError)),
                    false => assert!(read.is_ok_and(|read| !read.is_empty()), "{about} {offset}"),
                }
            }
            let world = world.restart();
            assert_eq!(
                world.partition.damaged(),
                std::slice::from_ref(&expected),
                "{about}"
            );
        }
    }
}

#[test]
fn a_scrub_keeps_to_its_pace_and_rests_between_rounds() {
    let mut world = World::start(SimulatedDisk::new(Path::new(ROOT)));
    let second = open(&world.engine, "u");
    for _ in 0..50 {
        append(&second);
    }
    world.append(50);
    let rate = PACE.bytes_per_second;
    // The first call only looks at the clock.
    assert_eq!(world.pass(1).scrubbed_bytes, 0);
    let mut before = 0;
    let mut seconds = 0;
    loop {
        let read = world.pass(1).scrubbed_bytes;
        seconds += 1;
        // A batch may go beyond it, and is made up for.
        assert!(
            read <= seconds * rate + batch_bytes() + 4_096,
            "{seconds}: {read}"
        );
        if read == before {
            break;
        }
        before = read;
    }
    assert!(before >= 100 * batch_bytes(), "{before}");
    assert!((5..10).contains(&seconds), "{seconds}");
    assert_eq!(world.pass(20).scrubbed_bytes, before, "it rests");
    world.ms += INTERVAL_MS;
    assert!(world.pass(3).scrubbed_bytes > before);
    let none = ScrubPace {
        bytes_per_second: 0,
        ..PACE
    };
    let before = world.pass(0).scrubbed_bytes;
    world.ms += INTERVAL_MS;
    world.engine.scrub(now(world.ms), none);
    world.engine.work();
    assert_eq!(world.pass(0).scrubbed_bytes, before);
}

#[test]
fn damage_is_forgotten_with_the_records_it_was_in() {
    let mut world = filled();
    world.rot("t-0/00000000000000000000.log", 3 * batch_bytes() + 200);
    assert_eq!(world.pass(5).damaged_ranges, 1);
    world.partition.delete_records(10).expect("they are there");
    world.engine.work();
    assert_eq!(world.pass(0).damaged_ranges, 0);
    assert!(world.partition.damaged().is_empty());
    // What is not yet on the disk is nobody's to look at, nor is a log that is deleted.
    world.append(3);
    append(&world.partition);
    world.ms += INTERVAL_MS;
    assert_eq!(world.pass(5).damaged_ranges, 0);
    world.partition.delete();
    world.ms += INTERVAL_MS;
    assert_eq!(world.pass(5).damaged_ranges, 0);
}

#[test]
fn what_is_read_past_the_systems_cache_is_what_was_written_wherever_it_is_read() {
    /// What is read at once.
    const PIECE_BYTES: usize = 256 << 10;
    let folder = Folder::new("uncached");
    std::fs::create_dir_all(&folder.0).expect("a folder");
    let path = folder.0.join("file");
    let bytes: Vec<u8> = (0..2 * PIECE_BYTES + 777).map(|n| (n / 7) as u8).collect();
    std::fs::write(&path, &bytes).expect("written");
    let file = SystemFiles.open_uncached(&path).expect("opened");
    assert_eq!(file.bytes().expect("a size"), bytes.len() as u64);
    for at in [
        0,
        1,
        4_095,
        PIECE_BYTES - 3,
        PIECE_BYTES,
        2 * PIECE_BYTES + 700,
    ] {
        for length in [1, 61, 10_000, PIECE_BYTES + 1] {
            let mut into = vec![0; length];
            let read = file.read_at(&mut into, at as u64).expect("read");
            let expected = &bytes[at..bytes.len().min(at + length)];
            assert_eq!(&into[..read], expected, "{at} {length}");
        }
    }
    let mut into = [0; 10];
    let behind = file.read_at(&mut into, bytes.len() as u64 + 5);
    assert_eq!(behind.expect("nothing"), 0);
}
