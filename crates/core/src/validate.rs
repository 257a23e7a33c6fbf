//! What a broker checks of a client's records before they may be appended, in Kafka's order. Knows no partition state.

mod trust;

pub use trust::{ASKED_AGAIN_EVERY, HeaderTrust, PROVING_REQUESTS};

use crate::batch::{
    self, BatchError, BatchHeader, HEADER_BYTES, MAGIC, MAGIC_AT, OVERHEAD_BYTES, Record, Records,
    Storage, rebuild, record_bytes,
};
use crate::compression::{Codec, CompressionError, InflateLimits};
use crate::error::{ErrorCode, Refusal};
use crate::time::Now;

/// Records named in one refusal; a batch of a million bad ones is refused just the same.
const RECORD_ERRORS_MAX: usize = 1000;
/// The smallest length any format can have; below it Kafka calls the bytes corrupt rather than invalid.
const LENGTH_MIN: i32 = 14;

/// Whether compressed batches are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inflate {
    /// Only where the topic needs keys, and where the header cannot be true.
    IfNeeded,
    /// Also to see whether the header is true, unless that takes more than the limits allow.
    ToProve,
    /// Always, as Kafka does.
    Always,
}

/// What the topic and the request demand of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchRules {
    /// Version of the Produce request.
    pub produce_version: i16,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// `segment.bytes`.
    pub segment_bytes: usize,
    /// Whether `cleanup.policy` has `compact`, so that every record needs a key.
    pub compacted: bool,
    /// Whether `message.timestamp.type` is LogAppendTime.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_max_ms: i64,
    /// How batches are stored (`compression.type`); nothing: as their producer compressed them.
    pub storage: Option<Storage>,
    /// Whether to look into compressed batches.
    pub inflate: Inflate,
    /// More than this is never inflated.
    pub limits: InflateLimits,
}

impl Default for BatchRules {
    /// Kafka's defaults, for the newest Produce.
    fn default() -> Self {
        BatchRules {
            produce_version: i16::MAX,
            max_message_bytes: 1_048_588,
            segment_bytes: 1 << 30,
            compacted: false,
            log_append_time: false,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
            storage: None,
            inflate: Inflate::IfNeeded,
            limits: InflateLimits::default(),
        }
    }
}

/// A batch that may be offered to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The header, after its timestamp was set.
    pub header: BatchHeader,
    /// The latest timestamp in the batch, or the append time.
    pub max_timestamp: i64,
    /// Offset delta of the first record with that timestamp, if the records were walked.
    pub offset_of_max_timestamp: Option<i32>,
    /// For the answer: the append time, or -1 where producers set the time.
    pub log_append_time_ms: i64,
    /// Whether the header was trusted instead of walking the records.
    pub shallow: bool,
    /// Whether the records were walked and the largest timestamp is not what the header of a compressed batch said.
    pub untrue: bool,
    /// The batch in the topic's codec, to be appended in the place of what the producer sent.
    pub rebuilt: Option<Vec<u8>>,
}

/// A batch that is refused, and which of its records are to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Error and message of the partition.
    pub refusal: Refusal,
    /// Index within the batch and message of each bad record (Produce v8 on).
    pub record_errors: Vec<(i32, Option<String>)>,
}

impl From<Refusal> for Invalid {
    fn from(refusal: Refusal) -> Self {
        Invalid {
            refusal,
            record_errors: Vec::new(),
        }
    }
}

impl From<BatchError> for Invalid {
    fn from(error: BatchError) -> Self {
        Refusal::from(error).into()
    }
}

fn invalid<T>(code: ErrorCode, message: &'static str) -> Result<T, Invalid> {
    Err(Refusal::new(code, message).into())
}

