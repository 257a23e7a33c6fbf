//! Puts what is left of a log in the place of what it was, a few chunks at a time.

use super::walk::{Failed, Piece};
use super::{Cleaned, Partition};
use crate::engine::{ChunkInfo, Closed, Cut, Replacement, Sink, WriteFailed};
use rustka_core::batch::{BatchError, BatchHeader, batches};

/// A chunk of which nothing goes stays where it is if it is at least this large; smaller ones are put together.
const WHOLE_BYTES: usize = 256 << 10;
/// Room that is not worth filling is this part of a chunk.
const SLACK_DIVISOR: usize = 8;

/// A new chunk that still has room.
struct Growing {
    base_offset: i64,
    next_offset: i64,
    max_timestamp: i64,
    bytes: usize,
    sink: Box<dyn Sink>,
}

impl Growing {
    fn replacement(&mut self) -> Result<Replacement, WriteFailed> {
        Ok(Replacement {
            base_offset: self.base_offset,
            next_offset: self.next_offset,
            max_timestamp: self.max_timestamp,
            content: self.sink.content()?,
        })
    }
}

/// Puts new chunks in the place of old ones, in groups.
pub(super) struct Output<'a> {
    partition: &'a Partition,
    cut: Cut,
    full: Vec<Replacement>,
    growing: Option<Growing>,
    /// Offsets of the old chunks that wait to be replaced, the growing one included once it stands in the log.
    group: Option<(i64, i64)>,
    group_chunks: usize,
    group_bytes: u64,
    cleaned: Cleaned,
}

