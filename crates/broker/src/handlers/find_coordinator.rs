//! FindCoordinator (key 10): who coordinates a group or a transactional id (E42).
//! v1 key types, message · v3 flexible · v4 batches (KIP-699) · v6 share groups (KIP-932)

use crate::groups;
use crate::request::{Outcome, Request};
use rustka_core::error::ErrorCode;
use rustka_wire::codec::Reader;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use std::borrow::Cow;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// Answers with this node. Asking for a group creates `__consumer_offsets`, as in Kafka.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked = match FindCoordinatorRequest::decode(&mut Reader::new(request.body()), version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
    let shared = request.shared;
    let code = match asked.key_type {
        GROUP => {
            groups::offsets_topic(shared);
            ErrorCode::None
        }
        TRANSACTION => ErrorCode::None,
        // Share groups have no coordinator here, and other types are none at all.
        _ => ErrorCode::InvalidRequest,
    };
    let message = match (code, asked.key_type) {
        // Up to v3 Kafka puts a text there even when all is well.
        (ErrorCode::None, _) if version < 4 => "NONE",
        (ErrorCode::None, _) => "",
        (_, SHARE) if version < 4 => "share groups are not served",
        (_, SHARE) => "",
        _ => "unknown type of coordinator",
    };
    let context = request.context();
    let (node_id, host, port) = if code == ErrorCode::None {
        let endpoint = shared.endpoint_of(shared.node_id, &context);
        let (host, port) = endpoint.unwrap_or_default();
        (shared.node_id, host, port)
    } else {
        (-1, "", -1)
    };
    let response = if version < 4 {
        FindCoordinatorResponse {
            error_code: code.code(),
            error_message: Some(Cow::Borrowed(message)),
            node_id,
            host: Cow::Borrowed(host),
            port,
            ..Default::default()
        }
    } else {
        let coordinators = asked.coordinator_keys.iter().map(|key| Coordinator {
            key: Cow::Borrowed(&**key),
            node_id,
            host: Cow::Borrowed(host),
            port,
            error_code: code.code(),
            error_message: Some(Cow::Borrowed(message)),
        });
        FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            ..Default::default()
        }
    };
    request.reply(|w| response.encode(w, version))
}
