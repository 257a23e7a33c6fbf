use super::*;
use crate::batch::{BatchBuilder, NewRecord, crc_matches};

const NOW: Now = Now::new(5, 1_000_000_000);

fn record(timestamp: i64) -> NewRecord<'static> {
    NewRecord {
        timestamp,
        key: Some(b"k"),
        value: Some(b"v"),
        headers: &[],
    }
}

fn batch_of(builder: BatchBuilder, timestamps: &[i64]) -> Vec<u8> {
    let mut builder = builder;
    for timestamp in timestamps {
        builder.push(&record(*timestamp));
    }
    builder.build().unwrap()
}

fn plain(timestamps: &[i64]) -> Vec<u8> {
    batch_of(BatchBuilder::new(), timestamps)
}

fn packed(codec: Codec, timestamps: &[i64]) -> Vec<u8> {
    batch_of(BatchBuilder::new().compression(codec, None), timestamps)
}

fn strict() -> BatchRules {
    BatchRules {
        inflate: Inflate::Always,
        ..BatchRules::default()
    }
}

fn code(batch: &[u8], rules: &BatchRules) -> ErrorCode {
    let mut batch = batch.to_vec();
    match validate_produce(&mut batch, rules, NOW) {
        Ok(_) => ErrorCode::None,
        Err(invalid) => invalid.refusal.code,
    }
}

