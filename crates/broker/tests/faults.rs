//! Faults on purpose, each by what a client notices.

mod common;

use common::{Client, World, batch, produce_request};
use rustka::fault::{Effect, Fault, Faults, Passing, Point};
use rustka_core::error::ErrorCode;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustka_wire::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rustka_wire::delete_records_response::DeleteRecordsResponse;
use rustka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KAFKA_STORAGE_ERROR: i16 = 56;
const NOT_COORDINATOR: i16 = 16;
const OFFSETS: &str = "__consumer_offsets";

#[tokio::test]
async fn an_armed_fault_strikes_once_at_its_point() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 2).await;
    let faults = &world.broker.node().faults;
    let versions = ApiVersionsRequest::default();

    faults.arm(Fault::at(Point::Accept)).expect("it fits");
    assert!(world.connect().is_closed().await);
    faults.arm(Fault::at(Point::Dispatch)).expect("it fits");
    let mut unlucky = world.connect();
    unlucky.send(ApiVersionsRequest::KEY, 0, &versions).await;
    assert!(unlucky.is_closed().await);
    let answer = client.ask(ApiVersionsRequest::KEY, 0, &versions).await;
    assert_eq!(answer.body::<ApiVersionsResponse<'_>>().error_code, 0);

    faults.arm(Fault::at(Point::Admit)).expect("it fits");
    let refused = code(&client.produce("t", 0, batch(10)).await);
    assert_eq!(refused, KAFKA_STORAGE_ERROR);
    assert_eq!(code(&client.produce("t", 0, batch(10)).await), 0);
    faults.arm(Fault::at(Point::Append)).expect("it fits");
    for _ in 0..2 {
        let refused = code(&client.produce("t", 0, batch(10)).await);
        assert_eq!(refused, KAFKA_STORAGE_ERROR, "read-only from there on");
    }
    assert_eq!(code(&client.produce("t", 1, batch(10)).await), 0);

    faults.arm(Fault::at(Point::Reply)).expect("it fits");
    let request = produce_request("t", 1, batch(10));
    client.send(ProduceRequest::KEY, 11, &request).await;
    assert!(client.is_closed().await);
    let partition = world.broker.node().partition("t", 1).expect("there");
    assert_eq!(partition.offsets().high_watermark, 2, "the work was done");
}

fn code(answer: &common::Answer) -> i16 {
    let body: ProduceResponse<'_> = answer.body();
    body.responses[0].partition_responses[0].error_code
}

/// A fault that a request can meet.
fn fault(point: Point, effect: Effect) -> Fault {
    Fault::at(point).with(effect)
}

#[tokio::test]
async fn an_error_stands_at_each_partition_and_nothing_was_done() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 2).await;
    let error = Effect::Error(ErrorCode::NotLeaderOrFollower);
    let refused = fault(Point::Dispatch, error);
    let faults = &world.broker.node().faults;
    faults.arm(refused).expect("it fits");
    let mut request = produce_request("t", 0, batch(10));
    let other = produce_request("t", 1, batch(10)).topic_data.remove(0);
    request.topic_data[0]
        .partition_data
        .extend(other.partition_data);
    let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
    let body: ProduceResponse<'_> = answer.body();
    let partitions = &body.responses[0].partition_responses;
    let answered = partitions
        .iter()
        .map(|of| (of.index, of.error_code, of.base_offset));
    assert_eq!(answered.collect::<Vec<_>>(), [(0, 6, -1), (1, 6, -1)]);
    let partition = world.broker.node().partition("t", 0).expect("there");
    assert_eq!(partition.offsets().high_watermark, 0);
    assert_eq!(code(&client.produce("t", 0, batch(10)).await), 0);
}

#[tokio::test]
async fn an_error_in_place_of_an_answer_hides_work_that_was_done() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let error = Effect::Error(ErrorCode::RequestTimedOut);
    let faults = &world.broker.node().faults;
    faults.arm(fault(Point::Reply, error)).expect("it fits");
    assert_eq!(code(&client.produce("t", 0, batch(10)).await), 7);
    let partition = world.broker.node().partition("t", 0).expect("there");
    assert_eq!(partition.offsets().high_watermark, 1);
}

