//! Compaction of one partition: what is due is decided under the lock, batches are read and written without it, and
//! the result takes the place of the old chunks a few at a time. Who is reading the old ones keeps what it holds.

use super::{Inner, Partition};
use crate::buffer::{BufMut, Pool, Slice};
use crate::storage::engine::{ChunkInfo, Closed, Replacement, Stale};
use rustka_core::batch::{BatchError, BatchHeader, batches};
use rustka_core::compression::INFLATE_BYTES_MAX;
use rustka_core::config::TopicConfig;
use rustka_core::log::compaction::{Compaction, History, Kept, Summary, Terms};
use rustka_core::time::Now;
use std::collections::VecDeque;
use std::sync::Arc;

/// Compacted batches go into blocks of this size.
const BLOCK_BYTES: usize = 1 << 20;
/// After so many bytes of old chunks the new ones take their place, so that no more memory is needed than this.
const SWAP_BYTES: u64 = 1 << 20;
/// A chunk of which nothing goes stays where it is if it is at least this large; smaller ones are put together.
const WHOLE_BYTES: usize = 256 << 10;
/// Room that is not worth filling.
const SLACK_BYTES: usize = BLOCK_BYTES / 8;
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
        let Some(found) = self.begin_compaction(now) else {
            return Cleaned::default();
        };
        let terms = Terms {
            now_ms: now.wall_ms,
            delete_retention_ms: found.config.delete_retention_ms,
            max_message_bytes: usize::try_from(found.config.max_message_bytes)
                .unwrap_or(usize::MAX),
            inflate_bytes_max: INFLATE_BYTES_MAX,
            seed,
        };
        match self.compact_chunks(found, terms, pool) {
            Ok((end, summary, mut cleaned)) => {
                if summary.unreadable > 0 {
                    tracing::warn!(
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
        let end = learn(&mut round, &chunks, found.cleaned)?;
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
            let pieces = keep(&mut round, &chunk.bytes, &mut scratch)?;
            output.take(&chunk, &pieces, &scratch)?;
        }
        let cleaned = output.finish()?;
        Ok((end, round.finish(), cleaned))
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

/// First walk: up to which offset keys were learned.
fn learn(
    round: &mut Compaction,
    chunks: &VecDeque<Closed>,
    cleaned: i64,
) -> Result<i64, BatchError> {
    let mut end = cleaned;
    for chunk in chunks {
        if chunk.info.next_offset <= cleaned {
            continue;
        }
        for batch in batches(&chunk.bytes) {
            let (header, range) = batch?;
            if !round.learn(&chunk.bytes[range])? {
                return Ok(header.base_offset);
            }
        }
        end = chunk.info.next_offset;
    }
    Ok(end)
}

/// Where what is left of a chunk lies: in it, or among what was written anew.
enum Piece {
    Old(std::ops::Range<usize>),
    New(std::ops::Range<usize>),
}

/// Second walk, over one chunk.
fn keep(
    round: &mut Compaction,
    bytes: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<Vec<Piece>, BatchError> {
    let mut pieces = Vec::new();
    for batch in batches(bytes) {
        let (_, range) = batch?;
        let from = scratch.len();
        match round.keep(&bytes[range.clone()], scratch)? {
            Kept::Whole => pieces.push(Piece::Old(range)),
            Kept::Rewritten => {
                // Usually one batch; several if one would have been too large.
                for part in batches(&scratch[from..]) {
                    let (_, part) = part?;
                    pieces.push(Piece::New(from + part.start..from + part.end));
                }
            }
            Kept::Nothing => {}
        }
    }
    Ok(pieces)
}

/// Why a round ended early; nothing was lost.
#[derive(Debug)]
enum Failed {
    Stale,
    Batch(BatchError),
}

impl From<Stale> for Failed {
    fn from(Stale: Stale) -> Failed {
        Failed::Stale
    }
}

impl From<BatchError> for Failed {
    fn from(error: BatchError) -> Failed {
        Failed::Batch(error)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Stale => f.write_str("its chunks changed meanwhile"),
            Failed::Batch(error) => error.fmt(f),
        }
    }
}

/// A new chunk that still has room.
struct Growing {
    base_offset: i64,
    next_offset: i64,
    max_timestamp: i64,
    bytes: Slice,
    rest: BufMut,
}

impl Growing {
    fn replacement(&self) -> Replacement {
        Replacement {
            base_offset: self.base_offset,
            next_offset: self.next_offset,
            max_timestamp: self.max_timestamp,
            bytes: self.bytes.clone(),
        }
    }
}

/// Puts new chunks in the place of old ones, in groups.
struct Output<'a> {
    partition: &'a Partition,
    pool: &'a Arc<Pool>,
    full: Vec<Replacement>,
    growing: Option<Growing>,
    /// Offsets of the old chunks that wait to be replaced, the growing one included once it stands in the log.
    group: Option<(i64, i64)>,
    group_chunks: usize,
    group_bytes: u64,
    cleaned: Cleaned,
}

impl<'a> Output<'a> {
    fn new(partition: &'a Partition, pool: &'a Arc<Pool>) -> Output<'a> {
        Output {
            partition,
            pool,
            full: Vec::new(),
            growing: None,
            group: None,
            group_chunks: 0,
            group_bytes: 0,
            cleaned: Cleaned::default(),
        }
    }

    /// Takes over what is left of the next old chunk.
    fn take(&mut self, chunk: &Closed, pieces: &[Piece], scratch: &[u8]) -> Result<(), Failed> {
        let info = &chunk.info;
        self.cleaned.bytes_before += info.bytes;
        let kept: usize = pieces.iter().map(|piece| piece.range().len()).sum();
        self.cleaned.bytes_after += kept as u64;
        let untouched = pieces.iter().all(|piece| matches!(piece, Piece::Old(_)));
        if untouched && kept == chunk.bytes.len() && kept >= WHOLE_BYTES {
            self.swap()?;
            self.growing = None;
            self.group = None;
            self.group_chunks = 0;
            return Ok(());
        }
        let from = self.group.map_or(info.base_offset, |(from, _)| from);
        self.group = Some((from, info.next_offset));
        self.group_chunks += 1;
        self.group_bytes += info.bytes;
        for piece in pieces {
            let bytes = match piece {
                Piece::Old(range) => &chunk.bytes[range.clone()],
                Piece::New(range) => &scratch[range.clone()],
            };
            self.push(bytes)?;
        }
        if self.group_bytes >= SWAP_BYTES {
            self.swap()?;
        }
        Ok(())
    }

    fn push(&mut self, batch: &[u8]) -> Result<(), BatchError> {
        let header = BatchHeader::parse(batch)?;
        let next_offset = header.last_offset().and_then(|last| last.checked_add(1));
        let next_offset = next_offset.ok_or(BatchError::Overflow)?;
        if let Some(growing) = &mut self.growing
            && growing.rest.room() >= batch.len()
            && u32::try_from(next_offset.saturating_sub(growing.base_offset)).is_ok()
        {
            growing.rest.push(batch);
            let more = growing.rest.freeze_filled();
            assert!(growing.bytes.join(&more), "both lie in one block");
            growing.next_offset = next_offset;
            growing.max_timestamp = growing.max_timestamp.max(header.max_timestamp);
            return Ok(());
        }
        if let Some(full) = self.growing.take() {
            self.full.push(full.replacement());
        }
        let mut rest = self.pool.take(BLOCK_BYTES.max(batch.len()));
        rest.push(batch);
        self.growing = Some(Growing {
            base_offset: header.base_offset,
            next_offset,
            max_timestamp: header.max_timestamp,
            bytes: rest.freeze_filled(),
            rest,
        });
        Ok(())
    }

    /// Puts what is there in the place of the group. The growing chunk goes along and may be replaced once more.
    fn swap(&mut self) -> Result<(), Failed> {
        let Some((from, to)) = self.group else {
            return Ok(());
        };
        let mut with = std::mem::take(&mut self.full);
        with.extend(self.growing.as_ref().map(Growing::replacement));
        if with.len() > self.group_chunks {
            with = vec![self.joined(&with)];
            self.growing = None;
        }
        // Gaps belong to the chunk before them, so that the chunks of the log still cover all offsets.
        if let Some(last) = with.last_mut() {
            last.next_offset = to;
        }
        self.partition.swap(from, to, with)?;
        self.group_bytes = 0;
        let worth_filling = |growing: &Growing| growing.rest.room() >= SLACK_BYTES;
        self.growing = self.growing.take().filter(worth_filling);
        match &self.growing {
            Some(growing) => {
                self.group = Some((growing.base_offset, to));
                self.group_chunks = 1;
            }
            None => {
                self.group = None;
                self.group_chunks = 0;
            }
        }
        Ok(())
    }

    /// One chunk of several: records that were given a delete horizon may have outgrown the chunk they came from.
    fn joined(&self, parts: &[Replacement]) -> Replacement {
        let length = parts.iter().map(|part| part.bytes.len()).sum();
        let mut block = self.pool.take(length);
        for part in parts {
            block.push(&part.bytes);
        }
        Replacement {
            base_offset: parts.first().map_or(0, |part| part.base_offset),
            next_offset: parts.last().map_or(0, |part| part.next_offset),
            max_timestamp: parts
                .iter()
                .map(|part| part.max_timestamp)
                .max()
                .unwrap_or(-1),
            bytes: block.freeze_filled(),
        }
    }

    fn finish(mut self) -> Result<Cleaned, Failed> {
        // The last chunk keeps no room that nothing will fill.
        if let Some(last) = self
            .growing
            .take_if(|last| last.rest.room() > last.bytes.len() / 64)
        {
            let exact = self.joined(&[last.replacement()]);
            self.full.push(exact);
            self.swap()?;
        } else if self.group_bytes > 0 {
            self.swap()?;
        }
        Ok(self.cleaned)
    }
}

impl Piece {
    fn range(&self) -> &std::ops::Range<usize> {
        match self {
            Piece::Old(range) | Piece::New(range) => range,
        }
    }
}

#[cfg(test)]
mod tests;
