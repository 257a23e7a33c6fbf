//! ListOffsets (key 2): offsets by time, and the first and last ones.
//! v2 isolation level · v4 leader epochs · v6 flexible · v7 max timestamp · v8 local log start · v9 tiered · v11 pending upload

use crate::api::request::{Outcome, Request, Respond};
use crate::base::hooks::{Operation, Resource};
use crate::node::Node;
use rustka_core::batch::BatchHeader;
use rustka_core::compression::InflateLimits;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::log::timestamps;
use rustka_storage::Partition;
use rustka_wire::codec::Reader;
use rustka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use rustka_wire::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Answers from offsets alone where it can; searches by time go to the work pool.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked = match ListOffsetsRequest::decode(&mut Reader::new(request.body()), version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
    let searches = |partition: &ListOffsetsPartition| {
        partition.timestamp >= 0 || partition.timestamp == MAX_TIMESTAMP
    };
    let long = asked
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .any(searches);
    let denied: Vec<bool> = asked
        .topics
        .iter()
        .map(|topic| !request.may(Operation::Describe, Resource::Topic(&topic.name)))
        .collect();
    let (node, respond) = (request.node.clone(), request.respond());
    if !long {
        let response = answer(&node, &asked, &denied, &respond);
        return request.reply(|w| response.encode(w, version));
    }
    let asked = asked.into_owned();
    Outcome::Park(Box::pin(async move {
        let work = node.work.clone();
        let done = work.run(move || {
            let response = answer(&node, &asked, &denied, &respond);
            Outcome::Reply(respond.encode(&[], |w| response.encode(w, version)))
        });
        done.await
            .unwrap_or_else(|| Outcome::Close("a search by time failed unexpectedly".to_owned()))
    }))
}

fn answer<'a>(
    node: &Arc<Node>,
    asked: &'a ListOffsetsRequest<'_>,
    denied: &[bool],
    respond: &Respond,
) -> ListOffsetsResponse<'a> {
    let mut times: HashMap<(&str, i32), usize> = HashMap::new();
    for topic in &asked.topics {
        for partition in &topic.partitions {
            *times
                .entry((&topic.name, partition.partition_index))
                .or_default() += 1;
        }
    }
    let topics = asked.topics.iter().zip(denied).map(|(topic, denied)| {
        let partitions = topic.partitions.iter().filter_map(|partition| {
            let named = (&*topic.name, partition.partition_index);
            // One that is named more than once is answered once (E49).
            let twice = match times.get_mut(&named) {
                Some(0) => return None,
                Some(1) | None => false,
                Some(times) => {
                    *times = 0;
                    true
                }
            };
            let result = if *denied {
                Err(ErrorCode::TopicAuthorizationFailed.into())
            } else if twice {
                Err(ErrorCode::InvalidRequest.into())
            } else {
                lookup(
                    node,
                    &topic.name,
                    partition,
                    asked.isolation_level,
                    respond.version(),
                )
            };
            let index = partition.partition_index;
            Some(match result {
                Ok(found) => ListOffsetsPartitionResponse {
                    partition_index: index,
                    error_code: 0,
                    timestamp: found.timestamp,
                    offset: found.offset,
                    leader_epoch: found.leader_epoch,
                },
                Err(refusal) => ListOffsetsPartitionResponse {
                    partition_index: index,
                    error_code: refusal.code.code(),
                    timestamp: -1,
                    offset: -1,
                    leader_epoch: -1,
                },
            })
        });
        ListOffsetsTopicResponse {
            name: Cow::Borrowed(&topic.name),
            partitions: partitions.collect(),
        }
    });
    ListOffsetsResponse {
        topics: topics.collect(),
        throttle_time_ms: respond.throttle_time_ms(),
    }
}

struct Found {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

const NOTHING: Found = Found {
    offset: -1,
    timestamp: -1,
    leader_epoch: -1,
};

fn lookup(
    node: &Node,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation_level: i8,
    version: i16,
) -> Result<Found, Refusal> {
    let topic = node.topics.by_name(topic);
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let limits = topic.config.inflate_limits();
    let partition = topic
        .partition(asked.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let offsets = partition.usable_offsets()?;
    rustka_core::epochs::check_current_leader_epoch(
        offsets.leader_epoch,
        asked.current_leader_epoch,
    )?;
    let end = if isolation_level == 1 {
        offsets.last_stable
    } else {
        offsets.high_watermark
    };
    let at = |offset, timestamp| {
        let leader_epoch = partition
            .with_state(|state| state.epochs.epoch_at(offset))
            .ok()
            .flatten()
            .unwrap_or(offsets.leader_epoch);
        Found {
            offset,
            timestamp,
            leader_epoch,
        }
    };
    Ok(match asked.timestamp {
        LATEST => Found {
            offset: end,
            timestamp: -1,
            leader_epoch: offsets.leader_epoch,
        },
        EARLIEST => at(offsets.log_start, -1),
        EARLIEST_LOCAL if version >= 8 => at(offsets.log_start, -1),
        MAX_TIMESTAMP if version >= 7 => latest(partition, end, limits)?
            .map_or(NOTHING, |(offset, timestamp)| at(offset, timestamp)),
        LATEST_TIERED if version >= 9 => NOTHING,
        EARLIEST_PENDING_UPLOAD if version >= 11 => NOTHING,
        timestamp if timestamp >= 0 => {
            let found = first_at_or_after(partition, timestamp, offsets.log_start, limits)?;
            found
                .filter(|(offset, _)| *offset < end)
                .map_or(NOTHING, |(offset, timestamp)| at(offset, timestamp))
        }
        _ => return Err(ErrorCode::UnsupportedVersion.into()),
    })
}

/// The first record at or after `target` by offset (E46).
fn first_at_or_after(
    partition: &Partition,
    target: i64,
    log_start: i64,
    limits: InflateLimits,
) -> Result<Option<(i64, i64)>, Refusal> {
    let mut found = Ok(None);
    partition.each_batch(log_start, |batch| {
        match timestamps::first_at_or_after(batch, target, log_start, limits) {
            Ok(Some(record)) => found = Ok(Some((record.offset, record.timestamp))),
            Ok(None) => return true,
            Err(error) => found = Err(error.into()),
        }
        false
    })?;
    found
}

/// The first record with the largest timestamp (E47). As in Kafka, only the batch whose header says the latest one is
/// looked into.
fn latest(
    partition: &Partition,
    end: i64,
    limits: InflateLimits,
) -> Result<Option<(i64, i64)>, Refusal> {
    let mut best: Option<BatchHeader> = None;
    partition.each_batch(partition.offsets().log_start, |batch| {
        if let Ok(header) = BatchHeader::parse(batch)
            && header.base_offset < end
            && best.is_none_or(|best| header.max_timestamp > best.max_timestamp)
        {
            best = Some(header);
        }
        true
    })?;
    let Some(best) = best else {
        return Ok(None);
    };
    let mut found = Ok(None);
    partition.each_batch(best.base_offset, |batch| {
        found = timestamps::latest(batch, limits);
        false
    })?;
    let found = found?.filter(|record| record.offset < end);
    Ok(found.map(|record| (record.offset, record.timestamp)))
}
