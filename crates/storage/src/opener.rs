//! Opens partitions after a start, several at a time and first those that somebody asks for, while others are served.
//!
//! Only what an engine finds something of is opened so; all else is open at once. Topics that had the same name one after
//! the other get their partitions in that order: what a deleted one has left is out of the way by then.

use crate::engine::{Engine, PartitionName};
use crate::partition::Partition;
use rustka_core::time::Now;
use rustka_wire::codec::Uuid;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// A topic's name and a partition's number: what its folder is called.
type Name = (Arc<str>, i32);

/// Opens partitions. Dropping it ends its threads.
pub struct Opener {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<dyn Engine>,
    /// None in a test, which opens by hand.
    threads_max: usize,
    /// Partitions that are not open yet.
    left: AtomicUsize,
    queue: Mutex<Queue>,
    told: Condvar,
}

#[derive(Default)]
struct Queue {
    named: BTreeMap<Name, Row>,
    /// What somebody waits for, and what is as good as any other. What is taken from one is passed over in the other.
    urgent: VecDeque<Name>,
    others: VecDeque<Name>,
    threads: usize,
    is_stopping: bool,
}

/// Those who claim one name, in the order in which they had it.
#[derive(Default)]
struct Row {
    claims: VecDeque<(Arc<Claim>, Arc<Partition>)>,
    /// The first of them is being opened.
    is_busy: bool,
}

/// What a partition that is to be opened has of its opener.
pub(crate) struct Claim {
    opener: Weak<Inner>,
    name: Name,
    topic_id: Uuid,
    now: Now,
    was_hurried: AtomicBool,
}

impl Claim {
    /// Somebody asks for it. May be called under the partition's lock.
    pub fn hurry(&self) {
        if !self.was_hurried.swap(true, Relaxed)
            && let Some(opener) = self.opener.upgrade()
        {
            opener.lock().urgent.push_back(self.name.clone());
        }
    }
}

impl Opener {
    /// Opens what this engine has on at most so many threads; with none of them it is done by whoever calls
    /// [`Opener::open_next`] or waits.
    pub fn new(engine: Arc<dyn Engine>, threads_max: usize) -> Opener {
        Opener {
            inner: Arc::new(Inner {
                engine,
                threads_max,
                left: AtomicUsize::new(0),
                queue: Mutex::default(),
                told: Condvar::new(),
            }),
        }
    }

    /// A partition with what the engine has of it, now or later: see [`Partition::open`] and [`Partition::is_opening`].
    /// Once the opener was stopped, what would be opened later never is.
    pub fn open(&self, name: &PartitionName<'_>, evictable: bool, now: Now) -> Arc<Partition> {
        let engine = &*self.inner.engine;
        let key: Name = (name.topic.into(), name.index);
        let is_claimed = self.left() > 0 && self.inner.lock().named.contains_key(&key);
        if !is_claimed && !engine.has_unopened(name) {
            return Partition::open(engine, name, evictable, now);
        }
        let claim = Arc::new(Claim {
            opener: Arc::downgrade(&self.inner),
            name: key.clone(),
            topic_id: name.topic_id,
            now,
            was_hurried: AtomicBool::new(false),
        });
        let partition = Partition::unopened(engine, name, evictable, claim.clone());
        let mut queue = self.inner.lock();
        if queue.is_stopping {
            drop(queue);
            engine.leave_unopened();
            return partition;
        }
        self.inner.left.fetch_add(1, Relaxed);
        let row = queue.named.entry(key.clone()).or_default();
        row.claims.push_back((claim, partition.clone()));
        queue.others.push_back(key);
        self.inner.employ(queue);
        partition
    }

    /// How many partitions are not open yet.
    pub fn left(&self) -> usize {
        self.inner.left.load(Relaxed)
    }

    /// Opens the next one in this thread; whether there was one.
    pub fn open_next(&self) -> bool {
        let taken = self.inner.lock().take(false);
        let is_some = taken.is_some();
        if let Some(name) = taken {
            self.inner.open(&name);
        }
        is_some
    }

