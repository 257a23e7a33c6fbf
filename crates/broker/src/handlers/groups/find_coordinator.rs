//! FindCoordinator (key 10): who coordinates a group or a transactional id (E42).
//! v1 key types, message · v3 flexible · v4 batches (KIP-699) · v6 share groups (KIP-932)

use crate::api::access::denied;
use crate::api::endpoints::Endpoint;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::{groups, transactions};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_storage::Partition;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use std::borrow::Cow;
use std::sync::Arc;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// Brokers ask for the coordinators of share groups from this version on.
const SHARE_FROM: i16 = 6;

/// Answers with the node that leads the partition in which the coordinator remembers. Asking for a group creates
/// `__consumer_offsets`, as in Kafka, which says then that nobody is there yet.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: FindCoordinatorRequest<'_> = request.decode()?;
    let is_there = groups::is_there(request.node);
    let throttle_time_ms = request.throttle_time_ms();
    let response = if version < 4 {
        let found = find(&request, asked.key_type, &asked.key, is_there);
        let (node_id, host, port) = address(&found);
        // Up to v3 Kafka puts a text there even when all is well.
        let (code, message) = match found {
            Ok(_) => (ErrorCode::None, Some(Cow::Borrowed("NONE"))),
            Err(refusal) => (refusal.code, refusal.message),
        };
        FindCoordinatorResponse {
            error_code: code.code(),
            error_message: message,
            node_id,
            host,
            port,
            throttle_time_ms,
            ..Default::default()
        }
    } else {
        let coordinators = asked.coordinator_keys.iter().map(|key| {
            let found = find(&request, asked.key_type, key, is_there);
            let (node_id, host, port) = address(&found);
            let (code, message) = match found {
                Ok(_) => (ErrorCode::None, None),
                Err(refusal) => match asked.key_type {
                    // Of these only the refusal to act like a broker comes with words.
                    GROUP | TRANSACTION => (refusal.code, None),
                    SHARE if refusal.code == ErrorCode::InvalidRequest => (refusal.code, None),
                    _ => (refusal.code, refusal.message),
                },
            };
            Coordinator {
                key: Cow::Borrowed(&**key),
                node_id,
                host,
                port,
                error_code: code.code(),
                error_message: Some(message.unwrap_or_default()),
            }
        });
        FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            throttle_time_ms,
            ..Default::default()
        }
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

/// A node, and where it is reached.
type Found = (i32, Endpoint);

/// What is told of who was found, or of nobody.
fn address(found: &Result<Found, Refusal>) -> (i32, Cow<'static, str>, i32) {
    match found {
        Ok((node_id, (host, port))) => (*node_id, host.clone(), *port),
        Err(_) => (-1, Cow::Borrowed(""), -1),
    }
}

/// Who coordinates what the key stands for. `is_there` is whether groups had a coordinator before.
fn find(request: &Request<'_>, key_type: i8, key: &str, is_there: bool) -> Result<Found, Refusal> {
    let check = |operation, resource| request.check(operation, resource).map_err(denied);
    let invalid = |what: &'static str| Err(Refusal::new(ErrorCode::InvalidRequest, what));
    match key_type {
        GROUP => {
            check(Operation::Describe, Resource::Group(key))?;
            let place = request.parts.groups.place_of(key);
            leader(request, place.map(|(_, place)| place), is_there)
        }
        TRANSACTION => {
            check(Operation::Describe, Resource::TransactionalId(key))?;
            let is_there = transactions::is_there(request.node);
            leader(request, request.parts.transactions.place_of(key), is_there)
        }
        SHARE => {
            if request.header.version >= SHARE_FROM {
                check(Operation::ClusterAction, Resource::Cluster)?;
            }
            invalid("share groups are not served")
        }
        _ => invalid("unknown type of coordinator"),
    }
}

/// The node that leads a coordinator's partition, if it can be reached. Who is told so was there before it was asked for.
fn leader(
    request: &Request<'_>,
    place: Option<Arc<Partition>>,
    was_there: bool,
) -> Result<Found, Refusal> {
    let not_yet = || {
        let message = "The coordinator is being made; ask again.";
        Refusal::new(ErrorCode::CoordinatorNotAvailable, message)
    };
    let place = place.filter(|_| was_there).ok_or_else(not_yet)?;
    let node_id = place.leader().0.unwrap_or(request.node.id);
    let endpoint = request.endpoint(node_id).ok_or_else(|| {
        let message = "The coordinator cannot be reached; ask again.";
        Refusal::new(ErrorCode::CoordinatorNotAvailable, message)
    })?;
    Ok((node_id, endpoint))
}
