//! The broker: what lies between requests and machines.
//!
//! This file holds its state, time and mishaps; `requests` is what clients ask, `answers` what machines have said.

mod answers;
mod requests;

use super::chance::Chance;
use super::fault::Fault;
use super::host::Host;
use super::partition::Partition;
use super::request::{Batch, OFFSETS, Response};
use crate::history::Place;
use rustka_core::group::command::TransactionCommit;
use rustka_core::group::{GroupOptions, GroupShard};
use rustka_core::log::Verification;
use rustka_core::machine::{Machine, Ticket};
use rustka_core::time::Now;
use rustka_core::transaction::command::{Command, End, Event, Name, Producer, Reply, Speaker};
use rustka_core::transaction::record::Phase;
use rustka_core::transaction::{TransactionOptions, TransactionShard};
use std::collections::BTreeMap;

/// Whoever waits for an answer.
pub(super) type Token = u64;

/// A request whose coordinator has been asked.
enum Waiting {
    Init {
        token: Token,
        id: Name,
        expected: Option<Producer>,
    },
    Add {
        token: Token,
    },
    Produce {
        token: Token,
        newer: bool,
        batch: Batch,
        since: Verification,
    },
    Offsets {
        token: Token,
        commit: TransactionCommit,
    },
    End {
        token: Token,
        end: End,
    },
    Markers,
}

/// A write that its producer waits for.
struct Written {
    token: Token,
    place: Place,
    until: i64,
    offset: i64,
}

/// A transaction whose markers are being written.
struct Ending {
    speaker: Speaker,
    /// Where, up to where it has to be durable.
    left: Vec<(Place, i64)>,
    /// The groups' part.
    groups: Option<Ticket>,
}

pub(super) struct Broker {
    fault: Option<Fault>,
    transactions: Host<TransactionShard>,
    groups: Host<GroupShard>,
    pub(super) partitions: Vec<Partition>,
    waiting: BTreeMap<Ticket, Waiting>,
    waiting_in_groups: BTreeMap<Ticket, Token>,
    /// Batches that were confirmed a moment ago: whoever serves their connection has not got its turn yet.
    confirmed: Vec<(Ticket, Reply)>,
    written: Vec<Written>,
    ending: Vec<Ending>,
    ended_in_groups: Vec<Ticket>,
    tickets: u64,
    next_producer_id: i64,
    answers: Vec<(Token, Response)>,
    old_offsets: BTreeMap<(Name, Place), Option<i64>>,
}

fn machine() -> TransactionShard {
    TransactionShard::new(TransactionOptions::default())
}

fn group_machine() -> GroupShard {
    GroupShard::new(GroupOptions::default())
}

