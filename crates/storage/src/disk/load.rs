//! Reading what is only in files: found by the sparse index, then read as whole batches. Never under a lock.

use super::files::{Mode, OpenFile};
use super::folder::Kind;
use super::index::{OFFSET_ENTRY_BYTES, OffsetEntry};
use super::moving::Moving;
use super::recovery::leads_to;
use super::scan::search;
use super::writer::Writer;
use crate::buffer::{Pool, Slice};
use crate::engine::{ReadFailed, Span};
use rustka_core::batch::{BatchHeader, HEADER_BYTES, OVERHEAD_BYTES};
use std::io;
use std::sync::Arc;

/// One load gives at most so many bytes, but one batch in any case.
pub(super) const LOAD_BYTES_MAX: usize = 4 << 20;
/// Headers are looked for in pieces of this size: about what lies between two entries of an index.
const LOOK_BYTES: usize = 8 << 10;

/// A part of a segment that holds whole batches.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The segment's base offset.
    pub base_offset: i64,
    /// How much of its file counts.
    pub bytes: u64,
    /// Where its file is, if that has not its name yet.
    pub moving: Option<Arc<Moving>>,
    /// What lies before this offset is damaged, so that nothing there leads to what lies behind.
    pub behind: Option<i64>,
}

/// Reads whole batches as `span` says from these parts, which follow each other.
pub(super) fn load(
    writer: &Writer,
    pool: &Arc<Pool>,
    parts: &[Part],
    span: Span,
) -> Result<Vec<Slice>, ReadFailed> {
    let mut slices: Vec<Slice> = Vec::new();
    let mut left = span.max_bytes.min(LOAD_BYTES_MAX);
    for part in parts {
        let span = Span {
            max_bytes: left,
            at_least_one: span.at_least_one && slices.is_empty(),
            ..span
        };
        let read = match read_part(writer, pool, part, span) {
            Ok(read) => read,
            // Retention was faster. The next question is answered by where the log starts now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(slices),
            Err(error) => {
                let (folder, name) = (writer.folder.name(), Kind::Log.name(part.base_offset));
                if writer.shared.is_news(format!("{folder}/{name}")) {
                    tracing::error!(
                        target: "rustka::storage",
                        "{folder}/{name} cannot be read: {error}"
                    );
                }
                return Err(ReadFailed);
            }
        };
        left = left.saturating_sub(read.slice.as_ref().map_or(0, |slice| slice.len()));
        slices.extend(read.slice);
        if read.is_over {
            break;
        }
    }
    Ok(slices)
}

/// What a part gave.
struct Read {
    slice: Option<Slice>,
    /// No later part is to be read.
    is_over: bool,
}

fn read_part(writer: &Writer, pool: &Arc<Pool>, part: &Part, span: Span) -> io::Result<Read> {
    let (log, has_name) = open_log(writer, part)?;
    let near = match has_name {
        true => near(writer, part, &*log, span.offset)?,
        // Its index lies there under another name.
        false => None,
    };
    // What is not written yet is in memory, and below `upper` all is.
    let end = part.bytes.min(log.bytes()?);
    let at = near.map_or(0, |near| u64::from(near.at));
    let is_behind = |behind: &i64| {
        near.is_some_and(|near| part.base_offset + i64::from(near.offset_delta) >= *behind)
    };
    let near = match part.behind.filter(|behind| !is_behind(behind)) {
        None => at,
        Some(behind) => match search(&*log, at, end, behind - 1)? {
            Some((at, _)) => at,
            None => end,
        },
    };
    let mut headers = Headers::new(&*log, near, end);
    // To the first batch that is wanted.
    let begin = loop {
        let Some((at, header)) = headers.next()? else {
            return Ok(Read {
                slice: None,
                is_over: false,
            });
        };
        if header.last_offset().is_none_or(|last| last >= span.offset) {
            break (at, header);
        }
    };
    let (begin, first) = begin;
    if first.base_offset >= span.upper {
        return Ok(Read {
            slice: None,
            is_over: true,
        });
    }
    let rest = end - begin;
    let first_bytes = first.total_bytes();
    let wanted = match span.at_least_one {
        true => span.max_bytes.max(first_bytes),
        false => span.max_bytes,
    };
    let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(wanted);
    if wanted < first_bytes {
        return Ok(Read {
            slice: None,
            is_over: true,
        });
    }
    let mut buffer = pool.take(wanted);
    let read = buffer.fill(wanted, |into| log.read_at(into, begin))?;
    if read < wanted {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file is shorter than it was",
        ));
    }
    let slice = buffer.freeze_filled();
    let (end, cut) = whole_batches(&slice, span.upper)?;
    let is_over = cut || (end as u64) < rest;
    Ok(Read {
        slice: (end > 0).then(|| slice.slice(0, end)),
        is_over,
    })
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

/// Where the last whole batch ends that begins before `upper`, and whether there is one that does not.
pub(super) fn whole_batches(bytes: &[u8], upper: i64) -> io::Result<(usize, bool)> {
    let mut at = 0;
    while let Some(fixed) = bytes.get(at..at + HEADER_BYTES) {
        let header = match BatchHeader::parse_fixed(fixed) {
            Ok(header) => header,
            // What lies before it is whole.
            Err(_) if at > 0 => return Ok((at, true)),
            Err(error) => return Err(io::Error::other(error)),
        };
        if header.base_offset >= upper {
            return Ok((at, true));
        }
        if header.total_bytes() > bytes.len() - at {
            break;
        }
        at += header.total_bytes();
    }
    Ok((at, false))
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
        self.at = at + header.total_bytes() as u64;
        Ok((self.at <= self.end).then_some((at, header)))
    }

    fn bytes(&mut self, at: u64) -> io::Result<&[u8]> {
        let is_here = at >= self.piece_at
            && at + HEADER_BYTES as u64 <= self.piece_at + self.piece.len() as u64;
        if !is_here {
            let bytes = (self.end - at).min(LOOK_BYTES as u64);
            self.piece.resize(bytes as usize, 0);
            let read = self.file.read_at(&mut self.piece, at)?;
            self.piece.truncate(read);
            self.piece_at = at;
        }
        let from = (at - self.piece_at) as usize;
        let fixed = self.piece.get(from..from + HEADER_BYTES);
        fixed.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file is shorter than it was",
            )
        })
    }
}

const _: () = assert!(LOOK_BYTES > HEADER_BYTES && HEADER_BYTES > OVERHEAD_BYTES);
