//! SyncGroup, Heartbeat, LeaveGroup and DescribeGroups of one classic group.

use std::collections::BTreeMap;

use crate::error::ErrorCode;

use super::Group;
use super::state::State;
use crate::group::command::{Bytes, Leaver, Name, Sync};
use crate::group::desk::Desk;
use crate::group::effects::{Cause, Described, DescribedMember, Event, Left, Reply};
use crate::machine::Ticket;
use crate::time::Now;

impl Group {
    pub(in crate::group) fn sync(&mut self, d: &mut Desk, ticket: Ticket, sync: Sync) {
        if let Err(code) = self.check_sync(&sync) {
            return d.reply(ticket, &self.id, Reply::Sync(Err(code)));
        }
        self.sync_arrived(d, &sync.member_id);
        if self.state == State::Stable {
            let share = self.share(&sync.member_id);
            return d.reply(ticket, &self.id, Reply::Sync(Ok(share)));
        }
        let displaced = self.members.park_sync(&sync.member_id, ticket);
        Group::never_answer(d, displaced);
        d.parked
            .insert(ticket, (self.id.clone(), sync.member_id.clone()));
        if self.is_leader(&sync.member_id) && !self.assigning {
            self.assign(d, &sync);
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        self.check_member(&sync.member_id, sync.instance_id.as_deref())?;
        if sync.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<Name>, known: &Option<Name>| said.is_some() && said != known;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Writes the leader's assignment down; everybody gets its share once it is durable.
    fn assign(&mut self, d: &mut Desk, sync: &Sync) {
        let shares: BTreeMap<&str, &Bytes> = sync
            .assignments
            .iter()
            .map(|(member_id, share)| (&**member_id, share))
            .collect();
        let share_max = shares.values().map(|share| share.len()).max().unwrap_or(0);
        // Counted per member: a leader may hand the same long share to all.
        let total: usize = self
            .members
            .iter()
            .filter_map(|member| shares.get(&*member.id))
            .map(|share| share.len())
            .sum();
        let too_large = share_max > d.options.member_metadata_bytes_max
            || self.members.bytes().saturating_add(total) > d.options.group_bytes_max;
        if too_large {
            let leader = self.members.get(&sync.member_id);
            let client_host = leader.map(|m| m.client_host.clone()).unwrap_or_default();
            let group = &self.id;
            d.warn(Event::Refused {
                group: group.clone(),
                client_host,
                code: ErrorCode::UnknownServerError,
                limit: "rustka.groups.bytes.max",
            });
            self.refuse_syncs(d, ErrorCode::UnknownServerError);
            return self.rebalance_or_complete(d, Cause::TooLarge);
        }
        self.assigning = true;
        let value = self.snapshot(|member| {
            shares
                .get(&*member.id)
                .map(|share| Bytes::clone(share))
                .unwrap_or_default()
        });
        self.journal_group(d, value, true);
    }

    /// Keeps a member alive and tells it when to join again.
    pub(in crate::group) fn heartbeat(
        &mut self,
        d: &mut Desk,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> ErrorCode {
        if let Err(code) = self.check_member(member_id, instance_id) {
            return code;
        }
        if generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        match self.state {
            State::Empty | State::Dead => ErrorCode::UnknownMemberId,
            State::PreparingRebalance => {
                self.touch(d, member_id);
                ErrorCode::RebalanceInProgress
            }
            // Clients heartbeat between join and sync.
            State::CompletingRebalance | State::Stable => {
                self.touch(d, member_id);
                ErrorCode::None
            }
        }
    }

    /// `heartbeat` where no more than the end of a dynamic member's session moves.
    pub(in crate::group) fn beat(
        &mut self,
        now: Now,
        member_id: &str,
        generation: i32,
    ) -> Option<ErrorCode> {
        if !self.durable.is_settled() {
            return None;
        }
        let code = match self.state {
            State::Empty | State::Dead => return None,
            State::PreparingRebalance => ErrorCode::RebalanceInProgress,
            State::CompletingRebalance | State::Stable => ErrorCode::None,
        };
        if generation != self.generation {
            return None;
        }
        let member = self.members.session(member_id)?;
        let deadline_ms = member.session_end_ms(now);
        // A timer may fire early, never late.
        if member.armed_ms.is_none_or(|at_ms| at_ms > deadline_ms) {
            return None;
        }
        member.deadline_ms = deadline_ms;
        Some(code)
    }

    pub(in crate::group) fn leave(&mut self, d: &mut Desk, leavers: Vec<Leaver>) -> Vec<Left> {
        let (mut gone, mut freed) = (false, false);
        let mut left = Vec::with_capacity(leavers.len());
        for leaver in leavers {
            let code = match self.leave_one(d, &leaver) {
                Ok(was_member) => {
                    gone |= was_member;
                    freed |= !was_member;
                    ErrorCode::None
                }
                Err(code) => code,
            };
            left.push(Left {
                member_id: leaver.member_id,
                instance_id: leaver.instance_id,
                code,
            });
        }
        if gone {
            self.after_removal(d, Cause::Left);
        } else if freed {
            self.complete_if_ready(d);
        }
        left
    }

    /// Whether a member left, and not just an id.
    fn leave_one(&mut self, d: &mut Desk, leaver: &Leaver) -> Result<bool, ErrorCode> {
        let instance_id = leaver.instance_id.as_deref();
        if leaver.member_id.is_empty() {
            // An administrator knows the instance id only.
            let member_id = instance_id.and_then(|id| self.members.static_id(id));
            let member_id = member_id.cloned().ok_or(ErrorCode::UnknownMemberId)?;
            self.remove(d, &member_id, Cause::Left);
            return Ok(true);
        }
        if self.forget_pending(d, &leaver.member_id) {
            return Ok(false);
        }
        self.check_member(&leaver.member_id, instance_id)?;
        self.remove(d, &leaver.member_id, Cause::Left);
        Ok(true)
    }

    pub(in crate::group) fn describe(&self) -> Described {
        let is_stable = self.state == State::Stable;
        let protocol = self.protocol_name.clone().unwrap_or_default();
        let members = self.members.iter().map(|member| DescribedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member
                .metadata(&protocol)
                .filter(|_| is_stable)
                .cloned()
                .unwrap_or_default(),
            // The last one, until there is another.
            assignment: member.assignment.clone(),
        });
        Described {
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: if is_stable {
                protocol.clone()
            } else {
                Name::default()
            },
            members: members.collect(),
        }
    }
}
