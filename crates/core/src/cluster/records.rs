//! The records of `__cluster_metadata`, typed, and as bytes in Kafka's own schemas.

pub mod control;
mod security;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use rustka_wire::abort_transaction_record::AbortTransactionRecord;
use rustka_wire::begin_transaction_record::BeginTransactionRecord;
use rustka_wire::clear_elr_record::ClearElrRecord;
use rustka_wire::config_record::ConfigRecord;
use rustka_wire::end_transaction_record::EndTransactionRecord;
use rustka_wire::feature_level_record::FeatureLevelRecord;
use rustka_wire::partition_change_record::PartitionChangeRecord;
use rustka_wire::partition_record::PartitionRecord;
use rustka_wire::producer_ids_record::ProducerIdsRecord;
use rustka_wire::remove_topic_record::RemoveTopicRecord;
use rustka_wire::topic_record::TopicRecord;
use rustka_wire::{DecodeError, Reader, Uuid, Writer};

use self::control::Quorum;
use super::features::{DIRECTORIES_SINCE, ELIGIBLE_LEADERS_SINCE, METADATA_VERSION};
use super::place::{Place, Replicas};
use super::resource::{Resource, ResourceKind};
use crate::machine::{JournalRecord, Put};
use crate::security::facts::Fact;

/// The frame around every record: its own version, then the record's key and version.
const FRAME_VERSION: u32 = 1;
/// Where a partition's number stands in its record, behind the frame, and its topic's id behind that.
const PARTITION_AT: usize = 3;
const TOPIC_AT: usize = PARTITION_AT + 4;
/// What most records weigh.
const RECORD_BYTES: usize = 96;

/// One record. They have no keys: each is a change, and what was before it matters.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// There is a topic; its configs and partitions follow.
    Topic {
        /// Its name.
        name: Arc<str>,
        /// Its id.
        id: Uuid,
    },
    /// A topic is gone, and its configs and partitions with it.
    RemoveTopic {
        /// Its id.
        id: Uuid,
    },
    /// There are partitions, each with a record of its own in the log.
    Partitions {
        /// Their topic.
        topic: Uuid,
        /// Their numbers.
        numbers: Range<i32>,
        /// Where each of them is.
        place: Place,
    },
    /// Something about a partition changed.
    PartitionChange(Box<PartitionChangeRecord>),
    /// A config is set, or back at what the next layer says.
    Config {
        /// Whose.
        resource: Resource,
        /// The key.
        name: Cow<'static, str>,
        /// `None`: no longer set.
        value: Option<Box<str>>,
    },
    /// Eligible leaders of a topic ("" for all topics) have to be found anew; says nothing that is remembered here.
    ClearElr {
        /// The topic.
        topic: Arc<str>,
    },
    /// A feature is at a level; 0 turns it off.
    Feature {
        /// Its name.
        name: Cow<'static, str>,
        /// The level.
        level: i16,
    },
    /// A block of producer ids is taken.
    ProducerIds {
        /// Who took it; -1 in snapshots.
        node_id: i32,
        /// In which of its lives; -1 in snapshots.
        broker_epoch: i64,
        /// The first id after it.
        next: i64,
    },
    /// Something about users or rights holds, or no longer does.
    Security(Box<Fact>),
    /// Where records begin or end that hold together or not at all (KIP-868). Written by Kafka.
    Together(Together),
    /// How controllers agree; never in a batch with others.
    Quorum(Quorum),
}

impl From<Fact> for Record {
    fn from(fact: Fact) -> Record {
        Record::Security(Box::new(fact))
    }
}

/// What such records do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Together {
    /// They begin; what they are, for people.
    Begin(Option<Box<str>>),
    /// They were all of them, and hold.
    End,
    /// They do not hold; why, for people.
    Abort(Option<Box<str>>),
}

impl Record {
    /// The level of `metadata.version`, where that is what the record says.
    pub fn metadata_version(&self) -> Option<i16> {
        match self {
            Record::Feature { name, level } if name == METADATA_VERSION => Some(*level),
            _ => None,
        }
    }

