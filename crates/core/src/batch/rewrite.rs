//! Reading markers and changing the codec of whole batches.

use super::builder::encode;
use super::{BatchError, BatchHeader, CODEC_BITS, Records, record_bytes};
use crate::compression::{Codec, compress};

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

/// The same batch with its records in another codec: for topics whose `compression.type` is not the producer's.
pub fn recompress(
    batch: &[u8],
    header: &BatchHeader,
    codec: Codec,
    level: Option<i32>,
    inflate_bytes_max: usize,
) -> Result<Vec<u8>, BatchError> {
    let records = record_bytes(batch, header, inflate_bytes_max)?;
    let mut header = *header;
    header.attributes = header.attributes & !CODEC_BITS | i16::from(codec.id());
    match codec {
        Codec::None => encode(header, &records),
        codec => encode(header, &compress(codec, level, &records)?),
    }
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
            batch = recompress(&batch, &header, codec, None, 1000).unwrap();
            assert!(crc_matches(&batch));
            let header = BatchHeader::parse(&batch).unwrap();
            assert_eq!(header.compression(), Ok(codec));
        }
        assert_eq!(batch, plain);
    }
}
