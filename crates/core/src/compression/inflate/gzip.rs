//! RFC 1952 as `java.util.zip.GZIPInputStream` reads it.
//!
//! Members may follow each other. What stands behind a member and does not begin like another one is left alone, and
//! so is what is too short to be one, if the reader has all of it in its buffer already.

use super::{Output, Stop, take, take_slice};
use flate2::{Crc, Decompress, FlushDecompress, Status};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const HEADER_CRC: u8 = 0x02;
const EXTRA: u8 = 0x04;
const NAME: u8 = 0x08;
const COMMENT: u8 = 0x10;
const TRAILER_BYTES: usize = 8;
/// Kafka's reader takes so much from its source at a time, from the end of the first header on.
const BUFFER_BYTES: usize = 8 * 1024;
/// A trailer, and the shortest header and trailer that may follow.
const LEFT_BYTES_MIN: usize = TRAILER_BYTES + 10 + TRAILER_BYTES;

pub(super) fn inflate(bytes: &[u8], out: &mut Output) -> Result<(), Stop> {
    let mut at = header(bytes)?;
    let mut buffered_from = at;
    loop {
        let begin = out.bytes.len();
        at += deflated(bytes.get(at..).unwrap_or_default(), out)?;
        let mut rest = bytes.get(at..).unwrap_or_default();
        trailer(&mut rest, out.bytes.get(begin..).unwrap_or_default())?;
        let buffer_end = buffered_from + (at - buffered_from).next_multiple_of(BUFFER_BYTES);
        let has_all = buffer_end.max(at + TRAILER_BYTES) >= bytes.len();
        if has_all && bytes.len() - at <= LEFT_BYTES_MIN {
            return Ok(());
        }
        at += TRAILER_BYTES;
        let Ok(header_bytes) = header(rest) else {
            return Ok(());
        };
        at += header_bytes;
        if at > buffer_end {
            buffered_from = at;
        }
    }
}

/// The length of a member's header. Flags without a meaning are not looked at.
fn header(bytes: &[u8]) -> Result<usize, Stop> {
    let mut rest = bytes;
    let [first, second, method, flags, ..] = take::<10>(&mut rest)?;
    if [first, second] != MAGIC || method != DEFLATE {
        return Err(Stop::Corrupt);
    }
    if flags & EXTRA != 0 {
        let length = u16::from_le_bytes(take(&mut rest)?);
        take_slice(&mut rest, usize::from(length))?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0);
            take_slice(&mut rest, end.ok_or(Stop::Corrupt)? + 1)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        let covered = bytes.len() - rest.len();
        let mut crc = Crc::new();
        crc.update(bytes.get(..covered).unwrap_or_default());
        if take(&mut rest)? != (crc.sum() as u16).to_le_bytes() {
            return Err(Stop::Corrupt);
        }
    }
    Ok(bytes.len() - rest.len())
}

/// Inflates one member; how many bytes it takes.
fn deflated(bytes: &[u8], out: &mut Output) -> Result<usize, Stop> {
    let mut inflater = Decompress::new(false);
    loop {
        out.reserve_step();
        let taken = inflater.total_in() as usize;
        let input = bytes.get(taken..).unwrap_or_default();
        let before = (taken, out.bytes.len());
        let status = inflater
            .decompress_vec(input, &mut out.bytes, FlushDecompress::None)
            .map_err(|_| Stop::Corrupt)?;
        out.check()?;
        let taken = inflater.total_in() as usize;
        match status {
            Status::StreamEnd => return Ok(taken),
            Status::Ok | Status::BufError if (taken, out.bytes.len()) == before => {
                return Err(Stop::Corrupt);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

/// Takes a member's trailer off and checks it.
fn trailer(rest: &mut &[u8], inflated: &[u8]) -> Result<(), Stop> {
    let mut crc = Crc::new();
    crc.update(inflated);
    let sum = u32::from_le_bytes(take(rest)?);
    let size = u32::from_le_bytes(take(rest)?);
    if sum == crc.sum() && size == inflated.len() as u32 {
        Ok(())
    } else {
        Err(Stop::Corrupt)
    }
}
