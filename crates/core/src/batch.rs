//! Record batches of format 2: the header, patching it in place, walking and building records. Decides nothing about them.

mod builder;
mod records;
mod rewrite;
mod varint;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub use builder::{BatchBuilder, NewRecord, end_transaction_marker};
pub use records::{HeaderIter, Headers, Record, Records};
pub use rewrite::{EndTransaction, Storage, read_marker, rebuild};
pub(crate) use rewrite::{finish, put_record};

use crate::compression::{Codec, CompressionError, decompress};
use crate::error::{ErrorCode, Refusal};

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length: the bytes that the length does not count.
pub const OVERHEAD_BYTES: usize = 12;
/// The only format still written since Kafka 4.
pub const MAGIC: i8 = 2;

const LENGTH_AT: usize = 8;
const LEADER_EPOCH_AT: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const RECORD_COUNT_AT: usize = 57;

const CODEC_BITS: i16 = 0x07;
const LOG_APPEND_TIME_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

/// Why bytes are not a well-formed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Bytes end before what they announce.
    Truncated,
    /// The batch's length is smaller than its own header.
    Length(i32),
    /// Not format 2.
    Magic(i8),
    /// A varint that is too long.
    Varint,
    /// A length or count below zero where none may be.
    NegativeLength,
    /// More headers than bytes for them.
    HeaderCount,
    /// Bytes left over after the last record or field.
    TrailingBytes,
    /// An id outside the codecs of Kafka.
    UnknownCodec(u8),
    /// Records that cannot be inflated.
    Compression(CompressionError),
    /// An offset or timestamp past the end of its range.
    Overflow,
    /// Longer than a length can say.
    TooLong,
    /// A record of a compressed batch that is larger than allowed.
    RecordTooLarge {
        /// Its size.
        bytes: usize,
        /// The bound that was given.
        max_bytes: usize,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Truncated => f.write_str("the batch ends early"),
            BatchError::Length(length) => write!(f, "{length} cannot be a batch's length"),
            BatchError::Magic(magic) => write!(f, "batches have format 2, not {magic}"),
            BatchError::Varint => f.write_str("a varint is too long"),
            BatchError::NegativeLength => f.write_str("a length is negative"),
            BatchError::HeaderCount => f.write_str("more headers are announced than can be there"),
            BatchError::TrailingBytes => f.write_str("bytes are left over"),
            BatchError::UnknownCodec(id) => write!(f, "no codec has the id {id}"),
            BatchError::Compression(error) => error.fmt(f),
            BatchError::Overflow => f.write_str("an offset or timestamp is out of range"),
            BatchError::TooLong => f.write_str("the batch is too long"),
            BatchError::RecordTooLarge { bytes, max_bytes } => {
                write!(
                    f,
                    "a record inflates to {bytes} bytes and max.decompressed.message.bytes is {max_bytes}"
                )
            }
        }
    }
}

impl std::error::Error for BatchError {}

impl From<CompressionError> for BatchError {
    fn from(error: CompressionError) -> Self {
        BatchError::Compression(error)
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let code = match &error {
            BatchError::UnknownCodec(_) => ErrorCode::UnsupportedCompressionType,
            // A producer splits a batch that is too large and tries again.
            BatchError::Compression(CompressionError::TooLarge { .. }) | BatchError::TooLong => {
                ErrorCode::MessageTooLarge
            }
            // Kafka trips over what its readers cannot read and says no more than that.
            BatchError::Compression(CompressionError::Corrupt(_)) => ErrorCode::UnknownServerError,
            _ => ErrorCode::InvalidRecord,
        };
        Refusal::new(code, error.to_string())
    }
}

