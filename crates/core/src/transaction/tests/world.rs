//! A shard with a clock, a journal and partitions that take markers, all of them under the test's control.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::ErrorCode;
use crate::machine::tests::encoded;
use crate::machine::{JournalRecord, Machine, Release, Ticket};
use crate::time::Now;
use crate::transaction::command::*;
use crate::transaction::record::{Phase, Record, Transaction};
use crate::transaction::{Effects, TransactionOptions, TransactionShard};

pub(super) type Entry = crate::machine::Entry<TransactionShard>;

/// When the tests begin, in wall time.
pub(super) const START_MS: i64 = 1_700_000_000_000;

pub(super) fn n(name: &str) -> Name {
    Arc::from(name)
}

pub(super) fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id, epoch }
}

/// A transaction whose markers the test has not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) speaker: Speaker,
    pub(super) commit: bool,
    pub(super) epoch_raised: bool,
    pub(super) places: Vec<(String, i32)>,
}

pub(super) struct World {
    pub(super) shard: TransactionShard,
    release: Release<TransactionShard>,
    pub(super) options: TransactionOptions,
    pub(super) now: Now,
    /// The journal answers when the test says so.
    pub(super) holds: bool,
    /// Positions that will fail.
    pub(super) failing: BTreeSet<u64>,
    /// Every write fails.
    pub(super) broken: bool,
    /// Entries the journal has not answered for.
    pub(super) open: Vec<Entry>,
    /// What a restart would read, in order.
    pub(super) durable: Vec<Record>,
    answers: BTreeMap<Ticket, Reply>,
    pub(super) decided: Vec<Decided>,
    pub(super) events: Vec<Event>,
    out: Effects,
    tickets: u64,
    /// The producer id that is given out next.
    next_id: i64,
    /// Who speaks, unless a test says otherwise.
    pub(super) id: Name,
}

impl World {
    pub(super) fn new() -> World {
        World::with(TransactionOptions::default())
    }

    pub(super) fn with(options: TransactionOptions) -> World {
        World {
            shard: TransactionShard::new(options.clone()),
            release: Release::default(),
            options,
            now: Now::new(0, START_MS),
            holds: false,
            failing: BTreeSet::new(),
            broken: false,
            open: Vec::new(),
            durable: Vec::new(),
            answers: BTreeMap::new(),
            decided: Vec::new(),
            events: Vec::new(),
            out: Effects::default(),
            tickets: 0,
            next_id: 1_000,
            id: n("x"),
        }
    }

    // Driving.

