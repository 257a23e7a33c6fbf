//! One chunk: batches one after the other in shared memory, with a sparse index.

use crate::buffer::Slice;
use crate::engine::{Batch, ChunkInfo};
use rustka_core::batch::{BatchHeader, batches};

/// Bytes between two entries of a chunk's index.
const INDEX_BYTES: usize = 4 << 10;

/// One place in a chunk: a batch that begins `at` bytes into it.
#[derive(Clone, Copy)]
struct Mark {
    offset_delta: u32,
    at: u32,
    /// The largest timestamp before it.
    latest_before: i64,
}

pub(super) struct Chunk {
    pub sequence: u64,
    pub base_offset: i64,
    /// Offset after the last record.
    pub next_offset: i64,
    pub max_timestamp: i64,
    pub first_timestamp: i64,
    pub opened_ms: i64,
    pub written_ms: i64,
    /// The largest timestamp in this chunk and, at least, in those before it: never smaller than that of the chunk
    /// before, also where what was latest has gone.
    pub latest_so_far: i64,
    pub bytes: Slice,
    /// Sparse: one mark in [`INDEX_BYTES`]; batches between marks are found by their headers.
    index: Vec<Mark>,
}

impl Chunk {
    /// A chunk of one batch.
    pub fn new(info: ChunkInfo, bytes: Slice) -> Chunk {
        Chunk {
            sequence: info.sequence,
            base_offset: info.base_offset,
            next_offset: info.next_offset,
            max_timestamp: info.max_timestamp,
            first_timestamp: info.first_timestamp,
            opened_ms: info.opened_ms,
            written_ms: info.written_ms,
            latest_so_far: info.max_timestamp,
            bytes,
            index: Vec::new(),
        }
    }

    /// A chunk that comes whole.
    pub fn of_many(info: ChunkInfo, bytes: Slice) -> Chunk {
        let mut chunk = Chunk::new(info, bytes.clone());
        let mut latest = i64::MIN;
        for (header, range) in batches(&bytes).map_while(Result::ok) {
            if range.start > 0 {
                chunk.mark(header.base_offset, range.start, latest);
            }
            latest = latest.max(header.max_timestamp);
        }
        chunk
    }

    pub fn info(&self) -> ChunkInfo {
        ChunkInfo {
            sequence: self.sequence,
            base_offset: self.base_offset,
            next_offset: self.next_offset,
            max_timestamp: self.max_timestamp,
            first_timestamp: self.first_timestamp,
            opened_ms: self.opened_ms,
            written_ms: self.written_ms,
            bytes: self.bytes.len() as u64,
            cold: false,
        }
    }

    /// Notes that a batch begins `at`, if the last note is far enough away.
    fn mark(&mut self, base_offset: i64, at: usize, latest_before: i64) {
        let last_mark = self.index.last().map_or(0, |mark| mark.at as usize);
        let delta = u32::try_from(base_offset.saturating_sub(self.base_offset));
        if let (Ok(offset_delta), true) = (delta, at - last_mark >= INDEX_BYTES) {
            let at = at as u32;
            self.index.push(Mark {
                offset_delta,
                at,
                latest_before,
            });
        }
    }

    /// Takes a batch that lies right behind the others in their block; whether it does.
    pub fn join(&mut self, slice: &Slice, batch: &Batch<'_>) -> bool {
        let delta = batch.base_offset.saturating_sub(self.base_offset);
        let at = self.bytes.len();
        if u32::try_from(delta).is_err() || !self.bytes.join(slice) {
            return false;
        }
        self.mark(batch.base_offset, at, self.max_timestamp);
        self.next_offset = batch.next_offset;
        self.max_timestamp = self.max_timestamp.max(batch.header.max_timestamp);
        self.latest_so_far = self.latest_so_far.max(self.max_timestamp);
        self.written_ms = batch.now_ms;
        true
    }

    /// The offset of a batch before which none has the timestamp or a later one.
    pub fn late_from(&self, timestamp: i64) -> i64 {
        let early = |mark: &Mark| mark.latest_before < timestamp;
        match self.index.partition_point(early).checked_sub(1) {
            Some(mark) => {
                let delta = i64::from(self.index[mark].offset_delta);
                self.base_offset.saturating_add(delta)
            }
            None => self.base_offset,
        }
    }

    /// Where the batch that holds `offset` begins.
    pub fn position(&self, offset: i64) -> usize {
        let delta = offset.saturating_sub(self.base_offset).max(0);
        let mark = self
            .index
            .partition_point(|mark| i64::from(mark.offset_delta) <= delta);
        let mut at = if mark == 0 {
            0
        } else {
            self.index[mark - 1].at as usize
        };
        while let Ok(header) = BatchHeader::parse(&self.bytes[at..]) {
            if header.last_offset().is_none_or(|last| last >= offset) {
                break;
            }
            at += header.total_bytes();
        }
        at
    }

    /// The first offset of the batch that begins `at` bytes into it, or where it ends.
    pub fn offset_at(&self, at: usize) -> i64 {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let header = BatchHeader::parse(rest).ok();
        header.map_or(self.next_offset, |header| header.base_offset)
    }

    /// The end of the last whole batch within `max` bytes after `from`; with `at_least_one`, of the first batch anyway.
    pub fn end(&self, from: usize, max: usize, at_least_one: bool) -> usize {
        if self.bytes.len() - from <= max {
            return self.bytes.len();
        }
        let limit = from.saturating_add(max);
        let mark = self.index.partition_point(|mark| mark.at as usize <= limit);
        let mut at = if mark == 0 {
            from
        } else {
            (self.index[mark - 1].at as usize).max(from)
        };
        while let Ok(header) = BatchHeader::parse(&self.bytes[at..]) {
            let next = at + header.total_bytes();
            if next > limit && !(at_least_one && at == from) {
                break;
            }
            at = next;
        }
        at
    }
}
