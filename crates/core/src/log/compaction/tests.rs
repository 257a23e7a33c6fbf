use super::*;
use crate::batch::{
    BatchBuilder, HEADER_BYTES, NewRecord, OVERHEAD_BYTES, crc_matches, end_transaction_marker,
    set_base_offset,
};
use crate::compression::Codec;

const DAY_MS: i64 = 86_400_000;

fn terms() -> Terms {
    Terms {
        now_ms: 1_000_000,
        delete_retention_ms: DAY_MS,
        max_message_bytes: 1 << 20,
        limits: InflateLimits::default(),
        key_bytes_max: usize::MAX,
        seed: 1,
    }
}

/// A batch of `(key, value)` records at `base_offset`; a value of "-" is a tombstone.
fn batch_of(builder: BatchBuilder, base_offset: i64, records: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = builder.base_offset(base_offset);
    for (n, (key, value)) in (0..).zip(records) {
        builder.push(&NewRecord {
            timestamp: 5_000 + n,
            key: Some(key.as_bytes()),
            value: (*value != "-").then_some(value.as_bytes()),
            headers: &[("h", Some(b"1"))],
        });
    }
    builder.build().unwrap()
}

fn plain(base_offset: i64, records: &[(&str, &str)]) -> Vec<u8> {
    batch_of(BatchBuilder::new().leader_epoch(3), base_offset, records)
}

/// One round over a log that is dirty from its start: what is left of each batch.
fn compact(terms: Terms, history: &History, log: &[Vec<u8>]) -> (Vec<Vec<u8>>, Summary) {
    let mut round = Compaction::new(terms, history);
    for batch in log {
        assert_eq!(round.learn(batch), Ok(true));
    }
    let mut left = Vec::new();
    for batch in log {
        let mut out = Vec::new();
        match round.keep(batch, &mut out).unwrap() {
            Kept::Whole => out = batch.clone(),
            Kept::Rewritten => assert!(!out.is_empty()),
            Kept::Nothing => assert!(out.is_empty()),
        }
        left.push(out);
    }
    (left, round.finish())
}

fn compact_plainly(log: &[Vec<u8>]) -> Vec<Vec<u8>> {
    compact(terms(), &History::default(), log).0
}

/// `offset:key=value` of every record, in order.
fn show(batch: &[u8]) -> String {
    let mut shown = Vec::new();
    let mut at = 0;
    while at < batch.len() {
        let header = BatchHeader::parse(&batch[at..]).unwrap();
        let one = &batch[at..at + header.total_bytes()];
        assert!(crc_matches(one));
        let bytes = record_bytes(one, &header, 1 << 20).unwrap();
        for record in Records::new(&bytes, header.record_count) {
            let record = record.unwrap();
            let text = |bytes: Option<&[u8]>| match bytes {
                Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                None => "-".to_owned(),
            };
            let offset = header.offset_of(&record).unwrap();
            shown.push(format!(
                "{offset}:{}={}",
                text(record.key),
                text(record.value)
            ));
        }
        at += header.total_bytes();
    }
    shown.join(" ")
}

fn header(batch: &[u8]) -> BatchHeader {
    BatchHeader::parse(batch).unwrap()
}

#[test]
fn the_newest_record_of_each_key_stays_at_its_own_offset() {
    for codec in Codec::ALL {
        let of = |base, records: &[(&str, &str)]| {
            batch_of(BatchBuilder::new().compression(codec, None), base, records)
        };
        let log = [
            of(10, &[("a", "1"), ("b", "1"), ("c", "1")]),
            of(13, &[("a", "2"), ("a", "3")]),
            of(15, &[("b", "2")]),
        ];
        let left = compact_plainly(&log);
        assert_eq!(show(&left[0]), "12:c=1");
        assert_eq!(show(&left[1]), "14:a=3");
        assert_eq!(left[2], log[2]);
        assert_eq!(header(&left[0]).compression(), Ok(codec));
    }
}

#[test]
fn base_offset_last_delta_and_times_of_a_batch_are_kept() {
    let log = [
        plain(10, &[("a", "1"), ("b", "1"), ("a", "2"), ("b", "2")]),
        plain(14, &[("b", "3")]),
    ];
    let left = compact_plainly(&log);
    assert_eq!(show(&left[0]), "12:a=2");
    let (before, after) = (header(&log[0]), header(&left[0]));
    assert_eq!(after.base_offset, 10);
    assert_eq!(after.last_offset_delta, 3);
    assert_eq!(after.record_count, 1);
    assert_eq!(after.partition_leader_epoch, before.partition_leader_epoch);
    // As Kafka writes it: the times are those of what is left.
    assert_eq!((after.base_timestamp, after.max_timestamp), (5_002, 5_002));
    let record = Records::new(&left[0][HEADER_BYTES..], 1)
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(after.timestamp_of(&record), Some(5_002));
    assert_eq!(
        record.headers.into_iter().next(),
        Some((&b"h"[..], Some(&b"1"[..])))
    );
}

