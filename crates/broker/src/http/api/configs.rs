//! Configs of topics and of the broker: what holds, where each value comes from, and changes.

use super::topics::find;
use crate::http::answer::{Answer, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use rustka_client::Resource;
use rustka_core::config::{Scope, find_key, is_honoured};
use rustka_wire::describe_configs_response::DescribeConfigsResourceResult;
use serde_json::{Value, json};

/// A topic's configs.
pub async fn of_topic(ask: Ask) -> Result<Answer, Problem> {
    find(&ask, ask.name(0))?;
    let configs = ask
        .client()
        .describe_configs(Resource::Topic, ask.name(0))
        .await?;
    Ok(shown(&configs, Scope::Topic))
}

/// Sets configs of a topic; null takes one back to its default.
pub async fn alter_topic(ask: Ask) -> Result<Answer, Problem> {
    find(&ask, ask.name(0))?;
    alter(&ask, Resource::Topic, ask.name(0)).await?;
    let configs = ask
        .client()
        .describe_configs(Resource::Topic, ask.name(0))
        .await?;
    Ok(shown(&configs, Scope::Topic))
}

/// The broker's configs.
pub async fn of_broker(ask: Ask) -> Result<Answer, Problem> {
    let id = ask.node().id.to_string();
    let configs = ask.client().describe_configs(Resource::Broker, &id).await?;
    Ok(shown(&configs, Scope::Broker))
}

/// Sets configs of the running broker.
pub async fn alter_broker(ask: Ask) -> Result<Answer, Problem> {
    let id = ask.node().id.to_string();
    alter(&ask, Resource::Broker, &id).await?;
    let configs = ask.client().describe_configs(Resource::Broker, &id).await?;
    Ok(shown(&configs, Scope::Broker))
}

async fn alter(ask: &Ask, kind: Resource, name: &str) -> Result<(), Problem> {
    let mut fields = ask.fields()?;
    let configs = fields.texts("configs")?;
    fields.end()?;
    if configs.is_empty() {
        return Err(Problem::bad("configs is missing or empty"));
    }
    let changes = configs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_deref()));
    let changes: Vec<_> = changes.collect();
    Ok(ask.client().alter_configs(kind, name, &changes).await?)
}

fn shown(configs: &[DescribeConfigsResourceResult<'_>], scope: Scope) -> Answer {
    let rows: Vec<Value> = configs.iter().map(|config| row(config, scope)).collect();
    json(&json!({ "configs": rows }))
}

fn row(config: &DescribeConfigsResourceResult<'_>, scope: Scope) -> Value {
    let key = find_key(scope, &config.name);
    let synonyms = config.synonyms.iter().map(|synonym| {
        json!({
            "name": synonym.name,
            "value": synonym.value,
            "source": source(synonym.source),
        })
    });
    json!({
        "name": config.name,
        "value": config.value,
        "source": source(config.config_source),
        "sensitive": config.is_sensitive,
        "readOnly": config.read_only,
        "default": key.and_then(|key| key.default_value()),
        "hasEffect": key.is_none_or(is_honoured),
        "synonyms": synonyms.collect::<Vec<_>>(),
    })
}

/// DescribeConfigs' numbers in words.
fn source(code: i8) -> &'static str {
    match code {
        1 => "topic",
        2 => "broker, set while it runs",
        3 => "all brokers, set while they run",
        4 => "start of the broker",
        5 => "default",
        6 => "log level",
        7 => "client metrics",
        8 => "group",
        _ => "unknown",
    }
}
