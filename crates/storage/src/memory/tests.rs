//! What only the memory engine promises: few wasted blocks, and a limit.

use super::*;
use crate::engine::Found;
use crate::limit::RESERVE_PART;
use crate::{Incoming, RetentionRules};
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord, batches};
use rustka_core::error::ErrorCode;
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_wire::Uuid;
use std::sync::atomic::Ordering::Relaxed;

const NOW: Now = Now::new(0, 1_000);

fn batch(value_bytes: usize) -> Vec<u8> {
    let value = vec![b'x'; value_bytes];
    let record = NewRecord {
        timestamp: 1_000,
        value: Some(&value),
        ..NewRecord::default()
    };
    BatchBuilder::new().record(&record).build().unwrap()
}

struct World {
    engine: Arc<MemoryEngine>,
    memory: Arc<Memory>,
    partition: Arc<Partition>,
}

fn append(world: &World, value_bytes: usize, keep: bool) -> i64 {
    let mut bytes = batch(value_bytes);
    let header = BatchHeader::parse(&bytes).unwrap();
    let incoming = if keep {
        let mut frame = world.memory.pool.take(bytes.len());
        frame.push(&bytes);
        Incoming::Kept(frame)
    } else {
        Incoming::Copied(&mut bytes)
    };
    world
        .partition
        .append(incoming, &header, Origin::Client, NOW)
        .unwrap()
        .base_offset
}

fn world(limit: usize) -> World {
    let memory = Memory::new(limit);
    let engine = Arc::new(MemoryEngine::new(memory.clone()));
    let partition = Partition::new(&*engine, Uuid([1; 16]), 0, true);
    World {
        engine,
        memory,
        partition,
    }
}

#[test]
fn every_offset_is_found_whatever_the_sizes_of_its_neighbours() {
    let world = world(64 << 20);
    for n in 0..400 {
        let keep = n % 3 == 0;
        assert_eq!(append(&world, 100 + n * 50, keep), n as i64);
    }
    for offset in 0..400 {
        let one = world.partition.read(offset, i64::MAX, 0, true).unwrap();
        assert_eq!(one.len(), 1);
        let header = BatchHeader::parse(&one[0]).unwrap();
        assert_eq!(
            (header.base_offset, header.total_bytes()),
            (offset, one[0].len())
        );
    }
    let all: usize = world
        .partition
        .read(0, i64::MAX, usize::MAX, true)
        .unwrap()
        .iter()
        .map(|slice| slice.len())
        .sum();
    assert_eq!(all as u64, world.partition.bytes());
    assert!(
        world
            .partition
            .read(0, i64::MAX, 10, false)
            .unwrap()
            .is_empty(),
        "no part of a batch is ever sent"
    );
}

#[test]
fn a_read_says_where_the_batch_after_it_begins() {
    let world = world(64 << 20);
    for n in 0..400 {
        append(&world, 100 + n * 50, n % 3 == 0);
    }
    for (offset, max_bytes) in (0..400).zip((0..).step_by(777)) {
        let (_, found) = world.partition.fetch(offset, false, max_bytes, true);
        let Ok(Found::Here {
            slices,
            next_offset,
        }) = found
        else {
            panic!("memory has everything at hand");
        };
        let read = slices.iter().flat_map(|slice| batches(slice));
        // There is one record in each.
        assert_eq!(next_offset, offset + read.count() as i64);
    }
    let (_, found) = world.partition.fetch(400, false, 1_000, true);
    assert!(matches!(
        found,
        Ok(Found::Here {
            next_offset: 400,
            ..
        })
    ));
}

#[test]
fn mixing_kept_and_copied_batches_wastes_no_blocks() {
    let world = world(1 << 30);
    for n in 0..200 {
        append(&world, 20_000, n % 2 == 0);
    }
    let used = world.memory.pool.bytes_in_use() as u64;
    assert!(
        used < world.partition.bytes() + (2 << 20),
        "{used} bytes for {}",
        world.partition.bytes()
    );
}

#[test]
fn at_the_limit_the_oldest_records_go_and_memory_is_used_again() {
    let world = world(4 << 20);
    for _ in 0..1_000 {
        world.engine.make_room().unwrap();
        append(&world, 30_000, true);
    }
    let offsets = world.partition.offsets();
    assert_eq!(offsets.high_watermark, 1_000);
    assert!(offsets.log_start > 800, "{offsets:?}");
    assert!(world.memory.pool.bytes_in_use() <= (4 << 20) + 40_000);
    assert!(world.memory.evicted.load(Relaxed) > 800);
}

#[test]
fn at_the_limit_what_is_dropped_is_what_the_next_writer_gets() {
    let world = world(4 << 20);
    let fill = || {
        for _ in 0..300 {
            world.engine.make_room().unwrap();
            append(&world, 30_000, true);
        }
        world.memory.pool.blocks_allocated()
    };
    let allocated = fill();
    assert_eq!(fill(), allocated);
}

#[test]
fn freed_blocks_of_a_size_nobody_asks_for_are_given_back() {
    let world = world(4 << 20);
    let pool = &world.memory.pool;
    for bytes in [30_000, 50_000, 20_000, 70_000] {
        for _ in 0..300 {
            world.engine.make_room().unwrap();
            append(&world, bytes, true);
            let all = pool.bytes_in_use() + pool.bytes_kept();
            assert!(all <= (4 << 20) + (4 << 20) / RESERVE_PART + 2 * bytes);
        }
    }
}

