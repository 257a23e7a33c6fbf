//! One record batch through all that looks at batches: header, walk, validation, admission, search by time, rewriting.

use rustka_core::batch::{self, BatchHeader, HEADER_BYTES, Records, Storage, record_bytes};
use rustka_core::compression::{Codec, InflateLimits};
use rustka_core::log::timestamps::{first_at_or_after, latest};
use rustka_core::log::{Admitted, Origin, PartitionState, admit};
use rustka_core::time::Now;
use rustka_core::validate::{BatchRules, Inflate, validate_produce};

/// More than this is never inflated here.
const INFLATED_BYTES_MAX: usize = 256 << 10;
const LIMITS: InflateLimits = InflateLimits {
    batch_bytes_max: INFLATED_BYTES_MAX,
    record_bytes_max: usize::MAX,
};
/// Where a batch's CRC and what it covers begin.
const CRC_AT: usize = 17;
const COVERED_AT: usize = 21;

/// The input as it is, and once more with the length and checksum that it ought to have.
pub fn batch(data: &[u8]) {
    look_at(data);
    if let Some(sealed) = sealed(data) {
        look_at(&sealed);
    }
}

fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    if data.len() < HEADER_BYTES {
        return None;
    }
    let mut sealed = data.to_vec();
    let length = i32::try_from(data.len() - 12).ok()?;
    sealed[8..12].copy_from_slice(&length.to_be_bytes());
    sealed[16] = 2;
    let crc = crc32c::crc32c(&sealed[COVERED_AT..]);
    sealed[CRC_AT..COVERED_AT].copy_from_slice(&crc.to_be_bytes());
    Some(sealed)
}

fn look_at(data: &[u8]) {
    if let Ok(header) = BatchHeader::parse(data) {
        assert!(header.total_bytes() <= data.len());
        walk(data, &header);
        search(data, &header);
        rewrite(data, &header);
        let _any_marker = batch::read_marker(data, &header);
    }
    produce(data);
}

/// Every record lies within the batch, behind the one before; how many there were, if all could be read.
fn walk(data: &[u8], header: &BatchHeader) -> Option<usize> {
    let bytes = record_bytes(data, header, INFLATED_BYTES_MAX).ok()?;
    let (mut count, mut end) = (0, 0);
    for record in Records::new(&bytes, header.record_count) {
        let record = record.ok()?;
        assert_eq!(record.range.start, end);
        assert!(record.range.end > end && record.range.end <= bytes.len());
        end = record.range.end;
        assert_eq!(record.headers.into_iter().count(), record.headers.len());
        // No more than the bytes can hold: seven for the smallest record.
        count += 1;
        assert!(count * 7 <= bytes.len());
    }
    assert_eq!(end, bytes.len(), "nothing is left over");
    Some(count)
}

fn search(data: &[u8], header: &BatchHeader) {
    let Ok(latest) = latest(data, LIMITS) else {
        return;
    };
    let Some(latest) = latest else {
        return;
    };
    let found = first_at_or_after(data, latest.timestamp, header.base_offset, LIMITS);
    if let Ok(Some(found)) = found {
        assert!(found.timestamp >= latest.timestamp && found.offset >= header.base_offset);
    }
}

/// In another codec the batch holds as many records, and says so.
fn rewrite(data: &[u8], header: &BatchHeader) {
    let data = &data[..header.total_bytes()];
    let Some(before) = walk(data, header) else {
        return;
    };
    let records = record_bytes(data, header, INFLATED_BYTES_MAX).expect("it was walked");
    for codec in [Codec::None, Codec::Lz4] {
        let storage = Storage { codec, level: None };
        let Ok(other) = batch::rebuild(header, &records, storage, false, 5) else {
            continue;
        };
        assert!(batch::crc_matches(&other));
        let header = BatchHeader::parse(&other).expect("we wrote it");
        assert_eq!(header.total_bytes(), other.len());
        assert_eq!(header.compression(), Ok(codec));
        let after = record_bytes(&other, &header, usize::MAX).expect("we wrote it");
        let count = Records::new(&after, header.record_count)
            .filter(Result::is_ok)
            .count();
        assert_eq!(count, before);
    }
}

fn produce(data: &[u8]) {
    let now = Now::new(5, 1_700_000_000_000);
    let plain = BatchRules {
        limits: LIMITS,
        ..BatchRules::default()
    };
    let stored = |codec| Some(Storage { codec, level: None });
    let all = [
        plain,
        BatchRules {
            inflate: Inflate::Always,
            ..plain
        },
        BatchRules {
            compacted: true,
            ..plain
        },
        BatchRules {
            log_append_time: true,
            inflate: Inflate::Always,
            ..plain
        },
        BatchRules {
            storage: stored(Codec::None),
            ..plain
        },
        BatchRules {
            storage: stored(Codec::Lz4),
            log_append_time: true,
            ..plain
        },
    ];
    for rules in all {
        let mut sent = data.to_vec();
        let Ok(valid) = validate_produce(&mut sent, &rules, now) else {
            continue;
        };
        let records = valid.rebuilt.as_ref().unwrap_or(&sent);
        assert!(
            batch::crc_matches(records),
            "what is appended can be read back"
        );
        let header = valid.header;
        assert_eq!(BatchHeader::parse(records), Ok(header));
        let count = i64::from(header.record_count);
        assert_eq!(i64::from(header.last_offset_delta) + 1, count);
        if !valid.shallow {
            assert!(latest(records, LIMITS).is_ok() || rules.log_append_time);
            assert_eq!(walk(records, &header).map(|n| n as i64), Some(count));
        }
        append(&header, now);
    }
}

/// Offsets are given out once, in order, and never past the last there is.
fn append(header: &BatchHeader, now: Now) {
    for next_offset in [0, i64::MAX - 1] {
        let mut state = PartitionState::new(0);
        state.next_offset = next_offset;
        let admitted = admit(&mut state, header, Origin::Client, now);
        if let Ok(Admitted::Append {
            base_offset,
            last_offset,
            ..
        }) = admitted
        {
            assert!(base_offset == next_offset && last_offset >= base_offset);
            assert!(state.next_offset > last_offset);
        } else {
            assert_eq!(state.next_offset, next_offset);
        }
    }
}
