//! Batches in files, in the format and under the names of Apache Kafka 4.4.
//!
//! | file | what it does |
//! |---|---|
//! | `directory`, `meta` | the data directory as a whole: its lock, what lies in it; whose it is |
//! | `folder` | one partition's folder, and what is called how in there |
//! | `log` | decides where everything goes; under the partition's lock, so it touches no file |
//! | `segment`, `index` | what a log knows of a segment; which batches get an entry in its indexes |
//! | `writer` | has done what the log decided, in order, and reports how far it is written and durable |
//! | `desk`, `commit` | what a writer is to do; its rounds of writing and syncing |
//! | `step`, `run` | what there is to do; batches that are written at once |
//! | `hand` | does it: every step that touches a log's files |
//! | `shared` | what all logs of an engine share |
//! | `pool` | the threads on which writers work; group commit |
//! | `load` | reads what is no longer in memory, without any lock |
//! | `seek` | finds batches in a segment's file |
//! | `recent` | what was read into memory lately, for others who want the same |
//! | `extent` | how far to read in it |
//! | `readings` | which files are open for that, and what is known of where batches lie in them |
//! | `opening`, `recovery`, `tidy`, `scan` | what a start makes of the files that are there |
//! | `side` | Kafka's small files in a partition's folder |
//! | `snapshots` | Kafka's snapshots of metadata beside their log |
//! | `cleaned`, `moving`, `replace` | compaction: new segments, and how they come into the place of others |
//! | `checkpoint`, `noted` | the small text files with an offset for each partition, and what they say now |
//! | `scrub` | reads what nobody has read for long, to find damage early |
//! | `damage` | which offsets are known to be damaged |
//! | `doomed` | files that are no longer needed, and go later |
//! | `figures` | what was done with files and what is queued, as numbers |
//! | `room` | what is left on the volume |
//! | `check`, `overlay` | what a start would find and change, without changing it |
//! | `inspect` | what is in one file |
//! | `files`, `lock`, `uncached` | what is asked of the file system |
//!
//! A log keeps copies of what came last in memory, as far as the memory limit lets it: those are read at once, and what
//! is written but not yet synced lies there as well.

mod check;
mod checkpoint;
mod cleaned;
mod commit;
mod damage;
mod desk;
mod directory;
mod doomed;
mod extent;
mod figures;
mod files;
mod folder;
mod hand;
mod index;
mod inspect;
mod load;
mod lock;
mod log;
mod meta;
mod moving;
mod noted;
mod opening;
mod overlay;
mod pool;
mod readings;
mod recent;
mod recovery;
mod replace;
mod room;
mod run;
mod scan;
mod scrub;
mod seek;
mod segment;
mod shared;
mod side;
mod snapshots;
mod step;
mod tidy;
#[cfg(target_os = "linux")]
mod uncached;
mod writer;

pub use crate::figures::{DiskFigures, Room, SYNC_BUCKETS_US};
pub use check::{Checked, CheckedPartition, check};
pub use directory::{Directory, DirectoryError};
pub use figures::MonotonicUs;
pub use files::{Files, Listed, Mode, OpenFile, SystemFiles};
pub use inspect::{Piece, inspect};
pub use meta::Identity;
pub use overlay::Change;

