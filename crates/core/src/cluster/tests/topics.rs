//! Topics: what may be created, deleted and extended.

use std::sync::Arc;

use rustka_wire::Uuid;

use super::world::*;
use crate::cluster::command::*;
use crate::cluster::resource::ResourceKind;
use crate::config::TopicConfig;
use crate::error::ErrorCode;
use crate::names;

fn topic(name: &str, partitions: i32, replication_factor: i16) -> CreateTopic {
    CreateTopic {
        partitions,
        replication_factor,
        ..by_default(name)
    }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreateTopic {
    let assignments = assignments.iter().map(|(partition, brokers)| Assignment {
        partition: *partition,
        brokers: brokers.to_vec(),
    });
    CreateTopic {
        assignments: assignments.collect(),
        ..by_default(name)
    }
}

fn by_name(name: &str) -> DeleteTopic {
    DeleteTopic {
        name: Some(name.to_owned()),
        id: Uuid([0; 16]),
    }
}

fn by_id(id: Uuid) -> DeleteTopic {
    DeleteTopic { name: None, id }
}

#[test]
fn a_created_topic_is_found_by_name_and_by_id() {
    let mut f = World::with(&[("num.partitions", "3")], false);
    let created = f.create("orders").unwrap();
    assert_eq!((created.partitions, created.replication_factor), (3, 1));
    let topic = f.cluster.topics().by_name("orders").unwrap();
    assert_eq!(topic.partitions.len(), 3);
    assert_eq!(
        f.cluster.topics().by_id(created.id).unwrap().name,
        topic.name
    );
    let place = topic.partition(2).unwrap();
    assert_eq!((place.leader, place.leader_epoch), (1, 0));
    assert_eq!((topic.partition(3), topic.partition(-1)), (None, None));
    assert_eq!(f.cluster.topics().partition_count(), 3);
}

#[test]
fn names_that_exist_collide_or_are_wrong_are_refused() {
    let mut f = World::new();
    f.create("a.b").unwrap();
    assert_eq!(f.create("a.b").unwrap_err(), ErrorCode::TopicAlreadyExists);
    assert_eq!(
        f.create("a_b").unwrap_err(),
        ErrorCode::InvalidTopicException
    );
    assert_eq!(
        f.create("a/b").unwrap_err(),
        ErrorCode::InvalidTopicException
    );
    let metadata = f.create(names::CLUSTER_METADATA).unwrap_err();
    assert_eq!(metadata, ErrorCode::InvalidRequest);
    assert!(f.delete(&[by_name("a.b")])[0].is_ok());
    f.create("a_b").unwrap();
}

#[test]
fn names_given_twice_are_refused_once_and_the_others_created() {
    let mut f = World::new();
    let topics = ["x", "y", "x", "x"].map(by_default);
    let request = CreateTopics {
        topics: topics.into(),
        validate_only: false,
    };
    let outcomes = f.run(&request).unwrap();
    let told: Vec<_> = outcomes
        .iter()
        .map(|o| (&*o.name, o.result.as_ref().map_err(|e| e.code).err()))
        .collect();
    assert_eq!(told, [("y", None), ("x", Some(ErrorCode::InvalidRequest))]);
}

// Who created `a.b` and `a_b` with one request, as a copy of another cluster's topics does, got only one of them.
#[test]
fn names_of_one_request_do_not_collide_with_each_other() {
    let mut f = World::new();
    let request = CreateTopics {
        topics: ["a.b", "a_b"].map(by_default).into(),
        validate_only: false,
    };
    let outcomes = f.run(&request).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    assert_eq!(f.cluster.topics().len(), 2);
    assert!(f.delete(&[by_name("a.b")])[0].is_ok());
    assert_eq!(
        f.create("a.b").unwrap_err(),
        ErrorCode::InvalidTopicException
    );
}

#[test]
fn counts_are_checked() {
    let mut f = World::new();
    let mut code = |partitions, factor| f.create_as(topic("t", partitions, factor)).unwrap_err();
    assert_eq!(code(0, 1), ErrorCode::InvalidPartitions);
    assert_eq!(code(-2, 1), ErrorCode::InvalidPartitions);
    assert_eq!(code(1, 0), ErrorCode::InvalidReplicationFactor);
    assert_eq!(code(1, -2), ErrorCode::InvalidReplicationFactor);
}

#[test]
fn a_replication_factor_above_the_brokers_is_clamped_unless_strict() {
    let mut ours = World::new();
    assert_eq!(
        ours.create_as(topic("t", 1, 3)).unwrap().replication_factor,
        1
    );
    let mut kafkas = World::with(&[], true);
    let refused = kafkas.create_as(topic("t", 1, 3)).unwrap_err();
    assert_eq!(refused, ErrorCode::InvalidReplicationFactor);
}

#[test]
fn manual_assignments_are_checked() {
    let mut f = World::new();
    let good = f
        .create_as(assigned("good", &[(1, &[1]), (0, &[1])]))
        .unwrap();
    assert_eq!((good.partitions, good.replication_factor), (2, 1));
    let bad: [&[(i32, &[i32])]; 5] = [
        &[(0, &[2])],
        &[(0, &[])],
        &[(0, &[1, 1])],
        &[(1, &[1])],
        &[(0, &[1]), (0, &[1])],
    ];
    for assignments in bad {
        let code = f.create_as(assigned("bad", assignments)).unwrap_err();
        assert_eq!(code, ErrorCode::InvalidReplicaAssignment, "{assignments:?}");
    }
    let mut both = assigned("bad", &[(0, &[1])]);
    both.partitions = 1;
    assert_eq!(f.create_as(both).unwrap_err(), ErrorCode::InvalidRequest);
}

#[test]
fn configs_are_checked_and_shared() {
    let mut f = World::new();
    let with = |name: &str, key: &str, value: Option<&str>| CreateTopic {
        configs: vec![(key.to_owned(), value.map(str::to_owned))],
        ..by_default(name)
    };
    let a = f.create_as(with("a", "retention.ms", Some("5"))).unwrap();
    let b = f.create_as(with("b", "retention.ms", Some("5"))).unwrap();
    assert!(Arc::ptr_eq(&a.config, &b.config));
    assert_eq!(a.config.retention_ms, 5);
    for (key, value) in [
        ("retention.ms", None),
        ("retention.ms", Some("x")),
        ("no.such.key", Some("1")),
    ] {
        let code = f.create_as(with("c", key, value)).unwrap_err();
        assert_eq!(code, ErrorCode::InvalidConfig);
    }
    let entries = a.config.entries(f.cluster.broker());
    let retention = entries.iter().find(|e| e.name == "retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("5"));
}

#[test]
fn validating_answers_the_same_and_creates_nothing() {
    let mut f = World::new();
    let request = CreateTopics {
        topics: vec![topic("t", 4, 1), topic("u", 0, 1)],
        validate_only: true,
    };
    let outcomes = f.run(&request).unwrap();
    let told = outcomes[0].result.as_ref().unwrap();
    assert_eq!(told.partitions, 4);
    assert_ne!(told.id, Uuid([0; 16]), "one that it could get");
    assert!(outcomes[1].result.is_err());
    assert!(f.cluster.topics().is_empty());
}

#[test]
fn a_request_for_too_many_partitions_is_refused_whole() {
    let mut f = World::new();
    let request = CreateTopics {
        topics: vec![topic("t", 10_000, 1), topic("u", 1, 1)],
        validate_only: false,
    };
    let refusal = f.run(&request).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::PolicyViolation);
    let request = CreateTopics {
        topics: vec![topic("t", 10_001, 1)],
        validate_only: true,
    };
    assert!(f.run(&request).is_err());
}

#[test]
fn ids_that_cannot_be_used_are_replaced() {
    let mut f = World::new();
    let taken = f.create("first").unwrap().id;
    let names = ["zero", "dashed", "taken", "taken too"];
    let ids = [Uuid([0; 16]), Uuid([0xfa; 16]), taken, taken];
    let topics = names.iter().zip(ids).map(|(name, id)| CreateTopic {
        id,
        ..by_default(&name.replace(' ', "-"))
    });
    let request = CreateTopics {
        topics: topics.collect(),
        validate_only: false,
    };
    let outcomes = f.run(&request).unwrap();
    let mut given: Vec<Uuid> = outcomes
        .iter()
        .map(|o| o.result.as_ref().unwrap().id)
        .collect();
    assert!(
        given
            .iter()
            .all(|given| !given.to_string().starts_with('-'))
    );
    given.extend([Uuid([0; 16]), taken]);
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 6, "each its own");
}

