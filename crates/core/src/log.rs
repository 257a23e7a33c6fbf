//! One partition's log: which offsets exist and who may append. Holds no bytes; engines do.

pub mod compaction;
pub mod replay;
pub mod timestamps;

use crate::batch::BatchHeader;
use crate::epochs::{EpochEnd, Epochs};
use crate::error::{ErrorCode, Refusal};
use crate::log::compaction::History;
use crate::producers::{AbortedTransaction, Attempt, Check, ProducerInfo, Producers};
use crate::time::Now;

pub use crate::producers::{Duplicate, Marker, Origin, Verification};

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It gets these offsets, and the state already counts it as written.
    Append {
        /// To be patched into the batch.
        base_offset: i64,
        /// Offset of its last record.
        last_offset: i64,
        /// To be patched into the batch.
        leader_epoch: i32,
    },
    /// It is there already and must not be written again.
    Duplicate(Duplicate),
}

/// Small state of one partition: what is needed to decide about a batch.
#[derive(Clone, Debug, Default)]
pub struct PartitionState {
    /// The first offset that may be read.
    pub log_start: i64,
    /// The offset the next record gets.
    pub next_offset: i64,
    /// The leader's epoch, written into batches.
    pub leader_epoch: i32,
    /// Where what is admitted but not yet durable begins; none while all of it is, as always in memory. A crash could
    /// replace it, so that no consumer may see it.
    pub unsettled_from: Option<i64>,
    /// Where the first write that failed began: it and what came after it are lost, and nothing may be appended.
    pub failed_from: Option<i64>,
    /// Leader epochs and where they begin.
    pub epochs: Epochs,
    // Most partitions never see an idempotent producer.
    producers: Option<Box<Producers>>,
}

/// Decides about a validated batch; if it may be appended, `state` already counts it.
pub fn admit(
    state: &mut PartitionState,
    header: &BatchHeader,
    origin: Origin,
    now: Now,
) -> Result<Admitted, Refusal> {
    state.refuse_if_read_only()?;
    if header.is_control() {
        return Err(Refusal::new(
            ErrorCode::InvalidRecord,
            "markers are not written by clients",
        ));
    }
    let attempt = Attempt::of(header);
    if attempt.is_none() && header.is_transactional() {
        return Err(Refusal::new(
            ErrorCode::InvalidTxnState,
            "a transaction needs a producer id",
        ));
    }
    if let Some(attempt) = &attempt {
        let check = match &state.producers {
            Some(producers) => producers.check(attempt, origin)?,
            None => Producers::default().check(attempt, origin)?,
        };
        if let Check::Duplicate(original) = check {
            return Ok(Admitted::Duplicate(original));
        }
    }
    let admitted = state.take_offsets(header)?;
    if let (Some(attempt), Admitted::Append { base_offset, .. }) = (&attempt, &admitted) {
        state
            .producers_mut()
            .appended(attempt, *base_offset, header.max_timestamp, now.wall_ms);
    }
    Ok(admitted)
}

/// Decides about a transaction marker; if it may be appended, `state` already counts it.
/// Readers of committed data may see more afterwards: compare `last_stable_offset`.
pub fn admit_marker(
    state: &mut PartitionState,
    header: &BatchHeader,
    marker: &Marker,
    now: Now,
) -> Result<Admitted, Refusal> {
    state.refuse_if_read_only()?;
    let producer = (header.producer_id, header.producer_epoch);
    if let Some(producers) = &state.producers {
        producers.check_marker(producer.0, producer.1, marker)?;
    }
    let admitted = state.take_offsets(header)?;
    if let Admitted::Append { last_offset, .. } = &admitted {
        state.producers_mut().ended(
            producer,
            marker,
            *last_offset,
            header.max_timestamp,
            now.wall_ms,
        );
    }
    Ok(admitted)
}

impl PartitionState {
    /// Where a leader epoch ended (E49b). The leader's own epoch counts also while nothing was written in it.
    pub fn end_offset_for(&self, epoch: i32) -> EpochEnd {
        if !self.epochs.entries().is_empty() || epoch == -1 || epoch > self.leader_epoch {
            return self.epochs.end_offset_for(epoch, self.next_offset);
        }
        let end_offset = match epoch == self.leader_epoch {
            true => self.next_offset,
            false => self.log_start,
        };
        EpochEnd { epoch, end_offset }
    }

    /// An empty log that begins at 0 under this leader epoch.
    pub fn new(leader_epoch: i32) -> PartitionState {
        PartitionState {
            leader_epoch,
            ..PartitionState::default()
        }
    }

