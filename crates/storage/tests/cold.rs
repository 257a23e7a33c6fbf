//! Reads of what is in files alone: how often they are read for those who want the same, and how many stay open.

#[path = "files/counting.rs"]
mod counting;

use counting::Counting;
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::cold::{Form, Load, Loaded, Piece};
use rustka_storage::disk::{Directory, DiskEngine, Fsync, Identity};
use rustka_storage::engine::Found;
use rustka_storage::testing::{self, Folder};
use rustka_storage::{Engine, Memory, Partition};
use rustka_wire::Uuid;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Barrier};

const NOW: Now = Now::new(0, 1_000);
const MIB: usize = 1 << 20;

struct World {
    folder: Folder,
    files: Counting,
    engine: DiskEngine,
    partitions: Vec<Arc<Partition>>,
}

fn start(folder: &Folder, files: &Counting) -> DiskEngine {
    let owner = Identity {
        node_id: 1,
        cluster_id: "cold".to_owned(),
        directory_id: Uuid([3; 16]),
    };
    let files = Arc::new(files.clone());
    let directory = Directory::open_in(files, &folder.0, &owner).expect("a directory");
    DiskEngine::by_hand(directory, Memory::new(64 * MIB), Fsync::Always).expect("an engine")
}

impl World {
    /// Partitions with so many batches of so many bytes each, of which nothing is in memory.
    fn cold(partitions: i32, batches: usize, bytes: usize) -> World {
        let (folder, files) = (Folder::made("cold"), Counting::default());
        let engine = start(&folder, &files);
        for partition in World::open(&engine, partitions) {
            for _ in 0..batches {
                append(&partition, bytes);
            }
            engine.work();
        }
        engine.close();
        drop(engine);
        let engine = start(&folder, &files);
        let partitions = World::open(&engine, partitions);
        files.times(1);
        World {
            folder,
            files,
            engine,
            partitions,
        }
    }

    fn open(engine: &DiskEngine, partitions: i32) -> Vec<Arc<Partition>> {
        let open = |index| Partition::new(engine, Uuid([7; 16]), index, false);
        (0..partitions).map(open).collect()
    }

    /// A load for a consumer at this offset.
    fn load(&self, partition: usize, offset: i64, max_bytes: usize) -> Load {
        load(&self.partitions[partition], offset, max_bytes)
    }
}

fn load(partition: &Partition, offset: i64, max_bytes: usize) -> Load {
    match partition.fetch(offset, false, max_bytes, true).1 {
        Ok(Found::Cold(load)) => load,
        _ => panic!("it is cold"),
    }
}

fn append(partition: &Partition, value_bytes: usize) {
    let record = NewRecord {
        timestamp: 1_000,
        value: Some(&vec![b'x'; value_bytes]),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().record(&record);
    testing::append(partition, batch, Origin::Client, NOW).expect("an append");
}

/// Reads from an offset to the end as a consumer does; the bytes that came.
fn consume(partition: &Partition, form: Form, max_bytes: usize) -> usize {
    let (mut offset, mut bytes) = (0, 0);
    while offset < partition.offsets().high_watermark {
        let load = load(partition, offset, max_bytes);
        let at_hand = load.at_hand(form);
        let loaded = at_hand.unwrap_or_else(|| load.run_as(form).expect("it is there"));
        assert!(loaded.next_offset > offset, "it goes on");
        (offset, bytes) = (loaded.next_offset, bytes + loaded.bytes());
    }
    bytes
}

fn is_file(loaded: &Loaded) -> bool {
    matches!(loaded.pieces[..], [Piece::File(_)])
}

/// Eight consumers that had read a partition from its beginning read it eight times from the disk.
#[test]
fn consumers_that_read_side_by_side_read_the_files_once() {
    let world = World::cold(1, 150, 20_000);
    let partition = &world.partitions[0];
    let bytes = partition.bytes() as usize;
    let begin = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                begin.wait();
                assert_eq!(consume(partition, Form::Memory, MIB), bytes);
            });
        }
    });
    let times = world.files.times(bytes);
    assert!((1.0..1.2).contains(&times), "{times}");
    // Nor do those read them again who come soon after, and want it in other pieces.
    assert_eq!(consume(partition, Form::Memory, 300_000), bytes);
    let times = world.files.times(bytes);
    assert!(times < 0.2, "{times}");
}

