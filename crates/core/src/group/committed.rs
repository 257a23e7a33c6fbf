//! The offsets that one group has committed, packed: there may be a hundred thousand groups with a handful each.

use super::command::{CommitPartition, Name, TopicId};
use super::records::CommittedOffset;
use crate::small_map::SmallMap;
use std::collections::BTreeMap;

/// Committed offsets by topic and partition, in their order.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    topics: SmallMap<Name, Topic>,
    count: usize,
    /// What topics and notes take beside `topics` itself.
    bytes: usize,
}

#[derive(Debug)]
struct Topic {
    /// Of nearly all its offsets; the others name theirs.
    topic_id: TopicId,
    partitions: SmallMap<i32, Packed>,
    /// What some of these offsets have. Apart, as most have none.
    notes: BTreeMap<i32, Note>,
}

/// One offset, in 20 bytes that need not be aligned to eight.
#[derive(Debug)]
struct Packed {
    offset: Halves,
    commit_timestamp_ms: Halves,
    leader_epoch: i32,
}

/// A number in two halves, which lie anywhere.
#[derive(Clone, Copy, Debug)]
struct Halves(u32, u32);

impl Halves {
    fn of(number: i64) -> Halves {
        Halves((number >> 32) as u32, number as u32)
    }

    fn number(self) -> i64 {
        i64::from(self.0) << 32 | i64::from(self.1)
    }
}

/// What a note takes with its place in the tree, without its metadata.
const NOTE_BYTES: usize = 2 * size_of::<(i32, Note)>();

/// What few offsets have.
#[derive(Clone, Debug)]
struct Note {
    metadata: Box<str>,
    expire_timestamp_ms: Option<i64>,
    topic_id: TopicId,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// What all of it takes.
    pub(super) fn bytes(&self) -> usize {
        self.topics.bytes() + self.bytes
    }

    /// What a topic takes at most before it has offsets.
    pub(super) fn bytes_of_topic() -> usize {
        2 * size_of::<(Name, Topic)>()
    }

    /// What an offset that is new takes at most.
    pub(super) fn bytes_of(new: &CommitPartition) -> usize {
        let note = match new.metadata.len() {
            0 => 0,
            metadata => NOTE_BYTES + metadata,
        };
        // What is packed has some room for more.
        size_of::<(i32, Packed)>() * 5 / 4 + note
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<CommittedOffset> {
        let topic = self.topics.get(topic)?;
        let packed = topic.partitions.get(&partition)?;
        Some(topic.unpacked(partition, packed))
    }

    /// The offset that was there before.
    pub(super) fn insert(
        &mut self,
        topic: &Name,
        partition: i32,
        value: CommittedOffset,
    ) -> Option<CommittedOffset> {
        if self.topics.get(&**topic).is_none() {
            let fresh = Topic {
                topic_id: value.topic_id,
                partitions: SmallMap::default(),
                notes: BTreeMap::new(),
            };
            self.topics.insert(topic.clone(), fresh);
        }
        let known = self.topics.get_mut(&**topic)?;
        let before = known.bytes(partition);
        let old = known.insert(partition, value);
        self.bytes = self.bytes + known.bytes(partition) - before;
        self.count += usize::from(old.is_none());
        old
    }

    pub(super) fn remove(&mut self, topic: &str, partition: i32) -> Option<CommittedOffset> {
        let known = self.topics.get_mut(topic)?;
        let before = known.bytes(partition);
        let old = known.remove(partition)?;
        self.count -= 1;
        self.bytes -= before;
        match known.partitions.is_empty() {
            true => drop(self.topics.remove(topic)),
            false => self.bytes += known.bytes(partition),
        }
        Some(old)
    }

    /// Topics with their partitions.
    pub(super) fn topics(
        &self,
    ) -> impl Iterator<Item = (&Name, impl Iterator<Item = (i32, CommittedOffset)>)> {
        self.topics.iter().map(|(name, topic)| {
            let partitions = topic.partitions.iter();
            let unpacked = partitions
                .map(|(partition, packed)| (*partition, topic.unpacked(*partition, packed)));
            (name, unpacked)
        })
    }

    /// All offsets of one topic.
    pub(super) fn of_topic(&self, topic: &str) -> Vec<(i32, CommittedOffset)> {
        let Some(known) = self.topics.get(topic) else {
            return Vec::new();
        };
        let partitions = known.partitions.iter();
        partitions
            .map(|(partition, packed)| (*partition, known.unpacked(*partition, packed)))
            .collect()
    }
}

impl Topic {
    /// What its offsets lie in, and the note of this one.
    fn bytes(&self, partition: i32) -> usize {
        let note = self.note(partition);
        self.partitions.bytes() + note.map_or(0, |note| NOTE_BYTES + note.metadata.len())
    }

