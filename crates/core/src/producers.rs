//! What a partition remembers of idempotent producers: enough to refuse gaps, recognise repeats and fence zombies.
//! Also its open and aborted transactions, since they belong to producers.

mod open;
mod producer;
mod snapshot;

use std::collections::BTreeMap;

use crate::batch::BatchHeader;
use crate::error::{ErrorCode, Refusal};
use open::Open;
use producer::{BatchMark, PRODUCER_BYTES, Producer};

/// Producers without an open transaction remembered per partition; over it those unused for longest are forgotten, as if
/// expired. How many transactions are open is bounded by how many transactional ids there may be.
pub const PRODUCERS_MAX: usize = 10_000;

/// Where a batch comes from, which decides what it has to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's Produce; a transaction must be open here already.
    Client,
    /// A client's Produce whose transaction the coordinator has confirmed, so it may begin here.
    Verified {
        /// The client uses transaction version 2 (KIP-890).
        epoch_bumps: bool,
        /// Since when nothing may have ended the transaction, see [`Producers::await_verification`].
        since: Option<Verification>,
    },
    /// A coordinator's own write: no sequences.
    Coordinator,
    /// Offsets that a coordinator writes within a client's transaction: no sequences, either.
    Offsets {
        /// Since when nothing may have ended the transaction.
        since: Option<Verification>,
    },
}

impl Origin {
    fn has_sequences(self) -> bool {
        !matches!(self, Origin::Coordinator | Origin::Offsets { .. })
    }
}

/// The moment in which a coordinator was asked to confirm a transaction. A marker that comes before the batch makes the
/// confirmation worthless: the batch would begin a transaction that nobody ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    producer_id: i64,
    ticket: u64,
}

impl Verification {
    /// Whose transaction it is about.
    pub fn producer_id(self) -> i64 {
        self.producer_id
    }
}

/// Those who wait for the confirmation of one producer's transaction.
#[derive(Clone, Copy, Debug, Default)]
struct Verifying {
    ticket: u64,
    waiting: u32,
}

/// A batch as its producer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who writes.
    pub producer_id: i64,
    /// In which epoch.
    pub epoch: i16,
    /// Sequence of the first record, -1 from coordinators.
    pub first_sequence: i32,
    /// Sequence of the last record, -1 from coordinators.
    pub last_sequence: i32,
    /// Last offset minus first.
    pub offset_delta: i32,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
}

impl Attempt {
    /// The attempt that a batch makes, if it has a producer.
    pub fn of(header: &BatchHeader) -> Option<Attempt> {
        header.has_producer_id().then(|| Attempt {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            offset_delta: header.last_offset_delta,
            transactional: header.is_transactional(),
        })
    }
}

/// An attempt that was already appended: what the first answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Where the original begins.
    pub base_offset: i64,
    /// Where the original ends.
    pub last_offset: i64,
    /// The original's max timestamp, which Kafka answers as the append time.
    pub timestamp: i64,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It may be appended.
    New,
    /// It is there already.
    Duplicate(Duplicate),
}

/// What the marker that ends a transaction says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Commit or abort.
    pub commit: bool,
    /// Epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
    /// KIP-890: the marker's epoch must be above the producer's (transaction version 2).
    pub epoch_bumped: bool,
}

/// A transaction that was aborted, for readers that skip its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who aborted.
    pub producer_id: i64,
    /// Its first record.
    pub first_offset: i64,
    /// Its marker.
    pub last_offset: i64,
}

/// The same as it is remembered.
#[derive(Clone, Copy, Debug)]
struct Aborted {
    transaction: AbortedTransaction,
    /// Those that were aborted after it begin here at the earliest.
    later_from: i64,
}

/// What a producer wrote last: it is kept so that its sequence and epoch survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastWrite {
    /// Who wrote.
    pub producer_id: i64,
    /// In which epoch.
    pub epoch: i16,
    /// The last offset of its newest batch of records; nothing if only a marker is known of this epoch.
    pub last_offset: Option<i64>,
}

