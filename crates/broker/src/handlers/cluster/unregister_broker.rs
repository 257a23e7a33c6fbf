//! UnregisterBroker (key 64): taking a broker that is gone out of the cluster (KIP-500). The one that answers is here.

use crate::api::access::denied;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::ErrorCode;
use rustka_wire::unregister_broker_request::UnregisterBrokerRequest;
use rustka_wire::unregister_broker_response::UnregisterBrokerResponse;
use std::borrow::Cow;

/// Refuses: other brokers are not registered, and this one is in use.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: UnregisterBrokerRequest = request.decode()?;
    if let Err(code) = request.check(Operation::Alter, Resource::Cluster) {
        let response = UnregisterBrokerResponse {
            error_code: code.code(),
            error_message: denied(code).message,
            throttle_time_ms: request.throttle_time_ms(),
        };
        return Ok(request.reply(|w| response.encode(w, version)));
    }
    let id = asked.broker_id;
    let (code, message) = match id == request.node.id {
        true => (
            ErrorCode::InvalidRequest,
            format!("Broker ID {id} is the only broker and cannot be unregistered while it serves"),
        ),
        false => (
            ErrorCode::BrokerIdNotRegistered,
            format!("Broker ID {id} is not currently registered"),
        ),
    };
    let response = UnregisterBrokerResponse {
        error_code: code.code(),
        error_message: Some(Cow::Owned(message)),
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}
