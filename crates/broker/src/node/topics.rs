//! The broker's topics: the catalog behind a lock, and the ways to a partition.

use rustka_core::catalog::{Catalog, Topic};
use rustka_core::config::SharedConfig;
use rustka_core::error::ErrorCode;
use rustka_core::sync::{Held, Rank, read_at, write_at};
use rustka_storage::Partition;
use rustka_wire::codec::Uuid;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// One topic. It never changes but for its configs: with other partitions or leaders it is a new one of the same id.
pub type TopicRef = Arc<TopicHere>;

/// A topic with the partitions that are here.
pub type TopicHere = Topic<Arc<Partition>, Arc<SharedConfig>>;

/// The index of topics.
pub type TopicIndex = Catalog<Arc<Partition>, Arc<SharedConfig>>;

/// All topics.
pub struct Topics(RwLock<TopicIndex>);

impl Default for Topics {
    fn default() -> Self {
        Topics(RwLock::new(Catalog::new()))
    }
}

impl Topics {
    /// The catalog, to be read. Never held over an await.
    pub fn read(&self) -> Held<RwLockReadGuard<'_, TopicIndex>> {
        read_at(Rank::Topics, &self.0)
    }

    /// The catalog, to be changed.
    pub fn write(&self) -> Held<RwLockWriteGuard<'_, TopicIndex>> {
        write_at(Rank::Topics, &self.0)
    }

    /// A topic by name.
    pub fn by_name(&self, name: &str) -> Option<TopicRef> {
        self.read().by_name(name).cloned()
    }

    /// A topic by id.
    pub fn by_id(&self, id: Uuid) -> Option<TopicRef> {
        self.read().by_id(id).cloned()
    }

    /// A partition by its topic's name.
    pub fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        self.read().by_name(topic)?.partition(index).cloned()
    }

    /// The topic that a request names by id (`by_id`) or by name, or the error Kafka has for it.
    pub fn named(&self, by_id: bool, name: &str, id: Uuid) -> Result<TopicRef, ErrorCode> {
        if by_id {
            self.by_id(id).ok_or(ErrorCode::UnknownTopicId)
        } else {
            self.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)
        }
    }

    /// Every topic, by name.
    pub fn all(&self) -> Vec<TopicRef> {
        self.read().topics().cloned().collect()
    }
}
