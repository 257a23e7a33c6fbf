//! What partitions make of media that take time, are opened again and fail, played by the test engine.

use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::config::{BrokerConfig, Overrides, Scope, SharedConfig, TopicConfig};
use rustka_core::error::ErrorCode;
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::engine::{Found, PartitionName};
use rustka_storage::testing::{PLENTY, Random, Step, TestEngine, append};
use rustka_storage::{Appended, Partition, RetentionRules};
use rustka_wire::Uuid;
use std::sync::Arc;

const TOPIC: Uuid = Uuid([7; 16]);
const NOW: Now = Now::new(0, 1_000);

fn open(engine: &Arc<TestEngine>) -> Arc<Partition> {
    let name = PartitionName {
        topic: "t",
        topic_id: TOPIC,
        index: 0,
    };
    Partition::open(&**engine, &name, true, NOW)
}

fn engine() -> Arc<TestEngine> {
    let engine = TestEngine::new(PLENTY);
    engine.keep();
    engine
}

fn write(partition: &Partition, batch: BatchBuilder) -> Result<Appended, ErrorCode> {
    append(partition, batch, Origin::Client, NOW).map_err(|refusal| refusal.code)
}

fn put(partition: &Partition, key: u64) -> Result<i64, ErrorCode> {
    let record = NewRecord {
        timestamp: 1_000,
        key: Some(&key.to_be_bytes()),
        value: Some(&[7; 300]),
        ..NewRecord::default()
    };
    let appended = write(partition, BatchBuilder::new().record(&record));
    appended.map(|appended| appended.base_offset)
}

fn sequenced(sequence: i32) -> BatchBuilder {
    let record = NewRecord::default();
    BatchBuilder::new().producer(9, 0, sequence).record(&record)
}

/// All offsets that a consumer finds.
fn offsets(partition: &Partition) -> Vec<i64> {
    let seen = partition.offsets();
    let (from, upper) = (seen.log_start, seen.high_watermark);
    let mut offsets = Vec::new();
    let mut visit = |batch: &[u8]| {
        let header = BatchHeader::parse(batch).expect("a batch");
        offsets.extend(
            (header.base_offset..=header.last_offset().expect("small")).skip_while(|at| *at < from),
        );
        true
    };
    partition
        .each_batch(from, upper, &mut visit)
        .expect("readable");
    offsets
}

fn compacted(partition: &Partition) {
    let broker = BrokerConfig::new([], false).expect("defaults");
    let configs = [("cleanup.policy", Some("compact"))];
    let overrides = Overrides::parse(Scope::Topic, configs).expect("valid");
    let config = TopicConfig::resolve(&broker, &overrides);
    partition.obey(&Arc::new(SharedConfig::new(Arc::new(config))));
}

#[test]
fn a_partition_that_is_opened_again_has_what_was_durable_and_nothing_else() {
    let engine = engine();
    let first = open(&engine);
    for sequence in 0..3 {
        write(&first, sequenced(sequence)).expect("an append");
    }
    first.delete_records(1).expect("within the log");
    engine.hold();
    write(&first, sequenced(3)).expect("an append");
    write(&first, sequenced(4)).expect("an append");
    assert!(engine.settle(&first));
    drop(first);
    let again = open(&engine);
    let seen = again.offsets();
    assert_eq!(
        (seen.log_start, seen.high_watermark, seen.log_end),
        (1, 4, 4)
    );
    assert_eq!(offsets(&again), [1, 2, 3]);
    // Its producer goes on where it was, and what was lost may come again.
    let duplicate = write(&again, sequenced(3)).expect("known");
    assert_eq!(
        (
            duplicate.base_offset,
            duplicate.duplicate_timestamp.is_some()
        ),
        (3, true)
    );
    assert_eq!(write(&again, sequenced(4)).expect("new").base_offset, 4);
    let gap = write(&again, sequenced(9)).err();
    assert_eq!(gap, Some(ErrorCode::OutOfOrderSequenceNumber));
}

