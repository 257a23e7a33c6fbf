//! A shard's journal: real batches in a partition of its own, shortened to the live state when it has grown.

use crate::base::fault::{Faults, Point};
use crate::base::rate::LogLimit;
use crate::node::Node;
use rustka_core::account::{Share, Weight};
use rustka_core::batch::{
    BatchBuilder, BatchHeader, NewRecord, Records, crc_matches, read_marker, record_bytes,
};
use rustka_core::error::ErrorCode;
use rustka_core::log::{Marker, Origin};
use rustka_core::machine::{JournalRecord, Put, Standing};
use rustka_core::time::Now;
use rustka_storage::partition::{DurabilityObserver, Fate};
use rustka_storage::{Appended, Durability, Engine, Incoming, Partition};
use std::sync::Arc;

/// A journal below this size is never compacted, where memory is plenty.
const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// The same for little memory.
const COMPACT_BYTES_LEAST: u64 = 32 << 10;
/// The same for memory that is full: fifty of twice this size, as chunks are not all filled, take a sixteenth of it.
const COMPACT_PART_FULL: u64 = 1600;
/// No journal below this is worth it.
const COMPACT_BYTES_FULL_LEAST: u64 = 4 << 10;
/// A journal above this part of the memory limit may be compacted: there are fifty, and what they could drop must not
/// take the place of records.
const COMPACT_PART: u64 = 1024;
/// A journal this many times as large as its live state is compacted.
const COMPACT_FACTOR: u64 = 4;
/// The same where memory is full.
const COMPACT_FACTOR_FULL: u64 = 2;
/// A journal that was refused a write is compacted if it has grown by this part of its live state.
const COMPACT_PART_REFUSED: u64 = 8;
/// A batch of a compacted journal is closed at this size.
const LIVE_BATCH_BYTES: usize = 64 << 10;
/// What a marker takes in the log.
const MARKER_BYTES: usize = 78;
/// After a line in the log about one journal there is none for this long.
const LINES_QUIET_MS: i64 = 60_000;
/// Over the memory limit journals may still grow by this part of it.
const RESERVE_DIVISOR: usize = 16;

/// Where one shard writes.
pub trait Writes<R>: Send {
    /// Writes records as one batch. A refused batch harms no other.
    fn append(&mut self, records: &[R], now: Now) -> Result<Durability, ErrorCode>;

    /// Reads every record that was not lost, in order; a partition that a panic took offline is rebuilt before.
    fn replay(&mut self, now: Now, apply: &mut dyn FnMut(R)) -> Result<(), ErrorCode>;

    /// What became of a batch that was to be durable later.
    fn fate(&self, at: i64) -> Fate;

    /// Whether this node leads the journal's partition: elsewhere is another coordinator.
    fn is_led_here(&self) -> bool {
        true
    }

    /// Whether it would be shorter by half or more if it were written down anew, as far as it can tell.
    fn may_be_halved(&self) -> bool {
        false
    }

    /// Whether it is time to write the live state down and to drop the rest.
    fn wants_compaction(&self) -> bool {
        false
    }

    /// Replaces the journal by `live`: what it says stays the same. If that fails, everything stays.
    fn compact(&mut self, _live: &mut dyn Iterator<Item = R>, _now: Now) {}

    /// Drops what a compaction replaced, once the replacement is durable.
    fn finish_compaction(&mut self, _now: Now) {}
}

/// Live state that was written down, and what it replaces.
struct Compaction {
    /// Where the live state begins.
    first_offset: i64,
    /// Where it is durable.
    at: i64,
    /// Size of what it replaces.
    replaced_bytes: u64,
}

