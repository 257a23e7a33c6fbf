//! Going over a segment's batches, to find out what is whole and what its indexes should say.

use super::files::OpenFile;
use super::index::{Appending, Indexing, OffsetEntry, TimeEntry};
use super::load::Headers;
use rustka_core::batch::crc_matches;
use std::io;

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    /// Bytes of whole batches from the beginning on.
    pub bytes: u64,
    /// Where the last of them ends.
    pub next_offset: i64,
    pub first_timestamp: i64,
    pub max_timestamp: i64,
    pub by_offset: Vec<OffsetEntry>,
    pub by_time: Vec<TimeEntry>,
    pub indexing: Indexing,
    /// Why what lies behind them is no batch, if anything does.
    pub bad: Option<String>,
}

/// Goes over a segment from its beginning.
pub(super) fn scan(file: &dyn OpenFile, base_offset: i64, interval_bytes: u64) -> io::Result<Scan> {
    let end = file.bytes()?;
    let mut scan = Scan {
        bytes: 0,
        next_offset: base_offset,
        first_timestamp: -1,
        max_timestamp: -1,
        by_offset: Vec::new(),
        by_time: Vec::new(),
        indexing: Indexing::default(),
        bad: None,
    };
    let mut headers = Headers::new(file, 0, end);
    let mut batch = Vec::new();
    while scan.bytes < end {
        let (at, header) = match headers.next() {
            Ok(Some(next)) => next,
            Ok(None) => {
                scan.bad = Some("it ends within a batch".to_owned());
                break;
            }
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(error) => {
                scan.bad = Some(error.to_string());
                break;
            }
        };
        batch.resize(header.total_bytes(), 0);
        if file.read_at(&mut batch, at)? < batch.len() {
            scan.bad = Some("it ends within a batch".to_owned());
            break;
        }
        let next_offset = header.last_offset().and_then(|last| last.checked_add(1));
        let in_order = header.base_offset >= scan.next_offset && header.last_offset_delta >= 0;
        let Some(next_offset) = next_offset.filter(|_| in_order) else {
            scan.bad = Some("an offset does not follow the one before it".to_owned());
            break;
        };
        if !crc_matches(&batch) {
            scan.bad = Some("a checksum does not fit".to_owned());
            break;
        }
        let appending = Appending {
            at,
            bytes: batch.len() as u64,
            offset_delta: next_offset - 1 - base_offset,
            max_timestamp: header.max_timestamp,
        };
        let entries = scan.indexing.append(&appending, interval_bytes);
        scan.by_offset.extend(entries.by_offset);
        scan.by_time.extend(entries.by_time);
        if scan.bytes == 0 {
            scan.first_timestamp = header.max_timestamp;
        }
        scan.max_timestamp = scan.max_timestamp.max(header.max_timestamp);
        scan.next_offset = next_offset;
        scan.bytes = at + batch.len() as u64;
    }
    Ok(scan)
}
