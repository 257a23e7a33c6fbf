//! What makes a log shorter: time, size, DeleteRecords, the memory limit; and what replaces parts of it.

use super::{Inner, Partition, Safety};
use crate::engine::{ChunkInfo, Closed, Cut, Garbage, Replacement, Sink, SwapFailed, WriteFailed};
use rustka_core::config::{ConsumerRetention, TopicConfig};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::log::PartitionState;
use rustka_core::time::Now;

/// What may happen to a partition's chunks.
#[derive(Clone, Copy, Debug)]
pub struct RetentionRules {
    /// Records older than this go; negative: never.
    pub retention_ms: i64,
    /// Chunks beyond this size go; negative: never.
    pub retention_bytes: i64,
    /// Whether retention and the memory limit may drop records at all.
    pub delete: bool,
}

impl RetentionRules {
    /// What a topic's configs say.
    pub fn of(config: &TopicConfig) -> RetentionRules {
        RetentionRules {
            retention_ms: config.retention_ms,
            retention_bytes: config.retention_bytes,
            delete: config.delete,
        }
    }
}

/// How far all groups have read a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadByAll {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// No group reads it.
    NoGroup,
    /// Every group goes on here or later.
    UpTo(i64),
}

impl Partition {
    /// Has retention go by how far groups have read, where the topic's configs say so (`rustka.retention.consumers`).
    pub fn set_read_by_all(&self, read: ReadByAll) {
        self.lock().read_by_all = read;
    }

    /// The chunk that a cap over many partitions may drop next; none if nothing may go.
    pub fn next_to_go(&self) -> Option<ChunkInfo> {
        let inner = self.lock();
        let may = inner.evictable && inner.check_readable().is_ok();
        inner
            .log
            .oldest()
            .filter(|chunk| may && inner.may_go(chunk))
    }

    /// Drops that chunk, if it is still the one with this number; whether it did.
    pub fn let_go(&self, sequence: u64) -> bool {
        let (garbage, woken) = {
            let mut inner = self.lock();
            let oldest = inner.log.oldest();
            let is_it =
                oldest.is_some_and(|chunk| chunk.sequence == sequence && inner.may_go(&chunk));
            if !is_it || !inner.evictable || inner.check_readable().is_err() {
                return false;
            }
            let Ok(garbage) = inner.drop_oldest() else {
                return false;
            };
            (garbage, inner.waiters.all())
        };
        woken.iter().for_each(|waiter| waiter.fire());
        drop(garbage);
        true
    }

    /// Drops the chunk with this number if it is still the oldest, or the copy of it; whether it did.
    pub fn evict(&self, sequence: u64) -> bool {
        let (garbage, woken) = {
            let mut inner = self.lock();
            if inner.log.keeps_copies() {
                let forgotten = inner.forget_copy(sequence);
                drop(inner);
                return forgotten.is_some();
            }
            let oldest = inner.log.oldest();
            if !inner.evictable || inner.check_readable().is_err() {
                // Asked again only once that has changed.
                inner.log.may_be_evicted(false);
                return false;
            }
            let Some(oldest) = oldest.filter(|chunk| chunk.sequence == sequence) else {
                return false;
            };
            if !inner.may_go(&oldest) {
                inner.passed_over = true;
                inner.log.may_be_evicted(false);
                return false;
            }
            match inner.drop_oldest() {
                Ok(garbage) => (garbage, inner.waiters.all()),
                Err(WriteFailed) => {
                    // Asked again only once that may have changed.
                    inner.log.may_be_evicted(false);
                    return false;
                }
            }
        };
        woken.iter().for_each(|waiter| waiter.fire());
        drop(garbage);
        true
    }

    /// What is appended from here on lies in chunks of its own, small ones first.
    pub fn roll(&self) {
        let failed_at = {
            let mut inner = self.lock();
            let log_end = inner.state.log_end();
            inner.roll().err().map(|WriteFailed| log_end)
        };
        if let Some(log_end) = failed_at {
            self.write_failed(log_end);
        }
    }

    /// Tells the log what all batches so far have led to; whether it could take that in.
    pub fn checkpoint(&self) -> bool {
        let mut inner = self.lock();
        let usable = inner.check_readable().is_ok();
        let Inner { log, state, .. } = &mut *inner;
        usable && log.checkpoint(state).is_ok()
    }

