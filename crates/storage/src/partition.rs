//! One partition of one topic, whatever engine keeps its bytes: who may append, which offsets exist, who waits.
//!
//! Its lock is short and never held over an await; waiters and observers are called after the unlock. A panic under
//! the lock takes the partition offline: every request is refused until its state is rebuilt from its batches, other
//! partitions go on.

mod append;
mod compaction;
mod durability;
mod opening;
mod read;
mod rebuild;
mod recovery;
mod retention;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod tests;

pub use append::{Appended, Durability};
pub use compaction::{Cleaned, CompactionLimits};
pub use durability::{DurabilityObserver, Fate, Safety};
pub use retention::{ReadByAll, RetentionRules};

use super::engine::{ChunkInfo, Engine, Garbage, Log, PartitionName, WriteFailed};
use super::waiters::{Waiter, Waiters};
use compaction::Cleaning;
use durability::{Awaited, Unsettled};
pub(crate) use opening::Opening;
use recovery::{NoLog, Recovered, recover};
use rustka_core::account::{Account, Share, Weight};
use rustka_core::config::SharedConfig;
use rustka_core::error::ErrorCode;
use rustka_core::log::PartitionState;
use rustka_core::sync::{Rank, Turn};
use rustka_core::time::Now;
use rustka_wire::codec::Uuid;
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One partition.
pub struct Partition {
    /// The topic's id.
    pub topic_id: Uuid,
    /// Number within the topic.
    pub index: i32,
    /// Who leads it and since which epoch, for whoever only wants to know that.
    leader: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    state: PartitionState,
    log: Box<dyn Log>,
    /// Whether the memory limit may drop records, unless the partition is offline.
    evictable: bool,
    /// The memory limit wanted a chunk that was not durable yet.
    passed_over: bool,
    /// Everything below is as durable as it gets.
    durable: i64,
    /// What lies behind that; nothing where writes are durable at once.
    unsettled: Option<Box<Unsettled>>,
    waiters: Waiters,
    awaited: Option<Box<Awaited>>,
    /// What its topic demands; journals have rules of their own.
    config: Option<Arc<SharedConfig>>,
    cleaning: Cleaning,
    read_by_all: ReadByAll,
    /// The latest time that records got from the broker, which never goes back.
    last_append_ms: i64,
    /// What is remembered of producers.
    producers: Weight,
    /// Another node that leads the partition.
    leader: Option<i32>,
    /// It is not opened yet: nothing is known of what it holds.
    opening: Option<Box<Opening>>,
    deleted: bool,
    offline: bool,
    /// Offline for good.
    lost: bool,
}

/// A partition's offsets at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// First offset.
    pub log_start: i64,
    /// Offset up to which consumers see records.
    pub high_watermark: i64,
    /// Offset that the next record gets.
    pub log_end: i64,
    /// Offset up to which read_committed consumers see records.
    pub last_stable: i64,
    /// The leader's epoch.
    pub leader_epoch: i32,
}

/// Instead of the id of a node: this one.
const HERE: i32 = i32::MIN;

fn pack(node_id: Option<i32>, leader_epoch: i32) -> u64 {
    let node_id = node_id.unwrap_or(HERE);
    (u64::from(node_id.cast_unsigned()) << 32) | u64::from(leader_epoch.cast_unsigned())
}

/// What is told of a partition to whoever only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Its offsets.
    pub offsets: Offsets,
    /// Bytes of its batches.
    pub bytes: u64,
    /// Bytes that became readable in its life.
    pub appended_bytes: u64,
    /// Wall time at which the oldest of its chunks began.
    pub oldest_ms: Option<i64>,
}

impl Partition {
    /// A new partition of a topic that is called as its id.
    pub fn new(engine: &dyn Engine, topic_id: Uuid, index: i32, evictable: bool) -> Arc<Partition> {
        let name = PartitionName {
            topic: &topic_id.to_string(),
            topic_id,
            index,
        };
        Partition::open(engine, &name, evictable, Now::default())
    }

