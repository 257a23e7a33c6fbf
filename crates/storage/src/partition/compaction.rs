//! Compaction of one partition: what is due is decided under the lock, batches are read and written without it, and
//! the result takes the place of the old chunks a few at a time. Who is reading the old ones keeps what it holds.

mod output;
mod walk;

use super::{Inner, Partition, RetentionRules};
use crate::engine::{ChunkInfo, Closed};
use output::Output;
use rustka_core::config::TopicConfig;
use rustka_core::log::compaction::{Compaction, History, Summary, Terms};
use rustka_core::time::Now;
use std::collections::VecDeque;
use std::sync::Arc;
use walk::{Failed, Turn, keep, learn};

/// While data comes in, no round begins for less than this share of dirty bytes, however small the configured ratio:
/// every round goes over the whole log. The regular look at every log knows no such bound.
const HASTY_RATIO: f64 = 0.05;

/// What a partition knows about its compaction.
#[derive(Default)]
pub(super) struct Cleaning {
    /// Below this offset at most one record of each key is left.
    cleaned: i64,
    /// Bytes of chunks that reach beyond `cleaned`, the open one included.
    dirty_bytes: u64,
    /// Which are kept count of only where old values go.
    counts_dirty: bool,
    /// Somebody is about it.
    busy: bool,
    /// And it is to free what it can.
    pressed: bool,
    /// Batches that the last round could not read.
    unreadable: u64,
}

impl Cleaning {
    /// Below this offset it was done in an earlier life.
    pub fn since(cleaned: i64) -> Cleaning {
        Cleaning {
            cleaned,
            ..Cleaning::default()
        }
    }

    /// Nobody is about it any more.
    fn rest(&mut self) {
        self.busy = false;
        self.pressed = false;
    }
}

/// What a round may take.
pub struct CompactionLimits<'a> {
    /// Bytes of memory for the keys of one round.
    pub key_bytes_max: usize,
    /// Is told of bytes that were read and written, and waits where that was too fast.
    pub pace: &'a dyn Fn(usize),
}

impl CompactionLimits<'_> {
    /// As much as it likes.
    pub const NONE: CompactionLimits<'static> = CompactionLimits {
        key_bytes_max: usize::MAX,
        pace: &|_| {},
    };
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Bytes of batches before.
    pub bytes_before: u64,
    /// Bytes of the same part of the log afterwards.
    pub bytes_after: u64,
    /// Records that went.
    pub records_dropped: u64,
    /// Batches that stayed because they cannot be read, beyond those of the round before.
    pub newly_unreadable: u64,
    /// Whether there is more to do at once.
    pub again: bool,
}

/// What was found when a round began.
struct Found {
    config: Arc<TopicConfig>,
    chunks: VecDeque<Closed>,
    cleaned: i64,
    dirty_bytes: u64,
    history: History,
}

impl Partition {
    /// Whether the log is dirty enough for a round, or holds what has waited too long; who is told so has to call
    /// [`Partition::compact`].
    pub fn wants_compaction(&self, now: Now) -> bool {
        let mut inner = self.lock();
        let Some(config) = inner.if_compacted() else {
            return false;
        };
        if inner.cleaning.busy || inner.check_readable().is_err() {
            return false;
        }
        let due = inner.dirt(&config, now).is_due(&config, now);
        inner.cleaning.busy = due;
        due
    }

    /// Memory is full: closes the open chunk, and has everything compacted that may be, however little of it is dirty.
    /// Whether there is anything to do; who is told so has to call [`Partition::compact`].
    pub fn press_compaction(&self) -> bool {
        {
            let mut inner = self.lock();
            let idle = inner.if_compacted().is_some()
                && !inner.cleaning.busy
                && inner.cleaning.dirty_bytes > 0;
            if !idle || inner.check_readable().is_err() {
                return false;
            }
            inner.cleaning.busy = true;
            inner.cleaning.pressed = true;
        }
        self.roll();
        true
    }

    /// Goes once over what may be compacted. Takes long; holds the lock only to begin, to swap and to end.
    pub fn compact(&self, now: Now, seed: u64) -> Cleaned {
        self.compact_within(&CompactionLimits::NONE, now, seed)
    }

