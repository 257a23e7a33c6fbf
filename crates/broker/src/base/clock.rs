//! The only place that reads real time. A manual clock stands still until it is told to advance.
#![allow(clippy::disallowed_methods)]

use rustka_core::sync::lock;
use rustka_core::time::Now;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Where a broker's time comes from.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System(Instant),
    Manual(Arc<Manual>),
}

struct Manual {
    now: Mutex<Now>,
    changed: watch::Sender<()>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::system()
    }
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Clock {
        Clock(Source::System(Instant::now()))
    }

    /// A clock that begins at `wall_ms` since the Unix epoch and moves only by [`Clock::advance`].
    pub fn manual(wall_ms: i64) -> Clock {
        let now = Mutex::new(Now {
            monotonic_ms: 0,
            wall_ms,
        });
        Clock(Source::Manual(Arc::new(Manual {
            now,
            changed: watch::Sender::new(()),
        })))
    }

    /// The time now, on both clocks.
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System(start) => Now {
                monotonic_ms: start.elapsed().as_millis() as i64,
                wall_ms: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_millis() as i64),
            },
            Source::Manual(manual) => *lock(&manual.now),
        }
    }

    /// The monotonic half of [`Clock::now`], for half the price.
    pub fn monotonic_ms(&self) -> i64 {
        match &self.0 {
            Source::System(start) => start.elapsed().as_millis() as i64,
            Source::Manual(manual) => lock(&manual.now).monotonic_ms,
        }
    }

    /// The same in microseconds, for what is measured.
    pub fn monotonic_us(&self) -> u64 {
        match &self.0 {
            Source::System(start) => start.elapsed().as_micros() as u64,
            Source::Manual(manual) => lock(&manual.now).monotonic_ms.max(0) as u64 * 1_000,
        }
    }

    /// Moves a manual clock forward and wakes what has become due; the system's clock cannot be moved.
    pub fn advance(&self, by: Duration) {
        let Source::Manual(manual) = &self.0 else {
            return;
        };
        {
            let mut now = lock(&manual.now);
            let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            now.monotonic_ms = now.monotonic_ms.saturating_add(ms);
            now.wall_ms = now.wall_ms.saturating_add(ms);
        }
        manual.changed.send_replace(());
    }

    /// Sets a manual clock's wall time forward or back, as somebody who corrects a machine's clock does. Nothing is
    /// woken by it: waiting goes by the other clock.
    pub fn jump_wall(&self, by_ms: i64) {
        if let Source::Manual(manual) = &self.0 {
            let mut now = lock(&manual.now);
            now.wall_ms = now.wall_ms.saturating_add(by_ms);
        }
    }

    /// Waits until the monotonic clock has reached `monotonic_ms`.
    pub async fn sleep_until(&self, monotonic_ms: i64) {
        match &self.0 {
            Source::System(start) => {
                let due = *start + Duration::from_millis(monotonic_ms.max(0) as u64);
                tokio::time::sleep_until(due.into()).await;
            }
            Source::Manual(manual) => {
                let mut changed = manual.changed.subscribe();
                while self.now().monotonic_ms < monotonic_ms {
                    if changed.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