#[tokio::test]
async fn a_fault_meets_those_it_names_and_nobody_else() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client.create_topic("u", 1).await;
    let error = Effect::Error(ErrorCode::NotCoordinator);
    let faults = &world.broker.node().faults;
    let meant = Fault {
        api: Some(OffsetCommitRequest::KEY),
        group: Some("g".into()),
        client: Some("unlucky".into()),
        ..fault(Point::Dispatch, error)
    };
    faults.arm(meant).expect("it fits");
    let of_topic = Fault::within(Point::Dispatch, "u").with(error);
    faults.arm(of_topic).expect("it fits");
    assert_eq!(commit(&mut client).await, 0);
    assert_eq!(code(&client.produce("t", 0, batch(10)).await), 0);
    assert_eq!(code(&client.produce("u", 0, batch(10)).await), 16);
    client.client_id = "unlucky".to_owned();
    assert_eq!(code(&client.produce("t", 0, batch(10)).await), 0);
    assert_eq!(commit(&mut client).await, 16);
    assert!(faults.armed().is_empty(), "both have struck");
    assert_eq!(commit(&mut client).await, 0);
}

#[tokio::test]
async fn a_delayed_request_is_served_and_a_delayed_answer_sent_when_the_clock_says_so() {
    for (point, done_before) in [(Point::Dispatch, 0), (Point::Reply, 1)] {
        let world = World::start();
        let mut client = world.connect();
        client.create_topic("t", 1).await;
        let faults = &world.broker.node().faults;
        let slow = fault(point, Effect::Delay(5_000));
        faults.arm(slow).expect("it fits");
        let request = produce_request("t", 0, batch(10));
        client.send(ProduceRequest::KEY, 11, &request).await;
        world.advance_ms(4_999).await;
        let partition = world.broker.node().partition("t", 0).expect("there");
        assert_eq!(partition.offsets().high_watermark, done_before);
        assert!(!client.has_answer(), "{point:?}");
        world.advance_ms(1).await;
        assert!(client.has_answer(), "{point:?}");
        assert_eq!(code(&client.answer(ProduceRequest::KEY, 11).await), 0);
        assert_eq!(partition.offsets().high_watermark, 1);
    }
}

#[tokio::test]
async fn what_hangs_waits_until_its_client_goes_or_the_broker_stops() {
    for point in [Point::Accept, Point::Dispatch, Point::Reply] {
        let world = World::start();
        let faults = &world.broker.node().faults;
        for _ in 0..2 {
            faults.arm(fault(point, Effect::Hang)).expect("it fits");
        }
        let mut gone = world.connect();
        let mut stays = world.connect();
        let versions = ApiVersionsRequest::default();
        if point != Point::Accept {
            // With a request unread, nobody would notice that it goes.
            gone.send(ApiVersionsRequest::KEY, 0, &versions).await;
        }
        stays.send(ApiVersionsRequest::KEY, 0, &versions).await;
        world.advance_ms(60_000).await;
        assert_eq!(world.connections(), 2, "{point:?}");
        assert!(!gone.has_answer() && !stays.has_answer(), "{point:?}");
        drop(gone);
        world.settle().await;
        assert_eq!(world.connections(), 1, "{point:?}");
        world.broker.stop().await;
        assert!(stays.is_closed().await, "{point:?}");
    }
}

#[tokio::test]
async fn an_answer_breaks_off_where_it_is_cut() {
    let world = World::start();
    let mut client = world.connect();
    let whole = {
        let versions = ApiVersionsRequest::default();
        client.send(ApiVersionsRequest::KEY, 0, &versions).await;
        client.receive().await.expect("an answer").len() + 4
    };
    let faults = &world.broker.node().faults;
    for kept in [1, 4, 9, whole - 1] {
        faults
            .arm(fault(Point::Reply, Effect::Truncate(kept)))
            .expect("it fits");
        let mut stream = world.broker.connect();
        let request = common::frame(
            ApiVersionsRequest::KEY,
            0,
            1,
            "",
            &ApiVersionsRequest::default(),
        );
        stream.write_u32(request.len() as u32).await.expect("sent");
        stream.write_all(&request).await.expect("sent");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.expect("its end");
        assert_eq!(got.len(), kept);
    }
}

