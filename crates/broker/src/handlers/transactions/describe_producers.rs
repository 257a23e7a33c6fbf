//! DescribeProducers (key 61): who has written to a partition idempotently.

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::ErrorCode;
use rustka_wire::describe_producers_request::DescribeProducersRequest;
use rustka_wire::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use std::borrow::Cow;

/// Answers from each partition's producer entries.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeProducersRequest<'_> = request.decode()?;
    let topics = asked.topics.iter().map(|topic| TopicResponse {
        name: Cow::Borrowed(&topic.name),
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| describe(&request, &topic.name, *index))
            .collect(),
    });
    let response = DescribeProducersResponse {
        topics: topics.collect(),
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

fn describe(
    request: &Request<'_>,
    topic: &str,
    partition_index: i32,
) -> PartitionResponse<'static> {
    if let Err(refusal) = rustka_core::names::validate_topic_name(topic) {
        let (error_code, error_message) = (refusal.code.code(), refusal.message);
        return PartitionResponse {
            partition_index,
            error_code,
            error_message,
            ..Default::default()
        };
    }
    if let Err(code) = request.check(Operation::Read, Resource::Topic(topic)) {
        return PartitionResponse {
            partition_index,
            error_code: code.code(),
            error_message: denied(code).message,
            ..Default::default()
        };
    }
    let Some(partition) = request.node.partition(topic, partition_index) else {
        // Of a topic that is there no word is lost on a missing partition, as in Kafka.
        let is_known = request.node.topics.by_name(topic).is_some();
        let message = Cow::Borrowed("There is no such topic.");
        return PartitionResponse {
            partition_index,
            error_code: ErrorCode::UnknownTopicOrPartition.code(),
            error_message: (!is_known).then_some(message),
            ..Default::default()
        };
    };
    let active_producers = partition.with_led_state(|state| {
        let states = state.producers().map(|producer| ProducerState {
            producer_id: producer.producer_id,
            producer_epoch: i32::from(producer.epoch),
            last_sequence: producer.last_sequence,
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            current_txn_start_offset: producer.txn_first_offset.unwrap_or(-1),
        });
        states.collect()
    });
    let (error_code, active_producers) = match active_producers {
        Ok(states) => (0, states),
        Err(code) => (code.code(), Vec::new()),
    };
    PartitionResponse {
        partition_index,
        error_code,
        active_producers,
        ..Default::default()
    }
}
