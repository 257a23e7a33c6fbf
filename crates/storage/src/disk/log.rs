//! The log of a partition that lies in files: decides where everything goes, and leaves it to its writer to put it there.
//! What came last is also in memory, as much of it as there is room for.

use super::Shared;
use super::hand::{Step, Write};
use super::index::Appending;
use super::load::{LOAD_BYTES_MAX, Part, load};
use super::segment::{Segment, SegmentRules};
use super::writer::Writer;
use crate::engine::{
    Batch, ChunkInfo, Closed, Found, Garbage, Late, Load, Log, ReadFailed, Replacement, Sink, Span,
    Stored, SwapFailed, WriteFailed,
};
use crate::memory::MemoryLog;
use rustka_core::config::SharedConfig;
use rustka_core::log::PartitionState;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub(super) struct DiskLog {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    /// Copies of the newest batches, without a gap up to the end.
    tail: MemoryLog,
    /// At least one once anything was written; the last one takes what comes next.
    segments: VecDeque<Segment>,
    bytes: u64,
    config: Option<Arc<SharedConfig>>,
}

impl DiskLog {
    pub fn new(
        shared: &Arc<Shared>,
        writer: Arc<Writer>,
        tail: MemoryLog,
        segments: Vec<Segment>,
    ) -> DiskLog {
        DiskLog {
            shared: shared.clone(),
            writer,
            tail,
            bytes: segments.iter().map(|segment| segment.info.bytes).sum(),
            segments: segments.into(),
            config: None,
        }
    }

    /// How segments are cut now.
    fn rules(&self) -> SegmentRules {
        match &self.config {
            Some(config) => SegmentRules::of(&config.now()),
            None => SegmentRules::default(),
        }
    }

    fn push(&self, step: Step) -> Result<(), WriteFailed> {
        match self.writer.push(step) {
            true => Ok(()),
            false => Err(WriteFailed),
        }
    }

    /// Begins a segment.
    fn begin(&mut self, base_offset: i64) -> Result<(), WriteFailed> {
        self.push(Step::Begin { base_offset })?;
        let mut segment = Segment::new(self.shared.next_sequence(), base_offset);
        let before = self.segments.back().map(|last| last.latest_so_far);
        segment.latest_so_far = before.unwrap_or(i64::MIN);
        self.segments.push_back(segment);
        Ok(())
    }

    /// Closes the newest segment.
    fn close(&mut self) -> Result<(), WriteFailed> {
        let Some(newest) = self.segments.back_mut() else {
            return Ok(());
        };
        let base_offset = newest.info.base_offset;
        let time = newest.indexing.take().and_then(|mut indexing| {
            let entry = indexing.close()?;
            Some((indexing.by_time - 1, entry))
        });
        self.push(Step::Close { base_offset, time })
    }

    /// The first offset from which on everything is in memory.
    fn tail_from(&self) -> i64 {
        self.tail
            .oldest()
            .map_or(i64::MAX, |chunk| chunk.base_offset)
    }

    /// Those that hold anything.
    fn filled(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().filter(|segment| !segment.is_empty())
    }

    /// What is known of a segment now.
    fn info(&self, segment: &Segment) -> ChunkInfo {
        ChunkInfo {
            cold: segment.info.base_offset < self.tail_from(),
            ..segment.info
        }
    }

    fn first_with(&self, offset: i64) -> usize {
        self.segments
            .partition_point(|segment| segment.info.next_offset <= offset)
    }

    /// Parts of segments to be read, as many as one load may give.
    fn parts(&self, span: &Span) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut bytes = 0;
        for segment in self.segments.range(self.first_with(span.offset)..) {
            let wanted = span.max_bytes.min(LOAD_BYTES_MAX) as u64;
            if segment.info.base_offset >= span.upper || bytes > wanted {
                break;
            }
            if segment.is_empty() {
                continue;
            }
            // Where in the first one it begins is not known yet.
            bytes += if parts.is_empty() {
                0
            } else {
                segment.info.bytes
            };
            parts.push(Part {
                base_offset: segment.info.base_offset,
                bytes: segment.info.bytes,
            });
        }
        parts
    }
}

