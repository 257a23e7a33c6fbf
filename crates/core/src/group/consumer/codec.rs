//! Records of consumer groups as bytes, in Kafka's own schemas and the order of fields that it writes.

use std::borrow::Cow;
use std::sync::Arc;

use rustka_wire::consumer_group_current_member_assignment_key::ConsumerGroupCurrentMemberAssignmentKey as CurrentKey;
use rustka_wire::consumer_group_current_member_assignment_value::{
    ConsumerGroupCurrentMemberAssignmentValue as CurrentValue, TopicPartitions as WireHeld,
};
use rustka_wire::consumer_group_member_metadata_key::ConsumerGroupMemberMetadataKey as MemberKey;
use rustka_wire::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupMemberMetadataValue as MemberValue,
};
use rustka_wire::consumer_group_metadata_key::ConsumerGroupMetadataKey as GroupKey;
use rustka_wire::consumer_group_metadata_value::ConsumerGroupMetadataValue as GroupValue;
use rustka_wire::consumer_group_partition_metadata_key::ConsumerGroupPartitionMetadataKey as PartitionsKey;
use rustka_wire::consumer_group_regular_expression_key::ConsumerGroupRegularExpressionKey as ExpressionKey;
use rustka_wire::consumer_group_regular_expression_value::ConsumerGroupRegularExpressionValue as ExpressionValue;
use rustka_wire::consumer_group_target_assignment_member_key::ConsumerGroupTargetAssignmentMemberKey as TargetKey;
use rustka_wire::consumer_group_target_assignment_member_value::{
    ConsumerGroupTargetAssignmentMemberValue as TargetValue, TopicPartition as WirePlaces,
};
use rustka_wire::consumer_group_target_assignment_metadata_key::ConsumerGroupTargetAssignmentMetadataKey as TargetEpochKey;
use rustka_wire::consumer_group_target_assignment_metadata_value::ConsumerGroupTargetAssignmentMetadataValue as TargetEpochValue;
use rustka_wire::{DecodeError, Reader, Uuid, Writer};

use super::places::{Held, Place, by_topic, in_order};
use super::records::{
    ClassicMember, ConsumerRecord, Current, GroupEpoch, Matched, Member, MemberState, TargetEpoch,
};
use crate::group::command::{Name, Protocol};

/// The only version of all of these.
const VERSION: i16 = 0;

/// Writes the record's key as it stands in the journal; its value.
pub(in crate::group) fn encode(
    key: &mut Writer,
    group: &str,
    record: &ConsumerRecord,
) -> Option<Vec<u8>> {
    let group_id = Cow::Borrowed(group);
    match record {
        ConsumerRecord::Group(value) => {
            key.i16(GroupKey::KEY);
            GroupKey { group_id }.encode(key, VERSION);
            value.map(|value| encode_group(&value))
        }
        ConsumerRecord::Metadata => {
            key.i16(PartitionsKey::KEY);
            PartitionsKey { group_id }.encode(key, VERSION);
            None
        }
        ConsumerRecord::Member(member_id, value) => {
            key.i16(MemberKey::KEY);
            let member_id = Cow::Borrowed(&**member_id);
            let named = MemberKey {
                group_id,
                member_id,
            };
            named.encode(key, VERSION);
            value.as_deref().map(encode_member)
        }
        ConsumerRecord::TargetEpoch(value) => {
            key.i16(TargetEpochKey::KEY);
            TargetEpochKey { group_id }.encode(key, VERSION);
            value.map(|value| encode_target_epoch(&value))
        }
        ConsumerRecord::Target(member_id, value) => {
            key.i16(TargetKey::KEY);
            let member_id = Cow::Borrowed(&**member_id);
            let named = TargetKey {
                group_id,
                member_id,
            };
            named.encode(key, VERSION);
            value.as_deref().map(|value| encode_target(value))
        }
        ConsumerRecord::Current(member_id, value) => {
            key.i16(CurrentKey::KEY);
            let member_id = Cow::Borrowed(&**member_id);
            let named = CurrentKey {
                group_id,
                member_id,
            };
            named.encode(key, VERSION);
            value.as_deref().map(encode_current)
        }
        ConsumerRecord::Expression(expression, value) => {
            key.i16(ExpressionKey::KEY);
            let regular_expression = Cow::Borrowed(&**expression);
            let named = ExpressionKey {
                group_id,
                regular_expression,
            };
            named.encode(key, VERSION);
            value.as_deref().map(encode_matched)
        }
    }
}

