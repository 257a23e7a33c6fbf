//! What the engine of files finds when it is opened again: after it was closed, after it ended between any two steps,
//! and after somebody has damaged or taken away what lies there.

mod files;

use files::Ending;
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::config::{BrokerConfig, Overrides, Scope, SharedConfig, TopicConfig};
use rustka_core::log::{Marker, Origin};
use rustka_core::time::Now;
use rustka_storage::disk::{Directory, DiskEngine, Fsync, Identity};
use rustka_storage::engine::PartitionName;
use rustka_storage::testing::{Folder, append};
use rustka_storage::{Engine, Memory, Partition};
use rustka_wire::Uuid;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

const NOW: Now = Now::new(0, 1_000);
const LOG: &str = "t-0/00000000000000000000.log";
const CLEAN: &str = ".kafka_cleanshutdown";
const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";

/// An engine in a folder, and a partition of it.
struct Life {
    engine: DiskEngine,
    partition: Arc<Partition>,
}

impl Life {
    fn begin(folder: &Folder, ending: &Arc<Ending>) -> Life {
        Life::with(folder, ending, Fsync::Always)
    }

    fn with(folder: &Folder, ending: &Arc<Ending>, fsync: Fsync) -> Life {
        let owner = Identity {
            node_id: 1,
            cluster_id: "restart".to_owned(),
            directory_id: Uuid([3; 16]),
        };
        let directory = Directory::open_in(ending.clone(), &folder.0, &owner).expect("opens");
        let memory = Memory::new(64 << 20);
        let engine = DiskEngine::by_hand(directory, memory, fsync).expect("an engine");
        let name = PartitionName {
            topic: "t",
            topic_id: Uuid([7; 16]),
            index: 0,
        };
        let partition = Partition::open(&engine, &name, false, NOW);
        Life { engine, partition }
    }

    /// Ends in order, as far as that can be done.
    fn close(self) {
        self.partition.checkpoint();
        self.engine.work();
        self.engine.close();
    }

    fn write(&self, batch: BatchBuilder, origin: Origin) -> i64 {
        let appended = append(&self.partition, batch, origin, NOW);
        let offset = appended.expect("an append").base_offset;
        self.engine.work();
        offset
    }

    fn put(&self, key: u64) -> i64 {
        self.put_of(key, 300)
    }

    fn put_of(&self, key: u64, bytes: usize) -> i64 {
        self.put_with(key, bytes, 1_000)
    }

    fn put_at(&self, key: u64, timestamp: i64) -> i64 {
        self.put_with(key, 300, timestamp)
    }

    fn put_with(&self, key: u64, bytes: usize, timestamp: i64) -> i64 {
        let record = NewRecord {
            timestamp,
            key: Some(&key.to_be_bytes()),
            value: Some(&vec![7; bytes]),
            ..NewRecord::default()
        };
        self.write(BatchBuilder::new().record(&record), Origin::Client)
    }

    /// The offset and the key of each record.
    fn records(&self) -> Vec<(i64, u64)> {
        let seen = self.partition.offsets();
        let mut records = Vec::new();
        let mut visit = |batch: &[u8]| {
            let header = BatchHeader::parse(batch).expect("a batch");
            let record = rustka_core::batch::Records::new(&batch[61..], 1).next();
            let key = record.expect("a record").expect("whole").key;
            let key = key.and_then(|key| key.try_into().ok());
            records.push((
                header.base_offset,
                u64::from_be_bytes(key.expect("a number")),
            ));
            true
        };
        let read = self
            .partition
            .each_batch(seen.log_start, seen.log_end, &mut visit);
        read.expect("readable");
        records
    }

    fn compacts(&self) {
        let broker = BrokerConfig::new([], false).expect("defaults");
        let configs = [
            ("cleanup.policy", Some("compact")),
            ("segment.bytes", Some("1048576")),
        ];
        let overrides = Overrides::parse(Scope::Topic, configs).expect("valid");
        let config = TopicConfig::resolve(&broker, &overrides);
        self.partition
            .obey(&Arc::new(SharedConfig::new(Arc::new(config))));
    }

