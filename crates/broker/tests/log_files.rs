//! `rustka log check` and `rustka log dump` over a directory that a broker has left.

mod common;

use common::producer::{NEWER, Producer, stable};
use common::{World, batch, produce_request};
use rustka_storage::testing::Folder;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Reached only by tests that fail.
const DEADLINE: Duration = Duration::from_secs(60);

/// Everything in a folder, byte for byte.
fn content(folder: &Folder) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.0.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(all.insert(path.clone(), fs::read(path).expect("a file"))),
            }
        }
    }
    all
}

fn rustka(arguments: &[&str], paths: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustka"));
    command.arg("log").args(arguments).args(paths);
    command.output().expect("it runs")
}

fn check(folder: &Folder) -> (Option<i32>, Value) {
    let output = rustka(&["check", "--format", "json"], &[&folder.0]);
    let told = String::from_utf8_lossy(&output.stdout);
    let told = serde_json::from_str(&told);
    let complaint = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), told.unwrap_or(complaint.into()))
}

/// Three batches in each of two partitions; stopped in order.
async fn filled(folder: &Folder) {
    let world = World::with(|options| options.data_dir(&folder.0));
    let mut client = world.connect();
    client.create_topic("t", 2).await;
    for partition in [0, 1] {
        for _ in 0..3 {
            let request = ProduceRequest {
                acks: -1,
                ..produce_request("t", partition, batch(10))
            };
            let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
            let body: ProduceResponse<'_> = answer.body();
            assert_eq!(body.responses[0].partition_responses[0].error_code, 0);
        }
    }
    let (code, told) = check(folder);
    assert_eq!(code, Some(1));
    assert!(
        told.as_str().is_some_and(|why| why.contains("in use")),
        "{told}"
    );
    world.broker.stop().await;
}

#[tokio::test]
async fn a_check_tells_what_is_damaged_and_what_a_start_would_change_and_changes_nothing() {
    let folder = Folder::new("log-check");
    filled(&folder).await;
    let before = content(&folder);
    let (code, told) = check(&folder);
    assert_eq!(code, Some(0), "{told}");
    let partition = |told: &Value, name: &str| -> Value {
        let all = told["partitions"].as_array().expect("a list");
        let found = all.iter().find(|one| one["partition"] == name);
        found
            .unwrap_or_else(|| panic!("{name} is missing: {told}"))
            .clone()
    };
    let one = partition(&told, "t-1");
    assert_eq!((&one["first"], &one["next"]), (&0.into(), &3.into()));
    assert_eq!(one["bytes"], 3 * batch(10).len());
    assert!(one["wrong"].is_null());
    assert_eq!(content(&folder), before);

    // Something is behind the end of a log, and an index is gone.
    let log = folder.0.join("t-1/00000000000000000000.log");
    let mut longer = before[&log].clone();
    longer.extend_from_slice(&[1; 30]);
    fs::write(&log, longer).expect("written");
    fs::remove_file(folder.0.join("t-1/00000000000000000000.timeindex")).expect("removed");
    let torn = content(&folder);
    let (code, told) = check(&folder);
    assert_eq!(code, Some(0), "{told}");
    let changes = told["changes"].as_array().expect("a list");
    let whole = before[&log].len();
    let change = |path: &str| {
        let found = changes.iter().find(|change| change["path"] == path);
        found.map(|found| found["change"].as_str().expect("a word").to_owned())
    };
    let cut = format!("cut from {} to {whole} bytes", whole + 30);
    assert_eq!(change("t-1/00000000000000000000.log"), Some(cut));
    assert_eq!(
        change("t-1/00000000000000000000.timeindex").as_deref(),
        Some("made")
    );
    assert_eq!(change("t-0/00000000000000000000.log"), None);
    assert_eq!(content(&folder), torn);
    // That is what a start does.
    let world = World::with(|options| options.data_dir(&folder.0));
    world.broker.stop().await;
    assert_eq!(content(&folder)[&log].len(), whole);
    assert!(check(&folder).0 == Some(0));
}

