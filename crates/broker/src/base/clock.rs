//! The only place that reads real time. A manual clock stands still until it is told to advance.
#![allow(clippy::disallowed_methods)]

use rustka_core::sync::lock;
use rustka_core::time::{Now, WallTrust, as_settled};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Where a broker's time comes from.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System(Arc<System>),
    Manual(Arc<Manual>),
}

/// No offset between two clocks.
const UNSETTLED: i64 = i64::MIN;

struct System {
    start: Instant,
    /// What [`WallTrust`] has settled, or `UNSETTLED`: most of the time nobody has to look closer.
    offset_ms: AtomicI64,
    trust: Mutex<WallTrust>,
}

struct Manual {
    now: Mutex<(Now, WallTrust)>,
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
        let (start, wall_ms) = (Instant::now(), wall_ms());
        Clock(Source::System(Arc::new(System {
            start,
            offset_ms: AtomicI64::new(UNSETTLED),
            trust: Mutex::new(WallTrust::new(0, wall_ms)),
        })))
    }

    /// A clock that begins at `wall_ms` since the Unix epoch and moves only by [`Clock::advance`].
    pub fn manual(wall_ms: i64) -> Clock {
        let now = (Now::new(0, wall_ms), WallTrust::new(0, wall_ms));
        Clock(Source::Manual(Arc::new(Manual {
            now: Mutex::new(now),
            changed: watch::Sender::new(()),
        })))
    }

    /// The time now, on both clocks.
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System(system) => system.now(),
            Source::Manual(manual) => lock(&manual.now).0,
        }
    }

    /// The monotonic half of [`Clock::now`], for half the price.
    pub fn monotonic_ms(&self) -> i64 {
        match &self.0 {
            Source::System(system) => system.start.elapsed().as_millis() as i64,
            Source::Manual(manual) => lock(&manual.now).0.monotonic_ms,
        }
    }

    /// The same in microseconds, for what is measured.
    pub fn monotonic_us(&self) -> u64 {
        match &self.0 {
            Source::System(system) => system.start.elapsed().as_micros() as u64,
            Source::Manual(manual) => lock(&manual.now).0.monotonic_ms.max(0) as u64 * 1_000,
        }
    }

    /// Moves a manual clock forward and wakes what has become due; the system's clock cannot be moved.
    pub fn advance(&self, by: Duration) {
        let Source::Manual(manual) = &self.0 else {
            return;
        };
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        manual.set(|now| {
            (
                now.monotonic_ms.saturating_add(ms),
                now.wall_ms.saturating_add(ms),
            )
        });
        manual.changed.send_replace(());
    }

    /// Sets a manual clock's wall time forward or back, as somebody who corrects a machine's clock does. Nothing is
    /// woken by it: waiting goes by the other clock.
    pub fn jump_wall(&self, by_ms: i64) {
        if let Source::Manual(manual) = &self.0 {
            manual.set(|now| (now.monotonic_ms, now.wall_ms.saturating_add(by_ms)));
        }
    }

    /// Waits until the monotonic clock has reached `monotonic_ms`.
    pub async fn sleep_until(&self, monotonic_ms: i64) {
        match &self.0 {
            Source::System(system) => {
                let due = system.start + Duration::from_millis(monotonic_ms.max(0) as u64);
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

impl System {
    fn now(&self) -> Now {
        let (monotonic_ms, wall_ms) = (self.start.elapsed().as_millis() as i64, wall_ms());
        let offset_ms = self.offset_ms.load(Relaxed);
        as_settled(offset_ms, monotonic_ms, wall_ms).unwrap_or_else(|| {
            let mut trust = lock(&self.trust);
            let now = trust.look(monotonic_ms, wall_ms);
            let settled_ms = trust.settled_offset_ms().unwrap_or(UNSETTLED);
            self.offset_ms.store(settled_ms, Relaxed);
            now
        })
    }
}

impl Manual {
    /// Sets both clocks.
    fn set(&self, to: impl FnOnce(Now) -> (i64, i64)) {
        let mut now = lock(&self.now);
        let (monotonic_ms, wall_ms) = to(now.0);
        now.0 = now.1.look(monotonic_ms, wall_ms);
    }
}

fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
