//! The group coordinator of one `__consumer_offsets` partition: groups of every kind and committed offsets.
//! A machine without I/O: requests, time and chance come in, journal entries and answers go out as `Effects`.
//! Each kind of group has a folder of its own; committed offsets stand beside them, for all kinds.

mod addresses;
mod classic;
mod codec;
pub mod command;
mod committed;
pub mod consumer;
mod desk;
mod durable;
pub mod effects;
mod kinds;
mod offsets;
mod on_demand;
mod options;
pub mod records;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::{Account, Share};
use crate::error::{ErrorCode, Refusal};
use crate::machine::{Machine, Ticket};
use crate::producers::Marker;
use crate::sync::Rank;
use crate::time::Now;

pub use addresses::Addresses;
pub use classic::State;
use classic::{GROUP_BYTES, check_join, limited};
use command::{
    Command, CommitPartition, Join, Leave, ListGroups, NAME_BYTES_MAX, Name, OffsetCommit,
};
use committed::Offsets;
use consumer::topics::Topics;
use consumer::{Beat, Beaten, Settings};
use desk::Desk;
use durable::Durable;
use effects::{Effects, Event, JoinRefused, Left, Listed, Reply};
use kinds::Group;
use offsets::Within;
pub use options::{GroupOptions, MEMORY_LIMIT};
use records::Record;
use timers::Timers;

