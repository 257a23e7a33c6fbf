//! Reading markers and changing the codec of whole batches.

use std::borrow::Cow;

use super::{
    BatchError, BatchHeader, CONTROL_BIT, HEADER_BYTES, LOG_APPEND_TIME_BIT, OVERHEAD_BYTES,
    Records, TRANSACTIONAL_BIT, record_bytes, seal, varint,
};
use crate::compression::{Codec, LZ4_LEVEL_FAST, compress_onto};

/// What a transaction marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    /// Commit or abort.
    pub commit: bool,
    /// Epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
}

/// The marker in a control batch, unless it is a batch of records or of another kind of control record.
pub fn read_marker(
    batch: &[u8],
    header: &BatchHeader,
) -> Result<Option<EndTransaction>, BatchError> {
    if !header.is_control() {
        return Ok(None);
    }
    let bytes = record_bytes(batch, header, 0)?;
    let Some(record) = Records::new(&bytes, header.record_count).next() else {
        return Ok(None);
    };
    let record = record?;
    // Key: version, type. Value: version, coordinator epoch. Later versions may append fields.
    let key = record.key.and_then(|key| key.first_chunk::<4>());
    let value = record.value.and_then(|value| value.first_chunk::<6>());
    let commit = match key {
        Some([_, _, 0, 0]) => false,
        Some([_, _, 0, 1]) => true,
        _ => return Ok(None),
    };
    let Some([_, _, epoch @ ..]) = value else {
        return Err(BatchError::Truncated);
    };
    Ok(Some(EndTransaction {
        commit,
        coordinator_epoch: i32::from_be_bytes(*epoch),
    }))
}

/// How the records of a rebuilt batch are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The codec.
    pub codec: Codec,
    /// Its level, if not the default.
    pub level: Option<i32>,
}

impl Storage {
    /// Whether compressing takes much longer than copying.
    pub fn is_slow(&self) -> bool {
        match self.codec {
            Codec::Gzip | Codec::Zstd => true,
            Codec::Lz4 => self.level.is_some_and(|level| level != LZ4_LEVEL_FAST),
            Codec::None | Codec::Snappy => false,
        }
    }
}

/// The batch with its inflated `records` in another codec, for topics whose `compression.type` is not the producer's.
/// As when Kafka builds it: bits without a meaning go, and times count from the first record's.
pub fn rebuild(
    header: &BatchHeader,
    records: &[u8],
    storage: Storage,
    log_append_time: bool,
    max_timestamp: i64,
) -> Result<Vec<u8>, BatchError> {
    let mut header = *header;
    let (records, base_timestamp) = rebased(&header, records)?;
    header.attributes &= TRANSACTIONAL_BIT | CONTROL_BIT;
    header.set_codec(storage.codec);
    if log_append_time {
        header.attributes |= LOG_APPEND_TIME_BIT;
    }
    header.base_timestamp = base_timestamp;
    header.max_timestamp = max_timestamp;
    let mut batch = Vec::with_capacity(HEADER_BYTES + records.len());
    batch.resize(HEADER_BYTES, 0);
    compress_onto(storage.codec, storage.level, &records, &mut batch)?;
    finish(&header, &mut batch)?;
    Ok(batch)
}

/// The records with times relative to the first one's, which nearly all producers send already.
fn rebased<'a>(
    header: &BatchHeader,
    records: &'a [u8],
) -> Result<(Cow<'a, [u8]>, i64), BatchError> {
    let walk = || Records::new(records, header.record_count);
    if header.log_append_time() {
        // A producer that claims to be the broker: its records have the time of the batch.
        let mut out = Vec::with_capacity(records.len());
        for record in walk() {
            let record = record?;
            put_record(&mut out, 0, record.offset_delta, record.content);
        }
        return Ok((Cow::Owned(out), header.max_timestamp));
    }
    let first_delta = match walk().next() {
        Some(first) => first?.timestamp_delta,
        None => 0,
    };
    let base_timestamp = header.base_timestamp.wrapping_add(first_delta);
    let mut plain = first_delta == 0;
    for record in walk() {
        plain &= record?.attributes == 0;
    }
    if plain {
        return Ok((Cow::Borrowed(records), base_timestamp));
    }
    let mut out = Vec::with_capacity(records.len());
    for record in walk() {
        let record = record?;
        let delta = record.timestamp_delta.wrapping_sub(first_delta);
        put_record(&mut out, delta, record.offset_delta, record.content);
    }
    Ok((Cow::Owned(out), base_timestamp))
}

/// Appends a record whose key, value and headers are encoded already.
pub(crate) fn put_record(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    content: &[u8],
) {
    // The length stands before what it counts, so the short part is written aside first.
    let mut prefix = [0; 16];
    let mut length = 1;
    length += varint::put_at(&mut prefix[length..], timestamp_delta);
    length += varint::put_at(&mut prefix[length..], i64::from(offset_delta));
    varint::put(out, (length + content.len()) as i64);
    out.extend_from_slice(&prefix[..length]);
    out.extend_from_slice(content);
}

