//! Who leads a partition, told by every answer that concerns it: what clients see when it moves to another node and back.

mod common;

use common::{Client, World, batch, fetch_request, join_request};
use rustka_wire::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rustka_wire::delete_records_response::DeleteRecordsResponse;
use rustka_wire::describe_producers_request::{
    DescribeProducersRequest, TopicRequest as Producers,
};
use rustka_wire::describe_producers_response::DescribeProducersResponse;
use rustka_wire::describe_topic_partitions_request::{
    DescribeTopicPartitionsRequest, TopicRequest,
};
use rustka_wire::describe_topic_partitions_response::DescribeTopicPartitionsResponse;
use rustka_wire::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use rustka_wire::elect_leaders_response::ElectLeadersResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::heartbeat_request::HeartbeatRequest;
use rustka_wire::heartbeat_response::HeartbeatResponse;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::init_producer_id_response::InitProducerIdResponse;
use rustka_wire::join_group_request::JoinGroupRequest;
use rustka_wire::join_group_response::JoinGroupResponse;
use rustka_wire::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rustka_wire::list_offsets_response::ListOffsetsResponse;
use rustka_wire::metadata_response::MetadataResponsePartition;
use rustka_wire::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use rustka_wire::offset_for_leader_epoch_response::OffsetForLeaderEpochResponse;
use rustka_wire::produce_response::ProduceResponse;
use rustka_wire::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use rustka_wire::sync_group_response::SyncGroupResponse;

const LEADER_NOT_AVAILABLE: i16 = 5;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const NOT_COORDINATOR: i16 = 16;
const ELECTION_NOT_NEEDED: i16 = 84;
const FENCED_LEADER_EPOCH: i16 = 74;
const LATEST: i64 = -1;

/// Metadata and DescribeTopicPartitions named this node and epoch 0 for a partition from which Produce and Fetch sent
/// clients away: they came back for ever.
#[tokio::test]
async fn every_answer_names_the_same_leader_and_epoch() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 3).await;
    world.elect("t", 0, 7);
    world.elect("t", 1, -1);
    let (code, partitions) = client.metadata("t").await;
    let told = |p: &MetadataResponsePartition| (p.error_code, p.leader_id, p.leader_epoch);
    let told: Vec<_> = partitions.iter().map(told).collect();
    assert_eq!(code, 0);
    assert_eq!(told, [(0, 7, 1), (LEADER_NOT_AVAILABLE, -1, 1), (0, 1, 0)]);
    let request = DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: "t".into() }],
        response_partition_limit: 10,
        ..Default::default()
    };
    let answer = client
        .ask(DescribeTopicPartitionsRequest::KEY, 0, &request)
        .await;
    let body: DescribeTopicPartitionsResponse<'_> = answer.body();
    let partitions = body.topics[0].partitions.iter();
    let told: Vec<_> = partitions.map(|p| (p.leader_id, p.leader_epoch)).collect();
    assert_eq!(told, [(7, 1), (-1, 1), (1, 0)]);
    let answer = client.produce("t", 0, batch(10)).await;
    let body: ProduceResponse<'_> = answer.body();
    let code = body.responses[0].partition_responses[0].error_code;
    assert_eq!(code, NOT_LEADER_OR_FOLLOWER);
}

#[tokio::test]
async fn a_leader_that_comes_back_writes_in_its_new_epoch() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let code = |body: ProduceResponse<'_>| body.responses[0].partition_responses[0].error_code;
    assert_eq!(code(client.produce("t", 0, batch(10)).await.body()), 0);
    world.elect("t", 0, 7);
    world.elect("t", 0, 1);
    assert_eq!(code(client.produce("t", 0, batch(10)).await.body()), 0);
    let mut request = fetch_request("t", 0, 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = 2;
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    let partition = &body.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    assert_eq!(partition.high_watermark, 2);
}

/// Elects in these partitions of "t", or in all there are; what is told of each.
async fn elect_leaders(
    client: &mut Client,
    election_type: i8,
    partitions: Option<Vec<i32>>,
) -> Vec<(i32, i16)> {
    let request = ElectLeadersRequest {
        election_type,
        topic_partitions: partitions.map(|partitions| {
            vec![TopicPartitions {
                topic: "t".into(),
                partitions,
            }]
        }),
        timeout_ms: 5_000,
    };
    let answer = client.ask(ElectLeadersRequest::KEY, 2, &request).await;
    let body: ElectLeadersResponse<'_> = answer.body();
    assert_eq!(body.error_code, 0);
    assert_eq!(body.replica_election_results.len(), 1);
    let told = body.replica_election_results[0].partition_result.iter();
    told.map(|p| (p.partition_id, p.error_code)).collect()
}

