//! A partition that a panic took offline comes back by itself, with everything that was in it.

mod common;

use common::{Client, START_MS, World, fetch_request, produce_request};
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::panic::{AssertUnwindSafe, catch_unwind};

const KAFKA_STORAGE_ERROR: i16 = 56;
/// Partitions are looked after at least this often.
const ROUND_MS: u64 = 10_000;

/// The batch of an idempotent producer.
fn batch(sequence: i32) -> Vec<u8> {
    let record = NewRecord {
        timestamp: START_MS,
        value: Some(b"v"),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().producer(7, 0, sequence);
    batch.record(&record).build().expect("a batch")
}

/// Error and offset of a batch with this sequence.
async fn produce(client: &mut Client, sequence: i32) -> (i16, i64) {
    let request = produce_request("t", 0, batch(sequence));
    let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
    let body: ProduceResponse<'_> = answer.body();
    let partition = &body.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

#[tokio::test]
async fn a_partition_comes_back_after_a_panic_with_its_records_and_producers() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    for sequence in 0..2 {
        assert_eq!(produce(&mut client, sequence).await, (0, sequence.into()));
    }
    let partition = world.broker.node().partition("t", 0).expect("there");
    let panics = || partition.with_state(|_| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(produce(&mut client, 2).await.0, KAFKA_STORAGE_ERROR);

    world.pass_ms(ROUND_MS).await;
    assert!(!partition.wants_rebuild(), "it is back");
    assert_eq!(produce(&mut client, 1).await, (0, 1), "it is known already");
    assert_eq!(produce(&mut client, 2).await, (0, 2));
    let request = fetch_request("t", 0, 0, 0);
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    let fetched = &body.responses[0].partitions[0];
    assert_eq!((fetched.error_code, fetched.high_watermark), (0, 3));
}