#[test]
fn a_log_is_told_of_its_partition_when_it_rolls_when_records_are_deleted_and_at_checkpoints() {
    let engine = engine();
    engine.limit_chunks(800);
    let partition = open(&engine);
    let told = || engine.checkpoint_of(TOPIC, 0);
    put(&partition, 1).expect("an append");
    assert!(told().is_none());
    while partition.offsets().log_end < 3 {
        put(&partition, 1).expect("an append");
    }
    let at_roll = told().expect("a chunk is full");
    assert_eq!(
        (at_roll.log_start, at_roll.next_offset),
        (0, 2),
        "before the batch that had no room"
    );
    write(&partition, sequenced(0)).expect("an append");
    assert!(partition.checkpoint());
    let at_checkpoint = told().expect("told");
    assert_eq!(at_checkpoint.next_offset, 4);
    assert_eq!(at_checkpoint.producers().count(), 1);
    partition.delete_records(3).expect("within the log");
    assert_eq!(told().expect("told").log_start, 3);
}

#[test]
fn a_partition_that_cannot_be_opened_is_offline_and_refuses() {
    let engine = engine();
    put(&open(&engine), 1).expect("an append");
    engine.fail_next(Step::Open, TOPIC, 0);
    let partition = open(&engine);
    assert_eq!(put(&partition, 2), Err(ErrorCode::KafkaStorageError));
    let (_, read) = partition.fetch(0, false, 1_000, true);
    assert_eq!(read.err(), Some(ErrorCode::KafkaStorageError));
    assert!(!partition.wants_rebuild() && partition.closed().is_empty());
    partition.delete();
    assert_eq!(offsets(&open(&engine)), [0], "nothing was lost by it");
}

#[test]
fn after_a_roll_that_failed_the_partition_takes_no_more_and_is_read_on() {
    let engine = engine();
    engine.limit_chunks(800);
    let partition = open(&engine);
    engine.fail_next(Step::Roll, TOPIC, 0);
    let refused = (0..20).find_map(|_| put(&partition, 1).err());
    assert_eq!(refused, Some(ErrorCode::KafkaStorageError));
    assert_eq!(put(&partition, 1), Err(ErrorCode::KafkaStorageError));
    assert_eq!(offsets(&partition), [0, 1]);
}

#[test]
fn what_could_not_be_dropped_goes_the_next_time_and_is_not_seen_meanwhile() {
    let engine = engine();
    let partition = open(&engine);
    for key in 0..4 {
        put(&partition, key).expect("an append");
        partition.roll();
    }
    let one = partition.bytes() / 4;
    engine.fail_next(Step::Drop, TOPIC, 0);
    assert_eq!(partition.delete_records(2).expect("its start moved"), 2);
    assert_eq!(
        (partition.bytes(), offsets(&partition)),
        (one * 4, vec![2, 3])
    );
    let rules = RetentionRules {
        retention_ms: -1,
        retention_bytes: -1,
        delete: true,
    };
    partition.retain(&rules, NOW);
    assert_eq!(partition.bytes(), one * 2);
    // Retention that fails changes nothing.
    engine.fail_next(Step::Drop, TOPIC, 0);
    let all = RetentionRules {
        retention_bytes: 0,
        ..rules
    };
    partition.retain(&all, NOW);
    assert_eq!(
        (partition.offsets().log_start, partition.bytes()),
        (2, one * 2)
    );
    partition.retain(&all, NOW);
    assert_eq!((partition.offsets().log_start, partition.bytes()), (4, 0));
    engine.fail_next(Step::Checkpoint, TOPIC, 0);
    put(&partition, 1).expect("an append");
    let told = partition.delete_records(5).map_err(|refusal| refusal.code);
    assert_eq!(
        told,
        Err(ErrorCode::KafkaStorageError),
        "it would come back"
    );
}

#[test]
fn what_is_not_at_hand_is_loaded_without_the_lock() {
    let engine = engine();
    let partition = open(&engine);
    for key in 0..10 {
        put(&partition, key).expect("an append");
    }
    engine.cool(&partition);
    let (_, found) = partition.fetch(3, false, usize::MAX, true);
    let Ok(Found::Cold(load)) = found else {
        panic!("it is cold");
    };
    let bytes = load.bytes();
    // The partition goes on, and what was found stays found.
    put(&partition, 10).expect("an append");
    partition.delete_records(9).expect("within the log");
    let slices = load.run().expect("a load");
    assert_eq!(slices.iter().map(|slice| slice.len()).sum::<usize>(), bytes);
    let first = BatchHeader::parse(&slices[0]).expect("a batch");
    assert_eq!((first.base_offset, engine.loads()), (3, 1));
    engine.fail_next(Step::Load, TOPIC, 0);
    let (_, found) = partition.fetch(9, false, usize::MAX, true);
    assert!(found.expect("cold").load().is_err());
    assert_eq!(offsets(&partition), [9, 10]);
}

