//! WriteTxnMarkers (key 27): ends transactions in partitions, for coordinators and for operators who free a partition
//! from a transaction that hangs (E130).
//! v2 transaction version (KIP-1228)

use crate::api::request::{Handled, Outcome, Request};
use crate::api::twins::fold_twins;
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::groups;
use rustka_core::error::ErrorCode;
use rustka_core::group::command::Command;
use rustka_core::group::effects::Reply;
use rustka_core::log::Marker;
use rustka_core::names::CONSUMER_OFFSETS;
use rustka_storage::{Durability, Fate, Partition, Safety};
use rustka_wire::write_txn_markers_request::{WritableTxnMarker, WriteTxnMarkersRequest};
use rustka_wire::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
};
use std::borrow::Cow;
use std::sync::Arc;

/// In transactions of this version on, a marker's epoch is above that of the records.
const EPOCH_BUMPED_FROM: i8 = 2;

/// What became of one marker.
enum Written {
    Now(ErrorCode),
    Later(Arc<Partition>, i64),
    Groups(groups::Answer),
}

/// Writes each marker; the coordinator does not learn of it, as in Kafka.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: WriteTxnMarkersRequest<'_> = request.decode()?;
    let asked = asked.into_owned();
    // Operators come first, as in Kafka.
    let may = request.may(Operation::Alter, Resource::Cluster)
        || request.may(Operation::ClusterAction, Resource::Cluster);
    let mut written = Vec::new();
    for marker in &asked.markers {
        for topic in &marker.topics {
            for at in &topic.partition_indexes {
                written.push(match may {
                    true => write(&request, marker, &topic.name, *at),
                    false => Written::Now(ErrorCode::ClusterAuthorizationFailed),
                });
            }
        }
    }
    let respond = request.respond();
    let finish = move |codes: Vec<ErrorCode>| {
        let mut codes = codes.into_iter();
        let mut code = || codes.next().unwrap_or(ErrorCode::UnknownServerError).code();
        let markers = asked.markers.iter().map(|marker| {
            let topics = marker.topics.iter().map(|topic| {
                let partitions = topic.partition_indexes.iter();
                let partitions = partitions.map(|at| WritableTxnMarkerPartitionResult {
                    partition_index: *at,
                    error_code: code(),
                });
                WritableTxnMarkerTopicResult {
                    name: Cow::Borrowed(&*topic.name),
                    partitions: partitions.collect(),
                }
            });
            WritableTxnMarkerResult {
                producer_id: marker.producer_id,
                topics: topics.collect(),
            }
        });
        let response = WriteTxnMarkersResponse {
            markers: by_producer(markers.collect()),
        };
        let version = respond.version();
        Outcome::Reply(respond.encode(&[], |w| response.encode(w, version)))
    };
    if written.iter().all(|it| matches!(it, Written::Now(_))) {
        let codes = written.into_iter().map(|it| match it {
            Written::Now(code) => code,
            _ => ErrorCode::None,
        });
        return Ok(finish(codes.collect()));
    }
    Ok(Outcome::Park(Box::pin(async move {
        let mut codes = Vec::with_capacity(written.len());
        for it in written {
            codes.push(it.code().await);
        }
        finish(codes)
    })))
}

/// Each producer once, as Kafka tells it; of two markers for one partition only the last is told.
fn by_producer(markers: Vec<WritableTxnMarkerResult<'_>>) -> Vec<WritableTxnMarkerResult<'_>> {
    let mut markers = fold_twins(
        markers,
        |a, b| a.producer_id.cmp(&b.producer_id),
        |first, later| first.topics.extend(later.topics),
    );
    for marker in &mut markers {
        marker.topics = fold_twins(
            std::mem::take(&mut marker.topics),
            |a, b| a.name.cmp(&b.name),
            |first, later| first.partitions.extend(later.partitions),
        );
        for topic in &mut marker.topics {
            topic.partitions = fold_twins(
                std::mem::take(&mut topic.partitions),
                |a, b| a.partition_index.cmp(&b.partition_index),
                |first, later| *first = later,
            );
        }
    }
    markers
}

impl Written {
    async fn code(self) -> ErrorCode {
        match self {
            Written::Now(code) => code,
            Written::Later(partition, position) => {
                match partition.settled(position, Safety::Durable).await {
                    Fate::Failed => ErrorCode::KafkaStorageError,
                    _ => ErrorCode::None,
                }
            }
            Written::Groups(answer) => match answer.get().await {
                Some(Reply::Ended(Ok(()))) => ErrorCode::None,
                Some(Reply::Ended(Err(code))) => code,
                _ => ErrorCode::NotLeaderOrFollower,
            },
        }
    }
}

fn write(request: &Request<'_>, asked: &WritableTxnMarker<'_>, topic: &str, at: i32) -> Written {
    let Some(partition) = request.node.partition(topic, at) else {
        return Written::Now(ErrorCode::UnknownTopicOrPartition);
    };
    if asked.producer_epoch < 0 || asked.producer_id < 0 {
        return Written::Now(ErrorCode::UnknownServerError);
    }
    let producer = (asked.producer_id, asked.producer_epoch);
    let marker = Marker {
        commit: asked.transaction_result,
        coordinator_epoch: asked.coordinator_epoch,
        epoch_bumped: asked.transaction_version >= EPOCH_BUMPED_FROM,
    };
    if topic != CONSUMER_OFFSETS {
        return match request.node.append_marker(&partition, producer, &marker) {
            Ok(appended) => match appended.durability {
                Durability::Done => Written::Now(ErrorCode::None),
                Durability::At(position) => Written::Later(partition, position),
            },
            Err(refusal) => Written::Now(refusal.code),
        };
    }
    match partition.with_led_state(|state| state.check_marker(producer, &marker)) {
        Err(code) => return Written::Now(code),
        Ok(Err(refusal)) => return Written::Now(refusal.code),
        Ok(Ok(())) => {}
    }
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let command = Command::EndTransaction { producer, marker };
    Written::Groups(request.parts.groups.call_at(at, command))
}
