//! Incremental fetch sessions (KIP-227): a consumer names its partitions once, then only what changed.
//!
//! Knows which partitions a Fetch concerns, in which order, and which of them the answer must name. Reads nothing.
mod cache;
mod context;
mod session;

pub use cache::{FetchSessions, SessionLimits, SessionRequest};
pub use context::{FetchContext, Responded, View};
pub use session::{Entry, PartitionOutcome, RequestedPartition, TopicKey};

/// The epoch of a request that asks for a new session.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants no session, and ends the one it names.
pub const FINAL_EPOCH: i32 = -1;
/// The id of no session.
pub const NO_SESSION: i32 = 0;

/// The epoch after this one; it never comes back to that of a new session.
fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        ..0 => FINAL_EPOCH,
        i32::MAX => 1,
        epoch => epoch + 1,
    }
}

#[cfg(test)]
mod tests;