/// Changes a byte range of a batch and makes its CRC right again.
fn forged(batch: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The same records, compressed.
fn repacked(batch: &[u8], codec: Codec) -> Vec<u8> {
    let records = crate::compression::compress(codec, None, &batch[HEADER_BYTES..]).unwrap();
    let mut packed = batch[..HEADER_BYTES].to_vec();
    packed.extend(records);
    let length = i32::try_from(packed.len() - OVERHEAD_BYTES).unwrap();
    packed[8..12].copy_from_slice(&length.to_be_bytes());
    forged(&packed, 21, &[0, codec.id()])
}

#[test]
fn an_honest_batch_passes_untouched() {
    for codec in Codec::ALL {
        let mut batch = packed(codec, &[NOW.wall_ms - 5, NOW.wall_ms, NOW.wall_ms]);
        let before = batch.clone();
        let validated = validate_produce(&mut batch, &strict(), NOW).unwrap();
        assert_eq!(batch, before);
        assert_eq!(validated.max_timestamp, NOW.wall_ms);
        assert_eq!(validated.offset_of_max_timestamp, Some(1));
        assert_eq!(validated.log_append_time_ms, -1);
        assert!(!validated.shallow);
    }
}

#[test]
fn nothing_or_too_little_is_no_batch() {
    let batch = plain(&[1]);
    for cut in 0..batch.len() {
        assert_eq!(
            code(&batch[..cut], &BatchRules::default()),
            ErrorCode::InvalidRecord
        );
    }
}

#[test]
fn one_batch_per_partition() {
    let two = [plain(&[1]), plain(&[1])].concat();
    assert_eq!(code(&two, &BatchRules::default()), ErrorCode::InvalidRecord);
}

#[test]
fn old_formats_are_refused_and_impossible_ones_are_corrupt() {
    let magic = |magic| {
        let mut batch = plain(&[1]);
        batch[16] = magic;
        code(&batch, &BatchRules::default())
    };
    assert_eq!(magic(0), ErrorCode::InvalidRecord);
    assert_eq!(magic(1), ErrorCode::InvalidRecord);
    assert_eq!(magic(3), ErrorCode::CorruptMessage);
    assert_eq!(magic(0xff), ErrorCode::CorruptMessage);
    for length in [-1_i32, 0, 13, 48] {
        let mut batch = plain(&[1]);
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(
            code(&batch, &BatchRules::default()),
            ErrorCode::CorruptMessage
        );
    }
}

#[test]
fn zstd_needs_produce_7() {
    let batch = packed(Codec::Zstd, &[1]);
    let rules = |produce_version| BatchRules {
        produce_version,
        ..BatchRules::default()
    };
    assert_eq!(
        code(&batch, &rules(6)),
        ErrorCode::UnsupportedCompressionType
    );
    assert_eq!(code(&batch, &rules(7)), ErrorCode::None);
    assert_eq!(code(&packed(Codec::Lz4, &[1]), &rules(3)), ErrorCode::None);
}

#[test]
fn codecs_that_do_not_exist_are_refused() {
    let batch = forged(&plain(&[1]), 21, &[0, 5]);
    assert_eq!(
        code(&batch, &BatchRules::default()),
        ErrorCode::UnknownServerError
    );
}

/// Each batch is wrong in one more way than the one before it; the first check wins.
/// Attacks, row 20: length, format, CRC, counts, control bit, sequence.
#[test]
fn the_checks_come_in_kafkas_order() {
    let tiny = BatchRules {
        max_message_bytes: 70,
        segment_bytes: 70,
        compacted: true,
        produce_version: 6,
        ..BatchRules::default()
    };
    let roomy = BatchRules {
        max_message_bytes: 1000,
        ..tiny
    };
    let keyless = BatchBuilder::new()
        .control()
        .record(&NewRecord {
            timestamp: i64::MAX,
            value: Some(&[0; 50]),
            ..NewRecord::default()
        })
        .build()
        .unwrap();
    let mut broken = keyless.clone();
    broken[70] ^= 1;
    let mut moved = broken.clone();
    moved[7] = 1;
    assert_eq!(code(&moved, &tiny), ErrorCode::InvalidRecord);
    assert_eq!(code(&broken, &tiny), ErrorCode::MessageTooLarge);
    assert_eq!(code(&broken, &roomy), ErrorCode::CorruptMessage);
    assert_eq!(code(&keyless, &roomy), ErrorCode::InvalidRecord);
    let no_marker = forged(&keyless, 21, &[0, 0]);
    assert_eq!(code(&no_marker, &roomy), ErrorCode::InvalidRecord);
    let any_key = BatchRules {
        compacted: false,
        ..roomy
    };
    assert_eq!(code(&no_marker, &any_key), ErrorCode::InvalidTimestamp);
    let any_time = BatchRules {
        after_max_ms: i64::MAX,
        ..any_key
    };
    assert_eq!(code(&no_marker, &any_time), ErrorCode::RecordListTooLarge);
}

/// Attacks, row 20.
#[test]
fn counts_that_do_not_agree_are_refused() {
    for codec in [Codec::None, Codec::Gzip] {
        let batch = packed(codec, &[1, 2]);
        for count in [-1, 0, 1, 3] {
            let alone = forged(&batch, 57, &i32::to_be_bytes(count));
            assert_eq!(
                code(&alone, &BatchRules::default()),
                ErrorCode::InvalidRecord
            );
            // Lying twice alike is only found by walking.
            let both = forged(&alone, 23, &(count.wrapping_sub(1)).to_be_bytes());
            assert_eq!(code(&both, &strict()), ErrorCode::InvalidRecord);
        }
    }
}

#[test]
fn offsets_inside_a_batch_matter_only_if_it_is_compressed() {
    let batch = plain(&[1, 1]);
    // The second record is ten bytes; its offset delta is the fourth of them.
    let second = batch.len() - 9;
    assert_eq!(batch[second + 3], 2);
    let batch = forged(&batch, second + 3, &[4]);
    assert_eq!(code(&batch, &BatchRules::default()), ErrorCode::None);
    let packed = repacked(&batch, Codec::Gzip);
    let mut records = packed.clone();
    let invalid = validate_produce(&mut records, &strict(), NOW).unwrap_err();
    assert_eq!(invalid.refusal.code, ErrorCode::InvalidRecord);
    assert_eq!(invalid.record_errors.len(), 1);
    assert_eq!(invalid.record_errors[0].0, 1);
    assert_eq!(records, packed);
}

#[test]
fn a_producer_id_needs_a_sequence() {
    let with = |sequence| batch_of(BatchBuilder::new().producer(1, 0, sequence), &[1]);
    assert_eq!(
        code(&with(-1), &BatchRules::default()),
        ErrorCode::InvalidRecord
    );
    assert_eq!(code(&with(0), &BatchRules::default()), ErrorCode::None);
}

#[test]
fn compacted_topics_name_every_record_without_a_key() {
    let rules = BatchRules {
        compacted: true,
        ..BatchRules::default()
    };
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new().compression(codec, None);
        for index in 0..4 {
            builder.push(&NewRecord {
                key: (index % 2 == 0).then_some(&b"k"[..]),
                ..record(1)
            });
        }
        let mut batch = builder.build().unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(needs_inflate(&header, &rules), codec != Codec::None);
        let invalid = validate_produce(&mut batch, &rules, NOW).unwrap_err();
        assert_eq!(invalid.refusal.code, ErrorCode::InvalidRecord);
        let bad: Vec<_> = invalid.record_errors.iter().map(|(at, _)| *at).collect();
        assert_eq!(bad, [1, 3]);
        assert!(invalid.record_errors[0].1.is_some());
    }
}

