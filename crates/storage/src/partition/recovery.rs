//! Opening a partition: what its engine was told of it last, and what its batches say beyond that.

use crate::buffer::Slice;
use crate::engine::{
    Batch, ChunkInfo, Closed, Engine, Found, Garbage, Late, Log, OpenFailed, PartitionName,
    ReadFailed, Replacement, Sink, Span, Stored, SwapFailed, WriteFailed,
};
use crate::partition::Partition;
use rustka_core::batch::batches;
use rustka_core::log::PartitionState;
use rustka_core::log::replay::{Replay, Unusable};
use rustka_core::time::Now;
use std::sync::Weak;

/// Batches read at once.
const READ_BYTES: usize = 4 << 20;

/// A log, and the state that its batches led to.
pub(super) struct Recovered {
    pub log: Box<dyn Log>,
    pub state: PartitionState,
    /// Below this at most one record of each key is left.
    pub cleaned: i64,
}

/// The log of a partition with its state; or why there is none.
pub(super) fn recover(
    engine: &dyn Engine,
    home: &Weak<Partition>,
    name: &PartitionName<'_>,
    now: Now,
) -> Result<Recovered, String> {
    let opened = engine.open(home, name);
    let opened = opened.map_err(|OpenFailed(why)| why)?;
    let log = opened.log;
    let oldest = log.oldest().map_or(0, |chunk| chunk.base_offset);
    let (mut replay, mut from) = match opened.checkpoint {
        Some(state) => {
            let from = state.next_offset;
            (Replay::resume(state, now), from)
        }
        None => (Replay::new(0, now), oldest),
    };
    let unusable = |why: Unusable| format!("its batches do not fit together: {why:?}");
    loop {
        let span = Span {
            offset: from,
            upper: i64::MAX,
            max_bytes: READ_BYTES,
            at_least_one: true,
        };
        let read = log.read(span).and_then(Found::load);
        let slices = read.map_err(|ReadFailed| "its log cannot be read".to_owned())?;
        let next = see_all(&mut replay, &slices).map_err(unusable)?;
        let Some(next) = next else {
            break;
        };
        from = next;
    }
    let mut state = replay.finish(opened.log_start);
    state.next_offset = state.next_offset.max(opened.log_end);
    Ok(Recovered {
        log,
        state,
        cleaned: opened.cleaned,
    })
}

/// Goes over these batches; where the last of them ends.
pub(super) fn see_all(replay: &mut Replay, slices: &[Slice]) -> Result<Option<i64>, Unusable> {
    let mut next = None;
    for slice in slices {
        for batch in batches(slice) {
            let (header, range) = batch?;
            replay.see(&header, &slice[range])?;
            next = header.last_offset().and_then(|last| last.checked_add(1));
        }
    }
    Ok(next)
}

/// In the place of a log that could not be opened: holds nothing and takes nothing.
pub(super) struct NoLog;

impl Log for NoLog {
    fn append(&mut self, _: Batch<'_>) -> Result<Stored, WriteFailed> {
        Err(WriteFailed)
    }
    fn roll(&mut self, _: &PartitionState) -> Result<(), WriteFailed> {
        Err(WriteFailed)
    }
    fn read(&self, _: Span) -> Result<Found, ReadFailed> {
        Err(ReadFailed)
    }
    fn bytes(&self) -> u64 {
        0
    }
    fn oldest(&self) -> Option<ChunkInfo> {
        None
    }
    fn newest(&self) -> Option<ChunkInfo> {
        None
    }
    fn each_chunk(&self, _: i64, _: &mut dyn FnMut(&ChunkInfo) -> bool) {}
    fn first_late(&self, _: i64, _: i64) -> Option<Late> {
        None
    }
    fn drop_oldest(&mut self) -> Result<Garbage, WriteFailed> {
        Err(WriteFailed)
    }
    fn closed(&self) -> Vec<Closed> {
        Vec::new()
    }
    fn sink(&self, _: usize) -> Result<Box<dyn Sink>, WriteFailed> {
        Err(WriteFailed)
    }
    fn swap(
        &mut self,
        _: i64,
        _: i64,
        _: Vec<Replacement>,
        _: &PartitionState,
    ) -> Result<Garbage, SwapFailed> {
        Err(SwapFailed::Stale)
    }
    fn clear(&mut self) -> Result<Garbage, WriteFailed> {
        Err(WriteFailed)
    }
}
