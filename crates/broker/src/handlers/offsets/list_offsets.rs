//! ListOffsets (key 2): offsets by time, and the first and last ones.
//! v2 isolation level · v4 leader epochs · v6 flexible · v7 max timestamp · v8 local log start · v9 tiered · v11 pending upload

use super::leader::check_leader;
use super::search::{self, Effort, Stopped};
use crate::api::request::{Handled, Outcome, Request, Respond};
use crate::api::twins::fold_twins;
use crate::base::hooks::{Operation, Resource};
use crate::node::Node;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use rustka_wire::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// What searches by time may look into on the connection's thread, in bytes.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Answers at once where little has to be looked into, else from the work pool.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: ListOffsetsRequest<'_> = request.decode()?;
    let denied: Vec<bool> = asked
        .topics
        .iter()
        .map(|topic| !request.may(Operation::Describe, Resource::Topic(&topic.name)))
        .collect();
    let (node, respond) = (request.node.clone(), request.respond());
    let mut effort = Effort::at_most(INLINE_BYTES_MAX);
    if let Some(response) = answer(&node, &asked, &denied, &respond, &mut effort) {
        return Ok(request.reply(|w| response.encode(w, version)));
    }
    let asked = asked.into_owned();
    Ok(Outcome::Park(Box::pin(async move {
        let work = node.work.clone();
        let done = work.run(move || {
            let response = answer(&node, &asked, &denied, &respond, &mut Effort::unlimited());
            response.map(|response| respond.encode(&[], |w| response.encode(w, version)))
        });
        match done.await.flatten() {
            Some(reply) => Outcome::Reply(reply),
            None => Outcome::Close("a search by time failed unexpectedly".to_owned()),
        }
    })))
}

/// The answer, unless finding it takes more effort than allowed.
fn answer<'a>(
    node: &Arc<Node>,
    asked: &'a ListOffsetsRequest<'_>,
    denied: &[bool],
    respond: &Respond,
    effort: &mut Effort,
) -> Option<ListOffsetsResponse<'a>> {
    let mut times: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    for topic in &asked.topics {
        for partition in &topic.partitions {
            *times
                .entry((&topic.name, partition.partition_index))
                .or_default() += 1;
        }
    }
    let mut topics = Vec::with_capacity(asked.topics.len());
    for (topic, denied) in asked.topics.iter().zip(denied) {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let named = (&*topic.name, partition.partition_index);
            // One that is named more than once is answered once (E49).
            let twice = match times.get_mut(&named) {
                Some(0) => continue,
                Some(1) | None => false,
                Some(times) => {
                    *times = 0;
                    true
                }
            };
            let result = if *denied {
                Err(Refusal::from(ErrorCode::TopicAuthorizationFailed).into())
            } else if twice {
                Err(Refusal::from(ErrorCode::InvalidRequest).into())
            } else {
                lookup(
                    node,
                    &topic.name,
                    partition,
                    asked.isolation_level,
                    respond.version(),
                    effort,
                )
            };
            let index = partition.partition_index;
            partitions.push(match result {
                Ok(found) => ListOffsetsPartitionResponse {
                    partition_index: index,
                    error_code: 0,
                    timestamp: found.timestamp,
                    offset: found.offset,
                    leader_epoch: found.leader_epoch,
                },
                Err(Stopped::TooLong) => return None,
                Err(Stopped::Refused(refusal)) => ListOffsetsPartitionResponse {
                    partition_index: index,
                    error_code: refusal.code.code(),
                    timestamp: -1,
                    offset: -1,
                    leader_epoch: -1,
                },
            });
        }
        topics.push(ListOffsetsTopicResponse {
            name: Cow::Borrowed(&topic.name),
            partitions,
        });
    }
    let topics = fold_twins(
        topics,
        |a, b| a.name.cmp(&b.name),
        |first, later| first.partitions.extend(later.partitions),
    );
    Some(ListOffsetsResponse {
        topics,
        throttle_time_ms: respond.throttle_time_ms(),
    })
}

struct FoundOffset {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

const NOTHING: FoundOffset = FoundOffset {
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
    effort: &mut Effort,
) -> Result<FoundOffset, Stopped> {
    let topic = node.topics.by_name(topic);
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let limits = topic.config.now().inflate_limits();
    let partition = topic
        .partition(asked.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_leader(partition, asked.current_leader_epoch)?;
    let offsets = partition.usable_offsets()?;
    let end = if isolation_level == 1 {
        offsets.last_stable
    } else {
        offsets.high_watermark
    };
    let readable = offsets.log_start..end;
    let at = |offset, timestamp| {
        let leader_epoch = partition
            .with_state(|state| state.epochs.epoch_at(offset))
            .ok()
            .flatten()
            .unwrap_or(offsets.leader_epoch);
        FoundOffset {
            offset,
            timestamp,
            leader_epoch,
        }
    };
    Ok(match asked.timestamp {
        LATEST => FoundOffset {
            offset: end,
            timestamp: -1,
            leader_epoch: offsets.leader_epoch,
        },
        EARLIEST => at(offsets.log_start, -1),
        EARLIEST_LOCAL if version >= 8 => at(offsets.log_start, -1),
        MAX_TIMESTAMP if version >= 7 => search::latest(partition, readable, limits, effort)?
            .map_or(NOTHING, |found| at(found.offset, found.timestamp)),
        LATEST_TIERED if version >= 9 => NOTHING,
        EARLIEST_PENDING_UPLOAD if version >= 11 => NOTHING,
        timestamp if timestamp >= 0 => {
            search::first_at_or_after(partition, timestamp, readable, limits, effort)?
                .map_or(NOTHING, |found| at(found.offset, found.timestamp))
        }
        _ => return Err(ErrorCode::UnsupportedVersion.into()),
    })
}
