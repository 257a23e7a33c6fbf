//! Metadata of every topic, straight from the catalog into the answer.
//!
//! Clients ask for all topics at each reconnect; building structs for thousands of partitions would cost several
//! times what writing their bytes does.

use super::metadata::known_partition;
use super::placed::Placed;
use crate::node::topics::{TopicHere, TopicIndex};
use rustka_wire::codec::Writer;
use rustka_wire::metadata_response::MetadataResponse;

/// Where a partition's number stands in its encoding, behind the error code.
const INDEX_AT: usize = 2;
/// Rough size of one partition and of one topic without its name, to allocate once.
const PARTITION_BYTES: usize = 40;
const TOPIC_BYTES: usize = 64;

/// Writes `head` with all topics of the catalog in place of its own.
pub fn encode(
    w: &mut Writer,
    version: i16,
    head: &MetadataResponse<'_>,
    topics: &TopicIndex,
    node_id: i32,
    topic_operations: i32,
) {
    let flexible = version >= MetadataResponse::FLEXIBLE_FROM;
    w.buf
        .reserve(topics.partition_count() * PARTITION_BYTES + topics.len() * TOPIC_BYTES);
    if version >= 3 {
        w.i32(head.throttle_time_ms);
    }
    w.array(&head.brokers, flexible, |w, broker| {
        broker.encode(w, version)
    });
    if version >= 2 {
        w.nullable_string(head.cluster_id.as_deref(), flexible);
    }
    if version >= 1 {
        w.i32(head.controller_id);
    }
    length(w, topics.len(), flexible);
    let partition = partition_template(version, node_id);
    for topic in topics.topics() {
        encode_topic(w, version, topic, topic_operations, |w| {
            match topic.is_moved {
                false => repeat(w, &partition, topic.partitions.len()),
                true => (0i32..)
                    .zip(&topic.partitions)
                    .for_each(|(index, partition)| {
                        known_partition(index, &Placed::of(partition, node_id)).encode(w, version);
                    }),
            }
        });
    }
    if (8..=10).contains(&version) {
        w.i32(head.cluster_authorized_operations);
    }
    if version >= 13 {
        w.i16(head.error_code);
    }
    if flexible {
        w.uvarint(0);
    }
}

fn length(w: &mut Writer, length: usize, flexible: bool) {
    if flexible {
        w.uvarint(length as u32 + 1);
    } else {
        w.i32(length as i32);
    }
}

/// All partitions that are where they always were look alike but for their number.
fn partition_template(version: i16, node_id: i32) -> Vec<u8> {
    let mut w = Writer::with_capacity(PARTITION_BYTES);
    let at_home = Placed {
        leader_id: node_id,
        leader_epoch: 0,
        replica: node_id,
    };
    known_partition(0, &at_home).encode(&mut w, version);
    w.buf
}

fn encode_topic(
    w: &mut Writer,
    version: i16,
    topic: &TopicHere,
    operations: i32,
    partitions: impl FnOnce(&mut Writer),
) {
    let flexible = version >= MetadataResponse::FLEXIBLE_FROM;
    w.i16(0);
    w.string(&topic.name, flexible);
    if version >= 10 {
        w.uuid(topic.id);
    }
    if version >= 1 {
        w.bool(topic.internal);
    }
    length(w, topic.partitions.len(), flexible);
    partitions(w);
    if version >= 8 {
        w.i32(operations);
    }
    if flexible {
        w.uvarint(0);
    }
}

/// The same partition as often as there are partitions, each with its number.
fn repeat(w: &mut Writer, partition: &[u8], count: usize) {
    for index in (0i32..).take(count) {
        let at = w.buf.len() + INDEX_AT;
        w.raw(partition);
        w.buf[at..at + 4].copy_from_slice(&index.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::known;
    use super::*;
    use crate::Broker;
    use crate::api::access::all_topic_operations;
    use rustka_core::cluster::command::Command;
    use std::borrow::Cow;

    #[test]
    fn it_writes_the_very_bytes_of_the_generated_encoder() {
        let broker = Broker::builder()
            .port(0)
            .http_port(0)
            .config("num.partitions", "3")
            .start()
            .unwrap();
        let (node, operations) = (broker.node(), all_topic_operations());
        for name in ["b", "a-longer-name", "c"] {
            broker.parts().cluster.auto_create(name).unwrap();
        }
        let moved = node.topics.by_name("b").unwrap();
        for (partition, leader) in [(1, 7), (2, -1)] {
            let elect = Command::Elect {
                topic: moved.id,
                partition,
                leader,
            };
            drop(broker.parts().cluster.call(elect));
        }
        for version in MetadataResponse::MIN_VERSION..=MetadataResponse::MAX_VERSION {
            let head = MetadataResponse {
                cluster_id: Some(Cow::Borrowed("id")),
                controller_id: 1,
                ..Default::default()
            };
            let mut direct = Writer::default();
            encode(
                &mut direct,
                version,
                &head,
                &node.topics.read(),
                1,
                operations,
            );
            let topics = node
                .topics
                .all()
                .iter()
                .map(|topic| known(topic, 1, operations))
                .collect();
            let mut generated = Writer::default();
            MetadataResponse { topics, ..head }.encode(&mut generated, version);
            assert_eq!(direct.buf, generated.buf, "version {version}");
        }
    }
}