#[test]
fn the_named_records_of_a_refusal_are_bounded() {
    let rules = BatchRules {
        compacted: true,
        ..BatchRules::default()
    };
    let mut builder = BatchBuilder::new();
    for _ in 0..5000 {
        builder.push(&NewRecord::default());
    }
    let mut batch = builder.build().unwrap();
    let invalid = validate_produce(&mut batch, &rules, NOW).unwrap_err();
    assert_eq!(invalid.record_errors.len(), RECORD_ERRORS_MAX);
}

#[test]
fn timestamps_stay_within_the_topics_range() {
    let rules = BatchRules {
        before_max_ms: 1000,
        after_max_ms: 500,
        ..strict()
    };
    let edge = [
        (NOW.wall_ms - 1000, true),
        (NOW.wall_ms - 1001, false),
        (NOW.wall_ms + 500, true),
        (NOW.wall_ms + 501, false),
        (-1, true),
        (-2, false),
        (i64::MAX, false),
        (i64::MIN, false),
    ];
    for codec in [Codec::None, Codec::Snappy] {
        for (timestamp, fits) in edge {
            let expected = if fits {
                ErrorCode::None
            } else {
                ErrorCode::InvalidTimestamp
            };
            let batch = packed(codec, &[NOW.wall_ms, timestamp]);
            assert_eq!(code(&batch, &rules), expected, "{timestamp}");
        }
    }
}

#[test]
fn an_hour_ahead_is_the_default_limit_and_no_age_is_too_old() {
    let hour = 3_600_000;
    let at = |timestamp| code(&plain(&[timestamp]), &BatchRules::default());
    assert_eq!(at(NOW.wall_ms + hour), ErrorCode::None);
    assert_eq!(at(NOW.wall_ms + hour + 1), ErrorCode::InvalidTimestamp);
    assert_eq!(at(0), ErrorCode::None);
    let packed = packed(Codec::Lz4, &[NOW.wall_ms + hour + 1]);
    assert_eq!(
        code(&packed, &BatchRules::default()),
        ErrorCode::InvalidTimestamp
    );
}

/// Attacks, row 46.
#[test]
fn a_base_timestamp_near_the_end_of_time_does_not_overflow() {
    let batch = forged(&plain(&[5, 6]), 27, &i64::MAX.to_be_bytes());
    let rules = BatchRules {
        after_max_ms: i64::MAX,
        ..BatchRules::default()
    };
    assert_eq!(code(&batch, &rules), ErrorCode::InvalidTimestamp);
    let stamped = BatchRules {
        log_append_time: true,
        ..rules
    };
    assert_eq!(code(&batch, &stamped), ErrorCode::None);
}

