//! DescribeTopicPartitions (key 75): topics page by page (KIP-966, E41).

use super::placed::Placed;
use crate::api::access::OPERATIONS_UNASKED;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use rustka_core::catalog::{PageCursor, PagedTopic, describe_page};
use rustka_core::error::ErrorCode;
use rustka_wire::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use rustka_wire::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Answers with one page and where the next begins. A cursor that fits nothing is an error of every topic named, as the
/// API has no field for one of the request.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeTopicPartitionsRequest<'_> = request.decode()?;
    let node = request.node;
    let names: Vec<&str> = asked.topics.iter().map(|topic| &*topic.name).collect();
    let cursor = asked.cursor.as_ref().map(|cursor| PageCursor {
        topic: (*cursor.topic_name).into(),
        partition: cursor.partition_index,
    });
    let limit = asked
        .response_partition_limit
        .min(node.config.fixed().partitions_per_describe_max)
        .max(1);
    let from = cursor.as_ref().map_or("", |cursor| &*cursor.topic);
    let denied = denied(&request, &names, from);
    let page = describe_page(
        &node.topics.read(),
        &names,
        cursor.as_ref(),
        usize::try_from(limit).unwrap_or(1),
        |name| !denied.contains(name),
    );
    let page = match page {
        Ok(page) => page,
        Err(refusal) => {
            let topics = asked.topics.iter();
            let topics = topics.map(|topic| DescribeTopicPartitionsResponseTopic {
                error_code: refusal.code.code(),
                name: Some(Cow::Borrowed(&*topic.name)),
                ..Default::default()
            });
            let response = DescribeTopicPartitionsResponse {
                topics: topics.collect(),
                throttle_time_ms: request.throttle_time_ms(),
                ..Default::default()
            };
            return Ok(request.reply(|w| response.encode(w, version)));
        }
    };
    let node = node.id;
    let topics = page.topics.iter().map(|topic| match topic {
        PagedTopic::Found { topic, partitions } => DescribeTopicPartitionsResponseTopic {
            error_code: 0,
            name: Some(Cow::Borrowed(&*topic.name)),
            topic_id: topic.id,
            is_internal: topic.internal,
            partitions: partitions
                .clone()
                .zip(&topic.partitions[partitions.clone()])
                .map(|(index, known)| {
                    let index = i32::try_from(index).unwrap_or(i32::MAX);
                    partition(index, &Placed::of(known, node))
                })
                .collect(),
            topic_authorized_operations: request.operations(Resource::Topic(&topic.name)),
        },
        PagedTopic::Missing { name, code } => DescribeTopicPartitionsResponseTopic {
            error_code: code.code(),
            name: Some(Cow::Borrowed(&**name)),
            topic_authorized_operations: request.operations(Resource::Topic(name)),
            ..Default::default()
        },
    });
    // Who lists everything does not hear of what they may not know.
    let told = denied.iter().filter(|_| !names.is_empty());
    let told = told.map(|name| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::TopicAuthorizationFailed.code(),
        name: Some(Cow::Borrowed(&**name)),
        topic_authorized_operations: OPERATIONS_UNASKED,
        ..Default::default()
    });
    let response = DescribeTopicPartitionsResponse {
        topics: topics.chain(told).collect(),
        next_cursor: page.next.as_ref().map(|next| Cursor {
            topic_name: Cow::Borrowed(&*next.topic),
            partition_index: next.partition,
        }),
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

/// The topics from `from` on that the client may not know of.
fn denied(request: &Request<'_>, names: &[&str], from: &str) -> BTreeSet<Arc<str>> {
    if request.may_do_everything() {
        return BTreeSet::new();
    }
    let candidates: BTreeSet<Arc<str>> = match names {
        [] => {
            let catalog = request.node.topics.read();
            let topics = catalog.topics_from(from);
            topics.map(|topic| topic.name.clone()).collect()
        }
        names => {
            let names = names.iter().filter(|name| **name >= from);
            names.map(|name| Arc::from(*name)).collect()
        }
    };
    let is_denied = |name: &Arc<str>| !request.may(Operation::Describe, Resource::Topic(name));
    candidates.into_iter().filter(is_denied).collect()
}

fn partition(partition_index: i32, placed: &Placed) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        error_code: 0,
        partition_index,
        leader_id: placed.leader_id,
        leader_epoch: placed.leader_epoch,
        replica_nodes: vec![placed.replica],
        isr_nodes: vec![placed.replica],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    }
}
