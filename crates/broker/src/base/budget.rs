//! Shares of something limited: bytes of frames that are being received, places for fetches that wait.

use rustka_core::sync::lock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Something of which there is only so much for all connections together.
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    overdrawn: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
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
        self.used.fetch_update(AcqRel, Relaxed, within).ok()?;
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
                .fetch_add(amount.saturating_sub(charge.amount), AcqRel);
            charge.amount = charge.amount.max(amount);
            return Poll::Ready(());
        }
        if let Some(charge) = self.try_grow(amount) {
            *held = Some(charge);
            return Poll::Ready(());
        }
        lock(&self.waiting).push(cx.waker().clone());
        // Something may have been given back between the look and the waker.
        if let Some(charge) = self.try_grow(amount) {
            *held = Some(charge);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn try_grow(self: &Arc<Budget>, amount: usize) -> Option<Charge> {
        self.try_take(amount).or_else(|| {
            if self.overdrawn.swap(true, AcqRel) {
                return None;
            }
            self.used.fetch_add(amount, AcqRel);
            Some(self.charge(amount, true))
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.amount, AcqRel);
        if self.overdraft {
            self.budget.overdrawn.store(false, Relaxed);
        }
        let waiting = std::mem::take(&mut *lock(&self.budget.waiting));
        waiting.into_iter().for_each(Waker::wake);
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
}
