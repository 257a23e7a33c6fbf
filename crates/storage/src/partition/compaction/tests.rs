use super::*;
use crate::engine::{Engine, Incoming};
use crate::limit::Memory;
use crate::memory::MemoryEngine;
use rustka_core::batch::{
    BatchBuilder, BatchHeader, NewRecord, Records, crc_matches, record_bytes,
};
use rustka_core::compression::{Codec, InflateLimits};
use rustka_core::config::{BrokerConfig, Overrides, Scope, SharedConfig, TopicConfig};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_wire::codec::Uuid;
use std::cell::Cell;
use std::collections::BTreeMap;

const NOW: Now = Now::new(0, 1_000_000);
const TWO_CHUNKS: u64 = 2 << 20;

struct World {
    memory: Arc<Memory>,
    partition: Arc<Partition>,
    /// The newest value of each key.
    newest: BTreeMap<u64, (i64, u64)>,
    next_value: u64,
    /// Whether an append has asked for compaction.
    due: bool,
}

impl World {
    fn new(configs: &[(&str, &str)]) -> World {
        let memory = Memory::new(1 << 30);
        let engine = MemoryEngine::new(memory.clone());
        let partition = Partition::new(&engine as &dyn Engine, Uuid([1; 16]), 0, false);
        partition.obey(&config(configs));
        World {
            memory,
            partition,
            newest: BTreeMap::new(),
            next_value: 0,
            due: false,
        }
    }

    /// Appends one batch of these keys, each value of 1 KiB or so; whether compaction is due.
    fn append(&mut self, keys: &[u64], builder: BatchBuilder, origin: Origin) -> bool {
        let mut builder = builder;
        for key in keys {
            self.next_value += 1;
            let mut value = vec![b'v'; 1000];
            value[..8].copy_from_slice(&self.next_value.to_be_bytes());
            builder.push(&NewRecord {
                timestamp: NOW.wall_ms,
                key: Some(&key.to_be_bytes()),
                value: Some(&value),
                headers: &[],
            });
        }
        let mut batch = builder.build().unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        let incoming = Incoming::Copied(&mut batch);
        let appended = self
            .partition
            .append(incoming, &header, origin, NOW)
            .unwrap();
        for (n, key) in (0..).zip(keys) {
            let value = self.next_value + 1 + n - keys.len() as u64;
            let offset = appended.base_offset + n as i64;
            self.newest.insert(*key, (offset, value));
        }
        self.due |= appended.compaction_due;
        appended.compaction_due
    }

    fn put(&mut self, keys: &[u64]) -> bool {
        self.append(keys, BatchBuilder::new(), Origin::Client)
    }

    fn compact(&self) -> Cleaned {
        self.partition.compact(NOW, 1)
    }

    /// Every record of the log: offset, key, number of its value.
    fn read(&self) -> Vec<(i64, u64, u64)> {
        let mut records = Vec::new();
        let mut visit = |batch: &[u8]| {
            assert!(crc_matches(batch));
            records.extend(records_of(batch));
            true
        };
        self.partition.each_batch(0, i64::MAX, &mut visit).unwrap();
        records
    }

    fn check_nothing_is_lost(&self) {
        let mut seen = BTreeMap::new();
        for (offset, key, value) in self.read() {
            seen.insert(key, (offset, value));
        }
        assert_eq!(seen, self.newest);
    }
}

fn records_of(batch: &[u8]) -> Vec<(i64, u64, u64)> {
    let header = BatchHeader::parse(batch).unwrap();
    let bytes = record_bytes(batch, &header, 1 << 20).unwrap();
    let number = |bytes: Option<&[u8]>| u64::from_be_bytes(*bytes.unwrap().first_chunk().unwrap());
    Records::new(&bytes, header.record_count)
        .map(Result::unwrap)
        .map(|record| {
            let offset = header.offset_of(&record).unwrap();
            (offset, number(record.key), number(record.value))
        })
        .collect()
}

