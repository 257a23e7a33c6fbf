//! Clients that are slow, silent, many or gone, over connections in memory on a clock that stands still.

mod common;

use common::{Client, World, batch, fetch_request};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Kafka's `connections.max.idle.ms`.
const IDLE_MS: u64 = 600_000;

fn from(ip: [u8; 4]) -> SocketAddr {
    (ip, 1000).into()
}

async fn is_served(client: &mut Client) -> bool {
    let request = ApiVersionsRequest::default();
    client.send(ApiVersionsRequest::KEY, 0, &request).await;
    client.receive().await.is_some()
}

/// Attacks, row 12: an address has its limit, and those of others do not suffer from it.
#[tokio::test]
async fn connections_of_one_address_are_limited_and_others_come_in() {
    let world = World::with(|options| options.config("max.connections.per.ip", "3"));
    let mut clients: Vec<_> = (0..3)
        .map(|_| world.connect_from(from([10, 0, 0, 1])))
        .collect();
    assert!(world.connect_from(from([10, 0, 0, 1])).is_closed().await);
    assert!(is_served(&mut world.connect_from(from([10, 0, 0, 2]))).await);
    assert!(is_served(&mut clients[0]).await);
    clients.pop();
    world.settle().await;
    assert!(is_served(&mut world.connect_from(from([10, 0, 0, 1]))).await);
}

/// Attacks, row 13: a far end that has vanished says nothing, not even that. It is forgotten after the idle time.
#[tokio::test]
async fn half_open_connections_are_closed_after_the_idle_time() {
    let world = World::start();
    let mut silent: Vec<_> = (0..50).map(|_| world.connect()).collect();
    let mut alive = world.connect();
    world.advance_ms(IDLE_MS / 2).await;
    assert!(is_served(&mut alive).await);
    world.advance_ms(IDLE_MS / 2 + 1_000).await;
    assert_eq!(world.connections(), 1);
    assert!(silent[0].is_closed().await);
    assert!(is_served(&mut alive).await);
}

/// Attacks, row 13: also one that vanished with an answer on its way.
#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_closed_after_the_idle_time() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client.produce("t", 0, batch(900_000)).await;
    let mut vanished = world.connect();
    vanished
        .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 0))
        .await;
    world.settle().await;
    world.advance_ms(IDLE_MS / 2).await;
    assert!(is_served(&mut client).await);
    world.advance_ms(IDLE_MS / 2 + 1_000).await;
    assert_eq!(world.connections(), 1, "only the one that spoke meanwhile");
}

/// A request that waits kept its connection for ever, however long ago its client was last heard of. Kafka closes it.
#[tokio::test]
async fn a_request_that_waits_does_not_keep_its_connection_beyond_the_idle_time() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let mut waits = world.connect();
    let request = fetch_request("t", 0, 0, i32::MAX);
    waits.send(FetchRequest::KEY, 12, &request).await;
    world.advance_ms(IDLE_MS - 1_000).await;
    assert!(is_served(&mut client).await);
    assert_eq!(world.connections(), 2);
    world.advance_ms(2_000).await;
    assert_eq!(world.connections(), 1, "only the one that spoke meanwhile");
    assert!(waits.is_closed().await);
}

/// Attacks, row 14: one byte now and then keeps a connection from being idle, but not from being late.
#[tokio::test]
async fn a_request_that_drips_in_is_cut_off() {
    let world = World::start();
    let (mut drips, mut steady) = (world.connect(), world.connect());
    drips.send_raw(&[0, 0, 1, 0]).await;
    let body = vec![0x20; 4 << 20];
    let length = (body.len() as u32).to_be_bytes();
    steady.send_raw(&length).await;
    let mut sent = 0;
    for _ in 0..5 {
        drips.send_raw(&[0]).await;
        // 100 KB a second is a slow line, not an attack.
        steady.send_raw(&body[sent..sent + 1_000_000]).await;
        sent += 1_000_000;
        world.advance_ms(10_000).await;
        if sent > 3_000_000 {
            break;
        }
    }
    assert_eq!(world.connections(), 1);
    assert!(drips.is_closed().await);
    assert_eq!(
        world
            .broker
            .node()
            .metrics
            .connections_refused
            .load(Relaxed),
        1
    );
    // The steady one is done in time, and hung up on only because its request is nonsense.
    steady.send_raw(&body[sent..]).await;
    assert!(steady.is_closed().await);
}

/// Attacks, row 14: not even the length of a frame may take its time.
#[tokio::test]
async fn half_a_length_is_a_frame_that_has_begun() {
    let world = World::start();
    let mut client = world.connect();
    client.send_raw(&[0, 0]).await;
    world.advance_ms(35_000).await;
    assert!(client.is_closed().await);
}

