//! What is remembered of logs beside their files, and when it is written.

use super::Shared;
use super::checkpoint::{self, Offsets};
use super::pool::Job;
use rustka_core::sync::lock;
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
            self.pool
                .push(Job::Other(Box::new(move || shared.write_noted())));
        }
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

    /// All is written and synced: remembers that.
    pub(super) fn note_all(&self) {
        for writer in self.live_writers() {
            if let Some(synced) = writer.synced() {
                let name = writer.folder.name();
                set(&mut lock(&self.noted).synced, name, Some(synced));
            }
        }
        self.write_noted();
    }
}

/// Sets an offset or takes it away; whether that changed anything.
fn set(offsets: &mut Offsets, name: &str, offset: Option<i64>) -> bool {
    match offset {
        Some(offset) => offsets.insert(name.into(), offset) != Some(offset),
        None => offsets.remove(name).is_some(),
    }
}