#[test]
fn who_comes_while_something_is_read_waits_for_that() {
    let world = World::cold(1, 40, 20_000);
    world.files.shut(true);
    let begin = Barrier::new(9);
    std::thread::scope(|scope| {
        let reading: Vec<_> = (0..8)
            .map(|reader| {
                let (world, begin) = (&world, &begin);
                scope.spawn(move || {
                    let load = world.load(0, 0, 500_000 - reader);
                    begin.wait();
                    load.run_as(Form::Memory).expect("it is there").bytes()
                })
            })
            .collect();
        begin.wait();
        world.files.shut(false);
        for one in reading {
            assert!(one.join().expect("no panic") > 400_000);
        }
    });
    let times = world.files.times(500_000);
    assert!((0.9..1.1).contains(&times), "{times}");
}

#[test]
fn of_two_who_open_a_segment_at_the_same_moment_one_reads_it() {
    let world = World::cold(1, 40, 20_000);
    world.files.meet(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let loaded = world.load(0, 0, 500_000).run_as(Form::Memory);
                assert!(loaded.expect("it is there").bytes() > 400_000);
            });
        }
    });
    let times = world.files.times(500_000);
    assert!((0.9..1.1).contains(&times), "{times}");
}

#[test]
fn what_was_read_lately_is_given_back_before_anything_else() {
    let world = World::cold(1, 400, 20_000);
    let partition = &world.partitions[0];
    let in_use = || world.engine.memory().pool.bytes_in_use();
    let before = in_use();
    consume(partition, Form::Memory, MIB);
    let kept = in_use() - before;
    assert!(
        (MIB..=4 * MIB).contains(&kept),
        "a part of the limit: {kept}"
    );
    let taken = world.engine.memory().pool.take(62 * MIB);
    // Too much for a broker, but not for want of what can be read again.
    assert!(world.engine.make_room().is_err());
    assert!(in_use() - before < taken.block_bytes() + kept);
    assert!(in_use() <= 63 * MIB);
    drop(taken);
    // Nobody reads any more.
    consume(partition, Form::Memory, MIB);
    for second in 0..60 {
        world.engine.tick(Now::new(second * 1_000, 1_000));
    }
    assert_eq!(in_use(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn who_reads_on_where_somebody_has_read_finds_it_at_once() {
    let world = World::cold(1, 100, 20_000);
    assert!(world.load(0, 0, 500_000).at_hand(Form::Files).is_none());
    let first = world.load(0, 0, 500_000).run_as(Form::Files);
    let first = first.expect("it is there");
    assert!(is_file(&first), "{first:?}");
    let again = world.load(0, 0, 500_000).at_hand(Form::Files);
    let again = again.expect("known by now");
    assert_eq!(
        (again.next_offset, again.bytes()),
        (first.next_offset, first.bytes())
    );
    let next = world
        .load(0, first.next_offset, 500_000)
        .at_hand(Form::Files);
    let next = next.expect("where the first one has ended");
    assert!(is_file(&next) && next.next_offset > first.next_offset);
    assert_eq!(world.files.times(1), 0.0, "nothing is copied");
    // Others have it in memory all the same.
    let read = world.partitions[0].read(first.next_offset, i64::MAX, 0, true);
    let header = BatchHeader::parse(&read.expect("a read")[0]).expect("a batch");
    assert_eq!(header.base_offset, first.next_offset);
}

/// Each segment that is sent is an open file, and there may be as many of both as clients like.
#[cfg(target_os = "linux")]
#[test]
fn files_that_are_sent_are_few_and_the_rest_is_read() {
    let world = World::cold(300, 3, 20_000);
    let before = world.files.open.load(Relaxed);
    let open = || world.files.open.load(Relaxed).saturating_sub(before);
    let load = |at| world.load(at, 0, 60_000).run_as(Form::Files);
    let held: Vec<Loaded> = (0..300).map(|at| load(at).expect("it is there")).collect();
    let sent = held.iter().filter(|loaded| is_file(loaded)).count();
    assert!((100..=128).contains(&sent), "{sent} are sent");
    assert!(open() <= 128, "{} are open", open());
    assert!(held.iter().all(|loaded| loaded.bytes() > 40_000));
    drop(held);
    assert!(open() <= 32, "{} are open", open());
    for second in 0..60 {
        world.engine.tick(Now::new(second * 1_000, 1_000));
    }
    assert_eq!(open(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_dropped_does_not_stay_open_and_who_is_being_sent_it_has_it_to_the_end() {
    let world = World::cold(1, 10, 20_000);
    let before = world.files.open.load(Relaxed);
    let partition = &world.partitions[0];
    let load = || world.load(0, 0, 100_000);
    let held = load().run_as(Form::Files).expect("it is there");
    partition.delete_records(10).expect("all go");
    world.engine.work();
    let [Piece::File(span)] = &held.pieces[..] else {
        panic!("{held:?}");
    };
    assert_eq!(span.at_hand(0, span.bytes()), span.bytes());
    drop(held);
    world.engine.work();
    // The empty segment behind it has its three files open.
    let open = world.files.open.load(Relaxed) - before;
    assert!(open <= 3, "{open} are open");
    assert!(world.folder.0.exists());
}

#[test]
fn what_the_disk_does_not_give_is_an_error_before_anything_is_sent() {
    let world = World::cold(1, 20, 20_000);
    let first = world.load(0, 0, 200_000).run_as(Form::Files);
    let next_offset = first.expect("it is there").next_offset;
    world.files.is_bad.store(true, Relaxed);
    for form in [Form::Files, Form::Memory, Form::Alone] {
        for offset in [next_offset, next_offset + 1] {
            let load = world.load(0, offset, 200_000);
            assert!(load.at_hand(form).is_none());
            assert!(load.run_as(form).is_err(), "{form:?} from {offset}");
        }
    }
    world.files.is_bad.store(false, Relaxed);
    let again = world.load(0, next_offset, 200_000).run_as(Form::Files);
    assert!(again.expect("it is back").next_offset > next_offset);
}

fn segments(world: &World) -> Vec<std::path::PathBuf> {
    let folder = world.folder.0.join(format!("{}-0", Uuid([7; 16])));
    let listed = std::fs::read_dir(folder).expect("a folder").flatten();
    let paths = listed.map(|entry| entry.path());
    let mut logs: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|of| of == "log"))
        .collect();
    logs.sort();
    logs
}

/// Three closed segments and one that is written to, all of them cold.
fn with_segments() -> World {
    let (folder, files) = (Folder::made("cold"), Counting::default());
    let engine = start(&folder, &files);
    let partitions = World::open(&engine, 1);
    for n in 0..20 {
        append(&partitions[0], 20_000);
        if n % 5 == 4 {
            partitions[0].roll();
        }
    }
    engine.work();
    engine.close();
    drop(engine);
    let engine = start(&folder, &files);
    let partitions = World::open(&engine, 1);
    World {
        folder,
        files,
        engine,
        partitions,
    }
}

#[test]
fn a_file_that_is_shorter_than_it_was_is_an_error_and_nothing_is_passed_over() {
    for form in [Form::Files, Form::Memory, Form::Alone] {
        let world = with_segments();
        let cut = &segments(&world)[1];
        let file = std::fs::OpenOptions::new().write(true).open(cut);
        let bytes = std::fs::metadata(cut).expect("a file").len();
        // Between two batches.
        file.expect("a file").set_len(bytes / 5 * 3).expect("cut");
        for max_bytes in [30_000, 300_000] {
            let left = world.load(0, 7, max_bytes).run_as(form).expect("there");
            assert_eq!(left.next_offset, 8, "{form:?}");
            let load = world.load(0, 8, max_bytes);
            assert!(load.at_hand(form).is_none());
            assert!(load.run_as(form).is_err(), "{form:?}");
        }
        let behind = world.load(0, 10, 30_000).run_as(form).expect("there");
        assert!(behind.next_offset > 10);
    }
}

#[test]
fn a_file_that_is_gone_by_itself_is_an_error_and_not_the_end() {
    for form in [Form::Files, Form::Memory, Form::Alone] {
        let world = with_segments();
        std::fs::remove_file(&segments(&world)[1]).expect("removed");
        let before = world.load(0, 3, 30_000).run_as(form).expect("there");
        assert_eq!(before.next_offset, 4);
        assert!(world.load(0, 5, 30_000).run_as(form).is_err(), "{form:?}");
        let behind = world.load(0, 10, 30_000).run_as(form).expect("there");
        assert!(behind.next_offset > 10);
    }
}
