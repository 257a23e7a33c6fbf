//! OffsetForLeaderEpoch (key 23): where a leader epoch ended (E49b).
//! v2 current leader epoch · v3 replica id · v4 flexible

use super::leader::check_leader;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use rustka_wire::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use std::borrow::Cow;

/// Answers from each partition's leader epochs.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: OffsetForLeaderEpochRequest<'_> = request.decode()?;
    let is_broker = request.may(Operation::ClusterAction, Resource::Cluster);
    let topics = asked.topics.iter().map(|topic| {
        let name = &*topic.topic;
        let denied = !is_broker && !request.may(Operation::Describe, Resource::Topic(name));
        let partitions = topic.partitions.iter();
        OffsetForLeaderTopicResult {
            topic: Cow::Borrowed(name),
            partitions: partitions
                .map(|partition| end_offset(&request, name, partition, denied))
                .collect(),
        }
    });
    let response = OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

fn end_offset(
    request: &Request<'_>,
    topic: &str,
    asked: &OffsetForLeaderPartition,
    denied: bool,
) -> EpochEndOffset {
    let result = || -> Result<(i32, i64), Refusal> {
        if denied {
            return Err(ErrorCode::TopicAuthorizationFailed.into());
        }
        let partition = request
            .node
            .partition(topic, asked.partition)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        check_leader(&partition, asked.current_leader_epoch)?;
        let end = partition.with_state(|state| state.end_offset_for(asked.leader_epoch))?;
        Ok((end.epoch, end.end_offset))
    };
    let (error_code, leader_epoch, end_offset) = match result() {
        Ok((epoch, offset)) => (0, epoch, offset),
        Err(refusal) => (refusal.code.code(), -1, -1),
    };
    EpochEndOffset {
        error_code,
        partition: asked.partition,
        leader_epoch,
        end_offset,
    }
}