    /// A partition with what its engine has of it; as a rule that is nothing. Small on purpose: memory for records is
    /// taken with the first of them. `evictable` says whether the memory limit may drop its records. One that cannot be
    /// opened is offline, and every request for it is refused. Producers count as last heard of `now`.
    pub fn open(
        engine: &dyn Engine,
        name: &PartitionName<'_>,
        evictable: bool,
        now: Now,
    ) -> Arc<Partition> {
        let mut failed = None;
        let PartitionName {
            topic_id, index, ..
        } = *name;
        let partition = Arc::new_cyclic(|home| {
            let recovered = recover(engine, home, name, now);
            let recovered = recovered.unwrap_or_else(|why| {
                failed = Some(why);
                Recovered {
                    log: Box::new(NoLog),
                    state: PartitionState::new(0),
                    cleaned: 0,
                }
            });
            let Recovered {
                mut log,
                state,
                cleaned,
            } = recovered;
            log.may_be_evicted(evictable || log.keeps_copies());
            Partition {
                topic_id,
                index,
                leader: AtomicU64::new(pack(None, state.leader_epoch)),
                inner: Mutex::new(Inner {
                    cleaning: Cleaning::since(cleaned),
                    offline: failed.is_some(),
                    lost: failed.is_some(),
                    ..Inner::new(log, state, evictable, &engine.memory().account)
                }),
            }
        });
        if let Some(why) = failed {
            tell_offline(name, &why);
        }
        partition
    }

