//! The side of a log that touches its files: does what the log has decided, in order, on the pool's threads, and reports
//! to the partition how far it is written and durable.

use super::files::{Mode, OpenFile};
use super::folder::{Folder, Kind};
use super::index::{OFFSET_ENTRY_BYTES, OffsetEntry, TIME_ENTRY_BYTES, TimeEntry};
use super::pool::Job;
use super::{Fsync, Shared};
use crate::buffer::Slice;
use crate::partition::Partition;
use rustka_core::sync::{Guard, Rank, lock, lock_at};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, Weak};

/// Something to be done to a log's files.
pub(super) enum Step {
    /// Begins a segment with empty files.
    Begin {
        /// Its base offset.
        base_offset: i64,
    },
    /// Writes a batch.
    Write(Write),
    /// Nothing more is written into a segment.
    Close {
        /// Its base offset.
        base_offset: i64,
        /// The entry by time that it gets at the end, with its number.
        time: Option<(u64, TimeEntry)>,
    },
    /// A segment goes.
    Drop {
        /// Its base offset.
        base_offset: i64,
        /// After how long its files are removed.
        delay_ms: i64,
    },
    /// The partition goes.
    Clear {
        /// After how long its files are removed.
        delay_ms: i64,
    },
}

/// A batch to be written.
pub(super) struct Write {
    /// The segment's base offset.
    pub segment: i64,
    /// Where in the segment.
    pub at: u64,
    pub bytes: Slice,
    /// The offset after the batch's last one.
    pub position: i64,
    /// Entries in the indexes, with their numbers.
    pub by_offset: Option<(u64, OffsetEntry)>,
    pub by_time: Option<(u64, TimeEntry)>,
}

/// See the file's top.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub folder: Folder,
    home: Weak<Partition>,
    desk: Mutex<Desk>,
    /// Held by whoever writes; there is one at a time.
    hand: Mutex<Hand>,
}

/// What is to be done.
#[derive(Default)]
struct Desk {
    steps: VecDeque<Step>,
    /// A job for the steps is queued or under way.
    is_writing: bool,
    /// A job for what is dirty is queued or under way.
    is_syncing: bool,
    dirty: Dirty,
    /// Up to where all is written.
    written: i64,
    /// Up to where all is synced, if anything was in this life.
    synced: Option<i64>,
    is_gone: bool,
    failed: bool,
}

/// What was written and is not durable.
#[derive(Default)]
struct Dirty {
    files: Vec<Arc<dyn OpenFile>>,
    /// Files are new.
    folder: bool,
}

impl Dirty {
    fn is_clean(&self) -> bool {
        self.files.is_empty() && !self.folder
    }

    fn add(&mut self, file: &Arc<dyn OpenFile>) {
        if !self.files.iter().any(|known| Arc::ptr_eq(known, file)) {
            self.files.push(file.clone());
        }
    }
}

/// The open segment's files.
#[derive(Default)]
struct Hand {
    is_made: bool,
    open: Option<Open>,
    /// It is among those whose files are closed when too many are open.
    is_listed: bool,
}

struct Open {
    base_offset: i64,
    log: Arc<dyn OpenFile>,
    index: Arc<dyn OpenFile>,
    time_index: Arc<dyn OpenFile>,
}

/// How far a round of writing came.
#[derive(Default)]
struct Round {
    written: Option<i64>,
    dirty: Dirty,
    /// Why it went no further.
    failed: Option<io::Error>,
}

impl Writer {
    /// Of a log whose folder is there already, or not yet.
    pub fn new(
        shared: &Arc<Shared>,
        folder: Folder,
        home: &Weak<Partition>,
        is_made: bool,
    ) -> Writer {
        Writer {
            shared: shared.clone(),
            folder,
            home: home.clone(),
            desk: Mutex::default(),
            hand: Mutex::new(Hand {
                is_made,
                ..Hand::default()
            }),
        }
    }

