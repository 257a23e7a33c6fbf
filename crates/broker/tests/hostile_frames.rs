//! Frames made to hurt, sent to a broker: it answers or hangs up, at a cost bounded by what it received, and goes on
//! serving others. The decoders' own tests are in `crates/wire/tests/hostile.rs`.

mod common;
#[path = "../../../fuzz/src/memory.rs"]
#[allow(dead_code, reason = "shared with the fuzz targets")]
mod memory;

use common::{Client, START_MS, World, batch, produce_request};
use rustka_core::batch::{BatchBuilder, HEADER_BYTES, NewRecord};
use rustka_core::compression::{Codec, compress};
use rustka_core::error::ErrorCode;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Mutex;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hex");
        u8::from_str_radix(pair, 16).expect("hex")
    };
    digits.chunks(2).map(byte).collect()
}

/// Tests that count memory do so one at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn is_served(world: &World) -> bool {
    let mut client = world.connect();
    let request = ApiVersionsRequest::default();
    let answer = client.ask(ApiVersionsRequest::KEY, 0, &request).await;
    answer.body::<ApiVersionsResponse<'_>>().error_code == 0
}

/// Attacks, rows 16, 17 and 19: the frames that abort a broker built on the kafka-protocol crate.
#[tokio::test]
async fn frames_that_announce_more_than_they_hold_end_their_connection_and_cost_nothing() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    for hex in [
        "0003 0001 00000007 ffff 7fffffff",
        "0003 000c 00000007 ffff 00 ffffffff0f",
        "0013 0002 00000007 ffff 7fffffff",
        "0000 0003 00000007 ffff ffff 0001 00000000 7fffffff",
        "0003 0001 00000007 ffff 2e 00000001 0001 61",
        "00",
        "0003 000c 00000007 ffff 00 ffffffffffffffffff01",
        "0003 0001 00000007 7fff 00000000",
    ] {
        let mut client = world.connect();
        let before = memory::live();
        client.send_frame(&bytes(hex)).await;
        assert!(client.is_closed().await, "{hex}");
        assert!(memory::live() < before + (1 << 20), "{hex}");
        assert!(is_served(&world).await, "{hex}");
    }
    assert_eq!(
        world
            .broker
            .node()
            .metrics
            .connections_refused
            .load(Relaxed),
        8
    );
}

/// Attacks, row 15: a length is a promise, not a reason to allocate.
#[tokio::test]
async fn a_giant_length_is_refused_and_a_large_one_costs_what_has_arrived() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    for length in [
        "7fffffff", "80000000", "ffffffff", "00000000", "00000007", "06400001",
    ] {
        let mut client = world.connect();
        client.send_raw(&bytes(length)).await;
        assert!(client.is_closed().await, "{length}");
    }
    // 100 MiB is the most that socket.request.max.bytes allows by default.
    let before = memory::live();
    let mut waiting: Vec<Client> = Vec::new();
    for _ in 0..500 {
        let mut client = world.connect();
        client.send_raw(&bytes("06400000 0000")).await;
        waiting.push(client);
    }
    world.settle().await;
    assert_eq!(world.connections(), 500);
    let cost = memory::live() - before;
    let budget = world.broker.node().memory.limit() / 4;
    assert!(cost < budget + 500 * 600_000, "{cost}");
    assert!(world.broker.node().receiving.used() <= budget);
    assert!(is_served(&world).await);
}

/// Attacks, row 17: two bytes a topic in the frame, dozens in memory.
#[tokio::test]
async fn many_tiny_elements_are_refused_before_they_fill_memory() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    let count = 8_000_000_u32;
    let mut frame = bytes("0003 0001 00000007 ffff");
    frame.extend(count.to_be_bytes());
    frame.resize(frame.len() + 2 * count as usize, 0);
    let before = memory::start();
    client.send_frame(&frame).await;
    assert!(client.is_closed().await);
    // The frame doubles as it grows, and its elements have a budget of 16 MiB.
    assert!(memory::peak() < before + 4 * frame.len());
    assert!(is_served(&world).await);
}

/// Attacks, row 32: a browser that posts to the Kafka port is recognised by its first four bytes.
#[tokio::test]
async fn another_protocol_is_hung_up_on_at_its_first_four_bytes() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    for start in [&b"GET "[..], b"POST", b"\x16\x03\x01\x02"] {
        let mut client = world.connect();
        client.send_raw(start).await;
        assert!(client.is_closed().await, "{start:?}");
    }
    assert!(is_served(&world).await);
}

fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let length = i32::try_from(batch.len() - 12).expect("a short batch");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A batch with this header field and these record bytes.
fn lying(at: usize, field: &[u8], records: &[u8]) -> Vec<u8> {
    let mut lie = batch(1)[..HEADER_BYTES].to_vec();
    lie[at..at + field.len()].copy_from_slice(field);
    lie.extend(records);
    sealed(lie)
}

async fn error_of(client: &mut Client, batch: Vec<u8>) -> ErrorCode {
    let answer = client.produce("t", 0, batch).await;
    let produced: ProduceResponse<'_> = answer.body();
    let code = produced.responses[0].partition_responses[0].error_code;
    ErrorCode::from_code(code).expect("a known code")
}

const RECORD_COUNT_AT: usize = 57;
const ATTRIBUTES_AT: usize = 21;
const BASE_TIMESTAMP_AT: usize = 27;

