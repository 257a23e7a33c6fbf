//! A broker whose storage takes its time or fails: what clients are told, when, and in which order.

mod common;

use common::{Client, World, batch, fetch_request, produce_request};
use rustka::net::connection::IN_FLIGHT_WRITES_MAX;
use rustka_storage::Partition;
use rustka_storage::testing::{PLENTY, TestEngine};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::sync::Arc;

const PRODUCE: i16 = 11;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const REQUEST_TIMED_OUT: i16 = 7;
const KAFKA_STORAGE_ERROR: i16 = 56;

/// A broker on an engine that holds writes back, with one topic of two partitions.
async fn world() -> (World, Arc<TestEngine>, Client) {
    let engine = TestEngine::new(PLENTY);
    let world = World::with(|options| options.engine(engine.clone()));
    let mut client = world.connect();
    client.create_topic("t", 2).await;
    engine.hold();
    (world, engine, client)
}

fn partition(world: &World, index: i32) -> Arc<Partition> {
    let partition = world.broker.node().partition("t", index);
    partition.expect("a partition")
}

async fn send(client: &mut Client, partition: i32, acks: i16) {
    let request = ProduceRequest {
        acks,
        ..produce_request("t", partition, batch(10))
    };
    client.send(ProduceRequest::KEY, PRODUCE, &request).await;
}