    /// The chunks that no append touches any more, oldest first. Compaction reads them without the lock and gives its
    /// result to [`Partition::swap`].
    pub fn closed(&self) -> Vec<Closed> {
        let inner = self.lock();
        match inner.check_readable() {
            Ok(()) => inner.log.closed(),
            Err(_) => Vec::new(),
        }
    }

    /// Puts compacted chunks in the place of the closed ones that hold `base_offset..next_offset`, unless these have
    /// changed meanwhile. Offsets, the log start included, stay as they are.
    pub fn swap(
        &self,
        base_offset: i64,
        next_offset: i64,
        with: Vec<Replacement>,
    ) -> Result<(), SwapFailed> {
        let garbage = {
            let mut inner = self.lock();
            inner.check_readable().map_err(|_| SwapFailed::Stale)?;
            let Inner { log, state, .. } = &mut *inner;
            log.swap(base_offset, next_offset, with, state)?
        };
        drop(garbage);
        Ok(())
    }

    /// How compaction is to cut what it writes.
    pub(super) fn cut(&self) -> Cut {
        self.lock().log.cut()
    }

    /// Where a chunk is written that is to take the place of others.
    pub fn sink(&self, bytes: usize) -> Result<Box<dyn Sink>, WriteFailed> {
        self.lock().log.sink(bytes)
    }

    /// Moves the log's start (DeleteRecords) and drops what lies wholly before it.
    pub fn delete_records(&self, before: i64) -> Result<i64, Refusal> {
        let (low_watermark, garbage, woken, told) = {
            let mut inner = self.lock();
            inner.check_leader()?;
            let low_watermark = inner.state.delete_records(before)?;
            let garbage = inner.drop_deleted();
            let Inner { log, state, .. } = &mut *inner;
            let told = log.checkpoint(state);
            (low_watermark, garbage, inner.waiters.all(), told)
        };
        woken.iter().for_each(|waiter| waiter.fire());
        drop(garbage);
        match told {
            Ok(()) => Ok(low_watermark),
            // The records would come back with the log.
            Err(WriteFailed) => Err(ErrorCode::KafkaStorageError.into()),
        }
    }

    /// Applies retention: drops what is past its time or size.
    pub fn retain(&self, rules: &RetentionRules, now: Now) {
        let (garbage, woken) = {
            let mut inner = self.lock();
            if inner.check_readable().is_err() {
                return;
            }
            if !rules.delete {
                return;
            }
            // What could not be dropped the last time goes first.
            let mut garbage = inner.drop_deleted();
            while let Some(chunk) = inner.log.oldest().filter(|chunk| inner.may_go(chunk)) {
                if inner.is_held(&chunk) {
                    break;
                }
                let too_old = rules.retention_ms >= 0
                    && now.aging_ms.saturating_sub(chunk.time_ms()) > rules.retention_ms;
                let too_large = inner.is_too_large(&chunk, rules.retention_bytes);
                if !too_old && !too_large && !inner.is_read(&chunk) {
                    break;
                }
                match inner.drop_oldest() {
                    Ok(dropped) => garbage.push(dropped),
                    Err(WriteFailed) => break,
                }
            }
            if garbage.is_empty() {
                return;
            }
            (garbage, inner.waiters.all())
        };
        woken.iter().for_each(|waiter| waiter.fire());
        drop(garbage);
    }
}

impl Inner {
    /// Forgets the copy of this chunk, if it is the oldest and can be read again.
    fn forget_copy(&mut self, sequence: u64) -> Option<Garbage> {
        let oldest = self.log.oldest_copy();
        let oldest = oldest.filter(|copy| copy.sequence == sequence)?;
        if oldest.next_offset > self.reached(Safety::Written) {
            self.passed_over = true;
            self.log.may_be_evicted(false);
            return None;
        }
        Some(self.log.drop_copy())
    }

    /// What is not durable yet stays, whatever it costs: its writer has not been told what became of it. What is lost
    /// may go.
    fn may_go(&self, chunk: &ChunkInfo) -> bool {
        chunk.next_offset <= self.state.high_watermark() || self.state.failed_from.is_some()
    }

