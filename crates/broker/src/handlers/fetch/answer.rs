//! What was read, as the client is told of it.

use super::FetchPlan;
use super::read::{Fetched, Read};
use crate::api::endpoints::nodes;
use crate::api::parts::{Parts, SessionPartition};
use crate::api::reply::Reply;
use crate::base::random;
use rustka_core::error::ErrorCode;
use rustka_core::fetch::{FetchContext, TopicKey};
use rustka_storage::buffer::Slice;
use rustka_wire::codec::Records;
use rustka_wire::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

/// Encodes it, and notes in the session what was told.
pub fn answer(
    parts: &Parts,
    plan: &FetchPlan,
    context: FetchContext<SessionPartition>,
    mut read: Read,
) -> Reply {
    let (version, read_bytes) = (plan.respond.version(), read.bytes);
    let now_ms = parts.node.clock.monotonic_ms();
    let responded = parts.sessions.respond(
        context,
        &mut read.fetched,
        Fetched::outcome,
        now_ms,
        random::u32,
    );
    if !plan.caller.peer().is_own {
        let sent = &parts.node.metrics.bytes_out;
        sent.fetch_add(read.bytes as u64, Relaxed);
    }
    let mut slots: Vec<Vec<Slice>> = Vec::new();
    let mut responses: Vec<FetchableTopicResponse<'_>> = Vec::new();
    let mut current: Option<TopicKey> = None;
    let leaders = read.fetched.iter().filter_map(|fetched| fetched.leader);
    let nodes = nodes(&parts.node, &plan.caller, leaders);
    let node_endpoints = nodes.map(|(node_id, (host, port))| NodeEndpoint {
        node_id,
        host,
        port,
        rack: None,
    });
    let node_endpoints = node_endpoints.collect();
    // What was read comes first, as in Kafka.
    if read.fetched.iter().any(|fetched| fetched.refused) {
        read.fetched.sort_by_key(|fetched| fetched.refused);
    }
    for mut fetched in read.fetched {
        if current.as_ref() != Some(&fetched.topic) {
            responses.push(topic_response(&fetched.topic));
            current = Some(fetched.topic.clone());
        }
        let slices = std::mem::take(&mut fetched.slices);
        let records = if fetched.bytes == 0 {
            Records::from(Vec::new())
        } else {
            slots.push(slices);
            Records::Spliced {
                slot: (slots.len() - 1) as u32,
                len: fetched.bytes as u32,
            }
        };
        if let Some(topic) = responses.last_mut() {
            topic.partitions.push(partition_data(
                &fetched,
                records,
                plan.committed_only,
                version,
            ));
        }
    }
    let response = FetchResponse {
        error_code: responded.error.code(),
        session_id: responded.session_id,
        throttle_time_ms: plan.respond.throttle_time_of_ms(read_bytes),
        responses,
        node_endpoints,
    };
    plan.respond.encode(&slots, |w| response.encode(w, version))
}

fn topic_response(topic: &TopicKey) -> FetchableTopicResponse<'static> {
    match topic {
        TopicKey::Id(id) => FetchableTopicResponse {
            topic_id: *id,
            ..Default::default()
        },
        TopicKey::Name(name) => FetchableTopicResponse {
            topic: Cow::Owned(name.to_string()),
            ..Default::default()
        },
    }
}

fn partition_data(
    fetched: &Fetched,
    records: Records<'static>,
    committed_only: bool,
    version: i16,
) -> PartitionData<'static> {
    // Before v6 clients do not know KAFKA_STORAGE_ERROR (E83).
    let error = match fetched.error {
        ErrorCode::KafkaStorageError if version <= 5 => ErrorCode::NotLeaderOrFollower,
        other => other,
    };
    let mut data = PartitionData {
        partition_index: fetched.index,
        error_code: error.code(),
        high_watermark: fetched.offsets.high_watermark,
        last_stable_offset: fetched.offsets.last_stable,
        log_start_offset: fetched.offsets.log_start,
        aborted_transactions: match error {
            ErrorCode::None => committed_only.then(Vec::new),
            // What is not read at all keeps the field's default, an empty list (E76).
            _ => fetched.refused.then(Vec::new),
        },
        preferred_read_replica: -1,
        records: Some(records),
        ..Default::default()
    };
    if let Some((leader_id, leader_epoch)) = fetched.leader {
        data.current_leader = LeaderIdAndEpoch {
            leader_id,
            leader_epoch,
        };
    }
    if let Some((epoch, end_offset)) = fetched.diverging {
        data.diverging_epoch = EpochEndOffset { epoch, end_offset };
    }
    data
}
