//! Metadata (key 3): brokers, topics and where their partitions are.
//! v1 null means all · v4 auto-creation is the client's choice · v8 authorized operations · v9 flexible · v10 topic ids
//! v12 lookup by topic id · v13 top-level error

use super::metadata_all;
use crate::handlers::create_topics;
use crate::hooks::{Operation, Resource};
use crate::request::{Outcome, Request};
use crate::storage::Partition;
use rustka_core::catalog::Topic;
use rustka_core::error::ErrorCode;
use rustka_wire::codec::Reader;
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use rustka_wire::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bits of the operations Kafka knows for a topic: READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
pub const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// Bits of the operations on the cluster: CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
pub const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
/// Operations were not asked for.
pub const OPERATIONS_UNASKED: i32 = i32::MIN;

/// Answers from the catalog; a topic that is named, unknown and may be created is created first.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked = match MetadataRequest::decode(&mut Reader::new(request.body()), version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
    let shared = request.shared;
    let topic_operations = if asked.include_topic_authorized_operations {
        TOPIC_OPERATIONS
    } else {
        OPERATIONS_UNASKED
    };
    let may_create = (version < 4 || asked.allow_auto_topic_creation)
        && shared.config.fixed().auto_create_topics;
    // Version 0 has no null: an empty list means all.
    let named = match &asked.topics {
        Some(named) if !named.is_empty() || version > 0 => Some(named),
        _ => None,
    };
    // Everything there is, with nobody to be asked.
    let is_direct = named.is_none() && shared.hooks.authorizer.is_none();
    let topics: Vec<MetadataResponseTopic<'_>> = match named {
        None if is_direct => Vec::new(),
        None => shared
            .topics
            .all()
            .iter()
            .filter(|topic| request.may(Operation::Describe, Resource::Topic(&topic.name)))
            .map(|topic| known(topic, shared.node_id, topic_operations))
            .collect(),
        Some(named) => {
            if let Some(code) = misnamed(named, version) {
                return refused(&request, named, code);
            }
            // Each is answered once (E21); where ids are given, names beside them are not looked at (E26).
            let by_id = named.iter().any(|topic| !topic.topic_id.is_zero());
            let mut seen = BTreeSet::new();
            let mut topics = Vec::with_capacity(named.len());
            for topic in named {
                let name = topic.name.as_deref().unwrap_or_default();
                if by_id != topic.topic_id.is_zero() && seen.insert((topic.topic_id, name)) {
                    topics.push(if !by_id {
                        by_name(&request, name, may_create, topic_operations)
                    } else if let Some(view) = shared.topics.by_id(topic.topic_id).filter(|view| {
                        // A name that the client may not know is not told by id either.
                        request.may(Operation::Describe, Resource::Topic(&view.name))
                    }) {
                        known(&view, shared.node_id, topic_operations)
                    } else {
                        unknown(ErrorCode::UnknownTopicId, None, topic.topic_id)
                    });
                }
            }
            topics
        }
    };
    let context = request.context();
    let (host, port) = shared
        .endpoint_of(shared.node_id, &context)
        .unwrap_or_default();
    let broker = MetadataResponseBroker {
        node_id: shared.node_id,
        host: Cow::Borrowed(host),
        port,
        rack: shared.config.fixed().rack.as_deref().map(Cow::Borrowed),
    };
    let response = MetadataResponse {
        brokers: vec![broker],
        cluster_id: Some(Cow::Borrowed(&shared.cluster_id)),
        controller_id: shared.node_id,
        topics,
        throttle_time_ms: request.throttle_time_ms(),
        cluster_authorized_operations: if asked.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_UNASKED
        },
        ..Default::default()
    };
    request.reply(|w| match is_direct {
        false => response.encode(w, version),
        true => {
            let catalog = shared.topics.read();
            metadata_all::encode(
                w,
                version,
                &response,
                &catalog,
                shared.node_id,
                topic_operations,
            );
        }
    })
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
        ..Default::default()
    };
    request.reply(|w| response.encode(w, request.header.version))
}

fn by_name<'n>(
    request: &Request<'_>,
    name: &'n str,
    may_create: bool,
    operations: i32,
) -> MetadataResponseTopic<'n> {
    let shared = request.shared;
    // As if it were not there, whether it is or not.
    if !request.may(Operation::Describe, Resource::Topic(name)) {
        return unknown(
            ErrorCode::TopicAuthorizationFailed,
            Some(name),
            Default::default(),
        );
    }
    if let Some(view) = shared.topics.by_name(name) {
        return known(&view, shared.node_id, operations);
    }
    if let Err(refusal) = rustka_core::names::validate_topic_name(name) {
        return unknown(refusal.code, Some(name), Default::default());
    }
    // Names cost nothing, topics do: whoever makes up too many is told to ask again.
    if may_create && shared.auto_creations.allows(shared.clock.monotonic_ms()) {
        if let Err(refusal) = create_topics::auto_create(shared, name) {
            return unknown(refusal.code, Some(name), Default::default());
        }
        if let (Some(view), false) = (shared.topics.by_name(name), shared.strict) {
            return known(&view, shared.node_id, operations);
        }
    }
    unknown(
        ErrorCode::UnknownTopicOrPartition,
        Some(name),
        Default::default(),
    )
}

fn unknown<'n>(
    code: ErrorCode,
    name: Option<&'n str>,
    topic_id: rustka_wire::codec::Uuid,
) -> MetadataResponseTopic<'n> {
    MetadataResponseTopic {
        error_code: code.code(),
        name: name.map(Cow::Borrowed),
        topic_id,
        topic_authorized_operations: OPERATIONS_UNASKED,
        ..Default::default()
    }
}

/// A topic as clients see it, on the one node there is.
pub fn known(
    view: &Topic<Arc<Partition>>,
    node_id: i32,
    operations: i32,
) -> MetadataResponseTopic<'static> {
    let partitions = (0i32..)
        .take(view.partitions.len())
        .map(|index| MetadataResponsePartition {
            error_code: 0,
            partition_index: index,
            leader_id: node_id,
            leader_epoch: 0,
            replica_nodes: vec![node_id],
            isr_nodes: vec![node_id],
            offline_replicas: Vec::new(),
        });
    MetadataResponseTopic {
        error_code: 0,
        name: Some(Cow::Owned(view.name.to_string())),
        topic_id: view.id,
        is_internal: view.internal,
        partitions: partitions.collect(),
        topic_authorized_operations: operations,
    }
}
