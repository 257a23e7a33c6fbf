//! The offsets that one group has committed, packed: there may be a hundred thousand groups with a handful each.

use super::command::{CommitPartition, Name, TopicId};
use super::records::CommittedOffset;
use crate::small_map::SmallMap;

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
}

/// One offset.
#[derive(Debug)]
struct Packed {
    offset: i64,
    commit_timestamp_ms: i64,
    leader_epoch: i32,
    note: Option<Box<Note>>,
}

/// What few offsets have.
#[derive(Debug)]
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
            metadata => size_of::<Note>() + metadata,
        };
        // What is packed has some room for more.
        size_of::<(i32, Packed)>() * 5 / 4 + note
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<CommittedOffset> {
        let topic = self.topics.get(topic)?;
        let packed = topic.partitions.get(&partition)?;
        Some(packed.unpacked(topic.topic_id))
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
            };
            self.topics.insert(topic.clone(), fresh);
        }
        let known = self.topics.get_mut(&**topic)?;
        let before = known.partitions.bytes();
        let packed = Packed::of(value, known.topic_id);
        let note_bytes = packed.note_bytes();
        let old = known.partitions.insert(partition, packed);
        self.bytes = self.bytes + known.partitions.bytes() + note_bytes - before;
        let Some(old) = old else {
            self.count += 1;
            return None;
        };
        self.bytes -= old.note_bytes();
        Some(old.unpacked(known.topic_id))
    }

    pub(super) fn remove(&mut self, topic: &str, partition: i32) -> Option<CommittedOffset> {
        let known = self.topics.get_mut(topic)?;
        let before = known.partitions.bytes();
        let old = known.partitions.remove(&partition)?;
        self.count -= 1;
        self.bytes -= before + old.note_bytes();
        if !known.partitions.is_empty() {
            self.bytes += known.partitions.bytes();
            return Some(old.unpacked(known.topic_id));
        }
        let gone = self.topics.remove(topic)?;
        Some(old.unpacked(gone.topic_id))
    }

    /// Topics with their partitions.
    pub(super) fn topics(
        &self,
    ) -> impl Iterator<Item = (&Name, impl Iterator<Item = (i32, CommittedOffset)>)> {
        self.topics.iter().map(|(name, topic)| {
            let partitions = topic.partitions.iter();
            let unpacked =
                partitions.map(|(partition, packed)| (*partition, packed.unpacked(topic.topic_id)));
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
            .map(|(partition, packed)| (*partition, packed.unpacked(known.topic_id)))
            .collect()
    }
}

impl Packed {
    fn of(value: CommittedOffset, usual: TopicId) -> Packed {
        let CommittedOffset {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp_ms,
            expire_timestamp_ms,
            topic_id,
        } = value;
        let has_note = !metadata.is_empty() || expire_timestamp_ms.is_some() || topic_id != usual;
        let note = has_note.then(|| {
            Box::new(Note {
                metadata,
                expire_timestamp_ms,
                topic_id,
            })
        });
        Packed {
            offset,
            commit_timestamp_ms,
            leader_epoch,
            note,
        }
    }

    fn unpacked(&self, usual: TopicId) -> CommittedOffset {
        let note = self.note.as_ref();
        CommittedOffset {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: note.map_or_else(|| "".into(), |note| note.metadata.clone()),
            commit_timestamp_ms: self.commit_timestamp_ms,
            expire_timestamp_ms: note.and_then(|note| note.expire_timestamp_ms),
            topic_id: note.map_or(usual, |note| note.topic_id),
        }
    }

    fn note_bytes(&self) -> usize {
        let note = self.note.as_ref();
        note.map_or(0, |note| size_of::<Note>() + note.metadata.len())
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
    fn ten_offsets_take_half_a_kilobyte() {
        let mut offsets = Offsets::default();
        for partition in 0..10 {
            offsets.insert(&"orders".into(), partition, offset(1, "", 7));
        }
        assert!(offsets.bytes() <= 600, "{}", offsets.bytes());
    }
}