    /// What fails is not tried again.
    fn compact(&self) {
        self.partition.give_up_compaction();
        if self.partition.wants_compaction(NOW) {
            self.partition.compact(NOW, 1);
        }
        self.engine.work();
    }
}

/// A log of five keys in three segments, and of one record in the next.
fn with_old_values(folder: &Folder) -> Vec<(i64, u64)> {
    let life = Life::begin(folder, &Ending::never());
    for n in 0..60 {
        life.put(n % 5);
        if n % 20 == 19 {
            life.partition.roll();
        }
    }
    life.put(77);
    let all = life.records();
    life.close();
    all
}

fn newest(records: &[(i64, u64)]) -> BTreeMap<u64, i64> {
    records
        .iter()
        .map(|(offset, key)| (*key, *offset))
        .collect()
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.0.join("t-0")).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn compaction_puts_one_segment_in_the_place_of_several() {
    let folder = Folder::made("restart");
    let all = with_old_values(&folder);
    let life = Life::begin(&folder, &Ending::never());
    life.compacts();
    life.compact();
    let left = life.records();
    let expected: Vec<(i64, u64)> = newest(&all)
        .into_iter()
        .map(|(key, at)| (at, key))
        .collect();
    assert_eq!(left, expected);
    assert_eq!(life.put(78), 61);
    let left = life.records();
    life.close();
    let logs = names(&folder)
        .into_iter()
        .filter(|name| name.ends_with(".log"));
    let expected = ["00000000000000000000.log", "00000000000000000060.log"];
    assert_eq!(logs.collect::<Vec<_>>(), expected);
    let cleaned = fs::read_to_string(folder.0.join("cleaner-offset-checkpoint"));
    assert_eq!(cleaned.expect("a file"), "0\n1\nt 0 60\n");
    let life = Life::begin(&folder, &Ending::never());
    assert_eq!(life.records(), left);
    life.compacts();
    assert!(
        !life.partition.wants_compaction(NOW),
        "it is known to be compacted"
    );
    life.close();
}

#[test]
fn a_log_whose_first_segments_were_compacted_away_begins_where_it_began() {
    let folder = Folder::made("restart");
    let life = Life::begin(&folder, &Ending::never());
    for _ in 0..3 {
        life.put_of(1, 600 << 10);
        life.partition.roll();
    }
    life.put(77);
    life.compacts();
    life.compact();
    let left = [(2, 1), (3, 77)];
    assert_eq!(life.records(), left);
    assert_eq!(life.partition.offsets().log_start, 0);
    life.close();
    for _ in ["after an orderly stop", "after a kill"] {
        let life = Life::begin(&folder, &Ending::never());
        assert_eq!(life.partition.offsets().log_start, 0);
        assert_eq!(life.records(), left);
    }
}

#[test]
fn compaction_that_ends_between_any_two_steps_leaves_a_log_with_the_newest_of_each_key() {
    let template = Folder::made("restart");
    let all = with_old_values(&template);
    let (newest, end) = (newest(&all), 61);
    let mut steps = 0;
    loop {
        let folder = Folder::copy_of(&template.0, "restart");
        let ending = Ending::never();
        let life = Life::begin(&folder, &ending);
        life.compacts();
        ending.after(steps);
        life.compact();
        let was_over = !ending.has_come();
        // As if it were killed.
        drop(life);
        let life = Life::begin(&folder, &Ending::never());
        let context = format!("after {steps} steps: {:?}", names(&folder));
        assert_eq!(life.partition.offsets().log_end, end, "{context}");
        let left = life.records();
        assert!(left.iter().all(|record| all.contains(record)), "{context}");
        assert_eq!(self::newest(&left), newest, "{context}");
        life.compacts();
        life.compact();
        assert_eq!(life.records().len(), newest.len(), "{context}");
        life.close();
        let odd = names(&folder)
            .into_iter()
            .find(|name| name.ends_with(".cleaned") || name.ends_with(".swap"));
        assert_eq!(odd, None, "{context}");
        if was_over {
            assert!(steps > 10, "{steps}");
            return;
        }
        steps += 1;
    }
}

