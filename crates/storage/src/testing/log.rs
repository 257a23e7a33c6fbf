//! The log of the test engine: one in memory behind whatever the test has in mind.

use super::{Desk, Pace, Place, Step, Write, lock};
use crate::buffer::Slice;
use crate::cold::Load;
use crate::engine::{
    Batch, ChunkInfo, Closed, ColdContent, Content, Found, Garbage, Late, Log, ReadFailed,
    Replacement, Sink, Span, Stored, SwapFailed, WriteFailed,
};
use crate::partition::Partition;
use rustka_core::batch::batches;
use rustka_core::log::PartitionState;
use std::sync::{Arc, Mutex, Weak};

pub(super) struct TestLog {
    pub log: Box<dyn Log>,
    pub desk: Arc<Mutex<Desk>>,
    pub place: Place,
    pub home: Weak<Partition>,
}

impl TestLog {
    fn fails(&self, step: Step) -> bool {
        lock(&self.desk).strikes(self.place, step)
    }

    fn check(&self, step: Step) -> Result<(), WriteFailed> {
        match self.fails(step) {
            true => Err(WriteFailed),
            false => Ok(()),
        }
    }

    fn is_cold(&self) -> bool {
        lock(&self.desk).cold.contains(&self.place)
    }
}

impl Log for TestLog {
    fn append(&mut self, batch: Batch<'_>) -> Result<Stored, WriteFailed> {
        let (base_offset, position) = (batch.base_offset, batch.next_offset);
        if lock(&self.desk).is_too_late() {
            return Err(WriteFailed);
        }
        let bytes = batch.bytes.to_vec();
        let now_ms = batch.now_ms;
        self.log.append(batch)?;
        let mut desk = lock(&self.desk);
        let fails = desk.strikes(self.place, Step::Append);
        if let Some(kept) = desk.kept_of(self.place) {
            kept.batches.push((position, now_ms, bytes));
        }
        let stored = match desk.pace {
            Pace::Durable if fails => return Err(WriteFailed),
            Pace::Durable => {
                desk.durable(self.place, position);
                return Ok(Stored::Durable);
            }
            Pace::Written => Stored::Written,
            Pace::Queued => Stored::Queued,
        };
        let home = self.home.clone();
        desk.queues.entry(self.place).or_default().push_back(Write {
            home,
            base_offset,
            position,
            fails,
        });
        Ok(stored)
    }

    fn wants_roll(&self, batch_bytes: usize) -> bool {
        let most = lock(&self.desk).chunk_bytes_max;
        let open = self.log.newest().map_or(0, |chunk| chunk.bytes);
        most.is_some_and(|most| open > 0 && open + batch_bytes as u64 > most)
    }

    fn roll(&mut self, state: &PartitionState) -> Result<(), WriteFailed> {
        self.check(Step::Roll)?;
        self.log.roll(state)?;
        lock(&self.desk).told(self.place, state);
        Ok(())
    }

    fn checkpoint(&mut self, state: &PartitionState) -> Result<(), WriteFailed> {
        self.check(Step::Checkpoint)?;
        lock(&self.desk).told(self.place, state);
        Ok(())
    }

    fn read(&self, span: Span) -> Result<Found, ReadFailed> {
        if lock(&self.desk).unreadable.contains(&self.place) {
            return Err(ReadFailed);
        }
        let found = self.log.read(span)?;
        if !self.is_cold() || found.bytes() == 0 {
            return Ok(found);
        }
        let (desk, place, bytes) = (self.desk.clone(), self.place, found.bytes());
        Ok(Found::Cold(Load::by(bytes, move || {
            let fails = {
                let mut desk = lock(&desk);
                desk.loads += 1;
                desk.strikes(place, Step::Load)
            };
            match fails {
                true => Err(ReadFailed),
                false => found.load(),
            }
        })))
    }

    fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    fn oldest(&self) -> Option<ChunkInfo> {
        self.log.oldest()
    }

    fn newest(&self) -> Option<ChunkInfo> {
        self.log.newest()
    }

