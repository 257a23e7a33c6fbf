//! Answers about partitions of topics that a group may be asked about more than once.

use rustka_core::group::command::{Name, TopicId};
use rustka_core::group::effects::TopicResults;
use std::collections::BTreeMap;

/// Results in which partitions of one topic stand together, whatever became of them.
#[derive(Default)]
pub struct Results {
    /// In the order in which they were first named.
    pub topics: Vec<TopicResults>,
    places: BTreeMap<(TopicId, Name), usize>,
}

impl Results {
    /// Adds what became of partitions of a topic.
    pub fn add(&mut self, topic: TopicResults) {
        let key = (topic.topic_id, topic.topic.clone());
        let place = *self.places.entry(key).or_insert(self.topics.len());
        match self.topics.get_mut(place) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => self.topics.push(topic),
        }
    }

    /// What the group says comes last, and as it is if it is all there is to say (E106, E111).
    pub fn and(mut self, group: Vec<TopicResults>) -> Vec<TopicResults> {
        if self.topics.is_empty() {
            return group;
        }
        for topic in group {
            self.add(topic);
        }
        self.topics
    }
}
