//! One group shard: a machine and its journal under one lock, and the requests that wait for it.

use super::journal::Journal;
use super::{NEVER_MS, journal_partition};
use crate::broker::Shared;
use crate::request::{Outcome, Respond};
use rustka_core::group::command::{Command, Ticket};
use rustka_core::group::effects::{Effects, Event, Reply};
use rustka_core::group::{Options, Release, Shard as Machine};
use rustka_core::time::Now;
use rustka_wire::codec::Writer;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// How a command is answered.
pub enum Answer {
    /// Now.
    Now(Reply),
    /// When the group is ready.
    Later(Waiting),
    /// Not here: the shard has no journal or the broker stops. The client looks for its coordinator again.
    Never,
}

impl Answer {
    async fn get(self) -> Option<Reply> {
        match self {
            Answer::Now(reply) => Some(reply),
            Answer::Later(waiting) => waiting.await,
            Answer::Never => None,
        }
    }
}

/// Answers a request of one part. `None` is for NOT_COORDINATOR.
pub fn respond(
    respond: Respond,
    answer: Answer,
    encode: impl FnOnce(Option<Reply>, &mut Writer, i16) + Send + 'static,
) -> Outcome {
    let version = respond.version();
    let finish = move |reply| Outcome::Reply(respond.encode(&[], |w| encode(reply, w, version)));
    match answer {
        Answer::Now(reply) => finish(Some(reply)),
        Answer::Never => finish(None),
        Answer::Later(waiting) => Outcome::Park(Box::pin(async move { finish(waiting.await) })),
    }
}

/// Answers a request of many parts once all are here, in the order of `answers`.
pub fn respond_all(
    respond: Respond,
    answers: Vec<Answer>,
    encode: impl FnOnce(Vec<Option<Reply>>, &mut Writer, i16) + Send + 'static,
) -> Outcome {
    let version = respond.version();
    let finish =
        move |replies| Outcome::Reply(respond.encode(&[], |w| encode(replies, w, version)));
    let is_later = |answer: &Answer| matches!(answer, Answer::Later(_));
    if answers.iter().any(is_later) {
        return Outcome::Park(Box::pin(async move {
            let mut replies = Vec::with_capacity(answers.len());
            for answer in answers {
                replies.push(answer.get().await);
            }
            finish(replies)
        }));
    }
    let replies = answers.into_iter().map(|answer| match answer {
        Answer::Now(reply) => Some(reply),
        Answer::Later(_) | Answer::Never => None,
    });
    finish(replies.collect())
}

/// A request that waits in its group. Resolves to `None` when the coordinator goes away; dropping it tells the group
/// that its client hung up.
pub struct Waiting {
    reply: oneshot::Receiver<Reply>,
    shared: Arc<Shared>,
    at: usize,
    ticket: Option<Ticket>,
}

impl Future for Waiting {
    type Output = Option<Reply>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let reply = Pin::new(&mut self.reply).poll(cx);
        if reply.is_ready() {
            self.ticket = None;
        }
        reply.map(Result::ok)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && let Some(shards) = self.shared.groups.shards.get()
            && let Some(shard) = shards.get(self.at)
        {
            shard.disconnect(&self.shared, ticket);
        }
    }
}

/// Answers whose requests wait, to be sent once the shard is unlocked.
type Ready = Vec<(oneshot::Sender<Reply>, Reply)>;

struct Inner {
    machine: Machine,
    journal: Option<Journal>,
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
    deadline_ms: AtomicI64,
}

