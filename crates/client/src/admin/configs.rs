//! Configs of topics, brokers, groups and the rest: describing and changing.

use rustka_wire::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use rustka_wire::describe_configs_response::DescribeConfigsResourceResult;
use rustka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::ANY;
use crate::client::{Client, To};
use crate::cluster::{check, missing};
use crate::error::Result;

/// What has configs, and the number that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Resource {
    /// A topic, by name.
    Topic = 2,
    /// A broker by its id, or all with an empty name.
    Broker = 4,
    /// The log levels of a broker.
    BrokerLogger = 8,
    /// Metrics of clients (KIP-714).
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

/// What is to be done with a config.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

impl Resource {
    /// A broker's own configs are known to that broker alone.
    fn node(self, name: &str) -> Option<i32> {
        let is_broker = matches!(self, Resource::Broker | Resource::BrokerLogger);
        name.parse().ok().filter(|_| is_broker)
    }
}

impl Client {
    /// The configs of a resource, with where each value comes from.
    pub async fn describe_configs(
        &self,
        kind: Resource,
        name: &str,
    ) -> Result<Vec<DescribeConfigsResourceResult<'static>>> {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: kind as i8,
                resource_name: name.into(),
                configuration_keys: None,
            }],
            include_synonyms: true,
            include_documentation: false,
        };
        let answer = match kind.node(name) {
            Some(node) => self.call_at(To::Node(node), ANY, &request).await?,
            None => self.call(&request).await?,
        };
        let told = answer.body()?.results.into_iter().next();
        let told = told.ok_or_else(|| missing("DescribeConfigs"))?;
        check(
            &about(kind, name),
            told.error_code,
            told.error_message.as_deref(),
        )?;
        let configs = told.configs.into_iter();
        Ok(configs
            .map(DescribeConfigsResourceResult::into_owned)
            .collect())
    }

    /// Sets configs of a resource to these values; those without one go back to their defaults.
    pub async fn alter_configs(
        &self,
        kind: Resource,
        name: &str,
        changes: &[(&str, Option<&str>)],
    ) -> Result<()> {
        let configs = changes.iter().map(|(key, value)| AlterableConfig {
            name: (*key).into(),
            config_operation: if value.is_some() { SET } else { DELETE },
            value: value.map(Into::into),
        });
        self.change_configs(kind, name, configs.collect()).await
    }

    /// Adds items to the list that a config of a resource is.
    pub async fn append_to_config(
        &self,
        kind: Resource,
        name: &str,
        (key, items): (&str, &str),
    ) -> Result<()> {
        let config = AlterableConfig {
            name: key.into(),
            config_operation: APPEND,
            value: Some(items.into()),
        };
        self.change_configs(kind, name, vec![config]).await
    }

    async fn change_configs(
        &self,
        kind: Resource,
        name: &str,
        configs: Vec<AlterableConfig<'_>>,
    ) -> Result<()> {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: kind as i8,
                resource_name: name.into(),
                configs,
            }],
            validate_only: false,
        };
        let answer = match kind.node(name) {
            Some(node) => self.call_at(To::Node(node), ANY, &request).await?,
            None => self.call(&request).await?,
        };
        let told = answer.body()?;
        let told = told.responses.first();
        let told = told.ok_or_else(|| missing("IncrementalAlterConfigs"))?;
        check(
            &about(kind, name),
            told.error_code,
            told.error_message.as_deref(),
        )
    }
}

fn about(kind: Resource, name: &str) -> String {
    let kind = match kind {
        Resource::Topic => "topic",
        Resource::Broker => "broker",
        Resource::BrokerLogger => "log levels of broker",
        Resource::ClientMetrics => "client metrics",
        Resource::Group => "group",
    };
    format!("configs of {kind} {name}")
}
