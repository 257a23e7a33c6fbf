//! Requests that wait in a member: for the next generation, or for a share.

use super::Group;
use super::members::{Member, Parked};
use crate::error::ErrorCode;
use crate::group::command::{Bytes, Name};
use crate::group::desk::Desk;
use crate::group::effects::{JoinRefused, Reply};
use crate::machine::Ticket;

impl Group {
    /// The connection of a waiting request is gone. The member stays until its timeout.
    pub(in crate::group) fn disconnect(&mut self, member_id: &str, ticket: Ticket) {
        let Some(member) = self.members.session(member_id) else {
            return;
        };
        for parked in [&mut member.joining, &mut member.syncing] {
            if let Some(parked) = parked
                && parked.ticket == Some(ticket)
            {
                parked.ticket = None;
            }
        }
    }

    pub(super) fn answer(&self, d: &mut Desk, parked: Parked, reply: Reply) {
        if let Some(ticket) = parked.ticket {
            d.parked.remove(&ticket);
            d.reply(ticket, &self.id, reply);
        }
    }

    /// A newer request has taken the place of this one, which Kafka never answers: its client has hung up or will.
    pub(super) fn never_answer(d: &mut Desk, displaced: Option<Parked>) {
        if let Some(ticket) = displaced.and_then(|parked| parked.ticket) {
            d.parked.remove(&ticket);
        }
    }

    pub(super) fn answer_waiting(&self, d: &mut Desk, member: &Member, code: ErrorCode) {
        if let Some(parked) = member.joining {
            // Who is no member any more is told so without its id.
            let member_id = match code {
                ErrorCode::UnknownMemberId => Name::default(),
                _ => member.id.clone(),
            };
            self.answer(d, parked, Reply::Join(Err(JoinRefused { code, member_id })));
        }
        if let Some(parked) = member.syncing {
            self.answer(d, parked, Reply::Sync(Err(code)));
        }
    }

    /// Refuses every waiting sync and takes all shares back.
    pub(super) fn refuse_syncs(&mut self, d: &mut Desk, code: ErrorCode) {
        self.assigning = false;
        for id in self.members.ids() {
            self.members.set_assignment(&id, Bytes::default());
            if let Some(parked) = self.members.unpark_sync(&id) {
                self.answer(d, parked, Reply::Sync(Err(code)));
                self.touch(d, &id);
            }
        }
    }
}
