//! A partition: its state as `rustka-core` decides it, its batches, and how much of it is durable.

use super::fault::Fault;
use super::request::{Batch, Made};
use crate::history::Value;
use rustka_core::batch::{
    BatchBuilder, BatchHeader, NewRecord, end_transaction_marker, set_base_offset,
};
use rustka_core::error::ErrorCode;
use rustka_core::log::replay::Replay;
use rustka_core::log::{Admitted, Marker, Origin, PartitionState, admit, admit_marker};
use rustka_core::producers::AbortedTransaction;
use rustka_core::time::Now;
use std::collections::BTreeSet;

/// What a batch in the log holds.
#[derive(Clone, Debug)]
enum Held {
    Records(Vec<Value>),
    Marker {
        commit: bool,
    },
    /// Records of a journal.
    Other,
}

#[derive(Clone, Debug)]
struct Stored {
    base_offset: i64,
    next_offset: i64,
    producer_id: i64,
    is_transactional: bool,
    bytes: Vec<u8>,
    held: Held,
}

/// What a reader is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetched {
    pub(super) next: i64,
    pub(super) stable: i64,
    pub(super) high: i64,
    pub(super) records: Vec<(i64, Value)>,
}

pub(super) struct Partition {
    pub(super) state: PartitionState,
    log: Vec<Stored>,
    /// Everything below is durable.
    durable: i64,
    /// Positions that have not become durable, in order.
    written: Vec<i64>,
    /// Offsets as they were told a while ago.
    old: (i64, i64),
    fault: Option<Fault>,
}