#[test]
fn a_wrong_max_timestamp_is_set_right() {
    for codec in Codec::ALL {
        let honest = packed(codec, &[10, 30, 20]);
        let mut batch = forged(&honest, 35, &77i64.to_be_bytes());
        let validated = validate_produce(&mut batch, &strict(), NOW).unwrap();
        assert_eq!(batch, honest);
        assert_eq!(validated.header.max_timestamp, 30);
        assert_eq!(validated.offset_of_max_timestamp, Some(1));
    }
}

#[test]
fn compressed_batches_are_trusted_unless_inflated() {
    let mut batch = forged(&packed(Codec::Gzip, &[10]), 35, &77i64.to_be_bytes());
    let validated = validate_produce(&mut batch, &BatchRules::default(), NOW).unwrap();
    assert!(validated.shallow);
    assert_eq!(validated.max_timestamp, 77);
    assert_eq!(validated.offset_of_max_timestamp, None);
}

#[test]
fn log_append_time_topics_stamp_the_batch() {
    let rules = BatchRules {
        log_append_time: true,
        ..BatchRules::default()
    };
    for codec in Codec::ALL {
        let mut batch = packed(codec, &[10, i64::MAX]);
        let validated = validate_produce(&mut batch, &rules, NOW).unwrap();
        assert!(validated.header.log_append_time());
        assert_eq!(validated.header.max_timestamp, NOW.wall_ms);
        assert_eq!(validated.log_append_time_ms, NOW.wall_ms);
        assert_eq!(validated.offset_of_max_timestamp, Some(0));
        assert!(crc_matches(&batch));
    }
}

#[test]
fn producers_that_claim_append_time_are_corrected_or_refused() {
    for codec in Codec::ALL {
        let claim = |timestamp| {
            let builder = BatchBuilder::new()
                .compression(codec, None)
                .log_append_time(timestamp);
            batch_of(builder, &[10, 20])
        };
        for base in [BatchRules::default(), strict()] {
            let stamping = BatchRules {
                log_append_time: true,
                ..base
            };
            assert_eq!(code(&claim(500), &stamping), ErrorCode::InvalidTimestamp);
            assert_eq!(code(&claim(-1), &base), ErrorCode::InvalidTimestamp);
            assert_eq!(code(&claim(i64::MAX), &base), ErrorCode::InvalidTimestamp);
            let mut batch = claim(500);
            let validated = validate_produce(&mut batch, &base, NOW).unwrap();
            assert!(!validated.header.log_append_time());
            assert_eq!(validated.header.max_timestamp, 500);
            assert!(crc_matches(&batch));
        }
    }
}

/// Attacks, row 18.
#[test]
fn bombs_and_corrupt_data_are_refused_when_inflated() {
    let mut builder = BatchBuilder::new().compression(Codec::Zstd, None);
    builder.push(&NewRecord {
        timestamp: 1,
        key: Some(b"k"),
        value: Some(&vec![0; 1 << 20]),
        headers: &[],
    });
    let bomb = builder.build().unwrap();
    let rules = BatchRules {
        limits: InflateLimits {
            batch_bytes_max: 1 << 16,
            ..InflateLimits::default()
        },
        ..strict()
    };
    assert_eq!(code(&bomb, &rules), ErrorCode::MessageTooLarge);
    assert_eq!(code(&bomb, &BatchRules::default()), ErrorCode::None);
    let corrupt = forged(&packed(Codec::Gzip, &[1]), HEADER_BYTES, &[1, 2, 3, 4]);
    assert_eq!(code(&corrupt, &strict()), ErrorCode::UnknownServerError);
}

/// Any byte made one more, one less or another bit, with the CRC made right again, is answered without a panic and leaves a
/// sound batch if accepted.
#[test]
fn forged_bytes_never_panic() {
    let now = Now::default();
    for codec in Codec::ALL {
        let builder = BatchBuilder::new()
            .compression(codec, None)
            .producer(1, 0, 0);
        let batch = batch_of(builder, &[0, 1, 2]);
        for at in 21..batch.len() {
            let honest = batch[at];
            let lies = [honest.wrapping_add(1), honest.wrapping_sub(1), honest ^ 1];
            for byte in lies {
                let mut forged = forged(&batch, at, &[byte]);
                if let Ok(validated) = validate_produce(&mut forged, &strict(), now) {
                    assert!(crc_matches(&forged));
                    assert_eq!(validated.header.record_count, 3);
                }
            }
        }
    }
}

