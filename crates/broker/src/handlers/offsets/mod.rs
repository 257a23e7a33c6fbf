//! Which offsets a partition has: by time, by leader epoch.

mod leader;
pub mod list_offsets;
pub mod offset_for_leader_epoch;
mod search;
