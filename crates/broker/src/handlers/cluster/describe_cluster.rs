//! DescribeCluster (key 60): the cluster's id and brokers.
//! v1 endpoint type (KIP-919) · v2 fenced brokers (KIP-1073)

use crate::api::access::OPERATIONS_UNASKED;
use crate::api::request::{Handled, Request};
use crate::handlers::topics::metadata::cluster_operations;
use rustka_core::error::ErrorCode;
use rustka_wire::describe_cluster_request::DescribeClusterRequest;
use rustka_wire::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use std::borrow::Cow;

/// The endpoint type of brokers; controllers, 2, are not reached through a broker's listener.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers with the one broker there is.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeClusterRequest = request.decode()?;
    let node = request.node;
    let endpoint = request.endpoint(node.id);
    let (host, port) = endpoint.unwrap_or_default();
    let refused = match asked.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "this is a broker, not a controller".to_owned(),
        )),
        other => Some((
            ErrorCode::UnsupportedEndpointType,
            format!("unknown endpoint type {other}"),
        )),
    };
    let response = match refused {
        Some((code, message)) => DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(Cow::Owned(message)),
            endpoint_type: BROKERS,
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        },
        None => DescribeClusterResponse {
            endpoint_type: BROKERS,
            cluster_id: Cow::Borrowed(&node.cluster_id),
            controller_id: node.id,
            brokers: vec![DescribeClusterBroker {
                broker_id: node.id,
                host,
                port,
                rack: node.config.fixed().rack.as_deref().map(Cow::Borrowed),
                is_fenced: false,
            }],
            cluster_authorized_operations: match asked.include_cluster_authorized_operations {
                true => cluster_operations(&request),
                false => OPERATIONS_UNASKED,
            },
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        },
    };
    Ok(request.reply(|w| response.encode(w, version)))
}
