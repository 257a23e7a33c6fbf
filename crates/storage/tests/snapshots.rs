//! Snapshots beside a log: the power may go at any step of writing one and of letting the older part of the log go, and
//! each step may fail. What a start finds is a log and a snapshot that together tell everything that was promised.

use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::cluster::records::Record;
use rustka_core::cluster::snapshot::{self, SnapshotId};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::disk::{DiskEngine, Fsync};
use rustka_storage::engine::Snapshots;
use rustka_storage::retired::{KeptRules, retire};
use rustka_storage::testing::append;
use rustka_storage::testing::disk::{Failing, Loss, SimulatedDisk};
use rustka_storage::{Engine, Partition, PartitionName};
use rustka_wire::Uuid;
use std::path::Path;

const ROOT: &str = "/data";
const LOG: PartitionName<'static> = PartitionName {
    topic: "__cluster_metadata",
    topic_id: Uuid([1; 16]),
    index: 0,
};
/// Less than three snapshots with what lies between them.
const TIGHT: KeptRules = KeptRules {
    bytes: 1_500,
    ms: -1,
};

fn now() -> Now {
    Now::new(0, 1_000_000)
}

fn start(disk: &SimulatedDisk) -> Result<DiskEngine, String> {
    disk.start(Path::new(ROOT), Fsync::Always)
}

/// The snapshot of so many records: their number.
fn told(count: i64) -> Vec<u8> {
    let record = Record::Feature {
        name: "records".into(),
        level: i16::try_from(count).expect("few"),
    };
    snapshot::write([record].into_iter(), 0, count, 0).expect("a snapshot")
}

fn count_told(bytes: &[u8]) -> Result<i64, String> {
    match &snapshot::read(bytes)?.records[..] {
        [Record::Feature { level, .. }] => Ok(i64::from(*level)),
        other => Err(format!("{other:?}")),
    }
}

/// What was promised, each with the number of operations at which it held.
struct Story {
    disk: SimulatedDisk,
    durable: Vec<(usize, i64)>,
    snapshots: Vec<(usize, i64)>,
}

impl Story {
    fn look(&mut self, log: &Partition) {
        let durable = log.offsets().high_watermark;
        self.durable.push((self.disk.operations(), durable));
    }

    fn write(&mut self, engine: &DiskEngine, log: &Partition, records: usize) {
        for _ in 0..records {
            let value = [7; 150];
            let batch = BatchBuilder::new().record(&NewRecord {
                value: Some(&value),
                ..NewRecord::default()
            });
            // After a failure it takes no more.
            let _refused = append(log, batch, Origin::Coordinator, now());
        }
        while engine.work_one() {
            self.look(log);
        }
    }

    fn keep(&mut self, engine: &DiskEngine, log: &Partition, snapshots: &dyn Snapshots) {
        let end_offset = log.offsets().high_watermark;
        if end_offset != log.offsets().log_end {
            return;
        }
        log.roll();
        let id = SnapshotId {
            end_offset,
            epoch: 0,
        };
        if snapshots.write(id, &told(end_offset)).is_ok() {
            self.snapshots.push((self.disk.operations(), end_offset));
        }
        let _failed = retire(log, snapshots, TIGHT, 0);
        engine.work();
    }
}

/// Three lives in which a log grows, gets snapshots and loses its older part.
fn tell(disk: SimulatedDisk) -> Story {
    let mut story = Story {
        disk: disk.clone(),
        durable: Vec::new(),
        snapshots: Vec::new(),
    };
    for life in 0..3 {
        let Ok(engine) = start(&disk) else { continue };
        let log = Partition::open(&engine, &LOG, false, now());
        let snapshots = engine.snapshots(&LOG).expect("in files");
        for _ in 0..2 {
            story.write(&engine, &log, 3);
            story.keep(&engine, &log, &*snapshots);
        }
        story.write(&engine, &log, 1);
        match life {
            0 => engine.close(),
            // It is killed: a tick later its files would have gone.
            _ => {
                engine.tick(Now::new(100_000, 1_100_000));
                engine.work();
            }
        }
        story.look(&log);
    }
    story
}

