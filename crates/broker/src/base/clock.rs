//! The only place that reads real time. A manual clock stands still until it is told to advance.
#![allow(clippy::disallowed_methods)]

use rustka_core::sync::lock;
use rustka_core::time::{Now, WallTrust, as_settled};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    sleepers: Mutex<Sleepers>,
}

/// Who waits for a manual clock, by deadline; of equal deadlines in the order of their coming.
#[derive(Default)]
struct Sleepers {
    wakers: BTreeMap<(i64, u64), Waker>,
    next: u64,
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
            sleepers: Mutex::default(),
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

    /// Moves a manual clock forward and wakes what has become due, and nobody else, in the order of the deadlines; the
    /// system's clock cannot be moved.
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
        let now_ms = lock(&manual.now).0.monotonic_ms;
        let due = lock(&manual.sleepers).take_due(now_ms);
        due.into_iter().for_each(Waker::wake);
    }

    /// When the first of those who wait for a manual clock is due; none where nobody does, and of the system's clock.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        match &self.0 {
            Source::System(_) => None,
            Source::Manual(manual) => {
                let sleepers = lock(&manual.sleepers);
                sleepers.wakers.keys().next().map(|(due_ms, _)| *due_ms)
            }
        }
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
                Sleep {
                    manual,
                    due_ms: monotonic_ms,
                    place: None,
                }
                .await;
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

impl Sleepers {
    fn take_due(&mut self, now_ms: i64) -> Vec<Waker> {
        let later = self.wakers.split_off(&(now_ms.saturating_add(1), 0));
        let due = std::mem::replace(&mut self.wakers, later);
        due.into_values().collect()
    }
}

/// Ends when a manual clock has reached a time.
struct Sleep<'a> {
    manual: &'a Manual,
    due_ms: i64,
    /// Its number among those with its deadline, once it has waited.
    place: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let manual = self.manual;
        let is_due = |due_ms| lock(&manual.now).0.monotonic_ms >= due_ms;
        if is_due(self.due_ms) {
            return Poll::Ready(());
        }
        let mut sleepers = lock(&manual.sleepers);
        let place = match self.place {
            Some(place) => place,
            None => {
                sleepers.next += 1;
                sleepers.next
            }
        };
        self.place = Some(place);
        let key = (self.due_ms, place);
        let old = sleepers.wakers.insert(key, cx.waker().clone());
        drop(sleepers);
        drop(old);
        // Whoever has moved the clock meanwhile may not have found this one.
        if is_due(self.due_ms) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let key = (self.due_ms, place);
            let gone = lock(&self.manual.sleepers).wakers.remove(&key);
            drop(gone);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    /// Notes its name when it is woken.
    struct Noting(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Wake for Noting {
        fn wake(self: Arc<Self>) {
            lock(&self.1).push(self.0);
        }
    }

    #[test]
    fn a_manual_clock_wakes_those_who_are_due_in_the_order_of_their_deadlines() {
        let clock = Clock::manual(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut sleeps = Vec::new();
        for (name, due_ms) in [
            ("third", 30),
            ("first", 10),
            ("second", 10),
            ("gone", 20),
            ("last", 31),
        ] {
            let waker = Waker::from(Arc::new(Noting(name, woken.clone())));
            let mut sleep = Box::pin(clock.sleep_until(due_ms));
            let mut cx = Context::from_waker(&waker);
            assert!(sleep.as_mut().poll(&mut cx).is_pending());
            if name != "gone" {
                sleeps.push(sleep);
            }
        }
        assert_eq!(clock.next_deadline_ms(), Some(10));
        clock.advance(Duration::from_millis(9));
        assert!(lock(&woken).is_empty());
        clock.advance(Duration::from_millis(21));
        assert_eq!(clock.next_deadline_ms(), Some(31));
        assert_eq!(*lock(&woken), ["first", "second", "third"]);
        let mut cx = Context::from_waker(Waker::noop());
        let ended = sleeps
            .iter_mut()
            .map(|sleep| sleep.as_mut().poll(&mut cx).is_ready());
        assert_eq!(ended.collect::<Vec<_>>(), [true, true, true, false]);
    }
}
