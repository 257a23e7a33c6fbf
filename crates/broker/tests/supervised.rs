//! Tasks that live as long as the broker, and the hooks they call, while these panic.
#![cfg(feature = "http")]

mod common;

use common::{Client, START_MS, World, join_request};
use rustka::fault::{Fault, Point};
use rustka::hooks::{Event, Observer};
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::join_group_request::JoinGroupRequest;
use rustka_wire::join_group_response::JoinGroupResponse;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HOUSEKEEPING: &str = rustka::upkeep::housekeeping::TASK;
const COMPACTION: &str = rustka::upkeep::compaction::TASK;
const GROUP_TIMERS: &str = rustka::coordinators::groups::TASK;
/// Housekeeping comes round so often.
const ROUND_MS: u64 = 1_000;
/// Real time; reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `/readyz` says.
async fn readiness(world: &World) -> String {
    let mut stream = world.broker.connect_http();
    let request = b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.expect("the broker reads");
    world.settle().await;
    let mut bytes = vec![0; stream.readable()];
    stream.read_exact(&mut bytes).await.expect("what is there");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).expect("a status");
    format!("{status} {}", body.trim_end())
}

fn panics(world: &World) -> u64 {
    world.broker.node().metrics.task_panics.load(Relaxed)
}

/// Has the task panic as often as it is started, `times` in all.
fn arm(world: &World, task: &str, times: usize) {
    for _ in 0..times {
        world
            .broker
            .node()
            .faults
            .arm(Fault::within(Point::Task, task))
            .expect("it fits");
    }
}

#[derive(Default)]
struct Failures(Mutex<Vec<String>>);

impl Observer for Failures {
    fn saw(&self, event: Event<'_>) {
        if let Event::Failed(what) = event {
            self.0.lock().expect("failures").push(what.to_owned());
        }
    }
}

/// A panic ended housekeeping or compaction for the rest of the broker's life, and nobody could see it.
#[tokio::test]
async fn a_task_that_fails_is_told_everywhere_and_starts_again_after_growing_pauses() {
    for task in [HOUSEKEEPING, COMPACTION, GROUP_TIMERS] {
        let failures = Arc::new(Failures::default());
        let world = World::with(|options| options.observer(failures.clone()));
        assert_eq!(readiness(&world).await, "200 ready", "{task}");
        arm(&world, task, 3);
        // Every task wakes when the broker's state is told anew.
        let state = world.broker.node().state.borrow().to_owned();
        world.broker.node().state.send_replace(state);
        world.settle().await;
        let failing = format!("503 these fail: {task}");
        for (panic, pause_ms) in [(1, 100), (2, 200), (3, 400)] {
            assert_eq!(panics(&world), panic, "{task}");
            assert_eq!(readiness(&world).await, failing);
            world.advance_ms(pause_ms - 1).await;
            assert_eq!(
                panics(&world),
                panic,
                "{task}: not before its pause is over"
            );
            world.advance_ms(1).await;
        }
        // It runs, and has to do so for as long as it paused before it is trusted.
        assert_eq!(readiness(&world).await, failing);
        world.advance_ms(400).await;
        assert_eq!(readiness(&world).await, "200 ready", "{task}");
        let told = failures.0.lock().expect("failures").clone();
        let words = format!("{task} failed unexpectedly and starts again");
        assert_eq!(told, [words.as_str(); 3]);
    }
}

#[tokio::test]
async fn pauses_grow_to_thirty_seconds_and_begin_anew_after_a_steady_minute() {
    let world = World::start();
    let panicked = |count| assert_eq!(panics(&world), count);
    arm(&world, HOUSEKEEPING, 11);
    world.settle().await;
    for (count, pause_ms) in (1..).zip([100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600]) {
        panicked(count);
        world.advance_ms(pause_ms).await;
    }
    panicked(10);
    world.advance_ms(29_999).await;
    panicked(10);
    world.advance_ms(1).await;
    panicked(11);
    world.advance_ms(30_000).await;
    for _ in 0..60 {
        world.advance_ms(ROUND_MS).await;
    }
    assert_eq!(readiness(&world).await, "200 ready");
    arm(&world, HOUSEKEEPING, 2);
    world.advance_ms(ROUND_MS).await;
    panicked(12);
    world.advance_ms(100).await;
    panicked(13);
}

