use super::*;
use crate::compression::InflateLimits;
use crate::log::timestamps::latest;

fn sample() -> Vec<u8> {
    BatchBuilder::new()
        .producer(7, 1, 5)
        .record(&NewRecord {
            timestamp: 1000,
            key: Some(b"k"),
            value: Some(b"v"),
            headers: &[("h", None), ("h", Some(b"2"))],
        })
        .record(&NewRecord {
            timestamp: 900,
            ..NewRecord::default()
        })
        .build()
        .unwrap()
}

#[test]
fn what_is_built_is_read_back() {
    let batch = sample();
    let header = BatchHeader::parse(&batch).unwrap();
    assert!(crc_matches(&batch));
    assert_eq!(header.total_bytes(), batch.len());
    assert_eq!(header.record_count, 2);
    assert_eq!(header.last_offset(), Some(1));
    assert_eq!(header.last_sequence(), 6);
    assert_eq!((header.base_timestamp, header.max_timestamp), (1000, 1000));
    let bytes = record_bytes(&batch, &header, 0).unwrap();
    let records: Vec<_> = Records::new(&bytes, header.record_count)
        .map(Result::unwrap)
        .collect();
    assert_eq!(records[0].headers.len(), 2);
    assert_eq!(header.timestamp_of(&records[1]), Some(900));
    assert_eq!(header.offset_of(&records[1]), Some(1));
}

/// One record without key, value "a", CreateTime 1, laid out as Kafka's documentation of the format says.
#[test]
fn the_layout_is_the_documented_one() {
    let batch = BatchBuilder::new()
        .leader_epoch(3)
        .record(&NewRecord {
            timestamp: 1,
            value: Some(b"a"),
            ..NewRecord::default()
        })
        .build()
        .unwrap();
    assert_eq!(batch[..8], [0; 8]);
    assert_eq!(batch[8..12], 57i32.to_be_bytes());
    assert_eq!(batch[12..17], [0, 0, 0, 3, 2]);
    assert_eq!(batch[21..27], [0; 6]);
    assert_eq!(batch[27..35], 1i64.to_be_bytes());
    assert_eq!(batch[35..43], 1i64.to_be_bytes());
    assert_eq!(batch[43..57], [0xff; 14]);
    assert_eq!(batch[57..], [0, 0, 0, 1, 14, 0, 0, 0, 1, 2, b'a', 0]);
}

#[test]
fn crc_32c_is_the_castagnoli_one() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn headers_that_lie_about_length_are_refused() {
    let batch = sample();
    for cut in 0..batch.len() {
        assert_eq!(
            BatchHeader::parse(&batch[..cut]),
            Err(BatchError::Truncated)
        );
    }
    for length in [-1_i32, 0, 48] {
        let mut wrong = batch.clone();
        wrong[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(BatchHeader::parse(&wrong), Err(BatchError::Length(length)));
    }
    let mut wrong = batch.clone();
    let one_more = i32::try_from(batch.len() - OVERHEAD_BYTES + 1).unwrap();
    wrong[8..12].copy_from_slice(&one_more.to_be_bytes());
    assert_eq!(BatchHeader::parse(&wrong), Err(BatchError::Truncated));
    wrong[16] = 1;
    assert_eq!(BatchHeader::parse(&wrong), Err(BatchError::Magic(1)));
}

#[test]
fn every_flipped_bit_after_the_crc_is_noticed() {
    let batch = sample();
    for bit in CRC_AT * 8..batch.len() * 8 {
        let mut wrong = batch.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!crc_matches(&wrong));
    }
    assert!(!crc_matches(&[]));
}

#[test]
fn offset_and_epoch_are_patched_outside_the_crc() {
    let mut batch = sample();
    set_base_offset(&mut batch, i64::MAX - 1);
    set_leader_epoch(&mut batch, 9);
    assert!(crc_matches(&batch));
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(header.base_offset, i64::MAX - 1);
    assert_eq!(header.partition_leader_epoch, 9);
    assert_eq!(header.last_offset(), Some(i64::MAX));
    set_base_offset(&mut batch, i64::MAX);
    assert_eq!(BatchHeader::parse(&batch).unwrap().last_offset(), None);
}

