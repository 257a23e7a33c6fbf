//! What happens after an append that was not durable at once: the engine reports, those who wait are told.

use super::{Inner, Partition};
use crate::engine::Stored;
use crate::waiters::{Fulfilled, Waiter};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;

/// How safe a write is to be before somebody is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// Handed to where it will lie: what acks=1 asks for.
    Written,
    /// As durable as it gets: what acks=all asks for, and consumers see.
    Durable,
}

/// What became of a write at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not known yet.
    Pending,
    /// It is as safe as was asked.
    Durable,
    /// It is lost, like everything behind it.
    Failed,
}

/// Is told what becomes of a partition's writes, for journals. Called without any lock held, from any thread, and
/// perhaps late or twice: what it is told is true, but [`Partition::fate`] may know more already.
pub trait DurabilityObserver: Send + Sync {
    /// Everything below `position` is durable.
    fn durable(&self, position: i64);

    /// Everything from `position` on is lost and the partition takes no more: a failed write, deletion, a panic.
    fn failed(&self, position: i64);
}

/// What was admitted and is not durable.
#[derive(Default)]
pub(super) struct Unsettled {
    /// Everything below is written.
    written: i64,
    /// Where each batch ends, and its bytes, which those who wait for data do not count yet.
    batches: VecDeque<(i64, u64)>,
}

/// Who wants to know about durability. Most partitions never have one.
#[derive(Default)]
pub(super) struct Awaited {
    written: Writers,
    durable: Writers,
    pub(super) observer: Option<Arc<dyn DurabilityObserver>>,
}

impl Awaited {
    fn writers(&mut self, safety: Safety) -> &mut Writers {
        match safety {
            Safety::Written => &mut self.written,
            Safety::Durable => &mut self.durable,
        }
    }
}

/// Those who wait, by the position that each waits for, so that they leave from the front.
#[derive(Default)]
struct Writers(BTreeMap<(i64, Ticket), Arc<Waiter>>);

/// Tells those apart who wait for the same position: where the waiter lies.
type Ticket = usize;

fn ticket(waiter: &Arc<Waiter>) -> Ticket {
    Arc::as_ptr(waiter).addr()
}

impl Writers {
    fn add(&mut self, position: i64, waiter: &Arc<Waiter>) {
        self.0.insert((position, ticket(waiter)), waiter.clone());
    }

    fn remove(&mut self, position: i64, waiter: &Arc<Waiter>) {
        self.0.remove(&(position, ticket(waiter)));
    }

    /// Moves those who wait for `position` or less to those who are told.
    fn tell(&mut self, position: i64, told: &mut Vec<Arc<Waiter>>) {
        while let Some(first) = self.0.first_entry()
            && first.key().0 <= position
        {
            told.push(first.remove());
        }
    }
}

/// Who is to be told, once the partition is unlocked.
#[derive(Default)]
pub(super) struct Told {
    writers: Vec<Arc<Waiter>>,
    readers: Fulfilled,
    observer: Option<(Arc<dyn DurabilityObserver>, Fate, i64)>,
}

impl Told {
    /// Who is told besides those who wait.
    pub fn observer(&self) -> Option<Arc<dyn DurabilityObserver>> {
        let (observer, ..) = self.observer.as_ref()?;
        Some(observer.clone())
    }

    pub fn call(self) {
        for writer in self.writers {
            writer.fire();
        }
        self.readers.tell();
        match self.observer {
            Some((observer, Fate::Failed, position)) => observer.failed(position),
            Some((observer, _, position)) => observer.durable(position),
            None => {}
        }
    }
}

impl Partition {
    /// The engine's report: everything below `position` is written. A report that comes late changes nothing.
    pub fn written_up_to(&self, position: i64) {
        let told = {
            let mut inner = self.lock();
            if position <= inner.reached(Safety::Written)
                || inner.deleted
                || inner.is_lost(position)
            {
                return;
            }
            if let Some(unsettled) = &mut inner.unsettled {
                unsettled.written = position;
            }
            inner.assert_watch();
            if inner.log.keeps_copies() && std::mem::take(&mut inner.passed_over) {
                inner.keep_evictable();
            }
            inner.tell(Safety::Written)
        };
        told.call();
    }

    /// The engine's report: everything below `position` is durable, and may be seen. A report that comes late changes
    /// nothing.
    pub fn durable_up_to(&self, position: i64) {
        let told = {
            let mut inner = self.lock();
            if position <= inner.durable || inner.deleted || inner.is_lost(position) {
                return;
            }
            let readers = inner.settle(position, 0);
            if std::mem::take(&mut inner.passed_over) {
                inner.keep_evictable();
            }
            Told {
                readers,
                ..inner.tell(Safety::Durable)
            }
        };
        told.call();
    }

    /// The engine's report: the write at `offset` failed for good. It and what was admitted after it are lost, the
    /// partition takes no more, and what was durable before stays readable.
    pub fn write_failed(&self, offset: i64) {
        self.fail(offset, false);
    }

    /// The same for a fault on purpose, which may also take what the engine called durable.
    pub fn lose_writes(&self, offset: i64) {
        self.fail(offset, true);
    }

    fn fail(&self, offset: i64, durable_too: bool) {
        let (is_news, woken, told) = {
            let mut inner = self.lock();
            let is_news = inner.state.failed_from.is_none();
            if durable_too {
                inner.durable = inner.durable.min(offset);
            }
            let from = offset.max(inner.durable);
            let durable = inner.durable;
            inner.unsettled = None;
            inner.state.settle(durable);
            inner.state.fail_from(from);
            inner.assert_watch();
            (is_news, inner.waiters.all(), inner.take_awaited())
        };
        // Clients go on trying.
        if is_news {
            tracing::error!(
                target: "rustka::storage",
                "partition {} of topic {} is read-only: its write at offset {offset} failed",
                self.index,
                self.topic_id
            );
        }
        woken.iter().for_each(|waiter| waiter.fire());
        told.call();
    }

