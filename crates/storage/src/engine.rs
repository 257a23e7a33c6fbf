//! The boundary between partitions and the engines that keep their bytes. No offset is decided below it.
//!
//! An [`Engine`] opens one [`Log`] per partition. The partition calls its log under its own lock, so a log never
//! blocks, awaits or calls back into the partition. What takes time is handed out instead, to be done without the lock:
//!
//! - A write is answered [`Stored::Queued`] or [`Stored::Written`], and the engine calls [`Partition::written_up_to`],
//!   [`Partition::durable_up_to`] or [`Partition::write_failed`] later, from wherever it works, in the order of the
//!   writes of that partition; partitions do not wait for each other. A write is made durable whether or not anybody
//!   waits for it.
//! - A read of what is not at hand is answered [`Found::Cold`] with a [`Load`] (see [`cold`](super::cold)).
//! - Compaction reads [`Content`] piece by piece and writes into a [`Sink`]; only the result is swapped in under the lock.
//!
//! Whatever changes something may fail. After a failed append or roll the partition takes no more; after anything else
//! that failed all is as it was.

use super::buffer::{BufMut, Slice};
use super::cold::Load;
use super::figures::DiskFigures;
use super::limit::Memory;
use super::partition::Partition;
use rustka_core::batch::{self, BatchHeader};
use rustka_core::cluster::snapshot::SnapshotId;
use rustka_core::config::SharedConfig;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::log::PartitionState;
use rustka_core::time::Now;
use rustka_wire::codec::Uuid;
use std::any::Any;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::{Arc, Weak};

/// Keeps the batches of all partitions of one broker.
pub trait Engine: Send + Sync {
    /// Opens the log of a partition, after recovering what is there of it; may take long. `home` cannot be upgraded yet;
    /// it is for telling about durability later.
    fn open(&self, home: &Weak<Partition>, name: &PartitionName<'_>) -> Result<Opened, OpenFailed>;

    /// Whether opening the log of this partition may take long, since something lies there that this life has not looked at.
    fn has_unopened(&self, _name: &PartitionName<'_>) -> bool {
        false
    }

    /// The broker stops before all partitions are opened: what lies there of the others stays as it is.
    fn leave_unopened(&self) {}

    /// Memory for frames and its limit, which every engine has.
    fn memory(&self) -> &Arc<Memory>;

    /// Called before an append with no lock held: makes room, or refuses the write without any harm to its partition.
    fn make_room(&self) -> Result<(), Refusal>;

    /// Whether logs want to be told of their partitions' states now and then, not only when they roll.
    fn wants_checkpoints(&self) -> bool {
        false
    }

    /// The data directory, where there is one: what is durable is there again in the next life.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// What it has done with files, where it has any.
    fn figures(&self) -> Option<DiskFigures> {
        None
    }

    /// Whether clients' writes are refused since there is no room for them: whatever may go is to go.
    fn is_full(&self) -> bool {
        false
    }

    /// The snapshots beside a partition's log, where there is a data directory. They are files of their own: keeping one,
    /// reading it and removing it takes a while.
    fn snapshots(&self, _name: &PartitionName<'_>) -> Option<Box<dyn Snapshots>> {
        None
    }

    /// Does what is due by now; when it wants to be called next, on the monotonic clock. Early calls do nothing.
    fn tick(&self, _now: Now) -> Option<i64> {
        None
    }

    /// Reads on in what has lain in files for long, to find out what of it is damaged before anybody wants it: as many
    /// bytes as the pace allows since the last call. For engines without files there is nothing to do.
    fn scrub(&self, _now: Now, _pace: ScrubPace) {}

    /// The broker stops: what is queued is written, or given up. Waits for it. Appends that come later fail.
    fn close(&self) {}
}

/// How fast and how often what lies in files is read only to see whether it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubPace {
    /// So many bytes each second; none of them with 0.
    pub bytes_per_second: u64,
    /// From the beginning of one round over all of it to that of the next, at least.
    pub interval_ms: i64,
}

/// Which partition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionName<'a> {
    /// The topic's name, which another topic may have had before.
    pub topic: &'a str,
    /// The topic's id, which no other has.
    pub topic_id: Uuid,
    /// Number within the topic.
    pub index: i32,
}

/// Files beside a log that say what its older part has led to, so that it may go.
pub trait Snapshots: Send + Sync {
    /// Those that are whole, oldest first, with their sizes. What was left half written is removed.
    fn all(&self) -> io::Result<Vec<(SnapshotId, u64)>>;

    /// The bytes of one of them.
    fn read(&self, id: SnapshotId) -> io::Result<Vec<u8>>;

    /// Keeps one: all of it is durable when this returns, and nothing of it is there if it does not.
    fn write(&self, id: SnapshotId, bytes: &[u8]) -> io::Result<()>;

    /// Removes one that is no longer needed.
    fn remove(&self, id: SnapshotId) -> io::Result<()>;
}