    /// The same within these limits.
    pub fn compact_within(&self, limits: &CompactionLimits<'_>, now: Now, seed: u64) -> Cleaned {
        // What is past retention goes first: put into one chunk with newer records it would stay as long as these.
        let config = self.lock().config.clone();
        if let Some(config) = config {
            self.retain(&RetentionRules::of(&config.now()), now);
        }
        let Some(found) = self.begin_compaction(now) else {
            return Cleaned::default();
        };
        let terms = Terms {
            now_ms: now.aging_ms,
            delete_retention_ms: found.config.delete_retention_ms,
            max_message_bytes: usize::try_from(found.config.max_message_bytes)
                .unwrap_or(usize::MAX),
            limits: found.config.inflate_limits(),
            key_bytes_max: limits.key_bytes_max,
            seed,
        };
        match self.compact_chunks(found, terms, limits.pace) {
            Ok((end, summary, mut cleaned)) => {
                cleaned.records_dropped = summary.records_dropped;
                self.end_compaction(end, &summary, now, &mut cleaned);
                cleaned
            }
            Err(why) => {
                tracing::debug!(
                    target: "rustka::compaction",
                    "partition {} of topic {} is compacted another time: {why}",
                    self.index,
                    self.topic_id
                );
                self.give_up_compaction();
                Cleaned::default()
            }
        }
    }

    /// Has somebody else take over what [`Partition::wants_compaction`] or an append has asked for.
    pub fn give_up_compaction(&self) {
        self.lock().cleaning.rest();
    }

    fn begin_compaction(&self, now: Now) -> Option<Found> {
        let mut inner = self.lock();
        let config = inner.if_compacted();
        let usable = inner.check_readable().is_ok();
        let Some(config) = config.filter(|_| usable) else {
            inner.cleaning.rest();
            return None;
        };
        let dirt = inner.dirt(&config, now);
        let pressed = inner.cleaning.pressed && dirt.dirty_bytes > 0;
        if !pressed && !dirt.is_due(&config, now) {
            inner.cleaning.rest();
            return None;
        }
        let mut chunks = inner.log.closed();
        chunks.truncate(dirt.chunks);
        if chunks.is_empty() {
            inner.cleaning.rest();
            return None;
        }
        Some(Found {
            config,
            chunks: chunks.into(),
            cleaned: inner.cleaning.cleaned,
            dirty_bytes: inner.cleaning.dirty_bytes,
            history: inner.state.history(),
        })
    }

    fn compact_chunks(
        &self,
        found: Found,
        terms: Terms,
        pace: &dyn Fn(usize),
    ) -> Result<(i64, Summary, Cleaned), Failed> {
        let mut round = Compaction::new(terms, &found.history);
        let mut chunks = found.chunks;
        let mut turn = Turn::new(pace);
        let mut end = found.cleaned;
        'learning: for chunk in &chunks {
            if chunk.info.next_offset <= found.cleaned {
                continue;
            }
            turn.hurry = self.outgrows(found.dirty_bytes);
            end = chunk.info.next_offset;
            for bytes in chunk.content.pieces() {
                if let Some(no_room_at) = learn(&mut round, &bytes?, &mut turn)? {
                    end = no_room_at;
                    break 'learning;
                }
            }
        }
        while chunks
            .back()
            .is_some_and(|chunk| chunk.info.base_offset >= end)
        {
            chunks.pop_back();
        }
        let mut output = Output::new(self);
        // Each old chunk is let go as soon as it is done.
        while let Some(chunk) = chunks.pop_front() {
            turn.hurry = self.outgrows(found.dirty_bytes);
            output.take(&chunk, |bytes, scratch| {
                keep(&mut round, bytes, scratch, &mut turn)
            })?;
        }
        let cleaned = output.finish()?;
        Ok((end, round.finish(), cleaned))
    }

    /// Whether a further round is nearly due for what came while this one went on, which began at so many dirty bytes.
    fn outgrows(&self, dirty_bytes: u64) -> bool {
        let inner = self.lock();
        let more = inner.cleaning.dirty_bytes.saturating_sub(dirty_bytes);
        more as f64 > HASTY_RATIO * inner.log.bytes() as f64
    }

    /// Notes what was done, and finds out whether there is more to do.
    fn end_compaction(&self, end: i64, summary: &Summary, now: Now, cleaned: &mut Cleaned) {
        let mut inner = self.lock();
        inner.state.forget_aborted(&summary.emptied);
        inner.cleaning.rest();
        let cleaning = &mut inner.cleaning;
        cleaning.cleaned = cleaning.cleaned.max(end);
        let cleaned_up_to = cleaning.cleaned;
        cleaned.newly_unreadable = summary.unreadable.saturating_sub(cleaning.unreadable);
        cleaning.unreadable = summary.unreadable;
        inner.log.note_cleaned(cleaned_up_to);
        inner.recount_dirty();
        let due = inner.if_compacted().is_some_and(|config| {
            inner.is_hastily_due(&config) && inner.dirt(&config, now).is_due(&config, now)
        });
        inner.cleaning.busy = due;
        cleaned.again = due;
    }
}

