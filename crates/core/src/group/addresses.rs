//! How many unused member ids each address holds: one count for all shards of a broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::sync::lock;

use super::command::Name;

/// Addresses that hold member ids which they have not joined with.
#[derive(Debug, Default)]
pub struct Addresses {
    held: Mutex<BTreeMap<Name, usize>>,
}

impl Addresses {
    /// A place for one more id of `host`; `None` if it has `places_max` of them.
    pub(super) fn take(self: &Arc<Self>, host: &Name, places_max: usize) -> Option<Place> {
        let mut held = lock(&self.held);
        // One shared copy of the name per address, not per id.
        let host = match held.get_key_value(host) {
            Some((known, _)) => known.clone(),
            None => host.clone(),
        };
        let count = held.get(&host).copied().unwrap_or(0);
        if count >= places_max {
            return None;
        }
        held.insert(host.clone(), count + 1);
        Some(Place {
            addresses: self.clone(),
            host,
        })
    }

    /// How many ids all of them hold.
    pub fn ids(&self) -> usize {
        lock(&self.held).values().sum()
    }

    /// How many addresses hold ids.
    pub(super) fn len(&self) -> usize {
        lock(&self.held).len()
    }

    fn free(&self, host: &Name) {
        let mut held = lock(&self.held);
        match held.get_mut(host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(host)),
        }
    }
}

/// One id's place. Free again when it is dropped, whatever the id, its group or its shard ends of.
#[derive(Debug)]
pub(super) struct Place {
    addresses: Arc<Addresses>,
    host: Name,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.addresses.free(&self.host);
    }
}
