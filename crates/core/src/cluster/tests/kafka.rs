//! The log that Kafka 4.4.0 wrote while its tools changed topics, configs and features, from its first start to its stop
//! (`metadata.max.idle.interval.ms=0`): read here, and written again here by the same commands.

use std::collections::BTreeMap;

use rustka_wire::Uuid;

use super::world::*;
use crate::batch::{Records, batches, record_bytes};
use crate::cluster::command::*;
use crate::cluster::place::Replicas;
use crate::cluster::records::Record;
use crate::cluster::resource::Resource;
use crate::cluster::resource::ResourceKind::{Broker, ClientMetrics, Group, Topic};
use crate::cluster::{Cluster, FeatureLevels};
use crate::machine::tests::encoded;
use crate::machine::{JournalRecord, Machine};

const LOG: &[u8] = include_bytes!("kafka-4.4.0.log");

const fn feature(name: &'static str, first: i16) -> FeatureLevels {
    FeatureLevels {
        name,
        min: 0,
        max: first,
        first,
        falls: true,
    }
}

/// In the order of Kafka's bootstrap records.
const KAFKAS: &[FeatureLevels] = &[
    feature("metadata.version", 33),
    feature("eligible.leader.replicas.version", 1),
    feature("group.version", 1),
    feature("share.version", 2),
    feature("streams.version", 1),
    feature("transaction.version", 2),
];

/// The values of all records, control records left out.
pub(super) fn values_of(log: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for batch in batches(log) {
        let (header, range) = batch.expect("a batch");
        if header.is_control() {
            continue;
        }
        let bytes = record_bytes(&log[range], &header, usize::MAX).expect("records");
        for record in Records::new(&bytes, header.record_count) {
            let record = record.expect("a record");
            assert_eq!(record.key, None);
            all.push(record.value.expect("a value").to_vec());
        }
    }
    all
}

fn records() -> Vec<Record> {
    records_of(LOG)
}

/// Those of the kinds that are remembered here, without what only holds some of them together.
pub(super) fn records_of(log: &[u8]) -> Vec<Record> {
    let decode = |value: Vec<u8>| Record::decode(None, Some(&value)).expect("well-formed");
    let records = values_of(log).into_iter().filter_map(decode);
    let says_something = |record: &Record| !matches!(record, Record::Together(_));
    records.filter(says_something).collect()
}

/// Reads and writes every record of a log, and tells how many there are of the kinds that are remembered here.
pub(super) fn compare_bytes(log: &[u8]) -> usize {
    let mut compared = 0;
    for value in values_of(log) {
        let decoded = Record::decode(None, Some(&value)).expect("well-formed");
        if let Some(record) = decoded {
            assert_eq!(encoded(&record), [(None, Some(value))], "{record:?}");
            compared += 1;
        }
    }
    compared
}

#[test]
fn every_record_is_written_with_kafkas_own_bytes() {
    assert_eq!(compare_bytes(LOG), 40);
}

#[test]
fn a_log_of_kafkas_is_read() {
    let w = World::with_features(KAFKAS).replayed(records());
    let cluster: &Cluster = &w.cluster;
    let names: Vec<_> = cluster.topics().topics().map(|t| &*t.name).collect();
    assert_eq!(names, ["a", "b"], "and one that is gone");
    let a = cluster.topics().by_name("a").unwrap();
    let set: Vec<_> = a.config.iter().collect();
    assert_eq!(
        set,
        [("cleanup.policy", "compact"), ("retention.ms", "6000")]
    );
    // Kafka has stopped: nobody leads, and this node is the one that may.
    assert_eq!(a.partitions.len(), 3);
    for place in &a.partitions {
        assert_eq!(
            (place.leader, place.leader_epoch, place.partition_epoch),
            (-1, 1, 1)
        );
        let Replicas {
            all,
            in_sync,
            eligible,
            ..
        } = &*place.replicas;
        assert_eq!((all.as_slice(), in_sync.as_slice()), (&[1][..], &[][..]));
        assert_eq!(eligible.as_deref(), Some(&[1][..]));
    }
    assert_eq!(cluster.topics().by_name("b").unwrap().partitions.len(), 2);
    assert_eq!(cluster.broker().value("log.retention.ms"), Some("900000"));
    assert_eq!(cluster.broker().value("log.segment.bytes"), Some("2000000"));
    let set = |kind, name| {
        cluster
            .configs(&Resource::new(kind, name))
            .map(|set| set.len())
    };
    assert_eq!(
        (set(Group, "g"), set(ClientMetrics, "m")),
        (Some(1), Some(1))
    );
    assert_eq!(cluster.feature("share.version"), 1);
    assert_eq!(cluster.feature("metadata.version"), 33);
    let mut w = w;
    assert_eq!(w.producer_ids(), Ok(1_000), "Kafka took the ids below");
}

