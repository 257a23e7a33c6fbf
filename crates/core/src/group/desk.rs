//! What a group may touch of its shard while it handles one call.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::Account;
use crate::machine::Ticket;
use crate::time::Now;

use super::addresses::Addresses;
use super::command::Name;
use super::consumer::topics::Topics;
use super::effects::{Effects, Entry, Event, Held, Reply};
use super::options::GroupOptions;
use super::records::Record;
use super::timers::Timers;

pub(super) struct Desk<'a> {
    pub(super) now: Now,
    pub(super) options: &'a GroupOptions,
    /// The topics that there are.
    pub(super) topics: &'a Topics,
    /// Whether offsets are written with the ids of their topics.
    pub(super) keeps_topic_ids: bool,
    pub(super) timers: &'a mut Timers,
    /// Which member each parked request belongs to.
    pub(super) parked: &'a mut BTreeMap<Ticket, (Name, Name)>,
    pub(super) addresses: &'a Arc<Addresses>,
    /// What groups take, and how much that may be.
    pub(super) account: &'a Arc<Account>,
    /// The shard's number there.
    pub(super) shard: u32,
    /// The last appended position.
    pub(super) position: &'a mut u64,
    /// Whose entry each unsettled position is.
    pub(super) unsettled: &'a mut BTreeMap<u64, Name>,
    pub(super) out: &'a mut Effects,
}

impl Desk<'_> {
    /// Answers on the ground of everything appended so far for this group.
    pub(super) fn reply(&mut self, ticket: Ticket, group: &Name, reply: Reply) {
        self.out.replies.push(Held {
            ticket,
            owner: Some(group.clone()),
            position: *self.position,
            reply,
        });
    }

    /// Answers on the ground of everything appended so far for any group.
    pub(super) fn reply_of_all(&mut self, ticket: Ticket, reply: Reply) {
        self.out.replies.push(Held {
            ticket,
            owner: None,
            position: *self.position,
            reply,
        });
    }

    /// Answers on the ground of nothing that is remembered.
    pub(super) fn reply_at_once(&mut self, ticket: Ticket, reply: Reply) {
        self.out.replies.push(Held {
            ticket,
            owner: None,
            position: 0,
            reply,
        });
    }

    pub(super) fn append(&mut self, group: &Name, records: Vec<Record>) -> u64 {
        *self.position += 1;
        let position = *self.position;
        self.unsettled.insert(position, group.clone());
        self.out.entries.push(Entry {
            position,
            owner: group.clone(),
            records,
        });
        position
    }

    /// News that somebody is told in any case.
    pub(super) fn warn(&mut self, event: Event) {
        self.out.events.push(event);
    }

    pub(super) fn event(&mut self, event: impl FnOnce() -> Event) {
        if self.out.observed {
            self.out.events.push(event());
        }
    }
}
