//! AlterPartitionReassignments (key 45) and ListPartitionReassignments (key 46): with one node, partitions can only
//! be assigned to where they are, and nothing ever moves (KIP-455).
//! AlterPartitionReassignments v1 whether the replication factor may change (KIP-860)

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::node::Node;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use rustka_wire::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use rustka_wire::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use rustka_wire::list_partition_reassignments_response::ListPartitionReassignmentsResponse;
use std::borrow::Cow;

/// Assigns partitions to this node, where they are already.
pub fn alter(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: AlterPartitionReassignmentsRequest<'_> = request.decode()?;
    let node = request.node;
    let may = request.check(Operation::Alter, Resource::Cluster);
    let may = may.map_err(denied);
    let responses: Vec<_> = asked
        .topics
        .iter()
        .map(|topic| ReassignableTopicResponse {
            name: Cow::Borrowed(&*topic.name),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| {
                    let moved = may.clone();
                    let moved = moved.and_then(|()| reassign(node, &topic.name, partition));
                    let refusal = moved.err();
                    let (code, message) = match refusal {
                        Some(refusal) => (refusal.code, refusal.message),
                        None => (ErrorCode::None, None),
                    };
                    ReassignablePartitionResponse {
                        partition_index: partition.partition_index,
                        error_code: code.code(),
                        error_message: message,
                    }
                })
                .collect(),
        })
        .collect();
    // An empty request is answered before it is looked at.
    let is_empty = responses.is_empty();
    let (error_code, error_message) = match may {
        Ok(()) => (0, is_empty.then_some(Cow::Borrowed(""))),
        Err(refusal) => (refusal.code.code(), refusal.message),
    };
    let response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: asked.allow_replication_factor_change
            || is_empty
            || error_code != 0,
        error_code,
        error_message,
        responses,
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

fn reassign(node: &Node, topic: &str, asked: &ReassignablePartition) -> Result<(), Refusal> {
    let missing = |what| Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, what));
    let index = asked.partition_index;
    let Some(found) = node.topics.by_name(topic) else {
        let name = topic.escape_debug();
        return missing(format!("Unable to find a topic named {name}."));
    };
    if found.partition(index).is_none() {
        return missing(format!("Unable to find partition {topic}:{index}."));
    }
    let invalid = |what: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, what));
    match asked.replicas.as_deref() {
        None => Err(ErrorCode::NoReassignmentInProgress.into()),
        Some([]) => invalid("The assignment has no replica.".to_owned()),
        Some([replica]) if *replica == node.id => Ok(()),
        Some(replicas) => match replicas.iter().find(|replica| **replica != node.id) {
            Some(other) => invalid(format!(
                "The assignment includes broker {other}, but no such broker is registered."
            )),
            None => invalid(format!(
                "The assignment includes broker {} more than once.",
                node.id
            )),
        },
    }
}

/// Lists what is moving: nothing.
pub fn list(request: Request<'_>) -> Handled {
    let version = request.header.version;
    request.decode::<ListPartitionReassignmentsRequest<'_>>()?;
    let may = request.check(Operation::Describe, Resource::Cluster);
    let (error_code, error_message) = match may.map_err(denied) {
        Ok(()) => (0, None),
        Err(refusal) => (refusal.code.code(), refusal.message),
    };
    let response = ListPartitionReassignmentsResponse {
        error_code,
        error_message,
        throttle_time_ms: request.throttle_time_ms(),
        ..Default::default()
    };
    Ok(request.reply(|w| response.encode(w, version)))
}
