//! One shard: a machine and its journal under one lock, and the requests that wait for it. The same for every kind of
//! machine; what surrounds one kind is its `Host`.

use super::answer::{Answer, Waiting};
use super::journal::Writes;
use rustka_core::error::ErrorCode;
use rustka_core::machine::{Effects, Entry, Machine, Release, Ticket};
use rustka_core::sync::{Guard, lock_at};
use rustka_core::time::Now;
use rustka_storage::Durability;
use rustka_storage::partition::{DurabilityObserver, Fate};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::oneshot;

/// No deadline.
pub const NEVER_MS: i64 = i64::MAX;

/// What surrounds the shards of one kind: their journals, the time, and who hears their news.
pub trait Host<M: Machine>: Send + Sync {
    /// The time.
    fn now(&self) -> Now;

    /// The shard with this number.
    fn shard(&self, at: usize) -> Option<&Shard<M>>;

    /// The journal of a shard that has none. It tells `teller` what becomes of its writes. Called without a lock.
    fn open_journal(&self, at: usize, teller: Arc<Teller<M>>)
    -> Option<Box<dyn Writes<M::Record>>>;

    /// A machine that remembers nothing yet, to begin anew with after a panic.
    fn blank(&self) -> M;

    /// The machine has decided and nothing is written yet. The place for faults.
    fn decided(&self) {}

    /// A panic left the machine half changed; in its place is one made from its journal, or nobody is served while
    /// that cannot be done. Called without a lock.
    fn rebuilt(&self, result: Result<(), ErrorCode>);

    /// The machine is about to decide something: what it has to know of the rest of the broker.
    fn prepare(&self, _machine: &mut M) {}

    /// Whether anybody wants to hear all news.
    fn is_observed(&self) -> bool;

    /// News of a shard, which is locked.
    fn tell(&self, event: M::Event, now: Now);

    /// A shard is about to be unlocked: what follows from the news that it told meanwhile, to be done once it is and
    /// before anybody is answered.
    fn unlocking(&self) -> Option<Box<dyn FnOnce() + '_>> {
        None
    }

    /// A shard was unlocked: news can be passed on.
    fn unlocked(&self) {}

    /// A shard's journal has news, or its next deadline is this one.
    fn wake(&self, deadline_ms: Option<i64>);
}

/// Answers whose requests wait, to be sent once the shard is unlocked.
type Ready<M> = Vec<(oneshot::Sender<Reply<M>>, Reply<M>)>;
type Reply<M> = <M as Machine>::Reply;

/// An entry whose fate the journal does not know yet.
pub(super) struct Open<M: Machine> {
    /// Where the journal has it.
    pub(super) at: i64,
    /// What the machine calls it.
    position: u64,
    owner: M::Owner,
}

pub(super) struct Inner<M: Machine> {
    pub(super) machine: M,
    pub(super) journal: Option<Box<dyn Writes<M::Record>>>,
    pub(super) unwritten: VecDeque<Entry<M>>,
    /// Entries that are written and not yet durable.
    pub(super) open: VecDeque<Open<M>>,
    /// Where the journal has entries that an earlier machine wrote and that are not yet durable.
    pub(super) inherited: Vec<i64>,
    pub(super) out: Effects<M>,
    pub(super) release: Release<M>,
    pub(super) waiting: BTreeMap<Ticket, oneshot::Sender<Reply<M>>>,
    last_ticket: u64,
    /// Another node leads the journal's partition, or did until now.
    pub(super) was_away: bool,
    /// The journal is damaged.
    pub(super) is_unreadable: bool,
    closed: bool,
}

/// A machine with its journal.
pub struct Shard<M: Machine> {
    pub(super) inner: Mutex<Inner<M>>,
    /// Whether there is a journal.
    attached: AtomicBool,
    /// Whether the journal has news about durability.
    told: AtomicBool,
    pub(super) deadline_ms: AtomicI64,
}

