//! AddOffsetsToTxn (key 25): a transaction is about to commit offsets of a group.
//! v2 PRODUCER_FENCED · v3 flexible · v4 TRANSACTION_ABORTABLE (KIP-890)

use super::{fenced, speaker};
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::transactions::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::names::CONSUMER_OFFSETS;
use rustka_core::transaction::command::{Add, Command, Reply};
use rustka_wire::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use rustka_wire::add_offsets_to_txn_response::AddOffsetsToTxnResponse;

/// PRODUCER_FENCED is known from this version on.
const FENCED_FROM: i16 = 2;

/// Adds the partition of `__consumer_offsets` that the group belongs to.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: AddOffsetsToTxnRequest<'_> = request.decode()?;
    let id = &*asked.transactional_id;
    let respond = request.respond();
    let place = request
        .check(Operation::Write, Resource::TransactionalId(id))
        .and_then(|()| request.check(Operation::Read, Resource::Group(&asked.group_id)))
        .and_then(|()| {
            let at = request.parts.groups.number_of(&asked.group_id);
            at.ok_or(ErrorCode::CoordinatorNotAvailable)
        });
    let answer = match place {
        Ok(at) => {
            let add = Command::Add(Add {
                speaker: speaker(id, asked.producer_id, asked.producer_epoch),
                places: vec![(CONSUMER_OFFSETS.into(), at)],
                raises_epoch: false,
            });
            request.parts.transactions.call(id, add)
        }
        Err(code) => Answer::Now(Reply::Added(Err(code))),
    };
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let code = match reply {
            Some(Reply::Added(Ok(()))) => ErrorCode::None,
            Some(Reply::Added(Err(code))) => fenced(code, version >= FENCED_FROM),
            _ => ErrorCode::NotCoordinator,
        };
        let response = AddOffsetsToTxnResponse {
            error_code: code.code(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}
