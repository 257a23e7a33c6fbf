//! Topics that are compacted, stored in another codec or stamped by the broker, from a client's point of view.

mod common;

use common::producer::{NEWER, Producer, produced};
use common::{Client, START_MS, World, fetch_request, produce_request};
use rustka_core::batch::{
    BatchBuilder, BatchHeader, NewRecord, Records, crc_matches, record_bytes,
};
use rustka_core::compression::Codec;
use rustka_wire::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rustka_wire::create_topics_response::CreateTopicsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::collections::BTreeMap;

async fn create(client: &mut Client, name: &str, configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).to_owned().into(),
        value: Some((*value).to_owned().into()),
    });
    let topic = CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer = client.ask(CreateTopicsRequest::KEY, 7, &request).await;
    let created: CreateTopicsResponse<'_> = answer.body();
    assert_eq!(created.topics[0].error_code, 0, "{created:?}");
}

fn keyed(codec: Codec, records: &[(u32, Option<u32>)]) -> Vec<u8> {
    keyed_at(START_MS, codec, records)
}

fn keyed_at(timestamp: i64, codec: Codec, records: &[(u32, Option<u32>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec, None);
    for (key, number) in records {
        let value = number.map(|number| [&number.to_be_bytes()[..], &[b'v'; 900]].concat());
        builder.push(&NewRecord {
            timestamp,
            key: Some(&key.to_be_bytes()),
            value: value.as_deref(),
            headers: &[],
        });
    }
    builder.build().expect("a batch")
}

async fn put(client: &mut Client, topic: &str, batch: Vec<u8>) -> i64 {
    let answer = client.produce(topic, 0, batch).await;
    let produced: ProduceResponse<'_> = answer.body();
    let partition = &produced.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0, "{:?}", partition.error_message);
    partition.base_offset
}

/// Everything from `offset` on: offset, key and number of each record, and the headers of the batches.
async fn read(
    client: &mut Client,
    topic: &str,
    offset: i64,
) -> (Vec<(i64, u32, Option<u32>)>, Vec<BatchHeader>) {
    let request = fetch_request(topic, 0, offset, 0);
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let fetched: FetchResponse<'_> = answer.body();
    let partition = &fetched.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    let mut bytes = partition
        .records
        .as_ref()
        .map_or(&[][..], |records| records.as_bytes());
    let (mut records, mut headers) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let header = BatchHeader::parse(bytes).expect("a batch");
        let (batch, rest) = bytes.split_at(header.total_bytes());
        assert!(crc_matches(batch));
        let inflated = record_bytes(batch, &header, 64 << 20).expect("records");
        for record in Records::new(&inflated, header.record_count) {
            let record = record.expect("a record");
            let number = |bytes: &[u8]| u32::from_be_bytes(*bytes.first_chunk().expect("a number"));
            let key = number(record.key.expect("a key"));
            let offset = header.offset_of(&record).expect("an offset");
            records.push((offset, key, record.value.map(number)));
        }
        headers.push(header);
        bytes = rest;
    }
    (records, headers)
}

