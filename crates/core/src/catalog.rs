//! An index of topics: by id and by name. Knows how many partitions there are, not what is in them, and decides nothing:
//! which topics there are is `crate::cluster`'s business.
//!
//! Generic over what a partition is, and what a topic's configs are, so that a lookup ends at its owner's own handle.

mod paging;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustka_wire::codec::Uuid;

pub use paging::{DescribePage, PageCursor, PagedTopic, describe_page};

use crate::names;

/// A topic. Immutable: a change makes a new one, so whoever holds this one sees it as it was.
#[derive(Clone, Debug)]
pub struct Topic<P, C> {
    /// Its id, never used again after it is deleted.
    pub id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Whether only coordinators write it.
    pub internal: bool,
    /// Its configs.
    pub config: C,
    /// Whether any of its partitions has, or had, another leader than its first.
    pub is_moved: bool,
    /// Its partitions, by number.
    pub partitions: Vec<P>,
}

impl<P, C> Topic<P, C> {
    /// The partition with this number.
    pub fn partition(&self, number: i32) -> Option<&P> {
        self.partitions.get(usize::try_from(number).ok()?)
    }
}

/// All topics.
#[derive(Debug)]
pub struct Catalog<P, C> {
    by_id: BTreeMap<Uuid, Arc<Topic<P, C>>>,
    by_name: BTreeMap<Arc<str>, Arc<Topic<P, C>>>,
    /// Names with a dot or an underscore, in the form under which they collide.
    collision_forms: BTreeMap<String, BTreeSet<Arc<str>>>,
    partition_count: usize,
    version: u64,
}

impl<P, C> Default for Catalog<P, C> {
    fn default() -> Self {
        Catalog {
            by_id: BTreeMap::new(),
            by_name: BTreeMap::new(),
            collision_forms: BTreeMap::new(),
            partition_count: 0,
            version: 0,
        }
    }
}

impl<P, C> Catalog<P, C> {
    /// A catalog without topics.
    pub fn new() -> Self {
        Self::default()
    }

    /// The topic with this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic<P, C>>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Topic<P, C>>> {
        self.by_id.get(&id)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic<P, C>>> {
        self.by_name.values()
    }

    /// The topics from this name on, in the order of their names.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic<P, C>>> {
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

    /// Another existing topic whose name would be the same in metric names.
    pub fn colliding_name(&self, name: &str) -> Option<&Arc<str>> {
        if !names::has_collision_characters(name) {
            return None;
        }
        let same = self.collision_forms.get(&names::collision_form(name))?;
        same.iter().find(|other| &***other != name)
    }

    /// Puts a topic there, in the place of an older one of its name.
    pub fn put(&mut self, topic: Topic<P, C>) -> Arc<Topic<P, C>> {
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
    pub fn take(&mut self, id: Uuid) -> Option<Arc<Topic<P, C>>> {
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
