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
    crowd: Crowd,
}

/// Who waits: nobody or one for nearly all partitions at nearly all times, who takes no memory of its own.
#[derive(Default)]
enum Crowd {
    #[default]
    Nobody,
    One(Wish),
    /// There were several, and not all are gone yet.
    Several(Box<Several>),
}

/// One who waits until so many bytes were appended in all.
struct Wish {
    bytes: u64,
    waiter: Arc<Waiter>,
}

struct Several {
    /// What is wished first.
    next: u64,
    wishes: Vec<Wish>,
}

impl Crowd {
    fn wishes(&self) -> &[Wish] {
        match self {
            Crowd::Nobody => &[],
            Crowd::One(wish) => std::slice::from_ref(wish),
            Crowd::Several(several) => &several.wishes,
        }
    }

    fn wishes_mut(&mut self) -> &mut [Wish] {
        match self {
            Crowd::Nobody => &mut [],
            Crowd::One(wish) => std::slice::from_mut(wish),
            Crowd::Several(several) => &mut several.wishes,
        }
    }

    /// What is wished first, or less than that, which costs one look.
    fn next(&self) -> u64 {
        match self {
            Crowd::Nobody => NEVER,
            Crowd::One(wish) => wish.bytes,
            Crowd::Several(several) => several.next,
        }
    }

    /// Takes note of what is wished first; one alone says so itself.
    fn set_next(&mut self, next: u64) {
        if let Crowd::Several(several) = self {
            several.next = next;
        }
    }

    fn place(&self, waiter: &Arc<Waiter>) -> Option<usize> {
        let mut wishes = self.wishes().iter();
        wishes.position(|wish| Arc::ptr_eq(&wish.waiter, waiter))
    }
}

impl Waiters {
    /// Bytes appended so far.
    pub fn appended_bytes(&self) -> u64 {
        self.appended
    }

    /// Adds one that is woken with the next byte, or for any other reason.
    pub fn add(&mut self, waiter: &Arc<Waiter>) {
        let wish = Wish {
            bytes: self.appended.saturating_add(1),
            waiter: waiter.clone(),
        };
        self.crowd = match std::mem::take(&mut self.crowd) {
            Crowd::Nobody => Crowd::One(wish),
            Crowd::One(first) => Crowd::Several(Box::new(Several {
                next: first.bytes.min(wish.bytes),
                wishes: vec![first, wish],
            })),
            Crowd::Several(mut several) => {
                several.next = several.next.min(wish.bytes);
                several.wishes.push(wish);
                Crowd::Several(several)
            }
        };
    }

    /// Has one that was added woken with the next byte.
    pub fn want_next(&mut self, waiter: &Arc<Waiter>) {
        let _not_there_yet = self.want(waiter, self.appended.saturating_add(1));
    }

    /// Has one that was added woken once so many bytes were appended in all; told at once where they were already, to
    /// be done once the partition is unlocked.
    pub fn want(&mut self, waiter: &Arc<Waiter>, bytes: u64) -> Fulfilled {
        let mut fulfilled = Fulfilled::default();
        let place = self.crowd.place(waiter);
        let Some(wish) = place.and_then(|at| self.crowd.wishes_mut().get_mut(at)) else {
            return fulfilled;
        };
        if bytes <= self.appended {
            wish.bytes = NEVER;
            fulfilled.push(waiter);
            return fulfilled;
        }
        wish.bytes = bytes;
        self.crowd.set_next(self.crowd.next().min(bytes));
        fulfilled
    }

    /// Removes one; an idle partition keeps no memory for those who wait.
    pub fn remove(&mut self, waiter: &Arc<Waiter>) {
        let Some(at) = self.crowd.place(waiter) else {
            return;
        };
        if let Crowd::Several(several) = &mut self.crowd {
            several.wishes.swap_remove(at);
            if !several.wishes.is_empty() {
                return;
            }
        }
        self.crowd = Crowd::Nobody;
    }

    /// Counts appended bytes; those whose wish is fulfilled are to be told once the partition is unlocked.
    pub fn appended(&mut self, bytes: u64) -> Fulfilled {
        self.appended = self.appended.saturating_add(bytes);
        let mut fulfilled = Fulfilled::default();
        if self.appended < self.crowd.next() {
            return fulfilled;
        }
        let mut next = NEVER;
        for wish in self.crowd.wishes_mut() {
            if wish.bytes <= self.appended {
                wish.bytes = NEVER;
                fulfilled.push(&wish.waiter);
            }
            next = next.min(wish.bytes);
        }
        self.crowd.set_next(next);
        fulfilled
    }

    /// All of them, to be woken once the partition is unlocked.
    pub fn all(&self) -> Vec<Arc<Waiter>> {
        let wishes = self.crowd.wishes().iter();
        wishes.map(|wish| wish.waiter.clone()).collect()
    }
}

/// Those who have as many bytes as they wanted.
#[must_use]
#[derive(Default)]
pub(crate) struct Fulfilled {
    first: Option<Arc<Waiter>>,
    others: Vec<Arc<Waiter>>,
}

impl Fulfilled {
    fn push(&mut self, waiter: &Arc<Waiter>) {
        match &self.first {
            None => self.first = Some(waiter.clone()),
            Some(_) => self.others.push(waiter.clone()),
        }
    }

    /// Tells them.
    pub fn tell(self) {
        for waiter in self.first.into_iter().chain(self.others) {
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
    fn one_alone_is_woken_as_others_are_and_leaves_no_memory() {
        let mut waiters = Waiters::default();
        let alone = Waiter::new();
        waiters.add(&alone);
        waiters.want(&alone, 10).tell();
        waiters.appended(9).tell();
        assert!(fired(&alone).is_pending());
        waiters.appended(1).tell();
        assert_eq!(fired(&alone), Poll::Ready(Fired::Bytes));
        alone.rearm();
        waiters.appended(1).tell();
        assert!(fired(&alone).is_pending(), "it wishes nothing more");
        waiters.want_next(&alone);
        waiters.appended(1).tell();
        assert_eq!(fired(&alone), Poll::Ready(Fired::Bytes));
        waiters.remove(&alone);
        assert!(matches!(waiters.crowd, Crowd::Nobody));
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
        assert!(matches!(waiters.crowd, Crowd::Nobody));
    }
}
