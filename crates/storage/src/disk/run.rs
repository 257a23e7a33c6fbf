//! Batches that lie one behind the other in a segment, and their entries in its indexes: what is written at once.

use super::files::OpenFile;
use super::index::{OFFSET_ENTRY_BYTES, OffsetEntry, TIME_ENTRY_BYTES, TimeEntry};
use crate::buffer::Slice;
use std::io::{self, IoSlice};

/// A batch to be written.
pub(super) struct Write {
    /// The segment's base offset.
    pub segment: i64,
    /// Where in the segment.
    pub at: u64,
    pub bytes: Slice,
    /// The offset after the batch's last one.
    pub position: i64,
    /// Entries in the indexes, with their numbers.
    pub by_offset: Option<(u64, OffsetEntry)>,
    pub by_time: Option<(u64, TimeEntry)>,
    /// Where in the index of aborted transactions, and the entry there.
    pub aborted: Option<(u64, Vec<u8>)>,
    /// It is to be synced at once.
    pub flush: bool,
}

/// Batches that are written at once.
#[derive(Default)]
pub(super) struct Run {
    segment: Option<i64>,
    at: u64,
    length: u64,
    bytes: Vec<Slice>,
    position: i64,
    by_offset: IndexRun,
    by_time: IndexRun,
    aborted: IndexRun,
    flush: bool,
}

impl Run {
    /// The base offset of their segment, if there are any.
    pub fn segment(&self) -> Option<i64> {
        self.segment
    }

    /// The offset after the last one.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Bytes of all of them.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether they are to be synced at once.
    pub fn flush(&self) -> bool {
        self.flush
    }

    /// Whether any of them ends an aborted transaction.
    pub fn has_aborted(&self) -> bool {
        !self.aborted.bytes.is_empty()
    }

    /// Whether the batch lies right behind the others.
    pub fn takes(&self, write: &Write) -> bool {
        self.segment == Some(write.segment) && self.at + self.length == write.at
    }

    /// Adds a batch.
    pub fn push(&mut self, write: Write) {
        if self.segment.is_none() {
            self.segment = Some(write.segment);
            self.at = write.at;
        }
        self.length += write.bytes.len() as u64;
        self.position = write.position;
        self.flush |= write.flush;
        if let Some((number, entry)) = write.by_offset {
            let at = number * OFFSET_ENTRY_BYTES;
            self.by_offset.push(at, &entry.encode());
        }
        if let Some((number, entry)) = write.by_time {
            self.by_time
                .push(number * TIME_ENTRY_BYTES, &entry.encode());
        }
        if let Some((at, entry)) = &write.aborted {
            self.aborted.push(*at, entry);
        }
        let last = self.bytes.last_mut();
        if !last.is_some_and(|last| last.join(&write.bytes)) {
            self.bytes.push(write.bytes);
        }
    }

    /// Writes the batches into their segment.
    pub fn write(&self, log: &dyn OpenFile) -> io::Result<()> {
        let pieces: Vec<IoSlice<'_>> = self.bytes.iter().map(|one| IoSlice::new(one)).collect();
        log.write_pieces_at(&pieces, self.at)
    }

    /// Writes what indexes are to say of them.
    pub fn write_entries(&self, index: &dyn OpenFile, time_index: &dyn OpenFile) -> io::Result<()> {
        self.by_offset.write(index)?;
        self.by_time.write(time_index)
    }

    /// Writes what the index of aborted transactions is to say of them.
    pub fn write_aborted(&self, index: &dyn OpenFile) -> io::Result<()> {
        self.aborted.write(index)
    }
}

/// Entries of an index, one behind the other.
#[derive(Default)]
struct IndexRun {
    at: u64,
    bytes: Vec<u8>,
}

impl IndexRun {
    fn push(&mut self, at: u64, entry: &[u8]) {
        if self.bytes.is_empty() {
            self.at = at;
        }
        self.bytes.extend_from_slice(entry);
    }

    fn write(&self, file: &dyn OpenFile) -> io::Result<()> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => file.write_at(&self.bytes, self.at),
        }
    }
}
