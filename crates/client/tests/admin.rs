//! What administrators ask, on a broker in this process.

mod common;

use common::World;
use rustka_client::Resource;
use rustka_core::error::ErrorCode;
use rustka_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use std::collections::BTreeMap;

#[tokio::test]
async fn topics_are_created_grown_described_and_deleted() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            let created = client.create_topic("t", 2, 1).await.unwrap();
            assert_eq!(
                (created.num_partitions, created.topic_id.is_zero()),
                (2, false)
            );
            let again = client.create_topic("t", 2, 1).await.unwrap_err();
            assert_eq!(again.code(), Some(ErrorCode::TopicAlreadyExists));
            assert!(
                again
                    .to_string()
                    .starts_with("topic t: TOPIC_ALREADY_EXISTS: "),
                "{again}"
            );
            assert_eq!(client.topic("t").await.unwrap().partitions.len(), 2);
            client.add_partitions("t", 5).await.unwrap();
            assert_eq!(client.topic("t").await.unwrap().partitions.len(), 5);
            let fewer = client.add_partitions("t", 3).await.unwrap_err();
            assert_eq!(fewer.code(), Some(ErrorCode::InvalidPartitions));
            let deleted = client.delete_topics(&["t", "u"]).await.unwrap();
            assert!(deleted[0].is_ok());
            let unknown = deleted[1].as_ref().unwrap_err();
            assert_eq!(unknown.code(), Some(ErrorCode::UnknownTopicOrPartition));
            assert!(client.topic("t").await.is_err());
        })
        .await;
}

#[tokio::test]
async fn one_topic_that_is_refused_does_not_keep_the_others_from_being_created() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            let topic = |name: &'static str, config: Option<(&'static str, &'static str)>| {
                let configs = config.map(|(name, value)| CreatableTopicConfig {
                    name: name.into(),
                    value: Some(value.into()),
                });
                CreatableTopic {
                    name: name.into(),
                    num_partitions: 1,
                    replication_factor: 1,
                    configs: configs.into_iter().collect(),
                    ..Default::default()
                }
            };
            let topics = vec![
                topic("bad", Some(("retention.ms", "soon"))),
                topic("good", Some(("retention.ms", "1000"))),
            ];
            let outcomes = client.create_topics(topics.clone(), true).await.unwrap();
            assert!(outcomes[0].is_err() && outcomes[1].is_ok());
            assert!(client.topic("good").await.is_err(), "only validated");
            let outcomes = client.create_topics(topics, false).await.unwrap();
            let refused = outcomes[0].as_ref().unwrap_err();
            assert_eq!(refused.code(), Some(ErrorCode::InvalidConfig));
            assert!(client.topic("good").await.is_ok());
        })
        .await;
}

#[tokio::test]
async fn configs_are_described_changed_and_given_back_to_their_defaults() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            let value = async |kind, of: &str, name: &str| {
                let configs = client.describe_configs(kind, of).await.unwrap();
                let config = configs.into_iter().find(|config| config.name == name);
                config.unwrap().value.unwrap().into_owned()
            };
            let kind = Resource::Topic;
            let usual = value(kind, "t", "retention.ms").await;
            let set = [("retention.ms", Some("1000"))];
            client.alter_configs(kind, "t", &set).await.unwrap();
            assert_eq!(value(kind, "t", "retention.ms").await, "1000");
            client
                .alter_configs(kind, "t", &[("retention.ms", None)])
                .await
                .unwrap();
            assert_eq!(value(kind, "t", "retention.ms").await, usual);
            let unknown = client.alter_configs(kind, "u", &set).await.unwrap_err();
            assert_eq!(unknown.code(), Some(ErrorCode::UnknownTopicOrPartition));
            assert!(
                unknown.to_string().starts_with("configs of topic u: "),
                "{unknown}"
            );
            assert_eq!(value(Resource::Broker, "1", "node.id").await, "1");
        })
        .await;
}

#[tokio::test]
async fn the_cluster_tells_its_brokers_and_where_they_keep_what() {
    let world = World::with(|options| options.cluster_id("5L6g3nShT-eMCtK--X86sw"));
    let client = world.client();
    world
        .run(async {
            let cluster = client.describe_cluster().await.unwrap();
            assert_eq!(&*cluster.cluster_id, "5L6g3nShT-eMCtK--X86sw");
            assert_eq!(
                (cluster.brokers.len(), cluster.brokers[0].broker_id),
                (1, 1)
            );
            client.create_topic("t", 3, 1).await.unwrap();
            let directories = client.describe_log_dirs(1).await.unwrap();
            assert_eq!(directories.len(), 1);
            let topic = directories[0].topics.iter().find(|topic| topic.name == "t");
            assert_eq!(topic.unwrap().partitions.len(), 3);
            let all = client.metadata(None).await.unwrap();
            assert_eq!(all.topics.len(), 1);
        })
        .await;
}

#[tokio::test]
async fn records_are_deleted_where_each_partition_is_told_to() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 2, 1).await.unwrap();
            let places = BTreeMap::from([(0, -1), (1, 7)]);
            let begins = client.delete_records("t", &places).await.unwrap();
            assert_eq!(begins[&0].as_ref().unwrap(), &0);
            let beyond = begins[&1].as_ref().unwrap_err();
            assert_eq!(beyond.code(), Some(ErrorCode::OffsetOutOfRange));
            assert_eq!(beyond.to_string(), "partition t-1: OFFSET_OUT_OF_RANGE");
        })
        .await;
}