    /// What is known of the durability of the write that ends at `position`.
    pub fn fate(&self, position: i64) -> Fate {
        self.fate_of(position, Safety::Durable)
    }

    /// What is known of the write that ends at `position`.
    pub fn fate_of(&self, position: i64, safety: Safety) -> Fate {
        self.lock().fate(position, safety)
    }

    /// Fires `waiter` once the fate of the write at `position` is known, perhaps at once.
    pub fn await_write(&self, position: i64, safety: Safety, waiter: &Arc<Waiter>) {
        let known = {
            let mut inner = self.lock();
            let known = inner.fate(position, safety) != Fate::Pending;
            if !known {
                let awaited = inner.awaited.get_or_insert_default();
                awaited.writers(safety).add(position, waiter);
                if safety == Safety::Written {
                    inner.log.hurry();
                }
            }
            known
        };
        if known {
            waiter.fire();
        }
    }

    /// Takes off who waits for this position with this waiter.
    pub fn forget_write(&self, position: i64, safety: Safety, waiter: &Arc<Waiter>) {
        if let Some(awaited) = &mut self.lock().awaited {
            awaited.writers(safety).remove(position, waiter);
        }
    }

    /// Has `observer` told of all writes from here on; there is one at a time.
    pub fn observe(&self, observer: Arc<dyn DurabilityObserver>) {
        self.lock().awaited.get_or_insert_default().observer = Some(observer);
    }
}

impl Inner {
    fn is_lost(&self, position: i64) -> bool {
        self.state
            .failed_from
            .is_some_and(|failed| position > failed)
    }

    /// Up to where writes are so safe.
    pub(super) fn reached(&self, safety: Safety) -> i64 {
        match (safety, &self.unsettled) {
            (Safety::Written, Some(unsettled)) => unsettled.written.max(self.durable),
            _ => self.durable,
        }
    }

    pub(super) fn assert_watch(&self) {
        let written = self.reached(Safety::Written);
        self.state.assert_watch(self.durable, written);
    }

    fn fate(&self, position: i64, safety: Safety) -> Fate {
        if position <= self.durable {
            return Fate::Durable;
        }
        if self.is_lost(position) || self.offline || self.deleted {
            return Fate::Failed;
        }
        match position <= self.reached(safety) {
            true => Fate::Durable,
            false => Fate::Pending,
        }
    }

    /// Notes how safe a new batch is; who has enough to read with it.
    pub(super) fn stored(&mut self, stored: Stored, next_offset: i64, bytes: u64) -> Fulfilled {
        if stored == Stored::Durable {
            return self.settle(next_offset, bytes);
        }
        self.state.settle(self.durable);
        let unsettled = self.unsettled.get_or_insert_default();
        unsettled.batches.push_back((next_offset, bytes));
        if stored == Stored::Written {
            unsettled.written = next_offset;
        }
        self.assert_watch();
        Fulfilled::default()
    }

    /// Everything below `position` is durable from now on, among it so many bytes that were never unsettled; who has
    /// enough to read with it.
    fn settle(&mut self, position: i64, mut bytes: u64) -> Fulfilled {
        self.durable = position;
        self.state.settle(position);
        if let Some(unsettled) = &mut self.unsettled {
            while let Some((_, more)) = unsettled.batches.pop_front_if(|(end, _)| *end <= position)
            {
                bytes += more;
            }
            if unsettled.batches.is_empty() {
                self.unsettled = None;
            }
        }
        self.assert_watch();
        self.waiters.appended(bytes)
    }

    /// Who is told that writes are so safe, up to where they are.
    pub(super) fn tell(&mut self, safety: Safety) -> Told {
        let (written, durable) = (self.reached(Safety::Written), self.durable);
        let Some(awaited) = &mut self.awaited else {
            return Told::default();
        };
        let mut told = Told::default();
        awaited.written.tell(written, &mut told.writers);
        if safety == Safety::Durable {
            awaited.durable.tell(durable, &mut told.writers);
            let observer = awaited.observer.clone();
            told.observer = observer.map(|observer| (observer, Fate::Durable, durable));
        }
        told
    }

    /// Nothing more will become durable: everybody is told.
    pub(super) fn take_awaited(&mut self) -> Told {
        let Some(awaited) = self.awaited.take() else {
            return Told::default();
        };
        let Awaited {
            written,
            durable,
            observer,
        } = *awaited;
        let writers = written.0.into_values().chain(durable.0.into_values());
        let durable = self.durable;
        Told {
            writers: writers.collect(),
            readers: Fulfilled::default(),
            observer: observer.map(|observer| (observer, Fate::Failed, durable)),
        }
    }
}

/// A place among those who wait, given up in whatever way the waiting ends.
struct Place<'a> {
    partition: &'a Partition,
    position: i64,
    safety: Safety,
    waiter: Arc<Waiter>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.partition
            .forget_write(self.position, self.safety, &self.waiter);
    }
}

impl Partition {
    /// Waits until the fate of the write at `position` is known.
    pub async fn settled(&self, position: i64, safety: Safety) -> Fate {
        let waiter = Waiter::new();
        let place = Place {
            partition: self,
            position,
            safety,
            waiter: waiter.clone(),
        };
        self.await_write(position, safety, &waiter);
        poll_fn(|cx| waiter.poll_fired(cx)).await;
        drop(place);
        self.fate_of(position, safety)
    }
}