fn config(configs: &[(&str, &str)]) -> Arc<SharedConfig> {
    let broker = BrokerConfig::new([], false).unwrap();
    let configs = configs.iter().map(|(name, value)| (*name, Some(*value)));
    let overrides = Overrides::parse(Scope::Topic, configs).unwrap();
    let config = TopicConfig::resolve(&broker, &overrides);
    Arc::new(SharedConfig::new(Arc::new(config)))
}

const COMPACT: (&str, &str) = ("cleanup.policy", "compact");

#[test]
fn the_active_chunk_is_never_compacted() {
    let mut world = World::new(&[COMPACT]);
    for _ in 0..40 {
        world.put(&[1]);
    }
    let before = world.read();
    assert!(world.due);
    let cleaned = world.compact();
    assert!(cleaned.records_dropped > 10);
    let after = world.read();
    let active = world.partition.lock().log.newest().unwrap().base_offset;
    let kept: Vec<_> = before.iter().filter(|record| record.0 >= active).collect();
    assert!(kept.len() > 1, "the same key several times");
    assert!(
        after
            .iter()
            .rev()
            .zip(kept.iter().rev())
            .all(|(a, b)| a == *b)
    );
    assert_eq!(
        after.len(),
        kept.len() + 1,
        "one record of the key below it"
    );
    world.check_nothing_is_lost();
}

#[test]
fn nothing_beyond_the_last_stable_offset_is_compacted() {
    let mut world = World::new(&[COMPACT]);
    for _ in 0..100 {
        world.put(&[1]);
    }
    let first_open = world.partition.offsets().high_watermark;
    let transaction = BatchBuilder::new().producer(5, 0, 0).transactional();
    let origin = Origin::Verified {
        epoch_bumps: false,
        since: None,
    };
    world.append(&[2], transaction, origin);
    for _ in 0..100 {
        world.put(&[1]);
    }
    let before = world.read();
    assert!(world.due);
    assert!(world.compact().records_dropped > 50);
    let open = |records: &[(i64, u64, u64)]| -> Vec<(i64, u64, u64)> {
        let from = records.iter().filter(|record| record.0 >= first_open);
        from.copied().collect()
    };
    assert_eq!(open(&world.read()), open(&before));
}

#[test]
fn a_log_under_constant_load_stays_small_and_gives_memory_back() {
    for (ratio, factor) in [("0.1", 1.3), ("0.5", 2.2)] {
        let mut world = World::new(&[COMPACT, ("min.cleanable.dirty.ratio", ratio)]);
        let (keys, mut seed, mut rounds) = (8_000, 0x9e37_79b9u64, 0);
        let live = (keys * 1_025) as f64;
        for n in 0..40_000u64 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let key = if n < keys { n } else { seed % keys };
            if world.put(&[key]) {
                rounds += 1;
                while world.compact().again {}
            }
            if n >= keys {
                // One record in a batch has more around it than one among others.
                let size =
                    (world.partition.bytes() - TWO_CHUNKS.min(world.partition.bytes())) as f64;
                assert!(
                    size <= factor * live * 1.07,
                    "{size} bytes for {live} at ratio {ratio}"
                );
            }
        }
        assert!(rounds > 5);
        let used = world.memory.pool.bytes_in_use() as u64;
        assert!(
            used <= world.partition.bytes() + TWO_CHUNKS,
            "{used} bytes in use"
        );
        world.check_nothing_is_lost();
    }
}

#[test]
fn every_offset_is_served_also_those_that_are_gone() {
    let mut world = World::new(&[COMPACT]);
    for n in 0..2_000u64 {
        world.put(&[n % 7, 100 + n % 3]);
        if n % 500 == 499 {
            world.compact();
        }
    }
    let records = world.read();
    assert!(records.len() < 2_000);
    let offsets = world.partition.offsets();
    assert_eq!((offsets.log_start, offsets.high_watermark), (0, 4_000));
    for offset in 0..offsets.high_watermark {
        let (_, read) = world.partition.fetch(offset, false, 1, true);
        let read = read.and_then(|found| Ok(found.load()?)).unwrap();
        let header = BatchHeader::parse(&read[0]).unwrap();
        assert!(header.last_offset().unwrap() >= offset);
        let next = records.iter().find(|record| record.0 >= offset).unwrap();
        assert!(header.base_offset <= next.0, "no record is passed over");
    }
}