fn verified() -> Origin {
    Origin::Verified {
        epoch_bumps: false,
        since: None,
    }
}

fn sequenced(producer: i64, sequence: i32) -> BatchBuilder {
    let record = NewRecord {
        timestamp: 1_000 + i64::from(sequence),
        ..NewRecord::default()
    };
    BatchBuilder::new()
        .producer(producer, 0, sequence)
        .record(&record)
}

/// What is known of a partition beside its records.
fn knowledge(life: &Life) -> String {
    let seen = life.partition.offsets();
    let known = life.partition.with_state(|state| {
        let mut producers: Vec<String> = state.producers().map(|one| format!("{one:?}")).collect();
        producers.sort();
        format!(
            "{:?} {:?} {producers:#?}",
            state.aborted_between(0, i64::MAX),
            state.epochs.entries()
        )
    });
    format!("{seen:?} {}", known.expect("readable"))
}

/// Two segments with two idempotent producers, an aborted transaction in each, and one that is open.
fn with_producers(folder: &Folder) -> String {
    let life = Life::begin(folder, &Ending::never());
    life.partition.set_leader(None, 3);
    for round in 0..2 {
        life.write(sequenced(5, round), Origin::Client);
        life.write(sequenced(6, round).transactional(), verified());
        life.write(sequenced(9, round), Origin::Client);
        let marker = Marker {
            commit: false,
            coordinator_epoch: 4,
            epoch_bumped: false,
        };
        let ended = life.partition.append_marker((6, 0), &marker, NOW);
        ended.expect("an end");
        life.engine.work();
        if round == 0 {
            life.partition.roll();
        }
    }
    life.write(sequenced(8, 0).transactional(), verified());
    let known = knowledge(&life);
    life.close();
    known
}

#[test]
fn what_lies_beside_the_batches_after_an_orderly_stop_is_what_kafka_counts_on() {
    let folder = Folder::made("restart");
    with_producers(&folder);
    let read = |name: &str| fs::read(folder.0.join(name)).unwrap_or_default();
    let text = |name: &str| String::from_utf8(read(name)).expect("text");
    assert_eq!(text("t-0/leader-epoch-checkpoint"), "0\n1\n3 0\n");
    for name in [RECOVERY_POINT, "replication-offset-checkpoint"] {
        assert_eq!(text(name), "0\n1\nt 0 9\n", "{name}");
    }
    assert_eq!(text("log-start-offset-checkpoint"), "0\n0\n");
    assert!(folder.0.join(CLEAN).exists());
    assert_eq!(
        names(&folder),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "00000000000000000000.txnindex",
            "00000000000000000004.index",
            "00000000000000000004.log",
            "00000000000000000004.snapshot",
            "00000000000000000004.timeindex",
            "00000000000000000004.txnindex",
            "00000000000000000009.snapshot",
            "leader-epoch-checkpoint",
            "partition.metadata",
        ]
    );
    // One aborted transaction each: producer, first offset, marker, and what was stable after it.
    let entry = |fields: [i64; 4]| {
        let mut bytes = vec![0, 0];
        bytes.extend(fields.map(i64::to_be_bytes).concat());
        bytes
    };
    assert_eq!(
        read("t-0/00000000000000000000.txnindex"),
        entry([6, 1, 3, 4])
    );
    assert_eq!(
        read("t-0/00000000000000000004.txnindex"),
        entry([6, 5, 7, 8])
    );
    assert_eq!(read("t-0/00000000000000000009.snapshot").len(), 10 + 4 * 46);
}