/// What compaction has to know of the batches that it will see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Aborted transactions, also those that end after the part to be compacted.
    pub aborted: Vec<AbortedTransaction>,
    /// What each active producer wrote last.
    pub last_writes: Vec<LastWrite>,
}

/// A producer as DescribeProducers shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    /// The producer's id.
    pub producer_id: i64,
    /// Its newest epoch.
    pub epoch: i16,
    /// The newest sequence, -1 for none.
    pub last_sequence: i32,
    /// Max timestamp of the newest batch, -1 for none.
    pub last_timestamp: i64,
    /// Epoch of the coordinator that wrote the newest marker, -1 for none.
    pub coordinator_epoch: i32,
    /// Where the open transaction begins.
    pub txn_first_offset: Option<i64>,
}

/// The producers of one partition.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    // Boxed, because a tree node holds eleven values and most partitions have one producer.
    by_id: BTreeMap<i64, Box<Producer>>,
    /// Where open transactions begin.
    open: Open,
    /// First offset and marker of transactions whose marker may still be lost: a crash would open them again.
    ending: Vec<(i64, i64)>,
    /// In order of their markers.
    aborted: Vec<Aborted>,
    /// Producers whose transactions are being confirmed.
    verifying: BTreeMap<i64, Verifying>,
    /// The last ticket of `verifying`.
    last_ticket: u64,
}

impl Producers {
    /// A coordinator is about to be asked about this producer's transaction. To be given back in any case.
    pub fn await_verification(&mut self, producer_id: i64) -> Verification {
        let verifying = self.verifying.entry(producer_id).or_default();
        if verifying.waiting == 0 {
            self.last_ticket += 1;
            verifying.ticket = self.last_ticket;
        }
        verifying.waiting = verifying.waiting.saturating_add(1);
        Verification {
            producer_id,
            ticket: verifying.ticket,
        }
    }

    /// Whoever has asked has done with the answer.
    pub fn end_verification(&mut self, verification: Verification) {
        let id = verification.producer_id;
        if let Some(verifying) = self.verifying.get_mut(&id)
            && verifying.ticket == verification.ticket
        {
            verifying.waiting = verifying.waiting.saturating_sub(1);
            if verifying.waiting == 0 {
                self.verifying.remove(&id);
            }
        }
    }

    fn still_verifies(&self, verification: Verification) -> bool {
        let verifying = self.verifying.get(&verification.producer_id);
        verifying.is_some_and(|verifying| verifying.ticket == verification.ticket)
    }

    /// Decides about an attempt, changing nothing. In Kafka's order: repeat, epoch, transaction, sequence.
    pub fn check(&self, attempt: &Attempt, origin: Origin) -> Result<Check, Refusal> {
        let known = self.by_id.get(&attempt.producer_id);
        if let Some(producer) = known {
            if origin.has_sequences()
                && let Some(original) = find_duplicate(producer, attempt)
            {
                return Ok(Check::Duplicate(original));
            }
            if attempt.epoch < producer.epoch() {
                return Err(stale_epoch(attempt.epoch, producer.epoch()));
            }
        }
        let open = known.is_some_and(|producer| producer.is_open());
        let may_begin = match origin {
            Origin::Client => false,
            Origin::Verified { since, .. } | Origin::Offsets { since } => {
                since.is_none_or(|since| self.still_verifies(since))
            }
            Origin::Coordinator => true,
        };
        if attempt.transactional && !may_begin && !self.has_open(attempt) {
            return Err(Refusal::new(
                ErrorCode::InvalidTxnState,
                "the transaction is not open on this partition",
            ));
        }
        if origin.has_sequences() {
            check_sequence(known.map(|known| &**known), attempt, origin)?;
        }
        if open && !attempt.transactional {
            return Err(Refusal::new(
                ErrorCode::InvalidTxnState,
                "the producer has a transaction open here and wrote outside it",
            ));
        }
        Ok(Check::New)
    }

