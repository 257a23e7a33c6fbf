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
use std::collections::{BTreeMap, BTreeSet};

/// PRODUCER_FENCED is known from this version on.
const FENCED_FROM: i16 = 2;
/// Many transactions in one request from this version on.
const MANY_FROM: i16 = 4;
/// An id that is named more often than this adds nothing: each time would be answered with as many partitions as the
/// longest has, and nobody names one twice.
const TIMES_MAX: usize = 8;

/// Topics with their partitions.
type Topics = Vec<(Box<str>, Vec<i32>)>;

/// One transaction of the request.
struct Part {
    id: Box<str>,
    /// Those that are answered with one code for all.
    named: Topics,
    /// Those that were looked at, each once.
    topics: Topics,
    wrong: Option<Wrong>,
}

/// Why nothing is added at all.
enum Wrong {
    /// The request itself is out of the question.
    All(ErrorCode),
    /// A partition is; what is told of each that was looked at, in their order.
    Each(Vec<ErrorCode>),
}

/// The topics of an id that is named several times: the last ones are added, and where all are answered alike it is by
/// the names of the first, as in Kafka.
#[derive(Clone, Copy)]
struct Asked<'a> {
    first: &'a [AddPartitionsToTxnTopic<'a>],
    last: &'a [AddPartitionsToTxnTopic<'a>],
    /// How often it is named.
    times: usize,
}

impl<'a> Asked<'a> {
    fn once(topics: &'a [AddPartitionsToTxnTopic<'a>]) -> Asked<'a> {
        Asked {
            first: topics,
            last: topics,
            times: 1,
        }
    }
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
        let topics = Asked::once(&asked.v3_and_below_topics);
        let (part, answer) = ask(&request, speaker(id, pid, epoch), topics, false);
        parts.push(part);
        answers.push(answer);
    } else {
        let mut named: BTreeMap<&str, Asked<'_>> = BTreeMap::new();
        for one in &asked.transactions {
            let known = named.entry(&one.transactional_id);
            known
                .and_modify(|known| (known.last, known.times) = (&one.topics, known.times + 1))
                .or_insert(Asked::once(&one.topics));
        }
        for one in &asked.transactions {
            let speaker = speaker(&one.transactional_id, one.producer_id, one.producer_epoch);
            let topics = named.get(&*one.transactional_id);
            let topics = topics.filter(|topics| topics.times <= TIMES_MAX);
            let topics = topics.copied().unwrap_or(Asked {
                times: usize::MAX,
                ..Asked::once(&one.topics)
            });
            let (part, answer) = ask(&request, speaker, topics, one.verify_only);
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
    asked: Asked<'_>,
    verify_only: bool,
) -> (Part, Answer) {
    let id = speaker.id.clone();
    let topics = each_once(asked.last);
    let wrong = match asked.times {
        ..=TIMES_MAX => check(request, &id, &topics),
        _ => Some(Wrong::All(ErrorCode::InvalidRequest)),
    };
    let named = asked.first.iter().map(|topic| {
        let name: Box<str> = (&*topic.name).into();
        (name, topic.partitions.clone())
    });
    let part = Part {
        id: (&*id).into(),
        named: named.collect(),
        topics,
        wrong,
    };
    if part.wrong.is_some() {
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

/// Every partition once, in the order in which the topics are named first.
fn each_once(topics: &[AddPartitionsToTxnTopic<'_>]) -> Topics {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut out = Topics::new();
    for topic in topics {
        let at = *places.entry(&topic.name).or_insert_with(|| {
            out.push(((&*topic.name).into(), Vec::new()));
            out.len() - 1
        });
        let partitions = topic.partitions.iter().copied();
        let new = partitions.filter(|index| seen.insert((at, *index)));
        if let Some((_, known)) = out.get_mut(at) {
            known.extend(new);
        }
    }
    out
}

fn check(request: &Request<'_>, id: &str, topics: &Topics) -> Option<Wrong> {
    let each = || {
        topics.iter().flat_map(|(topic, partitions)| {
            let partitions = partitions.iter();
            partitions.map(move |at| (&**topic, *at))
        })
    };
    // A broker that asks for others has checked what they may do.
    let is_broker = request.header.version >= MANY_FROM;
    if !is_broker && let Err(code) = request.check(Operation::Write, Resource::TransactionalId(id))
    {
        return Some(Wrong::All(code));
    }
    if id.is_empty() {
        return Some(Wrong::All(ErrorCode::InvalidRequest));
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
        return None;
    }
    let not_tried = |code| match code {
        ErrorCode::None => ErrorCode::OperationNotAttempted,
        wrong => wrong,
    };
    Some(Wrong::Each(codes.into_iter().map(not_tried).collect()))
}

impl Part {
    fn results(
        &self,
        reply: Option<&Reply>,
        version: i16,
    ) -> Vec<AddPartitionsToTxnTopicResult<'static>> {
        let mut place = 0;
        let are_told_apart = matches!(self.wrong, Some(Wrong::Each(_)))
            || matches!(reply, Some(Reply::Verified(Ok(_))));
        let topics = match are_told_apart {
            true => &self.topics,
            false => &self.named,
        };
        let topics = topics.iter().map(|(topic, partitions)| {
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
        match &self.wrong {
            Some(Wrong::All(code)) => return *code,
            Some(Wrong::Each(codes)) => {
                return codes.get(place).copied().unwrap_or(ErrorCode::None);
            }
            None => {}
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
