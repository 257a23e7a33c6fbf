//! A broker serves as soon as it knows which topics there are: what becomes of requests for partitions that it has not
//! opened yet.

mod common;

use common::{Client, World, batch, commit_request, fetch_request, produce_request};
use rustka_storage::testing::Folder;
use rustka_wire::describe_log_dirs_request::DescribeLogDirsRequest;
use rustka_wire::describe_log_dirs_response::DescribeLogDirsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use rustka_wire::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use rustka_wire::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rustka_wire::list_offsets_response::ListOffsetsResponse;
use rustka_wire::offset_commit_request::OffsetCommitRequest;
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use rustka_wire::offset_fetch_response::OffsetFetchResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::fs;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const CLEAN: &str = ".kafka_cleanshutdown";
/// A request waits no longer than this for its partition.
const WAIT_MS: u64 = 10_000;

/// A broker on this directory that opens nothing but its journals by itself.
fn start(folder: &Folder) -> World {
    World::with(|options| options.data_dir(&folder.0).openers(0))
}

async fn stop(world: World) {
    world.broker.stop().await;
}

/// The topics `a` and `b` of one partition each with three records, and a group that has read a part of `a`.
async fn written() -> Folder {
    let folder = Folder::new("opening");
    let world = start(&folder);
    let mut client = world.connect();
    for topic in ["a", "b"] {
        client.create_topic(topic, 1).await;
        for offset in 0..3 {
            assert_eq!(produced(&mut client, topic).await, (0, offset));
        }
    }
    commit(&mut client).await;
    stop(world).await;
    folder
}

/// The first commit may come before its topic is there.
async fn commit(client: &mut Client) {
    let commit = commit_request("g", "a", 1);
    loop {
        let answer = client.ask(OffsetCommitRequest::KEY, 8, &commit).await;
        let body: OffsetCommitResponse<'_> = answer.body();
        match body.topics[0].partitions[0].error_code {
            0 => return,
            COORDINATOR_NOT_AVAILABLE | NOT_COORDINATOR => tokio::task::yield_now().await,
            other => panic!("{other}"),
        }
    }
}

fn to_all(topic: &str) -> ProduceRequest<'static> {
    ProduceRequest {
        acks: -1,
        ..produce_request(topic, 0, batch(10))
    }
}

async fn produced(client: &mut Client, topic: &str) -> (i16, i64) {
    client.send(ProduceRequest::KEY, 11, &to_all(topic)).await;
    produce_answer(client).await
}

async fn produce_answer(client: &mut Client) -> (i16, i64) {
    let answer = client.answer(ProduceRequest::KEY, 11).await;
    let body: ProduceResponse<'_> = answer.body();
    let partition = &body.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

async fn fetched(client: &mut Client) -> (i16, i64) {
    let answer = client.answer(FetchRequest::KEY, 12).await;
    let body: FetchResponse<'_> = answer.body();
    let partition = &body.responses[0].partitions[0];
    (partition.error_code, partition.high_watermark)
}

fn latest(topic: &'static str) -> ListOffsetsRequest<'static> {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: 0,
                current_leader_epoch: -1,
                timestamp: -1,
            }],
        }],
        ..Default::default()
    }
}

async fn listed(client: &mut Client) -> (i16, i64) {
    let answer = client.answer(ListOffsetsRequest::KEY, 6).await;
    let body: ListOffsetsResponse<'_> = answer.body();
    let partition = &body.topics[0].partitions[0];
    (partition.error_code, partition.offset)
}

async fn committed(client: &mut Client) -> i64 {
    let request = OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: "a".into(),
            partition_indexes: vec![0],
        }]),
        ..Default::default()
    };
    let answer = client.ask(OffsetFetchRequest::KEY, 7, &request).await;
    let body: OffsetFetchResponse<'_> = answer.body();
    assert_eq!(body.error_code, 0);
    body.topics[0].partitions[0].committed_offset
}

/// What a page of the HTTP port says.
async fn page(world: &World, path: &str) -> String {
    let mut stream = world.broker.connect_http();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("the broker reads");
    let mut text = String::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut text));
    read.await.expect("an answer").expect("text");
    text
}

