//! The side of a log that touches its files: has done what the log has decided, in order, on the pool's threads, and
//! reports to the partition how far it is written and durable. Its rounds: `commit`; how each step is done: `hand`.

use super::desk::Desk;
use super::folder::Folder;
use super::hand::Hand;
use super::pool::Job;
use super::step::Step;
use super::{Fsync, Shared};
use crate::partition::Partition;
use rustka_core::config::SharedConfig;
use rustka_core::sync::{Guard, lock};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

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
    pub(super) home: Weak<Partition>,
    desk: Mutex<Desk>,
    /// It is deleted.
    is_gone: AtomicBool,
    /// Writers that began later have a greater one.
    number: u64,
    /// What its topic demands.
    config: OnceLock<Arc<SharedConfig>>,
    /// Held by whoever writes; there is one at a time.
    pub(super) hand: Mutex<Hand>,
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
            syncs_always: shared.fsync == Fsync::Always,
            ..Desk::default()
        };
        Writer {
            shared: shared.clone(),
            folder,
            home: home.clone(),
            desk: Mutex::new(desk),
            is_gone: AtomicBool::new(false),
            number: shared.next_sequence(),
            config: OnceLock::new(),
            hand: Mutex::new(Hand::new(there.is_some(), end, snapshot)),
        }
    }

    pub(super) fn desk(&self) -> Guard<'_, Desk> {
        lock(&self.desk)
    }

    /// Whose log it is.
    pub fn partition(&self) -> Option<Arc<Partition>> {
        self.home.upgrade()
    }

    /// The log is deleted: nothing that is known of it holds any more.
    pub fn leave(&self) {
        self.is_gone.store(true, Relaxed);
    }

    /// Whether it is deleted.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    /// Whether it began before another one.
    pub(super) fn is_before(&self, other: &Writer) -> bool {
        self.number < other.number
    }

    /// A later log has its name: waits until whoever writes has done what it is about, and has nothing more done. Where the
    /// folder is now, if there was one.
    ///
    /// # Errors
    /// It could not be set aside.
    pub(super) fn end(&self) -> io::Result<Option<PathBuf>> {
        // Of no rank, though the hand of the later log is held: nobody who writes waits for a later one.
        let hand = self.hand.lock();
        hand.unwrap_or_else(PoisonError::into_inner).end();
        self.folder.doom()
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
        }
        desk.is_touched = true;
        desk.rests = None;
        desk.put(step);
        let begins = desk.begins_to_write();
        drop(desk);
        if begins {
            self.shared.pool.push(Job::Write(self.clone()));
        }
        true
    }

    /// Somebody waits for what has come to be written, durable or not.
    pub fn hurry(self: &Arc<Writer>) {
        let mut desk = self.desk();
        desk.hurry();
        let begins = desk.begins_to_write();
        drop(desk);
        if begins {
            self.shared.pool.push(Job::Write(self.clone()));
        }
    }

    /// Up to where all is synced; nothing where that is no news, or of no use any more.
    pub fn synced(&self) -> Option<i64> {
        self.desk().synced.filter(|_| !self.is_gone())
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
    pub(super) fn flush_ms(&self) -> Option<i64> {
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

    /// Nothing more comes: has all that Kafka believes after an orderly stop be true. Nothing is done for a log that is as
    /// it was left before.
    pub fn rest(self: &Arc<Writer>) {
        let desk = self.desk();
        let is_idle = !desk.is_touched || self.is_gone();
        drop(desk);
        if !is_idle {
            self.push(Step::Rest);
        }
    }

    /// Whether all is durable, and as Kafka believes it to be after an orderly stop.
    pub fn is_at_rest(&self) -> bool {
        let desk = self.desk();
        let is_true = desk.dirty.is_clean() && desk.rests == Some(true);
        self.is_gone() || is_true && !desk.failed
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
    pub(super) fn failed(&self, what: &str, error: &io::Error) {
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