impl Log for DiskLog {
    fn append(&mut self, batch: Batch<'_>) -> Result<Stored, WriteFailed> {
        if self.shared.is_closed.load(Relaxed) {
            return Err(WriteFailed);
        }
        let (base_offset, position) = (batch.base_offset, batch.next_offset);
        let (max_timestamp, now_ms) = (batch.header.max_timestamp, batch.now_ms);
        if self.segments.is_empty() {
            self.begin(base_offset)?;
        }
        let interval_bytes = self.rules().index_interval_bytes;
        let length = batch.bytes.len();
        self.tail.append(batch)?;
        // The writer has them as well, until they are written.
        let bytes = self.tail.last_bytes(length).ok_or(WriteFailed)?;
        let newest = self.segments.back_mut().ok_or(WriteFailed)?;
        let length = length as u64;
        let info = &mut newest.info;
        let appending = Appending {
            at: info.bytes,
            bytes: length,
            offset_delta: position - 1 - info.base_offset,
            max_timestamp,
        };
        if info.bytes == 0 {
            info.first_timestamp = max_timestamp;
            info.opened_ms = now_ms;
        }
        let indexing = newest.indexing.get_or_insert_with(Default::default);
        let entries = indexing.append(&appending, interval_bytes);
        let write = Write {
            segment: info.base_offset,
            at: info.bytes,
            bytes,
            position,
            by_offset: entries
                .by_offset
                .map(|entry| (indexing.by_offset - 1, entry)),
            by_time: entries.by_time.map(|entry| (indexing.by_time - 1, entry)),
        };
        info.bytes += length;
        info.next_offset = position;
        info.max_timestamp = info.max_timestamp.max(max_timestamp);
        info.written_ms = now_ms;
        newest.latest_so_far = newest.latest_so_far.max(max_timestamp);
        self.bytes += length;
        self.push(Step::Write(write))?;
        Ok(Stored::Queued)
    }

    fn configure(&mut self, config: &Arc<SharedConfig>) {
        self.config = Some(config.clone());
    }

    fn wants_roll(&self, batch_bytes: usize) -> bool {
        let Some(newest) = self.segments.back().filter(|newest| !newest.is_empty()) else {
            return false;
        };
        let rules = self.rules();
        let too_large = newest.info.bytes + batch_bytes as u64 > rules.segment_bytes;
        let too_far = newest.info.next_offset - newest.info.base_offset > i64::from(i32::MAX) / 2;
        let is_full = newest
            .indexing
            .as_ref()
            .is_some_and(|indexing| indexing.is_full(rules.index_bytes));
        too_large || too_far || is_full
    }

    fn roll(&mut self, state: &PartitionState) -> Result<(), WriteFailed> {
        if self.segments.back().is_none_or(Segment::is_empty) {
            return Ok(());
        }
        self.close()?;
        self.tail.roll(state)?;
        self.begin(state.next_offset)
    }

