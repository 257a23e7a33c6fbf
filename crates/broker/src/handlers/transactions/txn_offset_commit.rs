//! TxnOffsetCommit (key 28): how far a group has read, if the transaction is committed (E129).
//! v2 leader epochs · v3 flexible, group members (KIP-447) · v4 TRANSACTION_ABORTABLE · v5 adds its partition by itself
//! (KIP-890) · v6 topic ids

use super::confirm::{Confirming, is_asked_for, question};
use super::speaker;
use crate::api::request::{Handled, Outcome, Request, Respond};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::{groups, transactions};
use crate::node::topics::TopicRef;
use rustka_core::error::ErrorCode;
use rustka_core::group::command as of_groups;
use rustka_core::group::command::{CommitPartition, CommitTopic, OffsetCommit, TransactionCommit};
use rustka_core::group::effects as to_groups;
use rustka_core::names::CONSUMER_OFFSETS;
use rustka_core::transaction::command::Reply;
use rustka_wire::txn_offset_commit_request::{TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic};
use rustka_wire::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// TRANSACTION_ABORTABLE is known from this version on.
const ABORTABLE_FROM: i16 = 4;
/// The partition of `__consumer_offsets` is added without being asked for from this version on.
const ADDS_FROM: i16 = 5;
/// Topic ids instead of names from this version on.
const IDS_FROM: i16 = 6;

/// The request with what is known of its partitions: a code, or nothing yet.
struct Asked {
    request: TxnOffsetCommitRequest<'static>,
    /// By topic and partition of the request.
    codes: BTreeMap<(usize, i32), ErrorCode>,
    respond: Respond,
}

/// Has the transaction confirmed by its coordinator, then hands the offsets to the group's.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: TxnOffsetCommitRequest<'_> = request.decode()?;
    let asked = asked.into_owned();
    let mut asked = Asked {
        request: asked,
        codes: BTreeMap::new(),
        respond: request.respond(),
    };
    let (id, group) = (&*asked.request.transactional_id, &*asked.request.group_id);
    let refused = request
        .check(Operation::Write, Resource::TransactionalId(id))
        .and_then(|()| request.check(Operation::Read, Resource::Group(group)))
        .err();
    if let Some(code) = refused {
        return Ok(asked.answer(Err(code)));
    }
    let topics = asked.known(&request);
    if topics.is_empty() {
        return Ok(asked.answer(Ok(Vec::new())));
    }
    if asked.request.group_id.is_empty() {
        return Ok(asked.answer(Err(ErrorCode::InvalidGroupId)));
    }
    if !groups::is_there(request.node) {
        return Ok(asked.answer(Err(ErrorCode::CoordinatorNotAvailable)));
    }
    let Some((at, partition)) = request.parts.groups.place_of(&asked.request.group_id) else {
        return Ok(asked.answer(Err(ErrorCode::CoordinatorNotAvailable)));
    };
    let wire = &asked.request;
    let producer = (wire.producer_id, wire.producer_epoch);
    // Before its coordinator is asked, as for batches (E66).
    if partition.with_state(|state| state.has_fenced(producer)) == Ok(true) {
        return Ok(asked.answer(Err(ErrorCode::InvalidProducerEpoch)));
    }
    let Ok(confirming) = Confirming::begin(partition, producer.0) else {
        return Ok(asked.answer(Err(ErrorCode::NotCoordinator)));
    };
    let speaker = speaker(&wire.transactional_id, producer.0, producer.1);
    let places = vec![(CONSUMER_OFFSETS.into(), at)];
    let command = question(speaker, places, version >= ADDS_FROM);
    let commit = TransactionCommit {
        producer,
        since: Some(confirming.since()),
        commit: OffsetCommit {
            group: (&*wire.group_id).into(),
            member_id: (&*wire.member_id).into(),
            instance_id: wire.group_instance_id.as_deref().map(Into::into),
            generation: wire.generation_id_or_member_epoch,
            retention_ms: None,
            knows_epochs: false,
            topics,
        },
    };
    let of_groups = request.parts.groups.clone();
    let transactions = &request.parts.transactions;
    let answer = match is_asked_for(request.node, version >= ADDS_FROM) {
        true => transactions.call(&wire.transactional_id, command),
        false => transactions::Answer::Now(Reply::Added(Ok(()))),
    };
    let confirmed = match answer {
        transactions::Answer::Later(waiting) => {
            return Ok(Outcome::Park(Box::pin(async move {
                let result = match confirmed(waiting.await, version) {
                    Ok(()) => committed(commit_in(&of_groups, commit).get().await),
                    Err(code) => Err(code),
                };
                drop(confirming);
                asked.answer(result)
            })));
        }
        transactions::Answer::Now(reply) => confirmed(Some(reply), version),
        transactions::Answer::Never => confirmed(None, version),
    };
    if let Err(code) = confirmed {
        return Ok(asked.answer(Err(code)));
    }
    Ok(match commit_in(&of_groups, commit) {
        groups::Answer::Later(waiting) => Outcome::Park(Box::pin(async move {
            let result = committed(waiting.await);
            drop(confirming);
            asked.answer(result)
        })),
        groups::Answer::Now(reply) => asked.answer(committed(Some(reply))),
        groups::Answer::Never => asked.answer(committed(None)),
    })
}

