//! DescribeLogDirs (key 35): where partitions lie and how large they are.
//! v2 flexible · v3 error of the whole answer · v4 size of the volume (KIP-827) · v5 cordoned directories (KIP-1066)

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::node::Node;
use rustka_wire::describe_log_dirs_request::DescribeLogDirsRequest;
use rustka_wire::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Where records are that are in memory, named as a path because tools expect one.
const MEMORY: &str = "/memory";

/// A size of the volume that nobody knows, as in Kafka (KIP-827).
const UNKNOWN: i64 = -1;

/// The one directory.
pub fn log_dir(node: &Node) -> Cow<'_, str> {
    match node.engine.directory() {
        Some(path) => path.to_string_lossy(),
        None => Cow::Borrowed(MEMORY),
    }
}

/// Tells of all partitions, or of those that were asked for and exist.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: DescribeLogDirsRequest<'_> = request.decode()?;
    if let Err(code) = request.check(Operation::Describe, Resource::Cluster) {
        let response = DescribeLogDirsResponse {
            error_code: code.code(),
            throttle_time_ms: request.throttle_time_ms(),
            ..Default::default()
        };
        return Ok(request.reply(|w| response.encode(w, version)));
    }
    let node = request.node;
    let mut wanted: Option<BTreeMap<&str, BTreeSet<i32>>> = None;
    if let Some(topics) = &asked.topics {
        let wanted = wanted.insert(BTreeMap::new());
        for topic in topics {
            let partitions = wanted.entry(&*topic.topic).or_default();
            partitions.extend(&topic.partitions);
        }
    }
    let topics = match &wanted {
        None => node.topics.all(),
        Some(wanted) => {
            let catalog = node.topics.read();
            let names = wanted.keys();
            names
                .filter_map(|name| catalog.by_name(name).cloned())
                .collect()
        }
    };
    let topics = topics.iter().filter_map(|topic| {
        let only = wanted.as_ref().and_then(|wanted| wanted.get(&*topic.name));
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .filter(|partition| only.is_none_or(|only| only.contains(&partition.index)))
            .filter(|partition| !partition.is_opening())
            .map(|partition| DescribeLogDirsPartition {
                partition_index: partition.index,
                partition_size: i64::try_from(partition.bytes()).unwrap_or(i64::MAX),
                ..Default::default()
            })
            .collect();
        (!partitions.is_empty()).then(|| DescribeLogDirsTopic {
            name: Cow::Owned(topic.name.to_string()),
            partitions,
        })
    });
    let (total_bytes, usable_bytes) = volume(node);
    let response = DescribeLogDirsResponse {
        results: vec![DescribeLogDirsResult {
            log_dir: log_dir(node),
            topics: topics.collect(),
            total_bytes,
            usable_bytes,
            ..Default::default()
        }],
        throttle_time_ms: request.throttle_time_ms(),
        ..Default::default()
    };
    Ok(request.reply(|w| response.encode(w, version)))
}

/// How much there is and how much of it is free where records lie: of the volume, or of the memory.
fn volume(node: &Node) -> (i64, i64) {
    let (total, free) = match node.engine.figures() {
        Some(figures) => match figures.volume {
            Some(volume) => (volume.total_bytes, volume.free_bytes),
            None => return (UNKNOWN, UNKNOWN),
        },
        None => {
            let limit = node.memory.limit();
            let free = limit.saturating_sub(node.pool.bytes_in_use());
            (limit as u64, free as u64)
        }
    };
    let told = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    (told(total), told(free))
}
