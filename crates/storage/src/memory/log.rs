//! One partition's batches in memory: a row of chunks, the newest of which may take further batches.

use super::CHUNK_BYTES;
use super::chunk::Chunk;
use super::order::Place;
use super::sink::MemorySink;
use crate::buffer::{BufMut, Pool, Slice};
use crate::engine::{
    Batch, ChunkInfo, Closed, Content, Found, Garbage, Incoming, Late, Log, ReadFailed,
    Replacement, Sink, Span, Stored, SwapFailed, WriteFailed,
};
use rustka_core::log::PartitionState;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Default)]
struct Open {
    /// Room behind the newest chunk's bytes, when that chunk takes further batches.
    rest: Option<BufMut>,
    /// Which of [`CHUNK_BYTES`] comes next at most.
    next_size: u8,
}

pub(crate) struct MemoryLog {
    pool: Arc<Pool>,
    place: Place,
    chunks: VecDeque<Chunk>,
    open: Open,
    bytes: u64,
}

impl MemoryLog {
    pub fn new(pool: Arc<Pool>, place: Place) -> MemoryLog {
        MemoryLog {
            pool,
            place,
            chunks: VecDeque::new(),
            open: Open::default(),
            bytes: 0,
        }
    }

    /// The last `n` bytes of the newest chunk.
    pub fn last_bytes(&self, n: usize) -> Option<Slice> {
        let bytes = &self.chunks.back()?.bytes;
        Some(bytes.slice(bytes.len().checked_sub(n)?, bytes.len()))
    }

    /// Takes the oldest chunk out; its bytes.
    pub fn take_oldest(&mut self) -> Option<Slice> {
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.bytes.len() as u64;
        if self.chunks.is_empty() {
            self.open.rest = None;
        }
        self.keep_place();
        Some(chunk.bytes)
    }

    fn copy_in(&mut self, batch: &Batch<'_>) {
        let bytes = &*batch.bytes;
        let (mut rest, fits) = match self.open.rest.take() {
            Some(rest) if rest.room() >= bytes.len() => (rest, true),
            _ => {
                let size = self.next_chunk_bytes().max(bytes.len());
                (self.pool.take(size), false)
            }
        };
        rest.push(bytes);
        let slice = rest.freeze_filled();
        self.open.rest = Some(rest);
        // A batch kept in its frame may stand between two that share a block.
        let joined = fits
            && self
                .chunks
                .back_mut()
                .is_some_and(|chunk| chunk.join(&slice, batch));
        if !joined {
            self.push_chunk(batch, slice);
        }
    }

    /// Each chunk is larger than the one before, but none larger than what the log holds: it costs at most twice that,
    /// however many logs there are and however slowly they grow.
    fn next_chunk_bytes(&mut self) -> usize {
        let next = usize::from(self.open.next_size);
        let held = CHUNK_BYTES.partition_point(|size| *size as u64 <= self.bytes);
        let at = next.min(held.saturating_sub(1));
        self.open.next_size = (at + 1).min(CHUNK_BYTES.len() - 1) as u8;
        CHUNK_BYTES[at]
    }

    fn push_chunk(&mut self, batch: &Batch<'_>, bytes: Slice) {
        let info = ChunkInfo {
            sequence: self.place.order.begin_chunk(),
            base_offset: batch.base_offset,
            next_offset: batch.next_offset,
            max_timestamp: batch.header.max_timestamp,
            first_timestamp: batch.header.max_timestamp,
            opened_ms: batch.now_ms,
            written_ms: batch.now_ms,
            bytes: bytes.len() as u64,
            cold: false,
        };
        let mut chunk = Chunk::new(info, bytes);
        let before = self.chunks.back().map(|last| last.latest_so_far);
        chunk.latest_so_far = chunk.latest_so_far.max(before.unwrap_or(i64::MIN));
        // Most logs of many have one chunk, and would keep room for four.
        if self.chunks.is_empty() {
            self.chunks.reserve_exact(1);
        }
        self.chunks.push_back(chunk);
        self.keep_place();
    }

    /// To be called whenever another chunk may have become the oldest.
    fn keep_place(&mut self) {
        self.place
            .keep(self.chunks.front().map(|chunk| chunk.sequence));
    }

    /// Brings what is known of the latest timestamps so far in order again after the chunks `from..to` were put in the
    /// place of others.
    fn raise_latest(&mut self, from: usize, to: usize) {
        let before = from.checked_sub(1).map(|at| self.chunks[at].latest_so_far);
        let mut latest = before.unwrap_or(i64::MIN);
        for (at, chunk) in (from..).zip(self.chunks.range_mut(from..)) {
            if at >= to && chunk.latest_so_far >= latest {
                break;
            }
            chunk.latest_so_far = chunk.latest_so_far.max(latest);
            latest = chunk.latest_so_far;
        }
    }

    /// Whether the newest chunk takes further batches.
    fn is_open(&self) -> bool {
        self.open.rest.is_some()
    }
}

impl Log for MemoryLog {
    fn append(&mut self, mut batch: Batch<'_>) -> Result<Stored, WriteFailed> {
        self.bytes += batch.bytes.len() as u64;
        let kept = match &mut batch.bytes {
            Incoming::Copied(_) => None,
            Incoming::Kept(buffer) => Some(buffer.freeze_filled()),
        };
        match kept {
            None => self.copy_in(&batch),
            Some(slice) => self.push_chunk(&batch, slice),
        }
        Ok(Stored::Durable)
    }