impl<'a> Output<'a> {
    pub(super) fn new(partition: &'a Partition) -> Output<'a> {
        Output {
            partition,
            cut: partition.cut(),
            full: Vec::new(),
            growing: None,
            group: None,
            group_chunks: 0,
            group_bytes: 0,
            cleaned: Cleaned::default(),
        }
    }

    /// Takes over what is left of the next old chunk, whose content is read piece by piece.
    pub(super) fn take(
        &mut self,
        chunk: &Closed,
        mut keep: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Vec<Piece>, BatchError>,
    ) -> Result<(), Failed> {
        let info = &chunk.info;
        if self.is_full_without(info) {
            self.swap()?;
        }
        let mut scratch = Vec::new();
        let mut begun = false;
        for bytes in chunk.content.pieces() {
            let bytes = bytes?;
            scratch.clear();
            let pieces = keep(&bytes, &mut scratch)?;
            let kept: usize = pieces.iter().map(|piece| piece.range().len()).sum();
            self.cleaned.bytes_before += bytes.len() as u64;
            self.cleaned.bytes_after += kept as u64;
            let untouched = pieces.iter().all(|piece| matches!(piece, Piece::Old(_)));
            let is_all = bytes.len() as u64 == info.bytes;
            if is_all && untouched && kept == bytes.len() && kept >= WHOLE_BYTES {
                return self.leave();
            }
            if !begun {
                begun = true;
                let from = self.group.map_or(info.base_offset, |(from, _)| from);
                self.group = Some((from, info.next_offset));
                self.group_chunks += 1;
                self.group_bytes += info.bytes;
            }
            for piece in &pieces {
                let batch = match piece {
                    Piece::Old(range) => &bytes[range.clone()],
                    Piece::New(range) => &scratch[range.clone()],
                };
                self.push(batch)?;
            }
        }
        // No more memory is needed than this.
        if !self.cut.at_once && self.group_bytes >= self.cut.bytes as u64 {
            self.swap()?;
        }
        Ok(())
    }

    /// Whether a group that becomes one chunk is to be put in place before this one.
    fn is_full_without(&self, next: &ChunkInfo) -> bool {
        self.group.is_some_and(|(from, _)| {
            let bytes = self.group_bytes.saturating_add(next.bytes);
            let too_far = next.next_offset.saturating_sub(from) > i64::from(i32::MAX);
            self.cut.at_once && (bytes > self.cut.bytes as u64 || too_far)
        })
    }

    /// The next chunk stays where it is, and what was before it is put in its place.
    fn leave(&mut self) -> Result<(), Failed> {
        self.swap()?;
        self.growing = None;
        self.group = None;
        self.group_chunks = 0;
        Ok(())
    }

    fn push(&mut self, batch: &[u8]) -> Result<(), Failed> {
        let header = BatchHeader::parse(batch)?;
        let next_offset = header.last_offset().and_then(|last| last.checked_add(1));
        let next_offset = next_offset.ok_or(BatchError::Overflow)?;
        if let Some(growing) = &mut self.growing
            && growing.sink.room() >= batch.len()
            && u32::try_from(next_offset.saturating_sub(growing.base_offset)).is_ok()
        {
            growing.sink.push(batch)?;
            growing.bytes += batch.len();
            growing.next_offset = next_offset;
            growing.max_timestamp = growing.max_timestamp.max(header.max_timestamp);
            return Ok(());
        }
        if let Some(mut full) = self.growing.take() {
            self.full.push(full.replacement()?);
        }
        let mut sink = self.partition.sink(self.cut.bytes.max(batch.len()))?;
        sink.push(batch)?;
        self.growing = Some(Growing {
            base_offset: header.base_offset,
            next_offset,
            max_timestamp: header.max_timestamp,
            bytes: batch.len(),
            sink,
        });
        Ok(())
    }

    /// Puts what is there in the place of the group. The growing chunk goes along and may be replaced once more.
    fn swap(&mut self) -> Result<(), Failed> {
        let Some((from, to)) = self.group else {
            return Ok(());
        };
        let mut with = std::mem::take(&mut self.full);
        if let Some(growing) = &mut self.growing {
            with.push(growing.replacement()?);
        }
        if with.len() > self.group_chunks {
            with = vec![self.joined(&with)?];
            self.growing = None;
        }
        // Gaps belong to the chunk before them, so that the chunks of the log still cover all offsets.
        if let Some(last) = with.last_mut() {
            last.next_offset = to;
        }
        self.partition.swap(from, to, with)?;
        self.group_bytes = 0;
        let (at_once, slack_bytes) = (self.cut.at_once, self.cut.bytes / SLACK_DIVISOR);
        let worth_filling = |growing: &Growing| !at_once && growing.sink.room() >= slack_bytes;
        self.growing = self.growing.take().filter(worth_filling);
        match &self.growing {
            Some(growing) => {
                self.group = Some((growing.base_offset, to));
                self.group_chunks = 1;
            }
            None => {
                self.group = None;
                self.group_chunks = 0;
            }
        }
        Ok(())
    }

    /// One chunk of several: records that were given a delete horizon may have outgrown the chunk they came from.
    fn joined(&self, parts: &[Replacement]) -> Result<Replacement, Failed> {
        let pieces = || parts.iter().flat_map(|part| part.content.pieces());
        let mut bytes = 0;
        for piece in pieces() {
            bytes += piece?.len();
        }
        let mut sink = self.partition.sink(bytes)?;
        for piece in pieces() {
            let piece = piece?;
            for batch in batches(&piece) {
                sink.push(&piece[batch?.1])?;
            }
        }
        let times = parts.iter().map(|part| part.max_timestamp);
        Ok(Replacement {
            base_offset: parts.first().map_or(0, |part| part.base_offset),
            next_offset: parts.last().map_or(0, |part| part.next_offset),
            max_timestamp: times.max().unwrap_or(-1),
            content: sink.content()?,
        })
    }

    pub(super) fn finish(mut self) -> Result<Cleaned, Failed> {
        // The last chunk keeps no room that nothing will fill.
        if let Some(mut last) = self
            .growing
            .take_if(|last| !self.cut.at_once && last.sink.room() > last.bytes / 64)
        {
            let exact = self.joined(&[last.replacement()?])?;
            self.full.push(exact);
            self.swap()?;
        } else if self.group_bytes > 0 {
            self.swap()?;
        }
        Ok(self.cleaned)
    }
}
