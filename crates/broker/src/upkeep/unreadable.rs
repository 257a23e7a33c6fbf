//! What is said in the log about batches that compaction cannot read: of all partitions together, now and then.

use rustka_storage::Partition;

/// Between two lines of the log.
const BETWEEN_LINES_MS: i64 = 10_000;

/// What is still to be said.
#[derive(Default)]
pub struct Unreadable {
    batches: u64,
    partitions: u64,
    /// One of the partitions.
    example: String,
    /// When there may be a line again.
    next_line_ms: i64,
}

impl Unreadable {
    /// Takes note of batches that no round over this partition has met before.
    pub fn note(&mut self, partition: &Partition, batches: u64) {
        if batches == 0 {
            return;
        }
        if self.partitions == 0 {
            let (index, topic) = (partition.index, partition.topic_id);
            self.example = format!("partition {index} of the topic with the id {topic}");
        }
        self.batches += batches;
        self.partitions += 1;
    }

    /// Says what there is to say, now or at a later call.
    pub fn tell(&mut self, now_ms: i64) {
        let Unreadable {
            batches,
            partitions,
            example,
            ..
        } = &*self;
        if *batches == 0 || now_ms < self.next_line_ms {
            return;
        }
        tracing::warn!(
            target: "rustka::compaction",
            "{batches} batches in {partitions} partitions cannot be read and are not compacted, the first in {example}"
        );
        *self = Unreadable {
            next_line_ms: now_ms.saturating_add(BETWEEN_LINES_MS),
            ..Unreadable::default()
        };
    }
}
