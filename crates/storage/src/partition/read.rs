//! Reading whole batches.

use super::{Offsets, Partition};
use crate::buffer::Slice;
use crate::engine::{ChunkInfo, Found, Late, Span};
use rustka_core::batch::batches;
use rustka_core::error::ErrorCode;

/// Chunks looked at before others may have the lock: some microseconds of work.
const CHUNKS_PER_LOCK: usize = 4_096;

impl Partition {
    /// Loads batches from the one that holds `offset`, which may take long where they are not at hand: at most
    /// `max_bytes` of them but at least one if asked for, none that begins at or after `upper`. They may be fewer than
    /// there are; none only if there are none.
    pub fn read(
        &self,
        offset: i64,
        upper: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Vec<Slice>, ErrorCode> {
        let found = {
            let inner = self.lock();
            inner.check_readable()?;
            inner.log.read(Span {
                offset,
                upper,
                max_bytes,
                at_least_one,
            })?
        };
        Ok(found.load()?)
    }

    /// The same for a consumer, with the offsets of that moment: nothing beyond what it may see. What is not at hand is
    /// left to the caller to load.
    pub fn fetch(
        &self,
        offset: i64,
        committed_only: bool,
        max_bytes: usize,
        at_least_one: bool,
    ) -> (Offsets, Result<Found, ErrorCode>) {
        let inner = self.lock();
        let offsets = inner.offsets();
        if let Err(code) = inner.check_leader() {
            return (offsets, Err(code));
        }
        // Where a write failed nothing will ever come: to wait for it would be silence, to reset would be loss.
        let lost = inner.state.failed_from.is_some_and(|failed| {
            (failed..=inner.state.log_end()).contains(&offset) && offset >= offsets.log_start
        });
        if lost {
            return (offsets, Err(ErrorCode::KafkaStorageError));
        }
        // What is not durable yet exists, but nobody sees it (E71).
        if offset < offsets.log_start || offset > offsets.log_end {
            return (offsets, Err(ErrorCode::OffsetOutOfRange));
        }
        let upper = if committed_only {
            offsets.last_stable
        } else {
            offsets.high_watermark
        };
        let span = Span {
            offset,
            upper,
            max_bytes,
            at_least_one,
        };
        (offsets, inner.log.read(span).map_err(ErrorCode::from))
    }

    /// Visits what is known of the chunks from the one that holds `offset` on, oldest first, until `visit` says stop.
    /// The lock is let go now and then, so that a log of very many chunks holds nobody up.
    pub fn each_chunk(
        &self,
        offset: i64,
        mut visit: impl FnMut(&ChunkInfo) -> bool,
    ) -> Result<(), ErrorCode> {
        let (mut from, mut more) = (offset, true);
        while more {
            let inner = self.lock();
            inner.check_readable()?;
            let mut seen = 0;
            more = false;
            inner.log.each_chunk(from, &mut |chunk| {
                if seen == CHUNKS_PER_LOCK {
                    more = true;
                    return false;
                }
                seen += 1;
                from = chunk.next_offset;
                visit(chunk)
            });
        }
        Ok(())
    }

    /// Where to look for the first batch, from the one that holds `offset` on, whose header tells this timestamp or a
    /// later one.
    pub fn first_late(&self, offset: i64, timestamp: i64) -> Result<Option<Late>, ErrorCode> {
        let inner = self.lock();
        inner.check_readable()?;
        Ok(inner.log.first_late(offset, timestamp))
    }

    /// Loads the batches that hold the offsets `from..upper` and visits them, oldest first, until `visit` says stop. They
    /// are pinned meanwhile, and the partition is not locked.
    pub fn each_batch(
        &self,
        mut from: i64,
        upper: i64,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), ErrorCode> {
        loop {
            let before = from;
            for slice in self.read(from, upper, usize::MAX, true)? {
                for (header, range) in batches(&slice).map_while(Result::ok) {
                    if !visit(&slice[range]) {
                        return Ok(());
                    }
                    let next = header
                        .last_offset()
                        .map_or(i64::MAX, |last| last.saturating_add(1));
                    from = from.max(next);
                }
            }
            if from == before || from >= upper {
                return Ok(());
            }
        }
    }
}
