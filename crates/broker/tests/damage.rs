//! Records that are damaged in their files: found before anybody reads them, told of, and passed over once somebody says
//! so.
#![cfg(feature = "http")]

mod common;
mod page;
mod process;

use common::{World, batch, flip_bit, produce_request};
use page::Page;
use process::{Process, RUSTKA};
use rustka_storage::testing::Folder;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

const KAFKA_STORAGE_ERROR: i16 = 56;
/// Reached only by tests that fail.
const DEADLINE: Duration = Duration::from_secs(60);

/// Three batches of one record each, of which a bit of the second is wrong; left in order.
async fn rotten() -> Folder {
    let folder = Folder::new("damage");
    let world = World::with(|options| options.data_dir(&folder.0));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    for offset in 0..3 {
        let request = ProduceRequest {
            acks: -1,
            ..produce_request("t", 0, batch(10))
        };
        let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
        let body: ProduceResponse<'_> = answer.body();
        let written = &body.responses[0].partition_responses[0];
        assert_eq!((written.error_code, written.base_offset), (0, offset));
    }
    world.broker.stop().await;
    let log = folder.0.join("t-0/00000000000000000000.log");
    flip_bit(&log, 2 * batch(10).len() - 2);
    folder
}

/// A bit that changes while a broker is down is met by nobody who starts after an orderly stop, and by Kafka never.
#[tokio::test]
async fn damage_is_found_told_and_passed_over_when_somebody_says_so() {
    let folder = rotten().await;
    let world = World::with(|options| options.data_dir(&folder.0));
    let partition = world.broker.node().partition("t", 0).expect("there");
    let is_found = async {
        while partition.damaged().is_empty() {
            world.pass_ms(1_000).await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, is_found).await;
    in_time.expect("the scrub finds it");
    assert_eq!(partition.damaged(), std::slice::from_ref(&(1..2)));
    let page = Page(&world);
    let metrics = page.get("/metrics").await.body;
    assert!(
        metrics.contains("\nrustka_disk_damaged_ranges 1\n"),
        "{metrics}"
    );
    let damaged = |skipped: bool| {
        let range = json!({ "partition": 0, "first": "1", "last": "1", "records": "1" });
        let mut shown = range.clone();
        shown["skipped"] = skipped.into();
        (range, json!([shown]))
    };
    let topic = page.get("/api/v1/topics/t").await.json();
    assert_eq!(topic["damaged"], damaged(false).1);
    // The page shows what there is, and in its place what there is no more.
    for start in ["oldest", "newest"] {
        let records = format!("/api/v1/topics/t/records?start={start}");
        let seen = page.get(&records).await.json();
        let rows = seen["records"].as_array().expect("records");
        let mut rows: Vec<(&str, bool)> = rows
            .iter()
            .map(|row| {
                let offset = row["offset"].as_str().expect("an offset");
                (offset, row["unreadable"].is_string())
            })
            .collect();
        rows.sort_unstable();
        assert_eq!(rows, [("0", false), ("1", true), ("2", false)], "{seen}");
    }
    let mut client = world.connect();
    assert_eq!(client.first_batch("t", 0, 0).await, (0, Some(0)));
    assert_eq!(
        client.first_batch("t", 0, 1).await,
        (KAFKA_STORAGE_ERROR, None)
    );
    assert_eq!(client.first_batch("t", 0, 2).await, (0, Some(2)));

    let skip = "/api/v1/topics/t/skip-damaged";
    let skipped = page.send("POST", skip, json!({})).await.json();
    assert_eq!(skipped, json!({ "skipped": [damaged(true).0] }));
    assert_eq!(client.first_batch("t", 0, 1).await, (0, Some(2)));
    let again = page.send("POST", skip, json!({})).await.json();
    assert_eq!(again, json!({ "skipped": [] }));
    let topic = page.get("/api/v1/topics/t").await.json();
    assert_eq!(topic["damaged"], damaged(true).1);
    world.broker.stop().await;

    let world = World::with(|options| options.data_dir(&folder.0));
    let mut client = world.connect();
    assert_eq!(client.first_batch("t", 0, 1).await, (0, Some(2)));
    world.broker.stop().await;
}

fn start(folder: &Folder) -> Process {
    Process::start(
        Command::new(RUSTKA)
            .args(["--port", "0", "--http-port", "0", "--data-dir"])
            .arg(&folder.0)
            .env("RUST_LOG", "off")
            .stderr(Stdio::null()),
    )
}

#[tokio::test]
async fn the_command_tells_what_it_has_consumers_pass_over() {
    let folder = rotten().await;
    // A start after a crash goes over all of it by itself.
    fs::remove_file(folder.0.join(".kafka_cleanshutdown")).expect("removed");
    let broker = start(&folder);
    let address = broker.address("bootstrap");
    let run = || {
        let mut command = Command::new(RUSTKA);
        command.args(["topic", "skip-damaged", "t", "--format", "json", "-b"]);
        let output = command.arg(&address).output().expect("it runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{complaint}");
        String::from_utf8(output.stdout).expect("text")
    };
    let rows: Value = serde_json::from_str(&run()).expect("JSON");
    let row = json!({ "partition": 0, "first": 1, "last": 1, "offsets": 1 });
    assert_eq!(rows, json!([row]));
    assert!(!run().contains("\"first\""));
}
