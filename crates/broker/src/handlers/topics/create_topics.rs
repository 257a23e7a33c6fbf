//! CreateTopics (key 19): topics with their partitions and configs (E29 to E33).
//! v4 broker defaults by -1 · v5 flexible, effective configs in the answer · v7 topic ids

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::base::random;
use crate::handlers::answer;
use crate::node::Node;
use rustka_core::cluster::command::{
    Assignment, Command, CreateTopic, CreateTopics, Created, Reply,
};
use rustka_core::config::ConfigEntry;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::names::CLUSTER_METADATA;
use rustka_wire::codec::Uuid;
use rustka_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use rustka_wire::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Creates what can be created and answers when it is there.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: CreateTopicsRequest<'_> = request.decode()?;
    let rights = Rights::of(&request, &asked);
    let (denied, allowed): (Vec<_>, Vec<_>) = asked
        .topics
        .iter()
        .partition(|topic| rights.denied.contains(&*topic.name));
    let command = CreateTopics {
        topics: allowed
            .iter()
            .zip(random::uuids(allowed.len()))
            .map(|(topic, id)| command(topic, id))
            .collect(),
        validate_only: asked.validate_only,
    };
    let own = |name: &str| Box::<str>::from(name);
    let denied: Vec<Box<str>> = denied.iter().map(|topic| own(&topic.name)).collect();
    let allowed: Vec<Box<str>> = allowed.iter().map(|topic| own(&topic.name)).collect();
    let hidden: BTreeSet<Box<str>> = rights.hidden.iter().copied().map(own).collect();
    let (node, respond) = (request.node.clone(), request.respond());
    let command = request.limited(Command::CreateTopics(command), 6);
    let answer = request.parts.cluster.call(command);
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let created = match reply {
            Some(Reply::CreateTopics(created)) => created,
            _ => Err(ErrorCode::NotController.into()),
        };
        let mut topics: Vec<_> = match created {
            Ok(outcomes) => outcomes
                .into_iter()
                .map(|outcome| match outcome.result {
                    Ok(created) if hidden.contains(&outcome.name) => {
                        without_configs(outcome.name, &created)
                    }
                    Ok(created) => accepted(&node, outcome.name, &created, version),
                    Err(refusal) => refused(outcome.name, refusal),
                })
                .collect(),
            Err(refusal) => allowed
                .into_iter()
                .map(|name| refused(name, refusal.clone()))
                .collect(),
        };
        topics.extend(denied.into_iter().map(|name| {
            let refusal = Refusal::new(
                ErrorCode::TopicAuthorizationFailed,
                "The topic may not be created by this client.",
            );
            refused(name, refusal)
        }));
        let response = CreateTopicsResponse {
            topics,
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}

/// What the client may not do, of the topics that are named once.
#[derive(Default)]
struct Rights<'a> {
    /// Topics it may not create.
    denied: BTreeSet<&'a str>,
    /// Topics whose configs it may not see.
    hidden: BTreeSet<&'a str>,
}

impl<'a> Rights<'a> {
    fn of(request: &Request<'_>, asked: &'a CreateTopicsRequest<'_>) -> Rights<'a> {
        let mut rights = Rights::default();
        if request.may_do_everything() {
            return rights;
        }
        let names = once(asked.topics.iter().map(|topic| &*topic.name));
        let all = request.may(Operation::Create, Resource::Cluster);
        for name in names.filter(|name| *name != CLUSTER_METADATA) {
            let topic = Resource::Topic(name);
            if !all && !request.may(Operation::Create, topic) {
                rights.denied.insert(name);
            }
            if !request.may(Operation::DescribeConfigs, topic) {
                rights.hidden.insert(name);
            }
        }
        rights
    }
}

/// The names that come exactly once. What comes twice is refused, whoever asks.
pub fn once<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for name in names {
        *times.entry(name).or_default() += 1;
    }
    let only = times.into_iter().filter(|(_, times)| *times == 1);
    only.map(|(name, _)| name)
}

fn command(topic: &CreatableTopic<'_>, id: Uuid) -> CreateTopic {
    CreateTopic {
        name: topic.name.to_string(),
        id,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| Assignment {
                partition: assignment.partition_index,
                brokers: assignment.broker_ids.clone(),
            })
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| {
                (
                    config.name.to_string(),
                    config.value.as_deref().map(str::to_owned),
                )
            })
            .collect(),
    }
}

fn refused(name: Box<str>, refusal: Refusal) -> CreatableTopicResult<'static> {
    CreatableTopicResult {
        name: Cow::Owned(name.into()),
        error_code: refusal.code.code(),
        error_message: refusal.message,
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

/// Nothing of how a topic was made is told to whoever may not see its configs.
fn without_configs(name: Box<str>, created: &Created) -> CreatableTopicResult<'static> {
    CreatableTopicResult {
        name: Cow::Owned(name.into()),
        topic_id: created.id,
        topic_config_error_code: ErrorCode::TopicAuthorizationFailed.code(),
        error_message: None,
        configs: Some(Vec::new()),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    }
}

fn accepted(
    node: &Node,
    name: Box<str>,
    created: &Created,
    version: i16,
) -> CreatableTopicResult<'static> {
    let configs = match version {
        ..5 => None,
        _ => Some(
            created
                .config
                .created_entries(&node.config.broker())
                .iter()
                .map(config)
                .collect(),
        ),
    };
    CreatableTopicResult {
        name: Cow::Owned(name.into()),
        topic_id: created.id,
        num_partitions: i32::try_from(created.partitions).unwrap_or(i32::MAX),
        replication_factor: created.replication_factor,
        configs,
        error_message: None,
        ..Default::default()
    }
}

fn config(entry: &ConfigEntry) -> CreatableTopicConfigs<'static> {
    CreatableTopicConfigs {
        name: entry.name.clone(),
        value: entry.value.clone(),
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
    }
}
