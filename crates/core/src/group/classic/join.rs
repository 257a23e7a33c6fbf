//! JoinGroup: new members, members that come again, and static members that replace themselves.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::account::Share;
use crate::error::ErrorCode;

use super::members::Member;
use super::protocols;
use super::state::State;
use super::{Group, MEMBER_BYTES};
use crate::group::addresses::UnusedId;
use crate::group::command::{Join, NAME_BYTES_MAX, Name, Protocol};
use crate::group::desk::Desk;
use crate::group::effects::{Cause, Event, JoinRefused, Joined, Reply};
use crate::group::options::{GroupOptions, MEMORY_LIMIT};
use crate::group::timers::Timer;
use crate::machine::Ticket;

/// Assignors one member may list.
const PROTOCOLS_MAX: usize = 256;

/// How much of a client id goes into a member id.
const CLIENT_ID_BYTES_MAX: usize = 255;

/// A join that is refused, and by which limit of ours if it was one.
pub(in crate::group) struct RefusedJoin {
    pub(in crate::group) code: ErrorCode,
    pub(in crate::group) limit: Option<&'static str>,
}

impl From<ErrorCode> for RefusedJoin {
    fn from(code: ErrorCode) -> Self {
        RefusedJoin { code, limit: None }
    }
}

pub(in crate::group) fn limited(code: ErrorCode, limit: &'static str) -> RefusedJoin {
    let limit = Some(limit);
    RefusedJoin { code, limit }
}

/// What can be said about a join without knowing its group.
pub(in crate::group) fn check(join: &Join, options: &GroupOptions) -> Result<(), ErrorCode> {
    if join.group.is_empty() || join.group.len() > NAME_BYTES_MAX {
        return Err(ErrorCode::InvalidGroupId);
    }
    let allowed = options.session_timeout_ms_min..=options.session_timeout_ms_max;
    if !allowed.contains(&join.session_timeout_ms) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    Ok(())
}

/// Answers a join that is refused, and says so in the log where it was for a limit of ours.
pub(in crate::group) fn refuse_join(
    d: &mut Desk,
    ticket: Ticket,
    join: Join,
    refused: RefusedJoin,
) {
    let RefusedJoin { code, limit } = refused;
    if let Some(limit) = limit {
        d.warn(Event::Refused {
            group: join.group.clone(),
            client_host: join.client_host,
            code,
            limit,
        });
    }
    let member_id = match code {
        ErrorCode::GroupMaxSizeReached => Name::default(),
        _ => join.member_id,
    };
    let reply = Reply::Join(Err(JoinRefused { code, member_id }));
    d.reply(ticket, &join.group, reply);
}

/// Whether a join fits into a group whose members take so many bytes, as a new member or one that comes again.
pub(in crate::group) fn check_size(
    d: &Desk,
    join: &Join,
    members_bytes: usize,
    is_new: bool,
) -> Result<(), RefusedJoin> {
    let weight = protocols::weight(&join.protocols);
    if weight > d.options.member_metadata_bytes_max
        || join.protocols.len() > PROTOCOLS_MAX
        || longest_name(join) > NAME_BYTES_MAX
    {
        let limit = "rustka.groups.member.metadata.bytes.max";
        return Err(limited(ErrorCode::UnknownServerError, limit));
    }
    if members_bytes.saturating_add(weight) > d.options.group_bytes_max {
        let limit = "rustka.groups.bytes.max";
        return Err(limited(ErrorCode::GroupMaxSizeReached, limit));
    }
    let more = weight + MEMBER_BYTES;
    if is_new && d.account.check(Share::Groups, more).is_err() {
        return Err(limited(ErrorCode::CoordinatorLoadInProgress, MEMORY_LIMIT));
    }
    Ok(())
}

impl Group {
    /// Whether the group can take this join; nothing is changed. If so, whether its sender is to get an id first.
    pub(in crate::group) fn check_join(&self, d: &Desk, join: &Join) -> Result<bool, RefusedJoin> {
        let options = d.options;
        let member = self.members.get(&join.member_id);
        let size_max = options.size_max();
        let has_room = match self.state {
            State::Empty | State::Dead => true,
            // Who joins again competes with the new for the places, so that a lowered limit takes effect.
            State::PreparingRebalance => {
                member.is_some_and(|member| member.joining.is_some())
                    || self.members.joining() < size_max
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < size_max
            }
        };
        if !has_room {
            return Err(limited(ErrorCode::GroupMaxSizeReached, "group.max.size"));
        }
        if !self.supports(join) {
            return Err(ErrorCode::InconsistentGroupProtocol.into());
        }
        check_size(d, join, self.members.bytes(), member.is_none())?;
        Ok(join.wants_pending_id())
    }

