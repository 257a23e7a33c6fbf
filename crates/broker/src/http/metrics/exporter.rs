//! The names of kafka_exporter, which most dashboards for topics and lag ask for.

use super::series::Series;
use crate::api::parts::Parts;
use crate::node::Node;
use crate::node::topics::TopicRef;
use rustka_core::group::command::{Command, ListGroups, OffsetFetch};
use rustka_core::group::effects::Reply;
use rustka_storage::Glance;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What there was to be seen when somebody scraped.
pub struct Seen {
    /// Topics of clients with their partitions.
    pub topics: Vec<(Arc<str>, Vec<Glance>)>,
    /// Groups.
    pub groups: Vec<SeenGroup>,
}

/// A group.
pub struct SeenGroup {
    /// Its id.
    pub id: Arc<str>,
    /// How many members it has.
    pub members: usize,
    /// Topic, partition, committed offset and what is left to be read, where the partition is still there.
    pub offsets: Vec<(Arc<str>, i32, i64, i64)>,
}

impl Seen {
    /// Looks at everything.
    pub async fn look(parts: &Arc<Parts>) -> Seen {
        let topics = parts.node.topics.all();
        // Of what is not open yet nothing is known.
        let all_are_open = parts.node.opener.left() == 0;
        let is_open = |topic: &&TopicRef| {
            all_are_open || !topic.partitions.iter().any(|one| one.is_opening())
        };
        let topics = topics
            .iter()
            .filter(|topic| !topic.internal)
            .filter(is_open);
        let topics = topics.map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| partition.glance());
            (topic.name.clone(), partitions.collect::<Vec<Glance>>())
        });
        let topics: Vec<(Arc<str>, Vec<Glance>)> = topics.collect();
        let groups = groups(parts, &topics).await;
        Seen { topics, groups }
    }
}

async fn groups(parts: &Arc<Parts>, topics: &[(Arc<str>, Vec<Glance>)]) -> Vec<SeenGroup> {
    let ends: BTreeMap<&str, &[Glance]> = topics
        .iter()
        .map(|(name, partitions)| (&**name, partitions.as_slice()))
        .collect();
    let all = Command::ListGroups(ListGroups {
        states: Vec::new(),
        types: Vec::new(),
    });
    let mut seen = Vec::new();
    for answer in parts.groups.call_all(&all) {
        let Some(Reply::ListGroups(listed)) = answer.get().await else {
            continue;
        };
        for listed in listed {
            let end = |topic: &str, partition: i32| {
                let partitions = ends.get(topic)?;
                let glance = partitions.get(usize::try_from(partition).ok()?)?;
                Some(glance.offsets.high_watermark)
            };
            seen.push(look_at_group(parts, &listed.group, end).await);
        }
    }
    seen
}

/// Looks at a group; `end` is where a partition ends for consumers, none if it is not to be told of.
pub async fn look_at_group(
    parts: &Arc<Parts>,
    id: &Arc<str>,
    end: impl Fn(&str, i32) -> Option<i64>,
) -> SeenGroup {
    let describe = Command::DescribeGroup { group: id.clone() };
    let members = match parts.groups.call(id, describe).get().await {
        Some(Reply::DescribeGroup(Ok(Some(described)))) => described.members.len(),
        _ => {
            let describe = Command::DescribeConsumerGroup { group: id.clone() };
            match parts.groups.call(id, describe).get().await {
                Some(Reply::DescribeConsumerGroup(Ok(described))) => described.members.len(),
                _ => 0,
            }
        }
    };
    let fetch = Command::OffsetFetch(OffsetFetch {
        group: id.clone(),
        topics: None,
        member: (None, -1),
        require_stable: false,
    });
    let mut offsets = Vec::new();
    if let Some(Reply::OffsetFetch(Ok(fetched))) = parts.groups.call(id, fetch).get().await {
        for topic in fetched {
            for one in topic.partitions.iter().filter(|one| one.offset >= 0) {
                if let Some(end) = end(&topic.topic, one.partition) {
                    let lag = (end - one.offset).max(0);
                    offsets.push((topic.topic.clone(), one.partition, one.offset, lag));
                }
            }
        }
    }
    SeenGroup {
        id: id.clone(),
        members,
        offsets,
    }
}