#[tokio::test]
async fn a_compacted_topic_forgets_old_values_while_it_is_written_and_tombstones_in_time() {
    let world = World::start();
    let mut client = world.connect();
    let configs = [
        ("cleanup.policy", "compact"),
        ("delete.retention.ms", "60000"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    create(&mut client, "t", &configs).await;
    let mut newest = BTreeMap::new();
    for n in 0..400u32 {
        let codec = Codec::ALL[n as usize % 5];
        let records = [(n % 10, Some(n)), (10, Some(n))];
        let base = put(&mut client, "t", keyed(codec, &records)).await;
        newest.insert(n % 10, (base, Some(n)));
        newest.insert(10, (base + 1, Some(n)));
    }
    let base = put(&mut client, "t", keyed(Codec::None, &[(3, None)])).await;
    newest.insert(3, (base, None));
    // The active part is never touched: it is closed by the next append that is late enough.
    world.advance_ms(2_000).await;
    let late = keyed_at(START_MS + 2_000, Codec::None, &[(11, Some(1))]);
    let base = put(&mut client, "t", late).await;
    newest.insert(11, (base, Some(1)));
    world.advance_ms(20_000).await;
    world.compacted().await;
    let (records, _) = read(&mut client, "t", 0).await;
    let seen = records.iter().map(|(offset, key, n)| (*key, (*offset, *n)));
    assert_eq!(records.len(), newest.len(), "one record of each key");
    assert_eq!(seen.collect::<BTreeMap<_, _>>(), newest);
    assert!(records.is_sorted());
    // The tombstone is there for a minute after it was first compacted.
    world.advance_ms(60_000).await;
    let late = keyed_at(START_MS + 82_000, Codec::None, &[(12, Some(1))]);
    put(&mut client, "t", late).await;
    world.advance_ms(20_000).await;
    world.compacted().await;
    let (records, _) = read(&mut client, "t", 0).await;
    assert_eq!(records.len(), newest.len(), "one more, one less");
    assert!(records.iter().all(|(_, key, _)| *key != 3));
}

/// A marker that closed a part of the log said to nobody that it was due, and from then on nobody asked: what Kafka Streams
/// keeps of its state grew for ever.
#[tokio::test]
async fn a_compacted_topic_that_is_written_in_transactions_forgets_old_values() {
    let world = World::start();
    let mut client = world.connect();
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "10"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    create(&mut client, "t", &configs).await;
    let mut me = Producer::init(&mut client, "x", 60_000).await;
    for n in 0..20 {
        let batch = keyed_within(&me, world.clock.now().wall_ms, (n % 2, n));
        me.send_batch(&mut client, NEWER, ("t", 0), batch).await;
        assert_eq!(produced(&mut client, NEWER).await.0, 0);
        world.advance_ms(50).await;
        // One of four is not to be read.
        let (code, next) = me.end(&mut client, NEWER, n % 4 != 3).await;
        assert_eq!(code, 0);
        me = next;
        world.advance_ms(50).await;
    }
    world.advance_ms(60_000).await;
    world.compacted().await;
    let (records, headers) = read(&mut client, "t", 0).await;
    let values = records.into_iter().zip(&headers);
    let values = values.filter(|(_, header)| !header.is_control());
    let values: Vec<_> = values.map(|((_, key, n), _)| (key, n)).collect();
    assert_eq!(
        values,
        [(1, Some(17)), (0, Some(18))],
        "what was committed last"
    );
}

/// One record of a producer's transaction.
fn keyed_within(me: &Producer, timestamp: i64, (key, number): (u32, u32)) -> Vec<u8> {
    let record = NewRecord {
        timestamp,
        key: Some(&key.to_be_bytes()),
        value: Some(&number.to_be_bytes()),
        headers: &[],
    };
    let batch = BatchBuilder::new().producer(me.producer_id, me.epoch, 0);
    let batch = batch.transactional().record(&record).build();
    batch.expect("a batch")
}

#[tokio::test]
async fn batches_are_stored_in_the_topics_codec_and_in_the_order_they_came() {
    let world = World::start();
    let mut client = world.connect();
    create(
        &mut client,
        "t",
        &[
            ("compression.type", "gzip"),
            ("compression.gzip.level", "9"),
            ("max.message.bytes", "3000000"),
        ],
    )
    .await;
    // The first takes long, the second could overtake it.
    let large: Vec<_> = (0..2_000).map(|n| (1, Some(n))).collect();
    for batch in [
        keyed(Codec::None, &large),
        keyed(Codec::Zstd, &[(2, Some(1))]),
    ] {
        let request = produce_request("t", 0, batch);
        client.send(ProduceRequest::KEY, 11, &request).await;
    }
    for expected in [0, 2_000] {
        let answer = client.answer(ProduceRequest::KEY, 11).await;
        let produced: ProduceResponse<'_> = answer.body();
        let partition = &produced.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, expected));
    }
    let (records, headers) = read(&mut client, "t", 0).await;
    assert_eq!(records.len(), 2_001);
    assert_eq!(records[2_000], (2_000, 2, Some(1)));
    assert!(
        headers
            .iter()
            .all(|header| header.compression() == Ok(Codec::Gzip))
    );
    assert_eq!(
        world
            .broker
            .node()
            .topics
            .partition("t", 0)
            .map(|p| p.bytes() < 100_000),
        Some(true)
    );
}

#[tokio::test]
async fn a_higher_level_of_lz4_stores_less_and_is_read_the_same() {
    let world = World::start();
    let mut client = world.connect();
    let records: Vec<_> = (0..2_000).map(|n| (n * n % 977, Some(n % 31))).collect();
    let mut sizes = Vec::new();
    for (topic, level) in [("fast", "9"), ("lowest", "1"), ("high", "17")] {
        let configs = [
            ("compression.type", "lz4"),
            ("compression.lz4.level", level),
            ("max.message.bytes", "3000000"),
        ];
        create(&mut client, topic, &configs).await;
        put(&mut client, topic, keyed(Codec::None, &records)).await;
        let (read, headers) = read(&mut client, topic, 0).await;
        let keys_and_numbers = read.into_iter().map(|(_, key, number)| (key, number));
        assert!(keys_and_numbers.eq(records.iter().copied()));
        assert_eq!(headers[0].compression(), Ok(Codec::Lz4));
        sizes.push(headers[0].total_bytes());
    }
    assert!(sizes[2] < sizes[0] && sizes[2] < sizes[1], "{sizes:?}");
}

#[tokio::test]
async fn compaction_of_a_topic_ends_with_its_deletion() {
    let world = World::start();
    let mut client = world.connect();
    create(&mut client, "t", &[("cleanup.policy", "compact")]).await;
    for n in 0..300u32 {
        put(&mut client, "t", keyed(Codec::None, &[(n % 3, Some(n))])).await;
    }
    world
        .broker
        .node()
        .topics
        .partition("t", 0)
        .expect("a partition")
        .delete();
    world.compacted().await;
}
