//! DescribeTransactions (key 65): where transactional ids stand (KIP-664, E132).

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::transactions::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::transaction::command::{Command, Reply};
use rustka_core::transaction::record::{Phase, Places, Transaction};
use rustka_wire::describe_transactions_request::DescribeTransactionsRequest;
use rustka_wire::describe_transactions_response::{
    DescribeTransactionsResponse, TopicData, TransactionState,
};
use std::borrow::Cow;

/// Answers from the machine of each id; of the partitions only those that the client may see.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: DescribeTransactionsRequest<'_> = request.decode()?;
    let ids: Vec<String> = asked
        .transactional_ids
        .iter()
        .map(|id| id.to_string())
        .collect();
    let answers = ids.iter().map(|id| {
        let refused = |code| Answer::Now(Reply::Described(Err(code)));
        match request.check(Operation::Describe, Resource::TransactionalId(id)) {
            Err(code) => refused(code),
            Ok(()) if id.is_empty() => refused(ErrorCode::InvalidRequest),
            Ok(()) => {
                let command = Command::Describe {
                    id: id.as_str().into(),
                };
                request.parts.transactions.call(id, command)
            }
        }
    });
    let answers: Vec<Answer> = answers.collect();
    let (respond, access) = (request.respond(), request.access());
    answer::respond_all(respond.clone(), answers, move |replies, w, version| {
        let states = ids.iter().zip(&replies).map(|(id, reply)| {
            let failed = |code: ErrorCode| TransactionState {
                error_code: code.code(),
                transactional_id: Cow::Borrowed(id),
                ..Default::default()
            };
            match reply {
                Some(Reply::Described(Ok(Some(known)))) => {
                    let sees =
                        |topic: &str| access.may(Operation::Describe, Resource::Topic(topic));
                    described(id, known, sees)
                }
                Some(Reply::Described(Ok(None))) => failed(ErrorCode::TransactionalIdNotFound),
                Some(Reply::Described(Err(code))) => failed(*code),
                _ => failed(ErrorCode::NotCoordinator),
            }
        });
        let response = DescribeTransactionsResponse {
            transaction_states: states.collect(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}

fn described<'a>(
    id: &'a str,
    known: &'a Transaction,
    sees: impl Fn(&str) -> bool,
) -> TransactionState<'a> {
    // What is decided already is shown as it was, what is over as nothing.
    let places = match known.phase {
        Phase::CompleteCommit | Phase::CompleteAbort => None,
        _ => known.places.as_ref(),
    };
    let topics = places.into_iter().flat_map(Places::by_topic);
    let topics = topics.filter(|(topic, _)| sees(topic));
    let topics = topics.map(|(topic, partitions)| TopicData {
        topic: Cow::Borrowed(topic),
        partitions: partitions.collect(),
    });
    TransactionState {
        error_code: 0,
        transactional_id: Cow::Borrowed(id),
        transaction_state: Cow::Borrowed(known.phase.name()),
        transaction_timeout_ms: known.timeout_ms,
        transaction_start_time_ms: known.started_ms,
        producer_id: known.producer.id,
        producer_epoch: known.producer.epoch,
        topics: topics.collect(),
    }
}
