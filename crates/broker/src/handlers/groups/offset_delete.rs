//! OffsetDelete (key 47): forgets committed offsets that no member uses (KIP-496, E111).

use super::topic_results::Results;
use crate::api::request::{Handled, Request, Respond};
use crate::base::hooks::{Operation, Resource};
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{Command, OffsetDelete, TopicPartitions};
use rustka_core::group::effects::{Reply, TopicResults};
use rustka_wire::codec::Writer;
use rustka_wire::offset_delete_request::OffsetDeleteRequest;
use rustka_wire::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use std::borrow::Cow;

/// Deletes offsets of partitions that exist. Those that do not are answered first, as in Kafka.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: OffsetDeleteRequest<'_> = request.decode()?;
    let respond = request.respond();
    if let Err(code) = request.check(Operation::Delete, Resource::Group(&asked.group_id)) {
        return Ok(request.reply(|w| encode(w, respond, Err(code))));
    }
    let mut unknown = Results::default();
    let mut topics: Vec<TopicPartitions> = Vec::new();
    for topic in &asked.topics {
        let found = match request.check(Operation::Read, Resource::Topic(&topic.name)) {
            Ok(()) => {
                let found = request.node.topics.by_name(&topic.name);
                found.ok_or(ErrorCode::UnknownTopicOrPartition)
            }
            Err(code) => Err(code),
        };
        let code = found.as_ref().err().copied();
        let code = code.unwrap_or(ErrorCode::UnknownTopicOrPartition);
        let found = found.ok();
        let asked = topic.partitions.iter().map(|at| at.partition_index);
        let (known, missing): (Vec<i32>, Vec<i32>) = asked.partition(|at| {
            let found = found.as_ref();
            found.is_some_and(|found| found.partition(*at).is_some())
        });
        let (name, topic_id) = match &found {
            Some(found) => (found.name.clone(), found.id.0),
            None => ((&*topic.name).into(), Default::default()),
        };
        if !missing.is_empty() {
            unknown.add(TopicResults {
                topic: std::sync::Arc::clone(&name),
                topic_id,
                partitions: missing.into_iter().map(|at| (at, code)).collect(),
            });
        }
        if !known.is_empty() {
            topics.push(TopicPartitions {
                topic: name,
                topic_id,
                partitions: known,
            });
        }
    }
    let group = (&*asked.group_id).into();
    let command = Command::OffsetDelete(OffsetDelete { group, topics });
    let answer = request.parts.groups.call(&asked.group_id, command);
    answer::respond(respond.clone(), answer, move |reply, w, _| {
        let results = match reply {
            Some(Reply::OffsetDelete(result)) => result,
            _ => Err(ErrorCode::NotCoordinator),
        };
        encode(w, respond, results.map(|deleted| unknown.and(deleted)));
    })
}

fn encode(w: &mut Writer, respond: Respond, results: Result<Vec<TopicResults>, ErrorCode>) {
    let (error_code, results) = match results {
        Ok(results) => (0, results),
        Err(code) => (code.code(), Vec::new()),
    };
    let topics = results.iter().map(|topic| OffsetDeleteResponseTopic {
        name: Cow::Borrowed(&*topic.topic),
        partitions: topic
            .partitions
            .iter()
            .map(|(index, code)| OffsetDeleteResponsePartition {
                partition_index: *index,
                error_code: code.code(),
            })
            .collect(),
    });
    let response = OffsetDeleteResponse {
        error_code,
        topics: topics.collect(),
        throttle_time_ms: respond.throttle_time_ms(),
    };
    response.encode(w, respond.version());
}
