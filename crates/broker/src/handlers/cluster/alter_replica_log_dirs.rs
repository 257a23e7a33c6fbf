//! AlterReplicaLogDirs (key 34): moving partitions between directories, of which there is one.
//! v2 flexible

use super::describe_log_dirs::log_dir;
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::ErrorCode;
use rustka_wire::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use rustka_wire::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Accepts what lies where it is wanted.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: AlterReplicaLogDirsRequest<'_> = request.decode()?;
    let denied = request.check(Operation::Alter, Resource::Cluster).err();
    // Of a partition that comes more than once the last directory counts, as in Kafka.
    let mut results: BTreeMap<&str, BTreeMap<i32, ErrorCode>> = BTreeMap::new();
    for dir in &asked.dirs {
        let error = match &denied {
            Some(code) => *code,
            None if dir.path == log_dir(request.node) => ErrorCode::None,
            None => ErrorCode::LogDirNotFound,
        };
        for topic in &dir.topics {
            for partition in &topic.partitions {
                let topic = results.entry(&*topic.name).or_default();
                topic.insert(*partition, error);
            }
        }
    }
    let exists = |topic: &str, partition| request.node.partition(topic, partition).is_some();
    let results = results.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, error)| {
            let error = match error {
                ErrorCode::None if !exists(name, index) => ErrorCode::UnknownTopicOrPartition,
                error => error,
            };
            AlterReplicaLogDirPartitionResult {
                partition_index: index,
                error_code: error.code(),
            }
        });
        AlterReplicaLogDirTopicResult {
            topic_name: Cow::Borrowed(name),
            partitions: partitions.collect(),
        }
    });
    let response = AlterReplicaLogDirsResponse {
        results: results.collect(),
        throttle_time_ms: request.throttle_time_ms(),
    };
    Ok(request.reply(|w| response.encode(w, version)))
}
