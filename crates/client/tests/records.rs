//! Writing and reading records, on a broker in this process.

mod common;

use common::{START_MS, World};
use rustka_client::{
    Address, Client, ConsumeOptions, Consumer, Isolation, NewRecord, ProduceOptions, Producer,
    Start,
};
use rustka_core::compression::Codec;
use rustka_core::error::ErrorCode;
use std::collections::BTreeMap;

fn records(values: &[&str]) -> Vec<NewRecord> {
    let records = values.iter().map(|value| NewRecord::value(*value));
    records.collect()
}

async fn produce(client: &Client, topic: &str, values: &[&str]) -> Vec<(i32, i64)> {
    let mut producer = Producer::new(client, ProduceOptions::default());
    let written = producer.send(topic, &records(values)).await.unwrap();
    written.iter().map(|w| (w.partition, w.offset)).collect()
}

/// Everything that is there from the consumer's position on.
async fn read_all(consumer: &mut Consumer) -> Vec<String> {
    let mut values = Vec::new();
    while let Some(fetched) = consumer.poll().await.unwrap() {
        for record in fetched.records {
            values.push(String::from_utf8(record.value.unwrap()).unwrap());
        }
    }
    values
}

#[tokio::test]
async fn what_is_written_in_any_codec_is_read_as_it_was() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            let sent = NewRecord {
                timestamp: Some(START_MS - 5),
                headers: vec![("h".into(), Some(b"1".to_vec())), ("h".into(), None)],
                ..NewRecord::value("v").key("k")
            };
            for codec in Codec::ALL {
                let options = ProduceOptions {
                    codec: (codec, None),
                    ..ProduceOptions::default()
                };
                let mut producer = Producer::new(&client, options);
                producer
                    .send("t", std::slice::from_ref(&sent))
                    .await
                    .unwrap();
            }
            let mut consumer = Consumer::new(&client, ConsumeOptions::default());
            consumer.assign_all("t", Start::Earliest).await.unwrap();
            let fetched = consumer.poll().await.unwrap().unwrap();
            assert_eq!((&*fetched.topic, fetched.partition), ("t", 0));
            assert_eq!((fetched.records.len(), fetched.high_watermark), (5, 5));
            for (offset, record) in (0..).zip(fetched.records) {
                assert_eq!((record.offset, record.timestamp), (offset, START_MS - 5));
                assert_eq!(
                    (record.key, record.value),
                    (sent.key.clone(), sent.value.clone())
                );
                assert_eq!(record.headers, sent.headers);
            }
        })
        .await;
}

#[tokio::test]
async fn a_record_without_a_time_is_dated_now_and_the_topic_may_date_it_itself() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            produce(&client, "t", &["ours"]).await;
            let changes = [("message.timestamp.type", Some("LogAppendTime"))];
            let kind = rustka_client::Resource::Topic;
            client.alter_configs(kind, "t", &changes).await.unwrap();
            let mut producer = Producer::new(&client, ProduceOptions::default());
            let old = NewRecord {
                timestamp: Some(7),
                ..NewRecord::value("theirs")
            };
            let written = producer.send("t", &[old]).await.unwrap();
            assert!(written[0].append_time_ms.unwrap() >= START_MS);
            let mut consumer = Consumer::new(&client, ConsumeOptions::default());
            consumer.assign_all("t", Start::Earliest).await.unwrap();
            let fetched = consumer.poll().await.unwrap().unwrap();
            let kinds: Vec<bool> = fetched.records.iter().map(|r| r.is_append_time).collect();
            assert_eq!(kinds, [false, true]);
            assert!(fetched.records.iter().all(|r| r.timestamp >= START_MS));
        })
        .await;
}

#[tokio::test]
async fn keys_choose_their_partition_and_others_go_by_turns() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 7, 1).await.unwrap();
            let mut producer = Producer::new(&client, ProduceOptions::default());
            let keyed = [
                NewRecord::value("a").key("foobar"),
                NewRecord::value("b").key("21"),
                NewRecord::value("c").key("foobar"),
                NewRecord {
                    partition: Some(5),
                    ..NewRecord::value("d").key("foobar")
                },
            ];
            let written = producer.send("t", &keyed).await.unwrap();
            let of = |key: &str| rustka_client::partitioner::partition_of(key.as_bytes(), 7);
            let partitions: Vec<i32> = written.iter().map(|w| w.partition).collect();
            assert_eq!(partitions, [of("foobar"), of("21"), of("foobar"), 5]);
            assert_eq!((written[0].offset, written[2].offset), (0, 1));
            let mut turns = Vec::new();
            for _ in 0..7 {
                let written = producer.send("t", &records(&["x", "y"])).await.unwrap();
                assert_eq!(written[0].partition, written[1].partition);
                turns.push(written[0].partition);
            }
            turns.sort_unstable();
            assert_eq!(turns, [0, 1, 2, 3, 4, 5, 6]);
        })
        .await;
}

#[tokio::test]
async fn many_records_go_in_batches_of_a_size_and_in_order() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 2, 1).await.unwrap();
            let options = ProduceOptions {
                batch_bytes_max: 1_000,
                ..ProduceOptions::default()
            };
            let mut producer = Producer::new(&client, options);
            let values: Vec<String> = (0..100).map(|i| format!("{i:0100}")).collect();
            let sent: Vec<NewRecord> = values
                .iter()
                .map(|value| NewRecord {
                    partition: Some(1),
                    ..NewRecord::value(value.as_str())
                })
                .collect();
            let written = producer.send("t", &sent).await.unwrap();
            let offsets: Vec<i64> = written.iter().map(|w| w.offset).collect();
            assert_eq!(offsets, (0..100).collect::<Vec<i64>>());
            let mut consumer = Consumer::new(&client, ConsumeOptions::default());
            consumer.assign_all("t", Start::Earliest).await.unwrap();
            assert_eq!(read_all(&mut consumer).await, values);
        })
        .await;
}

