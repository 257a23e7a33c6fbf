//! Opening what is there of a partition: files that a crash left half done are finished or removed, a torn tail is cut,
//! indexes are made anew where they do not say what the batches do.

use super::files::OpenFile;
use super::files::{Files, Listed, Mode, TEMPORARY, remove_if_there};
use super::folder::{DELETED, Folder, Kind, UNSURE, base_of};
use super::index::{OffsetEntry, TimeEntry};
use super::scan::{Scan, scan};
use super::segment::{Segment, SegmentRules};
use crate::engine::ChunkInfo;
use std::collections::BTreeMap;
use std::io;

/// What compaction has not finished.
const CLEANED: &str = ".cleaned";
/// What compaction has finished, and not put in its place.
const SWAP: &str = ".swap";

/// Opens the segments of a partition, oldest first. What lies before `synced` was promised: damage there is an error,
/// and nothing is cut. Behind it the log ends where it is first found broken. `sequence` numbers the segments.
pub(super) fn recover(
    files: &dyn Files,
    folder: &Folder,
    rules: &SegmentRules,
    synced: i64,
    mut sequence: impl FnMut() -> u64,
) -> io::Result<Vec<Segment>> {
    let listed = tidy(files, folder)?;
    let logs = by_base(&listed, Kind::Log);
    let is_unsure = listed.iter().any(|entry| entry.name == UNSURE);
    for kind in [Kind::Index, Kind::TimeIndex] {
        let indexes = by_base(&listed, kind).into_keys();
        for orphan in indexes.filter(|base_offset| !logs.contains_key(base_offset)) {
            files.remove_file(&folder.at(&kind.name(orphan)))?;
        }
    }
    let mut segments: Vec<Segment> = Vec::new();
    let mut logs = logs.into_iter().peekable();
    while let Some((base_offset, listed)) = logs.next() {
        let log = folder.open(Kind::Log, base_offset, Mode::Write)?;
        let mut found = scan(&*log, base_offset, rules.index_interval_bytes)?;
        let at = || {
            let (name, offset) = (&listed.name, found.next_offset);
            format!("{name} of {}, offset {offset}", folder.name())
        };
        if let Some(why) = &found.bad {
            if found.next_offset < synced {
                return Err(io::Error::other(format!("{}: {why}", at())));
            }
            tracing::warn!(
                target: "rustka::storage",
                "{}: {why}; what was written there last is cut off", at()
            );
            log.cut(found.bytes)?;
        }
        if found.next_offset > synced {
            // After a kill the system may have what the disk does not; it is about to be read.
            if is_unsure {
                write_again(&*log, found.bytes)?;
            }
            log.sync()?;
        }
        // Of two segments that were not synced the later one may have got further. Offsets without records, which
        // compaction leaves, are only among what was synced.
        let is_torn = found.bad.is_some() || found.next_offset >= synced;
        let is_short = logs
            .peek()
            .is_some_and(|(next, _)| *next > found.next_offset);
        if is_torn && is_short {
            tracing::warn!(
                target: "rustka::storage",
                "{}: what follows there is missing; segments behind it, which were not synced, go as well", at()
            );
            drop_rest(
                files,
                folder,
                logs.by_ref().map(|(base_offset, _)| base_offset),
            )?;
        }
        let is_last = logs.peek().is_none();
        let closing = (!is_last).then(|| found.indexing.close()).flatten();
        found.by_time.extend(closing);
        write_indexes(folder, base_offset, &found)?;
        let before = segments.last().map_or(i64::MIN, |last| last.latest_so_far);
        segments.push(Segment {
            info: ChunkInfo {
                sequence: sequence(),
                base_offset,
                next_offset: found.next_offset,
                max_timestamp: found.max_timestamp,
                first_timestamp: found.first_timestamp,
                opened_ms: listed.written_ms,
                written_ms: listed.written_ms,
                bytes: found.bytes,
                cold: true,
            },
            latest_so_far: before.max(found.max_timestamp),
            indexing: is_last.then(|| Box::new(found.indexing)),
        });
    }
    if segments
        .last()
        .is_some_and(|last| last.info.next_offset > synced)
    {
        files.sync_folder(&folder.path())?;
    }
    if is_unsure {
        files.remove_file(&folder.at(UNSURE))?;
    }
    // Gaps belong to the segment before them, so that together they cover all offsets.
    for at in 1..segments.len() {
        segments[at - 1].info.next_offset = segments[at].info.base_offset;
    }
    Ok(segments)
}