#[test]
fn log_append_time_survives() {
    let log = [
        batch_of(
            BatchBuilder::new().log_append_time(77),
            0,
            &[("a", "1"), ("b", "1")],
        ),
        plain(2, &[("a", "2")]),
    ];
    let left = compact_plainly(&log);
    let after = header(&left[0]);
    assert!(after.log_append_time());
    assert_eq!(
        (show(&left[0]).as_str(), after.max_timestamp),
        ("1:b=1", 77)
    );
}

#[test]
fn batches_without_a_record_left_go_and_leave_a_gap() {
    let log = [
        plain(0, &[("a", "1")]),
        plain(1, &[("a", "2")]),
        plain(2, &[("a", "3")]),
    ];
    let left = compact_plainly(&log);
    assert!(left[0].is_empty() && left[1].is_empty());
    assert_eq!(left[2], log[2]);
}

#[test]
fn what_was_not_learned_stays() {
    let log = [plain(0, &[("a", "1")]), plain(1, &[("b", "1")])];
    let active = plain(2, &[("a", "2")]);
    let mut round = Compaction::new(terms(), &History::default());
    for batch in &log {
        assert_eq!(round.learn(batch), Ok(true));
    }
    let mut out = Vec::new();
    for batch in log.iter().chain([&active]) {
        assert_eq!(round.keep(batch, &mut out), Ok(Kept::Whole));
    }
    assert!(out.is_empty());
}

#[test]
fn records_without_a_key_go() {
    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord::default());
    builder.push(&NewRecord {
        key: Some(b""),
        value: Some(b"v"),
        ..NewRecord::default()
    });
    let left = compact_plainly(&[builder.build().unwrap()]);
    assert_eq!(show(&left[0]), "1:=v");
}

#[test]
fn the_last_batch_of_each_producer_is_kept_as_an_empty_one() {
    let by = |base, sequence, records: &[(&str, &str)]| {
        batch_of(BatchBuilder::new().producer(7, 1, sequence), base, records)
    };
    let log = [
        by(0, 0, &[("a", "1"), ("b", "1")]),
        by(2, 2, &[("a", "2"), ("b", "2")]),
        plain(4, &[("a", "3"), ("b", "3")]),
    ];
    let history = History {
        last_writes: vec![LastWrite {
            producer_id: 7,
            epoch: 1,
            last_offset: Some(3),
        }],
        aborted: Vec::new(),
    };
    let (left, summary) = compact(terms(), &history, &log);
    assert!(left[0].is_empty());
    assert_eq!(left[1].len(), HEADER_BYTES);
    assert!(crc_matches(&left[1]));
    let after = header(&left[1]);
    assert_eq!((after.base_offset, after.last_offset()), (2, Some(3)));
    assert_eq!((after.producer_id, after.producer_epoch), (7, 1));
    assert_eq!((after.base_sequence, after.last_sequence()), (2, 3));
    assert_eq!(after.record_count, 0);
    assert_eq!((after.base_timestamp, after.max_timestamp), (-1, 5_001));
    assert_eq!(summary.records_dropped, 4);
    // A later round finds it as it is; once the producer has written again or is forgotten it goes.
    let (again, _) = compact(terms(), &history, &left[1..]);
    assert_eq!(again[0], left[1]);
    let (forgotten, _) = compact(terms(), &History::default(), &left[1..]);
    assert!(forgotten[0].is_empty());
}

#[test]
fn tombstones_stay_until_the_delete_horizon() {
    let log = [plain(0, &[("a", "1"), ("b", "1")]), plain(2, &[("a", "-")])];
    let left = compact_plainly(&log);
    assert_eq!(
        (show(&left[0]), show(&left[1])),
        ("1:b=1".into(), "2:a=-".into())
    );
    let marked = header(&left[1]);
    assert!(marked.has_delete_horizon());
    assert_eq!(marked.base_timestamp, 1_000_000 + DAY_MS);
    assert_eq!(marked.max_timestamp, 5_000);
    let record = Records::new(&left[1][HEADER_BYTES..], 1)
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(marked.timestamp_of(&record), Some(5_000));
    // The horizon is set once and does not move.
    let at = |now_ms| Terms { now_ms, ..terms() };
    let (same, _) = compact(at(999_999 + DAY_MS), &History::default(), &left);
    assert_eq!(same, left);
    let (gone, _) = compact(at(1_000_000 + DAY_MS), &History::default(), &left);
    assert!(gone[1].is_empty());
    assert_eq!(show(&gone[0]), "1:b=1");
}

