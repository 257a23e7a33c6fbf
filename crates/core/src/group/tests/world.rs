//! A shard with a clock, a journal and clients, all of them under the test's control.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::effects::*;
use crate::group::{GroupOptions, GroupShard, State};
use crate::machine::Release;
use crate::machine::tests::encoded;
pub(super) use crate::machine::{Machine, Ticket};
use crate::time::Now;

pub(super) fn n(name: &str) -> Name {
    Arc::from(name)
}

/// A consumer's subscription to topics, as version 0 of the consumer protocol.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

pub(super) fn protocol(name: &str, topics: &[&str]) -> Protocol {
    Protocol {
        name: n(name),
        metadata: subscription(topics),
    }
}

/// How the journal answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Journal {
    AtOnce,
    /// When the test says so.
    Later,
}

pub(super) struct World {
    pub(super) shard: GroupShard,
    pub(super) release: Release<GroupShard>,
    pub(super) now: Now,
    pub(super) journal: Journal,
    /// Positions that will fail.
    pub(super) failing: BTreeSet<u64>,
    /// Entries the journal has not answered for.
    pub(super) open: Vec<Entry>,
    /// Entries that became durable, by life and position: what a restart would read.
    pub(super) durable: BTreeMap<(u32, u64), Entry>,
    life: u32,
    pub(super) answers: BTreeMap<Ticket, Reply>,
    /// Answers in the order they left.
    pub(super) sent: Vec<(Ticket, Reply)>,
    pub(super) events: Vec<Event>,
    /// What each held answer rests on.
    rests_on: BTreeMap<Ticket, (Option<Name>, u64)>,
    out: Effects,
    tickets: u64,
    uuids: u128,
}

impl World {
    pub(super) fn new() -> World {
        World::with(GroupOptions::default())
    }

    /// Kafka's rules, without its wait for the first rebalance.
    pub(super) fn strict() -> World {
        World::with(GroupOptions {
            strict: true,
            initial_rebalance_delay_ms: Some(0),
            ..GroupOptions::default()
        })
    }

    pub(super) fn with(options: GroupOptions) -> World {
        World {
            shard: GroupShard::new(options),
            release: Release::default(),
            now: Now::new(0, 1_700_000_000_000),
            journal: Journal::AtOnce,
            failing: BTreeSet::new(),
            open: Vec::new(),
            durable: BTreeMap::new(),
            life: 0,
            answers: BTreeMap::new(),
            sent: Vec::new(),
            events: Vec::new(),
            rests_on: BTreeMap::new(),
            out: Effects {
                observed: true,
                ..Effects::default()
            },
            tickets: 0,
            uuids: 0,
        }
    }

    // Driving.