    fn lock(&self) -> Locked<'_> {
        let turn = Turn::take(Rank::Partition);
        Locked {
            panicking: std::thread::panicking(),
            turn: Some(turn),
            inner: Some(self.inner.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Whether the memory limit may drop this partition's records.
    pub fn set_evictable(&self, evictable: bool) {
        self.lock().set_evictable(evictable);
    }

    /// Has the partition follow these configs of its topic from now on, also when they are replaced. Whoever replaces
    /// `delete` or `compact` in them calls this again.
    pub fn obey(&self, config: &Arc<SharedConfig>) {
        let mut inner = self.lock();
        let now = config.now();
        inner.configure(config);
        inner.set_evictable(now.delete);
        inner.count_dirty(now.compact);
        inner.config = Some(Arc::clone(config));
    }

    /// Has the partition keep its records as these configs of its topic say. What goes and when is decided elsewhere: it
    /// is a journal.
    pub fn obey_as_journal(&self, config: &Arc<SharedConfig>) {
        let mut inner = self.lock();
        inner.configure(config);
        inner.set_evictable(config.now().delete);
    }

    /// A log in which nothing was ever written begins there: what came before is told of elsewhere.
    pub fn begin_at(&self, offset: i64) {
        let mut inner = self.lock();
        let is_empty = inner.log.oldest().is_none() && inner.state.next_offset == 0;
        if is_empty && inner.check_readable().is_ok() {
            inner.state.log_start = offset;
            inner.state.next_offset = offset;
            inner.durable = offset;
        }
    }

    /// Reads or changes the partition's state under its lock; refused when the partition is offline or deleted.
    pub fn with_state<R>(&self, f: impl FnOnce(&mut PartitionState) -> R) -> Result<R, ErrorCode> {
        let mut inner = self.lock();
        inner.check_readable()?;
        let result = f(&mut inner.state);
        inner.weigh_producers();
        Ok(result)
    }

    /// The same for what only the leader may tell or change; refused also where another node leads.
    pub fn with_led_state<R>(
        &self,
        f: impl FnOnce(&mut PartitionState) -> R,
    ) -> Result<R, ErrorCode> {
        let mut inner = self.lock();
        inner.check_leader()?;
        Ok(f(&mut inner.state))
    }

    /// The offsets now, whatever the partition's condition.
    pub fn offsets(&self) -> Offsets {
        self.lock().offsets()
    }

    /// The node that leads the partition from now on, none for this one, as from the start, and the epoch in which it
    /// does. From another leader's partition clients are sent away; batches get the epoch.
    pub fn set_leader(&self, node_id: Option<i32>, leader_epoch: i32) {
        let woken = {
            let mut inner = self.lock();
            inner.leader = node_id;
            inner.lead(leader_epoch);
            if let Some(opening) = &mut inner.opening {
                opening.is_led = true;
            }
            self.leader.store(pack(node_id, leader_epoch), Relaxed);
            inner.waiters.all()
        };
        woken.iter().for_each(|waiter| waiter.fire());
    }

    /// The other node that leads the partition, if one does, and the leader epoch. Takes no lock.
    pub fn leader(&self) -> (Option<i32>, i32) {
        let packed = self.leader.load(Relaxed);
        let (node_id, leader_epoch) = ((packed >> 32) as i32, packed as i32);
        ((node_id != HERE).then_some(node_id), leader_epoch)
    }

    /// The other node that leads the partition, and the leader epoch.
    pub fn leader_elsewhere(&self) -> Option<(i32, i32)> {
        let inner = self.lock();
        Some((inner.leader?, inner.state.leader_epoch))
    }

    /// The offsets now; refused when the partition is offline or deleted.
    pub fn usable_offsets(&self) -> Result<Offsets, ErrorCode> {
        let inner = self.lock();
        inner.check_leader()?;
        Ok(inner.offsets())
    }

    /// Offsets of batches that cannot be read any more, in order.
    pub fn damaged(&self) -> Vec<Range<i64>> {
        let inner = self.lock();
        let from = inner.state.log_start;
        let ranges = inner.log.damaged().iter();
        let left = ranges.map(|range| range.start.max(from)..range.end);
        left.filter(|range| !range.is_empty()).collect()
    }

    /// The first chunk from the one that holds `offset` on whose bytes lie where they are to stay, and up to where all is
    /// durable.
    pub(crate) fn at_rest(&self, offset: i64) -> Option<(ChunkInfo, i64)> {
        let inner = self.lock();
        inner.check_readable().ok()?;
        Some((inner.log.at_rest(offset)?, inner.durable))
    }

    /// These offsets of a chunk cannot be read any more. Whether that is news.
    pub(crate) fn found_damage(&self, sequence: u64, range: &Range<i64>) -> bool {
        self.lock().log.found_damage(sequence, range)
    }

    /// Bytes of all batches.
    pub fn bytes(&self) -> u64 {
        self.lock().log.bytes()
    }

    /// What all of it comes to at this moment.
    pub fn glance(&self) -> Glance {
        let inner = self.lock();
        let mut oldest_ms = None;
        let from = inner.offsets().log_start;
        inner.log.each_chunk(from, &mut |chunk| {
            oldest_ms = Some(chunk.opened_ms);
            false
        });
        Glance {
            offsets: inner.offsets(),
            bytes: inner.log.bytes(),
            appended_bytes: inner.waiters.appended_bytes(),
            oldest_ms,
        }
    }

    /// Registers one who waits for the next byte, or for whatever else happens; how many bytes there were so far. The
    /// caller reads once more afterwards, so that nothing is missed in between.
    pub fn register(&self, waiter: &Arc<Waiter>) -> u64 {
        let mut inner = self.lock();
        if inner.check_readable().is_err() {
            waiter.fire();
        }
        inner.waiters.add(waiter);
        inner.waiters.appended_bytes()
    }

    /// Has one who is registered woken with the next byte; how many there were so far.
    pub fn want_next_byte(&self, waiter: &Arc<Waiter>) -> u64 {
        let mut inner = self.lock();
        inner.waiters.want_next(waiter);
        inner.waiters.appended_bytes()
    }

    /// Bytes that became readable in the partition's life, for those who wait for more.
    pub fn appended_bytes(&self) -> u64 {
        self.lock().waiters.appended_bytes()
    }

    /// Has one who is registered woken once so many bytes were appended in all, perhaps at once.
    pub fn want_bytes(&self, waiter: &Arc<Waiter>, appended_bytes: u64) {
        let fulfilled = self.lock().waiters.want(waiter, appended_bytes);
        fulfilled.tell();
    }

    /// Takes one who waits off.
    pub fn unregister(&self, waiter: &Arc<Waiter>) {
        self.lock().waiters.remove(waiter);
    }

    /// Ends the partition: later requests are refused, whoever waits wakes, memory is given back.
    pub fn delete(&self) {
        let (garbage, woken, told) = {
            let mut inner = self.lock();
            inner.deleted = true;
            // What is not opened yet goes once it is.
            let garbage = match inner.opening.is_some() {
                true => Ok(Garbage::Nothing),
                false => inner.clear(),
            };
            (garbage, inner.waiters.all(), inner.take_awaited())
        };
        self.tell_left(&garbage);
        woken.iter().for_each(|waiter| waiter.fire());
        told.call();
        drop(garbage);
    }

    fn tell_left(&self, cleared: &Result<Garbage, WriteFailed>) {
        if cleared.is_err() {
            tracing::warn!(
                target: "rustka::storage",
                "partition {} of topic {} is deleted, but not everything of it could be dropped",
                self.index,
                self.topic_id
            );
        }
    }
}

fn tell_offline(name: &PartitionName<'_>, why: &str) {
    let PartitionName { topic, index, .. } = name;
    tracing::error!(target: "rustka::storage", "partition {topic}-{index} is offline: {why}");
}

impl Inner {
    /// All that this log holds is durable.
    fn new(
        log: Box<dyn Log>,
        state: PartitionState,
        evictable: bool,
        account: &Arc<Account>,
    ) -> Inner {
        Inner {
            durable: state.log_end(),
            state,
            log,
            evictable,
            passed_over: false,
            unsettled: None,
            waiters: Waiters::default(),
            awaited: None,
            config: None,
            cleaning: Cleaning::since(0),
            read_by_all: ReadByAll::default(),
            last_append_ms: -1,
            producers: Weight::new(account, Share::Producers),
            leader: None,
            opening: None,
            deleted: false,
            offline: false,
            lost: false,
        }
    }

    /// The partition is deleted, and so is all that it holds.
    fn clear(&mut self) -> Result<Garbage, WriteFailed> {
        let garbage = self.log.clear();
        // A fetch session may hold the partition for long.
        self.state.forget_producers();
        self.weigh_producers();
        garbage
    }

    fn configure(&mut self, config: &Arc<SharedConfig>) {
        match &mut self.opening {
            Some(opening) => opening.config = Some(Arc::clone(config)),
            None => self.log.configure(config),
        }
    }

    /// Where this node leads, from the end of the log on batches are of this epoch.
    fn lead(&mut self, leader_epoch: i32) {
        self.state.leader_epoch = leader_epoch;
        if self.leader.is_none() && self.state.epochs.latest().is_some() {
            self.state.lead(leader_epoch);
        }
    }

    fn set_evictable(&mut self, evictable: bool) {
        if self.evictable != evictable {
            self.evictable = evictable;
            self.keep_evictable();
        }
    }

    /// Tells the log whether the memory limit may drop its chunks now.
    fn keep_evictable(&mut self) {
        let may = self.evictable || self.log.keeps_copies();
        let may = may && self.check_readable().is_ok();
        self.log.may_be_evicted(may);
    }

    fn offsets(&self) -> Offsets {
        Offsets {
            log_start: self.state.log_start,
            high_watermark: self.state.high_watermark(),
            log_end: self.state.log_end(),
            last_stable: self.state.last_stable_offset(),
            leader_epoch: self.state.leader_epoch,
        }
    }

    fn check_leader(&self) -> Result<(), ErrorCode> {
        if let Some(opening) = &self.opening {
            opening.hurry();
        }
        self.check_readable()?;
        match self.leader {
            None => Ok(()),
            Some(_) => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    fn check_readable(&self) -> Result<(), ErrorCode> {
        if self.offline {
            return Err(ErrorCode::KafkaStorageError);
        }
        if self.deleted {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        // Clients ask again for what is called so, whatever they wanted; nothing is said of what is not known.
        match self.opening {
            Some(_) => Err(ErrorCode::NotLeaderOrFollower),
            None => Ok(()),
        }
    }
}

/// A partition under its lock. A panic in this section takes the partition offline and wakes whoever waits for it.
struct Locked<'a> {
    panicking: bool,
    // Both are taken in drop only.
    inner: Option<MutexGuard<'a, Inner>>,
    turn: Option<Turn>,
}

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        self.inner.as_ref().expect("taken in drop only")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        self.inner.as_mut().expect("taken in drop only")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.panicking || !std::thread::panicking() {
            return;
        }
        let (woken, told) = {
            let Some(mut inner) = self.inner.take() else {
                return;
            };
            inner.offline = true;
            let told = inner.take_awaited();
            // It may come back, and then its observer wants to know again.
            if let Some(observer) = told.observer() {
                inner.awaited.get_or_insert_default().observer = Some(observer);
            }
            (inner.waiters.all(), told)
        };
        self.turn = None;
        tracing::error!(target: "rustka::storage", "a partition is offline since a request failed unexpectedly in it");
        woken.iter().for_each(|waiter| waiter.fire());
        told.call();
    }
}