#[tokio::test]
async fn retention_goes_on_after_a_panic_in_housekeeping() {
    let world = World::with(|options| options.config("log.retention.ms", "3600000"));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let record = NewRecord {
        timestamp: START_MS,
        value: Some(b"v"),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new()
        .record(&record)
        .build()
        .expect("a batch");
    client.produce("t", 0, batch).await;
    arm(&world, HOUSEKEEPING, 1);
    world.advance_ms(ROUND_MS).await;
    assert_eq!(panics(&world), 1);
    let partition = world.broker.node().partition("t", 0).expect("there");
    assert_eq!(partition.offsets().log_start, 0);
    for _ in 0..20 {
        world.advance_ms(360_000).await;
    }
    assert_eq!(partition.offsets().log_start, 1);
}

/// A panic in the timers of one group ended those of all: no rebalance ended and no dead member left any more.
#[tokio::test]
async fn rebalances_end_after_a_panic_in_the_timers_of_groups() {
    let world = World::start();
    let mut client = world.connect();
    arm(&world, GROUP_TIMERS, 1);
    let request = join_request("g");
    client.send(JoinGroupRequest::KEY, 3, &request).await;
    world.settle().await;
    assert_eq!(panics(&world), 1);
    for _ in 0..10 {
        world.advance_ms(100).await;
    }
    let answer = client.answer(JoinGroupRequest::KEY, 3).await;
    let joined: JoinGroupResponse<'_> = answer.body();
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
}

/// A broker with sockets, on the clock of the tests.
fn with_sockets() -> World {
    World::with(|options| options.sockets(true).port(0).http_port(0))
}

/// An answer to ApiVersions over a socket.
async fn is_served(stream: &mut TcpStream) -> bool {
    let frame = common::frame(
        ApiVersionsRequest::KEY,
        0,
        7,
        "test",
        &ApiVersionsRequest::default(),
    );
    let ask = async {
        stream
            .write_u32(u32::try_from(frame.len()).expect("short"))
            .await?;
        stream.write_all(&frame).await?;
        let length = stream.read_u32().await?;
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await
    };
    let asked = tokio::time::timeout(PATIENCE, ask).await;
    asked.expect("an answer or a hang-up").is_ok()
}

async fn until(world: &World, what: &str, reached: impl Fn(&World) -> bool) {
    let waiting = async {
        while !reached(world) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect(what);
}

#[tokio::test]
async fn connections_are_accepted_after_a_panic_of_what_accepts() {
    let world = with_sockets();
    let address = world.broker.bootstrap();
    let http = world.broker.http().expect("an HTTP port");
    arm(&world, &format!("accepting at {address}"), 1);
    arm(&world, rustka::http::TASK, 1);
    let mut kafka = TcpStream::connect(&address).await.expect("connects");
    let mut browser = TcpStream::connect(http).await.expect("connects");
    until(&world, "both panic", |world| panics(world) == 2).await;
    world.advance_ms(100).await;
    assert!(is_served(&mut kafka).await);
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    browser.write_all(request).await.expect("sends");
    let mut answer = String::new();
    let reading = tokio::time::timeout(PATIENCE, browser.read_to_string(&mut answer));
    reading.await.expect("in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

/// Panics whatever it is told.
struct Broken;

impl Observer for Broken {
    fn saw(&self, event: Event<'_>) {
        panic!("on purpose, of {event:?}");
    }
}

/// A panic of an observer ended whoever told it: the loop that accepts, or the timers of all groups.
#[tokio::test]
async fn an_observer_that_panics_harms_nobody_and_the_next_one_is_told_as_well() {
    let seen = Arc::new(Connections::default());
    let world = World::with(|options| {
        let options = options.sockets(true).port(0).http_port(0);
        options.observer(Arc::new(Broken)).observer(seen.clone())
    });
    for _ in 0..3 {
        let address = world.broker.bootstrap();
        let mut stream = TcpStream::connect(address).await.expect("connects");
        assert!(is_served(&mut stream).await);
    }
    let mut client: Client = world.connect();
    client.create_topic("t", 1).await;
    until(&world, "all are told of", |_| {
        *seen.0.lock().expect("seen") == (4, 3)
    })
    .await;
    assert_eq!(panics(&world), 0);
    drop(client);
    until(&world, "nobody is left", |world| world.connections() == 0).await;
}

/// Counts connections that came and went.
#[derive(Default)]
struct Connections(Mutex<(usize, usize)>);

impl Observer for Connections {
    fn saw(&self, event: Event<'_>) {
        let mut seen = self.0.lock().expect("seen");
        match event {
            Event::Connected(_) => seen.0 += 1,
            Event::Disconnected(_) => seen.1 += 1,
            _ => {}
        }
    }
}

/// `max.connection.creation.rate` was counted once per socket, so that loopback, which has two, let in twice as many.
#[tokio::test]
async fn connections_a_second_are_counted_for_both_loopback_addresses_together() {
    let world = World::with(|options| {
        let options = options.config("max.connection.creation.rate", "4");
        options.sockets(true).port(0).http_port(0)
    });
    let port = world
        .broker
        .bootstrap()
        .rsplit(':')
        .next()
        .map(str::to_owned);
    let port: u16 = port.and_then(|port| port.parse().ok()).expect("a port");
    let mut streams = Vec::new();
    for host in ["127.0.0.1", "::1"] {
        for _ in 0..4 {
            streams.push(TcpStream::connect((host, port)).await.expect("connects"));
        }
    }
    until(&world, "four get in", |world| world.connections() >= 4).await;
    // Whoever else is on the way would be in after so many turns of the sockets' own.
    for _ in 0..20 {
        let mut probe = TcpStream::connect(world.broker.http().expect("HTTP"))
            .await
            .expect("connects");
        let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        probe.write_all(request).await.expect("sends");
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.expect("an answer");
    }
    assert_eq!(world.connections(), 4);
    world.advance_ms(1_000).await;
    until(&world, "the others get in", |world| {
        world.connections() == 8
    })
    .await;
    for stream in &mut streams {
        assert!(is_served(stream).await);
    }
}
