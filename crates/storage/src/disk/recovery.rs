//! Opening what is there of a partition: how it ends, what its producers did, and what of it is damaged.
//!
//! Where the directory was left in order a look at the tail has to confirm it. Else everything that is not known to be
//! synced is gone over: a tail that was not promised is cut, indexes and the small files are made anew where they do
//! not say what the batches do.

mod indexed;
mod left;
mod over;

use super::damage;
use super::files::{Files, Listed, OpenFile, read_small};
use super::folder::{Folder, Kind, UNSURE};
use super::scan::Scan;
use super::seek::Headers;
use super::segment::{Segment, SegmentRules};
use super::side::{self, EPOCHS};
use super::tidy::{self, Tidied, by_base};
use crate::engine::ChunkInfo;
pub(super) use indexed::leads_to;
use rustka_core::epochs::Epochs;
use rustka_core::log::PartitionState;
use rustka_core::producers::{AbortedTransaction, Producers};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

/// No small file of a partition is larger than this: so many producers, or aborted transactions.
const SMALL_BYTES_MAX: u64 = 64 << 20;

/// What is known before the files are looked at.
#[derive(Clone)]
pub(super) struct Known {
    /// The directory was left in order.
    pub clean: bool,
    /// What lies before this was promised to be kept.
    pub synced: i64,
    /// Offsets that were found to be damaged before.
    pub damaged: Vec<Range<i64>>,
    pub rules: SegmentRules,
}

/// A partition as its files tell it. All of it is durable.
#[derive(Default)]
pub(super) struct Found {
    /// Oldest first.
    pub segments: Vec<Segment>,
    /// What all batches led to.
    pub state: PartitionState,
    /// Offsets of batches that cannot be read, in order.
    pub damaged: Vec<Range<i64>>,
    /// There is a snapshot of producers for this offset.
    pub snapshot: Option<i64>,
    /// The epochs that the file of them has.
    pub epochs: Epochs,
}

enum Failed {
    Io(io::Error),
    /// Why what lies there is not what it was taken for.
    Untrue(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Io(error)
    }
}

fn untrue(why: impl Into<String>) -> Failed {
    Failed::Untrue(why.into())
}

/// Opens the segments of a partition. `sequence` numbers them.
pub(super) fn recover(
    files: &dyn Files,
    folder: &Folder,
    known: Known,
    sequence: &mut dyn FnMut() -> u64,
) -> io::Result<Found> {
    let Tidied { listed, was_busy } = tidy::tidy(files, folder)?;
    let mut opening = Opening::new(files, folder, known, &listed)?;
    if opening.is_torn {
        tracing::warn!(
            target: "rustka::storage",
            "{}: an index of aborted transactions does not fit; all of it is gone over",
            folder.name()
        );
        opening.rely_on_less();
    } else if opening.known.clean && !was_busy && !opening.is_unsure {
        match opening.as_left(sequence) {
            Ok(found) => return Ok(opening.with_known_damage(found)),
            Err(Failed::Io(error)) => return Err(error),
            Err(Failed::Untrue(why)) => tracing::warn!(
                target: "rustka::storage",
                "{} was not left in order, whatever the mark of that says: {why}; it is gone over",
                folder.name()
            ),
        }
    }
    loop {
        match opening.gone_over(sequence) {
            Ok(found) => return Ok(opening.with_known_damage(found)),
            Err(Failed::Io(error)) => return Err(error),
            // What it relied on does not hold. With less of it there is always an end.
            Err(Failed::Untrue(why)) => {
                tracing::warn!(target: "rustka::storage", "{}: {why}; all of it is gone over", folder.name());
                opening.rely_on_less();
            }
        }
    }
}

/// What lies in a folder, and what is believed of it.
struct Opening<'a> {
    files: &'a dyn Files,
    folder: &'a Folder,
    known: Known,
    /// By base offset: sizes and times.
    logs: BTreeMap<i64, &'a Listed>,
    indexes: BTreeMap<i64, &'a Listed>,
    time_indexes: BTreeMap<i64, &'a Listed>,
    /// Offsets of snapshots of producers, oldest first.
    snapshots: Vec<i64>,
    epochs: Option<Epochs>,
    /// With the segment that each lies in.
    aborted: Vec<(AbortedTransaction, i64)>,
    /// Some of those are not known.
    is_torn: bool,
    believes_snapshots: bool,
    /// The system may show bytes that are not on the disk.
    is_unsure: bool,
}

