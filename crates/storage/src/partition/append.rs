//! Appending: decided by core, kept by the engine, never waiting.

use super::{Inner, Partition, Safety};
use crate::engine::{Batch, Incoming, WriteFailed};
use rustka_core::account::Share;
use rustka_core::batch::{BatchHeader, end_transaction_marker};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::log::{Admitted, Duplicate, Marker, Origin, PartitionState, admit, admit_marker};
use rustka_core::time::Now;

/// When a write is as safe as somebody wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Already.
    Done,
    /// Once the partition is that safe up to this position, see [`Partition::fate`].
    At(i64),
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the batch's first record; a duplicate's original one.
    pub base_offset: i64,
    /// The log's first offset.
    pub log_start: i64,
    /// Set when the batch was there already: the timestamp it got then.
    pub duplicate_timestamp: Option<i64>,
    /// The time that the records got, if the topic stamps them itself.
    pub append_time_ms: Option<i64>,
    /// Whether the log is dirty enough for compaction. Who is told so has to see to it, nobody else will.
    pub compaction_due: bool,
    /// When acks=1 may be answered; a duplicate waits for its original.
    pub written: Durability,
    /// When acks=all may be answered; a duplicate waits for its original.
    pub durability: Durability,
}

impl Partition {
    /// Appends one validated batch: decides on it, assigns its offset and epoch, and keeps it.
    pub fn append(
        &self,
        incoming: Incoming<'_>,
        header: &BatchHeader,
        origin: Origin,
        now: Now,
    ) -> Result<Appended, Refusal> {
        self.append_if(incoming, header, now, |state, header| {
            admit(state, header, origin, now)
        })
    }

    /// Appends the marker that ends a producer's transaction here (E130). Readers of committed data are woken.
    pub fn append_marker(
        &self,
        producer: (i64, i16),
        marker: &Marker,
        now: Now,
    ) -> Result<Appended, Refusal> {
        let (producer_id, epoch) = producer;
        let (commit, coordinator_epoch) = (marker.commit, marker.coordinator_epoch);
        let mut bytes =
            end_transaction_marker(producer_id, epoch, coordinator_epoch, commit, now.wall_ms)?;
        let header = BatchHeader::parse(&bytes)?;
        let stable = self.offsets().last_stable;
        let incoming = Incoming::Copied(&mut bytes);
        let appended = self.append_if(incoming, &header, now, |state, header| {
            admit_marker(state, header, marker, now)
        })?;
        // With the end of a transaction more becomes readable than the marker's own bytes.
        if self.offsets().last_stable > stable {
            self.wake_readers();
        }
        Ok(appended)
    }

    fn append_if(
        &self,
        mut incoming: Incoming<'_>,
        header: &BatchHeader,
        now: Now,
        admit: impl FnOnce(&mut PartitionState, &BatchHeader) -> Result<Admitted, Refusal>,
    ) -> Result<Appended, Refusal> {
        let length = header.total_bytes();
        let mut header = *header;
        let (appended, garbage, fulfilled) = {
            let mut inner = self.lock();
            inner.check_leader()?;
            let newest = inner.log.newest();
            // The clock may have gone back, or another connection's batch may have been faster.
            if header.log_append_time() && header.max_timestamp < inner.last_append_ms {
                header.max_timestamp = inner.last_append_ms;
                incoming.stamp(header.max_timestamp);
            }
            if let Err(WriteFailed) = inner.roll_if_due(length, header.max_timestamp, now) {
                let log_end = inner.state.log_end();
                drop(inner);
                return Err(self.not_written(log_end));
            }
            let (base_offset, last_offset, leader_epoch) = match admit(&mut inner.state, &header)? {
                Admitted::Append {
                    base_offset,
                    last_offset,
                    leader_epoch,
                } => (base_offset, last_offset, leader_epoch),
                Admitted::Duplicate(original) => return Ok(inner.duplicate(&original)),
            };
            incoming.place(base_offset, leader_epoch);
            let next_offset = last_offset.saturating_add(1);
            let Inner { log, state, .. } = &mut *inner;
            let batch = Batch {
                bytes: incoming,
                header: &header,
                base_offset,
                next_offset,
                now_ms: now.wall_ms,
                state,
            };
            let stored = match log.append(batch) {
                Ok(stored) => stored,
                Err(WriteFailed) => {
                    drop(inner);
                    return Err(self.not_written(base_offset));
                }
            };
            let fulfilled = inner.stored(stored, next_offset, length as u64);
            if header.has_producer_id() {
                inner.remember_producer();
            }
            let append_time_ms = header.log_append_time().then_some(header.max_timestamp);
            inner.last_append_ms = append_time_ms.unwrap_or(inner.last_append_ms);
            let begun = inner.log.newest().map(|chunk| chunk.sequence);
            let closed = newest.is_some_and(|newest| begun != Some(newest.sequence));
            let compaction_due = inner.appended_to_compacted(length as u64, closed);
            let garbage = if closed {
                inner.drop_beyond_size()
            } else {
                Vec::new()
            };
            let appended = Appended {
                base_offset,
                log_start: inner.state.log_start,
                duplicate_timestamp: None,
                append_time_ms,
                compaction_due,
                written: inner.when(next_offset, Safety::Written),
                durability: inner.when(next_offset, Safety::Durable),
            };
            (appended, garbage, fulfilled)
        };
        drop(garbage);
        fulfilled.tell();
        Ok(appended)
    }

    fn wake_readers(&self) {
        let woken = self.lock().waiters.all();
        woken.iter().for_each(|waiter| waiter.fire());
    }

    fn not_written(&self, offset: i64) -> Refusal {
        self.write_failed(offset);
        Refusal::new(
            ErrorCode::KafkaStorageError,
            "the batch could not be written",
        )
    }
}

impl Inner {
    /// Where all partitions remember more producers than they may, this one forgets some for the one that has come.
    fn remember_producer(&mut self) {
        let before = self.producers.bytes();
        self.weigh_producers();
        let account = self.producers.account();
        if self.producers.bytes() > before && account.check(Share::Producers, 0).is_err() {
            self.state.forget_some_producers();
            self.weigh_producers();
        }
    }

    /// Counts anew what is remembered of producers.
    pub(super) fn weigh_producers(&mut self) {
        self.producers.set(self.state.producers_bytes());
    }

    fn when(&self, position: i64, safety: Safety) -> Durability {
        if position <= self.reached(safety) {
            Durability::Done
        } else {
            Durability::At(position)
        }
    }

    fn duplicate(&self, original: &Duplicate) -> Appended {
        let position = original.last_offset.saturating_add(1);
        Appended {
            base_offset: original.base_offset,
            log_start: self.state.log_start,
            duplicate_timestamp: Some(original.timestamp),
            append_time_ms: None,
            compaction_due: false,
            written: self.when(position, Safety::Written),
            durability: self.when(position, Safety::Durable),
        }
    }
}
