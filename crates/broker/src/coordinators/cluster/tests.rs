//! The cluster's log in its partition: that it alone says everything, and that it does not grow for ever.

use super::*;
use crate::broker::Broker;
use rustka_core::batch::{BatchHeader, Records, record_bytes};
use rustka_core::cluster::command::{AlterConfigs, ConfigChange, CreateAcl, DeleteTopic};
use rustka_core::cluster::resource::{Resource, ResourceKind};
use rustka_core::config::{AlterOperation, Alteration};
use rustka_core::machine::{JournalRecord as _, Machine as _};
use rustka_core::security::acl::RawAcl;
use rustka_core::security::scram::Strength;
use std::time::Duration;

fn broker() -> Broker {
    let options = Broker::builder().sockets(false);
    options.start().expect("a broker")
}

/// What a node that starts anew would read.
fn replay(cluster: &Cluster) -> Vec<Record> {
    let mut machine = cluster.blank();
    let start = cluster.log.offsets().log_start;
    let read = cluster.log.each_batch(start, i64::MAX, |batch| {
        let header = BatchHeader::parse(batch).expect("a batch");
        let bytes = record_bytes(batch, &header, usize::MAX).expect("records");
        for record in Records::new(&bytes, header.record_count) {
            let record = record.expect("a record");
            assert_eq!(record.key, None);
            let record = Record::decode(None, record.value).expect("well-formed");
            machine.apply(record.expect("of a kind that is known"));
        }
        true
    });
    read.expect("readable");
    let mut out = rustka_core::machine::Effects::default();
    machine.loaded(cluster.now(), &mut out);
    assert!(out.entries.is_empty(), "something was on record");
    machine.live().collect()
}

fn live(cluster: &Cluster) -> Vec<Record> {
    cluster.shard.look(|machine| machine.live().collect())
}

fn set(cluster: &Arc<Cluster>, kind: ResourceKind, name: &str, key: &str, value: &str) {
    let change = Alteration {
        name: key.to_owned(),
        operation: AlterOperation::Set,
        value: Some(value.to_owned()),
    };
    let asked = AlterConfigs {
        resource: Resource::new(kind, name),
        change: ConfigChange::Alter(vec![change]),
        validate_only: false,
    };
    let answer = cluster.call(Command::AlterConfigs(vec![asked]));
    assert!(matches!(answer, Answer::Now(Reply::AlterConfigs(results)) if results[0].is_ok()));
}

#[tokio::test]
async fn the_log_says_what_the_cluster_knows() {
    let broker = broker();
    let cluster = &broker.parts().cluster;
    for name in ["a", "b", "c"] {
        cluster.auto_create(name).expect("created");
    }
    set(cluster, ResourceKind::Topic, "a", "retention.ms", "5");
    set(cluster, ResourceKind::Broker, "", "log.retention.ms", "9");
    set(
        cluster,
        ResourceKind::Group,
        "g",
        "consumer.session.timeout.ms",
        "45001",
    );
    set(
        cluster,
        ResourceKind::ClientMetrics,
        "m",
        "interval.ms",
        "5000",
    );
    let gone = DeleteTopic {
        name: Some("b".to_owned()),
        id: Uuid::ZERO,
    };
    assert!(matches!(
        cluster.call(Command::DeleteTopics(vec![gone])),
        Answer::Now(_)
    ));
    assert_eq!(replay(cluster), live(cluster));
    // What is published is what was decided.
    let topics = broker.node().topics.all();
    let told: Vec<_> = topics
        .iter()
        .map(|t| (&*t.name, t.config.now().retention_ms))
        .collect();
    assert_eq!(told, [("a", 5), ("c", 9)]);
}

/// Altering one key of the broker took the lock of every partition of every topic in turn. Whoever had thousands of
/// them paid for each, and waited for each that was busy.
#[tokio::test]
async fn changed_defaults_reach_topics_without_a_look_at_their_partitions() {
    let broker = broker();
    let cluster = &broker.parts().cluster;
    cluster.auto_create("t").expect("created");
    let topic = broker.node().topics.by_name("t").expect("there");
    let retention_ms = || topic.config.now().retention_ms;
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let busy = topic.partitions[0].with_state(|_| {
            scope.spawn(|| {
                set(cluster, ResourceKind::Broker, "", "log.retention.ms", "9");
                set(cluster, ResourceKind::Topic, "t", "segment.ms", "7");
                done.send(retention_ms()).expect("somebody waits");
            });
            wait.recv_timeout(Duration::from_secs(20))
        });
        assert_eq!(busy.expect("usable"), Ok(9));
    });
    assert_eq!(topic.config.now().segment_ms, 7);
    set(cluster, ResourceKind::Topic, "t", "retention.ms", "5");
    set(cluster, ResourceKind::Broker, "", "log.retention.ms", "10");
    assert_eq!(retention_ms(), 5);
}

/// Its records have no keys, so no compaction would ever shorten it.
#[tokio::test]
async fn the_log_is_shortened_to_what_still_holds() {
    let broker = broker();
    let cluster = &broker.parts().cluster;
    cluster.auto_create("t").expect("created");
    let mut largest = 0;
    for n in 0..30_000 {
        set(
            cluster,
            ResourceKind::Topic,
            "t",
            "retention.ms",
            &n.to_string(),
        );
        largest = largest.max(cluster.log.bytes());
    }
    assert!(cluster.log.offsets().log_start > 0, "shortened");
    assert!(largest < 2 << 20, "{largest}");
    assert_eq!(replay(cluster), live(cluster));
}

/// Users and ACLs were kept beside the log: a node that read it again let nobody in, and let everybody do everything.
#[tokio::test]
async fn users_and_acls_are_in_the_log() {
    let user = ("alice".to_owned(), "wonder".to_owned());
    let broker = broker();
    let cluster = &broker.parts().cluster;
    cluster.let_in(&[user]).expect("let in");
    let raw = RawAcl {
        kind: 2,
        pattern: 3,
        name: "t",
        principal: "User:alice",
        host: "*",
        operation: 3,
        permission: 3,
    };
    let creation = CreateAcl {
        id: random::uuid(),
        acl: raw.check(),
    };
    let answer = cluster.call(Command::CreateAcls(vec![creation]));
    assert!(matches!(answer, Answer::Now(Reply::CreateAcls(results)) if results[0].is_ok()));
    let state = replay(cluster);
    let said = state
        .iter()
        .filter(|record| matches!(record, Record::Security(_)));
    assert_eq!(said.count(), 3, "an ACL and a credential of each strength");
    assert_eq!(state, live(cluster));
    let security = &broker.node().security;
    assert!(security.credential(Strength::Sha512, "alice").is_some());
    assert_eq!(security.acls().count(), 1);
}