/// Writes `header` before the record bytes in `batch`, whose first [`HEADER_BYTES`] are room for it, with the right
/// length and CRC.
pub(crate) fn finish(header: &BatchHeader, batch: &mut [u8]) -> Result<(), BatchError> {
    let mut header = *header;
    let length = batch.len().checked_sub(OVERHEAD_BYTES);
    let length = length.and_then(|length| i32::try_from(length).ok());
    header.batch_length = length.ok_or(BatchError::TooLong)?;
    let fixed = batch.first_chunk_mut::<HEADER_BYTES>();
    header.write(fixed.ok_or(BatchError::Truncated)?);
    seal(batch);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, NewRecord, crc_matches, end_transaction_marker};

    #[test]
    fn a_marker_says_what_it_was_built_with() {
        for commit in [false, true] {
            let batch = end_transaction_marker(5, 2, 8, commit, 77).unwrap();
            let header = BatchHeader::parse(&batch).unwrap();
            assert_eq!(
                read_marker(&batch, &header),
                Ok(Some(EndTransaction {
                    commit,
                    coordinator_epoch: 8
                }))
            );
        }
    }

    #[test]
    fn a_marker_that_ends_before_its_epoch_is_refused() {
        let batch = BatchBuilder::new()
            .control()
            .record(&NewRecord {
                key: Some(&[0, 0, 0, 1]),
                value: Some(&[0, 0, 0, 0, 0]),
                ..NewRecord::default()
            })
            .build()
            .unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(read_marker(&batch, &header), Err(BatchError::Truncated));
    }

    #[test]
    fn other_batches_are_no_markers() {
        let batch = BatchBuilder::new()
            .record(&NewRecord::default())
            .build()
            .unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(read_marker(&batch, &header), Ok(None));
        let batch = BatchBuilder::new()
            .control()
            .record(&NewRecord {
                key: Some(&[0, 0, 0, 2]),
                ..NewRecord::default()
            })
            .build()
            .unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(read_marker(&batch, &header), Ok(None));
    }

    #[test]
    fn changing_the_codec_changes_nothing_else() {
        let record = NewRecord {
            timestamp: 5,
            value: Some(&[1; 500]),
            ..NewRecord::default()
        };
        let plain = BatchBuilder::new()
            .producer(1, 2, 3)
            .record(&record)
            .build()
            .unwrap();
        let mut batch = plain.clone();
        for codec in Codec::ALL.into_iter().rev() {
            let header = BatchHeader::parse(&batch).unwrap();
            let records = record_bytes(&batch, &header, 1000).unwrap();
            let storage = Storage { codec, level: None };
            batch = rebuild(&header, &records, storage, false, 5).unwrap();
            assert!(crc_matches(&batch));
            let header = BatchHeader::parse(&batch).unwrap();
            assert_eq!(header.compression(), Ok(codec));
        }
        assert_eq!(batch, plain);
    }
    #[test]
    fn a_rebuilt_batch_counts_its_times_from_the_first_record() {
        let mut builder = BatchBuilder::new();
        for timestamp in [900, 1000, 800] {
            builder.push(&NewRecord {
                timestamp,
                ..NewRecord::default()
            });
        }
        let mut batch = builder.build().unwrap();
        // A base that no record has, bits without a meaning, a record with attributes.
        batch[27..35].copy_from_slice(&500i64.to_be_bytes());
        batch[21..23].copy_from_slice(&0x2c0i16.to_be_bytes());
        batch[HEADER_BYTES + 1] = 1;
        let header = BatchHeader::parse(&batch).unwrap();
        let records = &batch[HEADER_BYTES..];
        let storage = Storage {
            codec: Codec::Gzip,
            level: Some(9),
        };
        // The second record comes 100 after the first.
        let mut moved = Vec::new();
        for (n, record) in (0..).zip(Records::new(records, 3)) {
            let delta = record.unwrap().timestamp_delta + 7;
            put_record(&mut moved, delta, n, &[1, 1, 0]);
        }
        let rebuilt = rebuild(&header, &moved, storage, true, 4_000).unwrap();
        assert!(crc_matches(&rebuilt));
        let after = BatchHeader::parse(&rebuilt).unwrap();
        assert_eq!((after.base_timestamp, after.max_timestamp), (507, 4_000));
        assert_eq!(after.attributes, 0x09);
        let bytes = record_bytes(&rebuilt, &after, 1000).unwrap();
        let records: Vec<_> = Records::new(&bytes, 3).map(Result::unwrap).collect();
        let deltas: Vec<_> = records.iter().map(|r| r.timestamp_delta).collect();
        assert_eq!(deltas, [0, 100, -100]);
        assert!(records.iter().all(|record| record.attributes == 0));
    }
    #[test]
    fn records_of_a_batch_that_claims_the_append_time_get_it() {
        let mut builder = BatchBuilder::new().log_append_time(70);
        for timestamp in [50, 10] {
            builder.push(&NewRecord {
                timestamp,
                ..NewRecord::default()
            });
        }
        let batch = builder.build().unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        let storage = Storage {
            codec: Codec::None,
            level: None,
        };
        let rebuilt = rebuild(&header, &batch[HEADER_BYTES..], storage, false, 70).unwrap();
        let after = BatchHeader::parse(&rebuilt).unwrap();
        assert!(!after.log_append_time());
        assert_eq!(after.base_timestamp, 70);
        let records = Records::new(&rebuilt[HEADER_BYTES..], 2);
        let times = records.map(|record| after.timestamp_of(&record.unwrap()));
        assert_eq!(times.collect::<Vec<_>>(), [Some(70), Some(70)]);
    }
}