/// Attacks, row 11: a client that asks and asks and reads nothing. Its requests wait, and memory is not filled.
#[tokio::test]
async fn pipelined_requests_wait_until_answers_are_taken() {
    let world = World::start();
    let mut client = world.connect();
    let topics = 2_000;
    for n in 0..topics {
        world.connect().create_topic(&format!("topic-{n}"), 1).await;
    }
    let asked = 300;
    let everything = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    for _ in 0..asked {
        client.send(MetadataRequest::KEY, 9, &everything).await;
    }
    world.settle().await;
    let answered = world.broker.node().metrics.requests(MetadataRequest::KEY);
    assert!(answered < asked / 2, "{answered} answers are made already");
    for _ in 0..asked {
        assert!(client.receive().await.is_some());
    }
    assert_eq!(
        world.broker.node().metrics.requests(MetadataRequest::KEY),
        asked
    );
}

/// Attacks, row 11: at the memory limit whoever has kept dropped records longest goes, not the records of others.
#[tokio::test]
async fn at_the_memory_limit_the_slowest_reader_is_closed() {
    let world = World::with(|options| options.memory_limit(16 << 20));
    let mut producer = world.connect();
    producer.create_topic("t", 1).await;
    let produce = async |producer: &mut Client| {
        let answer = producer.produce("t", 0, batch(500_000)).await;
        let produced: ProduceResponse<'_> = answer.body();
        assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
    };
    for _ in 0..20 {
        produce(&mut producer).await;
    }
    let mut stalled: Vec<_> = (0..20).map(|_| world.connect()).collect();
    for reader in &mut stalled {
        reader
            .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 0))
            .await;
    }
    world.settle().await;
    let memory = &world.broker.node().memory;
    let mut peak = 0;
    for _ in 0..200 {
        produce(&mut producer).await;
        world.advance_ms(1).await;
        peak = peak.max(memory.pool.bytes_in_use());
    }
    assert!(
        peak <= memory.limit() + memory.tolerated_bytes() + (2 << 20),
        "{peak}"
    );
    let closed = world
        .broker
        .node()
        .metrics
        .slow_readers_closed
        .load(Relaxed);
    assert_eq!((closed, world.connections()), (20, 1));
    let offsets = world.broker.node().partition("t", 0).expect("t").offsets();
    let kept = offsets.high_watermark - offsets.log_start;
    assert!(kept >= 20, "{kept} batches of 500 kB are left in 16 MiB");
}

/// Attacks, row 11: a reader of what is still in the log is not closed, however slow.
#[tokio::test]
async fn a_slow_reader_below_the_limit_is_left_alone() {
    let world = World::with(|options| options.memory_limit(64 << 20));
    let mut producer = world.connect();
    producer.create_topic("t", 1).await;
    for _ in 0..20 {
        producer.produce("t", 0, batch(500_000)).await;
    }
    let mut reader = world.connect();
    reader
        .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 0))
        .await;
    for _ in 0..20 {
        producer.produce("t", 0, batch(500_000)).await;
        world.advance_ms(1_000).await;
    }
    let answer = reader.answer(FetchRequest::KEY, 12).await;
    let fetched: FetchResponse<'_> = answer.body();
    assert_eq!(fetched.responses[0].partitions[0].error_code, 0);
}

/// Attacks, row 40: fetches that wait are bounded; one too many is answered at once, and a place is given back.
#[tokio::test]
async fn parked_fetches_are_limited_for_all_connections_together() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let parts = world.broker.parts();
    // All places but those of two fetches of one partition each.
    let taken = parts
        .parked
        .try_take(500_000 - 4)
        .expect("nobody waits yet");
    let mut clients: Vec<_> = (0..3).map(|_| world.connect()).collect();
    for client in &mut clients {
        client
            .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 60_000))
            .await;
        world.settle().await;
    }
    let answer = clients[2].answer(FetchRequest::KEY, 12).await;
    assert_eq!(answer.body::<FetchResponse<'_>>().error_code, 0);
    drop(clients.remove(0));
    world.settle().await;
    let third = &mut clients[1];
    third
        .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 60_000))
        .await;
    world.settle().await;
    assert_eq!(parts.parked.used(), 500_000);
    drop((taken, clients));
    world.settle().await;
    assert_eq!(parts.parked.used(), 0);
}

/// Attacks, row 40: thousands of fetches wait, cost little, and all are answered by one record.
#[tokio::test]
async fn thousands_of_waiting_fetches_are_woken_by_one_record() {
    let world = World::start();
    let mut producer = world.connect();
    producer.create_topic("t", 1).await;
    let mut clients: Vec<_> = (0..5_000).map(|_| world.connect()).collect();
    for client in &mut clients {
        client
            .send(FetchRequest::KEY, 12, &fetch_request("t", 0, 0, 60_000))
            .await;
    }
    world.settle().await;
    assert_eq!(world.broker.parts().parked.used(), 10_000);
    producer.produce("t", 0, batch(10)).await;
    for client in &mut clients {
        let answer = client.answer(FetchRequest::KEY, 12).await;
        let fetched: FetchResponse<'_> = answer.body();
        assert_eq!(fetched.responses[0].partitions[0].high_watermark, 1);
    }
}

