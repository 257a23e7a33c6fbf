//! A storage engine for tests: batches lie in memory, but writes become durable when the test says so, in a random
//! order across partitions, and fail where it says so. It uses what any engine from outside could use.

use crate::buffer::Slice;
use crate::engine::{
    Batch, ChunkInfo, Closed, Engine, Garbage, Log, ReadFailed, Replacement, Span, Stale, Stored,
    WriteFailed,
};
use crate::limit::Memory;
use crate::memory::MemoryEngine;
use crate::partition::Partition;
use rustka_core::error::Refusal;
use rustka_core::sync::{Guard, lock};
use rustka_wire::Uuid;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, Weak};

/// Memory for tests that do not care.
pub const PLENTY: usize = 64 << 20;

type Place = (Uuid, i32);

/// See the file's top.
pub struct TestEngine {
    inner: MemoryEngine,
    desk: Arc<Mutex<Desk>>,
}

/// What becomes of a write by itself.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Pace {
    /// It is durable at once.
    #[default]
    Durable,
    /// It is written at once, and durable when the test says so.
    Written,
    /// Nothing until the test says so.
    Queued,
}

#[derive(Default)]
struct Desk {
    pace: Pace,
    queues: BTreeMap<Place, VecDeque<Write>>,
    failing: BTreeSet<Place>,
    unreadable: BTreeSet<Place>,
    closed: bool,
    late: usize,
}

struct Write {
    home: Weak<Partition>,
    base_offset: i64,
    position: i64,
    fails: bool,
}

impl Write {
    fn report(self) {
        let Some(partition) = self.home.upgrade() else {
            return;
        };
        if self.fails {
            partition.write_failed(self.base_offset);
        } else {
            partition.durable_up_to(self.position);
        }
    }
}

impl TestEngine {
    /// An engine whose writes are durable at once, until [`TestEngine::hold`].
    pub fn new(memory_limit: usize) -> Arc<TestEngine> {
        Arc::new(TestEngine {
            inner: MemoryEngine::new(Memory::new(memory_limit)),
            desk: Arc::default(),
        })
    }

    fn desk(&self) -> Guard<'_, Desk> {
        lock(&self.desk)
    }

    /// From here on writes wait for [`TestEngine::write_all`], and for [`TestEngine::settle_one`] and its like.
    pub fn hold(&self) {
        self.desk().pace = Pace::Queued;
    }

    /// From here on writes are written at once, but wait for [`TestEngine::settle_one`] and its like to be durable.
    pub fn hold_durability(&self) {
        self.desk().pace = Pace::Written;
    }

    /// Everything that waits is written, as much as acks=1 asks for, and not yet durable.
    pub fn write_all(&self) {
        let waiting: Vec<(Weak<Partition>, i64)> = self
            .desk()
            .queues
            .values()
            .filter_map(|queue| queue.iter().rfind(|write| !write.fails))
            .map(|write| (write.home.clone(), write.position))
            .collect();
        for (home, position) in waiting {
            if let Some(home) = home.upgrade() {
                home.written_up_to(position);
            }
        }
    }

    /// The next write of this partition fails: at once, or when it is settled if it is held.
    pub fn fail_next_write(&self, partition: &Partition) {
        self.desk()
            .failing
            .insert((partition.topic_id, partition.index));
    }

    /// This partition's bytes can no longer be read.
    pub fn fail_reads(&self, partition: &Partition) {
        self.desk()
            .unreadable
            .insert((partition.topic_id, partition.index));
    }

    /// Writes that wait.
    pub fn waiting(&self) -> usize {
        self.desk().queues.values().map(VecDeque::len).sum()
    }

    /// Whether the broker has told the engine that it stops.
    pub fn is_closed(&self) -> bool {
        self.desk().closed
    }

    /// Writes that came after the engine was told that the broker stops.
    pub fn late(&self) -> usize {
        self.desk().late
    }

    /// Settles the oldest write of the partition that `choice` falls on; whether there was one.
    pub fn settle_one(&self, choice: u64) -> bool {
        let write = {
            let mut desk = self.desk();
            let places: Vec<Place> = desk.queues.keys().copied().collect();
            if places.is_empty() {
                return false;
            }
            let place = places[(choice % places.len() as u64) as usize];
            let queue = desk.queues.get_mut(&place).expect("listed");
            let write = queue.pop_front().expect("no empty queues");
            if queue.is_empty() {
                desk.queues.remove(&place);
            }
            write
        };
        write.report();
        true
    }

    /// Settles the oldest write of one partition; whether there was one.
    pub fn settle(&self, partition: &Partition) -> bool {
        let place = (partition.topic_id, partition.index);
        let at = self.desk().queues.keys().position(|key| *key == place);
        at.is_some_and(|at| self.settle_one(at as u64))
    }

    /// Settles every write, in an order across partitions that `seed` decides.
    pub fn settle_all(&self, seed: u64) {
        let mut random = Random(seed | 1);
        while self.settle_one(random.draw()) {}
    }
}

