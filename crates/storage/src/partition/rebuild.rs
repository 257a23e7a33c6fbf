//! Bringing a partition back that a panic took offline: its batches are whole, so its state is read again from them.

use super::Partition;
use super::recovery::see_all;
use crate::engine::{Found, Span};
use rustka_core::batch::BatchError;
use rustka_core::log::replay::{Replay, Unusable};
use rustka_core::time::Now;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Partition {
    /// Whether a panic took it offline and it may come back.
    pub fn wants_rebuild(&self) -> bool {
        let inner = self.lock();
        inner.offline && !inner.lost && !inner.deleted
    }

    /// Reads the state again from all batches and serves it. Takes long for a large log. Where the batches do not fit
    /// together the partition stays offline for good; says whether it is back.
    pub fn rebuild(&self, now: Now) -> bool {
        let rebuilt = catch_unwind(AssertUnwindSafe(|| self.read_again(now)));
        let mut inner = self.lock();
        let why = match rebuilt {
            Ok(Ok(replay)) => {
                let before = std::mem::take(&mut inner.state);
                inner.state = replay.finish(before.log_start);
                inner.state.failed_from = before.failed_from;
                inner.durable = inner.durable.min(inner.state.next_offset);
                let durable = inner.durable;
                inner.state.settle(durable);
                inner.offline = false;
                inner.keep_evictable();
                inner.recount_dirty();
                None
            }
            Ok(Err(unusable)) => Some(format!("{unusable:?}")),
            Err(_) => Some("its log cannot be read".to_owned()),
        };
        inner.lost = why.is_some();
        drop(inner);
        let (index, topic) = (self.index, self.topic_id);
        match &why {
            None => {
                tracing::warn!(target: "rustka::storage", "partition {index} of topic {topic} is back")
            }
            Some(why) => {
                tracing::error!(target: "rustka::storage", "partition {index} of topic {topic} stays offline: {why}");
            }
        }
        why.is_none()
    }

    fn read_again(&self, now: Now) -> Result<Replay, Unusable> {
        let mut replay = Replay::new(self.lock().state.leader_epoch, now);
        let mut from = 0;
        // The partition is offline: nothing is appended meanwhile.
        loop {
            let rest = Span {
                offset: from,
                upper: i64::MAX,
                max_bytes: usize::MAX,
                at_least_one: true,
            };
            let found = self.lock().log.read(rest);
            let slices = found.and_then(Found::load);
            let slices = slices.map_err(|_| Unusable::Batch(BatchError::Truncated))?;
            match see_all(&mut replay, &slices)? {
                Some(next) => from = next,
                None => return Ok(replay),
            }
        }
    }
}
