//! What is remembered of logs beside their files, and when it is written.

use super::Shared;
use super::checkpoint::{self, Offsets};
use super::damage::{self, Damage};
use super::directory::{self, DirectoryError};
use super::files::Files;
use super::pool::Job;
use super::writer::Writer;
use rustka_core::sync::{Guard, Rank, lock, lock_at};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// What is remembered of logs beside their files.
#[derive(Default)]
pub(super) struct Noted {
    /// Where those start that start later than their first segment.
    pub starts: Offsets,
    /// Up to where they are synced.
    pub synced: Offsets,
    /// Up to where they are compacted.
    pub cleaned: Offsets,
    /// What of them cannot be read.
    pub damaged: Damage,
    /// That has changed.
    is_damage_new: bool,
    /// It is about to be written.
    is_pending: bool,
    /// The files may tell of a log that is gone.
    has_removed: bool,
}

impl Noted {
    /// What is there in a directory. A file that cannot be understood is not passed over.
    pub fn read(files: &dyn Files, root: &Path) -> Result<Noted, DirectoryError> {
        let offsets = |name: &str, without: &str| {
            let read = checkpoint::read(files, &root.join(name));
            read.map_err(|why| {
                let path = root.join(name);
                DirectoryError(format!(
                    "{} cannot be used: {why}; put a copy in its place, or remove it: {without}",
                    path.display()
                ))
            })
        };
        let damaged = damage::read(files, root).map_err(|error| {
            DirectoryError(format!(
                "the data directory {} cannot be read: {error}{}",
                root.display(),
                directory::advice(&error)
            ))
        });
        Ok(Noted {
            starts: offsets(
                checkpoint::LOG_START,
                "records that were deleted by their offsets may come back",
            )?,
            synced: offsets(
                checkpoint::RECOVERY_POINT,
                "then all logs are gone over, and each is cut where it is damaged",
            )?,
            cleaned: offsets(
                checkpoint::CLEANED,
                "then logs are compacted from their beginning",
            )?,
            damaged: damaged?,
            ..Noted::default()
        })
    }

    /// The name of a log's folder, shared with what is known of it.
    pub fn name(&self, name: &str) -> Arc<str> {
        let known = self.synced.get_key_value(name);
        known.map_or_else(|| name.into(), |(name, _)| name.clone())
    }

    /// Whether anything was known of it.
    fn forget(&mut self, name: &str) -> bool {
        let all = [&mut self.starts, &mut self.synced, &mut self.cleaned];
        let was_known = all.map(|offsets| offsets.remove(name).is_some());
        let was_damaged = self.damaged.remove(name).is_some();
        self.is_damage_new |= was_damaged;
        let was_known = was_damaged || was_known.contains(&true);
        self.has_removed |= was_known;
        was_known
    }
}

impl Shared {
    /// Remembers where a log starts, if that is not with its first segment.
    pub(super) fn note_start(self: &Arc<Shared>, name: &Arc<str>, start: Option<i64>) {
        self.note(|noted| set(&mut noted.starts, name, start));
    }

    /// Remembers up to where a log is synced.
    pub(super) fn note_synced(self: &Arc<Shared>, writer: &Writer, synced: i64) {
        let name = writer.folder.name();
        self.note(|noted| !writer.is_gone() && set(&mut noted.synced, name, Some(synced)));
    }

    /// Remembers up to where a log is compacted.
    pub(super) fn note_cleaned(self: &Arc<Shared>, writer: &Writer, cleaned: i64) {
        let name = writer.folder.name();
        self.note(|noted| !writer.is_gone() && set(&mut noted.cleaned, name, Some(cleaned)));
    }

    /// Remembers what of a log cannot be read.
    pub(super) fn note_damaged(self: &Arc<Shared>, name: &Arc<str>, damaged: &[Range<i64>]) {
        self.note(|noted| {
            let is_known = noted.damaged.get(name).map_or(&[][..], |known| known) == damaged;
            match damaged.is_empty() {
                true => noted.damaged.remove(name),
                false => noted.damaged.insert(name.clone(), damaged.to_vec()),
            };
            noted.is_damage_new |= !is_known;
            !is_known
        });
    }

    /// A log is gone, and says so: what is remembered of it must not be taken for the next one that is called so, and nothing
    /// more is.
    pub(super) fn forget(self: &Arc<Shared>, name: &str) {
        self.note(|noted| noted.forget(name));
    }

    /// All of a log up to there is synced: has that on the disk before it returns; whether that could be done.
    pub(super) fn promise(&self, writer: &Writer, synced: i64) -> bool {
        let name = writer.folder.name();
        let mut noted = lock(&self.noted);
        if !writer.is_gone() {
            let known = noted.synced.get(name).copied();
            set(&mut noted.synced, name, known.max(Some(synced)));
        }
        drop(noted);
        self.write_noted()
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
        noted.forget(name);
        let is_old = noted.has_removed;
        drop(noted);
        !is_old || self.write_all_noted(&noting)
    }

    /// Writes it all; whether that could be done.
    fn write_noted(&self) -> bool {
        self.write_all_noted(&lock_at(Rank::Notes, &self.noting))
    }

    fn write_all_noted(&self, _noting: &Guard<'_, ()>) -> bool {
        let (starts, synced, cleaned, has_removed, damaged) = {
            let mut noted = lock(&self.noted);
            noted.is_pending = false;
            let damaged = std::mem::take(&mut noted.is_damage_new);
            (
                noted.starts.clone(),
                noted.synced.clone(),
                noted.cleaned.clone(),
                std::mem::take(&mut noted.has_removed),
                damaged.then(|| noted.damaged.clone()),
            )
        };
        let files = [
            (checkpoint::LOG_START, &starts),
            (checkpoint::RECOVERY_POINT, &synced),
            // On one node what is durable is what everybody may see.
            (checkpoint::HIGH_WATERMARK, &synced),
            (checkpoint::CLEANED, &cleaned),
        ];
        let mut done = true;
        for (name, offsets) in files {
            let path = self.root.join(name);
            let written = checkpoint::write(&*self.files, &path, offsets);
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
        if let Some(damaged) = damaged
            && let Err(error) = damage::write(&*self.files, &self.root, &damaged)
        {
            done = false;
            lock(&self.noted).is_damage_new = true;
            if self.is_news("damage") {
                tracing::error!(
                    target: "rustka::storage",
                    "what is damaged in {} could not be noted: {error}",
                    self.root.display()
                );
            }
        }
        if !done {
            lock(&self.noted).has_removed |= has_removed;
        }
        done
    }

    /// All is written and synced: remembers that; whether that could be done.
    pub(super) fn note_all(&self) -> bool {
        for writer in self.live_writers() {
            if let Some(synced) = writer.synced() {
                let mut noted = lock(&self.noted);
                let is_there = !writer.is_gone();
                is_there.then(|| set(&mut noted.synced, writer.folder.name(), Some(synced)));
            }
        }
        self.write_noted()
    }
}

/// Sets an offset or takes it away; whether that changed anything.
fn set(offsets: &mut Offsets, name: &Arc<str>, offset: Option<i64>) -> bool {
    match offset {
        Some(offset) => offsets.insert(name.clone(), offset) != Some(offset),
        None => offsets.remove(name).is_some(),
    }
}