#[test]
fn whoever_fetches_meanwhile_keeps_what_it_holds() {
    let mut world = World::new(&[COMPACT]);
    for n in 0..3_000u64 {
        world.put(&[n % 10]);
    }
    let (_, held) = world.partition.fetch(0, false, usize::MAX, true);
    let held = held.and_then(|found| Ok(found.load()?)).unwrap();
    let copies: Vec<Vec<u8>> = held.iter().map(|slice| slice.to_vec()).collect();
    assert!(world.due);
    let cleaned = world.compact();
    assert!(cleaned.bytes_after * 10 < cleaned.bytes_before);
    for (slice, copy) in held.iter().zip(&copies) {
        assert_eq!(**slice, copy[..]);
    }
    drop(held);
    let used = world.memory.pool.bytes_in_use() as u64;
    assert!(used <= world.partition.bytes() + TWO_CHUNKS);
    world.check_nothing_is_lost();
}

/// Would never end if a lock were taken.
#[test]
fn no_lock_is_held_while_batches_are_read() {
    let mut world = World::new(&[COMPACT]);
    for n in 0..500u64 {
        world.put(&[n % 10]);
    }
    assert!(world.due);
    let found = world.partition.begin_compaction(NOW).unwrap();
    let terms = Terms {
        now_ms: NOW.wall_ms,
        delete_retention_ms: 0,
        max_message_bytes: 1 << 20,
        limits: InflateLimits::default(),
        key_bytes_max: usize::MAX,
        seed: 3,
    };
    let mut round = Compaction::new(terms, &found.history);
    let guard = world.partition.lock();
    let mut turn = Turn::new(&|_| {});
    let pieces = || found.chunks.iter().flat_map(|chunk| chunk.content.pieces());
    for bytes in pieces() {
        let bytes = bytes.unwrap();
        assert_eq!(learn(&mut round, &bytes, &mut turn), Ok(None));
    }
    let mut scratch = Vec::new();
    for bytes in pieces() {
        keep(&mut round, &bytes.unwrap(), &mut scratch, &mut turn).unwrap();
    }
    drop(guard);
    assert!(round.finish().records_dropped > 100);
}

#[test]
fn a_round_that_retention_overtakes_loses_nothing() {
    let mut world = World::new(&[COMPACT]);
    for n in 0..2_000u64 {
        world.put(&[n]);
    }
    for n in 0..2_000u64 {
        world.put(&[n]);
    }
    assert!(world.due);
    let found = world.partition.begin_compaction(NOW).unwrap();
    world.partition.delete_records(1_000).unwrap();
    let terms = Terms {
        now_ms: NOW.wall_ms,
        delete_retention_ms: 0,
        max_message_bytes: 1 << 20,
        limits: InflateLimits::default(),
        key_bytes_max: usize::MAX,
        seed: 3,
    };
    let outcome = world.partition.compact_chunks(found, terms, &|_| {});
    assert!(matches!(outcome, Err(Failed::Stale)));
    world.check_nothing_is_lost();
    world.partition.give_up_compaction();
    assert!(world.partition.wants_compaction(NOW), "another time");
    assert!(world.compact().records_dropped > 0);
    world.check_nothing_is_lost();
}

#[test]
fn min_and_max_compaction_lag_are_kept() {
    let mut young = World::new(&[COMPACT, ("min.compaction.lag.ms", "5000")]);
    for _ in 0..500 {
        assert!(!young.put(&[1]) || young.compact().bytes_before == 0);
    }
    let later = |ms| Now::new(0, NOW.wall_ms + ms);
    assert!(!young.partition.wants_compaction(later(4_999)));
    assert!(young.partition.wants_compaction(later(5_000)));

    let configs = [
        COMPACT,
        ("min.cleanable.dirty.ratio", "1"),
        ("max.compaction.lag.ms", "60000"),
    ];
    let mut slow = World::new(&configs);
    for _ in 0..500 {
        assert!(!slow.put(&[1]), "never dirty enough");
    }
    assert!(!slow.partition.wants_compaction(later(60_000)));
    assert!(slow.partition.wants_compaction(later(60_001)));
    let cleaned = slow.partition.compact(later(60_001), 1);
    assert!(cleaned.records_dropped > 100);
}