    /// A log that ends there, with what is known of its epochs and producers.
    pub fn restored(next_offset: i64, epochs: Epochs, producers: Producers) -> PartitionState {
        PartitionState {
            next_offset,
            leader_epoch: epochs.latest().map_or(0, |latest| latest.epoch),
            epochs,
            producers: (!producers.is_empty()).then(|| Box::new(producers)),
            ..PartitionState::default()
        }
    }

    /// One past the last record.
    pub fn log_end(&self) -> i64 {
        self.next_offset
    }

    /// Up to where consumers may read; on one node that is what is durable.
    pub fn high_watermark(&self) -> i64 {
        let durable = self.unsettled_from.unwrap_or(self.next_offset);
        let safe = self
            .failed_from
            .map_or(durable, |failed| failed.min(durable));
        safe.max(self.log_start)
    }

    /// Everything below `offset` is durable, and what was admitted beyond it is not.
    pub fn settle(&mut self, offset: i64) {
        self.unsettled_from = (offset < self.next_offset).then_some(offset);
        if let Some(producers) = &mut self.producers {
            producers.settled(offset);
        }
    }

    /// Up to where consumers of committed data may read: the first record of a transaction that is open, or whose marker
    /// is not durable; else the high watermark.
    pub fn last_stable_offset(&self) -> i64 {
        let high_watermark = self.high_watermark();
        let producers = self.producers.as_ref();
        let first = producers.and_then(|it| it.first_unstable_offset(high_watermark));
        first.map_or(high_watermark, |first| {
            first.max(self.log_start).min(high_watermark)
        })
    }

    /// A write of these offsets and all behind them failed: they are not read, and the log takes no more.
    pub fn fail_from(&mut self, offset: i64) {
        let offset = offset.clamp(self.log_start, self.next_offset);
        self.failed_from = Some(self.failed_from.map_or(offset, |failed| failed.min(offset)));
    }

    /// Panics unless log start ≤ last stable offset ≤ high watermark ≤ log end and `durable` ≤ `written` ≤ log end.
    pub fn assert_watch(&self, durable: i64, written: i64) {
        let (stable, high) = (self.last_stable_offset(), self.high_watermark());
        let holds = self.log_start <= stable && stable <= high && high <= self.next_offset;
        let in_order = durable <= written && written <= self.next_offset;
        assert!(holds && in_order, "{durable} {written} {self:?}");
    }

    /// Whether a client's batch would begin a transaction here, which its coordinator has to confirm before `admit`.
    pub fn needs_verification(&self, header: &BatchHeader) -> bool {
        match (Attempt::of(header), &self.producers) {
            (Some(attempt), Some(producers)) => producers.needs_verification(&attempt),
            (Some(attempt), None) => attempt.transactional,
            (None, _) => false,
        }
    }

    /// The same, and from now on a marker of that producer makes the confirmation worthless. What is returned has to be
    /// given back.
    pub fn await_verification(&mut self, header: &BatchHeader) -> Option<Verification> {
        self.needs_verification(header)
            .then(|| self.producers_mut().await_verification(header.producer_id))
    }

    /// The same for what a coordinator is about to write within a producer's transaction.
    pub fn await_verification_of(&mut self, producer_id: i64) -> Verification {
        self.producers_mut().await_verification(producer_id)
    }

    /// Whether that producer is known here in a newer epoch.
    pub fn has_fenced(&self, producer: (i64, i16)) -> bool {
        let producers = self.producers.as_ref();
        producers.is_some_and(|producers| producers.has_fenced(producer))
    }

    /// Whether such a marker could be appended.
    pub fn check_marker(&self, producer: (i64, i16), marker: &Marker) -> Result<(), Refusal> {
        match &self.producers {
            Some(producers) => producers.check_marker(producer.0, producer.1, marker),
            None => Ok(()),
        }
    }

    /// Whoever has asked has done with the answer.
    pub fn end_verification(&mut self, verification: Verification) {
        if let Some(producers) = &mut self.producers {
            producers.end_verification(verification);
        }
    }

    /// Becomes the leader under a new epoch, which begins at the end as in Kafka, also if nothing is written in it.
    pub fn lead(&mut self, leader_epoch: i32) {
        self.leader_epoch = leader_epoch;
        self.epochs.assign(leader_epoch, self.next_offset);
    }

    /// DeleteRecords: moves the log start to `offset`, -1 for the high watermark; gives the new low watermark.
    pub fn delete_records(&mut self, offset: i64) -> Result<i64, Refusal> {
        let target = if offset == -1 {
            self.high_watermark()
        } else {
            offset
        };
        if target < 0 || target > self.high_watermark() {
            return Err(Refusal::new(
                ErrorCode::OffsetOutOfRange,
                format!("offset {offset} is not within the log"),
            ));
        }
        self.advance_log_start(target);
        Ok(self.log_start)
    }