#[test]
fn side_files_that_are_gone_or_damaged_are_made_again() {
    let template = Folder::made("restart");
    let known = with_producers(&template);
    let all = names(&template);
    let side = |name: &&String| !name.ends_with(".log") && **name != "partition.metadata";
    for name in all.iter().filter(side) {
        for (was_clean, damage) in [(true, 0), (true, 1), (false, 0), (false, 1), (false, 2)] {
            let is_transactions = name.ends_with(".txnindex");
            if was_clean && damage == 0 && is_transactions {
                // Nobody can tell that there should be one.
                continue;
            }
            let folder = Folder::copy_of(&template.0, "restart");
            if !was_clean {
                fs::remove_file(folder.0.join(CLEAN)).expect("removed");
                // Nothing was promised.
                fs::write(folder.0.join(RECOVERY_POINT), "0\n0\n").expect("written");
            }
            let path = folder.0.join("t-0").join(name);
            damage_file(&path, damage);
            let context = format!("{name}, clean: {was_clean}, damage {damage}");
            let life = Life::begin(&folder, &Ending::never());
            assert_eq!(knowledge(&life), known, "{context}");
            life.close();
            // In the next life it is all there, whatever is believed.
            let life = Life::begin(&folder, &Ending::never());
            assert_eq!(knowledge(&life), known, "{context}, again");
            life.close();
            // One in the middle is of use only where a later one is gone.
            let needed = |name: &String| name != "00000000000000000004.snapshot";
            let there = names(&folder).into_iter().filter(needed);
            let expected = all.iter().filter(|name| needed(name)).cloned();
            assert_eq!(
                there.collect::<Vec<_>>(),
                expected.collect::<Vec<_>>(),
                "{context}"
            );
        }
    }
}

fn damage_file(path: &PathBuf, damage: u8) {
    let mut bytes = fs::read(path).expect("a file");
    match damage {
        0 => return fs::remove_file(path).expect("removed"),
        1 => bytes.extend([0xff; 5]),
        _ => bytes.truncate(bytes.len() / 2),
    }
    fs::write(path, bytes).expect("written");
}

/// Kafka leaves the indexes of its metadata as long as it made them, with zeros at their end, also when it stops in order.
#[test]
fn indexes_that_end_with_zeros_are_what_they_say_before_those() {
    let template = Folder::made("restart");
    let known = with_producers(&template);
    let names = [".index", ".timeindex"].map(|end| format!("t-0/00000000000000000004{end}"));
    let whole = names
        .each_ref()
        .map(|name| fs::read(template.0.join(name)).expect("an index"));
    for last in [0, 1] {
        let folder = Folder::copy_of(&template.0, "restart");
        for (name, whole) in names.iter().zip(&whole) {
            let mut longer = whole.clone();
            longer.resize(whole.len() + 240_000, 0);
            *longer.last_mut().expect("bytes") = last;
            fs::write(folder.0.join(name), longer).expect("written");
        }
        let life = Life::begin(&folder, &Ending::never());
        assert_eq!(knowledge(&life), known);
        for (name, whole) in names.iter().zip(&whole) {
            let now = fs::read(folder.0.join(name)).expect("an index");
            match last {
                0 => assert_eq!(now, *whole, "{name}"),
                // It is made anew, by time without the entry for the end.
                _ => assert!(now.len() <= whole.len(), "{name}"),
            }
        }
        assert_eq!(life.write(sequenced(5, 2), Origin::Client), 9);
        life.close();
        assert!(folder.0.join(CLEAN).exists());
    }
}