/// A start that trusts the mark of an orderly stop looks at the ends of logs only, so it would not have found this.
#[tokio::test]
async fn a_check_finds_a_bit_that_is_wrong_wherever_it_is() {
    let folder = Folder::new("bit");
    filled(&folder).await;
    let log = folder.0.join("t-1/00000000000000000000.log");
    let mut damaged = fs::read(&log).expect("a file");
    damaged[batch(10).len() - 1] ^= 1;
    fs::write(&log, &damaged).expect("written");
    let before = content(&folder);
    let (code, told) = check(&folder);
    assert_eq!(code, Some(1), "{told}");
    let all = told["partitions"].as_array().expect("a list");
    for one in all {
        let is_wrong = one["wrong"]
            .as_str()
            .is_some_and(|why| why.contains("byte 0"));
        assert_eq!(is_wrong, one["partition"] == "t-1", "{one}");
    }
    assert_eq!(content(&folder), before);
    // What is noted as damaged is left out even where the file was put right.
    damaged[batch(10).len() - 1] ^= 1;
    fs::write(&log, &damaged).expect("written");
    fs::write(folder.0.join("rustka-damaged-offsets"), "t-1 1 3\n").expect("written");
    let (code, told) = check(&folder);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.to_string().contains("offsets 1 to 2 are gone, or"),
        "{told}"
    );
}

#[tokio::test]
async fn a_check_of_what_is_no_data_directory_says_so() {
    let folder = Folder::new("log-none");
    let (code, told) = check(&folder);
    assert_eq!(code, Some(1));
    assert!(
        told.as_str()
            .is_some_and(|why| why.contains("No such file")),
        "{told}"
    );
    fs::create_dir_all(&folder.0).expect("a folder");
    let (code, told) = check(&folder);
    assert_eq!(code, Some(1));
    assert!(
        told.as_str()
            .is_some_and(|why| why.contains("meta.properties")),
        "{told}"
    );
    assert!(content(&folder).is_empty(), "nothing was made");
}

#[tokio::test]
async fn a_dump_shows_batches_records_and_checkpoints() {
    let folder = Folder::new("log-dump");
    filled(&folder).await;
    let log = folder.0.join("t-0/00000000000000000000.log");
    let output = rustka(&["dump", "--records", "--format", "json"], &[&log]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(
        (&lines[2]["first"], &lines[2]["at"]),
        (&1.into(), &batch(10).len().into())
    );
    assert_eq!(lines[3]["value"], "xxxxxxxxxx");
    assert!(lines[3]["key"].is_null());

    let index = folder.0.join("t-0/00000000000000000000.timeindex");
    let output = rustka(&["dump"], &[&index]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let mut damaged = fs::read(&log).expect("a file");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&log, &damaged).expect("written");
    let output = rustka(&["dump"], &[&log]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.matches("damaged").count(), 1, "{told}");
    let unknown = folder.0.join("meta.properties");
    assert_eq!(rustka(&["dump"], &[&unknown]).status.code(), Some(1));
}

/// As the broker itself has left them: an aborted transaction, its producer, and the epoch of the only start.
#[tokio::test]
async fn a_dump_shows_aborted_transactions_producers_and_leader_epochs() {
    let folder = Folder::new("log-dump-side");
    let world = World::with(|options| options.data_dir(&folder.0));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    assert_eq!(me.produce(&mut client, NEWER, ("t", 0), 0).await, (0, 0));
    assert_eq!(me.end(&mut client, NEWER, false).await.0, 0);
    let (first, marker) = (0, 1);
    let is_over = async { while stable(&mut client, "t", 0).await.1 <= marker {} };
    let in_time = tokio::time::timeout(DEADLINE, is_over).await;
    in_time.expect("it is over in time");
    world.broker.stop().await;
    let lines = |name: &str| -> Vec<Value> {
        let file = folder.0.join("t-0").join(name);
        let output = rustka(&["dump", "--format", "json"], &[&file]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let lines = String::from_utf8(output.stdout).expect("text");
        let lines = lines.lines().map(serde_json::from_str);
        lines.map(|line| line.expect("an object")).collect()
    };
    let producer_id = me.producer_id;
    assert_eq!(
        lines("00000000000000000000.txnindex"),
        [json!({ "producer": producer_id, "first": first, "last": marker, "stable": marker + 1 })]
    );
    let producers = lines(&format!("{:020}.snapshot", marker + 1));
    assert_eq!(producers.len(), 1, "{producers:?}");
    assert_eq!(producers[0]["producer"], producer_id);
    assert!(producers[0]["open-from"].is_null());
    assert_eq!(
        lines("leader-epoch-checkpoint"),
        [json!({ "epoch": 0, "offset": 0 })]
    );

    for (name, why) in [
        ("00000000000000000000.txnindex", "no whole entry"),
        (&*format!("{:020}.snapshot", marker + 1), "no snapshot"),
        ("leader-epoch-checkpoint", "leader epochs"),
    ] {
        let file = folder.0.join("t-0").join(name);
        let mut bytes = fs::read(&file).expect("a file");
        bytes.pop();
        bytes.push(b'x');
        bytes.push(b'x');
        fs::write(&file, bytes).expect("written");
        let output = rustka(&["dump"], &[&file]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(why), "{name}: {told}");
    }
}
