//! Configs by what they do, not by their echo: set at the start, or changed by a client while the broker runs.

mod common;

use common::{Client, World, batch};
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_wire::alter_configs_request::{
    AlterConfigsRequest, AlterConfigsResource as LegacyResource, AlterableConfig as LegacyConfig,
};
use rustka_wire::alter_configs_response::AlterConfigsResponse;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustka_wire::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use rustka_wire::describe_producers_response::DescribeProducersResponse;
use rustka_wire::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use rustka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use rustka_wire::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use rustka_wire::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rustka_wire::list_offsets_response::ListOffsetsResponse;
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::metadata_response::MetadataResponse;
use rustka_wire::produce_response::ProduceResponse;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const HOUR_MS: u64 = 3_600_000;

/// A broker that does not mind connections silent for hours.
fn patient() -> World {
    World::with(|options| options.config("connections.max.idle.ms", "-1"))
}

/// Sets a config, or deletes it; the error code.
async fn alter(client: &mut Client, kind: i8, name: &str, key: &str, value: Option<&str>) -> i16 {
    let config = AlterableConfig {
        name: key.to_owned().into(),
        config_operation: if value.is_some() { 0 } else { 1 },
        value: value.map(|value| value.to_owned().into()),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned().into(),
            configs: vec![config],
        }],
        validate_only: false,
    };
    let answer = client
        .ask(IncrementalAlterConfigsRequest::KEY, 1, &request)
        .await;
    let altered: IncrementalAlterConfigsResponse<'_> = answer.body();
    altered.responses[0].error_code
}

