//! Compaction of one partition: what is due is decided under the lock, batches are read and written without it, and
//! the result takes the place of the old chunks a few at a time. Who is reading the old ones keeps what it holds.

mod output;
mod walk;

use super::{Inner, Partition, Rules};
use crate::buffer::Pool;
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
    /// Somebody is about it.
    busy: bool,
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
        let Some(config) = inner.config.clone().filter(|config| config.compact) else {
            return false;
        };
        if inner.cleaning.busy || inner.check_readable().is_err() {
            return false;
        }
        let chunks = cleanable(inner.inactive(), &inner, &config, now);
        let due = is_due(&chunks, inner.cleaning.cleaned, &config, now);
        inner.cleaning.busy = due;
        due
    }

    /// Goes once over what may be compacted. Takes long; holds the lock only to begin, to swap and to end.
    pub fn compact(&self, pool: &Arc<Pool>, now: Now, seed: u64) -> Cleaned {
        // What is past retention goes first: put into one chunk with newer records it would stay as long as these.
        let config = self.lock().config.clone();
        if let Some(config) = config.filter(|config| config.delete) {
            self.retain(&Rules::of(&config), now);
        }
        let Some(found) = self.begin_compaction(now) else {
            return Cleaned::default();
        };
        let terms = Terms {
            now_ms: now.wall_ms,
            delete_retention_ms: found.config.delete_retention_ms,
            max_message_bytes: usize::try_from(found.config.max_message_bytes)
                .unwrap_or(usize::MAX),
            limits: found.config.inflate_limits(),
            seed,
        };
        match self.compact_chunks(found, terms, pool) {
            Ok((end, summary, mut cleaned)) => {
                if summary.unreadable > 0 {
                    tracing::warn!(
                        target: "rustka::compaction",
                        "{} batches of partition {} of topic {} cannot be read and were not compacted",
                        summary.unreadable,
                        self.index,
                        self.topic_id
                    );
                }
                cleaned.records_dropped = summary.records_dropped;
                cleaned.again = self.end_compaction(Some((end, summary)), now);
                cleaned
            }
            Err(why) => {
                tracing::debug!(
                    target: "rustka::compaction",
                    "partition {} of topic {} is compacted another time: {why}",
                    self.index,
                    self.topic_id
                );
                self.end_compaction(None, now);
                Cleaned::default()
            }
        }
    }

    /// Has somebody else take over what [`Partition::wants_compaction`] or an append has asked for.
    pub fn give_up_compaction(&self) {
        self.lock().cleaning.busy = false;
    }

    fn begin_compaction(&self, now: Now) -> Option<Found> {
        let mut inner = self.lock();
        let config = inner.config.clone().filter(|config| config.compact);
        let usable = inner.check_readable().is_ok();
        let Some(config) = config.filter(|_| usable) else {
            inner.cleaning.busy = false;
            return None;
        };
        let chunks = cleanable(inner.inactive(), &inner, &config, now);
        let cleaned = inner.cleaning.cleaned;
        if !is_due(&chunks, cleaned, &config, now) {
            inner.cleaning.busy = false;
            return None;
        }
        Some(Found {
            config,
            chunks: chunks.into(),
            cleaned,
            dirty_bytes: inner.cleaning.dirty_bytes,
            history: inner.state.history(),
        })
    }

    fn compact_chunks(
        &self,
        found: Found,
        terms: Terms,
        pool: &Arc<Pool>,
    ) -> Result<(i64, Summary, Cleaned), Failed> {
        let mut round = Compaction::new(terms, &found.history);
        let mut chunks = found.chunks;
        let mut turn = Turn::default();
        let mut end = found.cleaned;
        for chunk in &chunks {
            if chunk.info.next_offset <= found.cleaned {
                continue;
            }
            turn.hurry = self.outgrows(found.dirty_bytes);
            if let Some(no_room_at) = learn(&mut round, &chunk.bytes, &mut turn)? {
                end = no_room_at;
                break;
            }
            end = chunk.info.next_offset;
        }
        while chunks
            .back()
            .is_some_and(|chunk| chunk.info.base_offset >= end)
        {
            chunks.pop_back();
        }
        let mut output = Output::new(self, pool);
        let mut scratch = Vec::new();
        // Each old chunk is let go as soon as it is done.
        while let Some(chunk) = chunks.pop_front() {
            scratch.clear();
            turn.hurry = self.outgrows(found.dirty_bytes);
            let pieces = keep(&mut round, &chunk.bytes, &mut scratch, &mut turn)?;
            output.take(&chunk, &pieces, &scratch)?;
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

    /// Notes what was done; whether there is more to do.
    fn end_compaction(&self, done: Option<(i64, Summary)>, now: Now) -> bool {
        let mut inner = self.lock();
        inner.cleaning.busy = false;
        let Some((end, summary)) = done else {
            return false;
        };
        inner.state.forget_aborted(&summary.emptied);
        inner.cleaning.cleaned = inner.cleaning.cleaned.max(end);
        inner.recount_dirty();
        let Some(config) = inner.config.clone().filter(|config| config.compact) else {
            return false;
        };
        inner.is_hastily_due(&config) && {
            let chunks = cleanable(inner.inactive(), &inner, &config, now);
            let due = is_due(&chunks, inner.cleaning.cleaned, &config, now);
            inner.cleaning.busy = due;
            due
        }
    }
}

impl Inner {
    /// Counts what was appended; whether a round is due now that a chunk was closed, which the caller has to see to.
    pub(super) fn appended_to_compacted(&mut self, bytes: u64, closed_a_chunk: bool) -> bool {
        let Some(config) = &self.config else {
            return false;
        };
        if !config.compact {
            return false;
        }
        self.cleaning.dirty_bytes += bytes;
        if !closed_a_chunk || self.cleaning.busy {
            return false;
        }
        let config = config.clone();
        self.cleaning.busy = self.is_hastily_due(&config);
        self.cleaning.busy
    }

    /// Counts the dirty bytes again.
    pub(super) fn recount_dirty(&mut self) {
        let cleaned = self.cleaning.cleaned;
        let clean = |chunk: &Closed| chunk.info.next_offset <= cleaned;
        let clean_bytes: u64 = self
            .log
            .closed()
            .iter()
            .filter(|chunk| clean(chunk))
            .map(|chunk| chunk.info.bytes)
            .sum();
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

    /// The chunks but for the newest, which is never compacted.
    fn inactive(&self) -> Vec<Closed> {
        let mut chunks = self.log.closed();
        let active = self.log.newest().map(|chunk| chunk.base_offset);
        if chunks.last().map(|chunk| chunk.info.base_offset) == active {
            chunks.pop();
        }
        chunks
    }
}

/// The chunks up to the first that is not stable or too young.
fn cleanable(
    mut chunks: Vec<Closed>,
    inner: &Inner,
    config: &TopicConfig,
    now: Now,
) -> Vec<Closed> {
    let stable = inner.state.last_stable_offset();
    let young = |chunk: &ChunkInfo| {
        config.min_compaction_lag_ms > 0
            && time_of(chunk) > now.wall_ms.saturating_sub(config.min_compaction_lag_ms)
    };
    let first_kept = chunks
        .iter()
        .position(|chunk| chunk.info.next_offset > stable || young(&chunk.info));
    chunks.truncate(first_kept.unwrap_or(chunks.len()));
    chunks
}

/// When the newest record of a chunk was written; records without a time count from when the chunk was begun.
pub(super) fn time_of(chunk: &ChunkInfo) -> i64 {
    if chunk.max_timestamp >= 0 {
        chunk.max_timestamp
    } else {
        chunk.opened_ms
    }
}

/// Kafka's rule: enough of the log is dirty, or some of it has been for too long.
fn is_due(chunks: &[Closed], cleaned: i64, config: &TopicConfig, now: Now) -> bool {
    let from = chunks.partition_point(|chunk| chunk.info.next_offset <= cleaned);
    let Some(oldest) = chunks.get(from) else {
        return false;
    };
    let bytes = |chunks: &[Closed]| chunks.iter().map(|chunk| chunk.info.bytes).sum::<u64>();
    let (total, dirty) = (bytes(chunks), bytes(&chunks[from..]));
    let overdue = oldest.info.opened_ms < now.wall_ms.saturating_sub(config.max_compaction_lag_ms);
    overdue || dirty as f64 > config.min_cleanable_dirty_ratio * total as f64
}

#[cfg(test)]
mod tests;
