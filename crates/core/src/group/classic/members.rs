//! The members of one classic group, counted so that a rebalance of thousands asks cheap questions.

use std::collections::BTreeMap;

use super::protocols::weight;
use crate::group::addresses::Place;
use crate::group::command::{Bytes, Name, Protocol};
use crate::group::on_demand::Emptiable;
use crate::machine::Ticket;
use crate::time::Now;

/// A request of a member that waits. The connection may be gone: then nobody is answered, but the member counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parked {
    pub(super) ticket: Option<Ticket>,
}

/// One member.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub(super) id: Name,
    pub(super) instance_id: Option<Name>,
    pub(super) client_id: Name,
    pub(super) client_host: Name,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Box<[Protocol]>,
    pub(super) assignment: Bytes,
    /// In its first join, which has a limit of its own instead of a session.
    pub(super) is_new: bool,
    pub(super) joining: Option<Parked>,
    pub(super) syncing: Option<Parked>,
    /// Has joined this generation but not fetched its share.
    pub(super) sync_due: bool,
    /// When the member is given up.
    pub(super) deadline_ms: i64,
    /// When its timer fires, which may be earlier.
    pub(super) armed_ms: Option<i64>,
}

impl Member {
    /// The subscription for one assignor.
    pub(super) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols
            .iter()
            .find(|known| &*known.name == protocol)
            .map(|known| &known.metadata)
    }

    /// When a member that is heard of now is given up unless it is heard of again.
    pub(super) fn session_end_ms(&self, now: Now) -> i64 {
        let timeout_ms = i64::from(self.session_timeout_ms.max(0));
        now.monotonic_ms.saturating_add(timeout_ms)
    }

    /// Whether a silent member is excused: it waits for us.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    fn weight(&self) -> usize {
        weight(&self.protocols)
            + self.assignment.len()
            + self.id.len()
            + self.client_id.len()
            + self.client_host.len()
            + self.instance_id.as_ref().map_or(0, |id| id.len())
    }
}

/// All members of a group, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<Name, Member>,
    by_instance: BTreeMap<Name, Name>,
    /// How many members support each assignor.
    support: BTreeMap<Name, usize>,
    joining: usize,
    sync_due: usize,
    bytes: usize,
}