/// ElectLeaders said that each partition had its leader, also of those that had been moved elsewhere: nobody could bring
/// them back.
#[tokio::test]
async fn leaders_that_were_moved_are_elected_again() {
    const PREFERRED: i8 = 0;
    const UNCLEAN: i8 = 1;
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 3).await;
    world.elect("t", 0, 7);
    world.elect("t", 1, -1);
    let told = elect_leaders(&mut client, UNCLEAN, Some(vec![0, 1, 2])).await;
    assert_eq!(
        told,
        [(0, ELECTION_NOT_NEEDED), (1, 0), (2, ELECTION_NOT_NEEDED)]
    );
    assert_eq!(elect_leaders(&mut client, PREFERRED, None).await, [(0, 0)]);
    assert_eq!(elect_leaders(&mut client, PREFERRED, None).await, []);
    let (_, partitions) = client.metadata("t").await;
    let told = |p: &MetadataResponsePartition| (p.error_code, p.leader_id, p.leader_epoch);
    let told: Vec<_> = partitions.iter().map(told).collect();
    assert_eq!(told, [(0, 1, 2), (0, 1, 2), (0, 1, 0)]);
    let answer = client.produce("t", 0, batch(10)).await;
    let body: ProduceResponse<'_> = answer.body();
    assert_eq!(body.responses[0].partition_responses[0].error_code, 0);
}

async fn list_offsets(client: &mut Client, epoch: i32) -> i16 {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: 0,
                current_leader_epoch: epoch,
                timestamp: LATEST,
            }],
        }],
        ..Default::default()
    };
    let answer = client.ask(ListOffsetsRequest::KEY, 8, &request).await;
    answer.body::<ListOffsetsResponse<'_>>().topics[0].partitions[0].error_code
}

async fn end_of_epoch(client: &mut Client, epoch: i32) -> i16 {
    let request = OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: "t".into(),
            partitions: vec![OffsetForLeaderPartition {
                partition: 0,
                current_leader_epoch: epoch,
                leader_epoch: 0,
            }],
        }],
    };
    let answer = client
        .ask(OffsetForLeaderEpochRequest::KEY, 4, &request)
        .await;
    let body: OffsetForLeaderEpochResponse<'_> = answer.body();
    body.topics[0].partitions[0].error_code
}

async fn fetch(client: &mut Client, epoch: i32) -> i16 {
    let mut request = fetch_request("t", 0, 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = epoch;
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    body.responses[0].partitions[0].error_code
}

async fn producers(client: &mut Client) -> i16 {
    let request = DescribeProducersRequest {
        topics: vec![Producers {
            name: "t".into(),
            partition_indexes: vec![0],
        }],
    };
    let answer = client.ask(DescribeProducersRequest::KEY, 0, &request).await;
    let body: DescribeProducersResponse<'_> = answer.body();
    body.topics[0].partitions[0].error_code
}

async fn delete_records(client: &mut Client) -> i16 {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset: 0,
            }],
        }],
        timeout_ms: 1_000,
    };
    let answer = client.ask(DeleteRecordsRequest::KEY, 2, &request).await;
    let body: DeleteRecordsResponse<'_> = answer.body();
    body.topics[0].partitions[0].error_code
}

/// DescribeProducers and OffsetForLeaderEpoch went on answering for a partition that had moved away, and whoever came
/// with the epoch from before heard of the leader instead of the epoch.
#[tokio::test]
async fn nobody_but_its_leader_answers_for_a_partition() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client.produce("t", 0, batch(10)).await;
    for (leader, code) in [(7, NOT_LEADER_OR_FOLLOWER), (1, 0)] {
        world.elect("t", 0, leader);
        let epoch = client.metadata("t").await.1[0].leader_epoch;
        for claimed in [-1, epoch] {
            assert_eq!(list_offsets(&mut client, claimed).await, code);
            assert_eq!(end_of_epoch(&mut client, claimed).await, code);
            assert_eq!(fetch(&mut client, claimed).await, code);
        }
        assert_eq!(producers(&mut client).await, code);
        assert_eq!(delete_records(&mut client).await, code);
        let fenced = FENCED_LEADER_EPOCH;
        assert_eq!(list_offsets(&mut client, 0).await, fenced);
        assert_eq!(end_of_epoch(&mut client, 0).await, fenced);
        assert_eq!(fetch(&mut client, 0).await, fenced);
    }
}