/// Says a record without what is another one in each cluster: ids of topics and directories, lives of brokers.
fn said(record: &Record, names: &mut BTreeMap<Uuid, String>) -> String {
    let mut record = record.clone();
    match &mut record {
        Record::Topic { name, id } => {
            names.insert(*id, name.to_string());
        }
        Record::Partitions { place, .. } => {
            let mut replicas = (*place.replicas).clone();
            replicas.directories.fill(Uuid::ZERO);
            place.replicas = replicas.into();
        }
        Record::ProducerIds { broker_epoch, .. } => *broker_epoch = 0,
        _ => {}
    }
    let mut text = format!("{record:?}");
    for (id, name) in names {
        text = text.replace(&id.to_string(), name);
        text = text.replace(&format!("{id:?}"), name);
    }
    text
}

#[test]
fn the_same_commands_write_the_same_records_in_the_same_order() {
    let mut w = World::with_features(KAFKAS);
    w.cluster.options.first_producer_id = 0;
    let topic = |name, partitions, pairs: &[(&str, &str)]| CreateTopic {
        partitions,
        configs: pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect(),
        ..by_default(name)
    };
    let compact = [("cleanup.policy", "compact"), ("retention.ms", "5000")];
    w.create_as(topic("a", 3, &compact)).unwrap();
    w.create_as(topic("b", 1, &[("min.insync.replicas", "1")]))
        .unwrap();
    w.create_as(topic("gone", 2, &[("retention.ms", "7")]))
        .unwrap();
    w.extend("b", 2, None).unwrap();
    let gone = DeleteTopic {
        name: Some("gone".to_owned()),
        id: Uuid::ZERO,
    };
    assert!(w.delete(&[gone])[0].is_ok());
    w.update_feature("share.version", 2, Direction::Upgrade)
        .unwrap();
    w.update_feature("share.version", 1, Direction::UnsafeDowngrade)
        .unwrap();
    assert_eq!(w.producer_ids(), Ok(0));
    let both = [
        ("retention.ms", Some("6000")),
        ("segment.ms", Some("100000")),
    ];
    w.set(Topic, "a", &both).unwrap();
    w.set(Topic, "a", &[("segment.ms", None)]).unwrap();
    w.set(Broker, "", &[("log.retention.ms", Some("900000"))])
        .unwrap();
    w.set(Broker, "1", &[("log.segment.bytes", Some("2000000"))])
        .unwrap();
    w.set(
        Group,
        "g",
        &[("consumer.session.timeout.ms", Some("45001"))],
    )
    .unwrap();
    w.set(ClientMetrics, "m", &[("interval.ms", Some("5000"))])
        .unwrap();
    let say = |records: &[Record]| {
        let mut names = BTreeMap::new();
        let said = records.iter().map(|record| said(record, &mut names));
        said.collect::<Vec<_>>()
    };
    // The end of Kafka's log is its stop, which takes every leader away.
    let kafkas = records();
    let is_stop = |record: &Record| matches!(record, Record::PartitionChange(_));
    let stopped = kafkas.iter().position(is_stop).expect("it has stopped");
    assert_eq!(say(&w.journal), say(&kafkas[..stopped]));
    assert!(w.cluster.is_settled());
}
