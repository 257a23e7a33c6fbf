//! SaslHandshake (key 17) and SaslAuthenticate (key 36) of a client that is in already (E17): the login itself is the
//! connection's business, before there are requests.

use crate::api::request::{Outcome, Request};
use rustka_core::error::ErrorCode;
use rustka_wire::codec::Reader;
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use rustka_wire::sasl_handshake_response::SaslHandshakeResponse;

/// There is nothing to agree on any more.
pub fn handshake(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    if let Err(error) = SaslHandshakeRequest::decode(&mut Reader::new(request.body()), version) {
        return error.into();
    }
    let response = SaslHandshakeResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        mechanisms: Vec::new(),
    };
    request.reply(|w| response.encode(w, version))
}

/// Nobody is waiting for this.
pub fn authenticate(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    if let Err(error) = SaslAuthenticateRequest::decode(&mut Reader::new(request.body()), version) {
        return error.into();
    }
    let response = SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some(
            "SaslAuthenticate request received after successful authentication".into(),
        ),
        ..Default::default()
    };
    request.reply(|w| response.encode(w, version))
}