    fn read(&self, span: Span) -> Result<Found, ReadFailed> {
        let Span { offset, upper, .. } = span;
        let (mut slices, mut next_offset) = (Vec::<Slice>::new(), offset);
        if offset >= upper {
            return Ok(Found::Here {
                slices,
                next_offset,
            });
        }
        let (mut left, mut first) = (span.max_bytes, span.at_least_one);
        let from = self
            .chunks
            .partition_point(|chunk| chunk.next_offset <= offset);
        for chunk in self.chunks.range(from..) {
            if chunk.base_offset >= upper {
                break;
            }
            let begin = if chunk.base_offset >= offset {
                0
            } else {
                chunk.position(offset)
            };
            let whole = if chunk.next_offset > upper {
                chunk.position(upper)
            } else {
                chunk.bytes.len()
            };
            let end = chunk.end(begin, left, first).min(whole);
            if end <= begin {
                break;
            }
            first = false;
            left = left.saturating_sub(end - begin);
            next_offset = chunk.offset_at(end);
            let slice = chunk.bytes.slice(begin, end);
            if !slices.last_mut().is_some_and(|last| last.join(&slice)) {
                slices.push(slice);
            }
            if end < chunk.bytes.len() {
                break;
            }
        }
        Ok(Found::Here {
            slices,
            next_offset,
        })
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn oldest(&self) -> Option<ChunkInfo> {
        self.chunks.front().map(Chunk::info)
    }

    fn newest(&self) -> Option<ChunkInfo> {
        self.chunks.back().map(Chunk::info)
    }

    fn each_chunk(&self, offset: i64, visit: &mut dyn FnMut(&ChunkInfo) -> bool) {
        let from = self
            .chunks
            .partition_point(|chunk| chunk.next_offset <= offset);
        let mut chunks = self.chunks.range(from..).map(Chunk::info);
        while chunks.next().is_some_and(|info| visit(&info)) {}
    }

    fn first_late(&self, offset: i64, timestamp: i64) -> Option<Late> {
        let from = self
            .chunks
            .partition_point(|chunk| chunk.next_offset <= offset);
        let late = self
            .chunks
            .partition_point(|chunk| chunk.latest_so_far < timestamp);
        let mut chunks = self.chunks.range(from.max(late)..);
        let late = chunks.find(|chunk| chunk.max_timestamp >= timestamp)?;
        Some(Late {
            offsets: late.late_from(timestamp).max(offset)..late.next_offset,
            cold: false,
        })
    }

    fn drop_oldest(&mut self) -> Result<Garbage, WriteFailed> {
        Ok(self.take_oldest().map_or(Garbage::Nothing, Garbage::One))
    }

    fn roll(&mut self, _state: &PartitionState) -> Result<(), WriteFailed> {
        self.open = Open::default();
        Ok(())
    }

    fn closed(&self) -> Vec<Closed> {
        let closed = self.chunks.len() - usize::from(self.is_open());
        self.chunks
            .range(..closed)
            .map(|chunk| Closed {
                info: chunk.info(),
                content: Content::Here(chunk.bytes.clone()),
            })
            .collect()
    }

    fn sink(&self, bytes: usize) -> Result<Box<dyn Sink>, WriteFailed> {
        Ok(Box::new(MemorySink::new(&self.pool, bytes)))
    }

    fn swap(
        &mut self,
        base_offset: i64,
        next_offset: i64,
        with: Vec<Replacement>,
        _: &PartitionState,
    ) -> Result<Garbage, SwapFailed> {
        let at = |found: Result<usize, usize>| found.map_err(|_| SwapFailed::Stale);
        let from = at(self
            .chunks
            .binary_search_by_key(&base_offset, |chunk| chunk.base_offset))?;
        let last = at(self
            .chunks
            .binary_search_by_key(&next_offset, |chunk| chunk.next_offset))?;
        let closed = self.chunks.len() - usize::from(self.is_open());
        if last < from || last >= closed || with.len() > last + 1 - from {
            return Err(SwapFailed::Stale);
        }
        let with = with
            .into_iter()
            .map(in_memory)
            .collect::<Result<Vec<_>, _>>()?;
        // Each new chunk takes over the place of an old one in the order of eviction. The other chunks stay where they
        // are: there may be very many of them.
        let first_gone = from + with.len();
        let written_ms = self.chunks[last].written_ms;
        let mut garbage = Vec::with_capacity(last + 1 - from);
        for (place, (new, bytes)) in self.chunks.range_mut(from..first_gone).zip(with) {
            let info = ChunkInfo {
                base_offset: new.base_offset,
                next_offset: new.next_offset,
                max_timestamp: new.max_timestamp,
                bytes: bytes.len() as u64,
                written_ms,
                ..place.info()
            };
            self.bytes += info.bytes;
            let old = std::mem::replace(place, Chunk::of_many(info, bytes));
            garbage.push(old.bytes);
        }
        garbage.extend(
            self.chunks
                .drain(first_gone..=last)
                .map(|chunk| chunk.bytes),
        );
        self.raise_latest(from, first_gone);
        self.bytes -= garbage.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        self.keep_place();
        Ok(Garbage::Many(garbage))
    }

    fn may_be_evicted(&mut self, may: bool) {
        let oldest = self.chunks.front().map(|chunk| chunk.sequence);
        self.place.allow(may, oldest);
    }

    fn clear(&mut self) -> Result<Garbage, WriteFailed> {
        self.open = Open::default();
        self.bytes = 0;
        let chunks = std::mem::take(&mut self.chunks);
        self.keep_place();
        let bytes = chunks.into_iter().map(|chunk| chunk.bytes);
        Ok(Garbage::Many(bytes.collect()))
    }
}

/// A new chunk and its bytes, which lie in memory if it was written into one of our sinks.
fn in_memory(new: Replacement) -> Result<(Replacement, Slice), SwapFailed> {
    match &new.content {
        Content::Here(bytes) => {
            let bytes = bytes.clone();
            Ok((new, bytes))
        }
        Content::Cold(_) => Err(SwapFailed::Write),
    }
}
