//! Finding a record by its time in one partition. What chunks and headers tell is looked at first; a batch is only
//! inflated when what is looked for may be in it.

use rustka_core::batch::BatchHeader;
use rustka_core::compression::InflateLimits;
use rustka_core::error::Refusal;
use rustka_core::log::timestamps::{self, TimestampedOffset};
use rustka_storage::Partition;
use rustka_storage::engine::ChunkInfo;
use std::ops::Range;

/// A byte of a compressed batch costs as much as so many others.
const INFLATE_COST: usize = 4;
/// What a look at a header costs.
const LOOK_COST: usize = 64;
/// What a look at a chunk costs, without one at its batches.
const CHUNK_COST: usize = 8;

/// How many bytes of batches may still be looked into before somebody else should do it.
pub struct Effort(Option<usize>);

impl Effort {
    /// So many.
    pub fn at_most(bytes: usize) -> Effort {
        Effort(Some(bytes))
    }

    /// All there are.
    pub fn unlimited() -> Effort {
        Effort(None)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Stopped> {
        if let Some(left) = self.0 {
            self.0 = Some(left.checked_sub(bytes).ok_or(Stopped::TooLong)?);
        }
        Ok(())
    }

    /// What has to be loaded first is nothing to be waited for here.
    fn load(&self, cold: bool) -> Result<(), Stopped> {
        match cold && self.0.is_some() {
            true => Err(Stopped::TooLong),
            false => Ok(()),
        }
    }

    fn spend_on_batch(&mut self, header: &BatchHeader) -> Result<(), Stopped> {
        match header.is_compressed() {
            true => self.spend(header.total_bytes().saturating_mul(INFLATE_COST)),
            false => Ok(()),
        }
    }
}

/// Why a search has no result.
pub enum Stopped {
    /// It would take longer than it may.
    TooLong,
    /// The partition or a batch cannot be read.
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Stopped::Refused(error.into())
    }
}

/// The first record by offset within `readable` whose time is `target` or later (E46).
pub fn first_at_or_after(
    partition: &Partition,
    target: i64,
    readable: Range<i64>,
    limits: InflateLimits,
    effort: &mut Effort,
) -> Result<Option<TimestampedOffset>, Stopped> {
    let mut from = readable.start;
    while let Some(late) = partition.first_late(from, target)? {
        let offsets = late.offsets;
        if offsets.start >= readable.end {
            break;
        }
        effort.load(late.cold)?;
        let upper = offsets.end.min(readable.end);
        let mut found = Ok(None);
        partition.each_batch(offsets.start, upper, |batch| {
            found = first_in(batch, target, readable.start, limits, effort);
            matches!(found, Ok(None))
        })?;
        if let Some(record) = found? {
            return Ok((record.offset < readable.end).then_some(record));
        }
        from = offsets.end;
    }
    Ok(None)
}

fn first_in(
    batch: &[u8],
    target: i64,
    offset_min: i64,
    limits: InflateLimits,
    effort: &mut Effort,
) -> Result<Option<TimestampedOffset>, Stopped> {
    let header = BatchHeader::parse(batch)?;
    effort.spend(LOOK_COST)?;
    if header.max_timestamp < target {
        return Ok(None);
    }
    effort.spend_on_batch(&header)?;
    Ok(timestamps::first_at_or_after(
        batch, target, offset_min, limits,
    )?)
}

/// The first record within `readable` with the largest timestamp (E47). As in Kafka, only the batch whose header says
/// the latest one is looked into.
pub fn latest(
    partition: &Partition,
    readable: Range<i64>,
    limits: InflateLimits,
    effort: &mut Effort,
) -> Result<Option<TimestampedOffset>, Stopped> {
    let mut best: Option<BatchHeader> = None;
    for chunk in latest_chunks(partition, &readable, effort)? {
        effort.load(chunk.cold)?;
        let from = readable.start.max(chunk.base_offset);
        let upper = chunk.next_offset.min(readable.end);
        let mut looked = Ok(());
        partition.each_batch(from, upper, |batch| {
            looked = effort.spend(LOOK_COST);
            if let Ok(header) = BatchHeader::parse(batch)
                && best.is_none_or(|best| header.max_timestamp > best.max_timestamp)
            {
                best = Some(header);
            }
            looked.is_ok()
        })?;
        looked?;
    }
    let Some(best) = best else {
        return Ok(None);
    };
    effort.spend_on_batch(&best)?;
    let mut found = Ok(None);
    partition.each_batch(best.base_offset, readable.end, |batch| {
        found = timestamps::latest(batch, limits);
        false
    })?;
    Ok(found?.filter(|record| record.offset < readable.end))
}

