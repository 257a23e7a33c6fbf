//! Which unused member ids each address holds: one count for all shards of a broker. Where an address holds as many as
//! it may, the oldest of its ids in the shard that is asked gives way to the next one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::sync::lock;

use super::command::Name;

/// Addresses that hold member ids which they have not joined with.
#[derive(Debug, Default)]
pub struct Addresses {
    held: Mutex<BTreeMap<Name, Held>>,
    shards: AtomicU32,
    ids: AtomicU64,
}

/// An address' ids, by shard and age.
type Held = BTreeMap<(u32, u64), UnusedId>;

/// A member id that was given out and has not joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnusedId {
    pub(super) group: Name,
    pub(super) member_id: Name,
}

impl Addresses {
    /// A number for one more shard.
    pub(super) fn enter_shard(&self) -> u32 {
        self.shards.fetch_add(1, Relaxed)
    }

    /// The oldest id that this shard has given to `host`, if `host` holds `ids_max` in all. A shard that has given it
    /// none lets it have one, whatever it holds elsewhere.
    pub(super) fn oldest_if_full(
        &self,
        host: &Name,
        shard: u32,
        ids_max: usize,
    ) -> Option<UnusedId> {
        let held = lock(&self.held);
        let ids = held.get(host).filter(|ids| ids.len() >= ids_max)?;
        let (_, oldest) = ids.range((shard, 0)..=(shard, u64::MAX)).next()?;
        Some(oldest.clone())
    }

    /// Notes an id that this shard gives to `host`.
    pub(super) fn put(self: &Arc<Self>, host: &Name, shard: u32, id: UnusedId) -> Place {
        let number = self.ids.fetch_add(1, Relaxed);
        let mut held = lock(&self.held);
        // One shared copy of the name per address, not per id.
        let host = match held.get_key_value(host) {
            Some((known, _)) => known.clone(),
            None => host.clone(),
        };
        held.entry(host.clone())
            .or_default()
            .insert((shard, number), id);
        Place {
            addresses: self.clone(),
            host,
            shard,
            number,
        }
    }

    /// How many ids all of them hold.
    pub fn ids(&self) -> usize {
        lock(&self.held).values().map(BTreeMap::len).sum()
    }

    /// How many addresses hold ids.
    pub(super) fn len(&self) -> usize {
        lock(&self.held).len()
    }
}

/// One id's place. Free again when it is dropped, whatever the id, its group or its shard ends of.
#[derive(Debug)]
pub(super) struct Place {
    addresses: Arc<Addresses>,
    host: Name,
    shard: u32,
    number: u64,
}

impl Place {
    /// Counts up in the order in which ids were given out.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = lock(&self.addresses.held);
        if let Some(ids) = held.get_mut(&self.host) {
            ids.remove(&(self.shard, self.number));
            if ids.is_empty() {
                held.remove(&self.host);
            }
        }
    }
}
