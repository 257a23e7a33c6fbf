//! The boundary between partitions and the engines that keep their bytes. No offset is decided below it.
//!
//! An [`Engine`] opens one [`Log`] per partition. The partition calls its log under its own lock, so a log never
//! blocks, awaits or calls back into the partition. A log that needs time for a write answers [`Stored::Queued`] or
//! [`Stored::Written`], and its engine calls [`Partition::written_up_to`], [`Partition::durable_up_to`] or
//! [`Partition::write_failed`] later, from wherever it works, in the order of the writes of that partition; partitions
//! do not wait for each other. A write is made durable whether or not anybody waits for it.

use super::buffer::{BufMut, Slice};
use super::limit::Memory;
use super::partition::Partition;
use rustka_core::batch::{self, BatchHeader};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::codec::Uuid;
use std::ops::Deref;
use std::sync::{Arc, Weak};

/// Keeps the batches of all partitions of one broker.
pub trait Engine: Send + Sync {
    /// A log for a new partition. `home` cannot be upgraded yet; it is for telling about durability later.
    fn open(&self, home: &Weak<Partition>, topic_id: Uuid, index: i32) -> Box<dyn Log>;

    /// Memory for frames and its limit, which every engine has.
    fn memory(&self) -> &Arc<Memory>;

    /// Called before an append with no lock held: makes room, or refuses the write without any harm to its partition.
    fn make_room(&self) -> Result<(), Refusal>;

    /// The broker stops: what is queued is written, or given up. Waits for it.
    fn close(&self) {}
}

/// Keeps the batches of one partition: a row of chunks, the newest of which is open. Called under the partition's lock.
///
/// Offsets only grow along the row, but may have gaps (compaction), within a chunk and between two.
pub trait Log: Send {
    /// Keeps a batch that has its final offsets. After an error the partition takes no more.
    fn append(&mut self, batch: Batch<'_>) -> Result<Stored, WriteFailed>;

    /// Whole batches as asked for.
    fn read(&self, span: Span) -> Result<Vec<Slice>, ReadFailed>;

    /// Bytes of all batches.
    fn bytes(&self) -> u64;

    /// The chunk that retention looks at next.
    fn oldest(&self) -> Option<ChunkInfo>;

    /// The chunk that was begun last.
    fn newest(&self) -> Option<ChunkInfo>;

    /// Shows the chunks from the one that holds `offset` on, oldest first, until `visit` says stop. No bytes are touched.
    fn each_chunk(&self, offset: i64, visit: &mut dyn FnMut(&ChunkInfo) -> bool);

    /// Drops the oldest chunk. The memory is given back by the caller once the partition is unlocked.
    fn drop_oldest(&mut self) -> Option<Garbage>;

    /// Closes the open chunk: what is appended from here on lies in chunks of its own, small ones first.
    fn roll(&mut self);

    /// The chunks that no append touches any more, oldest first; their bytes may be read without the lock.
    fn closed(&self) -> Vec<Closed>;

    /// Puts `with` in the place of the closed chunks that hold `base_offset..next_offset`, if those begin and end
    /// exactly there; else (retention was faster) changes nothing and says so. `with` has at most as many chunks as
    /// it replaces, ascending and within those offsets; none at all drops the range.
    fn swap(
        &mut self,
        base_offset: i64,
        next_offset: i64,
        with: Vec<Replacement>,
    ) -> Result<Garbage, Stale>;

    /// Whether the memory limit may drop this log's chunks from now on, also those that are there already; at first it
    /// may not. For engines that never drop anything at the limit there is nothing to do.
    fn may_be_evicted(&mut self, _may: bool) {}

    /// Drops everything; the partition is gone.
    fn clear(&mut self) -> Garbage;
}

/// A batch on its way into a partition.
pub enum Incoming<'a> {
    /// To be copied.
    Copied(&'a mut [u8]),
    /// To be kept where it is.
    Kept(BufMut),
}

impl Incoming<'_> {
    /// Gives all records this time, and the batch the checksum that goes with it.
    pub(super) fn stamp(&mut self, append_time_ms: i64) {
        let bytes = match self {
            Incoming::Copied(bytes) => &mut **bytes,
            Incoming::Kept(buffer) => &mut **buffer,
        };
        batch::set_max_timestamp(bytes, true, append_time_ms);
    }

