//! InitProducerId (key 22): an id for an idempotent producer.
//! v2 flexible · v3 producer id and epoch, to keep an id (KIP-360) · v5 transactions part 2 (KIP-890)

use crate::api::request::{Handled, Request, Respond};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::cluster::ProducerId;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::init_producer_id_response::InitProducerIdResponse;

/// Gives out an id. Transactions are not served yet: asking for one with a transactional id is refused.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: InitProducerIdRequest<'_> = request.decode()?;
    let error = match asked.transactional_id.as_deref() {
        id if !is_allowed(&request, id) => match id {
            Some(_) => ErrorCode::TransactionalIdAuthorizationFailed,
            None => ErrorCode::ClusterAuthorizationFailed,
        },
        Some("") => ErrorCode::InvalidRequest,
        Some(_) => ErrorCode::UnsupportedVersion,
        // Only both or neither name an existing producer.
        None if (asked.producer_id == -1) != (asked.producer_epoch == -1) => {
            ErrorCode::InvalidRequest
        }
        None => ErrorCode::None,
    };
    let respond = request.respond();
    if error != ErrorCode::None {
        return Ok(request.reply(|w| response(Err(error), &respond).encode(w, version)));
    }
    let cluster = request.parts.cluster.clone();
    match cluster.producer_id() {
        ProducerId::Here(id) => {
            Ok(request.reply(|w| response(Ok(id), &respond).encode(w, version)))
        }
        ProducerId::Asked(answer) => {
            answer::respond(respond.clone(), answer, move |reply, w, version| {
                response(cluster.producer_id_of(reply), &respond).encode(w, version);
            })
        }
    }
}

fn response(id: Result<i64, ErrorCode>, respond: &Respond) -> InitProducerIdResponse {
    let (error, producer_id, producer_epoch) = match id {
        Ok(id) => (ErrorCode::None, id, 0),
        Err(code) => (code, -1, -1),
    };
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id,
        producer_epoch,
        throttle_time_ms: respond.throttle_time_ms(),
        ..Default::default()
    }
}

/// Whoever may write to any topic may do so idempotently.
fn is_allowed(request: &Request<'_>, transactional_id: Option<&str>) -> bool {
    match transactional_id {
        Some(id) => request.may(Operation::Write, Resource::TransactionalId(id)),
        None => {
            request.may(Operation::IdempotentWrite, Resource::Cluster)
                || request.may_for_some_topic(Operation::Write)
        }
    }
}