use crate::engine::{Engine, OpenFailed, Opened, PartitionName, ScrubPace, Snapshots};
use crate::limit::{Eviction, Memory};
use crate::memory::{MemoryLog, Place};
use crate::partition::Partition;
use commit::is_no_room;
use figures::Counted;
use folder::Folder;
use log::DiskLog;
use opening::open;
use pool::{Job, Pool};
use readings::Readings;
use recent::Recent;
use recovery::Found;
use rustka_core::error::Refusal;
use rustka_core::names::CLUSTER_METADATA;
use rustka_core::sync::lock;
use rustka_core::time::Now;
use shared::Shared;
use snapshots::SnapshotFiles;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use writer::{There, Writer};

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
    /// Folders that nobody has looked into yet.
    unopened: Mutex<BTreeSet<Box<str>>>,
    /// They were left in order.
    was_clean: bool,
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
        let noted = directory.take_noted();
        let unopened = Mutex::new(directory.take_folders());
        let was_clean = directory.is_clean();
        let engine = DiskEngine {
            shared: Arc::new(Shared {
                files: directory.files().clone(),
                root: directory.path().clone(),
                recent: Recent::new(memory.limit()),
                memory,
                order: Arc::default(),
                pool: Arc::new(pool),
                fsync,
                last_sequence: AtomicU64::new(0),
                is_closed: AtomicBool::new(false),
                is_untrue: AtomicBool::new(false),
                writers: Mutex::default(),
                leaving: Mutex::default(),
                noted: Mutex::new(noted),
                noting: Mutex::default(),
                doomed: Mutex::default(),
                next_sync_ms: Mutex::new(None),
                syncs: AtomicU64::new(0),
                written_bytes: AtomicU64::new(0),
                counted: Counted::by(now_us),
                left: Mutex::default(),
                giving_up: Mutex::default(),
                told: Mutex::default(),
                open: Mutex::default(),
                scrub: Mutex::default(),
                readings: Readings::default(),
            }),
            directory: Mutex::new(Some(directory)),
            unopened,
            was_clean,
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
        loop {
            self.shared.live_writers().iter().for_each(Writer::hurry);
            if !self.shared.pool.work_one_by_hand(is_write) {
                return;
            }
        }
    }

    /// Does everything that is queued for this partition alone, in an engine without threads.
    #[cfg(feature = "testing")]
    pub fn work_for(&self, partition: &Partition) {
        let name = format!("{}-{}", partition.topic_id, partition.index);
        let concerns = |job: &Job| match job {
            Job::Write(writer) | Job::Sync(writer) => **writer.folder.name() == *name,
            Job::Other(_) => false,
        };
        while self.shared.pool.work_one_by_hand(concerns) {}
    }

    /// What an earlier life has left of a partition; nothing if there is no folder of it.
    fn find(&self, folder: &Folder, name: &PartitionName<'_>) -> io::Result<Option<Found>> {
        if !lock(&self.unopened).remove(&**folder.name()) {
            return Ok(None);
        }
        let owner = folder.owner()?;
        if owner == Some(name.topic_id) {
            let found = self.look_into(folder)?;
            return Ok(Some(found).filter(|found| !found.segments.is_empty()));
        }
        if owner.is_none() && folder.is_unclaimed()? {
            return Ok(None);
        }
        // There is one log of this name, whatever became of the file that says so. Kafka makes that anew as well.
        if owner.is_none() && name.topic == CLUSTER_METADATA {
            folder.claim()?;
            return self.look_into(folder).map(Some);
        }
        let aside = folder.set_aside("stray")?;
        tracing::warn!(
            target: "rustka::storage",
            "the folder {} does not belong to the topic that is called so now; it is kept as {aside}",
            folder.name()
        );
        Ok(None)
    }

    /// Opens what lies in a partition's folder. What has to be written for that finds room where the reserve was.
    fn look_into(&self, folder: &Folder) -> io::Result<Found> {
        match open(&self.shared, folder, self.was_clean) {
            Err(error) if is_no_room(&error) => {
                self.shared.make_way();
                open(&self.shared, folder, self.was_clean)
            }
            found => found,
        }
    }
}

fn folder_name(name: &PartitionName<'_>) -> String {
    format!("{}-{}", name.topic, name.index)
}

