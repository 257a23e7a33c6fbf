//! What the broker does without being asked: retention, compaction, closing idle connections.

pub mod compaction;
pub mod housekeeping;
mod unreadable;