    /// Whether the attempt would begin a transaction here, which its coordinator has to confirm first.
    /// False when the answer is an error anyway. A repeat has to be confirmed as well: whoever sent it goes on in that
    /// transaction.
    pub fn needs_verification(&self, attempt: &Attempt) -> bool {
        if !attempt.transactional || self.has_open(attempt) {
            return false;
        }
        let known = self.by_id.get(&attempt.producer_id);
        known.is_none_or(|known| attempt.epoch >= known.epoch())
    }

    /// Remembers an attempt that was appended at `base_offset`.
    pub fn appended(&mut self, attempt: &Attempt, base_offset: i64, timestamp: i64, wall_ms: i64) {
        if !self.by_id.contains_key(&attempt.producer_id) {
            self.make_room();
        }
        let producer = self
            .by_id
            .entry(attempt.producer_id)
            .or_insert_with(|| Box::new(Producer::new(attempt.epoch)));
        producer.enter_epoch(attempt.epoch);
        producer.last_used_ms = wall_ms;
        producer.last_timestamp = timestamp;
        if attempt.first_sequence >= 0 {
            producer.push(BatchMark {
                last_offset: base_offset.saturating_add(i64::from(attempt.offset_delta)),
                timestamp,
                last_sequence: attempt.last_sequence,
                offset_delta: attempt.offset_delta,
            });
        }
        if attempt.transactional && !producer.is_open() {
            producer.open(base_offset);
            self.open.begin(base_offset);
        }
    }

    /// Decides whether a marker may be appended, changing nothing.
    pub fn check_marker(
        &self,
        producer_id: i64,
        epoch: i16,
        marker: &Marker,
    ) -> Result<(), Refusal> {
        let Some(producer) = self.by_id.get(&producer_id) else {
            return Ok(());
        };
        // Without an open transaction it is a marker that was written before, once more.
        let is_unraised = marker.epoch_bumped && producer.is_open();
        if epoch < producer.epoch() || is_unraised && epoch == producer.epoch() {
            return Err(stale_epoch(epoch, producer.epoch()));
        }
        if marker.coordinator_epoch < producer.coordinator_epoch {
            return Err(ErrorCode::TransactionCoordinatorFenced.into());
        }
        Ok(())
    }

    /// Ends the producer's transaction with the marker that was appended at `offset`.
    pub fn ended(
        &mut self,
        (producer_id, epoch): (i64, i16),
        marker: &Marker,
        offset: i64,
        timestamp: i64,
        wall_ms: i64,
    ) {
        if !self.by_id.contains_key(&producer_id) {
            self.make_room();
        }
        // What was confirmed before is over by now.
        self.verifying.remove(&producer_id);
        let producer = self
            .by_id
            .entry(producer_id)
            .or_insert_with(|| Box::new(Producer::new(epoch)));
        producer.enter_epoch(epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_used_ms = wall_ms;
        producer.last_timestamp = timestamp;
        let Some(first_offset) = producer.close() else {
            return;
        };
        self.open.end(first_offset);
        self.ending.push((first_offset, offset));
        if !marker.commit {
            self.aborted.push(Aborted {
                transaction: AbortedTransaction {
                    producer_id,
                    first_offset,
                    last_offset: offset,
                },
                later_from: self.open.first().unwrap_or(offset.saturating_add(1)),
            });
        }
    }

    /// The first offset of the oldest transaction that is open, or whose marker is not below the high watermark.
    pub fn first_unstable_offset(&self, high_watermark: i64) -> Option<i64> {
        let ending = self.ending.iter();
        let ending = ending.filter(|(_, marker)| *marker >= high_watermark);
        let ending = ending.map(|(first, _)| *first).min();
        let open = self.open.first();
        [open, ending].into_iter().flatten().min()
    }

    /// Everything below `offset` is durable.
    pub fn settled(&mut self, offset: i64) {
        self.ending.retain(|(_, marker)| *marker >= offset);
    }

    /// Aborted transactions that a read of `start..end` can meet.
    pub fn aborted_between(
        &self,
        start: i64,
        end: i64,
    ) -> impl Iterator<Item = AbortedTransaction> + '_ {
        let before = |it: &Aborted| it.transaction.last_offset < start;
        let from = self.aborted.partition_point(before);
        let rest = self.aborted.get(from..).unwrap_or_default();
        // There may be very many of them behind what is read.
        let last = rest.iter().position(|it| it.later_from >= end);
        let met = last.map_or(rest, |last| rest.get(..=last).unwrap_or_default());
        let met = met.iter().map(|it| it.transaction);
        met.filter(move |txn| txn.first_offset < end)
    }

