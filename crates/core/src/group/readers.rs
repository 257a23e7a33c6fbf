//! Who reads a topic, and how far each group has come: for retention that goes by what was read.

use super::GroupShard;
use super::command::{Name, TopicId};

/// A group that reads a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The group.
    pub group: Name,
    /// Where it goes on in each partition; none where it has committed nothing.
    pub offsets: Vec<Option<i64>>,
}

impl GroupShard {
    /// The groups that have committed offsets of this topic, or whose members have subscribed to it. What is not durable
    /// yet does not count.
    pub fn readers(&self, topic: &str, topic_id: TopicId, partitions: usize) -> Vec<Reader> {
        let mut readers = Vec::new();
        for (id, group) in &self.groups {
            let durable = group.durable();
            let offsets: Vec<Option<i64>> = (0i32..)
                .take(partitions)
                .map(|at| Some(durable.offset(topic, topic_id, at)?.offset))
                .collect();
            let has_read = offsets.iter().any(Option::is_some);
            let will_read = || !group.is_empty() && group.holder().is_subscribed(topic);
            if has_read || will_read() {
                readers.push(Reader {
                    group: id.clone(),
                    offsets,
                });
            }
        }
        readers
    }
}