    /// The oldest of `ids_max` unused ids, which gives way to the next one.
    pub(in crate::group) fn oldest_id_if_full(&self, ids_max: usize) -> Option<Name> {
        let is_full = self.pending.len() >= ids_max;
        self.pending.oldest().filter(|_| is_full).cloned()
    }

    fn supports(&self, join: &Join) -> bool {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return false;
        }
        if self.state == State::Empty || self.members.is_empty() {
            return true;
        }
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && join
                .protocols
                .iter()
                .any(|protocol| self.members.all_support(&protocol.name))
    }

    pub(in crate::group) fn refuse_join(
        &mut self,
        d: &mut Desk,
        ticket: Ticket,
        join: Join,
        refused: RefusedJoin,
    ) {
        let is_full = refused.code == ErrorCode::GroupMaxSizeReached;
        let member_id = join.member_id.clone();
        refuse_join(d, ticket, join, refused);
        // A rejoining member for whom there is no room any more is out. The rebalance it came to ends when its time is
        // over or when the next one joins.
        if is_full && self.members.contains(&member_id) {
            self.remove(d, &member_id, Cause::TooLarge);
        }
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

    /// A static member came back under its instance id: the new member id takes the old one's place and share.
    fn replace_static(
        &mut self,
        d: &mut Desk,
        ticket: Ticket,
        join: Join,
        old_id: &Name,
        new_id: Name,
    ) {
        let Some(mut member) = self.members.remove(old_id) else {
            return self.refuse(d, ticket, old_id.clone(), ErrorCode::UnknownServerError);
        };
        if let Some(at_ms) = member.armed_ms.take() {
            d.timers
                .disarm(at_ms, &self.id, Timer::Session(old_id.clone()));
        }
        self.answer_waiting(d, &member, ErrorCode::FencedInstanceId);
        let old_leader = self.leader.clone().unwrap_or_default();
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        member.id = new_id.clone();
        member.joining = None;
        member.syncing = None;
        member.client_id = join.client_id.clone();
        member.client_host = join.client_host.clone();
        self.members.insert(member);
        self.touch(d, &new_id);
        self.update(d, ticket, &join, &new_id);
        match self.state {
            State::Stable if self.keeps_protocol() => {
                self.return_static(d, &new_id, old_leader, join.skip_assignment);
            }
            _ => self.rebalance_or_complete(d, Cause::StaticMemberReturned),
        }
    }

    fn keeps_protocol(&self) -> bool {
        let leader = self.leader.as_deref().and_then(|id| self.members.get(id));
        protocols::select(&self.members, leader) == self.protocol_name
    }

    /// No rebalance: the member id changes on record and the member goes on with its share.
    fn return_static(&mut self, d: &mut Desk, id: &Name, old_leader: Name, skip_assignment: bool) {
        let value = self.snapshot(|member| member.assignment.clone());
        self.journal_group(d, value, false);
        let Some(parked) = self.members.unpark_join(id) else {
            return;
        };
        let is_leader = self.is_leader(id);
        let joined = if skip_assignment {
            Joined {
                skip_assignment: is_leader,
                ..self.joined(id, is_leader)
            }
        } else {
            // Before v9 a returning leader must not think it leads, or it would assign anew without a rebalance.
            Joined {
                leader: old_leader,
                ..self.joined(id, false)
            }
        };
        self.answer(d, parked, Reply::Join(Ok(joined)));
    }

    /// The checks every request of a member goes through.
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            let current = self.members.static_id(instance_id);
            let current = current.ok_or(ErrorCode::UnknownMemberId)?;
            if **current != *member_id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        if !self.members.contains(member_id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        Ok(())
    }
}

fn longest_name(join: &Join) -> usize {
    // An instance id becomes part of a member id.
    let instance = join.instance_id.as_ref().map_or(0, |id| id.len() + 37);
    let protocols = join.protocols.iter().map(|protocol| protocol.name.len());
    [
        instance,
        join.client_id.len(),
        join.client_host.len(),
        join.protocol_type.len(),
    ]
    .into_iter()
    .chain(protocols)
    .max()
    .unwrap_or(0)
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
