//! Group records as bytes, in Kafka's own schemas, so that Kafka's tools can read `__consumer_offsets`.

use std::borrow::Cow;
use std::sync::Arc;

use rustka_wire::group_metadata_key::GroupMetadataKey;
use rustka_wire::group_metadata_value::{GroupMetadataValue, MemberMetadata as WireMember};
use rustka_wire::legacy_offset_commit_key::LegacyOffsetCommitKey;
use rustka_wire::offset_commit_key::OffsetCommitKey;
use rustka_wire::offset_commit_value::OffsetCommitValue;
use rustka_wire::{DecodeError, Reader, Uuid, Writer};

use super::command::NO_TOPIC_ID;
use super::consumer;
use super::records::{CommittedOffset, GroupMetadata, MemberMetadata, Record};
use crate::machine::{JournalRecord, Put, Standing};
use crate::producers::Marker;

/// The newest version without compact strings: what older tools read too.
const GROUP_VALUE_VERSION: i16 = 3;
/// The version with topic ids.
const OFFSET_VALUE_VERSION: i16 = 4;
/// The version for an offset of a topic without an id.
const OFFSET_VALUE_VERSION_NO_ID: i16 = 3;
/// The only version that says when an offset ends.
const OFFSET_VALUE_VERSION_EXPIRES: i16 = 1;

/// Names what a group has committed of a partition.
fn offset_key(key: &mut Writer, group: &str, topic: &str, partition: i32) {
    key.i16(OffsetCommitKey::KEY);
    let wire = OffsetCommitKey {
        group: Cow::Borrowed(group),
        topic: Cow::Borrowed(topic),
        partition,
    };
    wire.encode(key, 0);
}

impl JournalRecord for Record {
    fn encode(&self, put: &mut Put<'_>) {
        let mut key = Writer::new();
        let value = match self {
            Record::Group { group, value } => {
                key.i16(GroupMetadataKey::KEY);
                let group = Cow::Borrowed(&**group);
                GroupMetadataKey { group }.encode(&mut key, 0);
                value.as_ref().map(|value| encode_group(value))
            }
            Record::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                offset_key(&mut key, group, topic, *partition);
                value.as_ref().map(encode_offset)
            }
            Record::Pending {
                group,
                topic,
                partition,
                value,
                ..
            } => {
                offset_key(&mut key, group, topic, *partition);
                Some(encode_offset(value))
            }
            Record::Consumer { group, value } => consumer::codec::encode(&mut key, group, value),
            // Its batch says it all.
            Record::End { .. } => None,
        };
        put(Some(&key.buf), value.as_deref());
    }

    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Record>, DecodeError> {
        match key {
            Some(key) => Record::decode(key, value),
            None => Ok(None),
        }
    }

    fn standing(&self) -> Standing {
        match self {
            Record::Group { .. } | Record::Offset { .. } | Record::Consumer { .. } => {
                Standing::Plain
            }
            Record::Pending {
                producer, since, ..
            } => Standing::Open {
                producer_id: producer.0,
                epoch: producer.1,
                since: *since,
            },
            Record::End { producer, marker } => Standing::Marker {
                producer_id: producer.0,
                epoch: producer.1,
                marker: *marker,
            },
        }
    }

    fn within(self, producer_id: i64, epoch: i16) -> Option<Record> {
        match self {
            Record::Offset {
                group,
                topic,
                partition,
                value: Some(value),
            } => Some(Record::Pending {
                producer: (producer_id, epoch),
                since: None,
                group,
                topic,
                partition,
                value,
            }),
            _ => None,
        }
    }

    fn marker(producer_id: i64, epoch: i16, marker: Marker) -> Option<Record> {
        let producer = (producer_id, epoch);
        Some(Record::End { producer, marker })
    }
}