#[test]
fn topics_are_deleted_by_name_or_id_never_by_both() {
    let mut f = World::new();
    let a = f.create("a").unwrap().id;
    let b = f.create("b").unwrap().id;
    f.create("c").unwrap();
    let both = DeleteTopic {
        name: Some("a".to_owned()),
        id: a,
    };
    use ErrorCode::{InvalidRequest, UnknownTopicId, UnknownTopicOrPartition};
    let refused = f.delete(&[both, by_id(Uuid([0; 16])), by_name("x"), by_id(id(99))]);
    let codes: Vec<_> = refused.into_iter().map(Result::unwrap_err).collect();
    assert_eq!(
        codes,
        [
            InvalidRequest,
            InvalidRequest,
            UnknownTopicOrPartition,
            UnknownTopicId
        ]
    );
    let told = f.delete(&[by_name("a"), by_id(b), by_id(a)]);
    assert_eq!(told, [Err(InvalidRequest), Ok("b".into())]);
    assert_eq!(f.cluster.topics().len(), 2);
    assert_eq!(
        f.delete(&[by_name("c"), by_name("c")]),
        [Err(InvalidRequest)]
    );
    assert_eq!(f.delete(&[by_id(a)]), [Ok("a".into())]);
    assert_eq!(f.cluster.topics().partition_count(), 1);
}