impl Engine for DiskEngine {
    fn open(&self, home: &Weak<Partition>, name: &PartitionName<'_>) -> Result<Opened, OpenFailed> {
        let shared = &self.shared;
        let folder_name = lock(&shared.noted).name(&folder_name(name));
        let folder = Folder::new(
            &shared.root,
            &shared.files,
            folder_name.clone(),
            name.topic_id,
        );
        let found = self.find(&folder, name).map_err(|error| {
            shared.is_untrue.store(true, Relaxed);
            OpenFailed(error.to_string())
        })?;
        let there = found.as_ref().map(|found| There {
            end: found.state.next_offset,
            snapshot: found.snapshot,
        });
        if there.is_none() {
            shared.forget(&folder_name);
        }
        let found = found.unwrap_or_default();
        shared.note_damaged(&folder_name, &found.damaged);
        let (start, cleaned) = {
            let noted = lock(&shared.noted);
            let start = noted.starts.get(&folder_name).copied();
            (start, noted.cleaned.get(&folder_name).copied())
        };
        let first = found
            .segments
            .first()
            .map_or(0, |first| first.info.base_offset);
        let log_end = found.state.next_offset;
        let writer = Arc::new(Writer::new(shared, folder, home, there));
        lock(&shared.writers).insert(folder_name, Arc::downgrade(&writer));
        let place = Place::new(shared.order.clone(), home.clone());
        let tail = MemoryLog::new(shared.memory.pool.clone(), place);
        let checkpoint = there.is_some().then(|| found.state.clone());
        Ok(Opened {
            log: Box::new(DiskLog::new(shared, writer, tail, found)),
            log_start: start.unwrap_or(first).max(first).min(log_end.max(first)),
            log_end,
            checkpoint,
            cleaned: cleaned
                .filter(|_| there.is_some())
                .map_or(0, |cleaned| cleaned.min(log_end)),
        })
    }

    fn has_unopened(&self, name: &PartitionName<'_>) -> bool {
        let unopened = lock(&self.unopened);
        !unopened.is_empty() && unopened.contains(&*folder_name(name))
    }

    fn leave_unopened(&self) {
        self.shared.is_untrue.store(true, Relaxed);
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.shared.memory
    }

    fn make_room(&self) -> Result<(), Refusal> {
        self.shared.check_room()?;
        let order = &self.shared.order;
        let forget = || match self.shared.recent.give_back() {
            true => Eviction::Forgotten,
            false => match order.evict() {
                Eviction::Done => Eviction::Forgotten,
                other => other,
            },
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

    fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    fn snapshots(&self, name: &PartitionName<'_>) -> Option<Box<dyn Snapshots>> {
        let folder = self.shared.root.join(folder_name(name));
        Some(Box::new(SnapshotFiles::new(&self.shared.files, folder)))
    }

    fn tick(&self, now: Now) -> Option<i64> {
        let now_ms = now.monotonic_ms;
        let next_ms = self.shared.remove_doomed(now_ms);
        if self.shared.readings.sweep(now_ms) {
            self.shared.recent.sweep();
        }
        let shared = self.shared.clone();
        let look = Box::new(move || shared.keep_room());
        self.shared.pool.push(Job::Other(look));
        let next_ms = match self.shared.fsync {
            Fsync::Always => next_ms,
            Fsync::Interval(_) | Fsync::Never => {
                let writers = self.shared.live_writers();
                let dues = writers.iter().filter_map(|one| one.flush_if_old(now_ms));
                next_ms.into_iter().chain(dues).min()
            }
        };
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

    fn scrub(&self, now: Now, pace: ScrubPace) {
        if self.shared.scrub_begins(now, pace) {
            let shared = self.shared.clone();
            let read = Box::new(move || shared.scrub());
            self.shared.pool.push(Job::Other(read));
        }
    }

    fn close(&self) {
        if self.shared.is_closed.swap(true, Relaxed) {
            return;
        }
        let writers = self.shared.live_writers();
        writers.iter().for_each(Writer::rest);
        self.shared.flush_all();
        self.shared.pool.finish();
        let is_noted = self.shared.note_all();
        let Some(directory) = lock(&self.directory).take() else {
            return;
        };
        let is_true = !self.shared.is_untrue.load(Relaxed);
        if is_true && is_noted && writers.iter().all(|writer| writer.is_at_rest()) {
            if let Err(error) = directory.mark_clean() {
                tracing::warn!(
                    target: "rustka::storage",
                    "the data directory {} could not be marked as left in order: {error}",
                    self.shared.root.display()
                );
            }
        } else {
            tracing::warn!(
                target: "rustka::storage",
                "the data directory {} is not left in order: the next start goes over what is not known to be whole",
                self.shared.root.display()
            );
        }
        directory.release();
    }
}

impl Drop for DiskEngine {
    fn drop(&mut self) {
        if !self.shared.is_closed.swap(true, Relaxed) {
            self.shared.pool.abandon();
        }
    }
}