impl Inner {
    /// Counts what was appended; whether a round is due now that a chunk was closed, which the caller has to see to.
    pub(super) fn appended_to_compacted(&mut self, bytes: u64, closed_a_chunk: bool) -> bool {
        if !self.cleaning.counts_dirty {
            return false;
        }
        self.cleaning.dirty_bytes += bytes;
        if !closed_a_chunk || self.cleaning.busy {
            return false;
        }
        let config = self.if_compacted();
        self.cleaning.busy = config.is_some_and(|config| self.is_hastily_due(&config));
        self.cleaning.busy
    }

    /// The topic's configs, if old values of its keys go.
    fn if_compacted(&self) -> Option<Arc<TopicConfig>> {
        let config = self.config.as_ref()?.now();
        config.compact.then(|| Arc::clone(&config))
    }

    /// Has dirty bytes be kept count of, or not.
    pub(super) fn count_dirty(&mut self, wanted: bool) {
        let counted = std::mem::replace(&mut self.cleaning.counts_dirty, wanted);
        if wanted && !counted {
            self.recount_dirty();
        }
    }

    /// Counts the dirty bytes again.
    pub(super) fn recount_dirty(&mut self) {
        let mut clean_bytes = 0;
        self.log.each_chunk(0, &mut |chunk| {
            let clean = chunk.next_offset <= self.cleaning.cleaned;
            clean_bytes += if clean { chunk.bytes } else { 0 };
            clean
        });
        self.cleaning.dirty_bytes = self.log.bytes().saturating_sub(clean_bytes);
    }

    /// An estimate without a look at every chunk.
    fn is_hastily_due(&self, config: &TopicConfig) -> bool {
        let total = self.log.bytes();
        let active = self.log.newest().map_or(0, |chunk| chunk.bytes);
        let dirty = self.cleaning.dirty_bytes.min(total).saturating_sub(active);
        let closed = total.saturating_sub(active);
        let ratio = config.min_cleanable_dirty_ratio.max(HASTY_RATIO);
        closed > 0 && dirty as f64 > ratio * closed as f64
    }

    /// Looks at all chunks but the newest, which is never compacted unless memory is full.
    fn dirt(&self, config: &TopicConfig, now: Now) -> Dirt {
        let mut dirt = Dirt::default();
        let newest = self.log.newest().filter(|_| !self.cleaning.pressed);
        let active = newest.map(|chunk| chunk.sequence);
        let (stable, cleaned) = (self.state.last_stable_offset(), self.cleaning.cleaned);
        let young = |chunk: &ChunkInfo| {
            let lag_ms = config.min_compaction_lag_ms;
            lag_ms > 0 && chunk.time_ms() > now.aging_ms.saturating_sub(lag_ms)
        };
        let mut cleanable = true;
        self.log.each_chunk(0, &mut |chunk| {
            if active == Some(chunk.sequence) {
                return false;
            }
            let dirty = chunk.next_offset > cleaned;
            if dirty && chunk.first_timestamp > 0 {
                let earliest_ms = dirt.earliest_ms.get_or_insert(chunk.first_timestamp);
                *earliest_ms = chunk.first_timestamp.min(*earliest_ms);
            }
            cleanable &= chunk.next_offset <= stable && !young(chunk);
            if cleanable {
                dirt.chunks += 1;
                dirt.bytes += chunk.bytes;
                dirt.dirty_bytes += if dirty { chunk.bytes } else { 0 };
            }
            true
        });
        dirt
    }
}

/// What compaction may go over.
#[derive(Default)]
struct Dirt {
    /// The chunks up to the first that is not stable or too young.
    chunks: usize,
    /// Their bytes.
    bytes: u64,
    /// Those of the ones that were not compacted yet.
    dirty_bytes: u64,
    /// The earliest time with which a chunk begins that was not compacted yet, cleanable or not. Records without a
    /// time have none, and never wait too long.
    earliest_ms: Option<i64>,
}

impl Dirt {
    /// Kafka's rule: enough of the log is dirty, or some of it has been for too long.
    fn is_due(&self, config: &TopicConfig, now: Now) -> bool {
        let overdue =
            |earliest_ms| earliest_ms < now.aging_ms.saturating_sub(config.max_compaction_lag_ms);
        let dirty = self.dirty_bytes as f64;
        let enough = dirty > config.min_cleanable_dirty_ratio * self.bytes as f64;
        self.dirty_bytes > 0 && (enough || self.earliest_ms.is_some_and(overdue))
    }
}

#[cfg(test)]
mod tests;
