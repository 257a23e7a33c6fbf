//! Memory for frames and records, and its limit. What is dropped at the limit, and in which order, is an engine's.

use super::buffer::Pool;
use rustka_core::error::{ErrorCode, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Near the limit, this part of it is for freed blocks that wait for their next use.
pub(super) const RESERVE_PART: usize = 64;
/// Part of the limit that slow readers may hold beyond it.
const TOLERATED_PART: usize = 16;
/// A pool never keeps more freed memory than this.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// What frames and records of one broker lie in, and how much that may be.
pub struct Memory {
    /// Blocks for frames and chunks.
    pub pool: Arc<Pool>,
    limit: usize,
    warned: AtomicBool,
    /// Chunks dropped at the limit.
    pub evicted: AtomicU64,
}

/// What became of an attempt to drop something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// A chunk went.
    Done,
    /// The chunk that was the oldest is no longer there, or may not go any more: look again.
    Missed,
    /// Nothing may be dropped.
    Nothing,
}

impl Memory {
    /// Memory for frames and chunks, at most `limit` bytes of it.
    pub fn new(limit: usize) -> Arc<Memory> {
        Arc::new(Memory {
            // Freed blocks wait for their next use, but a broker that has become idle should not hold on to much.
            pool: Pool::new((limit / 4).min(KEPT_BYTES_MAX)),
            limit,
            warned: AtomicBool::new(false),
            evicted: AtomicU64::new(0),
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

    /// Has `evict` drop the oldest chunk until the limit holds; refused when nothing may be dropped any more.
    pub fn make_room(&self, mut evict: impl FnMut() -> Eviction) -> Result<(), Refusal> {
        while self.is_full() {
            match evict() {
                Eviction::Missed => {}
                Eviction::Done => {
                    self.evicted.fetch_add(1, Relaxed);
                    self.warn_once();
                }
                Eviction::Nothing if self.pool.bytes_in_use() <= self.limit => return Ok(()),
                Eviction::Nothing => {
                    let message = format!(
                        "the memory limit of {} bytes is reached and nothing may be dropped: it is filled by topics without \
                         delete in their cleanup.policy, groups and frames, {} bytes of it by readers that hold dropped records; raise it with \
                         --memory-limit",
                        self.limit,
                        self.pool.bytes_abandoned()
                    );
                    return Err(Refusal::new(ErrorCode::KafkaStorageError, message));
                }
            }
        }
        Ok(())
    }

    fn warn_once(&self) {
        if !self.warned.swap(true, Relaxed) {
            tracing::warn!(
                target: "rustka::storage",
                "the memory limit of {} bytes is reached: the oldest records are dropped; raise it with --memory-limit",
                self.limit
            );
        }
    }
}
