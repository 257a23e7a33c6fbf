//! Finding records by time inside one batch (ListOffsets). Which batch to look into is the engine's question.

use crate::batch::{BatchError, BatchHeader, Records, record_bytes};
use crate::compression::InflateLimits;

/// A record's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp.
    pub timestamp: i64,
}

/// The first record at or after `offset_min` whose time is at least `target`.
pub fn first_at_or_after(
    batch: &[u8],
    target: i64,
    offset_min: i64,
    limits: InflateLimits,
) -> Result<Option<TimestampedOffset>, BatchError> {
    // A batch is only inflated if what is looked for may be in it.
    let header = BatchHeader::parse(batch)?;
    if header.max_timestamp < target || header.last_offset().is_some_and(|last| last < offset_min) {
        return Ok(None);
    }
    let mut found = None;
    walk(batch, limits, |record| {
        if record.timestamp >= target && record.offset >= offset_min {
            found = Some(record);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// The first of the records with the latest time.
pub fn latest(
    batch: &[u8],
    limits: InflateLimits,
) -> Result<Option<TimestampedOffset>, BatchError> {
    let mut latest: Option<TimestampedOffset> = None;
    walk(batch, limits, |record| {
        if latest.is_none_or(|latest| record.timestamp > latest.timestamp) {
            latest = Some(record);
        }
        true
    })?;
    Ok(latest)
}

fn walk(
    batch: &[u8],
    limits: InflateLimits,
    mut visit: impl FnMut(TimestampedOffset) -> bool,
) -> Result<(), BatchError> {
    let header = BatchHeader::parse(batch)?;
    let bytes = record_bytes(batch, &header, limits.batch_bytes_max)?;
    for record in Records::of(&header, &bytes, limits) {
        let record = record?;
        let more = visit(TimestampedOffset {
            offset: header.offset_of(&record).ok_or(BatchError::Overflow)?,
            timestamp: header.timestamp_of(&record).ok_or(BatchError::Overflow)?,
        });
        if !more {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, NewRecord, set_base_offset};
    use crate::compression::Codec;

    fn batch(builder: BatchBuilder) -> Vec<u8> {
        let mut builder = builder.base_offset(100);
        for timestamp in [50, 10, 70, 70, 20] {
            builder.push(&NewRecord {
                timestamp,
                ..NewRecord::default()
            });
        }
        builder.build().unwrap()
    }

    fn at(offset: i64, timestamp: i64) -> Option<TimestampedOffset> {
        Some(TimestampedOffset { offset, timestamp })
    }

    #[test]
    fn the_first_record_late_enough_is_found_in_every_codec() {
        for codec in Codec::ALL {
            let batch = batch(BatchBuilder::new().compression(codec, None));
            let find = |target, from| {
                first_at_or_after(&batch, target, from, InflateLimits::default()).unwrap()
            };
            assert_eq!(find(0, 0), at(100, 50));
            assert_eq!(find(51, 0), at(102, 70));
            assert_eq!(find(51, 103), at(103, 70));
            assert_eq!(find(71, 0), None);
            assert_eq!(latest(&batch, InflateLimits::default()), Ok(at(102, 70)));
        }
    }

    #[test]
    fn all_records_of_a_log_append_time_batch_share_its_time() {
        let batch = batch(BatchBuilder::new().log_append_time(1000));
        assert_eq!(
            first_at_or_after(&batch, 999, 0, InflateLimits::default()),
            Ok(at(100, 1000))
        );
        assert_eq!(latest(&batch, InflateLimits::default()), Ok(at(100, 1000)));
    }

    #[test]
    fn times_past_the_end_of_time_are_an_error() {
        let mut batch = batch(BatchBuilder::new());
        batch[27..35].copy_from_slice(&i64::MIN.to_be_bytes());
        assert_eq!(
            latest(&batch, InflateLimits::default()),
            Err(BatchError::Overflow)
        );
    }

    #[test]
    fn offsets_past_the_last_there_is_are_an_error() {
        let mut batch = batch(BatchBuilder::new());
        set_base_offset(&mut batch, i64::MAX - 4);
        let latest_of = |batch: &[u8]| latest(batch, InflateLimits::default());
        assert_eq!(latest_of(&batch), Ok(at(i64::MAX - 2, 70)));
        set_base_offset(&mut batch, i64::MAX - 3);
        assert_eq!(latest_of(&batch), Err(BatchError::Overflow));
    }
}
