//! The side of a log that touches its files: has done what the log has decided, in order, on the pool's threads, and
//! reports to the partition how far it is written and durable. How each step is done: `hand`.

use super::folder::Folder;
use super::hand::{Dirty, Hand, Step};
use super::pool::Job;
use super::{Fsync, Shared};
use crate::partition::Partition;
use rustka_core::config::SharedConfig;
use rustka_core::sync::{Guard, Rank, lock, lock_at};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// A log that lies there when it is opened.
#[derive(Clone, Copy, Default)]
pub(super) struct There {
    /// Where it ends.
    pub end: i64,
    /// The offset of its newest snapshot of producers.
    pub snapshot: Option<i64>,
}

/// See the file's top.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub folder: Folder,
    home: Weak<Partition>,
    desk: Mutex<Desk>,
    /// What its topic demands.
    config: OnceLock<Arc<SharedConfig>>,
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
    /// When what is dirty was seen first, on the monotonic clock.
    dirty_since_ms: Option<i64>,
    /// It is to be synced at once, whatever the rule.
    flush: bool,
    /// Up to where nothing is left to sync once `dirty` is synced.
    dirty_to: i64,
    /// How far it is synced is to be noted with the next sync.
    notes: bool,
    /// Anything was done in this life.
    is_touched: bool,
    /// Nothing more is to come; whether all is as Kafka believes it to be after an orderly stop.
    rests: Option<bool>,
    /// Up to where all is written.
    written: i64,
    /// Up to where all is synced, if anything was in this life.
    synced: Option<i64>,
    is_gone: bool,
    failed: bool,
}

impl Desk {
    /// Up to where it is synced, if that is to be noted.
    fn take_news(&mut self) -> Option<i64> {
        let is_news = std::mem::take(&mut self.notes) && !self.is_gone;
        self.synced.filter(|_| is_news)
    }
}

impl Writer {
    /// Of a log that lies there, all of it durable, or that is not there yet.
    pub fn new(
        shared: &Arc<Shared>,
        folder: Folder,
        home: &Weak<Partition>,
        there: Option<There>,
    ) -> Writer {
        let There { end, snapshot } = there.unwrap_or_default();
        let desk = Desk {
            written: end,
            synced: there.is_some().then_some(end),
            rests: Some(snapshot == Some(end) || end == 0),
            ..Desk::default()
        };
        Writer {
            shared: shared.clone(),
            folder,
            home: home.clone(),
            desk: Mutex::new(desk),
            config: OnceLock::new(),
            hand: Mutex::new(Hand::new(there.is_some(), end, snapshot)),
        }
    }

