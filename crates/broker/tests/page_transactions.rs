//! Transactions on the dashboard: what is open, who holds readers back, and ending what nobody ends.

mod common;
mod page;

use common::World;
use common::producer::{NEWER, OLDER, Producer, stable};
use page::Page;
use serde_json::json;

const INVALID_PRODUCER_EPOCH: i16 = 47;
const TRANSACTION_ABORTABLE: i16 = 120;

#[tokio::test]
async fn an_open_transaction_is_shown_with_what_it_holds_back_and_can_be_aborted() {
    let world = World::start();
    let (mut client, page) = (world.connect(), Page(&world));
    client.create_topic("t", 2).await;
    let done = Producer::init(&mut client, "done", 60_000).await;
    let me = Producer::init(&mut client, "orders/1", 60_000).await;
    assert_eq!(me.produce(&mut client, NEWER, ("t", 1), 0).await, (0, 0));
    world.advance_ms(5_000).await;
    let told = page.get("/api/v1/transactions").await.json();
    assert_eq!(
        (told["total"].as_u64(), told["open"].as_u64()),
        (Some(2), Some(1))
    );
    let open = &told["transactions"][0];
    assert_eq!(open["id"], "orders/1");
    assert_eq!(open["state"], "Ongoing");
    assert_eq!(
        (&open["openMs"], &open["timeoutMs"]),
        (&json!("5000"), &json!("60000"))
    );
    assert_eq!(
        open["partitions"],
        json!([{ "topic": "t", "partition": 1 }])
    );
    assert_eq!(told["transactions"][1]["id"], done.id);
    let held = &told["held"];
    assert_eq!(held.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&held[0]["since"], &held[0]["records"]),
        (&json!("0"), &json!("1"))
    );
    assert_eq!(held[0]["id"], "orders/1");
    for (query, count) in [("state=Empty", 1), ("search=ORDERS", 1), ("search=none", 0)] {
        let told = page
            .get(&format!("/api/v1/transactions?{query}"))
            .await
            .json();
        assert_eq!(told["total"], count, "{query}");
    }
    let metrics = page.get("/metrics").await.body;
    for line in ["rustka_transactional_ids 2", "rustka_transactions_open 1"] {
        assert!(metrics.lines().any(|told| told == line), "{line}");
    }

    let path = "/api/v1/transactions/orders%2F1/abort";
    let abort = page.send("POST", path, json!({}));
    // While it is being aborted, its coordinator is asked again after a while.
    let time = async {
        for _ in 0..50 {
            world.advance_ms(20).await;
        }
    };
    let (aborted, ()) = tokio::join!(abort, time);
    assert_eq!(aborted.status, 204);
    assert_eq!(stable(&mut client, "t", 1).await, (2, 2));
    let zombie = me.produce(&mut client, NEWER, ("t", 1), 1).await.0;
    assert_eq!(zombie, INVALID_PRODUCER_EPOCH);
    let told = page.get("/api/v1/transactions").await.json();
    assert_eq!((&told["open"], &told["held"]), (&json!(0), &json!([])));
    let path = "/api/v1/transactions/nobody/abort";
    assert_eq!(page.send("POST", path, json!({})).await.status, 404);
}

#[tokio::test]
async fn a_transaction_that_no_coordinator_knows_is_shown_as_hanging_and_can_be_aborted() {
    let world = World::start();
    let (mut client, page) = (world.connect(), Page(&world));
    client.create_topic("t", 1).await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    assert_eq!(me.produce(&mut client, NEWER, ("t", 0), 0).await, (0, 0));
    let abort = json!({ "topic": "t", "partition": 0, "startOffset": 0 });
    let path = "/api/v1/transactions/hanging/abort";
    // Its coordinator knows of it, and would not come to know of its end.
    assert_eq!(page.send("POST", path, abort.clone()).await.status, 409);
    // The coordinator's records are lost with their topic, and what was open stays open.
    let broker = &world.broker;
    let topic = broker.node().topics.by_name("__transaction_state");
    broker
        .parts()
        .transactions
        .topic_deleted(&topic.expect("a topic"));
    let told = page.get("/api/v1/transactions").await.json();
    assert_eq!(told["held"][0]["id"], json!(null));
    assert_eq!(told["held"][0]["startOffset"], "0");
    let elsewhere = json!({ "topic": "t", "partition": 0, "startOffset": 7 });
    assert_eq!(page.send("POST", path, elsewhere).await.status, 404);
    assert_eq!(page.send("POST", path, abort).await.status, 204);
    assert_eq!(stable(&mut client, "t", 0).await, (2, 2));
}

#[tokio::test]
async fn a_late_write_that_nobody_verified_hangs_until_an_operator_ends_it() {
    let world =
        World::with(|options| options.config("transaction.partition.verification.enable", "false"));
    let (mut client, page) = (world.connect(), Page(&world));
    client.create_topic("t", 1).await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    assert_eq!(me.add(&mut client, "t", &[0]).await, 0);
    assert_eq!(me.produce(&mut client, OLDER, ("t", 0), 0).await, (0, 0));
    assert_eq!(me.end(&mut client, OLDER, true).await.0, 0);
    // Late, on another connection: the coordinator has ended this transaction and knows of no other.
    let mut late = world.connect();
    assert_eq!(me.produce(&mut late, OLDER, ("t", 0), 1).await, (0, 2));
    world.advance_ms(600_000).await;
    assert_eq!(me.state(&mut client).await, "CompleteCommit");
    assert_eq!(stable(&mut client, "t", 0).await, (3, 2));
    let told = page.get("/api/v1/transactions").await.json();
    let held = &told["held"][0];
    assert_eq!(
        (&held["id"], &held["startOffset"]),
        (&json!(null), &json!("2"))
    );
    let abort = json!({ "topic": "t", "partition": 0, "startOffset": 2 });
    let path = "/api/v1/transactions/hanging/abort";
    assert_eq!(page.send("POST", path, abort).await.status, 204);
    assert_eq!(stable(&mut client, "t", 0).await, (4, 4));
    // Where writes are verified nothing of the kind begins.
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    assert_eq!(me.add(&mut client, "t", &[0]).await, 0);
    assert_eq!(me.end(&mut client, OLDER, true).await.0, 0);
    let refused = me.produce(&mut client, OLDER, ("t", 0), 0).await.0;
    assert_eq!(refused, TRANSACTION_ABORTABLE);
}
