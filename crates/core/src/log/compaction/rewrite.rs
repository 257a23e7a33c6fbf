//! Writes what is left of a batch: same base offset, same last offset, same producer and sequence.

use std::borrow::Cow;

use crate::batch::{self, BatchError, BatchHeader, HEADER_BYTES, Record};
use crate::compression::{Codec, compress};

/// Bounds of what is written.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// A larger batch is split where it has more than one record.
    pub(super) batch_bytes_max: usize,
}

/// Appends a batch of the `kept` records to `out`, or several if one would be too large.
pub(super) fn rewrite(
    header: &BatchHeader,
    bytes: &[u8],
    kept: &[Record<'_>],
    delete_horizon_ms: Option<i64>,
    limits: Limits,
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let Some(first) = kept.first() else {
        return write_empty(header, out);
    };
    let base_timestamp = match delete_horizon_ms {
        Some(horizon) => horizon,
        None => timestamp_of(header, first)?,
    };
    let mut max_timestamp = i64::MIN;
    let begin = out.len();
    out.resize(begin + HEADER_BYTES, 0);
    for record in kept {
        let timestamp = timestamp_of(header, record)?;
        max_timestamp = max_timestamp.max(timestamp);
        let delta = timestamp.wrapping_sub(base_timestamp);
        if delta == record.timestamp_delta && record.attributes == 0 {
            let as_it_is = bytes.get(record.range.clone());
            out.extend_from_slice(as_it_is.ok_or(BatchError::Truncated)?);
        } else {
            batch::put_record(out, delta, record.offset_delta, record.content);
        }
    }
    let codec = header.compression()?;
    if codec != Codec::None {
        let records = out.get(begin + HEADER_BYTES..).unwrap_or_default();
        let packed = compress(codec, None, records)?;
        out.truncate(begin + HEADER_BYTES);
        out.extend_from_slice(&packed);
    }
    if out.len() - begin > limits.batch_bytes_max && kept.len() > 1 {
        out.truncate(begin);
        return split(header, bytes, kept, delete_horizon_ms, limits, out);
    }
    let mut header = *header;
    header.base_timestamp = base_timestamp;
    if !header.log_append_time() {
        header.max_timestamp = max_timestamp;
    }
    header.record_count = i32::try_from(kept.len()).map_err(|_| BatchError::TooLong)?;
    header.set_delete_horizon(delete_horizon_ms.is_some());
    batch::finish(&header, out.get_mut(begin..).unwrap_or_default())
}

/// Appends the batch without records, which still tells the producer's epoch and sequence.
pub(super) fn write_empty(header: &BatchHeader, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let mut header = *header;
    header.base_timestamp = -1;
    header.record_count = 0;
    header.set_codec(Codec::None);
    header.set_delete_horizon(false);
    let begin = out.len();
    out.resize(begin + HEADER_BYTES, 0);
    batch::finish(&header, out.get_mut(begin..).unwrap_or_default())
}

/// Two batches in the place of one. Offsets, sequences and the gaps between them stay what they were.
fn split(
    header: &BatchHeader,
    bytes: &[u8],
    kept: &[Record<'_>],
    delete_horizon_ms: Option<i64>,
    limits: Limits,
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let (front, back) = kept.split_at(kept.len() / 2);
    let cut = back.first().ok_or(BatchError::Overflow)?.offset_delta;
    let mut front_header = *header;
    front_header.last_offset_delta = cut.checked_sub(1).ok_or(BatchError::Overflow)?;
    rewrite(&front_header, bytes, front, delete_horizon_ms, limits, out)?;
    let mut back_header = *header;
    back_header.base_offset = header
        .base_offset
        .checked_add(i64::from(cut))
        .ok_or(BatchError::Overflow)?;
    let last = header.last_offset_delta.checked_sub(cut);
    back_header.last_offset_delta = last.ok_or(BatchError::Overflow)?;
    if header.base_sequence >= 0 {
        let sequence = (i64::from(header.base_sequence) + i64::from(cut)).rem_euclid(1 << 31);
        back_header.base_sequence = i32::try_from(sequence).map_err(|_| BatchError::Overflow)?;
    }
    // Deltas count from the new base, so the records are encoded once more.
    let mut moved = Vec::new();
    let mut ranges = Vec::with_capacity(back.len());
    for record in back {
        let from = moved.len();
        let offset_delta = record.offset_delta.checked_sub(cut);
        let offset_delta = offset_delta.ok_or(BatchError::Overflow)?;
        batch::put_record(
            &mut moved,
            record.timestamp_delta,
            offset_delta,
            record.content,
        );
        ranges.push((from..moved.len(), offset_delta));
    }
    let back: Vec<_> = back
        .iter()
        .zip(ranges)
        .map(|(record, (range, offset_delta))| Record {
            attributes: 0,
            offset_delta,
            range,
            ..record.clone()
        })
        .collect();
    let moved = Cow::<[u8]>::Owned(moved);
    rewrite(&back_header, &moved, &back, delete_horizon_ms, limits, out)
}

fn timestamp_of(header: &BatchHeader, record: &Record<'_>) -> Result<i64, BatchError> {
    header.timestamp_of(record).ok_or(BatchError::Overflow)
}
