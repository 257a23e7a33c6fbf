//! Batches in memory, in chunks that are closed and dropped as a whole.
//!
//! A small batch is copied into its partition's open chunk; a large one stays in the frame it arrived in, which then
//! is a chunk of its own. Chunks grow while a partition fills them and their memory is used again after retention.

mod chunk;
mod log;
#[cfg(test)]
mod tests;

use super::engine::{Engine, Log};
use super::partition::Partition;
use crate::storage::buffer::Pool;
use log::MemoryLog;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::sync::lock;
use rustka_wire::codec::Uuid;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Sizes of the chunks that small batches are copied into, each used once the one before it was filled.
const CHUNK_BYTES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// Near the limit, this part of it is for freed blocks that wait for their next use.
const RESERVE_PART: usize = 64;
/// Part of the limit that slow readers may hold beyond it.
const TOLERATED_PART: usize = 16;
/// A pool never keeps more freed memory than this.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// What all partitions of one broker share: memory, its limit, and the order in which chunks are dropped.
pub struct Memory {
    /// Blocks for frames and chunks.
    pub pool: Arc<Pool>,
    limit: usize,
    oldest: Mutex<VecDeque<(u64, Weak<Partition>)>>,
    sequence: AtomicU64,
    warned: AtomicBool,
    /// Chunks dropped at the limit.
    pub evicted: AtomicU64,
}

impl Memory {
    /// Memory for frames and chunks, at most `limit` bytes of it.
    pub fn new(limit: usize) -> Arc<Memory> {
        // Freed blocks wait for their next use, but a broker that has become idle should not hold on to much.
        let pool = Pool::new((limit / 4).min(KEPT_BYTES_MAX));
        let (oldest, sequence) = (Mutex::default(), AtomicU64::new(0));
        let (warned, evicted) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Memory {
            pool,
            limit,
            oldest,
            sequence,
            warned,
            evicted,
        })
    }

    /// The configured limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What slow readers may hold of records that the log has dropped, beyond the limit.
    pub fn tolerated_bytes(&self) -> usize {
        self.limit / TOLERATED_PART
    }

    /// Whether slow readers hold more than that where memory is short.
    pub fn readers_hold_too_much(&self) -> bool {
        self.pool.bytes_in_use() > self.limit - self.limit / RESERVE_PART
            && self.pool.bytes_abandoned() > self.tolerated_bytes()
    }

    /// Whether chunks have to go. What is dropped then waits in the pool for the next writer; the allocator gets it
    /// back only when much of it has piled up, because other sizes are asked for by now.
    fn is_full(&self) -> bool {
        let (used, kept) = (self.pool.bytes_in_use(), self.pool.bytes_kept());
        // The log must not shrink because a reader is slow: a little of what is only read is not counted.
        let used = used.saturating_sub(self.pool.bytes_abandoned().min(self.tolerated_bytes()));
        if used + kept <= self.limit {
            return false;
        }
        let reserve = self.limit / RESERVE_PART;
        if kept > 2 * reserve {
            self.pool.trim();
        }
        used > self.limit - reserve
    }

    /// Drops the globally oldest chunks until the limit holds; refused when nothing may be dropped any more.
    pub fn make_room(&self) -> Result<(), Refusal> {
        while self.is_full() {
            let Some((sequence, partition)) = self.oldest().pop_front() else {
                if self.pool.bytes_in_use() <= self.limit {
                    return Ok(());
                }
                let message = format!(
                    "the memory limit of {} bytes is reached and nothing may be dropped",
                    self.limit
                );
                return Err(Refusal::new(ErrorCode::KafkaStorageError, message));
            };
            let Some(partition) = partition.upgrade() else {
                continue;
            };
            if partition.evict(sequence) {
                self.evicted.fetch_add(1, Relaxed);
                if !self.warned.swap(true, Relaxed) {
                    tracing::warn!(
                        target: "rustka::storage",
                        "the memory limit of {} bytes is reached: the oldest records are dropped; raise it with --memory-limit",
                        self.limit
                    );
                }
            }
        }
        Ok(())
    }

    /// Puts a new chunk of `home` behind all others in the order of eviction; its number.
    fn begin_chunk(&self, home: &Weak<Partition>) -> u64 {
        let sequence = self.sequence.fetch_add(1, Relaxed);
        self.oldest().push_back((sequence, home.clone()));
        sequence
    }

    /// Puts chunks of `home` in their places in the order of eviction, unless they are there.
    fn begin_again(&self, home: &Weak<Partition>, sequences: impl Iterator<Item = u64>) {
        let mut oldest = self.oldest();
        oldest.extend(sequences.map(|sequence| (sequence, home.clone())));
        let all = oldest.make_contiguous();
        all.sort_by_key(|(sequence, _)| *sequence);
        let mut last = None;
        oldest.retain(|(sequence, _)| last.replace(*sequence) != Some(*sequence));
    }

    fn oldest(&self) -> MutexGuard<'_, VecDeque<(u64, Weak<Partition>)>> {
        lock(&self.oldest)
    }
}

/// The engine that keeps everything in memory; what is appended is as durable as it gets.
pub struct MemoryEngine(Arc<Memory>);

impl MemoryEngine {
    /// An engine in this memory.
    pub fn new(memory: Arc<Memory>) -> MemoryEngine {
        MemoryEngine(memory)
    }
}

impl Engine for MemoryEngine {
    fn open(&self, home: &Weak<Partition>, _topic_id: Uuid, _index: i32) -> Box<dyn Log> {
        Box::new(MemoryLog::new(self.0.clone(), home.clone()))
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.0
    }
}
