//! Batches in files, in the format and under the names of Apache Kafka 4.4.
//!
//! | file | what it does |
//! |---|---|
//! | `directory` | the data directory as a whole: who it belongs to, its lock, what lies in it |
//! | `folder` | one partition's folder, and what is called how in there |
//! | `log` | decides where everything goes; under the partition's lock, so it touches no file |
//! | `segment`, `index` | what a log knows of a segment; which batches get an entry in its indexes |
//! | `writer` | does what the log decided, in order, and reports how far it is written and durable |
//! | `pool` | the threads on which writers work; group commit |
//! | `load` | reads what is no longer in memory, without any lock |
//! | `recovery`, `scan` | what a start makes of the files that are there |
//! | `checkpoint` | the small text files with an offset for each partition |
//! | `files`, `lock` | what is asked of the file system |
//!
//! A log keeps copies of what came last in memory, as far as the memory limit lets it: those are read at once, and what
//! is written but not yet synced lies there as well.

mod checkpoint;
mod directory;
mod files;
mod folder;
mod index;
mod load;
mod lock;
mod log;
mod pool;
mod recovery;
mod scan;
mod segment;
mod writer;

pub use directory::{Directory, DirectoryError, Identity};
pub use files::{Files, Listed, Mode, OpenFile, SystemFiles};

use crate::engine::{Engine, OpenFailed, Opened, PartitionName};
use crate::limit::{Eviction, Memory};
use crate::memory::{MemoryLog, Order, Place};
use crate::partition::Partition;
use checkpoint::Offsets;
use folder::{DELETED, Folder, Kind};
use log::DiskLog;
use pool::{Job, Pool};
use rustka_core::error::Refusal;
use rustka_core::sync::lock;
use rustka_core::time::Now;
use segment::{Segment, SegmentRules};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
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

/// What all logs of an engine share.
struct Shared {
    files: Arc<dyn Files>,
    root: Arc<Path>,
    memory: Arc<Memory>,
    order: Arc<Order>,
    pool: Arc<Pool>,
    fsync: Fsync,
    last_sequence: AtomicU64,
    is_closed: AtomicBool,
    writers: Mutex<BTreeMap<Box<str>, Weak<Writer>>>,
    starts: Mutex<Starts>,
    doomed: Mutex<Doomed>,
    next_sync_ms: Mutex<Option<i64>>,
    syncs: AtomicU64,
    written_bytes: AtomicU64,
    told: Mutex<BTreeSet<String>>,
}

/// Where logs start that start later than their first segment.
#[derive(Default)]
struct Starts {
    offsets: Offsets,
    /// They are about to be written.
    is_noted: bool,
}

/// Files that are no longer needed.
#[derive(Default)]
struct Doomed {
    /// Not looked at yet, with the delay.
    fresh: Vec<(i64, Gone)>,
    /// By the time when they go.
    due: BTreeMap<i64, Vec<Gone>>,
}

enum Gone {
    Files(Vec<PathBuf>),
    Folder(PathBuf),
}

impl DiskEngine {
    /// An engine in this directory, with so much memory for frames and copies.
    pub fn new(
        directory: Directory,
        memory: Arc<Memory>,
        fsync: Fsync,
    ) -> Result<DiskEngine, DirectoryError> {
        DiskEngine::with(directory, memory, fsync, Pool::default())
    }

    /// The same without threads, for tests: see [`DiskEngine::work`].
    #[cfg(feature = "testing")]
    pub fn by_hand(
        directory: Directory,
        memory: Arc<Memory>,
        fsync: Fsync,
    ) -> Result<DiskEngine, DirectoryError> {
        DiskEngine::with(directory, memory, fsync, Pool::by_hand())
    }

    fn with(
        directory: Directory,
        memory: Arc<Memory>,
        fsync: Fsync,
        pool: Pool,
    ) -> Result<DiskEngine, DirectoryError> {
        let offsets = directory.read_offsets(checkpoint::LOG_START)?;
        Ok(DiskEngine {
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
                starts: Mutex::new(Starts {
                    offsets,
                    is_noted: false,
                }),
                doomed: Mutex::default(),
                next_sync_ms: Mutex::new(None),
                syncs: AtomicU64::new(0),
                written_bytes: AtomicU64::new(0),
                told: Mutex::default(),
            }),
            directory: Mutex::new(Some(directory)),
        })
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
        recovery::recover(&*shared.files, folder, &rules, || shared.next_sequence())
    }
}

