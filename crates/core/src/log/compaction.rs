//! Compaction of one partition's log: decides, batch by batch, what stays. Holds no chunks; engines bring the batches.
//!
//! Two walks, both oldest first. [`Compaction::learn`] sees the dirty batches and remembers the newest offset of each
//! key. [`Compaction::keep`] then sees every batch from the start of the log to the end of the dirty part and says
//! what is left of it. Follows Kafka's cleaner, KIP-534 (delete horizons) included. Two things are ours: a batch that
//! would exceed `max.message.bytes` is split, and one whose records cannot be read stays as it is.

mod keys;
mod rewrite;
mod transactions;

use std::collections::BTreeMap;

use crate::batch::{BatchError, BatchHeader, Record, Records, record_bytes};
use crate::compression::InflateLimits;
use crate::producers::AbortedTransaction;
pub use crate::producers::{History, LastWrite};
use keys::Keys;
use rewrite::{Limits, rewrite, write_empty};
use transactions::Transactions;

/// The shortest record there is: its length and six fields of one byte.
const RECORD_BYTES_MIN: usize = 7;

/// The rules of one round.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Wall time.
    pub now_ms: i64,
    /// `delete.retention.ms`: how long tombstones stay after they were first compacted.
    pub delete_retention_ms: i64,
    /// `max.message.bytes`: what is written anew is not larger.
    pub max_message_bytes: usize,
    /// A batch that inflates to more stays as it is.
    pub limits: InflateLimits,
    /// `log.cleaner.dedupe.buffer.size`: the keys of one round take no more memory, nor more than 64 MiB.
    pub key_bytes_max: usize,
    /// Chance, for the table of keys.
    pub seed: u64,
}

/// What is left of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it, unchanged.
    Whole,
    /// What was put into the output.
    Rewritten,
    /// Nothing.
    Nothing,
}

/// What a round came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records that went.
    pub records_dropped: u64,
    /// Batches that stayed because they could not be read.
    pub unreadable: u64,
    /// Aborted transactions of which no record is left. Readers must no longer be told of them, because their
    /// markers may go in a later round.
    pub emptied: Vec<AbortedTransaction>,
}

/// One round of compaction of one partition.
pub struct Compaction {
    terms: Terms,
    keys: Keys,
    transactions: Transactions,
    last_writes: BTreeMap<i64, LastWrite>,
    summary: Summary,
}

impl Compaction {
    /// Begins a round.
    pub fn new(terms: Terms, history: &History) -> Compaction {
        let last_writes = history.last_writes.iter();
        Compaction {
            terms,
            keys: Keys::new(terms.seed, terms.key_bytes_max),
            transactions: Transactions::new(&history.aborted),
            last_writes: last_writes.map(|last| (last.producer_id, *last)).collect(),
            summary: Summary::default(),
        }
    }

    /// First walk: learns the keys of a dirty batch. False if there is no room for them: the round ends before it.
    pub fn learn(&mut self, batch: &[u8]) -> Result<bool, BatchError> {
        let header = BatchHeader::parse(batch)?;
        if header.is_control() || self.transactions.is_aborted(&header) {
            return Ok(true);
        }
        let Ok(bytes) = record_bytes(batch, &header, self.terms.limits.batch_bytes_max) else {
            return Ok(true);
        };
        if !self.keys.has_room(bytes.len()) {
            return Ok(false);
        }
        // It stays as a whole if any of it cannot be read, and then must not push out older records either.
        let mut learned = Vec::new();
        for record in InOrder::new(&bytes, &header, self.terms.limits) {
            match record {
                Ok((Record { key: Some(key), .. }, offset)) => learned.push((key, offset)),
                Ok(_) => {}
                Err(_) => return Ok(true),
            }
        }
        for (key, offset) in learned {
            self.keys.learn(key, offset);
        }
        Ok(true)
    }

    /// Second walk: what is left of a batch. Whatever is written anew is added to `out`.
    pub fn keep(&mut self, batch: &[u8], out: &mut Vec<u8>) -> Result<Kept, BatchError> {
        let header = BatchHeader::parse(batch)?;
        Ok(self.keep_readable(batch, &header, out).unwrap_or_else(|_| {
            self.summary.unreadable += 1;
            Kept::Whole
        }))
    }

    /// Ends the round.
    pub fn finish(self) -> Summary {
        Summary {
            emptied: self.transactions.emptied,
            ..self.summary
        }
    }

