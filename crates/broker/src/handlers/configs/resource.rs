//! What has configs, as requests name it, and who may see or change them.

use crate::api::access::denied;
use crate::api::request::Request;
use crate::base::config::NamedResource;
use crate::base::hooks::{self, Operation};
use rustka_core::config::DynamicLayer;
use rustka_core::error::{ErrorCode, Refusal};

/// What has configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic, by name.
    Topic(&'a str),
    /// This broker, or all brokers.
    Broker(DynamicLayer),
    /// The log levels of this broker.
    Loggers,
    /// A group or a subscription to client metrics.
    Named(NamedResource, &'a str),
}

/// Kafka's numbers of the types of resources that have configs.
pub mod kind {
    #![allow(missing_docs)]
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const BROKER_LOGGER: i8 = 8;
    pub const CLIENT_METRICS: i8 = 16;
    pub const GROUP: i8 = 32;
    pub const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
}

impl<'a> Resource<'a> {
    /// The resource that a request names; the broker must be this one.
    pub fn named(kind: i8, name: &'a str, node_id: i32) -> Result<Resource<'a>, Refusal> {
        let invalid = |message: String| Refusal::new(ErrorCode::InvalidRequest, message);
        Ok(match kind {
            kind::TOPIC => Resource::Topic(name),
            kind::BROKER if name.is_empty() => Resource::Broker(DynamicLayer::Default),
            kind::BROKER | kind::BROKER_LOGGER => {
                let id: i32 = name.parse().map_err(|_| {
                    invalid(format!(
                        "Node id must be an integer, but it is: {}",
                        name.escape_debug()
                    ))
                })?;
                if id != node_id {
                    return Err(invalid(format!(
                        "Unexpected broker id, expected {node_id}, but received {id}"
                    )));
                }
                match kind {
                    kind::BROKER => Resource::Broker(DynamicLayer::Broker),
                    _ => Resource::Loggers,
                }
            }
            kind::CLIENT_METRICS => Resource::Named(NamedResource::ClientMetrics, name),
            kind::GROUP => Resource::Named(NamedResource::Group, name),
            other => return Err(invalid(format!("Unknown resource type {other}"))),
        })
    }
}

/// Refuses what the client may not do to the configs of a resource. Those of brokers, their loggers and of clients'
/// metrics belong to the cluster.
pub fn check(
    request: &Request<'_>,
    operation: Operation,
    kind: i8,
    name: &str,
) -> Result<(), Refusal> {
    let of = match kind {
        kind::TOPIC => hooks::Resource::Topic(name),
        kind::GROUP => hooks::Resource::Group(name),
        _ => hooks::Resource::Cluster,
    };
    let may = request.check(operation, of);
    may.map_err(|code| match (operation, kind) {
        (Operation::AlterConfigs, kind::BROKER | kind::BROKER_LOGGER) => code.into(),
        _ => denied(code),
    })
}