async fn join(client: &mut Client, member: &str) -> JoinGroupResponse<'static> {
    ask_to_join(client, member).await;
    let answer = client.answer(JoinGroupRequest::KEY, 3).await;
    let body: JoinGroupResponse<'_> = answer.body();
    JoinGroupResponse {
        error_code: body.error_code,
        generation_id: body.generation_id,
        member_id: body.member_id.to_string().into(),
        ..Default::default()
    }
}

async fn ask_to_join(client: &mut Client, member: &str) {
    let request = JoinGroupRequest {
        rebalance_timeout_ms: 300_000,
        member_id: member.to_owned().into(),
        ..join_request("g")
    };
    client.send(JoinGroupRequest::KEY, 3, &request).await;
}

async fn heartbeat(client: &mut Client, generation_id: i32, member: &str) -> i16 {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member.to_owned().into(),
        ..Default::default()
    };
    let answer = client.ask(HeartbeatRequest::KEY, 3, &request).await;
    answer.body::<HeartbeatResponse>().error_code
}

/// FindCoordinator named this node for groups whose partition another one led, and this one served them on: two
/// coordinators of one group.
#[tokio::test]
async fn groups_go_where_their_partition_goes_and_come_back_with_it() {
    let world = World::with(|options| {
        options
            .config("offsets.topic.num.partitions", "1")
            .config("group.initial.rebalance.delay.ms", "0")
    });
    let (mut first, mut second) = (world.connect(), world.connect());
    let joined = join(&mut first, "").await;
    let (generation, member) = (joined.generation_id, joined.member_id.to_string());
    let sync = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: generation,
        member_id: member.clone().into(),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member.clone().into(),
            assignment: (&b"all"[..]).into(),
        }],
        ..Default::default()
    };
    let answer = first.ask(SyncGroupRequest::KEY, 3, &sync).await;
    assert_eq!(answer.body::<SyncGroupResponse<'_>>().error_code, 0);
    assert_eq!(heartbeat(&mut first, generation, &member).await, 0);
    // Waits for the first one to join again.
    ask_to_join(&mut second, "").await;
    world.settle().await;

    world.elect("__consumer_offsets", 0, 7);
    let answer = second.answer(JoinGroupRequest::KEY, 3).await;
    let code = answer.body::<JoinGroupResponse<'_>>().error_code;
    assert_eq!(code, NOT_COORDINATOR);
    let code = heartbeat(&mut first, generation, &member).await;
    assert_eq!(code, NOT_COORDINATOR);
    assert_eq!(join(&mut second, "").await.error_code, NOT_COORDINATOR);
    // Far beyond its session: nobody here is to judge.
    world.advance_ms(100_000).await;
    let code = heartbeat(&mut first, generation, &member).await;
    assert_eq!(code, NOT_COORDINATOR);

    world.elect("__consumer_offsets", 0, 1);
    assert_eq!(heartbeat(&mut first, generation, &member).await, 0);
    world.advance_ms(9_000).await;
    assert_eq!(heartbeat(&mut first, generation, &member).await, 0);
}

async fn producer_id(client: &mut Client) -> i16 {
    let request = InitProducerIdRequest {
        transactional_id: Some("x".into()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let answer = client.ask(InitProducerIdRequest::KEY, 4, &request).await;
    answer.body::<InitProducerIdResponse>().error_code
}

#[tokio::test]
async fn transactional_ids_go_where_their_partition_goes_and_come_back_with_it() {
    let partitions = "transaction.state.log.num.partitions";
    let world = World::with(|options| options.config(partitions, "1"));
    let mut client = world.connect();
    assert_eq!(producer_id(&mut client).await, 0);
    world.elect("__transaction_state", 0, 7);
    assert_eq!(producer_id(&mut client).await, NOT_COORDINATOR);
    world.elect("__transaction_state", 0, 1);
    assert_eq!(producer_id(&mut client).await, 0);
}
