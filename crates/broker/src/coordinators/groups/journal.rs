//! A shard's journal: real batches in its partition of `__consumer_offsets`, compacted by live state.

use crate::base::fault::{Faults, Point};
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_core::group::records::Record;
use rustka_core::log::Origin;
use rustka_core::names::CONSUMER_OFFSETS;
use rustka_core::time::Now;
use rustka_storage::partition::Fate;
use rustka_storage::{Appended, Durability, Engine, Incoming, Partition};
use std::sync::Arc;

/// A journal below this size is never compacted.
const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// A journal this many times as large as its live state is compacted.
const COMPACT_FACTOR: u64 = 4;
/// A batch of a compacted journal is closed at this size.
const LIVE_BATCH_BYTES: usize = 64 << 10;
/// Over the memory limit journals may still grow by this part of it.
const RESERVE_DIVISOR: usize = 16;

/// Where one shard writes.
pub trait Writes: Send {
    /// Writes records as one batch. A refused batch harms no other.
    fn append(&mut self, records: &[Record], now: Now) -> Result<Durability, ErrorCode>;

    /// What became of a batch that was to be durable later.
    fn fate(&self, at: i64) -> Fate;

    /// Whether it is time to write the live state down and to drop the rest.
    fn wants_compaction(&self) -> bool {
        false
    }

    /// Replaces the journal by `live`: what it says stays the same.
    fn compact(
        &mut self,
        _live: &mut dyn Iterator<Item = Record>,
        _now: Now,
    ) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Drops what a compaction replaced, once the replacement is durable.
    fn finish_compaction(&mut self) {}
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

/// A journal in a partition of `__consumer_offsets`.
pub struct PartitionJournal {
    engine: Arc<dyn Engine>,
    faults: Arc<Faults>,
    partition: Arc<Partition>,
    bytes: u64,
    /// Size of the live state when it was last written down.
    live_bytes: u64,
    compaction: Option<Compaction>,
}

impl PartitionJournal {
    /// A journal in an empty partition.
    pub fn new(
        engine: &Arc<dyn Engine>,
        faults: &Arc<Faults>,
        partition: Arc<Partition>,
    ) -> PartitionJournal {
        PartitionJournal {
            engine: engine.clone(),
            faults: faults.clone(),
            bytes: partition.bytes(),
            partition,
            live_bytes: 0,
            compaction: None,
        }
    }

    fn write(&mut self, batch: BatchBuilder, now: Now) -> Result<Appended, ErrorCode> {
        if let Err(refusal) = self.engine.make_room() {
            let memory = self.engine.memory();
            let reserve = memory.limit() / RESERVE_DIVISOR;
            if memory.pool.bytes_in_use() > memory.limit().saturating_add(reserve) {
                return Err(refusal.code);
            }
        }
        let mut bytes = batch.build().map_err(|_| ErrorCode::MessageTooLarge)?;
        let header = BatchHeader::parse(&bytes).map_err(|_| ErrorCode::UnknownServerError)?;
        if self.faults.strikes_in(Point::Admit, CONSUMER_OFFSETS) {
            return Err(ErrorCode::KafkaStorageError);
        }
        let incoming = Incoming::Copied(&mut bytes);
        let appended = self
            .partition
            .append(incoming, &header, Origin::Coordinator, now)
            .map_err(|refusal| refusal.code)?;
        if self.faults.strikes_in(Point::Append, CONSUMER_OFFSETS) {
            self.partition.lose_writes(appended.base_offset);
            return Err(ErrorCode::KafkaStorageError);
        }
        self.bytes += header.total_bytes() as u64;
        Ok(appended)
    }
}

impl Writes for PartitionJournal {
    fn append(&mut self, records: &[Record], now: Now) -> Result<Durability, ErrorCode> {
        let mut batch = BatchBuilder::new();
        for record in records {
            push(&mut batch, record, now);
        }
        self.write(batch, now).map(|appended| appended.durability)
    }

    fn fate(&self, at: i64) -> Fate {
        self.partition.fate(at)
    }

    fn wants_compaction(&self) -> bool {
        let limit = self.live_bytes.saturating_mul(COMPACT_FACTOR);
        self.compaction.is_none() && self.bytes > limit.max(COMPACT_BYTES_MIN)
    }

    fn compact(
        &mut self,
        live: &mut dyn Iterator<Item = Record>,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let replaced_bytes = self.bytes;
        // What is written from here on lies in chunks of its own, so that the rest can go as a whole.
        self.partition.roll();
        let mut first_offset = self.partition.offsets().high_watermark;
        let mut at = first_offset;
        let mut batch = BatchBuilder::new();
        loop {
            let record = live.next();
            let is_last = record.is_none();
            if let Some(record) = record {
                push(&mut batch, &record, now);
            }
            if batch.bytes() >= LIVE_BATCH_BYTES || is_last && !batch.is_empty() {
                let written = self.write(std::mem::take(&mut batch), now)?;
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
        self.finish_compaction();
        Ok(())
    }

    fn finish_compaction(&mut self) {
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
                self.bytes = self.bytes.saturating_sub(done.replaced_bytes);
                tracing::debug!(
                    target: "rustka::groups",
                    "compacted {CONSUMER_OFFSETS}-{}: {before} bytes became {}",
                    self.partition.index,
                    self.bytes
                );
            }
            Err(refusal) => tracing::warn!(
                target: "rustka::groups",
                "cannot compact {CONSUMER_OFFSETS}-{}: {}",
                self.partition.index,
                refusal.code.name()
            ),
        }
        // After a failure too: the next try comes when it has grown as much again.
        self.live_bytes = self.bytes;
    }
}

fn push(batch: &mut BatchBuilder, record: &Record, now: Now) {
    let encoded = record.encode();
    batch.push(&NewRecord {
        timestamp: now.wall_ms,
        key: Some(&encoded.key),
        value: encoded.value.as_deref(),
        headers: &[],
    });
}
