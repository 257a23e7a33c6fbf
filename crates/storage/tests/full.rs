//! A volume that is full in the middle of a write, and syncs that fail: nothing that was promised is lost, and what can go
//! on by itself does.

use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{DiskEngine, Files, Fsync};
use rustka_storage::testing;
use rustka_storage::testing::disk::{Failing, Loss, SimulatedDisk};
use rustka_storage::{Engine, Partition, PartitionName};
use rustka_wire::Uuid;
use std::path::Path;
use std::sync::Arc;

const ROOT: &str = "/data";
const NAME: PartitionName<'_> = PartitionName {
    topic: "t",
    topic_id: Uuid([7; 16]),
    index: 0,
};
/// A small volume, a fortieth of which is reserved.
const VOLUME_BYTES: u64 = 400_000;
const VALUE_BYTES: usize = 10_000;

fn now(ms: i64) -> Now {
    Now::new(ms, 1_000_000 + ms)
}

fn start(disk: &SimulatedDisk) -> DiskEngine {
    let engine = disk.start(Path::new(ROOT), Fsync::Always);
    engine.expect("an engine")
}

fn open(engine: &DiskEngine) -> Arc<Partition> {
    Partition::open(engine, &NAME, false, now(0))
}

/// Appends without asking for room first, as coordinators do; where it will lie.
fn append(partition: &Partition) -> Result<i64, ErrorCode> {
    let record = NewRecord {
        timestamp: 1_000,
        value: Some(&[b'x'; VALUE_BYTES]),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().record(&record);
    testing::append(partition, batch, Origin::Client, now(0))
        .map(|one| one.base_offset)
        .map_err(|refusal| refusal.code)
}

/// Lets a second pass, and does what follows.
fn pass(engine: &DiskEngine, ms: &mut i64) {
    *ms += 1_000;
    engine.tick(now(*ms));
    engine.work();
}

/// A small volume with its reserve and six batches, and the time by then.
fn with_six() -> (SimulatedDisk, DiskEngine, Arc<Partition>, i64) {
    let disk = SimulatedDisk::new(Path::new(ROOT));
    disk.resize(VOLUME_BYTES);
    let engine = start(&disk);
    let mut ms = 0;
    pass(&engine, &mut ms);
    let partition = open(&engine);
    for _ in 0..6 {
        append(&partition).expect("there is room");
    }
    engine.work();
    (disk, engine, partition, ms)
}

/// Appends until what was appended last finds no room.
fn fill(engine: &DiskEngine, partition: &Partition) {
    for _ in 0..VOLUME_BYTES / VALUE_BYTES as u64 + 2 {
        append(partition).expect("it waits");
        engine.work();
        let offsets = partition.offsets();
        if offsets.high_watermark < offsets.log_end {
            return;
        }
    }
    panic!("it never fills up");
}

fn check_all_is_there(disk: &SimulatedDisk, from: i64, to: i64) {
    let disk = disk.after_crash(disk.operations(), Loss::Everything);
    let engine = start(&disk);
    let partition = open(&engine);
    let offsets = partition.usable_offsets().expect("it is served");
    assert_eq!((offsets.log_start, offsets.high_watermark), (from, to));
    for offset in from..to {
        let read = partition.read(offset, to, 0, true).expect("a read");
        let header = BatchHeader::parse(&read[0]).expect("a batch");
        assert_eq!(header.base_offset, offset);
    }
}

#[test]
fn what_finds_no_room_waits_and_goes_on_once_somebody_has_made_some() {
    let disk = SimulatedDisk::new(Path::new(ROOT));
    disk.resize(VOLUME_BYTES);
    let engine = start(&disk);
    let mut ms = 0;
    pass(&engine, &mut ms);
    assert!(disk.to_string().contains("rustka-reserve"), "{disk}");
    let partition = open(&engine);
    fill(&engine, &partition);
    assert!(
        !disk.to_string().contains("rustka-reserve"),
        "it was given up: {disk}"
    );
    let refused = engine.make_room().expect_err("it is full");
    assert_eq!(refused.code, ErrorCode::KafkaStorageError);
    assert!(engine.is_full());
    let high = partition.offsets().high_watermark;
    assert!(high > 0);
    for offset in 0..high {
        assert!(partition.read(offset, high, 0, true).is_ok());
    }
    // Whatever comes all the same waits with the others, however long that takes.
    append(&partition).expect("it waits");
    for _ in 0..5 {
        pass(&engine, &mut ms);
    }
    assert_eq!(partition.offsets().high_watermark, high);
    assert!(engine.make_room().is_err());

    disk.resize(2 * VOLUME_BYTES);
    pass(&engine, &mut ms);
    let log_end = partition.offsets().log_end;
    assert_eq!(partition.offsets().high_watermark, log_end);
    pass(&engine, &mut ms);
    engine.make_room().expect("there is room again");
    pass(&engine, &mut ms);
    assert!(disk.to_string().contains("rustka-reserve"), "{disk}");
    assert_eq!(append(&partition), Ok(log_end));
    engine.work();
    assert_eq!(partition.offsets().high_watermark, log_end + 1);
    check_all_is_there(&disk, 0, log_end + 1);
}

#[test]
fn retention_makes_room_for_what_waits_before_it() {
    let (disk, engine, partition, mut ms) = with_six();
    partition.roll();
    fill(&engine, &partition);
    let waiting = partition.offsets();
    assert!(engine.is_full());
    partition.delete_records(6).expect("they are there");
    for _ in 0..3 {
        pass(&engine, &mut ms);
    }
    assert_eq!(partition.offsets().high_watermark, waiting.log_end);
    engine.make_room().expect("there is room again");
    check_all_is_there(&disk, 6, waiting.log_end);
}

#[test]
fn a_stop_while_it_is_full_leaves_what_was_promised() {
    let disk = SimulatedDisk::new(Path::new(ROOT));
    disk.resize(VOLUME_BYTES);
    let engine = start(&disk);
    let partition = open(&engine);
    fill(&engine, &partition);
    let high = partition.offsets().high_watermark;
    engine.close();
    disk.resize(2 * VOLUME_BYTES);
    let engine = start(&disk);
    let offsets = open(&engine).usable_offsets().expect("it is served");
    assert!(offsets.high_watermark >= high, "{offsets:?}");
}

/// A second sync may report success for bytes that the system has thrown away after the first.
#[test]
fn a_sync_that_failed_is_not_tried_again_and_its_partition_takes_no_more() {
    let disk = SimulatedDisk::new(Path::new(ROOT));
    let engine = start(&disk);
    let partition = open(&engine);
    append(&partition).expect("an append");
    engine.work();
    append(&partition).expect("an append");
    engine.write_all();
    disk.fail(Failing::At(disk.operations()));
    engine.work();
    disk.fail(Failing::Never);
    let failed = disk.operation(disk.operations() - 2);
    assert!(
        failed.contains("sync") && failed.contains("fails"),
        "{failed}"
    );
    let at = disk.operations();
    assert_eq!(
        partition.offsets().high_watermark,
        1,
        "nothing is acknowledged"
    );
    assert_eq!(append(&partition), Err(ErrorCode::KafkaStorageError));
    assert!(partition.read(0, 1, 0, true).is_ok());
    engine.tick(now(10_000));
    engine.work();
    engine.close();
    for number in at..disk.operations() {
        let what = disk.operation(number);
        assert!(!what.contains("sync") || !what.contains("t-0/0"), "{what}");
    }
    assert_eq!(engine.figures().map(|figures| figures.failures), Some(1));
    // The disk never got it, whatever the system shows.
    let disk = disk.after_crash(disk.operations(), Loss::Everything);
    let engine = start(&disk);
    let offsets = open(&engine).usable_offsets().expect("it is served");
    assert_eq!(offsets.high_watermark, 1);
}

#[test]
fn what_a_start_has_to_write_on_a_full_volume_finds_room_in_the_reserve() {
    let (disk, engine, partition, _) = with_six();
    drop((partition, engine));
    for kind in ["index", "timeindex"] {
        let index = format!("{ROOT}/t-0/00000000000000000000.{kind}");
        disk.remove_file(Path::new(&index)).expect("it was there");
    }
    let engine = start(&disk);
    let room = engine.figures().and_then(|figures| figures.volume);
    let free_bytes = room.expect("it was looked at").free_bytes;
    disk.resize(VOLUME_BYTES - free_bytes);
    let partition = open(&engine);
    let offsets = partition.usable_offsets().expect("it is served");
    assert_eq!((offsets.log_start, offsets.log_end), (0, 6));
    assert!(
        !disk.to_string().contains("rustka-reserve"),
        "it was given up: {disk}"
    );
}