impl Record {
    /// Reads a record of `__consumer_offsets`; `None` for kinds that are of other groups.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, DecodeError> {
        let mut key = Reader::new(key);
        match key.i16()? {
            GroupMetadataKey::KEY => {
                let key = GroupMetadataKey::decode(&mut key, 0)?;
                Ok(Some(Record::Group {
                    group: key.group.into(),
                    value: value.map(decode_group).transpose()?.map(Arc::new),
                }))
            }
            OffsetCommitKey::KEY => {
                let key = OffsetCommitKey::decode(&mut key, 0)?;
                Ok(Some(Record::Offset {
                    group: key.group.into(),
                    topic: key.topic.into(),
                    partition: key.partition,
                    value: value.map(decode_offset).transpose()?,
                }))
            }
            LegacyOffsetCommitKey::KEY => {
                let key = LegacyOffsetCommitKey::decode(&mut key, 0)?;
                Ok(Some(Record::Offset {
                    group: key.group.into(),
                    topic: key.topic.into(),
                    partition: key.partition,
                    value: value.map(decode_offset).transpose()?,
                }))
            }
            kind => {
                let decoded = consumer::codec::decode(kind, &mut key, value)?;
                Ok(decoded.map(|(group, value)| Record::Consumer { group, value }))
            }
        }
    }
}

fn encode_group(value: &GroupMetadata) -> Vec<u8> {
    let member = |member| {
        let MemberMetadata {
            member_id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms,
            session_timeout_ms,
            subscription,
            assignment,
        }: &MemberMetadata = member;
        WireMember {
            member_id: Cow::Borrowed(&**member_id),
            group_instance_id: instance_id.as_deref().map(Cow::Borrowed),
            client_id: Cow::Borrowed(&**client_id),
            client_host: Cow::Borrowed(&**client_host),
            rebalance_timeout: *rebalance_timeout_ms,
            session_timeout: *session_timeout_ms,
            subscription: Cow::Borrowed(&**subscription),
            assignment: Cow::Borrowed(&**assignment),
        }
    };
    let wire = GroupMetadataValue {
        protocol_type: Cow::Borrowed(&*value.protocol_type),
        generation: value.generation,
        protocol: value.protocol.as_deref().map(Cow::Borrowed),
        leader: value.leader.as_deref().map(Cow::Borrowed),
        current_state_timestamp: value.state_timestamp_ms,
        members: value.members.iter().map(member).collect(),
    };
    let mut w = Writer::new();
    w.i16(GROUP_VALUE_VERSION);
    wire.encode(&mut w, GROUP_VALUE_VERSION);
    w.buf
}

fn decode_group(bytes: &[u8]) -> Result<GroupMetadata, DecodeError> {
    let mut r = Reader::with_budget(bytes, usize::MAX);
    let version = r.i16()?;
    let wire = GroupMetadataValue::decode(&mut r, version)?;
    let member = |member: WireMember| MemberMetadata {
        member_id: member.member_id.into(),
        instance_id: member.group_instance_id.map(Into::into),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        rebalance_timeout_ms: member.rebalance_timeout,
        session_timeout_ms: member.session_timeout,
        subscription: member.subscription.into(),
        assignment: member.assignment.into(),
    };
    Ok(GroupMetadata {
        protocol_type: wire.protocol_type.into(),
        generation: wire.generation,
        protocol: wire.protocol.map(Into::into),
        leader: wire.leader.map(Into::into),
        state_timestamp_ms: wire.current_state_timestamp,
        members: wire.members.into_iter().map(member).collect(),
    })
}

fn encode_offset(value: &CommittedOffset) -> Vec<u8> {
    let version = match value.expire_timestamp_ms {
        Some(_) => OFFSET_VALUE_VERSION_EXPIRES,
        None if value.topic_id == NO_TOPIC_ID => OFFSET_VALUE_VERSION_NO_ID,
        None => OFFSET_VALUE_VERSION,
    };
    let wire = OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: Cow::Borrowed(&*value.metadata),
        commit_timestamp: value.commit_timestamp_ms,
        expire_timestamp: value.expire_timestamp_ms.unwrap_or(-1),
        topic_id: Uuid(value.topic_id),
    };
    let mut w = Writer::new();
    w.i16(version);
    wire.encode(&mut w, version);
    w.buf
}

fn decode_offset(bytes: &[u8]) -> Result<CommittedOffset, DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    let wire = OffsetCommitValue::decode(&mut r, version)?;
    Ok(CommittedOffset {
        offset: wire.offset,
        leader_epoch: wire.leader_epoch,
        metadata: wire.metadata.into(),
        commit_timestamp_ms: wire.commit_timestamp,
        expire_timestamp_ms: (wire.expire_timestamp >= 0).then_some(wire.expire_timestamp),
        topic_id: wire.topic_id.0,
    })
}