/// A journal in a partition.
pub struct PartitionJournal {
    topic: &'static str,
    engine: Arc<dyn Engine>,
    faults: Arc<Faults>,
    partition: Arc<Partition>,
    bytes: u64,
    /// The same in the account of the broker.
    weight: Weight,
    /// Size of the live state when it was last written down.
    live_bytes: u64,
    /// What it may grow to in any case.
    compact_bytes_min: u64,
    /// The same while memory is full.
    compact_bytes_full: u64,
    /// What it could drop is wanted elsewhere.
    memory_is_full: bool,
    /// It could not write.
    is_refused: bool,
    /// It writes what takes the place of something larger, for which there is always room.
    is_compacting: bool,
    compaction: Option<Compaction>,
    lines: LogLimit,
}

impl PartitionJournal {
    /// A journal in this partition of this topic, which tells `observer` what becomes of its writes.
    pub fn new(
        topic: &'static str,
        node: &Node,
        partition: Arc<Partition>,
        observer: Arc<dyn DurabilityObserver>,
    ) -> PartitionJournal {
        partition.observe(observer);
        let (engine, faults) = (&node.engine, &node.faults);
        let limit = engine.memory().limit() as u64;
        let (part, part_full) = (limit / COMPACT_PART, limit / COMPACT_PART_FULL);
        PartitionJournal {
            topic,
            engine: engine.clone(),
            faults: faults.clone(),
            bytes: partition.bytes(),
            weight: Weight::new(&engine.memory().account, Share::Journals),
            partition,
            live_bytes: 0,
            compact_bytes_min: part.clamp(COMPACT_BYTES_LEAST, COMPACT_BYTES_MIN),
            compact_bytes_full: part_full.clamp(COMPACT_BYTES_FULL_LEAST, COMPACT_BYTES_LEAST),
            memory_is_full: false,
            is_refused: false,
            is_compacting: false,
            compaction: None,
            lines: LogLimit::new(1, LINES_QUIET_MS),
        }
    }

    fn write(
        &mut self,
        batch: BatchBuilder,
        standing: Standing,
        now: Now,
    ) -> Result<Appended, ErrorCode> {
        let room = self.engine.make_room();
        self.memory_is_full = room.is_err();
        if let Err(refusal) = room {
            let memory = self.engine.memory();
            let reserve = memory.limit() / RESERVE_DIVISOR;
            let is_over = memory.bytes_taken() > memory.limit().saturating_add(reserve);
            if is_over && !self.is_compacting {
                self.is_refused = true;
                return Err(refusal.code);
            }
        }
        self.is_refused = false;
        self.faults.refusal(Point::Admit, self.topic)?;
        let (appended, bytes) = self.put(batch, standing, now)?;
        if let Err(code) = self.faults.refusal(Point::Append, self.topic) {
            self.partition.lose_writes(appended.base_offset);
            return Err(code);
        }
        self.set_bytes(self.bytes + bytes as u64);
        Ok(appended)
    }