/// The checks that come before the topic is even looked at: one whole batch of format 2 that this version may carry.
pub fn validate_shape(records: &[u8], produce_version: i16) -> Result<BatchHeader, Invalid> {
    const NO_BATCH: &str = "the request has no complete record batch for the partition";
    let Some([.., a, b, c, d]) = records.first_chunk::<OVERHEAD_BYTES>() else {
        return invalid(ErrorCode::InvalidRecord, NO_BATCH);
    };
    let length = i32::from_be_bytes([*a, *b, *c, *d]);
    if length < LENGTH_MIN {
        return invalid(
            ErrorCode::CorruptMessage,
            "the batch is shorter than any can be",
        );
    }
    let Some(magic) = records.get(MAGIC_AT).map(|magic| magic.cast_signed()) else {
        return invalid(ErrorCode::InvalidRecord, NO_BATCH);
    };
    if !(0..=MAGIC).contains(&magic) {
        return invalid(ErrorCode::CorruptMessage, "no batch has this format");
    }
    let total = usize::try_from(length)
        .unwrap_or(0)
        .saturating_add(OVERHEAD_BYTES);
    if total > records.len() {
        return invalid(ErrorCode::InvalidRecord, NO_BATCH);
    }
    if magic != MAGIC {
        return Err(BatchError::Magic(magic).into());
    }
    if total < HEADER_BYTES {
        return invalid(
            ErrorCode::CorruptMessage,
            "the batch is shorter than its header",
        );
    }
    let header = BatchHeader::parse(records)?;
    if produce_version < 7 && header.compression() == Ok(Codec::Zstd) {
        return invalid(
            ErrorCode::UnsupportedCompressionType,
            "zstd needs version 7 of Produce",
        );
    }
    if total < records.len() {
        return invalid(
            ErrorCode::InvalidRecord,
            "the request has more than one record batch for the partition",
        );
    }
    Ok(header)
}

/// Whether `validate_produce` will have to inflate the batch, which may take long.
pub fn needs_inflate(header: &BatchHeader, rules: &BatchRules) -> bool {
    must_inflate(header, rules) || proves_header(header, rules)
}

fn must_inflate(header: &BatchHeader, rules: &BatchRules) -> bool {
    header.is_compressed()
        && (rules.compacted
            || rules.inflate == Inflate::Always
            || times_matter(header, rules) && header.max_timestamp < header.base_timestamp
            || new_storage(header, rules).is_some())
}

/// Whether the batch is only looked into to see whether its header is true.
fn proves_header(header: &BatchHeader, rules: &BatchRules) -> bool {
    header.is_compressed() && rules.inflate == Inflate::ToProve && times_matter(header, rules)
}

/// Whether the times in the header stay: neither the topic nor the batch has one time for all records.
fn times_matter(header: &BatchHeader, rules: &BatchRules) -> bool {
    !rules.log_append_time && !header.log_append_time()
}

/// Whether `validate_produce` will have to compress the batch anew, which takes long.
pub fn needs_rebuild(header: &BatchHeader, rules: &BatchRules) -> bool {
    new_storage(header, rules).is_some()
}

/// What the records have to be stored in, if it is not what they are in. As in Kafka, the level alone is no reason.
fn new_storage(header: &BatchHeader, rules: &BatchRules) -> Option<Storage> {
    let sent = header.compression().ok()?;
    rules.storage.filter(|storage| storage.codec != sent)
}

/// Checks a client's records for one partition and sets their max timestamp in place.
pub fn validate_produce(
    records: &mut [u8],
    rules: &BatchRules,
    now: Now,
) -> Result<Validated, Invalid> {
    let header = validate_shape(records, rules.produce_version)?;
    validate_shaped(records, &header, rules, now)
}

