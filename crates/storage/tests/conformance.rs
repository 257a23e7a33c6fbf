//! What every storage engine has to do, against memory, against files and against an engine that delays writes and
//! reorders them across partitions; then what happens when that one fails.

use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::Memory;
use rustka_storage::disk::{Directory, DiskEngine, Fsync, Identity};
use rustka_storage::engine::{ChunkInfo, Replacement, SwapFailed};
use rustka_storage::memory::MemoryEngine;
use rustka_storage::testing::{Folder, PLENTY, Random, TestEngine};
use rustka_storage::waiters::Waiter;
use rustka_storage::{
    Appended, Durability, DurabilityObserver, Engine, Fate, Incoming, Offsets, Partition,
    RetentionRules, Safety,
};
use rustka_wire::Uuid;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

const TOPIC: Uuid = Uuid([7; 16]);
const NOTHING_GOES: RetentionRules = RetentionRules {
    retention_ms: -1,
    retention_bytes: -1,
    delete: true,
};

fn at(wall_ms: i64) -> Now {
    Now::new(wall_ms, wall_ms)
}

/// An engine under test, and how its writes become durable.
struct Rig {
    engine: Arc<dyn Engine>,
    later: Option<Later>,
    /// Removed at the end.
    _folder: Option<Folder>,
}

/// An engine whose writes are durable when the test says so.
enum Later {
    Played(Arc<TestEngine>),
    Disk(Arc<DiskEngine>),
}

impl Rig {
    fn memory() -> Rig {
        Rig {
            engine: Arc::new(MemoryEngine::new(Memory::new(PLENTY))),
            later: None,
            _folder: None,
        }
    }

    fn delaying() -> Rig {
        let engine = TestEngine::new(PLENTY);
        engine.hold();
        Rig {
            engine: engine.clone(),
            later: Some(Later::Played(engine)),
            _folder: None,
        }
    }

    fn disk() -> Rig {
        let folder = Folder::new("conformance");
        let owner = Identity {
            node_id: 1,
            cluster_id: "conformance".to_owned(),
            directory_id: Uuid([3; 16]),
        };
        let directory = Directory::open(&folder.0, &owner).expect("a directory");
        let engine = DiskEngine::by_hand(directory, Memory::new(PLENTY), Fsync::Always);
        let engine = Arc::new(engine.expect("an engine"));
        Rig {
            engine: engine.clone(),
            later: Some(Later::Disk(engine)),
            _folder: Some(folder),
        }
    }

    fn is_memory(&self) -> bool {
        self.later.is_none()
    }

    fn partition(&self, index: i32) -> Arc<Partition> {
        Partition::new(&*self.engine, TOPIC, index, true)
    }

    /// Everything so far is written, and not durable yet.
    fn write_all(&self) {
        match &self.later {
            None => {}
            Some(Later::Played(engine)) => engine.write_all(),
            Some(Later::Disk(engine)) => engine.write_all(),
        }
    }

    /// Some of what was written becomes durable.
    fn settle_some(&self, random: &mut Random) {
        match &self.later {
            None => {}
            Some(Later::Played(engine)) => {
                engine.settle_one(random.draw());
                engine.settle_one(random.draw());
            }
            Some(Later::Disk(engine)) => {
                engine.work_one();
                engine.work_one();
            }
        }
    }

    /// Everything written so far into this partition becomes durable.
    fn settle_only(&self, partition: &Partition) {
        match &self.later {
            None => {}
            Some(Later::Played(engine)) => while engine.settle(partition) {},
            Some(Later::Disk(engine)) => engine.work_for(partition),
        }
    }

    /// Everything written so far becomes durable.
    fn settle(&self, seed: u64) {
        match &self.later {
            None => {}
            Some(Later::Played(engine)) => engine.settle_all(seed),
            Some(Later::Disk(engine)) => engine.work(),
        }
    }
}

