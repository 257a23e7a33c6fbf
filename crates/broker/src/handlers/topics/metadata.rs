//! Metadata (key 3): brokers, topics and where their partitions are.
//! v1 null means all · v4 auto-creation is the client's choice · v8 authorized operations · v9 flexible · v10 topic ids
//! v12 lookup by topic id · v13 top-level error

use super::metadata_all;
use super::placed::Placed;
use crate::api::access::OPERATIONS_UNASKED;
use crate::api::request::{Handled, Outcome, Request};
use crate::base::hooks::{Operation, Resource};
use crate::node::topics::TopicHere;
use crate::node::topics::TopicRef;
use rustka_core::error::ErrorCode;
use rustka_core::names::{is_internal, validate_topic_name};
use rustka_wire::codec::Uuid;
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use rustka_wire::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Answers from the catalog; a topic that is named, unknown and may be created is created first.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: MetadataRequest<'_> = request.decode()?;
    let node = request.node;
    let wanted = Wanted {
        operations: asked.include_topic_authorized_operations,
        creation: (version < 4 || asked.allow_auto_topic_creation)
            && node.config.fixed().auto_create_topics,
    };
    // Version 0 has no null: an empty list means all.
    let named = match &asked.topics {
        Some(named) if !named.is_empty() || version > 0 => Some(named),
        _ => None,
    };
    // Everything there is, with nobody to be asked.
    let is_direct = named.is_none() && request.may_do_everything();
    let topics: Vec<MetadataResponseTopic<'_>> = match named {
        None if is_direct => Vec::new(),
        None => node
            .topics
            .all()
            .iter()
            .filter(|topic| request.may(Operation::Describe, Resource::Topic(&topic.name)))
            .map(|topic| {
                let operations = wanted.operations_on(&request, &topic.name);
                known(topic, node.id, operations)
            })
            .collect(),
        Some(named) => {
            if let Some(code) = misnamed(named, version) {
                return Ok(refused(&request, named, code));
            }
            // Each is answered once (E21); where ids are given, names beside them are not looked at (E26).
            let by_id = named.iter().any(|topic| !topic.topic_id.is_zero());
            let mut seen = BTreeSet::new();
            let mut topics = Vec::with_capacity(named.len());
            for topic in named {
                let name = topic.name.as_deref().unwrap_or_default();
                if by_id != topic.topic_id.is_zero() && seen.insert((topic.topic_id, name)) {
                    topics.push(match by_id {
                        true => find_by_id(&request, topic.topic_id, &wanted),
                        false => find_by_name(&request, name, &wanted),
                    });
                }
            }
            topics
        }
    };
    let endpoint = request.endpoint(node.id);
    let (host, port) = endpoint.unwrap_or_default();
    let broker = MetadataResponseBroker {
        node_id: node.id,
        host,
        port,
        rack: node.config.fixed().rack.as_deref().map(Cow::Borrowed),
    };
    let response = MetadataResponse {
        brokers: vec![broker],
        cluster_id: Some(Cow::Borrowed(&node.cluster_id)),
        controller_id: node.id,
        topics,
        throttle_time_ms: request.throttle_time_ms(),
        cluster_authorized_operations: match asked.include_cluster_authorized_operations {
            true => cluster_operations(&request),
            false => OPERATIONS_UNASKED,
        },
        ..Default::default()
    };
    Ok(request.reply(|w| match is_direct {
        false => response.encode(w, version),
        true => {
            let catalog = node.topics.read();
            metadata_all::encode(
                w,
                version,
                &response,
                &catalog,
                node.id,
                wanted.operations_on(&request, ""),
            );
        }
    }))
}

/// Why the topics of a request make no sense: ids or no name before version 12, neither a name nor an id (E26).
fn misnamed(named: &[MetadataRequestTopic<'_>], version: i16) -> Option<ErrorCode> {
    let nameless = |topic: &MetadataRequestTopic<'_>| topic.name.is_none();
    let with_id = |topic: &MetadataRequestTopic<'_>| !topic.topic_id.is_zero();
    if version < 12 {
        let wrong = named.iter().any(|topic| nameless(topic) || with_id(topic));
        return wrong.then_some(ErrorCode::InvalidRequest);
    }
    let lost = !named.iter().any(with_id) && named.iter().any(nameless);
    lost.then_some(ErrorCode::UnknownServerError)
}

/// An error of the whole request, told with every topic.
fn refused(request: &Request<'_>, named: &[MetadataRequestTopic<'_>], code: ErrorCode) -> Outcome {
    let topics = named.iter().map(|topic| MetadataResponseTopic {
        name: Some(Cow::Borrowed(topic.name.as_deref().unwrap_or_default())),
        ..unknown(code, None, topic.topic_id)
    });
    let response = MetadataResponse {
        topics: topics.collect(),
        error_code: code.code(),
        throttle_time_ms: request.throttle_time_ms(),
        ..Default::default()
    };
    request.reply(|w| response.encode(w, request.header.version))
}

