//! What goes on while somebody looks at the dashboard: what is told of changes, charts, the end of a session.
#![cfg(feature = "http")]

mod common;
mod page;

use common::World;
use page::{Page, Stream, filled, logged_in};
use serde_json::json;

#[tokio::test]
async fn what_is_watched_is_told_at_once_and_then_only_when_it_has_changed() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 1, 2).await;
    let path = "/api/v1/events?watch=/topics?limit=10%20/groups/none";
    let mut events = Stream::open(&world, path, "").await;
    let head = events.until("\r\n\r\n").await;
    assert!(head.contains("text/event-stream"), "{head}");
    let told = events.until("\"status\":404,\"body\":{").await;
    assert!(told.contains("\"of\":\"/topics?limit=10\"") && told.contains("\"status\":200"));
    // The first rates come with the second reading; then nothing happens for a while.
    world.advance_ms(1_000).await;
    events.until("\"recordRate\":0.0").await;
    for _ in 0..5 {
        world.advance_ms(1_000).await;
    }
    let quiet = events.until(": nothing new\n\n").await;
    assert!(!quiet.contains("\"of\""), "{quiet}");
    let record = json!({ "key": "new", "value": "v" });
    page.send("POST", "/api/v1/topics/t/records", record).await;
    world.advance_ms(1_000).await;
    let news = events.until("\"records\":\"3\"").await;
    assert!(!news.contains("/groups/none"), "{news}");
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_in_a_sentence() {
    let world = World::start();
    let page = Page(&world);
    let nine = ["/overview"; 9].join("%20");
    for (watch, status) in [
        ("/nothing", 404),
        ("/openapi.json", 400),
        ("/topics/t/tail", 400),
        ("/topics?lmit=5", 400),
        (nine.as_str(), 400),
    ] {
        let path = format!("/api/v1/events?watch={watch}");
        let refused = page.get(&path).await;
        assert_eq!(refused.status, status, "{watch}");
        assert!(refused.json()["detail"].is_string());
    }
}

#[tokio::test]
async fn what_came_since_is_told_without_what_came_before() {
    let world = World::start();
    let page = Page(&world);
    world.advance_ms(1_000).await;
    world.advance_ms(1_000).await;
    let mut events = Stream::open(&world, "/api/v1/events?watch=/history", "").await;
    let all = events.until("}\n\n").await;
    assert!(all.contains("\"since\":null"), "{all}");
    world.advance_ms(1_000).await;
    let more = events.until("\"times\":").await;
    assert!(more.contains("\"since\":\""), "{more}");
    let whole = page.get("/api/v1/history").await.json();
    let next: u64 = whole["next"].as_str().unwrap().parse().unwrap();
    let last = page
        .get(&format!("/api/v1/history?since={}", next - 1))
        .await;
    let times = |told: &serde_json::Value| told["times"].as_array().unwrap().clone();
    assert_eq!(
        times(&last.json()),
        times(&whole)[times(&whole).len() - 1..]
    );
    assert_eq!(page.get("/api/v1/history?since=x").await.status, 400);
}

/// Charts of single topics and groups: drawn from when somebody looks.
#[tokio::test]
async fn a_topic_in_view_is_looked_at_every_second_until_nobody_asks_any_more() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 2, 4).await;
    let path = "/api/v1/topics/t/history";
    let begun = page.get(path).await.json();
    assert_eq!(begun["times"], json!([]));
    world.advance_ms(1_000).await;
    for n in 0..3 {
        let record = json!({ "partition": n % 2, "key": "k", "value": "v" });
        page.send("POST", "/api/v1/topics/t/records", record).await;
    }
    world.advance_ms(1_000).await;
    let told = page.get(path).await.json();
    let series = |name: &str| {
        let values = told["series"][name].as_array().expect(name);
        values.last().and_then(serde_json::Value::as_f64)
    };
    assert_eq!(
        (series("recordsIn"), series("records")),
        (Some(3.0), Some(7.0)),
        "{told}"
    );
    assert!(series("bytesIn") > Some(0.0) && series("bytes") > Some(0.0));
    world.advance_ms(61_000).await;
    world.advance_ms(1_000).await;
    assert_eq!(
        page.get(path).await.json()["times"],
        json!([]),
        "nobody asked for a minute"
    );
    assert_eq!(page.get("/api/v1/topics/none/history").await.status, 404);
    assert_eq!(page.get("/api/v1/groups/none/history").await.status, 404);
}

/// A user who was removed went on looking for hours; so did whoever knew a password that was changed since.
#[tokio::test]
async fn a_session_is_over_once_its_user_is_removed_or_has_another_password() {
    let world = World::with(|options| options.user("admin", "admin-secret"));
    let page = Page(&world);
    let admin = logged_in(&page, "admin", "admin-secret").await;
    let give = async |user: &str, password: &str| {
        let body = Some(json!({ "user": user, "password": password }).to_string());
        let given = page.ask("POST", "/api/v1/users", &admin, body).await;
        assert_eq!(given.status, 201, "{}", given.body);
    };
    give("alice", "first-secret").await;
    give("bob", "bobs-secret").await;
    let body = Some(json!({ "name": "t" }).to_string());
    page.ask("POST", "/api/v1/topics", &admin, body).await;
    let alice = logged_in(&page, "alice", "first-secret").await;
    let bob = logged_in(&page, "bob", "bobs-secret").await;
    let mut streams = Vec::new();
    for path in ["/api/v1/events?watch=/topics", "/api/v1/topics/t/tail"] {
        let mut stream = Stream::open(&world, path, &bob).await;
        stream.until("\n\n").await;
        streams.push(stream);
    }
    let status = async |cookie: &str| page.ask("GET", "/api/v1/topics", cookie, None).await.status;
    assert_eq!((status(&alice).await, status(&bob).await), (200, 200));

    give("alice", "second-secret").await;
    page.ask("DELETE", "/api/v1/users/bob", &admin, None).await;
    assert_eq!((status(&alice).await, status(&bob).await), (401, 401));
    assert_eq!(page.ask("GET", "/metrics", &bob, None).await.status, 401);
    world.advance_ms(1_000).await;
    for mut stream in streams {
        let end = stream.end().await;
        assert!(end.contains("log in with a user of this broker"), "{end}");
    }
    // The same name again is somebody else.
    give("bob", "bobs-secret").await;
    assert_eq!(status(&bob).await, 401);
    assert_eq!(
        status(&logged_in(&page, "alice", "second-secret").await).await,
        200
    );
    assert_eq!(
        status(&admin).await,
        200,
        "whoever is known from the start stays"
    );
}

/// A live tail sent up to 64 KiB of each of the hundred newest values four times a second: pages that followed a topic
/// with large records stood still.
#[tokio::test]
async fn a_live_tail_shows_the_beginning_of_what_is_large() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 1, 1).await;
    let mut tail = Stream::open(&world, "/api/v1/topics/t/tail", "").await;
    tail.until("\n\n").await;
    let record = json!({ "key": "k", "value": "x".repeat(100_000) });
    page.send("POST", "/api/v1/topics/t/records", record).await;
    world.advance_ms(250).await;
    let told = tail.until("\n\n").await;
    assert!(told.len() < 5_000, "{} bytes", told.len());
    assert!(told.contains("\"bytes\":100000,\"cut\":true"), "{told}");
}