/// Runs each of these against all engines, under its own name.
macro_rules! conformance {
    ($($name:ident)*) => {
        mod memory { $(#[test] fn $name() { super::$name(&super::Rig::memory()); })* }
        mod delaying { $(#[test] fn $name() { super::$name(&super::Rig::delaying()); })* }
        mod disk { $(#[test] fn $name() { super::$name(&super::Rig::disk()); })* }
    };
}

conformance! {
    offsets_follow_each_other_and_batches_come_back_as_they_were_written
    a_read_is_whole_batches_within_its_limit_and_at_least_one_if_asked
    no_read_reaches_its_upper_bound
    readers_see_a_batch_once_it_is_durable_and_no_error_before
    a_duplicate_is_durable_when_its_original_is
    partitions_do_not_wait_for_each_other
    a_waiting_fetch_wakes_when_it_has_enough
    a_waiting_fetch_wakes_when_the_log_start_moves_or_the_partition_goes
    deleted_records_go_in_whole_chunks_and_are_not_read_again
    retention_drops_the_oldest_chunks_by_size_and_by_age
    chunks_are_shown_from_any_offset_on_with_what_is_known_of_them
    a_deleted_partition_refuses_and_gives_its_memory_back
    an_observer_hears_every_write_become_durable
    random_histories_keep_the_order_of_the_watch
}

/// Runs each of these against the engines that keep everything in memory.
macro_rules! in_memory {
    ($($name:ident)*) => {
        mod only_memory { $(#[test] fn $name() { super::$name(&super::Rig::memory()); })* }
        mod only_delaying { $(#[test] fn $name() { super::$name(&super::Rig::delaying()); })* }
    };
}

in_memory! {
    eviction_takes_the_oldest_chunk_and_only_of_partitions_that_may_lose_records
    the_first_late_batch_is_among_those_that_are_named
    a_closed_chunk_is_swapped_for_a_smaller_one_and_keeps_its_offsets
    a_swap_that_comes_too_late_changes_nothing
}

fn batch(records: usize, value: &[u8], timestamp: i64) -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    for _ in 0..records {
        batch.push(&NewRecord {
            timestamp,
            value: Some(value),
            ..NewRecord::default()
        });
    }
    batch.build().expect("a batch")
}

fn write(partition: &Partition, mut bytes: Vec<u8>, now: Now) -> Result<Appended, ErrorCode> {
    let header = BatchHeader::parse(&bytes).expect("a batch");
    partition
        .append(Incoming::Copied(&mut bytes), &header, Origin::Client, now)
        .map_err(|refusal| refusal.code)
}

fn append(partition: &Partition, bytes: Vec<u8>) -> Appended {
    write(partition, bytes, at(1_000)).expect("an append")
}

/// The base offsets of the batches that a read gives.
fn read(partition: &Partition, offset: i64, upper: i64, max: usize, one: bool) -> Vec<i64> {
    let slices = partition.read(offset, upper, max, one).expect("a read");
    let mut offsets = Vec::new();
    for slice in slices {
        let mut left = &*slice;
        while !left.is_empty() {
            let header = BatchHeader::parse(left).expect("whole batches only");
            offsets.push(header.base_offset);
            left = &left[header.total_bytes()..];
        }
    }
    offsets
}

fn fired(waiter: &Waiter) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    waiter.poll_fired(&mut cx).is_ready()
}

fn fetch(partition: &Partition, offset: i64) -> Result<usize, ErrorCode> {
    let (_, read) = partition.fetch(offset, false, usize::MAX, true);
    read.map(|found| found.bytes())
}

fn offsets_follow_each_other_and_batches_come_back_as_they_were_written(rig: &Rig) {
    let partition = rig.partition(0);
    let mut expected = 0;
    for n in 1..50 {
        let bytes = batch(n % 5 + 1, &vec![n as u8; n * 100], 1_000);
        assert_eq!(append(&partition, bytes.clone()).base_offset, expected);
        let back = partition.read(expected, i64::MAX, 0, true).expect("a read");
        let header = BatchHeader::parse(&back[0]).expect("a batch");
        assert_eq!((header.base_offset, back[0].len()), (expected, bytes.len()));
        // All but offset and epoch, which stand in front of the checksum.
        assert_eq!(back[0][16..], bytes[16..]);
        expected += (n % 5) as i64 + 1;
    }
    assert_eq!(partition.offsets().log_end, expected);
    rig.settle(1);
    assert_eq!(partition.offsets().high_watermark, expected);
}

fn a_read_is_whole_batches_within_its_limit_and_at_least_one_if_asked(rig: &Rig) {
    let partition = rig.partition(0);
    let length = batch(1, b"value", 1_000).len();
    for _ in 0..10 {
        append(&partition, batch(1, b"value", 1_000));
    }
    let whole = |max, one| read(&partition, 2, i64::MAX, max, one);
    assert_eq!(whole(length * 3 + length / 2, false), [2, 3, 4]);
    assert_eq!(whole(length * 3, true), [2, 3, 4]);
    assert_eq!(whole(length - 1, true), [2]);
    assert_eq!(whole(length - 1, false), [0; 0]);
    assert_eq!(whole(usize::MAX, false).len(), 8);
    // An offset within a batch gives that batch.
    append(&partition, batch(5, b"value", 1_000));
    assert_eq!(read(&partition, 13, i64::MAX, 1, true), [10]);
}

fn no_read_reaches_its_upper_bound(rig: &Rig) {
    let partition = rig.partition(0);
    for n in 0..200 {
        append(&partition, batch(1, &vec![0; n * 20], 1_000));
    }
    for upper in [0, 1, 99, 200, 500] {
        let expected: Vec<i64> = (0..upper.min(200)).collect();
        assert_eq!(read(&partition, 0, upper, usize::MAX, true), expected);
    }
    assert_eq!(read(&partition, 7, 7, usize::MAX, true), [0; 0]);
}

fn readers_see_a_batch_once_it_is_durable_and_no_error_before(rig: &Rig) {
    let partition = rig.partition(0);
    let appended = append(&partition, batch(3, b"value", 1_000));
    assert_eq!(partition.offsets().log_end, 3);
    if !rig.is_memory() {
        let later = Durability::At(3);
        assert_eq!((appended.written, appended.durability), (later, later));
        rig.write_all();
        assert_eq!(partition.fate_of(3, Safety::Written), Fate::Durable);
        assert_eq!(partition.fate(3), Fate::Pending);
        assert_eq!(partition.offsets().high_watermark, 0);
        for unseen in 0..=3 {
            assert_eq!(fetch(&partition, unseen), Ok(0));
        }
    } else {
        let done = Durability::Done;
        assert_eq!((appended.written, appended.durability), (done, done));
    }
    assert_eq!(fetch(&partition, 4), Err(ErrorCode::OffsetOutOfRange));
    // Nobody waits for it.
    rig.settle(1);
    assert_eq!(partition.fate(3), Fate::Durable);
    assert_eq!(partition.offsets().high_watermark, 3);
    assert!(fetch(&partition, 0).expect("a fetch") > 0);
}

fn a_duplicate_is_durable_when_its_original_is(rig: &Rig) {
    let partition = rig.partition(0);
    let sequenced = || {
        let record = NewRecord {
            timestamp: 1_000,
            value: Some(b"v"),
            ..NewRecord::default()
        };
        let batch = BatchBuilder::new().producer(9, 0, 0).record(&record);
        batch.build().expect("a batch")
    };
    let original = append(&partition, sequenced());
    let again = append(&partition, sequenced());
    assert_eq!(again.duplicate_timestamp, Some(1_000));
    assert_eq!(again.durability, original.durability);
    rig.settle(1);
    let late = append(&partition, sequenced());
    assert_eq!((late.base_offset, late.durability), (0, Durability::Done));
    assert_eq!(partition.offsets().high_watermark, 1);
}

fn partitions_do_not_wait_for_each_other(rig: &Rig) {
    let partitions = [rig.partition(0), rig.partition(1)];
    for partition in &partitions {
        append(partition, batch(1, b"value", 1_000));
        append(partition, batch(1, b"value", 1_000));
    }
    if !rig.is_memory() {
        rig.settle_only(&partitions[1]);
        assert_eq!(partitions[0].fate(1), Fate::Pending);
    }
    assert_eq!(partitions[1].fate(2), Fate::Durable);
    rig.settle(1);
    assert_eq!(partitions[0].fate(2), Fate::Durable);
}

fn a_waiting_fetch_wakes_when_it_has_enough(rig: &Rig) {
    let partition = rig.partition(0);
    let length = batch(1, b"value", 1_000).len() as u64;
    append(&partition, batch(1, b"value", 1_000));
    rig.settle(1);
    let waiter = Waiter::new();
    let appended = partition.register(&waiter);
    partition.want_bytes(&waiter, appended + 2 * length);
    append(&partition, batch(1, b"value", 1_000));
    rig.settle(1);
    append(&partition, batch(1, b"value", 1_000));
    assert_eq!(fired(&waiter), rig.is_memory());
    rig.settle(1);
    assert!(fired(&waiter));
    partition.unregister(&waiter);
}

fn a_waiting_fetch_wakes_when_the_log_start_moves_or_the_partition_goes(rig: &Rig) {
    let partition = rig.partition(0);
    append(&partition, batch(2, b"value", 1_000));
    rig.settle(1);
    let waiter = Waiter::new();
    partition.register(&waiter);
    partition.delete_records(1).expect("within the log");
    assert!(fired(&waiter));
    waiter.rearm();
    assert!(!fired(&waiter));
    partition.delete();
    assert!(fired(&waiter));
}

fn deleted_records_go_in_whole_chunks_and_are_not_read_again(rig: &Rig) {
    let partition = rig.partition(0);
    for _ in 0..10 {
        append(&partition, batch(1, &[0; 1_000], 1_000));
        partition.roll();
    }
    if !rig.is_memory() {
        let early = partition.delete_records(4).map_err(|refusal| refusal.code);
        assert_eq!(early, Err(ErrorCode::OffsetOutOfRange), "not durable yet");
    }
    rig.settle(1);
    let bytes = partition.bytes();
    assert_eq!(partition.delete_records(4).expect("within the log"), 4);
    assert_eq!(partition.bytes(), bytes * 6 / 10);
    assert_eq!(fetch(&partition, 3), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(read(&partition, 4, i64::MAX, 1, true), [4]);
    let beyond = partition.delete_records(11).map_err(|refusal| refusal.code);
    assert_eq!(beyond, Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(partition.delete_records(-1).expect("everything"), 10);
    assert_eq!((partition.bytes(), fetch(&partition, 10)), (0, Ok(0)));
    assert_eq!(append(&partition, batch(1, b"v", 1_000)).base_offset, 10);
}

fn retention_drops_the_oldest_chunks_by_size_and_by_age(rig: &Rig) {
    let partition = rig.partition(0);
    for n in 0..10 {
        append(&partition, batch(1, &[0; 1_000], 1_000 + n));
        partition.roll();
    }
    let one = partition.bytes() / 10;
    let by_size = RetentionRules {
        retention_bytes: i64::try_from(one * 4).expect("small"),
        ..NOTHING_GOES
    };
    if !rig.is_memory() {
        partition.retain(&by_size, at(2_000));
        assert_eq!(partition.offsets().log_start, 0, "not durable yet");
    }
    rig.settle(1);
    partition.retain(&by_size, at(2_000));
    assert_eq!(partition.offsets().log_start, 6);
    let by_age = RetentionRules {
        retention_ms: 500,
        ..NOTHING_GOES
    };
    partition.retain(&by_age, at(1_506));
    assert_eq!(partition.offsets().log_start, 6, "not old enough");
    partition.retain(&by_age, at(1_508));
    assert_eq!(partition.offsets().log_start, 8);
    let kept = RetentionRules {
        delete: false,
        ..by_age
    };
    partition.retain(&kept, at(9_000));
    assert_eq!(partition.offsets().log_start, 8);
}

fn chunks_are_shown_from_any_offset_on_with_what_is_known_of_them(rig: &Rig) {
    let partition = rig.partition(0);
    for (n, timestamp) in [(0, 50), (1, 90), (2, 70), (3, -1)] {
        let append = write(&partition, batch(2, &[0; 100], timestamp), at(1_000 + n));
        append.expect("an append");
        let late = batch(1, &[0; 100], timestamp.min(60));
        write(&partition, late, at(1_500 + n)).expect("an append");
        partition.roll();
    }
    let shown = |offset, most| {
        let mut chunks = Vec::new();
        let mut visit = |chunk: &ChunkInfo| {
            chunks.push((chunk.base_offset, chunk.next_offset, chunk.max_timestamp));
            assert_eq!(chunk.written_ms, chunk.opened_ms + 500);
            assert_eq!(chunk.first_timestamp, chunk.max_timestamp);
            chunks.len() < most
        };
        partition.each_chunk(offset, &mut visit).expect("readable");
        chunks
    };
    let all = [(0, 3, 50), (3, 6, 90), (6, 9, 70), (9, 12, -1)];
    assert_eq!(shown(0, 9), all);
    assert_eq!(shown(5, 9), all[1..]);
    assert_eq!(shown(3, 2), all[1..3]);
    assert_eq!(shown(12, 9), []);
}

/// Times go up and down; the oldest chunks, the latest time among them, go; others are replaced by smaller ones.
fn the_first_late_batch_is_among_those_that_are_named(rig: &Rig) {
    let partition = rig.partition(0);
    let mut random = Random(3);
    let mut times = vec![900];
    append(&partition, batch(1, &[0; 1_000], 900));
    partition.roll();
    for n in 1..200i64 {
        let time = n + i64::try_from(random.below(40)).expect("small");
        times.push(time);
        append(&partition, batch(1, &[0; 1_000], time));
        if random.below(9) == 0 {
            partition.roll();
        }
    }
    let check = |start: i64, gone: std::ops::Range<i64>| {
        for target in 0..=901 {
            let late = |offset: &i64| times[*offset as usize] >= target && !gone.contains(offset);
            let expected = (start..200).find(late);
            let (mut from, mut found) = (start, None);
            while let Some(named) = partition.first_late(from, target).expect("readable") {
                let named = named.offsets;
                assert!(named.start >= from && named.end > named.start);
                from = named.end;
                found = named.clone().find(late);
                if found.is_some() {
                    break;
                }
            }
            assert_eq!(found, expected, "{start} {target}");
        }
    };
    check(0, 0..0);
    check(50, 0..0);
    rig.settle(1);
    partition.delete_records(1).expect("deleted");
    check(1, 0..0);
    let chunk = partition.closed().swap_remove(4).info;
    let (from, to) = (chunk.base_offset, chunk.next_offset);
    let mut first = replacement(&partition, &[from], to);
    first.max_timestamp = times[from as usize];
    partition.swap(from, to, vec![first]).expect("in time");
    check(1, from + 1..to);
}

fn eviction_takes_the_oldest_chunk_and_only_of_partitions_that_may_lose_records(rig: &Rig) {
    let partition = rig.partition(0);
    for _ in 0..3 {
        append(&partition, batch(1, &[0; 1_000], 1_000));
        partition.roll();
    }
    let sequences: Vec<u64> = partition
        .closed()
        .iter()
        .map(|closed| closed.info.sequence)
        .collect();
    assert!(!partition.evict(sequences[1]), "not the oldest");
    partition.set_evictable(false);
    assert!(!partition.evict(sequences[0]), "not allowed");
    partition.set_evictable(true);
    if !rig.is_memory() {
        assert!(!partition.evict(sequences[0]), "not durable yet");
    }
    rig.settle(1);
    assert!(partition.evict(sequences[0]));
    assert!(!partition.evict(sequences[0]), "gone already");
    assert_eq!(partition.offsets().log_start, 1);
    assert_eq!(fetch(&partition, 0), Err(ErrorCode::OffsetOutOfRange));
}

/// A chunk made of the batches with these offsets.
fn replacement(partition: &Partition, kept: &[i64], next_offset: i64) -> Replacement {
    let mut bytes = Vec::new();
    for offset in kept {
        let slices = partition.read(*offset, i64::MAX, 0, true).expect("a read");
        bytes.extend_from_slice(&slices[0]);
    }
    let mut sink = partition.sink(bytes.len()).expect("a sink");
    sink.push(&bytes).expect("room");
    Replacement {
        base_offset: kept[0],
        next_offset,
        max_timestamp: 1_000,
        content: sink.content().expect("content"),
    }
}

fn a_closed_chunk_is_swapped_for_a_smaller_one_and_keeps_its_offsets(rig: &Rig) {
    let partition = rig.partition(0);
    for n in 0..12 {
        append(&partition, batch(1, &[0; 50], 1_000));
        if n % 4 == 3 {
            partition.roll();
        }
    }
    append(&partition, batch(1, b"open", 1_000));
    rig.settle(1);
    let closed = partition.closed();
    assert_eq!(closed.len(), 3, "the newest is open");
    let (bytes, one) = (partition.bytes(), closed[0].info.bytes / 4);
    let new = replacement(&partition, &[1, 5, 7], 8);
    partition.swap(0, 8, vec![new]).expect("unchanged");
    assert_eq!(
        read(&partition, 0, i64::MAX, usize::MAX, true),
        [1, 5, 7, 8, 9, 10, 11, 12]
    );
    assert_eq!(partition.bytes(), bytes - one * 5);
    // An offset that is gone gives what comes after it.
    assert_eq!(read(&partition, 2, i64::MAX, 0, true), [5]);
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start, offsets.high_watermark), (0, 13));
    // A range may become empty, and further writes go on behind.
    partition.swap(8, 12, Vec::new()).expect("unchanged");
    append(&partition, batch(1, b"next", 1_000));
    assert_eq!(read(&partition, 6, i64::MAX, usize::MAX, true), [7, 12, 13]);
}

fn a_swap_that_comes_too_late_changes_nothing(rig: &Rig) {
    let partition = rig.partition(0);
    for _ in 0..4 {
        append(&partition, batch(1, b"value", 1_000));
        partition.roll();
    }
    rig.settle(1);
    let two = |from| vec![replacement(&partition, &[from], from + 2)];
    let late = two(0);
    partition.delete_records(1).expect("within the log");
    assert_eq!(partition.swap(0, 2, late), Err(SwapFailed::Stale));
    append(&partition, batch(1, b"open", 1_000));
    assert_eq!(partition.swap(3, 5, two(3)), Err(SwapFailed::Stale), "open");
    let many = vec![
        replacement(&partition, &[1], 2),
        replacement(&partition, &[2], 3),
    ];
    assert_eq!(
        partition.swap(1, 2, many),
        Err(SwapFailed::Stale),
        "more than before"
    );
    assert_eq!(
        read(&partition, 1, i64::MAX, usize::MAX, true),
        [1, 2, 3, 4]
    );
    partition.delete();
    assert_eq!(
        partition.swap(1, 2, Vec::new()),
        Err(SwapFailed::Stale),
        "deleted"
    );
}

fn a_deleted_partition_refuses_and_gives_its_memory_back(rig: &Rig) {
    let partition = rig.partition(0);
    append(&partition, batch(1, &[0; 50_000], 1_000));
    assert!(rig.engine.memory().pool.bytes_in_use() > 0);
    partition.delete();
    assert_eq!(rig.engine.memory().pool.bytes_in_use(), 0);
    let gone = ErrorCode::UnknownTopicOrPartition;
    let refused = write(&partition, batch(1, b"v", 1_000), at(1_000));
    assert_eq!(refused.err(), Some(gone));
    assert_eq!(fetch(&partition, 0), Err(gone));
    assert_eq!(partition.usable_offsets().err(), Some(gone));
    // What was on its way is reported to nobody.
    rig.settle(1);
    let waiter = Waiter::new();
    partition.register(&waiter);
    assert!(fired(&waiter));
}

#[derive(Default)]
struct Ears(Mutex<Vec<(Fate, i64)>>);

impl Ears {
    fn heard(&self) -> Vec<(Fate, i64)> {
        self.0.lock().expect("ears").clone()
    }
}

impl DurabilityObserver for Ears {
    fn durable(&self, position: i64) {
        self.0.lock().expect("ears").push((Fate::Durable, position));
    }

    fn failed(&self, position: i64) {
        self.0.lock().expect("ears").push((Fate::Failed, position));
    }
}

fn an_observer_hears_every_write_become_durable(rig: &Rig) {
    let (partition, ears) = (rig.partition(0), Arc::new(Ears::default()));
    partition.observe(ears.clone());
    let durabilities: Vec<_> = (0..3)
        .map(|_| append(&partition, batch(1, b"v", 1_000)).durability)
        .collect();
    rig.settle(1);
    // What was durable at once is not told: the append has said it.
    let heard = ears.heard();
    assert_eq!(heard.is_empty(), rig.is_memory());
    for durability in durabilities {
        if let Durability::At(position) = durability {
            // Several may be told at once.
            let is_told =
                |(fate, up_to): &(Fate, i64)| *fate == Fate::Durable && *up_to >= position;
            assert!(heard.iter().any(is_told), "{position} of {heard:?}");
        }
    }
    assert!(heard.is_sorted_by_key(|(_, up_to)| *up_to), "{heard:?}");
    partition.delete();
    assert_eq!(ears.heard().last(), Some(&(Fate::Failed, 3)));
}

fn random_histories_keep_the_order_of_the_watch(rig: &Rig) {
    for seed in 1..30u64 {
        let mut random = Random(seed);
        let first = seed as i32 * 3;
        let partitions = [first, first + 1, first + 2].map(|index| rig.partition(index));
        let mut before: Vec<Offsets> = partitions.iter().map(|p| p.offsets()).collect();
        let mut now = 1_000;
        for step in 0..200 {
            let p = random.below(3) as usize;
            let partition = &partitions[p];
            now += random.below(50) as i64;
            match random.below(10) {
                0..=4 => {
                    let records = random.below(4) as usize + 1;
                    let value = vec![0; random.below(3_000) as usize];
                    let bytes = batch(records, &value, now);
                    let appended = write(partition, bytes, at(now)).expect("an append");
                    assert_eq!(appended.base_offset, before[p].log_end);
                }
                5 => partition.roll(),
                6 => {
                    let to = random.below(before[p].high_watermark as u64 + 1) as i64;
                    partition.delete_records(to).expect("within the log");
                }
                7 => {
                    let rules = RetentionRules {
                        retention_bytes: random.below(40_000) as i64,
                        ..NOTHING_GOES
                    };
                    partition.retain(&rules, at(now));
                }
                8 => rig.write_all(),
                _ => rig.settle_some(&mut random),
            }
            let (after, end) = (partition.offsets(), partition.with_state(|s| s.log_end()));
            let context = format!("seed {seed} step {step}: {after:?}");
            assert!(after.log_start <= after.last_stable, "{context}");
            assert!(after.last_stable <= after.high_watermark, "{context}");
            assert!(after.high_watermark <= after.log_end, "{context}");
            assert_eq!(end, Ok(after.log_end), "{context}");
            if rig.is_memory() {
                assert_eq!(after.high_watermark, after.log_end, "{context}");
            }
            assert!(after.log_start >= before[p].log_start, "{context}");
            assert!(
                after.high_watermark >= before[p].high_watermark,
                "{context}"
            );
            let expected = after.log_start < after.high_watermark;
            let first = read(partition, after.log_start, after.high_watermark, 0, true);
            assert_eq!(first.len(), usize::from(expected), "{context}");
            before[p] = after;
        }
        rig.settle(seed);
        for partition in &partitions {
            let offsets = partition.offsets();
            assert_eq!(offsets.high_watermark, offsets.log_end, "seed {seed}");
        }
    }
}

#[test]
fn a_failed_write_makes_its_partition_read_only_and_fails_what_came_after_it() {
    let engine = TestEngine::new(PLENTY);
    engine.hold();
    let partition = Partition::new(&*engine, TOPIC, 0, true);
    let other = Partition::new(&*engine, TOPIC, 1, true);
    let (ears, waiter) = (Arc::new(Ears::default()), Waiter::new());
    partition.observe(ears.clone());
    append(&partition, batch(1, b"kept", 1_000));
    engine.fail_next_write(&partition);
    append(&partition, batch(1, b"lost", 1_000));
    append(&partition, batch(1, b"lost with it", 1_000));
    append(&other, batch(1, b"elsewhere", 1_000));
    partition.await_write(3, Safety::Durable, &waiter);
    assert!(engine.settle(&partition));
    assert!(!fired(&waiter));
    assert!(engine.settle(&partition));
    assert!(fired(&waiter));
    let fates = [1, 2, 3].map(|position| partition.fate(position));
    assert_eq!(fates, [Fate::Durable, Fate::Failed, Fate::Failed]);
    assert_eq!(ears.heard(), [(Fate::Durable, 1), (Fate::Failed, 1)]);
    // The third write may still report; it changes nothing.
    engine.settle_all(1);
    assert_eq!(partition.fate(3), Fate::Failed);
    let refused = write(&partition, batch(1, b"no more", 1_000), at(1_000));
    assert_eq!(refused.err(), Some(ErrorCode::KafkaStorageError));
    // What was durable is read, what was lost is neither read nor waited for.
    assert_eq!(partition.offsets().high_watermark, 1);
    assert!(fetch(&partition, 0).expect("durable") > 0);
    for lost in 1..=3 {
        assert_eq!(fetch(&partition, lost), Err(ErrorCode::KafkaStorageError));
    }
    assert_eq!(fetch(&partition, 4), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(other.fate(1), Fate::Durable);
    append(&other, batch(1, b"goes on", 1_000));
}

#[test]
fn a_write_that_fails_at_once_is_refused_and_the_partition_read_only() {
    let engine = TestEngine::new(PLENTY);
    let partition = Partition::new(&*engine, TOPIC, 0, true);
    append(&partition, batch(1, b"kept", 1_000));
    engine.fail_next_write(&partition);
    for _ in 0..2 {
        let refused = write(&partition, batch(1, b"lost", 1_000), at(1_000));
        assert_eq!(refused.err(), Some(ErrorCode::KafkaStorageError));
    }
    assert_eq!(partition.offsets().high_watermark, 1);
    assert!(fetch(&partition, 0).expect("durable") > 0);
}

#[test]
fn bytes_that_cannot_be_read_are_a_storage_error_of_that_partition_alone() {
    let engine = TestEngine::new(PLENTY);
    let partition = Partition::new(&*engine, TOPIC, 0, true);
    let other = Partition::new(&*engine, TOPIC, 1, true);
    append(&partition, batch(1, b"v", 1_000));
    append(&other, batch(1, b"v", 1_000));
    engine.fail_reads(&partition);
    assert_eq!(fetch(&partition, 0), Err(ErrorCode::KafkaStorageError));
    assert!(fetch(&other, 0).expect("readable") > 0);
    // Writing is another matter.
    append(&partition, batch(1, b"v", 1_000));
}

/// Whoever waits for many writes of one partition is not looked at again for each of them.
#[test]
fn writers_are_told_from_the_front_and_each_of_what_it_asked_for() {
    let engine = TestEngine::new(PLENTY);
    engine.hold();
    let partition = Partition::new(&*engine, TOPIC, 0, true);
    let writers: Vec<Arc<Waiter>> = (1..=6).map(|_| Waiter::new()).collect();
    for (n, writer) in writers.iter().enumerate() {
        append(&partition, batch(1, b"value", 1_000));
        let safety = [Safety::Written, Safety::Durable][n % 2];
        partition.await_write(n as i64 + 1, safety, writer);
    }
    let told = || -> Vec<bool> { writers.iter().map(|writer| fired(writer)).collect() };
    assert!(engine.settle(&partition));
    assert_eq!(told(), [true, false, false, false, false, false]);
    engine.write_all();
    assert_eq!(told(), [true, false, true, false, true, false]);
    partition.forget_write(2, Safety::Durable, &writers[1]);
    engine.settle_all(1);
    assert_eq!(told(), [true, false, true, true, true, true]);
}
