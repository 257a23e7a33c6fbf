//! Going over a segment's batches, to find out what is whole and what its indexes should say.

use super::files::OpenFile;
use super::index::{Appending, Indexing, OffsetEntry, TimeEntry};
use super::seek::Headers;
use rustka_core::batch::{BatchHeader, HEADER_BYTES, MAGIC, crc_matches};
use std::io;
use std::ops::Range;

/// Where a batch's magic byte stands.
const MAGIC_AT: usize = 16;
/// What is read at once in search of a batch behind damage.
const SEARCH_BYTES: usize = 256 << 10;

/// Where to begin, and what is known of what lies before.
pub(super) struct Begin {
    /// Where in the file: at a batch.
    pub at: u64,
    /// Entries of what lies before, as they were counted.
    pub indexing: Indexing,
    /// The largest timestamp before.
    pub max_timestamp: i64,
    /// Damage at offsets before this is gone around: those were promised. At later ones all is over.
    pub promised: i64,
}

/// What a segment holds from there on.
#[derive(Debug)]
pub(super) struct Scan {
    /// Bytes that count from the beginning of the file on.
    pub bytes: u64,
    /// Where the last whole batch ends.
    pub next_offset: i64,
    /// See [`Begin`].
    promised: i64,
    /// What is to come begins at `next_offset`, and not somewhere behind it.
    knows_offset: bool,
    pub max_timestamp: i64,
    /// Entries beyond those counted before.
    pub by_offset: Vec<OffsetEntry>,
    pub by_time: Vec<TimeEntry>,
    pub indexing: Indexing,
    /// Offsets that were promised and cannot be read, with where in the file and why.
    pub damaged: Vec<(Range<i64>, u64, String)>,
    /// Why what lies behind them is no batch, if anything does.
    pub bad: Option<String>,
}

/// Goes over a segment's batches, each of which is read as a whole and shown.
pub(super) fn scan(
    file: &dyn OpenFile,
    base_offset: i64,
    begin: Begin,
    interval_bytes: u64,
    mut see: impl FnMut(&BatchHeader, &[u8]) -> Result<(), String>,
) -> io::Result<Scan> {
    let end = file.bytes()?;
    let promised = begin.promised;
    let mut scan = Scan::new(base_offset, begin);
    let mut batch = Vec::new();
    while scan.bytes < end {
        let at = scan.bytes;
        let found = read_batch(file, at, end, &mut batch)?;
        let placed = scan.place(file, end, found)?;
        let seen = placed.and_then(|(header, next_offset)| match crc_matches(&batch) {
            true => see(&header, &batch).map(|()| (header, next_offset)),
            false => Err("a checksum does not fit".to_owned()),
        });
        match seen {
            Ok((header, next_offset)) => {
                scan.count(base_offset, &header, next_offset, interval_bytes);
            }
            Err(why) if scan.next_offset < promised => {
                let from = scan.next_offset;
                let Some((behind, header)) = search(file, at + 1, end, from)? else {
                    scan.bad = Some(why);
                    return Ok(scan);
                };
                scan.damaged.push((from..header.base_offset, at, why));
                scan.next_offset = header.base_offset;
                scan.bytes = behind;
                // Whoever looks for what lies behind begins there.
                scan.indexing.want_entry(interval_bytes);
            }
            Err(why) => {
                scan.bad = Some(why);
                return Ok(scan);
            }
        }
    }
    Ok(scan)
}