#[test]
fn a_tombstone_is_forgotten_at_once_when_its_key_comes_back() {
    let log = [plain(0, &[("a", "-"), ("b", "-")]), plain(2, &[("a", "1")])];
    let left = compact_plainly(&log);
    assert_eq!(show(&left[0]), "1:b=-");
    assert!(header(&left[0]).has_delete_horizon());
    let log = [left[0].clone(), plain(3, &[("b", "1")])];
    assert!(compact_plainly(&log)[0].is_empty());
}

#[test]
fn values_beside_an_expired_tombstone_stay() {
    let log = [plain(0, &[("a", "-"), ("b", "1")])];
    let left = compact_plainly(&log);
    assert_eq!(show(&left[0]), "0:a=- 1:b=1");
    let late = Terms {
        now_ms: i64::MAX,
        ..terms()
    };
    let (left, _) = compact(late, &History::default(), &left);
    assert_eq!(show(&left[0]), "1:b=1");
    assert_eq!(header(&left[0]).base_offset, 0);
}

fn transactional(base_offset: i64, producer_id: i64, records: &[(&str, &str)]) -> Vec<u8> {
    let builder = BatchBuilder::new()
        .producer(producer_id, 0, 0)
        .transactional();
    batch_of(builder, base_offset, records)
}

fn marker(offset: i64, producer_id: i64, commit: bool) -> Vec<u8> {
    let mut marker = end_transaction_marker(producer_id, 0, 0, commit, 6_000).unwrap();
    set_base_offset(&mut marker, offset);
    marker
}

fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> History {
    History {
        aborted: vec![AbortedTransaction {
            producer_id,
            first_offset,
            last_offset,
        }],
        last_writes: Vec::new(),
    }
}

#[test]
fn aborted_records_go_and_push_nothing_out() {
    let log = [
        plain(0, &[("a", "1"), ("b", "1")]),
        transactional(2, 9, &[("a", "2")]),
        transactional(3, 8, &[("b", "2")]),
        marker(4, 9, false),
        marker(5, 8, true),
        // The same producer commits later.
        transactional(6, 9, &[("c", "1")]),
        marker(7, 9, true),
    ];
    let history = aborted(9, 2, 4);
    let (left, summary) = compact(terms(), &history, &log);
    assert_eq!(show(&left[0]), "0:a=1");
    assert!(left[1].is_empty());
    assert_eq!(left[2..], log[2..], "markers with records before them stay");
    assert_eq!(summary.emptied, [], "readers still have to know of it");
}

#[test]
fn a_marker_stays_as_long_as_a_tombstone_once_its_records_are_gone() {
    let history = aborted(9, 2, 4);
    let log = [marker(4, 9, false), marker(5, 8, true)];
    let (left, summary) = compact(terms(), &history, &log);
    for (before, after) in log.iter().zip(&left) {
        let after = header(after);
        assert!(after.is_control() && after.has_delete_horizon());
        assert_eq!(after.base_timestamp, 1_000_000 + DAY_MS);
        assert_eq!(after.base_offset, header(before).base_offset);
        assert_eq!(after.max_timestamp, 6_000);
    }
    assert_eq!(summary.emptied, history.aborted);
    let late = Terms {
        now_ms: 1_000_000 + DAY_MS,
        ..terms()
    };
    let (left, _) = compact(late, &History::default(), &left);
    assert!(left.iter().all(Vec::is_empty));
}

#[test]
fn the_marker_that_carries_a_producers_epoch_is_kept() {
    let history = History {
        last_writes: vec![LastWrite {
            producer_id: 8,
            epoch: 0,
            last_offset: None,
        }],
        aborted: Vec::new(),
    };
    let (marked, _) = compact(terms(), &history, &[marker(5, 8, true)]);
    let late = Terms {
        now_ms: i64::MAX,
        ..terms()
    };
    let (left, _) = compact(late, &history, &marked);
    assert_eq!(left[0].len(), HEADER_BYTES);
    assert_eq!(header(&left[0]).producer_epoch, 0);
    let (again, _) = compact(late, &history, &left);
    assert_eq!(again, left);
    let (gone, _) = compact(late, &History::default(), &left);
    assert!(gone[0].is_empty());
}

#[test]
fn an_open_transactions_records_are_like_any_others_once_the_engine_shows_them() {
    // Engines show nothing from the last stable offset on; a transaction that is neither aborted nor ended in what is
    // shown was committed by a marker further on.
    let log = [transactional(0, 9, &[("a", "1")]), plain(1, &[("a", "2")])];
    let left = compact_plainly(&log);
    assert!(left[0].is_empty());
}

