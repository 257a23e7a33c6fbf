//! Changes to topics: creating, deleting, adding partitions, emptying.

use super::topics::find;
use crate::http::answer::{Answer, created, done, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use rustka_core::error::ErrorCode;
use rustka_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use serde_json::json;

/// Partitions that a topic may be given here; more is a typing mistake.
const PARTITIONS_MAX: i32 = 100_000;

/// Creates a topic.
pub async fn create(ask: Ask) -> Result<Answer, Problem> {
    let mut fields = ask.fields()?;
    let name = fields.required("name")?;
    let partitions = fields
        .number("partitions", 1..=PARTITIONS_MAX)?
        .unwrap_or(-1);
    let configs = fields.texts("configs")?;
    fields.end()?;
    let configs = configs.iter().map(|(key, value)| CreatableTopicConfig {
        name: key.as_str().into(),
        value: value.as_deref().map(Into::into),
    });
    let topic = CreatableTopic {
        name: name.as_str().into(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: configs.collect(),
        ..Default::default()
    };
    let made = ask.client().create_topics(vec![topic], false).await?;
    let made = made
        .into_iter()
        .next()
        .ok_or(ErrorCode::UnknownServerError)??;
    Ok(created(&json!({
        "name": name,
        "partitions": made.num_partitions,
    })))
}

/// Deletes a topic and all that it holds.
pub async fn delete(ask: Ask) -> Result<Answer, Problem> {
    let gone = ask.client().delete_topics(&[ask.name(0)]).await?;
    gone.into_iter()
        .next()
        .ok_or(ErrorCode::UnknownServerError)??;
    Ok(done())
}

/// Gives a topic more partitions.
pub async fn add_partitions(ask: Ask) -> Result<Answer, Problem> {
    let mut fields = ask.fields()?;
    let count = fields.number("count", 1..=PARTITIONS_MAX)?;
    fields.end()?;
    let count = count.ok_or_else(|| Problem::bad("count is missing"))?;
    ask.client().add_partitions(ask.name(0), count).await?;
    Ok(json(&json!({ "partitions": count })))
}

/// Deletes every record of a topic that there is now; the topic stays.
pub async fn empty(ask: Ask) -> Result<Answer, Problem> {
    ask.fields()?.end()?;
    let topic = find(&ask, ask.name(0))?;
    let records = clear(&ask, &topic.name, topic.partitions.len()).await?;
    Ok(json(&json!({ "records": records.to_string() })))
}

/// Deletes all records of a topic's partitions; how many these were.
pub async fn clear(ask: &Ask, name: &str, partitions: usize) -> Result<i64, Problem> {
    /// DeleteRecords' word for the end.
    const ALL: i64 = -1;
    let count = i32::try_from(partitions).unwrap_or(i32::MAX);
    let node = ask.node();
    let held = |partition| {
        let partition = node.partition(name, partition);
        partition.map_or(0, |partition| partition.offsets().log_start)
    };
    let starts: Vec<i64> = (0..count).map(held).collect();
    let before = (0..count).map(|partition| (partition, ALL)).collect();
    let begins = ask.client().delete_records(name, &before).await?;
    let mut records = 0;
    for (partition, begin) in begins {
        let start = usize::try_from(partition)
            .ok()
            .and_then(|at| starts.get(at));
        records += begin?.saturating_sub(start.copied().unwrap_or(0)).max(0);
    }
    Ok(records)
}