/// The same with a look at headers alone, and at the checksum of the last batch.
pub(super) fn look(
    file: &dyn OpenFile,
    base_offset: i64,
    begin: Begin,
    interval_bytes: u64,
    mut see: impl FnMut(u64, &BatchHeader),
) -> io::Result<Scan> {
    let end = file.bytes()?;
    let mut scan = Scan::new(base_offset, begin);
    let mut headers = Headers::new(file, scan.bytes, end);
    let mut last = None;
    while scan.bytes < end {
        let found = match headers.next() {
            Ok(Some((_, header))) => Ok(header),
            Ok(None) => Err("it ends within a batch".to_owned()),
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let at = scan.bytes;
        match scan.place(file, end, found)? {
            Ok((header, next_offset)) => {
                last = Some(at);
                see(at, &header);
                scan.count(base_offset, &header, next_offset, interval_bytes);
            }
            Err(why) => {
                scan.bad = Some(why);
                return Ok(scan);
            }
        }
    }
    if let Some(at) = last {
        let mut batch = Vec::new();
        scan.bad = read_batch(file, at, end, &mut batch)?.err();
        if scan.bad.is_none() && !crc_matches(&batch) {
            scan.bad = Some("a checksum does not fit".to_owned());
        }
    }
    Ok(scan)
}

/// Where a walk over a segment is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// Where in the file: at a batch.
    pub at: u64,
    /// No batch from there on begins before this offset.
    pub offset: i64,
}

impl Position {
    /// At a segment's first batch.
    pub fn at_start_of(base_offset: i64) -> Position {
        Position {
            at: 0,
            offset: base_offset,
        }
    }
}

/// What a look at some batches says.
pub(super) struct Verified {
    /// Where it ended.
    pub then: Position,
    /// Nothing is left to look at.
    pub is_over: bool,
    /// Offsets that cannot be read, with where in the file and why.
    pub damaged: Vec<(Range<i64>, u64, String)>,
}

/// Looks at batches of a segment that are durable: those in the first `end` bytes that begin before `upper`, about so
/// many bytes of them.
pub(super) fn verify(
    file: &dyn OpenFile,
    from: Position,
    end: u64,
    upper: i64,
    bytes: u64,
) -> io::Result<Verified> {
    let mut scan = Scan::new(
        from.offset,
        Begin {
            at: from.at,
            indexing: Indexing::default(),
            max_timestamp: -1,
            promised: upper,
        },
    );
    scan.knows_offset = true;
    let mut batch = Vec::new();
    while scan.bytes < end && scan.next_offset < upper && scan.bytes - from.at < bytes {
        let at = scan.bytes;
        let found = read_batch(file, at, end, &mut batch)?;
        let whole = found.and_then(|header| match crc_matches(&batch) {
            true => Ok(header),
            false => Err("a checksum does not fit".to_owned()),
        });
        match scan.place(file, end, whole)? {
            Ok((header, next_offset)) => {
                scan.next_offset = next_offset;
                scan.bytes += header.total_bytes() as u64;
            }
            Err(why) => {
                let behind = search(file, at + 1, end, scan.next_offset)?;
                let (then, offset) = behind.map_or((end, upper), |(then, header)| {
                    (then, header.base_offset.min(upper))
                });
                scan.damaged.push((scan.next_offset..offset, at, why));
                scan.next_offset = offset;
                scan.bytes = then;
            }
        }
    }
    Ok(Verified {
        is_over: scan.bytes >= end || scan.next_offset >= upper,
        then: Position {
            at: scan.bytes,
            offset: scan.next_offset,
        },
        damaged: scan.damaged,
    })
}

impl Scan {
    fn new(base_offset: i64, begin: Begin) -> Scan {
        Scan {
            bytes: begin.at,
            next_offset: base_offset,
            promised: begin.promised,
            knows_offset: begin.at == 0,
            max_timestamp: begin.max_timestamp,
            by_offset: Vec::new(),
            by_time: Vec::new(),
            indexing: begin.indexing,
            damaged: Vec::new(),
            bad: None,
        }
    }

    /// The batch that was found there, with the offset behind it; why it is not the next one. No checksum holds for a
    /// batch's offset: one that lies far behind the one before it is held against what follows.
    fn place(
        &self,
        file: &dyn OpenFile,
        end: u64,
        found: Result<BatchHeader, String>,
    ) -> io::Result<Result<(BatchHeader, i64), String>> {
        let header = match found {
            Ok(header) => header,
            Err(why) => return Ok(Err(why)),
        };
        let next_offset = header.last_offset().and_then(|last| last.checked_add(1));
        let in_order = header.base_offset >= self.next_offset && header.last_offset_delta >= 0;
        let Some(next_offset) = next_offset.filter(|_| in_order) else {
            let why = "an offset does not follow the one before it".to_owned();
            return Ok(Err(why));
        };
        let is_gap = self.knows_offset && header.base_offset > self.next_offset;
        if is_gap && self.is_too_far(file, end, &header, next_offset)? {
            return Ok(Err("an offset is not what it was".to_owned()));
        }
        Ok(Ok((header, next_offset)))
    }

