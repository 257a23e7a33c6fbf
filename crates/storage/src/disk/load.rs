//! Reading what is only in files: found by the sparse index, then read as whole batches. Never under a lock.

use super::extent::{Found, extent, wanted};
use super::files::OpenFile;
use super::folder::Kind;
use super::readings::{AHEAD_BYTES, Place, Reading};
use super::recent::Range;
use super::seek::{
    AtHand, End, Part, begin, is_shorter, is_to_be_there, look_up, open_log, whole_batches,
};
use super::writer::Writer;
use crate::buffer::Slice;
use crate::cold::{ColdRead, FileSpan, Form, Loaded, Piece, SpanFile};
use crate::engine::{ReadFailed, Span};
use rustka_core::batch::{BatchHeader, HEADER_BYTES, OVERHEAD_BYTES};
use std::io;
use std::sync::Arc;

/// One load gives at most so many bytes, but one batch in any case.
pub(super) const LOAD_BYTES_MAX: usize = 4 << 20;
/// Less than this is not worth sending from its file: a copy costs no more.
const SENT_BYTES_MIN: usize = 32 << 10;

/// A read of what only files have: whole batches as `span` says from these parts, which follow each other.
pub(super) struct ColdSpan {
    pub writer: Arc<Writer>,
    pub parts: Vec<Part>,
    pub span: Span,
    /// What memory has behind them, for where they hold nothing of it any more.
    pub tail: Loaded,
}

/// What a part gave.
struct Read {
    piece: Option<Piece>,
    /// Where that ends.
    next_offset: i64,
    /// No later part is to be read.
    is_over: bool,
    /// There is more of what is wanted in the part itself.
    has_more: bool,
}

impl Read {
    fn of(found: &Found, piece: Piece) -> Read {
        Read {
            piece: Some(piece),
            next_offset: found.next_offset,
            is_over: found.is_over,
            has_more: false,
        }
    }

    /// In a file that ends there. What is missing behind it is not passed over.
    fn ending(self, end: End) -> Read {
        Read {
            is_over: self.is_over || end.is_short,
            ..self
        }
    }

    fn nothing(is_over: bool) -> Read {
        Read {
            piece: None,
            next_offset: i64::MIN,
            is_over,
            has_more: false,
        }
    }
}

impl ColdRead for ColdSpan {
    fn at_hand(&self, form: Form) -> Option<Loaded> {
        let mut loaded = Loaded::default();
        // What is missing behind the first ones is asked for again soon.
        let _rest = self.each_part(&mut loaded, |part, span| {
            let reading = self.writer.shared.readings.find(part);
            let reading = reading.ok_or(io::ErrorKind::WouldBlock)?;
            match form {
                Form::Alone => Err(io::ErrorKind::WouldBlock.into()),
                Form::Memory => lately(&self.writer, &reading, part, span),
                Form::Files => now(&self.writer, &reading, part, span),
            }
        });
        (!loaded.pieces.is_empty()).then_some(loaded)
    }

    fn run(self: Box<Self>, form: Form) -> Result<Loaded, ReadFailed> {
        let mut loaded = Loaded::default();
        let mut last = None;
        let read = self.each_part(&mut loaded, |part, span| {
            last = Some((part.base_offset, part.sequence));
            read_part(&self.writer, part, span, form)
        });
        match read {
            Ok(()) if loaded.pieces.is_empty() => Ok(self.tail),
            Ok(()) => Ok(loaded),
            // Retention was faster. The next question is answered by where the log starts now.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && !last.is_some_and(|(base_offset, sequence)| {
                        is_to_be_there(&self.writer, base_offset, sequence)
                    }) =>
            {
                Ok(loaded)
            }
            Err(error) => {
                let folder = self.writer.folder.name();
                let name =
                    last.map_or_else(String::new, |(base_offset, _)| Kind::Log.name(base_offset));
                if self.writer.shared.is_news(format!("{folder}/{name}")) {
                    tracing::error!(
                        target: "rustka::storage",
                        "{folder}/{name} cannot be read: {error}"
                    );
                }
                Err(ReadFailed)
            }
        }
    }
}

