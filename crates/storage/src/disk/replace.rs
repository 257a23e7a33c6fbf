//! Compacted segments in the place of others, as a log decides it.

use super::cleaned::Cleaned;
use super::log::DiskLog;
use super::segment::Segment;
use super::side;
use super::step::{Step, Swap};
use crate::buffer::Slice;
use crate::engine::{ChunkInfo, Content, Garbage, Log, Replacement, SwapFailed, WriteFailed};
use rustka_core::log::PartitionState;
use rustka_core::producers::AbortedTransaction;
use std::any::Any;
use std::sync::Arc;

impl DiskLog {
    /// See [`Log::swap`]. The log goes on beginning where it began, also where nothing is left there.
    pub(super) fn replace(
        &mut self,
        base_offset: i64,
        next_offset: i64,
        with: Vec<Replacement>,
        state: &PartitionState,
    ) -> Result<Garbage, SwapFailed> {
        let at = |found: Result<usize, usize>| found.map_err(|_| SwapFailed::Stale);
        let from = self
            .segments
            .binary_search_by_key(&base_offset, |segment| segment.info.base_offset);
        let last = self
            .segments
            .binary_search_by_key(&next_offset, |segment| segment.info.next_offset);
        let (from, last) = (at(from)?, at(last)?);
        let is_open = last + 1 >= self.segments.len();
        if last < from || is_open || with.len() > last + 1 - from {
            return Err(SwapFailed::Stale);
        }
        let new = with.into_iter().map(in_file);
        let new: Vec<(Replacement, Arc<Cleaned>)> = new.collect::<Result<_, _>>()?;
        let empty = (new.is_empty() && from == 0).then_some(base_offset);
        let mut segments = Vec::with_capacity(new.len() + 1);
        let mut files = Vec::with_capacity(new.len());
        for (number, (new, cleaned)) in new.iter().enumerate() {
            let base_offset = match number {
                0 => base_offset,
                _ => new.base_offset,
            };
            segments.push(Segment {
                info: ChunkInfo {
                    base_offset,
                    next_offset: new.next_offset,
                    max_timestamp: new.max_timestamp,
                    first_timestamp: cleaned.first_timestamp(),
                    written_ms: self.segments[last].info.written_ms,
                    bytes: cleaned.bytes,
                    cold: true,
                    ..self.segments[from + number].info
                },
                latest_so_far: i64::MIN,
                indexing: None,
                moving: Some(cleaned.moving.clone()),
            });
            let aborted = state.aborted_between(base_offset, i64::MAX);
            let kept = aborted
                .iter()
                .filter(|aborted| cleaned.has_marker(aborted.last_offset));
            let kept = kept.flat_map(|one| side::aborted_entry(one, stable_after(one, &aborted)));
            files.push((base_offset, cleaned.clone(), kept.collect()));
        }
        if let Some(base_offset) = empty {
            let mut segment = Segment::new(self.segments[from].info.sequence, base_offset);
            segment.info.next_offset = next_offset;
            segment.indexing = None;
            segments.push(segment);
        }
        let gone = self.segments.range(from..=last);
        let synced = self.writer.synced().unwrap_or(0);
        let unsynced = self.segments.range(..=last);
        let unsynced = unsynced.filter(|segment| segment.info.next_offset > synced);
        let swap = Swap {
            end: next_offset,
            unsynced: unsynced.map(|segment| segment.info.base_offset).collect(),
            gone: gone.map(|segment| segment.info.base_offset).collect(),
            with: files,
            empty,
            delay_ms: self.rules().delete_delay_ms,
        };
        self.push(Step::Swap(swap))
            .map_err(|WriteFailed| SwapFailed::Write)?;
        new.iter().for_each(|(_, cleaned)| cleaned.take());
        for segment in self.segments.range(from..=last) {
            self.shared.readings.forget(segment.info.sequence);
        }
        if segments.is_empty()
            && let Some(before) = from.checked_sub(1)
        {
            self.segments[before].info.next_offset = next_offset;
        }
        let behind = self.segments.split_off(last + 1);
        self.segments.truncate(from);
        self.segments.extend(segments);
        self.segments.extend(behind);
        self.count_again(from);
        Ok(Garbage::Many(self.forget_copies(next_offset)))
    }

    /// Copies of what was there before say more than there is.
    fn forget_copies(&mut self, next_offset: i64) -> Vec<Slice> {
        let mut garbage = Vec::new();
        while let Some(copy) = self.tail.oldest()
            && copy.next_offset <= next_offset
        {
            garbage.extend(self.tail.take_oldest());
        }
        garbage
    }

    /// Counts what follows from one segment for the next.
    fn count_again(&mut self, from: usize) {
        self.bytes = self.segments.iter().map(|segment| segment.info.bytes).sum();
        let before = from
            .checked_sub(1)
            .map(|at| self.segments[at].latest_so_far);
        let mut latest = before.unwrap_or(i64::MIN);
        for segment in self.segments.range_mut(from..) {
            latest = latest.max(segment.info.max_timestamp);
            segment.latest_so_far = latest;
        }
    }
}

/// The last stable offset once this transaction was over, as far as aborted ones hold it back: whoever reads the index looks
/// for no others.
fn stable_after(one: &AbortedTransaction, all: &[AbortedTransaction]) -> i64 {
    let open = all.iter().filter(|other| {
        other.first_offset < one.last_offset && other.last_offset > one.last_offset
    });
    let first = open.map(|other| other.first_offset).min();
    first.unwrap_or(one.last_offset.saturating_add(1))
}

/// A new chunk and its file, which is one of ours.
fn in_file(new: Replacement) -> Result<(Replacement, Arc<Cleaned>), SwapFailed> {
    let Content::Cold(content) = &new.content else {
        return Err(SwapFailed::Write);
    };
    let content: Arc<dyn Any + Send + Sync> = content.clone();
    let cleaned = content.downcast().map_err(|_| SwapFailed::Write)?;
    Ok((new, cleaned))
}