/// Kafka's recovery adds an entry by time at the end of what it has gone over, and goes on behind that.
#[test]
fn an_index_by_time_may_have_more_than_it_has_to() {
    let template = Folder::made("restart");
    let known = with_producers(&template);
    let name = "t-0/00000000000000000004.timeindex";
    let whole = fs::read(template.0.join(name)).expect("an index");
    let last = whole.last_chunk::<12>().expect("an entry");
    let timestamp = i64::from_be_bytes(last[..8].try_into().expect("eight"));
    for (more_ms, stays) in [(-1, true), (1, false)] {
        let folder = Folder::copy_of(&template.0, "restart");
        let entry = |timestamp: i64, offset: u32| {
            [&timestamp.to_be_bytes()[..], &offset.to_be_bytes()].concat()
        };
        let mut longer = whole[..whole.len() - 12].to_vec();
        longer.extend(entry(timestamp.min(timestamp + more_ms), 0));
        longer.extend(entry(timestamp.max(timestamp + more_ms), 4));
        fs::write(folder.0.join(name), &longer).expect("written");
        let life = Life::begin(&folder, &Ending::never());
        assert_eq!(knowledge(&life), known);
        let now = fs::read(folder.0.join(name)).expect("an index");
        assert_eq!(now == longer, stays, "{more_ms}");
        assert_eq!(life.write(sequenced(5, 2), Origin::Client), 9);
        life.close();
        let again = Life::begin(&folder, &Ending::never());
        assert_eq!(again.partition.offsets().log_end, 10);
        again.close();
    }
}

#[test]
fn records_are_found_by_their_times_in_every_segment_after_a_start() {
    for in_order in [true, false] {
        let folder = Folder::made("restart");
        let life = Life::begin(&folder, &Ending::never());
        for n in 0..9 {
            life.put_at(n, 1_000 + n as i64);
            if n % 3 == 2 {
                life.partition.roll();
            }
        }
        life.put_at(9, 500);
        match in_order {
            true => life.close(),
            false => drop(life),
        }
        let life = Life::begin(&folder, &Ending::never());
        for (wanted, first) in [(400, 0), (1_000, 0), (1_002, 0), (1_003, 3), (1_008, 6)] {
            let late = life.partition.first_late(0, wanted).expect("readable");
            let offsets = late.map(|late| late.offsets.start);
            assert_eq!(offsets, Some(first), "{wanted}, in order: {in_order}");
        }
        let none = life.partition.first_late(0, 1_009).expect("readable");
        assert!(none.is_none());
        life.close();
    }
}

#[test]
fn a_mark_that_lies_is_not_believed() {
    let template = Folder::made("restart");
    let known = with_producers(&template);
    let log = "t-0/00000000000000000004.log";
    let whole = fs::read(template.0.join(log)).expect("the log");
    for lie in 0..3 {
        let folder = Folder::copy_of(&template.0, "restart");
        let mut bytes = whole.clone();
        match lie {
            0 => bytes.extend_from_slice(&whole[..70]),
            1 => *bytes.last_mut().expect("bytes") ^= 1,
            _ => bytes.truncate(whole.len() - 1),
        }
        fs::write(folder.0.join(log), bytes).expect("written");
        let life = Life::begin(&folder, &Ending::never());
        match lie {
            0 => assert_eq!(knowledge(&life), known),
            // The last batch was promised to be kept.
            _ => assert_eq!(life.partition.damaged(), std::slice::from_ref(&(8..9))),
        }
        assert_eq!(life.partition.offsets().log_end, 9);
        assert_eq!(life.write(sequenced(5, 2), Origin::Client), 9);
        life.close();
    }
}

#[test]
fn the_mark_of_an_orderly_stop_is_left_only_where_all_is_true() {
    let template = Folder::made("restart");
    with_old_values(&template);
    let mut steps = 0;
    loop {
        let folder = Folder::copy_of(&template.0, "restart");
        let ending = Ending::never();
        let life = Life::begin(&folder, &ending);
        life.put(3);
        ending.after(steps);
        life.close();
        if !ending.has_come() {
            assert!(folder.0.join(CLEAN).exists());
            assert!(steps > 5, "{steps}");
            return;
        }
        // What was decided last is the mark itself.
        if folder.0.join(CLEAN).exists() {
            let life = Life::begin(&folder, &Ending::never());
            assert_eq!(life.partition.offsets().log_end, 62, "after {steps} steps");
        }
        steps += 1;
    }
}

