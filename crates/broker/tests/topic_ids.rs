//! Ids of topics by their names: what they are in two lives of a broker, and within one.

mod common;

use common::{Client, World};
use rustka::Broker;
use rustka_wire::Uuid;
use rustka_wire::delete_topics_request::DeleteTopicsRequest;
use rustka_wire::delete_topics_response::DeleteTopicsResponse;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use rustka_wire::metadata_response::MetadataResponse;

/// A life of a broker whose topic ids come from names.
fn life(cluster_id: &str) -> World {
    World::with(|options| {
        options
            .cluster_id(cluster_id)
            .config("rustka.topic.ids", "by-name")
    })
}

/// What Metadata says of a topic, which it creates if need be.
async fn told(client: &mut Client, name: &str) -> Uuid {
    let topic = MetadataRequestTopic {
        name: Some(name.into()),
        ..Default::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let answer = client.ask(MetadataRequest::KEY, 12, &request).await;
    let metadata: MetadataResponse<'_> = answer.body();
    assert_eq!(metadata.topics[0].error_code, 0, "{metadata:?}");
    metadata.topics[0].topic_id
}

async fn delete(client: &mut Client, name: &str) {
    let request = DeleteTopicsRequest {
        topic_names: vec![name.into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer = client.ask(DeleteTopicsRequest::KEY, 5, &request).await;
    let deleted: DeleteTopicsResponse<'_> = answer.body();
    assert_eq!(deleted.responses[0].error_code, 0, "{deleted:?}");
}

// franz-go takes a topic that has another id for one that is gone, so a service on it never came back after the broker
// beside it had been started again.
#[tokio::test]
async fn a_topic_has_its_id_again_in_the_next_life() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let world = life("one");
        let mut client = world.connect();
        let created = client.create_topic("orders", 3).await;
        assert_eq!(told(&mut client, "orders").await, created);
        let auto = told(&mut client, "made.up").await;
        let coordinator = FindCoordinatorRequest::default();
        client
            .ask(FindCoordinatorRequest::KEY, 3, &coordinator)
            .await;
        let offsets = told(&mut client, "__consumer_offsets").await;
        ids.push([created, auto, offsets]);
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0][0], ids[0][1]);
}

#[tokio::test]
async fn another_cluster_has_other_ids() {
    let (one, other) = (life("one"), life("other"));
    let id = one.connect().create_topic("orders", 1).await;
    assert_ne!(other.connect().create_topic("orders", 1).await, id);
}

#[tokio::test]
async fn a_topic_that_is_made_again_within_one_life_is_another_one() {
    let world = life("one");
    let mut client = world.connect();
    let first = client.create_topic("orders", 1).await;
    delete(&mut client, "orders").await;
    let second = client.create_topic("orders", 1).await;
    delete(&mut client, "orders").await;
    let third = told(&mut client, "orders").await;
    assert!(first != second && second != third && third != first);
}

#[tokio::test]
async fn without_the_config_ids_are_random() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let world = World::with(|options| options.cluster_id("one"));
        ids.push(world.connect().create_topic("orders", 1).await);
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn ids_by_name_in_a_cluster_without_a_fixed_id_make_no_sense() {
    let options = Broker::builder().config("rustka.topic.ids", "by-name");
    let refused = options.check().expect_err("no cluster id").to_string();
    assert!(refused.contains("CLUSTER_ID"), "{refused}");
    assert!(options.cluster_id("one").check().is_ok());
}
