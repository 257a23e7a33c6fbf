//! Well-formed inputs for every target, and their neighbours, which lie by one. What a fuzzer begins with, and what the
//! tests replay instead of a stored corpus: nothing here is made to hurt any other reader of such bytes.

use super::frames::join;
use rustka_core::batch::{BatchBuilder, NewRecord, end_transaction_marker};
use rustka_core::compression::{Codec, compress, decompress};
use rustka_wire::api::{APIS, request_header_version};
use rustka_wire::codec::decode_standard;
use rustka_wire::json::MESSAGES;
use rustka_wire::request_header::RequestHeader;
use rustka_wire::{Reader, Writer};
use serde_json::{Value, json};

/// An input that its target reads to the end.
pub struct Seed {
    /// The target it is for.
    pub target: &'static str,
    /// What it is, as a file's name.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// The seeds of all targets.
pub fn seeds() -> Vec<Seed> {
    let mut all = Vec::new();
    let mut add = |target, named: Vec<(String, Vec<u8>)>| {
        all.extend(named.into_iter().map(|(name, bytes)| Seed {
            target,
            name,
            bytes,
        }));
    };
    add("batch", batches());
    for (target, named) in super::files::seeds() {
        add(target, named);
    }
    for codec in Codec::ALL.into_iter().skip(1) {
        add(codec.name(), packed(codec));
    }
    add("frames", requests());
    add("frames", conversations());
    all
}

/// The input with one byte made one more, then one less, then cut off before it, at about `places` places.
pub fn neighbours(bytes: &[u8], places: usize) -> impl Iterator<Item = Vec<u8>> {
    let step = bytes.len() / places + 1;
    (0..bytes.len()).step_by(step).flat_map(move |at| {
        let change = |by: u8| {
            let mut changed = bytes.to_vec();
            changed[at] = changed[at].wrapping_add(by);
            changed
        };
        [change(1), change(0xff), bytes[..at].to_vec()]
    })
}

fn packed(codec: Codec) -> Vec<(String, Vec<u8>)> {
    let texts: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("one", vec![b'x']),
        (
            "words",
            b"the records of a batch, the records of a batch and more of them".to_vec(),
        ),
        ("zeros", vec![0; 100_000]),
        (
            "noise",
            (0..3_000u32)
                .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect(),
        ),
    ];
    texts
        .into_iter()
        .filter_map(|(name, bytes)| Some((name.to_owned(), compress(codec, None, &bytes).ok()?)))
        .collect()
}

fn batches() -> Vec<(String, Vec<u8>)> {
    let now = 1_700_000_000_000;
    let records = [
        NewRecord {
            timestamp: now,
            value: Some(b"value"),
            ..NewRecord::default()
        },
        NewRecord {
            timestamp: now + 7,
            key: Some(b"key"),
            value: None,
            ..NewRecord::default()
        },
        NewRecord {
            timestamp: now - 7,
            key: Some(b"key"),
            value: Some(b"value"),
            headers: &[("h", Some(b"1")), ("h", None)],
        },
    ];
    let mut all = Vec::new();
    for codec in Codec::ALL {
        let builder = BatchBuilder::new().compression(codec, None);
        let builder = records
            .iter()
            .fold(builder, |builder, record| builder.record(record));
        all.push((format!("three-{}", codec.name()), builder.build()));
    }
    let one = || BatchBuilder::new().record(&records[0]);
    all.push(("one".to_owned(), one().build()));
    all.push((
        "idempotent".to_owned(),
        one().producer(9, 1, i32::MAX).build(),
    ));
    all.push((
        "transactional".to_owned(),
        one().producer(9, 1, 0).transactional().build(),
    ));
    all.push(("append-time".to_owned(), one().log_append_time(now).build()));
    all.push((
        "marker".to_owned(),
        end_transaction_marker(9, 1, 3, true, now),
    ));
    all.into_iter()
        .filter_map(|(name, built)| Some((name, built.ok()?)))
        .collect()
}

fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader {
        request_api_key: key,
        request_api_version: version,
        correlation_id: 7,
        client_id: Some("c".into()),
    };
    let mut w = Writer::new();
    header.encode(&mut w, request_header_version(key, version));
    w.raw(body);
    w.buf
}