/// The chunks that may hold it, in their order: the first of those with the latest time, and before and behind it the
/// ones that are readable in part only, whose latest record may not be.
fn latest_chunks(
    partition: &Partition,
    readable: &Range<i64>,
    effort: &mut Effort,
) -> Result<Vec<ChunkInfo>, Stopped> {
    let mut latest: Option<ChunkInfo> = None;
    let (mut edges, mut seen) = (Vec::new(), 0);
    partition.each_chunk(readable.start, |chunk| {
        if chunk.base_offset >= readable.end {
            return false;
        }
        seen += 1;
        if chunk.base_offset < readable.start || chunk.next_offset > readable.end {
            edges.push(*chunk);
        } else if latest.is_none_or(|latest| chunk.max_timestamp > latest.max_timestamp) {
            latest = Some(*chunk);
        }
        true
    })?;
    effort.spend(seen * CHUNK_COST)?;
    let may_be_later =
        |chunk: &ChunkInfo| latest.is_none_or(|latest| chunk.max_timestamp >= latest.max_timestamp);
    edges.retain(may_be_later);
    edges.extend(latest);
    edges.sort_by_key(|chunk| chunk.base_offset);
    Ok(edges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka_core::batch::{BatchBuilder, NewRecord};
    use rustka_core::compression::Codec;
    use rustka_core::log::Origin;
    use rustka_core::time::Now;
    use rustka_storage::Memory;
    use rustka_storage::memory::MemoryEngine;
    use rustka_storage::{Engine, Incoming};
    use rustka_wire::codec::Uuid;
    use std::sync::Arc;

    /// Numbers that look like chance and are the same in each run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) % n
        }
    }

    /// A log of chunks of several batches each, the times of its records, and where batches end.
    fn log(random: &mut Random) -> (Arc<Partition>, Vec<i64>, Vec<i64>) {
        let engine = MemoryEngine::new(Memory::new(1 << 30));
        let partition = Partition::new(&engine as &dyn Engine, Uuid([1; 16]), 0, true);
        let (mut times, mut ends) = (Vec::new(), vec![0]);
        for n in 0..60 {
            let codec = Codec::ALL[random.below(5) as usize];
            let mut builder = BatchBuilder::new().compression(codec, None);
            for _ in 0..=random.below(4) {
                let timestamp = n + random.below(20) as i64;
                let timestamp = if random.below(9) == 0 { -1 } else { timestamp };
                times.push(timestamp);
                builder.push(&NewRecord {
                    timestamp,
                    ..NewRecord::default()
                });
            }
            let mut batch = builder.build().unwrap();
            let header = BatchHeader::parse(&batch).unwrap();
            let incoming = Incoming::Copied(&mut batch);
            let now = Now::new(0, 0);
            partition
                .append(incoming, &header, Origin::Client, now)
                .unwrap();
            ends.push(times.len() as i64);
            if random.below(4) == 0 {
                partition.roll();
            }
        }
        (partition, times, ends)
    }

    fn found(result: Result<Option<TimestampedOffset>, Stopped>) -> Option<Option<(i64, i64)>> {
        match result {
            Ok(found) => Some(found.map(|record| (record.offset, record.timestamp))),
            Err(Stopped::TooLong) => None,
            Err(Stopped::Refused(refusal)) => panic!("{refusal:?}"),
        }
    }

    /// A search by time went over every batch of the log, though chunks know their latest time.
    #[test]
    fn a_search_that_leaves_chunks_out_finds_what_a_walk_over_all_records_does() {
        let mut random = Random(11);
        let limits = InflateLimits::default();
        let mut long = 0;
        for _ in 0..30 {
            let (partition, times, ends) = log(&mut random);
            let count = times.len() as u64;
            let start = random.below(count) as i64;
            let end = ends[random.below(ends.len() as u64) as usize];
            let readable = start..start.max(end);
            partition.delete_records(start).unwrap();
            let records = || (readable.clone()).map(|offset| (offset, times[offset as usize]));
            for target in 0..90 {
                let expected = records().find(|(_, timestamp)| *timestamp >= target);
                let search = |effort: &mut Effort| {
                    let range = readable.clone();
                    found(first_at_or_after(&partition, target, range, limits, effort))
                };
                assert_eq!(search(&mut Effort::unlimited()), Some(expected));
                let inline = search(&mut Effort::at_most(500));
                assert!(inline.is_none() || inline == Some(expected));
                long += u32::from(inline.is_none());
            }
        }
        assert!(
            (100..2_000).contains(&long),
            "some of them took longer: {long}"
        );
    }

    #[test]
    fn the_latest_record_is_found_in_the_first_batch_that_says_so() {
        let mut random = Random(12);
        for _ in 0..200 {
            let (partition, times, _) = log(&mut random);
            let all = 0..times.len() as i64;
            let latest = *times.iter().max().unwrap();
            let first = times.iter().position(|timestamp| *timestamp == latest);
            let expected = first.map(|offset| (offset as i64, latest));
            let (limits, mut effort) = (InflateLimits::default(), Effort::unlimited());
            let latest = super::latest(&partition, all, limits, &mut effort);
            assert_eq!(found(latest), Some(expected));
        }
    }
}