    /// The transaction that the marker at this offset has just aborted, with where the oldest of those begins that are
    /// still open, or where the marker ends.
    pub fn aborted_at(&self, marker: i64) -> Option<(AbortedTransaction, i64)> {
        let last = self
            .aborted
            .last()
            .filter(|last| last.transaction.last_offset == marker)?;
        Some((last.transaction, last.later_from))
    }

    /// Remembers one more of the batches that a producer wrote before the last one that is known of it.
    pub fn recall(&mut self, attempt: &Attempt, base_offset: i64, timestamp: i64) {
        let Some(producer) = self.by_id.get_mut(&attempt.producer_id) else {
            return;
        };
        let last_offset = base_offset.saturating_add(i64::from(attempt.offset_delta));
        let is_older = producer
            .newest()
            .is_some_and(|last| last_offset < last.last_offset);
        if attempt.epoch != producer.epoch() || attempt.first_sequence < 0 || !is_older {
            return;
        }
        let mut batches: Vec<BatchMark> = producer.batches().copied().collect();
        let at = batches.partition_point(|batch| batch.last_offset < last_offset);
        if batches
            .get(at)
            .is_some_and(|batch| batch.last_offset == last_offset)
        {
            return;
        }
        let mark = BatchMark {
            last_offset,
            timestamp,
            last_sequence: attempt.last_sequence,
            offset_delta: attempt.offset_delta,
        };
        batches.insert(at, mark);
        producer.replace(batches);
    }

    /// All of them count as last heard of at this time.
    pub fn hear_of_all(&mut self, wall_ms: i64) {
        for producer in self.by_id.values_mut() {
            producer.last_used_ms = wall_ms;
        }
    }

    /// Forgets what only concerned offsets below `log_start`.
    pub fn truncate_from_start(&mut self, log_start: i64) {
        let gone = self
            .aborted
            .partition_point(|it| it.transaction.last_offset < log_start);
        self.aborted.drain(..gone);
    }

    /// What compaction has to know: aborted transactions and everybody's last write.
    pub fn history(&self) -> History {
        let last_writes = self.by_id.iter().map(|(id, producer)| LastWrite {
            producer_id: *id,
            epoch: producer.epoch(),
            last_offset: producer.newest().map(|last| last.last_offset),
        });
        History {
            aborted: self.aborted.iter().map(|it| it.transaction).collect(),
            last_writes: last_writes.collect(),
        }
    }

    /// Forgets aborted transactions of which no record is left.
    pub fn forget_aborted(&mut self, emptied: &[AbortedTransaction]) {
        self.aborted.retain(|it| !emptied.contains(&it.transaction));
    }

    /// Forgets producers without an open transaction that have been silent for `expiration_ms`; says how many.
    pub fn expire(&mut self, wall_ms: i64, expiration_ms: i64) -> usize {
        let before = self.by_id.len();
        self.by_id.retain(|_, producer| {
            producer.is_open() || wall_ms.saturating_sub(producer.last_used_ms) < expiration_ms
        });
        before - self.by_id.len()
    }

