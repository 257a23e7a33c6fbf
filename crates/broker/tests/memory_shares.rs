//! What clients have the broker remember beside records is counted, bounded by its part of the memory limit, and told.

mod common;
mod page;

use common::{Client, START_MS, World, batch, commit_request, produce_request};
use page::Page;
use rustka_core::account::Share;
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_wire::Records;
use rustka_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use rustka_wire::create_topics_response::CreateTopicsResponse;
use rustka_wire::delete_groups_request::DeleteGroupsRequest;
use rustka_wire::delete_groups_response::DeleteGroupsResponse;
use rustka_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::offset_commit_request::OffsetCommitRequest;
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::produce_request::{PartitionProduceData, ProduceRequest};
use rustka_wire::produce_response::ProduceResponse;

const LIMIT: u64 = 16 << 20;

/// Commits ten offsets of a group; the code of the first, which is that of all.
async fn commit(client: &mut Client, group: &str) -> i16 {
    let request = commit_request(group, "t", 10);
    let answer = client.ask(OffsetCommitRequest::KEY, 8, &request).await;
    let body: OffsetCommitResponse<'_> = answer.body();
    let codes: Vec<i16> = body.topics[0]
        .partitions
        .iter()
        .map(|one| one.error_code)
        .collect();
    assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
    codes[0]
}

async fn produce(client: &mut Client) -> i16 {
    let request = produce_request("t", 0, batch(10_000));
    let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
    let body: ProduceResponse<'_> = answer.body();
    body.responses[0].partition_responses[0].error_code
}

/// Groups with ten offsets each took 2.5 kB that nothing counted: 200,000 of them took half a gigabyte of a machine that
/// had given the broker 64 MiB.
#[tokio::test]
async fn a_flood_of_groups_is_refused_while_those_that_are_there_and_producers_go_on() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let account = world.broker.node().memory.account.clone();
    let mut client = world.connect();
    client.create_topic("t", 10).await;
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    client.ask(FindCoordinatorRequest::KEY, 4, &find).await;
    let (mut made, mut refused) = (0, 0);
    for n in 0..10_000 {
        match commit(&mut client, &format!("flood-{n}")).await {
            0 => made += 1,
            code => {
                assert_eq!(code, ErrorCode::CoordinatorLoadInProgress.code());
                refused += 1;
            }
        }
        if n % 100 == 0 {
            assert_eq!(produce(&mut client).await, 0, "after {n} groups");
        }
    }
    assert!(made > 1_000 && refused > 1_000, "{made} {refused}");
    assert!(account.bytes(Share::Groups) <= LIMIT as usize / 8);
    for n in 0..1_000 {
        assert_eq!(commit(&mut client, &format!("flood-{n}")).await, 0);
    }
    let memory = &world.broker.node().memory;
    assert!(memory.bytes_taken() <= memory.limit());
    let delete = DeleteGroupsRequest {
        groups_names: vec!["flood-0".into()],
    };
    let answer = client.ask(DeleteGroupsRequest::KEY, 2, &delete).await;
    let body: DeleteGroupsResponse<'_> = answer.body();
    assert_eq!(body.results[0].error_code, 0);
    assert_eq!(commit(&mut client, "flood-9999").await, 0);
}

/// Every kind of what clients have the broker remember weighs something, and nothing once it is gone.
#[tokio::test]
async fn what_is_gone_weighs_nothing_any_more() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let account = world.broker.node().memory.account.clone();
    let mut client = world.connect();
    let before = account.bytes(Share::Topics);
    client.create_topic("t", 100).await;
    assert!(account.bytes(Share::Topics) >= before + 100 * 500);
    client.ask(FetchRequest::KEY, 12, &full_fetch()).await;
    assert!(account.bytes(Share::Sessions) >= 100 * 100);
    for producer_id in 0..10 {
        let batch = idempotent(producer_id);
        client.produce("t", 0, batch).await;
    }
    assert!(account.bytes(Share::Producers) >= 10 * 150);
    let one = account.bytes(Share::Connections);
    let others: Vec<Client> = (0..10).map(|_| world.connect()).collect();
    assert_eq!(account.bytes(Share::Connections), 11 * one);
    drop(others);
    world.settle().await;
    assert_eq!(account.bytes(Share::Connections), one);
    client.delete_topic("t").await;
    let mut other = world.connect();
    drop(client);
    world.settle().await;
    let end = FetchRequest {
        session_epoch: -1,
        ..full_fetch()
    };
    other.ask(FetchRequest::KEY, 12, &end).await;
    assert_eq!(account.bytes(Share::Topics), before);
    assert_eq!(account.bytes(Share::Producers), 0);
}