    fn consumers(&self) -> ConsumerRetention {
        let config = self.config.as_ref();
        config.map_or(ConsumerRetention::None, |config| {
            config.now().retention_consumers
        })
    }

    /// Whether a group has not read all of it, and it stays for that.
    fn is_held(&self, chunk: &ChunkInfo) -> bool {
        let is_unread = match self.read_by_all {
            ReadByAll::Unknown => true,
            ReadByAll::NoGroup => false,
            ReadByAll::UpTo(read) => chunk.next_offset > read,
        };
        is_unread && self.consumers() == ConsumerRetention::Hold
    }

    /// Whether every group has read it, and it goes for that.
    fn is_read(&self, chunk: &ChunkInfo) -> bool {
        let read = self.read_by_all;
        matches!(read, ReadByAll::UpTo(read) if chunk.next_offset <= read)
            && self.consumers() == ConsumerRetention::Drop
    }

    /// Whether the log is as large as it may be without its oldest chunk. It never becomes smaller than that.
    fn is_too_large(&self, oldest: &ChunkInfo, retention_bytes: i64) -> bool {
        let without = self.log.bytes().saturating_sub(oldest.bytes);
        u64::try_from(retention_bytes).is_ok_and(|limit| without >= limit)
    }

    /// Applies `retention.bytes` alone, for whenever a chunk was closed.
    pub(super) fn drop_beyond_size(&mut self) -> Vec<Garbage> {
        let mut garbage = Vec::new();
        let Some(config) = &self.config else {
            return garbage;
        };
        let config = config.now();
        let (delete, limit) = (config.delete, config.retention_bytes);
        while delete
            && let Some(oldest) = self.log.oldest()
            && self.may_go(&oldest)
            && self.is_too_large(&oldest, limit)
            && !self.is_held(&oldest)
        {
            match self.drop_oldest() {
                Ok(dropped) => garbage.push(dropped),
                // The regular look at every log tries again.
                Err(WriteFailed) => break,
            }
        }
        garbage
    }

    /// Drops what lies wholly before the log's start.
    fn drop_deleted(&mut self) -> Vec<Garbage> {
        let mut garbage = Vec::new();
        let gone = |chunk: &ChunkInfo, state: &PartitionState| chunk.next_offset <= state.log_start;
        while self
            .log
            .oldest()
            .is_some_and(|chunk| gone(&chunk, &self.state))
        {
            match self.log.drop_oldest() {
                Ok(dropped) => garbage.push(dropped),
                Err(WriteFailed) => break,
            }
        }
        garbage
    }

    fn roll(&mut self) -> Result<(), WriteFailed> {
        let Inner { log, state, .. } = self;
        log.roll(state)
    }

    /// Closes the newest chunk if it has no room for a batch of this size, or spans more time than a segment may: `segment.ms`, and where compaction must not
    /// wait, `max.compaction.lag.ms`. As in Kafka, time in the log is that of the records, from the first batch to the
    /// one that comes now; only where the first has none does it count from when that came.
    pub(super) fn roll_if_due(
        &mut self,
        batch_bytes: usize,
        max_timestamp: i64,
        now: Now,
    ) -> Result<(), WriteFailed> {
        match self.log.wants_roll(batch_bytes) || self.is_newest_old(max_timestamp, now) {
            true => self.roll(),
            false => Ok(()),
        }
    }

    fn is_newest_old(&self, max_timestamp: i64, now: Now) -> bool {
        let (Some(config), Some(chunk)) = (&self.config, self.log.newest()) else {
            return false;
        };
        let config = config.now();
        let mut span_ms_max = config.segment_ms;
        if config.compact {
            span_ms_max = span_ms_max.min(config.max_compaction_lag_ms);
        }
        let span_ms = match chunk.first_timestamp {
            ..0 => now.aging_ms.saturating_sub(chunk.opened_ms),
            first => max_timestamp.saturating_sub(first),
        };
        span_ms > span_ms_max
    }

    /// Drops the oldest chunk and moves the log's start behind it.
    fn drop_oldest(&mut self) -> Result<Garbage, WriteFailed> {
        let Some(chunk) = self.log.oldest() else {
            return Ok(Garbage::Nothing);
        };
        let garbage = self.log.drop_oldest()?;
        self.state.advance_log_start(chunk.next_offset);
        Ok(garbage)
    }
}
