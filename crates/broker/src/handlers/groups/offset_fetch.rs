//! OffsetFetch (key 9): what groups have committed (E107, E108).
//! v2 everything · v3 throttle time · v5 leader epochs · v6 flexible · v7 require_stable (KIP-447)
//! v8 many groups (KIP-709) · v9 member ids (KIP-848) · v10 topic ids

use crate::api::access::Access;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::groups::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{Command, NO_TOPIC_ID, Name, OffsetFetch, TopicPartitions};
use rustka_core::group::effects::{FetchedPartition, FetchedTopic, Reply};
use rustka_wire::codec::Uuid;
use rustka_wire::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
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

/// Errors of a whole group have a field of their own from this version on.
const GROUP_ERRORS_FROM: i16 = 2;

/// Answers for one group, or from v8 on for many.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: OffsetFetchRequest<'_> = request.decode()?;
    match version < GROUPS_FROM {
        true => one(&request, &asked),
        false => many(&request, &asked),
    }
}

/// Who asks, by member id and epoch.
type Member = (Option<Name>, i32);

/// What is kept of one group of the request until its answer is here.
struct Part {
    group: Box<str>,
    wants_all: bool,
    refused: Vec<RefusedGroup>,
}

/// A topic that the group's coordinator is not asked for.
struct RefusedGroup {
    topic: TopicPartitions,
    code: ErrorCode,
}

impl Part {
    /// Asks the coordinator for what there is and the client may know; `topics` are all that were committed if none.
    fn ask(
        request: &Request<'_>,
        group: &str,
        topics: Option<Vec<TopicPartitions>>,
        mut refused: Vec<RefusedGroup>,
        (member, require_stable): (Member, bool),
    ) -> (Part, Answer) {
        let wants_all = topics.is_none();
        let answer = match request.check(Operation::Describe, Resource::Group(group)) {
            Ok(()) => {
                let topics = topics.map(|topics| allowed(request, topics, &mut refused));
                let group_name = group.into();
                let command = Command::OffsetFetch(OffsetFetch {
                    group: group_name,
                    topics,
                    member,
                    require_stable,
                });
                request.parts.groups.call(group, command)
            }
            Err(code) => Answer::Now(Reply::OffsetFetch(Err(code))),
        };
        let group = group.into();
        let part = Part {
            group,
            wants_all,
            refused,
        };
        (part, answer)
    }

    /// Of everything that was committed, what the client may know.
    fn shows(&self, topic: &FetchedTopic, access: &Access) -> bool {
        let name = Resource::Topic(&topic.topic);
        !self.wants_all || access.may(Operation::Describe, name)
    }
}

fn allowed(
    request: &Request<'_>,
    topics: Vec<TopicPartitions>,
    refused: &mut Vec<RefusedGroup>,
) -> Vec<TopicPartitions> {
    let (allowed, denied): (Vec<_>, Vec<_>) = topics
        .into_iter()
        .partition(|topic| request.may(Operation::Describe, Resource::Topic(&topic.topic)));
    let code = ErrorCode::TopicAuthorizationFailed;
    refused.extend(denied.into_iter().map(|topic| RefusedGroup { topic, code }));
    allowed
}

fn one(request: &Request<'_>, asked: &OffsetFetchRequest<'_>) -> Handled {
    let named = |topic: &OffsetFetchRequestTopic<'_>| TopicPartitions {
        topic: (&*topic.name).into(),
        topic_id: NO_TOPIC_ID,
        partitions: topic.partition_indexes.clone(),
    };
    let topics = asked.topics.as_ref();
    let topics: Option<Vec<_>> = topics.map(|topics| topics.iter().map(named).collect());
    let each = match request.header.version {
        ..GROUP_ERRORS_FROM => topics.clone().unwrap_or_default(),
        _ => Vec::new(),
    };
    let (part, answer) = Part::ask(
        request,
        &asked.group_id,
        topics,
        Vec::new(),
        ((None, -1), asked.require_stable),
    );
    let (respond, access) = (request.respond(), request.access());
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let code = code_of(reply.as_ref());
        let in_each = each.into_iter().map(|topic| RefusedGroup { topic, code });
        let in_each: Vec<RefusedGroup> = in_each.collect();
        let (known, refused) = match &reply {
            Some(Reply::OffsetFetch(Ok(topics))) => (topics.as_slice(), &part.refused),
            _ => (Default::default(), &in_each),
        };
        let shown = known.iter().filter(|topic| part.shows(topic, &access));
        let shown = shown.map(|topic| OffsetFetchResponseTopic {
            name: Cow::Borrowed(&*topic.topic),
            partitions: topic.partitions.iter().map(partition).collect(),
        });
        let refused = refused.iter().map(|refused| OffsetFetchResponseTopic {
            name: Cow::Borrowed(&*refused.topic.topic),
            partitions: refused.partitions(),
        });
        let response = OffsetFetchResponse {
            topics: shown.chain(refused).collect(),
            error_code: code.code(),
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        response.encode(w, version);
    })
}

