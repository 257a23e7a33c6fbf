//! A segment as its log knows it: what lies where, without touching a file.

use super::index::Indexing;
use super::moving::Moving;
use crate::engine::ChunkInfo;
use rustka_core::config::TopicConfig;
use std::sync::Arc;

/// How segments are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentRules {
    /// No segment grows beyond this.
    pub segment_bytes: u64,
    /// Nor its indexes beyond this.
    pub index_bytes: u64,
    /// What lies between two entries of an index.
    pub index_interval_bytes: u64,
    /// How long files stay that are no longer needed.
    pub delete_delay_ms: i64,
}

impl SegmentRules {
    /// What a topic's configs say.
    pub fn of(config: &TopicConfig) -> SegmentRules {
        let size = |bytes: i32| u64::from(bytes.max(0).unsigned_abs());
        SegmentRules {
            segment_bytes: size(config.segment_bytes),
            index_bytes: size(config.segment_index_bytes),
            index_interval_bytes: size(config.index_interval_bytes),
            delete_delay_ms: config.file_delete_delay_ms,
        }
    }
}

impl Default for SegmentRules {
    /// Kafka's defaults.
    fn default() -> Self {
        SegmentRules {
            segment_bytes: 1 << 30,
            index_bytes: 10 << 20,
            index_interval_bytes: 4 << 10,
            delete_delay_ms: 60_000,
        }
    }
}

/// One segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub info: ChunkInfo,
    /// The latest time in it and, at least, in those before it.
    pub latest_so_far: i64,
    /// Of the newest segment: what its indexes have.
    pub indexing: Option<Box<Indexing>>,
    /// Of one that compaction has written: where its file is until it has its name.
    pub moving: Option<Arc<Moving>>,
}

impl Segment {
    /// A segment that holds nothing.
    pub fn new(sequence: u64, base_offset: i64) -> Segment {
        Segment {
            info: ChunkInfo {
                sequence,
                base_offset,
                next_offset: base_offset,
                max_timestamp: -1,
                first_timestamp: -1,
                opened_ms: 0,
                written_ms: 0,
                bytes: 0,
                cold: false,
            },
            latest_so_far: i64::MIN,
            indexing: Some(Box::default()),
            moving: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.info.bytes == 0
    }
}
