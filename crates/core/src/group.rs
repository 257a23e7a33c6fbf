//! The group coordinator of one `__consumer_offsets` partition: groups of every kind and committed offsets.
//! A machine without I/O: requests, time and chance come in, journal entries and answers go out as `Effects`.
//! Each kind of group has a folder of its own; committed offsets stand beside them, for all kinds.
//!
//! This file holds the shard; `requests` and `beats` are what it is asked, `machine` its journal and its time, `room` what
//! gives way where it is full, `kinds` what a group of any kind is.

mod addresses;
mod beats;
mod classic;
mod codec;
pub mod command;
mod committed;
pub mod consumer;
mod desk;
mod durable;
pub mod effects;
mod embedded;
mod kinds;
mod machine;
mod offsets;
mod on_demand;
mod options;
mod readers;
pub mod records;
mod requests;
mod room;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::Account;
use crate::machine::Ticket;
use crate::time::Now;

pub use addresses::Addresses;
pub use classic::State;
use command::Name;
use consumer::topics::Topics;
use desk::Desk;
use effects::Effects;
use kinds::Group;
pub use options::{GroupOptions, MEMORY_LIMIT, MigrationPolicy};
pub use readers::Reader;
pub use requests::refusal;
use timers::Timers;

/// The `__consumer_offsets` partition that a group belongs to, by Java's string hash as in Kafka.
pub fn partition_for(group: &str, partitions: u32) -> u32 {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // Kafka's own abs: the smallest number becomes 0.
    hash.checked_abs().unwrap_or(0).unsigned_abs() % partitions.max(1)
}

/// All groups of one `__consumer_offsets` partition.
#[derive(Debug)]
pub struct GroupShard {
    options: GroupOptions,
    groups: BTreeMap<Name, Box<Group>>,
    /// The topics that there are, as far as the shard was told.
    topics: Arc<Topics>,
    keeps_topic_ids: bool,
    timers: Timers,
    parked: BTreeMap<Ticket, (Name, Name)>,
    addresses: Arc<Addresses>,
    account: Arc<Account>,
    /// The number of this shard among those that count addresses together.
    number: u32,
    position: u64,
    unsettled: BTreeMap<u64, Name>,
    /// Transactions that are over once their markers are durable, by position.
    ending: BTreeMap<u64, (i64, bool)>,
    /// When offsets are next looked through; only while there are groups.
    offsets_due_ms: Option<i64>,
}

impl GroupShard {
    /// A shard that knows no groups and is alone.
    pub fn new(options: GroupOptions) -> GroupShard {
        GroupShard::beside(options, Arc::default(), Arc::default())
    }

    /// A shard that knows no groups and counts addresses, and what groups take, together with others.
    pub fn beside(
        options: GroupOptions,
        addresses: Arc<Addresses>,
        account: Arc<Account>,
    ) -> GroupShard {
        GroupShard {
            options,
            groups: BTreeMap::new(),
            topics: Arc::default(),
            keeps_topic_ids: true,
            timers: Timers::default(),
            parked: BTreeMap::new(),
            number: addresses.enter_shard(),
            addresses,
            account,
            position: 0,
            unsettled: BTreeMap::new(),
            ending: BTreeMap::new(),
            offsets_due_ms: None,
        }
    }

    /// Replaces the options; deadlines that are already set stay.
    pub fn set_options(&mut self, options: GroupOptions) {
        self.options = options;
    }

    /// Whether committed offsets are written with the ids of their topics, as Kafka 4.1 and later read them.
    pub fn keep_topic_ids(&mut self, keeps: bool) {
        self.keeps_topic_ids = keeps;
    }

    /// The topics that there are from now on.
    pub fn set_topics(&mut self, topics: &Arc<Topics>) {
        if !Arc::ptr_eq(topics, &self.topics) {
            self.topics = topics.clone();
        }
    }

    /// Forgets every group, for a journal that begins anew. The options stay.
    pub fn clear(&mut self) {
        let (addresses, account) = (self.addresses.clone(), self.account.clone());
        *self = GroupShard::beside(self.options.clone(), addresses, account);
    }

    /// Looks through all offsets now, as `expire` does every check interval.
    pub fn expire_offsets(&mut self, now: Now, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        for group in groups.values_mut().filter(|group| group.exists()) {
            group.holder_mut().expire_offsets(&mut d);
            group.weigh();
        }
        self.drop_gone();
        self.offsets_due_ms = None;
        self.arm_offsets(now);
    }

    /// The position of the last entry handed out; 0 if there was none.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.values().filter(|group| group.exists()).count()
    }

    /// How many groups there are of the new protocol.
    pub fn consumer_groups(&self) -> usize {
        let groups = self.groups.values();
        groups
            .filter(|group| matches!(***group, Group::Consumer(_)))
            .count()
    }

    /// What all groups here take, as it was counted last.
    pub fn bytes(&self) -> usize {
        self.groups.values().map(|group| group.bytes()).sum()
    }

    /// Whether there are no groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Member ids given out whose owners have not joined, armed timers and parked requests, for metrics and tests.
    pub fn soft_counts(&self) -> SoftCounts {
        SoftCounts {
            pending: self
                .groups
                .values()
                .map(|group| group.pending_count())
                .sum(),
            timers: self.timers.len(),
            parked: self.parked.len(),
            addresses: self.addresses.len(),
        }
    }

    fn ended(&mut self, producer_id: i64, commit: bool) {
        // Most groups of a shard have no part in a transaction.
        let mut has_ended = false;
        for group in self.groups.values_mut() {
            if group.durable_mut().end(producer_id, commit) {
                group.weigh();
                has_ended = true;
            }
        }
        if has_ended {
            self.drop_gone();
        }
    }

    fn arm_offsets(&mut self, now: Now) {
        if self.offsets_due_ms.is_none() && !self.groups.is_empty() {
            let interval_ms = self.options.offsets_retention_check_interval_ms.max(1);
            self.offsets_due_ms = Some(now.monotonic_ms.saturating_add(interval_ms));
        }
    }

    fn drop_if_gone(&mut self, id: &str) {
        if self.groups.get(id).is_some_and(|group| group.is_gone()) {
            self.groups.remove(id);
        }
    }

    fn drop_gone(&mut self) {
        self.groups.retain(|_, group| !group.is_gone());
    }
}

/// Soft state of a shard, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftCounts {
    /// Member ids given out whose owners have not joined.
    pub pending: usize,
    /// Armed timers.
    pub timers: usize,
    /// Requests that wait in a member.
    pub parked: usize,
    /// Addresses with pending ids, those of the shards beside it included.
    pub addresses: usize,
}

fn desk<'a>(
    shard: &'a mut GroupShard,
    now: Now,
    out: &'a mut Effects,
) -> (Desk<'a>, &'a mut BTreeMap<Name, Box<Group>>) {
    let d = Desk {
        now,
        options: &shard.options,
        topics: &shard.topics,
        keeps_topic_ids: shard.keeps_topic_ids,
        timers: &mut shard.timers,
        parked: &mut shard.parked,
        addresses: &shard.addresses,
        account: &shard.account,
        shard: shard.number,
        position: &mut shard.position,
        unsettled: &mut shard.unsettled,
        out,
    };
    (d, &mut shard.groups)
}

fn existing<'a>(groups: &'a mut BTreeMap<Name, Box<Group>>, id: &str) -> Option<&'a mut Group> {
    let group = groups.get_mut(id)?;
    group.exists().then_some(&mut **group)
}
