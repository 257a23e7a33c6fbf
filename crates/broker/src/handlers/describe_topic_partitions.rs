//! DescribeTopicPartitions (key 75): topics page by page (KIP-966, E41).

use super::metadata::TOPIC_OPERATIONS;
use crate::request::{Outcome, Request};
use rustka_core::catalog::{PageCursor, PagedTopic, describe_page};
use rustka_wire::codec::Reader;
use rustka_wire::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use rustka_wire::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use std::borrow::Cow;

/// Answers with one page and where the next begins. A cursor that fits nothing is an error of every topic named, as the
/// API has no field for one of the request.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked =
        match DescribeTopicPartitionsRequest::decode(&mut Reader::new(request.body()), version) {
            Ok(asked) => asked,
            Err(error) => return error.into(),
        };
    let shared = request.shared;
    let names: Vec<&str> = asked.topics.iter().map(|topic| &*topic.name).collect();
    let cursor = asked.cursor.as_ref().map(|cursor| PageCursor {
        topic: (*cursor.topic_name).into(),
        partition: cursor.partition_index,
    });
    let limit = asked
        .response_partition_limit
        .min(shared.config.fixed().partitions_per_describe_max)
        .max(1);
    let page = describe_page(
        &shared.topics.read(),
        &names,
        cursor.as_ref(),
        usize::try_from(limit).unwrap_or(1),
        |_| true,
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
                ..Default::default()
            };
            return request.reply(|w| response.encode(w, version));
        }
    };
    let node = shared.node_id;
    let topics = page.topics.iter().map(|topic| match topic {
        PagedTopic::Found { topic, partitions } => DescribeTopicPartitionsResponseTopic {
            error_code: 0,
            name: Some(Cow::Borrowed(&*topic.name)),
            topic_id: topic.id,
            is_internal: topic.internal,
            partitions: partitions
                .clone()
                .map(|index| partition(i32::try_from(index).unwrap_or(i32::MAX), node))
                .collect(),
            topic_authorized_operations: TOPIC_OPERATIONS,
        },
        PagedTopic::Missing { name, code } => DescribeTopicPartitionsResponseTopic {
            error_code: code.code(),
            name: Some(Cow::Borrowed(&**name)),
            topic_authorized_operations: TOPIC_OPERATIONS,
            ..Default::default()
        },
    });
    let response = DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        next_cursor: page.next.as_ref().map(|next| Cursor {
            topic_name: Cow::Borrowed(&*next.topic),
            partition_index: next.partition,
        }),
        ..Default::default()
    };
    request.reply(|w| response.encode(w, version))
}

fn partition(partition_index: i32, node: i32) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        error_code: 0,
        partition_index,
        leader_id: node,
        leader_epoch: 0,
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    }
}
