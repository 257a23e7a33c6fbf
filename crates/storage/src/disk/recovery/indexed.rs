//! What the indexes of a segment say, and having them say what the batches do.

use super::Opening;
use crate::disk::files::{Mode, OpenFile};
use crate::disk::folder::Kind;
use crate::disk::index::{Indexing, OFFSET_ENTRY_BYTES, OffsetEntry, TIME_ENTRY_BYTES, TimeEntry};
use crate::disk::scan::{Begin, Scan};
use crate::disk::seek::Headers;
use std::io;

/// Read of an index at once.
const INDEX_PIECE_BYTES: usize = 64 << 10;

impl Opening<'_> {
    /// What the indexes of a segment say, as far as they make sense.
    pub(super) fn indexed(&self, base_offset: i64) -> io::Result<Indexed> {
        if !self.indexes.contains_key(&base_offset) || !self.time_indexes.contains_key(&base_offset)
        {
            return Ok(Indexed::default());
        }
        let index = self.folder.open(Kind::Index, base_offset, Mode::Read)?;
        let mut known = Indexed::default();
        let mut last = 0;
        known.is_torn |= each_entry::<8>(&*index, |bytes| {
            let entry = OffsetEntry::decode(bytes);
            let makes_sense = entry.at > last;
            last = entry.at;
            known.by_offset.extend(makes_sense.then_some(entry));
            makes_sense
        })?;
        let index = self.folder.open(Kind::TimeIndex, base_offset, Mode::Read)?;
        let mut last = None;
        let mut by_time = Vec::new();
        known.is_torn |= each_entry::<12>(&*index, |bytes| {
            let entry = TimeEntry::decode(bytes);
            let makes_sense =
                last.is_none_or(|last| entry.timestamp > last) && entry.timestamp >= 0;
            // An index that was made for more than it holds ends with zeros.
            let makes_sense = makes_sense && (entry.timestamp, entry.offset_delta) != (0, 0);
            last = Some(entry.timestamp);
            by_time.extend(makes_sense.then_some(entry));
            makes_sense
        })?;
        known.by_time = by_time;
        Ok(known)
    }

    /// Whether nothing but zeros follows in the indexes: Kafka makes them for more than they hold, and leaves that of its
    /// metadata so when it stops.
    pub(super) fn is_padded(&self, base_offset: i64, known: &Indexed) -> io::Result<bool> {
        for (kind, bytes) in known.ends() {
            let index = self.folder.open(kind, base_offset, Mode::Read)?;
            if !has_only_zeros(&*index, bytes)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes those zeros away.
    pub(super) fn cut_padding(&self, base_offset: i64, known: &Indexed) -> io::Result<()> {
        for (kind, bytes) in known.ends() {
            let index = self.folder.open(kind, base_offset, Mode::Write)?;
            index.cut(bytes)?;
            index.sync()?;
        }
        Ok(())
    }

    /// Has the indexes say what the batches do, beyond the entries that are kept.
    pub(super) fn write_indexes(
        &self,
        base_offset: i64,
        found: &Scan,
        known: &Indexed,
        (by_offset, by_time): (usize, usize),
    ) -> io::Result<()> {
        let first = known.by_offset[..by_offset].iter().chain(&found.by_offset);
        let wanted: Vec<u8> = first.copied().flat_map(OffsetEntry::encode).collect();
        self.write_index(Kind::Index, base_offset, &wanted)?;
        let first = known.by_time[..by_time].iter().chain(&found.by_time);
        let wanted: Vec<u8> = first.copied().flat_map(TimeEntry::encode).collect();
        self.write_index(Kind::TimeIndex, base_offset, &wanted)
    }

    fn write_index(&self, kind: Kind, base_offset: i64, wanted: &[u8]) -> io::Result<()> {
        let file = self.folder.open(kind, base_offset, Mode::Write)?;
        let mut there = vec![0; wanted.len()];
        let same = file.bytes()? == wanted.len() as u64
            && file.read_at(&mut there, 0)? == there.len()
            && there == wanted;
        if same {
            return Ok(());
        }
        file.cut(0)?;
        file.write_at(wanted, 0)?;
        file.sync()
    }
}

/// What the indexes of a segment say.
#[derive(Default)]
pub(super) struct Indexed {
    pub by_offset: Vec<OffsetEntry>,
    pub by_time: Vec<TimeEntry>,
    /// There is more in one of them, which makes no sense.
    pub is_torn: bool,
}

impl Indexed {
    /// Where what makes sense ends in each of them.
    fn ends(&self) -> [(Kind, u64); 2] {
        [
            (
                Kind::Index,
                self.by_offset.len() as u64 * OFFSET_ENTRY_BYTES,
            ),
            (
                Kind::TimeIndex,
                self.by_time.len() as u64 * TIME_ENTRY_BYTES,
            ),
        ]
    }

    /// How many entries there are of each kind where so many by offset stay.
    pub fn kept(&self, by_offset: usize) -> (usize, usize) {
        let Some(last) = self.by_offset[..by_offset].last() else {
            return (0, 0);
        };
        let by_time = self
            .by_time
            .partition_point(|time| time.offset_delta <= last.offset_delta);
        (by_offset, by_time)
    }

    /// Begins at the batch of the last of so many entries by offset, or at the beginning.
    pub fn begin(&self, by_offset: usize, promised: i64) -> Begin {
        let (by_offset, by_time) = self.kept(by_offset);
        let last = self.by_offset[..by_offset].last();
        let at = last.map_or(0, |entry| u64::from(entry.at));
        let latest = by_time.checked_sub(1).map(|last| self.by_time[last]);
        Begin {
            at,
            indexing: Indexing::resume(by_offset as u64, by_time as u64, latest),
            max_timestamp: latest.map_or(-1, |latest| latest.timestamp),
            promised,
        }
    }
}

/// Shows the entries of an index until one makes no sense; whether there is one.
fn each_entry<const N: usize>(
    file: &dyn OpenFile,
    mut visit: impl FnMut([u8; N]) -> bool,
) -> io::Result<bool> {
    let mut piece = vec![0; INDEX_PIECE_BYTES / N * N];
    let mut at = 0;
    loop {
        let read = file.read_at(&mut piece, at)?;
        let (entries, rest) = piece[..read].as_chunks::<N>();
        if !entries.iter().all(|entry| visit(*entry)) || !rest.is_empty() {
            return Ok(true);
        }
        at += read as u64;
        if read < piece.len() {
            return Ok(false);
        }
    }
}

fn has_only_zeros(file: &dyn OpenFile, from: u64) -> io::Result<bool> {
    let mut piece = vec![0; INDEX_PIECE_BYTES];
    let mut at = from;
    loop {
        let read = file.read_at(&mut piece, at)?;
        if piece[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += read as u64;
        if read < piece.len() {
            return Ok(true);
        }
    }
}

pub(super) fn offset_entry(index: &dyn OpenFile, number: u64) -> io::Result<OffsetEntry> {
    let mut bytes = [0; OFFSET_ENTRY_BYTES as usize];
    index.read_at(&mut bytes, number * OFFSET_ENTRY_BYTES)?;
    Ok(OffsetEntry::decode(bytes))
}

pub(super) fn time_entry(index: &dyn OpenFile, number: u64) -> io::Result<TimeEntry> {
    let mut bytes = [0; TIME_ENTRY_BYTES as usize];
    index.read_at(&mut bytes, number * TIME_ENTRY_BYTES)?;
    Ok(TimeEntry::decode(bytes))
}

/// Whether an entry by offset leads to its batch.
pub(in crate::disk) fn leads_to(
    log: &dyn OpenFile,
    base_offset: i64,
    entry: OffsetEntry,
) -> io::Result<bool> {
    let at = u64::from(entry.at);
    let end = log.bytes()?;
    let offset = base_offset.saturating_add(i64::from(entry.offset_delta));
    Ok(match Headers::new(log, at, end).next() {
        Ok(Some((_, header))) => header.last_offset() == Some(offset),
        Ok(None) => false,
        Err(error) if error.raw_os_error().is_some() => return Err(error),
        Err(_) => false,
    })
}
