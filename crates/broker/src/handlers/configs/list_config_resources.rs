//! ListConfigResources (key 74): what has configs (E40).
//! v0 subscriptions to client metrics alone · v1 topics, brokers, their loggers and groups too

use crate::api::request::{Handled, Request};
use crate::base::config::NamedResource;
use crate::base::hooks::{Operation, Resource};
use crate::handlers::configs::resource::kind;
use rustka_core::error::ErrorCode;
use rustka_wire::list_config_resources_request::ListConfigResourcesRequest;
use rustka_wire::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};
use std::borrow::Cow;

/// Every type, in the order in which Kafka lists them.
const KINDS: [i8; 5] = [
    kind::GROUP,
    kind::CLIENT_METRICS,
    kind::BROKER_LOGGER,
    kind::BROKER,
    kind::TOPIC,
];

/// Lists the resources of the types that were asked for; of none means of all.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: ListConfigResourcesRequest = request.decode()?;
    let wanted: &[i8] = match (version, asked.resource_types.as_slice()) {
        (0, _) => &[kind::CLIENT_METRICS],
        (_, []) => &KINDS,
        (_, types) => types,
    };
    if let Err(code) = request.check(Operation::DescribeConfigs, Resource::Cluster) {
        let response = ListConfigResourcesResponse {
            error_code: code.code(),
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        };
        return Ok(request.reply(|w| response.encode(w, version)));
    }
    let response = match wanted.iter().all(|kind| KINDS.contains(kind)) {
        true => ListConfigResourcesResponse {
            config_resources: KINDS
                .iter()
                .filter(|kind| wanted.contains(kind))
                .flat_map(|kind| resources(&request, *kind))
                .collect(),
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        },
        false => ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        },
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

fn resources(request: &Request<'_>, kind: i8) -> Vec<ConfigResource<'static>> {
    let node = request.node;
    let named = |kind| {
        let names = node.config.names(kind).into_iter();
        names.map(String::from).collect()
    };
    let names: Vec<String> = match kind {
        kind::GROUP => named(NamedResource::Group),
        kind::CLIENT_METRICS => named(NamedResource::ClientMetrics),
        kind::TOPIC => {
            let catalog = node.topics.read();
            catalog
                .topics()
                .map(|topic| topic.name.to_string())
                .collect()
        }
        _ => vec![node.id.to_string()],
    };
    let resource = |name| ConfigResource {
        resource_name: Cow::Owned(name),
        resource_type: kind,
    };
    names.into_iter().map(resource).collect()
}
