//! What speaks against a JoinGroup, and how it is refused.

use crate::account::Share;
use crate::error::ErrorCode;
use crate::group::classic::state::State;
use crate::group::classic::{Group, MEMBER_BYTES, protocols};
use crate::group::command::{Join, NAME_BYTES_MAX, Name};
use crate::group::desk::Desk;
use crate::group::effects::{Cause, Event, JoinRefused, Reply};
use crate::group::options::{GroupOptions, MEMORY_LIMIT};
use crate::machine::Ticket;

/// Assignors one member may list.
const PROTOCOLS_MAX: usize = 256;

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

/// Whether a join fits into a group whose members take so many bytes, of a new member or of one whose protocols have taken
/// `known_bytes` so far.
pub(in crate::group) fn check_size(
    d: &Desk,
    join: &Join,
    members_bytes: usize,
    known_bytes: Option<usize>,
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
    let more = match known_bytes {
        None => weight + MEMBER_BYTES,
        // Who says no more than before needs no room.
        Some(known_bytes) => weight.saturating_sub(known_bytes),
    };
    if more > 0 && d.account.check(Share::Groups, more).is_err() {
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
        let known_bytes = member.map(|member| protocols::weight(&member.protocols));
        check_size(d, join, self.members.bytes(), known_bytes)?;
        Ok(join.wants_pending_id())
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

    /// The checks every request of a member goes through.
    pub(in crate::group::classic) fn check_member(
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