#[test]
fn faults_strike_from_the_nth_occurrence_on_as_often_and_as_likely_as_they_say() {
    let nobody = Passing::default();
    let struck = |fault: Fault, count: usize| {
        let faults = Faults::default();
        faults.arm(fault).expect("it fits");
        let strikes = (1..=count).filter(|_| faults.strike(Point::Accept, &nobody).is_some());
        strikes.collect::<Vec<_>>()
    };
    let fault = Fault {
        nth: 3,
        times: 2,
        ..Fault::at(Point::Accept)
    };
    assert_eq!(struck(fault.clone(), 10), [3, 4]);
    let chance = |probability, seed| Fault {
        times: u32::MAX,
        probability,
        seed,
        ..Fault::at(Point::Accept)
    };
    let (one, same, other) = (chance(0.25, 1), chance(0.25, 1), chance(0.25, 2));
    let strikes = struck(one, 1_000);
    assert!((200..300).contains(&strikes.len()), "{}", strikes.len());
    assert_eq!(struck(same, 1_000), strikes);
    assert_ne!(struck(other, 1_000), strikes);
    assert_eq!(struck(chance(0.0, 1), 100).len(), 0);
    assert_eq!(struck(chance(1.0, 1), 100).len(), 100);
}

#[test]
fn a_fault_that_cannot_happen_is_not_armed() {
    let faults = Faults::default();
    let unfit = [
        fault(Point::Accept, Effect::Truncate(1)),
        fault(Point::Dispatch, Effect::Truncate(1)),
        fault(Point::Admit, Effect::Hang),
        fault(Point::Reply, Effect::Panic),
        fault(Point::Dispatch, Effect::Error(ErrorCode::None)),
        fault(Point::Reply, Effect::Delay(-1)),
        Fault::within(Point::Accept, "t"),
        Fault {
            api: Some(0),
            ..Fault::at(Point::Append)
        },
        Fault {
            times: 0,
            ..Fault::at(Point::Reply)
        },
        Fault {
            probability: 1.5,
            ..Fault::at(Point::Reply)
        },
    ];
    for fault in unfit {
        assert!(faults.arm(fault.clone()).is_err(), "{fault:?}");
    }
    assert!(!faults.any_armed());
    faults.arm(Fault::at(Point::Reply)).expect("it fits");
    faults.disarm();
    assert!(!faults.any_armed());
}

async fn delete_records(client: &mut Client, offset: i64) -> i16 {
    let partition = DeleteRecordsPartition {
        partition_index: 0,
        offset,
    };
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let answer = client.ask(DeleteRecordsRequest::KEY, 2, &request).await;
    let body: DeleteRecordsResponse<'_> = answer.body();
    body.topics[0].partitions[0].error_code
}

#[tokio::test]
async fn deleting_records_fails_where_a_fault_is_armed() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client.produce("t", 0, batch(10)).await;
    let faults = &world.broker.node().faults;
    faults
        .arm(Fault::within(Point::Admit, "another"))
        .expect("it fits");
    assert_eq!(delete_records(&mut client, 0).await, 0);
    faults
        .arm(Fault::within(Point::Admit, "t"))
        .expect("it fits");
    let refused = delete_records(&mut client, 1).await;
    assert_eq!(refused, KAFKA_STORAGE_ERROR);
    let partition = world.broker.node().partition("t", 0).expect("there");
    assert_eq!(partition.offsets().log_start, 0, "nothing is lost");
    assert_eq!(delete_records(&mut client, 1).await, 0);
}

async fn commit(client: &mut Client) -> i16 {
    let partition = OffsetCommitRequestPartition {
        committed_offset: 1,
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.ask(OffsetCommitRequest::KEY, 8, &request).await;
    let body: OffsetCommitResponse<'_> = answer.body();
    body.topics[0].partitions[0].error_code
}

#[tokio::test]
async fn a_group_whose_record_is_not_written_sends_its_clients_away() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let faults = &world.broker.node().faults;
    faults
        .arm(Fault::within(Point::Admit, OFFSETS))
        .expect("it fits");
    let answer = client.produce("t", 0, batch(10)).await;
    let body: ProduceResponse<'_> = answer.body();
    assert_eq!(body.responses[0].partition_responses[0].error_code, 0);
    assert_eq!(commit(&mut client).await, NOT_COORDINATOR);
    assert_eq!(commit(&mut client).await, 0);
    faults
        .arm(Fault::within(Point::Append, OFFSETS))
        .expect("it fits");
    for _ in 0..2 {
        // Its journal is read-only from there on.
        assert_eq!(commit(&mut client).await, NOT_COORDINATOR);
    }
}