    /// The record in the version that a cluster with this level of `metadata.version` has it in.
    pub fn encode_at(&self, level: i16, put: &mut Put<'_>) {
        let mut w = Writer::with_capacity(RECORD_BYTES);
        match self {
            Record::Topic { name, id } => {
                frame(&mut w, TopicRecord::KEY, 0);
                let name = Cow::Borrowed(&**name);
                let topic_id = *id;
                TopicRecord { name, topic_id }.encode(&mut w, 0);
            }
            Record::RemoveTopic { id } => {
                frame(&mut w, RemoveTopicRecord::KEY, 0);
                RemoveTopicRecord { topic_id: *id }.encode(&mut w, 0);
            }
            Record::Partitions {
                topic,
                numbers,
                place,
            } => {
                let version = partition_version(level);
                match place.is_new() && version == PartitionRecord::MAX_VERSION {
                    true => w.raw(place.replicas.template(|| partition_template(place))),
                    false => encode_partition(&mut w, Uuid::ZERO, 0, place, version),
                }
                w.buf[TOPIC_AT..TOPIC_AT + topic.0.len()].copy_from_slice(&topic.0);
                for number in numbers.clone() {
                    w.buf[PARTITION_AT..TOPIC_AT].copy_from_slice(&number.to_be_bytes());
                    put(None, Some(&w.buf));
                }
                return;
            }
            Record::PartitionChange(change) => {
                let version = partition_version(level);
                frame(&mut w, PartitionChangeRecord::KEY, version);
                change.encode(&mut w, version);
            }
            Record::Config {
                resource,
                name,
                value,
            } => {
                frame(&mut w, ConfigRecord::KEY, 0);
                let record = ConfigRecord {
                    resource_type: resource.kind.code(),
                    resource_name: Cow::Borrowed(&resource.name),
                    name: Cow::Borrowed(name),
                    value: value.as_deref().map(Cow::Borrowed),
                };
                record.encode(&mut w, 0);
            }
            Record::ClearElr { topic } => {
                frame(&mut w, ClearElrRecord::KEY, 0);
                let topic_name = Cow::Borrowed(&**topic);
                ClearElrRecord { topic_name }.encode(&mut w, 0);
            }
            Record::Feature { name, level } => {
                frame(&mut w, FeatureLevelRecord::KEY, 0);
                let record = FeatureLevelRecord {
                    name: Cow::Borrowed(name),
                    feature_level: *level,
                };
                record.encode(&mut w, 0);
            }
            Record::ProducerIds {
                node_id,
                broker_epoch,
                next,
            } => {
                frame(&mut w, ProducerIdsRecord::KEY, 0);
                let record = ProducerIdsRecord {
                    broker_id: *node_id,
                    broker_epoch: *broker_epoch,
                    next_producer_id: *next,
                };
                record.encode(&mut w, 0);
            }
            Record::Security(fact) => security::encode(&mut w, fact),
            Record::Together(Together::Begin(name)) => {
                frame(&mut w, BeginTransactionRecord::KEY, 0);
                let name = name.as_deref().map(Cow::Borrowed);
                BeginTransactionRecord { name }.encode(&mut w, 0);
            }
            Record::Together(Together::End) => {
                frame(&mut w, EndTransactionRecord::KEY, 0);
                EndTransactionRecord::default().encode(&mut w, 0);
            }
            Record::Together(Together::Abort(reason)) => {
                frame(&mut w, AbortTransactionRecord::KEY, 0);
                let reason = reason.as_deref().map(Cow::Borrowed);
                AbortTransactionRecord { reason }.encode(&mut w, 0);
            }
            Record::Quorum(quorum) => {
                let (key, value) = quorum.encode();
                return put(Some(&key), Some(&value));
            }
        }
        put(None, Some(&w.buf));
    }
}

/// The version of what is said of partitions, which is the same for all that is said of them.
fn partition_version(level: i16) -> i16 {
    match level {
        ..DIRECTORIES_SINCE => 0,
        DIRECTORIES_SINCE..ELIGIBLE_LEADERS_SINCE => 1,
        ELIGIBLE_LEADERS_SINCE.. => 2,
    }
}

impl JournalRecord for Record {
    /// As a cluster has it whose features are all at their highest levels.
    fn encode(&self, put: &mut Put<'_>) {
        self.encode_at(i16::MAX, put);
    }

