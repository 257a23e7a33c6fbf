//! What is on record of a consumer group, with the indices that follow from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::places::{Held, Place, Places, holds};
use super::records::{
    ClassicMember, ConsumerRecord, Current, GroupEpoch, Matched, Member, MemberState, TargetEpoch,
};
use crate::group::command::{Name, Protocol};

/// The epoch of a group whose epoch was never written: it has had no subscription yet.
const EPOCH_FIRST: i32 = 1;

/// A consumer group on record.
#[derive(Debug, Default)]
pub(in crate::group) struct Roster {
    epoch: Option<GroupEpoch>,
    target_epoch: Option<TargetEpoch>,
    entries: BTreeMap<Name, Entry>,
    /// How many entries are members.
    members: usize,
    /// How many of these speak the classic protocol.
    classic_members: usize,
    pub(super) expressions: BTreeMap<Name, Arc<Matched>>,
    /// Who holds a partition, also while it is to give it up.
    owners: BTreeMap<Place, Name>,
    /// How many members want a topic by its name.
    subscribers: BTreeMap<Name, u32>,
    /// How many members want topics by an expression.
    expression_users: BTreeMap<Name, u32>,
    /// Member ids by instance id.
    instances: BTreeMap<Name, Name>,
    /// What all of it takes, about.
    bytes: usize,
}

/// What is on record of one member.
#[derive(Debug, Default)]
struct Entry {
    member: Option<Arc<Member>>,
    target: Option<Arc<Places>>,
    current: Option<Arc<Current>>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.member.is_none() && self.target.is_none() && self.current.is_none()
    }
}

