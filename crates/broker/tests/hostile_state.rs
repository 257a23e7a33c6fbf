//! What clients can make a broker remember: producers, topics, partitions, names; and what pulls state from under them.

mod common;
#[path = "../../../fuzz/src/memory.rs"]
#[allow(dead_code, reason = "shared with the fuzz targets")]
mod memory;

use common::{Client, START_MS, World, batch, fetch_request};
use rustka::net::transport::Transport;
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use rustka_wire::create_topics_response::CreateTopicsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::init_producer_id_response::InitProducerIdResponse;
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use rustka_wire::metadata_response::MetadataResponse;
use rustka_wire::produce_response::ProduceResponse;
use std::io::{IoSlice, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Mutex;

/// Tests that count memory do so one at a time.
static ALONE: Mutex<()> = Mutex::const_new(());
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a known code")
}

async fn is_served(world: &World) -> bool {
    let mut client = world.connect();
    client
        .send(ApiVersionsRequest::KEY, 0, &ApiVersionsRequest::default())
        .await;
    client.receive().await.is_some()
}

async fn produce(client: &mut Client, batch: Vec<u8>) -> ErrorCode {
    let answer = client.produce("t", 0, batch).await;
    let produced: ProduceResponse<'_> = answer.body();
    code(produced.responses[0].partition_responses[0].error_code)
}

fn idempotent(producer: i64) -> Vec<u8> {
    let record = NewRecord {
        timestamp: START_MS,
        value: Some(b"v"),
        ..NewRecord::default()
    };
    let builder = BatchBuilder::new().producer(producer, 0, 0);
    builder.record(&record).build().expect("a batch")
}

/// Attacks, row 24: producer ids are free, so what is kept for them is bounded, and gone after a day.
#[tokio::test]
async fn producer_ids_by_the_thousand_are_forgotten_in_time() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let before = memory::live();
    let request = InitProducerIdRequest {
        transactional_id: None,
        ..Default::default()
    };
    let mut last = -1;
    for _ in 0..20_000 {
        let answer = client.ask(InitProducerIdRequest::KEY, 5, &request).await;
        last = answer.body::<InitProducerIdResponse>().producer_id;
    }
    assert!(
        memory::live() < before + 100_000,
        "an id that was not used is not remembered"
    );
    for id in last - 12_000..last {
        assert_eq!(produce(&mut client, idempotent(id)).await, ErrorCode::None);
    }
    let partition = world.broker.node().partition("t", 0).expect("t");
    let producers = || {
        let count = partition.with_state(|state| state.producers().count());
        count.expect("online")
    };
    // At 10,000 the longest silent eighth goes.
    assert!((8_750..=10_000).contains(&producers()), "{}", producers());
    world.advance_ms(DAY_MS / 2).await;
    // By then the idle connection is closed.
    client = world.connect();
    assert_eq!(
        produce(&mut client, idempotent(last)).await,
        ErrorCode::None
    );
    world.advance_ms(DAY_MS / 2 + 1_200_000).await;
    assert_eq!(producers(), 1, "only the one that wrote half a day ago");
}

/// Attacks, row 25: partitions that nobody writes to are nearly free.
#[tokio::test]
async fn ten_thousand_partitions_are_small() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("first", 1).await;
    let before = memory::live();
    for n in 0..100 {
        client.create_topic(&format!("topic-{n}"), 100).await;
    }
    let each = (memory::live() - before) / 10_000;
    assert!(each <= 2 << 10, "{each} bytes for a partition");
    let answer = client
        .ask(
            MetadataRequest::KEY,
            9,
            &MetadataRequest {
                topics: None,
                ..Default::default()
            },
        )
        .await;
    assert_eq!(answer.body::<MetadataResponse<'_>>().topics.len(), 101);
}

async fn mention(client: &mut Client, names: &[String]) -> Vec<ErrorCode> {
    let topics = names.iter().map(|name| MetadataRequestTopic {
        name: Some(name.as_str().into()),
        ..Default::default()
    });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let answer = client.ask(MetadataRequest::KEY, 9, &request).await;
    let metadata: MetadataResponse<'_> = answer.body();
    metadata
        .topics
        .iter()
        .map(|topic| code(topic.error_code))
        .collect()
}

