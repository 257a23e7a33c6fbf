//! Two more dialects, for dashboards that were made for them: what there is under their names, and nothing that would have
//! to be invented.

use super::exporter::Seen;
use super::series::Series;
use crate::node::Node;
use rustka_wire::api::ApiKey;
use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;

/// Names as Prometheus' JMX exporter makes them of Kafka's.
pub fn jmx(node: &Node, seen: &Seen, series: &mut Series) {
    let metrics = &node.metrics;
    let counters = [
        ("messagesin", metrics.records_in.load(Relaxed)),
        ("bytesin", metrics.bytes_in.load(Relaxed)),
        ("bytesout", metrics.bytes_out.load(Relaxed)),
    ];
    for (name, value) in counters {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        series.family(&name, "counter", "Of all topics together.");
        series.put(&name, &[], value);
    }
    let partitions: usize = seen
        .topics
        .iter()
        .map(|(_, partitions)| partitions.len())
        .sum();
    let gauges = [
        ("kafka_server_replicamanager_partitioncount", partitions),
        ("kafka_server_replicamanager_leadercount", partitions),
        ("kafka_server_replicamanager_underreplicatedpartitions", 0),
        ("kafka_controller_kafkacontroller_activecontrollercount", 1),
        ("kafka_controller_kafkacontroller_offlinepartitionscount", 0),
    ];
    for (name, value) in gauges {
        series.family(name, "gauge", "As Kafka tells it of itself.");
        series.put(name, &[], value);
    }
    let name = "kafka_network_requestmetrics_requests_total";
    series.family(name, "counter", "Requests.");
    for (key, count) in metrics.all_requests() {
        let api = ApiKey::find(key).map_or("unknown", |api| api.name);
        series.put(name, &[("request", &api)], count);
    }
    of_partitions(
        seen,
        series,
        [
            ("kafka_log_log_size", |glance| glance.bytes),
            ("kafka_log_log_logstartoffset", |glance| {
                positive(glance.offsets.log_start)
            }),
            ("kafka_log_log_logendoffset", |glance| {
                positive(glance.offsets.log_end)
            }),
        ],
        "topic",
        "partition",
    );
}

/// Names of Redpanda's public metrics.
pub fn redpanda(node: &Node, seen: &Seen, series: &mut Series) {
    let metrics = &node.metrics;
    let name = "redpanda_kafka_request_bytes_total";
    series.family(name, "counter", "Bytes of records written and read.");
    for (request, value) in [
        ("produce", metrics.bytes_in.load(Relaxed)),
        ("consume", metrics.bytes_out.load(Relaxed)),
    ] {
        series.put(name, &[("redpanda_request", &request)], value);
    }
    let name = "redpanda_kafka_partitions";
    series.family(name, "gauge", "Partitions of a topic.");
    for (topic, partitions) in &seen.topics {
        let labels: [(&str, &dyn Display); 2] =
            [("redpanda_namespace", &"kafka"), ("redpanda_topic", topic)];
        series.put(name, &labels, partitions.len());
    }
    of_partitions(
        seen,
        series,
        [("redpanda_kafka_max_offset", |glance| {
            positive(glance.offsets.high_watermark)
        })],
        "redpanda_topic",
        "redpanda_partition",
    );
    let name = "redpanda_kafka_consumer_group_consumers";
    series.family(name, "gauge", "Members of a group.");
    for group in &seen.groups {
        series.put(name, &[("redpanda_group", &group.id)], group.members);
    }
    let name = "redpanda_kafka_consumer_group_committed_offset";
    series.family(name, "gauge", "Offset that a group has committed.");
    for group in &seen.groups {
        for (topic, partition, offset, _) in &group.offsets {
            let labels: [(&str, &dyn Display); 3] = [
                ("redpanda_group", &group.id),
                ("redpanda_topic", topic),
                ("redpanda_partition", partition),
            ];
            series.put(name, &labels, offset);
        }
    }
    for (name, of) in [
        (
            "redpanda_kafka_consumer_group_lag_sum",
            sum as fn(&[i64]) -> i64,
        ),
        ("redpanda_kafka_consumer_group_lag_max", |lags| {
            lags.iter().copied().max().unwrap_or(0)
        }),
    ] {
        series.family(name, "gauge", "Records that a group has left to read.");
        for group in &seen.groups {
            let lags: Vec<i64> = group.offsets.iter().map(|(.., lag)| *lag).collect();
            series.put(name, &[("redpanda_group", &group.id)], of(&lags));
        }
    }
}

fn sum(lags: &[i64]) -> i64 {
    lags.iter().sum()
}

fn positive(offset: i64) -> u64 {
    offset.unsigned_abs()
}

type OfPartition = (&'static str, fn(&rustka_storage::Glance) -> u64);

fn of_partitions<const N: usize>(
    seen: &Seen,
    series: &mut Series,
    families: [OfPartition; N],
    topic_label: &str,
    partition_label: &str,
) {
    for (name, value) in families {
        series.family(name, "gauge", "Of each partition.");
        for (topic, partitions) in &seen.topics {
            for (index, glance) in partitions.iter().enumerate() {
                let labels: [(&str, &dyn Display); 2] =
                    [(partition_label, &index), (topic_label, topic)];
                series.put(name, &labels, value(glance));
            }
        }
    }
}