/// The option that limits how many groups there may be.
const GROUPS_LIMIT: &str = "rustka.groups.count.max";
/// This part of the groups of no use gives way at a time when there are too many groups.
const GIVE_WAY_DIVISOR: usize = 16;

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

    /// Heartbeat without owned strings: member id, instance id, generation.
    pub fn heartbeat(
        &mut self,
        now: Now,
        ticket: Ticket,
        group: &str,
        member: (&str, Option<&str>, i32),
        out: &mut Effects,
    ) {
        let (mut d, groups) = desk(self, now, out);
        let (member_id, instance_id, generation) = member;
        match groups.get_mut(group).map(|group| &mut **group) {
            _ if group.is_empty() => {
                d.reply_at_once(ticket, Reply::Heartbeat(ErrorCode::InvalidGroupId));
            }
            Some(Group::Classic(group)) => {
                let code = group.heartbeat(&mut d, member_id, instance_id, generation);
                d.reply(ticket, &group.id, Reply::Heartbeat(code));
            }
            Some(Group::Consumer(group)) => {
                let unknown = Reply::Heartbeat(ErrorCode::UnknownMemberId);
                d.reply(ticket, &group.id, unknown);
            }
            None => d.reply_at_once(ticket, Reply::Heartbeat(ErrorCode::UnknownMemberId)),
        }
    }

    /// The short way for a heartbeat that changes nothing but when its member is given up, as nearly all do: its answer,
    /// which may leave at once. `None` where `heartbeat` has to decide: for a refusal, for a timer that has to move,
    /// and while an answer may rest on a record whose fate is open.
    pub fn beat(
        &mut self,
        now: Now,
        group: &str,
        member: (&str, Option<&str>, i32),
    ) -> Option<ErrorCode> {
        let (member_id, instance_id, generation) = member;
        if instance_id.is_some() {
            return None;
        }
        match &mut **self.groups.get_mut(group)? {
            Group::Classic(group) => group.beat(now, member_id, generation),
            Group::Consumer(_) => None,
        }
    }

    /// The same for a heartbeat of a consumer group that says nothing but who it is from: its client's id and address,
    /// what is set for the group, and the version of the topics that there are now.
    pub fn consumer_beat(
        &mut self,
        now: Now,
        group: &str,
        member: (&str, i32),
        client: (&str, &str),
        settings: Settings,
        version: u64,
    ) -> Option<Beaten> {
        match &mut **self.groups.get_mut(group)? {
            Group::Consumer(group) => group.beat(now, member, client, settings, version),
            Group::Classic(_) => None,
        }
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

    fn join(&mut self, now: Now, ticket: Ticket, join: Join, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        if let Some(group) = existing(groups, &join.group) {
            let Some(group) = group.as_classic(&mut d) else {
                let refused = refuse_join(&join, ErrorCode::InconsistentGroupProtocol);
                return d.reply(ticket, &join.group, refused);
            };
            let wants_id = match group.check_join(&d, &join) {
                Ok(wants_id) => wants_id,
                Err(refused) => return group.refuse_join(&mut d, ticket, join, refused),
            };
            // A group that only holds offsets becomes one with members.
            if group.durable.metadata.is_none() {
                group.create(&mut d);
            }
            if wants_id {
                make_room_for_id(&mut d, groups, &join);
            }
            if let Some(Group::Classic(group)) = existing(groups, &join.group) {
                group.join(&mut d, ticket, join, wants_id);
            }
            return;
        }
        if !join.member_id.is_empty() {
            let refused = refuse_join(&join, ErrorCode::UnknownMemberId);
            return d.reply(ticket, &join.group, refused);
        }
        let mut fresh = classic::Group::new(
            join.group.clone(),
            Durable::default(),
            now.wall_ms,
            d.account,
        );
        if let Err(limit) = make_room_for_group(&mut d, groups, 0) {
            let refused = limited(ErrorCode::CoordinatorLoadInProgress, limit);
            return fresh.refuse_join(&mut d, ticket, join, refused);
        }
        let checked = match fresh.check_join(&d, &join) {
            Err(refused) if refused.limit.is_some() => {
                return fresh.refuse_join(&mut d, ticket, join, refused);
            }
            checked => checked,
        };
        // A deleted group may still be waiting for its tombstone: then it lives again.
        let group = groups
            .entry(join.group.clone())
            .or_insert_with(|| Box::new(Group::new(join.group.clone(), now.wall_ms, d.account)));
        if let Some(group) = group.as_classic(&mut d) {
            group.create(&mut d);
        }
        if let Ok(true) = checked {
            make_room_for_id(&mut d, groups, &join);
        }
        let Some(Group::Classic(group)) = existing(groups, &join.group) else {
            return;
        };
        match checked {
            Ok(wants_id) => group.join(&mut d, ticket, join, wants_id),
            // Kafka makes the group even so (E90).
            Err(refused) => group.refuse_join(&mut d, ticket, join, refused),
        }
        self.arm_offsets(now);
    }

    fn leave(&mut self, now: Now, ticket: Ticket, leave: Leave, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        let Some(Group::Classic(group)) = existing(groups, &leave.group) else {
            let unknown = leave.members.into_iter().map(|leaver| Left {
                member_id: leaver.member_id,
                instance_id: leaver.instance_id,
                code: ErrorCode::UnknownMemberId,
            });
            let left = unknown.collect();
            return d.reply(ticket, &leave.group, Reply::Leave(Ok(left)));
        };
        let left = group.leave(&mut d, leave.members);
        d.reply(ticket, &group.id, Reply::Leave(Ok(left)));
    }

    fn commit(
        &mut self,
        now: Now,
        ticket: Ticket,
        commit: OffsetCommit,
        within: Option<Within>,
        out: &mut Effects,
    ) {
        let reply = match within {
            Some(_) => Reply::TransactionCommit,
            None => Reply::OffsetCommit,
        };
        let (mut d, groups) = desk(self, now, out);
        let id = commit.group.clone();
        let fits = |name: &Name| name.len() <= NAME_BYTES_MAX;
        if !fits(&id) || !commit.topics.iter().all(|topic| fits(&topic.topic)) {
            let results = offsets::refuse_all(&commit.topics, ErrorCode::InvalidGroupId);
            return d.reply_at_once(ticket, reply(results));
        }
        if existing(groups, &id).is_none() && commit.generation >= 0 {
            let code = if commit.knows_epochs {
                ErrorCode::GroupIdNotFound
            } else {
                ErrorCode::IllegalGeneration
            };
            let results = offsets::refuse_all(&commit.topics, code);
            return d.reply(ticket, &id, reply(results));
        }
        if let Err(limit) = make_room_for_commit(&mut d, groups, &commit) {
            let code = ErrorCode::CoordinatorLoadInProgress;
            d.warn(Event::Refused {
                group: id.clone(),
                client_host: Name::default(),
                code,
                limit,
            });
            let results = offsets::refuse_all(&commit.topics, code);
            return d.reply(ticket, &id, reply(results));
        }
        let group = groups
            .entry(id.clone())
            .or_insert_with(|| Box::new(Group::new(id.clone(), now.wall_ms, d.account)));
        let results = group.holder_mut().commit(&mut d, commit, within);
        d.reply(ticket, &id, reply(results));
        self.drop_if_gone(&id);
        self.arm_offsets(now);
    }

    fn beat_consumer(&mut self, now: Now, ticket: Ticket, beat: &Beat, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        let result = decide_beat(&mut d, groups, beat);
        d.reply(ticket, &beat.group, Reply::ConsumerBeat(result));
        self.drop_if_gone(&beat.group);
        self.arm_offsets(now);
    }

    /// Writes the marker; what it ends counts once it is durable.
    fn end_transaction(
        &mut self,
        now: Now,
        ticket: Ticket,
        producer: (i64, i16),
        marker: Marker,
        out: &mut Effects,
    ) {
        let (mut d, _) = desk(self, now, out);
        let nobody = Name::default();
        let position = d.append(&nobody, vec![Record::End { producer, marker }]);
        d.reply(ticket, &nobody, Reply::Ended(Ok(())));
        self.ending.insert(position, (producer.0, marker.commit));
    }

    fn ended(&mut self, producer_id: i64, commit: bool) {
        for group in self.groups.values_mut() {
            group.durable_mut().end(producer_id, commit);
            group.weigh();
        }
        self.drop_gone();
    }

    fn list(&self, filter: &ListGroups) -> Vec<Listed> {
        let passes = |names: &[Name], name: &str| {
            names.is_empty() || names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        self.groups
            .values()
            .filter(|group| group.exists() && passes(&filter.types, group.kind()))
            .filter(|group| passes(&filter.states, group.state()))
            .map(|group| Listed {
                group: group.id().clone(),
                protocol_type: group.protocol_type(),
                state: group.state(),
                kind: group.kind(),
            })
            .collect()
    }

    fn arm_offsets(&mut self, now: Now) {
        if self.offsets_due_ms.is_none() && !self.groups.is_empty() {
            let interval_ms = self.options.offsets_retention_check_interval_ms.max(1);
            self.offsets_due_ms = Some(now.monotonic_ms.saturating_add(interval_ms));
        }
    }

    fn drop_if_gone(&mut self, id: &str) {
        let is_gone = |group: &Group| !group.exists() && group.durable().is_settled();
        if self.groups.get(id).is_some_and(|group| is_gone(group)) {
            self.groups.remove(id);
        }
    }

    fn drop_gone(&mut self) {
        self.groups
            .retain(|_, group| group.exists() || !group.durable().is_settled());
    }
}

/// What can be said against a request without knowing its group.
pub fn refusal(command: &Command, options: &GroupOptions) -> Option<Reply> {
    let nameless = ErrorCode::InvalidGroupId;
    match command {
        Command::Join(join) => {
            let code = check_join(join, options).err()?;
            Some(refuse_join(join, code))
        }
        Command::Sync(sync) if sync.group.is_empty() => Some(Reply::Sync(Err(nameless))),
        Command::Heartbeat(beat) if beat.group.is_empty() => Some(Reply::Heartbeat(nameless)),
        Command::Leave(leave) if leave.group.is_empty() => Some(Reply::Leave(Err(nameless))),
        Command::OffsetDelete(delete) if delete.group.is_empty() => {
            Some(Reply::OffsetDelete(Err(nameless)))
        }
        Command::ConsumerBeat(beat) => {
            let refused = consumer::check_beat(beat, options).err()?;
            Some(Reply::ConsumerBeat(Err(refused)))
        }
        _ => None,
    }
}

fn refuse_join(join: &Join, code: ErrorCode) -> Reply {
    let member_id = join.member_id.clone();
    Reply::Join(Err(JoinRefused { code, member_id }))
}

impl Machine for GroupShard {
    const RANK: Rank = Rank::Groups;
    type Command = Command;
    type Reply = Reply;
    type Record = Record;
    type Event = Event;
    type Owner = Name;

    fn apply(&mut self, record: Record) {
        let Some(id) = record.group().cloned() else {
            if let Record::End { producer, marker } = record {
                self.ended(producer.0, marker.commit);
            }
            return;
        };
        let group = self
            .groups
            .entry(id.clone())
            .or_insert_with(|| Box::new(Group::new(id.clone(), 0, &self.account)));
        group.durable_mut().apply(record);
        group.weigh();
        match group.exists() {
            true => group.follow_records(0),
            false => drop(self.groups.remove(&id)),
        }
    }

    fn loaded(&mut self, now: Now, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        for group in groups.values_mut() {
            group.resume(&mut d);
            group.weigh();
        }
        self.arm_offsets(now);
    }

    fn handle(&mut self, now: Now, ticket: Ticket, command: Command, out: &mut Effects) {
        if let Some(reply) = refusal(&command, &self.options) {
            return desk(self, now, out).0.reply_at_once(ticket, reply);
        }
        let changed = command.changes().cloned();
        match command {
            Command::Join(join) => self.join(now, ticket, join, out),
            Command::Sync(sync) => {
                let (mut d, groups) = desk(self, now, out);
                let id = sync.group.clone();
                match existing(groups, &sync.group) {
                    Some(Group::Classic(group)) => group.sync(&mut d, ticket, sync),
                    Some(Group::Consumer(_)) | None => {
                        d.reply(ticket, &id, Reply::Sync(Err(ErrorCode::UnknownMemberId)));
                    }
                }
            }
            Command::Heartbeat(beat) => {
                let instance_id = beat.instance_id.as_deref();
                let member = (&*beat.member_id, instance_id, beat.generation);
                self.heartbeat(now, ticket, &beat.group, member, out);
            }
            Command::Leave(leave) => self.leave(now, ticket, leave, out),
            Command::OffsetCommit(commit) => self.commit(now, ticket, commit, None, out),
            Command::TransactionCommit(commit) => {
                let within = Within {
                    producer: commit.producer,
                    since: commit.since,
                };
                self.commit(now, ticket, commit.commit, Some(within), out);
            }
            Command::EndTransaction { producer, marker } => {
                self.end_transaction(now, ticket, producer, marker, out);
            }
            Command::OffsetFetch(fetch) => {
                let (mut d, groups) = desk(self, now, out);
                let id = fetch.group.clone();
                let fetched = match existing(groups, &fetch.group) {
                    Some(group) => group.holder().fetch(fetch),
                    None => Ok(offsets::fetch_nothing(fetch.topics)),
                };
                d.reply(ticket, &id, Reply::OffsetFetch(fetched));
            }
            Command::OffsetDelete(delete) => {
                let (mut d, groups) = desk(self, now, out);
                let group = existing(groups, &delete.group);
                let result = match group {
                    Some(group) => group.holder_mut().forget(&mut d, delete.topics),
                    None => Err(ErrorCode::GroupIdNotFound),
                };
                d.reply(ticket, &delete.group, Reply::OffsetDelete(result));
                self.drop_if_gone(&delete.group);
            }
            Command::DescribeGroup { group } => {
                let (mut d, groups) = desk(self, now, out);
                let described = match existing(groups, &group) {
                    Some(Group::Classic(group)) => Some(group.describe()),
                    Some(Group::Consumer(_)) | None => None,
                };
                d.reply(ticket, &group, Reply::DescribeGroup(Ok(described)));
            }
            Command::ConsumerBeat(beat) => self.beat_consumer(now, ticket, &beat, out),
            Command::ExpressionsResolved(resolved) => {
                let (mut d, groups) = desk(self, now, out);
                let id = resolved.group.clone();
                if let Some(Group::Consumer(group)) = existing(groups, &id) {
                    group.resolved(&mut d, resolved);
                }
                d.reply(ticket, &id, Reply::ExpressionsResolved);
            }
            Command::DescribeConsumerGroup { group } => {
                let (mut d, groups) = desk(self, now, out);
                let described = match existing(groups, &group) {
                    Some(Group::Consumer(group)) => Ok(group.describe()),
                    Some(Group::Classic(_)) => Err(no_consumer_group(&group)),
                    None => Err(no_group(&group)),
                };
                d.reply(ticket, &group, Reply::DescribeConsumerGroup(described));
            }
            Command::ListGroups(filter) => {
                let listed = self.list(&filter);
                let (mut d, _) = desk(self, now, out);
                d.reply_of_all(ticket, Reply::ListGroups(listed));
            }
            Command::DeleteGroup { group: id } => {
                let (mut d, groups) = desk(self, now, out);
                let code = match existing(groups, &id) {
                    None => ErrorCode::GroupIdNotFound,
                    Some(group) if !group.is_empty() => ErrorCode::NonEmptyGroup,
                    Some(group) => {
                        group.holder_mut().delete(&mut d);
                        ErrorCode::None
                    }
                };
                d.reply(ticket, &id, Reply::DeleteGroup(code));
                self.drop_if_gone(&id);
            }
            Command::TopicDeleted { topic, topic_id } => {
                let (mut d, groups) = desk(self, now, out);
                for group in groups.values_mut() {
                    group.holder_mut().topic_deleted(&mut d, &topic, topic_id);
                    group.weigh();
                }
                d.reply_of_all(ticket, Reply::TopicDeleted);
                self.drop_gone();
            }
        }
        if let Some(group) = changed.and_then(|id| self.groups.get_mut(&id)) {
            group.weigh();
        }
    }

    fn disconnect(&mut self, ticket: Ticket) {
        let Some((group, member_id)) = self.parked.remove(&ticket) else {
            return;
        };
        if let Some(Group::Classic(group)) = existing(&mut self.groups, &group) {
            group.disconnect(&member_id, ticket);
        }
    }

    fn expire(&mut self, now: Now, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        while let Some((id, timer)) = d.timers.pop_due(now.monotonic_ms) {
            if let Some(group) = groups.get_mut(&id) {
                group.due(&mut d, timer);
                group.weigh();
            }
        }
        if self
            .offsets_due_ms
            .is_some_and(|at_ms| at_ms <= now.monotonic_ms)
        {
            self.expire_offsets(now, out);
        }
    }

    fn next_deadline(&self) -> Option<i64> {
        match (self.timers.next(), self.offsets_due_ms) {
            (Some(timer), Some(offsets)) => Some(timer.min(offsets)),
            (timer, offsets) => timer.or(offsets),
        }
    }

    fn committed(
        &mut self,
        now: Now,
        position: u64,
        result: Result<(), ErrorCode>,
        out: &mut Effects,
    ) {
        if let Some((producer_id, commit)) = self.ending.remove(&position) {
            self.unsettled.remove(&position);
            if result.is_ok() {
                self.ended(producer_id, commit);
            }
            return;
        }
        let Some(id) = self.unsettled.remove(&position) else {
            return;
        };
        let (mut d, groups) = desk(self, now, out);
        let Some(group) = groups.get_mut(&id) else {
            return;
        };
        match result {
            Ok(()) => {
                if let Some(assigned) = group.durable_mut().durable(position)
                    && let Group::Classic(group) = &mut **group
                {
                    group.assigned(&mut d, &assigned);
                }
            }
            Err(_) => {
                group.roll_back(&mut d, position);
                d.warn(Event::RolledBack { group: id.clone() });
            }
        }
        group.weigh();
        self.drop_if_gone(&id);
    }

    fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    fn live(&self) -> impl Iterator<Item = Record> {
        self.groups.iter().flat_map(|(id, group)| {
            let durable = group.durable();
            let consumer = durable.consumer().live().map(|value| Record::Consumer {
                group: id.clone(),
                value,
            });
            let metadata = durable.metadata.iter().map(|value| Record::Group {
                group: id.clone(),
                value: Some(value.clone()),
            });
            let offsets = durable.offsets.topics();
            let offsets = offsets.flat_map(|(topic, partitions)| {
                partitions.map(|(partition, value)| Record::Offset {
                    group: id.clone(),
                    topic: topic.clone(),
                    partition,
                    value: Some(value),
                })
            });
            let pending = durable.pending.iter();
            let pending = pending.flat_map(|(producer_id, places)| {
                // What another commit has overtaken is of no use to anybody.
                let places = places.iter().filter(|(_, pending)| !pending.is_outdated);
                places.map(|((topic, partition), pending)| Record::Pending {
                    producer: (*producer_id, pending.epoch),
                    since: None,
                    group: id.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    value: pending.value.clone(),
                })
            });
            metadata.chain(consumer).chain(offsets).chain(pending)
        })
    }

    fn refuse(reply: Reply) -> Reply {
        reply.failed(ErrorCode::NotCoordinator)
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

/// Where the group or the address holds as many unused ids as it may, the oldest give way: one that is not used within
/// moments is of no use to anybody, and whoever comes with it later is told to ask for another.
fn make_room_for_id(d: &mut Desk, groups: &mut BTreeMap<Name, Box<Group>>, join: &Join) {
    let ids_max = d.options.pending_per_group_max;
    if let Some(Group::Classic(group)) = existing(groups, &join.group)
        && let Some(oldest) = group.oldest_id_if_full(ids_max)
    {
        group.give_up_id(d, &oldest);
        group.weigh();
    }
    let ids_max = d.options.pending_per_address_max;
    let oldest = d
        .addresses
        .oldest_if_full(&join.client_host, d.shard, ids_max);
    if let Some(oldest) = oldest
        && let Some(Group::Classic(group)) = existing(groups, &oldest.group)
    {
        group.give_up_id(d, &oldest.member_id);
        group.weigh();
    }
}

/// Makes room for one more group with this in it; else says which limit is in the way.
fn make_room_for_group(
    d: &mut Desk,
    groups: &mut BTreeMap<Name, Box<Group>>,
    bytes: usize,
) -> Result<(), &'static str> {
    let limit = match d.account.check(Share::Groups, GROUP_BYTES + bytes) {
        _ if groups.len() >= d.options.groups_max => GROUPS_LIMIT,
        Err(_) => MEMORY_LIMIT,
        Ok(()) => return Ok(()),
    };
    some_give_way(d, groups).then_some(()).ok_or(limit)
}

/// The same for what is committed, which takes no room where an offset is replaced.
fn make_room_for_commit(
    d: &mut Desk,
    groups: &mut BTreeMap<Name, Box<Group>>,
    commit: &OffsetCommit,
) -> Result<(), &'static str> {
    let topics_bytes = commit.topics.len() * Offsets::bytes_of_topic();
    let partitions = commit.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| (&topic.topic, partition))
    });
    let bytes_of = |(_, new): (&Name, &CommitPartition)| Offsets::bytes_of(new);
    let offsets_bytes: usize = partitions.clone().map(bytes_of).sum();
    let bytes = topics_bytes + offsets_bytes;
    let Some(group) = existing(groups, &commit.group) else {
        return make_room_for_group(d, groups, bytes + commit.group.len());
    };
    let has_room = |bytes| d.account.check(Share::Groups, bytes).is_ok();
    if has_room(bytes) {
        return Ok(());
    }
    // Only where there is no room for all of them it is worth looking which are there already.
    let offsets = &group.durable().offsets;
    let new = partitions.filter(|(topic, at)| offsets.get(topic, at.partition).is_none());
    let new_bytes: usize = new.map(bytes_of).sum();
    let has_room = new_bytes == 0 || has_room(topics_bytes + new_bytes);
    has_room.then_some(()).ok_or(MEMORY_LIMIT)
}

