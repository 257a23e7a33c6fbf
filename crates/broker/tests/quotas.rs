//! Quotas, by what clients notice. What Kafka answers is in the scenarios `quotas` and `quota-…`.

mod common;

use common::{Client, World, batch, fetch_request};
use rustka::fault::{Effect, Fault, Point};
use rustka_wire::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntityData, EntryData, OpData,
};
use rustka_wire::alter_client_quotas_response::AlterClientQuotasResponse;
use rustka_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use rustka_wire::create_topics_response::CreateTopicsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::list_groups_request::ListGroupsRequest;
use rustka_wire::list_groups_response::ListGroupsResponse;
use rustka_wire::produce_request::ProduceRequest;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

const THROTTLING_QUOTA_EXCEEDED: i16 = 89;

fn produce(bytes: usize, acks: i16) -> ProduceRequest<'static> {
    ProduceRequest {
        acks,
        timeout_ms: 5_000,
        ..common::produce_request("t", 0, batch(bytes))
    }
}

fn client(world: &World, id: &str) -> Client {
    let mut client = world.connect();
    client.client_id = id.to_owned();
    client
}

/// Sets a quota or takes it away.
async fn set(
    world: &World,
    part: &'static str,
    name: &'static str,
    key: &'static str,
    value: Option<f64>,
) {
    let request = AlterClientQuotasRequest {
        entries: vec![EntryData {
            entity: vec![EntityData {
                entity_type: part.into(),
                entity_name: Some(name.into()),
            }],
            ops: vec![OpData {
                key: key.into(),
                value: value.unwrap_or(0.0),
                remove: value.is_none(),
            }],
        }],
        validate_only: false,
    };
    let mut admin = client(world, "admin");
    let answer = admin.ask(AlterClientQuotasRequest::KEY, 1, &request).await;
    let altered: AlterClientQuotasResponse<'_> = answer.body();
    assert_eq!(altered.entries[0].error_code, 0, "{altered:?}");
}

async fn list_groups(client: &mut Client) -> i32 {
    let answer = client
        .ask(ListGroupsRequest::KEY, 4, &ListGroupsRequest::default())
        .await;
    answer.body::<ListGroupsResponse<'_>>().throttle_time_ms
}

/// Whether the connection is not read now: a request on it is not answered before some time has passed.
async fn is_muted_for_ms(world: &World, client: &mut Client, ms: u64) -> bool {
    client
        .send(ListGroupsRequest::KEY, 4, &ListGroupsRequest::default())
        .await;
    world.advance_ms(ms - 1).await;
    let is_silent = !client.has_answer();
    world.advance_ms(1).await;
    client.answer(ListGroupsRequest::KEY, 4).await;
    is_silent
}

#[tokio::test]
async fn the_answer_comes_at_once_and_then_the_connection_is_not_read() {
    let world = World::start();
    client(&world, "admin").create_topic("t", 1).await;
    set(
        &world,
        "client-id",
        "greedy",
        "producer_byte_rate",
        Some(10_000.0),
    )
    .await;
    let mut greedy = client(&world, "greedy");
    let answer = greedy
        .ask(ProduceRequest::KEY, 9, &produce(150_000, -1))
        .await;
    let told = answer.body::<rustka_wire::produce_response::ProduceResponse<'_>>();
    assert_eq!(told.responses[0].partition_responses[0].error_code, 0);
    let wait_ms = told.throttle_time_ms as u64;
    assert!((5_000..5_100).contains(&wait_ms), "{wait_ms}");
    let mut beside = client(&world, "greedy");
    assert_eq!(
        list_groups(&mut beside).await,
        0,
        "only its bytes are limited"
    );
    assert!(is_muted_for_ms(&world, &mut greedy, wait_ms).await);
    let metrics = &world.broker.node().metrics;
    assert_eq!(metrics.throttled_by_produced_bytes.load(Relaxed), 1);
    assert_eq!(metrics.throttled_ms.load(Relaxed), wait_ms);
    set(&world, "client-id", "greedy", "producer_byte_rate", None).await;
    greedy
        .ask(ProduceRequest::KEY, 9, &produce(150_000, -1))
        .await;
    assert_eq!(
        list_groups(&mut greedy).await,
        0,
        "the next request goes by it"
    );
}

