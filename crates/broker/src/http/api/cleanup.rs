//! Cleaning up: removing topics that hold nothing, and deleting all records. Journals and internal topics stay.

use super::changes::clear;
use crate::base::hooks::{Operation, Resource};
use crate::http::answer::{Answer, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use crate::node::topics::TopicRef;
use rustka_core::error::ErrorCode;
use serde_json::{Value, json};

/// Topics that are told by name.
const NAMES_MAX: usize = 1_000;

/// What cleaning up would remove.
pub async fn preview(ask: Ask) -> Result<Answer, Problem> {
    let empty = empty_topics(&ask);
    let full = full_topics(&ask);
    let records: i64 = full.iter().map(records).sum();
    let bytes: u64 = full.iter().map(bytes).sum();
    Ok(json(&json!({
        "emptyTopics": names(&empty),
        "emptyTopicCount": empty.len(),
        "topicCount": full.len(),
        "records": records.to_string(),
        "bytes": bytes.to_string(),
    })))
}

fn of_clients(ask: &Ask, operation: Operation) -> Vec<TopicRef> {
    let access = ask.access();
    let mut topics = ask.node().topics.all();
    topics.retain(|topic| {
        !topic.internal
            && ask.may_see_topic(&access, &topic.name)
            && access.may(operation, Resource::Topic(&topic.name))
    });
    topics
}

/// Topics in which no record is.
fn empty_topics(ask: &Ask) -> Vec<TopicRef> {
    let mut topics = of_clients(ask, Operation::Delete);
    topics.retain(|topic| records(topic) == 0);
    topics
}

/// Topics whose records may be deleted.
fn full_topics(ask: &Ask) -> Vec<TopicRef> {
    let mut topics = of_clients(ask, Operation::Delete);
    topics.retain(|topic| records(topic) > 0 && topic.config.now().delete);
    topics
}

fn records(topic: &TopicRef) -> i64 {
    let each = topic.partitions.iter().map(|partition| partition.offsets());
    each.map(|offsets| offsets.log_end - offsets.log_start)
        .sum()
}

fn bytes(topic: &TopicRef) -> u64 {
    topic
        .partitions
        .iter()
        .map(|partition| partition.bytes())
        .sum()
}

fn names(topics: &[TopicRef]) -> Vec<&str> {
    topics
        .iter()
        .take(NAMES_MAX)
        .map(|topic| &*topic.name)
        .collect()
}

/// Removes the topics that hold nothing.
pub async fn remove_empty(ask: Ask) -> Result<Answer, Problem> {
    ask.fields()?.end()?;
    let topics = empty_topics(&ask);
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    let client = ask.client();
    for topic in &topics {
        // It may have been written to since it was looked at.
        if records(topic) > 0 {
            continue;
        }
        let gone = client.delete_topics(&[&topic.name]).await?;
        match gone.into_iter().next().unwrap_or(Ok(())) {
            Ok(()) => removed.push(&*topic.name),
            Err(error) => {
                failed.push(json!({ "topic": &*topic.name, "detail": error.to_string() }))
            }
        }
    }
    Ok(json(&json!({
        "success": failed.is_empty(),
        "removedCount": removed.len(),
        "removed": removed.iter().take(NAMES_MAX).collect::<Vec<_>>(),
        "failed": failed,
    })))
}

/// Deletes all records. `records` has to be the number that was shown before, unless it has grown since: who sends
/// another one has seen something else.
pub async fn clear_all(ask: Ask) -> Result<Answer, Problem> {
    let mut fields = ask.fields()?;
    let expected = fields.number("records", 0..=i64::MAX)?;
    fields.end()?;
    let topics = full_topics(&ask);
    let held: i64 = topics.iter().map(records).sum();
    if let Some(expected) = expected.filter(|expected| *expected > held) {
        return Err(Problem::new(
            hyper::StatusCode::CONFLICT,
            format!("there are {held} records now, not {expected}: look again"),
        ));
    }
    let (mut cleared, mut failed): (i64, Vec<Value>) = (0, Vec::new());
    for topic in &topics {
        match clear(&ask, &topic.name, topic.partitions.len()).await {
            Ok(records) => cleared += records,
            Err(problem) if problem.code == Some(ErrorCode::UnknownTopicOrPartition.name()) => {}
            Err(problem) => failed.push(json!({ "topic": &*topic.name, "detail": problem.detail })),
        }
    }
    Ok(json(&json!({
        "success": failed.is_empty(),
        "records": cleared.to_string(),
        "topicCount": topics.len(),
        "failed": failed,
    })))
}

/// The counters of the first Rustka's dashboard, under its route.
pub async fn metrics(ask: Ask) -> Result<Answer, Problem> {
    let node = ask.node();
    let reading = ask.http.readings.topics(node);
    let mut shown = super::overview::state(node, &reading);
    shown["groups"] = ask.parts().groups.counts().0.into();
    Ok(json(&shown))
}

/// What memory is taken for, under the route of the first Rustka.
pub async fn memory_stats(ask: Ask) -> Result<Answer, Problem> {
    let node = ask.node();
    let reading = ask.http.readings.topics(node);
    let shown = super::overview::state(node, &reading);
    Ok(json(&json!({
        "records": shown["records"],
        "bytes": shown["bytes"],
        "oldestMs": shown["oldestMs"],
        "memory": shown["memory"],
    })))
}
