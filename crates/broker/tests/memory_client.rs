//! The in-memory transport end to end: a broker that has no socket serves clients all the same.

mod common;

use common::{World, batch, fetch_request};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::produce_response::ProduceResponse;

#[tokio::test]
async fn a_broker_without_sockets_serves_produce_and_fetch() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let answer = client.produce("t", 0, batch(100)).await;
    let produced: ProduceResponse<'_> = answer.body();
    assert_eq!(produced.responses[0].partition_responses[0].base_offset, 0);
    let answer = client
        .ask(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 0))
        .await;
    let fetched: FetchResponse<'_> = answer.body();
    let partition = &fetched.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark), (0, 1));
}

#[tokio::test]
async fn a_waiting_fetch_ends_when_the_clock_says_so() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client
        .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 500))
        .await;
    world.advance_ms(499).await;
    let mut other = world.connect();
    let request = ApiVersionsRequest::default();
    let answer = other.ask(ApiVersionsRequest::KEY, 0, &request).await;
    assert_eq!(answer.body::<ApiVersionsResponse<'_>>().error_code, 0);
    world.advance_ms(1).await;
    let answer = client.answer(FetchRequest::KEY, 12).await;
    let fetched: FetchResponse<'_> = answer.body();
    assert_eq!(fetched.responses[0].partitions[0].high_watermark, 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_waits_is_forgotten_at_once() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client
        .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 500_000))
        .await;
    world.settle().await;
    assert_eq!(world.connections(), 1);
    drop(client);
    world.settle().await;
    assert_eq!(world.connections(), 0);
}