    fn desk(&self) -> Guard<'_, Desk> {
        lock(&self.desk)
    }

    /// Whose log it is.
    pub fn partition(&self) -> Option<Arc<Partition>> {
        self.home.upgrade()
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
        desk.is_touched = true;
        desk.rests = None;
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
        let mut steps = std::mem::take(&mut self.desk().steps);
        let (round, is_new) = {
            let mut hand = lock_at(Rank::Files, &self.hand);
            let round = hand.do_each(self, &mut steps);
            if round.failed.as_ref().is_some_and(is_no_room) && round.may_go_on {
                hand.drop_early(self, &mut steps);
            }
            let is_new = hand.has_become_open();
            (round, is_new)
        };
        if is_new {
            self.shared.opened(self);
        }
        let mut desk = self.desk();
        if let Some(written) = round.written {
            desk.written = written;
        }
        let written = desk.written;
        let never = self.shared.fsync == Fsync::Never;
        if !never || round.notes || round.flush || self.flush_ms().is_some() {
            round
                .dirty
                .files
                .iter()
                .for_each(|file| desk.dirty.add(file));
            desk.dirty.folder |= round.dirty.folder;
            desk.dirty_to = written;
        }
        desk.notes |= round.notes;
        desk.flush |= round.flush;
        if desk.steps.is_empty() {
            desk.rests = round.rests;
        }
        let mut waits_for_room = false;
        if let Some(error) = round.failed {
            let has_no_room = is_no_room(&error);
            waits_for_room = has_no_room && round.may_go_on && !desk.is_gone;
            // Nobody misses what is not written of a log that goes.
            let is_missed = !has_no_room || !desk.is_gone;
            if waits_for_room {
                steps.append(&mut desk.steps);
                desk.steps = steps;
            } else if is_missed {
                desk.failed = true;
                desk.steps.clear();
                desk.is_writing = false;
                drop(desk);
                self.failed("written", &error);
                return;
            }
        }
        let more = !desk.steps.is_empty();
        desk.is_writing = more;
        let always = self.shared.fsync == Fsync::Always;
        let is_due = always || never && round.notes || round.flush || round.rests.is_some();
        let wants_sync = !desk.dirty.is_clean() && !desk.is_syncing && is_due;
        desk.is_syncing |= wants_sync;
        let synced = match desk.dirty.is_clean() && !desk.is_syncing {
            true => desk.take_news(),
            false => None,
        };
        drop(desk);
        if let Some(synced) = synced {
            self.shared.note_synced(self.folder.name(), synced);
        }
        if waits_for_room {
            self.shared.is_out_of_room(self);
        } else if more {
            self.shared.pool.push(Job::Write(self.clone()));
        }
        if round.written.is_some()
            && let Some(home) = self.home.upgrade()
        {
            match always || round.flush {
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

    /// Follows these configs of its topic from now on.
    pub fn configure(&self, config: &Arc<SharedConfig>) {
        // A topic keeps the place where its configs stand.
        self.config.get_or_init(|| config.clone());
    }

    /// After how long its topic wants to be synced, if it has a wish.
    fn flush_ms(&self) -> Option<i64> {
        let flush_ms = self.config.get()?.now().flush_ms;
        Some(flush_ms).filter(|ms| *ms < i64::MAX)
    }

    /// Syncs what has been dirty for as long as its topic allows; when that is next, of what is.
    pub fn flush_if_old(self: &Arc<Writer>, now_ms: i64) -> Option<i64> {
        let flush_ms = self.flush_ms()?;
        let mut desk = self.desk();
        if desk.dirty.is_clean() || desk.failed {
            return None;
        }
        let due_ms = desk
            .dirty_since_ms
            .get_or_insert(now_ms)
            .saturating_add(flush_ms);
        drop(desk);
        if due_ms > now_ms {
            return Some(due_ms);
        }
        self.flush();
        None
    }

    /// Makes durable what was written by now. Who writes meanwhile has the next sync in common.
    pub fn sync(self: &Arc<Writer>) {
        let (dirty, written) = {
            let mut desk = self.desk();
            desk.dirty_since_ms = None;
            desk.flush = false;
            (std::mem::take(&mut desk.dirty), desk.dirty_to)
        };
        let synced = self.shared.counted.timed(|| self.sync_all(&dirty));
        self.shared.syncs.fetch_add(1, Relaxed);
        let mut desk = self.desk();
        desk.is_syncing = false;
        if let Err(error) = synced {
            // Never again on the same file: the system may have dropped what it could not write, and say that all is well.
            desk.failed = true;
            desk.steps.clear();
            drop(desk);
            if let Err(error) = self.folder.mark_unsure() {
                tracing::error!(
                    target: "rustka::storage",
                    "{} cannot be marked for the next start: {error}; start the machine anew before the broker",
                    self.folder.name()
                );
            }
            self.failed("synced", &error);
            return;
        }
        desk.synced = Some(written);
        let rests = desk.rests.is_some();
        let is_due = self.shared.fsync == Fsync::Always || rests || desk.flush;
        let again = !desk.dirty.is_clean() && is_due;
        desk.is_syncing = again;
        let news = desk.take_news();
        drop(desk);
        if let Some(synced) = news {
            self.shared.note_synced(self.folder.name(), synced);
        }
        if again {
            self.shared.pool.push(Job::Sync(self.clone()));
        }
        if let Some(home) = self.home.upgrade() {
            home.durable_up_to(written);
        }
    }

    /// Nothing more comes: has all that Kafka believes after an orderly stop be true. Nothing is done for a log that is as
    /// it was left before.
    pub fn rest(self: &Arc<Writer>) {
        let desk = self.desk();
        let is_idle = !desk.is_touched || desk.is_gone;
        drop(desk);
        if !is_idle {
            self.push(Step::Rest);
        }
    }

    /// Whether all is durable, and as Kafka believes it to be after an orderly stop.
    pub fn is_at_rest(&self) -> bool {
        let desk = self.desk();
        let is_true = desk.dirty.is_clean() && desk.rests == Some(true);
        desk.is_gone || is_true && !desk.failed
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
        self.shared.counted.failures.fetch_add(1, Relaxed);
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
        hand.close();
        true
    }
}

/// Whether that is over once somebody has made room.
fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
