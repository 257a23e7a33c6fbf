use super::*;
use crate::error::ErrorCode;

fn id(n: u128) -> Uuid {
    Uuid((n << 32).to_be_bytes())
}

struct Fixture {
    catalog: Catalog<u32>,
    broker: BrokerConfig,
    ids: u128,
}

impl Fixture {
    fn new() -> Self {
        Self::with(&[], false)
    }

    fn with(pairs: &[(&'static str, &'static str)], strict: bool) -> Self {
        Fixture {
            catalog: Catalog::new(),
            broker: BrokerConfig::new(pairs.iter().copied(), strict).unwrap(),
            ids: 0,
        }
    }

    fn run(&mut self, request: &CreateTopics) -> Result<Vec<Outcome<Created<u32>>>, Refusal> {
        let cluster = Cluster {
            broker: &self.broker,
            nodes: &[1],
        };
        let ids = &mut self.ids;
        let new_id = || {
            *ids += 1;
            id(*ids)
        };
        self.catalog
            .create_topics(request, cluster, new_id, |seed| seed.partition)
    }

    fn create_as(&mut self, topic: CreateTopic) -> Result<Created<u32>, ErrorCode> {
        let request = CreateTopics {
            topics: vec![topic],
            validate_only: false,
        };
        let outcome = self.run(&request).unwrap().remove(0);
        outcome.result.map_err(|refusal| refusal.code)
    }

    fn create(&mut self, name: &str) -> Result<Created<u32>, ErrorCode> {
        self.create_as(CreateTopic::by_default(name))
    }

    fn delete(&mut self, topics: &[DeleteTopic]) -> Vec<Result<Arc<str>, ErrorCode>> {
        let cluster = Cluster {
            broker: &self.broker,
            nodes: &[1],
        };
        let deleted = self.catalog.delete_topics(topics, cluster).unwrap();
        let results = deleted.into_iter().map(|deleted| deleted.result);
        results
            .map(|r| r.map(|t| t.name.clone()).map_err(|e| e.code))
            .collect()
    }

