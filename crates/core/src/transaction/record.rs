//! What is remembered of a transactional id, and how it stands in `__transaction_state`: Kafka's own records.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rustka_wire::transaction_log_key::TransactionLogKey;
use rustka_wire::transaction_log_value::{PartitionsSchema, TransactionLogValue};
use rustka_wire::{DecodeError, Reader, Writer};

use super::command::{Name, Place, Producer};
use crate::machine::{EncodedRecord, JournalRecord};

/// No producer id, no epoch.
pub const NONE: i64 = -1;
/// The value's version that knows clients of transaction version 2.
const VALUE_VERSION: i16 = 1;
/// What the value says of a client of transaction version 2.
const RAISES_EPOCH: i16 = 2;

/// Where a transactional id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is a producer and no transaction yet.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It will be committed, come what may.
    PrepareCommit,
    /// It will be aborted, come what may.
    PrepareAbort,
    /// It is committed.
    CompleteCommit,
    /// It is aborted.
    CompleteAbort,
}

impl Phase {
    /// Every phase, by its number in the log.
    pub const ALL: [Phase; 6] = [
        Phase::Empty,
        Phase::Ongoing,
        Phase::PrepareCommit,
        Phase::PrepareAbort,
        Phase::CompleteCommit,
        Phase::CompleteAbort,
    ];

    /// As tools show it and filter by it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Ongoing => "Ongoing",
            Phase::PrepareCommit => "PrepareCommit",
            Phase::PrepareAbort => "PrepareAbort",
            Phase::CompleteCommit => "CompleteCommit",
            Phase::CompleteAbort => "CompleteAbort",
        }
    }

    fn number(self) -> i8 {
        match self {
            Phase::Empty => 0,
            Phase::Ongoing => 1,
            Phase::PrepareCommit => 2,
            Phase::PrepareAbort => 3,
            Phase::CompleteCommit => 4,
            Phase::CompleteAbort => 5,
        }
    }

    /// Whether its end is decided and not yet told to all partitions.
    pub fn is_ending(self) -> bool {
        matches!(self, Phase::PrepareCommit | Phase::PrepareAbort)
    }
}

/// What is remembered of one transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Who produces under it.
    pub producer: Producer,
    /// The producer id before that, or the own one, or [`NONE`].
    pub previous_id: i64,
    /// The producer id after the end that is decided, or [`NONE`].
    pub next_id: i64,
    /// How long a transaction may stay open.
    pub timeout_ms: i32,
    /// Where it stands.
    pub phase: Phase,
    /// The partitions of the transaction in the order in which they were added; none before the first one.
    pub places: Option<Vec<Place>>,
    /// When it was last changed, in wall time.
    pub updated_ms: i64,
    /// When the transaction began, in wall time, or -1.
    pub started_ms: i64,
    /// Its client raises its epoch with each transaction (transaction version 2).
    pub raises_epoch: bool,
}

impl Transaction {
    /// Whether a partition was added already.
    pub fn has(&self, place: &Place) -> bool {
        self.places.iter().flatten().any(|known| known == place)
    }
}

/// One record of the journal; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The transactional id.
    pub id: Name,
    /// `None`: it is forgotten.
    pub value: Option<Arc<Transaction>>,
}

impl JournalRecord for Record {
    fn encode(&self) -> EncodedRecord {
        let mut key = Writer::new();
        key.i16(TransactionLogKey::KEY);
        let transactional_id = Cow::Borrowed(&*self.id);
        TransactionLogKey { transactional_id }.encode(&mut key, 0);
        EncodedRecord {
            key: Some(key.buf),
            value: self.value.as_deref().map(encode),
        }
    }

    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Record>, DecodeError> {
        let Some(key) = key else {
            return Ok(None);
        };
        let mut key = Reader::new(key);
        if key.i16()? != TransactionLogKey::KEY {
            return Ok(None);
        }
        let key = TransactionLogKey::decode(&mut key, 0)?;
        Ok(Some(Record {
            id: key.transactional_id.into(),
            value: value.map(decode).transpose()?.map(Arc::new),
        }))
    }
}

fn encode(value: &Transaction) -> Vec<u8> {
    let wire = TransactionLogValue {
        producer_id: value.producer.id,
        previous_producer_id: value.previous_id,
        next_producer_id: value.next_id,
        producer_epoch: value.producer.epoch,
        next_producer_epoch: -1,
        transaction_timeout_ms: value.timeout_ms,
        transaction_status: value.phase.number(),
        transaction_partitions: value.places.as_deref().map(by_topic),
        transaction_last_update_timestamp_ms: value.updated_ms,
        transaction_start_timestamp_ms: value.started_ms,
        client_transaction_version: if value.raises_epoch { RAISES_EPOCH } else { 0 },
    };
    let mut w = Writer::new();
    w.i16(VALUE_VERSION);
    wire.encode(&mut w, VALUE_VERSION);
    w.buf
}

fn by_topic(places: &[Place]) -> Vec<PartitionsSchema<'_>> {
    let mut topics: Vec<PartitionsSchema<'_>> = Vec::new();
    let mut at: BTreeMap<&str, usize> = BTreeMap::new();
    for (topic, partition) in places {
        let at = *at.entry(topic).or_insert(topics.len());
        match topics.get_mut(at) {
            Some(known) => known.partition_ids.push(*partition),
            None => topics.push(PartitionsSchema {
                topic: Cow::Borrowed(topic),
                partition_ids: vec![*partition],
            }),
        }
    }
    topics
}

fn decode(bytes: &[u8]) -> Result<Transaction, DecodeError> {
    let mut r = Reader::with_budget(bytes, usize::MAX);
    let version = r.i16()?;
    let wire = TransactionLogValue::decode(&mut r, version)?;
    let phase = usize::try_from(wire.transaction_status).unwrap_or(usize::MAX);
    let phase = Phase::ALL.get(phase).copied();
    let places = |topics: Vec<PartitionsSchema<'_>>| {
        let mut places = Vec::new();
        for topic in topics {
            let name: Name = topic.topic.into();
            let partitions = topic.partition_ids.into_iter();
            places.extend(partitions.map(|partition| (name.clone(), partition)));
        }
        places
    };
    Ok(Transaction {
        producer: Producer {
            id: wire.producer_id,
            epoch: wire.producer_epoch,
        },
        previous_id: wire.previous_producer_id,
        next_id: wire.next_producer_id,
        timeout_ms: wire.transaction_timeout_ms,
        phase: phase.unwrap_or(Phase::Empty),
        places: wire.transaction_partitions.map(places),
        updated_ms: wire.transaction_last_update_timestamp_ms,
        started_ms: wire.transaction_start_timestamp_ms,
        raises_epoch: wire.client_transaction_version >= RAISES_EPOCH,
    })
}
