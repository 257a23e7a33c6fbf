//! What was read, as the client is told of it.

use super::FetchPlan;
use super::read::{Fetched, Read};
use crate::api::endpoints::nodes;
use crate::api::parts::{Parts, SessionPartition};
use crate::api::reply::Reply;
use crate::base::random;
use rustka_core::error::ErrorCode;
use rustka_core::fetch::{FetchContext, TopicKey};
use rustka_storage::cold::Piece;
use rustka_wire::codec::{Records, Writer};
use rustka_wire::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

/// Kafka counts the length in front of an answer, but not its header.
const LENGTH_BYTES: usize = 4;

/// Encodes it, and notes in the session what was told.
pub fn answer(
    parts: &Parts,
    plan: &FetchPlan,
    context: FetchContext<SessionPartition>,
    mut read: Read,
) -> Reply {
    let version = plan.respond.version();
    let throttle_time_ms = match plan.respond.bill() {
        None => 0,
        Some(bill) => {
            let bytes = bytes_of(plan, &read);
            match bill.settle_fetch(bytes, read.bytes) {
                Ok(wait_ms) => wait_ms,
                Err(wait_ms) => return throttled(plan, &context, wait_ms),
            }
        }
    };
    let throttle_time_ms = i32::try_from(throttle_time_ms).unwrap_or(i32::MAX);
    let now_ms = parts.node.clock.monotonic_ms();
    let responded = parts.sessions.respond(
        context,
        &mut read.fetched,
        Fetched::outcome,
        now_ms,
        random::u32,
    );
    if !plan.caller.peer().is_own {
        let metrics = &parts.node.metrics;
        metrics.bytes_out.fetch_add(read.bytes as u64, Relaxed);
        let from_files = read.bytes_in_files();
        if from_files > 0 {
            let sent = &metrics.bytes_from_files;
            sent.fetch_add(from_files as u64, Relaxed);
        }
    }
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
    let responses = responses(&read, plan);
    let with_bytes = read.fetched.into_iter().filter(|fetched| fetched.bytes > 0);
    let slots: Vec<Vec<Piece>> = with_bytes.map(|fetched| fetched.pieces).collect();
    let response = FetchResponse {
        error_code: responded.error.code(),
        session_id: responded.session_id,
        throttle_time_ms,
        responses,
        node_endpoints,
    };
    plan.respond.encode(&slots, |w| response.encode(w, version))
}

/// What is told of each partition; of those with records in their order, each in a slot of its own.
fn responses(read: &Read, plan: &FetchPlan) -> Vec<FetchableTopicResponse<'static>> {
    let mut responses: Vec<FetchableTopicResponse<'static>> = Vec::new();
    let mut current: Option<&TopicKey> = None;
    let mut slot = 0;
    for fetched in &read.fetched {
        if current != Some(&fetched.topic) {
            responses.push(topic_response(&fetched.topic));
            current = Some(&fetched.topic);
        }
        let records = match fetched.bytes {
            0 => Records::from(Vec::new()),
            bytes => {
                slot += 1;
                Records::Spliced {
                    slot: slot - 1,
                    len: bytes as u32,
                }
            }
        };
        if let Some(topic) = responses.last_mut() {
            let version = plan.respond.version();
            let data = partition_data(fetched, records, plan.committed_only, version);
            topic.partitions.push(data);
        }
    }
    responses
}

/// How large the answer is as quotas count it.
fn bytes_of(plan: &FetchPlan, read: &Read) -> usize {
    let response = FetchResponse {
        responses: responses(read, plan),
        ..Default::default()
    };
    let mut writer = Writer::new();
    response.encode(&mut writer, plan.respond.version());
    LENGTH_BYTES + writer.total_len()
}

/// The answer to somebody over a quota: nothing, within the same session.
fn throttled(plan: &FetchPlan, context: &FetchContext<SessionPartition>, wait_ms: u32) -> Reply {
    let response = FetchResponse {
        session_id: context.session_id(),
        throttle_time_ms: i32::try_from(wait_ms).unwrap_or(i32::MAX),
        ..Default::default()
    };
    let version = plan.respond.version();
    plan.respond.encode(&[], |w| response.encode(w, version))
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
            ErrorCode::None => committed_only.then(|| {
                let aborted = fetched.aborted.iter().map(|txn| AbortedTransaction {
                    producer_id: txn.producer_id,
                    first_offset: txn.first_offset,
                });
                aborted.collect()
            }),
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
