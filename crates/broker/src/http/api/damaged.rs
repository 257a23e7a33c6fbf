//! Records that cannot be read any more: which they are, and having readers pass over them.

use super::topics::find;
use crate::http::answer::{Answer, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use crate::node::topics::TopicRef;
use rustka_client::Resource;
use rustka_core::config::{DAMAGED_SKIP, Skip};
use serde_json::{Value, json};

/// So many ranges are shown.
const SHOWN_MAX: usize = 100;

/// What of a topic is damaged, and whether readers pass over it.
pub fn shown(topic: &TopicRef) -> Vec<Value> {
    let all = ranges(topic).take(SHOWN_MAX);
    all.map(|(skip, is_skipped)| {
        let mut row = row(&skip);
        row["skipped"] = is_skipped.into();
        row
    })
    .collect()
}

/// Has readers go on behind what is damaged.
pub async fn skip(ask: Ask) -> Result<Answer, Problem> {
    ask.fields()?.end()?;
    let topic = find(&ask, ask.name(0))?;
    let before: Vec<Skip> = skipped(&topic);
    let client = ask.client();
    let all = (DAMAGED_SKIP, "*");
    client
        .append_to_config(Resource::Topic, &topic.name, all)
        .await?;
    let after = find(&ask, ask.name(0))?;
    let new = skipped(&after);
    let new = new.iter().filter(|skip| !before.contains(skip));
    let rows: Vec<Value> = new.map(row).collect();
    Ok(json(&json!({ "skipped": rows })))
}

fn ranges(topic: &TopicRef) -> impl Iterator<Item = (Skip, bool)> + '_ {
    let passed = skipped(topic);
    let each = topic.partitions.iter().flat_map(|partition| {
        let ranges = partition.damaged().into_iter();
        ranges.map(|range| (partition.index, range))
    });
    each.map(move |(index, range)| {
        let is_skipped = passed.iter().any(|skip| skip.covers(index, &range));
        (Skip::of(index, &range), is_skipped)
    })
}

fn skipped(topic: &TopicRef) -> Vec<Skip> {
    topic.config.now().damaged_skip.to_vec()
}

fn row(skip: &Skip) -> Value {
    json!({
        "partition": skip.partition,
        "first": skip.first.to_string(),
        "last": skip.last.to_string(),
        "records": skip.offsets().to_string(),
    })
}