    fn desk(&self) -> Guard<'_, Desk> {
        lock(&self.desk)
    }

    /// Has something done soon; false if nothing is done any more.
    pub fn push(self: &Arc<Writer>, step: Step) -> bool {
        let mut desk = self.desk();
        let goes = matches!(step, Step::Clear { .. });
        if desk.failed && !goes {
            return false;
        }
        if goes {
            // What was on its way is of no use to anybody.
            desk.steps.clear();
            desk.is_gone = true;
        }
        desk.steps.push_back(step);
        let begins = !std::mem::replace(&mut desk.is_writing, true);
        drop(desk);
        if begins {
            self.shared.pool.push(Job::Write(self.clone()));
        }
        true
    }

    /// Up to where all is synced; nothing where that is no news, or of no use any more.
    pub fn synced(&self) -> Option<i64> {
        let desk = self.desk();
        desk.synced.filter(|_| !desk.is_gone)
    }

    /// Does what is queued, then has it synced where that is the rule.
    pub fn write(self: &Arc<Writer>) {
        let steps = std::mem::take(&mut self.desk().steps);
        let (round, is_new) = self.do_all(steps);
        if is_new {
            self.shared.opened(self);
        }
        let mut desk = self.desk();
        if self.shared.fsync != Fsync::Never {
            round
                .dirty
                .files
                .iter()
                .for_each(|file| desk.dirty.add(file));
            desk.dirty.folder |= round.dirty.folder;
        }
        if let Some(written) = round.written {
            desk.written = written;
        }
        let written = desk.written;
        if let Some(error) = round.failed {
            desk.failed = true;
            desk.steps.clear();
            desk.is_writing = false;
            drop(desk);
            self.failed("written", &error);
            return;
        }
        let more = !desk.steps.is_empty();
        desk.is_writing = more;
        let always = self.shared.fsync == Fsync::Always;
        let wants_sync = !desk.dirty.is_clean() && !desk.is_syncing && always;
        desk.is_syncing |= wants_sync;
        drop(desk);
        if more {
            self.shared.pool.push(Job::Write(self.clone()));
        }
        if round.written.is_some()
            && let Some(home) = self.home.upgrade()
        {
            match always {
                true => home.written_up_to(written),
                false => home.durable_up_to(written),
            }
        }
        if wants_sync {
            self.sync_soon();
        }
    }

    /// Syncs in this thread, unless too many do so already.
    fn sync_soon(self: &Arc<Writer>) {
        if self.shared.pool.begin_sync() {
            self.sync();
            self.shared.pool.end_sync();
        } else {
            self.shared.pool.push(Job::Sync(self.clone()));
        }
    }

    /// Has everything synced that was written, if anything was.
    pub fn flush(self: &Arc<Writer>) {
        let mut desk = self.desk();
        if desk.dirty.is_clean() || desk.is_syncing || desk.failed {
            return;
        }
        desk.is_syncing = true;
        drop(desk);
        self.shared.pool.push(Job::Sync(self.clone()));
    }

    /// Makes durable what was written by now. Who writes meanwhile has the next sync in common.
    pub fn sync(self: &Arc<Writer>) {
        let (dirty, written) = {
            let mut desk = self.desk();
            (std::mem::take(&mut desk.dirty), desk.written)
        };
        let synced = self.sync_all(&dirty);
        self.shared.syncs.fetch_add(1, Relaxed);
        let mut desk = self.desk();
        desk.is_syncing = false;
        if let Err(error) = synced {
            // Never again on the same file: the system may have dropped what it could not write, and say that all is well.
            desk.failed = true;
            desk.steps.clear();
            drop(desk);
            self.failed("synced", &error);
            return;
        }
        desk.synced = Some(written);
        let again = !desk.dirty.is_clean() && self.shared.fsync == Fsync::Always;
        desk.is_syncing = again;
        drop(desk);
        if again {
            self.shared.pool.push(Job::Sync(self.clone()));
        }
        if let Some(home) = self.home.upgrade() {
            home.durable_up_to(written);
        }
    }

    fn sync_all(&self, dirty: &Dirty) -> io::Result<()> {
        for file in &dirty.files {
            file.sync()?;
        }
        match dirty.folder {
            true => self.shared.files.sync_folder(&self.folder.path()),
            false => Ok(()),
        }
    }

    /// Nothing is known of the files any more.
    pub fn give_up(&self) {
        let mut desk = self.desk();
        desk.failed = true;
        desk.steps.clear();
        drop(desk);
        self.failed("written", &io::Error::other("a mistake of ours"));
    }

    /// What is not durable by now is lost, also what was written of it: nobody will sync it.
    fn failed(&self, what: &str, error: &io::Error) {
        tracing::error!(
            target: "rustka::storage",
            "{} could not be {what}: {error}",
            self.folder.name()
        );
        if let Some(home) = self.home.upgrade() {
            home.write_failed(home.offsets().high_watermark);
        }
    }

    /// Closes the files of a log that is not being written; they are opened again when they are needed. Whether that
    /// could be done.
    pub fn close_files(&self) -> bool {
        let Ok(mut hand) = self.hand.try_lock() else {
            return false;
        };
        hand.open = None;
        hand.is_listed = false;
        true
    }

    /// Does these steps; how far it came, and whether it holds files that nobody counts yet.
    fn do_all(&self, steps: VecDeque<Step>) -> (Round, bool) {
        let mut hand = lock_at(Rank::Files, &self.hand);
        let round = self.do_each(&mut hand, steps);
        let is_new = hand.open.is_some() && !std::mem::replace(&mut hand.is_listed, true);
        (round, is_new)
    }

    fn do_each(&self, hand: &mut Hand, steps: VecDeque<Step>) -> Round {
        let mut round = Round::default();
        let mut run = Run::default();
        for step in steps {
            let done = match step {
                Step::Write(write) if run.takes(&write) => {
                    run.push(write);
                    Ok(())
                }
                Step::Write(write) => {
                    let done = self.put(hand, &mut run, &mut round);
                    run.push(write);
                    done
                }
                step => self
                    .put(hand, &mut run, &mut round)
                    .and_then(|()| self.do_one(hand, step, &mut round)),
            };
            if let Err(error) = done {
                round.failed = Some(error);
                return round;
            }
        }
        round.failed = self.put(hand, &mut run, &mut round).err();
        round
    }

    /// Writes batches that lie one behind the other.
    fn put(&self, hand: &mut Hand, run: &mut Run, round: &mut Round) -> io::Result<()> {
        let run = std::mem::take(run);
        let Some(segment) = run.segment else {
            return Ok(());
        };
        let open = self.open(hand, segment)?;
        let mut at = run.at;
        for bytes in &run.bytes {
            open.log.write_at(bytes, at)?;
            at += bytes.len() as u64;
        }
        self.shared.written_bytes.fetch_add(at - run.at, Relaxed);
        round.dirty.add(&open.log);
        round.written = Some(run.position);
        run.by_offset.write(&*open.index)?;
        run.by_time.write(&*open.time_index)
    }

    fn do_one(&self, hand: &mut Hand, step: Step, round: &mut Round) -> io::Result<()> {
        match step {
            Step::Write(_) => Ok(()),
            Step::Begin { base_offset } => {
                if !hand.is_made {
                    self.shared.clear_way(self.folder.name())?;
                    self.folder.create()?;
                    hand.is_made = true;
                }
                hand.open = Some(self.open_segment(base_offset, Mode::Anew)?);
                round.dirty.folder = true;
                Ok(())
            }
            Step::Close { base_offset, time } => {
                if let Some((number, entry)) = time {
                    let open = self.open(hand, base_offset)?;
                    open.time_index
                        .write_at(&entry.encode(), number * TIME_ENTRY_BYTES)?;
                }
                hand.open = None;
                Ok(())
            }
            Step::Drop {
                base_offset,
                delay_ms,
            } => {
                if hand
                    .open
                    .as_ref()
                    .is_some_and(|open| open.base_offset == base_offset)
                {
                    hand.open = None;
                }
                self.shared
                    .doom_segment(&self.folder, base_offset, delay_ms)
            }
            Step::Clear { delay_ms } => {
                hand.open = None;
                // What is left is not found when topics are opened again: its folder tells another topic's id.
                match self.folder.doom() {
                    Ok(doomed) => self.shared.doom_folder(doomed, delay_ms),
                    Err(error) if self.shared.is_news("doom") => tracing::warn!(
                        target: "rustka::storage",
                        "the files of the deleted {} could not be set aside: {error}",
                        self.folder.name()
                    ),
                    Err(_) => {}
                }
                self.shared.has_left(self);
                Ok(())
            }
        }
    }

    fn open<'a>(&self, hand: &'a mut Hand, base_offset: i64) -> io::Result<&'a Open> {
        if hand
            .open
            .as_ref()
            .is_none_or(|open| open.base_offset != base_offset)
        {
            hand.open = Some(self.open_segment(base_offset, Mode::Write)?);
        }
        hand.open
            .as_ref()
            .ok_or_else(|| io::Error::other("no segment is open"))
    }

    fn open_segment(&self, base_offset: i64, mode: Mode) -> io::Result<Open> {
        let open = |kind| self.folder.open(kind, base_offset, mode);
        Ok(Open {
            base_offset,
            log: open(Kind::Log)?,
            index: open(Kind::Index)?,
            time_index: open(Kind::TimeIndex)?,
        })
    }
}

