//! Opening one partition of a directory with what is known of it beside its files.

use super::files::is_failed_sync;
use super::folder::Folder;
use super::recovery::{Found, Known, recover};
use super::segment::SegmentRules;
use super::shared::Shared;
use rustka_core::sync::lock;
use std::io;
use std::sync::Arc;

/// Opens the partition in this folder, which is its own. `clean` says that it was left in order.
pub(super) fn open(shared: &Arc<Shared>, folder: &Folder, clean: bool) -> io::Result<Found> {
    let known = {
        let noted = lock(&shared.noted);
        let name = folder.name();
        Known {
            clean,
            synced: noted.synced.get(name).copied().unwrap_or(0),
            damaged: noted.damaged.get(name).cloned().unwrap_or_default(),
            rules: SegmentRules::default(),
        }
    };
    let found = recover(&*shared.files, folder, known, &mut || {
        shared.next_sequence()
    });
    if found.as_ref().is_err_and(is_failed_sync) {
        folder.mark_unsure();
    }
    found
}