impl Broker {
    pub(super) fn new(fault: Option<Fault>) -> Broker {
        Broker {
            fault,
            transactions: Host::new(machine(), false),
            groups: Host::new(group_machine(), true),
            partitions: (0..=OFFSETS).map(|_| Partition::new(fault)).collect(),
            waiting: BTreeMap::new(),
            waiting_in_groups: BTreeMap::new(),
            confirmed: Vec::new(),
            written: Vec::new(),
            ending: Vec::new(),
            ended_in_groups: Vec::new(),
            tickets: 0,
            next_producer_id: 1_000,
            answers: Vec::new(),
            old_offsets: BTreeMap::new(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn new_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id
    }

    fn partition(&mut self, place: Place) -> &mut Partition {
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        self.partitions.get_mut(at).expect("a partition of the run")
    }

    /// What has been answered since.
    pub(super) fn take_answers(&mut self) -> Vec<(Token, Response)> {
        std::mem::take(&mut self.answers)
    }

    fn answer(&mut self, token: Token, response: Response) {
        self.answers.push((token, response));
    }

    fn command(&mut self, now: Now, command: Command, waiting: Waiting) {
        let ticket = self.ticket();
        self.waiting.insert(ticket, waiting);
        self.transactions.handle(now, ticket, command);
        self.go_on(now);
    }

    fn known(&self, id: &Name) -> Option<(Producer, Phase)> {
        let live = self.transactions.machine.live();
        let mut of_id = live.filter(|record| record.id == *id);
        let value = of_id.next()?.value?;
        Some((value.producer, value.phase))
    }

    /// Does what follows from what the machines have said, until nothing does.
    fn go_on(&mut self, now: Now) {
        loop {
            let answers = std::mem::take(&mut self.transactions.answers);
            let events = std::mem::take(&mut self.transactions.events);
            let entries = std::mem::take(&mut self.groups.unadmitted);
            let told = std::mem::take(&mut self.groups.answers);
            self.groups.events.clear();
            if answers.is_empty() && events.is_empty() && entries.is_empty() && told.is_empty() {
                return;
            }
            for entry in entries {
                self.admit(now, entry);
            }
            // Markers come before answers, as in the broker.
            for event in events {
                self.decided(now, event);
            }
            for (ticket, reply) in answers {
                match self.waiting.get(&ticket) {
                    Some(Waiting::Produce { .. }) => self.confirmed.push((ticket, reply)),
                    _ => self.confirmed(now, ticket, reply),
                }
            }
            for (ticket, reply) in told {
                self.told_by_groups(ticket, reply);
            }
        }
    }

    // Time and mishaps.

    /// Something becomes durable: the journal of transactions, or a partition.
    pub(super) fn settle(&mut self, now: Now, chance: &mut Chance, may_fail: bool) {
        if !self.confirmed.is_empty() && chance.one_in(4) {
            let (ticket, reply) = self.confirmed.remove(0);
            self.confirmed(now, ticket, reply);
        }
        let at = chance.below(u64::from(OFFSETS) + 2) as Place;
        if at > OFFSETS {
            let fails = may_fail && chance.one_in(100);
            self.transactions.settle(now, !fails);
        } else {
            self.settle_partition(now, at);
        }
        self.go_on(now);
        self.finish(now);
    }

    fn settle_partition(&mut self, now: Now, place: Place) {
        if !self.partition(place).settle() {
            return;
        }
        if place == OFFSETS {
            self.groups.settle(now, true);
        }
        let durable = self.partition(place).durable();
        let is_durable = |it: &mut Written| it.place == place && it.until <= durable;
        let done: Vec<Written> = self.written.extract_if(.., is_durable).collect();
        for it in done {
            self.answer(it.token, Response::Produced(Ok(it.offset)));
        }
    }

    /// What is due happens.
    pub(super) fn expire(&mut self, now: Now) {
        if self.has(Fault::NeverTimesOut) {
            return;
        }
        if self.has(Fault::CommitsOnTimeout) {
            self.commit_overdue(now);
        }
        self.transactions.expire(now);
        self.go_on(now);
    }

    fn commit_overdue(&mut self, now: Now) {
        let live: Vec<_> = self.transactions.machine.live().collect();
        for record in live {
            let Some(value) = record.value else {
                continue;
            };
            let is_overdue = now.wall_ms - value.started_ms >= i64::from(value.timeout_ms);
            if value.phase == Phase::Ongoing && is_overdue {
                let speaker = Speaker {
                    id: record.id,
                    producer: value.producer,
                };
                let end = End {
                    speaker,
                    commit: true,
                    raises_epoch: true,
                    new_id: Some(self.new_id()),
                };
                self.command(now, Command::End(end), Waiting::Markers);
            }
        }
    }

    /// The process dies and starts again with what was durable.
    pub(super) fn crash(&mut self, now: Now) {
        self.waiting.clear();
        self.waiting_in_groups.clear();
        self.confirmed.clear();
        self.written.clear();
        self.ending.clear();
        self.ended_in_groups.clear();
        self.answers.clear();
        for partition in &mut self.partitions {
            partition.restart(now);
        }
        self.groups.restart(now, group_machine());
        self.transactions.restart(now, machine());
        if self.has(Fault::ForgetsPrepared) {
            self.transactions.events.clear();
        }
        if self.has(Fault::AbortsPrepared) {
            for event in &mut self.transactions.events {
                if let Event::Decided { commit, .. } = event {
                    *commit = false;
                }
            }
        }
        self.go_on(now);
    }
}