/// Batches that are written at once.
#[derive(Default)]
struct Run {
    segment: Option<i64>,
    at: u64,
    length: u64,
    bytes: Vec<Slice>,
    position: i64,
    by_offset: IndexRun,
    by_time: IndexRun,
}

impl Run {
    /// Whether the batch lies right behind the others.
    fn takes(&self, write: &Write) -> bool {
        self.segment == Some(write.segment) && self.at + self.length == write.at
    }

    fn push(&mut self, write: Write) {
        if self.segment.is_none() {
            self.segment = Some(write.segment);
            self.at = write.at;
        }
        self.length += write.bytes.len() as u64;
        self.position = write.position;
        if let Some((number, entry)) = write.by_offset {
            let at = number * OFFSET_ENTRY_BYTES;
            self.by_offset.push(at, &entry.encode());
        }
        if let Some((number, entry)) = write.by_time {
            self.by_time
                .push(number * TIME_ENTRY_BYTES, &entry.encode());
        }
        let last = self.bytes.last_mut();
        if !last.is_some_and(|last| last.join(&write.bytes)) {
            self.bytes.push(write.bytes);
        }
    }
}

/// Entries of an index, one behind the other.
#[derive(Default)]
struct IndexRun {
    at: u64,
    bytes: Vec<u8>,
}

impl IndexRun {
    fn push(&mut self, at: u64, entry: &[u8]) {
        if self.bytes.is_empty() {
            self.at = at;
        }
        self.bytes.extend_from_slice(entry);
    }

    fn write(&self, file: &dyn OpenFile) -> io::Result<()> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => file.write_at(&self.bytes, self.at),
        }
    }
}
