//! What a group must put back when a record of its turns out not to be durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{NO_TOPIC_ID, Name, TopicId};
use super::committed::Offsets;
use super::consumer::Roster;
use super::consumer::records::ConsumerRecord;
use super::desk::Desk;
use super::records::{CommittedOffset, GroupMetadata, Record};
use crate::machine::{Undo, Unsettled};

/// Records of one journal entry.
const RECORDS_PER_ENTRY_MAX: usize = 1_000;

/// Offsets of open transactions, by producer id, topic and partition.
pub(super) type Pending = BTreeMap<i64, BTreeMap<(Name, i32), PendingOffset>>;

/// What a pending offset takes with its place in the tree, without a note.
const PENDING_BYTES: usize = 200;

/// An offset that is committed if its transaction is.
#[derive(Clone, Debug)]
pub(super) struct PendingOffset {
    pub(super) epoch: i16,
    pub(super) value: CommittedOffset,
    /// Another one was committed after it, which stays in any case.
    pub(super) is_outdated: bool,
}

/// A group as the journal has it.
#[derive(Debug, Default)]
pub(super) struct Durable {
    pub(super) metadata: Option<Arc<GroupMetadata>>,
    pub(super) offsets: Offsets,
    pub(super) pending: Pending,
    /// How many offsets there are in `pending`.
    pending_count: usize,
    /// Of a consumer group; `None` while there is nothing.
    consumer: Option<Box<Roster>>,
    unsettled: Unsettled<Replaced, Assigned>,
}

/// A step that waits for its record.
#[derive(Clone, Debug)]
pub(super) struct Assigned {
    pub(super) generation: i32,
    pub(super) value: Arc<GroupMetadata>,
}

/// A value as it was before a record replaced it.
#[derive(Debug)]
pub(super) enum Replaced {
    Metadata(Option<Arc<GroupMetadata>>),
    /// With the pending offsets that it overtook, by producer id.
    Offset(
        Name,
        i32,
        Option<CommittedOffset>,
        Vec<(i64, PendingOffset)>,
    ),
    Pending(i64, (Name, i32), Option<PendingOffset>),
    Consumer(ConsumerRecord),
    Nothing,
}

impl Undo for Replaced {
    fn is_of_same_place(&self, other: &Replaced) -> bool {
        match (self, other) {
            (Replaced::Metadata(_), Replaced::Metadata(_)) => true,
            (
                Replaced::Offset(topic, partition, ..),
                Replaced::Offset(other_topic, other_partition, ..),
            ) => partition == other_partition && topic == other_topic,
            (Replaced::Pending(id, place, _), Replaced::Pending(other, other_place, _)) => {
                id == other && place == other_place
            }
            (Replaced::Consumer(one), Replaced::Consumer(other)) => one.is_of_same_place(other),
            _ => false,
        }
    }
}

/// What there is of a consumer group that is none.
static NO_ROSTER: Roster = Roster::new();

impl Durable {
    /// Whether anything of the group is on record.
    pub(super) fn exists(&self) -> bool {
        self.metadata.is_some()
            || !self.offsets.is_empty()
            || !self.pending.is_empty()
            || self.is_consumer()
    }

    /// Whether there are records of a consumer group.
    pub(super) fn is_consumer(&self) -> bool {
        self.consumer.is_some()
    }

    /// What there is of a consumer group.
    pub(super) fn consumer(&self) -> &Roster {
        self.consumer.as_deref().unwrap_or(&NO_ROSTER)
    }

    /// Whether every entry is settled.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// Makes a record true. The only way this state changes, live and in replay.
    pub(super) fn apply(&mut self, record: Record) -> Replaced {
        match record {
            Record::Group { value, .. } => {
                Replaced::Metadata(std::mem::replace(&mut self.metadata, value))
            }
            Record::Offset {
                topic,
                partition,
                value,
                ..
            } => {
                let place = (topic, partition);
                let overtaken = self.overtake(&place, value.is_none());
                let (topic, partition) = place;
                let old = self.put_offset(&topic, partition, value);
                Replaced::Offset(topic, partition, old, overtaken)
            }
            Record::Pending {
                producer: (producer_id, epoch),
                topic,
                partition,
                value,
                ..
            } => {
                let pending = PendingOffset {
                    epoch,
                    value,
                    is_outdated: false,
                };
                let place = (topic, partition);
                let old = self.put_pending(producer_id, place.clone(), Some(pending));
                Replaced::Pending(producer_id, place, old)
            }
            Record::Consumer { value, .. } => Replaced::Consumer(self.apply_consumer(value)),
            // It is about all groups, and `end` is told of it.
            Record::End { .. } => Replaced::Nothing,
        }
    }

    fn apply_consumer(&mut self, record: ConsumerRecord) -> ConsumerRecord {
        let roster = self.consumer.get_or_insert_default();
        let old = roster.apply(record);
        if roster.is_empty() {
            self.consumer = None;
        }
        old
    }

    /// The producer's transaction is over: what it committed counts, or never did. Whether there was any.
    pub(super) fn end(&mut self, producer_id: i64, commit: bool) -> bool {
        let Some(pending) = self.pending.remove(&producer_id) else {
            return false;
        };
        self.pending_count -= pending.len();
        if !commit {
            return true;
        }
        for ((topic, partition), pending) in pending {
            if !pending.is_outdated {
                self.put_offset(&topic, partition, Some(pending.value));
            }
        }
        true
    }

