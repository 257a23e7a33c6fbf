//! What is told of each batch, at once or when it is durable.

use super::append::{Accepted, RefusedBatch};
use super::plan::ProducePlan;
use crate::api::endpoints::nodes;
use crate::api::reply::Reply;
use crate::api::request::Respond;
use crate::base::hooks::Event;
use crate::node::Node;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::validate::Invalid;
use rustka_storage::{Fate, Partition, Safety};
use rustka_wire::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use std::borrow::Cow;
use std::sync::Arc;

/// Told to whoever observes.
const WRITE_FAILED: &str = "a batch could not be written, and its partition is read-only";

/// What is told of one batch.
pub type PartitionAnswer = PartitionProduceResponse<'static>;

/// A write that is not yet as safe as its producer asked: its place in the answer, and in its partition.
pub struct Pending {
    topic: usize,
    place: usize,
    partition: Arc<Partition>,
    position: i64,
}

/// Waits until every write is as safe as `acks` asks, is lost, or its time is over.
pub async fn commit(
    node: Arc<Node>,
    plan: ProducePlan,
    mut answers: Vec<Vec<PartitionAnswer>>,
    pending: Vec<Pending>,
    respond: Respond,
) -> Reply {
    let safety = match plan.acks {
        1 => Safety::Written,
        _ => Safety::Durable,
    };
    for write in pending {
        let (partition, position) = (&write.partition, write.position);
        let fate = tokio::select! {
            biased;
            fate = partition.settled(position, safety) => fate,
            () = node.clock.sleep_until(plan.deadline_ms) => partition.fate_of(position, safety),
        };
        let answer = &mut answers[write.topic][write.place];
        match fate {
            Fate::Durable => {}
            // It may still become durable, so the answer keeps its offset, as in Kafka.
            Fate::Pending => answer.error_code = ErrorCode::RequestTimedOut.code(),
            Fate::Failed => {
                node.hooks.saw(|| Event::Failed(WRITE_FAILED));
                let lost = Refusal::from(ErrorCode::KafkaStorageError);
                *answer = refused(answer.index, lost.into());
            }
        }
    }
    encode(&node, &plan, answers, respond)
}

/// Encodes the answer.
pub fn encode(
    node: &Node,
    plan: &ProducePlan,
    answers: Vec<Vec<PartitionAnswer>>,
    respond: Respond,
) -> Reply {
    let leaders = answers.iter().flatten().filter_map(|answer| {
        let leader = &answer.current_leader;
        (leader.leader_id >= 0).then_some((leader.leader_id, leader.leader_epoch))
    });
    let nodes = nodes(node, &plan.caller, leaders);
    let node_endpoints = nodes.map(|(node_id, (host, port))| NodeEndpoint {
        node_id,
        host,
        port,
        rack: None,
    });
    let node_endpoints = node_endpoints.collect();
    let responses = plan
        .topics
        .iter()
        .zip(answers)
        .map(|(topic, partition_responses)| TopicProduceResponse {
            name: Cow::Borrowed(&topic.name),
            topic_id: topic.id,
            partition_responses,
        });
    let response = ProduceResponse {
        responses: responses.collect(),
        throttle_time_ms: respond.throttle_time_ms(),
        node_endpoints,
    };
    respond.encode(&[], |w| response.encode(w, respond.version()))
}

/// Puts what became of one batch into words.
pub fn answer(
    index: i32,
    result: Result<Accepted, RefusedBatch>,
    (topic, place): (usize, usize),
    pending: &mut Vec<Pending>,
) -> PartitionAnswer {
    match result {
        Ok(accepted) => {
            if let Some((partition, position)) = accepted.awaits {
                pending.push(Pending {
                    topic,
                    place,
                    partition,
                    position,
                });
            }
            PartitionAnswer {
                index,
                base_offset: accepted.base_offset,
                log_append_time_ms: accepted.log_append_time_ms,
                log_start_offset: accepted.log_start,
                ..Default::default()
            }
        }
        Err(why) => refused(index, why),
    }
}

fn refused(index: i32, why: RefusedBatch) -> PartitionAnswer {
    let Invalid {
        refusal,
        record_errors,
    } = why.invalid;
    PartitionAnswer {
        index,
        error_code: refusal.code.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: why.log_start,
        record_errors: record_errors
            .into_iter()
            .map(|(batch_index, message)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: message.map(Cow::Owned),
            })
            .collect(),
        error_message: refusal.message,
        current_leader: why
            .leader
            .map_or_else(Default::default, |(leader_id, leader_epoch)| {
                LeaderIdAndEpoch {
                    leader_id,
                    leader_epoch,
                }
            }),
    }
}
