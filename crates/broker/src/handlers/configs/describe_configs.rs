//! DescribeConfigs (key 32): configs with where their values come from (E39, E39a).
//! v1 synonyms · v3 types and documentation · v4 flexible

use crate::api::request::{Handled, Request};
use crate::base::config::NamedResource;
use crate::base::hooks::Operation;
use crate::handlers::configs::resource::{Resource, check, kind};
use rustka_core::config::{
    ConfigEntry, ConfigSource, ConfigType, DynamicLayer, describe_broker, describe_client_metrics,
    describe_group,
};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::names::validate_topic_name;
use rustka_wire::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use rustka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use std::borrow::Cow;

/// Answers per resource.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeConfigsRequest<'_> = request.decode()?;
    let is_known =
        |resource: &DescribeConfigsResource<'_>| kind::ALL.contains(&resource.resource_type);
    let all_known = asked.resources.iter().all(is_known);
    let results = asked.resources.iter().map(|resource| {
        // Kafka refuses the whole request for one type that it does not know.
        let described = match all_known {
            true => describe(&request, resource),
            false => Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "The request names a resource type that has no configs.",
            )),
        };
        let (error_code, error_message, configs) = match described {
            Ok(entries) => {
                let wanted = |entry: &ConfigEntry| match &resource.configuration_keys {
                    Some(keys) if !keys.is_empty() => keys.contains(&entry.name),
                    _ => true,
                };
                let rows = entries
                    .into_iter()
                    .filter(wanted)
                    .map(|entry| row(entry, &asked));
                (0, None, rows.collect::<Vec<_>>())
            }
            Err(refusal) => (refusal.code.code(), refusal.message, Vec::new()),
        };
        DescribeConfigsResult {
            error_code,
            error_message: Some(error_message.unwrap_or_default()),
            resource_type: resource.resource_type,
            resource_name: Cow::Borrowed(&*resource.resource_name),
            configs,
        }
    });
    let response = DescribeConfigsResponse {
        results: results.collect(),
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

fn describe(
    request: &Request<'_>,
    resource: &DescribeConfigsResource<'_>,
) -> Result<Vec<ConfigEntry>, Refusal> {
    let (node, name) = (request.node, &*resource.resource_name);
    let config = &node.config;
    check(
        request,
        Operation::DescribeConfigs,
        resource.resource_type,
        name,
    )?;
    Ok(
        match Resource::named(resource.resource_type, name, node.id)? {
            Resource::Topic(name) => {
                validate_topic_name(name)?;
                let topic = node.topics.by_name(name);
                let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
                topic.config.now().entries(&config.broker()).to_vec()
            }
            Resource::Broker(layer) => {
                describe_broker(&config.broker(), layer == DynamicLayer::Default)
            }
            Resource::Loggers => {
                let levels = node.loggers.levels().into_iter();
                let entry = |(name, level)| ConfigEntry::of_logger(name, level);
                levels.map(entry).collect()
            }
            Resource::Named(_, "") => {
                let message = "The name must not be empty: there are no defaults of this type.";
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            Resource::Named(kind @ NamedResource::Group, name) => {
                describe_group(&config.broker(), &config.overrides(kind, name))
            }
            Resource::Named(kind @ NamedResource::ClientMetrics, name) => {
                describe_client_metrics(&config.overrides(kind, name))
            }
        },
    )
}

fn row(
    entry: ConfigEntry,
    asked: &DescribeConfigsRequest<'_>,
) -> DescribeConfigsResourceResult<'static> {
    let synonyms = entry
        .synonyms
        .into_iter()
        .map(|synonym| DescribeConfigsSynonym {
            name: synonym.name,
            value: synonym.value,
            source: synonym.source.code(),
        });
    // Kafka knows no documentation of a logger.
    let is_logger = entry.source == ConfigSource::BrokerLogger;
    let documentation = asked.include_documentation;
    let documentation = documentation.then_some(Cow::Borrowed(entry.documentation));
    DescribeConfigsResourceResult {
        name: entry.name,
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
        synonyms: if asked.include_synonyms {
            synonyms.collect()
        } else {
            Vec::new()
        },
        config_type: entry.config_type.map_or(0, ConfigType::code),
        documentation: match is_logger {
            true => Some(Cow::Borrowed("")),
            false => documentation,
        },
    }
}
