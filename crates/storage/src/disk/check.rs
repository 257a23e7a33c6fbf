//! What a start would find in a data directory, and what it would change there. Nothing is changed: the start happens
//! over an [`Overlay`].

use super::damage::NAME;
use super::directory::{Directory, DirectoryError};
use super::files::{Mode, SystemFiles};
use super::folder::{DELETED, Folder, Kind};
use super::index::Indexing;
use super::meta::Identity;
use super::overlay::{Change, Overlay};
use super::scan::{Begin, scan};
use super::tidy::by_base;
use super::{DiskEngine, Fsync};
use crate::engine::{Engine, OpenFailed, PartitionName};
use crate::limit::Memory;
use rustka_wire::codec::Uuid;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// Memory for a start that serves nobody.
const MEMORY_BYTES: usize = 64 << 20;

/// What a start would find and do.
#[derive(Debug)]
pub struct Checked {
    /// Whose directory it is.
    pub identity: Identity,
    /// Its partitions, by name.
    pub partitions: Vec<CheckedPartition>,
    /// What would be changed, by path within the directory.
    pub changes: Vec<(PathBuf, Change)>,
}

/// A partition as a start would find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPartition {
    /// Its folder.
    pub name: String,
    /// Where it begins.
    pub log_start: i64,
    /// Where it ends.
    pub log_end: i64,
    /// Bytes of its batches.
    pub bytes: u64,
    /// Why it, or a part of it, could not be served.
    pub wrong: Option<String>,
}

/// Looks at a data directory that no broker has in use.
pub fn check(path: &Path) -> Result<Checked, DirectoryError> {
    // One that is no data directory is not to be made one, not even over an overlay.
    let nobody = Identity {
        node_id: -1,
        cluster_id: String::new(),
        directory_id: Uuid::ZERO,
    };
    let overlay = Arc::new(Overlay::over(Arc::new(SystemFiles)));
    let directory = Directory::look(overlay.clone(), path, &nobody)?;
    let identity = directory.identity().clone();
    let root = directory.path().clone();
    let listed = directory.files().list(&root);
    let listed = listed.map_err(|error| {
        DirectoryError(format!(
            "the data directory {} cannot be read: {error}",
            path.display()
        ))
    })?;
    let engine = DiskEngine::at_rest(directory, Memory::new(MEMORY_BYTES), Fsync::Never)?;
    let folders = listed.iter().filter(|entry| entry.is_folder);
    let mut names: Vec<&str> = folders.map(|entry| &*entry.name).collect();
    names.sort_unstable();
    let mut partitions = Vec::new();
    for name in names {
        let files: Arc<dyn super::Files> = overlay.clone();
        let folder = Folder::new(&root, &files, name.into(), Uuid::ZERO);
        let place = name.rsplit_once('-');
        let place = place.and_then(|(topic, index)| Some((topic, index.parse().ok()?)));
        let (Some((topic, index)), Ok(Some(topic_id))) = (place, folder.owner()) else {
            continue;
        };
        if name.contains(DELETED) {
            continue;
        }
        let name_of = PartitionName {
            topic,
            topic_id,
            index,
        };
        let found = CheckedPartition {
            name: name.to_owned(),
            log_start: 0,
            log_end: 0,
            bytes: 0,
            wrong: None,
        };
        partitions.push(match engine.open(&Weak::new(), &name_of) {
            Ok(opened) => CheckedPartition {
                log_start: opened.log_start,
                log_end: opened.log_end,
                bytes: opened.log.bytes(),
                wrong: damage_in(&folder).or_else(|| left_out(opened.log.damaged())),
                ..found
            },
            Err(OpenFailed(why)) => CheckedPartition {
                wrong: Some(why),
                ..found
            },
        });
    }
    let within = |(changed, change): (PathBuf, Change)| {
        let within = changed.strip_prefix(&root).map(Path::to_path_buf);
        (within.unwrap_or(changed), change)
    };
    let changes = overlay.changes().into_iter().map(within).collect();
    Ok(Checked {
        identity,
        partitions,
        changes,
    })
}

/// What a start leaves out although the files that are there are whole, in words.
fn left_out(ranges: &[Range<i64>]) -> Option<String> {
    let told = ranges.iter().map(|range| {
        let (first, last) = (range.start, range.end - 1);
        format!("offsets {first} to {last} are gone, or damaged by what {NAME} says")
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// A start believes what was synced; this reads all of it. What of it is damaged, in words.
fn damage_in(folder: &Folder) -> Option<String> {
    let listed = match folder.list() {
        Ok(listed) => listed,
        Err(error) => return Some(error.to_string()),
    };
    let mut wrong = Vec::new();
    for (base_offset, file) in by_base(&listed, Kind::Log) {
        let begin = Begin {
            at: 0,
            indexing: Indexing::default(),
            max_timestamp: -1,
            promised: i64::MAX,
        };
        let log = folder.open(Kind::Log, base_offset, Mode::Read);
        let found = log.and_then(|log| scan(&*log, base_offset, begin, u64::MAX, |_, _| Ok(())));
        match found {
            Ok(found) => {
                let damaged = found.damaged.iter().map(|(range, at, why)| {
                    let (first, last) = (range.start, range.end - 1);
                    format!("{}, byte {at}, offsets {first} to {last}: {why}", file.name)
                });
                wrong.extend(damaged);
                let bad = found.bad.map(|why| {
                    let (at, offset) = (found.bytes, found.next_offset);
                    format!("{}, byte {at}, offset {offset} and later: {why}", file.name)
                });
                wrong.extend(bad);
            }
            Err(error) => wrong.push(format!("{}: {error}", file.name)),
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}