/// What the first 61 bytes of a batch say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes that follow this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: i32,
    /// Format, always 2.
    pub magic: i8,
    /// CRC-32C of all that follows this field.
    pub crc: u32,
    /// Codec, kind of timestamp, transactional, control, delete horizon.
    pub attributes: i16,
    /// Offset of the last record minus that of the first.
    pub last_offset_delta: i32,
    /// What timestamp deltas are relative to.
    pub base_timestamp: i64,
    /// The latest timestamp in the batch, or when it was appended.
    pub max_timestamp: i64,
    /// Who wrote it, -1 without idempotence.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 without idempotence.
    pub base_sequence: i32,
    /// How many records there are.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header of the batch that `bytes` begin with and that fits in them.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::parse_fixed(bytes)?;
        if header.total_bytes() > bytes.len() {
            return Err(BatchError::Truncated);
        }
        Ok(header)
    }

    /// Reads a header of which perhaps nothing more is at hand.
    pub fn parse_fixed(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let fixed = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(BatchError::Truncated)?;
        let header = BatchHeader::read(fixed);
        if header.magic != MAGIC {
            return Err(BatchError::Magic(header.magic));
        }
        match usize::try_from(header.batch_length) {
            Ok(length) if length >= HEADER_BYTES - OVERHEAD_BYTES => {}
            _ => return Err(BatchError::Length(header.batch_length)),
        }
        Ok(header)
    }

    fn read(fixed: &[u8; HEADER_BYTES]) -> BatchHeader {
        BatchHeader {
            base_offset: i64::from_be_bytes(field(fixed, 0)),
            batch_length: i32::from_be_bytes(field(fixed, LENGTH_AT)),
            partition_leader_epoch: i32::from_be_bytes(field(fixed, LEADER_EPOCH_AT)),
            magic: i8::from_be_bytes(field(fixed, MAGIC_AT)),
            crc: u32::from_be_bytes(field(fixed, CRC_AT)),
            attributes: i16::from_be_bytes(field(fixed, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(field(fixed, LAST_OFFSET_DELTA_AT)),
            base_timestamp: i64::from_be_bytes(field(fixed, BASE_TIMESTAMP_AT)),
            max_timestamp: i64::from_be_bytes(field(fixed, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(field(fixed, PRODUCER_ID_AT)),
            producer_epoch: i16::from_be_bytes(field(fixed, PRODUCER_EPOCH_AT)),
            base_sequence: i32::from_be_bytes(field(fixed, BASE_SEQUENCE_AT)),
            record_count: i32::from_be_bytes(field(fixed, RECORD_COUNT_AT)),
        }
    }

    fn write(&self, fixed: &mut [u8; HEADER_BYTES]) {
        put(fixed, 0, self.base_offset.to_be_bytes());
        put(fixed, LENGTH_AT, self.batch_length.to_be_bytes());
        put(
            fixed,
            LEADER_EPOCH_AT,
            self.partition_leader_epoch.to_be_bytes(),
        );
        put(fixed, MAGIC_AT, self.magic.to_be_bytes());
        put(fixed, CRC_AT, self.crc.to_be_bytes());
        put(fixed, ATTRIBUTES_AT, self.attributes.to_be_bytes());
        put(
            fixed,
            LAST_OFFSET_DELTA_AT,
            self.last_offset_delta.to_be_bytes(),
        );
        put(fixed, BASE_TIMESTAMP_AT, self.base_timestamp.to_be_bytes());
        put(fixed, MAX_TIMESTAMP_AT, self.max_timestamp.to_be_bytes());
        put(fixed, PRODUCER_ID_AT, self.producer_id.to_be_bytes());
        put(fixed, PRODUCER_EPOCH_AT, self.producer_epoch.to_be_bytes());
        put(fixed, BASE_SEQUENCE_AT, self.base_sequence.to_be_bytes());
        put(fixed, RECORD_COUNT_AT, self.record_count.to_be_bytes());
    }

    /// The whole batch, header included.
    pub fn total_bytes(&self) -> usize {
        usize::try_from(self.batch_length)
            .unwrap_or(0)
            .saturating_add(OVERHEAD_BYTES)
    }

    /// The offset of the last record, if there is such an offset.
    pub fn last_offset(&self) -> Option<i64> {
        self.base_offset
            .checked_add(i64::from(self.last_offset_delta))
    }

    /// The sequence of the last record: after 2^31-1 comes 0. -1 where the batch has no sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        i32::try_from(last.rem_euclid(1 << 31)).unwrap_or(0)
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Result<Codec, BatchError> {
        let id = (self.attributes & CODEC_BITS) as u8;
        Codec::from_id(id).ok_or(BatchError::UnknownCodec(id))
    }

    /// Whether the codec bits say anything but "none".
    pub fn is_compressed(&self) -> bool {
        self.attributes & CODEC_BITS != 0
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch holds markers, which consumers never see.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether every record's time is the batch's `max_timestamp`.
    pub fn log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_BIT != 0
    }

    /// Whether `base_timestamp` says when tombstones may go (set by compaction).
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// Names another codec.
    pub(crate) fn set_codec(&mut self, codec: Codec) {
        self.attributes = self.attributes & !CODEC_BITS | i16::from(codec.id());
    }

    /// Says whether `base_timestamp` is when tombstones may go.
    pub(crate) fn set_delete_horizon(&mut self, has: bool) {
        self.attributes &= !DELETE_HORIZON_BIT;
        if has {
            self.attributes |= DELETE_HORIZON_BIT;
        }
    }

    /// Whether an idempotent or transactional producer wrote it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    /// The offset of a record of this batch.
    pub fn offset_of(&self, record: &Record<'_>) -> Option<i64> {
        self.base_offset.checked_add(i64::from(record.offset_delta))
    }

    /// The time of a record of this batch.
    pub fn timestamp_of(&self, record: &Record<'_>) -> Option<i64> {
        if self.log_append_time() {
            return Some(self.max_timestamp);
        }
        self.base_timestamp.checked_add(record.timestamp_delta)
    }
}

/// Whether the batch, which must be all of `batch`, is what its CRC says.
pub fn crc_matches(batch: &[u8]) -> bool {
    match (
        batch.first_chunk::<HEADER_BYTES>(),
        batch.get(ATTRIBUTES_AT..),
    ) {
        (Some(fixed), Some(covered)) => {
            u32::from_be_bytes(field(fixed, CRC_AT)) == crc32c::crc32c(covered)
        }
        _ => false,
    }
}

/// The records of `batch`, inflated to at most `inflate_bytes_max` if they are compressed.
pub fn record_bytes<'a>(
    batch: &'a [u8],
    header: &BatchHeader,
    inflate_bytes_max: usize,
) -> Result<Cow<'a, [u8]>, BatchError> {
    let records = batch
        .get(HEADER_BYTES..header.total_bytes())
        .ok_or(BatchError::Truncated)?;
    match header.compression()? {
        Codec::None => Ok(Cow::Borrowed(records)),
        codec => Ok(Cow::Owned(decompress(codec, records, inflate_bytes_max)?)),
    }
}

/// A walk over batches that lie one behind the other: each one's header and place. Ends with the first that cannot be
/// delimited, which is told as an error.
pub fn batches(
    bytes: &[u8],
) -> impl Iterator<Item = Result<(BatchHeader, Range<usize>), BatchError>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let from = at;
        match BatchHeader::parse(rest) {
            Ok(header) => {
                at += header.total_bytes();
                Some(Ok((header, from..at)))
            }
            Err(error) => {
                at = bytes.len();
                Some(Err(error))
            }
        }
    })
}

