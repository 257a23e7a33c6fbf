//! One group shard: a machine and its journal under one lock, and the requests that wait for it.

use super::answer::{Answer, Waiting};
use super::journal::{PartitionJournal, Writes};
use super::{Groups, NEVER_MS, journal_partition, news};
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{Command, Name, Ticket};
use rustka_core::group::effects::{Effects, Reply};
use rustka_core::group::{Addresses, Options, Release, Shard as Machine};
use rustka_core::sync::lock;
use rustka_core::time::Now;
use rustka_storage::Durability;
use rustka_storage::partition::{Fate, Observer};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tokio::sync::oneshot;

/// Answers whose requests wait, to be sent once the shard is unlocked.
type Ready = Vec<(oneshot::Sender<Reply>, Reply)>;

/// An entry whose fate the journal does not know yet.
struct Open {
    /// Where the journal has it.
    at: i64,
    /// What the machine calls it.
    position: u64,
    group: Name,
}

struct Inner {
    machine: Machine,
    journal: Option<Box<dyn Writes>>,
    /// Entries that are written and not yet durable.
    open: VecDeque<Open>,
    out: Effects,
    release: Release,
    waiting: BTreeMap<Ticket, oneshot::Sender<Reply>>,
    last_ticket: u64,
    closed: bool,
}

/// The groups of one partition of `__consumer_offsets`.
pub struct Shard {
    inner: Mutex<Inner>,
    /// Whether there is a journal.
    attached: AtomicBool,
    /// Whether the journal has news about durability.
    told: AtomicBool,
    deadline_ms: AtomicI64,
}

impl Shard {
    /// A shard that knows no groups and has no journal yet. All shards of a broker count addresses together.
    pub fn new(options: &Options, addresses: &Arc<Addresses>) -> Shard {
        let inner = Inner {
            machine: Machine::beside(options.clone(), addresses.clone()),
            journal: None,
            open: VecDeque::new(),
            out: Effects::default(),
            release: Release::default(),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            closed: false,
        };
        Shard {
            inner: Mutex::new(inner),
            attached: AtomicBool::new(false),
            told: AtomicBool::new(false),
            deadline_ms: AtomicI64::new(NEVER_MS),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// The journal has news about durability.
    pub fn journal_told(&self) {
        self.told.store(true, SeqCst);
    }

    /// When something is due next.
    pub fn deadline_ms(&self) -> i64 {
        self.deadline_ms.load(SeqCst)
    }

    /// Whether something in it is due, or its journal has news.
    pub fn is_due(&self, now: Now) -> bool {
        self.told.swap(false, SeqCst) || self.deadline_ms() <= now.monotonic_ms
    }

    /// Gives the shard its journal. May lock the catalog, so not while the caller does.
    pub fn attach(&self, groups: &Arc<Groups>, at: usize) {
        if self.attached.load(SeqCst) {
            return;
        }
        let Some(partition) = journal_partition(&groups.node, at) else {
            return;
        };
        partition.observe(Arc::new(Teller {
            groups: Arc::downgrade(groups),
            at,
        }));
        let journal = PartitionJournal::new(&groups.node.engine, &groups.node.faults, partition);
        self.write_to(Box::new(journal));
    }

    /// Gives the shard a journal if it has none.
    pub(super) fn write_to(&self, journal: Box<dyn Writes>) {
        let mut inner = self.lock();
        if inner.journal.is_none() {
            inner.journal = Some(journal);
            self.attached.store(true, SeqCst);
        }
    }

    /// The journal's topic is deleted: all groups are gone.
    pub fn detach(&self) {
        let waiting = {
            let mut inner = self.lock();
            inner.machine.clear();
            inner.release = Release::default();
            inner.open.clear();
            inner.journal = None;
            self.attached.store(false, SeqCst);
            self.deadline_ms.store(NEVER_MS, SeqCst);
            std::mem::take(&mut inner.waiting)
        };
        drop(waiting);
    }

    /// The broker stops: whoever waits is sent away, and nobody waits any more.
    pub fn close(&self) {
        let waiting = {
            let mut inner = self.lock();
            inner.closed = true;
            std::mem::take(&mut inner.waiting)
        };
        drop(waiting);
    }

    /// Groups, and member ids given out whose owners have not joined.
    pub fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.machine.len(), inner.machine.soft_counts().pending)
    }

