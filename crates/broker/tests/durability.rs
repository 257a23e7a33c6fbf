//! A broker whose storage takes its time or fails: what clients are told, when, and in which order.

mod common;

use common::{Client, World, batch, fetch_request, produce_request};
use rustka::fault::{Fault, Point};
use rustka::net::connection::IN_FLIGHT_WRITES_MAX;
use rustka_storage::Partition;
use rustka_storage::testing::{PLENTY, Step, TestEngine};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PRODUCE: i16 = 11;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const REQUEST_TIMED_OUT: i16 = 7;
const KAFKA_STORAGE_ERROR: i16 = 56;

/// A broker on an engine that holds writes back, with one topic of two partitions.
async fn world() -> (World, Arc<TestEngine>, Client) {
    let engine = TestEngine::new(PLENTY);
    let world = World::with(|options| options.engine(engine.clone()));
    let mut client = world.connect();
    client.create_topic("t", 2).await;
    engine.hold();
    (world, engine, client)
}

fn partition(world: &World, index: i32) -> Arc<Partition> {
    let partition = world.broker.node().partition("t", index);
    partition.expect("a partition")
}

async fn send(client: &mut Client, partition: i32, acks: i16) {
    let request = ProduceRequest {
        acks,
        ..produce_request("t", partition, batch(10))
    };
    client.send(ProduceRequest::KEY, PRODUCE, &request).await;
}

/// Error and base offset of the next Produce answer.
async fn produced(client: &mut Client) -> (i16, i64) {
    let answer = client.answer(ProduceRequest::KEY, PRODUCE).await;
    let body: ProduceResponse<'_> = answer.body();
    let partition = &body.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

async fn fetched(client: &mut Client, version: i16, partition: i32) -> i16 {
    let request = fetch_request("t", partition, 0, 0);
    let answer = client.ask(FetchRequest::KEY, version, &request).await;
    let body: FetchResponse<'_> = answer.body();
    body.responses[0].partitions[0].error_code
}

#[tokio::test]
async fn acks_1_is_answered_once_the_write_is_written_and_acks_all_once_it_is_durable() {
    let (world, engine, mut client) = world().await;
    send(&mut client, 0, 1).await;
    world.settle().await;
    assert!(!client.has_answer());
    engine.write_all();
    assert_eq!(produced(&mut client).await, (0, 0));
    send(&mut client, 0, -1).await;
    world.settle().await;
    engine.write_all();
    world.settle().await;
    assert_eq!(engine.waiting(), 2);
    assert!(!client.has_answer());
    engine.settle_all(1);
    assert_eq!(produced(&mut client).await, (0, 1));
    engine.hold_durability();
    send(&mut client, 0, 1).await;
    assert_eq!(produced(&mut client).await, (0, 2), "written at once");
}

// E71
#[tokio::test]
async fn a_record_is_seen_once_it_is_durable_although_nobody_waits_for_that() {
    let (world, engine, mut client) = world().await;
    engine.hold_durability();
    send(&mut client, 0, 1).await;
    assert_eq!(produced(&mut client).await, (0, 0));
    // It exists, and is not there yet.
    for offset in [0, 1] {
        let request = fetch_request("t", 0, offset, 0);
        let answer = client.ask(FetchRequest::KEY, 12, &request).await;
        let body: FetchResponse<'_> = answer.body();
        let partition = &body.responses[0].partitions[0];
        let records = partition.records.as_ref();
        assert_eq!((partition.error_code, partition.high_watermark), (0, 0));
        assert!(records.is_none_or(|records| records.is_empty()));
    }
    let mut reader = world.connect();
    let request = fetch_request("t", 0, 0, 500_000);
    reader.send(FetchRequest::KEY, 12, &request).await;
    world.settle().await;
    assert!(!reader.has_answer());
    assert_eq!(engine.waiting(), 1, "it is on its way to be durable");
    engine.settle_all(1);
    let answer = reader.answer(FetchRequest::KEY, 12).await;
    let body: FetchResponse<'_> = answer.body();
    let partition = &body.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark), (0, 1));
}

