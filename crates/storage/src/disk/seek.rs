//! Finding batches in a segment's file: by the sparse index, then from header to header.

use super::files::{Mode, OpenFile};
use super::folder::Kind;
use super::index::{OFFSET_ENTRY_BYTES, OffsetEntry};
use super::moving::Moving;
use super::recovery::leads_to;
use super::scan::search;
use super::writer::Writer;
use crate::engine::Span;
use rustka_core::batch::{BatchHeader, HEADER_BYTES, OVERHEAD_BYTES};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Headers are looked for in pieces of this size: about what lies between two entries of an index.
const LOOK_BYTES: usize = 8 << 10;
/// A thread that serves others looks at so much of a file at most.
const NOW_BYTES_MAX: usize = 256 << 10;

/// A part of a segment that holds whole batches.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The segment's base offset.
    pub base_offset: i64,
    /// What tells the segment apart from all others, but for those that compaction puts in its place.
    pub sequence: u64,
    /// How much of its file counts.
    pub bytes: u64,
    /// All of that is written.
    pub is_written: bool,
    /// Where its file is, if that has not its name yet.
    pub moving: Option<Arc<Moving>>,
    /// What lies before this offset is damaged, so that nothing there leads to what lies behind.
    pub behind: Option<i64>,
}

/// Opens the file of a part, and whether that has its name by now.
pub(super) fn open_log(writer: &Writer, part: &Part) -> io::Result<(Arc<dyn OpenFile>, bool)> {
    if let Some(moving) = &part.moving
        && let Some(log) = moving.open(&*writer.shared.files)?
    {
        return Ok((log, false));
    }
    let log = writer
        .folder
        .open(Kind::Log, part.base_offset, Mode::Read)?;
    Ok((log, true))
}

/// Whether the log still has a segment whose file lies under its name.
pub(super) fn is_to_be_there(writer: &Writer, base_offset: i64, sequence: u64) -> bool {
    let found = writer
        .partition()
        .and_then(|home| home.at_rest(base_offset));
    found.is_some_and(|(chunk, _)| (chunk.base_offset, chunk.sequence) == (base_offset, sequence))
}

/// Where a part ends in its file.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub at: u64,
    /// More than that was written into it.
    pub is_short: bool,
}

impl End {
    pub fn of(part: &Part, log: &dyn OpenFile) -> io::Result<End> {
        let there = log.bytes()?;
        Ok(End {
            at: part.bytes.min(there),
            is_short: part.is_written && there < part.bytes,
        })
    }
}

/// Where to begin to look for the batch with this offset.
pub(super) fn look_up(
    writer: &Writer,
    part: &Part,
    log: &dyn OpenFile,
    has_name: bool,
    end: u64,
    offset: i64,
) -> io::Result<u64> {
    let near = match has_name {
        true => near(writer, part, log, offset)?,
        // Its index lies there under another name.
        false => None,
    };
    let at = near.map_or(0, |near| u64::from(near.at));
    let is_behind = |behind: &i64| {
        near.is_some_and(|near| part.base_offset + i64::from(near.offset_delta) >= *behind)
    };
    match part.behind.filter(|behind| !is_behind(behind)) {
        None => Ok(at),
        Some(behind) => match search(log, at, end, behind - 1)? {
            Some((at, _)) => Ok(at),
            None => Ok(end),
        },
    }
}

/// The first batch that is wanted, at or behind a batch that begins there, and where it lies. Nothing if there is none.
pub(super) fn begin(
    log: &dyn OpenFile,
    at: u64,
    end: u64,
    span: Span,
) -> io::Result<Option<(u64, BatchHeader)>> {
    let mut headers = Headers::new(log, at, end);
    loop {
        match headers.next()? {
            Some((_, header)) if header.last_offset().is_some_and(|last| last < span.offset) => {}
            found => return Ok(found),
        }
    }
}

/// Whole batches from the beginning of some bytes on.
pub(super) struct Whole {
    /// They are so long.
    pub bytes: usize,
    /// The offset after the last one's.
    pub next_offset: i64,
    /// There is one behind them that is not to be read.
    pub is_cut: bool,
}

