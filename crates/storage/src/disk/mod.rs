//! Batches in files, in the format and under the names of Apache Kafka 4.4.
//!
//! | file | what it does |
//! |---|---|
//! | `directory` | the data directory as a whole: who it belongs to, its lock, what lies in it |
//! | `folder` | one partition's folder, and what is called how in there |
//! | `log` | decides where everything goes; under the partition's lock, so it touches no file |
//! | `segment`, `index` | what a log knows of a segment; which batches get an entry in its indexes |
//! | `writer` | has done what the log decided, in order, and reports how far it is written and durable |
//! | `hand` | does it: every step that touches a log's files |
//! | `shared` | what all logs of an engine share |
//! | `pool` | the threads on which writers work; group commit |
//! | `load` | reads what is no longer in memory, without any lock |
//! | `recovery`, `scan` | what a start makes of the files that are there |
//! | `checkpoint`, `noted` | the small text files with an offset for each partition, and what they say now |
//! | `doomed` | files that are no longer needed, and go later |
//! | `figures` | what was done with files and what is queued, as numbers |
//! | `room` | what is left on the volume |
//! | `check`, `overlay` | what a start would find and change, without changing it |
//! | `inspect` | what is in one file |
//! | `files`, `lock` | what is asked of the file system |
//!
//! A log keeps copies of what came last in memory, as far as the memory limit lets it: those are read at once, and what
//! is written but not yet synced lies there as well.

mod check;
mod checkpoint;
mod directory;
mod doomed;
mod figures;
mod files;
mod folder;
mod hand;
mod index;
mod inspect;
mod load;
mod lock;
mod log;
mod noted;
mod overlay;
mod pool;
mod recovery;
mod room;
mod scan;
mod segment;
mod shared;
mod writer;

pub use check::{Checked, CheckedPartition, check};
pub use directory::{Directory, DirectoryError, Identity};
pub use figures::{DiskFigures, MonotonicUs, SYNC_BUCKETS_US};
pub use files::{Files, Listed, Mode, OpenFile, Room, SystemFiles};
pub use inspect::{Piece, inspect};
pub use overlay::Change;

use crate::engine::{Engine, OpenFailed, Opened, PartitionName};
use crate::limit::{Eviction, Memory};
use crate::memory::{MemoryLog, Place};
use crate::partition::Partition;
use figures::Counted;
use folder::Folder;
use log::DiskLog;
use noted::Noted;
use pool::{Job, Pool};
use rustka_core::error::Refusal;
use rustka_core::sync::lock;
use rustka_core::time::Now;
use segment::{Segment, SegmentRules};
use shared::Shared;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use writer::Writer;

/// When what is written is made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// As soon as the device is free; only then consumers see it and acks=all is answered.
    #[default]
    Always,
    /// After so many milliseconds at most. Who waits for durability is answered once it is written.
    Interval(i64),
    /// When the system likes, as in Kafka.
    Never,
}

/// The engine that keeps batches in files.
pub struct DiskEngine {
    shared: Arc<Shared>,
    directory: Mutex<Option<Directory>>,
}

impl DiskEngine {
    /// An engine in this directory, with so much memory for frames and copies.
    pub fn new(
        directory: Directory,
        memory: Arc<Memory>,
        fsync: Fsync,
    ) -> Result<DiskEngine, DirectoryError> {
        DiskEngine::with(directory, memory, fsync, Pool::default(), None)
    }

    /// The same for nobody but [`check`]: nothing happens in it by itself.
    fn at_rest(
        directory: Directory,
        memory: Arc<Memory>,
        fsync: Fsync,
    ) -> Result<DiskEngine, DirectoryError> {
        DiskEngine::with(directory, memory, fsync, Pool::by_hand(), None)
    }

    /// The same, with a clock by which syncs are timed.
    pub fn timed(
        directory: Directory,
        memory: Arc<Memory>,
        fsync: Fsync,
        now_us: MonotonicUs,
    ) -> Result<DiskEngine, DirectoryError> {
        DiskEngine::with(directory, memory, fsync, Pool::default(), Some(now_us))
    }

    /// The same without threads, for tests: see [`DiskEngine::work`].
    #[cfg(feature = "testing")]
    pub fn by_hand(
        directory: Directory,
        memory: Arc<Memory>,
        fsync: Fsync,
    ) -> Result<DiskEngine, DirectoryError> {
        DiskEngine::at_rest(directory, memory, fsync)
    }

    fn with(
        mut directory: Directory,
        memory: Arc<Memory>,
        fsync: Fsync,
        pool: Pool,
        now_us: Option<MonotonicUs>,
    ) -> Result<DiskEngine, DirectoryError> {
        let doomed = directory.take_doomed();
        let starts = directory.read_offsets(checkpoint::LOG_START)?;
        let synced = directory.take_synced()?;
        let engine = DiskEngine {
            shared: Arc::new(Shared {
                files: directory.files().clone(),
                root: directory.path().clone(),
                memory,
                order: Arc::default(),
                pool: Arc::new(pool),
                fsync,
                last_sequence: AtomicU64::new(0),
                is_closed: AtomicBool::new(false),
                writers: Mutex::default(),
                leaving: Mutex::default(),
                noted: Mutex::new(Noted::new(starts, synced)),
                noting: Mutex::default(),
                doomed: Mutex::default(),
                next_sync_ms: Mutex::new(None),
                syncs: AtomicU64::new(0),
                written_bytes: AtomicU64::new(0),
                counted: Counted::by(now_us),
                left: Mutex::default(),
                told: Mutex::default(),
                open: Mutex::default(),
            }),
            directory: Mutex::new(Some(directory)),
        };
        engine.shared.look_at_room();
        for folder in doomed {
            engine.shared.doom_folder(Some(folder), 0);
        }
        Ok(engine)
    }

