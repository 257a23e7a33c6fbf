//! Snappy as snappy-java reads it: its own framing of chunks, or else one bare block, which librdkafka and others write.

use super::{Output, Stop, take, take_slice};
use crate::compression::{XERIAL_HEADER_BYTES, XERIAL_MAGIC};

/// A snappy element makes at most 64 bytes out of 3, so a block that promises more than this per byte lies.
const RATIO_MAX: usize = 22;

pub(super) fn inflate(bytes: &[u8], out: &mut Output) -> Result<(), Stop> {
    if !bytes.starts_with(&XERIAL_MAGIC) || bytes.len() < XERIAL_HEADER_BYTES {
        return append_block(bytes, out);
    }
    let mut rest = bytes.get(XERIAL_HEADER_BYTES..).unwrap_or_default();
    // Fewer bytes than a length has are left alone.
    while rest.len() >= 4 {
        // Streams may be joined: every one begins with its own header, whose versions nobody looks at.
        if rest.starts_with(&XERIAL_MAGIC[..4]) {
            let header = take_slice(&mut rest, XERIAL_HEADER_BYTES)?;
            if !header.starts_with(&XERIAL_MAGIC) {
                return Ok(());
            }
            continue;
        }
        let length = i32::from_be_bytes(take(&mut rest)?);
        let length = usize::try_from(length).map_err(|_| Stop::Corrupt)?;
        append_block(take_slice(&mut rest, length)?, out)?;
    }
    Ok(())
}

fn append_block(block: &[u8], out: &mut Output) -> Result<(), Stop> {
    if block.is_empty() {
        return Err(Stop::Corrupt);
    }
    let length = snap::raw::decompress_len(block).map_err(|_| Stop::Corrupt)?;
    if length > block.len().saturating_mul(RATIO_MAX) {
        return Err(Stop::Corrupt);
    }
    let begin = out.bytes.len();
    let end = begin.checked_add(length).ok_or(Stop::TooLarge)?;
    if end > out.max_bytes {
        return Err(Stop::TooLarge);
    }
    out.bytes.resize(end, 0);
    let target = out.bytes.get_mut(begin..).unwrap_or_default();
    match snap::raw::Decoder::new().decompress(block, target) {
        Ok(written) if written == length => Ok(()),
        _ => Err(Stop::Corrupt),
    }
}