#[test]
fn the_crc_changes_only_with_the_timestamp() {
    let mut batch = sample();
    let before = batch.clone();
    set_max_timestamp(&mut batch, false, 1000);
    assert_eq!(batch, before);
    set_max_timestamp(&mut batch, true, 5000);
    assert!(crc_matches(&batch));
    let header = BatchHeader::parse(&batch).unwrap();
    assert!(header.log_append_time());
    assert_eq!(header.max_timestamp, 5000);
    set_max_timestamp(&mut batch, false, 1000);
    assert_eq!(batch, before);
}

/// Attacks, row 44.
#[test]
fn sequences_wrap_to_zero() {
    let mut header = BatchHeader::parse(&sample()).unwrap();
    header.base_sequence = i32::MAX;
    assert_eq!(header.last_sequence(), 0);
    header.base_sequence = i32::MAX - 1;
    assert_eq!(header.last_sequence(), i32::MAX);
    header.base_sequence = -1;
    assert_eq!(header.last_sequence(), -1);
}

#[test]
fn compressed_batches_give_back_their_records() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new().compression(codec, None);
        for timestamp in 0..100 {
            builder.push(&NewRecord {
                timestamp,
                key: Some(b"same"),
                value: Some(&[7; 100]),
                headers: &[],
            });
        }
        let batch = builder.build().unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(header.compression(), Ok(codec));
        let bytes = record_bytes(&batch, &header, 1 << 20).unwrap();
        assert_eq!(Records::new(&bytes, 100).flatten().count(), 100);
        assert!(codec == Codec::None || record_bytes(&batch, &header, 100).is_err());
    }
}

#[test]
fn a_marker_is_kafkas() {
    let batch = end_transaction_marker(5, 2, 8, true, 77).unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    assert!(header.is_control() && header.is_transactional());
    assert_eq!(header.base_sequence, -1);
    let record = Records::new(&batch[HEADER_BYTES..], 1)
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(record.key, Some(&[0, 0, 0, 1][..]));
    assert_eq!(record.value, Some(&[0, 0, 0, 0, 0, 8][..]));
}

/// Three records as the classes of Kafka 4.4's Java client encode them: k=value with headers h=1 and h=null at 1000,
/// fifty v without a key at 1005, a tombstone of k at 1002; producer 77, epoch 3, sequence 5, leader epoch 4.
const FROM_JAVA: [(Codec, &str); 5] = [
    (
        Codec::None,
        "\
         00000000000000000000008600000004024495cbe400000000000200000000000003e800000000000003ed0000000000\
         00004d0003000000050000000326000000026b0a76616c7565040268023102680170000a020164767676767676767676\
         7676767676767676767676767676767676767676767676767676767676767676767676767676767676000e000404026b\
         0100",
    ),
    (
        Codec::Gzip,
        "\
         00000000000000000000006b00000004027bdae5c200010000000200000000000003e800000000000003ed0000000000\
         00004d000300000005000000031f8b08000000000000ff5363606060cae62a4bcc294d6561ca603264ca602c60e06262\
         4c29231930f031b0b03065333200003ceb93f855000000",
    ),
    (
        Codec::Snappy,
        "\
         00000000000000000000006f000000040252a4ae6800020000000200000000000003e800000000000003ed0000000000\
         00004d0003000000050000000382534e415050590000000001000000010000002a556826000000026b0a76616c756504\
         0268023102680170000a02016476c2010020000e000404026b0100",
    ),
    (
        Codec::Lz4,
        "\
         00000000000000000000006a0000000402c8844d8300030000000200000000000003e800000000000003ed0000000000\
         00004d0003000000050000000304224d186040822a000000ff0c26000000026b0a76616c756504026802310268017000\
         0a0201647601001e90000e000404026b010000000000",
    ),
    (
        Codec::Zstd,
        "\
         00000000000000000000006800000004029faa08ea00040000000200000000000003e800000000000003ed0000000000\
         00004d0003000000050000000328b52ffd00585c0100440226000000026b0a76616c7565040268023102680170000a02\
         016476000e000404026b010001001b8131010000",
    ),
];

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn batches_of_the_java_client_are_read_in_every_codec() {
    for (codec, text) in FROM_JAVA {
        let batch = from_hex(text);
        assert!(crc_matches(&batch));
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(header.compression(), Ok(codec));
        assert_eq!((header.producer_id, header.producer_epoch), (77, 3));
        assert_eq!((header.base_sequence, header.last_sequence()), (5, 7));
        assert_eq!(
            (header.partition_leader_epoch, header.max_timestamp),
            (4, 1005)
        );
        let bytes = record_bytes(&batch, &header, 1 << 10).unwrap();
        let records: Vec<_> = Records::new(&bytes, header.record_count)
            .map(Result::unwrap)
            .collect();
        let times: Vec<_> = records.iter().map(|r| header.timestamp_of(r)).collect();
        assert_eq!(times, [Some(1000), Some(1005), Some(1002)]);
        assert_eq!(records[0].value, Some(&b"value"[..]));
        let headers: Vec<_> = records[0].headers.into_iter().collect();
        assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (&b"h"[..], None)]);
        assert_eq!(
            (records[1].key, records[1].value),
            (None, Some(&[b'v'; 50][..]))
        );
        assert_eq!((records[2].key, records[2].value), (Some(&b"k"[..]), None));
    }
}

