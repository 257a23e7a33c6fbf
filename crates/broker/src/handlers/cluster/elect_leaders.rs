//! ElectLeaders (key 43): every partition has its one replica as its leader, so no election is ever needed.
//! v1 kind of election (KIP-460) · v2 flexible

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::elect_leaders_request::ElectLeadersRequest;
use rustka_wire::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use std::borrow::Cow;

/// Who may not elect anything hears no names of topics.
const DENIED: ErrorCode = ErrorCode::ClusterAuthorizationFailed;
/// Preferred and unclean elections.
const ELECTION_TYPES: [i8; 2] = [0, 1];

/// Answers per partition; asked for all, names the topics and nothing to do in them.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: ElectLeadersRequest<'_> = request.decode()?;
    let refused = refused(&request, asked.election_type);
    let refusal = |topic: &str, partition: i32| {
        if let Some(refused) = &refused {
            return refused.clone();
        }
        let missing = |what| Refusal::new(ErrorCode::UnknownTopicOrPartition, what);
        let Some(found) = request.node.topics.by_name(topic) else {
            return missing(format!("No such topic as {}", topic.escape_debug()));
        };
        match found.partition(partition) {
            None => missing(format!("No such partition as {topic}-{partition}")),
            Some(_) => Refusal::new(
                ErrorCode::ElectionNotNeeded,
                "Leader election not needed for topic partition.",
            ),
        }
    };
    let results = match &asked.topic_partitions {
        Some(topics) => {
            let result = |topic: &rustka_wire::elect_leaders_request::TopicPartitions<'_>| {
                let partitions = topic.partitions.iter().map(|partition| {
                    let refusal = refusal(&topic.topic, *partition);
                    PartitionResult {
                        partition_id: *partition,
                        error_code: refusal.code.code(),
                        error_message: refusal.message,
                    }
                });
                ReplicaElectionResult {
                    topic: Cow::Owned(topic.topic.to_string()),
                    partition_result: partitions.collect(),
                }
            };
            topics.iter().map(result).collect()
        }
        None if refused
            .as_ref()
            .is_some_and(|refusal| refusal.code == DENIED) =>
        {
            Vec::new()
        }
        None => {
            let topics = request.node.topics.all();
            let result = |topic: &crate::node::topics::TopicRef| ReplicaElectionResult {
                topic: Cow::Owned(topic.name.to_string()),
                partition_result: Vec::new(),
            };
            topics.iter().map(result).collect()
        }
    };
    let response = ElectLeadersResponse {
        error_code: refused.as_ref().map_or(0, |refusal| refusal.code.code()),
        replica_election_results: results,
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

/// Why no election of this type is held for this client, whatever the partition.
fn refused(request: &Request<'_>, election_type: i8) -> Option<Refusal> {
    if let Err(code) = request.check(Operation::Alter, Resource::Cluster) {
        return Some(denied(code));
    }
    (!ELECTION_TYPES.contains(&election_type)).then(|| {
        let message = format!("Unknown election type {election_type}");
        Refusal::new(ErrorCode::InvalidRequest, message)
    })
}
