//! When a fetch that waits for several partitions is answered: with the byte that makes enough of all of them, and not
//! before.

mod common;

use common::{Client, World, batch, fetch_request};
use rustka_storage::testing::Random;
use rustka_wire::fetch_request::{FetchPartition, FetchRequest};
use rustka_wire::fetch_response::FetchResponse;

const PARTITIONS: i32 = 8;

fn request(offsets: &[i64], min_bytes: usize) -> FetchRequest<'static> {
    let mut request = fetch_request("t", 0, 0, 500_000);
    request.min_bytes = min_bytes as i32;
    request.topics[0].partitions = offsets
        .iter()
        .enumerate()
        .map(|(partition, offset)| FetchPartition {
            partition: partition as i32,
            fetch_offset: *offset,
            partition_max_bytes: 64 << 20,
            ..Default::default()
        })
        .collect();
    request
}

async fn answered_bytes(reader: &mut Client) -> usize {
    let answer = reader.answer(FetchRequest::KEY, 12).await;
    let body: FetchResponse<'_> = answer.body();
    let partitions = body.responses.iter().flat_map(|topic| &topic.partitions);
    let records = partitions.filter_map(|partition| partition.records.as_ref());
    records.map(|records| records.len()).sum()
}

/// Writes batches into partitions that `choose` picks and checks, after each, whether a fetch that waits is answered.
async fn check(seed: u64, choose: impl Fn(&mut Random) -> i32) {
    let world = World::start();
    let (mut writer, mut reader) = (world.connect(), world.connect());
    writer.create_topic("t", PARTITIONS).await;
    let mut random = Random(seed);
    let mut offsets = [0; PARTITIONS as usize];
    for _ in 0..6 {
        let min_bytes = 1 + random.below(20_000) as usize;
        let fetch = request(&offsets, min_bytes);
        reader.send(FetchRequest::KEY, 12, &fetch).await;
        world.settle().await;
        let mut written = 0;
        while written < min_bytes {
            assert!(
                !reader.has_answer(),
                "{written} of {min_bytes}, seed {seed}"
            );
            let bytes = batch(1 + random.below(2_000) as usize);
            let partition = choose(&mut random);
            written += bytes.len();
            offsets[partition as usize] += 1;
            writer.produce("t", partition, bytes).await;
            world.settle().await;
        }
        assert!(reader.has_answer(), "{written} of {min_bytes}, seed {seed}");
        assert_eq!(answered_bytes(&mut reader).await, written, "seed {seed}");
    }
}

#[tokio::test]
async fn a_fetch_is_answered_with_the_byte_that_makes_enough_wherever_it_falls() {
    for seed in 1..30 {
        check(seed, |random| random.below(PARTITIONS as u64) as i32).await;
    }
}

#[tokio::test]
async fn a_fetch_is_answered_with_the_byte_that_makes_enough_where_few_partitions_grow() {
    for seed in 1..30 {
        let hot = (seed % PARTITIONS as u64) as i32;
        check(seed, |random| match random.below(20) {
            0 => random.below(PARTITIONS as u64) as i32,
            _ => hot,
        })
        .await;
    }
}