#[test]
fn bits_without_a_meaning_stay_unless_the_batch_is_rewritten() {
    let honest = forged(&plain(&[10]), 21, &[0xff, 0x80]);
    let mut batch = honest.clone();
    validate_produce(&mut batch, &BatchRules::default(), NOW).unwrap();
    assert_eq!(batch, honest);
    let mut batch = forged(&honest, 35, &77i64.to_be_bytes());
    let validated = validate_produce(&mut batch, &BatchRules::default(), NOW).unwrap();
    assert_eq!(validated.header.attributes, 0);
    assert_eq!(batch, plain(&[10]));
}

fn stored_as(codec: Codec) -> BatchRules {
    BatchRules {
        storage: Some(Storage { codec, level: None }),
        ..BatchRules::default()
    }
}

#[test]
fn batches_are_stored_in_the_topics_codec_whatever_the_producer_used() {
    let times = [999_999_900, 999_999_990, 999_999_950];
    for sent in Codec::ALL {
        for stored in Codec::ALL {
            let builder = BatchBuilder::new()
                .producer(7, 2, 9)
                .compression(sent, None);
            let original = batch_of(builder, &times);
            let mut batch = original.clone();
            let valid = validate_produce(&mut batch, &stored_as(stored), NOW).unwrap();
            assert_eq!(valid.rebuilt.is_none(), sent == stored);
            assert_eq!(valid.max_timestamp, times[1]);
            let result = valid.rebuilt.as_deref().unwrap_or(&batch);
            assert!(crc_matches(result));
            let header = BatchHeader::parse(result).unwrap();
            assert_eq!(header, valid.header);
            assert_eq!(header.compression(), Ok(stored));
            assert_eq!((header.producer_id, header.producer_epoch), (7, 2));
            assert_eq!((header.base_sequence, header.last_offset_delta), (9, 2));
            assert_eq!(
                (header.base_timestamp, header.max_timestamp),
                (times[0], times[1])
            );
            let bytes = record_bytes(result, &header, 1 << 20).unwrap();
            let before = BatchHeader::parse(&original).unwrap();
            assert_eq!(bytes, record_bytes(&original, &before, 1 << 20).unwrap());
        }
    }
}

#[test]
fn a_rebuilt_batch_gets_the_append_time_and_a_checksum_of_it() {
    let rules = BatchRules {
        log_append_time: true,
        ..stored_as(Codec::Lz4)
    };
    let mut batch = plain(&[5, 6]);
    let valid = validate_produce(&mut batch, &rules, NOW).unwrap();
    let rebuilt = valid.rebuilt.unwrap();
    assert!(crc_matches(&rebuilt));
    let header = BatchHeader::parse(&rebuilt).unwrap();
    assert!(header.log_append_time());
    assert_eq!(
        (header.base_timestamp, header.max_timestamp),
        (5, NOW.wall_ms)
    );
    assert_eq!(valid.log_append_time_ms, NOW.wall_ms);
}

/// E50a: the size counts as sent and as stored, and then comes the segment.
#[test]
fn a_batch_that_is_too_large_once_it_is_stored_is_refused_before_the_segment() {
    let times: Vec<i64> = (0..200).map(|_| NOW.wall_ms).collect();
    let sent = packed(Codec::Gzip, &times);
    let sizes = |max_message_bytes, segment_bytes| BatchRules {
        max_message_bytes,
        segment_bytes,
        ..stored_as(Codec::None)
    };
    let whole = plain(&times).len();
    assert_eq!(code(&sent, &sizes(whole, whole)), ErrorCode::None);
    assert_eq!(
        code(&sent, &sizes(whole - 1, 100)),
        ErrorCode::MessageTooLarge
    );
    assert_eq!(
        code(&sent, &sizes(whole, whole - 1)),
        ErrorCode::RecordListTooLarge
    );
    let small = BatchRules {
        max_message_bytes: sent.len(),
        ..stored_as(Codec::Lz4)
    };
    assert_eq!(
        code(&plain(&times), &small),
        ErrorCode::MessageTooLarge,
        "as sent"
    );
    // Bad records are found first.
    let mut records = times;
    records[3] = 0;
    let rules = BatchRules {
        before_max_ms: 1_000,
        ..sizes(100_000, 1)
    };
    assert_eq!(
        code(&packed(Codec::Gzip, &records), &rules),
        ErrorCode::InvalidTimestamp
    );
}

