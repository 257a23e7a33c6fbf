//! DescribeConfigs (key 32): configs with where their values come from (E39, E39a).
//! v1 synonyms · v3 types and documentation · v4 flexible

use crate::request::{Outcome, Request};
use rustka_core::config::{ConfigEntry, describe_broker};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::names::validate_topic_name;
use rustka_wire::codec::Reader;
use rustka_wire::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use rustka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use std::borrow::Cow;

/// Kafka's numbers of resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// Answers per resource.
pub fn handle(request: Request<'_>) -> Outcome {
    let version = request.header.version;
    let asked = match DescribeConfigsRequest::decode(&mut Reader::new(request.body()), version) {
        Ok(asked) => asked,
        Err(error) => return error.into(),
    };
    let results = asked.resources.iter().map(|resource| {
        let (error_code, error_message, configs) = match describe(&request, resource) {
            Ok(entries) => {
                let wanted = |entry: &ConfigEntry| match &resource.configuration_keys {
                    Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == entry.name),
                    _ => true,
                };
                let rows = entries
                    .into_iter()
                    .filter(wanted)
                    .map(|entry| row(entry, &asked));
                (0, None, rows.collect())
            }
            Err(refusal) => (refusal.code.code(), refusal.message, Vec::new()),
        };
        DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: Cow::Borrowed(&*resource.resource_name),
            configs,
        }
    });
    let response = DescribeConfigsResponse {
        results: results.collect(),
        ..Default::default()
    };
    request.reply(|w| response.encode(w, version))
}

fn describe(
    request: &Request<'_>,
    resource: &DescribeConfigsResource<'_>,
) -> Result<Vec<ConfigEntry>, Refusal> {
    let (shared, name) = (request.shared, &*resource.resource_name);
    match resource.resource_type {
        TOPIC => {
            validate_topic_name(name)?;
            let topic = shared
                .topics
                .by_name(name)
                .ok_or(ErrorCode::UnknownTopicOrPartition)?;
            Ok(topic.config.entries(&shared.config.broker()).to_vec())
        }
        BROKER if name.is_empty() => Ok(describe_broker(&shared.config.broker(), true)),
        BROKER | BROKER_LOGGER => {
            if name.parse() != Ok(shared.node_id) {
                let message = format!(
                    "Unexpected broker id, expected {}, but received {name}",
                    shared.node_id
                );
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            // Loggers are set by RUST_LOG and have no configs of their own.
            Ok(if resource.resource_type == BROKER {
                describe_broker(&shared.config.broker(), false)
            } else {
                Vec::new()
            })
        }
        other => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("resource type {other} has no configs here"),
        )),
    }
}

fn row(
    entry: ConfigEntry,
    asked: &DescribeConfigsRequest<'_>,
) -> DescribeConfigsResourceResult<'static> {
    let synonyms = entry
        .synonyms
        .into_iter()
        .map(|synonym| DescribeConfigsSynonym {
            name: Cow::Borrowed(synonym.name),
            value: synonym.value,
            source: synonym.source.code(),
        });
    DescribeConfigsResourceResult {
        name: Cow::Borrowed(entry.name),
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
        synonyms: if asked.include_synonyms {
            synonyms.collect()
        } else {
            Vec::new()
        },
        config_type: entry.config_type.code(),
        documentation: asked
            .include_documentation
            .then_some(Cow::Borrowed(entry.documentation)),
    }
}
