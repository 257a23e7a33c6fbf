//! SaslHandshake (key 17) and SaslAuthenticate (key 36) of a client that is in already (E17): the login itself is the
//! connection's business, before there are requests.

use crate::api::request::{Handled, Request};
use rustka_core::error::ErrorCode;
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use rustka_wire::sasl_handshake_response::SaslHandshakeResponse;

/// There is nothing to agree on any more.
pub fn handshake(request: Request<'_>) -> Handled {
    let version = request.header.version;
    request.decode::<SaslHandshakeRequest<'_>>()?;
    let response = SaslHandshakeResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        mechanisms: Vec::new(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

/// Nobody is waiting for this.
pub fn authenticate(request: Request<'_>) -> Handled {
    let version = request.header.version;
    request.decode::<SaslAuthenticateRequest<'_>>()?;
    let response = SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some(
            "SaslAuthenticate request received after successful authentication".into(),
        ),
        ..Default::default()
    };
    Ok(request.reply(|w| response.encode(w, version)))
}
