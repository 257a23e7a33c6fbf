//! Fetches that wait for a partition to change.

use rustka_core::sync::lock;
use std::sync::atomic::{
    AtomicBool, AtomicI64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release,
};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// One waiting fetch, registered on each of its partitions.
pub struct Waiter {
    /// Bytes still missing before the fetch is worth answering.
    missing: AtomicI64,
    fired: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Waiter {
    /// A fetch that wants `missing` more bytes.
    pub fn new(missing: i64) -> Arc<Waiter> {
        Arc::new(Waiter {
            missing: AtomicI64::new(missing),
            fired: AtomicBool::new(false),
            waker: Mutex::default(),
        })
    }

    /// Counts appended bytes; the fetch is woken when it has enough.
    pub fn appended(&self, bytes: i64) {
        if self.missing.fetch_sub(bytes, AcqRel) <= bytes {
            self.fire();
        }
    }

    /// Wakes the fetch whatever it waits for: an error, a deletion, shutdown.
    pub fn fire(&self) {
        if !self.fired.swap(true, AcqRel) {
            let waker = lock(&self.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Ready once the fetch should be read again.
    pub fn poll_fired(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.fired.load(Acquire) {
            return Poll::Ready(());
        }
        *lock(&self.waker) = Some(cx.waker().clone());
        // It may have fired between the look and the waker.
        if self.fired.load(Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Waits again, for any byte at all.
    pub fn rearm(&self) {
        self.missing.store(1, Release);
        self.fired.store(false, Release);
    }

    /// Says how many bytes are really missing, unless something happened since [`Waiter::rearm`].
    pub fn want(&self, missing: i64) {
        if self.missing.fetch_add(missing.saturating_sub(1), AcqRel) <= 0 {
            self.fire();
        }
    }
}

/// The waiters of one partition.
#[derive(Default)]
pub struct Waiters(Vec<Arc<Waiter>>);

impl Waiters {
    /// Adds a waiter.
    pub fn add(&mut self, waiter: &Arc<Waiter>) {
        self.0.push(waiter.clone());
    }

    /// Removes a waiter; an idle partition keeps no memory for waiters.
    pub fn remove(&mut self, waiter: &Arc<Waiter>) {
        if let Some(at) = self.0.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            self.0.swap_remove(at);
        }
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    /// The waiters to wake once the partition is unlocked.
    pub fn all(&self) -> Vec<Arc<Waiter>> {
        self.0.clone()
    }
}
