//! The machines that remember in a log of their own, with their locks, journals and deadlines.

mod answer;
pub mod cluster;
pub mod groups;
mod journal;
mod rebuild;
mod shard;
mod shards;
pub mod transactions;

pub use answer::Answer;
