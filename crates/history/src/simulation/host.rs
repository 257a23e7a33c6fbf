//! A machine with its journal: entries become durable one by one, fail, or are lost in a crash.

use rustka_core::error::ErrorCode;
use rustka_core::machine::{Effects, Entry, Machine, Release, Ticket};
use rustka_core::time::Now;
use std::collections::VecDeque;

pub(super) struct Host<M: Machine> {
    pub(super) machine: M,
    release: Release<M>,
    /// Written and not durable.
    open: VecDeque<Entry<M>>,
    /// What a restart reads.
    pub(super) durable: Vec<M::Record>,
    out: Effects<M>,
    pub(super) events: Vec<M::Event>,
    pub(super) answers: Vec<(Ticket, M::Reply)>,
    /// Whether entries are written at once that have still to be admitted somewhere.
    pub(super) unadmitted: VecDeque<Entry<M>>,
    admits: bool,
}

impl<M: Machine> Host<M> {
    /// `admits`: entries have to pass [`Host::admitted`] before they are written.
    pub(super) fn new(machine: M, admits: bool) -> Host<M> {
        Host {
            machine,
            release: Release::default(),
            open: VecDeque::new(),
            durable: Vec::new(),
            out: Effects::default(),
            events: Vec::new(),
            answers: Vec::new(),
            unadmitted: VecDeque::new(),
            admits,
        }
    }

    pub(super) fn handle(&mut self, now: Now, ticket: Ticket, command: M::Command) {
        self.machine.handle(now, ticket, command, &mut self.out);
        self.take();
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.machine.expire(now, &mut self.out);
        self.take();
    }

    fn take(&mut self) {
        self.events.append(&mut self.out.events);
        let entries = self.release.take(&mut self.out);
        match self.admits {
            true => self.unadmitted.extend(entries),
            false => self.open.extend(entries),
        }
        self.answers
            .extend(std::iter::from_fn(|| self.release.pop()));
    }

    /// An entry was admitted where it is written, or refused.
    pub(super) fn admitted(&mut self, now: Now, entry: Entry<M>, is_admitted: bool) {
        match is_admitted {
            true => self.open.push_back(entry),
            false => self.settled(now, entry, false),
        }
    }

    /// The oldest entry is durable, or was lost; whether there was one.
    pub(super) fn settle(&mut self, now: Now, is_durable: bool) -> bool {
        let Some(entry) = self.open.pop_front() else {
            return false;
        };
        self.settled(now, entry, is_durable);
        true
    }

    fn settled(&mut self, now: Now, entry: Entry<M>, is_durable: bool) {
        let result = match is_durable {
            true => Ok(()),
            false => Err(ErrorCode::KafkaStorageError),
        };
        let position = entry.position;
        self.machine.committed(now, position, result, &mut self.out);
        self.take();
        match is_durable {
            true => {
                self.release.durable(position, &entry.owner);
                self.durable.extend(entry.records);
            }
            false => self.release.failed(position, &entry.owner),
        }
        self.take();
    }

    /// A new life: what is durable is all that is left.
    pub(super) fn restart(&mut self, now: Now, blank: M) {
        let durable = std::mem::take(&mut self.durable);
        *self = Host::new(blank, self.admits);
        for record in &durable {
            self.machine.apply(record.clone());
        }
        self.durable = durable;
        self.machine.loaded(now, &mut self.out);
        self.take();
    }
}