/// Every request in its oldest and newest version, as Kafka's own classes wrote it.
fn requests() -> Vec<(String, Vec<u8>)> {
    let packed = include_bytes!("../../crates/wire/testdata/golden.jsonl.gz");
    let text = decompress(Codec::Gzip, packed, 64 << 20).expect("golden cases");
    let text = String::from_utf8(text).expect("lines of JSON");
    let mut all = Vec::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).expect("a row");
        let name = row["message"].as_str().unwrap_or_default();
        let version = row["version"]
            .as_i64()
            .and_then(|v| i16::try_from(v).ok())
            .unwrap_or(-1);
        let variant = row["variant"].as_str().unwrap_or_default();
        let Some(api) = APIS
            .iter()
            .find(|api| format!("{}Request", api.name) == name)
        else {
            continue;
        };
        if ![api.min_version, api.max_version].contains(&version) {
            continue;
        }
        let body = decode_standard(row["bytes"].as_str().unwrap_or_default()).expect("base64");
        all.push((
            format!("{}-{version}-{variant}", api.name),
            join([&frame(api.key, version, &body)[..]]),
        ));
    }
    all
}

/// A request from the tree of what it says; the rest has its defaults.
fn ask(api: &str, version: i16, fields: Value) -> Vec<u8> {
    let name = format!("{api}Request");
    let message = MESSAGES
        .iter()
        .find(|message| message.name == name)
        .expect("a request");
    let mut tree = (message.default)(version);
    if let (Some(tree), Value::Object(fields)) = (tree.as_object_mut(), fields) {
        tree.extend(fields);
    }
    let mut body = Writer::new();
    (message.encode)(&tree, &mut body, version).expect("a well-formed request");
    // What we begin with should be read.
    assert!((message.decode)(&mut Reader::new(&body.buf), version).is_ok());
    let key = APIS
        .iter()
        .find(|known| known.name == api)
        .expect("a key")
        .key;
    frame(key, version, &body.buf)
}

/// A few requests after each other, where each needs the one before.
fn conversations() -> Vec<(String, Vec<u8>)> {
    let create = ask(
        "CreateTopics",
        7,
        json!({"topics": [{"name": "t", "numPartitions": 2, "replicationFactor": 1, "assignments": [], "configs": []}], "timeoutMs": 1000, "validateOnly": false}),
    );
    let fetch = |version| {
        ask(
            "Fetch",
            version,
            json!({"maxWaitMs": 100, "minBytes": 1, "maxBytes": 10000, "isolationLevel": 0, "sessionId": 0, "sessionEpoch": 0, "topics": [{"topic": "t", "partitions": [{"partition": 0, "currentLeaderEpoch": -1, "fetchOffset": 0, "lastFetchedEpoch": -1, "logStartOffset": -1, "partitionMaxBytes": 1000}]}], "forgottenTopicsData": [], "rackId": ""}),
        )
    };
    let mut all = Vec::new();
    for (name, batch) in batches() {
        let mut w = Writer::new();
        // Produce v9 by hand: the JSON form has no records.
        w.raw(&[0, 0xff, 0xff, 0, 0, 3, 0xe8, 2, 2, b't', 2, 0, 0, 0, 0]);
        w.uvarint(batch.len() as u32 + 1);
        w.raw(&batch);
        w.raw(&[0, 0, 0]);
        let produce = frame(0, 9, &w.buf);
        all.push((
            format!("produce-{name}"),
            join([&create[..], &produce, &fetch(12), &fetch(4)]),
        ));
    }
    let join_group = ask(
        "JoinGroup",
        5,
        json!({"groupId": "g", "sessionTimeoutMs": 10000, "rebalanceTimeoutMs": 10000, "memberId": "", "protocolType": "consumer", "protocols": [{"name": "range", "metadata": "AAEAAAABAAF0AAAAAA=="}]}),
    );
    let commit = ask(
        "OffsetCommit",
        8,
        json!({"groupId": "g", "generationIdOrMemberEpoch": -1, "memberId": "", "topics": [{"name": "t", "partitions": [{"partitionIndex": 0, "committedOffset": 1, "committedLeaderEpoch": -1, "committedMetadata": "m"}]}]}),
    );
    let fetch_offsets = ask(
        "OffsetFetch",
        7,
        json!({"groupId": "g", "topics": null, "requireStable": false}),
    );
    all.push((
        "group".to_owned(),
        join([&create[..], &join_group, &commit, &fetch_offsets]),
    ));
    all
}
