//! Time as the client needs it. The machine's is one; a test or an embedded broker with a clock of its own brings another.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::dial::BoxFuture;

/// Where a client's time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since some moment in the past; never goes back.
    fn monotonic_ms(&self) -> i64;
    /// Milliseconds since the Unix epoch, for the timestamps of records.
    fn wall_ms(&self) -> i64;
    /// Waits until the monotonic clock has reached `monotonic_ms`.
    fn sleep_until(&self, monotonic_ms: i64) -> BoxFuture<'_, ()>;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock(Instant::now())
    }
}

impl Clock for SystemClock {
    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn wall_ms(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            })
    }

    fn sleep_until(&self, monotonic_ms: i64) -> BoxFuture<'_, ()> {
        let after = Duration::from_millis(u64::try_from(monotonic_ms).unwrap_or(0));
        match self.0.checked_add(after) {
            Some(due) => Box::pin(tokio::time::sleep_until(due.into())),
            None => Box::pin(std::future::pending()),
        }
    }
}