fn commit_in(groups: &Arc<groups::Groups>, commit: TransactionCommit) -> groups::Answer {
    let group = commit.commit.group.clone();
    groups.call(&group, of_groups::Command::TransactionCommit(commit))
}

/// What a coordinator of transactions has said, in the words of this request.
fn confirmed(reply: Option<Reply>, version: i16) -> Result<(), ErrorCode> {
    let not_added = match version {
        ..ABORTABLE_FROM => ErrorCode::InvalidTxnState,
        _ => ErrorCode::TransactionAbortable,
    };
    let code = match reply {
        Some(Reply::Added(Ok(()))) => return Ok(()),
        Some(Reply::Verified(Ok(each))) if each.iter().all(|is_added| *is_added) => return Ok(()),
        Some(Reply::Verified(Ok(_))) => not_added,
        Some(Reply::Added(Err(code)) | Reply::Verified(Err(code))) => code,
        _ => ErrorCode::NotCoordinator,
    };
    Err(match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        // Clients of older protocols do not wait for the end of a transaction here.
        ErrorCode::ConcurrentTransactions if version < ADDS_FROM => {
            ErrorCode::CoordinatorLoadInProgress
        }
        other => other,
    })
}

fn committed(reply: Option<to_groups::Reply>) -> Result<Vec<to_groups::TopicResults>, ErrorCode> {
    match reply {
        Some(to_groups::Reply::TransactionCommit(results)) => Ok(results),
        _ => Err(ErrorCode::NotCoordinator),
    }
}

impl Asked {
    /// What exists and may be read; the codes of the rest are noted.
    fn known(&mut self, request: &Request<'_>) -> Vec<CommitTopic> {
        let mut topics = Vec::new();
        for (place, topic) in self.request.topics.iter().enumerate() {
            let (found, code) = match find(request, topic) {
                Ok(found) => (Some(found), ErrorCode::UnknownTopicOrPartition),
                Err(code) => (None, code),
            };
            let mut known = Vec::new();
            for at in &topic.partitions {
                let index = at.partition_index;
                let exists = found
                    .as_ref()
                    .is_some_and(|it| it.partition(index).is_some());
                if !exists {
                    self.codes.insert((place, index), code);
                    continue;
                }
                known.push(CommitPartition {
                    partition: index,
                    offset: at.committed_offset,
                    leader_epoch: at.committed_leader_epoch,
                    metadata: at.committed_metadata.as_deref().unwrap_or("").into(),
                });
            }
            if let Some(found) = found.filter(|_| !known.is_empty()) {
                topics.push(CommitTopic {
                    topic: found.name.clone(),
                    topic_id: found.id.0,
                    partitions: known,
                });
            }
        }
        topics
    }

    /// Answers with one result for all that nothing is known of, or with what the group says.
    fn answer(&self, result: Result<Vec<to_groups::TopicResults>, ErrorCode>) -> Outcome {
        let version = self.respond.version();
        let told = |topic: &TxnOffsetCommitRequestTopic<'_>, at: i32| match &result {
            Err(code) => *code,
            Ok(results) => {
                let mut same = results.iter().filter(|of| match version {
                    IDS_FROM.. => of.topic_id == topic.topic_id.0,
                    _ => *of.topic == *topic.name,
                });
                let found = same.find_map(|of| of.partitions.iter().find(|(it, _)| *it == at));
                found.map_or(ErrorCode::None, |(_, code)| *code)
            }
        };
        let topics = self
            .request
            .topics
            .iter()
            .enumerate()
            .map(|(place, topic)| {
                let partitions = topic.partitions.iter().map(|at| {
                    let index = at.partition_index;
                    let known = self.codes.get(&(place, index)).copied();
                    TxnOffsetCommitResponsePartition {
                        partition_index: index,
                        error_code: known.unwrap_or_else(|| told(topic, index)).code(),
                    }
                });
                TxnOffsetCommitResponseTopic {
                    name: Cow::Borrowed(&*topic.name),
                    topic_id: topic.topic_id,
                    partitions: partitions.collect(),
                }
            });
        let response = TxnOffsetCommitResponse {
            topics: topics.collect(),
            throttle_time_ms: self.respond.throttle_time_ms(),
        };
        Outcome::Reply(self.respond.encode(&[], |w| response.encode(w, version)))
    }
}

fn find(
    request: &Request<'_>,
    topic: &TxnOffsetCommitRequestTopic<'_>,
) -> Result<TopicRef, ErrorCode> {
    let topics = request.node.topics.read();
    if request.header.version >= IDS_FROM {
        let found = topics.by_id(topic.topic_id).cloned();
        drop(topics);
        let found = found.ok_or(ErrorCode::UnknownTopicId)?;
        request.check(Operation::Read, Resource::Topic(&found.name))?;
        return Ok(found);
    }
    let found = topics.by_name(&topic.name).cloned();
    drop(topics);
    request.check(Operation::Read, Resource::Topic(&topic.name))?;
    found.ok_or(ErrorCode::UnknownTopicOrPartition)
}