    /// Waits until this partition is open, and helps with those that are asked for. Once the opener was stopped it may
    /// not be.
    pub fn wait_for(&self, partition: &Partition) {
        let Some(claim) = partition.claim() else {
            return;
        };
        claim.hurry();
        let mut queue = self.inner.lock();
        while queue.has(&claim) {
            match queue.take(true) {
                Some(name) => {
                    drop(queue);
                    self.inner.open(&name);
                    queue = self.inner.lock();
                }
                None => queue = self.inner.wait(queue),
            }
        }
    }

    /// Opens no more, and waits for those that are being opened. The engine is told if any are left.
    pub fn stop(&self) {
        let mut queue = self.inner.lock();
        queue.is_stopping = true;
        while queue.threads > 0 || queue.named.values().any(|row| row.is_busy) {
            queue = self.inner.wait(queue);
        }
        let left = std::mem::take(&mut queue.named);
        drop(queue);
        if !left.is_empty() {
            self.inner.engine.leave_unopened();
        }
        self.inner.told.notify_all();
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.told
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// There is more to do: begins one more thread if there may be one.
    fn employ(self: &Arc<Inner>, mut queue: MutexGuard<'_, Queue>) {
        if queue.is_stopping || queue.threads >= self.threads_max {
            return;
        }
        queue.threads += 1;
        drop(queue);
        let inner = self.clone();
        let spawned = std::thread::Builder::new()
            .name("rustka-open".to_owned())
            .spawn(move || inner.work());
        if let Err(error) = spawned {
            tracing::error!(
                target: "rustka::storage",
                "a thread that opens partitions could not be started: {error}"
            );
            // Late is better than never.
            self.work();
        }
    }

    fn work(self: &Arc<Inner>) {
        loop {
            let mut queue = self.lock();
            let Some(name) = queue.take(false) else {
                queue.threads -= 1;
                drop(queue);
                self.told.notify_all();
                return;
            };
            drop(queue);
            self.open(&name);
        }
    }

    /// Opens the first partition that claims a name that was taken.
    fn open(self: &Arc<Inner>, name: &Name) {
        let first = self.lock().first(name);
        if let Some((claim, partition)) = first {
            let (topic, index) = name;
            let name = PartitionName {
                topic,
                topic_id: claim.topic_id,
                index: *index,
            };
            let bring = || partition.bring(&*self.engine, &name, claim.now);
            // A mistake of ours concerns this partition, which is offline, and no other.
            if catch_unwind(AssertUnwindSafe(bring)).is_err() {
                tracing::error!(target: "rustka::storage", "partition {topic}-{index} failed while it was opened");
            }
        }
        let mut queue = self.lock();
        let mut has_next = false;
        if let Some(row) = queue.named.get_mut(name) {
            row.is_busy = false;
            row.claims.pop_front();
            self.left.fetch_sub(1, Relaxed);
            has_next = !row.claims.is_empty();
        }
        match has_next {
            true => {
                queue.urgent.push_front(name.clone());
                // This may be a thread that has waited for no more than the first, and the others have found nothing to do.
                self.employ(queue);
            }
            false => {
                queue.named.remove(name);
                if queue.named.is_empty() {
                    // All that is left in them was opened already, and there may have been very many.
                    (queue.urgent, queue.others) = (VecDeque::new(), VecDeque::new());
                }
                drop(queue);
            }
        }
        self.told.notify_all();
    }
}

impl Queue {
    /// The name whose first partition is to be opened next, of all or of those that are asked for.
    fn take(&mut self, only_urgent: bool) -> Option<Name> {
        if self.is_stopping {
            return None;
        }
        loop {
            let next = self.urgent.pop_front();
            let name = match only_urgent {
                true => next?,
                false => next.or_else(|| self.others.pop_front())?,
            };
            if let Some(row) = self.named.get_mut(&name)
                && !std::mem::replace(&mut row.is_busy, true)
            {
                return Some(name);
            }
        }
    }

    fn first(&self, name: &Name) -> Option<(Arc<Claim>, Arc<Partition>)> {
        self.named.get(name)?.claims.front().cloned()
    }

    fn has(&self, claim: &Arc<Claim>) -> bool {
        let row = self.named.get(&claim.name);
        row.is_some_and(|row| row.claims.iter().any(|(one, _)| Arc::ptr_eq(one, claim)))
    }
}
