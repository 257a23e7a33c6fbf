//! A static member that comes back under its instance id (KIP-345): it takes its former self's place.

use crate::error::ErrorCode;
use crate::group::classic::state::State;
use crate::group::classic::{Group, protocols};
use crate::group::command::{Join, Name};
use crate::group::desk::Desk;
use crate::group::effects::{Cause, Joined, Reply};
use crate::group::timers::Timer;
use crate::machine::Ticket;

impl Group {
    /// A static member came back under its instance id: the new member id takes the old one's place and share.
    pub(super) fn replace_static(
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
}
