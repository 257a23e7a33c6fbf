//! DescribeQuorum (key 55): this node is the whole quorum of the metadata log, whoever leads partitions of topics.
//! v1 when replicas fetched and caught up (KIP-836) · v2 error messages, directories, addresses (KIP-853)

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use rustka_core::cluster::features::KRAFT_VERSION;
use rustka_core::error::ErrorCode;
use rustka_core::names::CLUSTER_METADATA;
use rustka_wire::codec::Uuid;
use rustka_wire::describe_quorum_request::DescribeQuorumRequest;
use rustka_wire::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use std::borrow::Cow;

/// The first and only leader's epoch.
const EPOCH: i32 = 1;

/// Describes partition 0 of the metadata log, asked for alone.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeQuorumRequest<'_> = request.decode()?;
    if let Err(code) = request.check(Operation::Describe, Resource::Cluster) {
        let response = DescribeQuorumResponse {
            error_code: code.code(),
            error_message: denied(code).message,
            ..Default::default()
        };
        return Ok(request.reply(|w| response.encode(w, version)));
    }
    let is_metadata = match asked.topics.as_slice() {
        [topic] => {
            &*topic.topic_name == CLUSTER_METADATA
                && matches!(topic.partitions.as_slice(), [one] if one.partition_index == 0)
        }
        _ => false,
    };
    let node = request.node;
    let topics = asked.topics.iter().map(|topic| TopicData {
        topic_name: Cow::Borrowed(&*topic.topic_name),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| match is_metadata {
                true => metadata(&request),
                false => PartitionData {
                    partition_index: partition.partition_index,
                    error_code: ErrorCode::UnknownTopicOrPartition.code(),
                    error_message: Some(Cow::Borrowed(
                        "only partition 0 of the metadata log has a quorum",
                    )),
                    ..Default::default()
                },
            })
            .collect(),
    });
    let endpoint = request.endpoint(node.id);
    let (host, port) = endpoint.unwrap_or_default();
    let node = || Node {
        node_id: node.id,
        listeners: vec![Listener {
            name: Cow::Borrowed("CONTROLLER"),
            host: host.clone(),
            port: u16::try_from(port).unwrap_or(0),
        }],
    };
    let response = DescribeQuorumResponse {
        topics: topics.collect(),
        nodes: is_metadata.then(node).into_iter().collect(),
        ..Default::default()
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

fn metadata(request: &Request<'_>) -> PartitionData<'static> {
    let node = request.node;
    let offsets = request.parts.cluster.log_offsets();
    let now_ms = node.clock.now().wall_ms;
    PartitionData {
        partition_index: 0,
        leader_id: node.id,
        leader_epoch: EPOCH,
        high_watermark: offsets.high_watermark,
        current_voters: vec![ReplicaState {
            replica_id: node.id,
            replica_directory_id: match node.features.level(KRAFT_VERSION) {
                // A quorum whose voters may change knows them by their directories too (KIP-853).
                1.. => node.directory_id,
                _ => Uuid::ZERO,
            },
            log_end_offset: offsets.log_end,
            last_fetch_timestamp: now_ms,
            last_caught_up_timestamp: now_ms,
        }],
        ..Default::default()
    }
}
