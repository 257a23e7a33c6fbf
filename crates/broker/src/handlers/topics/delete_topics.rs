//! DeleteTopics (key 20): topics with everything in them (E34, E34a).
//! v4 flexible · v5 error messages · v6 topic ids

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::handlers::answer;
use rustka_core::cluster::command::{Command, DeleteTopic, Reply};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::codec::Uuid;
use rustka_wire::delete_topics_request::DeleteTopicsRequest;
use rustka_wire::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Deletes and answers when the topics are gone.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DeleteTopicsRequest<'_> = request.decode()?;
    let by_name = asked.topic_names.iter().map(|name| DeleteTopic {
        name: Some(name.to_string()),
        id: Uuid::ZERO,
    });
    let by_state = asked.topics.iter().map(|topic| DeleteTopic {
        name: topic.name.as_deref().map(str::to_owned),
        id: topic.topic_id,
    });
    let command: Vec<DeleteTopic> = if version >= 6 {
        by_state.collect()
    } else {
        by_name.collect()
    };
    let (command, denied) = split(&request, command);
    let asked: Vec<(Option<String>, Uuid)> = command
        .iter()
        .map(|topic| (topic.name.clone(), topic.id))
        .collect();
    let respond = request.respond();
    let command = request.limited(Command::DeleteTopics(command), 5);
    let answer = request.parts.cluster.call(command);
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let deleted = match reply {
            Some(Reply::DeleteTopics(deleted)) => deleted,
            _ => Err(ErrorCode::NotController.into()),
        };
        let mut responses: Vec<_> = match deleted {
            Ok(deleted) => deleted
                .into_iter()
                .map(|topic| result(topic.name.as_deref(), topic.id, topic.result.err()))
                .collect(),
            Err(refusal) => {
                // Kafka says this one without words.
                let error_code = match version {
                    ..3 if refusal.code == ErrorCode::TopicDeletionDisabled => {
                        ErrorCode::InvalidRequest.code()
                    }
                    _ => refusal.code.code(),
                };
                let refused = |(name, id): (Option<String>, Uuid)| DeletableTopicResult {
                    error_code,
                    ..result(name.as_deref(), id, None)
                };
                asked.into_iter().map(refused).collect()
            }
        };
        responses.extend(denied);
        let response = DeleteTopicsResponse {
            responses,
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}

/// Takes out the topics that the client may not delete, with what it is told of each.
fn split(
    request: &Request<'_>,
    topics: Vec<DeleteTopic>,
) -> (Vec<DeleteTopic>, Vec<DeletableTopicResult<'static>>) {
    let is_open = request.may_do_everything() || request.may(Operation::Delete, Resource::Cluster);
    if is_open || !request.node.config.broker().settings().delete_topics {
        return (topics, Vec::new());
    }
    let mut times: BTreeMap<(Option<String>, Uuid), u32> = BTreeMap::new();
    for topic in &topics {
        *times.entry((topic.name.clone(), topic.id)).or_default() += 1;
    }
    let (mut left, mut denied) = (Vec::new(), Vec::new());
    for topic in topics {
        // What is named in no valid way is refused, whoever asks.
        let is_valid = topic.name.is_some() == topic.id.is_zero()
            && times.get(&(topic.name.clone(), topic.id)) == Some(&1);
        match is_valid.then(|| denial(request, &topic)).flatten() {
            Some(told) => denied.push(told),
            None => left.push(topic),
        }
    }
    (left, denied)
}

/// What the client is told that may not delete a topic: its name only if it gave that or may know it.
fn denial(request: &Request<'_>, topic: &DeleteTopic) -> Option<DeletableTopicResult<'static>> {
    let refusal = || denied(ErrorCode::TopicAuthorizationFailed);
    let topics = &request.node.topics;
    let may = |name: &str| {
        let topic = Resource::Topic(name);
        let describe = request.may(Operation::Describe, topic);
        (describe, request.may(Operation::Delete, topic))
    };
    match &topic.name {
        Some(name) => {
            let (describe, delete) = may(name);
            // Of a name that it may know but not delete it hears first of all that there is no such topic.
            let is_denied = !describe || !delete && topics.by_name(name).is_some();
            is_denied.then(|| result(Some(name), Uuid::ZERO, Some(refusal())))
        }
        None => {
            let known = topics.by_id(topic.id)?;
            let (describe, delete) = may(&known.name);
            let name = describe.then_some(&*known.name);
            (!delete).then(|| result(name, topic.id, Some(refusal())))
        }
    }
}

fn result(
    name: Option<&str>,
    topic_id: Uuid,
    refusal: Option<Refusal>,
) -> DeletableTopicResult<'static> {
    let (error_code, error_message) = refusal.map_or((0, None), |refusal| {
        let why = match refusal.code {
            ErrorCode::UnknownTopicOrPartition => "There is no topic of this name.",
            ErrorCode::UnknownTopicId => "There is no topic with this id.",
            _ => "The topic cannot be deleted.",
        };
        let message = match refusal.code {
            ErrorCode::ThrottlingQuotaExceeded => None,
            _ => Some(refusal.message.unwrap_or(Cow::Borrowed(why))),
        };
        (refusal.code.code(), message)
    });
    DeletableTopicResult {
        name: name.map(|name| Cow::Owned(name.to_owned())),
        topic_id,
        error_code,
        error_message,
    }
}