impl Shard {
    /// A shard that knows no groups and has no journal yet.
    pub fn new(options: &Options) -> Shard {
        let inner = Inner {
            machine: Machine::new(options.clone()),
            journal: None,
            out: Effects {
                observed: true,
                ..Effects::default()
            },
            release: Release::default(),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            closed: false,
        };
        Shard {
            inner: Mutex::new(inner),
            attached: AtomicBool::new(false),
            deadline_ms: AtomicI64::new(NEVER_MS),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When something is due next.
    pub fn deadline_ms(&self) -> i64 {
        self.deadline_ms.load(SeqCst)
    }

    /// Gives the shard its journal. May lock the catalog, so not while the caller does.
    pub fn attach(&self, shared: &Shared, at: usize) {
        if self.attached.load(SeqCst) {
            return;
        }
        let Some(partition) = journal_partition(shared, at) else {
            return;
        };
        let mut inner = self.lock();
        if inner.journal.is_none() {
            inner.journal = Some(Journal::new(&shared.memory, partition));
            self.attached.store(true, SeqCst);
        }
    }

    /// The journal's topic is deleted: all groups are gone.
    pub fn detach(&self, options: &Options) {
        let waiting = {
            let mut inner = self.lock();
            inner.machine = Machine::new(options.clone());
            inner.release = Release::default();
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

    /// One command.
    pub fn call(&self, shared: &Arc<Shared>, at: usize, command: Command) -> Answer {
        self.attach(shared, at);
        let now = shared.clock.now();
        let mut inner = self.lock();
        let ticket = inner.next_ticket();
        let Inner { machine, out, .. } = &mut *inner;
        machine.handle(now, ticket, command, out);
        self.answer(shared, at, inner, now, ticket)
    }

    fn answer(
        &self,
        shared: &Arc<Shared>,
        at: usize,
        mut inner: MutexGuard<'_, Inner>,
        now: Now,
        ticket: Ticket,
    ) -> Answer {
        let (own, ready) = inner.settle(now, Some(ticket));
        let answer = match own {
            Some(reply) => Answer::Now(reply),
            None if inner.closed || inner.journal.is_none() => Answer::Never,
            None => {
                let (sender, reply) = oneshot::channel();
                inner.waiting.insert(ticket, sender);
                Answer::Later(Waiting {
                    reply,
                    shared: shared.clone(),
                    at,
                    ticket: Some(ticket),
                })
            }
        };
        self.unlock(shared, inner, ready);
        answer
    }

    /// A heartbeat.
    pub fn heartbeat(
        &self,
        shared: &Arc<Shared>,
        at: usize,
        group: &str,
        member: (&str, Option<&str>, i32),
    ) -> Answer {
        self.attach(shared, at);
        let now = shared.clock.now();
        let mut inner = self.lock();
        let ticket = inner.next_ticket();
        let Inner { machine, out, .. } = &mut *inner;
        machine.heartbeat(now, ticket, group, member, out);
        self.answer(shared, at, inner, now, ticket)
    }

    /// Does what is due.
    pub fn expire(&self, shared: &Shared, now: Now) {
        let mut inner = self.lock();
        let Inner { machine, out, .. } = &mut *inner;
        machine.expire(now, out);
        let (_, ready) = inner.settle(now, None);
        self.unlock(shared, inner, ready);
    }

    fn disconnect(&self, shared: &Shared, ticket: Ticket) {
        let now = shared.clock.now();
        let mut inner = self.lock();
        // Nobody waits any more if the shard was closed or lost its journal.
        if inner.waiting.remove(&ticket).is_none() {
            return;
        }
        inner.release.forget(ticket);
        let Inner { machine, out, .. } = &mut *inner;
        machine.handle(now, ticket, Command::Disconnect, out);
        let (_, ready) = inner.settle(now, None);
        self.unlock(shared, inner, ready);
    }

    fn unlock(&self, shared: &Shared, inner: MutexGuard<'_, Inner>, ready: Ready) {
        let deadline_ms = inner.machine.next_deadline();
        self.deadline_ms
            .store(deadline_ms.unwrap_or(NEVER_MS), SeqCst);
        drop(inner);
        for (sender, reply) in ready {
            // Whoever waited may have hung up in this moment.
            let _gone = sender.send(reply);
        }
        shared.groups.arm(deadline_ms);
    }
}

impl Inner {
    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Writes what the machine wants written and sorts out who may be answered.
    fn settle(&mut self, now: Now, own: Option<Ticket>) -> (Option<Reply>, Ready) {
        loop {
            self.release.hold(self.out.replies.drain(..));
            if self.out.entries.is_empty() {
                break;
            }
            for entry in std::mem::take(&mut self.out.entries) {
                let result = match &mut self.journal {
                    Some(journal) => journal.append(&entry.records, now),
                    None => Err(rustka_core::error::ErrorCode::NotCoordinator),
                };
                self.machine
                    .committed(now, entry.position, result, &mut self.out);
                self.release.hold(self.out.replies.drain(..));
                match result {
                    Ok(()) => self.release.durable(entry.position),
                    Err(_) => self.release.failed(entry.position, &entry.group),
                }
            }
        }
        self.tell();
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

    fn compact(&mut self, now: Now) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        if journal.wants_compaction()
            && self.machine.is_settled()
            && let Err(code) = journal.compact(self.machine.live_records(), now)
        {
            tracing::warn!(
                "cannot compact a journal of consumer groups: {}",
                code.name()
            );
        }
    }

    fn tell(&mut self) {
        for event in self.out.events.drain(..) {
            match event {
                Event::Refused {
                    group,
                    client_host,
                    code,
                    limit,
                } => tracing::debug!(
                    "group {group:?}: {} for {client_host}, see {limit}",
                    code.name()
                ),
                Event::RolledBack { group } => {
                    tracing::error!("group {group:?}: a record could not be written");
                }
                Event::Rebalance { group, cause } => {
                    tracing::debug!("group {group:?} rebalances: {cause:?}");
                }
                Event::State {
                    group,
                    state,
                    generation,
                } => tracing::debug!("group {group:?} is {} at {generation}", state.name()),
                Event::MemberGone {
                    group,
                    member,
                    cause,
                } => tracing::debug!("group {group:?}: {member} is gone: {cause:?}"),
            }
        }
    }
}