    pub(super) fn send(&mut self, command: Command) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut out = std::mem::take(&mut self.out);
        self.shard.handle(self.now, ticket, command, &mut out);
        self.take(out);
        ticket
    }

    pub(super) fn answer(&mut self, ticket: Ticket) -> Reply {
        let reply = self.answers.remove(&ticket);
        reply.unwrap_or_else(|| panic!("{ticket:?} has no answer yet"))
    }

    pub(super) fn is_waiting(&self, ticket: Ticket) -> bool {
        !self.answers.contains_key(&ticket)
    }

    fn ask(&mut self, command: Command) -> Reply {
        let ticket = self.send(command);
        self.answer(ticket)
    }

    fn take(&mut self, mut out: Effects) {
        for event in out.events.drain(..) {
            match event {
                Event::Decided {
                    speaker,
                    commit,
                    epoch_raised,
                    places,
                } => self.decided.push(Decided {
                    speaker,
                    commit,
                    epoch_raised,
                    places: places.iter().map(|(t, p)| (t.to_string(), p)).collect(),
                }),
                event => self.events.push(event),
            }
        }
        let entries = self.release.take(&mut out);
        self.out = out;
        for entry in entries {
            self.open.push(entry);
            if !self.holds {
                self.settle(0);
            }
        }
        while let Some((ticket, reply)) = self.release.pop() {
            let twice = self.answers.insert(ticket, reply);
            assert!(twice.is_none(), "{ticket:?} was answered twice");
        }
    }

    /// The journal answers for one of the open entries.
    pub(super) fn settle(&mut self, at: usize) {
        let entry = self.open.remove(at);
        let fails = self.failing.remove(&entry.position) || self.broken;
        let result = match fails {
            true => Err(ErrorCode::KafkaStorageError),
            false => Ok(()),
        };
        let mut out = std::mem::take(&mut self.out);
        let position = entry.position;
        self.shard.committed(self.now, position, result, &mut out);
        match fails {
            true => self.release.failed(position, &entry.owner),
            false => {
                self.release.durable(position, &entry.owner);
                self.durable.extend(entry.records);
            }
        }
        self.take(out);
    }

    pub(super) fn settle_all(&mut self) {
        while !self.open.is_empty() {
            self.settle(0);
        }
    }

    /// The next write fails.
    pub(super) fn fail_next(&mut self) {
        self.failing.insert(self.shard.position + 1);
    }

    /// Lets time pass, deadline by deadline.
    pub(super) fn advance(&mut self, ms: i64) {
        let end_ms = self.now.monotonic_ms + ms;
        loop {
            let due_ms = self.shard.next_deadline().filter(|at| *at <= end_ms);
            let at_ms = due_ms.unwrap_or(end_ms).max(self.now.monotonic_ms);
            self.now.wall_ms += at_ms - self.now.monotonic_ms;
            self.now.aging_ms = self.now.wall_ms;
            self.now.monotonic_ms = at_ms;
            if due_ms.is_none() {
                return;
            }
            self.expire();
        }
    }

    pub(super) fn expire(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        self.shard.expire(self.now, &mut out);
        self.take(out);
    }

    /// A new life: what is durable is read from its bytes; nothing else survives.
    pub(super) fn restart(&mut self) {
        let mut next = World::with(self.options.clone());
        next.now = self.now;
        next.tickets = self.tickets;
        next.next_id = self.next_id;
        next.holds = self.holds;
        for record in &self.durable {
            for (key, value) in encoded(record) {
                let decoded = Record::decode(key.as_deref(), value.as_deref());
                next.shard.apply(decoded.unwrap().unwrap());
            }
        }
        next.durable = std::mem::take(&mut self.durable);
        let mut out = std::mem::take(&mut next.out);
        next.shard.loaded(next.now, &mut out);
        next.take(out);
        *self = next;
    }

    // Requests.

    pub(super) fn speaker(&self, producer: Producer) -> Speaker {
        let id = self.id.clone();
        Speaker { id, producer }
    }

    fn answer_with_id(
        &mut self,
        command: impl Fn(Option<i64>) -> Command,
    ) -> Result<Producer, ErrorCode> {
        let mut reply = self.ask(command(None));
        if reply == Reply::NeedsId {
            let id = self.next_id;
            self.next_id += 1;
            reply = self.ask(command(Some(id)));
        }
        let Reply::Producer(result) = reply else {
            panic!("{reply:?}")
        };
        result
    }

    /// InitProducerId with a timeout of a minute.
    pub(super) fn init(&mut self, expected: Option<Producer>) -> Result<Producer, ErrorCode> {
        self.init_for(60_000, expected)
    }

    pub(super) fn init_for(
        &mut self,
        timeout_ms: i32,
        expected: Option<Producer>,
    ) -> Result<Producer, ErrorCode> {
        let id = self.id.clone();
        self.answer_with_id(move |new_id| {
            Command::Init(Init {
                id: id.clone(),
                timeout_ms,
                expected,
                new_id,
            })
        })
    }

    pub(super) fn add_command(
        &self,
        producer: Producer,
        partitions: &[i32],
        raises_epoch: bool,
    ) -> Command {
        Command::Add(Add {
            speaker: self.speaker(producer),
            places: partitions.iter().map(|at| (n("t"), *at)).collect(),
            raises_epoch,
        })
    }

    /// Partitions of topic "t", added by the older protocol.
    pub(super) fn add(&mut self, producer: Producer, partitions: &[i32]) -> Result<(), ErrorCode> {
        let command = self.add_command(producer, partitions, false);
        added(self.ask(command))
    }

    /// The same by the newer one.
    pub(super) fn write(
        &mut self,
        producer: Producer,
        partitions: &[i32],
    ) -> Result<(), ErrorCode> {
        let command = self.add_command(producer, partitions, true);
        added(self.ask(command))
    }

    pub(super) fn verify(
        &mut self,
        producer: Producer,
        partitions: &[i32],
    ) -> Result<Vec<bool>, ErrorCode> {
        let reply = self.ask(Command::Verify {
            speaker: self.speaker(producer),
            places: partitions.iter().map(|at| (n("t"), *at)).collect(),
        });
        let Reply::Verified(result) = reply else {
            panic!("{reply:?}")
        };
        result
    }

    pub(super) fn end_command(&self, producer: Producer, commit: bool, raises: bool) -> Command {
        Command::End(End {
            speaker: self.speaker(producer),
            commit,
            raises_epoch: raises,
            new_id: None,
        })
    }

    /// EndTxn of the older protocol.
    pub(super) fn end(&mut self, producer: Producer, commit: bool) -> Result<Producer, ErrorCode> {
        self.end_as(producer, commit, false)
    }

    /// EndTxn of the newer one.
    pub(super) fn end_raising(
        &mut self,
        producer: Producer,
        commit: bool,
    ) -> Result<Producer, ErrorCode> {
        self.end_as(producer, commit, true)
    }

    fn end_as(
        &mut self,
        producer: Producer,
        commit: bool,
        raises_epoch: bool,
    ) -> Result<Producer, ErrorCode> {
        let speaker = self.speaker(producer);
        self.answer_with_id(move |new_id| {
            Command::End(End {
                speaker: speaker.clone(),
                commit,
                raises_epoch,
                new_id,
            })
        })
    }

    /// Every marker of everything that is decided is written.
    pub(super) fn write_markers(&mut self) -> Vec<Decided> {
        let decided = std::mem::take(&mut self.decided);
        for one in &decided {
            self.send(Command::MarkersWritten(one.speaker.clone()));
        }
        decided
    }

    pub(super) fn state(&self) -> Arc<Transaction> {
        self.shard.get(&self.id).expect("it is known").clone()
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// A producer with a transaction open on partition 0, by the newer protocol.
    pub(super) fn open_one(&mut self) -> Producer {
        let producer = self.init(None).unwrap();
        self.write(producer, &[0]).unwrap();
        producer
    }
}

pub(super) fn added(reply: Reply) -> Result<(), ErrorCode> {
    let Reply::Added(result) = reply else {
        panic!("{reply:?}")
    };
    result
}