impl Partition {
    pub(super) fn new(fault: Option<Fault>) -> Partition {
        Partition {
            state: PartitionState::new(0),
            log: Vec::new(),
            durable: 0,
            written: Vec::new(),
            old: (0, 0),
            fault,
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Appends a batch; its offset, and up to where the log has to be durable for it.
    pub(super) fn append(
        &mut self,
        batch: &Batch,
        origin: Origin,
        now: Now,
    ) -> Result<(i64, i64), ErrorCode> {
        let mut producer = batch.producer;
        if self.has(Fault::TakesOldEpochs) {
            let known = self
                .state
                .producers()
                .find(|it| it.producer_id == producer.id);
            producer.epoch = known.map_or(producer.epoch, |known| known.epoch.max(producer.epoch));
        }
        let mut origin = origin;
        let mut sequence = batch.sequence;
        if self.has(Fault::ForgetsSequences) || self.has(Fault::TakesOldEpochs) {
            origin = Origin::Coordinator;
            sequence = -1;
        }
        let mut values: Vec<Made> = batch.values.clone();
        if self.has(Fault::TearsBatches) {
            values.truncate(values.len().div_ceil(2));
        }
        let mut builder = BatchBuilder::new().producer(producer.id, producer.epoch, sequence);
        if batch.id.is_some() {
            builder = builder.transactional();
        }
        for (value, _) in &values {
            let value = value.to_be_bytes();
            builder.push(&NewRecord {
                timestamp: now.wall_ms,
                value: Some(&value),
                ..NewRecord::default()
            });
        }
        let bytes = builder.build().map_err(|_| ErrorCode::CorruptMessage)?;
        let values: Vec<Value> = values.into_iter().map(|(value, _)| value).collect();
        let appended = self.admit(bytes, Held::Records(values), origin, now)?;
        if self.has(Fault::Reorders) {
            self.swap_last();
        }
        Ok(appended)
    }

    /// Appends records of a journal.
    pub(super) fn append_other(
        &mut self,
        builder: BatchBuilder,
        origin: Origin,
        now: Now,
    ) -> Result<i64, ErrorCode> {
        let bytes = builder.build().map_err(|_| ErrorCode::CorruptMessage)?;
        let appended = self.admit(bytes, Held::Other, origin, now)?;
        Ok(appended.1)
    }

    fn admit(
        &mut self,
        mut bytes: Vec<u8>,
        held: Held,
        origin: Origin,
        now: Now,
    ) -> Result<(i64, i64), ErrorCode> {
        let header = BatchHeader::parse(&bytes).map_err(|_| ErrorCode::CorruptMessage)?;
        let admitted = admit(&mut self.state, &header, origin, now);
        match admitted.map_err(|refusal| refusal.code)? {
            Admitted::Duplicate(original) => Ok((original.base_offset, original.last_offset + 1)),
            Admitted::Append {
                base_offset,
                last_offset,
                ..
            } => {
                set_base_offset(&mut bytes, base_offset);
                let next_offset = last_offset + 1;
                self.push(&header, bytes, held, (base_offset, next_offset));
                Ok((base_offset, next_offset))
            }
        }
    }

    /// Appends a marker; up to where the log has to be durable for it.
    pub(super) fn mark(
        &mut self,
        producer: (i64, i16),
        marker: &Marker,
        now: Now,
    ) -> Result<i64, ErrorCode> {
        let (epoch, coordinator) = (producer.1, marker.coordinator_epoch);
        let bytes =
            end_transaction_marker(producer.0, epoch, coordinator, marker.commit, now.wall_ms);
        let mut bytes = bytes.map_err(|_| ErrorCode::CorruptMessage)?;
        let header = BatchHeader::parse(&bytes).map_err(|_| ErrorCode::CorruptMessage)?;
        let admitted = admit_marker(&mut self.state, &header, marker, now);
        let Admitted::Append { base_offset, .. } = admitted.map_err(|refusal| refusal.code)? else {
            return Err(ErrorCode::UnknownServerError);
        };
        set_base_offset(&mut bytes, base_offset);
        let commit = marker.commit;
        let held = Held::Marker { commit };
        self.push(&header, bytes, held, (base_offset, base_offset + 1));
        Ok(base_offset + 1)
    }

    fn push(&mut self, header: &BatchHeader, bytes: Vec<u8>, held: Held, at: (i64, i64)) {
        self.log.push(Stored {
            base_offset: at.0,
            next_offset: at.1,
            producer_id: header.producer_id,
            is_transactional: header.is_transactional(),
            bytes,
            held,
        });
        self.written.push(at.1);
        self.state.settle(self.durable);
    }

    /// The two last batches change places, if both hold as many records of one producer.
    fn swap_last(&mut self) {
        let len = self.log.len();
        let Some([.., first, second]) = self.log.get_mut(..len) else {
            return;
        };
        if let (Held::Records(a), Held::Records(b)) = (&mut first.held, &mut second.held)
            && a.len() == b.len()
            && first.producer_id == second.producer_id
        {
            std::mem::swap(a, b);
        }
    }

    /// Everything below is durable.
    pub(super) fn durable(&self) -> i64 {
        self.durable
    }

    /// The oldest write is durable; whether there was one.
    pub(super) fn settle(&mut self) -> bool {
        if self.written.is_empty() {
            return false;
        }
        self.durable = self.written.remove(0);
        self.state.settle(self.durable);
        true
    }

    /// What was not durable is gone, and what is left is read again.
    pub(super) fn restart(&mut self, now: Now) {
        let durable = self.durable;
        self.log.retain(|stored| stored.next_offset <= durable);
        self.written.clear();
        let mut replay = Replay::new(0, now);
        for stored in &self.log {
            let is_forgotten = match stored.held {
                Held::Marker { .. } => self.has(Fault::ForgetsAbortedOnRestart),
                _ => stored.is_transactional && self.has(Fault::ForgetsOpenOnRestart),
            };
            let mut bytes = stored.bytes.clone();
            if is_forgotten {
                bytes = BatchBuilder::new()
                    .record(&NewRecord::default())
                    .build()
                    .unwrap_or(bytes);
                set_base_offset(&mut bytes, stored.next_offset - 1);
            }
            if let Ok(header) = BatchHeader::parse(&bytes) {
                let seen = replay.see(&header, &bytes);
                assert!(seen.is_ok(), "{seen:?}");
            }
        }
        self.state = replay.finish(0);
    }

    /// What is told to a reader, who leaves out what was aborted as clients do.
    pub(super) fn fetch(&mut self, from: i64, committed: bool, batches_max: usize) -> Fetched {
        let (mut high, mut stable) = (self.state.high_watermark(), self.state.last_stable_offset());
        if self.has(Fault::ShowsBeforeDurable) {
            high = self.state.log_end();
            let open = self
                .state
                .producers()
                .filter_map(|it| it.txn_first_offset)
                .min();
            stable = open.unwrap_or(high).min(high);
        }
        if self.has(Fault::IgnoresOpenTransactions) || self.has(Fault::ExposesUncommitted) {
            stable = high;
        }
        if self.has(Fault::TellsOldOffsets) {
            let old = std::mem::replace(&mut self.old, (stable, high));
            (stable, high) = old;
        }
        let upper = if committed { stable } else { high };
        let mut aborted = match committed && !self.has(Fault::ExposesUncommitted) {
            true => self.state.aborted_between(from, upper),
            false => Vec::new(),
        };
        self.spoil(&mut aborted);
        let mut next = from;
        let mut records = Vec::new();
        let mut within: BTreeSet<i64> = BTreeSet::new();
        let log = self.log.iter().filter(|stored| stored.next_offset > from);
        for stored in log
            .take_while(|stored| stored.next_offset <= upper)
            .take(batches_max)
        {
            next = stored.next_offset;
            if !committed {
                stored.tell(from, &mut records);
                continue;
            }
            let begun = aborted
                .iter()
                .filter(|it| it.first_offset < stored.next_offset);
            let is_aborted = match &stored.held {
                Held::Marker { commit: false } => within.remove(&stored.producer_id),
                _ => {
                    within.extend(begun.map(|it| it.producer_id));
                    stored.is_transactional && within.contains(&stored.producer_id)
                }
            };
            if let Held::Marker { commit: false } = stored.held {
                let ended = stored.base_offset;
                let id = stored.producer_id;
                aborted.retain(|it| it.producer_id != id || it.first_offset > ended);
            }
            let is_hidden = self.has(Fault::HidesCommitted)
                && self
                    .state
                    .aborted_between(0, upper)
                    .iter()
                    .any(|it| it.producer_id == stored.producer_id);
            if !is_aborted && !is_hidden {
                stored.tell(from, &mut records);
            }
        }
        Fetched {
            next,
            stable,
            high,
            records,
        }
    }

    fn spoil(&self, aborted: &mut Vec<AbortedTransaction>) {
        match self.fault {
            Some(Fault::ListsNoAborted) => aborted.clear(),
            Some(Fault::ListsLastAborted) => {
                let last = aborted.pop();
                aborted.clear();
                aborted.extend(last);
            }
            Some(Fault::ListsAbortedLate) => {
                aborted.iter_mut().for_each(|it| it.first_offset += 1);
            }
            _ => {}
        }
    }
}

impl Stored {
    fn tell(&self, from: i64, records: &mut Vec<(i64, Value)>) {
        if let Held::Records(values) = &self.held {
            let offsets = self.base_offset..;
            let told = offsets.zip(values.iter().copied());
            records.extend(told.filter(|(offset, _)| *offset >= from));
        }
    }
}