#[tokio::test]
async fn a_producer_without_answers_has_written_all_the_same() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            let options = ProduceOptions {
                acks: 0,
                is_idempotent: false,
                ..ProduceOptions::default()
            };
            let mut producer = Producer::new(&client, options);
            let written = producer.send("t", &records(&["a"])).await.unwrap();
            assert_eq!((written[0].partition, written[0].offset), (0, -1));
            // The connection answers in order, so what was sent before this is done.
            assert_eq!(produce(&client, "t", &["b"]).await, [(0, 1)]);
        })
        .await;
}

#[tokio::test]
async fn reading_begins_where_it_is_told_to_and_follows_the_end() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            produce(&client, "t", &["a", "b"]).await;
            world.clock.advance(std::time::Duration::from_secs(10));
            let later_ms = world.clock.now().wall_ms;
            produce(&client, "t", &["c"]).await;
            let read = async |start| {
                let mut consumer = Consumer::new(&client, ConsumeOptions::default());
                consumer.assign_all("t", start).await.unwrap();
                read_all(&mut consumer).await
            };
            assert_eq!(read(Start::Earliest).await, ["a", "b", "c"]);
            assert_eq!(read(Start::Offset(1)).await, ["b", "c"]);
            assert_eq!(read(Start::Time(later_ms)).await, ["c"]);
            assert!(read(Start::Time(later_ms + 60_000)).await.is_empty());
            assert!(read(Start::Latest).await.is_empty());

            let mut consumer = Consumer::new(&client, ConsumeOptions::default());
            consumer.assign_all("t", Start::Latest).await.unwrap();
            let (fetched, ()) = tokio::join!(consumer.poll(), async {
                produce(&client, "t", &["d"]).await;
            });
            assert_eq!(fetched.unwrap().unwrap().records[0].offset, 3);
            let positions: Vec<i64> = consumer.positions().into_values().collect();
            assert_eq!(positions, [4]);
        })
        .await;
}

#[tokio::test]
async fn an_offset_that_is_not_there_is_an_error_or_the_start_of_what_is() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            produce(&client, "t", &["a", "b", "c"]).await;
            let begins = client.delete_records("t", &BTreeMap::from([(0, 2)])).await;
            assert_eq!(begins.unwrap()[&0].as_ref().unwrap(), &2);
            let mut strict = Consumer::new(&client, ConsumeOptions::default());
            strict.assign_all("t", Start::Offset(0)).await.unwrap();
            let error = strict.poll().await.unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
            assert_eq!(error.to_string(), "partition t-0: OFFSET_OUT_OF_RANGE");
            let options = ConsumeOptions {
                reset: Some(Start::Earliest),
                ..ConsumeOptions::default()
            };
            let mut lenient = Consumer::new(&client, options);
            lenient.assign_all("t", Start::Offset(0)).await.unwrap();
            // The first fetch is the one that finds out.
            assert!(lenient.poll().await.unwrap().is_none());
            assert_eq!(read_all(&mut lenient).await, ["c"]);
        })
        .await;
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_created_by_writing_and_not_by_reading() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            let mut consumer = Consumer::new(&client, ConsumeOptions::default());
            let error = consumer.assign_all("t", Start::Earliest).await.unwrap_err();
            assert_eq!(error.to_string(), "topic t: UNKNOWN_TOPIC_OR_PARTITION");
            assert_eq!(produce(&client, "t", &["a"]).await, [(0, 0)]);
            consumer.assign_all("t", Start::Earliest).await.unwrap();
            assert_eq!(read_all(&mut consumer).await, ["a"]);
        })
        .await;
}

#[tokio::test]
async fn who_writes_and_reads_waits_for_a_leader_that_moves() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            produce(&client, "t", &["a"]).await;
            let options = ConsumeOptions {
                isolation: Isolation::ReadCommitted,
                ..ConsumeOptions::default()
            };
            let mut consumer = Consumer::new(&client, options);
            consumer.assign_all("t", Start::Earliest).await.unwrap();
            let partition = world.broker.node().partition("t", 0).expect("there");
            partition.set_leader(Some(2), 1);
            let back = async {
                for _ in 0..500 {
                    tokio::task::yield_now().await;
                }
                partition.set_leader(None, 2);
            };
            let reading = async {
                loop {
                    if let Some(fetched) = consumer.poll().await.unwrap() {
                        return fetched;
                    }
                }
            };
            let (written, fetched, ()) = tokio::join!(produce(&client, "t", &["b"]), reading, back);
            assert_eq!(written, [(0, 1)]);
            assert_eq!(fetched.records[0].offset, 0);
        })
        .await;
}

#[tokio::test]
async fn brokers_are_reached_where_they_say_they_are() {
    let world = World::with(|options| {
        options.config("advertised.listeners", "PLAINTEXT://advertised:7001")
    });
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            produce(&client, "t", &["a"]).await;
        })
        .await;
    let dialled = world.dialled.lock().unwrap().clone();
    assert_eq!(
        dialled,
        [Address::new("first", 1), Address::new("advertised", 7001)]
    );
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_opened_again() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            produce(&client, "t", &["a"]).await;
        })
        .await;
    // Longer than connections.max.idle.ms.
    world.clock.advance(std::time::Duration::from_secs(3_600));
    world
        .run(async {
            assert_eq!(produce(&client, "t", &["b"]).await, [(0, 1)]);
            let mut consumer = Consumer::new(&client, ConsumeOptions::default());
            consumer.assign_all("t", Start::Earliest).await.unwrap();
            assert_eq!(read_all(&mut consumer).await, ["a", "b"]);
        })
        .await;
}
