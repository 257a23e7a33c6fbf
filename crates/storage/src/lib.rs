//! Where partitions keep their batches. Callers see partitions and offsets, never chunks or files. This crate knows no
//! client and no request; what may be appended is decided by `rustka-core`.
//!
//! - [`partition`] is what handlers and journals use: who may append, which offsets exist, who waits. It is the same
//!   for every engine.
//! - [`engine`] is the boundary: what an engine has to do for one partition and for all of them.
//! - [`opener`] opens partitions after a start while others are served.
//! - [`cold`] is what a read comes to where the batches are not in memory.
//! - [`limit`] is how much memory there is for it, [`buffer`] what that memory is cut into.
//! - [`retired`] lets the older part of a log go that snapshots tell of.
//! - [`memory`] is the engine that keeps everything in chunks of memory, [`disk`] the one that keeps it in Kafka's files.
//!
//! `unsafe` lives in [`buffer`] alone, and Miri watches it:
//!
//! ```text
//! rustup component add miri --toolchain nightly
//! cargo +nightly miri test -p rustka-storage --lib buffer
//! ```

pub mod buffer;
pub mod cold;
pub mod disk;
pub mod engine;
mod figures;
pub mod limit;
pub mod memory;
pub mod opener;
pub mod partition;
pub mod retired;
#[cfg(feature = "testing")]
pub mod testing;
pub mod waiters;

pub use engine::{Engine, Incoming, Log, PartitionName};
pub use limit::Memory;
pub use opener::Opener;
pub use partition::{
    Appended, Durability, DurabilityObserver, Fate, Glance, Offsets, Partition, ReadByAll,
    RetentionRules, Safety,
};