    /// Whether a batch that leaves offsets out says a wrong one: compaction leaves out none up to what was promised last,
    /// and what follows a batch lies behind it.
    fn is_too_far(
        &self,
        file: &dyn OpenFile,
        end: u64,
        header: &BatchHeader,
        next_offset: i64,
    ) -> io::Result<bool> {
        if self.next_offset < self.promised && header.base_offset >= self.promised {
            return Ok(true);
        }
        let mut fixed = [0; HEADER_BYTES];
        let at = self.bytes + header.total_bytes() as u64;
        if at + HEADER_BYTES as u64 > end || file.read_at(&mut fixed, at)? < HEADER_BYTES {
            return Ok(false);
        }
        let left_out = self.next_offset..next_offset;
        let follows = BatchHeader::parse_fixed(&fixed);
        Ok(follows.is_ok_and(|header| left_out.contains(&header.base_offset)))
    }

    fn count(
        &mut self,
        base_offset: i64,
        header: &BatchHeader,
        next_offset: i64,
        interval_bytes: u64,
    ) {
        let appending = Appending {
            at: self.bytes,
            bytes: header.total_bytes() as u64,
            offset_delta: next_offset - 1 - base_offset,
            max_timestamp: header.max_timestamp,
        };
        let entries = self.indexing.append(&appending, interval_bytes);
        self.by_offset.extend(entries.by_offset);
        self.by_time.extend(entries.by_time);
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        self.next_offset = next_offset;
        self.knows_offset = true;
        self.bytes += appending.bytes;
    }
}

/// Reads the batch that begins there; why there is none.
fn read_batch(
    file: &dyn OpenFile,
    at: u64,
    end: u64,
    batch: &mut Vec<u8>,
) -> io::Result<Result<BatchHeader, String>> {
    let torn = || Ok(Err("it ends within a batch".to_owned()));
    batch.resize(HEADER_BYTES, 0);
    if at + HEADER_BYTES as u64 > end || file.read_at(batch, at)? < HEADER_BYTES {
        return torn();
    }
    let header = match BatchHeader::parse_fixed(batch) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let bytes = header.total_bytes();
    if at + bytes as u64 > end {
        return torn();
    }
    batch.resize(bytes, 0);
    match file.read_at(&mut batch[HEADER_BYTES..], at + HEADER_BYTES as u64)? {
        n if n < bytes - HEADER_BYTES => torn(),
        _ => Ok(Ok(header)),
    }
}

/// The first whole batch at or behind this place whose offsets lie behind this one.
pub(super) fn search(
    file: &dyn OpenFile,
    mut at: u64,
    end: u64,
    offset: i64,
) -> io::Result<Option<(u64, BatchHeader)>> {
    let mut piece = vec![0; SEARCH_BYTES];
    let mut batch = Vec::new();
    while at + HEADER_BYTES as u64 <= end {
        let read = file.read_at(&mut piece, at)?;
        let Some(starts) = (read + 1).checked_sub(HEADER_BYTES) else {
            return Ok(None);
        };
        for start in 0..starts {
            if piece[start + MAGIC_AT] != MAGIC.cast_unsigned() {
                continue;
            }
            let Ok(header) = BatchHeader::parse_fixed(&piece[start..start + HEADER_BYTES]) else {
                continue;
            };
            let is_near = header.base_offset > offset
                && header.base_offset - offset <= i64::from(i32::MAX)
                && header.last_offset_delta >= 0;
            let place = at + start as u64;
            if is_near && read_batch(file, place, end, &mut batch)?.is_ok() && crc_matches(&batch) {
                return Ok(Some((place, header)));
            }
        }
        at += starts as u64;
    }
    Ok(None)
}