#[tokio::test]
async fn requests_wait_until_their_partition_is_open_and_get_what_is_there() {
    let folder = written().await;
    let world = start(&folder);
    let [mut reader, mut asker, mut writer] = [(); 3].map(|()| world.connect());
    let (error, partitions) = reader.metadata("b").await;
    assert_eq!(
        (error, partitions[0].error_code, partitions[0].leader_id),
        (0, 0, 1)
    );
    assert_eq!(
        committed(&mut reader).await,
        1,
        "its journal is read before anybody is served"
    );
    reader
        .send(FetchRequest::KEY, 12, &fetch_request("b", 0, 0, 0))
        .await;
    asker.send(ListOffsetsRequest::KEY, 6, &latest("b")).await;
    writer.send(ProduceRequest::KEY, 11, &to_all("b")).await;
    world.settle().await;
    for client in [&reader, &asker, &writer] {
        assert!(!client.has_answer(), "nothing is known of it yet");
    }
    let opener = &world.broker.node().opener;
    assert!(opener.open_next());
    assert!(
        !world
            .broker
            .node()
            .partition("b", 0)
            .expect("there")
            .is_opening()
    );
    assert_eq!(produce_answer(&mut writer).await, (0, 3));
    let (error, high) = fetched(&mut reader).await;
    assert!(error == 0 && (3..=4).contains(&high), "{error} {high}");
    let (error, end) = listed(&mut asker).await;
    assert!(error == 0 && (3..=4).contains(&end), "{error} {end}");
    assert!(
        world
            .broker
            .node()
            .partition("a", 0)
            .expect("there")
            .is_opening()
    );
    while opener.open_next() {}
    assert_eq!(reader.first_batch("a", 0, 1).await, (0, Some(1)));
    stop(world).await;
    assert!(folder.0.join(CLEAN).exists());
}

#[tokio::test]
async fn who_has_waited_long_is_told_to_come_again() {
    let folder = written().await;
    let world = start(&folder);
    let mut client = world.connect();
    client.send(ListOffsetsRequest::KEY, 6, &latest("a")).await;
    world.settle().await;
    world.advance_ms(WAIT_MS - 1).await;
    assert!(!client.has_answer());
    world.advance_ms(1).await;
    assert_eq!(listed(&mut client).await, (NOT_LEADER_OR_FOLLOWER, -1));
    client
        .send(FetchRequest::KEY, 12, &fetch_request("a", 0, 0, 0))
        .await;
    world.advance_ms(WAIT_MS).await;
    assert_eq!(fetched(&mut client).await, (NOT_LEADER_OR_FOLLOWER, -1));
    client.send(ProduceRequest::KEY, 11, &to_all("a")).await;
    world.advance_ms(WAIT_MS).await;
    assert_eq!(
        produce_answer(&mut client).await,
        (NOT_LEADER_OR_FOLLOWER, -1)
    );
    stop(world).await;
}

#[tokio::test]
async fn who_asks_for_several_gets_those_that_are_there() {
    let folder = written().await;
    let world = start(&folder);
    let node = world.broker.node();
    node.partition("b", 0).expect("there").hurry();
    assert!(node.opener.open_next());
    let mut client = world.connect();
    let mut both = latest("a");
    both.topics.extend(latest("b").topics);
    let answer = client.ask(ListOffsetsRequest::KEY, 6, &both).await;
    let body: ListOffsetsResponse<'_> = answer.body();
    let told = body.topics.iter().map(|topic| {
        let partition = &topic.partitions[0];
        (partition.error_code, partition.offset)
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(NOT_LEADER_OR_FOLLOWER, -1), (0, 3)]);
    stop(world).await;
}

#[tokio::test]
async fn nothing_is_told_of_the_size_of_what_is_not_open() {
    let folder = written().await;
    let world = start(&folder);
    let opener = &world.broker.node().opener;
    assert!(page(&world, "/readyz").await.contains("503"));
    assert!(
        page(&world, "/readyz")
            .await
            .contains("2 partitions are still being opened")
    );
    let mut client = world.connect();
    let asks = DescribeLogDirsRequest { topics: None };
    let sizes = async |client: &mut Client| {
        let answer = client.ask(DescribeLogDirsRequest::KEY, 4, &asks).await;
        let body: DescribeLogDirsResponse<'_> = answer.body();
        let topics = body.results[0].topics.iter();
        let names = topics.map(|topic| topic.name.to_string());
        names
            .filter(|name| !name.starts_with("__"))
            .collect::<Vec<_>>()
    };
    assert!(sizes(&mut client).await.is_empty());
    let ends = "kafka_topic_partition_current_offset{";
    assert!(!page(&world, "/metrics").await.contains(ends));
    assert!(opener.open_next());
    assert_eq!(sizes(&mut client).await, ["a"]);
    assert!(
        page(&world, "/metrics")
            .await
            .contains(&format!("{ends}partition=\"0\",topic=\"a\"}} 3"))
    );
    assert!(opener.open_next());
    assert_eq!(sizes(&mut client).await, ["a", "b"]);
    assert!(page(&world, "/readyz").await.contains("200 OK"));
    stop(world).await;
}

// With 10,000 partitions it kept seven megabytes for another twenty seconds.
#[tokio::test]
async fn what_journals_were_read_into_is_given_back_once_all_is_open() {
    let folder = written().await;
    let world = start(&folder);
    let node = world.broker.node();
    world.advance_ms(1_000).await;
    assert!(node.pool.bytes_kept() > 0, "for what is still to be opened");
    while node.opener.open_next() {}
    world.advance_ms(1_000).await;
    assert_eq!(node.pool.bytes_kept(), 0);
    stop(world).await;
}

