//! What the engine has done with its files, and what it has before it, as numbers for whoever looks after a broker.

use super::Shared;
use crate::figures::{DiskFigures, SYNC_BUCKETS_US};
use rustka_core::sync::lock;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Tells the time in microseconds from whenever it began; never goes back.
pub type MonotonicUs = Box<dyn Fn() -> u64 + Send + Sync>;

/// What is counted as it happens.
#[derive(Default)]
pub(super) struct Counted {
    /// Where it is known what time it is.
    now_us: Option<MonotonicUs>,
    pub failures: AtomicU64,
    pub scrubbed_bytes: AtomicU64,
    syncs_by_time: [AtomicU64; SYNC_BUCKETS_US.len() + 1],
    sync_us: AtomicU64,
}

impl Counted {
    /// Nothing yet; times are taken from this clock.
    pub fn by(now_us: Option<MonotonicUs>) -> Counted {
        Counted {
            now_us,
            ..Counted::default()
        }
    }

    /// Does a sync, and takes note of how long it took.
    pub fn timed<R>(&self, sync: impl FnOnce() -> R) -> R {
        let Some(now_us) = &self.now_us else {
            return sync();
        };
        let began_us = now_us();
        let done = sync();
        let us = now_us().saturating_sub(began_us);
        let bucket = SYNC_BUCKETS_US.partition_point(|end| *end < us);
        // Whoever sees this sees what was counted before.
        self.syncs_by_time[bucket].fetch_add(1, Release);
        self.sync_us.fetch_add(us, Relaxed);
        done
    }
}

impl Shared {
    pub(super) fn figures(&self) -> DiskFigures {
        let counted = &self.counted;
        let (waiting_writes, waiting_syncs) = self.pool.waiting();
        let damaged_ranges = lock(&self.noted).damaged.values().flatten().count();
        let left = lock(&self.left);
        // Before all of them: no more are timed than there were.
        let syncs_by_time = std::array::from_fn(|at| counted.syncs_by_time[at].load(Acquire));
        DiskFigures {
            written_bytes: self.written_bytes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            syncs_by_time,
            sync_us: counted.sync_us.load(Relaxed),
            waiting_writes,
            waiting_syncs,
            scrubbed_bytes: counted.scrubbed_bytes.load(Relaxed),
            damaged_ranges,
            failures: counted.failures.load(Relaxed),
            volume: left.volume,
            reserve_bytes: left.reserve_bytes,
        }
    }
}