/// A small generator, so that a history can be repeated from its seed.
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }
}

impl Engine for TestEngine {
    fn open(&self, home: &Weak<Partition>, topic_id: Uuid, index: i32) -> Box<dyn Log> {
        Box::new(TestLog {
            log: self.inner.open(home, topic_id, index),
            desk: self.desk.clone(),
            place: (topic_id, index),
            home: home.clone(),
        })
    }

    fn memory(&self) -> &Arc<Memory> {
        self.inner.memory()
    }

    fn make_room(&self) -> Result<(), Refusal> {
        self.inner.make_room()
    }

    fn close(&self) {
        self.desk().closed = true;
        self.settle_all(1);
    }
}

struct TestLog {
    log: Box<dyn Log>,
    desk: Arc<Mutex<Desk>>,
    place: Place,
    home: Weak<Partition>,
}

impl Log for TestLog {
    fn append(&mut self, batch: Batch<'_>) -> Result<Stored, WriteFailed> {
        let (base_offset, position) = (batch.base_offset, batch.next_offset);
        self.log.append(batch)?;
        let mut desk = lock(&self.desk);
        desk.late += usize::from(desk.closed);
        let fails = desk.failing.remove(&self.place);
        let stored = match desk.pace {
            Pace::Durable if fails => return Err(WriteFailed),
            Pace::Durable => return Ok(Stored::Durable),
            Pace::Written => Stored::Written,
            Pace::Queued => Stored::Queued,
        };
        let home = self.home.clone();
        desk.queues.entry(self.place).or_default().push_back(Write {
            home,
            base_offset,
            position,
            fails,
        });
        Ok(stored)
    }

    fn read(&self, span: Span) -> Result<Vec<Slice>, ReadFailed> {
        let desk = lock(&self.desk);
        if desk.unreadable.contains(&self.place) {
            return Err(ReadFailed);
        }
        self.log.read(span)
    }

    fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    fn oldest(&self) -> Option<ChunkInfo> {
        self.log.oldest()
    }

    fn newest(&self) -> Option<ChunkInfo> {
        self.log.newest()
    }

    fn each_chunk(&self, offset: i64, visit: &mut dyn FnMut(&ChunkInfo) -> bool) {
        self.log.each_chunk(offset, visit);
    }

    fn drop_oldest(&mut self) -> Option<Garbage> {
        self.log.drop_oldest()
    }

    fn roll(&mut self) {
        self.log.roll();
    }

    fn closed(&self) -> Vec<Closed> {
        self.log.closed()
    }

    fn swap(&mut self, from: i64, to: i64, with: Vec<Replacement>) -> Result<Garbage, Stale> {
        self.log.swap(from, to, with)
    }

    fn may_be_evicted(&mut self, may: bool) {
        self.log.may_be_evicted(may);
    }

    fn clear(&mut self) -> Garbage {
        self.log.clear()
    }
}