/// A batch that is checked on the side, and a request that was held up by a fault, went around the quota: their producer
/// wanted no answer, and nothing else told the connection to wait.
#[tokio::test]
async fn without_an_answer_the_connection_is_not_read_either() {
    let world = World::start();
    client(&world, "admin").create_topic("t", 1).await;
    for (id, held) in [("plain", false), ("held up", true)] {
        set(
            &world,
            "client-id",
            id,
            "producer_byte_rate",
            Some(10_000.0),
        )
        .await;
        let mut greedy = client(&world, id);
        if held {
            let faults = &world.broker.node().faults;
            let fault = Fault {
                api: Some(ProduceRequest::KEY),
                effect: Effect::Delay(10),
                ..Fault::at(Point::Dispatch)
            };
            faults.arm(fault).expect("it fits");
        }
        greedy
            .send(ProduceRequest::KEY, 9, &produce(150_000, 0))
            .await;
        world.advance_ms(10).await;
        greedy
            .send(ListGroupsRequest::KEY, 4, &ListGroupsRequest::default())
            .await;
        world.advance_ms(4_900).await;
        assert!(!greedy.has_answer(), "{id}");
        world.advance_ms(200).await;
        greedy.answer(ListGroupsRequest::KEY, 4).await;
    }
}

#[tokio::test]
async fn a_fetch_over_its_quota_gets_nothing_but_the_records_after_the_wait() {
    let world = World::start();
    let mut admin = client(&world, "admin");
    admin.create_topic("t", 1).await;
    admin.produce("t", 0, batch(105_000)).await;
    set(
        &world,
        "user",
        "ANONYMOUS",
        "consumer_byte_rate",
        Some(10_000.0),
    )
    .await;
    let mut reader = client(&world, "reader");
    let ask = fetch_request("t", 0, 0, 0);
    let answer = reader.ask(FetchRequest::KEY, 12, &ask).await;
    let told: FetchResponse<'_> = answer.body();
    assert!(told.responses.is_empty());
    let wait_ms = told.throttle_time_ms as u64;
    assert!((500..600).contains(&wait_ms), "{wait_ms}");
    world.advance_ms(wait_ms).await;
    let answer = reader.ask(FetchRequest::KEY, 12, &ask).await;
    let told: FetchResponse<'_> = answer.body();
    assert_eq!((told.responses.len(), told.throttle_time_ms), (1, 0));
    let answer = reader.ask(FetchRequest::KEY, 12, &ask).await;
    let told: FetchResponse<'_> = answer.body();
    assert!(told.throttle_time_ms > 9_000, "what it got counts");
}

#[tokio::test]
async fn time_on_requests_is_limited_and_no_wait_is_longer_than_a_second() {
    let world = World::start();
    set(
        &world,
        "client-id",
        "busy",
        "request_percentage",
        Some(1e-7),
    )
    .await;
    let mut busy = client(&world, "busy");
    assert_eq!(list_groups(&mut busy).await, 1_000);
    assert!(is_muted_for_ms(&world, &mut busy, 1_000).await);
    assert_eq!(list_groups(&mut client(&world, "other")).await, 0);
}

#[tokio::test]
async fn creating_too_many_partitions_is_refused_until_the_bucket_has_filled() {
    let world = World::with(|options| options.config("controller.quota.window.num", "2"));
    set(
        &world,
        "client-id",
        "maker",
        "controller_mutation_rate",
        Some(1.0),
    )
    .await;
    let make = |name: &'static str| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: 4,
            replication_factor: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    let told = async |name| {
        let mut maker = client(&world, "maker");
        let answer = maker.ask(CreateTopicsRequest::KEY, 7, &make(name)).await;
        let told: CreateTopicsResponse<'_> = answer.body();
        (told.topics[0].error_code, told.throttle_time_ms)
    };
    assert_eq!(told("a").await, (0, 0), "a bucket of two, overdrawn");
    assert_eq!(told("b").await, (THROTTLING_QUOTA_EXCEEDED, 2_000));
    world.advance_ms(2_000).await;
    assert_eq!(told("b").await, (0, 0));
}

#[tokio::test]
async fn an_address_may_connect_so_often_and_no_more() {
    let world = World::start();
    set(
        &world,
        "ip",
        "10.0.0.1",
        "connection_creation_rate",
        Some(1.0),
    )
    .await;
    let from = |last| SocketAddr::from(([10, 0, 0, last], 1));
    for _ in 0..10 {
        assert_eq!(list_groups(&mut world.connect_from(from(1))).await, 0);
    }
    let mut refused = world.connect_from(from(1));
    assert_eq!(list_groups(&mut world.connect_from(from(2))).await, 0);
    refused
        .send(ListGroupsRequest::KEY, 4, &ListGroupsRequest::default())
        .await;
    world.advance_ms(999).await;
    assert!(!refused.has_answer());
    world.advance_ms(1).await;
    assert!(
        refused.is_closed().await,
        "held back for a second, then closed"
    );
    world.advance_ms(11_000).await;
    assert_eq!(list_groups(&mut world.connect_from(from(1))).await, 0);
}