/// The first offset of a topic's only partition.
async fn log_start(client: &mut Client, topic: &str) -> i64 {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned().into(),
            partitions: vec![ListOffsetsPartition {
                timestamp: -2,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let answer = client.ask(ListOffsetsRequest::KEY, 7, &request).await;
    let listed: ListOffsetsResponse<'_> = answer.body();
    listed.topics[0].partitions[0].offset
}

#[tokio::test]
async fn retention_changed_while_the_broker_runs_deletes_what_is_there_already() {
    let world = patient();
    let mut client = world.connect();
    client.create_topic("own", 1).await;
    client.create_topic("by-default", 1).await;
    for topic in ["own", "by-default"] {
        client.produce(topic, 0, batch(100)).await;
    }
    world.advance_ms(2 * HOUR_MS).await;
    assert_eq!(log_start(&mut client, "own").await, 0);
    let set = alter(&mut client, TOPIC, "own", "retention.ms", Some("3600000"));
    assert_eq!(set.await, 0);
    world.advance_ms(HOUR_MS / 2).await;
    assert_eq!(log_start(&mut client, "own").await, 1);
    assert_eq!(log_start(&mut client, "by-default").await, 0);
    // The value of all brokers reaches a topic that has none of its own.
    let set = alter(&mut client, BROKER, "", "log.retention.ms", Some("3600000"));
    assert_eq!(set.await, 0);
    world.advance_ms(HOUR_MS / 2).await;
    assert_eq!(log_start(&mut client, "by-default").await, 1);
}

/// Kafka never answers such a request. Here each of them is refused, and neither has an effect.
#[tokio::test]
async fn a_resource_that_comes_twice_in_alter_configs_is_refused_both_times() {
    let world = World::start();
    let mut client = world.connect();
    for topic in ["twice", "once"] {
        client.create_topic(topic, 1).await;
    }
    let resource = |name: &'static str, value: &'static str| LegacyResource {
        resource_type: TOPIC,
        resource_name: name.into(),
        configs: vec![LegacyConfig {
            name: "retention.ms".into(),
            value: Some(value.into()),
        }],
    };
    let request = AlterConfigsRequest {
        resources: vec![
            resource("twice", "1000"),
            resource("once", "2000"),
            resource("twice", "3000"),
        ],
        validate_only: false,
    };
    let answer = client.ask(AlterConfigsRequest::KEY, 2, &request).await;
    let altered: AlterConfigsResponse<'_> = answer.body();
    let answers = altered.responses.iter();
    let answers: Vec<_> = answers
        .map(|answer| (&*answer.resource_name, answer.error_code))
        .collect();
    assert_eq!(answers, [("twice", 42), ("once", 0), ("twice", 42)]);
    let topics = &world.broker.node().topics;
    let retention = |name| {
        topics
            .by_name(name)
            .map(|topic| topic.config.now().retention_ms)
    };
    assert_eq!(retention("once"), Some(2_000));
    assert_eq!(retention("twice"), Some(604_800_000));
}

#[tokio::test]
async fn records_of_a_topic_that_may_no_longer_delete_are_kept() {
    let world = patient();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client.produce("t", 0, batch(100)).await;
    let set = alter(&mut client, TOPIC, "t", "retention.ms", Some("1000"));
    assert_eq!(set.await, 0);
    let node = world.broker.node();
    let partition = node.partition("t", 0).expect("partition");
    let set = alter(&mut client, TOPIC, "t", "cleanup.policy", Some(""));
    assert_eq!(set.await, 0);
    world.advance_ms(HOUR_MS).await;
    assert_eq!(partition.offsets().log_start, 0);
    let deleted = alter(&mut client, TOPIC, "t", "cleanup.policy", None);
    assert_eq!(deleted.await, 0);
    world.advance_ms(HOUR_MS).await;
    assert_eq!(partition.offsets().log_start, 1);
}

#[tokio::test]
async fn clients_are_told_the_rack() {
    let world = World::with(|options| options.config("broker.rack", "eu-1a"));
    let mut client = world.connect();
    let request = MetadataRequest::default();
    let answer = client.ask(MetadataRequest::KEY, 12, &request).await;
    let metadata: MetadataResponse<'_> = answer.body();
    assert_eq!(metadata.brokers[0].rack.as_deref(), Some("eu-1a"));
}

#[tokio::test]
async fn a_producer_that_is_silent_for_too_long_is_forgotten() {
    let world = World::with(|options| {
        options
            .config("connections.max.idle.ms", "-1")
            .config("producer.id.expiration.ms", "3600000")
            .config("producer.id.expiration.check.interval.ms", "60000")
    });
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let record = NewRecord {
        timestamp: common::START_MS,
        value: Some(b"x"),
        ..NewRecord::default()
    };
    let builder = BatchBuilder::new().producer(7, 0, 0).record(&record);
    let answer = client
        .produce("t", 0, builder.build().expect("batch"))
        .await;
    let produced: ProduceResponse<'_> = answer.body();
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
    world.advance_ms(HOUR_MS - 60_000).await;
    assert_eq!(producers(&mut client).await, 1);
    world.advance_ms(120_000).await;
    assert_eq!(producers(&mut client).await, 0);
}

async fn producers(client: &mut Client) -> usize {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
        }],
    };
    let answer = client.ask(DescribeProducersRequest::KEY, 0, &request).await;
    let described: DescribeProducersResponse<'_> = answer.body();
    described.topics[0].partitions[0].active_producers.len()
}

#[tokio::test]
async fn client_metrics_are_offered_while_somebody_subscribes_to_any() {
    let world = World::start();
    let mut client = world.connect();
    assert_eq!(offered(&mut client).await, [false, false]);
    let interval = ("interval.ms", Some("1000"));
    let set = alter(&mut client, CLIENT_METRICS, "all", interval.0, interval.1);
    assert_eq!(set.await, 0);
    assert_eq!(offered(&mut client).await, [true, true]);
    let request = GetTelemetrySubscriptionsRequest::default();
    let answer = client
        .ask(GetTelemetrySubscriptionsRequest::KEY, 0, &request)
        .await;
    drop(answer);
    let deleted = alter(&mut client, CLIENT_METRICS, "all", "interval.ms", None);
    assert_eq!(deleted.await, 0);
    assert_eq!(offered(&mut client).await, [false, false]);
    let key = GetTelemetrySubscriptionsRequest::KEY;
    client.send(key, 0, &request).await;
    assert!(
        client.is_closed().await,
        "what is not offered is not served"
    );
}

async fn offered(client: &mut Client) -> [bool; 2] {
    let request = ApiVersionsRequest::default();
    let answer = client.ask(ApiVersionsRequest::KEY, 0, &request).await;
    let versions: ApiVersionsResponse<'_> = answer.body();
    [71, 72].map(|key| versions.api_keys.iter().any(|api| api.api_key == key))
}
