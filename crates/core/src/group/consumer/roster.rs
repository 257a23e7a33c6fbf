//! What is on record of a consumer group, with the indices that follow from it: how records change them. What may be asked
//! is in `look`, what it takes in `bytes`.

mod bytes;
mod look;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::places::{Place, Places};
use super::records::{ConsumerRecord, Current, GroupEpoch, Matched, Member, TargetEpoch};
use crate::group::command::Name;

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
}

fn release(counts: &mut BTreeMap<Name, u32>, name: &Name) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}