/// The whole batches at the beginning of these bytes that begin before `upper`.
pub(super) fn whole_batches(bytes: &[u8], upper: i64) -> io::Result<Whole> {
    let mut whole = Whole {
        bytes: 0,
        next_offset: i64::MIN,
        is_cut: false,
    };
    while let Some(fixed) = bytes.get(whole.bytes..whole.bytes + HEADER_BYTES) {
        let header = match BatchHeader::parse_fixed(fixed) {
            Ok(header) => header,
            // What lies before it is whole.
            Err(_) if whole.bytes > 0 => {
                whole.is_cut = true;
                break;
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        if header.base_offset >= upper {
            whole.is_cut = true;
            break;
        }
        if header.total_bytes() > bytes.len() - whole.bytes {
            break;
        }
        whole.bytes += header.total_bytes();
        whole.next_offset = end_of(&header);
    }
    Ok(whole)
}

/// The offset after a batch's last one.
pub(super) fn end_of(header: &BatchHeader) -> i64 {
    let last = header.last_offset();
    last.map_or(i64::MAX, |last| last.saturating_add(1))
}

/// Where to begin to look for the batch with this offset: at the last batch known to lie at or before it.
fn near(
    writer: &Writer,
    part: &Part,
    log: &dyn OpenFile,
    offset: i64,
) -> io::Result<Option<OffsetEntry>> {
    let Ok(delta) = u32::try_from(offset - part.base_offset) else {
        return Ok(None);
    };
    let index = match writer
        .folder
        .open(Kind::Index, part.base_offset, Mode::Read)
    {
        Ok(index) => index,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let entry = |number: u64| -> io::Result<OffsetEntry> {
        let mut bytes = [0; OFFSET_ENTRY_BYTES as usize];
        index.read_at(&mut bytes, number * OFFSET_ENTRY_BYTES)?;
        Ok(OffsetEntry::decode(bytes))
    };
    // The first entry that lies behind.
    let (mut from, mut to) = (0, index.bytes()? / OFFSET_ENTRY_BYTES);
    while from < to {
        let middle = from + (to - from) / 2;
        match entry(middle)?.offset_delta <= delta {
            true => from = middle + 1,
            false => to = middle,
        }
    }
    let Some(number) = from.checked_sub(1) else {
        return Ok(None);
    };
    let entry = entry(number)?;
    // An index that is damaged, or of what was there before compaction, only costs time.
    Ok(leads_to(log, part.base_offset, entry)?.then_some(entry))
}

/// A walk over the headers of batches in a file.
pub(super) struct Headers<'a> {
    file: &'a dyn OpenFile,
    at: u64,
    end: u64,
    piece: Vec<u8>,
    piece_at: u64,
    /// What is read at once: headers that are far from each other come alone.
    look_bytes: usize,
}

impl Headers<'_> {
    /// From the batch that begins at `at` on, up to `end`.
    pub fn new(file: &dyn OpenFile, at: u64, end: u64) -> Headers<'_> {
        Headers {
            file,
            at,
            end,
            piece: Vec::new(),
            piece_at: 0,
            look_bytes: LOOK_BYTES,
        }
    }

    /// From behind a batch that begins at `at` on.
    pub fn behind<'a>(
        file: &'a dyn OpenFile,
        at: u64,
        first: &BatchHeader,
        end: u64,
    ) -> Headers<'a> {
        let bytes = first.total_bytes();
        Headers {
            look_bytes: look_bytes(bytes),
            ..Headers::new(file, at + bytes as u64, end)
        }
    }

    /// The next whole batch, and where it begins.
    pub fn next(&mut self) -> io::Result<Option<(u64, BatchHeader)>> {
        let at = self.at;
        if at + HEADER_BYTES as u64 > self.end {
            return Ok(None);
        }
        let fixed = self.bytes(at)?;
        let header = BatchHeader::parse_fixed(fixed).map_err(io::Error::other)?;
        let bytes = header.total_bytes();
        self.at = at + bytes as u64;
        self.look_bytes = look_bytes(bytes);
        Ok((self.at <= self.end).then_some((at, header)))
    }

    fn bytes(&mut self, at: u64) -> io::Result<&[u8]> {
        let is_here = at >= self.piece_at
            && at + HEADER_BYTES as u64 <= self.piece_at + self.piece.len() as u64;
        if !is_here {
            let bytes = (self.end - at).min(self.look_bytes as u64);
            self.piece.resize(bytes as usize, 0);
            let read = self.file.read_at(&mut self.piece, at)?;
            self.piece.truncate(read);
            self.piece_at = at;
        }
        let from = (at - self.piece_at) as usize;
        let fixed = self.piece.get(from..from + HEADER_BYTES);
        fixed.ok_or_else(is_shorter)
    }
}

/// How much is read at once behind a batch of this size.
fn look_bytes(bytes: usize) -> usize {
    match bytes < LOOK_BYTES {
        true => LOOK_BYTES,
        false => HEADER_BYTES,
    }
}

const _: () = assert!(LOOK_BYTES > HEADER_BYTES && HEADER_BYTES > OVERHEAD_BYTES);

pub(super) fn is_shorter() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file is shorter than it was",
    )
}

/// A file of which only what is in the system's cache is read, and little of that.
pub(super) struct AtHand<'a> {
    file: &'a dyn OpenFile,
    /// Bytes that may yet be looked at.
    left: AtomicUsize,
}

impl AtHand<'_> {
    pub fn new(file: &dyn OpenFile) -> AtHand<'_> {
        AtHand {
            file,
            left: AtomicUsize::new(NOW_BYTES_MAX),
        }
    }
}

impl OpenFile for AtHand<'_> {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let left = self.left.load(Relaxed).checked_sub(into.len());
        self.left
            .store(left.ok_or(io::ErrorKind::WouldBlock)?, Relaxed);
        match self.file.read_now(into, at)? {
            Some(n) if n == into.len() => Ok(n),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write_at(&self, _bytes: &[u8], _at: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn cut(&self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