/// Attacks, row 26: whoever makes up names gets only so many topics; the rest is told to ask again.
#[tokio::test]
async fn auto_creation_has_a_rate() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    let names: Vec<String> = (0..1_500).map(|n| format!("t{n}")).collect();
    let created = |codes: Vec<ErrorCode>| {
        codes
            .iter()
            .filter(|code| **code == ErrorCode::None)
            .count()
    };
    assert_eq!(created(mention(&mut client, &names).await), 1_000);
    let again = mention(&mut client, &names).await;
    assert_eq!(again[1_499], ErrorCode::UnknownTopicOrPartition);
    world.advance_ms(10_000).await;
    assert_eq!(created(mention(&mut client, &names).await), 1_200);
    // Creating on purpose is not limited by it.
    client.create_topic("wanted", 1).await;
}

/// Attacks, row 27: a topic goes while one client waits for its records, one is reading them and one writes.
#[tokio::test]
async fn a_topic_deleted_under_its_clients_ends_what_waits_and_not_what_is_on_its_way() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    let old_id = client.create_topic("t", 1).await;
    assert_eq!(produce(&mut client, batch(900_000)).await, ErrorCode::None);
    let mut reading = world.connect();
    reading
        .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 0))
        .await;
    let mut waiting = world.connect();
    waiting
        .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 1, 60_000))
        .await;
    world.settle().await;
    client.delete_topic("t").await;
    let answer = waiting.answer(FetchRequest::KEY, 12).await;
    let fetched: FetchResponse<'_> = answer.body();
    let gone = code(fetched.responses[0].partitions[0].error_code);
    assert_eq!(gone, ErrorCode::UnknownTopicOrPartition);

    // A topic of the same name is another topic.
    let new_id = client.create_topic("t", 1).await;
    assert_ne!(new_id, old_id);
    let mut by_id = fetch_request("", 0, 0, 0);
    by_id.topics[0].topic_id = old_id;
    let answer = client.ask(FetchRequest::KEY, 13, &by_id).await;
    let fetched: FetchResponse<'_> = answer.body();
    assert_eq!(
        code(fetched.responses[0].partitions[0].error_code),
        ErrorCode::UnknownTopicId
    );
    assert_eq!(produce(&mut client, batch(10)).await, ErrorCode::None);

    // What was being read arrives whole, and its memory is given back only then.
    let pool = &world.broker.node().pool;
    assert!(pool.bytes_in_use() > 900_000);
    let answer = reading.answer(FetchRequest::KEY, 12).await;
    let fetched: FetchResponse<'_> = answer.body();
    let records = fetched.responses[0].partitions[0]
        .records
        .as_ref()
        .expect("records");
    assert_eq!(records.as_bytes().len(), batch(900_000).len());
    world.settle().await;
    assert!(pool.bytes_in_use() < 100_000, "{}", pool.bytes_in_use());
}

/// Attacks, row 28: names that would be paths, or each other.
#[tokio::test]
async fn names_that_could_be_paths_are_no_topics() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    let long = "x".repeat(250);
    let names = [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc/passwd",
        "a\0b",
        "a b",
        "ü",
        "a:b",
        "%2e%2e",
        &long,
    ];
    for name in names {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.into(),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 1_000,
            ..Default::default()
        };
        let answer = client.ask(CreateTopicsRequest::KEY, 7, &request).await;
        let created: CreateTopicsResponse<'_> = answer.body();
        assert_eq!(
            code(created.topics[0].error_code),
            ErrorCode::InvalidTopicException,
            "{name}"
        );
        let mentioned = mention(&mut client, &[name.to_owned()]).await;
        assert_eq!(mentioned, [ErrorCode::InvalidTopicException], "{name}");
    }
    assert_eq!(world.broker.node().topics.all().len(), 0);
    client.create_topic(&long[..249], 1).await;
    client.create_topic("a.b", 1).await;
    let collides = mention(&mut client, &["a_b".to_owned()]).await;
    assert_ne!(collides, [ErrorCode::None]);
}

