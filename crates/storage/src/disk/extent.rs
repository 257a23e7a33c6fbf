//! How far to read: the whole batches in a segment's file, from a first one on, that fit into what is wanted.

use super::files::OpenFile;
use super::readings::{Extent, Place, Reading};
use super::seek::{Headers, end_of};
use crate::engine::Span;
use rustka_core::batch::BatchHeader;
use std::io;

/// How many bytes are to be read from the first batch on. Nothing if that is not to be read.
pub(super) fn wanted(begin: &(u64, BatchHeader), end: u64, span: Span) -> Option<usize> {
    let (at, first) = begin;
    if first.base_offset >= span.upper {
        return None;
    }
    let first_bytes = first.total_bytes();
    let wanted = match span.at_least_one {
        true => span.max_bytes.max(first_bytes),
        false => span.max_bytes,
    };
    let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(wanted);
    (wanted >= first_bytes).then_some(wanted)
}

/// Whole batches in a file.
pub(super) struct Found {
    pub at: u64,
    pub bytes: usize,
    /// The offset after the last one's.
    pub next_offset: i64,
    /// No later segment is to be read.
    pub is_over: bool,
}

impl Found {
    /// What somebody has found who asked for the same.
    pub fn known(place: Place, end: u64, span: Span) -> Option<Found> {
        let extent = place.extent?;
        let rest = end.checked_sub(place.at)?;
        let wanted = usize::try_from(rest)
            .unwrap_or(usize::MAX)
            .min(span.max_bytes);
        let is_same = extent.bytes_max == wanted && extent.next_offset <= span.upper;
        is_same.then_some(Found {
            at: place.at,
            bytes: extent.bytes,
            next_offset: extent.next_offset,
            is_over: true,
        })
    }
}

/// Which whole batches are to be read from this one on. Nothing if none is.
pub(super) fn extent(
    reading: &Reading,
    log: &dyn OpenFile,
    begin: (u64, BatchHeader),
    end: u64,
    span: Span,
) -> io::Result<Option<Found>> {
    let Some(wanted) = wanted(&begin, end, span) else {
        return Ok(None);
    };
    let (at, first) = begin;
    let mut headers = Headers::behind(log, at, &first, end);
    let (mut bytes, mut next_offset) = (first.total_bytes(), end_of(&first));
    let mut is_full = false;
    let is_cut = loop {
        let header = match headers.next() {
            Ok(Some((_, header))) => header,
            Ok(None) => break false,
            // What lies before it is whole.
            Err(error) if bytes > 0 && is_no_batch(&error) => break true,
            Err(error) => return Err(error),
        };
        if header.base_offset >= span.upper {
            break true;
        }
        if header.total_bytes() > wanted - bytes {
            is_full = true;
            break false;
        }
        bytes += header.total_bytes();
        next_offset = end_of(&header);
    };
    let extent = is_full.then_some(Extent {
        bytes_max: wanted,
        bytes,
        next_offset,
    });
    reading.note(span.offset, Place { at, extent });
    Ok(Some(Found {
        at,
        bytes,
        next_offset,
        is_over: is_cut || at + (bytes as u64) < end,
    }))
}

/// Whether that tells of what is in a file, not of the file.
fn is_no_batch(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.raw_os_error().is_none()
}