/// A log that was opened. All it holds is durable.
pub struct Opened {
    /// The log.
    pub log: Box<dyn Log>,
    /// Where it was told last that it starts ([`Log::roll`], [`Log::checkpoint`]), or behind what was dropped since. Batches may
    /// begin later: compaction may have left nothing there.
    pub log_start: i64,
    /// Where it ends at least: what was there last may have gone.
    pub log_end: i64,
    /// The latest of what it was told of its partition that does not go beyond what it holds, nothing if there is none.
    /// What it holds beyond that is read from it.
    pub checkpoint: Option<PartitionState>,
    /// What it was told last of how far it is compacted.
    pub cleaned: i64,
}

impl Opened {
    /// A log that is new and empty.
    pub fn new(log: Box<dyn Log>) -> Opened {
        Opened {
            log,
            log_start: 0,
            log_end: 0,
            checkpoint: None,
            cleaned: 0,
        }
    }
}

/// A log cannot be opened; why, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFailed(pub String);

/// Keeps the batches of one partition: a row of chunks, the newest of which is open. Called under the partition's lock.
///
/// Offsets only grow along the row, but may have gaps (compaction), within a chunk and between two.
pub trait Log: Send {
    /// Keeps a batch that has its final offsets. After an error the partition takes no more.
    fn append(&mut self, batch: Batch<'_>) -> Result<Stored, WriteFailed>;

    /// Somebody waits for what was appended to be written, durable or not. A log may put that off as long as nobody does,
    /// but not beyond what makes it durable.
    fn hurry(&self) {}

    /// Follows these configs of its topic from now on, also when they are replaced.
    fn configure(&mut self, _config: &Arc<SharedConfig>) {}

    /// Whether the open chunk has no room for a batch of this size and is to be rolled before it is appended. A log
    /// that wants to know nothing of its partition then begins new chunks by itself.
    fn wants_roll(&self, _batch_bytes: usize) -> bool {
        false
    }

    /// Closes the open chunk: what is appended from here on lies in chunks of its own, small ones first. `state` is what
    /// all batches so far have led to. After an error the partition takes no more.
    fn roll(&mut self, state: &PartitionState) -> Result<(), WriteFailed>;

    /// Is told what all batches so far have led to, where the log starts in particular, to have it when it is opened
    /// again.
    fn checkpoint(&mut self, _state: &PartitionState) -> Result<(), WriteFailed> {
        Ok(())
    }

    /// Whole batches as asked for; perhaps fewer, but none only if there are none.
    fn read(&self, span: Span) -> Result<Found, ReadFailed>;

    /// Bytes of all batches.
    fn bytes(&self) -> u64;

    /// The chunk that retention looks at next.
    fn oldest(&self) -> Option<ChunkInfo>;

    /// The chunk that was begun last.
    fn newest(&self) -> Option<ChunkInfo>;

    /// Shows the chunks from the one that holds `offset` on, oldest first, until `visit` says stop. No bytes are touched.
    fn each_chunk(&self, offset: i64, visit: &mut dyn FnMut(&ChunkInfo) -> bool);

    /// Where to look for the first batch, from the one that holds `offset` on, whose largest timestamp is `timestamp` or
    /// later. Nothing if there is none.
    fn first_late(&self, offset: i64, timestamp: i64) -> Option<Late>;

    /// Drops the oldest chunk, if there is one. The memory is given back by the caller once the partition is unlocked.
    fn drop_oldest(&mut self) -> Result<Garbage, WriteFailed>;

    /// The chunks that no append touches any more, oldest first; their content may be read without the lock.
    fn closed(&self) -> Vec<Closed>;

    /// Where a chunk is written, without the lock, that is to take the place of others; with room for so many bytes, or
    /// at least a good part of them.
    fn sink(&self, bytes: usize) -> Result<Box<dyn Sink>, WriteFailed>;

    /// Puts `with`, which were written into sinks of this log, in the place of the closed chunks that hold
    /// `base_offset..next_offset`, if those begin and end exactly there; else (retention was faster) changes nothing and
    /// says so. `with` has at most as many chunks as it replaces, ascending and within those offsets; none at all drops
    /// the range. `state` is what all batches have led to.
    fn swap(
        &mut self,
        base_offset: i64,
        next_offset: i64,
        with: Vec<Replacement>,
        state: &PartitionState,
    ) -> Result<Garbage, SwapFailed>;

    /// How compaction is to cut what it writes into chunks.
    fn cut(&self) -> Cut {
        Cut::default()
    }

    /// Offsets of batches that cannot be read any more, in order. All others can.
    fn damaged(&self) -> &[Range<i64>] {
        &[]
    }

    /// The first chunk from the one that holds `offset` on whose bytes lie where they are to stay.
    fn at_rest(&self, _offset: i64) -> Option<ChunkInfo> {
        None
    }

    /// These offsets of a chunk cannot be read any more. Whether that is news; it is not where the chunk is no longer there.
    fn found_damage(&mut self, _sequence: u64, _range: &Range<i64>) -> bool {
        false
    }

    /// Below this offset at most one record of each key is left; to have it when the log is opened again.
    fn note_cleaned(&mut self, _offset: i64) {}

    /// Whether the memory limit may drop this log's chunks from now on, also those that are there already; at first it
    /// may not. For engines that never drop anything at the limit there is nothing to do.
    fn may_be_evicted(&mut self, _may: bool) {}

    /// Whether what the memory limit takes from this log are copies, which it can read again once they are written.
    fn keeps_copies(&self) -> bool {
        false
    }

    /// The oldest of those copies.
    fn oldest_copy(&self) -> Option<ChunkInfo> {
        None
    }

    /// Forgets it.
    fn drop_copy(&mut self) -> Garbage {
        Garbage::Nothing
    }

    /// Drops everything; the partition is gone. What could not be dropped is not found when a log is opened again.
    fn clear(&mut self) -> Result<Garbage, WriteFailed>;
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
    /// What this batch and all before it have led to.
    pub state: &'a PartitionState,
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

/// A write failed for good.
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

/// Why chunks were not swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapFailed {
    /// They have changed meanwhile.
    Stale,
    /// The new ones could not be put in their place.
    Write,
}

/// What a read comes to.
pub enum Found {
    /// The batches.
    Here {
        /// One after the other.
        slices: Vec<Slice>,
        /// Where they end, or the next batch begins.
        next_offset: i64,
    },
    /// They are not at hand.
    Cold(Load),
}

impl Found {
    /// The batches, wherever they lie; see [`Load::run`].
    pub fn load(self) -> Result<Vec<Slice>, ReadFailed> {
        match self {
            Found::Here { slices, .. } => Ok(slices),
            Found::Cold(load) => load.run(),
        }
    }

