//! A shard's journal: real batches in its partition of `__consumer_offsets`, compacted by live state.

use crate::storage::memory::Memory;
use crate::storage::{Incoming, Partition};
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_core::group::records::Record;
use rustka_core::log::Origin;
use rustka_core::names::CONSUMER_OFFSETS;
use rustka_core::time::Now;
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
pub struct Journal {
    memory: Arc<Memory>,
    partition: Arc<Partition>,
    bytes: u64,
    /// Size of the live state when it was last written down.
    live_bytes: u64,
}

impl Journal {
    /// A journal in an empty partition.
    pub fn new(memory: &Arc<Memory>, partition: Arc<Partition>) -> Journal {
        Journal {
            memory: memory.clone(),
            bytes: partition.bytes(),
            partition,
            live_bytes: 0,
        }
    }

    /// Writes records as one batch, durable at once.
    pub fn append(&mut self, records: &[Record], now: Now) -> Result<(), ErrorCode> {
        let mut batch = BatchBuilder::new();
        for record in records {
            push(&mut batch, record, now);
        }
        self.write(batch, now).map(|_| ())
    }

    /// Whether it is time to write the live state down and to drop the rest.
    pub fn wants_compaction(&self) -> bool {
        let limit = self.live_bytes.saturating_mul(COMPACT_FACTOR);
        self.bytes > limit.max(COMPACT_BYTES_MIN)
    }

    /// Replaces the journal by `live`: what it says stays the same.
    pub fn compact(
        &mut self,
        live: impl Iterator<Item = Record>,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let before = self.bytes;
        // What is written from here on lies in chunks of its own, so that the rest can go as a whole.
        self.partition.roll();
        let mut first_offset = self.partition.offsets().high_watermark;
        let mut written = 0;
        let mut batch = BatchBuilder::new();
        for record in live {
            push(&mut batch, &record, now);
            if batch.bytes() >= LIVE_BATCH_BYTES {
                let full = std::mem::take(&mut batch);
                let offset = self.write(full, now)?;
                first_offset = first_offset.min(offset);
                written += 1;
            }
        }
        if !batch.is_empty() {
            first_offset = first_offset.min(self.write(batch, now)?);
            written += 1;
        }
        if let Err(refusal) = self.partition.delete_records(first_offset) {
            return Err(refusal.code);
        }
        self.bytes = self.bytes.saturating_sub(before);
        self.live_bytes = self.bytes;
        tracing::debug!(
            "compacted {CONSUMER_OFFSETS}-{}: {before} bytes became {} in {written} batches",
            self.partition.index,
            self.bytes
        );
        Ok(())
    }

    fn write(&mut self, batch: BatchBuilder, now: Now) -> Result<i64, ErrorCode> {
        if let Err(refusal) = self.memory.make_room() {
            let reserve = self.memory.limit() / RESERVE_DIVISOR;
            if self.memory.pool.bytes_in_use() > self.memory.limit().saturating_add(reserve) {
                return Err(refusal.code);
            }
        }
        let mut bytes = batch.build().map_err(|_| ErrorCode::MessageTooLarge)?;
        let header = BatchHeader::parse(&bytes).map_err(|_| ErrorCode::UnknownServerError)?;
        let incoming = Incoming::Copied(&mut bytes);
        let appended = self
            .partition
            .append(incoming, &header, Origin::Coordinator, now)
            .map_err(|refusal| refusal.code)?;
        self.bytes += header.total_bytes() as u64;
        Ok(appended.base_offset)
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