/// Asks for a session with a hundred partitions.
fn full_fetch() -> FetchRequest<'static> {
    FetchRequest {
        max_wait_ms: 0,
        session_epoch: 0,
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: (0..100)
                .map(|partition| FetchPartition {
                    partition,
                    partition_max_bytes: 1_000,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The first batch of a producer.
fn idempotent(producer_id: i64) -> Vec<u8> {
    let record = NewRecord {
        timestamp: START_MS,
        value: Some(b"value"),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().producer(producer_id, 0, 0);
    batch.record(&record).build().expect("a batch")
}

/// Producers were bounded for each partition, ten thousand of them: a thousand partitions could hold gigabytes.
#[tokio::test]
async fn a_flood_of_producers_makes_partitions_forget_the_oldest() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let account = world.broker.node().memory.account.clone();
    let mut client = world.connect();
    client.create_topic("t", 10).await;
    let most = account.bytes_max(Share::Producers);
    for producer_id in 0..12_000 {
        let mut request = produce_request("t", 0, Vec::new());
        request.topic_data[0].partition_data = (0..10)
            .map(|index| PartitionProduceData {
                index,
                records: Some(Records::from(idempotent(producer_id))),
            })
            .collect();
        let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
        let body: ProduceResponse<'_> = answer.body();
        let partitions = &body.responses[0].partition_responses;
        assert!(partitions.iter().all(|one| one.error_code == 0));
        let bytes = account.bytes(Share::Producers);
        assert!(bytes <= most + 10_000, "{bytes} of {most}");
    }
    assert!(account.bytes(Share::Producers) > most / 2);
}

/// Topics were bounded by nothing at all.
#[tokio::test]
async fn a_flood_of_topics_is_refused_in_words_and_taken_again_once_some_are_gone() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let mut client = world.connect();
    let create = |name: String| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: 1_000,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let mut sentence = None;
    for n in 0..10 {
        let request = create(format!("t-{n}"));
        let answer = client.ask(CreateTopicsRequest::KEY, 7, &request).await;
        let body: CreateTopicsResponse<'_> = answer.body();
        match body.topics[0].error_code {
            0 => assert_eq!(sentence, None),
            code => {
                assert_eq!(code, ErrorCode::PolicyViolation.code());
                sentence = body.topics[0].error_message.clone().map(String::from);
            }
        }
    }
    let sentence = sentence.expect("a refusal in words");
    assert!(
        sentence.starts_with("topics and partitions hold "),
        "{sentence}"
    );
    assert!(sentence.contains("delete topics that nobody uses, or raise --memory-limit"));
    client.delete_topic("t-0").await;
    client.create_topic("again", 900).await;
}

/// Connections were bounded by file descriptors alone, of which containers often have a million.
#[tokio::test]
async fn a_flood_of_connections_is_closed_and_those_that_are_there_go_on() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let mut others: Vec<Client> = (0..1_500).map(|_| world.connect()).collect();
    world.settle().await;
    let connections = world.connections();
    assert!((500..1_400).contains(&connections), "{connections}");
    let last = others.last_mut().expect("many");
    assert!(last.is_closed().await);
    assert_eq!(produce(&mut client).await, 0);
    drop(others);
    world.settle().await;
    let mut late = world.connect();
    assert_eq!(produce(&mut late).await, 0);
}

/// A share of memory that is full was told nowhere.
#[tokio::test]
async fn metrics_tell_every_share() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 10).await;
    let text = Page(&world).get("/metrics").await.body;
    for share in Share::ALL {
        let series = format!("rustka_memory_share_bytes{{share=\"{}\"}}", share.name());
        assert!(text.contains(&series), "{series}");
    }
    let max = "rustka_memory_share_bytes_max{share=\"groups\"}";
    assert!(text.contains(max), "{text}");
}
