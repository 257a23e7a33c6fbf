//! What a log has its writer do, in order.

use super::cleaned::Cleaned;
use super::index::TimeEntry;
use super::run::{Run, Write};
use std::sync::Arc;

/// Something to be done to a log's files.
pub(super) enum Step {
    /// Begins a segment with empty files.
    Begin {
        /// Its base offset.
        base_offset: i64,
    },
    /// Writes a batch.
    Write(Write),
    /// Writes batches for which there was no room.
    Again(Box<Run>),
    /// Nothing more is written into a segment.
    Close {
        /// Its base offset.
        base_offset: i64,
        /// The entry by time that it gets at the end, with its number.
        time: Option<(u64, TimeEntry)>,
    },
    /// Leader epochs have changed: the file that tells them.
    Epochs(String),
    /// Producers as they are now.
    Snapshot(Snapshot),
    /// Compacted segments take the place of others.
    Swap(Swap),
    /// Below this offset it is compacted, once all that came before is done.
    Cleaned(i64),
    /// Nothing more is written in this life: has all that Kafka believes after an orderly stop be true.
    Rest,
    /// A segment goes.
    Drop {
        /// Its base offset.
        base_offset: i64,
        /// After how long its files are removed.
        delay_ms: i64,
    },
    /// The partition goes.
    Clear {
        /// After how long its files are removed.
        delay_ms: i64,
    },
}

impl Step {
    /// Whether it may be done from its beginning after it has failed in the middle.
    pub fn may_be_repeated(&self) -> bool {
        match self {
            Step::Begin { .. }
            | Step::Write(_)
            | Step::Again(_)
            | Step::Close { .. }
            | Step::Epochs(_)
            | Step::Snapshot(_) => true,
            Step::Swap(_)
            | Step::Cleaned(_)
            | Step::Rest
            | Step::Drop { .. }
            | Step::Clear { .. } => false,
        }
    }
}

/// Producers after all that was written so far.
pub(super) struct Snapshot {
    /// Where that ends.
    pub position: i64,
    pub bytes: Vec<u8>,
    /// An older one that nobody needs once this is there.
    pub obsolete: Option<i64>,
    /// The segment that is written to.
    pub segment: i64,
    /// The entry by time that it gets if this was all, with its number.
    pub time: Option<(u64, TimeEntry)>,
    /// A segment begins here: it stays, and is made durable.
    pub stays: bool,
}

/// Compacted segments and those that they replace.
pub(super) struct Swap {
    /// Base offsets of those that go.
    pub gone: Vec<i64>,
    /// Those that come, with their base offsets and what their indexes of aborted transactions hold.
    pub with: Vec<(i64, Arc<Cleaned>, Vec<u8>)>,
    /// Where those that go end.
    pub end: i64,
    /// Segments up to there of which something may not be synced.
    pub unsynced: Vec<i64>,
    /// Nothing is left, but the log goes on beginning there.
    pub empty: Option<i64>,
    /// After how long the files of the old ones are removed.
    pub delay_ms: i64,
}
