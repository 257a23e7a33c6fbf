//! Partitions in memory: batches in chunks, closed and dropped a chunk at a time.
//!
//! A small batch is copied into its partition's open chunk; a large one stays in the frame it arrived in, which then
//! is a chunk of its own. Chunks grow while a partition fills them and their memory is used again after retention.

use super::waiters::{Waiter, Waiters};
use crate::buffer::{BufMut, Pool, Slice};
use rustka_core::batch::{self, BatchHeader};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::log::{Admitted, Origin, PartitionState, admit};
use rustka_core::time::Now;
use rustka_wire::codec::Uuid;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Sizes of the chunks that small batches are copied into, each used once the one before it was filled.
const CHUNK_BYTES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// Bytes between two entries of a chunk's index.
const INDEX_BYTES: usize = 4 << 10;

/// What all partitions of one broker share: memory, its limit, and the order in which chunks are dropped.
pub struct Memory {
    /// Blocks for frames and chunks.
    pub pool: Arc<Pool>,
    limit: usize,
    oldest: Mutex<VecDeque<(u64, Weak<Partition>)>>,
    sequence: AtomicU64,
    warned: AtomicBool,
    /// Chunks dropped at the limit.
    pub evicted: AtomicU64,
}

impl Memory {
    /// Memory for frames and chunks, at most `limit` bytes of it.
    pub fn new(limit: usize) -> Arc<Memory> {
        // Freed blocks wait for their next use, but a broker that has become idle should not hold on to much.
        let pool = Pool::new((limit / 4).min(256 << 20));
        let (oldest, sequence) = (Mutex::default(), AtomicU64::new(0));
        let (warned, evicted) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Memory {
            pool,
            limit,
            oldest,
            sequence,
            warned,
            evicted,
        })
    }

    /// The configured limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn over_limit(&self) -> bool {
        let (used, kept) = (self.pool.bytes_in_use(), self.pool.bytes_kept());
        if used <= self.limit && used + kept > self.limit {
            self.pool.trim();
        }
        used > self.limit
    }

    /// Drops the globally oldest chunks until the limit holds; refused when nothing may be dropped any more.
    pub fn make_room(&self) -> Result<(), Refusal> {
        while self.over_limit() {
            let Some((sequence, partition)) = lock(&self.oldest).pop_front() else {
                let message = format!(
                    "the memory limit of {} bytes is reached and nothing may be dropped",
                    self.limit
                );
                return Err(Refusal::new(ErrorCode::KafkaStorageError, message));
            };
            let Some(partition) = partition.upgrade() else {
                continue;
            };
            if partition.evict(sequence) {
                self.evicted.fetch_add(1, Relaxed);
                if !self.warned.swap(true, Relaxed) {
                    tracing::warn!(
                        "the memory limit of {} bytes is reached: the oldest records are dropped; raise it with --memory-limit",
                        self.limit
                    );
                }
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// One place in a chunk: a batch that begins `at` bytes into it.
#[derive(Clone, Copy)]
struct Mark {
    offset_delta: u32,
    at: u32,
}

struct Chunk {
    sequence: u64,
    base_offset: i64,
    /// Offset after the last record.
    next_offset: i64,
    max_timestamp: i64,
    opened_ms: i64,
    bytes: Slice,
    /// Sparse: one mark in [`INDEX_BYTES`]; batches between marks are found by their headers.
    index: Vec<Mark>,
}

impl Chunk {
    /// Where the batch that holds `offset` begins.
    fn position(&self, offset: i64) -> usize {
        let delta = offset.saturating_sub(self.base_offset).max(0);
        let mark = self
            .index
            .partition_point(|mark| i64::from(mark.offset_delta) <= delta);
        let mut at = if mark == 0 {
            0
        } else {
            self.index[mark - 1].at as usize
        };
        while let Ok(header) = BatchHeader::parse(&self.bytes[at..]) {
            if header.last_offset().is_none_or(|last| last >= offset) {
                break;
            }
            at += header.total_bytes();
        }
        at
    }

    /// The end of the last whole batch within `max` bytes after `from`; with `at_least_one`, of the first batch anyway.
    fn end(&self, from: usize, max: usize, at_least_one: bool) -> usize {
        if self.bytes.len() - from <= max {
            return self.bytes.len();
        }
        let limit = from.saturating_add(max);
        let mark = self.index.partition_point(|mark| mark.at as usize <= limit);
        let mut at = if mark == 0 {
            from
        } else {
            (self.index[mark - 1].at as usize).max(from)
        };
        while let Ok(header) = BatchHeader::parse(&self.bytes[at..]) {
            let next = at + header.total_bytes();
            if next > limit && !(at_least_one && at == from) {
                break;
            }
            at = next;
        }
        at
    }
}

#[derive(Default)]
struct Open {
    /// Room behind the newest chunk's bytes, when that chunk takes further batches.
    rest: Option<BufMut>,
    /// Which of [`CHUNK_BYTES`] comes next.
    next_size: u8,
}

struct Inner {
    state: PartitionState,
    chunks: VecDeque<Chunk>,
    open: Open,
    bytes: u64,
    waiters: Waiters,
    deleted: bool,
}

/// What may happen to a partition's chunks.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Records older than this go; negative: never.
    pub retention_ms: i64,
    /// Chunks beyond this size go; negative: never.
    pub retention_bytes: i64,
    /// An open chunk older than this is closed.
    pub segment_ms: i64,
    /// Whether retention and the memory limit may drop records at all.
    pub delete: bool,
}

/// One partition of one topic, in memory.
pub struct Partition {
    /// The topic's id.
    pub topic_id: Uuid,
    /// Number within the topic.
    pub index: i32,
    memory: Arc<Memory>,
    evictable: AtomicBool,
    inner: Mutex<Inner>,
}

/// A batch on its way into a partition.
pub enum Incoming<'a> {
    /// To be copied.
    Copied(&'a mut [u8]),
    /// To be kept where it is.
    Kept(BufMut),
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the batch's first record; a duplicate's original one.
    pub base_offset: i64,
    /// The log's first offset.
    pub log_start: i64,
    /// Set when the batch was there already: the timestamp it got then.
    pub duplicate_timestamp: Option<i64>,
}

/// A partition's offsets at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// First offset.
    pub log_start: i64,
    /// Offset up to which consumers see records.
    pub high_watermark: i64,
    /// Offset up to which read_committed consumers see records.
    pub last_stable: i64,
    /// The leader's epoch.
    pub leader_epoch: i32,
}

impl Partition {
    /// An empty partition. Small on purpose: memory for records is taken with the first of them.
    pub fn new(memory: &Arc<Memory>, topic_id: Uuid, index: i32, delete: bool) -> Arc<Partition> {
        let inner = Inner {
            state: PartitionState::new(0),
            chunks: VecDeque::new(),
            open: Open::default(),
            bytes: 0,
            waiters: Waiters::default(),
            deleted: false,
        };
        let (memory, evictable) = (memory.clone(), AtomicBool::new(delete));
        Arc::new(Partition {
            topic_id,
            index,
            memory,
            evictable,
            inner: Mutex::new(inner),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Whether the memory limit may drop this partition's records.
    pub fn set_evictable(&self, evictable: bool) {
        self.evictable.store(evictable, Relaxed);
    }

    /// Reads or changes the partition's state under its lock.
    pub fn with_state<R>(&self, f: impl FnOnce(&mut PartitionState) -> R) -> R {
        f(&mut self.lock().state)
    }

    /// The offsets now.
    pub fn offsets(&self) -> Offsets {
        self.lock().offsets()
    }

    /// Bytes of all batches.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Appends one validated batch: decides on it, assigns its offset and epoch, and keeps it.
    pub fn append(
        self: &Arc<Self>,
        incoming: Incoming<'_>,
        header: &BatchHeader,
        origin: Origin,
        now: Now,
    ) -> Result<Appended, Refusal> {
        let (appended, woken, length) = {
            let mut inner = self.lock();
            if inner.deleted {
                return Err(ErrorCode::UnknownTopicOrPartition.into());
            }
            let (base_offset, leader_epoch) = match admit(&mut inner.state, header, origin, now)? {
                Admitted::Append {
                    base_offset,
                    leader_epoch,
                    ..
                } => (base_offset, leader_epoch),
                Admitted::Duplicate(original) => {
                    let log_start = inner.state.log_start;
                    let (base_offset, timestamp) = (original.base_offset, original.timestamp);
                    return Ok(Appended {
                        base_offset,
                        log_start,
                        duplicate_timestamp: Some(timestamp),
                    });
                }
            };
            let length = header.total_bytes();
            match incoming {
                Incoming::Copied(bytes) => {
                    batch::set_base_offset(bytes, base_offset);
                    batch::set_leader_epoch(bytes, leader_epoch);
                    self.copy_in(&mut inner, bytes, header, base_offset, now);
                }
                Incoming::Kept(mut buffer) => {
                    batch::set_base_offset(&mut buffer, base_offset);
                    batch::set_leader_epoch(&mut buffer, leader_epoch);
                    self.push_chunk(&mut inner, buffer.freeze_filled(), header, base_offset, now);
                }
            }
            inner.bytes += length as u64;
            let log_start = inner.state.log_start;
            let appended = Appended {
                base_offset,
                log_start,
                duplicate_timestamp: None,
            };
            (appended, inner.waiters.all(), length)
        };
        for waiter in woken {
            waiter.appended(length as i64);
        }
        Ok(appended)
    }

    fn copy_in(
        self: &Arc<Self>,
        inner: &mut Inner,
        bytes: &[u8],
        header: &BatchHeader,
        base_offset: i64,
        now: Now,
    ) {
        let next_offset = base_offset
            .saturating_add(i64::from(header.last_offset_delta))
            .saturating_add(1);
        let (mut rest, fits) = match inner.open.rest.take() {
            Some(rest) if rest.room() >= bytes.len() => (rest, true),
            _ => {
                let size = CHUNK_BYTES[usize::from(inner.open.next_size)];
                inner.open.next_size = (inner.open.next_size + 1).min(CHUNK_BYTES.len() as u8 - 1);
                (self.memory.pool.take(size.max(bytes.len())), false)
            }
        };
        rest.push(bytes);
        let slice = rest.freeze_filled();
        inner.open.rest = Some(rest);
        let Some(chunk) = inner.chunks.back_mut() else {
            return self.push_chunk(inner, slice, header, base_offset, now);
        };
        let delta = u32::try_from(base_offset - chunk.base_offset);
        let at = chunk.bytes.len();
        // A batch kept in its frame may stand between two that share a block.
        let (Ok(offset_delta), true) = (delta, fits && chunk.bytes.join(&slice)) else {
            return self.push_chunk(inner, slice, header, base_offset, now);
        };
        let last_mark = chunk.index.last().map_or(0, |mark| mark.at as usize);
        if at - last_mark >= INDEX_BYTES {
            let at = at as u32;
            chunk.index.push(Mark { offset_delta, at });
        }
        chunk.next_offset = next_offset;
        chunk.max_timestamp = chunk.max_timestamp.max(header.max_timestamp);
    }

    fn push_chunk(
        self: &Arc<Self>,
        inner: &mut Inner,
        bytes: Slice,
        header: &BatchHeader,
        base_offset: i64,
        now: Now,
    ) {
        let sequence = self.memory.sequence.fetch_add(1, Relaxed);
        let next_offset = base_offset
            .saturating_add(i64::from(header.last_offset_delta))
            .saturating_add(1);
        let (max_timestamp, opened_ms) = (header.max_timestamp, now.wall_ms);
        inner.chunks.push_back(Chunk {
            sequence,
            base_offset,
            next_offset,
            max_timestamp,
            opened_ms,
            bytes,
            index: Vec::new(),
        });
        lock(&self.memory.oldest).push_back((sequence, Arc::downgrade(self)));
    }

    /// Drops the chunk with this number if it is still the oldest; whether it did.
    fn evict(&self, sequence: u64) -> bool {
        let (dropped, woken) = {
            let mut inner = self.lock();
            if !self.evictable.load(Relaxed)
                || inner
                    .chunks
                    .front()
                    .is_none_or(|chunk| chunk.sequence != sequence)
            {
                return false;
            }
            (inner.drop_front(), inner.waiters.all())
        };
        woken.iter().for_each(|waiter| waiter.fire());
        drop(dropped);
        true
    }

    /// What is appended from here on lies in chunks of its own, small ones first.
    pub fn restart_chunks(&self) {
        let mut inner = self.lock();
        inner.open = Open::default();
    }

    /// Batches from the one that holds `offset`, at most `max_bytes` of them but at least one if asked for, none
    /// that begins at or after `upper`.
    pub fn read(
        &self,
        offset: i64,
        upper: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Vec<Slice> {
        self.lock().read(offset, upper, max_bytes, at_least_one)
    }

    /// The same with the offsets of that moment, and whether `offset` is within the log.
    pub fn fetch(
        &self,
        offset: i64,
        committed_only: bool,
        max_bytes: usize,
        at_least_one: bool,
    ) -> (Offsets, Option<Vec<Slice>>) {
        let inner = self.lock();
        let offsets = inner.offsets();
        if offset < offsets.log_start || offset > offsets.high_watermark {
            return (offsets, None);
        }
        let upper = if committed_only {
            offsets.last_stable
        } else {
            offsets.high_watermark
        };
        (
            offsets,
            Some(inner.read(offset, upper, max_bytes, at_least_one)),
        )
    }

    /// Registers a waiting fetch. The caller reads once more afterwards, so that nothing is missed in between.
    pub fn register(&self, waiter: &Arc<Waiter>) {
        let mut inner = self.lock();
        if inner.deleted {
            waiter.fire();
        }
        inner.waiters.add(waiter);
    }

    /// Takes a waiting fetch off.
    pub fn unregister(&self, waiter: &Arc<Waiter>) {
        self.lock().waiters.remove(waiter);
    }

    /// Ends the partition: later appends are refused, waiting fetches wake, memory is given back.
    pub fn delete(&self) {
        let (chunks, woken) = {
            let mut inner = self.lock();
            inner.deleted = true;
            inner.open.rest = None;
            inner.bytes = 0;
            (std::mem::take(&mut inner.chunks), inner.waiters.all())
        };
        woken.iter().for_each(|waiter| waiter.fire());
        drop(chunks);
    }

    /// Moves the log's start (DeleteRecords) and drops what lies wholly before it.
    pub fn delete_records(&self, before: i64) -> Result<i64, Refusal> {
        let (low_watermark, dropped, woken) = {
            let mut inner = self.lock();
            let low_watermark = inner.state.delete_records(before)?;
            let mut dropped = Vec::new();
            while inner
                .chunks
                .front()
                .is_some_and(|chunk| chunk.next_offset <= low_watermark)
            {
                dropped.extend(inner.pop_front());
            }
            (low_watermark, dropped, inner.waiters.all())
        };
        woken.iter().for_each(|waiter| waiter.fire());
        drop(dropped);
        Ok(low_watermark)
    }

    /// Applies retention: closes an open chunk that is too old and drops what is past its time or size.
    pub fn retain(&self, rules: &Rules, now: Now) {
        let (dropped, woken) = {
            let mut inner = self.lock();
            let close = inner.chunks.back().is_some_and(|chunk| {
                now.wall_ms.saturating_sub(chunk.opened_ms) >= rules.segment_ms
            });
            if close {
                inner.open.rest = None;
            }
            if !rules.delete {
                return;
            }
            let mut dropped = Vec::new();
            while let Some(chunk) = inner.chunks.front() {
                let too_old = rules.retention_ms >= 0
                    && now.wall_ms.saturating_sub(chunk.max_timestamp) > rules.retention_ms;
                let without = inner.bytes - chunk.bytes.len() as u64;
                let too_large =
                    u64::try_from(rules.retention_bytes).is_ok_and(|limit| without >= limit);
                if !too_old && !too_large {
                    break;
                }
                dropped.extend(inner.drop_front());
            }
            if dropped.is_empty() {
                return;
            }
            (dropped, inner.waiters.all())
        };
        woken.iter().for_each(|waiter| waiter.fire());
        drop(dropped);
    }

    /// Visits the batches that may hold records from `offset` on, oldest first, until `visit` says stop.
    /// The partition is not locked meanwhile.
    pub fn each_batch(&self, offset: i64, mut visit: impl FnMut(&[u8]) -> bool) {
        let slices = self.read(offset, i64::MAX, usize::MAX, true);
        for slice in slices {
            let mut at = 0;
            while let Ok(header) = BatchHeader::parse(&slice[at..]) {
                let end = at + header.total_bytes();
                if !visit(&slice[at..end]) {
                    return;
                }
                at = end;
            }
        }
    }
}

impl Inner {
    fn offsets(&self) -> Offsets {
        Offsets {
            log_start: self.state.log_start,
            high_watermark: self.state.high_watermark(),
            last_stable: self.state.last_stable_offset(),
            leader_epoch: self.state.leader_epoch,
        }
    }

    fn pop_front(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.bytes.len() as u64;
        if self.chunks.is_empty() {
            self.open.rest = None;
        }
        Some(chunk)
    }

    /// Drops the oldest chunk and moves the log's start behind it.
    fn drop_front(&mut self) -> Option<Chunk> {
        let chunk = self.pop_front()?;
        self.state.advance_log_start(chunk.next_offset);
        Some(chunk)
    }

    fn read(&self, offset: i64, upper: i64, max_bytes: usize, at_least_one: bool) -> Vec<Slice> {
        let mut slices: Vec<Slice> = Vec::new();
        if offset >= upper {
            return slices;
        }
        let (mut left, mut first) = (max_bytes, at_least_one);
        let from = self
            .chunks
            .partition_point(|chunk| chunk.next_offset <= offset);
        for chunk in self.chunks.range(from..) {
            if chunk.base_offset >= upper {
                break;
            }
            let begin = if chunk.base_offset >= offset {
                0
            } else {
                chunk.position(offset)
            };
            let whole = if chunk.next_offset > upper {
                chunk.position(upper)
            } else {
                chunk.bytes.len()
            };
            let end = chunk.end(begin, left, first).min(whole);
            if end <= begin {
                break;
            }
            first = false;
            left = left.saturating_sub(end - begin);
            let slice = chunk.bytes.slice(begin, end);
            if !slices.last_mut().is_some_and(|last| last.join(&slice)) {
                slices.push(slice);
            }
            if end < chunk.bytes.len() {
                break;
            }
        }
        slices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka_core::batch::{BatchBuilder, NewRecord};

    const NOW: Now = Now {
        monotonic_ms: 0,
        wall_ms: 1_000,
    };

    fn batch(value_bytes: usize) -> Vec<u8> {
        let value = vec![b'x'; value_bytes];
        let record = NewRecord {
            timestamp: 1_000,
            value: Some(&value),
            ..NewRecord::default()
        };
        BatchBuilder::new().record(&record).build().unwrap()
    }

    fn append(partition: &Arc<Partition>, value_bytes: usize, keep: bool) -> i64 {
        let mut bytes = batch(value_bytes);
        let header = BatchHeader::parse(&bytes).unwrap();
        let incoming = if keep {
            let mut frame = partition.memory.pool.take(bytes.len());
            frame.push(&bytes);
            Incoming::Kept(frame)
        } else {
            Incoming::Copied(&mut bytes)
        };
        partition
            .append(incoming, &header, Origin::Client, NOW)
            .unwrap()
            .base_offset
    }

    fn partition(limit: usize) -> Arc<Partition> {
        Partition::new(&Memory::new(limit), Uuid([1; 16]), 0, true)
    }

    #[test]
    fn every_offset_is_found_whatever_the_sizes_of_its_neighbours() {
        let partition = partition(64 << 20);
        for n in 0..400 {
            let keep = n % 3 == 0;
            assert_eq!(append(&partition, 100 + n * 50, keep), n as i64);
        }
        for offset in 0..400 {
            let one = partition.read(offset, i64::MAX, 0, true);
            assert_eq!(one.len(), 1);
            let header = BatchHeader::parse(&one[0]).unwrap();
            assert_eq!(
                (header.base_offset, header.total_bytes()),
                (offset, one[0].len())
            );
        }
        let all: usize = partition
            .read(0, i64::MAX, usize::MAX, true)
            .iter()
            .map(|slice| slice.len())
            .sum();
        assert_eq!(all as u64, partition.bytes());
        assert!(
            partition.read(0, i64::MAX, 10, false).is_empty(),
            "no part of a batch is ever sent"
        );
    }

    #[test]
    fn mixing_kept_and_copied_batches_wastes_no_blocks() {
        let partition = partition(1 << 30);
        for n in 0..200 {
            append(&partition, 20_000, n % 2 == 0);
        }
        let used = partition.memory.pool.bytes_in_use() as u64;
        assert!(
            used < partition.bytes() + (2 << 20),
            "{used} bytes for {}",
            partition.bytes()
        );
    }

    #[test]
    fn at_the_limit_the_oldest_records_go_and_memory_is_used_again() {
        let partition = partition(4 << 20);
        for _ in 0..1_000 {
            partition.memory.make_room().unwrap();
            append(&partition, 30_000, true);
        }
        let offsets = partition.offsets();
        assert_eq!(offsets.high_watermark, 1_000);
        assert!(offsets.log_start > 800, "{offsets:?}");
        assert!(partition.memory.pool.bytes_in_use() <= (4 << 20) + 40_000);
        assert!(partition.memory.evicted.load(Relaxed) > 800);
    }

    #[test]
    fn at_the_limit_with_nothing_to_drop_a_write_is_refused() {
        let partition = partition(1 << 20);
        partition.set_evictable(false);
        let refused = (0..200).find_map(|_| {
            let refused = partition.memory.make_room().err();
            if refused.is_none() {
                append(&partition, 30_000, true);
            }
            refused
        });
        assert_eq!(refused.unwrap().code, ErrorCode::KafkaStorageError);
        assert_eq!(partition.offsets().log_start, 0);
    }

    #[test]
    fn retention_drops_whole_chunks_by_size_and_by_age() {
        let partition = partition(64 << 20);
        for _ in 0..10 {
            append(&partition, 20_000, true);
        }
        let rules = Rules {
            retention_ms: -1,
            retention_bytes: 65_000,
            segment_ms: i64::MAX,
            delete: true,
        };
        partition.retain(&rules, NOW);
        assert_eq!(partition.offsets().log_start, 6);
        let rules = Rules {
            retention_ms: 500,
            retention_bytes: -1,
            segment_ms: i64::MAX,
            delete: true,
        };
        partition.retain(&rules, NOW);
        assert_eq!(partition.offsets().log_start, 6, "not yet old enough");
        partition.retain(
            &rules,
            Now {
                monotonic_ms: 0,
                wall_ms: 1_501,
            },
        );
        assert_eq!((partition.offsets().log_start, partition.bytes()), (10, 0));
    }
}
