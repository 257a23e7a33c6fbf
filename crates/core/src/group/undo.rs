//! What a group must put back when a record of its turns out not to be durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::command::{Name, TopicId};
use super::records::{CommittedOffset, GroupMetadata, Record};

/// Committed offsets by topic and partition.
pub(super) type Offsets = BTreeMap<Name, BTreeMap<i32, CommittedOffset>>;

/// A group as the journal has it.
#[derive(Debug, Default)]
pub(super) struct Durable {
    pub(super) metadata: Option<Arc<GroupMetadata>>,
    pub(super) offsets: Offsets,
    /// Entries appended and not settled, oldest first.
    changes: VecDeque<Change>,
}

/// A step that waits for its record.
#[derive(Clone, Debug)]
pub(super) struct Assigned {
    pub(super) generation: i32,
    pub(super) value: Arc<GroupMetadata>,
}

#[derive(Debug)]
struct Change {
    position: u64,
    durable: bool,
    undo: Vec<Undo>,
    after: Option<Assigned>,
}

/// A value as it was before a record replaced it.
#[derive(Debug)]
pub(super) enum Undo {
    Metadata(Option<Arc<GroupMetadata>>),
    Offset(Name, i32, Option<CommittedOffset>),
}

impl Undo {
    fn same_key(&self, other: &Undo) -> bool {
        match (self, other) {
            (Undo::Metadata(_), Undo::Metadata(_)) => true,
            (Undo::Offset(topic, partition, _), Undo::Offset(other_topic, other_partition, _)) => {
                partition == other_partition && topic == other_topic
            }
            _ => false,
        }
    }
}

impl Durable {
    /// Whether anything of the group is on record.
    pub(super) fn exists(&self) -> bool {
        self.metadata.is_some() || !self.offsets.is_empty()
    }

    /// Whether every entry is settled.
    pub(super) fn is_settled(&self) -> bool {
        self.changes.is_empty()
    }

    /// Makes a record true. The only way this state changes, live and in replay.
    pub(super) fn apply(&mut self, record: Record) -> Undo {
        match record {
            Record::Group { value, .. } => {
                Undo::Metadata(std::mem::replace(&mut self.metadata, value))
            }
            Record::Offset {
                topic,
                partition,
                value,
                ..
            } => {
                let old = self.put_offset(&topic, partition, value);
                Undo::Offset(topic, partition, old)
            }
        }
    }

    fn put_offset(
        &mut self,
        topic: &Name,
        partition: i32,
        value: Option<CommittedOffset>,
    ) -> Option<CommittedOffset> {
        let Some(value) = value else {
            let partitions = self.offsets.get_mut(topic)?;
            let old = partitions.remove(&partition);
            if partitions.is_empty() {
                self.offsets.remove(topic);
            }
            return old;
        };
        match self.offsets.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, value),
            None => {
                self.offsets
                    .insert(topic.clone(), BTreeMap::from([(partition, value)]));
                None
            }
        }
    }

    /// Remembers an appended entry until it is settled.
    pub(super) fn appended(&mut self, position: u64, undo: Vec<Undo>, after: Option<Assigned>) {
        self.changes.push_back(Change {
            position,
            durable: false,
            undo,
            after,
        });
    }

    /// The entry is durable: hands back the step that waited for it.
    pub(super) fn durable(&mut self, position: u64) -> Option<Assigned> {
        let change = self
            .changes
            .iter_mut()
            .find(|change| change.position == position)?;
        change.durable = true;
        let after = change.after.take();
        self.forget_settled();
        after
    }

    /// The entry is lost: what it replaced is true again, unless a later entry replaced it too.
    pub(super) fn lost(&mut self, position: u64) {
        let Some(at) = self
            .changes
            .iter()
            .position(|change| change.position == position)
        else {
            return;
        };
        let Some(change) = self.changes.remove(at) else {
            return;
        };
        for undo in change.undo.into_iter().rev() {
            let later = self
                .changes
                .iter_mut()
                .skip(at)
                .flat_map(|change| change.undo.iter_mut())
                .find(|later| later.same_key(&undo));
            match later {
                Some(later) => *later = undo,
                None => self.put_back(undo),
            }
        }
        self.forget_settled();
    }

    fn put_back(&mut self, undo: Undo) {
        match undo {
            Undo::Metadata(value) => self.metadata = value,
            Undo::Offset(topic, partition, value) => {
                self.put_offset(&topic, partition, value);
            }
        }
    }

    /// A durable entry behind an open one must stay: it says which values the open one no longer owns.
    fn forget_settled(&mut self) {
        while self.changes.front().is_some_and(|change| change.durable) {
            self.changes.pop_front();
        }
    }

    /// The offset committed for a partition; `None` too if it belongs to another topic of that name.
    pub(super) fn offset(
        &self,
        topic: &str,
        topic_id: TopicId,
        partition: i32,
    ) -> Option<&CommittedOffset> {
        let known = self.offsets.get(topic)?.get(&partition)?;
        let zero = super::command::NO_TOPIC_ID;
        let other = topic_id != zero && known.topic_id != zero && known.topic_id != topic_id;
        (!other).then_some(known)
    }
}
