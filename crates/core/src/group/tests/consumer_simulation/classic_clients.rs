//! Clients of the classic protocol in the simulation: eager ones, which give everything up before they join again, and
//! cooperative ones, which say what they keep. Where the group is a classic one, its leader hands out ranges.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rustka_wire::Writer;
use rustka_wire::consumer_protocol_subscription::{
    ConsumerProtocolSubscription, TopicPartition as Owned,
};

use super::super::world::*;
use super::Simulation;
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::consumer::places::{Place, by_topic};
use crate::group::effects::*;
use crate::group::embedded::{Assignment, Subscription, share};

/// Where a classic client stands.
#[derive(Debug)]
pub(super) struct Classic {
    /// Given out by the group, or empty.
    member_id: Name,
    is_cooperative: bool,
    next: Next,
    /// What it leads: the shares that it hands out with its next sync.
    shares: Vec<(Name, Bytes)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Join,
    Sync,
    Heartbeat,
}

impl Classic {
    pub(super) fn new(number: u64) -> Classic {
        Classic {
            member_id: n(""),
            is_cooperative: number.is_multiple_of(4),
            next: Next::Join,
            shares: Vec::new(),
        }
    }
}

impl Simulation {
    fn classic(&mut self, at: usize) -> &mut Classic {
        self.clients[at].classic.as_mut().expect("a classic client")
    }

    pub(super) fn ask_as_classic(&mut self, at: usize) {
        let member_id = self.classic(at).member_id.clone();
        let generation = self.clients[at].epoch;
        let instance_id = self.clients[at].instance.clone();
        let (group, assignments) = (n("g"), std::mem::take(&mut self.classic(at).shares));
        let command = match self.classic(at).next {
            Next::Join => Command::Join(self.join_of(at)),
            Next::Sync => Command::Sync(Sync {
                group,
                member_id,
                instance_id,
                generation,
                protocol_type: Some(n("consumer")),
                protocol_name: Some(n("range")),
                assignments,
            }),
            Next::Heartbeat => Command::Heartbeat(Heartbeat {
                group,
                member_id,
                instance_id,
                generation,
            }),
        };
        let ticket = self.w.send(command);
        self.clients[at].waiting = Some((ticket, generation));
    }

    fn join_of(&mut self, at: usize) -> Join {
        if !self.classic(at).is_cooperative {
            self.clients[at].owned.clear();
        }
        let subscription = self.subscription(at);
        let member_id = self.classic(at).member_id.clone();
        let uuid = self.w.uuid();
        Join {
            instance_id: self.clients[at].instance.clone(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 8_000,
            protocols: vec![Protocol {
                name: n("range"),
                metadata: subscription,
            }],
            uuid,
            ..self.w.join_of("c", &member_id)
        }
    }

    fn subscription(&self, at: usize) -> Bytes {
        let client = &self.clients[at];
        let owned = by_topic(client.owned.iter().copied());
        let owned = owned.map(|(topic, partitions)| Owned {
            topic: Cow::Borrowed(if topic == [1; 16] { "t" } else { "u" }),
            partitions,
        });
        let topics: &[&str] = match client.wants_more {
            true => &["t", "u"],
            false => &["t"],
        };
        let wire = ConsumerProtocolSubscription {
            topics: topics.iter().map(|name| Cow::Borrowed(*name)).collect(),
            owned_partitions: owned.collect(),
            ..Default::default()
        };
        let mut w = Writer::new();
        w.i16(1);
        wire.encode(&mut w, 1);
        w.buf.into()
    }

    pub(super) fn leave_as_classic(&mut self, at: usize) {
        let leaver = Leaver {
            member_id: self.classic(at).member_id.clone(),
            instance_id: self.clients[at].instance.clone(),
        };
        let (group, members) = (n("g"), vec![leaver]);
        self.w.send(Command::Leave(Leave { group, members }));
        self.live_anew(at);
    }

    pub(super) fn hear_as_classic(&mut self, at: usize, reply: Reply) {
        match reply {
            Reply::Join(Ok(joined)) => self.joined(at, joined),
            Reply::Join(Err(refused)) if refused.code == ErrorCode::MemberIdRequired => {
                self.classic(at).member_id = refused.member_id;
            }
            Reply::Sync(Ok(synced)) => self.synced(at, &synced.assignment),
            Reply::Heartbeat(ErrorCode::None) => {}
            Reply::Join(Err(JoinRefused { code, .. }))
            | Reply::Sync(Err(code))
            | Reply::Heartbeat(code) => self.refused_as_classic(at, code),
            other => panic!("{other:?}"),
        }
    }

    fn joined(&mut self, at: usize, joined: Joined) {
        let shares = self.shares_of(&joined);
        let classic = self.classic(at);
        classic.member_id = joined.member_id;
        classic.shares = shares;
        classic.next = Next::Sync;
        self.clients[at].epoch = joined.generation;
        self.clients[at].is_member = true;
    }

    fn synced(&mut self, at: usize, assignment: &[u8]) {
        let topics = self.topics.clone();
        let assignment = Assignment::read(assignment, &topics).expect("a share");
        let now: BTreeSet<Place> = assignment.places.iter().copied().collect();
        let gives_up = self.clients[at].owned.difference(&now).next().is_some();
        self.classic(at).next = match gives_up {
            true => Next::Join,
            false => Next::Heartbeat,
        };
        self.clients[at].owned = now;
        let generation = self.clients[at].epoch;
        self.work(at, generation);
    }

    fn refused_as_classic(&mut self, at: usize, code: ErrorCode) {
        match code {
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::NotCoordinator => self.classic(at).next = Next::Join,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.clients[at].forget(),
            other => panic!("{other:?}"),
        }
    }

    /// What a leader hands out: each topic in ranges to those who want it.
    fn shares_of(&self, joined: &Joined) -> Vec<(Name, Bytes)> {
        let mut shares: BTreeMap<&Name, BTreeSet<Place>> = BTreeMap::new();
        for (topic, partitions) in [("t", self.sizes[0]), ("u", self.sizes[1])] {
            let wants = |member: &&JoinedMember| {
                let read = Subscription::read(&member.metadata, &self.topics);
                read.is_some_and(|read| read.topics.contains(&n(topic)))
            };
            let readers: Vec<&JoinedMember> = joined.members.iter().filter(wants).collect();
            let id = self.topics.get(topic).expect("a topic").id;
            for partition in 0..partitions {
                let place = Place {
                    topic: id,
                    partition,
                };
                let turn = usize::try_from(partition).unwrap() % readers.len().max(1);
                if let Some(reader) = readers.get(turn) {
                    shares.entry(&reader.member_id).or_default().insert(place);
                }
            }
        }
        let bytes =
            |(id, places): (&Name, BTreeSet<Place>)| (id.clone(), share(places, &self.topics, 1));
        shares.into_iter().map(bytes).collect()
    }
}