    /// What open transactions are about to commit here does not count any more, or is forgotten at once; as it was before.
    fn overtake(&mut self, place: &(Name, i32), forget: bool) -> Vec<(i64, PendingOffset)> {
        let pending = self.pending.iter();
        let overtaken = pending.filter_map(|(id, places)| Some((*id, places.get(place)?.clone())));
        let overtaken: Vec<(i64, PendingOffset)> = overtaken.collect();
        for (producer_id, before) in &overtaken {
            let outdated = PendingOffset {
                is_outdated: true,
                ..before.clone()
            };
            self.put_pending(*producer_id, place.clone(), (!forget).then_some(outdated));
        }
        overtaken
    }

    /// Partitions of a topic in which an open transaction is about to commit an offset; of all topics of that name, or of the
    /// one with this id.
    pub(super) fn pending_of<'a>(
        &'a self,
        topic: &'a str,
        topic_id: TopicId,
    ) -> impl Iterator<Item = i32> + 'a {
        let places = self.pending.values().flatten();
        places.filter_map(move |((name, partition), pending)| {
            let is_same = is_same_topic(pending.value.topic_id, topic_id);
            (**name == *topic && is_same).then_some(*partition)
        })
    }

    /// All partitions in which an open transaction is about to commit an offset.
    pub(super) fn pending_places(&self) -> impl Iterator<Item = &(Name, i32)> {
        self.pending.values().flat_map(BTreeMap::keys)
    }

    /// Whether an open transaction may yet commit an offset here.
    pub(super) fn is_unstable(&self, place: &(Name, i32)) -> bool {
        self.pending
            .values()
            .any(|pending| pending.contains_key(place))
    }

    fn put_pending(
        &mut self,
        producer_id: i64,
        place: (Name, i32),
        value: Option<PendingOffset>,
    ) -> Option<PendingOffset> {
        if let Some(value) = value {
            let pending = self.pending.entry(producer_id).or_default();
            let old = pending.insert(place, value);
            self.pending_count += usize::from(old.is_none());
            return old;
        }
        let pending = self.pending.get_mut(&producer_id)?;
        let old = pending.remove(&place);
        self.pending_count -= usize::from(old.is_some());
        if pending.is_empty() {
            self.pending.remove(&producer_id);
        }
        old
    }

    fn put_offset(
        &mut self,
        topic: &Name,
        partition: i32,
        value: Option<CommittedOffset>,
    ) -> Option<CommittedOffset> {
        match value {
            Some(value) => self.offsets.insert(topic, partition, value),
            None => self.offsets.remove(topic, partition),
        }
    }

    /// What it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let roster_bytes = self.consumer.as_ref().map_or(0, |roster| roster.bytes());
        self.offsets.bytes() + self.pending_count * PENDING_BYTES + roster_bytes
    }

    /// Writes records of this group and applies them; `after` waits for the last of them.
    pub(super) fn write(
        &mut self,
        d: &mut Desk,
        group: &Name,
        records: Vec<Record>,
        after: Option<Assigned>,
    ) {
        let undo = records.iter().map(|record| self.apply(record.clone()));
        let undo = undo.collect();
        self.append_all(d, group, (records, undo), after);
    }

    /// Writes records that have been applied.
    pub(super) fn append(
        &mut self,
        d: &mut Desk,
        group: &Name,
        records: Vec<Record>,
        undo: Vec<Replaced>,
    ) {
        if !records.is_empty() {
            self.append_all(d, group, (records, undo), None);
        }
    }

    fn append_all(
        &mut self,
        d: &mut Desk,
        group: &Name,
        (mut records, mut undo): (Vec<Record>, Vec<Replaced>),
        after: Option<Assigned>,
    ) {
        while records.len() > RECORDS_PER_ENTRY_MAX {
            let later = records.split_off(RECORDS_PER_ENTRY_MAX);
            let undo_later = undo.split_off(RECORDS_PER_ENTRY_MAX);
            let position = d.append(group, records);
            self.unsettled.appended(position, undo, None);
            (records, undo) = (later, undo_later);
        }
        let position = d.append(group, records);
        self.unsettled.appended(position, undo, after);
    }

    /// Makes true again what records have replaced that are not written after all.
    pub(super) fn take_back(&mut self, undo: Vec<Replaced>) {
        for undo in undo.into_iter().rev() {
            self.put_back(undo);
        }
    }

    /// The entry is durable: hands back the step that waited for it.
    pub(super) fn durable(&mut self, position: u64) -> Option<Assigned> {
        self.unsettled.durable(position)
    }

    /// The entry is lost: what it replaced is true again, unless a later entry replaced it too.
    pub(super) fn lost(&mut self, position: u64) {
        for undo in self.unsettled.lost(position) {
            self.put_back(undo);
        }
    }

    fn put_back(&mut self, undo: Replaced) {
        match undo {
            Replaced::Metadata(value) => self.metadata = value,
            Replaced::Offset(topic, partition, value, overtaken) => {
                self.put_offset(&topic, partition, value);
                for (producer_id, pending) in overtaken {
                    self.put_pending(producer_id, (topic.clone(), partition), Some(pending));
                }
            }
            Replaced::Pending(producer_id, place, value) => {
                self.put_pending(producer_id, place, value);
            }
            Replaced::Consumer(record) => {
                self.apply_consumer(record);
            }
            Replaced::Nothing => {}
        }
    }

    /// The offset committed for a partition; `None` too if it belongs to another topic of that name.
    pub(super) fn offset(
        &self,
        topic: &str,
        topic_id: TopicId,
        partition: i32,
    ) -> Option<CommittedOffset> {
        let known = self.offsets.get(topic, partition)?;
        is_same_topic(known.topic_id, topic_id).then_some(known)
    }
}

/// Whether two ids can be of one topic; one that is not known can.
fn is_same_topic(one: TopicId, other: TopicId) -> bool {
    one == NO_TOPIC_ID || other == NO_TOPIC_ID || one == other
}
