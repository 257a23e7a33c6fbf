//! The two walks over a log's chunks, without its lock.

use crate::engine::{ReadFailed, SwapFailed, WriteFailed};
use rustka_core::batch::{BatchError, batches};
use rustka_core::log::compaction::{Compaction, Kept};

/// What is read before others may go first: well below a millisecond of work.
const TURN_BYTES: usize = 128 << 10;

/// How long a round keeps a processor to itself. The threads that answer requests should not wait for the end of its time
/// slice, which is milliseconds where more threads than processors have work.
pub(super) struct Turn<'a> {
    bytes: usize,
    /// Is told of what was read and written.
    pace: &'a dyn Fn(usize),
    /// Others no longer go first. Where processors are short, whoever gives way loses, and the log must not outgrow
    /// what it is to keep to.
    pub(super) hurry: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn new(pace: &'a dyn Fn(usize)) -> Turn<'a> {
        Turn {
            bytes: 0,
            pace,
            hurry: false,
        }
    }

    /// Counts work, and now and then lets others go first.
    fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= TURN_BYTES {
            let bytes = std::mem::take(&mut self.bytes);
            (self.pace)(bytes);
            if !self.hurry {
                std::thread::yield_now();
            }
        }
    }
}

/// First walk, over one dirty chunk: the offset of the first batch for whose keys there is no room, if there is one.
pub(super) fn learn(
    round: &mut Compaction,
    bytes: &[u8],
    turn: &mut Turn<'_>,
) -> Result<Option<i64>, BatchError> {
    for batch in batches(bytes) {
        let (header, range) = batch?;
        turn.took(range.len());
        if !round.learn(&bytes[range])? {
            return Ok(Some(header.base_offset));
        }
    }
    Ok(None)
}

/// Where what is left of a chunk lies: in it, or among what was written anew.
pub(super) enum Piece {
    Old(std::ops::Range<usize>),
    New(std::ops::Range<usize>),
}

/// Second walk, over one chunk.
pub(super) fn keep(
    round: &mut Compaction,
    bytes: &[u8],
    scratch: &mut Vec<u8>,
    turn: &mut Turn<'_>,
) -> Result<Vec<Piece>, BatchError> {
    let mut pieces = Vec::new();
    for batch in batches(bytes) {
        let (_, range) = batch?;
        turn.took(range.len());
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
    // They are written now.
    turn.took(pieces.iter().map(|piece| piece.range().len()).sum());
    Ok(pieces)
}

impl Piece {
    pub(super) fn range(&self) -> &std::ops::Range<usize> {
        match self {
            Piece::Old(range) | Piece::New(range) => range,
        }
    }
}

/// Why a round ended early; nothing was lost.
#[derive(Debug)]
pub(super) enum Failed {
    Stale,
    Read,
    Write,
    Batch(BatchError),
}

impl From<SwapFailed> for Failed {
    fn from(why: SwapFailed) -> Failed {
        match why {
            SwapFailed::Stale => Failed::Stale,
            SwapFailed::Write => Failed::Write,
        }
    }
}

impl From<ReadFailed> for Failed {
    fn from(ReadFailed: ReadFailed) -> Failed {
        Failed::Read
    }
}

impl From<WriteFailed> for Failed {
    fn from(WriteFailed: WriteFailed) -> Failed {
        Failed::Write
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
            Failed::Read => f.write_str("it could not be read"),
            Failed::Write => f.write_str("what is left could not be written"),
            Failed::Batch(error) => error.fmt(f),
        }
    }
}