    /// Moves the log start up (never down, never past the end) and forgets what lay below; says whether it moved.
    pub fn advance_log_start(&mut self, offset: i64) -> bool {
        let target = offset.min(self.high_watermark());
        if target <= self.log_start {
            return false;
        }
        self.log_start = target;
        self.epochs.truncate_from_start(target);
        if let Some(producers) = &mut self.producers {
            producers.truncate_from_start(target);
        }
        true
    }

    /// Forgets producers that have been silent for `expiration_ms`; says how many.
    pub fn expire_producers(&mut self, now: Now, expiration_ms: i64) -> usize {
        let Some(producers) = &mut self.producers else {
            return 0;
        };
        let expired = producers.expire(now.aging_ms, expiration_ms);
        if producers.is_empty() {
            self.producers = None;
        }
        expired
    }

    /// What is remembered of producers takes so much.
    pub fn producers_bytes(&self) -> usize {
        let producers = self.producers.as_ref();
        producers.map_or(0, |producers| producers.bytes())
    }

    /// Forgets all producers, since the partition is gone.
    pub fn forget_producers(&mut self) {
        self.producers = None;
    }

    /// Forgets some of the producers that have been silent for longest, since all partitions together remember too many.
    pub fn forget_some_producers(&mut self) {
        if let Some(producers) = &mut self.producers {
            producers.give_way();
        }
    }

    /// The producers, for DescribeProducers.
    pub fn producers(&self) -> impl Iterator<Item = ProducerInfo> + '_ {
        self.producers.iter().flat_map(|producers| producers.iter())
    }

    /// The producers as Kafka keeps them in a `.snapshot` file.
    pub fn producer_snapshot(&self) -> Vec<u8> {
        match &self.producers {
            Some(producers) => producers.snapshot(),
            None => Producers::empty_snapshot(),
        }
    }

    /// The transaction that the marker at this offset has just aborted, with the last stable offset after it.
    pub fn aborted_at(&self, marker: i64) -> Option<(AbortedTransaction, i64)> {
        self.producers.as_ref()?.aborted_at(marker)
    }

    /// Remembers a batch that came before what is known of its producer, by which it is known if it comes again.
    pub fn recall(&mut self, header: &BatchHeader) {
        if let (Some(attempt), Some(producers)) = (Attempt::of(header), &mut self.producers)
            && !header.is_control()
        {
            producers.recall(&attempt, header.base_offset, header.max_timestamp);
        }
    }

    /// All producers count as last heard of `now`.
    pub(crate) fn hear_of_producers(&mut self, now: Now) {
        if let Some(producers) = &mut self.producers {
            producers.hear_of_all(now.wall_ms);
        }
    }

    /// Aborted transactions that a read of `start..end` can meet.
    pub fn aborted_between(&self, start: i64, end: i64) -> Vec<AbortedTransaction> {
        match &self.producers {
            Some(producers) => producers.aborted_between(start, end).collect(),
            None => Vec::new(),
        }
    }

    /// What compaction has to know about what was written so far.
    pub fn history(&self) -> History {
        match &self.producers {
            Some(producers) => producers.history(),
            None => History::default(),
        }
    }

    /// Forgets aborted transactions of which compaction left no record.
    pub fn forget_aborted(&mut self, emptied: &[AbortedTransaction]) {
        if let Some(producers) = &mut self.producers {
            producers.forget_aborted(emptied);
        }
    }

    fn refuse_if_read_only(&self) -> Result<(), Refusal> {
        if self.failed_from.is_some() {
            return Err(Refusal::new(
                ErrorCode::KafkaStorageError,
                "the partition is read-only since a write failed",
            ));
        }
        Ok(())
    }

    fn take_offsets(&mut self, header: &BatchHeader) -> Result<Admitted, Refusal> {
        if header.last_offset_delta < 0 {
            return Err(ErrorCode::InvalidRecord.into());
        }
        let base_offset = self.next_offset;
        let last_offset = base_offset.checked_add(i64::from(header.last_offset_delta));
        let next_offset = last_offset.and_then(|last| last.checked_add(1));
        let (Some(last_offset), Some(next_offset)) = (last_offset, next_offset) else {
            return Err(Refusal::new(
                ErrorCode::UnknownServerError,
                "the partition has no offsets left",
            ));
        };
        self.epochs.assign(self.leader_epoch, base_offset);
        self.next_offset = next_offset;
        Ok(Admitted::Append {
            base_offset,
            last_offset,
            leader_epoch: self.leader_epoch,
        })
    }

    fn producers_mut(&mut self) -> &mut Producers {
        self.producers.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests;
