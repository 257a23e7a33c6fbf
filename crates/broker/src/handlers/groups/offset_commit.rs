//! OffsetCommit (key 8): how far a group has read (E101, E105, E106).
//! v3 throttle time · v5 no retention time · v6 leader epochs · v7 group_instance_id · v8 flexible
//! v9 GROUP_ID_NOT_FOUND, STALE_MEMBER_EPOCH (KIP-848) · v10 topic ids

use super::topic_results::Results;
use crate::api::request::{Handled, Request, Respond};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::groups::Answer;
use crate::handlers::answer;
use crate::node::topics::TopicRef;
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{Command, CommitPartition, CommitTopic, OffsetCommit};
use rustka_core::group::effects::{Reply, TopicResults};
use rustka_wire::codec::{Uuid, Writer};
use rustka_wire::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestTopic};
use rustka_wire::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use std::borrow::Cow;

/// Topic ids instead of names from this version on.
const IDS_FROM: i16 = 10;

/// Commits what exists. What does not is answered first, as in Kafka.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: OffsetCommitRequest<'_> = request.decode()?;
    let respond = request.respond();
    if let Err(code) = request.check(Operation::Read, Resource::Group(&asked.group_id)) {
        let all = asked.topics.iter().map(|topic| refused(topic, code));
        return Ok(request.reply(|w| encode(w, respond, &all.collect::<Vec<_>>())));
    }
    let mut unknown = Results::default();
    let mut topics = Vec::with_capacity(asked.topics.len());
    let found: Vec<Option<TopicRef>> = {
        let catalog = request.node.topics.read();
        let find = |topic: &OffsetCommitRequestTopic<'_>| match version {
            IDS_FROM.. => catalog.by_id(topic.topic_id).cloned(),
            _ => catalog.by_name(&topic.name).cloned(),
        };
        asked.topics.iter().map(find).collect()
    };
    for (topic, found) in asked.topics.iter().zip(&found) {
        let found = match check(&request, topic, found.as_ref()) {
            Ok(found) => found,
            Err(code) => {
                unknown.add(refused(topic, code));
                continue;
            }
        };
        let mut known = CommitTopic {
            topic: found.name.clone(),
            topic_id: found.id.0,
            partitions: Vec::with_capacity(topic.partitions.len()),
        };
        let mut missing = Vec::new();
        for partition in &topic.partitions {
            let index = partition.partition_index;
            if found.partition(index).is_none() {
                missing.push((index, ErrorCode::UnknownTopicOrPartition));
                continue;
            }
            known.partitions.push(CommitPartition {
                partition: index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_deref().unwrap_or("").into(),
            });
        }
        if !missing.is_empty() {
            unknown.add(TopicResults {
                topic: found.name.clone(),
                topic_id: found.id.0,
                partitions: missing,
            });
        }
        if !known.partitions.is_empty() {
            topics.push(known);
        }
    }
    if topics.is_empty() {
        return Ok(request.reply(|w| encode(w, respond, &unknown.topics)));
    }
    let commit = OffsetCommit {
        group: (&*asked.group_id).into(),
        member_id: (&*asked.member_id).into(),
        instance_id: asked.group_instance_id.as_deref().map(Into::into),
        generation: asked.generation_id_or_member_epoch,
        retention_ms: Some(asked.retention_time_ms).filter(|retention_ms| *retention_ms >= 0),
        knows_epochs: version >= 9,
        topics,
    };
    match request
        .parts
        .groups
        .call(&asked.group_id, Command::OffsetCommit(commit))
    {
        Answer::Now(Reply::OffsetCommit(results)) => {
            Ok(request.reply(|w| encode(w, respond, &unknown.and(results))))
        }
        answer => {
            // Only who has to wait keeps a copy of what was asked.
            let asked = asked.into_owned();
            answer::respond(respond.clone(), answer, move |reply, w, _| {
                let results = match reply {
                    Some(Reply::OffsetCommit(results)) => unknown.and(results),
                    _ => {
                        let not_here = not_coordinated(&asked, &unknown, version);
                        unknown.and(not_here)
                    }
                };
                encode(w, respond, &results);
            })
        }
    }
}

/// The topic that a request names, if it is there and the client may read it.
fn check<'t>(
    request: &Request<'_>,
    topic: &OffsetCommitRequestTopic<'_>,
    found: Option<&'t TopicRef>,
) -> Result<&'t TopicRef, ErrorCode> {
    if request.header.version >= IDS_FROM {
        let found = found.ok_or(ErrorCode::UnknownTopicId)?;
        request.check(Operation::Read, Resource::Topic(&found.name))?;
        return Ok(found);
    }
    request.check(Operation::Read, Resource::Topic(&topic.name))?;
    found.ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// What nobody here can commit: all but what is unknown.
fn not_coordinated(
    asked: &OffsetCommitRequest<'_>,
    unknown: &Results,
    version: i16,
) -> Vec<TopicResults> {
    let topics = asked.topics.iter().map(|topic| {
        let is_same = |other: &&TopicResults| match version {
            IDS_FROM.. => other.topic_id == topic.topic_id.0,
            _ => *other.topic == *topic.name,
        };
        let unknown = unknown.topics.iter().find(is_same);
        let is_unknown =
            |at: i32| unknown.is_some_and(|it| it.partitions.iter().any(|p| p.0 == at));
        let mut here = refused(topic, ErrorCode::NotCoordinator);
        if let Some(unknown) = unknown {
            (here.topic, here.topic_id) = (unknown.topic.clone(), unknown.topic_id);
        }
        here.partitions.retain(|(at, _)| !is_unknown(*at));
        here
    });
    topics
        .filter(|topic| !topic.partitions.is_empty())
        .collect()
}

fn refused(topic: &OffsetCommitRequestTopic<'_>, code: ErrorCode) -> TopicResults {
    let partitions = topic.partitions.iter();
    TopicResults {
        topic: (&*topic.name).into(),
        topic_id: topic.topic_id.0,
        partitions: partitions.map(|at| (at.partition_index, code)).collect(),
    }
}

fn encode(w: &mut Writer, respond: Respond, results: &[TopicResults]) {
    let topics = results.iter().map(|topic| OffsetCommitResponseTopic {
        name: Cow::Borrowed(&*topic.topic),
        topic_id: Uuid(topic.topic_id),
        partitions: topic
            .partitions
            .iter()
            .map(|(index, code)| OffsetCommitResponsePartition {
                partition_index: *index,
                error_code: code.code(),
            })
            .collect(),
    });
    let response = OffsetCommitResponse {
        topics: topics.collect(),
        throttle_time_ms: respond.throttle_time_ms(),
    };
    response.encode(w, respond.version());
}
