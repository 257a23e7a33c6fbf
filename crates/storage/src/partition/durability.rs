//! What happens after an append that was not durable at once: the engine reports, those who wait are told.

use super::{Inner, Partition};
use crate::waiters::Waiter;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;

/// What became of a write at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not known yet.
    Pending,
    /// It is safe.
    Durable,
    /// It is lost, like everything behind it.
    Failed,
}

/// Is told what becomes of a partition's writes, for journals. Called without any lock held, from any thread, and
/// perhaps late or twice: what it is told is true, but [`Partition::fate`] may know more already.
pub trait Observer: Send + Sync {
    /// Everything below `position` is durable.
    fn durable(&self, position: i64);

    /// Everything from `position` on is lost and the partition takes no more: a failed write, deletion, a panic.
    fn failed(&self, position: i64);
}

/// Who wants to know about durability. Most partitions never have one.
#[derive(Default)]
pub(super) struct Awaited {
    /// By the position that each waits for, so that they leave from the front.
    writers: BTreeMap<(i64, Ticket), Arc<Waiter>>,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

/// Tells those apart who wait for the same position: where the waiter lies.
type Ticket = usize;

fn ticket(waiter: &Arc<Waiter>) -> Ticket {
    Arc::as_ptr(waiter).addr()
}

/// Who is to be told, once the partition is unlocked.
#[derive(Default)]
pub(super) struct Told {
    writers: Vec<Arc<Waiter>>,
    observer: Option<(Arc<dyn Observer>, Fate, i64)>,
}

impl Told {
    /// Who is told besides those who wait.
    pub fn observer(&self) -> Option<Arc<dyn Observer>> {
        let (observer, ..) = self.observer.as_ref()?;
        Some(observer.clone())
    }

    pub fn call(self) {
        for writer in self.writers {
            writer.fire();
        }
        match self.observer {
            Some((observer, Fate::Failed, position)) => observer.failed(position),
            Some((observer, _, position)) => observer.durable(position),
            None => {}
        }
    }
}

impl Partition {
    /// The engine's report: everything below `position` is durable. A report that comes late changes nothing.
    pub fn durable_up_to(&self, position: i64) {
        let told = {
            let mut inner = self.lock();
            if position <= inner.durable || inner.deleted || inner.is_lost(position) {
                return;
            }
            inner.durable = position;
            inner.state.assert_watch(position);
            inner.tell_durable()
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
        let (woken, told) = {
            let mut inner = self.lock();
            if durable_too {
                inner.durable = inner.durable.min(offset);
            }
            let from = offset.max(inner.durable);
            inner.state.fail_from(from);
            inner.state.assert_watch(inner.durable);
            (inner.waiters.all(), inner.take_awaited())
        };
        tracing::error!(
            target: "rustka::storage",
            "partition {} of topic {} is read-only: its write at offset {offset} failed",
            self.index,
            self.topic_id
        );
        woken.iter().for_each(|waiter| waiter.fire());
        told.call();
    }

    /// What is known of the write that ends at `position`.
    pub fn fate(&self, position: i64) -> Fate {
        self.lock().fate(position)
    }

    /// Fires `waiter` once the fate of the write at `position` is known, perhaps at once.
    pub fn await_durable(&self, position: i64, waiter: &Arc<Waiter>) {
        let known = {
            let mut inner = self.lock();
            let known = inner.fate(position) != Fate::Pending;
            if !known {
                let awaited = inner.awaited.get_or_insert_default();
                let place = (position, ticket(waiter));
                awaited.writers.insert(place, waiter.clone());
            }
            known
        };
        if known {
            waiter.fire();
        }
    }

    /// Takes off who waits for this position with this waiter.
    pub fn forget_durable(&self, position: i64, waiter: &Arc<Waiter>) {
        let mut inner = self.lock();
        if let Some(awaited) = &mut inner.awaited {
            awaited.writers.remove(&(position, ticket(waiter)));
        }
    }

    /// Has `observer` told of all writes from here on; there is one at a time.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.lock().awaited.get_or_insert_default().observer = Some(observer);
    }
}

impl Inner {
    fn is_lost(&self, position: i64) -> bool {
        self.state
            .failed_from
            .is_some_and(|failed| position > failed)
    }

    fn fate(&self, position: i64) -> Fate {
        if position <= self.durable {
            return Fate::Durable;
        }
        if self.is_lost(position) || self.offline || self.deleted {
            return Fate::Failed;
        }
        Fate::Pending
    }

    fn tell_durable(&mut self) -> Told {
        let durable = self.durable;
        let Some(awaited) = &mut self.awaited else {
            return Told::default();
        };
        let mut writers = Vec::new();
        while let Some(first) = awaited.writers.first_entry()
            && first.key().0 <= durable
        {
            writers.push(first.remove());
        }
        let observer = awaited.observer.clone();
        Told {
            writers,
            observer: observer.map(|observer| (observer, Fate::Durable, durable)),
        }
    }

    /// Nothing more will become durable: everybody is told.
    pub(super) fn take_awaited(&mut self) -> Told {
        let Some(awaited) = self.awaited.take() else {
            return Told::default();
        };
        let Awaited { writers, observer } = *awaited;
        let durable = self.durable;
        Told {
            writers: writers.into_values().collect(),
            observer: observer.map(|observer| (observer, Fate::Failed, durable)),
        }
    }
}

/// A place among those who wait, given up in whatever way the waiting ends.
struct Place<'a> {
    partition: &'a Partition,
    position: i64,
    waiter: Arc<Waiter>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.partition.forget_durable(self.position, &self.waiter);
    }
}

impl Partition {
    /// Waits until the fate of the write at `position` is known.
    pub async fn settled(&self, position: i64) -> Fate {
        let waiter = Waiter::new();
        let place = Place {
            partition: self,
            position,
            waiter: waiter.clone(),
        };
        self.await_durable(position, &waiter);
        poll_fn(|cx| waiter.poll_fired(cx)).await;
        drop(place);
        self.fate(position)
    }
}
