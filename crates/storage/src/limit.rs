//! Memory for frames and records, and its limit. What is dropped at the limit, and in which order, is an engine's.

use super::buffer::Pool;
use rustka_core::account::{Account, Share};
use rustka_core::error::{ErrorCode, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Near the limit, this part of it is for freed blocks that wait for their next use.
pub(super) const RESERVE_PART: usize = 64;
/// Part of the limit that slow readers may hold of what the log has dropped before they are closed.
const TOLERATED_PART: usize = 16;
/// This part of the limit they may hold beyond it; for more the log shrinks.
const BEYOND_PART: usize = 32;
/// A pool never keeps more freed memory than this.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// Records that nobody may drop leave this part of the limit to what coordinators keep, where that is less yet: groups
/// go on committing when records have filled the rest.
const KEPT_PART: usize = 8;

/// So many kinds of what fills the memory are named in a refusal.
const TOLD_MAX: usize = 3;

/// What frames, records and all that clients have the broker remember lie in, and how much that may be.
pub struct Memory {
    /// Blocks for frames and chunks.
    pub pool: Arc<Pool>,
    /// What is remembered beside them, which counts as well.
    pub account: Arc<Account>,
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
    /// A copy of a chunk went.
    Forgotten,
    /// The chunk that was the oldest is no longer there, or may not go any more: look again.
    Missed,
    /// Nothing may be dropped.
    Nothing,
}

impl Memory {
    /// Memory of which at most `limit` bytes are taken.
    pub fn new(limit: usize) -> Arc<Memory> {
        Arc::new(Memory {
            // Freed blocks wait for their next use, but a broker that has become idle should not hold on to much.
            pool: Pool::new((limit / 4).min(KEPT_BYTES_MAX)),
            account: Arc::new(Account::new(limit)),
            limit,
            warned: AtomicBool::new(false),
            evicted: AtomicU64::new(0),
        })
    }

    /// The configured limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What is taken by now: frames, records, and all that is remembered beside them.
    pub fn bytes_taken(&self) -> usize {
        self.pool.bytes_in_use() + self.account.total()
    }

    /// What slow readers may hold of records that the log has dropped.
    pub fn tolerated_bytes(&self) -> usize {
        self.limit / TOLERATED_PART
    }

    /// Whether slow readers hold more than that where memory is short.
    pub fn readers_hold_too_much(&self) -> bool {
        self.bytes_taken() > self.limit - self.limit / RESERVE_PART
            && self.pool.bytes_abandoned() > self.tolerated_bytes()
    }

    /// Whether chunks have to go. What is dropped then waits in the pool for the next writer; the allocator gets it
    /// back only when much of it has piled up, because other sizes are asked for by now.
    fn is_full(&self) -> bool {
        let (used, kept) = (self.bytes_taken(), self.pool.bytes_kept());
        // The log must not shrink because a reader is slow: a little of what is only read is not counted.
        let read_only = self.pool.bytes_abandoned();
        let used = used.saturating_sub(read_only.min(self.limit / BEYOND_PART));
        if used + kept <= self.limit {
            return false;
        }
        let reserve = self.limit / RESERVE_PART;
        if kept > 2 * reserve {
            self.pool.trim();
        }
        used > self.limit - reserve
    }

    /// Has `evict` drop the oldest chunk until the limit holds; refused when nothing may be dropped any more. Where
    /// nothing `may_go`, a part of the limit is left to coordinators.
    pub fn make_room(
        &self,
        mut evict: impl FnMut() -> Eviction,
        may_go: impl Fn() -> bool,
    ) -> Result<(), Refusal> {
        let mut nothing_left = false;
        while !nothing_left && self.is_full() {
            match evict() {
                Eviction::Missed | Eviction::Forgotten => {}
                Eviction::Done => {
                    self.evicted.fetch_add(1, Relaxed);
                    self.warn_once();
                }
                Eviction::Nothing => nothing_left = true,
            }
        }
        let taken = self.bytes_taken();
        // Nearly always there is no need to look any closer.
        let has_room = taken <= self.limit - self.limit / KEPT_PART
            || taken.saturating_add(self.reserved_bytes()) <= self.limit
            || !nothing_left && may_go();
        match has_room {
            true => Ok(()),
            false => Err(Refusal::new(ErrorCode::KafkaStorageError, self.sentence())),
        }
    }

    /// What coordinators may yet take of their part, which records that stay must not fill.
    fn reserved_bytes(&self) -> usize {
        (self.limit / KEPT_PART).saturating_sub(self.account.kept())
    }

    /// What fills the memory, the most of it first, and what would help.
    fn sentence(&self) -> String {
        let (readers, journals) = (
            self.pool.bytes_abandoned(),
            self.account.bytes(Share::Journals),
        );
        let records = self.pool.bytes_in_use().saturating_sub(readers + journals);
        let shares = Share::ALL.map(|share| {
            let (what, remedy) = share.sentence();
            (self.account.bytes(share), what, remedy)
        });
        let others = [
            (
                records,
                "records of topics without delete in their cleanup.policy, and requests",
                "let such topics have fewer keys, or cleanup.policy=compact,delete",
            ),
            (
                readers,
                "dropped records that slow readers still hold",
                "let consumers read faster",
            ),
        ];
        let mut all: Vec<_> = shares.into_iter().chain(others).collect();
        all.sort_unstable_by_key(|(bytes, _, _)| std::cmp::Reverse(*bytes));
        let most = all.iter().take(TOLD_MAX).filter(|(bytes, _, _)| *bytes > 0);
        let most: Vec<String> = most
            .map(|(bytes, what, _)| format!("{bytes} bytes of {what}"))
            .collect();
        let remedy = all.first().map_or("", |(_, _, remedy)| remedy);
        format!(
            "the memory limit of {} bytes is reached and nothing may be dropped: it holds {}; {remedy}, or raise \
             --memory-limit",
            self.limit,
            most.join(", ")
        )
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