/// Kafka ended over such a directory: a log of metadata whose records had all gone into a snapshot was found to begin
/// before them, since the stop had made the file of a segment anew that retention had dropped.
#[test]
fn a_stop_makes_no_file_anew_of_a_segment_that_has_gone() {
    for is_rolled in [true, false] {
        let folder = Folder::made("restart");
        let life = Life::begin(&folder, &Ending::never());
        for n in 0..20 {
            life.put(n);
        }
        match is_rolled {
            true => life.partition.roll(),
            // As it is noted once a minute.
            false => assert!(life.partition.checkpoint()),
        }
        life.engine.work();
        life.partition.delete_records(20).expect("they are there");
        life.engine.work();
        life.close();
        let bases: Vec<String> = names(&folder)
            .into_iter()
            .filter(|name| name.ends_with("log") || name.ends_with("index"))
            .collect();
        let base = "00000000000000000020";
        let expected = ["index", "log", "timeindex"].map(|kind| format!("{base}.{kind}"));
        assert_eq!(bases, expected, "{is_rolled}");
        let life = Life::begin(&folder, &Ending::never());
        let offsets = life.partition.offsets();
        assert_eq!((offsets.log_start, offsets.log_end), (20, 20));
        assert_eq!(life.put(1), 20);
    }
}

#[test]
fn a_log_of_the_same_name_is_not_taken_for_the_one_before_it() {
    let folder = Folder::made("restart");
    with_old_values(&folder);
    let life = Life::begin(&folder, &Ending::never());
    life.partition.delete();
    let name = PartitionName {
        topic: "t",
        topic_id: Uuid([8; 16]),
        index: 0,
    };
    let second = Partition::open(&life.engine, &name, false, NOW);
    let second = Life {
        engine: life.engine,
        partition: second,
    };
    assert_eq!(second.put(1), 0);
    // As if it were killed.
    drop(second);
    assert!(folder.0.join(LOG).exists());
    let noted = fs::read_to_string(folder.0.join(RECOVERY_POINT)).expect("a file");
    assert_eq!(noted, "0\n0\n");
}

#[test]
fn a_partition_may_lie_elsewhere_behind_a_link() {
    let folder = Folder::made("restart");
    let elsewhere = Folder::made("restart");
    let all = with_old_values(&folder);
    let (link, there) = (folder.0.join("t-0"), elsewhere.0.join("t-0"));
    fs::rename(&link, &there).expect("a folder");
    std::os::unix::fs::symlink(&there, &link).expect("a link");
    let life = Life::begin(&folder, &Ending::never());
    assert_eq!(life.records(), all);
    assert_eq!(life.put(78), 61);
    // As if it were killed.
    drop(life);
    let life = Life::begin(&folder, &Ending::never());
    assert_eq!(life.records().len(), all.len() + 1);
    life.close();
    // The volume to which it leads is not there: nothing begins in its place.
    fs::rename(&there, elsewhere.0.join("away")).expect("a folder");
    let life = Life::begin(&folder, &Ending::never());
    assert!(life.partition.usable_offsets().is_err());
    drop(life);
    fs::rename(elsewhere.0.join("away"), &there).expect("a folder");
    let life = Life::begin(&folder, &Ending::never());
    assert_eq!(life.records().len(), all.len() + 1);
    life.partition.delete();
    life.engine.work();
    life.engine.tick(Now::new(1, 1_001));
    life.engine.tick(Now::new(100_000, 101_000));
    life.engine.work();
    let left = fs::read_dir(&folder.0).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    let is_left = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("t-0");
    assert!(!left.iter().any(is_left), "{left:?}");
}

#[test]
fn records_that_were_not_opened_are_never_written_over() {
    let folder = Folder::made("restart");
    let all = with_old_values(&folder);
    let life = Life::begin(&folder, &Ending::never());
    let name = PartitionName {
        topic: "t",
        topic_id: Uuid([7; 16]),
        index: 0,
    };
    let again = Partition::open(&life.engine, &name, false, NOW);
    let record = BatchBuilder::new().record(&NewRecord::default());
    append(&again, record, Origin::Client, NOW).expect("an append");
    life.engine.work();
    assert_eq!(again.offsets().high_watermark, 0);
    drop((again, life));
    let life = Life::begin(&folder, &Ending::never());
    assert_eq!(life.records(), all);
}

