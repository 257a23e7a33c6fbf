//! Holds answers back until what they rest on is durable. Each owner has a line of its own: nobody waits for the
//! records of others, and the answers of one owner leave in order.

use std::collections::VecDeque;

use super::{Effects, Entry, Held, Machine, Ticket};
use crate::small_map::SmallMap;

/// The queue between a machine's decisions and its clients.
pub struct Release<M: Machine> {
    /// Of owners with open entries.
    lines: SmallMap<M::Owner, Line<M>>,
    /// Every open entry, and the answers that may rest on any of them.
    all: Line<M>,
    free: VecDeque<(Ticket, M::Reply)>,
}

/// Entries whose fate is open, and the answers that wait for them.
struct Line<M: Machine> {
    /// In order.
    open: VecDeque<u64>,
    waiting: VecDeque<Held<M>>,
}

impl<M: Machine> Default for Release<M> {
    fn default() -> Self {
        Release {
            lines: SmallMap::default(),
            all: Line::default(),
            free: VecDeque::new(),
        }
    }
}

impl<M: Machine> Default for Line<M> {
    fn default() -> Self {
        Line {
            open: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl<M: Machine> Line<M> {
    /// Whether an answer that rests on everything up to `position` has to wait here.
    fn holds(&self, position: u64) -> bool {
        self.open.front().is_some_and(|open| *open <= position)
    }

    /// One more entry, behind all others.
    fn open(&mut self, position: u64) {
        self.open.push_back(position);
    }

    /// The fate of an entry is known, mostly that of the first one.
    fn close(&mut self, position: u64) {
        if let Ok(at) = self.open.binary_search(&position) {
            self.open.remove(at);
        }
    }

    /// Hands over what no longer has to wait.
    fn release(&mut self, free: &mut VecDeque<(Ticket, M::Reply)>) {
        while let Some(held) = self.waiting.front() {
            if self.holds(held.position) {
                return;
            }
            free.extend(
                self.waiting
                    .pop_front()
                    .map(|held| (held.ticket, held.reply)),
            );
        }
    }
}

impl<M: Machine> Release<M> {
    /// Takes the answers and entries of one call. The entries are handed back, for the journal.
    pub fn take(&mut self, out: &mut Effects<M>) -> Vec<Entry<M>> {
        let entries = std::mem::take(&mut out.entries);
        for entry in &entries {
            self.all.open(entry.position);
            match self.lines.get_mut(&entry.owner) {
                Some(line) => line.open(entry.position),
                None => {
                    let mut line = Line::default();
                    line.open(entry.position);
                    self.lines.insert(entry.owner.clone(), line);
                }
            }
        }
        for held in out.replies.drain(..) {
            let line = match &held.owner {
                Some(owner) => self.lines.get_mut(owner),
                None => Some(&mut self.all),
            };
            match line.filter(|line| line.holds(held.position)) {
                Some(line) => line.waiting.push_back(held),
                None => self.free.push_back((held.ticket, held.reply)),
            }
        }
        entries
    }

    /// The entry is durable.
    pub fn durable(&mut self, position: u64, owner: &M::Owner) {
        self.all.close(position);
        self.all.release(&mut self.free);
        let Some(line) = self.lines.get_mut(owner) else {
            return;
        };
        line.close(position);
        line.release(&mut self.free);
        if line.open.is_empty() {
            self.lines.remove(owner);
        }
    }

    /// The entry could not be written: what its owner's clients were about to hear from there on is refused.
    /// Call it after `Machine::committed`, once its answers were taken.
    pub fn failed(&mut self, position: u64, owner: &M::Owner) {
        if let Some(line) = self.lines.get_mut(owner) {
            let waiting = std::mem::take(&mut line.waiting);
            let refuse = |held: Held<M>| match held.position >= position {
                true => Held {
                    reply: M::refuse(held.reply),
                    ..held
                },
                false => held,
            };
            line.waiting = waiting.into_iter().map(refuse).collect();
        }
        self.durable(position, owner);
    }

    /// The next answer that may leave.
    pub fn pop(&mut self) -> Option<(Ticket, M::Reply)> {
        self.free.pop_front()
    }

    /// How many answers are held back.
    pub fn len(&self) -> usize {
        let waiting = self.lines.iter().map(|(_, line)| line.waiting.len());
        waiting.sum::<usize>() + self.all.waiting.len() + self.free.len()
    }

    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
