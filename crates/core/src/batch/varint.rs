//! Zigzag varints of records: at most five bytes for 32 bits and ten for 64, and no bit lost.

use super::BatchError;

/// Takes a zigzag varint of 32 bits off the front.
#[inline]
pub(super) fn take_i32(bytes: &mut &[u8]) -> Result<i32, BatchError> {
    if let Some(value) = take_short(bytes) {
        return Ok(value);
    }
    let raw = take_unsigned(bytes, 5)?;
    let raw = u32::try_from(raw).map_err(|_| BatchError::Varint)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Takes a zigzag varint of 64 bits off the front.
#[inline]
pub(super) fn take_i64(bytes: &mut &[u8]) -> Result<i64, BatchError> {
    if let Some(value) = take_short(bytes) {
        return Ok(i64::from(value));
    }
    let raw = take_unsigned(bytes, 10)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// One or two bytes are by far the most common lengths.
#[inline]
fn take_short(bytes: &mut &[u8]) -> Option<i32> {
    let (raw, rest) = match **bytes {
        [first, ref rest @ ..] if first < 0x80 => (i32::from(first), rest),
        [first, second, ref rest @ ..] if second < 0x80 => {
            (i32::from(first & 0x7f) | i32::from(second) << 7, rest)
        }
        _ => return None,
    };
    *bytes = rest;
    Some((raw >> 1) ^ -(raw & 1))
}

fn take_unsigned(bytes: &mut &[u8], bytes_max: usize) -> Result<u64, BatchError> {
    let mut value: u64 = 0;
    for (index, &byte) in bytes.iter().take(bytes_max).enumerate() {
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if index == 9 && part > 1 {
            return Err(BatchError::Varint);
        }
        value |= part << (7 * index);
        if byte < 0x80 {
            *bytes = bytes.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    if bytes.len() < bytes_max {
        return Err(BatchError::Truncated);
    }
    Err(BatchError::Varint)
}

/// What a number takes at most.
pub(super) const BYTES_MAX: usize = 10;

/// Appends `value` as a zigzag varint.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes `value` to the front of `out`, which has room for it; how many bytes it took.
pub(super) fn put_at(out: &mut [u8], value: i64) -> usize {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut at = 0;
    while rest >= 0x80 {
        out[at] = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    out[at] = rest as u8;
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        for value in (-20_000..20_000).chain([1 << 40, i64::MAX, i64::MIN]) {
            let mut out = Vec::new();
            put(&mut out, value);
            let mut rest = &out[..];
            assert_eq!(take_i64(&mut rest), Ok(value));
            assert!(rest.is_empty());
        }
        for value in (-20_000..20_000).chain([1 << 27, i32::MAX, i32::MIN]) {
            let mut out = Vec::new();
            put(&mut out, i64::from(value));
            assert_eq!(take_i32(&mut &out[..]), Ok(value));
        }
    }

    #[test]
    fn overlong_and_cut_varints_are_refused() {
        // Zero, in one byte more than any number takes.
        for (bytes, take_too_long) in [(5, 32), (10, 64)] {
            let mut long = vec![0x80; bytes];
            long.push(0);
            let mut rest = &long[..];
            let read = match take_too_long {
                32 => take_i32(&mut rest).map(i64::from),
                _ => take_i64(&mut rest),
            };
            assert_eq!(read, Err(BatchError::Varint));
        }
        // A bit more than fits.
        let lost = [0x80, 0x80, 0x80, 0x80, 0x10];
        assert_eq!(take_i32(&mut &lost[..]), Err(BatchError::Varint));
        let mut lost = [0x80; 10];
        lost[9] = 2;
        assert_eq!(take_i64(&mut &lost[..]), Err(BatchError::Varint));
        assert_eq!(take_i32(&mut &[0x80][..]), Err(BatchError::Truncated));
        assert_eq!(take_i64(&mut &[][..]), Err(BatchError::Truncated));
    }
}