/// The oldest of those groups give way that have no members and hold no offsets; some at a time, as all are looked at.
/// Whether there were any.
fn some_give_way(d: &mut Desk, groups: &mut BTreeMap<Name, Box<Group>>) -> bool {
    let of_no_use = groups.values().filter(|group| group.is_of_no_use());
    let mut of_no_use: Vec<(Option<i64>, Name)> = of_no_use
        .map(|group| (group.state_since_ms(), group.id().clone()))
        .collect();
    of_no_use.sort_unstable();
    let some = of_no_use.len().div_ceil(GIVE_WAY_DIVISOR);
    for (_, id) in of_no_use.into_iter().take(some) {
        if let Some(group) = groups.get_mut(&id) {
            group.holder_mut().delete(d);
        }
    }
    groups.retain(|_, group| group.exists() || !group.durable().is_settled());
    some > 0
}

/// A heartbeat of a group that may be none yet, or may be one of another kind.
fn decide_beat(
    d: &mut Desk,
    groups: &mut BTreeMap<Name, Box<Group>>,
    beat: &Beat,
) -> Result<Beaten, Refusal> {
    let id = &beat.group;
    match existing(groups, id) {
        Some(group) => {
            if beat.epoch != 0 && matches!(group, Group::Classic(_)) {
                return Err(no_consumer_group(id));
            }
            let group = group.as_consumer(d);
            return group
                .ok_or_else(|| no_consumer_group(id))?
                .heartbeat(d, beat);
        }
        None if beat.epoch != 0 => return Err(no_group(id)),
        None => {}
    }
    if let Err(limit) = make_room_for_group(d, groups, 0) {
        let code = ErrorCode::CoordinatorLoadInProgress;
        d.warn(Event::Refused {
            group: id.clone(),
            client_host: beat.client_host.clone(),
            code,
            limit,
        });
        return Err(code.into());
    }
    // A deleted group may still be waiting for its tombstone: then it lives again.
    let wall_ms = d.now.wall_ms;
    let group = groups
        .entry(id.clone())
        .or_insert_with(|| Box::new(Group::new(id.clone(), wall_ms, d.account)));
    group
        .as_consumer(d)
        .ok_or_else(|| no_consumer_group(id))?
        .heartbeat(d, beat)
}

fn no_group(id: &str) -> Refusal {
    let id: String = id.escape_debug().take(200).collect();
    Refusal::new(
        ErrorCode::GroupIdNotFound,
        format!("Group {id} was not found."),
    )
}

fn no_consumer_group(id: &str) -> Refusal {
    let id: String = id.escape_debug().take(200).collect();
    let message = format!("Group {id} is not a consumer group.");
    Refusal::new(ErrorCode::GroupIdNotFound, message)
}

fn existing<'a>(groups: &'a mut BTreeMap<Name, Box<Group>>, id: &str) -> Option<&'a mut Group> {
    let group = groups.get_mut(id)?;
    group.exists().then_some(&mut **group)
}
