//! A partition whose engine misbehaves. What every engine has to do stands in `tests/conformance.rs`.

use super::*;
use crate::engine::{
    Batch, ChunkInfo, Closed, Found, Garbage, Incoming, Late, OpenFailed, Opened, PartitionName,
    ReadFailed, Replacement, Sink, Span, Stored, SwapFailed, WriteFailed,
};
use crate::limit::Memory;
use crate::memory::MemoryEngine;
use crate::waiters::Fired;
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::error::Refusal;
use rustka_core::log::Origin;
use rustka_core::time::Now;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::task::{Context, Poll, Waker};

/// Panics once, at the second batch of partition 0.
struct Clumsy(MemoryEngine);

struct ClumsyLog {
    log: Box<dyn Log>,
    clumsy: bool,
}

impl Engine for Clumsy {
    fn open(&self, home: &Weak<Partition>, name: &PartitionName<'_>) -> Result<Opened, OpenFailed> {
        let log = self.0.open(home, name)?.log;
        let clumsy = name.index == 0;
        Ok(Opened::new(Box::new(ClumsyLog { log, clumsy })))
    }

    fn memory(&self) -> &Arc<Memory> {
        self.0.memory()
    }

    fn make_room(&self) -> Result<(), Refusal> {
        self.0.make_room()
    }
}

impl Log for ClumsyLog {
    fn append(&mut self, batch: Batch<'_>) -> Result<Stored, WriteFailed> {
        let clumsy = self.clumsy && batch.base_offset == 1;
        if clumsy {
            self.clumsy = false;
            panic!("clumsy on purpose");
        }
        self.log.append(batch)
    }
    fn read(&self, span: Span) -> Result<Found, ReadFailed> {
        self.log.read(span)
    }
    fn bytes(&self) -> u64 {
        self.log.bytes()
    }
    fn oldest(&self) -> Option<ChunkInfo> {
        self.log.oldest()
    }
    fn newest(&self) -> Option<ChunkInfo> {
        self.log.newest()
    }
    fn each_chunk(&self, offset: i64, visit: &mut dyn FnMut(&ChunkInfo) -> bool) {
        self.log.each_chunk(offset, visit);
    }
    fn first_late(&self, offset: i64, timestamp: i64) -> Option<Late> {
        self.log.first_late(offset, timestamp)
    }

    fn drop_oldest(&mut self) -> Result<Garbage, WriteFailed> {
        self.log.drop_oldest()
    }
    fn roll(&mut self, state: &PartitionState) -> Result<(), WriteFailed> {
        self.log.roll(state)
    }
    fn closed(&self) -> Vec<Closed> {
        self.log.closed()
    }
    fn sink(&self, bytes: usize) -> Result<Box<dyn Sink>, WriteFailed> {
        self.log.sink(bytes)
    }
    fn swap(
        &mut self,
        from: i64,
        to: i64,
        with: Vec<Replacement>,
        state: &PartitionState,
    ) -> Result<Garbage, SwapFailed> {
        self.log.swap(from, to, with, state)
    }
    fn may_be_evicted(&mut self, may: bool) {
        self.log.may_be_evicted(may);
    }
    fn clear(&mut self) -> Result<Garbage, WriteFailed> {
        self.log.clear()
    }
}

const NOW: Now = Now::new(0, 0);

fn append(partition: &Partition) -> Result<i64, ErrorCode> {
    let record = NewRecord {
        value: Some(b"v"),
        ..NewRecord::default()
    };
    let mut bytes = BatchBuilder::new().record(&record).build().unwrap();
    let header = BatchHeader::parse(&bytes).unwrap();
    partition
        .append(Incoming::Copied(&mut bytes), &header, Origin::Client, NOW)
        .map(|appended| appended.base_offset)
        .map_err(|refusal| refusal.code)
}

#[test]
fn a_panic_under_the_lock_takes_the_partition_offline_until_it_is_rebuilt_and_no_other() {
    let engine = Clumsy(MemoryEngine::new(Memory::new(1 << 20)));
    let (bad, good) = (
        Partition::new(&engine, Uuid([1; 16]), 0, true),
        Partition::new(&engine, Uuid([1; 16]), 1, true),
    );
    assert_eq!((append(&bad), append(&good)), (Ok(0), Ok(0)));
    let waiter = Waiter::new();
    bad.register(&waiter);
    assert!(catch_unwind(AssertUnwindSafe(|| append(&bad))).is_err());
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(waiter.poll_fired(&mut cx), Poll::Ready(Fired::Changed));
    assert_eq!(append(&bad), Err(ErrorCode::KafkaStorageError));
    let (_, read) = bad.fetch(0, false, 1_000, true);
    assert_eq!(read.err(), Some(ErrorCode::KafkaStorageError));
    assert_eq!(
        bad.with_state(|state| state.next_offset),
        Err(ErrorCode::KafkaStorageError)
    );
    assert_eq!(append(&good), Ok(1));
    assert!(bad.wants_rebuild() && !good.wants_rebuild());
    assert!(bad.rebuild(NOW));
    assert!(!bad.wants_rebuild());
    assert_eq!(append(&bad), Ok(1), "the offset that was never told");
    let (offsets, read) = bad.fetch(0, false, 1_000, true);
    assert_eq!(offsets.high_watermark, 2);
    assert!(read.is_ok_and(|found| found.bytes() > 0));
    // Its memory still comes back when its topic goes.
    bad.delete();
    assert_eq!(bad.bytes(), 0);
}

/// While a partition was offline, memory became full and passed over its chunks: once it was back, all newer records
/// of other topics went before its old ones, and in the end every write was refused.
#[test]
fn a_partition_that_is_back_after_a_panic_may_lose_records_to_the_memory_limit_again() {
    let engine = Clumsy(MemoryEngine::new(Memory::new(1 << 20)));
    let (bad, good) = (
        Partition::new(&engine, Uuid([1; 16]), 0, true),
        Partition::new(&engine, Uuid([1; 16]), 1, true),
    );
    assert_eq!(append(&bad), Ok(0));
    assert!(catch_unwind(AssertUnwindSafe(|| append(&bad))).is_err());
    let fill = |partition: &Partition| {
        for _ in 0..100 {
            engine.make_room().unwrap();
            append_large(&engine, partition);
        }
    };
    fill(&good);
    assert_eq!(bad.offsets().log_start, 0, "it is offline");
    assert!(good.offsets().log_start > 0, "memory is full");
    assert!(bad.rebuild(NOW));
    engine.make_room().unwrap();
    append_large(&engine, &good);
    engine.make_room().unwrap();
    append_large(&engine, &good);
    assert_eq!(bad.offsets().log_start, 1, "the oldest goes first");
    fill(&bad);
    assert!(bad.offsets().log_start > 1);
}

fn append_large(engine: &Clumsy, partition: &Partition) {
    let record = NewRecord {
        value: Some(&[7; 20_000]),
        ..NewRecord::default()
    };
    let bytes = BatchBuilder::new().record(&record).build().unwrap();
    let header = BatchHeader::parse(&bytes).unwrap();
    let mut frame = engine.memory().pool.take(bytes.len());
    frame.push(&bytes);
    let appended = partition.append(Incoming::Kept(frame), &header, Origin::Client, NOW);
    appended.unwrap();
}