fn many(request: &Request<'_>, asked: &OffsetFetchRequest<'_>) -> Handled {
    let version = request.header.version;
    let mut answers = Vec::with_capacity(asked.groups.len());
    let mut parts = Vec::with_capacity(asked.groups.len());
    for group in &asked.groups {
        let (topics, unknown) = match &group.topics {
            None => (None, Vec::new()),
            Some(topics) if version < IDS_FROM => {
                let named = |topic: &OffsetFetchRequestTopics<'_>| TopicPartitions {
                    topic: (&*topic.name).into(),
                    topic_id: NO_TOPIC_ID,
                    partitions: topic.partition_indexes.clone(),
                };
                (Some(topics.iter().map(named).collect()), Vec::new())
            }
            Some(topics) => {
                let (known, unknown) = by_id(request, topics);
                (Some(known), unknown)
            }
        };
        let member = (
            group.member_id.as_deref().map(Into::into),
            group.member_epoch,
        );
        let (part, answer) = Part::ask(
            request,
            &group.group_id,
            topics,
            unknown,
            (member, asked.require_stable),
        );
        answers.push(answer);
        parts.push(part);
    }
    let (node, respond, access) = (request.node.clone(), request.respond(), request.access());
    answer::respond_all(respond.clone(), answers, move |replies, w, version| {
        // The ids of today, not of the commit: what is gone by now is not told (E108).
        let id_of = |part: &Part, topic: &FetchedTopic| match part.wants_all {
            true if version >= IDS_FROM => Some(node.topics.by_name(&topic.topic)?.id),
            _ => Some(Uuid(topic.topic_id)),
        };
        let groups = parts.iter().zip(&replies).map(|(part, reply)| {
            let Some(Reply::OffsetFetch(Ok(topics))) = reply else {
                return OffsetFetchResponseGroup {
                    group_id: Cow::Borrowed(&*part.group),
                    error_code: code_of(reply.as_ref()).code(),
                    ..Default::default()
                };
            };
            let shown = topics.iter().filter(|topic| part.shows(topic, &access));
            let shown = shown.filter_map(|topic| Some(of_group(topic, id_of(part, topic)?)));
            let refused = part.refused.iter().map(refused_of_group);
            OffsetFetchResponseGroup {
                group_id: Cow::Borrowed(&*part.group),
                topics: shown.chain(refused).collect(),
                error_code: 0,
            }
        });
        let response = OffsetFetchResponse {
            groups: groups.collect(),
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        response.encode(w, version);
    })
}

/// Topics by their ids, and apart from them ids that no topic has.
fn by_id(
    request: &Request<'_>,
    topics: &[OffsetFetchRequestTopics<'_>],
) -> (Vec<TopicPartitions>, Vec<RefusedGroup>) {
    let catalog = request.node.topics.read();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for topic in topics {
        let partitions = topic.partition_indexes.clone();
        match catalog.by_id(topic.topic_id) {
            Some(found) => known.push(TopicPartitions {
                topic: found.name.clone(),
                topic_id: found.id.0,
                partitions,
            }),
            None => unknown.push(RefusedGroup {
                topic: TopicPartitions {
                    topic: "".into(),
                    topic_id: topic.topic_id.0,
                    partitions,
                },
                code: ErrorCode::UnknownTopicId,
            }),
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

impl RefusedGroup {
    fn partitions(&self) -> Vec<OffsetFetchResponsePartition<'static>> {
        let partitions = self.topic.partitions.iter();
        let refused = partitions.map(|index| OffsetFetchResponsePartition {
            partition_index: *index,
            committed_offset: -1,
            committed_leader_epoch: -1,
            metadata: Some(Cow::Borrowed("")),
            error_code: self.code.code(),
        });
        refused.collect()
    }
}

fn partition(fetched: &FetchedPartition) -> OffsetFetchResponsePartition<'_> {
    OffsetFetchResponsePartition {
        partition_index: fetched.partition,
        committed_offset: fetched.offset,
        committed_leader_epoch: fetched.leader_epoch,
        metadata: Some(Cow::Borrowed(&*fetched.metadata)),
        error_code: fetched.code.code(),
    }
}

fn of_group(topic: &FetchedTopic, topic_id: Uuid) -> OffsetFetchResponseTopics<'_> {
    let partitions = topic.partitions.iter();
    let partitions = partitions.map(|fetched| OffsetFetchResponsePartitions {
        partition_index: fetched.partition,
        committed_offset: fetched.offset,
        committed_leader_epoch: fetched.leader_epoch,
        metadata: Some(Cow::Borrowed(&*fetched.metadata)),
        error_code: fetched.code.code(),
    });
    OffsetFetchResponseTopics {
        name: Cow::Borrowed(&*topic.topic),
        topic_id,
        partitions: partitions.collect(),
    }
}

fn refused_of_group(refused: &RefusedGroup) -> OffsetFetchResponseTopics<'_> {
    let TopicPartitions {
        topic,
        topic_id,
        partitions,
    } = &refused.topic;
    let partitions = partitions
        .iter()
        .map(|index| OffsetFetchResponsePartitions {
            partition_index: *index,
            committed_offset: -1,
            committed_leader_epoch: -1,
            metadata: Some(Cow::Borrowed("")),
            error_code: refused.code.code(),
        });
    OffsetFetchResponseTopics {
        name: Cow::Borrowed(&**topic),
        topic_id: Uuid(*topic_id),
        partitions: partitions.collect(),
    }
}
