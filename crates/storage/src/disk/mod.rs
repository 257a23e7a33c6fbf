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
pub use files::{Files, Listed, Mode, OpenFile, Room, SystemFiles};

use crate::engine::{Engine, OpenFailed, Opened, PartitionName};
use crate::limit::{Eviction, Memory};
use crate::memory::{MemoryLog, Order, Place};
use crate::partition::Partition;
use checkpoint::Offsets;
use folder::{DELETED, Folder, Kind};
use log::DiskLog;
use pool::{Job, Pool};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::sync::lock;
use rustka_core::time::Now;
use segment::{Segment, SegmentRules};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// Logs that are deleted and whose folders are perhaps still there.
    leaving: Mutex<BTreeMap<Box<str>, Arc<Writer>>>,
    noted: Mutex<Noted>,
    doomed: Mutex<Doomed>,
    next_sync_ms: Mutex<Option<i64>>,
    syncs: AtomicU64,
    written_bytes: AtomicU64,
    left: Mutex<Left>,
    told: Mutex<BTreeSet<String>>,
    /// Logs whose files are open, in the order in which they were opened.
    open: Mutex<VecDeque<Weak<Writer>>>,
}

/// What is remembered of logs beside their files.
#[derive(Default)]
struct Noted {
    /// Where those start that start later than their first segment.
    starts: Offsets,
    /// Up to where they are synced.
    synced: Offsets,
    /// It is about to be written.
    is_pending: bool,
}

/// What is left on the volume, as far as is known.
struct Left {
    /// When it was looked at last.
    free_bytes: u64,
    /// What had been written by then.
    written_bytes: u64,
    /// Below this only coordinators write.
    reserve_bytes: u64,
}

impl Default for Left {
    /// Nothing is known.
    fn default() -> Self {
        Left {
            free_bytes: u64::MAX,
            written_bytes: 0,
            reserve_bytes: 0,
        }
    }
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
        mut directory: Directory,
        memory: Arc<Memory>,
        fsync: Fsync,
        pool: Pool,
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
                noted: Mutex::new(Noted {
                    starts,
                    synced,
                    is_pending: false,
                }),
                doomed: Mutex::default(),
                next_sync_ms: Mutex::new(None),
                syncs: AtomicU64::new(0),
                written_bytes: AtomicU64::new(0),
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

/// What is left to coordinators on a volume that is full: at most this,
const RESERVE_BYTES_MAX: u64 = 64 << 20;
/// and no more than this part of it.
const RESERVE_PART: u64 = 20;
/// So many logs have their files open, three each; then others are closed first.
const OPEN_LOGS_MAX: usize = 64;
/// So many things are told of, each once.
const TOLD_MAX: usize = 1_000;

impl Shared {
    /// Whether something that may come again and again is to be told of in the log: once each.
    fn is_news(&self, what: impl Into<String>) -> bool {
        let mut told = lock(&self.told);
        told.len() < TOLD_MAX && told.insert(what.into())
    }

    /// A log is deleted. Its name may be another one's soon.
    fn leaves(&self, writer: &Arc<Writer>) {
        let name = writer.folder.name();
        let is_its = |known: &Weak<Writer>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(writer));
        let mut writers = lock(&self.writers);
        if writers.get(name).is_some_and(is_its) {
            writers.remove(name);
        }
        drop(writers);
        lock(&self.leaving).insert(name.into(), writer.clone());
    }

    /// Has the folder out of the way that a deleted log of this name may have left.
    fn clear_way(&self, name: &str) -> io::Result<()> {
        let Some(writer) = lock(&self.leaving).remove(name) else {
            return Ok(());
        };
        self.doom_folder(writer.folder.doom()?, 0);
        Ok(())
    }

    /// A deleted log's folder is out of the way.
    fn has_left(&self, writer: &Writer) {
        let name = writer.folder.name();
        let mut leaving = lock(&self.leaving);
        if leaving
            .get(name)
            .is_some_and(|known| std::ptr::eq(&**known, writer))
        {
            leaving.remove(name);
        }
    }

