//! What becomes of each request about a transactional id. Facts of Kafka 4.4; KIP-98, KIP-360, KIP-890.

use std::sync::Arc;

use super::command::{Add, End, Event, Init, Name, Place, Producer, Reply, Speaker};
use super::record::{NONE, Phase, Places, Transaction};
use super::{Effects, TransactionShard, bytes_of_new, is_same, weight};
use crate::account::{Full, Share};
use crate::error::ErrorCode;
use crate::time::Now;

/// The last epoch that a producer gets; the one after it only ever stands in a marker.
const EPOCH_MAX: i16 = i16::MAX - 1;

impl TransactionShard {
    pub(super) fn init(&mut self, now: Now, init: Init, out: &mut Effects) -> Reply {
        if init.id.is_empty() {
            return Reply::Producer(Err(ErrorCode::InvalidRequest));
        }
        if init.timeout_ms <= 0 || init.timeout_ms > self.options.timeout_ms_max {
            return Reply::Producer(Err(ErrorCode::InvalidTransactionTimeout));
        }
        let Some(current) = self.get(&init.id).cloned() else {
            return self.begin(now, &init, out);
        };
        let last_epoch = self.ids.get(&init.id).and_then(|known| known.last_epoch);
        if !is_known(init.expected, &current) {
            return Reply::Producer(Err(ErrorCode::ProducerFenced));
        }
        let next = next_producer(&init, &current, last_epoch);
        let (producer, previous_id, last_epoch) = match (current.phase, next) {
            (Phase::PrepareCommit | Phase::PrepareAbort, _) => {
                return Reply::Producer(Err(ErrorCode::ConcurrentTransactions));
            }
            (Phase::Ongoing, _) => {
                let is_exhausted = current.producer.epoch >= EPOCH_MAX;
                if is_exhausted && init.new_id.is_none() {
                    return Reply::NeedsId;
                }
                // Who still writes under the old epoch is fenced, and what it wrote is aborted.
                let next_id = init.new_id.filter(|_| is_exhausted);
                self.abort(now, &init.id, &current, next_id, out);
                return Reply::Producer(Err(ErrorCode::ConcurrentTransactions));
            }
            (_, Next::Fenced) => return Reply::Producer(Err(ErrorCode::ProducerFenced)),
            (_, Next::NeedsId) => return Reply::NeedsId,
            (_, Next::Epoch { epoch, last_epoch }) => {
                let producer = Producer {
                    id: current.producer.id,
                    epoch,
                };
                (producer, current.previous_id, last_epoch)
            }
            (_, Next::Id { id, last_epoch }) => {
                let producer = Producer { id, epoch: 0 };
                (producer, current.producer.id, last_epoch)
            }
        };
        let value = Transaction {
            previous_id,
            raises_epoch: current.raises_epoch,
            ..empty(now, producer, init.timeout_ms)
        };
        self.write(now, &init.id, Some(value), out);
        self.remember(&init.id, last_epoch);
        Reply::Producer(Ok(producer))
    }

    /// An id that nobody has used yet.
    fn begin(&mut self, now: Now, init: &Init, out: &mut Effects) -> Reply {
        let weight = self.weight.saturating_add(weight(&init.id));
        if weight > self.options.ids_max && !self.ids.contains_key(&init.id) {
            out.events.push(Event::Full);
            return Reply::Producer(Err(ErrorCode::CoordinatorNotAvailable));
        }
        if let Err(full) = self.has_memory(bytes_of_new(&init.id)) {
            out.events.push(Event::OutOfMemory(full));
            return Reply::Producer(Err(ErrorCode::CoordinatorNotAvailable));
        }
        let Some(new_id) = init.new_id else {
            return Reply::NeedsId;
        };
        let producer = Producer {
            id: new_id,
            epoch: 0,
        };
        let value = empty(now, producer, init.timeout_ms);
        self.write(now, &init.id, Some(value), out);
        Reply::Producer(Ok(producer))
    }

    /// Whether transactions may take so much more.
    fn has_memory(&self, more: usize) -> Result<(), Full> {
        self.options.account.check(Share::Transactions, more)
    }