    /// Writes records as one batch, in the form in which `encode` puts them.
    pub fn append_as(
        &mut self,
        standing: Standing,
        now: Now,
        encode: impl FnOnce(&mut Put<'_>),
    ) -> Result<Durability, ErrorCode> {
        let mut batch = BatchBuilder::new();
        encode(&mut |key, value| put(&mut batch, key, value, now));
        let written = self.write(batch, standing, now)?;
        Ok(written.durability)
    }

    /// Takes note of what the partition weighs now that somebody else has shortened it.
    pub fn recount(&mut self) {
        self.set_bytes(self.partition.bytes());
    }

    fn set_bytes(&mut self, bytes: u64) {
        self.bytes = bytes;
        self.weight
            .set(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// Appends the batch in the form in which its records stand; its size, too.
    fn put(
        &self,
        batch: BatchBuilder,
        standing: Standing,
        now: Now,
    ) -> Result<(Appended, usize), ErrorCode> {
        let (batch, origin) = match standing {
            Standing::Plain => (batch, Origin::Coordinator),
            Standing::Open {
                producer_id,
                epoch,
                since,
            } => {
                let batch = batch.producer(producer_id, epoch, 0).transactional();
                (batch, Origin::Offsets { since })
            }
            Standing::Marker {
                producer_id,
                epoch,
                marker,
            } => {
                let producer = (producer_id, epoch);
                let appended = self.partition.append_marker(producer, &marker, now);
                let appended = appended.map_err(|refusal| refusal.code)?;
                return Ok((appended, MARKER_BYTES));
            }
        };
        let mut bytes = batch.build().map_err(|_| ErrorCode::MessageTooLarge)?;
        let header = BatchHeader::parse(&bytes).map_err(|_| ErrorCode::UnknownServerError)?;
        let incoming = Incoming::Copied(&mut bytes);
        let appended = self.partition.append(incoming, &header, origin, now);
        let appended = appended.map_err(|refusal| refusal.code)?;
        Ok((appended, header.total_bytes()))
    }
}

impl<R: JournalRecord> Writes<R> for PartitionJournal {
    fn append(&mut self, records: &[R], now: Now) -> Result<Durability, ErrorCode> {
        let standing = records.first().map_or(Standing::Plain, R::standing);
        self.append_as(standing, now, |put| {
            records.iter().for_each(|record| record.encode(put));
        })
    }

    fn replay(&mut self, now: Now, apply: &mut dyn FnMut(R)) -> Result<(), ErrorCode> {
        self.replay_from(0, now, apply)
    }

    fn fate(&self, at: i64) -> Fate {
        self.partition.fate(at)
    }

    fn is_led_here(&self) -> bool {
        self.partition.leader().0.is_none()
    }

    fn may_be_halved(&self) -> bool {
        let needed = self.live_bytes.saturating_mul(COMPACT_FACTOR_FULL);
        self.compaction.is_none() && self.bytes > needed.max(COMPACT_BYTES_FULL_LEAST)
    }

    fn wants_compaction(&self) -> bool {
        let (factor, least) = match self.memory_is_full {
            true => (COMPACT_FACTOR_FULL, self.compact_bytes_full),
            false => (COMPACT_FACTOR, self.compact_bytes_min),
        };
        let limit = match self.is_refused {
            true => self.live_bytes + self.live_bytes / COMPACT_PART_REFUSED,
            false => self.live_bytes.saturating_mul(factor),
        };
        self.compaction.is_none() && self.bytes > limit.max(least)
    }

    fn compact(&mut self, live: &mut dyn Iterator<Item = R>, now: Now) {
        self.is_compacting = true;
        let written = self.write_live(live, now);
        self.is_compacting = false;
        match written {
            Ok(()) => self.drop_replaced(now),
            Err(code) => self.warn(code, now),
        }
    }

    fn finish_compaction(&mut self, now: Now) {
        self.drop_replaced(now);
    }
}

impl PartitionJournal {
    /// The same as [`Writes::replay`] without what lies before this offset.
    pub fn replay_from<R: JournalRecord>(
        &mut self,
        offset: i64,
        now: Now,
        apply: &mut dyn FnMut(R),
    ) -> Result<(), ErrorCode> {
        if self.partition.wants_rebuild() && !self.partition.rebuild(now) {
            return Err(ErrorCode::KafkaStorageError);
        }
        let (from, upper) = self.partition.with_state(|state| {
            let lost = state.failed_from.unwrap_or(i64::MAX);
            (state.log_start.max(offset), lost)
        })?;
        let mut read = Ok(());
        self.partition.each_batch(from, upper, |batch| {
            read = apply_all(batch, apply);
            read.is_ok()
        })?;
        read.map_err(|_| ErrorCode::UnknownServerError)?;
        self.set_bytes(self.partition.bytes());
        self.compaction = None;
        Ok(())
    }

    fn write_live<R: JournalRecord>(
        &mut self,
        live: &mut dyn Iterator<Item = R>,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let replaced_bytes = self.bytes;
        // What is written from here on lies in chunks of its own, so that the rest can go as a whole.
        self.partition.roll();
        let mut first_offset = self.partition.offsets().log_end;
        let mut at = first_offset;
        let mut batch = BatchBuilder::new();
        let mut live = live.peekable();
        loop {
            let record = live.next();
            let is_last = record.is_none();
            let standing = record.as_ref().map_or(Standing::Plain, R::standing);
            if let Some(record) = record {
                push(&mut batch, &record, now);
            }
            let changes = live.peek().is_some_and(|next| next.standing() != standing);
            let is_due = batch.bytes() >= LIVE_BATCH_BYTES || changes || live.peek().is_none();
            if is_due && !batch.is_empty() {
                let written = self.write(std::mem::take(&mut batch), standing, now)?;
                first_offset = first_offset.min(written.base_offset);
                if let Durability::At(later) = written.durability {
                    at = later;
                }
            }
            if is_last {
                break;
            }
        }
        self.compaction = Some(Compaction {
            first_offset,
            at,
            replaced_bytes,
        });
        Ok(())
    }

    fn drop_replaced(&mut self, now: Now) {
        let Some(Compaction { at, .. }) = self.compaction else {
            return;
        };
        if self.partition.fate(at) == Fate::Pending {
            return;
        }
        let Some(done) = self.compaction.take() else {
            return;
        };
        let before = self.bytes;
        match self.partition.delete_records(done.first_offset) {
            Ok(_) => {
                self.set_bytes(self.bytes.saturating_sub(done.replaced_bytes));
                tracing::debug!(
                    target: "rustka::journal",
                    "compacted {}-{}: {before} bytes became {}",
                    self.topic,
                    self.partition.index,
                    self.bytes
                );
            }
            Err(refusal) => self.warn(refusal.code, now),
        }
        // After a failure too: the next try comes when it has grown as much again.
        self.live_bytes = self.bytes;
    }

    fn warn(&self, code: ErrorCode, now: Now) {
        let (topic, index, code) = (self.topic, self.partition.index, code.name());
        if let Some(left_out) = self.lines.admits(now.monotonic_ms) {
            tracing::warn!(target: "rustka::journal", "cannot compact {topic}-{index}: {code}{left_out}");
        }
    }
}

/// Why a journal cannot be read: it is damaged, or that is a mistake of ours, since nobody else writes there.
struct Unreadable;

fn apply_all<R: JournalRecord>(batch: &[u8], apply: &mut dyn FnMut(R)) -> Result<(), Unreadable> {
    let header = BatchHeader::parse(batch).map_err(|_| Unreadable)?;
    // A file may have changed by itself since it was written.
    if !crc_matches(batch) {
        return Err(Unreadable);
    }
    let bytes = record_bytes(batch, &header, LIVE_BATCH_BYTES).map_err(|_| Unreadable)?;
    let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
    if let Some(marker) = read_marker(batch, &header).map_err(|_| Unreadable)? {
        let marker = Marker {
            commit: marker.commit,
            coordinator_epoch: marker.coordinator_epoch,
            epoch_bumped: false,
        };
        R::marker(producer_id, epoch, marker)
            .into_iter()
            .for_each(apply);
        return Ok(());
    }
    if header.is_control() {
        for record in Records::new(&bytes, header.record_count) {
            let record = record.map_err(|_| Unreadable)?;
            let record = R::control(record.key, record.value.unwrap_or_default());
            record
                .map_err(|_| Unreadable)?
                .into_iter()
                .for_each(&mut *apply);
        }
        return Ok(());
    }
    for record in Records::new(&bytes, header.record_count) {
        let record = record.map_err(|_| Unreadable)?;
        let record = R::decode(record.key, record.value).map_err(|_| Unreadable)?;
        let record = match header.is_transactional() {
            true => record.and_then(|record| record.within(producer_id, epoch)),
            false => record,
        };
        record.into_iter().for_each(&mut *apply);
    }
    Ok(())
}

fn push(batch: &mut BatchBuilder, record: &impl JournalRecord, now: Now) {
    record.encode(&mut |key, value| put(batch, key, value, now));
}

fn put(batch: &mut BatchBuilder, key: Option<&[u8]>, value: Option<&[u8]>, now: Now) {
    batch.push(&NewRecord {
        timestamp: now.wall_ms,
        key,
        value,
        headers: &[],
    });
}