/// Reads a record again whose key's type has been read; `None` for a kind that is none of these.
pub(in crate::group) fn decode(
    kind: i16,
    key: &mut Reader,
    value: Option<&[u8]>,
) -> Result<Option<(Name, ConsumerRecord)>, DecodeError> {
    Ok(Some(match kind {
        GroupKey::KEY => {
            let key = GroupKey::decode(key, VERSION)?;
            let value = value.map(decode_group).transpose()?;
            (key.group_id.into(), ConsumerRecord::Group(value))
        }
        PartitionsKey::KEY => {
            let key = PartitionsKey::decode(key, VERSION)?;
            (key.group_id.into(), ConsumerRecord::Metadata)
        }
        MemberKey::KEY => {
            let key = MemberKey::decode(key, VERSION)?;
            let value = value.map(decode_member).transpose()?.map(Arc::new);
            let record = ConsumerRecord::Member(key.member_id.into(), value);
            (key.group_id.into(), record)
        }
        TargetEpochKey::KEY => {
            let key = TargetEpochKey::decode(key, VERSION)?;
            let value = value.map(decode_target_epoch).transpose()?;
            (key.group_id.into(), ConsumerRecord::TargetEpoch(value))
        }
        TargetKey::KEY => {
            let key = TargetKey::decode(key, VERSION)?;
            let value = value.map(decode_target).transpose()?.map(Arc::new);
            let record = ConsumerRecord::Target(key.member_id.into(), value);
            (key.group_id.into(), record)
        }
        CurrentKey::KEY => {
            let key = CurrentKey::decode(key, VERSION)?;
            let value = value.map(decode_current).transpose()?.map(Arc::new);
            let record = ConsumerRecord::Current(key.member_id.into(), value);
            (key.group_id.into(), record)
        }
        ExpressionKey::KEY => {
            let key = ExpressionKey::decode(key, VERSION)?;
            let value = value.map(decode_matched).transpose()?.map(Arc::new);
            let record = ConsumerRecord::Expression(key.regular_expression.into(), value);
            (key.group_id.into(), record)
        }
        _ => return Ok(None),
    }))
}

/// A writer that has begun with the version, as all values do.
fn begun() -> Writer {
    let mut w = Writer::new();
    w.i16(VERSION);
    w
}

/// A value's bytes behind its version. Values were written by us or by Kafka, so their size needs no budget.
fn read(bytes: &[u8]) -> Result<(Reader<'_>, i16), DecodeError> {
    let mut r = Reader::with_budget(bytes, usize::MAX);
    let version = r.i16()?;
    Ok((r, version))
}

fn encode_group(value: &GroupEpoch) -> Vec<u8> {
    let mut w = begun();
    let wire = GroupValue {
        epoch: value.epoch,
        metadata_hash: value.metadata_hash,
    };
    wire.encode(&mut w, VERSION);
    w.buf
}

fn decode_group(bytes: &[u8]) -> Result<GroupEpoch, DecodeError> {
    let (mut r, version) = read(bytes)?;
    let wire = GroupValue::decode(&mut r, version)?;
    Ok(GroupEpoch {
        epoch: wire.epoch,
        metadata_hash: wire.metadata_hash,
    })
}

fn encode_target_epoch(value: &TargetEpoch) -> Vec<u8> {
    let mut w = begun();
    let wire = TargetEpochValue {
        assignment_epoch: value.epoch,
        assignment_timestamp: value.computed_ms,
    };
    wire.encode(&mut w, VERSION);
    w.buf
}

fn decode_target_epoch(bytes: &[u8]) -> Result<TargetEpoch, DecodeError> {
    let (mut r, version) = read(bytes)?;
    let wire = TargetEpochValue::decode(&mut r, version)?;
    Ok(TargetEpoch {
        epoch: wire.assignment_epoch,
        computed_ms: wire.assignment_timestamp,
    })
}

fn encode_member(value: &Member) -> Vec<u8> {
    let Member {
        instance_id,
        rack_id,
        client_id,
        client_host,
        topics,
        expression,
        rebalance_timeout_ms,
        assignor,
        classic,
    } = value;
    let borrowed = |name: &Option<Name>| -> Option<Cow<'static, str>> {
        name.as_deref().map(|name| Cow::Owned(name.to_owned()))
    };
    let protocol = |protocol| {
        let Protocol { name, metadata }: &Protocol = protocol;
        ClassicProtocol {
            name: Cow::Borrowed(&**name),
            metadata: Cow::Borrowed(&**metadata),
        }
    };
    let classic = classic.as_deref().map(|classic| ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: classic.protocols.iter().map(protocol).collect(),
    });
    let wire = MemberValue {
        instance_id: borrowed(instance_id),
        rack_id: borrowed(rack_id),
        client_id: Cow::Borrowed(&**client_id),
        client_host: Cow::Borrowed(&**client_host),
        subscribed_topic_names: topics.iter().map(|name| Cow::Borrowed(&**name)).collect(),
        subscribed_topic_regex: Some(Cow::Borrowed(&**expression)),
        rebalance_timeout_ms: *rebalance_timeout_ms,
        server_assignor: borrowed(assignor),
        classic_member_metadata: classic,
    };
    let mut w = begun();
    wire.encode(&mut w, VERSION);
    w.buf
}