/// Attacks, row 39: who opens sessions until all are taken loses some of them to others.
#[tokio::test]
async fn one_address_cannot_keep_all_fetch_sessions() {
    let world =
        World::with(|options| options.config("max.incremental.fetch.session.cache.slots", "10"));
    world.connect().create_topic("t", 1).await;
    let open = async |ip: [u8; 4]| {
        let mut client = world.connect_from(from(ip));
        let mut request = fetch_request("t", 0, 0, 0);
        request.session_epoch = 0;
        let answer = client.ask(FetchRequest::KEY, 12, &request).await;
        answer.body::<FetchResponse<'_>>().session_id
    };
    for _ in 0..30 {
        open([10, 0, 0, 1]).await;
    }
    let sessions = &world.broker.parts().sessions;
    assert_eq!(sessions.counts().0, 10);
    assert_ne!(open([10, 0, 0, 2]).await, 0, "a session for somebody else");
    assert_eq!(
        open([10, 0, 0, 1]).await,
        0,
        "none more for the one with nine"
    );
    assert_eq!((sessions.counts().0, sessions.counts().2), (10, 1));
}

/// Connects, which the kernel alone allows, and asks for the versions; whether and when that is answered is to be seen.
async fn ask_versions(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    stream.write_all(&request).await.expect("sends");
    stream
}

/// Attacks, row 12: at `max.connections` the next ones wait in the kernel's queue, as in Kafka, until one closes.
#[tokio::test]
async fn connections_beyond_the_limit_wait_for_those_before_them() {
    let broker = rustka::Broker::builder()
        .port(0)
        .http_port(0)
        .config("max.connections", "2")
        .start()
        .expect("a broker");
    let address = broker.bootstrap();
    let mut first = ask_versions(&address).await;
    let mut second = ask_versions(&address).await;
    for stream in [&mut first, &mut second] {
        stream.read_u32().await.expect("an answer");
    }
    let mut third = ask_versions(&address).await;
    assert_eq!(broker.node().peers.count(), 2);
    drop(first);
    third.read_u32().await.expect("an answer, now");
    assert_eq!(broker.node().peers.count(), 2);
}

/// The same for one listener alone, whose limit may change while the broker runs.
#[tokio::test]
async fn a_full_listener_keeps_its_own_clients_waiting_and_no_others() {
    let broker = rustka::Broker::builder()
        .http_port(0)
        .config("listeners", "A://127.0.0.1:0,B://127.0.0.1:0")
        .config("listener.security.protocol.map", "A:PLAINTEXT,B:PLAINTEXT")
        .config("listener.name.a.max.connections", "1")
        .start()
        .expect("a broker");
    let listeners = &broker.node().listeners;
    let at = |listener: usize| format!("127.0.0.1:{}", listeners[listener].port);
    let mut first = ask_versions(&at(0)).await;
    first.read_u32().await.expect("an answer");
    let mut waiting = ask_versions(&at(0)).await;
    for _ in 0..5 {
        let mut other = ask_versions(&at(1)).await;
        other.read_u32().await.expect("an answer");
    }
    assert_eq!(listeners[0].limits.open.load(Relaxed), 1);
    let admin = TcpStream::connect(at(1)).await.expect("connects");
    let mut admin = rustka_client::Connection::over(admin, "tcp", "test");
    let raise = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 4,
            resource_name: "1".into(),
            configs: vec![AlterableConfig {
                name: "listener.name.a.max.connections".into(),
                config_operation: 0,
                value: Some("2".into()),
            }],
        }],
        ..Default::default()
    };
    let answer = admin.call_in(1, &raise).await.expect("an answer");
    assert_eq!(answer.body().expect("a body").responses[0].error_code, 0);
    waiting.read_u32().await.expect("an answer, now");
    assert_eq!(listeners[0].limits.open.load(Relaxed), 2);
}

/// New connections of one listener wait for the next second, and those of another do not.
#[tokio::test]
async fn a_listener_that_takes_one_connection_a_second_holds_up_no_other() {
    let world = World::with(|options| {
        options
            .sockets(true)
            .http_port(0)
            .config("listeners", "A://127.0.0.1:0,B://127.0.0.1:0")
            .config("listener.security.protocol.map", "A:PLAINTEXT,B:PLAINTEXT")
            .config("listener.name.a.max.connection.creation.rate", "1")
    });
    let listeners = &world.broker.node().listeners;
    let at = |listener: usize| format!("127.0.0.1:{}", listeners[listener].port);
    let mut first = ask_versions(&at(0)).await;
    first.read_u32().await.expect("an answer");
    let mut second = ask_versions(&at(0)).await;
    for _ in 0..5 {
        let mut other = ask_versions(&at(1)).await;
        other.read_u32().await.expect("an answer");
    }
    assert_eq!(listeners[0].limits.open.load(Relaxed), 1);
    world.clock.advance(std::time::Duration::from_millis(1_000));
    second.read_u32().await.expect("an answer, a second later");
}