    fn decode(_: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Record>, DecodeError> {
        let mut r = Reader::with_budget(value.unwrap_or_default(), usize::MAX);
        let frame = r.uvarint()?;
        if frame != FRAME_VERSION {
            return Err(DecodeError::UnsupportedVersion);
        }
        let number = |value: u32| i16::try_from(value).map_err(|_| DecodeError::UnsupportedVersion);
        let (key, version) = (number(r.uvarint()?)?, number(r.uvarint()?)?);
        Ok(Some(match key {
            TopicRecord::KEY => {
                let record = TopicRecord::decode(&mut r, version)?;
                Record::Topic {
                    name: record.name.into(),
                    id: record.topic_id,
                }
            }
            RemoveTopicRecord::KEY => Record::RemoveTopic {
                id: RemoveTopicRecord::decode(&mut r, version)?.topic_id,
            },
            PartitionRecord::KEY => {
                let record = PartitionRecord::decode(&mut r, version)?;
                let number = record.partition_id;
                Record::Partitions {
                    topic: record.topic_id,
                    numbers: number..number.saturating_add(1),
                    place: Place {
                        leader: record.leader,
                        leader_epoch: record.leader_epoch,
                        partition_epoch: record.partition_epoch,
                        replicas: Arc::new(Replicas::of(record)),
                    },
                }
            }
            PartitionChangeRecord::KEY => {
                Record::PartitionChange(Box::new(PartitionChangeRecord::decode(&mut r, version)?))
            }
            ConfigRecord::KEY => {
                let record = ConfigRecord::decode(&mut r, version)?;
                let Some(kind) = ResourceKind::from_code(record.resource_type) else {
                    return Ok(None);
                };
                Record::Config {
                    resource: Resource {
                        kind,
                        name: record.resource_name.into(),
                    },
                    name: Cow::Owned(record.name.into_owned()),
                    value: record.value.map(Into::into),
                }
            }
            ClearElrRecord::KEY => Record::ClearElr {
                topic: ClearElrRecord::decode(&mut r, version)?.topic_name.into(),
            },
            FeatureLevelRecord::KEY => {
                let record = FeatureLevelRecord::decode(&mut r, version)?;
                Record::Feature {
                    name: Cow::Owned(record.name.into_owned()),
                    level: record.feature_level,
                }
            }
            ProducerIdsRecord::KEY => {
                let record = ProducerIdsRecord::decode(&mut r, version)?;
                Record::ProducerIds {
                    node_id: record.broker_id,
                    broker_epoch: record.broker_epoch,
                    next: record.next_producer_id,
                }
            }
            BeginTransactionRecord::KEY => {
                let record = BeginTransactionRecord::decode(&mut r, version)?;
                Record::Together(Together::Begin(record.name.map(Into::into)))
            }
            EndTransactionRecord::KEY => Record::Together(Together::End),
            AbortTransactionRecord::KEY => {
                let record = AbortTransactionRecord::decode(&mut r, version)?;
                Record::Together(Together::Abort(record.reason.map(Into::into)))
            }
            _ => return Ok(security::decode(&mut r, key, version)?.map(Record::from)),
        }))
    }

    fn control(key: Option<&[u8]>, value: &[u8]) -> Result<Option<Record>, DecodeError> {
        Ok(Quorum::decode(key, value)?.map(Record::Quorum))
    }
}

fn encode_partition(w: &mut Writer, topic: Uuid, partition: i32, place: &Place, version: i16) {
    frame(w, PartitionRecord::KEY, version);
    let record = place.record(topic, partition);
    record.encode(w, version);
}

/// A new partition in this place, without its number and topic: new ones are alike but for these, and many at a time.
fn partition_template(place: &Place) -> Box<[u8]> {
    let mut w = Writer::with_capacity(RECORD_BYTES);
    encode_partition(&mut w, Uuid::ZERO, 0, place, PartitionRecord::MAX_VERSION);
    w.buf.into()
}

fn frame(w: &mut Writer, key: i16, version: i16) {
    w.uvarint(FRAME_VERSION);
    w.uvarint(u32::from(key.unsigned_abs()));
    w.uvarint(u32::from(version.unsigned_abs()));
}
