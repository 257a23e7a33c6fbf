//! What is remembered of a transactional id, and how it stands in `__transaction_state`: Kafka's own records.

use std::borrow::Cow;
use std::sync::Arc;

use rustka_wire::transaction_log_key::TransactionLogKey;
use rustka_wire::transaction_log_value::{PartitionsSchema, TransactionLogValue};
use rustka_wire::{DecodeError, Reader, Writer};

use super::command::{Name, Place, Producer};
use crate::machine::{JournalRecord, Put};

/// No producer id, no epoch.
pub const NONE: i64 = -1;
/// The value's version up to transaction version 0: it has no room for the ids before and after, nor for the protocol.
pub const VALUE_VERSION_FIRST: i16 = 0;
/// The value's version from transaction version 1 on.
pub const VALUE_VERSION_TAGGED: i16 = 1;
/// What the value says of a client of transaction version 2.
const RAISES_EPOCH: i16 = 2;

/// What a key takes beside its id, at most.
const KEY_BYTES: usize = 2 * size_of::<i16>();
/// What a value takes beside its partitions, at most.
const VALUE_BYTES: usize = 96;
/// What a topic takes in a value beside its name and its partitions, at most.
const TOPIC_LENGTHS_BYTES: usize = 12;
/// What a partition takes in a value, and in memory.
const PARTITION_BYTES: usize = size_of::<i32>();
/// What a topic takes in memory, with a name that may be nobody else's.
const TOPIC_BYTES: usize = size_of::<(Name, Box<[i32]>)>() + 48;

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
    /// The partitions of the transaction; none before the first one.
    pub places: Option<Places>,
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
        self.places.as_ref().is_some_and(|places| places.has(place))
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Transaction>() + self.places.as_ref().map_or(0, Places::bytes)
    }

    /// What it takes in the journal, at most.
    fn encoded_bytes(&self) -> usize {
        let topics = self.places.iter().flat_map(Places::by_topic);
        let topics = topics.map(|(topic, partitions)| {
            TOPIC_LENGTHS_BYTES + topic.len() + PARTITION_BYTES * partitions.count()
        });
        VALUE_BYTES + topics.sum::<usize>()
    }

    /// Whether its partitions alone take more than this in the journal.
    pub(super) fn exceeds(&self, bytes: usize) -> bool {
        let Some(places) = &self.places else {
            return false;
        };
        let topics = places.by_topic();
        let topics =
            topics.map(|(topic, partitions)| topic.len() + PARTITION_BYTES * partitions.count());
        topics.sum::<usize>() > bytes
    }
}

/// The partitions of a transaction: each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Box<[(Name, Box<[i32]>)]>);

impl Places {
    /// Adds those that are new; whether there were any.
    pub fn add(&mut self, places: impl IntoIterator<Item = Place>) -> bool {
        let new = places.into_iter().filter(|place| !self.has(place));
        let mut new: Vec<Place> = new.collect();
        if new.is_empty() {
            return false;
        }
        new.sort();
        new.dedup();
        for topic in new.chunk_by(|a, b| a.0 == b.0) {
            self.add_to_topic(topic);
        }
        true
    }

    /// Adds partitions of one topic that are not there yet.
    fn add_to_topic(&mut self, new: &[Place]) {
        let Some((name, _)) = new.first() else {
            return;
        };
        let new = new.iter().map(|(_, partition)| *partition);
        match self.topic(name) {
            Ok(at) => {
                let known = self.0.get_mut(at).map(|(_, partitions)| partitions);
                if let Some(known) = known {
                    let mut all: Vec<i32> = known.iter().copied().chain(new).collect();
                    // Sorting two rows that are sorted costs no more than a look at each.
                    all.sort();
                    *known = all.into();
                }
            }
            Err(at) => {
                let mut topics = std::mem::take(&mut self.0).into_vec();
                topics.insert(at, (name.clone(), new.collect()));
                self.0 = topics.into();
            }
        }
    }

