//! The log of a partition that lies in files: decides where everything goes, and leaves it to its writer to put it there.
//! What came last is also in memory, as much of it as there is room for.

use super::Shared;
use super::cleaned::{ClosedSegment, FileSink};
use super::damage;
use super::index::Appending;
use super::load::{ColdSpan, LOAD_BYTES_MAX};
use super::recovery::Found;
use super::run::Write;
use super::seek::Part;
use super::segment::{Segment, SegmentRules};
use super::side;
use super::step::{Snapshot, Step};
use super::writer::Writer;
use crate::cold::{Load, Loaded};
use crate::engine::{
    Batch, ChunkInfo, Closed, Content, Cut, Found as Read, Garbage, Late, Log, ReadFailed,
    Replacement, Sink, Span, Stored, SwapFailed, WriteFailed,
};
use crate::memory::MemoryLog;
use rustka_core::config::SharedConfig;
use rustka_core::epochs::Epochs;
use rustka_core::log::PartitionState;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub(super) struct DiskLog {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Arc<Writer>,
    /// Copies of the newest batches, without a gap up to the end.
    pub(super) tail: MemoryLog,
    /// At least one once anything was written; the last one takes what comes next.
    pub(super) segments: VecDeque<Segment>,
    pub(super) bytes: u64,
    config: Option<Arc<SharedConfig>>,
    /// The partition's number.
    index: i32,
    /// Where the records begin that nobody has asked to be synced at once (`flush.messages`).
    flushed: i64,
    /// Offsets of batches that cannot be read, in order.
    damaged: Vec<Range<i64>>,
    /// The epochs that the file of them has.
    epochs: Epochs,
    /// The offset of the newest snapshot of producers.
    snapshot: Option<i64>,
    /// Aborted transactions in the newest segment's index.
    aborted: u64,
}

impl DiskLog {
    pub fn new(
        shared: &Arc<Shared>,
        writer: Arc<Writer>,
        tail: MemoryLog,
        found: Found,
    ) -> DiskLog {
        let mut segments = found.segments;
        // There are very many logs of one segment.
        segments.shrink_to_fit();
        let name = writer.folder.name();
        let index = name
            .rsplit_once('-')
            .and_then(|(_, index)| index.parse().ok());
        let newest = segments.last().map_or(0, |newest| newest.info.base_offset);
        let aborted = found.state.aborted_between(newest, i64::MAX);
        let aborted = aborted.iter().filter(|one| one.last_offset >= newest);
        DiskLog {
            shared: shared.clone(),
            writer,
            tail,
            bytes: segments.iter().map(|segment| segment.info.bytes).sum(),
            aborted: aborted.count() as u64,
            segments: segments.into(),
            config: None,
            index: index.unwrap_or(-1),
            flushed: found.state.next_offset,
            damaged: found.damaged,
            epochs: found.epochs,
            snapshot: found.snapshot,
        }
    }

    /// How segments are cut now.
    pub(super) fn rules(&self) -> SegmentRules {
        match &self.config {
            Some(config) => SegmentRules::of(&config.now()),
            None => SegmentRules::default(),
        }
    }

    /// Whether so many records are unsynced with this end of the log that they are to be synced.
    fn is_to_flush(&mut self, position: i64) -> bool {
        let config = self.config.as_ref();
        let limit = config.map_or(i64::MAX, |config| config.now().flush_messages);
        let is_due = position.saturating_sub(self.flushed) >= limit;
        if is_due {
            self.flushed = position;
        }
        is_due
    }

    pub(super) fn push(&self, step: Step) -> Result<(), WriteFailed> {
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
        self.aborted = 0;
        Ok(())
    }

    /// Has the file of leader epochs say what it is to say.
    fn keep_epochs(&mut self, state: &PartitionState) -> Result<(), WriteFailed> {
        if self.epochs == state.epochs {
            return Ok(());
        }
        self.push(Step::Epochs(side::epochs_text(&state.epochs)))?;
        self.epochs.clone_from(&state.epochs);
        Ok(())
    }

