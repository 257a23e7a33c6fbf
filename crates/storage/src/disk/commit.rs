//! Group commit: a writer's rounds. Whatever was queued is one write, whatever was written is one sync, and what comes
//! during a sync has the next one in common.

use super::Fsync;
use super::desk::Desk;
use super::files::is_failed_sync;
use super::hand::{Dirty, Round};
use super::pool::Job;
use super::step::Step;
use super::writer::Writer;
use rustka_core::sync::{Rank, lock_at};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Writer {
    /// Does what is queued; what is to follow: a sync where that is the rule, or more of the same.
    pub fn write(self: &Arc<Writer>) -> Option<Job> {
        let steps = self.desk().take_steps();
        self.write_steps(steps)
    }

    fn write_steps(self: &Arc<Writer>, mut steps: VecDeque<Step>) -> Option<Job> {
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
        let always = self.shared.fsync == Fsync::Always;
        let mut desk = self.desk();
        if let Some(written) = round.written {
            desk.written = written;
        }
        let written = desk.written;
        self.note_dirty(&mut desk, &round);
        let mut waits_for_room = false;
        if let Some(error) = round.failed {
            let has_no_room = is_no_room(&error);
            waits_for_room = has_no_room && round.may_go_on && !self.is_gone() && !desk.failed;
            // Nobody misses what is not written of a log that goes.
            let is_missed = !has_no_room || !self.is_gone();
            if waits_for_room {
                steps.append(&mut desk.steps);
                desk.steps = steps;
            } else if is_missed {
                desk.failed = true;
                desk.steps.clear();
                desk.is_writing = false;
                drop(desk);
                if is_failed_sync(&error) {
                    self.folder.mark_unsure();
                }
                self.failed("written", &error);
                return None;
            }
        }
        let is_rule = match self.shared.fsync {
            Fsync::Always => true,
            Fsync::Never => round.notes,
            Fsync::Interval(_) => false,
        };
        let is_due = is_rule || round.flush || round.rests.is_some();
        // A sync may have failed meanwhile: there is none of the same file after that.
        let wants_sync = !desk.dirty.is_clean() && !desk.is_syncing && !desk.failed && is_due;
        desk.is_syncing |= wants_sync;
        desk.is_writing = waits_for_room;
        let more = desk.begins_to_write();
        let synced = match desk.dirty.is_clean() && !desk.is_syncing {
            true => desk.take_news(),
            false => None,
        };
        drop(desk);
        if let Some(synced) = synced {
            self.shared.note_synced(self, synced);
        }
        if waits_for_room {
            self.shared.is_out_of_room(self);
        }
        if round.written.is_some()
            && let Some(home) = self.home.upgrade()
        {
            match always || round.flush {
                true => home.written_up_to(written),
                false => home.durable_up_to(written),
            }
        }
        match (wants_sync, more) {
            (true, more) => {
                if more {
                    self.shared.pool.push(Job::Write(self.clone()));
                }
                Some(Job::Sync(self.clone()))
            }
            (false, true) => Some(Job::Write(self.clone())),
            (false, false) => None,
        }
    }

    fn note_dirty(&self, desk: &mut Desk, round: &Round) {
        let never = self.shared.fsync == Fsync::Never;
        if !never || round.notes || round.flush || self.flush_ms().is_some() {
            let files = round.dirty.files.iter();
            files.for_each(|file| desk.dirty.add(file));
            desk.dirty.folder |= round.dirty.folder;
            desk.dirty_to = desk.written;
        }
        desk.notes |= round.notes;
        desk.flush |= round.flush;
        if desk.steps.is_empty() {
            desk.rests = round.rests;
        }
    }

    /// Makes durable what has come by now. Who writes meanwhile has the next sync in common, which is what is to follow.
    pub fn sync(self: &Arc<Writer>) -> Option<Job> {
        self.write_held();
        let (dirty, written) = {
            let mut desk = self.desk();
            desk.dirty_since_ms = None;
            desk.flush = false;
            (std::mem::take(&mut desk.dirty), desk.dirty_to)
        };
        let synced = match dirty.is_clean() {
            true => Ok(()),
            false => self.shared.counted.timed(|| {
                let synced = self.sync_all(&dirty);
                self.shared.syncs.fetch_add(1, Relaxed);
                synced
            }),
        };
        if let Err(error) = synced {
            self.sync_failed(&error);
            return None;
        }
        let mut desk = self.desk();
        desk.synced = Some(written);
        let rests = desk.rests.is_some();
        let is_due = self.shared.fsync == Fsync::Always || rests || desk.flush;
        // What was held is written before the next sync; what is being written has that one in common.
        let is_held = !desk.steps.is_empty() && !desk.is_writing;
        let again = is_held || !desk.dirty.is_clean() && is_due;
        desk.is_syncing = again;
        let news = desk.take_news();
        drop(desk);
        if let Some(synced) = news {
            self.shared.note_synced(self, synced);
        }
        if let Some(home) = self.home.upgrade() {
            home.durable_up_to(written);
        }
        again.then(|| Job::Sync(self.clone()))
    }

    /// Never again on the same file: the system may have dropped what it could not write, and say that all is well.
    fn sync_failed(&self, error: &io::Error) {
        let mut desk = self.desk();
        desk.is_syncing = false;
        desk.failed = true;
        desk.steps.clear();
        drop(desk);
        self.folder.mark_unsure();
        self.failed("synced", error);
    }

    /// Writes what was held back for the sync that comes now.
    fn write_held(self: &Arc<Writer>) {
        let steps = {
            let mut desk = self.desk();
            if desk.is_writing || desk.steps.is_empty() {
                return;
            }
            desk.is_writing = true;
            desk.take_steps()
        };
        if let Some(more) = self.write_steps(steps) {
            self.shared.pool.push(more);
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
}

/// Whether that is over once somebody has made room.
pub(super) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
