//! AddPartitionsToTxn (key 24): a transaction is about to write to partitions (E126).
//! v2 PRODUCER_FENCED · v3 flexible · v4 many transactions, for brokers (KIP-890)

use super::{fenced, speaker};
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::transactions::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::names::is_internal;
use rustka_core::transaction::command::{Add, Command, Place, Reply, Speaker};
use rustka_wire::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use rustka_wire::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
};
use std::borrow::Cow;

/// PRODUCER_FENCED is known from this version on.
const FENCED_FROM: i16 = 2;
/// Many transactions in one request from this version on.
const MANY_FROM: i16 = 4;

/// One transaction of the request.
struct Part {
    id: Box<str>,
    topics: Vec<(Box<str>, Vec<i32>)>,
    /// What is wrong with each partition, in their order, if anything is.
    wrong: Option<Vec<ErrorCode>>,
}

/// Adds partitions to one transaction, or from v4 on to many.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: AddPartitionsToTxnRequest<'_> = request.decode()?;
    let respond = request.respond();
    if version >= MANY_FROM
        && let Err(code) = request.check(Operation::ClusterAction, Resource::Cluster)
    {
        let response = AddPartitionsToTxnResponse {
            error_code: code.code(),
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        return Ok(request.reply(|w| response.encode(w, version)));
    }
    let (mut parts, mut answers) = (Vec::new(), Vec::new());
    if version < MANY_FROM {
        let id = &*asked.v3_and_below_transactional_id;
        let (pid, epoch) = (
            asked.v3_and_below_producer_id,
            asked.v3_and_below_producer_epoch,
        );
        let (part, answer) = ask(
            &request,
            speaker(id, pid, epoch),
            &asked.v3_and_below_topics,
            false,
        );
        parts.push(part);
        answers.push(answer);
    } else {
        for one in &asked.transactions {
            let speaker = speaker(&one.transactional_id, one.producer_id, one.producer_epoch);
            let (part, answer) = ask(&request, speaker, &one.topics, one.verify_only);
            parts.push(part);
            answers.push(answer);
        }
    }
    answer::respond_all(respond.clone(), answers, move |replies, w, version| {
        let parts = parts.iter().zip(replies);
        let results = parts.map(|(part, reply)| AddPartitionsToTxnResult {
            transactional_id: Cow::Borrowed(&part.id),
            topic_results: part.results(reply.as_ref(), version),
        });
        let mut results: Vec<_> = results.collect();
        let mut response = AddPartitionsToTxnResponse {
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        match version {
            ..MANY_FROM => {
                let only = results.pop().map(|only| only.topic_results);
                response.results_by_topic_v3_and_below = only.unwrap_or_default();
            }
            _ => response.results_by_transaction = results,
        }
        response.encode(w, version);
    })
}

/// Asks the coordinator, unless one of the partitions is out of the question: then nothing is added at all.
fn ask(
    request: &Request<'_>,
    speaker: Speaker,
    topics: &[AddPartitionsToTxnTopic<'_>],
    verify_only: bool,
) -> (Part, Answer) {
    let id = speaker.id.clone();
    let codes = check(request, &id, topics);
    let is_wrong = codes.iter().any(|code| *code != ErrorCode::None);
    let named = topics.iter().map(|topic| {
        let name: Box<str> = (&*topic.name).into();
        (name, topic.partitions.clone())
    });
    let part = Part {
        id: (&*id).into(),
        topics: named.collect(),
        wrong: is_wrong.then_some(codes),
    };
    if is_wrong {
        return (part, Answer::Now(Reply::Added(Ok(()))));
    }
    let places = part.topics.iter().flat_map(|(topic, partitions)| {
        // One name for all transactions, as long as there is such a topic.
        let found = request.node.topics.by_name(topic);
        let topic = found.map_or_else(|| (&**topic).into(), |found| found.name.clone());
        partitions.iter().map(move |at| (topic.clone(), *at))
    });
    let places: Vec<Place> = places.collect();
    let command = match verify_only {
        true => Command::Verify { speaker, places },
        false => Command::Add(Add {
            speaker,
            places,
            raises_epoch: request.header.version >= MANY_FROM,
        }),
    };
    (part, request.parts.transactions.call(&id, command))
}

fn check(
    request: &Request<'_>,
    id: &str,
    topics: &[AddPartitionsToTxnTopic<'_>],
) -> Vec<ErrorCode> {
    let each = || {
        topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(move |at| (&*topic.name, *at))
        })
    };
    // A broker that asks for others has checked what they may do.
    let is_broker = request.header.version >= MANY_FROM;
    if !is_broker && let Err(code) = request.check(Operation::Write, Resource::TransactionalId(id))
    {
        return each().map(|_| code).collect();
    }
    if id.is_empty() {
        return each().map(|_| ErrorCode::InvalidRequest).collect();
    }
    let codes = each().map(|(topic, at)| {
        let may = is_broker || request.may(Operation::Write, Resource::Topic(topic));
        match request.node.partition(topic, at) {
            _ if is_internal(topic) || !may => ErrorCode::TopicAuthorizationFailed,
            None => ErrorCode::UnknownTopicOrPartition,
            Some(_) => ErrorCode::None,
        }
    });
    let codes: Vec<ErrorCode> = codes.collect();
    if codes.iter().all(|code| *code == ErrorCode::None) {
        return codes;
    }
    let not_tried = |code| match code {
        ErrorCode::None => ErrorCode::OperationNotAttempted,
        wrong => wrong,
    };
    codes.into_iter().map(not_tried).collect()
}

impl Part {
    fn results(
        &self,
        reply: Option<&Reply>,
        version: i16,
    ) -> Vec<AddPartitionsToTxnTopicResult<'static>> {
        let mut place = 0;
        let topics = self.topics.iter().map(|(topic, partitions)| {
            let results = partitions.iter().map(|at| {
                let code = self.code(place, reply);
                place += 1;
                AddPartitionsToTxnPartitionResult {
                    partition_index: *at,
                    partition_error_code: fenced(code, version >= FENCED_FROM).code(),
                }
            });
            AddPartitionsToTxnTopicResult {
                name: Cow::Owned(topic.to_string()),
                results_by_partition: results.collect(),
            }
        });
        topics.collect()
    }

    fn code(&self, place: usize, reply: Option<&Reply>) -> ErrorCode {
        if let Some(wrong) = &self.wrong {
            return wrong.get(place).copied().unwrap_or(ErrorCode::None);
        }
        match reply {
            Some(Reply::Added(Ok(()))) => ErrorCode::None,
            Some(Reply::Added(Err(code)) | Reply::Verified(Err(code))) => *code,
            Some(Reply::Verified(Ok(each))) if each.get(place) == Some(&true) => ErrorCode::None,
            Some(Reply::Verified(Ok(_))) => ErrorCode::TransactionAbortable,
            _ => ErrorCode::NotCoordinator,
        }
    }
}
