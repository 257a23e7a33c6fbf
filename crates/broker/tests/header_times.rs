//! What the headers of compressed batches say of their times, and what becomes of it when it is not true.

mod common;

use common::{Client, START_MS, World, fetch_request};
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord, crc_matches, set_max_timestamp};
use rustka_core::compression::Codec;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rustka_wire::list_offsets_response::ListOffsetsResponse;
use rustka_wire::produce_response::ProduceResponse;

const T0: i64 = START_MS - 60_000;
/// Times of the records of a batch, after [`T0`].
const TIMES: [i64; 3] = [0, 9, 4];
/// What the header should say, after [`T0`].
const TRUTH: i64 = 9;

/// A batch whose header says that this were its largest timestamp.
fn saying(max_timestamp: i64, codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec, None);
    for after in TIMES {
        builder.push(&NewRecord {
            timestamp: T0 + after,
            key: Some(b"k"),
            value: Some(&[b'v'; 40]),
            headers: &[],
        });
    }
    let mut batch = builder.build().expect("a batch");
    set_max_timestamp(&mut batch, false, max_timestamp);
    batch
}

async fn put(client: &mut Client, topic: &str, batch: Vec<u8>) -> i16 {
    let answer = client.produce(topic, 0, batch).await;
    let produced: ProduceResponse<'_> = answer.body();
    produced.responses[0].partition_responses[0].error_code
}

/// The offset found for a time, and the time of the record there after [`T0`].
async fn search(client: &mut Client, topic: &str, timestamp: i64) -> (i64, i64) {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned().into(),
            partitions: vec![ListOffsetsPartition {
                timestamp,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let answer = client.ask(ListOffsetsRequest::KEY, 7, &request).await;
    let listed: ListOffsetsResponse<'_> = answer.body();
    let found = &listed.topics[0].partitions[0];
    assert_eq!(found.error_code, 0);
    (found.offset, found.timestamp - T0)
}

/// What consumers are told to be the largest timestamp of each batch, after [`T0`].
async fn told(client: &mut Client, topic: &str) -> Vec<i64> {
    let request = fetch_request(topic, 0, 0, 0);
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let fetched: FetchResponse<'_> = answer.body();
    let records = fetched.responses[0].partitions[0].records.as_ref();
    let mut bytes = records.map_or(&[][..], |records| records.as_bytes());
    let mut told = Vec::new();
    while !bytes.is_empty() {
        let header = BatchHeader::parse(bytes).expect("a batch");
        let (batch, rest) = bytes.split_at(header.total_bytes());
        assert!(crc_matches(batch));
        told.push(header.max_timestamp - T0);
        bytes = rest;
    }
    told
}

/// Sarama before 1.46 leaves the largest timestamp out of compressed batches: its users found nothing by time.
#[tokio::test]
async fn a_header_that_does_not_tell_the_largest_timestamp_is_put_right() {
    for strict in [false, true] {
        let world = World::with(|options| options.strict(strict));
        for codec in Codec::ALL {
            for untrue in [-1, T0 - 5, T0 + 3, T0 + 10] {
                let mut client = world.connect();
                let topic = format!("{}-{}", codec.name(), untrue.abs());
                client.create_topic(&topic, 1).await;
                assert_eq!(put(&mut client, &topic, saying(untrue, codec)).await, 0);
                assert_eq!(search(&mut client, &topic, T0).await, (0, 0), "{topic}");
                assert_eq!(search(&mut client, &topic, T0 + 5).await, (1, TRUTH));
                assert_eq!(search(&mut client, &topic, T0 + 10).await.0, -1);
                assert_eq!(search(&mut client, &topic, -3).await, (1, TRUTH));
                assert_eq!(told(&mut client, &topic).await, [TRUTH]);
            }
        }
    }
}

/// A client that has told the truth often is believed; what cannot be true is seen all the same, and after that
/// nothing is believed. Strictly, every batch is looked into.
#[tokio::test]
async fn a_connection_is_believed_after_its_first_batches_until_it_is_caught() {
    for (strict, believed) in [(false, 3), (true, TRUTH)] {
        let world = World::with(|options| options.strict(strict));
        let mut client = world.connect();
        client.create_topic("t", 1).await;
        let mut expected = Vec::new();
        let steps = [(9, 9), (3, believed), (-5, 9), (3, 9)];
        for (said, kept) in steps {
            let times = if expected.is_empty() { 20 } else { 1 };
            for _ in 0..times {
                let batch = saying(T0 + said, Codec::Lz4);
                assert_eq!(put(&mut client, "t", batch).await, 0);
                expected.push(kept);
            }
        }
        assert_eq!(told(&mut client, "t").await, expected, "strict: {strict}");
        // What one connection said is nothing to the others.
        let mut other = world.connect();
        assert_eq!(put(&mut other, "t", saying(T0 + 3, Codec::Lz4)).await, 0);
        expected.push(TRUTH);
        assert_eq!(told(&mut client, "t").await, expected);
    }
}

/// Nothing a Java consumer cannot read is stored for a connection whose word was not found good.
#[tokio::test]
async fn batches_that_cannot_be_read_are_refused_while_a_connection_proves_itself() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let corrupt = || {
        let mut batch = saying(T0 + TRUTH, Codec::Zstd);
        batch[61..].fill(0xde);
        set_max_timestamp(&mut batch, false, T0 + TRUTH + 1);
        batch
    };
    assert_ne!(put(&mut client, "t", corrupt()).await, 0);
    for _ in 0..100 {
        assert_eq!(
            put(&mut client, "t", saying(T0 + TRUTH, Codec::Zstd)).await,
            0
        );
    }
    assert_ne!(
        put(&mut client, "t", corrupt()).await,
        0,
        "it was caught before"
    );
}

/// Old records of such a client were kept for as long as new ones.
#[tokio::test]
async fn retention_goes_by_the_true_times() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let record = NewRecord {
        timestamp: START_MS - 8 * 86_400_000,
        value: Some(b"old"),
        ..NewRecord::default()
    };
    let builder = BatchBuilder::new().compression(Codec::Snappy, None);
    let mut batch = builder.record(&record).build().expect("a batch");
    set_max_timestamp(&mut batch, false, -1);
    assert_eq!(put(&mut client, "t", batch).await, 0);
    world.advance_ms(30_000).await;
    let partition = world.broker.node().partition("t", 0).expect("a partition");
    assert_eq!(partition.offsets().log_start, 1);
}