#[tokio::test]
async fn writes_of_one_connection_are_under_way_together_and_answered_in_order() {
    let (world, engine, mut client) = world().await;
    for n in 0..4 {
        send(&mut client, n % 2, -1).await;
    }
    // What waits for nothing still waits for its turn.
    let request = ApiVersionsRequest::default();
    client.send(ApiVersionsRequest::KEY, 0, &request).await;
    world.settle().await;
    assert_eq!(engine.waiting(), 4);
    // The other partition's writes are durable first; nothing may be said yet.
    let second = partition(&world, 1);
    assert!(engine.settle(&second) && engine.settle(&second));
    world.settle().await;
    assert!(!client.has_answer());
    engine.settle_all(1);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(produced(&mut client).await);
    }
    assert_eq!(answers, [(0, 0), (0, 0), (0, 1), (0, 1)]);
    let answer = client.answer(ApiVersionsRequest::KEY, 0).await;
    assert_eq!(answer.body::<ApiVersionsResponse<'_>>().error_code, 0);
}

#[tokio::test]
async fn a_connection_has_no_more_writes_under_way_than_its_limit() {
    let (world, engine, mut client) = world().await;
    let count = IN_FLIGHT_WRITES_MAX + 10;
    for _ in 0..count {
        send(&mut client, 0, -1).await;
    }
    world.settle().await;
    assert_eq!(engine.waiting(), IN_FLIGHT_WRITES_MAX);
    // Each answer makes room for the next one.
    assert!(engine.settle(&partition(&world, 0)));
    assert_eq!(produced(&mut client).await, (0, 0));
    world.settle().await;
    assert_eq!(engine.waiting(), IN_FLIGHT_WRITES_MAX);
    for n in 1..count as i64 {
        engine.settle_all(1);
        assert_eq!(produced(&mut client).await, (0, n));
        world.settle().await;
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_while_its_writes_wait_is_forgotten() {
    let (world, engine, mut client) = world().await;
    for _ in 0..IN_FLIGHT_WRITES_MAX {
        send(&mut client, 0, -1).await;
    }
    world.settle().await;
    drop(client);
    world.settle().await;
    assert_eq!(world.connections(), 0);
    engine.settle_all(1);
    assert_eq!(partition(&world, 0).offsets().high_watermark, 64);
}

#[tokio::test]
async fn a_write_that_is_not_durable_in_time_is_answered_so() {
    let (world, engine, mut client) = world().await;
    send(&mut client, 0, -1).await;
    world.advance_ms(9_999).await;
    assert!(!client.has_answer());
    world.advance_ms(1).await;
    assert_eq!(produced(&mut client).await, (REQUEST_TIMED_OUT, 0));
    engine.settle_all(1);
}

// E83
#[tokio::test]
async fn a_partition_whose_write_failed_answers_kafka_storage_error_and_the_others_go_on() {
    let (world, engine, mut client) = world().await;
    engine.fail_next_write(&partition(&world, 0));
    send(&mut client, 0, -1).await;
    send(&mut client, 0, -1).await;
    send(&mut client, 1, -1).await;
    world.settle().await;
    engine.settle_all(1);
    let lost = (KAFKA_STORAGE_ERROR, -1);
    assert_eq!(produced(&mut client).await, lost);
    assert_eq!(produced(&mut client).await, lost, "admitted after it");
    assert_eq!(produced(&mut client).await, (0, 0));
    send(&mut client, 0, 1).await;
    assert_eq!(produced(&mut client).await, lost, "read-only");
    assert_eq!(fetched(&mut client, 12, 0).await, KAFKA_STORAGE_ERROR);
    assert_eq!(fetched(&mut client, 6, 0).await, KAFKA_STORAGE_ERROR);
    for version in [4, 5] {
        let code = fetched(&mut client, version, 0).await;
        assert_eq!(code, NOT_LEADER_OR_FOLLOWER, "version {version}");
    }
    assert_eq!(fetched(&mut client, 5, 1).await, 0);
}

#[tokio::test]
async fn a_waiting_fetch_hears_of_a_failed_write_at_once() {
    let (world, engine, mut client) = world().await;
    engine.fail_next_write(&partition(&world, 0));
    // Too small to end the wait by itself.
    let request = FetchRequest {
        min_bytes: 1 << 20,
        ..fetch_request("t", 0, 0, 500_000)
    };
    let mut patient = world.connect();
    patient.send(FetchRequest::KEY, 12, &request).await;
    world.settle().await;
    engine.hold_durability();
    send(&mut client, 0, 1).await;
    assert_eq!(produced(&mut client).await, (0, 0));
    engine.settle_all(1);
    let answer = patient.answer(FetchRequest::KEY, 12).await;
    let body: FetchResponse<'_> = answer.body();
    let code = body.responses[0].partitions[0].error_code;
    assert_eq!(code, KAFKA_STORAGE_ERROR);
}

#[tokio::test]
async fn a_broker_that_stops_has_its_storage_write_what_is_queued_and_answers() {
    let (world, engine, mut client) = world().await;
    send(&mut client, 0, -1).await;
    world.settle().await;
    world.broker.stop().await;
    assert!(engine.is_closed());
    assert_eq!(produced(&mut client).await, (0, 0));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_broker_that_is_dropped_ends_in_the_same_order() {
    let (world, engine, mut client) = world().await;
    let mut reader = world.connect();
    let request = fetch_request("t", 1, 0, 500_000);
    reader.send(FetchRequest::KEY, 12, &request).await;
    send(&mut client, 0, -1).await;
    world.settle().await;
    drop(world);
    assert_eq!(produced(&mut client).await, (0, 0));
    let answer = reader.answer(FetchRequest::KEY, 12).await;
    assert_eq!(answer.body::<FetchResponse<'_>>().error_code, 0);
    assert!(reader.is_closed().await && client.is_closed().await);
    assert!(engine.is_closed(), "connections close when storage has");
}

/// A client whose fifth request was malformed never heard of the four writes before it, which Kafka would have answered
/// first, and wrote them again on its next connection.
#[tokio::test]
async fn a_connection_that_has_to_close_answers_the_writes_before_first() {
    let (world, engine, mut client) = world().await;
    send(&mut client, 0, -1).await;
    send(&mut client, 1, -1).await;
    client.send_raw(&(-1i32).to_be_bytes()).await;
    world.settle().await;
    assert!(!client.has_answer());
    engine.settle_all(1);
    assert_eq!(produced(&mut client).await, (0, 0));
    assert_eq!(produced(&mut client).await, (0, 0));
    assert!(client.is_closed().await);
}

/// The same for one that has nothing more to say and closes its half.
#[tokio::test]
async fn a_client_that_closes_its_half_is_still_told_what_became_of_its_writes() {
    let (world, engine, _client) = world().await;
    let mut stream = world.broker.connect();
    let request = produce_request("t", 0, batch(10));
    let bytes = common::frame(ProduceRequest::KEY, PRODUCE, 1, "test", &request);
    stream.write_u32(bytes.len() as u32).await.expect("sent");
    stream.write_all(&bytes).await.expect("sent");
    stream.shutdown().await.expect("its half closes");
    world.settle().await;
    assert_eq!(engine.waiting(), 1);
    engine.settle_all(1);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    assert_eq!(answer[4..8], 1i32.to_be_bytes(), "the correlation id");
}

/// Where an answer is left out, the one behind it would be taken for it.
#[tokio::test]
async fn no_answer_leaves_behind_one_that_a_fault_has_kept() {
    let (world, engine, mut client) = world().await;
    let faults = &world.broker.node().faults;
    faults.arm(Fault::at(Point::Reply)).expect("it fits");
    send(&mut client, 0, -1).await;
    send(&mut client, 1, -1).await;
    world.settle().await;
    engine.settle_all(1);
    assert!(client.is_closed().await);
}

/// A write that was sent behind a long fetch had used up its own time when it began, and was told that it had timed out
/// although its storage was in time.
#[tokio::test]
async fn a_request_behind_one_that_waits_has_its_time_from_when_its_turn_comes() {
    let (world, engine, mut client) = world().await;
    let request = fetch_request("t", 0, 0, 20_000);
    client.send(FetchRequest::KEY, 12, &request).await;
    send(&mut client, 0, -1).await;
    world.advance_ms(20_000).await;
    let answer = client.answer(FetchRequest::KEY, 12).await;
    assert_eq!(answer.body::<FetchResponse<'_>>().error_code, 0);
    world.advance_ms(9_999).await;
    assert!(!client.has_answer());
    engine.settle_all(1);
    assert_eq!(produced(&mut client).await, (0, 0));
}

/// The storage was told to finish while clients still wrote: what came after that was answered as durable, or not at
/// all, depending on luck.
#[tokio::test]
async fn a_broker_that_stops_reads_nothing_more_before_its_storage_finishes() {
    let (world, engine, mut client) = world().await;
    let mut others: Vec<Client> = (0..20).map(|_| world.connect()).collect();
    send(&mut client, 0, -1).await;
    world.settle().await;
    let (broker, mut sent) = (world.broker, 0);
    let stopping = tokio::spawn(broker.stop());
    while !engine.is_closed() {
        // Everybody goes on writing until the broker says that it is gone.
        send(&mut others[sent % 20], 1, -1).await;
        sent += 1;
        tokio::task::yield_now().await;
    }
    for other in &mut others {
        send(other, 1, -1).await;
    }
    stopping.await.expect("it stops");
    assert_eq!(engine.late(), 0);
    assert_eq!(produced(&mut client).await, (0, 0));
}

/// Requests that were sent at once behind one that waited cost their connection 33 KB for the rest of its life.
#[tokio::test]
async fn what_is_sent_behind_a_request_that_waits_is_counted_and_leaves_no_memory_behind() {
    let (world, _engine, mut client) = world().await;
    let in_use = || world.broker.node().pool.bytes_in_use();
    let before = in_use();
    let fetch = fetch_request("t", 0, 0, 1_000);
    let count = 200;
    let mut burst = Vec::new();
    for correlation in 0..count {
        let bytes = common::frame(FetchRequest::KEY, 12, correlation, "test", &fetch);
        burst.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        burst.extend_from_slice(&bytes);
    }
    let bytes = burst.len();
    client.send_raw(&burst).await;
    world.settle().await;
    let held = in_use() - before;
    assert!(
        held > bytes / 2 && held < bytes + bytes / 8,
        "{held} of {bytes}"
    );
    for left in (0..count as usize).rev() {
        world.advance_ms(1_000).await;
        let answer = client.answer(FetchRequest::KEY, 12).await;
        assert_eq!(answer.body::<FetchResponse<'_>>().error_code, 0);
        let held = in_use() - before;
        assert!(
            held <= 2 * left * bytes / count as usize + 512,
            "{held} at {left}"
        );
    }
    assert_eq!(in_use(), before);
}

#[tokio::test]
async fn a_fetch_waits_for_what_is_not_at_hand_and_is_told_if_it_cannot_be_read() {
    let engine = TestEngine::new(PLENTY);
    let world = World::with(|options| options.engine(engine.clone()));
    let mut client = world.connect();
    let id = client.create_topic("t", 2).await;
    for index in 0..2 {
        client.produce("t", index, batch(10)).await;
    }
    engine.cool(&partition(&world, 0));
    let mut request = fetch_request("t", 0, 0, 500_000);
    let other = fetch_request("t", 1, 0, 0).topics.remove(0);
    request.topics[0].partitions.extend(other.partitions);
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    for partition in &body.responses[0].partitions {
        let records = partition.records.as_ref();
        assert_eq!((partition.error_code, partition.high_watermark), (0, 1));
        assert!(records.is_some_and(|records| records.len() > 10));
    }
    assert_eq!(engine.loads(), 1);
    engine.fail_next(Step::Load, id, 0);
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    let partitions = &body.responses[0].partitions;
    let codes = partitions.iter().map(|partition| partition.error_code);
    assert_eq!(codes.collect::<Vec<_>>(), [KAFKA_STORAGE_ERROR, 0]);
}

#[tokio::test]
async fn logs_are_told_of_their_partitions_now_and_then_and_at_the_end() {
    let engine = TestEngine::new(PLENTY);
    engine.keep();
    let world = World::with(|options| options.engine(engine.clone()));
    let mut client = world.connect();
    let id = client.create_topic("t", 1).await;
    client.produce("t", 0, batch(10)).await;
    let told = || engine.checkpoint_of(id, 0).map(|state| state.next_offset);
    world.advance_ms(59_000).await;
    assert_eq!(told(), None);
    world.advance_ms(2_000).await;
    assert_eq!(told(), Some(1));
    client.produce("t", 0, batch(10)).await;
    world.broker.stop().await;
    assert_eq!(told(), Some(2));
}
