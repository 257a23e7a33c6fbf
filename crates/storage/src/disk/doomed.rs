//! Files that are no longer needed: taken away from their log at once, removed after a while.

use super::Shared;
use super::files::{remove_if_there, with_suffix};
use super::folder::{self, DELETED, Folder, Kind};
use super::pool::Job;
use rustka_core::sync::lock;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Files that are no longer needed.
#[derive(Default)]
pub(super) struct Doomed {
    /// Not looked at yet, with the delay.
    fresh: Vec<(i64, Gone)>,
    /// By the time when they go.
    due: BTreeMap<i64, Vec<Gone>>,
}

enum Gone {
    Files(Vec<PathBuf>),
    Folder(PathBuf),
}

impl Shared {
    /// Takes these of a segment's files away from their log, to be removed later.
    pub(super) fn doom_segment(
        &self,
        folder: &Folder,
        base_offset: i64,
        kinds: &[Kind],
        delay_ms: i64,
    ) -> io::Result<()> {
        let mut gone = Vec::new();
        // Segments go one after the other also where the power does: without one in their midst the later ones would
        // be taken for what was written behind a gap.
        for kind in kinds {
            let from = folder.at(&kind.name(base_offset));
            let to = with_suffix(&from, DELETED);
            match self.files.rename(&from, &to) {
                Ok(()) => gone.push(to),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let synced = self.files.sync_folder(&folder.path());
        lock(&self.doomed).fresh.push((delay_ms, Gone::Files(gone)));
        synced
    }

    pub(super) fn doom_folder(&self, folder: Option<PathBuf>, delay_ms: i64) {
        let gone = folder.map(|folder| (delay_ms, Gone::Folder(folder)));
        lock(&self.doomed).fresh.extend(gone);
    }

    /// Has those files removed whose time has come; when the next one's comes.
    pub(super) fn remove_doomed(self: &Arc<Shared>, now_ms: i64) -> Option<i64> {
        let is_full = self.is_full();
        let mut doomed = lock(&self.doomed);
        for (delay_ms, gone) in std::mem::take(&mut doomed.fresh) {
            let due_ms = now_ms.saturating_add(delay_ms.max(0));
            doomed.due.entry(due_ms).or_default().push(gone);
        }
        let until_ms = match is_full {
            // Nothing is kept for long where there is no room.
            true => i64::MAX,
            false => now_ms.saturating_add(1),
        };
        let later = doomed.due.split_off(&until_ms);
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
            Gone::Files(paths) => paths
                .iter()
                .try_for_each(|path| remove_if_there(&*self.files, path)),
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
}
