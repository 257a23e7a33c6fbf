//! Faults on purpose, each by what a client notices.

mod common;

use common::{Client, World, batch, produce_request};
use rustka::fault::Point;
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

    faults.arm(Point::Accept);
    assert!(world.connect().is_closed().await);
    faults.arm(Point::Dispatch);
    let mut unlucky = world.connect();
    unlucky.send(ApiVersionsRequest::KEY, 0, &versions).await;
    assert!(unlucky.is_closed().await);
    let answer = client.ask(ApiVersionsRequest::KEY, 0, &versions).await;
    assert_eq!(answer.body::<ApiVersionsResponse<'_>>().error_code, 0);

    let code = |answer: common::Answer| {
        let body: ProduceResponse<'_> = answer.body();
        body.responses[0].partition_responses[0].error_code
    };
    faults.arm(Point::Admit);
    let refused = code(client.produce("t", 0, batch(10)).await);
    assert_eq!(refused, KAFKA_STORAGE_ERROR);
    assert_eq!(code(client.produce("t", 0, batch(10)).await), 0);
    faults.arm(Point::Append);
    for _ in 0..2 {
        let refused = code(client.produce("t", 0, batch(10)).await);
        assert_eq!(refused, KAFKA_STORAGE_ERROR, "read-only from there on");
    }
    assert_eq!(code(client.produce("t", 1, batch(10)).await), 0);

    faults.arm(Point::Reply);
    let request = produce_request("t", 1, batch(10));
    client.send(ProduceRequest::KEY, 11, &request).await;
    assert!(client.is_closed().await);
    let partition = world.broker.node().partition("t", 1).expect("there");
    assert_eq!(partition.offsets().high_watermark, 2, "the work was done");
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
    faults.arm_in(Point::Admit, "another");
    assert_eq!(delete_records(&mut client, 0).await, 0);
    faults.arm_in(Point::Admit, "t");
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
    faults.arm_in(Point::Admit, OFFSETS);
    let answer = client.produce("t", 0, batch(10)).await;
    let body: ProduceResponse<'_> = answer.body();
    assert_eq!(body.responses[0].partition_responses[0].error_code, 0);
    assert_eq!(commit(&mut client).await, NOT_COORDINATOR);
    assert_eq!(commit(&mut client).await, 0);
    faults.arm_in(Point::Append, OFFSETS);
    for _ in 0..2 {
        // Its journal is read-only from there on.
        assert_eq!(commit(&mut client).await, NOT_COORDINATOR);
    }
}