    /// Finds out how much is left on the volume.
    fn look_at_room(&self) {
        let written_bytes = self.written_bytes.load(Relaxed);
        let Ok(room) = self.files.room(&self.root) else {
            // Then a write finds out.
            return;
        };
        *lock(&self.left) = Left {
            free_bytes: room.free_bytes,
            written_bytes,
            reserve_bytes: RESERVE_BYTES_MAX.min(room.total_bytes / RESERVE_PART),
        };
    }

    /// Refuses a write that would take what is left for coordinators. So nothing fails in the middle, and all goes on by
    /// itself once there is room.
    fn check_room(&self) -> Result<(), Refusal> {
        let left = lock(&self.left);
        let since = self
            .written_bytes
            .load(Relaxed)
            .saturating_sub(left.written_bytes);
        let free_bytes = left.free_bytes.saturating_sub(since);
        if free_bytes >= left.reserve_bytes {
            return Ok(());
        }
        let message = format!(
            "the volume of the data directory {} is full: {free_bytes} bytes are left; make room there, or delete records",
            self.root.display()
        );
        Err(Refusal::new(ErrorCode::KafkaStorageError, message))
    }

    /// A log has opened its files: where there are too many, those that were opened first are closed.
    fn opened(&self, writer: &Arc<Writer>) {
        let oldest = {
            let mut open = lock(&self.open);
            open.push_back(Arc::downgrade(writer));
            let too_many = open.len() > OPEN_LOGS_MAX;
            open.pop_front_if(|_| too_many)
        };
        let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) else {
            return;
        };
        // What is dirty keeps its file open until it is synced.
        oldest.flush();
        if !oldest.close_files() {
            lock(&self.open).push_back(Arc::downgrade(&oldest));
        }
    }

    fn next_sequence(&self) -> u64 {
        self.last_sequence.fetch_add(1, Relaxed)
    }

    /// Remembers where a log starts, if that is not with its first segment.
    fn note_start(self: &Arc<Shared>, name: &str, start: Option<i64>) {
        let mut noted = lock(&self.noted);
        let changed = set(&mut noted.starts, name, start);
        let is_new = changed && !std::mem::replace(&mut noted.is_pending, true);
        drop(noted);
        if is_new {
            self.write_noted_soon();
        }
    }

    /// Remembers up to where a log is synced.
    fn note_synced(self: &Arc<Shared>, name: &str, synced: Option<i64>) {
        let mut noted = lock(&self.noted);
        let changed = set(&mut noted.synced, name, synced);
        let is_new = changed && !std::mem::replace(&mut noted.is_pending, true);
        drop(noted);
        if is_new {
            self.write_noted_soon();
        }
    }

    fn write_noted_soon(self: &Arc<Shared>) {
        let shared = self.clone();
        self.pool
            .push(Job::Other(Box::new(move || shared.write_noted())));
    }

    fn write_noted(&self) {
        let (starts, synced) = {
            let mut noted = lock(&self.noted);
            noted.is_pending = false;
            (noted.starts.clone(), noted.synced.clone())
        };
        let files = [
            (checkpoint::LOG_START, starts),
            (checkpoint::SYNCED, synced),
        ];
        for (name, offsets) in files {
            let path = self.root.join(name);
            if let Err(error) = checkpoint::write(&*self.files, &path, &offsets)
                && self.is_news(name)
            {
                tracing::error!(
                    target: "rustka::storage",
                    "cannot write {}: {error}; deleted records would come back after a crash",
                    path.display()
                );
            }
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

    /// All is written and synced: remembers that.
    fn note_all(&self) {
        let writers: Vec<_> = lock(&self.writers)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for writer in writers {
            if let Some(synced) = writer.synced() {
                let name = writer.folder.name();
                set(&mut lock(&self.noted).synced, name, Some(synced));
            }
        }
        self.write_noted();
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

/// Sets an offset or takes it away; whether that changed anything.
fn set(offsets: &mut Offsets, name: &str, offset: Option<i64>) -> bool {
    match offset {
        Some(offset) => offsets.insert(name.into(), offset) != Some(offset),
        None => offsets.remove(name).is_some(),
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
