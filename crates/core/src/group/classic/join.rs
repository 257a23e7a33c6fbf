//! JoinGroup: new members and members that come again. What speaks against one is in `check`; static members that replace
//! themselves are in `statics`.

pub(super) mod check;
mod statics;

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::error::ErrorCode;

use super::Group;
use super::members::Member;
use super::state::State;
use crate::group::addresses::UnusedId;
use crate::group::command::{Join, Name, Protocol};
use crate::group::desk::Desk;
use crate::group::effects::{Cause, Event, JoinRefused, Reply};
use crate::group::timers::Timer;
use crate::machine::Ticket;

/// How much of a client id goes into a member id.
const CLIENT_ID_BYTES_MAX: usize = 255;

impl Group {
    /// The oldest of `ids_max` unused ids, which gives way to the next one.
    pub(in crate::group) fn oldest_id_if_full(&self, ids_max: usize) -> Option<Name> {
        let is_full = self.pending.len() >= ids_max;
        self.pending.oldest().filter(|_| is_full).cloned()
    }

    /// Lets a member in that `check_join` has passed, or gives it an id.
    pub(in crate::group) fn join(
        &mut self,
        d: &mut Desk,
        ticket: Ticket,
        mut join: Join,
        wants_id: bool,
    ) {
        let mut seen = BTreeSet::new();
        join.protocols
            .retain(|protocol| seen.insert(protocol.name.clone()));
        if join.member_id.is_empty() {
            return self.join_new(d, ticket, join, wants_id);
        }
        let member_id = join.member_id.clone();
        if self.pending.contains(&member_id) {
            if join.instance_id.is_some() {
                return self.refuse(d, ticket, member_id, ErrorCode::UnknownServerError);
            }
            return self.add(d, ticket, join, member_id);
        }
        if let Err(code) = self.check_member(&member_id, join.instance_id.as_deref()) {
            return self.refuse(d, ticket, member_id, code);
        }
        let unchanged = self
            .members
            .get(&member_id)
            .is_some_and(|member| *member.protocols == *join.protocols);
        let is_leader = self.is_leader(&member_id);
        match self.state {
            State::Empty | State::Dead => {
                self.refuse(d, ticket, member_id, ErrorCode::UnknownMemberId);
            }
            State::PreparingRebalance => {
                self.update(d, ticket, &join, &member_id);
                self.rebalance_or_complete(d, Cause::SubscriptionChanged);
            }
            // The answer to the first join may have been lost: say it again.
            State::CompletingRebalance if unchanged => {
                let joined = self.joined(&member_id, is_leader);
                d.reply(ticket, &self.id, Reply::Join(Ok(joined)));
            }
            State::Stable if unchanged && !is_leader => {
                let joined = self.joined(&member_id, false);
                d.reply(ticket, &self.id, Reply::Join(Ok(joined)));
            }
            State::CompletingRebalance | State::Stable => {
                self.update(d, ticket, &join, &member_id);
                let cause = if is_leader {
                    Cause::LeaderRejoined
                } else {
                    Cause::SubscriptionChanged
                };
                self.rebalance_or_complete(d, cause);
            }
        }
    }

    fn join_new(&mut self, d: &mut Desk, ticket: Ticket, join: Join, wants_id: bool) {
        let member_id = new_member_id(&join);
        if let Some(instance_id) = &join.instance_id {
            match self.members.static_id(instance_id).cloned() {
                Some(old_id) => self.replace_static(d, ticket, join, &old_id, member_id),
                None => self.add(d, ticket, join, member_id),
            }
        } else if wants_id {
            self.add_pending(d, &join, member_id.clone());
            self.refuse(d, ticket, member_id, ErrorCode::MemberIdRequired);
        } else {
            self.add(d, ticket, join, member_id);
        }
    }

    fn refuse(&self, d: &mut Desk, ticket: Ticket, member_id: Name, code: ErrorCode) {
        let reply = Reply::Join(Err(JoinRefused { code, member_id }));
        d.reply(ticket, &self.id, reply);
    }

    fn add_pending(&mut self, d: &mut Desk, join: &Join, member_id: Name) {
        let id = UnusedId {
            group: self.id.clone(),
            member_id: member_id.clone(),
        };
        let place = d.addresses.put(&join.client_host, d.shard, id);
        let now_ms = d.now.monotonic_ms;
        let deadline_ms = now_ms.saturating_add(i64::from(join.session_timeout_ms));
        d.timers
            .arm(deadline_ms, &self.id, Timer::Pending(member_id.clone()));
        self.pending.insert(member_id, now_ms, deadline_ms, place);
    }

    /// An id was not used in time, or gives way to others.
    pub(in crate::group) fn give_up_id(&mut self, d: &mut Desk, member_id: &str) {
        if self.forget_pending(d, member_id) && self.state == State::PreparingRebalance {
            self.complete_if_ready(d);
        }
    }

    fn add(&mut self, d: &mut Desk, ticket: Ticket, join: Join, member_id: Name) {
        self.forget_pending(d, &member_id);
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member_id.clone());
        }
        let rebalance_timeout_ms = join.rebalance_timeout_ms.max(0);
        self.members.insert(Member {
            id: member_id.clone(),
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols.into_boxed_slice(),
            is_new: true,
            ..Member::default()
        });
        self.park_join(d, ticket, &member_id);
        self.await_first_join(d, &member_id);
        self.phase_joined(d, rebalance_timeout_ms, true);
        self.rebalance_or_complete(d, Cause::Joined);
    }

    /// Takes over what a known member says about itself, and parks its join.
    fn update(&mut self, d: &mut Desk, ticket: Ticket, join: &Join, member_id: &Name) {
        let rebalance_timeout_ms = join.rebalance_timeout_ms.max(0);
        let protocols: Box<[Protocol]> = join.protocols.clone().into_boxed_slice();
        self.members.change(member_id, |member| {
            member.protocols = protocols;
            member.rebalance_timeout_ms = rebalance_timeout_ms;
            member.session_timeout_ms = join.session_timeout_ms;
        });
        self.park_join(d, ticket, member_id);
        self.phase_joined(d, rebalance_timeout_ms, false);
    }

    fn park_join(&mut self, d: &mut Desk, ticket: Ticket, member_id: &Name) {
        Group::never_answer(d, self.members.park_join(member_id, ticket));
        d.parked
            .insert(ticket, (self.id.clone(), member_id.clone()));
        let (group, member) = (&self.id, self.members.get(member_id));
        d.event(|| Event::MemberJoins {
            group: group.clone(),
            member: member_id.clone(),
            client_id: member.map(|one| one.client_id.clone()).unwrap_or_default(),
            client_host: member
                .map(|one| one.client_host.clone())
                .unwrap_or_default(),
        });
    }
}

/// The client's or the instance's name, and a random UUID.
fn new_member_id(join: &Join) -> Name {
    let mut id = match &join.instance_id {
        Some(instance_id) => instance_id.to_string(),
        None => {
            let end = join.client_id.floor_char_boundary(CLIENT_ID_BYTES_MAX);
            join.client_id[..end].to_owned()
        }
    };
    for (at, byte) in join.uuid.iter().enumerate() {
        if matches!(at, 0 | 4 | 6 | 8 | 10) {
            id.push('-');
        }
        let written = write!(id, "{byte:02x}");
        assert!(written.is_ok(), "a string takes everything");
    }
    id.into()
}
