//! Opening all partitions of a directory at a start, side by side.

use super::folder::Folder;
use super::recovery::{Found, Known, recover};
use super::segment::SegmentRules;
use super::shared::Shared;
use rustka_core::sync::lock;
use rustka_wire::codec::Uuid;
use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::sync::{Arc, Mutex};

/// Threads for each processor: some of them wait for the disk.
const THREADS_PER_PROCESSOR: usize = 2;
/// Threads at most.
const THREADS_MAX: usize = 32;

/// What was found in a folder, if it is a partition's, and whose it is according to itself.
pub(super) struct Ready {
    pub owner: Option<Uuid>,
    pub found: io::Result<Option<Found>>,
}

/// What was found in all of them, by name.
pub(super) type AllReady = BTreeMap<String, Ready>;

/// Opens the partitions in these folders, on as many threads as help.
pub(super) fn open_all(shared: &Arc<Shared>, names: &[String], clean: bool) -> AllReady {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = (processors * THREADS_PER_PROCESSOR)
        .min(THREADS_MAX)
        .min(names.len().div_ceil(8));
    if shared.pool.is_by_hand() || threads <= 1 {
        let each = names.iter();
        return each
            .map(|name| (name.clone(), open_one(shared, name, clean)))
            .collect();
    }
    let all = Mutex::new(AllReady::new());
    let left = Mutex::new(names.iter());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = lock(&left).next();
                    let Some(name) = next else {
                        return;
                    };
                    let ready = open_one(shared, name, clean);
                    lock(&all).insert(name.clone(), ready);
                }
            });
        }
    });
    all.into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn open_one(shared: &Arc<Shared>, name: &str, clean: bool) -> Ready {
    let folder = Folder::new(&shared.root, &shared.files, name, Uuid::ZERO);
    let owner = match folder.owner() {
        Ok(owner) => owner,
        Err(error) => {
            return Ready {
                owner: None,
                found: Err(error),
            };
        }
    };
    let known = {
        let noted = lock(&shared.noted);
        Known {
            clean,
            synced: noted.synced.get(name).copied().unwrap_or(0),
            damaged: noted.damaged.get(name).cloned().unwrap_or_default(),
            rules: SegmentRules::default(),
        }
    };
    let found = match owner {
        // It is set aside, if anything lies there.
        None => folder
            .is_unclaimed()
            .map(|is_unclaimed| match is_unclaimed {
                true => None,
                false => Some(Found::default()),
            }),
        Some(_) => recover(&*shared.files, &folder, known, &mut || {
            shared.next_sequence()
        })
        .map(Some),
    };
    Ready { owner, found }
}
