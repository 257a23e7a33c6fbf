//! A storage engine for tests: batches lie in memory, but writes become durable when the test says so, in a random
//! order across partitions, reads take time, a partition that is opened again has what was durable of it, and each step
//! fails where the test says so. It uses what any engine from outside could use.

pub mod disk;
mod folder;
mod log;

use crate::engine::{Batch, Engine, Incoming, OpenFailed, Opened, PartitionName};
use crate::limit::Memory;
use crate::memory::MemoryEngine;
use crate::partition::{Appended, Partition};
pub use folder::Folder;
use log::TestLog;
use rustka_core::batch::{BatchBuilder, BatchHeader};
use rustka_core::error::Refusal;
use rustka_core::log::{Origin, PartitionState};
use rustka_core::sync::{Guard, lock};
use rustka_core::time::Now;
use rustka_wire::Uuid;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, Weak};

/// Memory for tests that do not care.
pub const PLENTY: usize = 64 << 20;

type Place = (Uuid, i32);

/// Appends a batch, as whoever has it encoded does.
pub fn append(
    partition: &Partition,
    batch: BatchBuilder,
    origin: Origin,
    now: Now,
) -> Result<Appended, Refusal> {
    let mut bytes = batch.build().expect("a batch");
    let header = BatchHeader::parse(&bytes).expect("a batch");
    partition.append(Incoming::Copied(&mut bytes), &header, origin, now)
}

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

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Opening a partition.
    Open,
    /// Writing a batch: at once, or when it is settled if it is held.
    Append,
    /// Loading what is cold.
    Load,
    /// Closing the open chunk.
    Roll,
    /// Noting a partition's state.
    Checkpoint,
    /// Dropping a chunk.
    Drop,
    /// Beginning a new chunk for compaction.
    Sink,
    /// Putting new chunks in the place of old ones.
    Swap,
    /// Dropping everything.
    Clear,
}

#[derive(Default)]
struct Desk {
    pace: Pace,
    queues: BTreeMap<Place, VecDeque<Write>>,
    failing: BTreeSet<(Place, Step)>,
    unreadable: BTreeSet<Place>,
    cold: BTreeSet<Place>,
    loads: usize,
    chunk_bytes_max: Option<u64>,
    keeps: bool,
    kept: BTreeMap<Place, Kept>,
    closed: bool,
    late: usize,
}

/// What a partition has when it is opened again.
#[derive(Clone, Default)]
struct Kept {
    /// Where each batch ends, when it came, and its bytes.
    batches: Vec<(i64, i64, Vec<u8>)>,
    durable: i64,
    log_start: i64,
    checkpoints: Vec<PartitionState>,
}

impl Desk {
    fn strikes(&mut self, place: Place, step: Step) -> bool {
        self.failing.remove(&(place, step))
    }

    /// Whether the broker has told the engine that it stops, which a write comes after.
    fn is_too_late(&mut self) -> bool {
        self.late += usize::from(self.closed);
        self.closed
    }

    fn kept_of(&mut self, place: Place) -> Option<&mut Kept> {
        self.keeps.then(|| self.kept.entry(place).or_default())
    }

    /// What is left of a partition after a crash: what was durable, and what it was told of no more than that.
    fn reopen(&mut self, place: Place) -> Result<Kept, OpenFailed> {
        if self.strikes(place, Step::Open) {
            return Err(OpenFailed("it fails on purpose".to_owned()));
        }
        self.queues.remove(&place);
        let Some(kept) = self.kept.get_mut(&place) else {
            return Ok(Kept::default());
        };
        let durable = kept.durable;
        kept.batches.retain(|(position, ..)| *position <= durable);
        kept.checkpoints
            .retain(|state| state.next_offset <= durable);
        Ok(kept.clone())
    }

    fn durable(&mut self, place: Place, position: i64) {
        if let Some(kept) = self.kept_of(place) {
            kept.durable = kept.durable.max(position);
        }
    }

    fn told(&mut self, place: Place, state: &PartitionState) {
        if let Some(kept) = self.kept_of(place) {
            kept.log_start = state.log_start;
            kept.checkpoints.push(state.clone());
        }
    }
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
        self.fail_next(Step::Append, partition.topic_id, partition.index);
    }

    /// The next time that this is done for a partition, it fails.
    pub fn fail_next(&self, step: Step, topic_id: Uuid, index: i32) {
        self.desk().failing.insert(((topic_id, index), step));
    }

    /// From here on whatever is read of this partition has to be loaded first.
    pub fn cool(&self, partition: &Partition) {
        self.desk()
            .cold
            .insert((partition.topic_id, partition.index));
    }

    /// How many loads were run.
    pub fn loads(&self) -> usize {
        self.desk().loads
    }

    /// From here on a chunk that would become larger is rolled before.
    pub fn limit_chunks(&self, bytes: u64) {
        self.desk().chunk_bytes_max = Some(bytes);
    }

    /// From here on a partition that is opened again has what was durable of it, as after a crash.
    pub fn keep(&self) {
        self.desk().keeps = true;
    }

    /// What the engine was told last of this partition.
    pub fn checkpoint_of(&self, topic_id: Uuid, index: i32) -> Option<PartitionState> {
        let desk = self.desk();
        desk.kept
            .get(&(topic_id, index))?
            .checkpoints
            .last()
            .cloned()
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
            if !write.fails {
                desk.durable(place, write.position);
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
    fn open(&self, home: &Weak<Partition>, name: &PartitionName<'_>) -> Result<Opened, OpenFailed> {
        let place = (name.topic_id, name.index);
        let mut log = self.inner.open(home, name)?.log;
        let found = self.desk().reopen(place)?;
        for (next_offset, now_ms, mut bytes) in found.batches {
            let header = BatchHeader::parse(&bytes);
            let header = header.map_err(|error| OpenFailed(error.to_string()))?;
            let appended = log.append(Batch {
                base_offset: header.base_offset,
                next_offset,
                now_ms,
                header: &header,
                bytes: Incoming::Copied(&mut bytes),
                state: &PartitionState::default(),
            });
            appended.map_err(|_| OpenFailed("there is no memory".to_owned()))?;
        }
        let log = Box::new(TestLog {
            log,
            desk: self.desk.clone(),
            place,
            home: home.clone(),
        });
        Ok(Opened {
            log,
            log_start: found.log_start,
            log_end: 0,
            checkpoint: found.checkpoints.last().cloned(),
            cleaned: 0,
        })
    }

    fn wants_checkpoints(&self) -> bool {
        self.desk().keeps
    }

    fn memory(&self) -> &Arc<Memory> {
        self.inner.memory()
    }

    fn make_room(&self) -> Result<(), Refusal> {
        self.inner.make_room()
    }

    fn close(&self) {
        self.settle_all(1);
        self.desk().closed = true;
    }
}