/// Attacks, rows 18, 20 and 46: the batches of the table, and what each is told.
#[tokio::test]
async fn lying_batches_are_refused_and_nothing_of_them_stays() {
    let _alone = ALONE.lock().await;
    let world = World::with(|options| options.strict(true));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let timestamps = BASE_TIMESTAMP_AT;
    let lies = [
        (
            "a record count of 2^31-1",
            lying(RECORD_COUNT_AT, &i32::MAX.to_be_bytes(), &[]),
        ),
        (
            "a header count of 2^31-1",
            lying(0, &[], &bytes("14 00 00 00 01 01 fe ff ff ff 0f")),
        ),
        (
            "a base timestamp at the end of time",
            lying(
                timestamps,
                &i64::MAX.to_be_bytes(),
                &bytes("0c 00 02 00 01 01 00"),
            ),
        ),
        (
            "a base offset at the end of all offsets",
            lying(0, &i64::MAX.to_be_bytes(), &bytes("0c 00 00 00 01 01 00")),
        ),
        (
            "a snappy block that says it holds 4 GiB",
            lying(ATTRIBUTES_AT, &[0, 2], &bytes("ff ff ff ff 0f 00 00")),
        ),
        (
            "a varint without an end",
            lying(0, &[], &bytes("ff ff ff ff ff ff ff")),
        ),
    ];
    for (what, lie) in lies {
        let code = error_of(&mut client, lie).await;
        assert!(
            matches!(
                code,
                ErrorCode::InvalidRecord | ErrorCode::CorruptMessage | ErrorCode::InvalidTimestamp
            ),
            "{what}: {code:?}"
        );
    }
    for magic in [0, 1] {
        let mut old = batch(1);
        old[16] = magic;
        let code = error_of(&mut client, old).await;
        assert_eq!(code, ErrorCode::InvalidRecord, "magic {magic}");
    }
    let partition = world.broker.node().partition("t", 0).expect("partition");
    assert_eq!(
        (partition.offsets().high_watermark, partition.bytes()),
        (0, 0)
    );
}

/// Attacks, row 18: in the default mode bombs are not inflated at all, under `--strict` only up to a bound.
#[tokio::test]
async fn a_decompression_bomb_does_not_go_off() {
    let _alone = ALONE.lock().await;
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let zeros = vec![0; 300 << 20];
        let packed = compress(codec, None, &zeros).expect("packed");
        drop(zeros);
        let bomb = lying(ATTRIBUTES_AT, &[0, codec.id()], &packed);
        for strict in [false, true] {
            let world = World::with(|options| {
                options
                    .strict(strict)
                    .config("message.max.bytes", "99000000")
            });
            let mut client = world.connect();
            client.create_topic("t", 1).await;
            let before = memory::live();
            let code = error_of(&mut client, bomb.clone()).await;
            let expected = match strict {
                true => ErrorCode::MessageTooLarge,
                false => ErrorCode::None,
            };
            assert_eq!(code, expected, "{codec:?}");
            let cost = memory::live().saturating_sub(before);
            assert!(cost < 80 << 20, "{codec:?}: {cost}");
        }
    }
}

/// Attacks, row 20: what the table found to lose data. Both headers of one name are there when the record comes back.
#[tokio::test]
async fn headers_of_one_name_both_stay() {
    let _alone = ALONE.lock().await;
    let world = World::with(|options| options.strict(true));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let record = NewRecord {
        timestamp: START_MS,
        headers: &[("k", Some(b"1")), ("k", Some(b"2"))],
        ..NewRecord::default()
    };
    let sent = BatchBuilder::new().record(&record).build().expect("batch");
    assert_eq!(error_of(&mut client, sent.clone()).await, ErrorCode::None);
    let partition = world.broker.node().partition("t", 0).expect("partition");
    let kept = partition
        .read(0, i64::MAX, usize::MAX, true)
        .expect("records");
    assert_eq!(kept[0][HEADER_BYTES..], sent[HEADER_BYTES..]);
}

/// Attacks, row 45: a broker that one connection cannot take down. Requests of every key and version, empty and cut.
#[tokio::test]
async fn no_key_and_version_with_an_empty_body_ends_more_than_its_connection() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    for key in -1..100_i16 {
        for version in [-1, 0, 1, 5, 9, 12, 17, 99_i16] {
            let mut frame = Vec::new();
            frame.extend(key.to_be_bytes());
            frame.extend(version.to_be_bytes());
            frame.extend(bytes("00000007 ffff 00 00 00 00"));
            let mut client = world.connect();
            client.send_frame(&frame).await;
            world.settle().await;
        }
    }
    assert!(is_served(&world).await);
    assert!(
        world
            .broker
            .node()
            .metrics
            .connections_accepted
            .load(Relaxed)
            >= 800
    );
}

/// Attacks, row 15: before a large frame is whole it takes no more than twice what has come, and all of them together
/// no more than the budget; a complete one is handled although others wait.
#[tokio::test]
async fn frames_being_received_share_a_budget_and_still_all_arrive() {
    let _alone = ALONE.lock().await;
    let world = World::with(|options| {
        options
            .memory_limit(64 << 20)
            .config("message.max.bytes", "9000000")
    });
    let mut first = world.connect();
    first.create_topic("t", 1).await;
    let request = produce_request("t", 0, batch(8_000_000));
    let frame = common::frame(ProduceRequest::KEY, 11, 1, "test", &request);
    let length = (frame.len() as u32).to_be_bytes();
    let (most, last) = frame.split_at(frame.len() - 1000);
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = world.connect();
        client.send_raw(&length).await;
        let task = tokio::spawn({
            let (most, last) = (most.to_vec(), last.to_vec());
            async move {
                client.send_raw(&most).await;
                client.send_raw(&last).await;
                client.receive().await.is_some()
            }
        });
        clients.push(task);
    }
    for client in clients {
        assert!(client.await.expect("a client"), "an answer");
    }
    assert_eq!(world.broker.node().receiving.used(), 0);
}