fn decode_member(bytes: &[u8]) -> Result<Member, DecodeError> {
    let (mut r, version) = read(bytes)?;
    let wire = MemberValue::decode(&mut r, version)?;
    let protocol = |protocol: ClassicProtocol| Protocol {
        name: protocol.name.into(),
        metadata: protocol.metadata.into(),
    };
    let classic = wire.classic_member_metadata.map(|classic| ClassicMember {
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic
            .supported_protocols
            .into_iter()
            .map(protocol)
            .collect(),
    });
    let mut topics: Vec<Name> = wire
        .subscribed_topic_names
        .into_iter()
        .map(Into::into)
        .collect();
    topics.sort_unstable();
    topics.dedup();
    Ok(Member {
        instance_id: wire.instance_id.map(Into::into),
        rack_id: wire.rack_id.map(Into::into),
        client_id: wire.client_id.into(),
        client_host: wire.client_host.into(),
        topics: topics.into(),
        expression: wire.subscribed_topic_regex.unwrap_or_default().into(),
        rebalance_timeout_ms: wire.rebalance_timeout_ms,
        assignor: wire.server_assignor.map(Into::into),
        classic: classic.map(Arc::new),
    })
}

fn encode_target(value: &[Place]) -> Vec<u8> {
    let topics = by_topic(value.iter().copied()).map(|(topic, partitions)| WirePlaces {
        topic_id: Uuid(topic),
        partitions,
    });
    let wire = TargetValue {
        topic_partitions: topics.collect(),
    };
    let mut w = begun();
    wire.encode(&mut w, VERSION);
    w.buf
}

fn decode_target(bytes: &[u8]) -> Result<Box<[Place]>, DecodeError> {
    let (mut r, version) = read(bytes)?;
    let wire = TargetValue::decode(&mut r, version)?;
    let places = wire.topic_partitions.into_iter().flat_map(|of| {
        let topic = of.topic_id.0;
        let partitions = of.partitions.into_iter();
        partitions.map(move |partition| Place { topic, partition })
    });
    Ok(in_order(places.collect()))
}

fn encode_current(value: &Current) -> Vec<u8> {
    let Current {
        epoch,
        previous_epoch,
        state,
        assigned,
        revoking,
    } = value;
    let wire = CurrentValue {
        member_epoch: *epoch,
        previous_member_epoch: *previous_epoch,
        state: state.code(),
        assigned_partitions: encode_held(assigned),
        partitions_pending_revocation: encode_held(revoking),
    };
    let mut w = begun();
    wire.encode(&mut w, VERSION);
    w.buf
}

fn encode_held(held: &[Held]) -> Vec<WireHeld> {
    let mut epochs = held.iter().map(|held| held.since_epoch);
    let topics = by_topic(held.iter().map(|held| held.place));
    let wire = topics.map(|(topic, partitions)| WireHeld {
        topic_id: Uuid(topic),
        assignment_epochs: Some(epochs.by_ref().take(partitions.len()).collect()),
        partitions,
    });
    wire.collect()
}

fn decode_current(bytes: &[u8]) -> Result<Current, DecodeError> {
    let (mut r, version) = read(bytes)?;
    let wire = CurrentValue::decode(&mut r, version)?;
    Ok(Current {
        epoch: wire.member_epoch,
        previous_epoch: wire.previous_member_epoch,
        state: MemberState::of_code(wire.state),
        assigned: decode_held(wire.assigned_partitions, wire.member_epoch),
        revoking: decode_held(wire.partitions_pending_revocation, wire.member_epoch),
    })
}

/// Releases before 4.4 did not write since when a member has a partition: not after the member's own epoch.
fn decode_held(wire: Vec<WireHeld>, member_epoch: i32) -> Box<[Held]> {
    let mut held: Vec<Held> = Vec::new();
    for of in wire {
        let topic = of.topic_id.0;
        let epochs = of.assignment_epochs.unwrap_or_default();
        for (at, partition) in of.partitions.into_iter().enumerate() {
            held.push(Held {
                place: Place { topic, partition },
                since_epoch: epochs.get(at).copied().unwrap_or(member_epoch),
            });
        }
    }
    held.sort_unstable();
    held.dedup_by_key(|held| held.place);
    held.into()
}

fn encode_matched(value: &Matched) -> Vec<u8> {
    let wire = ExpressionValue {
        topics: value
            .topics
            .iter()
            .map(|name| Cow::Borrowed(&**name))
            .collect(),
        version: value.version,
        timestamp: value.at_ms,
    };
    let mut w = begun();
    wire.encode(&mut w, VERSION);
    w.buf
}

fn decode_matched(bytes: &[u8]) -> Result<Matched, DecodeError> {
    let (mut r, version) = read(bytes)?;
    let wire = ExpressionValue::decode(&mut r, version)?;
    Ok(Matched {
        topics: wire.topics.into_iter().map(Into::into).collect(),
        version: wire.version,
        at_ms: wire.timestamp,
    })
}