#[test]
fn at_the_limit_with_nothing_to_drop_a_write_is_refused() {
    let world = world(1 << 20);
    world.partition.set_evictable(false);
    let refused = (0..200).find_map(|_| {
        let refused = world.engine.make_room().err();
        if refused.is_none() {
            append(&world, 30_000, true);
        }
        refused
    });
    assert_eq!(refused.unwrap().code, ErrorCode::KafkaStorageError);
    assert_eq!(world.partition.offsets().log_start, 0);
}

/// Chunks that the limit had passed over while their topic was compacted were never looked at again: once the topic
/// deleted, its old records stayed, newer ones of others went, and in the end every write was refused.
#[test]
fn records_may_be_dropped_again_once_their_topic_deletes() {
    let world = world(1 << 20);
    let other = World {
        engine: world.engine.clone(),
        memory: world.memory.clone(),
        partition: Partition::new(&*world.engine, Uuid([2; 16]), 0, true),
    };
    world.partition.set_evictable(false);
    for _ in 0..20 {
        append(&world, 30_000, true);
    }
    for _ in 0..40 {
        world.engine.make_room().unwrap();
        append(&other, 30_000, true);
    }
    assert_eq!(world.partition.offsets().log_start, 0);
    let others_start = other.partition.offsets().log_start;
    assert!(others_start > 0);
    // Changing it back and forth neither loses a chunk nor remembers it twice.
    for _ in 0..100 {
        world.partition.set_evictable(true);
        world.partition.set_evictable(false);
    }
    world.partition.set_evictable(true);
    assert_eq!(world.engine.order.len(), 2);
    for _ in 0..20 {
        world.engine.make_room().unwrap();
        append(&other, 30_000, true);
    }
    assert!(
        world.partition.offsets().log_start >= 18,
        "the oldest go first"
    );
    assert_eq!(other.partition.offsets().log_start, others_start);
    for _ in 0..100 {
        world.engine.make_room().unwrap();
        append(&world, 30_000, true);
    }
}

const ALL_AT_ONCE: RetentionRules = RetentionRules {
    retention_ms: 0,
    retention_bytes: -1,
    delete: true,
};

/// The order of eviction kept an entry for every chunk that retention or DeleteRecords had dropped: a broker with short
/// retention grew by gigabytes a day, outside of its memory limit.
#[test]
fn chunks_that_go_before_the_limit_asks_leave_nothing_behind() {
    let world = world(64 << 20);
    let later = Now::new(0, 1_001);
    for _ in 0..1_000 {
        append(&world, 20_000, true);
        append(&world, 20_000, true);
        world.partition.retain(&ALL_AT_ONCE, later);
        append(&world, 20_000, true);
        assert_eq!(world.engine.order.len(), 1);
        world.partition.delete_records(-1).unwrap();
        assert_eq!(world.engine.order.len(), 0);
    }
    append(&world, 20_000, true);
    assert_eq!(world.engine.order.len(), 1);
}

/// Each of those entries also kept its partition from being freed: a test suite that makes and deletes topics all day
/// paid for every one of them.
#[test]
fn a_partition_that_has_gone_leaves_nothing_behind() {
    let world = world(64 << 20);
    let (deleted, dropped) = (
        Partition::new(&*world.engine, Uuid([2; 16]), 0, true),
        Partition::new(&*world.engine, Uuid([2; 16]), 1, true),
    );
    for partition in [&deleted, &dropped] {
        let other = World {
            engine: world.engine.clone(),
            memory: world.memory.clone(),
            partition: partition.clone(),
        };
        append(&other, 20_000, true);
        append(&other, 100, false);
    }
    assert_eq!(world.engine.order.len(), 2);
    deleted.delete();
    drop(dropped);
    assert_eq!(world.engine.order.len(), 0);
    assert_eq!(world.memory.pool.bytes_in_use(), 0);
}

/// One log has one place in the order, so that two writers at the limit may meet at the last one: the second must not
/// take it for an order with nothing to drop.
#[test]
fn writers_that_meet_at_the_limit_are_not_refused() {
    let world = world(1 << 20);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    world.engine.make_room().unwrap();
                    append(&world, 20_000, true);
                }
            });
        }
    });
    assert_eq!(world.partition.offsets().high_watermark, 8_000);
}

#[test]
fn retention_drops_whole_chunks_by_size_and_by_age() {
    let world = world(64 << 20);
    for _ in 0..10 {
        append(&world, 20_000, true);
    }
    let rules = RetentionRules {
        retention_ms: -1,
        retention_bytes: 65_000,
        delete: true,
    };
    world.partition.retain(&rules, NOW);
    assert_eq!(world.partition.offsets().log_start, 6);
    let rules = RetentionRules {
        retention_ms: 500,
        retention_bytes: -1,
        delete: true,
    };
    world.partition.retain(&rules, NOW);
    assert_eq!(world.partition.offsets().log_start, 6, "not yet old enough");
    world.partition.retain(&rules, Now::new(0, 1_501));
    assert_eq!(
        (world.partition.offsets().log_start, world.partition.bytes()),
        (10, 0)
    );
}

/// A partition that got a kilobyte now and then took chunks as large as one under load: hundreds of them filled the
/// limit with room that nobody used, and every write was refused.
#[test]
fn many_slow_partitions_cost_what_they_hold() {
    let world = world(64 << 20);
    let partitions: Vec<World> = (0..200)
        .map(|index| World {
            engine: world.engine.clone(),
            memory: world.memory.clone(),
            partition: Partition::new(&*world.engine, Uuid([2; 16]), index, true),
        })
        .collect();
    for _ in 0..100 {
        for one in &partitions {
            append(one, 1_000, false);
        }
        let held: u64 = partitions.iter().map(|one| one.partition.bytes()).sum();
        let used = world.memory.pool.bytes_in_use() as u64;
        assert!(used <= 2 * held + 200 * (5 << 10), "{used} for {held}");
    }
}
