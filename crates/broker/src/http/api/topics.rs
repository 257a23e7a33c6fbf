//! Topics: which there are, what they hold, how fast they grow.

use super::damaged;
use crate::http::answer::{Answer, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use crate::http::readings::TopicReading;
use crate::http::tracks::Subject;
use crate::node::topics::TopicRef;
use rustka_core::error::ErrorCode;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::sync::Arc;

/// Rows of one answer.
const ROWS_MAX: usize = 500;
/// Rows unless told otherwise.
const ROWS: usize = 100;

/// The topics in sight: searched, sorted, and so many from a place on.
pub async fn list(ask: Ask) -> Result<Answer, Problem> {
    let query = &ask.query;
    let search = query.text("search").unwrap_or("").to_lowercase();
    let sort = query.word(
        "sort",
        &[
            "name",
            "records",
            "bytes",
            "partitions",
            "recordRate",
            "byteRate",
            "oldest",
        ],
    )?;
    let is_down = query.word("order", &["up", "down"])? == "down";
    let from = query.number("from", 0..=usize::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1..=ROWS_MAX)?.unwrap_or(ROWS);
    let with_internal = query.word("internal", &["no", "yes"])? == "yes";
    let reading = ask.http.readings.topics(ask.node());
    let access = ask.access();
    let mut rows: Vec<(&Arc<str>, &TopicReading)> = reading
        .topics
        .iter()
        .filter(|(_, topic)| with_internal || !topic.is_internal)
        .filter(|(name, _)| search.is_empty() || name.to_lowercase().contains(&search))
        .filter(|(name, _)| ask.may_see_topic(&access, name))
        .collect();
    rows.sort_by(|one, other| {
        let order = compare(sort, one, other);
        match is_down {
            true => order.reverse(),
            false => order,
        }
    });
    let total = rows.len();
    let rows = rows.into_iter().skip(from).take(limit);
    let rows: Vec<Value> = rows
        .map(|(name, reading)| {
            let topic = ask.node().topics.by_name(name);
            row(name, reading, topic.as_ref())
        })
        .collect();
    Ok(json(
        &json!({ "total": total, "from": from, "topics": rows }),
    ))
}

fn compare(
    sort: &str,
    one: &(&Arc<str>, &TopicReading),
    other: &(&Arc<str>, &TopicReading),
) -> Ordering {
    let rates = |topic: &TopicReading| topic.rates.unwrap_or_default();
    let ((name, a), (other, b)) = (one, other);
    let order = match sort {
        "records" => a.records.cmp(&b.records),
        "bytes" => a.bytes.cmp(&b.bytes),
        "partitions" => a.partitions.cmp(&b.partitions),
        "recordRate" => rates(a).0.total_cmp(&rates(b).0),
        "byteRate" => rates(a).1.total_cmp(&rates(b).1),
        "oldest" => a.oldest_ms.cmp(&b.oldest_ms),
        _ => Ordering::Equal,
    };
    order.then_with(|| name.cmp(other))
}

fn row(name: &str, reading: &TopicReading, topic: Option<&TopicRef>) -> Value {
    let policy = topic.map(|topic| {
        let config = topic.config.now();
        match (config.delete, config.compact) {
            (true, true) => "compact,delete",
            (false, true) => "compact",
            (true, false) => "delete",
            (false, false) => "none",
        }
    });
    json!({
        "name": name,
        "partitions": reading.partitions,
        "internal": reading.is_internal,
        "records": reading.records.to_string(),
        "bytes": reading.bytes.to_string(),
        "oldestMs": reading.oldest_ms.map(|ms| ms.to_string()),
        "recordRate": reading.rates.map(|rates| rates.0),
        "byteRate": reading.rates.map(|rates| rates.1),
        "cleanupPolicy": policy,
    })
}

/// One topic with its partitions in sight.
pub async fn show(ask: Ask) -> Result<Answer, Problem> {
    let from = ask.query.number("from", 0..=usize::MAX)?.unwrap_or(0);
    let limit = ask.query.number("limit", 1..=ROWS_MAX)?.unwrap_or(ROWS);
    let topic = find(&ask, ask.name(0))?;
    let reading = ask.http.readings.topics(ask.node());
    let reading = reading.topics.get(&topic.name);
    let mut shown = row(
        &topic.name,
        reading.unwrap_or(&TopicReading::default()),
        Some(&topic),
    );
    let partitions = topic.partitions.iter().enumerate().skip(from).take(limit);
    let rows = partitions.map(|(index, partition)| {
        let glance = partition.glance();
        let (leader, epoch) = partition.leader();
        json!({
            "partition": index,
            "logStart": glance.offsets.log_start.to_string(),
            "logEnd": glance.offsets.log_end.to_string(),
            "highWatermark": glance.offsets.high_watermark.to_string(),
            "lastStable": glance.offsets.last_stable.to_string(),
            "bytes": glance.bytes.to_string(),
            "oldestMs": glance.oldest_ms.map(|ms| ms.to_string()),
            "leader": leader.unwrap_or(ask.node().id),
            "leaderEpoch": epoch,
        })
    });
    shown["rows"] = rows.collect();
    shown["damaged"] = damaged::shown(&topic).into();
    shown["from"] = from.into();
    shown["id"] = topic.id.to_string().into();
    Ok(json(&shown))
}

/// What the topic did since somebody has it in view.
pub async fn history(ask: Ask) -> Result<Answer, Problem> {
    let since = ask.query.number("since", 0..=u64::MAX)?;
    let topic = find(&ask, ask.name(0))?;
    let now_ms = ask.node().clock.monotonic_ms();
    let subject = Subject::Topic(topic.name.clone());
    Ok(json(&ask.http.tracks.shown(subject, now_ms, since)))
}

/// The topic of this name, if there is one that whoever asks may know of.
pub fn find(ask: &Ask, name: &str) -> Result<TopicRef, Problem> {
    let access = ask.access();
    let topic = ask.node().topics.by_name(name);
    let topic = topic.filter(|_| ask.may_see_topic(&access, name));
    topic.ok_or_else(|| Problem {
        detail: format!("there is no topic {name:?}"),
        ..ErrorCode::UnknownTopicOrPartition.into()
    })
}