    fn note(&self, partition: i32) -> Option<&Note> {
        self.notes.get(&partition)
    }

    fn insert(&mut self, partition: i32, value: CommittedOffset) -> Option<CommittedOffset> {
        let CommittedOffset {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp_ms,
            expire_timestamp_ms,
            topic_id,
        } = value;
        let is_usual = topic_id == self.topic_id;
        let has_note = !metadata.is_empty() || expire_timestamp_ms.is_some() || !is_usual;
        let packed = Packed {
            offset: Halves::of(offset),
            commit_timestamp_ms: Halves::of(commit_timestamp_ms),
            leader_epoch,
        };
        let old = self.partitions.insert(partition, packed);
        let old_note = self.notes.remove(&partition);
        if has_note {
            let note = Note {
                metadata,
                expire_timestamp_ms,
                topic_id,
            };
            self.notes.insert(partition, note);
        }
        Some(old?.with(old_note, self.topic_id))
    }

    fn remove(&mut self, partition: i32) -> Option<CommittedOffset> {
        let old = self.partitions.remove(&partition)?;
        let note = self.notes.remove(&partition);
        Some(old.with(note, self.topic_id))
    }

    fn unpacked(&self, partition: i32, packed: &Packed) -> CommittedOffset {
        packed.with(self.note(partition).cloned(), self.topic_id)
    }
}

impl Packed {
    fn with(&self, note: Option<Note>, usual: TopicId) -> CommittedOffset {
        let note = note.unwrap_or_else(|| Note {
            metadata: "".into(),
            expire_timestamp_ms: None,
            topic_id: usual,
        });
        CommittedOffset {
            offset: self.offset.number(),
            leader_epoch: self.leader_epoch,
            metadata: note.metadata,
            commit_timestamp_ms: self.commit_timestamp_ms.number(),
            expire_timestamp_ms: note.expire_timestamp_ms,
            topic_id: note.topic_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(offset: i64, metadata: &str, topic_id: u8) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: 3,
            metadata: metadata.into(),
            commit_timestamp_ms: 1_000,
            expire_timestamp_ms: (topic_id > 8).then_some(5_000),
            topic_id: [topic_id; 16],
        }
    }

    #[test]
    fn what_is_put_in_comes_out_and_nothing_is_left_of_what_is_gone() {
        let mut offsets = Offsets::default();
        let topics: [Name; 3] = ["a".into(), "b".into(), "c".into()];
        let value = |partition: i32, round: i64| {
            let metadata = if partition % 3 == 0 { "a note" } else { "" };
            offset(round, metadata, (partition % 11) as u8)
        };
        for round in 0..3 {
            for topic in &topics {
                for partition in 0..50 {
                    let old = offsets.insert(topic, partition, value(partition, round));
                    assert_eq!(old, (round > 0).then(|| value(partition, round - 1)));
                }
            }
        }
        assert_eq!((offsets.len(), offsets.topics().count()), (150, 3));
        assert_eq!(offsets.get("b", 9), Some(value(9, 2)));
        assert_eq!(offsets.of_topic("b")[9], (9, value(9, 2)));
        assert_eq!(offsets.of_topic("none"), []);
        for topic in &topics {
            for partition in 0..50 {
                assert_eq!(offsets.remove(topic, partition), Some(value(partition, 2)));
                assert_eq!(offsets.remove(topic, partition), None);
            }
        }
        assert!(offsets.is_empty());
        assert_eq!(offsets.bytes, 0);
    }

    #[test]
    fn ten_offsets_take_a_third_of_a_kilobyte() {
        let mut offsets = Offsets::default();
        for partition in 0..10 {
            offsets.insert(&"orders".into(), partition, offset(1, "", 7));
        }
        assert!(offsets.bytes() <= 360, "{}", offsets.bytes());
    }
}
