//! OffsetFetch (key 9): what groups have committed (E107, E108).
//! v2 everything · v3 throttle time · v5 leader epochs · v6 flexible · v7 require_stable (KIP-447)
//! v8 many groups (KIP-709) · v9 member ids (KIP-848) · v10 topic ids

use crate::groups::{self, Groups};
use crate::request::{Outcome, Request};
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{Command, NO_TOPIC_ID, OffsetFetch, TopicPartitions};
use rustka_core::group::effects::{FetchedPartition, FetchedTopic, Reply};
use rustka_wire::codec::{Reader, Uuid};
use rustka_wire::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use rustka_wire::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use std::borrow::Cow;

/// Many groups in one request from this version on.
const GROUPS_FROM: i16 = 8;
/// Topic ids instead of names from this version on.
const IDS_FROM: i16 = 10;

/// Answers for one group, or from v8 on for many.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked = match OffsetFetchRequest::decode(&mut Reader::new(request.body()), version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
    let shared = request.shared;
    if version < GROUPS_FROM {
        let group = &asked.group_id;
        let topics = asked.topics.as_ref();
        let topics = topics.map(|topics| topics.iter().map(by_name).collect());
        let answer = Groups::call(shared, group, command(group, topics));
        return groups::respond(request.respond(), answer, encode_one);
    }
    let mut answers = Vec::with_capacity(asked.groups.len());
    let mut parts = Vec::with_capacity(asked.groups.len());
    for group in &asked.groups {
        let (topics, unknown) = match &group.topics {
            None => (None, Vec::new()),
            Some(topics) if version < IDS_FROM => (
                Some(topics.iter().map(by_name_in_group).collect()),
                Vec::new(),
            ),
            Some(topics) => {
                let (known, unknown) = by_id(&request, topics);
                (Some(known), unknown)
            }
        };
        let id = &group.group_id;
        answers.push(Groups::call(shared, id, command(id, topics)));
        parts.push(Part::new(group, unknown));
    }
    let shared = shared.clone();
    groups::respond_all(request.respond(), answers, move |replies, w, version| {
        // The ids of today, not of the commit: what is gone by now is not told (E108).
        let catalog = (version >= IDS_FROM).then(|| shared.topics.read());
        let groups = parts.iter().zip(&replies).map(|(part, reply)| {
            let Some(Reply::OffsetFetch(Ok(topics))) = reply else {
                return OffsetFetchResponseGroup {
                    group_id: Cow::Borrowed(&*part.group),
                    error_code: code_of(reply.as_ref()).code(),
                    ..Default::default()
                };
            };
            let known = topics.iter().filter_map(|topic| {
                let id = match &catalog {
                    Some(catalog) if part.wants_all => catalog.by_name(&topic.topic)?.id,
                    _ => Uuid(topic.topic_id),
                };
                Some(topic_of_group(topic, id))
            });
            OffsetFetchResponseGroup {
                group_id: Cow::Borrowed(&*part.group),
                topics: known
                    .chain(part.unknown.iter().map(unknown_topic))
                    .collect(),
                error_code: 0,
            }
        });
        let response = OffsetFetchResponse {
            groups: groups.collect(),
            ..Default::default()
        };
        response.encode(w, version);
    })
}

/// What is kept of one group of the request until its answer is here.
struct Part {
    group: Box<str>,
    wants_all: bool,
    unknown: Vec<(Uuid, Vec<i32>)>,
}

impl Part {
    fn new(group: &OffsetFetchRequestGroup<'_>, unknown: Vec<(Uuid, Vec<i32>)>) -> Part {
        Part {
            group: (&*group.group_id).into(),
            wants_all: group.topics.is_none(),
            unknown,
        }
    }
}

fn command(group: &str, topics: Option<Vec<TopicPartitions>>) -> Command {
    let group = group.into();
    Command::OffsetFetch(OffsetFetch { group, topics })
}

fn by_name(topic: &OffsetFetchRequestTopic<'_>) -> TopicPartitions {
    TopicPartitions {
        topic: (&*topic.name).into(),
        topic_id: NO_TOPIC_ID,
        partitions: topic.partition_indexes.clone(),
    }
}

fn by_name_in_group(topic: &OffsetFetchRequestTopics<'_>) -> TopicPartitions {
    TopicPartitions {
        topic: (&*topic.name).into(),
        topic_id: NO_TOPIC_ID,
        partitions: topic.partition_indexes.clone(),
    }
}

/// Topics by their ids, and apart from them ids that no topic has.
fn by_id(
    request: &Request<'_>,
    topics: &[OffsetFetchRequestTopics<'_>],
) -> (Vec<TopicPartitions>, Vec<(Uuid, Vec<i32>)>) {
    let catalog = request.shared.topics.read();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for topic in topics {
        let partitions = topic.partition_indexes.clone();
        match catalog.by_id(topic.topic_id) {
            Some(found) => known.push(TopicPartitions {
                topic: found.name.clone(),
                topic_id: found.id.0,
                partitions,
            }),
            None => unknown.push((topic.topic_id, partitions)),
        }
    }
    (known, unknown)
}

fn code_of(reply: Option<&Reply>) -> ErrorCode {
    match reply {
        Some(Reply::OffsetFetch(Err(code))) => *code,
        Some(Reply::OffsetFetch(Ok(_))) => ErrorCode::None,
        _ => ErrorCode::NotCoordinator,
    }
}

fn encode_one(reply: Option<Reply>, w: &mut rustka_wire::codec::Writer, version: i16) {
    let topics = match &reply {
        Some(Reply::OffsetFetch(Ok(topics))) => topics.as_slice(),
        _ => &[],
    };
    let topics = topics.iter().map(|topic| OffsetFetchResponseTopic {
        name: Cow::Borrowed(&*topic.topic),
        partitions: topic.partitions.iter().map(partition).collect(),
    });
    let response = OffsetFetchResponse {
        topics: topics.collect(),
        error_code: code_of(reply.as_ref()).code(),
        ..Default::default()
    };
    response.encode(w, version);
}

fn partition(fetched: &FetchedPartition) -> OffsetFetchResponsePartition<'_> {
    OffsetFetchResponsePartition {
        partition_index: fetched.partition,
        committed_offset: fetched.offset,
        committed_leader_epoch: fetched.leader_epoch,
        metadata: Some(Cow::Borrowed(&*fetched.metadata)),
        error_code: 0,
    }
}

fn topic_of_group(topic: &FetchedTopic, topic_id: Uuid) -> OffsetFetchResponseTopics<'_> {
    let partitions = topic.partitions.iter();
    let partitions = partitions.map(|fetched| OffsetFetchResponsePartitions {
        partition_index: fetched.partition,
        committed_offset: fetched.offset,
        committed_leader_epoch: fetched.leader_epoch,
        metadata: Some(Cow::Borrowed(&*fetched.metadata)),
        error_code: 0,
    });
    OffsetFetchResponseTopics {
        name: Cow::Borrowed(&*topic.topic),
        topic_id,
        partitions: partitions.collect(),
    }
}

fn unknown_topic(topic: &(Uuid, Vec<i32>)) -> OffsetFetchResponseTopics<'_> {
    let (topic_id, partitions) = topic;
    let partitions = partitions.iter().map(|at| OffsetFetchResponsePartitions {
        partition_index: *at,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Cow::Borrowed("")),
        error_code: ErrorCode::UnknownTopicId.code(),
    });
    OffsetFetchResponseTopics {
        topic_id: *topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}