    /// How many producers are remembered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nothing at all is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.aborted.is_empty() && self.last_ticket == 0
    }

    /// The producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = ProducerInfo> + '_ {
        self.by_id.iter().map(|(id, producer)| ProducerInfo {
            producer_id: *id,
            epoch: producer.epoch(),
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            txn_first_offset: producer.open_from(),
        })
    }

    /// Whether that producer is known here in a newer epoch.
    pub fn has_fenced(&self, (producer_id, epoch): (i64, i16)) -> bool {
        let known = self.by_id.get(&producer_id);
        known.is_some_and(|known| epoch < known.epoch())
    }

    fn has_open(&self, attempt: &Attempt) -> bool {
        self.by_id
            .get(&attempt.producer_id)
            .is_some_and(|known| known.epoch() == attempt.epoch && known.is_open())
    }

    /// An eighth goes at a time, so that a flood of ids does not scan the map for each of them.
    fn make_room(&mut self) {
        // Those with an open transaction are never given up, and are not looked at each time because of that.
        if self.by_id.len() - self.open.len() >= PRODUCERS_MAX {
            self.forget_oldest(PRODUCERS_MAX / 8);
        }
    }

    /// What they take, about.
    pub fn bytes(&self) -> usize {
        let aborted = self.aborted.len() * size_of::<Aborted>();
        self.by_id.len() * PRODUCER_BYTES + aborted
    }

    /// Gives an eighth of the producers up, those unused for longest, as if they had expired. One always stays.
    pub fn give_way(&mut self) {
        let count = self.by_id.len().div_ceil(8);
        self.forget_oldest(count.min(self.by_id.len().saturating_sub(1)));
    }

    fn forget_oldest(&mut self, count: usize) {
        let mut idle: Vec<(i64, i64)> = self
            .by_id
            .iter()
            .filter(|(_, producer)| !producer.is_open())
            .map(|(id, producer)| (producer.last_used_ms, *id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.iter().take(count) {
            self.by_id.remove(id);
        }
    }
}

fn find_duplicate(producer: &Producer, attempt: &Attempt) -> Option<Duplicate> {
    let goes_on = attempt.first_sequence == next_sequence(producer);
    if producer.epoch() != attempt.epoch || attempt.first_sequence < 0 || goes_on {
        return None;
    }
    producer
        .batches()
        .find(|batch| {
            batch.last_sequence == attempt.last_sequence
                && batch.first_sequence() == attempt.first_sequence
        })
        .map(|batch| Duplicate {
            base_offset: batch.last_offset - i64::from(batch.offset_delta),
            last_offset: batch.last_offset,
            timestamp: batch.timestamp,
        })
}

fn check_sequence(
    known: Option<&Producer>,
    attempt: &Attempt,
    origin: Origin,
) -> Result<(), Refusal> {
    let sequence = attempt.first_sequence;
    let out_of_order = |expected: i32| {
        Err(Refusal::new(
            ErrorCode::OutOfOrderSequenceNumber,
            format!("sequence {sequence} where {expected} was expected"),
        ))
    };
    let Some(producer) = known else {
        // KIP-890: a client that bumps its epoch with each transaction always begins at 0.
        if matches!(
            origin,
            Origin::Verified {
                epoch_bumps: true,
                ..
            }
        ) && sequence != 0
        {
            return out_of_order(0);
        }
        return Ok(());
    };
    if producer.epoch() != attempt.epoch {
        return if sequence == 0 {
            Ok(())
        } else {
            out_of_order(0)
        };
    }
    let expected = next_sequence(producer);
    if sequence == expected {
        Ok(())
    } else {
        out_of_order(expected)
    }
}

/// With which sequence a producer goes on in its epoch.
fn next_sequence(producer: &Producer) -> i32 {
    match producer.last_sequence() {
        i32::MAX => 0,
        last => last + 1,
    }
}

fn stale_epoch(epoch: i16, current: i16) -> Refusal {
    Refusal::new(
        ErrorCode::InvalidProducerEpoch,
        format!("epoch {epoch} of the producer is over, the newest is {current}"),
    )
}

#[cfg(test)]
mod tests;