/// Writes the offset of the first record, which the CRC does not cover.
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    put(header_mut(batch), 0, base_offset.to_be_bytes());
}

/// Writes the leader's epoch, which the CRC does not cover.
pub fn set_leader_epoch(batch: &mut [u8], leader_epoch: i32) {
    put(
        header_mut(batch),
        LEADER_EPOCH_AT,
        leader_epoch.to_be_bytes(),
    );
}

/// Writes the kind of timestamp and the latest one; computes the CRC again only if that changed anything.
/// `batch` must be exactly one batch.
pub fn set_max_timestamp(batch: &mut [u8], log_append_time: bool, max_timestamp: i64) {
    let fixed = header_mut(batch);
    let before = BatchHeader::read(fixed);
    if before.log_append_time() == log_append_time && before.max_timestamp == max_timestamp {
        return;
    }
    // Bits without a meaning go when Kafka writes attributes.
    let kept =
        before.attributes & (CODEC_BITS | TRANSACTIONAL_BIT | CONTROL_BIT | DELETE_HORIZON_BIT);
    let attributes = if log_append_time {
        kept | LOG_APPEND_TIME_BIT
    } else {
        kept
    };
    put(fixed, ATTRIBUTES_AT, attributes.to_be_bytes());
    put(fixed, MAX_TIMESTAMP_AT, max_timestamp.to_be_bytes());
    seal(batch);
}

fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(batch.get(ATTRIBUTES_AT..).unwrap_or_default());
    put(header_mut(batch), CRC_AT, crc.to_be_bytes());
}

fn header_mut(batch: &mut [u8]) -> &mut [u8; HEADER_BYTES] {
    batch
        .first_chunk_mut()
        .expect("only batches whose header was read are patched")
}

/// The `N` bytes at `at`, which is one of the constants above.
fn field<const N: usize>(fixed: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&fixed[at..at + N]);
    out
}

fn put<const N: usize>(fixed: &mut [u8; HEADER_BYTES], at: usize, bytes: [u8; N]) {
    fixed[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests;
