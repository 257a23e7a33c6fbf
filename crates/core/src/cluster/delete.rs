//! DeleteTopics: by name or by id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustka_wire::Uuid;

use super::command::{ClusterTopic, DeleteTopic, Deleted, named_twice};
use super::records::Record;
use super::{Cluster, Effects};
use crate::error::{ErrorCode, Refusal};

impl Cluster {
    /// Deletes topics, each succeeding or failing alone. TOPIC_DELETION_DISABLED concerns the whole request.
    pub(super) fn delete_topics(
        &mut self,
        topics: &[DeleteTopic],
        out: &mut Effects,
    ) -> Result<Vec<Deleted>, Refusal> {
        if !self.broker.settings().delete_topics {
            return Err(Refusal::new(
                ErrorCode::TopicDeletionDisabled,
                "Topics cannot be deleted: delete.topic.enable is false.",
            ));
        }
        let none = Uuid([0; 16]);
        let mut given: BTreeMap<Target, Times> = BTreeMap::new();
        for topic in topics {
            let times = given.entry(self.target(topic)).or_default();
            match topic.name {
                Some(_) => times.by_name += 1,
                None => times.by_id += 1,
            }
        }
        let mut refused_twice = BTreeSet::new();
        let mut deleted = Vec::with_capacity(topics.len());
        let mut records = Vec::new();
        for topic in topics {
            let refuse = |why| Err(Refusal::new(ErrorCode::InvalidRequest, why));
            let target = self.target(topic);
            let times = given.get(&target).copied().unwrap_or_default();
            let twice = times.by_name + times.by_id > 1;
            let result: Result<Arc<ClusterTopic>, Refusal> = match (&target, twice) {
                (Target::Both, _) => refuse("A topic is named by its name or its id, not both."),
                (Target::Neither, _) => refuse("Neither a name nor an id is given."),
                (_, true) if !refused_twice.insert(target.clone()) => continue,
                (_, true) => Err(named_twice()),
                (Target::Topic(id), false) => match self.topics.by_id(*id) {
                    Some(topic) => self.pay(topic.partitions.len()).map(|()| {
                        records.push(Record::RemoveTopic { id: *id });
                        Arc::clone(topic)
                    }),
                    None => Err(ErrorCode::UnknownTopicId.into()),
                },
                (Target::UnknownId(_), false) => Err(ErrorCode::UnknownTopicId.into()),
                (Target::UnknownName(_), false) => Err(ErrorCode::UnknownTopicOrPartition.into()),
            };
            let (name, id) = match (&result, &target) {
                (Ok(topic), _) => (Some(Arc::clone(&topic.name)), topic.id),
                // Named once either way: the answer says both.
                (Err(_), Target::Topic(id)) if times.by_name > 0 && times.by_id > 0 => (
                    self.topics.by_id(*id).map(|topic| Arc::clone(&topic.name)),
                    *id,
                ),
                (Err(_), Target::Both) => (topic.name.as_deref().map(Arc::from), topic.id),
                (Err(_), _) => match &topic.name {
                    Some(name) => (Some(Arc::from(name.as_str())), none),
                    None => (None, topic.id),
                },
            };
            let result = result.map(|_| ());
            deleted.push(Deleted { name, id, result });
        }
        self.write(records, out);
        Ok(deleted)
    }

    fn target(&self, topic: &DeleteTopic) -> Target {
        let zero = topic.id == Uuid([0; 16]);
        match &topic.name {
            Some(_) if !zero => Target::Both,
            Some(name) => match self.topics.by_name(name) {
                Some(topic) => Target::Topic(topic.id),
                None => Target::UnknownName(name.as_str().into()),
            },
            None if zero => Target::Neither,
            None if self.topics.by_id(topic.id).is_some() => Target::Topic(topic.id),
            None => Target::UnknownId(topic.id),
        }
    }
}

/// How often a request names one topic.
#[derive(Clone, Copy, Default)]
struct Times {
    by_name: usize,
    by_id: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Topic(Uuid),
    UnknownName(Box<str>),
    UnknownId(Uuid),
    Both,
    Neither,
}