/// So many things are told of, each once.
const TOLD_MAX: usize = 1_000;

impl Shared {
    /// Whether something that may come again and again is to be told of in the log: once each.
    fn is_news(&self, what: impl Into<String>) -> bool {
        let mut told = lock(&self.told);
        told.len() < TOLD_MAX && told.insert(what.into())
    }

    fn next_sequence(&self) -> u64 {
        self.last_sequence.fetch_add(1, Relaxed)
    }

    /// Remembers where a log starts, if that is not with its first segment.
    fn note_start(self: &Arc<Shared>, name: &str, start: Option<i64>) {
        let mut starts = lock(&self.starts);
        let changed = match start {
            Some(start) => starts.offsets.insert(name.into(), start) != Some(start),
            None => starts.offsets.remove(name).is_some(),
        };
        if !changed || std::mem::replace(&mut starts.is_noted, true) {
            return;
        }
        drop(starts);
        let shared = self.clone();
        let job = Box::new(move || shared.write_starts());
        self.pool.push(Job::Other(job));
    }

    fn write_starts(&self) {
        let offsets = {
            let mut starts = lock(&self.starts);
            starts.is_noted = false;
            starts.offsets.clone()
        };
        let path = self.root.join(checkpoint::LOG_START);
        if let Err(error) = checkpoint::write(&*self.files, &path, &offsets)
            && self.is_news(checkpoint::LOG_START)
        {
            tracing::error!(
                target: "rustka::storage",
                "cannot write {}: {error}; deleted records would come back after a crash",
                path.display()
            );
        }
    }

    /// Takes a segment's files away from their log, to be removed later.
    fn doom_segment(&self, folder: &Folder, base_offset: i64, delay_ms: i64) -> io::Result<()> {
        let mut gone = Vec::new();
        for kind in Kind::ALL {
            let from = folder.at(&kind.name(base_offset));
            let mut to = from.clone().into_os_string();
            to.push(DELETED);
            let to = PathBuf::from(to);
            match self.files.rename(&from, &to) {
                Ok(()) => gone.push(to),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        lock(&self.doomed).fresh.push((delay_ms, Gone::Files(gone)));
        Ok(())
    }

    fn doom_folder(&self, folder: Option<PathBuf>, delay_ms: i64) {
        let gone = folder.map(|folder| (delay_ms, Gone::Folder(folder)));
        lock(&self.doomed).fresh.extend(gone);
    }

    /// Has those files removed whose time has come; when the next one's comes.
    fn remove_doomed(self: &Arc<Shared>, now_ms: i64) -> Option<i64> {
        let mut doomed = lock(&self.doomed);
        for (delay_ms, gone) in std::mem::take(&mut doomed.fresh) {
            let due_ms = now_ms.saturating_add(delay_ms.max(0));
            doomed.due.entry(due_ms).or_default().push(gone);
        }
        let later = doomed.due.split_off(&now_ms.saturating_add(1));
        let due = std::mem::replace(&mut doomed.due, later);
        let next_ms = doomed.due.keys().next().copied();
        drop(doomed);
        if !due.is_empty() {
            let shared = self.clone();
            let job = Box::new(move || {
                due.into_values()
                    .flatten()
                    .for_each(|gone| shared.remove(&gone));
            });
            self.pool.push(Job::Other(job));
        }
        next_ms
    }

    /// What cannot be removed now goes at the next start.
    fn remove(&self, gone: &Gone) {
        let removed = match gone {
            Gone::Folder(folder) => folder::remove(&*self.files, folder),
            Gone::Files(paths) => {
                paths
                    .iter()
                    .try_for_each(|path| match self.files.remove_file(path) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                        done => done,
                    })
            }
        };
        if let Err(error) = removed
            && self.is_news("remove")
        {
            tracing::warn!(
                target: "rustka::storage",
                "deleted records could not be removed: {error}"
            );
        }
    }

    /// Has everything synced that was written.
    fn flush_all(&self) {
        let writers: Vec<_> = lock(&self.writers)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        writers.iter().for_each(Writer::flush);
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
        let start = lock(&shared.starts).offsets.get(&*folder_name).copied();
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

    fn tick(&self, now: Now) -> Option<i64> {
        let now_ms = now.monotonic_ms;
        let next_ms = self.shared.remove_doomed(now_ms);
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
