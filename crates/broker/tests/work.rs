//! Work that takes long runs beside the connections and changes no order.

mod common;

use common::{START_MS, World, batch, produce_request};
use rustka::base::work::Work;
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::compression::Codec;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::sync::mpsc;

/// A compressed batch that is too large to be inflated on a connection's thread.
fn large() -> Vec<u8> {
    let mut state = 1u32;
    let value: Vec<u8> = (0..200_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect();
    let record = NewRecord {
        timestamp: START_MS,
        value: Some(&value),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().compression(Codec::Zstd, None);
    batch.record(&record).build().expect("a batch")
}

#[tokio::test]
async fn a_batch_that_takes_long_to_validate_keeps_its_place_before_the_next_one() {
    let world = World::with(|options| options.strict(true));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    for bytes in [large(), batch(10), large(), batch(10)] {
        let request = produce_request("t", 0, bytes);
        client.send(ProduceRequest::KEY, 11, &request).await;
    }
    for expected in 0..4 {
        let answer = client.answer(ProduceRequest::KEY, 11).await;
        let body: ProduceResponse<'_> = answer.body();
        let partition = &body.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, expected));
    }
}

#[tokio::test]
async fn the_pool_does_no_more_at_a_time_than_it_has_places() {
    let work = Work::new(1);
    let (started, starts) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let first = tokio::spawn({
        let (work, started) = (work.clone(), started.clone());
        async move {
            work.run(move || {
                started.send(1).expect("the test listens");
                gate.recv().expect("the test opens the gate");
                started.send(2).expect("the test listens");
            })
            .await
        }
    });
    let second = tokio::spawn({
        let work = work.clone();
        async move { work.run(move || started.send(3)).await }
    });
    while starts.try_recv() != Ok(1) {
        tokio::task::yield_now().await;
    }
    go.send(()).expect("the work waits");
    assert!(first.await.expect("no panic").is_some());
    assert!(second.await.expect("no panic").is_some());
    assert_eq!(starts.try_iter().collect::<Vec<_>>(), [2, 3]);
    // A panic is its own alone.
    let failed: Option<()> = work.run(|| panic!("on purpose")).await;
    assert!(failed.is_none());
    assert_eq!(work.run(|| 7).await, Some(7));
}