#[test]
fn the_dirty_ratio_is_that_of_the_closed_part() {
    let mut world = World::new(&[COMPACT, ("min.cleanable.dirty.ratio", "0.5")]);
    for n in 0..4_000u64 {
        if world.put(&[n]) {
            while world.compact().again {}
        }
    }
    let (cleaned, total) = {
        let inner = world.partition.lock();
        let mut chunks = inner.log.closed();
        let active = inner.log.newest().unwrap().sequence;
        chunks.retain(|chunk| chunk.info.sequence != active);
        let total: u64 = chunks.iter().map(|chunk| chunk.info.bytes).sum();
        let clean = chunks
            .iter()
            .filter(|chunk| chunk.info.next_offset <= inner.cleaning.cleaned);
        (clean.map(|chunk| chunk.info.bytes).sum::<u64>(), total)
    };
    assert!(
        cleaned * 2 >= total,
        "at most half is dirty: {cleaned} of {total}"
    );
    let mut never = World::new(&[("cleanup.policy", "delete")]);
    for _ in 0..500 {
        assert!(!never.put(&[1]));
    }
    assert!(!never.partition.wants_compaction(NOW));
    assert_eq!(never.compact(), Cleaned::default());
}

#[test]
fn compaction_begins_when_the_policy_does() {
    let mut world = World::new(&[("cleanup.policy", "delete")]);
    for _ in 0..500 {
        world.put(&[1]);
    }
    world.partition.obey(&config(&[COMPACT]));
    assert!(world.partition.wants_compaction(NOW));
    assert!(
        !world.partition.wants_compaction(NOW),
        "somebody is about it"
    );
    assert!(world.compact().records_dropped > 100);
    world.check_nothing_is_lost();
}

/// Two thousand partitions with one such batch each wrote a line per partition and round: 28,000 lines in 15 seconds.
#[test]
fn a_batch_that_cannot_be_read_is_told_of_once() {
    let mut world = World::new(&[COMPACT, ("min.cleanable.dirty.ratio", "0")]);
    let told = |world: &mut World| {
        for _ in 0..10 {
            world.put(&[1]);
        }
        world.partition.roll();
        world.put(&[1]);
        world.compact().newly_unreadable
    };
    let corrupt = |world: &mut World| {
        let batch = BatchBuilder::new().compression(Codec::Lz4, None);
        let mut batch = batch.record(&NewRecord::default()).build().unwrap();
        batch[61..].fill(0xde);
        let header = BatchHeader::parse(&batch).unwrap();
        let incoming = Incoming::Copied(&mut batch);
        let appended = world
            .partition
            .append(incoming, &header, Origin::Client, NOW);
        appended.unwrap();
    };
    assert_eq!(told(&mut world), 0);
    corrupt(&mut world);
    assert_eq!([told(&mut world), told(&mut world)], [1, 0]);
    corrupt(&mut world);
    corrupt(&mut world);
    assert_eq!([told(&mut world), told(&mut world)], [2, 0]);
}

#[test]
fn a_round_tells_its_pace_of_what_it_reads_and_writes() {
    /// Less than that may be left when it ends.
    const UNTOLD_BYTES: u64 = 128 << 10;
    let mut world = World::new(&[COMPACT]);
    for key in 0..2_000 {
        world.put(&[key % 700]);
    }
    let told = Cell::new(0);
    let limits = CompactionLimits {
        key_bytes_max: usize::MAX,
        pace: &|bytes| told.set(told.get() + bytes as u64),
    };
    let cleaned = world.partition.compact_within(&limits, NOW, 1);
    assert!(cleaned.bytes_after > 0 && cleaned.records_dropped > 0);
    // It goes over the log twice, and writes what it keeps.
    let all = 2 * cleaned.bytes_before + cleaned.bytes_after;
    let told = told.get();
    assert!(told <= all && told + UNTOLD_BYTES > all, "{told} of {all}");
}