/// Error and base offset of the next Produce answer.
async fn produced(client: &mut Client) -> (i16, i64) {
    let answer = client.answer(ProduceRequest::KEY, PRODUCE).await;
    let body: ProduceResponse<'_> = answer.body();
    let partition = &body.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

async fn fetched(client: &mut Client, version: i16, partition: i32) -> i16 {
    let request = fetch_request("t", partition, 0, 0);
    let answer = client.ask(FetchRequest::KEY, version, &request).await;
    let body: FetchResponse<'_> = answer.body();
    body.responses[0].partitions[0].error_code
}

#[tokio::test]
async fn acks_1_is_answered_at_append_and_acks_all_once_the_write_is_durable() {
    let (world, engine, mut client) = world().await;
    send(&mut client, 0, 1).await;
    assert_eq!(produced(&mut client).await, (0, 0));
    send(&mut client, 0, -1).await;
    world.settle().await;
    assert_eq!(engine.waiting(), 2);
    assert!(!client.has_answer());
    engine.settle_all(1);
    assert_eq!(produced(&mut client).await, (0, 1));
}

#[tokio::test]
async fn writes_of_one_connection_are_under_way_together_and_answered_in_order() {
    let (world, engine, mut client) = world().await;
    for n in 0..4 {
        send(&mut client, n % 2, -1).await;
    }
    // What waits for nothing still waits for its turn.
    let request = ApiVersionsRequest::default();
    client.send(ApiVersionsRequest::KEY, 0, &request).await;
    world.settle().await;
    assert_eq!(engine.waiting(), 4);
    // The other partition's writes are durable first; nothing may be said yet.
    let second = partition(&world, 1);
    assert!(engine.settle(&second) && engine.settle(&second));
    world.settle().await;
    assert!(!client.has_answer());
    engine.settle_all(1);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(produced(&mut client).await);
    }
    assert_eq!(answers, [(0, 0), (0, 0), (0, 1), (0, 1)]);
    let answer = client.answer(ApiVersionsRequest::KEY, 0).await;
    assert_eq!(answer.body::<ApiVersionsResponse<'_>>().error_code, 0);
}

#[tokio::test]
async fn a_connection_has_no_more_writes_under_way_than_its_limit() {
    let (world, engine, mut client) = world().await;
    let count = IN_FLIGHT_WRITES_MAX + 10;
    for _ in 0..count {
        send(&mut client, 0, -1).await;
    }
    world.settle().await;
    assert_eq!(engine.waiting(), IN_FLIGHT_WRITES_MAX);
    // Each answer makes room for the next one.
    assert!(engine.settle(&partition(&world, 0)));
    assert_eq!(produced(&mut client).await, (0, 0));
    world.settle().await;
    assert_eq!(engine.waiting(), IN_FLIGHT_WRITES_MAX);
    for n in 1..count as i64 {
        engine.settle_all(1);
        assert_eq!(produced(&mut client).await, (0, n));
        world.settle().await;
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_while_its_writes_wait_is_forgotten() {
    let (world, engine, mut client) = world().await;
    for _ in 0..IN_FLIGHT_WRITES_MAX {
        send(&mut client, 0, -1).await;
    }
    world.settle().await;
    drop(client);
    world.settle().await;
    assert_eq!(world.connections(), 0);
    engine.settle_all(1);
    assert_eq!(partition(&world, 0).offsets().high_watermark, 64);
}

#[tokio::test]
async fn a_write_that_is_not_durable_in_time_is_answered_so() {
    let (world, engine, mut client) = world().await;
    send(&mut client, 0, -1).await;
    world.advance_ms(9_999).await;
    assert!(!client.has_answer());
    world.advance_ms(1).await;
    assert_eq!(produced(&mut client).await, (REQUEST_TIMED_OUT, 0));
    engine.settle_all(1);
}

// E83
#[tokio::test]
async fn a_partition_whose_write_failed_answers_kafka_storage_error_and_the_others_go_on() {
    let (world, engine, mut client) = world().await;
    engine.fail_next_write(&partition(&world, 0));
    send(&mut client, 0, -1).await;
    send(&mut client, 0, -1).await;
    send(&mut client, 1, -1).await;
    world.settle().await;
    engine.settle_all(1);
    let lost = (KAFKA_STORAGE_ERROR, -1);
    assert_eq!(produced(&mut client).await, lost);
    assert_eq!(produced(&mut client).await, lost, "admitted after it");
    assert_eq!(produced(&mut client).await, (0, 0));
    send(&mut client, 0, 1).await;
    assert_eq!(produced(&mut client).await, lost, "read-only");
    assert_eq!(fetched(&mut client, 12, 0).await, KAFKA_STORAGE_ERROR);
    assert_eq!(fetched(&mut client, 6, 0).await, KAFKA_STORAGE_ERROR);
    for version in [4, 5] {
        let code = fetched(&mut client, version, 0).await;
        assert_eq!(code, NOT_LEADER_OR_FOLLOWER, "version {version}");
    }
    assert_eq!(fetched(&mut client, 5, 1).await, 0);
}

#[tokio::test]
async fn a_waiting_fetch_hears_of_a_failed_write_at_once() {
    let (world, engine, mut client) = world().await;
    engine.fail_next_write(&partition(&world, 0));
    // Too small to end the wait by itself.
    let request = FetchRequest {
        min_bytes: 1 << 20,
        ..fetch_request("t", 0, 0, 500_000)
    };
    let mut patient = world.connect();
    patient.send(FetchRequest::KEY, 12, &request).await;
    world.settle().await;
    send(&mut client, 0, 1).await;
    assert_eq!(produced(&mut client).await, (0, 0));
    engine.settle_all(1);
    let answer = patient.answer(FetchRequest::KEY, 12).await;
    let body: FetchResponse<'_> = answer.body();
    let code = body.responses[0].partitions[0].error_code;
    assert_eq!(code, KAFKA_STORAGE_ERROR);
}

#[tokio::test]
async fn a_broker_that_stops_has_its_storage_write_what_is_queued_and_answers() {
    let (world, engine, mut client) = world().await;
    send(&mut client, 0, -1).await;
    world.settle().await;
    world.broker.stop().await;
    assert!(engine.is_closed());
    assert_eq!(produced(&mut client).await, (0, 0));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_broker_that_is_dropped_ends_in_the_same_order() {
    let (world, engine, mut client) = world().await;
    let mut reader = world.connect();
    let request = fetch_request("t", 1, 0, 500_000);
    reader.send(FetchRequest::KEY, 12, &request).await;
    send(&mut client, 0, -1).await;
    world.settle().await;
    drop(world);
    assert_eq!(produced(&mut client).await, (0, 0));
    assert!(engine.is_closed());
    let answer = reader.answer(FetchRequest::KEY, 12).await;
    assert_eq!(answer.body::<FetchResponse<'_>>().error_code, 0);
    assert!(reader.is_closed().await && client.is_closed().await);
}
