//! Random histories of one log against a map: whatever compaction does, a reader ends up with the same values.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::batch::{BatchBuilder, NewRecord, crc_matches, end_transaction_marker};
use crate::batch::{read_marker, set_base_offset, set_leader_epoch};
use crate::compression::Codec;

/// A small generator (xorshift): the seed is all there is to repeat a history.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

type Content = (Vec<u8>, Option<Vec<u8>>, i64);

/// A log with everything that ever was in it.
#[derive(Default)]
struct Log {
    batches: Vec<Vec<u8>>,
    next_offset: i64,
    now_ms: i64,
    /// Key, value and time of every record that counts, by offset.
    written: BTreeMap<i64, Content>,
    /// First offset of each producer's open transaction.
    open: BTreeMap<i64, (i64, Vec<(i64, Content)>)>,
    history: History,
    sequences: BTreeMap<i64, i32>,
    first_dirty: i64,
    /// When a tombstone was first below the end of a round.
    cleaned_at: BTreeMap<i64, i64>,
}

const DELETE_RETENTION_MS: i64 = 1_000;

impl Log {
    fn push(&mut self, mut batch: Vec<u8>) -> i64 {
        let base_offset = self.next_offset;
        set_base_offset(&mut batch, base_offset);
        set_leader_epoch(&mut batch, 1);
        let header = BatchHeader::parse(&batch).unwrap();
        self.next_offset = header.last_offset().unwrap() + 1;
        self.batches.push(batch);
        base_offset
    }

    fn append(&mut self, chance: &mut Chance) {
        let codec = Codec::ALL[chance.below(5) as usize];
        let mut builder = BatchBuilder::new().compression(codec, None);
        let producer = chance.below(5) as i64;
        let in_transaction = producer < 2;
        if producer < 4 {
            let sequence = *self.sequences.get(&producer).unwrap_or(&0);
            builder = builder.producer(producer, 0, sequence);
        }
        if in_transaction {
            builder = builder.transactional();
        }
        let mut contents: Vec<Content> = Vec::new();
        for _ in 0..=chance.below(6) {
            let key = format!("key {}", chance.below(12)).into_bytes();
            let value = (chance.below(4) > 0).then(|| vec![b'v'; chance.below(40) as usize]);
            contents.push((key, value, self.now_ms - chance.below(50) as i64));
        }
        for (key, value, timestamp) in &contents {
            builder.push(&NewRecord {
                timestamp: *timestamp,
                key: Some(key),
                value: value.as_deref(),
                headers: &[],
            });
        }
        let base_offset = self.push(builder.build().unwrap());
        let placed: Vec<_> = (base_offset..).zip(contents).collect();
        if producer < 4 {
            *self.sequences.entry(producer).or_default() += placed.len() as i32;
            self.wrote(producer, self.next_offset - 1);
        }
        if in_transaction {
            let open = self.open.entry(producer);
            open.or_insert((base_offset, Vec::new())).1.extend(placed);
        } else {
            self.written.extend(placed);
        }
    }

    fn wrote(&mut self, producer_id: i64, last_offset: i64) {
        let last_writes = &mut self.history.last_writes;
        last_writes.retain(|last| last.producer_id != producer_id);
        last_writes.push(LastWrite {
            producer_id,
            epoch: 0,
            last_offset: Some(last_offset),
        });
    }

    fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let Some((first_offset, records)) = self.open.remove(&producer_id) else {
            return;
        };
        let marker = end_transaction_marker(producer_id, 0, 0, commit, self.now_ms).unwrap();
        let last_offset = self.push(marker);
        if commit {
            self.written.extend(records);
        } else {
            self.history.aborted.push(AbortedTransaction {
                producer_id,
                first_offset,
                last_offset,
            });
        }
    }

    fn compact(&mut self, chance: &mut Chance) {
        let stable = self.open.values().map(|(first, _)| *first).min();
        let stable = stable.unwrap_or(self.next_offset);
        let ends = self.batches.iter().map(|b| BatchHeader::parse(b).unwrap());
        let mut clean = ends
            .take_while(|h| h.last_offset().unwrap() < stable)
            .count();
        clean = clean.saturating_sub(chance.below(3) as usize);
        let terms = Terms {
            now_ms: self.now_ms,
            delete_retention_ms: DELETE_RETENTION_MS,
            max_message_bytes: 120,
            limits: InflateLimits::default(),
            key_bytes_max: usize::MAX,
            seed: chance.below(u64::MAX),
        };
        let mut round = Compaction::new(terms, &self.history);
        for batch in &self.batches[..clean] {
            if BatchHeader::parse(batch).unwrap().last_offset().unwrap() >= self.first_dirty {
                assert_eq!(round.learn(batch), Ok(true));
            }
        }
        let mut left = Vec::new();
        for batch in &self.batches[..clean] {
            let mut out = Vec::new();
            match round.keep(batch, &mut out).unwrap() {
                Kept::Whole => left.push(batch.clone()),
                Kept::Rewritten => split_batches(&out, &mut left),
                Kept::Nothing => {}
            }
        }
        let summary = round.finish();
        assert_eq!(summary.unreadable, 0);
        self.history
            .aborted
            .retain(|txn| !summary.emptied.contains(txn));
        let end = match self.batches.get(clean) {
            Some(next) => BatchHeader::parse(next).unwrap().base_offset,
            None => self.next_offset,
        };
        for (offset, _) in self.written.range(..end) {
            self.cleaned_at.entry(*offset).or_insert(self.now_ms);
        }
        left.extend(self.batches.split_off(clean));
        self.batches = left;
        self.first_dirty = self.first_dirty.max(end);
    }

    /// What a consumer of committed data reads from `from` on, in the way clients do it, checked against what was
    /// written: an aborted transaction it was told of begins at its first offset and ends with its marker.
    fn read(&self, from: i64) -> BTreeMap<i64, Content> {
        let mut seen = BTreeMap::new();
        let mut next_offset = 0;
        let told = self
            .history
            .aborted
            .iter()
            .filter(|txn| txn.last_offset >= from);
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|txn| std::cmp::Reverse(txn.first_offset));
        let mut aborting = BTreeSet::new();
        let stable = self.open.values().map(|(first, _)| *first).min();
        for batch in &self.batches {
            assert!(crc_matches(batch));
            let header = BatchHeader::parse(batch).unwrap();
            assert!(
                header.base_offset >= next_offset,
                "batches keep their order"
            );
            next_offset = header.last_offset().unwrap() + 1;
            if next_offset <= from {
                continue;
            }
            if stable.is_some_and(|stable| header.base_offset >= stable) {
                break;
            }
            while let Some(begun) = told.pop_if(|txn| txn.first_offset < next_offset) {
                aborting.insert(begun.producer_id);
            }
            if header.is_control() {
                let marker = read_marker(batch, &header).unwrap();
                if marker.is_some_and(|marker| !marker.commit) {
                    aborting.remove(&header.producer_id);
                }
                continue;
            }
            if header.is_transactional() && aborting.contains(&header.producer_id) {
                continue;
            }
            let bytes = record_bytes(batch, &header, 1 << 20).unwrap();
            for record in Records::new(&bytes, header.record_count).map(Result::unwrap) {
                let content = (
                    record.key.unwrap().to_vec(),
                    record.value.map(<[u8]>::to_vec),
                    header.timestamp_of(&record).unwrap(),
                );
                let offset = header.offset_of(&record).unwrap();
                if offset < from {
                    continue;
                }
                assert_eq!(self.written.get(&offset), Some(&content), "offset {offset}");
                seen.insert(offset, content);
            }
        }
        seen
    }

    fn check(&self) {
        let seen = self.read(0);
        let middle = self.next_offset / 2;
        assert!(
            self.read(middle)
                .into_iter()
                .eq(seen.clone().split_off(&middle))
        );
        let stable = self.open.values().map(|(first, _)| *first).min();
        let stable = stable.unwrap_or(self.next_offset);
        let table = |records: &BTreeMap<i64, Content>| {
            let mut table = BTreeMap::new();
            for (key, value, _) in records.range(..stable).map(|(_, content)| content) {
                match value {
                    Some(value) => table.insert(key.clone(), value.clone()),
                    None => table.remove(key),
                };
            }
            table
        };
        assert_eq!(table(&seen), table(&self.written), "the values of all keys");
        let mut newest: BTreeMap<&[u8], i64> = BTreeMap::new();
        for (offset, (key, ..)) in self.written.range(..self.first_dirty) {
            newest.insert(key, *offset);
        }
        for (offset, (key, ..)) in seen.range(..self.first_dirty) {
            assert_eq!(
                newest.get(&key[..]),
                Some(offset),
                "one record of each key is clean"
            );
        }
        for (key, offset) in &newest {
            let (_, value, _) = &self.written[offset];
            let kept_long_enough = self
                .cleaned_at
                .get(offset)
                .is_some_and(|cleaned| self.now_ms >= cleaned + DELETE_RETENTION_MS);
            let overwritten = self
                .written
                .range(offset + 1..)
                .any(|(_, (k, ..))| k == key);
            assert!(
                seen.contains_key(offset) || value.is_none() && (kept_long_enough || overwritten),
                "the record at {offset} is missing"
            );
        }
        for last in &self.history.last_writes {
            let kept = self.batches.iter().any(|batch| {
                let header = BatchHeader::parse(batch).unwrap();
                header.producer_id == last.producer_id && header.last_offset() == last.last_offset
            });
            assert!(kept, "the last batch of {last:?}");
        }
    }
}

fn split_batches(mut bytes: &[u8], into: &mut Vec<Vec<u8>>) {
    while !bytes.is_empty() {
        let header = BatchHeader::parse(bytes).unwrap();
        let (batch, rest) = bytes.split_at(header.total_bytes());
        assert!(batch.len() <= 120 || header.record_count <= 1);
        into.push(batch.to_vec());
        bytes = rest;
    }
}

#[test]
fn random_histories_read_the_same_before_and_after() {
    for seed in 1..=100u64 {
        let outcome = std::panic::catch_unwind(|| {
            let mut chance = Chance(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
            let mut log = Log {
                now_ms: 1_000_000,
                ..Log::default()
            };
            for step in 0..120 {
                log.now_ms += chance.below(200) as i64;
                match chance.below(12) {
                    0 => {
                        log.compact(&mut chance);
                        log.check();
                    }
                    1 | 2 => {
                        let (producer, commit) = (chance.below(2) as i64, chance.below(2) == 0);
                        log.end_transaction(producer, commit);
                    }
                    _ => log.append(&mut chance),
                }
                if step % 40 == 39 {
                    log.check();
                }
            }
        });
        assert!(outcome.is_ok(), "the history of seed {seed}");
    }
}