/// The same for a batch that has the right shape, see [`validate_shape`], which has returned this header of it.
pub fn validate_shaped(
    records: &mut [u8],
    header: &BatchHeader,
    rules: &BatchRules,
    now: Now,
) -> Result<Validated, Invalid> {
    validate_header(records, header, rules)?;
    if header.is_compressed() && !needs_inflate(header, rules) {
        return validate_shallow(records, header, rules, now);
    }
    let bytes = match record_bytes(records, header, rules.limits.batch_bytes_max) {
        Err(BatchError::Compression(CompressionError::TooLarge { .. }))
            if !must_inflate(header, rules) =>
        {
            return validate_shallow(records, header, rules, now);
        }
        bytes => bytes?,
    };
    let walked = walk(&bytes, header, rules, now)?;
    let (max_timestamp, offset_of_max) = if rules.log_append_time {
        (now.wall_ms, 0)
    } else {
        (walked.max_timestamp, walked.offset_delta)
    };
    let untrue = header.is_compressed()
        && times_matter(header, rules)
        && header.max_timestamp != max_timestamp;
    let Some(storage) = new_storage(header, rules) else {
        check_segment(header.total_bytes(), rules)?;
        drop(bytes);
        let valid = as_sent(records, rules, max_timestamp, Some(offset_of_max), now)?;
        return Ok(Validated { untrue, ..valid });
    };
    let rebuilt = rebuild(
        header,
        &bytes,
        storage,
        rules.log_append_time,
        max_timestamp,
    )?;
    check_size(rebuilt.len(), rules)?;
    check_segment(rebuilt.len(), rules)?;
    let valid = validated(&rebuilt, rules, max_timestamp, Some(offset_of_max), now)?;
    Ok(Validated {
        rebuilt: Some(rebuilt),
        untrue,
        ..valid
    })
}

/// Believes the header.
fn validate_shallow(
    records: &mut [u8],
    header: &BatchHeader,
    rules: &BatchRules,
    now: Now,
) -> Result<Validated, Invalid> {
    check_header_time(header, rules, now)?;
    check_segment(header.total_bytes(), rules)?;
    let max_timestamp = if rules.log_append_time {
        now.wall_ms
    } else {
        header.max_timestamp
    };
    let offset_of_max = rules.log_append_time.then_some(0);
    let valid = as_sent(records, rules, max_timestamp, offset_of_max, now)?;
    Ok(Validated {
        shallow: true,
        ..valid
    })
}

fn as_sent(
    records: &mut [u8],
    rules: &BatchRules,
    max_timestamp: i64,
    offset_of_max_timestamp: Option<i32>,
    now: Now,
) -> Result<Validated, Invalid> {
    batch::set_max_timestamp(records, rules.log_append_time, max_timestamp);
    validated(records, rules, max_timestamp, offset_of_max_timestamp, now)
}

fn validated(
    batch: &[u8],
    rules: &BatchRules,
    max_timestamp: i64,
    offset_of_max_timestamp: Option<i32>,
    now: Now,
) -> Result<Validated, Invalid> {
    Ok(Validated {
        header: BatchHeader::parse(batch)?,
        max_timestamp,
        offset_of_max_timestamp,
        log_append_time_ms: if rules.log_append_time {
            now.wall_ms
        } else {
            -1
        },
        shallow: false,
        untrue: false,
        rebuilt: None,
    })
}

fn check_size(bytes: usize, rules: &BatchRules) -> Result<(), Refusal> {
    if bytes <= rules.max_message_bytes {
        return Ok(());
    }
    let max = rules.max_message_bytes;
    let message = format!("the batch has {bytes} bytes and max.message.bytes is {max}");
    Err(Refusal::new(ErrorCode::MessageTooLarge, message))
}

fn check_segment(bytes: usize, rules: &BatchRules) -> Result<(), Refusal> {
    if bytes <= rules.segment_bytes {
        return Ok(());
    }
    let max = rules.segment_bytes;
    let message = format!("the batch of {bytes} bytes is larger than a segment of {max}");
    Err(Refusal::new(ErrorCode::RecordListTooLarge, message))
}

