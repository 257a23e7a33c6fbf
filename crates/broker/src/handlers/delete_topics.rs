//! DeleteTopics (key 20): topics with everything in them (E34, E34a).
//! v4 flexible · v5 error messages · v6 topic ids

use crate::groups::Groups;
use crate::hooks::{Event, Operation, Resource};
use crate::request::{Outcome, Request};
use rustka_core::catalog::{Cluster, DeleteTopic};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_wire::codec::{Reader, Uuid};
use rustka_wire::delete_topics_request::DeleteTopicsRequest;
use rustka_wire::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use std::borrow::Cow;

/// Deletes and answers when the topics are gone.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked = match DeleteTopicsRequest::decode(&mut Reader::new(request.body()), version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
    let shared = request.shared;
    let is_denied = |topic: &DeleteTopic| {
        let known = shared.topics.by_id(topic.id);
        let name = match &topic.name {
            Some(name) => Some(name.as_str()),
            None => known.as_ref().map(|known| &*known.name),
        };
        name.is_some_and(|name| !request.may(Operation::Delete, Resource::Topic(name)))
    };
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
    let (denied, command): (Vec<_>, Vec<_>) = command.into_iter().partition(is_denied);
    let nodes = [shared.node_id];
    let config = shared.config.broker();
    let cluster = Cluster {
        broker: &config,
        nodes: &nodes,
    };
    // The catalog is unlocked before partitions are: waiting fetches wake on the way.
    let deleted = shared.topics.write().delete_topics(&command, cluster);
    let mut responses: Vec<_> = match deleted {
        Ok(deleted) => deleted
            .into_iter()
            .map(|topic| {
                let refusal = match topic.result {
                    Ok(gone) => {
                        shared.hooks.saw(|| Event::TopicDeleted(&gone.name));
                        gone.partitions
                            .iter()
                            .for_each(|partition| partition.delete());
                        Groups::topic_deleted(shared, &gone);
                        None
                    }
                    Err(refusal) => Some(refusal),
                };
                result(topic.name.as_deref(), topic.id, refusal)
            })
            .collect(),
        Err(refusal) => {
            // Kafka says this one without words.
            let error_code = match version {
                ..3 => ErrorCode::InvalidRequest.code(),
                _ => refusal.code.code(),
            };
            let refused = |topic: &DeleteTopic| DeletableTopicResult {
                error_code,
                ..result(topic.name.as_deref(), topic.id, None)
            };
            command.iter().map(refused).collect()
        }
    };
    responses.extend(denied.iter().map(|topic| {
        let refusal = Refusal::from(ErrorCode::TopicAuthorizationFailed);
        result(topic.name.as_deref(), topic.id, Some(refusal))
    }));
    let response = DeleteTopicsResponse {
        responses,
        ..Default::default()
    };
    request.reply(|w| response.encode(w, version))
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
        let message = refusal.message.unwrap_or(Cow::Borrowed(why));
        (refusal.code.code(), Some(message))
    });
    DeletableTopicResult {
        name: name.map(|name| Cow::Owned(name.to_owned())),
        topic_id,
        error_code,
        error_message,
    }
}
