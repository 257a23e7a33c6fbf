//! CreatePartitions (key 37): more partitions for a topic (E36).
//! v2 flexible

use super::create_topics::once;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::handlers::answer;
use rustka_core::cluster::command::{self, AddPartitions, Command, Reply};
use rustka_core::error::ErrorCode;
use rustka_wire::create_partitions_request::CreatePartitionsRequest;
use rustka_wire::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Extends and answers when the partitions are there.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: CreatePartitionsRequest<'_> = request.decode()?;
    let names = once(asked.topics.iter().map(|topic| &*topic.name));
    let denied: BTreeSet<&str> = names
        .filter(|name| !request.may(Operation::Alter, Resource::Topic(name)))
        .collect();
    let (denied, allowed): (Vec<_>, Vec<_>) = asked
        .topics
        .iter()
        .partition(|topic| denied.contains(&*topic.name));
    let command: Vec<AddPartitions> = allowed
        .iter()
        .map(|topic| AddPartitions {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic
                .assignments
                .as_ref()
                .map(|all| all.iter().map(|one| one.broker_ids.clone()).collect()),
        })
        .collect();
    let names: Vec<Box<str>> = allowed.iter().map(|topic| (*topic.name).into()).collect();
    let denied: Vec<String> = denied.iter().map(|topic| topic.name.to_string()).collect();
    let asked = Command::CreatePartitions {
        topics: command,
        validate_only: asked.validate_only,
    };
    let respond = request.respond();
    let asked = request.limited(asked, 3);
    let answer = request.parts.cluster.call(asked);
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let outcomes = match reply {
            Some(Reply::CreatePartitions(outcomes)) => outcomes,
            _ => names.into_iter().map(unanswered).collect(),
        };
        let results = outcomes.into_iter().map(|outcome| {
            let (error_code, error_message) = match outcome.result {
                Ok(_) => (0, None),
                Err(refusal) => (refusal.code.code(), refusal.message),
            };
            CreatePartitionsTopicResult {
                name: Cow::Owned(outcome.name.into()),
                error_code,
                error_message,
            }
        });
        let denied = denied.iter().map(|name| CreatePartitionsTopicResult {
            name: Cow::Borrowed(&**name),
            error_code: ErrorCode::TopicAuthorizationFailed.code(),
            error_message: None,
        });
        let response = CreatePartitionsResponse {
            results: results.chain(denied).collect(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}

/// What is told of a topic when there is nobody to ask.
fn unanswered(name: Box<str>) -> command::TopicOutcome<u32> {
    command::TopicOutcome {
        name,
        result: Err(ErrorCode::NotController.into()),
    }
}