/// What is wrong with what a start finds after so many operations.
fn check(story: &Story, disk: &SimulatedDisk, operations: usize) -> Result<(), String> {
    let by_then = |facts: &[(usize, i64)]| {
        let facts = facts.iter().filter(|(at, _)| *at <= operations);
        facts.map(|(_, fact)| *fact).max().unwrap_or(0)
    };
    let (durable, kept) = (by_then(&story.durable), by_then(&story.snapshots));
    for _ in 0..2 {
        let engine = start(disk)?;
        let log = Partition::open(&engine, &LOG, false, now());
        let snapshots = engine.snapshots(&LOG).expect("in files");
        let all = snapshots.all().map_err(|error| error.to_string())?;
        let offsets = log.offsets();
        if offsets.log_end < durable {
            return Err(format!("{durable} were promised: {offsets:?}"));
        }
        let newest = all.last().map_or(0, |(id, _)| id.end_offset);
        if newest < kept || newest < offsets.log_start || newest > offsets.log_end {
            return Err(format!(
                "the newest snapshot is for {newest}, {kept} was promised: {offsets:?}"
            ));
        }
        for (id, _) in &all {
            let bytes = snapshots.read(*id).map_err(|error| error.to_string())?;
            let count = count_told(&bytes)?;
            if count != id.end_offset {
                return Err(format!("{id} tells of {count}"));
            }
        }
        let mut next = offsets.log_start.max(newest);
        let read = log.each_batch(next, offsets.log_end, |_| {
            next += 1;
            true
        });
        read.map_err(|code| format!("it cannot be read: {code:?}"))?;
        if next != offsets.log_end {
            return Err(format!("what follows {newest} ends at {next}: {offsets:?}"));
        }
        let gone = retire(&log, &*snapshots, TIGHT, 0);
        gone.map_err(|error| format!("the older part cannot go: {error}"))?;
        engine.work();
        engine.close();
    }
    Ok(())
}

const LOSSES: [Loss; 6] = [
    Loss::Everything,
    Loss::Nothing,
    Loss::Bytes,
    Loss::Names,
    Loss::Some(1),
    Loss::Some(2),
];

fn cut(which: &str, story: &Story, operations: usize, loss: Loss) {
    let disk = story.disk.after_crash(operations, loss);
    let pristine = disk.after_crash(0, Loss::Nothing);
    if let Err(wrong) = check(story, &disk, operations) {
        let before = story.disk.operation(operations.wrapping_sub(1));
        let next = story.disk.operation(operations);
        panic!(
            "{wrong}\n  {which}{operations} operations, {loss:?}\n  after: {before}\n  before: {next}\nthe start found:\n{pristine}"
        );
    }
}

#[test]
fn the_power_may_go_at_every_step_of_a_snapshot() {
    let story = tell(SimulatedDisk::new(Path::new(ROOT)));
    assert_eq!(story.snapshots.len(), 6);
    let all = start(
        &story
            .disk
            .after_crash(story.disk.operations(), Loss::Nothing),
    );
    let all = all.and_then(|engine| {
        let log = Partition::open(&engine, &LOG, false, now());
        let all = engine.snapshots(&LOG).expect("in files").all();
        all.map(|all| (all.len(), log.offsets().log_start))
            .map_err(|error| error.to_string())
    });
    let (left, log_start) = all.expect("a directory");
    assert!(left < 6 && log_start > 0, "{left} {log_start}");
    for at in 0..=story.disk.operations() {
        for loss in LOSSES {
            cut("", &story, at, loss);
        }
    }
}

#[test]
fn every_step_of_a_snapshot_may_fail() {
    let operations = tell(SimulatedDisk::new(Path::new(ROOT))).disk.operations();
    for at in 10..operations {
        for failing in [Failing::At(at), Failing::From(at)] {
            let disk = SimulatedDisk::new(Path::new(ROOT));
            disk.fail(failing);
            let story = tell(disk);
            let which = format!("{failing:?}: {}, ", story.disk.operation(at));
            let end = story.disk.operations();
            for loss in LOSSES {
                cut(&which, &story, end, loss);
            }
        }
    }
}

#[test]
fn what_is_old_goes_by_its_age_and_the_newest_stays() {
    let disk = SimulatedDisk::new(Path::new(ROOT));
    let engine = start(&disk).expect("an engine");
    let log = Partition::open(&engine, &LOG, false, now());
    let snapshots = engine.snapshots(&LOG).expect("in files");
    assert_eq!(snapshots.all().expect("none"), []);
    let mut story = Story {
        disk,
        durable: Vec::new(),
        snapshots: Vec::new(),
    };
    let by_age = |ms| KeptRules { bytes: -1, ms };
    for end in [2, 4, 6] {
        story.write(&engine, &log, 2);
        log.roll();
        let id = SnapshotId {
            end_offset: end,
            epoch: 0,
        };
        snapshots.write(id, &told(end)).expect("written");
    }
    let offsets = || {
        let all = snapshots.all().expect("some");
        let all = all.iter().map(|(id, _)| id.end_offset);
        (log.offsets().log_start, all.collect::<Vec<_>>())
    };
    let retired = |rules, wall_ms| retire(&log, &*snapshots, rules, wall_ms).expect("retired");
    assert_eq!(retired(by_age(-1), i64::MAX), 0);
    assert_eq!(retired(by_age(10), 12), 0);
    assert_eq!(offsets(), (0, vec![2, 4, 6]));
    assert_eq!(retired(by_age(10), 13), 1);
    assert_eq!(offsets(), (4, vec![4, 6]));
    assert_eq!(retired(by_age(10), 1_000), 1);
    assert_eq!(offsets(), (6, vec![6]));
    assert_eq!(retired(by_age(0), i64::MAX), 0);
    engine.work();
    engine.close();
}