    fn each_chunk(&self, offset: i64, visit: &mut dyn FnMut(&ChunkInfo) -> bool) {
        let cold = self.is_cold();
        let mut visit = |chunk: &ChunkInfo| visit(&ChunkInfo { cold, ..*chunk });
        self.log.each_chunk(offset, &mut visit);
    }

    fn first_late(&self, offset: i64, timestamp: i64) -> Option<Late> {
        let late = self.log.first_late(offset, timestamp)?;
        let cold = self.is_cold();
        Some(Late { cold, ..late })
    }

    fn drop_oldest(&mut self) -> Result<Garbage, WriteFailed> {
        self.check(Step::Drop)?;
        let gone = self.log.oldest().map_or(0, |chunk| chunk.next_offset);
        let garbage = self.log.drop_oldest()?;
        if let Some(kept) = lock(&self.desk).kept_of(self.place) {
            kept.batches.retain(|(position, ..)| *position > gone);
            kept.log_start = kept.log_start.max(gone);
        }
        Ok(garbage)
    }

    fn closed(&self) -> Vec<Closed> {
        let mut closed = self.log.closed();
        if self.is_cold() {
            for chunk in &mut closed {
                let content = chunk.content.clone();
                let (desk, place) = (self.desk.clone(), self.place);
                chunk.content = Content::Cold(Arc::new(ColdChunk {
                    content,
                    desk,
                    place,
                }));
            }
        }
        closed
    }

    fn sink(&self, bytes: usize) -> Result<Box<dyn Sink>, WriteFailed> {
        self.check(Step::Sink)?;
        self.log.sink(bytes)
    }

    fn swap(
        &mut self,
        base_offset: i64,
        next_offset: i64,
        with: Vec<Replacement>,
        state: &PartitionState,
    ) -> Result<Garbage, SwapFailed> {
        if self.fails(Step::Swap) {
            return Err(SwapFailed::Write);
        }
        let contents: Vec<Content> = with.iter().map(|new| new.content.clone()).collect();
        let garbage = self.log.swap(base_offset, next_offset, with, state)?;
        if let Some(kept) = lock(&self.desk).kept_of(self.place) {
            let replaced = base_offset + 1..=next_offset;
            kept.batches
                .retain(|(position, ..)| !replaced.contains(position));
            for piece in contents.iter().flat_map(Content::pieces) {
                let piece = piece.map_err(|ReadFailed| SwapFailed::Write)?;
                for (header, range) in batches(&piece).map_while(Result::ok) {
                    let position = header.last_offset().map_or(0, |last| last + 1);
                    kept.batches.push((position, 0, piece[range].to_vec()));
                }
            }
            kept.batches.sort_by_key(|(position, ..)| *position);
        }
        Ok(garbage)
    }

    fn may_be_evicted(&mut self, may: bool) {
        self.log.may_be_evicted(may);
    }

    fn clear(&mut self) -> Result<Garbage, WriteFailed> {
        self.check(Step::Clear)?;
        lock(&self.desk).kept.remove(&self.place);
        self.log.clear()
    }
}

/// A closed chunk that is read one batch at a time.
struct ColdChunk {
    content: Content,
    desk: Arc<Mutex<Desk>>,
    place: Place,
}

impl ColdContent for ColdChunk {
    fn read(&self, at: u64, _bytes: usize) -> Result<Option<Slice>, ReadFailed> {
        if lock(&self.desk).strikes(self.place, Step::Load) {
            return Err(ReadFailed);
        }
        let at = usize::try_from(at).map_err(|_| ReadFailed)?;
        let Some(whole) = self.content.pieces().next().transpose()? else {
            return Ok(None);
        };
        let rest = whole.slice(at, whole.len());
        let first = batches(&rest).next();
        let Some(first) = first else {
            return Ok(None);
        };
        let (_, range) = first.map_err(|_| ReadFailed)?;
        Ok(Some(rest.slice(range.start, range.end)))
    }
}