fn validate_header(
    records: &[u8],
    header: &BatchHeader,
    rules: &BatchRules,
) -> Result<(), Invalid> {
    if header.base_offset != 0 {
        return invalid(
            ErrorCode::InvalidRecord,
            "the offsets of a produced batch begin at 0",
        );
    }
    check_size(header.total_bytes(), rules)?;
    if !batch::crc_matches(records) {
        return invalid(ErrorCode::CorruptMessage, "the CRC does not match");
    }
    if header.compression().is_err() {
        // Kafka trips over an unknown codec and says no more than that.
        return invalid(ErrorCode::UnknownServerError, "the codec is unknown");
    }
    if header.record_count <= 0
        || i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count)
    {
        return invalid(
            ErrorCode::InvalidRecord,
            "the record count and the last offset do not agree",
        );
    }
    if header.is_control() {
        return invalid(
            ErrorCode::InvalidRecord,
            "markers are not written by clients",
        );
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return invalid(
            ErrorCode::InvalidRecord,
            "a batch with a producer id needs a sequence",
        );
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Walked {
    max_timestamp: i64,
    offset_delta: i32,
}

fn walk(
    bytes: &[u8],
    header: &BatchHeader,
    rules: &BatchRules,
    now: Now,
) -> Result<Walked, Invalid> {
    let mut walked = Walked {
        max_timestamp: -1,
        offset_delta: 0,
    };
    let mut faults = Faults::default();
    for (index, record) in (0..).zip(Records::of(header, bytes, rules.limits)) {
        let record = record?;
        match check_record(&record, index, header, rules, now) {
            Ok(timestamp) if timestamp > walked.max_timestamp => {
                walked = Walked {
                    max_timestamp: timestamp,
                    offset_delta: index,
                }
            }
            Ok(_) => {}
            Err(fault) => faults.push(index, fault),
        }
    }
    faults.into_result()?;
    Ok(walked)
}

/// The record's timestamp, or what is wrong with the record.
fn check_record(
    record: &Record<'_>,
    index: i32,
    header: &BatchHeader,
    rules: &BatchRules,
    now: Now,
) -> Result<i64, Refusal> {
    // Kafka never looks at the offsets of records that are not compressed.
    if header.is_compressed() && record.offset_delta != index {
        return Err(Refusal::new(
            ErrorCode::InvalidRecord,
            format!(
                "the offset is {} where {index} was expected",
                record.offset_delta
            ),
        ));
    }
    if rules.compacted && record.key.is_none() {
        return Err(Refusal::new(
            ErrorCode::InvalidRecord,
            "records of a compacted topic need a key",
        ));
    }
    let timestamp = header.timestamp_of(record);
    check_time(timestamp, header, rules, now)?;
    // The sum only overflows unnoticed where the topic stamps its records itself.
    Ok(timestamp.unwrap_or(-1))
}

fn check_header_time(header: &BatchHeader, rules: &BatchRules, now: Now) -> Result<(), Refusal> {
    check_time(Some(header.max_timestamp), header, rules, now)
}

fn check_time(
    timestamp: Option<i64>,
    header: &BatchHeader,
    rules: &BatchRules,
    now: Now,
) -> Result<(), Refusal> {
    if rules.log_append_time || timestamp == Some(-1) {
        if header.log_append_time() {
            return Err(Refusal::new(
                ErrorCode::InvalidTimestamp,
                "producers do not set LogAppendTime",
            ));
        }
        return Ok(());
    }
    let age = timestamp.map(|timestamp| i128::from(now.wall_ms) - i128::from(timestamp));
    match age {
        Some(age) if age <= rules.before_max_ms.into() && -age <= rules.after_max_ms.into() => {
            Ok(())
        }
        _ => Err(Refusal::new(
            ErrorCode::InvalidTimestamp,
            format!(
                "timestamp {} is out of range at {}",
                timestamp.unwrap_or(i64::MAX),
                now.wall_ms
            ),
        )),
    }
}

#[derive(Default)]
struct Faults {
    named: Vec<(i32, Option<String>)>,
    count: usize,
    time: bool,
}

impl Faults {
    fn push(&mut self, index: i32, fault: Refusal) {
        self.count += 1;
        self.time |= fault.code == ErrorCode::InvalidTimestamp;
        if self.named.len() < RECORD_ERRORS_MAX {
            self.named
                .push((index, fault.message.map(|message| message.into_owned())));
        }
    }

    fn into_result(self) -> Result<(), Invalid> {
        if self.count == 0 {
            return Ok(());
        }
        let code = if self.time {
            ErrorCode::InvalidTimestamp
        } else {
            ErrorCode::InvalidRecord
        };
        Err(Invalid {
            refusal: Refusal::new(code, format!("{} records are not acceptable", self.count)),
            record_errors: self.named,
        })
    }
}

#[cfg(test)]
mod tests;
