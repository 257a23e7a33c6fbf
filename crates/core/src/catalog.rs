//! An index of topics: by id and by name. Knows how many partitions there are, not what is in them, and decides nothing:
//! which topics there are is `crate::cluster`'s business.
//!
//! Generic over what the broker attaches to a partition, so that a lookup ends at the broker's own handle.
mod paging;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustka_wire::codec::Uuid;

pub use paging::{DescribePage, PageCursor, PagedTopic, describe_page};

use crate::config::{BrokerConfig, Overrides, TopicConfig};
use crate::names;

/// What a new partition is made from.
#[derive(Clone, Copy, Debug)]
pub struct PartitionSeed<'a> {
    /// The topic's id.
    pub id: Uuid,
    /// The topic's name.
    pub name: &'a Arc<str>,
    /// The partition's number.
    pub partition: u32,
    /// The topic's configs.
    pub config: &'a Arc<TopicConfig>,
}

/// A topic. Immutable: a change makes a new one, so whoever holds this one sees it as it was.
#[derive(Clone, Debug)]
pub struct Topic<P> {
    /// Its id, never used again after it is deleted.
    pub id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Whether only coordinators write it.
    pub internal: bool,
    /// Its configs.
    pub config: Arc<TopicConfig>,
    /// Whether any of its partitions has, or had, another leader than its first.
    pub is_moved: bool,
    /// Its partitions, by number.
    pub partitions: Vec<P>,
}

impl<P> Topic<P> {
    /// The partition with this number.
    pub fn partition(&self, number: i32) -> Option<&P> {
        self.partitions.get(usize::try_from(number).ok()?)
    }
}

/// All topics.
#[derive(Debug)]
pub struct Catalog<P> {
    by_id: BTreeMap<Uuid, Arc<Topic<P>>>,
    by_name: BTreeMap<Arc<str>, Arc<Topic<P>>>,
    /// Names with a dot or an underscore, in the form under which they collide.
    collision_forms: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// Configs in use, shared by topics with equal overrides.
    configs: BTreeMap<Overrides, Arc<TopicConfig>>,
    partition_count: usize,
    version: u64,
}

impl<P> Default for Catalog<P> {
    fn default() -> Self {
        Catalog {
            by_id: BTreeMap::new(),
            by_name: BTreeMap::new(),
            collision_forms: BTreeMap::new(),
            configs: BTreeMap::new(),
            partition_count: 0,
            version: 0,
        }
    }
}

impl<P: Clone> Catalog<P> {
    /// A catalog without topics.
    pub fn new() -> Self {
        Self::default()
    }

    /// The topic with this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic<P>>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Topic<P>>> {
        self.by_id.get(&id)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic<P>>> {
        self.by_name.values()
    }

    /// The topics from this name on, in the order of their names.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic<P>>> {
        let from = std::ops::Bound::Included(name);
        self.by_name
            .range::<str, _>((from, std::ops::Bound::Unbounded))
            .map(|(_, topic)| topic)
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are no topics.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many partitions there are in all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// A number that grows with every change, so that what was looked up may be kept until then.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Resolves every topic's configs again after the broker's have changed; `changed` sees each topic anew.
    pub fn reconfigure(&mut self, broker: &BrokerConfig, mut changed: impl FnMut(&Arc<Topic<P>>)) {
        self.configs.clear();
        let topics: Vec<_> = self.by_name.values().cloned().collect();
        for old in topics {
            let config = self.shared_config(broker, old.config.overrides.clone());
            let topic = Topic {
                config,
                ..(*old).clone()
            };
            changed(&self.put(topic));
        }
    }

    /// Another existing topic whose name would be the same in metric names.
    pub fn colliding_name(&self, name: &str) -> Option<&Arc<str>> {
        if !names::has_collision_characters(name) {
            return None;
        }
        let same = self.collision_forms.get(&names::collision_form(name))?;
        same.iter().find(|other| &***other != name)
    }

    /// What holds for topics with these overrides, shared by them all.
    pub fn shared_config(
        &mut self,
        broker: &BrokerConfig,
        overrides: Overrides,
    ) -> Arc<TopicConfig> {
        if let Some(config) = self.configs.get(&overrides) {
            return Arc::clone(config);
        }
        // Configs of topics that are gone: dropped before they outnumber those in use.
        if self.configs.len() > 64 + 2 * self.by_name.len() {
            self.configs
                .retain(|_, config| Arc::strong_count(config) > 1);
        }
        let config = Arc::new(TopicConfig::resolve(broker, &overrides));
        self.configs.insert(overrides, Arc::clone(&config));
        config
    }

    /// Puts a topic there, in the place of an older one of its name.
    pub fn put(&mut self, topic: Topic<P>) -> Arc<Topic<P>> {
        let topic = Arc::new(topic);
        self.version += 1;
        self.partition_count += topic.partitions.len();
        if names::has_collision_characters(&topic.name) {
            self.collision_forms
                .entry(names::collision_form(&topic.name))
                .or_default()
                .insert(Arc::clone(&topic.name));
        }
        let old = self
            .by_name
            .insert(Arc::clone(&topic.name), Arc::clone(&topic));
        if let Some(old) = old {
            self.partition_count -= old.partitions.len();
            if old.id != topic.id {
                self.by_id.remove(&old.id);
            }
        }
        self.by_id.insert(topic.id, Arc::clone(&topic));
        topic
    }

    /// Takes a topic out.
    pub fn take(&mut self, id: Uuid) -> Option<Arc<Topic<P>>> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&topic.name);
        self.version += 1;
        self.partition_count -= topic.partitions.len();
        let form = names::collision_form(&topic.name);
        if let Some(same) = self.collision_forms.get_mut(&form) {
            same.remove(&topic.name);
            if same.is_empty() {
                self.collision_forms.remove(&form);
            }
        }
        Some(topic)
    }
}

#[cfg(test)]
mod tests;