    /// Everything it remembers.
    #[cfg(test)]
    pub(super) fn live_records(&self) -> Vec<rustka_core::group::records::Record> {
        self.lock().machine.live_records().collect()
    }

    /// One command.
    pub fn call(&self, groups: &Arc<Groups>, at: usize, command: Command) -> Answer {
        self.attach(groups, at);
        let now = groups.node.clock.now();
        let mut inner = self.lock();
        let ticket = inner.next_ticket();
        let (machine, out) = inner.machine(groups);
        machine.handle(now, ticket, command, out);
        self.answer(groups, at, inner, now, ticket)
    }

    fn answer(
        &self,
        groups: &Arc<Groups>,
        at: usize,
        mut inner: MutexGuard<'_, Inner>,
        now: Now,
        ticket: Ticket,
    ) -> Answer {
        let (own, ready) = inner.settle(groups, now, Some(ticket));
        let answer = match own {
            Some(reply) => Answer::Now(reply),
            None if inner.closed || inner.journal.is_none() => Answer::Never,
            None => {
                let (sender, reply) = oneshot::channel();
                inner.waiting.insert(ticket, sender);
                Answer::Later(Waiting {
                    reply,
                    groups: groups.clone(),
                    at,
                    ticket: Some(ticket),
                })
            }
        };
        self.unlock(groups, inner, ready);
        answer
    }

    /// A heartbeat.
    pub fn heartbeat(
        &self,
        groups: &Arc<Groups>,
        at: usize,
        group: &str,
        member: (&str, Option<&str>, i32),
    ) -> Answer {
        self.attach(groups, at);
        let now = groups.node.clock.now();
        let mut inner = self.lock();
        if let Some(code) = inner.machine.beat(now, group, member) {
            return Answer::Now(Reply::Heartbeat(code));
        }
        let ticket = inner.next_ticket();
        let (machine, out) = inner.machine(groups);
        machine.heartbeat(now, ticket, group, member, out);
        self.answer(groups, at, inner, now, ticket)
    }

    /// Does what is due.
    pub fn expire(&self, groups: &Groups, now: Now) {
        let mut inner = self.lock();
        let (machine, out) = inner.machine(groups);
        machine.expire(now, out);
        let (_, ready) = inner.settle(groups, now, None);
        self.unlock(groups, inner, ready);
    }

    pub(super) fn disconnect(&self, groups: &Groups, ticket: Ticket) {
        let now = groups.node.clock.now();
        let mut inner = self.lock();
        // Nobody waits any more if the shard was closed or lost its journal.
        if inner.waiting.remove(&ticket).is_none() {
            return;
        }
        inner.release.forget(ticket);
        let (machine, out) = inner.machine(groups);
        machine.handle(now, ticket, Command::Disconnect, out);
        let (_, ready) = inner.settle(groups, now, None);
        self.unlock(groups, inner, ready);
    }

    fn unlock(&self, groups: &Groups, inner: MutexGuard<'_, Inner>, ready: Ready) {
        let deadline_ms = inner.machine.next_deadline();
        self.deadline_ms
            .store(deadline_ms.unwrap_or(NEVER_MS), SeqCst);
        drop(inner);
        for (sender, reply) in ready {
            // Whoever waited may have hung up in this moment.
            let _gone = sender.send(reply);
        }
        groups.arm(deadline_ms);
    }
}

