//! Producer ids: a counter that begins at a random place in each life of a broker in memory, so that a client that
//! outlived the last one cannot have its sequence numbers taken for duplicates.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Hands out producer ids.
pub struct ProducerIds {
    next: AtomicI64,
}

impl ProducerIds {
    /// A counter that begins at a place chosen by `seed`.
    pub fn new(seed: u32) -> ProducerIds {
        ProducerIds {
            next: AtomicI64::new(i64::from(seed) << 20),
        }
    }

    /// An id that nobody else has.
    pub fn next(&self) -> i64 {
        self.next.fetch_add(1, Relaxed)
    }
}