#[test]
fn what_we_build_is_what_java_builds() {
    let built = BatchBuilder::new()
        .leader_epoch(4)
        .producer(77, 3, 5)
        .record(&NewRecord {
            timestamp: 1000,
            key: Some(b"k"),
            value: Some(b"value"),
            headers: &[("h", Some(b"1")), ("h", None)],
        })
        .record(&NewRecord {
            timestamp: 1005,
            value: Some(&[b'v'; 50]),
            ..NewRecord::default()
        })
        .record(&NewRecord {
            timestamp: 1002,
            key: Some(b"k"),
            ..NewRecord::default()
        })
        .build()
        .unwrap();
    // The compressing codecs leave their encoders a choice.
    let (codec, text) = FROM_JAVA[0];
    assert_eq!(codec, Codec::None);
    assert_eq!(built, from_hex(text));
}

/// The list of guards before a batch's bytes: each reason to refuse, and a batch that lies by a little. A new reason does
/// not compile without a place here.
#[test]
fn every_reason_to_refuse_has_a_batch_that_meets_it() {
    let number = |reason: &BatchError| match reason {
        BatchError::Truncated => 0,
        BatchError::Length(_) => 1,
        BatchError::Magic(_) => 2,
        BatchError::Varint => 3,
        BatchError::NegativeLength => 4,
        BatchError::HeaderCount => 5,
        BatchError::TrailingBytes => 6,
        BatchError::UnknownCodec(_) => 7,
        BatchError::Compression(CompressionError::Corrupt(_)) => 8,
        BatchError::Compression(CompressionError::TooLarge { .. }) => 9,
        BatchError::Overflow => 10,
        BatchError::RecordTooLarge { .. } => 11,
        // A level is ours, and more than 2 GiB would have to come out of what is inflated to at most 64 MiB.
        BatchError::Compression(CompressionError::Level(_)) | BatchError::TooLong => usize::MAX,
    };
    let with = |at: usize, bytes: &[u8]| {
        let mut batch = sample();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        batch
    };
    let parse = |batch: &[u8]| number(&BatchHeader::parse(batch).unwrap_err());
    let walk = |records: &[u8]| {
        let mut records = Records::new(records, 1);
        number(&records.find_map(Result::err).unwrap())
    };
    let limits = |batch_bytes_max, record_bytes_max| InflateLimits {
        batch_bytes_max,
        record_bytes_max,
    };
    let times = |batch: &[u8], limits| number(&latest(batch, limits).unwrap_err());
    let gzip = BatchBuilder::new()
        .compression(Codec::Gzip, None)
        .record(&NewRecord::default())
        .build()
        .unwrap();
    let no_gzip = with(ATTRIBUTES_AT, &[0, 1]);
    let met = [
        parse(&sample()[..HEADER_BYTES - 1]),
        parse(&with(LENGTH_AT, &48_i32.to_be_bytes())),
        parse(&with(MAGIC_AT, &[1])),
        walk(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]),
        walk(&[1]),
        walk(&[12, 0, 0, 0, 1, 1, 2]),
        walk(&[12, 0, 0, 0, 1, 1, 0, 9]),
        times(&with(ATTRIBUTES_AT, &[0, 5]), limits(1000, 1000)),
        times(&no_gzip, limits(1000, 1000)),
        times(&gzip, limits(6, 1000)),
        // The second record is 100 ms older than the first.
        times(
            &with(BASE_TIMESTAMP_AT, &(i64::MIN + 99).to_be_bytes()),
            limits(1000, 1000),
        ),
        times(&gzip, limits(1000, 5)),
    ];
    assert_eq!(met, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
}
