//! A partition's folder in which one file says what the input says: it is opened, read, written on, and opened again.

use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::log::{Marker, Origin};
use rustka_core::time::Now;
use rustka_storage::disk::{DiskEngine, Files, Fsync, Mode};
use rustka_storage::testing::disk::{Loss, SimulatedDisk};
use rustka_storage::{Engine, Incoming, Partition, PartitionName};
use rustka_wire::codec::Uuid;
use std::path::Path;
use std::sync::OnceLock;

const ROOT: &str = "/data";
const NOW: Now = Now::new(0, 1_000_000);
const NAME: PartitionName<'_> = PartitionName {
    topic: "t",
    topic_id: Uuid([7; 16]),
    index: 0,
};
/// Batches before the segment that is open, and after.
const BATCHES: usize = 12;

/// The files of which a target replaces one, with what seeds call them.
const SEGMENTS: [&str; 2] = [
    "t-0/00000000000000000000.log",
    "t-0/00000000000000000013.log",
];
const INDEXES: [&str; 4] = [
    "t-0/00000000000000000000.index",
    "t-0/00000000000000000000.timeindex",
    "t-0/00000000000000000013.timeindex",
    "t-0/00000000000000000013.txnindex",
];
const SNAPSHOTS: [&str; 2] = [
    "t-0/00000000000000000013.snapshot",
    "t-0/leader-epoch-checkpoint",
];
const CHECKPOINTS: [&str; 3] = [
    "log-start-offset-checkpoint",
    "recovery-point-offset-checkpoint",
    "meta.properties",
];

/// Segments: the first byte says which.
pub fn segment(input: &[u8]) {
    replace_one(&SEGMENTS, input);
}

/// Indexes: the first byte says which.
pub fn index(input: &[u8]) {
    replace_one(&INDEXES, input);
}

/// Snapshots of producers, leader epochs.
pub fn snapshot(input: &[u8]) {
    replace_one(&SNAPSHOTS, input);
}

/// The files with an offset for each partition, and the one that says whose the directory is.
pub fn checkpoint(input: &[u8]) {
    replace_one(&CHECKPOINTS, input);
}

/// What a seed is called, and its bytes.
type Named = (String, Vec<u8>);

/// Inputs that say what is there already, by target.
pub(super) fn seeds() -> Vec<(&'static str, Vec<Named>)> {
    let whole = |files: &[&str]| {
        let named = files.iter().enumerate().map(|(which, name)| {
            let mut input = vec![u8::try_from(which).unwrap_or(0)];
            input.extend(content(&disk(), name));
            (name.replace('/', "-"), input)
        });
        named.collect()
    };
    vec![
        ("segment", whole(&SEGMENTS)),
        ("index", whole(&INDEXES)),
        ("snapshot", whole(&SNAPSHOTS)),
        ("checkpoint", whole(&CHECKPOINTS)),
    ]
}

fn replace_one(names: &[&str], input: &[u8]) {
    let Some((which, content)) = input.split_first() else {
        return;
    };
    let disk = disk();
    let name = names[usize::from(*which) % names.len()];
    let file = disk.open(&Path::new(ROOT).join(name), Mode::Anew);
    let file = file.expect("a simulated disk takes it");
    file.write_at(content, 0)
        .expect("a simulated disk takes it");
    let Some(log_end) = visit(&disk, None) else {
        return;
    };
    // What came last is there again.
    visit(&disk, Some(log_end));
}

/// Opens what is there, reads all of it and adds a batch; where it ends then. Nothing where it is refused.
fn visit(disk: &SimulatedDisk, at_least: Option<i64>) -> Option<i64> {
    let engine = match start(disk) {
        Ok(engine) => engine,
        Err(why) => {
            assert!(at_least.is_none(), "it was opened before: {why}");
            return None;
        }
    };
    let partition = Partition::open(&engine, &NAME, false, NOW);
    let Ok(offsets) = partition.usable_offsets() else {
        assert!(at_least.is_none(), "it was opened before");
        return None;
    };
    assert!(offsets.log_start <= offsets.log_end, "{offsets:?}");
    assert!(
        at_least.is_none_or(|least| offsets.log_end >= least),
        "{offsets:?}"
    );
    let mut next = offsets.log_start;
    for _ in 0..4 * BATCHES {
        let Ok(read) = partition.read(next, offsets.high_watermark, usize::MAX, true) else {
            // A damaged range is told, and what is behind it is read all the same.
            next += 1;
            continue;
        };
        let Some(slice) = read.first() else {
            break;
        };
        // What was left in order is served as it is, as in Kafka: checksums are the client's to check.
        let header = BatchHeader::parse(slice).expect("whole batches are served");
        let last = header.last_offset().unwrap_or(next).max(next);
        next = last.saturating_add(1);
    }
    append(&partition, 10);
    engine.work();
    let log_end = partition.offsets().log_end;
    engine.close();
    Some(log_end)
}

fn start(disk: &SimulatedDisk) -> Result<DiskEngine, String> {
    disk.start(Path::new(ROOT), Fsync::Always)
}

/// A directory with two segments, an aborted transaction and an idempotent producer, left in order.
fn disk() -> SimulatedDisk {
    static MADE: OnceLock<SimulatedDisk> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let disk = SimulatedDisk::new(Path::new(ROOT));
        let engine = start(&disk).expect("an empty directory");
        let partition = Partition::open(&engine, &NAME, false, NOW);
        for n in 0..BATCHES {
            append(&partition, 100 * (n + 1));
        }
        let transactional = BatchBuilder::new().producer(9, 0, 0).transactional();
        write(&partition, transactional, 10);
        partition.roll();
        let marker = Marker {
            commit: false,
            coordinator_epoch: 0,
            epoch_bumped: false,
        };
        let aborted = partition.append_marker((9, 0), &marker, NOW);
        aborted.expect("a marker");
        append(&partition, 10);
        engine.work();
        partition.delete_records(2).expect("they are there");
        partition.checkpoint();
        engine.work();
        engine.close();
        disk
    });
    made.after_crash(made.operations(), Loss::Nothing)
}

fn content(disk: &SimulatedDisk, name: &str) -> Vec<u8> {
    let Ok(file) = disk.open(&Path::new(ROOT).join(name), Mode::Read) else {
        return Vec::new();
    };
    let mut bytes = vec![0; file.bytes().expect("a size") as usize];
    file.read_at(&mut bytes, 0).expect("what it holds");
    bytes
}

fn append(partition: &Partition, value_bytes: usize) {
    write(partition, BatchBuilder::new(), value_bytes);
}

fn write(partition: &Partition, builder: BatchBuilder, value_bytes: usize) {
    let value = vec![b'x'; value_bytes];
    let record = NewRecord {
        timestamp: 1_000,
        value: Some(&value),
        ..NewRecord::default()
    };
    let mut bytes = builder.record(&record).build().expect("a batch");
    let header = BatchHeader::parse(&bytes).expect("a batch");
    let incoming = Incoming::Copied(&mut bytes);
    // One at the end of all offsets takes no more.
    let _refused = partition.append(incoming, &header, Origin::Client, NOW);
}