impl<M: Machine> Shard<M> {
    /// A shard without a journal yet.
    pub fn new(machine: M) -> Shard<M> {
        let inner = Inner {
            machine,
            journal: None,
            unwritten: VecDeque::new(),
            open: VecDeque::new(),
            inherited: Vec::new(),
            out: Effects::default(),
            release: Release::default(),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            was_away: false,
            is_unreadable: false,
            closed: false,
        };
        Shard {
            inner: Mutex::new(inner),
            attached: AtomicBool::new(false),
            told: AtomicBool::new(false),
            deadline_ms: AtomicI64::new(NEVER_MS),
        }
    }

    /// Looks at the machine, to count what it holds.
    pub fn look<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&lock_at(M::RANK, &self.inner).machine)
    }

    /// When something is due next.
    pub fn deadline_ms(&self) -> i64 {
        self.deadline_ms.load(SeqCst)
    }

    /// Whether something in it is due, or its journal has news.
    pub fn is_due(&self, now: Now) -> bool {
        self.told.swap(false, SeqCst) || self.deadline_ms() <= now.monotonic_ms
    }

    /// The journal has news about durability.
    pub fn journal_told(&self) {
        self.told.store(true, SeqCst);
    }

    /// Gives the shard a journal if it has none.
    pub fn write_to(&self, journal: Box<dyn Writes<M::Record>>) {
        let mut inner = lock_at(M::RANK, &self.inner);
        if inner.journal.is_none() {
            inner.journal = Some(journal);
            self.attached.store(true, SeqCst);
        }
    }

    /// The journal is gone, and with it all that `clear` makes the machine forget.
    pub fn detach(&self, clear: impl FnOnce(&mut M)) {
        let waiting = {
            let mut inner = lock_at(M::RANK, &self.inner);
            clear(&mut inner.machine);
            inner.release = Release::default();
            inner.unwritten.clear();
            inner.open.clear();
            inner.inherited.clear();
            inner.journal = None;
            inner.is_unreadable = false;
            // What a panic has left behind is gone as well.
            self.inner.clear_poison();
            self.attached.store(false, SeqCst);
            self.deadline_ms.store(NEVER_MS, SeqCst);
            std::mem::take(&mut inner.waiting)
        };
        drop(waiting);
    }

    /// The broker stops: whoever waits is sent away, and nobody waits any more.
    pub fn close(&self) {
        let waiting = {
            let mut inner = lock_at(M::RANK, &self.inner);
            inner.closed = true;
            std::mem::take(&mut inner.waiting)
        };
        drop(waiting);
    }

    /// Everything on record is applied and the machine begins. Takes as long as the journal is; while it cannot be read
    /// nobody is served.
    pub fn load(&self, host: &dyn Host<M>) -> Result<(), ErrorCode> {
        let now = host.now();
        let mut inner = lock_at(M::RANK, &self.inner);
        let Inner {
            machine, journal, ..
        } = &mut *inner;
        if let Some(journal) = journal {
            journal.replay(now, &mut |record| machine.apply(record))?;
        }
        let (machine, out) = inner.machine(host);
        machine.loaded(now, out);
        let (_, ready) = inner.settle(host, now, None);
        self.unlock(host, inner, ready);
        Ok(())
    }

    /// What the journal says cannot be read: nobody is served here until the broker starts again.
    pub fn give_up(&self, host: &dyn Host<M>) {
        let mut inner = lock_at(M::RANK, &self.inner);
        // It knows only a part of what it should.
        inner.machine = host.blank();
        inner.is_unreadable = true;
    }

    /// Whether it knows all that was on record.
    pub fn is_readable(&self) -> bool {
        !lock_at(M::RANK, &self.inner).is_unreadable
    }

    /// Another node may lead the journal's partition now, or does so no more. While another one does, nobody is served
    /// here and nothing expires.
    pub fn led(&self, host: &dyn Host<M>) {
        let now = host.now();
        // Whoever comes back reads its journal again on the way.
        let Some(mut inner) = self.lock(host, now) else {
            return;
        };
        if inner.is_led_here() {
            return;
        }
        inner.was_away = true;
        self.deadline_ms.store(NEVER_MS, SeqCst);
        let sent_away = std::mem::take(&mut inner.waiting);
        drop(inner);
        drop(sent_away);
    }

    /// Does what is due.
    pub fn expire(&self, host: &dyn Host<M>, now: Now) {
        let Some(mut inner) = self.lock(host, now) else {
            return;
        };
        if !inner.is_led_here() {
            return;
        }
        let (machine, out) = inner.machine(host);
        machine.expire(now, out);
        host.decided();
        let (_, ready) = inner.settle(host, now, None);
        self.unlock(host, inner, ready);
    }

    /// Writes the journal down anew where it holds much more than the machine does.
    pub fn shorten(&self, host: &dyn Host<M>) {
        let now = host.now();
        let Some(mut inner) = self.lock(host, now) else {
            return;
        };
        if !inner.is_led_here() {
            return;
        }
        let (_, ready) = inner.settle(host, now, None);
        inner.write_anew_if(now, |journal| journal.may_be_halved());
        self.unlock(host, inner, ready);
    }

    /// What the machine can say at once and without deciding anything; `None` also where nobody is served.
    pub fn glance<T>(
        &self,
        host: &dyn Host<M>,
        glance: impl FnOnce(&mut M, Now) -> Option<T>,
    ) -> Option<T> {
        let now = host.now();
        let mut inner = self.lock(host, now)?;
        match inner.closed || inner.journal.is_none() {
            true => None,
            false => glance(&mut inner.machine, now),
        }
    }

    /// A waiting request's client hung up.
    pub fn disconnect(&self, host: &dyn Host<M>, ticket: Ticket) {
        let now = host.now();
        let Some(mut inner) = self.lock(host, now) else {
            return;
        };
        // Nobody waits any more if the shard was closed or lost its journal.
        if inner.waiting.remove(&ticket).is_none() {
            return;
        }
        inner.machine.disconnect(ticket);
        let (_, ready) = inner.settle(host, now, None);
        self.unlock(host, inner, ready);
    }

    pub(super) fn unlock(&self, host: &dyn Host<M>, inner: Guard<'_, Inner<M>>, ready: Ready<M>) {
        let deadline_ms = inner.machine.next_deadline();
        self.deadline_ms
            .store(deadline_ms.unwrap_or(NEVER_MS), SeqCst);
        let after = host.unlocking();
        drop(inner);
        if let Some(after) = after {
            after();
        }
        host.unlocked();
        for (sender, reply) in ready {
            // Whoever waited may have hung up in this moment.
            let _gone = sender.send(reply);
        }
        host.wake(deadline_ms);
    }
}

