//! What is remembered of logs beside their files, and when it is written.

use super::Shared;
use super::checkpoint::{self, Offsets};
use super::pool::Job;
use rustka_core::sync::{Guard, Rank, lock, lock_at};
use std::sync::Arc;

/// What is remembered of logs beside their files.
pub(super) struct Noted {
    /// Where those start that start later than their first segment.
    pub starts: Offsets,
    /// Up to where they are synced.
    pub synced: Offsets,
    /// It is about to be written.
    is_pending: bool,
}

impl Noted {
    /// As it was found.
    pub fn new(starts: Offsets, synced: Offsets) -> Noted {
        Noted {
            starts,
            synced,
            is_pending: false,
        }
    }
}

impl Shared {
    /// Remembers where a log starts, if that is not with its first segment.
    pub(super) fn note_start(self: &Arc<Shared>, name: &str, start: Option<i64>) {
        self.note(|noted| set(&mut noted.starts, name, start));
    }

    /// Remembers up to where a log is synced.
    pub(super) fn note_synced(self: &Arc<Shared>, name: &str, synced: Option<i64>) {
        self.note(|noted| set(&mut noted.synced, name, synced));
    }

    /// Changes something, and has it written soon if `change` says that it did.
    fn note(self: &Arc<Shared>, change: impl FnOnce(&mut Noted) -> bool) {
        let mut noted = lock(&self.noted);
        let is_new = change(&mut noted) && !std::mem::replace(&mut noted.is_pending, true);
        drop(noted);
        if is_new {
            let shared = self.clone();
            self.pool.push(Job::Other(Box::new(move || {
                let _told = shared.write_noted();
            })));
        }
    }

    /// Has nothing noted, on the disk as little as here, of a log that had this name before: it would hold for the one
    /// that begins now. Whether that could be done.
    pub(super) fn forget_name(&self, name: &str) -> bool {
        let noting = lock_at(Rank::Notes, &self.noting);
        let mut noted = lock(&self.noted);
        let was_known = set(&mut noted.starts, name, None) | set(&mut noted.synced, name, None);
        let is_old = was_known || noted.is_pending;
        drop(noted);
        !is_old || self.write_all_noted(&noting)
    }

    /// Writes it all; whether that could be done.
    fn write_noted(&self) -> bool {
        self.write_all_noted(&lock_at(Rank::Notes, &self.noting))
    }

    fn write_all_noted(&self, _noting: &Guard<'_, ()>) -> bool {
        let (starts, synced) = {
            let mut noted = lock(&self.noted);
            noted.is_pending = false;
            (noted.starts.clone(), noted.synced.clone())
        };
        let files = [
            (checkpoint::LOG_START, starts),
            (checkpoint::SYNCED, synced),
        ];
        let mut done = true;
        for (name, offsets) in files {
            let path = self.root.join(name);
            let written = checkpoint::write(&*self.files, &path, &offsets);
            done &= written.is_ok();
            if let Err(error) = written
                && self.is_news(name)
            {
                tracing::error!(
                    target: "rustka::storage",
                    "cannot write {}: {error}; deleted records would come back after a crash",
                    path.display()
                );
            }
        }
        done
    }

    /// All is written and synced: remembers that.
    pub(super) fn note_all(&self) {
        for writer in self.live_writers() {
            if let Some(synced) = writer.synced() {
                let name = writer.folder.name();
                set(&mut lock(&self.noted).synced, name, Some(synced));
            }
        }
        let _told = self.write_noted();
    }
}

/// Sets an offset or takes it away; whether that changed anything.
fn set(offsets: &mut Offsets, name: &str, offset: Option<i64>) -> bool {
    match offset {
        Some(offset) => offsets.insert(name.into(), offset) != Some(offset),
        None => offsets.remove(name).is_some(),
    }
}