    /// Writes what is only known now into the batch; both lie outside of its checksum.
    pub(super) fn place(&mut self, base_offset: i64, leader_epoch: i32) {
        let bytes = match self {
            Incoming::Copied(bytes) => &mut **bytes,
            Incoming::Kept(buffer) => &mut **buffer,
        };
        batch::set_base_offset(bytes, base_offset);
        batch::set_leader_epoch(bytes, leader_epoch);
    }
}

impl Deref for Incoming<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Incoming::Copied(bytes) => bytes,
            Incoming::Kept(buffer) => buffer,
        }
    }
}

/// A batch with its place in the log.
pub struct Batch<'a> {
    /// Its bytes, offset and epoch included.
    pub bytes: Incoming<'a>,
    /// Its header as validated; the offsets in it are the producer's.
    pub header: &'a BatchHeader,
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset after its last record, and the position under which its durability is told.
    pub next_offset: i64,
    /// Wall time.
    pub now_ms: i64,
}

/// What became of a batch for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As durable as it gets, like everything before it.
    Durable,
    /// Written like everything before it, as much as acks=1 asks for; durable when the engine says so.
    Written,
    /// Neither, until the engine says so.
    Queued,
}

/// A write failed for good: the partition becomes read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteFailed;

/// Bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadFailed;

impl From<ReadFailed> for ErrorCode {
    fn from(ReadFailed: ReadFailed) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }
}

/// The chunks to be swapped have changed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

/// What is to be read: batches from the one that holds `offset`.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where to begin.
    pub offset: i64,
    /// No batch that begins here or later.
    pub upper: i64,
    /// At most so many bytes of whole batches.
    pub max_bytes: usize,
    /// But one batch in any case.
    pub at_least_one: bool,
}

/// What retention and eviction need to know of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Tells it apart from all others of the engine; a younger chunk has a larger one.
    pub sequence: u64,
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset after its last record.
    pub next_offset: i64,
    /// The largest timestamp in it.
    pub max_timestamp: i64,
    /// The largest timestamp in its first batch.
    pub first_timestamp: i64,
    /// Wall time at which its first batch came.
    pub opened_ms: i64,
    /// Wall time at which its last batch came.
    pub written_ms: i64,
    /// Size of its batches.
    pub bytes: u64,
}

/// A chunk that will not change any more.
#[derive(Clone, Debug)]
pub struct Closed {
    /// What is known of it.
    pub info: ChunkInfo,
    /// Its batches, one after the other.
    pub bytes: Slice,
}

/// A chunk in the place of others.
pub struct Replacement {
    /// Offset of the first batch in it.
    pub base_offset: i64,
    /// Offset after the last record in it.
    pub next_offset: i64,
    /// The largest timestamp in it.
    pub max_timestamp: i64,
    /// Its batches, offsets included; at least one.
    pub bytes: Slice,
}

/// Bytes that no log refers to any more, to be freed without a lock.
#[derive(Debug, Default)]
pub enum Garbage {
    /// Nothing.
    #[default]
    Nothing,
    /// One chunk, the usual case.
    One(Slice),
    /// Several.
    Many(Vec<Slice>),
}

impl Drop for Garbage {
    /// Whatever a log drops may still be on its way to a reader.
    fn drop(&mut self) {
        match self {
            Garbage::Nothing => {}
            Garbage::One(slice) => slice.abandon(),
            Garbage::Many(slices) => slices.iter().for_each(Slice::abandon),
        }
    }
}
