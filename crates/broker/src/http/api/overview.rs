//! The broker at a glance.

use crate::base::hooks::{Operation, Resource};
use crate::http::answer::{Answer, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use crate::http::readings::Reading;
use crate::node::Node;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;

/// What the broker holds and does now.
pub async fn show(ask: Ask) -> Result<Answer, Problem> {
    let node = ask.node();
    let reading = ask.http.readings.topics(node);
    let mut shown = state(node, &reading);
    let access = ask.access();
    shown["groups"] = ask.parts().groups.counts().0.into();
    shown["mayCreateTopics"] = access.may(Operation::Create, Resource::Cluster).into();
    Ok(json(&shown))
}

/// How that went: 15 minutes by the second, or 6 hours in steps of ten seconds.
pub async fn history(ask: Ask) -> Result<Answer, Problem> {
    let is_long = ask.query.word("range", &["15m", "6h"])? == "6h";
    let since = ask.query.number("since", 0..=u64::MAX)?;
    Ok(json(&ask.http.history.shown(is_long, since)))
}

/// Totals of everything, without names of anything.
pub fn state(node: &Node, reading: &Reading) -> Value {
    let metrics = &node.metrics;
    // Of the clock as it is now, and the same until somebody sets it.
    let started_ms = (node.clock.now().wall_ms - node.uptime_ms()) / 1_000 * 1_000;
    let requests: u64 = metrics.all_requests().map(|(_, count)| count).sum();
    let open = usize::try_from(metrics.connections_open.load(Relaxed)).unwrap_or(0);
    let topics = reading.topics.values();
    let of_clients = || topics.clone().filter(|topic| !topic.is_internal);
    let oldest_ms = of_clients().filter_map(|topic| topic.oldest_ms).min();
    let failing = node.health.failing();
    let failing: Vec<&str> = failing.iter().map(|task| &**task).collect();
    let listeners = node.listeners.iter().map(|one| {
        let (host, port) = one
            .advertised()
            .unwrap_or_else(|| ("localhost".into(), one.port));
        json!({
            "name": one.name,
            "protocol": one.protocol.name(),
            "port": one.port,
            "advertised": format!("{host}:{port}"),
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "nodeId": node.id,
        "clusterId": node.cluster_id,
        "strict": node.strict,
        "listeners": listeners.collect::<Vec<_>>(),
        "startedMs": started_ms.to_string(),
        "connections": open,
        "connectionsTotal": metrics.connections_accepted.load(Relaxed).to_string(),
        "connectionsRefused": metrics.connections_refused.load(Relaxed).to_string(),
        "requests": requests.to_string(),
        "recordsIn": metrics.records_in.load(Relaxed).to_string(),
        "bytesIn": metrics.bytes_in.load(Relaxed).to_string(),
        "bytesOut": metrics.bytes_out.load(Relaxed).to_string(),
        "topics": of_clients().count(),
        "partitions": of_clients().map(|topic| topic.partitions).sum::<usize>(),
        "records": of_clients().map(|topic| topic.records).sum::<i64>().to_string(),
        "bytes": of_clients().map(|topic| topic.bytes).sum::<u64>().to_string(),
        "oldestMs": oldest_ms.map(|ms| ms.to_string()),
        "memory": {
            "inUse": node.memory.pool.bytes_in_use().to_string(),
            "kept": node.memory.pool.bytes_kept().to_string(),
            "limit": node.memory.limit().to_string(),
            "evictedChunks": node.memory.evicted.load(Relaxed).to_string(),
        },
        "disk": disk(node),
        "failing": failing,
    })
}

/// The volume of the data directory, where there is one.
fn disk(node: &Node) -> Value {
    let (Some(directory), Some(figures)) = (node.engine.directory(), node.engine.figures()) else {
        return Value::Null;
    };
    let volume = figures.volume;
    json!({
        "directory": directory.to_string_lossy(),
        "totalBytes": volume.map(|volume| volume.total_bytes.to_string()),
        "freeBytes": volume.map(|volume| volume.free_bytes.to_string()),
        "reserveBytes": figures.reserve_bytes.to_string(),
        "isFull": node.engine.is_full(),
        "syncs": figures.syncs.to_string(),
        "syncUs": figures.sync_us.to_string(),
        "failures": figures.failures.to_string(),
    })
}