    /// How many bytes they are; about, if they are not at hand.
    pub fn bytes(&self) -> usize {
        match self {
            Found::Here { slices, .. } => slices.iter().map(|slice| slice.len()).sum(),
            Found::Cold(load) => load.bytes(),
        }
    }
}

/// The batches of a closed chunk, one after the other.
#[derive(Clone)]
pub enum Content {
    /// In memory.
    Here(Slice),
    /// Somewhere else.
    Cold(Arc<dyn ColdContent>),
}

/// Batches that are read piece by piece.
pub trait ColdContent: Any + Send + Sync {
    /// Whole batches from `at` bytes on, at most `bytes` of them but at least one; none at the end.
    fn read(&self, at: u64, bytes: usize) -> Result<Option<Slice>, ReadFailed>;
}

/// What is read of cold content at once.
const PIECE_BYTES: usize = 1 << 20;

impl Content {
    /// The batches in pieces of some megabytes at most, whole batches each.
    pub fn pieces(&self) -> impl Iterator<Item = Result<Slice, ReadFailed>> + '_ {
        let (mut at, mut done) = (0, false);
        std::iter::from_fn(move || {
            if done {
                return None;
            }
            match self {
                Content::Here(slice) => {
                    done = true;
                    Some(Ok(slice.clone()))
                }
                Content::Cold(cold) => {
                    let piece = cold.read(at, PIECE_BYTES).transpose();
                    done = !matches!(piece, Some(Ok(_)));
                    if let Some(Ok(slice)) = &piece {
                        at += slice.len() as u64;
                    }
                    piece
                }
            }
        })
    }
}

/// Where a new chunk is written.
pub trait Sink: Send {
    /// Bytes that still fit.
    fn room(&self) -> usize;

    /// Takes the next batch, which has to fit.
    fn push(&mut self, batch: &[u8]) -> Result<(), WriteFailed>;

    /// What was pushed so far, to be put in a log. More may follow, and be put in its place.
    fn content(&mut self) -> Result<Content, WriteFailed>;
}

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
    /// They are not at hand: reading them takes time.
    pub cold: bool,
}

impl ChunkInfo {
    /// The time by which it grows old: when its newest record was written. For records without a time that is when it
    /// last took any.
    pub fn time_ms(&self) -> i64 {
        match self.max_timestamp {
            0.. => self.max_timestamp,
            _ => self.written_ms,
        }
    }
}

/// Where to look for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Among those that hold these offsets, and if it is not there, from their end on.
    pub offsets: Range<i64>,
    /// Whether these have to be loaded first, which takes a while.
    pub cold: bool,
}

/// How compaction cuts what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// About so much of the old goes into one new chunk.
    pub bytes: usize,
    /// Each group of old chunks becomes one new chunk, whatever it holds, that is not put in its place before it is
    /// whole. Else new chunks may grow once they are in place, and keep no room that nothing fills.
    pub at_once: bool,
}

impl Default for Cut {
    /// Chunks of memory.
    fn default() -> Self {
        Cut {
            bytes: 1 << 20,
            at_once: false,
        }
    }
}

/// A chunk that will not change any more.
#[derive(Clone)]
pub struct Closed {
    /// What is known of it.
    pub info: ChunkInfo,
    /// Its batches.
    pub content: Content,
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
    pub content: Content,
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
