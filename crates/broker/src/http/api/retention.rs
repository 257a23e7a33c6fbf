//! How long until the oldest records of a topic go, and by which rule.

use super::topics::find;
use crate::base::hooks::{Operation, Resource};
use crate::http::answer::{Answer, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use crate::node::topics::TopicRef;
use rustka_core::config::ConsumerRetention;
use rustka_core::group::Reader;
use rustka_storage::engine::ChunkInfo;
use serde_json::{Value, json};

/// The next records to go: by time, by size, or at the broker's memory limit.
pub async fn show(ask: Ask) -> Result<Answer, Problem> {
    let topic = find(&ask, ask.name(0))?;
    let (node, config) = (ask.node(), topic.config.now());
    let reading = ask.http.readings.topics(node);
    let byte_rate = |name: &str| {
        let topic = reading.topics.get(name)?;
        Some(topic.rates?.1)
    };
    let share = byte_rate(&topic.name).unwrap_or(0.0) / topic.partitions.len().max(1) as f64;
    let now = node.clock.now();
    let mut next: Vec<Next> = Vec::new();
    for partition in &topic.partitions {
        let glance = partition.glance();
        let mut oldest: Option<ChunkInfo> = None;
        // One that is offline has nothing that could go.
        let _readable = partition.each_chunk(glance.offsets.log_start, |chunk| {
            oldest = Some(*chunk);
            false
        });
        let Some(oldest) = oldest.filter(|_| config.delete) else {
            continue;
        };
        let of = |rule, in_ms: f64| Next {
            partition: partition.index,
            rule,
            in_ms: in_ms.max(0.0),
            records: oldest.next_offset.saturating_sub(glance.offsets.log_start),
            bytes: oldest.bytes,
        };
        if config.retention_ms >= 0 {
            let age_ms = now.aging_ms.saturating_sub(oldest.time_ms());
            next.push(of(
                "retention.ms",
                (config.retention_ms.saturating_sub(age_ms)) as f64,
            ));
        }
        if config.retention_bytes >= 0 && share > 0.0 {
            let without = glance.bytes.saturating_sub(oldest.bytes);
            let room = config.retention_bytes as f64 - without as f64;
            next.push(of("retention.bytes", room / share * 1_000.0));
        }
    }
    let all: f64 = reading
        .topics
        .values()
        .filter_map(|topic| topic.rates)
        .map(|rates| rates.1)
        .sum();
    let used = node.memory.pool.bytes_in_use();
    let room = node.memory.limit().saturating_sub(used) as f64;
    let full_in_ms = (all > 0.0).then(|| room / all * 1_000.0);
    let first = next
        .into_iter()
        .min_by(|one, other| one.in_ms.total_cmp(&other.in_ms));
    Ok(json(&json!({
        "deletes": config.delete,
        "compacts": config.compact,
        "retentionMs": config.retention_ms.to_string(),
        "retentionBytes": config.retention_bytes.to_string(),
        "checkEveryMs": node.config.settings().log_retention_check_interval_ms.to_string(),
        "next": first.map(|next| next.shown()),
        "consumers": config.retention_consumers.name(),
        "holders": holders(&ask, &topic),
        "inFiles": node.engine.directory().is_some(),
        "totalBytes": node.config.settings().retention_total_bytes.to_string(),
        "memory": {
            "inUse": used.to_string(),
            "limit": node.memory.limit().to_string(),
            "byteRate": all,
            "fullInMs": full_in_ms.map(whole),
        },
    })))
}

/// So many groups are told of.
const HOLDERS_MAX: usize = 20;

/// The groups whose unread records a topic keeps, or waits for before it lets records go, those with the most first.
fn holders(ask: &Ask, topic: &TopicRef) -> Vec<Value> {
    if topic.config.now().retention_consumers == ConsumerRetention::None {
        return Vec::new();
    }
    let access = ask.access();
    let readers = ask.parts().groups.readers(topic);
    let seen = readers
        .iter()
        .filter(|reader| access.may(Operation::Describe, Resource::Group(&reader.group)));
    let mut holders: Vec<(i64, &Reader)> = seen
        .map(|reader| {
            let unread = topic.partitions.iter().zip(&reader.offsets);
            let unread = unread.map(|(partition, offset)| {
                let offsets = partition.offsets();
                let from = offset.unwrap_or(0).max(offsets.log_start);
                offsets.high_watermark.saturating_sub(from).max(0)
            });
            (unread.sum(), reader)
        })
        .filter(|(unread, _)| *unread > 0)
        .collect();
    holders.sort_by(|one, other| {
        other
            .0
            .cmp(&one.0)
            .then_with(|| one.1.group.cmp(&other.1.group))
    });
    holders.truncate(HOLDERS_MAX);
    let shown = holders
        .into_iter()
        .map(|(unread, reader)| json!({ "group": &*reader.group, "records": unread.to_string() }));
    shown.collect()
}

struct Next {
    partition: i32,
    rule: &'static str,
    in_ms: f64,
    records: i64,
    bytes: u64,
}

impl Next {
    fn shown(&self) -> Value {
        json!({
            "partition": self.partition,
            "rule": self.rule,
            "inMs": whole(self.in_ms),
            "records": self.records.to_string(),
            "bytes": self.bytes.to_string(),
        })
    }
}

fn whole(ms: f64) -> String {
    // A float becomes the nearest whole number there is.
    (ms as i64).to_string()
}