/// What a request wants for each topic.
struct Wanted {
    /// To know what the client may do to it.
    operations: bool,
    /// That it be created if it is not there.
    creation: bool,
}

impl Wanted {
    fn operations_on(&self, request: &Request<'_>, topic: &str) -> i32 {
        match self.operations {
            true => request.operations(Resource::Topic(topic)),
            false => OPERATIONS_UNASKED,
        }
    }
}

/// What the client may do to the cluster; nothing is told to whoever may not know the cluster.
pub fn cluster_operations(request: &Request<'_>) -> i32 {
    match request.may(Operation::Describe, Resource::Cluster) {
        true => request.operations(Resource::Cluster),
        false => 0,
    }
}

fn find_by_id(request: &Request<'_>, id: Uuid, wanted: &Wanted) -> MetadataResponseTopic<'static> {
    let Some(view) = request.node.topics.by_id(id) else {
        return unknown(ErrorCode::UnknownTopicId, None, id);
    };
    // An id is no secret, the name it stands for is.
    if let Err(code) = request.check(Operation::Describe, Resource::Topic(&view.name)) {
        return unknown(code, None, id);
    }
    let operations = wanted.operations_on(request, &view.name);
    known(&view, request.node.id, operations)
}

fn find_by_name<'n>(
    request: &Request<'_>,
    name: &'n str,
    wanted: &Wanted,
) -> MetadataResponseTopic<'n> {
    let (node, topic) = (request.node, Resource::Topic(name));
    // As if it were not there, whether it is or not.
    if let Err(code) = request.check(Operation::Describe, topic) {
        return unknown(code, Some(name), Uuid::ZERO);
    }
    if let Some(view) = node.topics.by_name(name) {
        return known(&view, node.id, wanted.operations_on(request, name));
    }
    if wanted.creation
        && !request.may(Operation::Create, Resource::Cluster)
        && let Err(code) = request.check(Operation::Create, topic)
    {
        return unknown(code, Some(name), Uuid::ZERO);
    }
    match create_if_wanted(request, name, wanted) {
        Ok(view) => known(&view, node.id, wanted.operations_on(request, name)),
        Err(code) => MetadataResponseTopic {
            topic_authorized_operations: wanted.operations_on(request, name),
            ..unknown(code, Some(name), Uuid::ZERO)
        },
    }
}

fn create_if_wanted(
    request: &Request<'_>,
    name: &str,
    wanted: &Wanted,
) -> Result<TopicRef, ErrorCode> {
    let node = request.node;
    validate_topic_name(name).map_err(|refusal| refusal.code)?;
    let now_ms = node.clock.monotonic_ms();
    // Names cost nothing, topics do: whoever makes up too many is told to ask again.
    if wanted.creation && request.parts.auto_creations.allows(now_ms) {
        // Why a topic cannot be created is not told here, as in Kafka: the client asks again until it can.
        // Whatever the version of this request, it is refused like a new one that creates topics.
        let limited = |command| request.limited(command, 0);
        let created = request.parts.cluster.auto_create_by(name, limited);
        if let (Ok(()), Some(view), false) = (created, node.topics.by_name(name), node.strict) {
            return Ok(view);
        }
    }
    Err(ErrorCode::UnknownTopicOrPartition)
}

fn unknown<'n>(
    code: ErrorCode,
    name: Option<&'n str>,
    topic_id: Uuid,
) -> MetadataResponseTopic<'n> {
    let is_missing = code == ErrorCode::UnknownTopicOrPartition;
    MetadataResponseTopic {
        error_code: code.code(),
        name: name.map(Cow::Borrowed),
        topic_id,
        is_internal: is_missing && name.is_some_and(is_internal),
        topic_authorized_operations: OPERATIONS_UNASKED,
        ..Default::default()
    }
}

/// A topic as clients see it.
pub fn known(view: &TopicHere, node_id: i32, operations: i32) -> MetadataResponseTopic<'static> {
    let partitions = (0i32..).zip(&view.partitions);
    let partitions = partitions
        .map(|(index, partition)| known_partition(index, &Placed::of(partition, node_id)));
    MetadataResponseTopic {
        error_code: 0,
        name: Some(Cow::Owned(view.name.to_string())),
        topic_id: view.id,
        is_internal: view.internal,
        partitions: partitions.collect(),
        topic_authorized_operations: operations,
    }
}

/// A partition as clients see it.
pub fn known_partition(index: i32, placed: &Placed) -> MetadataResponsePartition {
    let error = match placed.leader_id {
        ..0 => ErrorCode::LeaderNotAvailable,
        _ => ErrorCode::None,
    };
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index: index,
        leader_id: placed.leader_id,
        leader_epoch: placed.leader_epoch,
        replica_nodes: vec![placed.replica],
        isr_nodes: vec![placed.replica],
        offline_replicas: Vec::new(),
    }
}
