//! Reading whole batches.

use super::{Offsets, Partition};
use crate::buffer::Slice;
use crate::engine::Span;
use rustka_core::batch::batches;
use rustka_core::error::ErrorCode;

impl Partition {
    /// Batches from the one that holds `offset`, at most `max_bytes` of them but at least one if asked for, none
    /// that begins at or after `upper`.
    pub fn read(
        &self,
        offset: i64,
        upper: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Vec<Slice>, ErrorCode> {
        let inner = self.lock();
        inner.check_readable()?;
        let span = Span {
            offset,
            upper,
            max_bytes,
            at_least_one,
        };
        Ok(inner.log.read(span)?)
    }

    /// The same for a consumer, with the offsets of that moment: nothing beyond what it may see.
    pub fn fetch(
        &self,
        offset: i64,
        committed_only: bool,
        max_bytes: usize,
        at_least_one: bool,
    ) -> (Offsets, Result<Vec<Slice>, ErrorCode>) {
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
        if offset < offsets.log_start || offset > offsets.high_watermark {
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

    /// Visits the batches that may hold records from `offset` on, oldest first, until `visit` says stop.
    /// The partition is not locked meanwhile.
    pub fn each_batch(
        &self,
        offset: i64,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), ErrorCode> {
        let upper = self.offsets().high_watermark;
        for slice in self.read(offset, upper, usize::MAX, true)? {
            for (_, range) in batches(&slice).map_while(Result::ok) {
                if !visit(&slice[range]) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
