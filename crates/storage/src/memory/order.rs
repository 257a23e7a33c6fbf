//! In which order chunks are dropped at the memory limit: the globally oldest first.

use crate::limit::Eviction;
use crate::partition::Partition;
use rustka_core::sync::{Guard, lock};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

/// All logs that the limit may shorten, each under the number of its oldest chunk. A log whose chunks go for another
/// reason takes its new place at once, so there is never more than one entry of a log and none of one that is gone.
///
/// Its lock is taken under that of a partition, and no other under it.
#[derive(Default)]
pub(crate) struct Order {
    oldest: Mutex<BTreeMap<u64, Weak<Partition>>>,
    /// How many there are.
    count: AtomicUsize,
    last_sequence: AtomicU64,
}

impl Order {
    /// A number for a new chunk, larger than all before it, of which 1 is the first.
    pub fn begin_chunk(&self) -> u64 {
        self.last_sequence.fetch_add(1, Relaxed) + 1
    }

    /// Moves the log of `home` from one place to another, either of which may be none.
    fn change(&self, home: &Weak<Partition>, from: Option<NonZeroU64>, to: Option<NonZeroU64>) {
        let mut oldest = self.lock();
        if let Some(from) = from {
            oldest.remove(&from.get());
        }
        if let Some(to) = to {
            oldest.insert(to.get(), home.clone());
        }
        self.count.store(oldest.len(), Relaxed);
    }

    /// Drops the oldest of all chunks.
    pub fn evict(&self) -> Eviction {
        let Some((sequence, home)) = self.first() else {
            return Eviction::Nothing;
        };
        // The entry stays until its log changes it: whoever looks meanwhile waits for that, and does not take an order
        // with nothing left in it for one with nothing to drop.
        if home.upgrade().is_some_and(|home| home.evict(sequence)) {
            return Eviction::Done;
        }
        // Its log has left this place or leaves it this moment.
        let mut oldest = self.lock();
        oldest.remove(&sequence);
        self.count.store(oldest.len(), Relaxed);
        Eviction::Missed
    }

    /// Whether there seems to be anything to drop.
    pub fn has_any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    fn first(&self) -> Option<(u64, Weak<Partition>)> {
        let oldest = self.lock();
        let (sequence, home) = oldest.first_key_value()?;
        Some((*sequence, home.clone()))
    }

    fn lock(&self) -> Guard<'_, BTreeMap<u64, Weak<Partition>>> {
        lock(&self.oldest)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().len()
    }
}

/// One log's place in the order, given up when the log is dropped.
pub(crate) struct Place {
    pub order: Arc<Order>,
    home: Weak<Partition>,
    /// Whether the limit may shorten the log at all.
    open_to_eviction: bool,
    at: Option<NonZeroU64>,
}

impl Place {
    pub fn new(order: Arc<Order>, home: Weak<Partition>) -> Place {
        Place {
            order,
            home,
            open_to_eviction: false,
            at: None,
        }
    }

    /// Says whether the limit may shorten the log.
    pub fn allow(&mut self, may: bool, oldest: Option<u64>) {
        self.open_to_eviction = may;
        self.keep(oldest);
    }

    /// Goes to where the log's oldest chunk stands now.
    pub fn keep(&mut self, oldest: Option<u64>) {
        let to = oldest.filter(|_| self.open_to_eviction);
        let to = to.and_then(NonZeroU64::new);
        if to != self.at {
            self.order.change(&self.home, self.at, to);
            self.at = to;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keep(None);
    }
}
