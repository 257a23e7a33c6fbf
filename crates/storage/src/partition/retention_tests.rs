//! What a partition does by itself whenever something is appended: size, age of the open chunk, append times.

use super::*;
use crate::engine::Incoming;
use crate::limit::Memory;
use crate::memory::MemoryEngine;
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord, crc_matches};
use rustka_core::config::{BrokerConfig, Overrides, Scope, SharedConfig, TopicConfig};
use rustka_core::log::Origin;
use rustka_core::time::Now;

const TWO_CHUNKS: u64 = 2 << 20;

fn at(wall_ms: i64) -> Now {
    Now::new(0, wall_ms)
}

fn partition(configs: &[(&str, &str)]) -> Arc<Partition> {
    let engine = MemoryEngine::new(Memory::new(1 << 30));
    let partition = Partition::new(&engine as &dyn Engine, Uuid([1; 16]), 0, true);
    let broker = BrokerConfig::new([], false).unwrap();
    let configs = configs.iter().map(|(name, value)| (*name, Some(*value)));
    let overrides = Overrides::parse(Scope::Topic, configs).unwrap();
    let config = TopicConfig::resolve(&broker, &overrides);
    partition.obey(&Arc::new(SharedConfig::new(Arc::new(config))));
    partition
}

/// One small record, many of which fit into the first chunk.
fn append(partition: &Partition, builder: BatchBuilder, timestamp: i64, now: Now) -> Appended {
    append_value(partition, builder, (timestamp, &[7; 100]), now)
}

fn append_value(
    partition: &Partition,
    builder: BatchBuilder,
    (timestamp, value): (i64, &[u8]),
    now: Now,
) -> Appended {
    let record = NewRecord {
        timestamp,
        key: Some(b"key"),
        value: Some(value),
        headers: &[],
    };
    let mut batch = builder.record(&record).build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    let incoming = Incoming::Copied(&mut batch);
    partition
        .append(incoming, &header, Origin::Client, now)
        .unwrap()
}

#[test]
fn retention_bytes_holds_whenever_a_chunk_closes_and_never_less_is_kept() {
    let partition = partition(&[("retention.bytes", "3000000")]);
    let mut full = false;
    for _ in 0..20_000 {
        append_value(&partition, BatchBuilder::new(), (1, &[7; 1000]), at(1));
        let bytes = partition.bytes();
        assert!(bytes <= 3_300_000 + TWO_CHUNKS, "{bytes}");
        full |= bytes >= 3_000_000;
        assert!(!full || bytes >= 3_000_000, "{bytes}");
    }
    assert!(full && partition.offsets().log_start > 10_000);
}

/// Old records that were brought in together lay in one chunk with new ones, and stayed as long as these: whoever
/// filled a topic with its history kept what retention should have dropped.
#[test]
fn a_chunk_is_closed_once_its_records_span_more_time_than_a_segment_may() {
    let partition = partition(&[("segment.ms", "1000")]);
    let begun = || partition.lock().log.newest().map(|chunk| chunk.base_offset);
    append(&partition, BatchBuilder::new(), 5_000, at(1_000_000));
    append(&partition, BatchBuilder::new(), 1_000, at(2_000_000));
    append(&partition, BatchBuilder::new(), 6_000, at(3_000_000));
    assert_eq!(begun(), Some(0), "the wall clock does not matter");
    append(&partition, BatchBuilder::new(), 6_001, at(3_000_000));
    assert_eq!(begun(), Some(3));
    append(&partition, BatchBuilder::new(), -1, at(9_000_000));
    assert_eq!(begun(), Some(3), "a record without a time is not late");
}

#[test]
fn a_chunk_that_begins_without_a_time_is_closed_by_when_it_was_begun() {
    let partition = partition(&[("segment.ms", "1000")]);
    let begun = || partition.lock().log.newest().map(|chunk| chunk.base_offset);
    append(&partition, BatchBuilder::new(), -1, at(5_000));
    append(&partition, BatchBuilder::new(), 900_000, at(6_000));
    assert_eq!(begun(), Some(0));
    append(&partition, BatchBuilder::new(), -1, at(6_001));
    assert_eq!(begun(), Some(2));
}

#[test]
fn a_chunk_of_a_compacted_log_spans_no_more_than_may_wait_for_compaction() {
    let configs = [
        ("cleanup.policy", "compact"),
        ("max.compaction.lag.ms", "500"),
    ];
    let partition = partition(&configs);
    let begun = || partition.lock().log.newest().map(|chunk| chunk.base_offset);
    append(&partition, BatchBuilder::new(), 1_000, at(1));
    append(&partition, BatchBuilder::new(), 1_500, at(1));
    assert_eq!(begun(), Some(0));
    append(&partition, BatchBuilder::new(), 1_501, at(1));
    assert_eq!(begun(), Some(2));
}

#[test]
fn append_times_never_go_back_even_if_the_clock_does() {
    let partition = partition(&[("message.timestamp.type", "LogAppendTime")]);
    for (stamped, kept) in [(500, 500), (499, 500), (700, 700), (100, 700), (800, 800)] {
        let builder = BatchBuilder::new().log_append_time(stamped);
        let appended = append(&partition, builder, 1, at(stamped));
        assert_eq!(appended.append_time_ms, Some(kept));
    }
    let mut times = Vec::new();
    let mut visit = |batch: &[u8]| {
        assert!(crc_matches(batch));
        times.push(BatchHeader::parse(batch).unwrap().max_timestamp);
        true
    };
    partition.each_batch(0, i64::MAX, &mut visit).unwrap();
    assert_eq!(times, [500, 500, 700, 700, 800]);
    let plain = append(&partition, BatchBuilder::new(), 1, at(1));
    assert_eq!(plain.append_time_ms, None);
}

/// Records without a time used to count as those of 1970 and were gone at the first look.
#[test]
fn records_without_a_time_age_from_when_the_last_of_their_chunk_was_written() {
    let partition = partition(&[]);
    append(&partition, BatchBuilder::new(), -1, at(999_000));
    append(&partition, BatchBuilder::new(), -1, at(1_000_000));
    let rules = RetentionRules {
        retention_ms: 500,
        retention_bytes: -1,
        delete: true,
    };
    partition.retain(&rules, at(1_000_500));
    assert_eq!(partition.offsets().log_start, 0);
    partition.retain(&rules, at(1_000_501));
    assert_eq!(
        partition.offsets().log_start,
        2,
        "the active part goes, too"
    );
}