    pub(super) fn add(&mut self, now: Now, add: Add, out: &mut Effects) -> Result<(), ErrorCode> {
        let current = self.speaks(&add.speaker)?.clone();
        if current.phase.is_ending() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let is_open = current.phase == Phase::Ongoing;
        let mut places = match is_open {
            true => current.places.clone().unwrap_or_default(),
            false => Places::default(),
        };
        let known = places.bytes();
        if !places.add(add.places) && is_open {
            return Ok(());
        }
        let new_bytes = places.bytes() - known;
        if let Err(full) = self.has_memory(new_bytes) {
            out.events.push(Event::OutOfMemory(full));
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let value = Transaction {
            phase: Phase::Ongoing,
            places: Some(places),
            started_ms: match is_open {
                true => current.started_ms,
                false => now.wall_ms,
            },
            updated_ms: now.wall_ms,
            raises_epoch: add.raises_epoch,
            next_id: NONE,
            ..(*current).clone()
        };
        if value.exceeds(self.options.record_bytes_max) {
            return Err(ErrorCode::UnknownServerError);
        }
        self.write(now, &add.speaker.id, Some(value), out);
        Ok(())
    }

    pub(super) fn verify(
        &self,
        speaker: &Speaker,
        places: &[Place],
    ) -> Result<Vec<bool>, ErrorCode> {
        let current = self.speaks(speaker)?;
        if current.phase.is_ending() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let is_open = current.phase == Phase::Ongoing;
        let verified = places.iter().map(|place| is_open && current.has(place));
        Ok(verified.collect())
    }

    pub(super) fn end(&mut self, now: Now, end: End, out: &mut Effects) -> Reply {
        match self.decide_end(now, end, out) {
            Ok(reply) => reply,
            Err(code) => Reply::Producer(Err(code)),
        }
    }

    fn decide_end(&mut self, now: Now, end: End, out: &mut Effects) -> Result<Reply, ErrorCode> {
        let speaker = &end.speaker;
        if speaker.id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let unknown = ErrorCode::InvalidProducerIdMapping;
        let current = self.get(&speaker.id).ok_or(unknown)?.clone();
        let is_repeated = end.raises_epoch && is_repeated(speaker, &current);
        if !is_repeated {
            self.speaks(speaker)?;
        }
        let phase = current.phase;
        if is_repeated {
            // The answer to the first one was lost.
            return match (phase, end.commit) {
                (Phase::PrepareCommit, true) | (Phase::PrepareAbort, false) => {
                    Err(ErrorCode::ConcurrentTransactions)
                }
                (Phase::CompleteCommit, true) | (Phase::CompleteAbort, false) => {
                    Ok(self.go_on(now, &end, &current, out))
                }
                _ => Err(ErrorCode::InvalidTxnState),
            };
        }
        match (phase, end.commit) {
            (Phase::Ongoing, _) => {}
            (Phase::PrepareCommit, true) | (Phase::PrepareAbort, false) => {
                return Err(ErrorCode::ConcurrentTransactions);
            }
            (Phase::Empty | Phase::CompleteCommit | Phase::CompleteAbort, false)
                if end.raises_epoch => {}
            (Phase::CompleteCommit, true) | (Phase::CompleteAbort, false) if !end.raises_epoch => {
                return Ok(Reply::Producer(Ok(current.producer)));
            }
            _ => return Err(ErrorCode::InvalidTxnState),
        }
        if !end.raises_epoch {
            let value = prepared(now, &current, end.commit);
            self.write(now, &speaker.id, Some(value), out);
            return Ok(Reply::Producer(Ok(current.producer)));
        }
        let is_exhausted = current.producer.epoch >= EPOCH_MAX;
        if is_exhausted && end.new_id.is_none() {
            return Ok(Reply::NeedsId);
        }
        let value = Transaction {
            producer: raised(current.producer),
            next_id: end.new_id.filter(|_| is_exhausted).unwrap_or(NONE),
            raises_epoch: true,
            started_ms: match phase {
                Phase::Ongoing => current.started_ms,
                _ => now.wall_ms,
            },
            ..prepared(now, &current, end.commit)
        };
        let producer = match value.next_id {
            NONE => value.producer,
            id => Producer { id, epoch: 0 },
        };
        self.write(now, &speaker.id, Some(value), out);
        self.remember(&speaker.id, Some(current.producer.epoch));
        Ok(Reply::Producer(Ok(producer)))
    }

    /// Who a client is that has missed how its transaction ended.
    fn go_on(&mut self, now: Now, end: &End, current: &Transaction, out: &mut Effects) -> Reply {
        if current.producer.epoch <= EPOCH_MAX {
            return Reply::Producer(Ok(current.producer));
        }
        // The coordinator has aborted in the last epoch: the one of its marker is nobody's.
        let Some(id) = end.new_id else {
            return Reply::NeedsId;
        };
        let producer = Producer { id, epoch: 0 };
        let value = Transaction {
            producer,
            previous_id: current.producer.id,
            updated_ms: now.wall_ms,
            ..current.clone()
        };
        self.write(now, &end.speaker.id, Some(value), out);
        self.remember(&end.speaker.id, Some(EPOCH_MAX));
        Reply::Producer(Ok(producer))
    }

    /// The markers are written: the transaction is over.
    pub(super) fn complete(&mut self, now: Now, speaker: &Speaker, out: &mut Effects) {
        let Some(current) = self.get(&speaker.id) else {
            return;
        };
        if !is_same(speaker, current) {
            return;
        }
        let phase = match current.phase {
            Phase::PrepareCommit => Phase::CompleteCommit,
            Phase::PrepareAbort => Phase::CompleteAbort,
            _ => return,
        };
        let (producer, previous_id) = match current.next_id {
            NONE => (current.producer, current.previous_id),
            id => (Producer { id, epoch: 0 }, current.producer.id),
        };
        let value = Transaction {
            producer,
            previous_id,
            next_id: NONE,
            phase,
            places: Some(Places::default()),
            ..(**current).clone()
        };
        self.write(now, &speaker.id, Some(value), out);
    }

    /// A transaction took longer than its client said it would.
    pub(super) fn time_out(&mut self, now: Now, id: &Name, out: &mut Effects) {
        let Some(current) = self.get(id).cloned() else {
            return;
        };
        if current.phase != Phase::Ongoing {
            return;
        }
        out.events.push(Event::TimedOut { id: id.clone() });
        self.abort(now, id, &current, None, out);
    }

    /// The coordinator itself aborts, and whoever writes under the old epoch is fenced. Its client may come back and go on
    /// under the raised epoch, as long as nobody else has come; where there is no higher one, under `next_id` if it is known.
    fn abort(
        &mut self,
        now: Now,
        id: &Name,
        current: &Transaction,
        next_id: Option<i64>,
        out: &mut Effects,
    ) {
        let value = Transaction {
            producer: raised(current.producer),
            next_id: next_id.unwrap_or(NONE),
            raises_epoch: true,
            ..prepared(now, current, false)
        };
        self.write(now, id, Some(value), out);
        self.remember(id, Some(current.producer.epoch));
    }

    /// What is remembered of the id, if this is who produces under it.
    fn speaks(&self, speaker: &Speaker) -> Result<&Arc<Transaction>, ErrorCode> {
        if speaker.id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let known = self.get(&speaker.id);
        let known = known.filter(|it| it.producer.id == speaker.producer.id);
        let known = known.ok_or(ErrorCode::InvalidProducerIdMapping)?;
        match known.producer.epoch == speaker.producer.epoch {
            true => Ok(known),
            false => Err(ErrorCode::ProducerFenced),
        }
    }
}

/// A producer without a transaction.
fn empty(now: Now, producer: Producer, timeout_ms: i32) -> Transaction {
    Transaction {
        producer,
        previous_id: producer.id,
        next_id: NONE,
        timeout_ms,
        phase: Phase::Empty,
        places: None,
        updated_ms: now.wall_ms,
        started_ms: -1,
        raises_epoch: false,
    }
}

/// The same with its end decided.
fn prepared(now: Now, current: &Transaction, commit: bool) -> Transaction {
    Transaction {
        phase: match commit {
            true => Phase::PrepareCommit,
            false => Phase::PrepareAbort,
        },
        places: match current.phase {
            Phase::Ongoing => current.places.clone(),
            _ => Some(Places::default()),
        },
        updated_ms: now.wall_ms,
        raises_epoch: false,
        ..current.clone()
    }
}

fn raised(producer: Producer) -> Producer {
    Producer {
        epoch: producer.epoch.saturating_add(1),
        ..producer
    }
}

/// Whether somebody who takes itself for that producer can be the one of this id (KIP-360).
fn is_known(expected: Option<Producer>, current: &Transaction) -> bool {
    expected.is_none_or(|expected| {
        let is_previous = expected.id == current.previous_id && expected.epoch >= EPOCH_MAX;
        expected.id == current.producer.id || is_previous
    })
}

/// Whether this is the EndTxn that has brought the id where it is, once more.
fn is_repeated(speaker: &Speaker, current: &Transaction) -> bool {
    if current.phase == Phase::Ongoing || current.phase == Phase::Empty {
        return false;
    }
    let (asked, now) = (speaker.producer, current.producer);
    let raised = asked.id == now.id && asked.epoch.checked_add(1) == Some(now.epoch);
    let is_previous = asked.id == current.previous_id && asked.id != now.id;
    raised || is_previous && asked.epoch == EPOCH_MAX && now.epoch == 0
}

/// Who comes after the current producer.
enum Next {
    Fenced,
    NeedsId,
    Epoch { epoch: i16, last_epoch: Option<i16> },
    Id { id: i64, last_epoch: Option<i16> },
}

fn next_producer(init: &Init, current: &Transaction, last_epoch: Option<i16>) -> Next {
    let epoch = current.producer.epoch;
    let expected = init.expected.map(|expected| expected.epoch);
    let is_current = expected.is_none_or(|expected| expected == epoch);
    // The epoch of a marker is nobody's.
    let is_behind_marker = epoch > EPOCH_MAX && expected == last_epoch;
    if epoch >= EPOCH_MAX && (is_current || is_behind_marker) {
        let last_epoch = expected.map(|_| EPOCH_MAX);
        return match init.new_id {
            Some(id) => Next::Id { id, last_epoch },
            None => Next::NeedsId,
        };
    }
    match expected {
        None => Next::Epoch {
            epoch: epoch.saturating_add(1),
            last_epoch: None,
        },
        Some(expected) if expected == epoch => Next::Epoch {
            epoch: epoch.saturating_add(1),
            last_epoch: Some(epoch),
        },
        // Its answer was lost: the same once more.
        Some(expected) if Some(expected) == last_epoch => Next::Epoch { epoch, last_epoch },
        Some(_) => Next::Fenced,
    }
}