#[test]
fn deleting_can_be_disabled() {
    let mut f = World::with(&[("delete.topic.enable", "false")], false);
    f.create("a").unwrap();
    let Reply::DeleteTopics(Err(refusal)) = f.ask(Command::DeleteTopics(vec![by_name("a")])) else {
        panic!("a refusal")
    };
    assert_eq!(refusal.code, ErrorCode::TopicDeletionDisabled);
}

#[test]
fn topics_grow_and_never_shrink() {
    let mut f = World::new();
    f.create_as(topic("t", 2, 1)).unwrap();
    let before = f.cluster.topics().version();
    assert_eq!(f.extend("t", 4, None), Ok(4));
    assert!(f.cluster.topics().version() > before);
    assert_eq!(f.cluster.topics().by_name("t").unwrap().partitions.len(), 4);
    assert_eq!(f.cluster.topics().partition_count(), 4);
    use ErrorCode::{
        InvalidPartitions, InvalidReplicaAssignment, PolicyViolation, UnknownTopicOrPartition,
    };
    assert_eq!(f.extend("t", 4, None), Err(InvalidPartitions));
    assert_eq!(f.extend("t", -1, None), Err(InvalidPartitions));
    assert_eq!(f.extend("x", 4, None), Err(UnknownTopicOrPartition));
    assert_eq!(f.extend("t", 10_001 + 4, None), Err(PolicyViolation));
    let wrong = Some(vec![vec![1], vec![1]]);
    assert_eq!(f.extend("t", 5, wrong), Err(InvalidReplicaAssignment));
    assert_eq!(
        f.extend("t", 5, Some(vec![vec![9]])),
        Err(InvalidReplicaAssignment)
    );
    assert_eq!(f.extend("t", 5, Some(vec![vec![1]])), Ok(5));
}

#[test]
fn a_broker_wide_change_reaches_topics_without_their_own_value() {
    let mut f = World::new();
    f.create("t").unwrap();
    let retention_ms = |f: &World| {
        let set = &f.cluster.topics().by_name("t").unwrap().config;
        TopicConfig::resolve(f.cluster.broker(), set).retention_ms
    };
    f.set(
        ResourceKind::Broker,
        "1",
        &[("log.retention.ms", Some("9"))],
    )
    .unwrap();
    assert_eq!(retention_ms(&f), 9);
    f.set(ResourceKind::Topic, "t", &[("retention.ms", Some("1"))])
        .unwrap();
    assert_eq!(retention_ms(&f), 1);
    f.set(ResourceKind::Topic, "t", &[("retention.ms", None)])
        .unwrap();
    assert_eq!(retention_ms(&f), 9);
    let like_it = f.create("u").unwrap();
    assert_eq!(like_it.config.retention_ms, 9, "whoever creates is told so");
    assert_eq!(f.cluster.topics().partition_count(), 2);
}