    /// How often anything was synced so far.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Relaxed)
    }

    /// Does everything that is queued, in an engine without threads.
    #[cfg(feature = "testing")]
    pub fn work(&self) {
        self.shared.pool.work_by_hand();
    }

    /// Does the next of what is queued, in an engine without threads.
    #[cfg(feature = "testing")]
    pub fn work_one(&self) -> bool {
        self.shared.pool.work_one_by_hand(|_| true)
    }

    /// Writes everything that is queued and syncs nothing, in an engine without threads.
    #[cfg(feature = "testing")]
    pub fn write_all(&self) {
        let is_write = |job: &Job| !matches!(job, Job::Sync(_));
        while self.shared.pool.work_one_by_hand(is_write) {}
    }

    /// Does everything that is queued for this partition alone, in an engine without threads.
    #[cfg(feature = "testing")]
    pub fn work_for(&self, partition: &Partition) {
        let name = format!("{}-{}", partition.topic_id, partition.index);
        let concerns = |job: &Job| match job {
            Job::Write(writer) | Job::Sync(writer) => *writer.folder.name() == *name,
            Job::Other(_) => false,
        };
        while self.shared.pool.work_one_by_hand(concerns) {}
    }

    fn open_folder(&self, folder: &Folder, name: &PartitionName<'_>) -> io::Result<Vec<Segment>> {
        let shared = &self.shared;
        if folder.is_unclaimed()? {
            return Ok(Vec::new());
        }
        if folder.owner()? != Some(name.topic_id) {
            let aside = folder.set_aside("stray")?;
            tracing::warn!(
                target: "rustka::storage",
                "the folder {} does not belong to the topic that is called so now; it is kept as {aside}",
                folder.name()
            );
            return Ok(Vec::new());
        }
        let rules = SegmentRules::default();
        let synced = lock(&shared.noted).synced.get(folder.name()).copied();
        recovery::recover(&*shared.files, folder, &rules, synced.unwrap_or(0), || {
            shared.next_sequence()
        })
    }
}

impl Engine for DiskEngine {
    fn open(&self, home: &Weak<Partition>, name: &PartitionName<'_>) -> Result<Opened, OpenFailed> {
        let shared = &self.shared;
        let folder_name = format!("{}-{}", name.topic, name.index);
        let folder = Folder::new(&shared.root, &shared.files, &folder_name, name.topic_id);
        let is_there = lock(&self.directory)
            .as_mut()
            .is_some_and(|directory| directory.take_folder(&folder_name));
        let segments = match is_there {
            true => self
                .open_folder(&folder, name)
                .map_err(|error| OpenFailed(error.to_string()))?,
            false => Vec::new(),
        };
        let is_made = is_there && !segments.is_empty();
        let start = lock(&shared.noted).starts.get(&*folder_name).copied();
        let first = segments.first().map_or(0, |first| first.info.base_offset);
        let log_end = segments.last().map_or(0, |last| last.info.next_offset);
        let writer = Arc::new(Writer::new(shared, folder, home, is_made));
        lock(&shared.writers).insert(folder_name.into(), Arc::downgrade(&writer));
        let place = Place::new(shared.order.clone(), home.clone());
        let tail = MemoryLog::new(shared.memory.pool.clone(), place);
        Ok(Opened {
            log: Box::new(DiskLog::new(shared, writer, tail, segments)),
            log_start: start.unwrap_or(first).max(first).min(log_end.max(first)),
            log_end,
            checkpoint: None,
        })
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.shared.memory
    }

    fn make_room(&self) -> Result<(), Refusal> {
        self.shared.check_room()?;
        let order = &self.shared.order;
        let forget = || match order.evict() {
            Eviction::Done => Eviction::Forgotten,
            other => other,
        };
        self.shared.memory.make_room(forget, || order.has_any())
    }

    fn wants_checkpoints(&self) -> bool {
        true
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.shared.root)
    }

    fn figures(&self) -> Option<DiskFigures> {
        Some(self.shared.figures())
    }

    fn tick(&self, now: Now) -> Option<i64> {
        let now_ms = now.monotonic_ms;
        let next_ms = self.shared.remove_doomed(now_ms);
        let shared = self.shared.clone();
        let look = Box::new(move || shared.look_at_room());
        self.shared.pool.push(Job::Other(look));
        let Fsync::Interval(interval_ms) = self.shared.fsync else {
            return next_ms;
        };
        let mut next_sync_ms = *lock(&self.shared.next_sync_ms);
        if next_sync_ms.is_none_or(|due_ms| due_ms <= now_ms) {
            next_sync_ms = Some(now_ms.saturating_add(interval_ms));
            *lock(&self.shared.next_sync_ms) = next_sync_ms;
            self.shared.flush_all();
        }
        next_ms.into_iter().chain(next_sync_ms).min()
    }

    fn close(&self) {
        if self.shared.is_closed.swap(true, Relaxed) {
            return;
        }
        self.shared.flush_all();
        self.shared.pool.finish();
        self.shared.note_all();
        if let Some(directory) = lock(&self.directory).take() {
            directory.release();
        }
    }
}

impl Drop for DiskEngine {
    fn drop(&mut self) {
        if !self.shared.is_closed.swap(true, Relaxed) {
            self.shared.pool.abandon();
        }
    }
}
