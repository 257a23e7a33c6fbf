//! Who works on something large right now, and how much of it each may do before the others have their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts them.
#[derive(Clone, Default)]
pub struct Turns(Arc<AtomicUsize>);

impl Turns {
    /// One more, until it is dropped.
    pub fn take(&self) -> Turn {
        self.0.fetch_add(1, Relaxed);
        Turn(self.0.clone())
    }

    /// What each may do of so much at once; nobody less than `least`.
    pub fn share(&self, all: usize, least: usize) -> usize {
        (all / self.0.load(Relaxed).max(1)).max(least)
    }
}

/// One that is counted.
pub struct Turn(Arc<AtomicUsize>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_may_do_is_shared_by_all_and_never_less_than_the_least() {
        let turns = Turns::default();
        assert_eq!(turns.share(100, 20), 100);
        let first = turns.take();
        assert_eq!(turns.share(100, 20), 100);
        let others = [turns.take(), turns.take(), turns.take()];
        assert_eq!(turns.share(100, 20), 25);
        let fifth = turns.take();
        let sixth = turns.take();
        assert_eq!(turns.share(100, 20), 20);
        drop((first, others, fifth));
        assert_eq!(turns.share(100, 20), 100);
        drop(sixth);
        assert_eq!(turns.share(100, 20), 100);
    }
}