impl Roster {
    /// Nothing.
    pub(in crate::group) const fn new() -> Roster {
        Roster {
            epoch: None,
            target_epoch: None,
            entries: BTreeMap::new(),
            members: 0,
            classic_members: 0,
            expressions: BTreeMap::new(),
            owners: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            expression_users: BTreeMap::new(),
            instances: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Whether nothing is on record.
    pub(in crate::group) fn is_empty(&self) -> bool {
        self.epoch.is_none()
            && self.target_epoch.is_none()
            && self.entries.is_empty()
            && self.expressions.is_empty()
    }

    /// Makes a record true; hands back the one that takes it back.
    pub(in crate::group) fn apply(&mut self, record: ConsumerRecord) -> ConsumerRecord {
        match record {
            ConsumerRecord::Group(value) => {
                ConsumerRecord::Group(std::mem::replace(&mut self.epoch, value))
            }
            ConsumerRecord::Metadata => ConsumerRecord::Metadata,
            ConsumerRecord::TargetEpoch(value) => {
                ConsumerRecord::TargetEpoch(std::mem::replace(&mut self.target_epoch, value))
            }
            ConsumerRecord::Member(id, value) => {
                let old = self.put_member(&id, value);
                ConsumerRecord::Member(id, old)
            }
            ConsumerRecord::Target(id, value) => {
                self.bytes += value.as_deref().map_or(0, |value| size_of_val(&**value));
                let old = self.put(&id, |entry| std::mem::replace(&mut entry.target, value));
                self.bytes -= old.as_deref().map_or(0, |old| size_of_val(&**old));
                ConsumerRecord::Target(id, old)
            }
            ConsumerRecord::Current(id, value) => {
                let old = self.put_current(&id, value);
                ConsumerRecord::Current(id, old)
            }
            ConsumerRecord::Expression(expression, value) => {
                self.bytes += value.as_deref().map_or(0, Matched::bytes);
                let old = match value {
                    Some(value) => self.expressions.insert(expression.clone(), value),
                    None => self.expressions.remove(&expression),
                };
                self.bytes -= old.as_deref().map_or(0, Matched::bytes);
                ConsumerRecord::Expression(expression, old)
            }
        }
    }

    /// What all of it takes, about.
    pub(in crate::group) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The records that say all this, in the order in which a group comes to be.
    pub(in crate::group) fn live(&self) -> impl Iterator<Item = ConsumerRecord> {
        let members = self.entries.iter().filter_map(|(id, entry)| {
            Some(ConsumerRecord::Member(
                id.clone(),
                Some(entry.member.clone()?),
            ))
        });
        let expressions = self.expressions.iter().map(|(expression, matched)| {
            ConsumerRecord::Expression(expression.clone(), Some(matched.clone()))
        });
        let epoch = self
            .epoch
            .iter()
            .map(|epoch| ConsumerRecord::Group(Some(*epoch)));
        let targets = self.entries.iter().filter_map(|(id, entry)| {
            Some(ConsumerRecord::Target(
                id.clone(),
                Some(entry.target.clone()?),
            ))
        });
        let target_epoch = self.target_epoch.iter();
        let target_epoch = target_epoch.map(|epoch| ConsumerRecord::TargetEpoch(Some(*epoch)));
        let currents = self.entries.iter().filter_map(|(id, entry)| {
            Some(ConsumerRecord::Current(
                id.clone(),
                Some(entry.current.clone()?),
            ))
        });
        members
            .chain(expressions)
            .chain(epoch)
            .chain(targets)
            .chain(target_epoch)
            .chain(currents)
    }

    fn put<T>(&mut self, id: &Name, change: impl FnOnce(&mut Entry) -> T) -> T {
        let entry = self.entries.entry(id.clone()).or_default();
        let old = change(entry);
        if entry.is_empty() {
            self.entries.remove(id);
        }
        old
    }

    fn put_member(&mut self, id: &Name, value: Option<Arc<Member>>) -> Option<Arc<Member>> {
        if let Some(value) = &value {
            self.bytes += value.bytes();
            for topic in &value.topics {
                *self.subscribers.entry(topic.clone()).or_default() += 1;
            }
            if !value.expression.is_empty() {
                *self
                    .expression_users
                    .entry(value.expression.clone())
                    .or_default() += 1;
            }
        }
        let is_classic = |value: &Option<Arc<Member>>| {
            usize::from(value.as_ref().is_some_and(|value| value.classic.is_some()))
        };
        self.members += usize::from(value.is_some());
        self.classic_members += is_classic(&value);
        let new_instance = value.as_ref().and_then(|value| value.instance_id.clone());
        let old = self.put(id, |entry| std::mem::replace(&mut entry.member, value));
        self.members -= usize::from(old.is_some());
        self.classic_members -= is_classic(&old);
        if let Some(old) = &old {
            self.bytes -= old.bytes();
            for topic in &old.topics {
                release(&mut self.subscribers, topic);
            }
            release(&mut self.expression_users, &old.expression);
            if let Some(instance) = &old.instance_id
                && self.instances.get(instance) == Some(id)
            {
                self.instances.remove(instance);
            }
        }
        if let Some(instance) = new_instance {
            self.instances.insert(instance, id.clone());
        }
        old
    }

    fn put_current(&mut self, id: &Name, value: Option<Arc<Current>>) -> Option<Arc<Current>> {
        let new = value.clone();
        let old = self.put(id, |entry| std::mem::replace(&mut entry.current, value));
        self.bytes += new.as_deref().map_or(0, Current::bytes);
        self.bytes -= old.as_deref().map_or(0, Current::bytes);
        for held in old.iter().flat_map(|old| old.all()) {
            // A journal that was compacted may name the next owner before the last one's loss.
            if self.owners.get(&held.place) == Some(id) {
                self.owners.remove(&held.place);
            }
        }
        for held in new.iter().flat_map(|new| new.all()) {
            self.owners.insert(held.place, id.clone());
        }
        old
    }

    /// The group's epoch.
    pub(super) fn epoch(&self) -> i32 {
        self.epoch.map_or(EPOCH_FIRST, |epoch| epoch.epoch)
    }

    /// What the topics in use looked like when the epoch began.
    pub(super) fn metadata_hash(&self) -> i64 {
        self.epoch.map_or(0, |epoch| epoch.metadata_hash)
    }

    /// Of which group epoch the target is.
    pub(super) fn target_epoch(&self) -> TargetEpoch {
        self.target_epoch.unwrap_or(TargetEpoch {
            epoch: EPOCH_FIRST,
            computed_ms: 0,
        })
    }

    /// Every member, by id.
    pub(super) fn members(&self) -> impl Iterator<Item = (&Name, &Arc<Member>)> {
        let entries = self.entries.iter();
        entries.filter_map(|(id, entry)| Some((id, entry.member.as_ref()?)))
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.members
    }

    /// How many members speak the classic protocol.
    pub(super) fn classic_len(&self) -> usize {
        self.classic_members
    }

    /// Whether this is a member that speaks the classic protocol.
    pub(super) fn is_classic(&self, id: &str) -> bool {
        self.member(id)
            .is_some_and(|member| member.classic.is_some())
    }

    /// Of whom anything is on record.
    pub(super) fn ids(&self) -> impl Iterator<Item = &Name> {
        self.entries.keys()
    }

    /// Whether there is no member.
    pub(super) fn has_no_members(&self) -> bool {
        self.members == 0
    }

    /// One member.
    pub(super) fn member(&self, id: &str) -> Option<&Arc<Member>> {
        self.entries.get(id)?.member.as_ref()
    }

    /// The name of this member as it is shared.
    pub(super) fn name(&self, id: &str) -> Option<&Name> {
        self.entries.get_key_value(id).map(|(name, _)| name)
    }

    /// The member of this instance.
    pub(super) fn instance(&self, instance_id: &str) -> Option<&Name> {
        self.instances.get(instance_id)
    }

    /// What a member has.
    pub(super) fn current(&self, id: &str) -> Option<&Arc<Current>> {
        self.entries.get(id)?.current.as_ref()
    }

    /// What a member shall have.
    pub(super) fn target(&self, id: &str) -> &[Place] {
        let target = self
            .entries
            .get(id)
            .and_then(|entry| entry.target.as_deref());
        target.map_or(&[], |target| target)
    }

    /// The topics that a member wants: by name, and as far as it is known by its expression.
    pub(super) fn wanted_by(&self, id: &str) -> impl Iterator<Item = &Name> {
        let member = self.member(id);
        let matched = member.and_then(|member| self.expressions.get(&member.expression));
        let named = member.into_iter().flat_map(|member| &member.topics);
        named.chain(matched.into_iter().flat_map(|matched| &matched.topics))
    }

    /// Whether it was ever said what the member shall have.
    pub(super) fn has_target(&self, id: &str) -> bool {
        let entry = self.entries.get(id);
        entry.is_some_and(|entry| entry.target.is_some())
    }

    /// Who holds a partition.
    pub(super) fn owner(&self, place: Place) -> Option<&Name> {
        self.owners.get(&place)
    }

    /// Whether others hold something that the member shall have and does not hold.
    pub(super) fn waits_for_others(&self, id: &str) -> bool {
        let assigned = self
            .current(id)
            .map_or(&[][..], |current| &current.assigned);
        let mut missing = self
            .target(id)
            .iter()
            .filter(|place| !holds(assigned, **place));
        missing.any(|place| self.owner(*place).is_some())
    }

    /// Topics that members want by name, without those that only expressions match.
    pub(super) fn subscribed(&self) -> impl Iterator<Item = &Name> {
        self.subscribers.keys()
    }

    /// Whether a member wants this topic by name or by an expression that was resolved.
    pub(super) fn wants(&self, topic: &str) -> bool {
        let matches = |matched: &Arc<Matched>| matched.topics.iter().any(|it| **it == *topic);
        self.subscribers.contains_key(topic)
            || self.expressions.iter().any(|(expression, matched)| {
                self.expression_users.contains_key(expression) && matches(matched)
            })
    }

    /// How many members use an expression.
    pub(super) fn expression_users(&self, expression: &str) -> u32 {
        self.expression_users.get(expression).copied().unwrap_or(0)
    }

    /// Expressions in use.
    pub(super) fn used_expressions(&self) -> impl Iterator<Item = &Name> {
        self.expression_users.keys()
    }

    /// Whether a member has what it shall have and knows it.
    pub(super) fn is_settled(&self, id: &str) -> bool {
        let target_epoch = self.target_epoch().epoch;
        self.current(id).is_some_and(|current| {
            current.state == MemberState::Stable && current.epoch == target_epoch
        })
    }

    /// Whether every member is.
    pub(super) fn is_all_settled(&self) -> bool {
        let target_epoch = self.target_epoch().epoch;
        self.entries
            .values()
            .filter(|entry| entry.member.is_some())
            .all(|entry| {
                entry.current.as_ref().is_some_and(|current| {
                    current.state == MemberState::Stable && current.epoch == target_epoch
                })
            })
    }
}

fn protocols_bytes(protocols: &[Protocol]) -> usize {
    let bytes =
        |protocol: &Protocol| size_of::<Protocol>() + protocol.name.len() + protocol.metadata.len();
    protocols.iter().map(bytes).sum()
}

/// What a member takes beside what it says, with its places in trees.
const MEMBER_BYTES: usize = 500;
/// What a partition takes that somebody holds, with its place among the owners.
const OWNED_BYTES: usize = 100;

impl Member {
    /// What it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let topics: usize = self.topics.iter().map(|topic| topic.len() + 40).sum();
        let texts = self.client_id.len() + self.client_host.len() + self.expression.len();
        let classic = self.classic.as_ref();
        let classic_bytes = classic.map_or(0, |classic| {
            size_of::<ClassicMember>() + protocols_bytes(&classic.protocols)
        });
        MEMBER_BYTES + topics + texts + classic_bytes
    }
}

impl Matched {
    /// What it takes, about.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.topics)
    }
}

impl Current {
    /// What it takes, about.
    fn bytes(&self) -> usize {
        size_of::<Current>() + self.all().count() * OWNED_BYTES
    }

    /// Everything that others have to wait for.
    pub(super) fn all(&self) -> impl Iterator<Item = &Held> {
        self.assigned.iter().chain(&self.revoking)
    }
}

fn release(counts: &mut BTreeMap<Name, u32>, name: &Name) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}