    fn keep_readable(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        out: &mut Vec<u8>,
    ) -> Result<Kept, BatchError> {
        let meaningless = self.transactions.visit(header, batch)?;
        let empty_marker = header.is_control() && meaningless;
        let keep_empty = self.is_last_write(header);
        // A marker whose transaction is gone stays as long as a tombstone would.
        let discard = meaningless && (!header.is_control() || self.horizon_passed(header));
        if discard && !keep_empty {
            return Ok(self.dropped(header));
        }
        let bytes = record_bytes(batch, header, self.terms.limits.batch_bytes_max)?;
        let count = usize::try_from(header.record_count).unwrap_or(0);
        let mut kept = Vec::with_capacity(count.min(bytes.len() / RECORD_BYTES_MIN));
        let mut tombstones = false;
        for record in InOrder::new(&bytes, header, self.terms.limits) {
            let (record, offset) = record?;
            if !discard && (header.is_control() || self.stays(header, &record, offset)) {
                tombstones |= record.value.is_none();
                kept.push(record);
            }
        }
        if kept.is_empty() && !(keep_empty && count == 0) {
            if !keep_empty {
                return Ok(self.dropped(header));
            }
            self.dropped(header);
            write_empty(header, out)?;
            return Ok(Kept::Rewritten);
        }
        let new_horizon = (tombstones || empty_marker) && !header.has_delete_horizon();
        if kept.len() == count && !new_horizon {
            return Ok(Kept::Whole);
        }
        let horizon = match (new_horizon, header.has_delete_horizon()) {
            (true, _) => Some(
                self.terms
                    .now_ms
                    .saturating_add(self.terms.delete_retention_ms),
            ),
            (false, true) => Some(header.base_timestamp),
            (false, false) => None,
        };
        let limits = Limits {
            batch_bytes_max: self.terms.max_message_bytes,
        };
        let begin = out.len();
        if let Err(error) = rewrite(header, &bytes, &kept, horizon, limits, out) {
            out.truncate(begin);
            return Err(error);
        }
        self.summary.records_dropped += (count - kept.len()) as u64;
        Ok(Kept::Rewritten)
    }

    /// Whether a record is the newest of its key, and no tombstone whose time is over. Without a key it is nothing
    /// (the topic was not always compacted).
    fn stays(&self, header: &BatchHeader, record: &Record<'_>, offset: i64) -> bool {
        let Some(key) = record.key else {
            return false;
        };
        if self.keys.newest(key).is_some_and(|newest| newest > offset) {
            return false;
        }
        record.value.is_some() || !self.horizon_passed(header)
    }

    fn horizon_passed(&self, header: &BatchHeader) -> bool {
        header.has_delete_horizon() && self.terms.now_ms >= header.base_timestamp
    }

    fn is_last_write(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        let last = self.last_writes.get(&header.producer_id);
        last.is_some_and(|last| match last.last_offset {
            Some(offset) => header.last_offset() == Some(offset),
            None => header.is_control() && header.producer_epoch == last.epoch,
        })
    }

    fn dropped(&mut self, header: &BatchHeader) -> Kept {
        self.summary.records_dropped += u64::try_from(header.record_count).unwrap_or(0);
        Kept::Nothing
    }
}

/// The records of a batch with their offsets, as long as every one can be read and lies where the batch says, in order:
/// nobody looked into compressed batches when they came.
struct InOrder<'a> {
    header: &'a BatchHeader,
    records: Records<'a>,
    last_delta: i32,
}

impl<'a> InOrder<'a> {
    fn new(bytes: &'a [u8], header: &'a BatchHeader, limits: InflateLimits) -> InOrder<'a> {
        InOrder {
            header,
            records: Records::of(header, bytes, limits),
            last_delta: -1,
        }
    }

    fn place(&mut self, record: Record<'a>) -> Result<(Record<'a>, i64), BatchError> {
        let delta = record.offset_delta;
        if delta <= self.last_delta || delta > self.header.last_offset_delta {
            return Err(BatchError::Overflow);
        }
        self.last_delta = delta;
        let offset = self.header.offset_of(&record);
        let timestamp = self.header.timestamp_of(&record);
        let (offset, _) = offset.zip(timestamp).ok_or(BatchError::Overflow)?;
        Ok((record, offset))
    }
}

impl<'a> Iterator for InOrder<'a> {
    type Item = Result<(Record<'a>, i64), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next()?;
        Some(record.and_then(|record| self.place(record)))
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