impl Inner {
    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Writes what the machine wants written and sorts out who may be answered.
    fn settle(&mut self, groups: &Groups, now: Now, own: Option<Ticket>) -> (Option<Reply>, Ready) {
        self.write(now);
        // A failed write can take others with it, and what follows from their fate has to be written in turn.
        while self.learn(now) {
            self.write(now);
        }
        self.tell(groups, now);
        self.compact(now);
        let (mut answer, mut ready) = (None, Vec::new());
        while let Some((ticket, reply)) = self.release.pop() {
            if Some(ticket) == own {
                answer = Some(reply);
            } else if let Some(sender) = self.waiting.remove(&ticket) {
                ready.push((sender, reply));
            }
        }
        (answer, ready)
    }

    fn write(&mut self, now: Now) {
        loop {
            self.release.hold(self.out.replies.drain(..));
            if self.out.entries.is_empty() {
                return;
            }
            for entry in std::mem::take(&mut self.out.entries) {
                let written = match &mut self.journal {
                    Some(journal) => journal.append(&entry.records, now),
                    None => Err(ErrorCode::NotCoordinator),
                };
                let (position, group) = (entry.position, entry.group);
                match written {
                    Ok(Durability::Done) => self.settled(now, position, &group, Ok(())),
                    Ok(Durability::At(at)) => self.open.push_back(Open {
                        at,
                        position,
                        group,
                    }),
                    Err(code) => self.settled(now, position, &group, Err(code)),
                }
            }
        }
    }

    /// Takes note of what the journal has learnt about open entries; whether that was anything.
    fn learn(&mut self, now: Now) -> bool {
        let Some(journal) = &self.journal else {
            return false;
        };
        let mut known = Vec::new();
        self.open.retain(|open| {
            let fate = journal.fate(open.at);
            if fate != Fate::Pending {
                known.push((open.position, open.group.clone(), fate));
            }
            fate == Fate::Pending
        });
        let learnt = !known.is_empty();
        for (position, group, fate) in known {
            let result = match fate {
                Fate::Failed => Err(ErrorCode::KafkaStorageError),
                Fate::Durable | Fate::Pending => Ok(()),
            };
            self.settled(now, position, &group, result);
        }
        learnt
    }

    /// An entry's fate is known: it concerns its group alone.
    fn settled(&mut self, now: Now, position: u64, group: &Name, result: Result<(), ErrorCode>) {
        self.machine.committed(now, position, result, &mut self.out);
        self.release.hold(self.out.replies.drain(..));
        match result {
            Ok(()) => self.release.durable(position),
            Err(_) => self.release.failed(position, group),
        }
    }

    fn compact(&mut self, now: Now) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        journal.finish_compaction();
        if journal.wants_compaction()
            && self.machine.is_settled()
            && let Err(code) = journal.compact(&mut self.machine.live_records(), now)
        {
            tracing::warn!(
                target: "rustka::groups",
                "cannot compact a journal of consumer groups: {}",
                code.name()
            );
        }
    }

    /// The machine and where it writes, with as much news as somebody wants to hear.
    fn machine(&mut self, groups: &Groups) -> (&mut Machine, &mut Effects) {
        self.out.observed = news::is_wanted(groups);
        (&mut self.machine, &mut self.out)
    }

    fn tell(&mut self, groups: &Groups, now: Now) {
        for event in self.out.events.drain(..) {
            news::tell(groups, &event, now);
        }
    }
}

/// Wakes the task of the groups when a journal has news. It may be called by a write that a shard is in the middle of,
/// so it takes no lock.
struct Teller {
    groups: Weak<Groups>,
    at: usize,
}

impl Teller {
    fn tell(&self) {
        if let Some(groups) = self.groups.upgrade() {
            groups.journal_told(self.at);
        }
    }
}

impl Observer for Teller {
    fn durable(&self, _: i64) {
        self.tell();
    }

    fn failed(&self, _: i64) {
        self.tell();
    }
}