#[test]
fn inflation_is_bounded_and_what_cannot_be_read_stays_and_pushes_nothing_out() {
    let value = "x".repeat(100_000);
    let bomb = batch_of(
        BatchBuilder::new().compression(Codec::Zstd, None),
        1,
        &[("a", &value)],
    );
    let mut broken = batch_of(BatchBuilder::new(), 2, &[("b", "2"), ("b", "3")]);
    // The second record claims to be longer than what is left.
    let second = HEADER_BYTES + 13;
    broken[second] = 120;
    let log = [plain(0, &[("a", "1")]), bomb, broken];
    let small = Terms {
        limits: InflateLimits {
            batch_bytes_max: 50_000,
            ..InflateLimits::default()
        },
        ..terms()
    };
    let (left, summary) = compact(small, &History::default(), &log);
    assert_eq!(left, log);
    assert_eq!(summary.unreadable, 2);
}

#[test]
fn batches_stay_within_max_message_bytes() {
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    // A delete horizon is far from the records' times, so that every record grows.
    let mut records: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "-")).collect();
    records.push(("k0", "-"));
    for codec in [Codec::None, Codec::Gzip] {
        let builder = BatchBuilder::new()
            .producer(7, 0, i32::MAX - 50)
            .compression(codec, None);
        let log = [batch_of(builder, 100, &records)];
        let tight = Terms {
            max_message_bytes: log[0].len() / 2,
            ..terms()
        };
        let (left, _) = compact(tight, &History::default(), &log);
        let whole = show(&left[0]);
        assert!(whole.starts_with("101:k1=- 102:k2=-") && whole.ends_with("299:k199=- 300:k0=-"));
        let mut at = 0;
        let mut next_offset = 100;
        let mut next_sequence = i32::MAX - 50;
        while at < left[0].len() {
            let part = header(&left[0][at..]);
            assert!(part.total_bytes() <= tight.max_message_bytes);
            assert!(part.has_delete_horizon());
            assert_eq!(
                (part.base_offset, part.base_sequence),
                (next_offset, next_sequence)
            );
            next_offset = part.last_offset().unwrap() + 1;
            next_sequence = match part.last_sequence() {
                i32::MAX => 0,
                last => last + 1,
            };
            at += part.total_bytes();
        }
        assert_eq!(
            next_offset, 301,
            "together they reach as far as the one batch did"
        );
    }
}

#[test]
fn a_second_round_changes_nothing() {
    let log = [
        plain(0, &[("a", "1"), ("b", "1"), ("c", "-")]),
        plain(3, &[("a", "2")]),
    ];
    let once = compact_plainly(&log);
    assert_eq!(compact_plainly(&once), once);
}

#[test]
fn broken_batches_neither_panic_nor_lead_to_batches_that_are_broken_elsewhere() {
    for codec in Codec::ALL {
        let builder = BatchBuilder::new()
            .producer(3, 0, 0)
            .compression(codec, None);
        let sound = batch_of(builder, 5, &[("a", "1"), ("b", "-"), ("a", "2")]);
        for at in OVERHEAD_BYTES..sound.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = sound.clone();
                broken[at] ^= flip;
                let Ok(before) = BatchHeader::parse(&broken) else {
                    continue;
                };
                let small = Terms {
                    max_message_bytes: 70,
                    ..terms()
                };
                let mut round = Compaction::new(small, &History::default());
                let learned = round.learn(&broken);
                let mut out = Vec::new();
                let kept = round.keep(&broken, &mut out);
                assert_eq!(learned.is_ok(), kept.is_ok());
                let (mut rest, mut next_offset) = (&out[..], before.base_offset);
                while !rest.is_empty() {
                    let header = BatchHeader::parse(rest).unwrap();
                    assert!(crc_matches(&rest[..header.total_bytes()]));
                    assert!(header.base_offset >= next_offset && header.last_offset_delta >= 0);
                    next_offset = header.last_offset().unwrap() + 1;
                    rest = &rest[header.total_bytes()..];
                }
                assert!(out.is_empty() || Some(next_offset - 1) == before.last_offset());
            }
        }
    }
}

/// Offsets that go back would make later batches unreachable.
#[test]
fn records_out_of_order_stay_as_they_are() {
    let mut batch = plain(0, &[("a", "1"), ("b", "-")]);
    // The offset delta of the second record: length, attributes, time, offset.
    batch[HEADER_BYTES + 13 + 3] = 0;
    let (left, summary) = compact(terms(), &History::default(), &[batch.clone()]);
    assert_eq!((left[0].clone(), summary.unreadable), (batch, 1));
}