    fn extend(
        &mut self,
        name: &str,
        count: i32,
        assignments: Option<Vec<Vec<i32>>>,
    ) -> Result<u32, ErrorCode> {
        let cluster = Cluster {
            broker: &self.broker,
            nodes: &[1],
        };
        let asked = AddPartitions {
            name: name.to_owned(),
            count,
            assignments,
        };
        let make = |seed: PartitionSeed<'_>| seed.partition;
        let mut outcomes = self
            .catalog
            .create_partitions(&[asked], false, cluster, make);
        let result = outcomes.remove(0).result;
        result.map(|e| e.partitions).map_err(|e| e.code)
    }
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> CreateTopic {
    CreateTopic {
        partitions,
        replication_factor,
        ..CreateTopic::by_default(name)
    }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreateTopic {
    let assignments = assignments.iter().map(|(partition, brokers)| Assignment {
        partition: *partition,
        brokers: brokers.to_vec(),
    });
    CreateTopic {
        assignments: assignments.collect(),
        ..CreateTopic::by_default(name)
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
    let mut f = Fixture::with(&[("num.partitions", "3")], false);
    let created = f.create("orders").unwrap();
    assert_eq!((created.partitions, created.replication_factor), (3, 1));
    let topic = f.catalog.by_name("orders").unwrap();
    assert_eq!(topic.partitions, [0, 1, 2]);
    assert_eq!(f.catalog.by_id(created.id).unwrap().name, topic.name);
    assert_eq!(topic.partition(2), Some(&2));
    assert_eq!((topic.partition(3), topic.partition(-1)), (None, None));
    assert_eq!(f.catalog.partition_count(), 3);
}

#[test]
fn names_that_exist_collide_or_are_wrong_are_refused() {
    let mut f = Fixture::new();
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
    let mut f = Fixture::new();
    let topics = ["x", "y", "x", "x"].map(CreateTopic::by_default);
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
    let mut f = Fixture::new();
    let topics = ["a.b", "a_b"].map(CreateTopic::by_default);
    let request = CreateTopics {
        topics: topics.into(),
        validate_only: false,
    };
    let outcomes = f.run(&request).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    assert_eq!(f.catalog.len(), 2);
    assert!(f.delete(&[by_name("a.b")])[0].is_ok());
    assert_eq!(
        f.create("a.b").unwrap_err(),
        ErrorCode::InvalidTopicException
    );
}

#[test]
fn counts_are_checked() {
    let mut f = Fixture::new();
    let mut code = |partitions, factor| f.create_as(topic("t", partitions, factor)).unwrap_err();
    assert_eq!(code(0, 1), ErrorCode::InvalidPartitions);
    assert_eq!(code(-2, 1), ErrorCode::InvalidPartitions);
    assert_eq!(code(1, 0), ErrorCode::InvalidReplicationFactor);
    assert_eq!(code(1, -2), ErrorCode::InvalidReplicationFactor);
}

#[test]
fn a_replication_factor_above_the_brokers_is_clamped_unless_strict() {
    let mut ours = Fixture::new();
    assert_eq!(
        ours.create_as(topic("t", 1, 3)).unwrap().replication_factor,
        1
    );
    let mut kafkas = Fixture::with(&[], true);
    let refused = kafkas.create_as(topic("t", 1, 3)).unwrap_err();
    assert_eq!(refused, ErrorCode::InvalidReplicationFactor);
}

#[test]
fn manual_assignments_are_checked() {
    let mut f = Fixture::new();
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
    let mut f = Fixture::new();
    let with = |name: &str, key: &str, value: Option<&str>| CreateTopic {
        configs: vec![(key.to_owned(), value.map(str::to_owned))],
        ..CreateTopic::by_default(name)
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
    let entries = a.config.entries(&f.broker);
    let retention = entries.iter().find(|e| e.name == "retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("5"));
}

#[test]
fn validating_answers_the_same_and_creates_nothing() {
    let mut f = Fixture::new();
    let request = CreateTopics {
        topics: vec![topic("t", 4, 1), topic("u", 0, 1)],
        validate_only: true,
    };
    let outcomes = f.run(&request).unwrap();
    let told = outcomes[0].result.as_ref().unwrap();
    assert_eq!((told.partitions, told.topic.is_none()), (4, true));
    assert!(outcomes[1].result.is_err());
    assert!(f.catalog.is_empty());
}

#[test]
fn a_request_for_too_many_partitions_is_refused_whole() {
    let mut f = Fixture::new();
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
fn reserved_ids_are_passed_over() {
    let mut f = Fixture::new();
    let mut drawn = [Uuid([0; 16]), Uuid([0xfa; 16]), id(7)].into_iter();
    let cluster = Cluster {
        broker: &f.broker,
        nodes: &[1],
    };
    let request = CreateTopics {
        topics: vec![CreateTopic::by_default("t")],
        validate_only: false,
    };
    let new_id = || drawn.next().unwrap();
    let outcomes = f
        .catalog
        .create_topics(&request, cluster, new_id, |seed| seed.partition)
        .unwrap();
    assert_eq!(outcomes[0].result.as_ref().unwrap().id, id(7));
}

#[test]
fn topics_are_deleted_by_name_or_id_never_by_both() {
    let mut f = Fixture::new();
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
    assert_eq!(f.catalog.len(), 2);
    assert_eq!(
        f.delete(&[by_name("c"), by_name("c")]),
        [Err(InvalidRequest)]
    );
    assert_eq!(f.delete(&[by_id(a)]), [Ok("a".into())]);
    assert_eq!(f.catalog.partition_count(), 1);
}

#[test]
fn deleting_can_be_disabled() {
    let mut f = Fixture::with(&[("delete.topic.enable", "false")], false);
    f.create("a").unwrap();
    let cluster = Cluster {
        broker: &f.broker,
        nodes: &[1],
    };
    let refusal = f.catalog.delete_topics(&[by_name("a")], cluster);
    assert_eq!(refusal.unwrap_err().code, ErrorCode::TopicDeletionDisabled);
}

#[test]
fn topics_grow_and_never_shrink() {
    let mut f = Fixture::new();
    f.create_as(topic("t", 2, 1)).unwrap();
    let before = f.catalog.version();
    assert_eq!(f.extend("t", 4, None), Ok(4));
    assert!(f.catalog.version() > before);
    assert_eq!(f.catalog.by_name("t").unwrap().partitions, [0, 1, 2, 3]);
    assert_eq!(f.catalog.partition_count(), 4);
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
    let mut f = Fixture::new();
    f.create("t").unwrap();
    let set = [("log.retention.ms", Some("9"))];
    let values = Overrides::parse(crate::config::Scope::Broker, set).unwrap();
    f.broker
        .set_dynamic_values(crate::config::DynamicLayer::Broker, values);
    let mut seen = 0;
    f.catalog.reconfigure(&f.broker, |topic| {
        seen += 1;
        assert_eq!(topic.config.retention_ms, 9);
    });
    assert_eq!(seen, 1);
    let own = Overrides::parse(crate::config::Scope::Topic, [("retention.ms", Some("1"))]);
    let topic = f
        .catalog
        .set_overrides("t", own.unwrap(), &f.broker)
        .unwrap();
    assert_eq!(topic.config.retention_ms, 1);
    assert_eq!(f.catalog.partition_count(), 1);
}

/// Topics and their partitions on a page, and the next cursor.
fn page(
    catalog: &Catalog<u32>,
    names: &[&str],
    cursor: Option<(&str, i32)>,
    limit: usize,
) -> Result<(Vec<String>, Option<String>), ErrorCode> {
    let cursor = cursor.map(|(topic, partition)| PageCursor {
        topic: topic.into(),
        partition,
    });
    let page = describe_page(catalog, names, cursor.as_ref(), limit, |_| true)
        .map_err(|refusal| refusal.code)?;
    let shown = page.topics.iter().map(|topic| match topic {
        PagedTopic::Found { topic, partitions } => format!("{}{partitions:?}", topic.name),
        PagedTopic::Missing { name, code } => format!("{name}!{}", code.code()),
    });
    let next = page.next.map(|c| format!("{}/{}", c.topic, c.partition));
    Ok((shown.collect(), next))
}

#[test]
fn partitions_are_described_page_by_page() {
    let mut f = Fixture::new();
    for name in ["b", "a", "c"] {
        f.create_as(topic(name, 3, 1)).unwrap();
    }
    let c = &f.catalog;
    let told = |topics: &[&str], next: Option<&str>| {
        let topics = topics.iter().map(|t| (*t).to_owned()).collect();
        Ok((topics, next.map(str::to_owned)))
    };
    assert_eq!(
        page(c, &[], None, 4),
        told(&["a0..3", "b0..1"], Some("b/1"))
    );
    assert_eq!(
        page(c, &[], Some(("b", 1)), 2),
        told(&["b1..3"], Some("c/0"))
    );
    assert_eq!(page(c, &[], Some(("c", 0)), 9), told(&["c0..3"], None));
    assert_eq!(
        page(c, &["c", "a", "x", "?"], None, 9),
        told(&["?!17", "a0..3", "c0..3", "x!3"], None)
    );
    let refused = Err(ErrorCode::InvalidRequest);
    assert_eq!(page(c, &["a"], Some(("b", 0)), 9), refused);
    assert_eq!(page(c, &["a"], Some(("a", -1)), 9), refused);
    assert_eq!(page(c, &[], Some(("a", 99)), 9).unwrap().0[0], "a3..3");
}