/// Has the system take bytes for new that it shows: after a sync that failed it takes them for written.
fn write_again(file: &dyn OpenFile, bytes: u64) -> io::Result<()> {
    const PIECE_BYTES: u64 = 1 << 20;
    let mut piece = Vec::new();
    let mut at = 0;
    while at < bytes {
        piece.resize((bytes - at).min(PIECE_BYTES) as usize, 0);
        let read = file.read_at(&mut piece, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&piece[..read], at)?;
        at += read as u64;
    }
    Ok(())
}

/// Removes the segments with these base offsets, ascending, for good.
fn drop_rest(
    files: &dyn Files,
    folder: &Folder,
    base_offsets: impl Iterator<Item = i64>,
) -> io::Result<()> {
    for base_offset in base_offsets {
        for kind in Kind::ALL {
            remove_if_there(files, &folder.at(&kind.name(base_offset)))?;
        }
    }
    files.sync_folder(&folder.path())
}

/// Finishes what compaction had decided, and removes what is of no use; what is left.
fn tidy(files: &dyn Files, folder: &Folder) -> io::Result<Vec<Listed>> {
    let listed = folder.list()?;
    let mut changed = false;
    for entry in listed.iter().filter(|entry| !entry.is_folder) {
        let name = &entry.name;
        let useless = [DELETED, CLEANED, TEMPORARY];
        if useless.iter().any(|suffix| name.ends_with(suffix)) {
            files.remove_file(&folder.at(name))?;
            changed = true;
        }
    }
    for entry in listed.iter().filter(|entry| !entry.is_folder) {
        let Some(name) = entry.name.strip_suffix(SWAP) else {
            continue;
        };
        if let Some(base_offset) = base_of(name, Kind::Log) {
            // Indexes of what was there before say nothing of what is there now.
            for kind in [Kind::Index, Kind::TimeIndex, Kind::TransactionIndex] {
                remove_if_there(files, &folder.at(&kind.name(base_offset)))?;
            }
        }
        files.rename(&folder.at(&entry.name), &folder.at(name))?;
        changed = true;
    }
    match changed {
        true => {
            files.sync_folder(&folder.path())?;
            folder.list()
        }
        false => Ok(listed),
    }
}

/// The files of one kind by their base offsets.
fn by_base(listed: &[Listed], kind: Kind) -> BTreeMap<i64, &Listed> {
    let files = listed.iter().filter(|entry| !entry.is_folder);
    files
        .filter_map(|entry| Some((base_of(&entry.name, kind)?, entry)))
        .collect()
}

/// Has the indexes say what the batches do.
fn write_indexes(folder: &Folder, base_offset: i64, found: &Scan) -> io::Result<()> {
    let by_offset: Vec<u8> = found
        .by_offset
        .iter()
        .copied()
        .flat_map(OffsetEntry::encode)
        .collect();
    let by_time: Vec<u8> = found
        .by_time
        .iter()
        .copied()
        .flat_map(TimeEntry::encode)
        .collect();
    for (kind, wanted) in [(Kind::Index, by_offset), (Kind::TimeIndex, by_time)] {
        let file = folder.open(kind, base_offset, Mode::Write)?;
        let mut there = vec![0; wanted.len()];
        let same = file.bytes()? == wanted.len() as u64
            && file.read_at(&mut there, 0)? == there.len()
            && there == wanted;
        if !same {
            file.cut(0)?;
            file.write_at(&wanted, 0)?;
        }
    }
    Ok(())
}
