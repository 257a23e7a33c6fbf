//! The topics that there are, as groups see them.

use std::collections::BTreeMap;

use twox_hash::XxHash3_64;

use super::places::Place;
use crate::group::command::{Name, TopicId};

/// What a topic's hash begins with.
const HASH_VERSION: u8 = 0;

/// All topics at one time.
#[derive(Debug, Default)]
pub struct Topics {
    /// Another number whenever something has changed.
    pub version: u64,
    /// The version at which a topic was created last.
    pub created_version: u64,
    by_name: BTreeMap<Name, Topic>,
    by_id: BTreeMap<TopicId, Name>,
}

/// One topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
}

impl Topics {
    /// These topics.
    pub fn new(version: u64, topics: impl IntoIterator<Item = (Name, Topic)>) -> Topics {
        let by_name: BTreeMap<Name, Topic> = topics.into_iter().collect();
        let by_id = by_name.iter().map(|(name, topic)| (topic.id, name.clone()));
        Topics {
            version,
            created_version: version,
            by_id: by_id.collect(),
            by_name,
        }
    }

    /// These topics, after others.
    pub fn after(
        before: &Topics,
        version: u64,
        topics: impl IntoIterator<Item = (Name, Topic)>,
    ) -> Topics {
        let mut topics = Topics::new(version, topics);
        if topics.by_id.keys().all(|id| before.by_id.contains_key(id)) {
            topics.created_version = before.created_version;
        }
        topics
    }

    /// The topic of this name.
    pub fn get(&self, name: &str) -> Option<Topic> {
        self.by_name.get(name).copied()
    }

    /// The name of the topic with this id.
    pub fn name(&self, id: &TopicId) -> Option<&Name> {
        self.by_id.get(id)
    }

    /// The names of all topics, in order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.by_name.keys()
    }

    /// One number for these topics, in the order of their names and each once: another one as soon as any of them has
    /// another id or size. Topics that do not exist do not count. The same number as Kafka's.
    pub(super) fn hash<'a>(&self, names: impl IntoIterator<Item = &'a Name>) -> i64 {
        let mut bytes = Vec::new();
        for name in names {
            let Some(topic) = self.get(name) else {
                continue;
            };
            bytes.extend(hash_of(name, topic).to_le_bytes());
        }
        match bytes.is_empty() {
            true => 0,
            false => XxHash3_64::oneshot(&bytes).cast_signed(),
        }
    }
}

fn hash_of(name: &str, topic: Topic) -> u64 {
    let mut bytes = vec![HASH_VERSION];
    let (high, low) = topic.id.split_at(8);
    bytes.extend(high.iter().rev());
    bytes.extend(low.iter().rev());
    put_text(&mut bytes, name);
    bytes.extend(topic.partitions.to_le_bytes());
    for partition in 0..topic.partitions {
        bytes.extend(partition.to_le_bytes());
    }
    XxHash3_64::oneshot(&bytes)
}

/// A text in UTF-16 and its length behind it.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let mut count = 0i32;
    for unit in text.encode_utf16() {
        bytes.extend(unit.to_le_bytes());
        count = count.saturating_add(1);
    }
    bytes.extend(count.to_le_bytes());
}

impl Topic {
    /// All its partitions.
    pub(super) fn places(self) -> impl Iterator<Item = Place> {
        (0..self.partitions).map(move |partition| Place {
            topic: self.id,
            partition,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Kafka 4.4 wrote of groups that read two topics to which it had given these ids.
    #[test]
    fn the_hash_of_topics_is_kafkas() {
        let t = Topic {
            id: [
                0x3d, 0xe1, 0xab, 0x94, 0xa4, 0x89, 0x40, 0x85, 0x86, 0x98, 0x34, 0xf8, 0x87, 0xb6,
                0xe5, 0x2f,
            ],
            partitions: 3,
        };
        let u = Topic {
            id: [
                0x4d, 0x32, 0x17, 0x0f, 0xa1, 0x8e, 0x44, 0x0d, 0xb6, 0x6d, 0xb8, 0x8d, 0xe4, 0x3c,
                0x30, 0x25,
            ],
            partitions: 1,
        };
        let topics = Topics::new(1, [("t".into(), t), ("u.v-1".into(), u)]);
        let hash = |names: &[&str]| {
            let names: Vec<Name> = names.iter().map(|name| (*name).into()).collect();
            topics.hash(&names)
        };
        assert_eq!(hash(&["t"]), 1_811_672_480_557_861_875);
        assert_eq!(hash(&["absent", "t", "u.v-1"]), -2_663_233_506_513_762_645);
        assert_eq!(hash(&["absent"]), 0);
    }
}