impl ColdSpan {
    /// Has one part after the other read, as much of it as is still wanted.
    fn each_part(
        &self,
        loaded: &mut Loaded,
        mut read: impl FnMut(&Part, Span) -> io::Result<Read>,
    ) -> io::Result<()> {
        let mut span = Span {
            max_bytes: self.span.max_bytes.min(LOAD_BYTES_MAX),
            ..self.span
        };
        let mut parts = self.parts.iter();
        let mut part = parts.next();
        while let Some(this) = part {
            let read = read(this, span)?;
            if let Some(piece) = read.piece {
                span.max_bytes = span.max_bytes.saturating_sub(piece.bytes());
                (span.offset, span.at_least_one) = (read.next_offset, false);
                loaded.next_offset = read.next_offset;
                loaded.pieces.push(piece);
            }
            if read.has_more {
                continue;
            }
            if read.is_over {
                break;
            }
            part = parts.next();
        }
        Ok(())
    }
}

/// Reads of a part what is at hand. The system's cache is looked at, and the disk is not waited for.
fn now(writer: &Writer, reading: &Arc<Reading>, part: &Part, span: Span) -> io::Result<Read> {
    let file = AtHand::new(&**reading.file());
    let end = End::of(part, &file)?;
    let known = reading.place(span.offset);
    let is_first = span.offset == part.base_offset && part.behind.is_none();
    let at = match known {
        Some(place) => place.at,
        None if is_first => 0,
        None => return Err(io::ErrorKind::WouldBlock.into()),
    };
    let found = match known.and_then(|place| Found::known(place, end.at, span)) {
        Some(found) => Some(found),
        None => {
            let Some(begin) = begin(&file, at, end.at, span)? else {
                return nothing_in(part, end);
            };
            extent(reading, &file, begin, end.at, span)?
        }
    };
    let Some(found) = found.filter(|found| found.bytes > 0) else {
        return Ok(Read::nothing(true));
    };
    let piece = match found.bytes >= SENT_BYTES_MIN {
        false => Piece::Memory(copy(writer, &file, found.at, found.bytes)?),
        true if reading.can_be_sent() => {
            if reading.at_hand(found.at, found.bytes) < found.bytes {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Piece::File(FileSpan::new(reading.clone(), found.at, found.bytes))
        }
        true => return Err(io::ErrorKind::WouldBlock.into()),
    };
    Ok(Read::of(&found, piece).ending(end))
}

/// A part holds nothing of what is wanted, up to where its file ends: compaction has left nothing, which it does nowhere
/// but in what is written, or the file is not what it was.
fn nothing_in(part: &Part, end: End) -> io::Result<Read> {
    match part.is_written && !end.is_short {
        true => Ok(Read::nothing(false)),
        false => Err(is_shorter()),
    }
}

/// Takes of a part what somebody has read into memory lately.
fn lately(writer: &Writer, reading: &Reading, part: &Part, span: Span) -> io::Result<Read> {
    let place = reading.place(span.offset);
    let at = place.ok_or(io::ErrorKind::WouldBlock)?.at;
    let rest = part.bytes.saturating_sub(at);
    let wanted = Range {
        file: reading.number(),
        at,
        bytes: usize::try_from(rest)
            .unwrap_or(usize::MAX)
            .min(span.max_bytes),
    };
    let recent = &writer.shared.recent;
    let slice = recent.find(&wanted, wanted.bytes.min(HEADER_BYTES));
    let slice = slice.filter(|slice| slice.len() == wanted.bytes);
    let slice = slice.ok_or(io::ErrorKind::WouldBlock)?;
    let read = whole(&slice, at, part.bytes, span)?;
    match read.piece {
        Some(_) => Ok(read),
        None => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Reads of a part what is wanted of it.
fn read_part(writer: &Writer, part: &Part, span: Span, form: Form) -> io::Result<Read> {
    let shared = &writer.shared;
    let known = shared.readings.find(part);
    let (log, has_name) = match &known {
        Some(reading) => (reading.file().clone(), true),
        None => open_log(writer, part)?,
    };
    let reading = match form {
        Form::Alone => None,
        Form::Memory | Form::Files => {
            let keep = || shared.readings.keep(part, &log, &shared.pool);
            known.or_else(keep)
        }
    };
    // What is not written yet is in memory, and below `upper` all is.
    let end = End::of(part, &*log)?;
    let known = reading.as_ref();
    let known = known.and_then(|reading| reading.place(span.offset));
    let at = match known {
        Some(place) => place.at,
        None => look_up(writer, part, &*log, has_name, end.at, span.offset)?,
    };
    let Some(begin) = begin(&*log, at, end.at, span)? else {
        return nothing_in(part, end);
    };
    match reading {
        Some(reading) if form == Form::Files && reading.can_be_sent() => {
            let read = to_be_sent(writer, &reading, begin, end.at, span)?;
            if let Some(piece) = read.piece.as_ref().filter(|_| known.is_some()) {
                log.read_ahead(at + piece.bytes() as u64, AHEAD_BYTES);
            }
            Ok(read.ending(end))
        }
        reading => {
            let read = into_memory(writer, &*log, reading.as_deref(), begin, end.at, span)?;
            Ok(read.ending(end))
        }
    }
}

/// Has what is to be sent from there on at hand.
fn to_be_sent(
    writer: &Writer,
    reading: &Arc<Reading>,
    begin: (u64, BatchHeader),
    end: u64,
    span: Span,
) -> io::Result<Read> {
    let log = &**reading.file();
    let found = extent(reading, log, begin, end, span)?;
    let Some(found) = found.filter(|found| found.bytes > 0) else {
        return Ok(Read::nothing(true));
    };
    if found.bytes < SENT_BYTES_MIN {
        let slice = copy(writer, log, found.at, found.bytes)?;
        return Ok(Read::of(&found, Piece::Memory(slice)));
    }
    reading.fetch(found.at, found.bytes)?;
    let span = FileSpan::new(reading.clone(), found.at, found.bytes);
    Ok(Read::of(&found, Piece::File(span)))
}

/// Reads what is wanted from there on, unless somebody else does.
fn into_memory(
    writer: &Writer,
    log: &dyn OpenFile,
    reading: Option<&Reading>,
    begin: (u64, BatchHeader),
    end: u64,
    span: Span,
) -> io::Result<Read> {
    let Some(wanted) = wanted(&begin, end, span) else {
        return Ok(Read::nothing(true));
    };
    let (at, first) = begin;
    let Some(reading) = reading else {
        return whole(&copy(writer, log, at, wanted)?, at, end, span);
    };
    let range = Range {
        file: reading.number(),
        at,
        bytes: wanted,
    };
    let recent = &writer.shared.recent;
    let slice = recent.read(range, first.total_bytes(), || copy(writer, log, at, wanted))?;
    let mut read = whole(&slice, at, end, span)?;
    if let Some(piece) = &read.piece {
        read.has_more = slice.len() < wanted && piece.bytes() + OVERHEAD_BYTES < wanted;
        reading.note(span.offset, Place { at, extent: None });
        let at = at + piece.bytes() as u64;
        reading.note(read.next_offset, Place { at, extent: None });
    }
    Ok(read)
}

/// The whole batches in what was read from `at` on.
fn whole(slice: &Slice, at: u64, end: u64, span: Span) -> io::Result<Read> {
    let whole = whole_batches(slice, span.upper)?;
    Ok(Read {
        piece: (whole.bytes > 0).then(|| Piece::Memory(slice.slice(0, whole.bytes))),
        next_offset: whole.next_offset,
        is_over: whole.is_cut || at + (whole.bytes as u64) < end,
        has_more: false,
    })
}

/// Reads so many bytes into memory.
fn copy(writer: &Writer, log: &dyn OpenFile, at: u64, bytes: usize) -> io::Result<Slice> {
    let mut buffer = writer.shared.memory.pool.take(bytes);
    let read = buffer.fill(bytes, |into| log.read_at(into, at))?;
    if read < bytes {
        return Err(is_shorter());
    }
    Ok(buffer.freeze_filled())
}