impl<M: Machine + 'static> Shard<M> {
    /// One command.
    pub fn call<H>(&self, host: &Arc<H>, at: usize, command: M::Command) -> Answer<M>
    where
        H: Host<M> + 'static,
    {
        self.attach(host, at);
        self.decide(host, at, |machine, now, ticket, out| {
            machine.handle(now, ticket, command, out);
            None
        })
    }

    /// Whatever `decide` asks of the machine. It may have the answer at once, which then rests on nothing.
    pub fn decide<H>(
        &self,
        host: &Arc<H>,
        at: usize,
        decide: impl FnOnce(&mut M, Now, Ticket, &mut Effects<M>) -> Option<Reply<M>>,
    ) -> Answer<M>
    where
        H: Host<M> + 'static,
    {
        let now = host.now();
        let Some(mut inner) = self.lock(&**host, now) else {
            return Answer::Never;
        };
        if !inner.is_led_here() {
            return Answer::Never;
        }
        let ticket = inner.next_ticket();
        let (machine, out) = inner.machine(&**host);
        if let Some(reply) = decide(machine, now, ticket, out) {
            return Answer::Now(reply);
        }
        host.decided();
        let (own, ready) = inner.settle(&**host, now, Some(ticket));
        let answer = match own {
            Some(reply) => Answer::Now(reply),
            None if inner.closed || inner.journal.is_none() => Answer::Never,
            None => {
                let (sender, reply) = oneshot::channel();
                inner.waiting.insert(ticket, sender);
                Answer::Later(Waiting::new(reply, host.clone(), at, ticket))
            }
        };
        self.unlock(&**host, inner, ready);
        answer
    }

    /// Gives the shard its journal.
    pub fn attach<H>(&self, host: &Arc<H>, at: usize)
    where
        H: Host<M> + 'static,
    {
        if self.attached.load(SeqCst) {
            return;
        }
        let host: Arc<dyn Host<M>> = host.clone();
        let teller = Arc::new(Teller {
            host: Arc::downgrade(&host),
            at,
        });
        if let Some(journal) = host.open_journal(at, teller) {
            self.write_to(journal);
        }
    }
}