/// One value of each partition.
type OfPartition = fn(&Node, &Glance) -> i64;

const PARTITIONS: [(&str, &str, OfPartition); 7] = [
    (
        "kafka_topic_partition_current_offset",
        "Offset behind the last record.",
        |_, glance| glance.offsets.high_watermark,
    ),
    (
        "kafka_topic_partition_oldest_offset",
        "Offset of the first record.",
        |_, glance| glance.offsets.log_start,
    ),
    (
        "kafka_topic_partition_leader",
        "Id of the leader.",
        |node, _| i64::from(node.id),
    ),
    (
        "kafka_topic_partition_leader_is_preferred",
        "Whether the leader is the preferred one.",
        |_, _| 1,
    ),
    ("kafka_topic_partition_replicas", "Replicas.", |_, _| 1),
    (
        "kafka_topic_partition_in_sync_replica",
        "Replicas in sync.",
        |_, _| 1,
    ),
    (
        "kafka_topic_partition_under_replicated_partition",
        "Whether there are fewer replicas in sync than replicas.",
        |_, _| 0,
    ),
];

/// Tells it.
pub fn tell(node: &Node, seen: &Seen, series: &mut Series) {
    series.family("kafka_brokers", "gauge", "Brokers.");
    series.put("kafka_brokers", &[], 1);
    series.family("kafka_broker_info", "gauge", "Address and id of a broker.");
    let told = node.listeners.first().map(|first| {
        let own = || ("localhost".into(), first.port);
        let (host, port) = first.advertised().unwrap_or_else(own);
        format!("{host}:{port}")
    });
    let address = told.unwrap_or_default();
    series.put(
        "kafka_broker_info",
        &[("address", &address), ("id", &node.id)],
        1,
    );
    series.family("kafka_topic_partitions", "gauge", "Partitions of a topic.");
    for (topic, partitions) in &seen.topics {
        series.put(
            "kafka_topic_partitions",
            &[("topic", topic)],
            partitions.len(),
        );
    }
    for (name, help, value) in PARTITIONS {
        series.family(name, "gauge", help);
        for (topic, partitions) in &seen.topics {
            for (index, glance) in partitions.iter().enumerate() {
                let labels: [(&str, &dyn std::fmt::Display); 2] =
                    [("partition", &index), ("topic", topic)];
                series.put(name, &labels, value(node, glance));
            }
        }
    }
    groups_told(seen, series);
}

/// Name, meaning and value of an offset and its lag.
type OfOffset = (&'static str, &'static str, fn(i64, i64) -> i64);

fn groups_told(seen: &Seen, series: &mut Series) {
    let name = "kafka_consumergroup_members";
    series.family(name, "gauge", "Members of a group.");
    for group in &seen.groups {
        series.put(name, &[("consumergroup", &group.id)], group.members);
    }
    let of_partition: [OfOffset; 2] = [
        (
            "kafka_consumergroup_current_offset",
            "Offset that a group has committed.",
            |offset, _| offset,
        ),
        (
            "kafka_consumergroup_lag",
            "Records that a group has left to read.",
            |_, lag| lag,
        ),
    ];
    for (name, help, value) in of_partition {
        series.family(name, "gauge", help);
        for group in &seen.groups {
            for (topic, partition, offset, lag) in &group.offsets {
                let labels: [(&str, &dyn std::fmt::Display); 3] = [
                    ("consumergroup", &group.id),
                    ("partition", partition),
                    ("topic", topic),
                ];
                series.put(name, &labels, value(*offset, *lag));
            }
        }
        let sum = format!("{name}_sum");
        series.family(&sum, "gauge", "The same of all partitions of a topic.");
        for group in &seen.groups {
            let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
            for (topic, _, offset, lag) in &group.offsets {
                *sums.entry(topic).or_default() += value(*offset, *lag);
            }
            for (topic, total) in sums {
                series.put(
                    &sum,
                    &[("consumergroup", &group.id), ("topic", &topic)],
                    total,
                );
            }
        }
    }
}