    pub(super) fn send(&mut self, command: Command) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let short = match &command {
            Command::Heartbeat(beat) => self.beat(beat),
            _ => None,
        };
        let mut out = std::mem::take(&mut self.out);
        self.shard.handle(self.now, ticket, command, &mut out);
        self.take(out);
        if let Some(code) = short {
            // Both ways of a heartbeat agree, at all times.
            assert_eq!(self.answers.get(&ticket), Some(&Reply::Heartbeat(code)));
        }
        ticket
    }

    /// The short way of a heartbeat.
    pub(super) fn beat(&mut self, beat: &Heartbeat) -> Option<ErrorCode> {
        let member = (
            &*beat.member_id,
            beat.instance_id.as_deref(),
            beat.generation,
        );
        self.shard.beat(self.now, &beat.group, member)
    }

    /// Sends and expects the answer at once.
    pub(super) fn ask(&mut self, command: Command) -> Reply {
        let ticket = self.send(command);
        self.answer(ticket)
    }

    pub(super) fn answer(&mut self, ticket: Ticket) -> Reply {
        let reply = self.answers.remove(&ticket);
        reply.unwrap_or_else(|| panic!("{ticket:?} has no answer yet"))
    }

    pub(super) fn is_waiting(&self, ticket: Ticket) -> bool {
        !self.answers.contains_key(&ticket)
    }

    pub(super) fn disconnect(&mut self, ticket: Ticket) {
        self.shard.disconnect(ticket);
    }

    fn take(&mut self, mut out: Effects) {
        let entries = self.hold(&mut out);
        self.out = out;
        for entry in entries {
            self.open.push(entry);
            if self.journal == Journal::AtOnce {
                self.settle(0);
            }
        }
        self.release_answers();
    }

    fn hold(&mut self, out: &mut Effects) -> Vec<Entry> {
        for held in &out.replies {
            let rests_on = (held.owner.clone(), held.position);
            self.rests_on.insert(held.ticket, rests_on);
        }
        self.events.append(&mut out.events);
        self.release.take(out)
    }

    /// The journal answers for one of the open entries.
    pub(super) fn settle(&mut self, at: usize) {
        let entry = self.open.remove(at);
        let failed = self.failing.remove(&entry.position);
        let result = if failed {
            Err(ErrorCode::KafkaStorageError)
        } else {
            Ok(())
        };
        let mut out = std::mem::take(&mut self.out);
        self.shard
            .committed(self.now, entry.position, result, &mut out);
        let follow = self.hold(&mut out);
        self.open.extend(follow);
        if failed {
            self.release.failed(entry.position, &entry.owner);
        } else {
            self.release.durable(entry.position, &entry.owner);
            self.durable.insert((self.life, entry.position), entry);
        }
        self.take(out);
    }

    pub(super) fn settle_all(&mut self) {
        while !self.open.is_empty() {
            self.settle(0);
        }
    }

    fn release_answers(&mut self) {
        while let Some((ticket, reply)) = self.release.pop() {
            let (owner, position) = self.rests_on.remove(&ticket).unwrap();
            let waits_for = |entry: &&Entry| {
                entry.position <= position && owner.as_ref().is_none_or(|it| *it == entry.owner)
            };
            let open = self.open.iter().find(waits_for);
            assert!(open.is_none(), "{reply:?} left before {open:?} was settled");
            self.sent.push((ticket, reply.clone()));
            let twice = self.answers.insert(ticket, reply);
            assert!(twice.is_none(), "{ticket:?} was answered twice");
        }
    }

    /// Lets time pass, deadline by deadline.
    pub(super) fn advance(&mut self, ms: i64) {
        let end_ms = self.now.monotonic_ms + ms;
        loop {
            let due_ms = self.shard.next_deadline().filter(|at| *at <= end_ms);
            let at_ms = due_ms.unwrap_or(end_ms).max(self.now.monotonic_ms);
            self.now.wall_ms += at_ms - self.now.monotonic_ms;
            self.now.aging_ms = self.now.wall_ms;
            self.now.monotonic_ms = at_ms;
            if due_ms.is_none() {
                return;
            }
            let mut out = std::mem::take(&mut self.out);
            self.shard.expire(self.now, &mut out);
            self.take(out);
        }
    }

    /// A new life: what is durable is replayed, everybody's connection is gone.
    pub(super) fn restart(&mut self, options: GroupOptions) {
        let mut next = World::with(options);
        next.now = self.now;
        next.tickets = self.tickets;
        next.uuids = self.uuids;
        next.journal = self.journal;
        for entry in self.durable.values() {
            for record in &entry.records {
                let [(Some(key), value)] = &encoded(record)[..] else {
                    panic!("one record with a key");
                };
                let decoded = crate::group::records::Record::decode(key, value.as_deref());
                let decoded = decoded.unwrap().unwrap();
                // Records that say when they end have no room for epoch and topic id, in Kafka too.
                if !format!("{record:?}").contains("expire_timestamp_ms: Some") {
                    assert_eq!(decoded, *record);
                }
                next.shard.apply(decoded);
            }
        }
        next.durable = std::mem::take(&mut self.durable);
        next.life = self.life + 1;
        let mut out = std::mem::take(&mut next.out);
        next.shard.loaded(next.now, &mut out);
        next.take(out);
        *self = next;
    }

    // Clients.

    pub(super) fn uuid(&mut self) -> [u8; 16] {
        self.uuids += 1;
        self.uuids.to_be_bytes()
    }

    /// The join of a dynamic consumer of topic "t".
    pub(super) fn join_of(&mut self, client: &str, member_id: &str) -> Join {
        Join {
            group: n("g"),
            member_id: n(member_id),
            instance_id: None,
            client_id: n(client),
            client_host: n("/127.0.0.1"),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: n("consumer"),
            protocols: vec![protocol("range", &["t"])],
            member_id_required: true,
            skip_assignment: true,
            uuid: self.uuid(),
            assignment_interval_ms: 1_000,
        }
    }

    /// Asks for a member id.
    pub(super) fn enter(&mut self, client: &str) -> Name {
        let join = self.join_of(client, "");
        let refused = join_refused(self.ask(Command::Join(join)));
        assert_eq!(refused.code, ErrorCode::MemberIdRequired);
        refused.member_id
    }

    pub(super) fn join(&mut self, member_id: &str) -> Ticket {
        let join = self.join_of("", member_id);
        self.send(Command::Join(join))
    }

    pub(super) fn join_static(&mut self, instance: &str, member_id: &str) -> Ticket {
        let mut join = self.join_of(instance, member_id);
        join.instance_id = Some(n(instance));
        self.send(Command::Join(join))
    }

    /// Each member, in order, gets one share: its own number.
    pub(super) fn sync(&mut self, member_id: &str, generation: i32, members: &[Name]) -> Ticket {
        let share = |(at, id): (usize, &Name)| (id.clone(), Bytes::from([at as u8]));
        self.send(Command::Sync(Sync {
            group: n("g"),
            member_id: n(member_id),
            instance_id: None,
            generation,
            protocol_type: Some(n("consumer")),
            protocol_name: Some(n("range")),
            assignments: members.iter().enumerate().map(share).collect(),
        }))
    }

    pub(super) fn heartbeat(&mut self, member_id: &str, generation: i32) -> ErrorCode {
        let reply = self.ask(Command::Heartbeat(Heartbeat {
            group: n("g"),
            member_id: n(member_id),
            instance_id: None,
            generation,
        }));
        let Reply::Heartbeat(code) = reply else {
            panic!("{reply:?}")
        };
        code
    }

    pub(super) fn leave(&mut self, member_id: &str) -> ErrorCode {
        let leaver = Leaver {
            member_id: n(member_id),
            instance_id: None,
        };
        self.leave_all(vec![leaver])[0].code
    }

    pub(super) fn leave_all(&mut self, members: Vec<Leaver>) -> Vec<Left> {
        let group = n("g");
        let reply = self.ask(Command::Leave(Leave { group, members }));
        let Reply::Leave(Ok(left)) = reply else {
            panic!("{reply:?}")
        };
        left
    }

    pub(super) fn commit_of(&self, member_id: &str, generation: i32, offset: i64) -> OffsetCommit {
        OffsetCommit {
            group: n("g"),
            member_id: n(member_id),
            instance_id: None,
            generation,
            retention_ms: None,
            knows_epochs: true,
            topics: vec![CommitTopic {
                topic: n("t"),
                topic_id: [1; 16],
                partitions: vec![CommitPartition {
                    partition: 0,
                    offset,
                    leader_epoch: 5,
                    metadata: "note".into(),
                }],
            }],
        }
    }

    pub(super) fn commit(&mut self, member_id: &str, generation: i32, offset: i64) -> ErrorCode {
        let commit = self.commit_of(member_id, generation, offset);
        first_code(self.ask(Command::OffsetCommit(commit)))
    }

    pub(super) fn fetch_command() -> Command {
        Command::OffsetFetch(OffsetFetch {
            group: n("g"),
            topics: Some(vec![TopicPartitions {
                topic: n("t"),
                topic_id: NO_TOPIC_ID,
                partitions: vec![0],
            }]),
            member: (None, -1),
            require_stable: false,
        })
    }

    pub(super) fn fetch(&mut self) -> i64 {
        fetched(self.ask(World::fetch_command()))
    }

    pub(super) fn describe(&mut self) -> Option<Described> {
        let reply = self.ask(Command::DescribeGroup { group: n("g") });
        let Reply::DescribeGroup(Ok(described)) = reply else {
            panic!("{reply:?}")
        };
        described
    }

    pub(super) fn state(&mut self) -> State {
        self.describe().map_or(State::Dead, |group| group.state)
    }

    /// The state while answers are held back: nobody has asked.
    pub(super) fn state_now(&mut self) -> State {
        let at_once = std::mem::replace(&mut self.journal, Journal::AtOnce);
        let state = self.state();
        self.journal = at_once;
        state
    }

    pub(super) fn joined(&mut self, ticket: Ticket) -> Joined {
        let reply = self.answer(ticket);
        let Reply::Join(Ok(joined)) = reply else {
            panic!("{reply:?}")
        };
        joined
    }

    pub(super) fn join_code(&mut self, ticket: Ticket) -> ErrorCode {
        join_refused(self.answer(ticket)).code
    }

    pub(super) fn synced(&mut self, ticket: Ticket) -> Result<Vec<u8>, ErrorCode> {
        let reply = self.answer(ticket);
        let Reply::Sync(result) = reply else {
            panic!("{reply:?}")
        };
        result.map(|synced| synced.assignment.to_vec())
    }

    /// A stable group in generation 1 with these members; the first one leads.
    pub(super) fn stable(&mut self, clients: &[&str]) -> Vec<Name> {
        let ids: Vec<Name> = clients.iter().map(|client| self.enter(client)).collect();
        let tickets: Vec<Ticket> = ids.iter().map(|id| self.join(id)).collect();
        self.advance(500);
        for ticket in tickets {
            assert_eq!(self.joined(ticket).generation, 1);
        }
        let syncs: Vec<Ticket> = ids.iter().map(|id| self.sync(id, 1, &ids)).collect();
        for (at, ticket) in syncs.into_iter().enumerate() {
            assert_eq!(self.synced(ticket), Ok(vec![at as u8]));
        }
        assert_eq!(self.state(), State::Stable);
        ids
    }
}

pub(super) fn join_refused(reply: Reply) -> JoinRefused {
    let Reply::Join(Err(refused)) = reply else {
        panic!("{reply:?}")
    };
    refused
}

pub(super) fn first_code(reply: Reply) -> ErrorCode {
    match reply {
        Reply::OffsetCommit(topics) | Reply::OffsetDelete(Ok(topics)) => topics[0].partitions[0].1,
        Reply::OffsetDelete(Err(code)) => code,
        other => panic!("{other:?}"),
    }
}

pub(super) fn fetched(reply: Reply) -> i64 {
    let Reply::OffsetFetch(Ok(topics)) = reply else {
        panic!("{reply:?}")
    };
    topics[0].partitions[0].offset
}
