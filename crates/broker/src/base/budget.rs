//! Shares of something limited: bytes of frames that are being received, places for fetches that wait.

use rustka_core::sync::lock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Something of which there is only so much for all connections together.
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    overdrawn: AtomicBool,
    /// Whether anybody waits: nobody does as a rule, and then giving back takes no lock.
    awaited: AtomicBool,
    /// Each task once, by its address.
    waiting: Mutex<BTreeMap<usize, Waker>>,
}

/// A part of a budget, given back when it is dropped.
pub struct Charge {
    budget: Arc<Budget>,
    amount: usize,
    overdraft: bool,
}

impl Budget {
    /// A budget of `limit`.
    pub fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
            overdrawn: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            waiting: Mutex::default(),
        })
    }

    /// How much is taken.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Takes `amount`, if that much is left.
    pub fn try_take(self: &Arc<Budget>, amount: usize) -> Option<Charge> {
        let within = |used: usize| used.checked_add(amount).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(SeqCst, SeqCst, within).ok()?;
        Some(self.charge(amount, false))
    }

    fn charge(self: &Arc<Budget>, amount: usize, overdraft: bool) -> Charge {
        Charge {
            budget: self.clone(),
            amount,
            overdraft,
        }
    }

    /// Replaces what `held` is by `amount`, waiting until there is so much. One holder at a time may go beyond the
    /// limit: else all could wait for each other, each with a part of what the others need.
    pub fn poll_grow(
        self: &Arc<Budget>,
        held: &mut Option<Charge>,
        amount: usize,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if let Some(charge) = held.as_mut().filter(|charge| charge.overdraft) {
            self.used
                .fetch_add(amount.saturating_sub(charge.amount), SeqCst);
            charge.amount = charge.amount.max(amount);
            return Poll::Ready(());
        }
        if let Some(charge) = self.try_grow(amount) {
            *held = Some(charge);
            return Poll::Ready(());
        }
        self.wait(cx.waker());
        // Something may have been given back between the look and the waker.
        if let Some(charge) = self.try_grow(amount) {
            *held = Some(charge);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn wait(&self, waker: &Waker) {
        let mut waiting = lock(&self.waiting);
        waiting.insert(waker.data().addr(), waker.clone());
        self.awaited.store(true, SeqCst);
    }

    fn wake(&self) {
        // Either this look comes after the mark of whoever begins to wait, or their second look after what was given
        // back: the order of both is one for all threads.
        if !self.awaited.load(SeqCst) {
            return;
        }
        let waiting = {
            let mut waiting = lock(&self.waiting);
            self.awaited.store(false, SeqCst);
            std::mem::take(&mut *waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    fn try_grow(self: &Arc<Budget>, amount: usize) -> Option<Charge> {
        self.try_take(amount).or_else(|| {
            if self.overdrawn.swap(true, SeqCst) {
                return None;
            }
            self.used.fetch_add(amount, SeqCst);
            Some(self.charge(amount, true))
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.amount, SeqCst);
        if self.overdraft {
            self.budget.overdrawn.store(false, SeqCst);
        }
        self.budget.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = Budget::new(10);
        let six = budget.try_take(6);
        assert!(six.is_some() && budget.try_take(5).is_none());
        assert!(budget.try_take(usize::MAX).is_none());
        drop(six);
        assert!(budget.try_take(10).is_some());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn one_may_overdraw_so_that_not_all_wait_for_each_other() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = &mut Context::from_waker(&waker);
        let budget = Budget::new(10);
        let (mut a, mut b) = (budget.try_take(5), budget.try_take(5));
        assert!(budget.poll_grow(&mut a, 20, cx).is_ready());
        assert!(budget.poll_grow(&mut b, 7, cx).is_pending());
        assert!(
            budget.poll_grow(&mut a, 40, cx).is_ready(),
            "the one goes on"
        );
        assert_eq!(budget.used(), 45);
        drop(a);
        assert_eq!(woken.0.load(Relaxed), 1);
        assert!(budget.poll_grow(&mut b, 7, cx).is_ready());
        drop(b);
        assert_eq!(budget.used(), 0);
    }

    /// Every frame that was given back took one lock of the whole broker, whether or not anybody waited; and whoever
    /// was woken in vain stood in the list once more each time.
    #[test]
    fn nobody_is_looked_for_where_nobody_waits_and_nobody_waits_twice() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = &mut Context::from_waker(&waker);
        let budget = Budget::new(10);
        let (mut a, mut b) = (budget.try_take(5), None);
        assert!(budget.poll_grow(&mut a, 20, cx).is_ready());
        for _ in 0..5 {
            assert!(budget.poll_grow(&mut b, 7, cx).is_pending());
        }
        assert_eq!(lock(&budget.waiting).len(), 1);
        assert!(budget.awaited.load(SeqCst));
        drop(a);
        assert_eq!(woken.0.load(Relaxed), 1);
        // The list is not touched: a lock of it here would never come.
        let _list = lock(&budget.waiting);
        assert!(!budget.awaited.load(SeqCst));
        drop(budget.try_take(3));
    }
}