impl<'a> Opening<'a> {
    fn new(
        files: &'a dyn Files,
        folder: &'a Folder,
        known: Known,
        listed: &'a [Listed],
    ) -> io::Result<Opening<'a>> {
        let logs = by_base(listed, Kind::Log);
        let mut known = known;
        for kind in [Kind::Index, Kind::TimeIndex, Kind::TransactionIndex] {
            let bases = by_base(listed, kind).into_keys();
            for orphan in bases.filter(|base_offset| !logs.contains_key(base_offset)) {
                files.remove_file(&folder.at(&kind.name(orphan)))?;
                // Segments go as a whole, unless that ends in the middle.
                if known.clean && kind == Kind::Index {
                    let behind = logs.range(orphan..).next().map(|(behind, _)| *behind);
                    let gone = orphan..behind.unwrap_or(known.synced);
                    tell_of_loss(folder, &gone);
                    known
                        .damaged
                        .extend(Some(gone).filter(|gone| !gone.is_empty()));
                }
            }
        }
        let mut aborted = Vec::new();
        let mut is_torn = false;
        for base_offset in by_base(listed, Kind::TransactionIndex).into_keys() {
            let path = folder.at(&Kind::TransactionIndex.name(base_offset));
            let bytes = read_small(files, &path, SMALL_BYTES_MAX)?.unwrap_or_default();
            let entries = side::aborted_entries(&bytes);
            is_torn |= entries.is_none();
            aborted.extend(entries.into_iter().flatten());
        }
        aborted.sort_by_key(|(aborted, _)| aborted.last_offset);
        let epochs = read_small(files, &folder.at(EPOCHS), SMALL_BYTES_MAX)?;
        let epochs = epochs.and_then(|bytes| side::parse_epochs(std::str::from_utf8(&bytes).ok()?));
        Ok(Opening {
            files,
            folder,
            known,
            indexes: by_base(listed, Kind::Index),
            time_indexes: by_base(listed, Kind::TimeIndex),
            snapshots: by_base(listed, Kind::Snapshot).into_keys().collect(),
            logs,
            epochs,
            aborted,
            is_torn,
            believes_snapshots: true,
            is_unsure: listed.iter().any(|entry| entry.name == UNSURE),
        })
    }

    /// Nothing but the batches is believed.
    fn rely_on_less(&mut self) {
        self.believes_snapshots = false;
        self.epochs = None;
        self.aborted.clear();
        self.indexes.clear();
    }

    /// Not everything was looked at.
    fn with_known_damage(&self, mut found: Found) -> Found {
        let (first, end) = (self.first(), found.state.next_offset);
        for known in &self.known.damaged {
            let left = known.start.max(first)..known.end.min(end);
            if !left.is_empty() {
                damage::add(&mut found.damaged, left);
            }
        }
        found
    }

    fn first(&self) -> i64 {
        self.logs.first_key_value().map_or(0, |(first, _)| *first)
    }

    /// What a snapshot says, if it is whole: producers at that offset.
    fn snapshot(&self, offset: i64) -> io::Result<Option<Producers>> {
        let path = self.folder.at(&Kind::Snapshot.name(offset));
        let bytes = read_small(self.files, &path, SMALL_BYTES_MAX)?.unwrap_or_default();
        let by_then = self.aborted.iter().map(|(aborted, _)| *aborted);
        let by_then = by_then.filter(|aborted| aborted.last_offset < offset);
        Ok(Producers::of_snapshot(&bytes, by_then.collect(), 0))
    }
}

/// Says that a segment has gone by itself.
fn tell_of_loss(folder: &Folder, gone: &Range<i64>) {
    tracing::error!(
        target: "rustka::storage",
        "{} of {} is gone, and what belongs to it is not: records with offsets from {} up to {} are lost",
        Kind::Log.name(gone.start),
        folder.name(),
        gone.start,
        gone.end
    );
}

fn first_timestamp(log: &dyn OpenFile, bytes: u64) -> io::Result<i64> {
    match Headers::new(log, 0, bytes).next() {
        Ok(Some((_, header))) => Ok(header.max_timestamp),
        Err(error) if error.raw_os_error().is_some() => Err(error),
        _ => Ok(-1),
    }
}

fn segment_of(
    base_offset: i64,
    listed: &Listed,
    found: &Scan,
    first_timestamp: i64,
    is_last: bool,
) -> Segment {
    Segment {
        info: ChunkInfo {
            sequence: 0,
            base_offset,
            next_offset: found.next_offset,
            max_timestamp: found.max_timestamp,
            first_timestamp,
            opened_ms: listed.written_ms,
            written_ms: listed.written_ms,
            bytes: found.bytes,
            cold: true,
        },
        latest_so_far: found.max_timestamp,
        indexing: is_last.then(|| Box::new(found.indexing.clone())),
        moving: None,
    }
}

/// Adds a segment behind the others. Gaps belong to the one before them, so that together they cover all offsets.
fn push(segments: &mut Vec<Segment>, mut segment: Segment, sequence: &mut dyn FnMut() -> u64) {
    segment.info.sequence = sequence();
    segment.latest_so_far = segment.info.max_timestamp;
    if let Some(before) = segments.last_mut() {
        before.info.next_offset = segment.info.base_offset;
        segment.latest_so_far = segment.latest_so_far.max(before.latest_so_far);
    }
    segments.push(segment);
}
