//! Those who wait for a partition: for bytes, for whatever else changes, for durability.

use rustka_core::sync::lock;
use std::sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

const QUIET: u8 = 0;
const BYTES: u8 = 1;
const CHANGED: u8 = 2;

/// A position that is never reached.
const NEVER: u64 = u64::MAX;

/// One who waits, registered on each partition that concerns it.
pub struct Waiter {
    fired: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// Why one who waits was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// One partition has as many bytes as were asked of it.
    Bytes,
    /// Something else happened: an error, a deletion, a new start of the log, durability.
    Changed,
}

impl Waiter {
    /// One who has heard of nothing yet.
    pub fn new() -> Arc<Waiter> {
        Arc::new(Waiter {
            fired: AtomicU8::new(QUIET),
            waker: Mutex::default(),
        })
    }

    /// Wakes it whatever it waits for.
    pub fn fire(&self) {
        self.raise(CHANGED);
    }

    /// Wakes it since a partition has as many bytes as it wanted.
    fn has_bytes(&self) {
        self.raise(BYTES);
    }

    fn raise(&self, to: u8) {
        if self.fired.fetch_max(to, AcqRel) == QUIET {
            let waker = lock(&self.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn fired(&self) -> Poll<Fired> {
        match self.fired.load(Acquire) {
            QUIET => Poll::Pending,
            BYTES => Poll::Ready(Fired::Bytes),
            _ => Poll::Ready(Fired::Changed),
        }
    }

    /// Ready once it was woken.
    pub fn poll_fired(&self, cx: &mut Context<'_>) -> Poll<Fired> {
        let fired = self.fired();
        if fired.is_ready() {
            return fired;
        }
        *lock(&self.waker) = Some(cx.waker().clone());
        // It may have been woken between the look and the waker.
        self.fired()
    }

    /// Waits again, whatever it was woken for.
    pub fn rearm(&self) {
        self.fired.store(QUIET, Release);
    }

    /// Waits again for bytes; what else happened is not forgotten.
    pub fn rearm_for_bytes(&self) {
        // An error means that there was nothing to forget.
        let _rearmed = self.fired.compare_exchange(BYTES, QUIET, AcqRel, Acquire);
    }
}

/// Those who wait for one partition, and how many bytes it has got in its life. An append looks at one number unless
/// somebody's wish is fulfilled, however many there are.
#[derive(Default)]
pub(crate) struct Waiters {
    appended: u64,
    /// Nothing while nobody waits, as for nearly all partitions at nearly all times.
    crowd: Option<Box<Crowd>>,
}

/// At least one who waits.
struct Crowd {
    /// What is wished first.
    next: u64,
    waiting: Vec<(u64, Arc<Waiter>)>,
}

impl Crowd {
    fn place(&self, waiter: &Arc<Waiter>) -> Option<usize> {
        let mut waiting = self.waiting.iter();
        waiting.position(|(_, other)| Arc::ptr_eq(other, waiter))
    }
}

impl Waiters {
    /// Bytes appended so far.
    pub fn appended_bytes(&self) -> u64 {
        self.appended
    }

    /// Adds one that is woken with the next byte, or for any other reason.
    pub fn add(&mut self, waiter: &Arc<Waiter>) {
        let wish = self.appended.saturating_add(1);
        let crowd = self.crowd.get_or_insert_with(|| {
            Box::new(Crowd {
                next: NEVER,
                waiting: Vec::new(),
            })
        });
        crowd.waiting.push((wish, waiter.clone()));
        crowd.next = crowd.next.min(wish);
    }

    /// Has one that was added woken with the next byte.
    pub fn want_next(&mut self, waiter: &Arc<Waiter>) {
        let _not_there_yet = self.want(waiter, self.appended.saturating_add(1));
    }

    /// Has one that was added woken once so many bytes were appended in all; told at once where they were already, to
    /// be done once the partition is unlocked.
    pub fn want(&mut self, waiter: &Arc<Waiter>, bytes: u64) -> Fulfilled {
        let Some(crowd) = &mut self.crowd else {
            return Fulfilled::default();
        };
        let place = crowd.place(waiter);
        let Some((wish, _)) = place.and_then(|at| crowd.waiting.get_mut(at)) else {
            return Fulfilled::default();
        };
        if bytes <= self.appended {
            *wish = NEVER;
            return Fulfilled(vec![waiter.clone()]);
        }
        // What is wished first may be less than anybody still wishes, which costs one look.
        *wish = bytes;
        crowd.next = crowd.next.min(bytes);
        Fulfilled::default()
    }

    /// Removes one; an idle partition keeps no memory for those who wait.
    pub fn remove(&mut self, waiter: &Arc<Waiter>) {
        let Some(crowd) = &mut self.crowd else {
            return;
        };
        if let Some(at) = crowd.place(waiter) {
            crowd.waiting.swap_remove(at);
        }
        if crowd.waiting.is_empty() {
            self.crowd = None;
        }
    }

    /// Counts appended bytes; those whose wish is fulfilled are to be told once the partition is unlocked.
    pub fn appended(&mut self, bytes: u64) -> Fulfilled {
        self.appended = self.appended.saturating_add(bytes);
        let mut fulfilled = Vec::new();
        if let Some(crowd) = &mut self.crowd
            && self.appended >= crowd.next
        {
            crowd.next = NEVER;
            for (wish, waiter) in &mut crowd.waiting {
                if *wish <= self.appended {
                    *wish = NEVER;
                    fulfilled.push(waiter.clone());
                }
                crowd.next = crowd.next.min(*wish);
            }
        }
        Fulfilled(fulfilled)
    }

    /// All of them, to be woken once the partition is unlocked.
    pub fn all(&self) -> Vec<Arc<Waiter>> {
        let waiting = self.crowd.iter().flat_map(|crowd| &crowd.waiting);
        waiting.map(|(_, waiter)| waiter.clone()).collect()
    }
}

/// Those who have as many bytes as they wanted.
#[must_use]
#[derive(Default)]
pub(crate) struct Fulfilled(Vec<Arc<Waiter>>);

impl Fulfilled {
    /// Tells them.
    pub fn tell(self) {
        for waiter in self.0 {
            waiter.has_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(waiter: &Waiter) -> Poll<Fired> {
        waiter.poll_fired(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn each_is_woken_when_its_own_wish_is_fulfilled_and_once() {
        let mut waiters = Waiters::default();
        let (patient, hasty) = (Waiter::new(), Waiter::new());
        waiters.add(&patient);
        waiters.add(&hasty);
        waiters.want(&patient, 30).tell();
        waiters.want(&hasty, 10).tell();
        waiters.appended(9).tell();
        assert!(fired(&hasty).is_pending());
        waiters.appended(1).tell();
        assert_eq!(fired(&hasty), Poll::Ready(Fired::Bytes));
        hasty.rearm();
        waiters.appended(19).tell();
        assert!(fired(&hasty).is_pending() && fired(&patient).is_pending());
        waiters.appended(1).tell();
        assert!(fired(&hasty).is_pending());
        assert_eq!(fired(&patient), Poll::Ready(Fired::Bytes));
        waiters.want(&hasty, 30).tell();
        assert_eq!(fired(&hasty), Poll::Ready(Fired::Bytes), "already there");
    }

    #[test]
    fn what_is_more_than_bytes_is_not_forgotten_for_bytes() {
        let waiter = Waiter::new();
        waiter.has_bytes();
        waiter.fire();
        waiter.has_bytes();
        waiter.rearm_for_bytes();
        assert_eq!(fired(&waiter), Poll::Ready(Fired::Changed));
        waiter.rearm();
        assert!(fired(&waiter).is_pending());
    }

    #[test]
    fn who_has_left_is_not_told_and_leaves_no_memory() {
        let mut waiters = Waiters::default();
        let (one, other) = (Waiter::new(), Waiter::new());
        waiters.add(&one);
        waiters.add(&other);
        waiters.remove(&one);
        waiters.appended(5).tell();
        assert!(fired(&one).is_pending() && fired(&other).is_ready());
        waiters.remove(&other);
        assert!(waiters.crowd.is_none());
    }
}
