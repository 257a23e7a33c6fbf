//! Frames that lie, sent to a broker: it answers or hangs up, at a cost bounded by what it received, and goes on serving
//! others. They lie by a little, or against limits that are lowered here, so that they are harmless elsewhere too. The
//! decoders' own tests are in `crates/wire/tests/hostile.rs`.

mod common;
#[path = "../../../fuzz/src/memory.rs"]
#[allow(dead_code, reason = "shared with the fuzz targets")]
mod memory;

use common::{Client, START_MS, World, batch, produce_request};
use rustka_core::batch::{BatchBuilder, HEADER_BYTES, NewRecord};
use rustka_core::compression::Codec;
use rustka_core::error::ErrorCode;
use rustka_core::validate::PROVING_REQUESTS;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustka_wire::codec::BUDGET_DEFAULT;
use rustka_wire::metadata_request::MetadataRequestTopic;
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

/// Attacks, rows 16, 17 and 19: one element or byte more than there is, varints that do not end, a header cut short.
#[tokio::test]
async fn frames_that_announce_more_than_they_hold_end_their_connection_and_cost_nothing() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    for hex in [
        "0003 0001 00000007 ffff 00000001",
        "0003 000c 00000007 ffff 00 02",
        "0013 0002 00000007 ffff 00000001",
        "0000 0003 00000007 ffff ffff 0001 00000000 00000001",
        "0003 0001 00000007 ffff 00000002 0001 61",
        "00",
        "0003 000c 00000007 ffff 00 808080808000",
        "0003 0001 00000007 0005 00000000",
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
async fn a_length_beyond_the_limit_is_refused_and_one_within_costs_what_has_arrived() {
    let _alone = ALONE.lock().await;
    let most = 2 << 20;
    let world = World::with(|options| {
        options
            .memory_limit(64 << 20)
            .config("socket.request.max.bytes", most.to_string())
    });
    for length in [-1_i32, 0, 7, most + 1] {
        let mut client = world.connect();
        client.send_raw(&length.to_be_bytes()).await;
        assert!(client.is_closed().await, "{length}");
    }
    let before = memory::live();
    let mut waiting: Vec<Client> = Vec::new();
    for _ in 0..200 {
        let mut client = world.connect();
        client.send_raw(&most.to_be_bytes()).await;
        client.send_raw(&[0; 2]).await;
        waiting.push(client);
    }
    world.settle().await;
    assert_eq!(world.connections(), 200);
    let cost = memory::live() - before;
    let budget = world.broker.node().memory.limit() / 4;
    assert!(cost < budget + 200 * 100_000, "{cost}");
    assert!(world.broker.node().receiving.used() <= budget);
    assert!(is_served(&world).await);
}

/// Attacks, row 17: two bytes a topic in the frame, dozens in memory.
#[tokio::test]
async fn many_tiny_elements_are_refused_before_they_fill_memory() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    // One more than the budget has room for.
    let count = BUDGET_DEFAULT / size_of::<MetadataRequestTopic<'_>>() + 1;
    let mut frame = bytes("0003 0001 00000007 ffff");
    frame.extend((count as u32).to_be_bytes());
    frame.resize(frame.len() + 2 * count, 0);
    let before = memory::start();
    client.send_frame(&frame).await;
    assert!(client.is_closed().await);
    // The frame doubles as it grows; none of its elements is there.
    assert!(memory::peak() < before + 4 * frame.len());
    assert!(4 * frame.len() < BUDGET_DEFAULT);
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
/// Kafka's `message.timestamp.after.max.ms`.
const HOUR_MS: i64 = 3_600_000;

/// Attacks, rows 18, 20 and 46: the batches of the table, and what each is told.
#[tokio::test]
async fn lying_batches_are_refused_and_nothing_of_them_stays() {
    let _alone = ALONE.lock().await;
    let world = World::with(|options| options.strict(true));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let timestamps = BASE_TIMESTAMP_AT;
    let too_late = START_MS + HOUR_MS + 1;
    let record = "0c 00 00 00 01 01 00";
    let honest = error_of(&mut client, lying(0, &[], &bytes(record))).await;
    assert_eq!(honest, ErrorCode::None);
    let invalid = ErrorCode::InvalidRecord;
    let lies = [
        (
            "one record more than there is",
            lying(RECORD_COUNT_AT, &2_i32.to_be_bytes(), &bytes(record)),
            invalid,
        ),
        (
            "one record, and no bytes for it",
            lying(0, &[], &[]),
            invalid,
        ),
        (
            "one header more than there is",
            lying(0, &[], &bytes("0c 00 00 00 01 01 02")),
            invalid,
        ),
        (
            "a base timestamp a millisecond too far ahead",
            lying(timestamps, &too_late.to_be_bytes(), &bytes(record)),
            ErrorCode::InvalidTimestamp,
        ),
        (
            "a base offset one beyond the first",
            lying(0, &1_i64.to_be_bytes(), &bytes(record)),
            invalid,
        ),
        (
            "a snappy block that says it holds a byte more than it can",
            lying(ATTRIBUTES_AT, &[0, 2], &bytes("2d 00")),
            ErrorCode::UnknownServerError,
        ),
        (
            "a varint of a byte too many",
            lying(0, &[], &bytes("80 80 80 80 80 00")),
            invalid,
        ),
    ];
    for (what, lie, code) in lies {
        assert_eq!(error_of(&mut client, lie).await, code, "{what}");
    }
    for magic in [0, 1] {
        let mut old = batch(1);
        old[16] = magic;
        let code = error_of(&mut client, old).await;
        assert_eq!(code, ErrorCode::InvalidRecord, "magic {magic}");
    }
    let partition = world.broker.node().partition("t", 0).expect("partition");
    assert_eq!(partition.offsets().high_watermark, 1, "the honest one");
}

/// Attacks, row 18: bombs are inflated up to a bound, in the default mode only while a connection has yet to prove that its
/// headers are true. How much all records of a batch may inflate to is shown in `crates/core`, where that limit can be
/// lowered.
#[tokio::test]
async fn a_decompression_bomb_does_not_go_off() {
    let _alone = ALONE.lock().await;
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let zeros = |bytes| {
            let record = NewRecord {
                timestamp: START_MS,
                value: Some(&vec![0; bytes]),
                ..NewRecord::default()
            };
            let builder = BatchBuilder::new().compression(codec, None);
            builder.record(&record).build().expect("a batch")
        };
        let (honest, bomb) = (zeros(100), zeros(4 << 20));
        for strict in [false, true] {
            let world = World::with(|options| {
                options
                    .strict(strict)
                    .config("max.decompressed.message.bytes", "65536")
            });
            let mut client = world.connect();
            client.create_topic("t", 1).await;
            let first = error_of(&mut client, bomb.clone()).await;
            assert_eq!(first, ErrorCode::InvalidRecord, "{codec:?}");
            let mut client = world.connect();
            for _ in 0..PROVING_REQUESTS {
                let code = error_of(&mut client, honest.clone()).await;
                assert_eq!(code, ErrorCode::None);
            }
            let before = memory::live();
            let code = error_of(&mut client, bomb.clone()).await;
            let expected = match strict {
                true => ErrorCode::InvalidRecord,
                false => ErrorCode::None,
            };
            assert_eq!(code, expected, "{codec:?}");
            let cost = memory::live().saturating_sub(before);
            assert!(cost < 1 << 20, "{codec:?}: {cost}");
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

/// What is read of a frame at once depends on the one before it; that is nobody's concern.
#[tokio::test]
async fn frames_of_all_sizes_that_come_in_one_piece_are_answered_in_order() {
    let _alone = ALONE.lock().await;
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let sizes = [
        200_000, 10, 10, 2_000, 40_000, 500, 300_000, 33_000, 31_000, 100_000, 300, 400, 10,
    ];
    let mut all = Vec::new();
    for (correlation, size) in (1..).zip(sizes) {
        let request = produce_request("t", 0, batch(size));
        let frame = common::frame(ProduceRequest::KEY, 11, correlation, "test", &request);
        all.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        all.extend_from_slice(&frame);
    }
    client.send_raw(&all).await;
    for offset in 0..sizes.len() as i64 {
        let answer = client.answer(ProduceRequest::KEY, 11).await;
        let produced: ProduceResponse<'_> = answer.body();
        let produced = &produced.responses[0].partition_responses[0];
        assert_eq!((produced.error_code, produced.base_offset), (0, offset));
    }
    for offset in 0..sizes.len() as i64 {
        let found = client.first_batch("t", 0, offset).await;
        assert_eq!(found, (0, Some(offset)));
    }
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