    /// Where a topic is, or would be.
    fn topic(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(topic, _)| (**topic).cmp(name))
    }

    /// Whether this one is among them.
    pub fn has(&self, (name, partition): &Place) -> bool {
        let topic = self.topic(name).ok().and_then(|at| self.0.get(at));
        topic.is_some_and(|(_, partitions)| partitions.binary_search(partition).is_ok())
    }

    /// All of them, those of one topic beside each other.
    pub fn iter(&self) -> impl Iterator<Item = Place> + '_ {
        let topics = self.by_topic();
        topics.flat_map(|(topic, partitions)| partitions.map(|it| (topic.clone(), it)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let partitions = self.0.iter().map(|(_, partitions)| partitions.len());
        partitions.sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they take in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.len() * PARTITION_BYTES + self.0.len() * TOPIC_BYTES
    }

    /// All of them by topic.
    pub fn by_topic(&self) -> impl Iterator<Item = (&Name, impl Iterator<Item = i32> + '_)> {
        let topics = self.0.iter();
        topics.map(|(topic, partitions)| (topic, partitions.iter().copied()))
    }
}

impl FromIterator<Place> for Places {
    fn from_iter<T: IntoIterator<Item = Place>>(places: T) -> Places {
        let mut all = Places::default();
        all.add(places);
        all
    }
}

/// One record of the journal; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The transactional id.
    pub id: Name,
    /// `None`: it is forgotten.
    pub value: Option<Arc<Transaction>>,
    /// In which version the value is written.
    pub value_version: i16,
}

impl JournalRecord for Record {
    fn encode(&self, put: &mut Put<'_>) {
        let mut key = Writer::with_capacity(KEY_BYTES + self.id.len());
        key.i16(TransactionLogKey::KEY);
        let transactional_id = Cow::Borrowed(&*self.id);
        TransactionLogKey { transactional_id }.encode(&mut key, 0);
        let value = self.value.as_deref();
        let value = value.map(|value| encode(value, self.value_version));
        put(Some(&key.buf), value.as_deref());
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
        let value = value.map(decode).transpose()?;
        let value_version = value.as_ref().map(|(version, _)| *version);
        Ok(Some(Record {
            id: key.transactional_id.into(),
            value: value.map(|(_, value)| Arc::new(value)),
            value_version: value_version.unwrap_or(VALUE_VERSION_TAGGED),
        }))
    }
}

fn encode(value: &Transaction, version: i16) -> Vec<u8> {
    let wire = TransactionLogValue {
        producer_id: value.producer.id,
        previous_producer_id: value.previous_id,
        next_producer_id: value.next_id,
        producer_epoch: value.producer.epoch,
        next_producer_epoch: -1,
        transaction_timeout_ms: value.timeout_ms,
        transaction_status: value.phase.number(),
        transaction_partitions: value.places.as_ref().map(by_topic),
        transaction_last_update_timestamp_ms: value.updated_ms,
        transaction_start_timestamp_ms: value.started_ms,
        client_transaction_version: if value.raises_epoch { RAISES_EPOCH } else { 0 },
    };
    let mut w = Writer::with_capacity(value.encoded_bytes());
    w.i16(version);
    wire.encode(&mut w, version);
    w.buf
}

fn by_topic(places: &Places) -> Vec<PartitionsSchema<'_>> {
    let topics = places.by_topic();
    let topics = topics.map(|(topic, partitions)| PartitionsSchema {
        topic: Cow::Borrowed(topic),
        partition_ids: partitions.collect(),
    });
    topics.collect()
}

fn decode(bytes: &[u8]) -> Result<(i16, Transaction), DecodeError> {
    let mut r = Reader::with_budget(bytes, usize::MAX);
    let version = r.i16()?;
    let wire = TransactionLogValue::decode(&mut r, version)?;
    let phase = usize::try_from(wire.transaction_status).unwrap_or(usize::MAX);
    let phase = Phase::ALL.get(phase).copied();
    let places = |topics: Vec<PartitionsSchema<'_>>| {
        let topics = topics.into_iter().flat_map(|topic| {
            let name: Name = topic.topic.into();
            let partitions = topic.partition_ids.into_iter();
            partitions.map(move |partition| (name.clone(), partition))
        });
        topics.collect()
    };
    let transaction = Transaction {
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
    };
    Ok((version, transaction))
}
