//! The machines that remember in a log of their own, with their locks, journals and deadlines.

mod answer;
pub mod groups;
mod journal;
mod rebuild;
mod shard;