#[tokio::test]
async fn pages_wait_until_all_is_known() {
    let folder = written().await;
    let world = start(&folder);
    let asks = page(&world, "/api/v1/topics");
    let opens = async {
        world.settle().await;
        while world.broker.node().opener.open_next() {}
    };
    let (told, ()) = tokio::join!(asks, opens);
    assert!(
        told.contains("200 OK") && told.contains("\"records\":\"3\""),
        "{told}"
    );
    stop(world).await;

    let world = start(&folder);
    let asks = page(&world, "/api/v1/topics");
    let passes = async {
        world.settle().await;
        world.advance_ms(WAIT_MS).await;
    };
    let (told, ()) = tokio::join!(asks, passes);
    assert!(
        told.contains("503") && told.contains("2 partitions are still being opened"),
        "{told}"
    );
    stop(world).await;
}

#[tokio::test]
async fn a_topic_that_is_deleted_meanwhile_is_gone_and_its_name_is_free() {
    let folder = written().await;
    let world = start(&folder);
    let mut client = world.connect();
    let mut waits = world.connect();
    waits
        .send(FetchRequest::KEY, 12, &fetch_request("a", 0, 0, 0))
        .await;
    world.settle().await;
    client.delete_topic("a").await;
    let answer = waits.answer(FetchRequest::KEY, 12).await;
    let body: FetchResponse<'_> = answer.body();
    assert_eq!(
        body.responses[0].partitions[0].error_code, 3,
        "there is no such topic"
    );
    client.create_topic("a", 1).await;
    client.send(ProduceRequest::KEY, 11, &to_all("a")).await;
    world.settle().await;
    assert!(
        !client.has_answer(),
        "what the other one has left is in its way"
    );
    while world.broker.node().opener.open_next() {}
    assert_eq!(produce_answer(&mut client).await, (0, 0));
    stop(world).await;
    assert!(folder.0.join(CLEAN).exists());
    let world = start(&folder);
    while world.broker.node().opener.open_next() {}
    let mut client = world.connect();
    client.send(ListOffsetsRequest::KEY, 6, &latest("a")).await;
    assert_eq!(listed(&mut client).await, (0, 1));
    stop(world).await;
}

/// A batch in the middle of `a` is not what was written there.
fn damage_a(folder: &Folder) {
    let log = folder.0.join("a-0/00000000000000000000.log");
    let mut bytes = fs::read(&log).expect("the log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, &bytes).expect("written");
    fs::remove_file(folder.0.join(CLEAN)).expect("removed");
}

#[tokio::test]
async fn all_that_is_damaged_is_known_before_it_is_passed_over() {
    let folder = written().await;
    damage_a(&folder);
    let world = start(&folder);
    let mut client = world.connect();
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: "a".into(),
            configs: vec![AlterableConfig {
                name: "rustka.damaged.skip".into(),
                config_operation: 0,
                value: Some("*".into()),
            }],
        }],
        validate_only: false,
    };
    let key = IncrementalAlterConfigsRequest::KEY;
    client.send(key, 1, &request).await;
    world.settle().await;
    assert!(!client.has_answer());
    let node = world.broker.node();
    while node.opener.open_next() {}
    let answer = client.answer(key, 1).await;
    let body: IncrementalAlterConfigsResponse<'_> = answer.body();
    assert_eq!(body.responses[0].error_code, 0);
    let damaged = node.partition("a", 0).expect("there").damaged();
    let is_as_told = matches!(&damaged[..], [only] if *only == (1..2));
    assert!(is_as_told, "{damaged:?}");
    let config = node.topics.by_name("a").expect("there").config.now();
    let mut skips = config.damaged_skip.iter();
    assert!(skips.any(|skip| skip.covers(0, &damaged[0])));
    stop(world).await;
}

#[tokio::test]
async fn a_stop_meanwhile_answers_who_waits_and_loses_nothing() {
    let folder = written().await;
    let world = start(&folder);
    let mut client = world.connect();
    client.send(ProduceRequest::KEY, 11, &to_all("a")).await;
    world.settle().await;
    let (told, ()) = tokio::join!(produce_answer(&mut client), stop(world));
    assert_eq!(told, (NOT_LEADER_OR_FOLLOWER, -1));
    assert!(
        !folder.0.join(CLEAN).exists(),
        "not everything was looked at"
    );
    let world = start(&folder);
    while world.broker.node().opener.open_next() {}
    let mut client = world.connect();
    for topic in ["a", "b"] {
        client
            .send(ListOffsetsRequest::KEY, 6, &latest(topic))
            .await;
        assert_eq!(listed(&mut client).await, (0, 3));
    }
    stop(world).await;
    assert!(folder.0.join(CLEAN).exists());
}