/// The newest offset of each key, which compaction has to leave.
fn newest(count: i64, keys: i64) -> Vec<i64> {
    (count - keys..count).collect()
}

#[test]
fn compaction_reads_cold_chunks_piece_by_piece_and_writes_into_sinks() {
    let engine = engine();
    engine.limit_chunks(20_000);
    let partition = open(&engine);
    compacted(&partition);
    engine.cool(&partition);
    for n in 0..1_000 {
        put(&partition, n % 5).expect("an append");
    }
    partition.roll();
    put(&partition, 77).expect("an append");
    partition.give_up_compaction();
    while partition.wants_compaction(NOW) {
        assert!(partition.compact(NOW, 1).records_dropped > 0);
    }
    let left = offsets(&partition);
    assert_eq!(left[..5], newest(1_000, 5), "the newest of each key");
    drop(partition);
    assert_eq!(
        offsets(&open(&engine)),
        left,
        "also when it is opened again"
    );
}

#[test]
fn a_round_of_compaction_that_fails_at_any_step_loses_nothing() {
    for step in [Step::Load, Step::Sink, Step::Swap] {
        let engine = engine();
        engine.limit_chunks(20_000);
        let partition = open(&engine);
        compacted(&partition);
        engine.cool(&partition);
        for n in 0..1_000 {
            put(&partition, n % 5).expect("an append");
        }
        partition.roll();
        put(&partition, 77).expect("an append");
        partition.give_up_compaction();
        let before = offsets(&partition);
        engine.fail_next(step, TOPIC, 0);
        assert!(partition.wants_compaction(NOW));
        assert_eq!(partition.compact(NOW, 1).records_dropped, 0, "{step:?}");
        assert_eq!(offsets(&partition), before, "{step:?}");
        assert!(partition.wants_compaction(NOW), "{step:?}");
        partition.compact(NOW, 1);
        assert_eq!(offsets(&partition)[..5], newest(1_000, 5), "{step:?}");
    }
}

#[test]
fn random_histories_lose_nothing_durable_whatever_fails_and_however_often_it_is_opened() {
    for seed in 1..60u64 {
        let mut random = Random(seed);
        let engine = engine();
        engine.limit_chunks(3_000);
        engine.hold();
        let mut partition = open(&engine);
        let (mut durable, mut log_start) = (0, 0);
        for step in 0..300 {
            let context = format!("seed {seed} step {step}");
            match random.below(20) {
                0..=8 => {
                    // After a failure it is opened again, as an operator would.
                    if put(&partition, random.below(4)).is_err() {
                        partition = open(&engine);
                    }
                }
                9..=12 => {
                    engine.settle(&partition);
                }
                13 => {
                    let high = partition.offsets().high_watermark;
                    let to = random.below(high as u64 + 1) as i64;
                    if partition.delete_records(to).is_ok() {
                        log_start = partition.offsets().log_start;
                    }
                }
                14 => partition = open(&engine),
                15 => engine.write_all(),
                16 => {
                    let steps = [
                        Step::Append,
                        Step::Roll,
                        Step::Checkpoint,
                        Step::Drop,
                        Step::Load,
                    ];
                    let fails = steps[random.below(5) as usize];
                    engine.fail_next(fails, TOPIC, 0);
                }
                17 => {
                    partition.checkpoint();
                }
                18 => partition.roll(),
                _ => engine.cool(&partition),
            }
            let seen = partition.offsets();
            assert!(
                seen.high_watermark >= durable,
                "{context}: {seen:?} {durable}"
            );
            assert!(seen.log_start >= log_start, "{context}: {seen:?}");
            durable = seen.high_watermark;
            let all: Vec<i64> = (seen.log_start..durable).collect();
            let mut found = Vec::new();
            let read = partition.each_batch(seen.log_start, durable, |batch| {
                found.push(BatchHeader::parse(batch).expect("a batch").base_offset);
                true
            });
            // A load may have been told to fail.
            if read.is_ok() {
                assert_eq!(found, all, "{context}");
            }
        }
    }
}