impl Emptiable for Members {
    fn empty() -> &'static Members {
        static EMPTY: Members = Members {
            by_id: BTreeMap::new(),
            by_instance: BTreeMap::new(),
            support: BTreeMap::new(),
            joining: 0,
            sync_due: 0,
            bytes: 0,
        };
        &EMPTY
    }

    fn is_vacant(&self) -> bool {
        self.is_empty()
    }
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many wait in a join.
    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    /// How many have not fetched their share.
    pub(super) fn sync_due(&self) -> usize {
        self.sync_due
    }

    /// What the members weigh against `GroupOptions::group_bytes_max`.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    pub(super) fn ids(&self) -> Vec<Name> {
        self.by_id.keys().cloned().collect()
    }

    pub(super) fn first_id(&self) -> Option<&Name> {
        self.by_id.first_key_value().map(|(id, _)| id)
    }

    /// The member behind an instance id.
    pub(super) fn static_id(&self, instance_id: &str) -> Option<&Name> {
        self.by_instance.get(instance_id)
    }

    /// Whether every member supports the assignor.
    pub(super) fn all_support(&self, protocol: &str) -> bool {
        self.support.get(protocol).copied().unwrap_or(0) == self.by_id.len()
    }

    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.iter()
            .map(|member| i64::from(member.rebalance_timeout_ms.max(0)))
            .max()
            .unwrap_or(0)
    }

    pub(super) fn insert(&mut self, member: Member) {
        self.count(&member, true);
        if let Some(instance_id) = &member.instance_id {
            self.by_instance
                .insert(instance_id.clone(), member.id.clone());
        }
        let replaced = self.by_id.insert(member.id.clone(), member);
        assert!(replaced.is_none(), "a member id is added once");
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.by_id.remove(id)?;
        self.count(&member, false);
        if let Some(instance_id) = &member.instance_id
            && self.by_instance.get(instance_id) == Some(&member.id)
        {
            self.by_instance.remove(instance_id);
        }
        Some(member)
    }

    /// Changes a member and keeps the counts right; for everything that counts touch.
    pub(super) fn change<T>(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        let mut member = self.by_id.remove(id)?;
        self.count(&member, false);
        let result = change(&mut member);
        self.count(&member, true);
        self.by_id.insert(member.id.clone(), member);
        Some(result)
    }

    /// For heartbeats: only deadline and timer may be changed.
    pub(super) fn session(&mut self, id: &str) -> Option<&mut Member> {
        self.by_id.get_mut(id)
    }

    /// Marks a member as waiting in a join; hands back the request it replaces.
    pub(super) fn park_join(&mut self, id: &str, ticket: Ticket) -> Option<Parked> {
        let member = self.by_id.get_mut(id)?;
        let displaced = member.joining.replace(Parked {
            ticket: Some(ticket),
        });
        self.joining += usize::from(displaced.is_none());
        displaced
    }

    /// Marks a member as waiting in a sync; hands back the request it replaces.
    pub(super) fn park_sync(&mut self, id: &str, ticket: Ticket) -> Option<Parked> {
        let member = self.by_id.get_mut(id)?;
        member.syncing.replace(Parked {
            ticket: Some(ticket),
        })
    }

    pub(super) fn unpark_join(&mut self, id: &str) -> Option<Parked> {
        let parked = self.by_id.get_mut(id)?.joining.take()?;
        self.joining -= 1;
        Some(parked)
    }

    pub(super) fn unpark_sync(&mut self, id: &str) -> Option<Parked> {
        self.by_id.get_mut(id)?.syncing.take()
    }

    pub(super) fn set_sync_due(&mut self, id: &str, due: bool) {
        let Some(member) = self.by_id.get_mut(id) else {
            return;
        };
        match (member.sync_due, due) {
            (false, true) => self.sync_due += 1,
            (true, false) => self.sync_due -= 1,
            _ => {}
        }
        member.sync_due = due;
    }

    pub(super) fn set_assignment(&mut self, id: &str, assignment: Bytes) {
        if let Some(member) = self.by_id.get_mut(id) {
            self.bytes = self.bytes - member.assignment.len() + assignment.len();
            member.assignment = assignment;
        }
    }

    fn count(&mut self, member: &Member, present: bool) {
        for protocol in &member.protocols {
            if present {
                *self.support.entry(protocol.name.clone()).or_default() += 1;
            } else if let Some(count) = self.support.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.support.remove(&protocol.name);
                }
            }
        }
        let (joining, due) = (
            usize::from(member.joining.is_some()),
            usize::from(member.sync_due),
        );
        if present {
            self.joining += joining;
            self.sync_due += due;
            self.bytes += member.weight();
        } else {
            self.joining -= joining;
            self.sync_due -= due;
            self.bytes -= member.weight();
        }
    }
}

/// A member id that was given out and whose owner has not come back with it.
#[derive(Debug)]
pub(super) struct PendingId {
    created_ms: i64,
    pub(super) deadline_ms: i64,
    /// Among the ids of its address.
    place: Place,
}

/// The pending ids of a group.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_id: BTreeMap<Name, PendingId>,
    /// In the order in which they were given out.
    by_age: BTreeMap<u64, Name>,
}

impl Emptiable for Pending {
    fn empty() -> &'static Pending {
        static EMPTY: Pending = Pending {
            by_id: BTreeMap::new(),
            by_age: BTreeMap::new(),
        };
        &EMPTY
    }

    fn is_vacant(&self) -> bool {
        self.is_empty()
    }
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// When the youngest was given out.
    pub(super) fn youngest_ms(&self) -> Option<i64> {
        let (_, youngest) = self.by_age.last_key_value()?;
        self.by_id.get(youngest).map(|pending| pending.created_ms)
    }

    /// The one that was given out first.
    pub(super) fn oldest(&self) -> Option<&Name> {
        self.by_age.first_key_value().map(|(_, id)| id)
    }

    pub(super) fn insert(&mut self, id: Name, created_ms: i64, deadline_ms: i64, place: Place) {
        self.by_age.insert(place.number(), id.clone());
        self.by_id.insert(
            id,
            PendingId {
                created_ms,
                deadline_ms,
                place,
            },
        );
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<(Name, PendingId)> {
        let (id, pending) = self.by_id.remove_entry(id)?;
        self.by_age.remove(&pending.place.number());
        Some((id, pending))
    }

    pub(super) fn ids(&self) -> Vec<Name> {
        self.by_id.keys().cloned().collect()
    }
}