    /// Has producers kept as they are now, unless they are.
    fn keep_producers(&mut self, state: &PartitionState, stays: bool) -> Result<(), WriteFailed> {
        let position = state.next_offset;
        let Some(newest) = self.segments.back() else {
            return Ok(());
        };
        // There is none for offset 0, as in Kafka.
        if self.snapshot == Some(position) || position == 0 {
            return Ok(());
        }
        // Those at which segments begin stay.
        let is_base = |offset: &i64| {
            let found = self
                .segments
                .binary_search_by_key(offset, |segment| segment.info.base_offset);
            found.is_ok()
        };
        let obsolete = self.snapshot.filter(|offset| !is_base(offset));
        let indexing = newest.indexing.as_ref();
        let time = indexing.and_then(|indexing| indexing.closing());
        self.push(Step::Snapshot(Snapshot {
            position,
            bytes: state.producer_snapshot(),
            obsolete,
            segment: newest.info.base_offset,
            time,
            stays,
        }))?;
        self.snapshot = Some(position);
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

    /// Where to go on instead of at this offset, which is damaged, if it is to be passed over.
    fn skips_to(&self, offset: i64) -> Option<i64> {
        let damaged = self.damaged.iter().find(|range| range.contains(&offset))?;
        let config = self.config.as_ref()?.now();
        let mut skips = config.damaged_skip.iter();
        let is_skipped = skips.any(|skip| skip.covers(self.index, damaged));
        is_skipped.then_some(damaged.end)
    }

    /// Where the last of the damage ends that lies between these offsets.
    fn damage_before(&self, from: i64, offset: i64) -> Option<i64> {
        let before = self.damaged.partition_point(|range| range.end <= offset);
        let last = self.damaged.get(before.checked_sub(1)?)?;
        (last.end > from).then_some(last.end)
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
                sequence: segment.info.sequence,
                bytes: segment.info.bytes,
                // What is not written yet is in memory as well.
                is_written: segment.info.next_offset <= self.tail_from(),
                moving: segment.moving.clone(),
                behind: self.damage_before(segment.info.base_offset, span.offset),
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
        self.keep_epochs(batch.state)?;
        let aborted = match batch.header.is_control() {
            true => batch.state.aborted_at(base_offset),
            false => None,
        };
        let aborted = aborted.map(|(aborted, stable)| {
            let at = self.aborted * side::ABORTED_ENTRY_BYTES as u64;
            self.aborted += 1;
            (at, side::aborted_entry(&aborted, stable))
        });
        let interval_bytes = self.rules().index_interval_bytes;
        let length = batch.bytes.len();
        let flush = self.is_to_flush(position);
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
            aborted,
            flush,
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

    fn hurry(&self) {
        self.writer.hurry();
    }

    fn configure(&mut self, config: &Arc<SharedConfig>) {
        self.writer.configure(config);
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
        self.keep_producers(state, true)?;
        self.tail.roll(state)?;
        self.begin(state.next_offset)
    }

    fn read(&self, mut span: Span) -> Result<Read, ReadFailed> {
        let tail_from = self.tail_from();
        while let Some(behind) = self
            .skips_to(span.offset)
            .filter(|_| span.offset < tail_from)
        {
            span.offset = behind;
        }
        if span.offset >= span.upper || span.offset >= tail_from {
            return self.tail.read(span);
        }
        let mut upper = span.upper.min(tail_from);
        let damaged = self.damaged.iter().find(|range| range.end > span.offset);
        if let Some(damaged) = damaged {
            if damaged.start <= span.offset {
                return Err(ReadFailed);
            }
            upper = upper.min(damaged.start);
        }
        let in_files = Span { upper, ..span };
        let parts = self.parts(&in_files);
        // Where compaction has left nothing before it, it begins in memory.
        let Read::Here {
            slices: tail,
            next_offset,
        } = self.tail.read(Span {
            max_bytes: span.max_bytes.min(LOAD_BYTES_MAX),
            ..span
        })?
        else {
            return Err(ReadFailed);
        };
        if parts.is_empty() {
            return Ok(Read::Here {
                slices: tail,
                next_offset,
            });
        }
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let about = bytes.min(span.max_bytes.min(LOAD_BYTES_MAX)).max(1);
        let cold = ColdSpan {
            writer: self.writer.clone(),
            parts,
            span: in_files,
            tail: Loaded::of(tail),
        };
        Ok(Read::Cold(Load::new(about, cold)))
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
        let closed = self.segments.len().saturating_sub(1);
        // What is damaged stays as it is, and what lies behind it.
        let whole_to = self.damaged.first().map_or(i64::MAX, |first| first.start);
        let segments = self.segments.range(..closed);
        let whole = segments.take_while(|segment| segment.info.next_offset <= whole_to);
        whole
            .filter(|segment| !segment.is_empty())
            .map(|segment| Closed {
                info: self.info(segment),
                content: Content::Cold(Arc::new(ClosedSegment {
                    writer: self.writer.clone(),
                    part: Part {
                        base_offset: segment.info.base_offset,
                        sequence: segment.info.sequence,
                        bytes: segment.info.bytes,
                        is_written: true,
                        moving: segment.moving.clone(),
                        behind: None,
                    },
                    pool: self.shared.memory.pool.clone(),
                })),
            })
            .collect()
    }

    fn cut(&self) -> Cut {
        Cut {
            bytes: usize::try_from(self.rules().segment_bytes).unwrap_or(usize::MAX),
            at_once: true,
        }
    }

    fn sink(&self, _bytes: usize) -> Result<Box<dyn Sink>, WriteFailed> {
        let interval_bytes = self.rules().index_interval_bytes;
        let pool = &self.shared.memory.pool;
        Ok(Box::new(FileSink::new(&self.writer, pool, interval_bytes)))
    }

    fn swap(
        &mut self,
        base_offset: i64,
        next_offset: i64,
        with: Vec<Replacement>,
        state: &PartitionState,
    ) -> Result<Garbage, SwapFailed> {
        self.replace(base_offset, next_offset, with, state)
    }

    fn damaged(&self) -> &[Range<i64>] {
        &self.damaged
    }

    fn at_rest(&self, offset: i64) -> Option<ChunkInfo> {
        let mut segments = self.segments.range(self.first_with(offset)..);
        let at_rest = |segment: &&Segment| {
            let moving = segment.moving.as_ref();
            !segment.is_empty() && moving.is_none_or(|moving| moving.has_arrived())
        };
        segments.find(at_rest).map(|segment| self.info(segment))
    }

    fn found_damage(&mut self, sequence: u64, range: &Range<i64>) -> bool {
        let mut segments = self.segments.iter();
        let is_there = segments.any(|segment| segment.info.sequence == sequence);
        let mut known = self.damaged.iter();
        let is_known = known.any(|known| known.start <= range.start && range.end <= known.end);
        if !is_there || is_known {
            return false;
        }
        damage::add(&mut self.damaged, range.clone());
        let name = self.writer.folder.name();
        self.shared.note_damaged(name, &self.damaged);
        true
    }

    fn note_cleaned(&mut self, offset: i64) {
        // Told before the new segments are in their place, it would be believed of the old ones after a crash. A log that
        // takes no more stays as it is.
        let _told = self.push(Step::Cleaned(offset));
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
        if self.segments.is_empty() {
            return Ok(());
        }
        self.keep_epochs(state)?;
        self.keep_producers(state, false)
    }

    fn clear(&mut self) -> Result<Garbage, WriteFailed> {
        let delay_ms = self.rules().delete_delay_ms;
        for segment in &self.segments {
            self.shared.readings.forget(segment.info.sequence);
        }
        self.segments.clear();
        self.bytes = 0;
        self.damaged.clear();
        // In this order: what it has noted is forgotten, and it notes nothing more.
        self.writer.leave();
        self.shared.forget(self.writer.folder.name());
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
        self.shared.readings.forget(first.info.sequence);
        self.bytes -= first.info.bytes;
        let next_offset = first.info.next_offset;
        self.segments.pop_front();
        if damage::forget_before(&mut self.damaged, next_offset) {
            let name = self.writer.folder.name();
            self.shared.note_damaged(name, &self.damaged);
        }
        Ok(())
    }
}