#[test]
fn what_is_noted_of_logs_is_read_before_anything_is_changed() {
    for name in [
        RECOVERY_POINT,
        "log-start-offset-checkpoint",
        "cleaner-offset-checkpoint",
    ] {
        let folder = Folder::made("restart");
        with_old_values(&folder);
        fs::write(folder.0.join(name), "0\n7\nt 0 1\n").expect("a file");
        let files: Arc<dyn rustka_storage::disk::Files> = Ending::never();
        let owner = Identity {
            node_id: 1,
            cluster_id: "restart".to_owned(),
            directory_id: Uuid([3; 16]),
        };
        let refused = Directory::open_in(files, &folder.0, &owner).err();
        let why = refused.expect("refused").to_string();
        assert!(why.contains(name), "{why}");
        assert!(why.contains("is to have '7' rows, and has 1"), "{why}");
        assert!(folder.0.join(CLEAN).exists(), "{name}");
    }
}

/// A batch's offset is the only part of it for which no checksum holds.
#[test]
fn an_offset_that_changes_by_itself_takes_its_own_batch_out_and_no_other() {
    for is_closed in [false, true] {
        for batch in 0..5_i64 {
            for bit in [0, 1, 3, 20, 42, 62] {
                let folder = Folder::made("restart");
                let life = Life::begin(&folder, &Ending::never());
                for key in 0..5 {
                    life.put(key);
                }
                let length = life.partition.bytes() / 5;
                if is_closed {
                    life.partition.roll();
                    life.put(5);
                }
                let all = life.records();
                life.close();
                fs::remove_file(folder.0.join(CLEAN)).expect("removed");
                // Everything was promised, and is gone over.
                let path = folder.0.join(LOG);
                let mut bytes = fs::read(&path).expect("a file");
                let at = batch as u64 * length + 7 - bit / 8;
                bytes[at as usize] ^= 1 << (bit % 8);
                fs::write(&path, bytes).expect("a file");
                let noted = folder.0.join(RECOVERY_POINT);
                fs::write(noted, format!("0\n1\nt 0 {}\n", all.len())).expect("a file");
                fs::remove_file(folder.0.join("t-0/00000000000000000005.snapshot")).ok();
                fs::remove_file(folder.0.join("t-0/00000000000000000006.snapshot")).ok();
                let life = Life::begin(&folder, &Ending::never());
                let which = format!("batch {batch}, bit {bit}, closed: {is_closed}");
                let damaged = life.partition.damaged();
                assert_eq!(damaged.first(), Some(&(batch..batch + 1)), "{which}");
                assert_eq!(damaged.len(), 1, "{which}");
                let offsets = life.partition.offsets();
                assert_eq!(offsets.log_end, all.len() as i64, "{which}");
                for (offset, _) in &all {
                    let read = life.partition.read(*offset, i64::MAX, 1, true);
                    let first = read.map(|read| {
                        let first = read.first().map(|slice| BatchHeader::parse(slice));
                        first.expect("a batch").expect("a batch").base_offset
                    });
                    let wanted = Some(*offset).filter(|offset| *offset != batch);
                    assert_eq!(first.ok(), wanted, "{which}, offset {offset}");
                }
            }
        }
    }
}

#[test]
fn a_segment_that_is_gone_by_itself_is_told_of_and_not_passed_over() {
    let folder = Folder::made("restart");
    with_old_values(&folder);
    fs::remove_file(folder.0.join("t-0/00000000000000000020.log")).expect("removed");
    let life = Life::begin(&folder, &Ending::never());
    assert_eq!(life.partition.damaged().first(), Some(&(20..40)));
    assert!(life.partition.read(20, i64::MAX, 1, true).is_err());
    assert!(life.partition.read(40, i64::MAX, 1, true).is_ok());
    life.close();
    let life = Life::begin(&folder, &Ending::never());
    assert_eq!(life.partition.damaged().first(), Some(&(20..40)));
}
