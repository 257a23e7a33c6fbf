//! What the broker does without being asked: retention, compaction, closing idle connections, keeping tasks alive.

pub mod compaction;
pub mod files;
pub mod housekeeping;
mod journals;
pub mod retention;
pub mod supervise;
mod unreadable;
