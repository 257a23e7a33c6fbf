//! Topics and their leaders as the cluster decides them: what clients see of a change, and when.

mod common;

use common::{Client, World, batch, fetch_request};
use rustka::fault::{Fault, Point};
use rustka_storage::testing::{PLENTY, TestEngine};
use rustka_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use rustka_wire::create_topics_response::CreateTopicsResponse;
use rustka_wire::delete_topics_request::DeleteTopicsRequest;
use rustka_wire::delete_topics_response::DeleteTopicsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::init_producer_id_response::InitProducerIdResponse;
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::metadata_response::MetadataResponse;
use rustka_wire::produce_response::ProduceResponse;
use std::sync::Arc;

const CLUSTER_METADATA: &str = "__cluster_metadata";
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const KAFKA_STORAGE_ERROR: i16 = 56;

fn creation(name: &'static str) -> CreateTopicsRequest<'static> {
    CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: 2,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    }
}

fn deletion(name: &'static str) -> DeleteTopicsRequest<'static> {
    DeleteTopicsRequest {
        topic_names: vec![name.into()],
        timeout_ms: 10_000,
        ..Default::default()
    }
}

async fn create(client: &mut Client, name: &'static str) -> i16 {
    let answer = client
        .ask(CreateTopicsRequest::KEY, 7, &creation(name))
        .await;
    answer.body::<CreateTopicsResponse<'_>>().topics[0].error_code
}

async fn delete(client: &mut Client, name: &'static str) -> i16 {
    let request = deletion(name);
    let answer = client.ask(DeleteTopicsRequest::KEY, 5, &request).await;
    answer.body::<DeleteTopicsResponse<'_>>().responses[0].error_code
}

/// Names in Metadata of everything.
async fn names(client: &mut Client) -> Vec<String> {
    let request = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let answer = client.ask(MetadataRequest::KEY, 9, &request).await;
    let body: MetadataResponse<'_> = answer.body();
    let names = body.topics.iter().map(|topic| topic.name.as_deref());
    names.map(|name| name.expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn a_topic_is_seen_and_told_when_its_record_is_durable_and_not_before() {
    let engine = TestEngine::new(PLENTY);
    let world = World::with(|options| options.engine(engine.clone()));
    let (mut client, mut other) = (world.connect(), world.connect());
    engine.hold();
    client
        .send(CreateTopicsRequest::KEY, 7, &creation("t"))
        .await;
    world.settle().await;
    assert!(!client.has_answer());
    assert_eq!(other.metadata("t").await.0, UNKNOWN_TOPIC_OR_PARTITION);
    assert!(engine.settle_one(0));
    let answer = client.answer(CreateTopicsRequest::KEY, 7).await;
    assert_eq!(
        answer.body::<CreateTopicsResponse<'_>>().topics[0].error_code,
        0
    );
    assert_eq!(other.metadata("t").await.0, 0);
}

/// Two clients that create the same topic while its record is on its way: the second is told that it exists, and not
/// before it does.
#[tokio::test]
async fn who_comes_second_waits_for_what_the_first_one_has_begun() {
    let engine = TestEngine::new(PLENTY);
    let world = World::with(|options| options.engine(engine.clone()));
    let (mut first, mut second) = (world.connect(), world.connect());
    engine.hold();
    first
        .send(CreateTopicsRequest::KEY, 7, &creation("t"))
        .await;
    world.settle().await;
    second
        .send(CreateTopicsRequest::KEY, 7, &creation("t"))
        .await;
    world.settle().await;
    assert!(!second.has_answer());
    assert!(engine.settle_one(0));
    for (client, expected) in [(&mut first, 0), (&mut second, TOPIC_ALREADY_EXISTS)] {
        let answer = client.answer(CreateTopicsRequest::KEY, 7).await;
        let code = answer.body::<CreateTopicsResponse<'_>>().topics[0].error_code;
        assert_eq!(code, expected);
    }
}

#[tokio::test]
async fn a_change_that_could_not_be_written_was_not_made() {
    let world = World::start();
    let mut client = world.connect();
    let faults = &world.broker.node().faults;
    faults
        .arm(Fault::within(Point::Admit, CLUSTER_METADATA))
        .expect("it fits");
    assert_eq!(create(&mut client, "t").await, KAFKA_STORAGE_ERROR);
    let told = client.metadata("t").await.0;
    assert_eq!(told, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(create(&mut client, "t").await, 0);
    faults
        .arm(Fault::within(Point::Admit, CLUSTER_METADATA))
        .expect("it fits");
    assert_eq!(delete(&mut client, "t").await, KAFKA_STORAGE_ERROR);
    assert_eq!(client.metadata("t").await.0, 0);
    assert_eq!(delete(&mut client, "t").await, 0);
}

/// A log that has lost a write takes no more: topics stay as they are, and what is in them goes on.
#[tokio::test]
async fn when_the_log_is_lost_topics_can_be_used_and_not_changed() {
    let world = World::start();
    let mut client = world.connect();
    assert_eq!(create(&mut client, "t").await, 0);
    let faults = &world.broker.node().faults;
    faults
        .arm(Fault::within(Point::Append, CLUSTER_METADATA))
        .expect("it fits");
    for _ in 0..2 {
        assert_eq!(delete(&mut client, "t").await, KAFKA_STORAGE_ERROR);
        assert_eq!(create(&mut client, "u").await, KAFKA_STORAGE_ERROR);
    }
    assert_eq!(client.metadata("t").await.0, 0);
    let answer = client.produce("t", 0, batch(10)).await;
    let body: ProduceResponse<'_> = answer.body();
    assert_eq!(body.responses[0].partition_responses[0].error_code, 0);
}

/// A panic in the middle of a decision leaves the machine half changed: it is made again from its log.
#[tokio::test]
async fn after_a_mistake_of_ours_topics_are_what_the_log_says() {
    let world = World::start();
    let mut client = world.connect();
    let id = client.create_topic("t", 2).await;
    let faults = &world.broker.node().faults;
    faults
        .arm(Fault::within(Point::Decide, CLUSTER_METADATA))
        .expect("it fits");
    let mut unlucky = world.connect();
    unlucky
        .send(CreateTopicsRequest::KEY, 7, &creation("u"))
        .await;
    assert!(unlucky.is_closed().await);
    assert_eq!(names(&mut client).await, ["t"]);
    assert_eq!(create(&mut client, "u").await, 0);
    assert_eq!(create(&mut client, "t").await, TOPIC_ALREADY_EXISTS);
    assert_eq!(names(&mut client).await, ["t", "u"]);
    let topic = world.broker.node().topics.by_name("t").expect("there");
    assert_eq!((topic.id, topic.partitions.len()), (id, 2));
}

/// A panic between writing a change down and showing it left requests with what had been before, until somebody
/// changed something else: a topic was there and nobody saw it, or was gone and went on being served.
#[tokio::test]
async fn what_is_written_is_shown_also_after_a_panic_on_the_way() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let node = world.broker.node();
    let gone = node.topics.by_name("t").expect("there");
    for create in [true, false] {
        let fault = Fault::within(Point::Publish, CLUSTER_METADATA);
        node.faults.arm(fault).expect("it fits");
        let mut unlucky = world.connect();
        if create {
            let request = creation("u");
            unlucky.send(CreateTopicsRequest::KEY, 7, &request).await;
        } else {
            let request = deletion("t");
            unlucky.send(DeleteTopicsRequest::KEY, 5, &request).await;
        }
        assert!(unlucky.is_closed().await);
        world.settle().await;
        let expected: &[&str] = if create { &["t", "u"] } else { &["u"] };
        assert_eq!(names(&mut client).await, expected);
    }
    assert!(gone.partitions[0].usable_offsets().is_err(), "deleted");
}

/// A fetch session kept every partition that it had ever read, with all that belongs to it, until it was used again.
#[tokio::test]
async fn a_deleted_topic_is_not_kept_by_the_sessions_that_read_it() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client.produce("t", 0, batch(10)).await;
    let mut request = fetch_request("t", 0, 0, 0);
    request.session_epoch = 0;
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let session = answer.body::<FetchResponse<'_>>().session_id;
    assert!(session > 0);
    let partition = world.broker.node().partition("t", 0).expect("there");
    let kept = Arc::downgrade(&partition);
    drop((partition, answer));
    assert_eq!(delete(&mut client, "t").await, 0);
    world.settle().await;
    assert!(kept.upgrade().is_none(), "nobody keeps it");
    request.session_id = session;
    request.session_epoch = 1;
    request.topics.clear();
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    let code = body.responses[0].partitions[0].error_code;
    assert_eq!(code, UNKNOWN_TOPIC_OR_PARTITION);
}

#[tokio::test]
async fn the_log_of_the_cluster_is_no_topic_of_clients() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    assert_eq!(names(&mut client).await, ["t"]);
    let unknown = client.metadata(CLUSTER_METADATA).await.0;
    assert_eq!(unknown, UNKNOWN_TOPIC_OR_PARTITION);
    let request = fetch_request(CLUSTER_METADATA, 0, 0, 0);
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    let code = body.responses[0].partitions[0].error_code;
    assert_eq!(code, UNKNOWN_TOPIC_OR_PARTITION);
    let answer = client.produce(CLUSTER_METADATA, 0, batch(1)).await;
    let body: ProduceResponse<'_> = answer.body();
    let code = body.responses[0].partition_responses[0].error_code;
    assert_eq!(code, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(
        delete(&mut client, CLUSTER_METADATA).await,
        UNKNOWN_TOPIC_OR_PARTITION
    );
}

async fn producer_id(client: &mut Client) -> (i16, i64) {
    let request = InitProducerIdRequest {
        transactional_id: None,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let answer = client.ask(InitProducerIdRequest::KEY, 4, &request).await;
    let body: InitProducerIdResponse = answer.body();
    (body.error_code, body.producer_id)
}

#[tokio::test]
async fn producer_ids_go_on_from_block_to_block() {
    let world = World::start();
    let mut client = world.connect();
    let (_, first) = producer_id(&mut client).await;
    for n in 1..2_500 {
        assert_eq!(producer_id(&mut client).await, (0, first + n));
    }
}