impl<M: Machine> Inner<M> {
    pub(super) fn is_led_here(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_none_or(|journal| journal.is_led_here())
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Writes what the machine wants written and sorts out who may be answered.
    pub(super) fn settle(
        &mut self,
        host: &dyn Host<M>,
        now: Now,
        own: Option<Ticket>,
    ) -> (Option<Reply<M>>, Ready<M>) {
        self.write(now);
        // A failed write can take others with it, and what follows from their fate has to be written in turn.
        while self.learn(now) {
            self.write(now);
        }
        for event in self.out.events.drain(..) {
            host.tell(event, now);
        }
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
        self.unwritten.extend(self.release.take(&mut self.out));
        while let Some(entry) = self.unwritten.pop_front() {
            let written = match &mut self.journal {
                Some(journal) => journal.append(&entry.records, now),
                None => Err(ErrorCode::NotCoordinator),
            };
            let (position, owner) = (entry.position, entry.owner);
            match written {
                Ok(Durability::Done) => self.settled(now, position, &owner, Ok(())),
                Ok(Durability::At(at)) => self.open.push_back(Open {
                    at,
                    position,
                    owner,
                }),
                Err(code) => self.settled(now, position, &owner, Err(code)),
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
                known.push((open.position, open.owner.clone(), fate));
            }
            fate == Fate::Pending
        });
        let learnt = !known.is_empty();
        for (position, owner, fate) in known {
            let result = match fate {
                Fate::Failed => Err(ErrorCode::KafkaStorageError),
                Fate::Durable | Fate::Pending => Ok(()),
            };
            self.settled(now, position, &owner, result);
        }
        learnt
    }

    /// An entry's fate is known: it concerns its owner alone.
    fn settled(
        &mut self,
        now: Now,
        position: u64,
        owner: &M::Owner,
        result: Result<(), ErrorCode>,
    ) {
        self.machine.committed(now, position, result, &mut self.out);
        self.unwritten.extend(self.release.take(&mut self.out));
        match result {
            Ok(()) => self.release.durable(position, owner),
            Err(_) => self.release.failed(position, owner),
        }
    }

    fn compact(&mut self, now: Now) {
        if let Some(journal) = &mut self.journal {
            journal.finish_compaction(now);
        }
        self.write_anew_if(now, |journal| journal.wants_compaction());
    }

    /// Writes the journal down anew where this is so, once all that the machine says is durable.
    fn write_anew_if(&mut self, now: Now, is_wanted: impl FnOnce(&dyn Writes<M::Record>) -> bool) {
        if let Some(journal) = &mut self.journal
            && is_wanted(&**journal)
            && self.machine.is_settled()
        {
            journal.compact(&mut self.machine.live(), now);
        }
    }

    /// The machine and where it writes, with as much news as somebody wants to hear.
    pub(super) fn machine(&mut self, host: &dyn Host<M>) -> (&mut M, &mut Effects<M>) {
        host.prepare(&mut self.machine);
        self.out.observed = host.is_observed();
        (&mut self.machine, &mut self.out)
    }
}

/// Wakes the host's task when a journal has news. It may be called by a write that a shard is in the middle of, so it
/// takes no lock.
pub struct Teller<M: Machine> {
    host: Weak<dyn Host<M>>,
    at: usize,
}

impl<M: Machine> Teller<M> {
    fn tell(&self) {
        if let Some(host) = self.host.upgrade()
            && let Some(shard) = host.shard(self.at)
        {
            shard.journal_told();
            host.wake(Some(i64::MIN));
        }
    }
}

impl<M: Machine> DurabilityObserver for Teller<M> {
    fn durable(&self, _: i64) {
        self.tell();
    }

    fn failed(&self, _: i64) {
        self.tell();
    }
}
