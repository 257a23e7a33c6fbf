//! EndTxn (key 26): commits or aborts a transaction (E127, E128).
//! v2 PRODUCER_FENCED · v3 flexible · v5 raises the epoch and tells it (KIP-890)

use super::{fenced, init_producer_id::with_id, speaker};
use crate::api::request::{Handled, Request, Respond};
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::ErrorCode;
use rustka_core::transaction::command::{Command, End, Producer};
use rustka_wire::codec::Writer;
use rustka_wire::end_txn_request::EndTxnRequest;
use rustka_wire::end_txn_response::EndTxnResponse;

/// PRODUCER_FENCED is known from this version on.
const FENCED_FROM: i16 = 2;
/// The epoch is raised from this version on.
const RAISES_FROM: i16 = 5;

/// Answers once the end is decided for good.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: EndTxnRequest<'_> = request.decode()?;
    let id = &*asked.transactional_id;
    let refused = match request.check(Operation::Write, Resource::TransactionalId(id)) {
        Ok(()) if id.is_empty() => Some(ErrorCode::InvalidRequest),
        Ok(()) => None,
        Err(code) => Some(code),
    };
    if let Some(code) = refused {
        return Ok(request.reply(|w| encode(Err(code), &request.respond(), w, version)));
    }
    let end = End {
        speaker: speaker(id, asked.producer_id, asked.producer_epoch),
        commit: asked.committed,
        raises_epoch: version >= RAISES_FROM,
        new_id: None,
    };
    let again = move |new_id| {
        Command::End(End {
            new_id,
            ..end.clone()
        })
    };
    with_id(&request, id.into(), again, encode)
}

fn encode(result: Result<Producer, ErrorCode>, respond: &Respond, w: &mut Writer, version: i16) {
    let mut response = EndTxnResponse {
        throttle_time_ms: respond.throttle_time_ms(),
        ..Default::default()
    };
    match result {
        Ok(producer) => {
            response.producer_id = producer.id;
            response.producer_epoch = producer.epoch;
        }
        Err(code) => response.error_code = fenced(code, version >= FENCED_FROM).code(),
    }
    response.encode(w, version);
}