#[test]
fn what_has_to_be_inflated_or_deflated_is_known_before() {
    let lz4 = BatchHeader::parse(&packed(Codec::Lz4, &[1])).unwrap();
    let none = BatchHeader::parse(&plain(&[1])).unwrap();
    assert!(
        !needs_inflate(&lz4, &BatchRules::default())
            && !needs_rebuild(&lz4, &BatchRules::default())
    );
    assert!(!needs_inflate(&lz4, &stored_as(Codec::Lz4)));
    assert!(needs_inflate(&lz4, &stored_as(Codec::Zstd)));
    assert!(!needs_inflate(&none, &stored_as(Codec::Zstd)));
    assert!(needs_rebuild(&none, &stored_as(Codec::Zstd)));
    assert!(needs_rebuild(&lz4, &stored_as(Codec::None)));
}

/// The list of what is checked: each sentence that a producer may be told, and a batch that is off by a little. A new
/// sentence in `validate.rs` fails this test until it has a row.
#[test]
fn every_sentence_of_a_refusal_has_a_batch_that_is_told_it() {
    let small = |max_message_bytes, segment_bytes| BatchRules {
        max_message_bytes,
        segment_bytes,
        ..strict()
    };
    let one = plain(&[1]);
    let keyless = BatchBuilder::new().record(&NewRecord::default()).build();
    let keyless = keyless.unwrap();
    let compacted = BatchRules {
        compacted: true,
        ..strict()
    };
    let old = BatchRules {
        produce_version: 6,
        ..strict()
    };
    let ahead = NOW.wall_ms + 3_600_001;
    let unsequenced = batch_of(BatchBuilder::new().producer(9, 0, -1), &[1]);
    let stamped = batch_of(BatchBuilder::new().log_append_time(-1), &[1]);
    let second_at_2 = {
        // Attributes, time, offset: the second record, of ten bytes, has its own length before it.
        let mut two = plain(&[1, 1]);
        let at = HEADER_BYTES + (two.len() - HEADER_BYTES) / 2 + 3;
        two[at] = 4;
        repacked(&two, Codec::Gzip)
    };
    let rows: [(&str, Vec<u8>, BatchRules); 18] = [
        (
            "the request has no complete record batch for the partition",
            one[..one.len() - 1].to_vec(),
            strict(),
        ),
        (
            "the batch is shorter than any can be",
            forged(&one, 8, &13_i32.to_be_bytes()),
            strict(),
        ),
        ("no batch has this format", forged(&one, 16, &[3]), strict()),
        (
            "the batch is shorter than its header",
            forged(&one, 8, &48_i32.to_be_bytes()),
            strict(),
        ),
        (
            "zstd needs version 7 of Produce",
            packed(Codec::Zstd, &[1]),
            old,
        ),
        (
            "the request has more than one record batch for the partition",
            [&one[..], &[0]].concat(),
            strict(),
        ),
        (
            "the batch has {bytes} bytes and max.message.bytes is {max}",
            one.clone(),
            small(one.len() - 1, 1 << 20),
        ),
        (
            "the batch of {bytes} bytes is larger than a segment of {max}",
            one.clone(),
            small(1 << 20, one.len() - 1),
        ),
        (
            "the offsets of a produced batch begin at 0",
            forged(&one, 0, &1_i64.to_be_bytes()),
            strict(),
        ),
        (
            "the CRC does not match",
            {
                let mut wrong = one.clone();
                wrong[20] ^= 1;
                wrong
            },
            strict(),
        ),
        ("the codec is unknown", forged(&one, 22, &[5]), strict()),
        (
            "the record count and the last offset do not agree",
            forged(&one, 57, &2_i32.to_be_bytes()),
            strict(),
        ),
        (
            "markers are not written by clients",
            forged(&one, 22, &[0x20]),
            strict(),
        ),
        (
            "a batch with a producer id needs a sequence",
            unsequenced,
            strict(),
        ),
        (
            "the offset is {} where {index} was expected",
            second_at_2,
            strict(),
        ),
        (
            "records of a compacted topic need a key",
            keyless,
            compacted,
        ),
        ("producers do not set LogAppendTime", stamped, strict()),
        (
            "timestamp {} is out of range at {}",
            plain(&[ahead]),
            strict(),
        ),
    ];
    for (sentence, batch, rules) in &rows {
        let told = validate_produce(&mut batch.clone(), rules, NOW).unwrap_err();
        let records = told
            .record_errors
            .into_iter()
            .filter_map(|(_, message)| message);
        let messages: Vec<String> = records
            .chain(told.refusal.message.map(|message| message.into_owned()))
            .collect();
        let parts = sentence.split(['{', '}']).step_by(2);
        let says = |message: &String| parts.clone().all(|part| message.contains(part));
        assert!(messages.iter().any(says), "{sentence}: {messages:?}");
    }
    // Sentences are the string literals with a blank; the last one only sums up others.
    let code = include_str!("../validate.rs").lines();
    let code = code.filter(|line| !line.trim_start().starts_with("//"));
    let listed = |sentence: &str| rows.iter().any(|(known, ..)| *known == sentence);
    for line in code {
        for literal in line.split('"').skip(1).step_by(2) {
            let sums_up = literal == "{} records are not acceptable";
            assert!(
                !literal.contains(' ') || sums_up || listed(literal),
                "{literal}"
            );
        }
    }
}

