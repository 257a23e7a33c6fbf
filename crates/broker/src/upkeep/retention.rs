//! Which records go, and when: each topic's time and size, what its groups have read, and the cap on all of it together.

use crate::coordinators::groups::Groups;
use crate::node::Node;
use crate::node::topics::TopicRef;
use rustka_core::config::ConsumerRetention;
use rustka_core::names;
use rustka_storage::{Partition, ReadByAll, RetentionRules};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Applies every topic's retention once.
pub fn retain(node: &Node, groups: &Groups) {
    let now = node.clock.now();
    for topic in node.topics.all() {
        let config = topic.config.now();
        let rules = RetentionRules::of(&config);
        if config.retention_consumers != ConsumerRetention::None {
            learn_what_was_read(&topic, groups);
        }
        for partition in &topic.partitions {
            partition.retain(&rules, now);
        }
    }
}

fn learn_what_was_read(topic: &TopicRef, groups: &Groups) {
    if !groups.are_all_known() {
        let partitions = topic.partitions.iter();
        partitions.for_each(|partition| partition.set_read_by_all(ReadByAll::Unknown));
        return;
    }
    let readers = groups.readers(topic);
    for (at, partition) in topic.partitions.iter().enumerate() {
        let offsets = readers.iter().map(|reader| reader.offsets.get(at).copied());
        // A group that has committed nothing here has read nothing.
        let least = offsets.map(|offset| offset.flatten().unwrap_or(0)).min();
        partition.set_read_by_all(least.map_or(ReadByAll::NoGroup, ReadByAll::UpTo));
    }
}

/// Drops the oldest records of all topics that delete until all records together are no more than
/// `rustka.retention.total.bytes`. Those of compacted and internal topics count, and stay.
pub fn keep_below_cap(node: &Node) {
    let Ok(cap) = u64::try_from(node.config.settings().retention_total_bytes) else {
        return;
    };
    if node.opener.left() > 0 {
        // It is not known yet which records are the oldest.
        return;
    }
    let topics = node.topics.all();
    let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
    let mut total: u64 = partitions().map(|partition| partition.bytes()).sum();
    if total <= cap {
        return;
    }
    let deletes = |topic: &&TopicRef| {
        let config = topic.config.now();
        config.delete && !config.compact && !names::is_internal(&topic.name)
    };
    let deletable: Vec<&Arc<Partition>> = topics
        .iter()
        .filter(deletes)
        .flat_map(|topic| &topic.partitions)
        .collect();
    let next = |at: usize| {
        let chunk = deletable[at].next_to_go()?;
        Some(Reverse((chunk.time_ms(), at, chunk.sequence, chunk.bytes)))
    };
    let mut oldest: BinaryHeap<_> = (0..deletable.len()).filter_map(next).collect();
    while total > cap
        && let Some(Reverse((_, at, sequence, bytes))) = oldest.pop()
    {
        // Whatever has changed since is looked at in the next round.
        if deletable[at].let_go(sequence) {
            total = total.saturating_sub(bytes);
            oldest.extend(next(at));
        }
    }
}
