//! InitProducerId (key 22): an id for an idempotent producer.
//! v2 flexible · v3 producer id and epoch, to keep an id (KIP-360) · v5 transactions part 2 (KIP-890)

use crate::api::request::{Outcome, Request};
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::ErrorCode;
use rustka_wire::codec::Reader;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::init_producer_id_response::InitProducerIdResponse;

/// Gives out an id. Transactions are not served yet: asking for one with a transactional id is refused.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked = match InitProducerIdRequest::decode(&mut Reader::new(request.body()), version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
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
    let mut response = InitProducerIdResponse {
        error_code: error.code(),
        throttle_time_ms: request.throttle_time_ms(),
        ..Default::default()
    };
    if error == ErrorCode::None {
        (response.producer_id, response.producer_epoch) = (request.node.producer_ids.next(), 0);
    } else {
        (response.producer_id, response.producer_epoch) = (-1, -1);
    }
    request.reply(|w| response.encode(w, version))
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
