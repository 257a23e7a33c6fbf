//! Whether a connection is taken at its word for what its compressed batches hold.
//!
//! Kafka inflates every batch. Most of what a broker wants to know stands in the header, and the clients that write
//! something untrue there do so always: Sarama before 1.46 leaves the largest timestamp out, and then no search by
//! time, no retention and no compaction lag is right. So a connection proves itself with its first batches, and is
//! asked again now and then; one that has said something untrue is never believed again.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Requests with compressed batches that are looked into before a connection is believed.
pub const PROVING_REQUESTS: u32 = 8;
/// After that, one in so many is.
pub const ASKED_AGAIN_EVERY: u32 = 256;
/// The count of a connection that is never believed.
const UNTRUE: u32 = u32::MAX;

/// What is known of one connection's word.
#[derive(Debug, Default)]
pub struct HeaderTrust(AtomicU32);

impl HeaderTrust {
    /// Counts a request with compressed batches; whether they have to be looked into.
    pub fn doubts(&self) -> bool {
        let counted = self.0.fetch_update(Relaxed, Relaxed, |count| match count {
            UNTRUE => None,
            // What follows the largest count is past the proof, too.
            _ => Some((count + 1).min(UNTRUE - 1)),
        });
        counted.map_or(true, |before| {
            before < PROVING_REQUESTS || before.is_multiple_of(ASKED_AGAIN_EVERY)
        })
    }

    /// A batch was looked into and was not what its header says.
    pub fn caught(&self) {
        self.0.store(UNTRUE, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_proves_itself_and_is_asked_again_now_and_then() {
        let trust = HeaderTrust::default();
        let doubted: Vec<u32> = (0..600).filter(|_| trust.doubts()).collect();
        assert_eq!(doubted, [0, 1, 2, 3, 4, 5, 6, 7, 256, 512]);
    }

    #[test]
    fn one_that_said_something_untrue_is_never_believed_again() {
        let trust = HeaderTrust::default();
        assert_eq!((0..100).filter(|_| trust.doubts()).count(), 8);
        trust.caught();
        assert!((0..1_000).all(|_| trust.doubts()));
    }

    #[test]
    fn the_count_does_not_run_over() {
        let trust = HeaderTrust(AtomicU32::new(UNTRUE - 2));
        let doubted = (0..100).filter(|_| trust.doubts()).count();
        assert!(doubted < 100, "it is still believed");
    }
}
