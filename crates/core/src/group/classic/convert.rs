//! A classic group that becomes a consumer group (KIP-848) with its members inside, and one that was a consumer group.

use std::sync::Arc;

use super::members::Member;
use super::protocols;
use super::{Group, State};
use crate::account::Account;
use crate::error::{ErrorCode, Refusal};
use crate::group::command::{Bytes, Name, Protocol};
use crate::group::consumer::places::Places;
use crate::group::consumer::records as consumer;
use crate::group::desk::Desk;
use crate::group::durable::Durable;
use crate::group::effects::Cause;
use crate::group::embedded::{Assignment, CONSUMER, Subscription};
use crate::group::records::GroupMetadata;

/// A member as it goes on in a consumer group, and what it has there.
pub(in crate::group) struct Upgraded {
    pub(in crate::group) id: Name,
    pub(in crate::group) member: consumer::Member,
    pub(in crate::group) places: Places,
}

/// A member of a consumer group that goes on in a classic one.
pub(in crate::group) struct Downgraded<'a> {
    pub(in crate::group) id: &'a Name,
    pub(in crate::group) member: &'a consumer::Member,
    pub(in crate::group) classic: &'a consumer::ClassicMember,
}

impl Group {
    /// The generation, which goes on as a consumer group's epoch.
    pub(in crate::group) fn generation(&self) -> i32 {
        self.generation
    }

    /// Whether it has no members, so that nothing speaks against its becoming one of another kind.
    pub(in crate::group) fn is_memberless(&self) -> bool {
        self.state == State::Empty
    }

    /// How many members there are.
    pub(in crate::group) fn len(&self) -> usize {
        self.members.len()
    }

    /// The members as a consumer group takes them over: each has what it was assigned last. Refused where their bytes
    /// cannot be read, or say what the broker would lose.
    pub(in crate::group) fn upgraded(&self, d: &Desk) -> Result<Vec<Upgraded>, Refusal> {
        if !self.is_consumer_type() {
            return Err(self.stays_classic("its members are not consumers"));
        }
        self.members
            .iter()
            .map(|member| self.upgrade(d, member))
            .collect()
    }

    fn upgrade(&self, d: &Desk, member: &Member) -> Result<Upgraded, Refusal> {
        // Kafka fails where nobody has chosen an assignor yet.
        let protocol = self.protocol_name.as_deref();
        let chosen = protocol.and_then(|protocol| member.metadata(protocol));
        let chosen = chosen.ok_or(ErrorCode::UnknownServerError)?;
        let subscription = Subscription::read(chosen, d.topics);
        let assignment = Assignment::read(&member.assignment, d.topics);
        let unread = || self.stays_classic("what its members say cannot be read");
        let (subscription, assignment) = subscription.zip(assignment).ok_or_else(unread)?;
        if assignment.has_more {
            return Err(self.stays_classic("its assignor keeps data of its own with the members"));
        }
        let classic = consumer::ClassicMember {
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.to_vec(),
        };
        let described = consumer::Member {
            instance_id: member.instance_id.clone(),
            rack_id: subscription.rack_id,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: subscription.topics,
            expression: Name::default(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            assignor: None,
            classic: Some(Arc::new(classic)),
        };
        Ok(Upgraded {
            id: member.id.clone(),
            member: described,
            places: assignment.places,
        })
    }

    fn stays_classic(&self, why: &str) -> Refusal {
        let id: String = self.id.escape_debug().take(200).collect();
        let message = format!("Group {id} is not a consumer group and cannot become one: {why}.");
        Refusal::new(ErrorCode::GroupIdNotFound, message)
    }

    /// What is left of a consumer group, with what `share` says in the words of each one's subscription. It is on record
    /// where the consumer group was, and begins with `take_over`.
    pub(in crate::group) fn downgraded<'a>(
        id: &Name,
        generation: i32,
        members: impl Iterator<Item = Downgraded<'a>>,
        share: impl Fn(&Name, &[u8]) -> Bytes,
        wall_ms: i64,
        account: &Arc<Account>,
    ) -> Group {
        let mut group = Group::new(id.clone(), Durable::default(), wall_ms, account);
        group.state = State::Stable;
        group.generation = generation;
        group.protocol_type = Some(CONSUMER.into());
        for one in members {
            group.members.insert(downgrade(&one));
        }
        group.leader = group.members.first_id().cloned();
        let leader = group.leader.as_deref().and_then(|id| group.members.get(id));
        group.protocol_name = protocols::select(&group.members, leader);
        let protocol = group.protocol_name.clone().unwrap_or_default();
        for id in group.members.ids() {
            let member = group.members.get(&id);
            let subscription = member.and_then(|member| member.metadata(&protocol));
            let share = share(&id, subscription.map_or(&[], |bytes| bytes));
            group.members.set_assignment(&id, share);
        }
        group.read_subscriptions();
        group
    }

    /// The group as its record says it.
    pub(in crate::group) fn as_recorded(&self) -> Arc<GroupMetadata> {
        self.snapshot(|member| member.assignment.clone())
    }

    /// Goes on where a consumer group has ended: sessions begin now, and where its members want something else than they
    /// have, so does a rebalance.
    pub(in crate::group) fn take_over(&mut self, d: &mut Desk, durable: Durable, rebalances: bool) {
        self.durable = durable;
        for id in self.members.ids() {
            self.touch(d, &id);
        }
        if rebalances {
            self.prepare(d, Cause::Downgraded);
        }
    }
}

fn downgrade(one: &Downgraded) -> Member {
    let Downgraded {
        id,
        member,
        classic,
    } = one;
    let protocols: Vec<Protocol> = classic.protocols.clone();
    Member {
        id: (*id).clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: classic.session_timeout_ms,
        protocols: protocols.into(),
        ..Member::default()
    }
}
