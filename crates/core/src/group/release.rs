//! Holds answers back until the journal is durable as far as they depend on it. Order is kept.

use std::collections::{BTreeSet, VecDeque};

use crate::error::ErrorCode;

use super::command::{Name, Ticket};
use super::effects::{Held, Reply};

/// The queue between a shard's decisions and its clients.
#[derive(Debug, Default)]
pub struct Release {
    waiting: VecDeque<Held>,
    /// Every entry up to here is settled: durable or failed.
    settled: u64,
    /// Entries settled ahead of their turn.
    ahead: BTreeSet<u64>,
}

impl Release {
    /// Takes the answers of one call, in order.
    pub fn hold(&mut self, replies: impl IntoIterator<Item = Held>) {
        self.waiting.extend(replies);
    }

    /// The entry is durable.
    pub fn durable(&mut self, position: u64) {
        if position <= self.settled {
            return;
        }
        self.ahead.insert(position);
        while self.ahead.first() == Some(&(self.settled + 1)) {
            self.ahead.pop_first();
            self.settled += 1;
        }
    }

    /// The entry could not be written: what its group was about to say from there on is refused.
    /// Call it after `Shard::committed` and after its replies were handed to `hold`.
    pub fn failed(&mut self, position: u64, group: &Name) {
        for held in &mut self.waiting {
            if held.position >= position && held.group.as_ref() == Some(group) {
                let reply = std::mem::replace(&mut held.reply, Reply::TopicDeleted);
                held.reply = reply.failed(ErrorCode::NotCoordinator);
            }
        }
        self.durable(position);
    }

    /// The next answer that may leave.
    pub fn pop(&mut self) -> Option<(Ticket, Reply)> {
        if self.waiting.front()?.position > self.settled {
            return None;
        }
        self.waiting
            .pop_front()
            .map(|held| (held.ticket, held.reply))
    }

    /// How many answers are held back.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops the answer of a connection that hung up.
    pub fn forget(&mut self, ticket: Ticket) {
        self.waiting.retain(|held| held.ticket != ticket);
    }
}