/// Attacks, row 10: waiting is measured by a clock that cannot jump; a wall clock that does ends no wait.
#[tokio::test]
async fn a_jump_of_the_wall_clock_ends_no_wait() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    for jump_ms in [50 * 365 * 24 * HOUR_MS, -100 * 365 * 24 * HOUR_MS] {
        client
            .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 500))
            .await;
        world.settle().await;
        world.clock.jump_wall(jump_ms);
        world.advance_ms(499).await;
        assert_eq!(world.broker.parts().parked.used(), 2, "still waiting");
        world.advance_ms(1).await;
        let answer = client.answer(FetchRequest::KEY, 12).await;
        assert_eq!(answer.body::<FetchResponse<'_>>().error_code, 0);
    }
}

/// Attacks, row 10: a clock that is set wrong and then right again must not cost what the log holds.
#[tokio::test]
async fn a_wall_clock_that_jumps_ahead_and_back_deletes_nothing() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    assert_eq!(produce(&mut client, batch(10)).await, ErrorCode::None);
    let partition = world.broker.node().partition("t", 0).expect("t");
    let start = || partition.offsets().log_start;
    let year_ms = 365 * 24 * HOUR_MS;
    world.clock.jump_wall(year_ms);
    for _ in 0..10 {
        world.advance_ms(20_000).await;
    }
    assert_eq!(start(), 0, "the new time is not believed at once");
    world.clock.jump_wall(-year_ms);
    for _ in 0..100 {
        world.advance_ms(20_000).await;
    }
    assert_eq!(start(), 0);
    // A clock that stays where it is, is right.
    world.clock.jump_wall(year_ms);
    for _ in 0..100 {
        world.advance_ms(20_000).await;
    }
    assert_eq!(start(), 1);
}

/// A connection whose far end brings down the task that serves it.
struct Exploding;

impl AsyncRead for Exploding {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        panic!("a fault of ours, met by one connection");
    }
}

impl AsyncWrite for Exploding {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Pending
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Pending
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl Transport for Exploding {
    fn poll_hangup(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

/// Attacks, row 45: a panic ends its connection, and what that connection held is given back.
#[tokio::test]
async fn a_panic_ends_one_connection_and_nothing_else() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let listener = &world.broker.node().listeners[0];
    let address = ([10, 0, 0, 1], 1).into();
    rustka::net::listener::serve(Exploding, address, None, listener, world.broker.parts());
    world.settle().await;
    assert_eq!(world.connections(), 0);
    assert!(is_served(&world).await);
}

#[derive(Clone, Default)]
struct Log(Arc<StdMutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("log").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Attacks, row 33: ids are text from strangers. One line in the log per closed connection, a few a second, and no
/// character in it that a terminal would obey.
#[tokio::test]
async fn nothing_a_client_says_forges_a_log_line() {
    let _alone = ALONE.lock().await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::start();
    let evil = "x\r\nINFO forged\u{1b}[2J\u{202e}".repeat(40);
    for n in 0..100 {
        let mut client = world.connect();
        client.client_id = evil.clone();
        mention(&mut client, std::slice::from_ref(&evil)).await;
        // An API that is not served ends the connection.
        let frame = [
            &[0x00, 0x07, 0, n, 0, 0, 0, 1][..],
            &(evil.len() as u16).to_be_bytes(),
            evil.as_bytes(),
        ]
        .concat();
        client.send_frame(&frame).await;
        assert!(client.is_closed().await);
    }
    let text = String::from_utf8(log.0.lock().expect("log").clone()).expect("text");
    let closed = text
        .lines()
        .filter(|line| line.contains("closed the connection"))
        .count();
    assert!((1..=10).contains(&closed), "{closed} lines\n{text}");
    assert!(
        !text.contains("forged") || !text.contains("\nINFO forged"),
        "{text}"
    );
    assert!(
        text.chars()
            .all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() < 500),
        "{text}"
    );
    world
        .advance_ms(Duration::from_secs(2).as_millis() as u64)
        .await;
    assert!(is_served(&world).await);
}