#[test]
fn what_cannot_be_true_in_a_header_is_seen_without_a_look_at_the_records() {
    let sent = |said: i64, rules: &BatchRules| {
        let mut batch = packed(Codec::Lz4, &[NOW.wall_ms, NOW.wall_ms + 9, NOW.wall_ms + 4]);
        batch::set_max_timestamp(&mut batch, false, said);
        let valid = validate_produce(&mut batch, rules, NOW).unwrap();
        assert!(batch::crc_matches(&batch));
        (valid.max_timestamp - NOW.wall_ms, valid.untrue)
    };
    let (believing, proving) = (
        BatchRules::default(),
        BatchRules {
            inflate: Inflate::ToProve,
            ..BatchRules::default()
        },
    );
    for (said, kept) in [(9, (9, false)), (3, (3, false)), (-1, (9, true))] {
        assert_eq!(sent(NOW.wall_ms + said, &believing), kept);
    }
    assert_eq!(sent(-1, &believing), (9, true));
    for (said, kept) in [(9, (9, false)), (3, (9, true)), (10, (9, true))] {
        assert_eq!(sent(NOW.wall_ms + said, &proving), kept);
    }
}

/// Only where the broker needs what is inside may it be too much.
#[test]
fn a_header_that_would_take_too_much_to_prove_is_believed() {
    let large = |inflate| {
        let mut batch = packed(Codec::Lz4, &[NOW.wall_ms; 100]);
        let rules = BatchRules {
            inflate,
            limits: InflateLimits {
                batch_bytes_max: 50,
                ..InflateLimits::default()
            },
            ..BatchRules::default()
        };
        let valid = validate_produce(&mut batch, &rules, NOW);
        valid.map(|valid| (valid.shallow, valid.untrue))
    };
    assert_eq!(large(Inflate::ToProve), Ok((true, false)));
    let refused = large(Inflate::Always).unwrap_err();
    assert_eq!(refused.refusal.code, ErrorCode::MessageTooLarge);
}
