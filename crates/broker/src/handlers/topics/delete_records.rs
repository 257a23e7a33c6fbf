//! DeleteRecords (key 21): moves a partition's first offset (E43).
//! v2 flexible

use crate::api::request::{Handled, Request};
use crate::api::twins::fold_twins;
use crate::base::fault::Point;
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::delete_records_request::DeleteRecordsRequest;
use rustka_wire::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

/// Deletes and answers at once with the new low watermark.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DeleteRecordsRequest<'_> = request.decode()?;
    let topics = asked.topics.into_iter();
    let topics = fold_twins(
        topics.map(|topic| (topic.name, topic.partitions)).collect(),
        |a, b| a.0.cmp(&b.0),
        |first, later| first.1.extend(later.1),
    );
    let topics = topics.into_iter().map(|(name, partitions)| {
        // Of offsets for the same partition only the last counts, as in Kafka.
        let partitions = fold_twins(
            partitions,
            |a, b| a.partition_index.cmp(&b.partition_index),
            |first, later| *first = later,
        );
        let partitions = partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let (error_code, low_watermark) = match delete(&request, &name, index, partition.offset)
            {
                Ok(low_watermark) => (0, low_watermark),
                Err(refusal) => (refusal.code.code(), -1),
            };
            DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark,
                error_code,
            }
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult { name, partitions }
    });
    let response = DeleteRecordsResponse {
        topics: topics.collect(),
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

fn delete(request: &Request<'_>, topic: &str, index: i32, offset: i64) -> Result<i64, Refusal> {
    request.check(Operation::Delete, Resource::Topic(topic))?;
    let found = request
        .node
        .topics
        .by_name(topic)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = found
        .partition(index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if found.internal {
        return Err(Refusal::new(
            ErrorCode::InvalidTopicException,
            format!("records of the internal topic {topic} may not be deleted"),
        ));
    }
    if !found.config.now().delete {
        let message =
            format!("records of {topic} may not be deleted: its cleanup.policy is compact alone");
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    request.node.faults.refusal(Point::Admit, topic)?;
    partition.delete_records(offset)
}
