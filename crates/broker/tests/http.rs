//! The HTTP port: its pages, and what clients can do to it that mean no good.
#![cfg(feature = "http")]

mod common;

use common::World;
use rustka::http::{CONNECTIONS_MAX, HEADER_BYTES_MAX, REQUEST_MS};
use rustka::net::transport::MemoryStream;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
const FULL_TIME_MS: u64 = REQUEST_MS as u64;

struct Browser(MemoryStream);

impl Browser {
    fn at(world: &World) -> Browser {
        Browser(world.broker.connect_http())
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the broker reads");
    }

    /// What has been sent by now; empty when there is nothing.
    async fn received(&mut self, world: &World) -> String {
        world.settle().await;
        let mut bytes = vec![0; self.0.readable()];
        self.0.read_exact(&mut bytes).await.expect("what is there");
        String::from_utf8(bytes).expect("text")
    }

    /// Whether the broker has hung up without a further word.
    async fn is_closed(&mut self, world: &World) -> bool {
        world.settle().await;
        let mut byte = [0];
        let read = self.0.read(&mut byte);
        tokio::select! {
            biased;
            read = read => matches!(read, Ok(0) | Err(_)),
            () = std::future::ready(()) => false,
        }
    }
}

#[tokio::test]
async fn a_connection_serves_one_page_after_the_other() {
    let world = World::start();
    let mut browser = Browser::at(&world);
    for (path, answer) in [("/healthz", "200 OK"), ("/none", "404 Not Found")] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        browser.send(request.as_bytes()).await;
        let received = browser.received(&world).await;
        let expected = format!("HTTP/1.1 {answer}\r\n");
        assert!(received.starts_with(&expected), "{received}");
    }
}

#[tokio::test]
async fn a_header_that_drips_in_has_its_time_and_no_more() {
    let world = World::start();
    let mut slow = Browser::at(&world);
    for byte in &REQUEST[..3] {
        slow.send(&[*byte]).await;
        world.advance_ms(FULL_TIME_MS / 4).await;
    }
    assert!(!slow.is_closed(&world).await);
    world.advance_ms(FULL_TIME_MS / 4).await;
    assert!(slow.is_closed(&world).await);
}

#[tokio::test]
async fn every_request_has_its_full_time() {
    let world = World::start();
    let mut browser = Browser::at(&world);
    for _ in 0..3 {
        world.advance_ms(FULL_TIME_MS - 1).await;
        browser.send(REQUEST).await;
        let received = browser.received(&world).await;
        assert!(received.starts_with("HTTP/1.1 200 OK"), "{received}");
    }
    world.advance_ms(FULL_TIME_MS - 1).await;
    assert!(!browser.is_closed(&world).await);
    world.advance_ms(1).await;
    assert!(browser.is_closed(&world).await);
}

/// Connections that said nothing kept health checks out for up to 16 s, and what restarts the unhealthy restarted the
/// broker.
#[tokio::test]
async fn at_the_limit_whoever_has_not_asked_for_longest_gives_way() {
    let world = World::start();
    let mut oldest = Browser::at(&world);
    let mut idle: Vec<Browser> = (1..CONNECTIONS_MAX).map(|_| Browser::at(&world)).collect();
    world.advance_ms(1).await;
    // It came first, but is used.
    oldest.send(REQUEST).await;
    assert!(oldest.received(&world).await.starts_with("HTTP/1.1 200 OK"));
    let mut newcomers = Vec::new();
    for at in 0..10 {
        let mut next = Browser::at(&world);
        next.send(REQUEST).await;
        let received = next.received(&world).await;
        assert!(received.starts_with("HTTP/1.1 200 OK"), "{received}");
        assert!(idle[at].is_closed(&world).await);
        assert!(!idle[at + 1].is_closed(&world).await);

        newcomers.push(next);
    }
    assert!(!oldest.is_closed(&world).await);
    // Kafka's clients have limits of their own.
    let mut client = world.connect();
    let request = ApiVersionsRequest::default();
    client.ask(ApiVersionsRequest::KEY, 0, &request).await;
}

/// Attacks, DNS rebinding: a page of somebody else's, whose name resolves to this machine, asks in a visitor's browser.
#[tokio::test]
async fn what_is_more_than_health_and_counters_is_not_served_under_names_of_others() {
    let world = World::start();
    for (path, host, answer) in [
        ("/healthz", "rebound.example", "200 OK"),
        ("/readyz", "rebound.example", "200 OK"),
        ("/metrics", "rebound.example", "200 OK"),
        ("/api", "rebound.example", "421 Misdirected Request"),
        (
            "/metricsx",
            "rebound.example:8080",
            "421 Misdirected Request",
        ),
        ("/api", "localhost:8080", "404 Not Found"),
        ("/api", "[::1]:8080", "404 Not Found"),
    ] {
        let mut browser = Browser::at(&world);
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        browser.send(request.as_bytes()).await;
        let received = browser.received(&world).await;
        let expected = format!("HTTP/1.1 {answer}\r\n");
        assert!(
            received.starts_with(&expected),
            "{path} of {host}: {received}"
        );
    }
}

#[tokio::test]
async fn a_header_without_end_is_refused() {
    let world = World::start();
    let mut browser = Browser::at(&world);
    browser.send(b"GET /healthz HTTP/1.1\r\nx: ").await;
    browser.send(&vec![b'x'; HEADER_BYTES_MAX]).await;
    let received = browser.received(&world).await;
    let expected = "HTTP/1.1 431 Request Header Fields Too Large\r\n";
    assert!(received.starts_with(expected), "{received}");
    assert!(browser.is_closed(&world).await);
}