    fn read(&self, span: Span) -> Result<Found, ReadFailed> {
        let tail_from = self.tail_from();
        if span.offset >= span.upper || span.offset >= tail_from {
            return self.tail.read(span);
        }
        let in_files = Span {
            upper: span.upper.min(tail_from),
            ..span
        };
        let parts = self.parts(&in_files);
        // Where compaction has left nothing before it, it begins in memory.
        let Found::Here(tail) = self.tail.read(Span {
            max_bytes: span.max_bytes.min(LOAD_BYTES_MAX),
            ..span
        })?
        else {
            return Err(ReadFailed);
        };
        if parts.is_empty() {
            return Ok(Found::Here(tail));
        }
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let (writer, pool) = (self.writer.clone(), self.shared.memory.pool.clone());
        let about = bytes.min(span.max_bytes.min(LOAD_BYTES_MAX)).max(1);
        Ok(Found::Cold(Load::new(about, move || {
            let slices = load(&writer, &pool, &parts, in_files)?;
            Ok(if slices.is_empty() { tail } else { slices })
        })))
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn oldest(&self) -> Option<ChunkInfo> {
        self.filled().next().map(|segment| self.info(segment))
    }

    fn newest(&self) -> Option<ChunkInfo> {
        self.filled().next_back().map(|segment| self.info(segment))
    }

    fn each_chunk(&self, offset: i64, visit: &mut dyn FnMut(&ChunkInfo) -> bool) {
        let segments = self.segments.range(self.first_with(offset)..);
        for segment in segments.filter(|segment| !segment.is_empty()) {
            if !visit(&self.info(segment)) {
                return;
            }
        }
    }

    fn first_late(&self, offset: i64, timestamp: i64) -> Option<Late> {
        let late = self
            .segments
            .partition_point(|segment| segment.latest_so_far < timestamp);
        let from = self.first_with(offset).max(late);
        let mut segments = self.segments.range(from..);
        let late = segments.find(|segment| segment.info.max_timestamp >= timestamp)?;
        Some(Late {
            offsets: late.info.base_offset.max(offset)..late.info.next_offset,
            cold: self.info(late).cold,
        })
    }

    fn drop_oldest(&mut self) -> Result<Garbage, WriteFailed> {
        // Files that are empty already are kept only for the offset in their name.
        while self.segments.len() > 1 && self.segments.front().is_some_and(Segment::is_empty) {
            self.drop_first()?;
        }
        let Some(oldest) = self.segments.front().map(|segment| segment.info) else {
            return Ok(Garbage::Nothing);
        };
        if oldest.bytes == 0 {
            return Ok(Garbage::Nothing);
        }
        if self.segments.len() == 1 {
            // The name of the next one says where the log goes on.
            self.close()?;
            self.begin(oldest.next_offset)?;
        }
        self.drop_first()?;
        let mut garbage = Vec::new();
        while let Some(copy) = self.tail.oldest()
            && copy.next_offset <= oldest.next_offset
        {
            garbage.extend(self.tail.take_oldest());
        }
        Ok(Garbage::Many(garbage))
    }

    fn closed(&self) -> Vec<Closed> {
        Vec::new()
    }

    fn sink(&self, _bytes: usize) -> Result<Box<dyn Sink>, WriteFailed> {
        Err(WriteFailed)
    }

    fn swap(
        &mut self,
        _base_offset: i64,
        _next_offset: i64,
        _with: Vec<Replacement>,
    ) -> Result<Garbage, SwapFailed> {
        Err(SwapFailed::Stale)
    }

    fn may_be_evicted(&mut self, may: bool) {
        self.tail.may_be_evicted(may);
    }

    fn keeps_copies(&self) -> bool {
        true
    }

    fn oldest_copy(&self) -> Option<ChunkInfo> {
        self.tail.oldest()
    }

    fn drop_copy(&mut self) -> Garbage {
        self.tail.drop_oldest().unwrap_or_default()
    }

    fn checkpoint(&mut self, state: &PartitionState) -> Result<(), WriteFailed> {
        let first = self
            .segments
            .front()
            .map_or(0, |first| first.info.base_offset);
        let start = (state.log_start > first).then_some(state.log_start);
        let name = self.writer.folder.name();
        self.shared.note_start(name, start);
        if let Some(synced) = self.writer.synced() {
            self.shared.note_synced(name, Some(synced));
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<Garbage, WriteFailed> {
        let delay_ms = self.rules().delete_delay_ms;
        self.segments.clear();
        self.bytes = 0;
        self.shared.note_start(self.writer.folder.name(), None);
        self.shared.note_synced(self.writer.folder.name(), None);
        self.shared.leaves(&self.writer);
        let garbage = self.tail.clear();
        // A log that takes no more leaves its files to the next start.
        self.push(Step::Clear { delay_ms })?;
        garbage
    }
}

impl DiskLog {
    fn drop_first(&mut self) -> Result<(), WriteFailed> {
        let Some(first) = self.segments.front() else {
            return Ok(());
        };
        let base_offset = first.info.base_offset;
        let delay_ms = self.rules().delete_delay_ms;
        self.push(Step::Drop {
            base_offset,
            delay_ms,
        })?;
        self.bytes -= first.info.bytes;
        self.segments.pop_front();
        Ok(())
    }
}
