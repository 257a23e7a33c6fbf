//! Every address that a client is told is decided by the hook for addresses.

mod common;

use common::{Client, World, batch, fetch_request, produce_request};
use rustka::hooks::{Context, Endpoints};
use rustka_wire::describe_cluster_request::DescribeClusterRequest;
use rustka_wire::describe_cluster_response::DescribeClusterResponse;
use rustka_wire::describe_quorum_request::{
    DescribeQuorumRequest, PartitionData, TopicData as QuorumTopic,
};
use rustka_wire::describe_quorum_response::DescribeQuorumResponse;
use rustka_wire::fetch_request::{FetchRequest, FetchTopic};
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::find_coordinator_response::FindCoordinatorResponse;
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::metadata_response::MetadataResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::sync::Arc;

const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
/// This node, and another one that leads a partition.
const NODES: [i32; 2] = [1, 2];

/// Each client has hosts of its own.
struct PerClient;

impl Endpoints for PerClient {
    fn endpoint(
        &self,
        context: &Context<'_>,
        node_id: i32,
        usual: Option<(&str, u16)>,
    ) -> Option<(String, u16)> {
        assert_eq!(usual.is_some(), node_id == NODES[0]);
        let host = format!("node-{node_id}.{}", context.client_id);
        Some((host, 7_000 + u16::try_from(node_id).expect("a small id")))
    }
}

fn told(node_id: i32) -> (String, i32) {
    (format!("node-{node_id}.test"), 7_000 + node_id)
}

fn told_of_this() -> (String, i32) {
    told(NODES[0])
}

async fn world() -> (World, Client) {
    let world = World::with(|options| options.endpoints(Arc::new(PerClient)));
    let client = world.connect();
    (world, client)
}

#[tokio::test]
async fn a_client_is_told_the_address_that_is_meant_for_it() {
    let (_world, mut client) = world().await;
    let request = MetadataRequest::default();
    let answer = client.ask(MetadataRequest::KEY, 12, &request).await;
    let broker = &answer.body::<MetadataResponse<'_>>().brokers[0];
    assert_eq!((broker.host.to_string(), broker.port), told_of_this());

    let request = DescribeClusterRequest::default();
    let answer = client.ask(DescribeClusterRequest::KEY, 1, &request).await;
    let broker = &answer.body::<DescribeClusterResponse<'_>>().brokers[0];
    assert_eq!((broker.host.to_string(), broker.port), told_of_this());

    let request = FindCoordinatorRequest {
        key: "g".into(),
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    let answer = client.ask(FindCoordinatorRequest::KEY, 3, &request).await;
    let node = answer.body::<FindCoordinatorResponse<'_>>();
    assert_eq!((node.host.to_string(), node.port), told_of_this());
    let answer = client.ask(FindCoordinatorRequest::KEY, 6, &request).await;
    let node = &answer.body::<FindCoordinatorResponse<'_>>().coordinators[0];
    assert_eq!((node.host.to_string(), node.port), told_of_this());

    let request = DescribeQuorumRequest {
        topics: vec![QuorumTopic {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![PartitionData::default()],
        }],
    };
    let answer = client.ask(DescribeQuorumRequest::KEY, 2, &request).await;
    let node = &answer.body::<DescribeQuorumResponse<'_>>().nodes[0];
    let listener = &node.listeners[0];
    let told = (listener.host.to_string(), i32::from(listener.port));
    assert_eq!(told, told_of_this());
}

#[tokio::test]
async fn who_writes_and_reads_in_the_wrong_place_is_told_the_right_one() {
    let (world, mut client) = world().await;
    let topic_id = client.create_topic("t", 2).await;
    let mut waiting = world.connect();
    let mut request = fetch_request("t", 0, 0, 500_000);
    request.topics = vec![FetchTopic {
        topic_id,
        topic: Default::default(),
        ..request.topics.remove(0)
    }];
    waiting.send(FetchRequest::KEY, 16, &request).await;
    world.settle().await;
    world.elect("t", 0, NODES[1]);

    let late = waiting.answer(FetchRequest::KEY, 16).await;
    let early = client.ask(FetchRequest::KEY, 16, &request).await;
    for answer in [late, early] {
        let body: FetchResponse<'_> = answer.body();
        let told_of = &body.responses[0].partitions[0];
        assert_eq!(told_of.error_code, NOT_LEADER_OR_FOLLOWER);
        assert_eq!(told_of.current_leader.leader_id, NODES[1]);
        let node = &body.node_endpoints[0];
        let address = (node.host.to_string(), node.port);
        assert_eq!((node.node_id, address), (NODES[1], told(NODES[1])));
    }

    let mut request = produce_request("t", 0, batch(10));
    let served = produce_request("t", 1, batch(10));
    request.topic_data.extend(served.topic_data);
    let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
    let body: ProduceResponse<'_> = answer.body();
    let told_of = &body.responses[0].partition_responses[0];
    assert_eq!(told_of.error_code, NOT_LEADER_OR_FOLLOWER);
    assert_eq!(told_of.current_leader.leader_id, NODES[1]);
    // The topic was named twice and is answered once.
    assert_eq!(body.responses[0].partition_responses[1].error_code, 0);
    let node = &body.node_endpoints[0];
    let address = (node.host.to_string(), node.port);
    assert_eq!((node.node_id, address), (NODES[1], told(NODES[1])));
    assert_eq!(body.node_endpoints.len(), 1);
}

/// FindCoordinator named this node whoever led the group's partition.
#[tokio::test]
async fn who_looks_for_a_coordinator_is_told_who_leads_its_partition() {
    let partitions = "offsets.topic.num.partitions";
    let told_of = async |world: &World| {
        let mut client = world.connect();
        let request = FindCoordinatorRequest {
            key: "g".into(),
            coordinator_keys: vec!["g".into()],
            ..Default::default()
        };
        let mut all = Vec::new();
        let answer = client.ask(FindCoordinatorRequest::KEY, 3, &request).await;
        let node = answer.body::<FindCoordinatorResponse<'_>>();
        let address = (node.host.to_string(), node.port);
        all.push((node.error_code, node.node_id, address));
        let answer = client.ask(FindCoordinatorRequest::KEY, 6, &request).await;
        let body: FindCoordinatorResponse<'_> = answer.body();
        let node = &body.coordinators[0];
        let address = (node.host.to_string(), node.port);
        all.push((node.error_code, node.node_id, address));
        assert_eq!(all[0], all[1]);
        all.remove(0)
    };
    let reached = World::with(|options| {
        let options = options.config(partitions, "1");
        options.endpoints(Arc::new(PerClient))
    });
    assert_eq!(told_of(&reached).await, (0, NODES[0], told(NODES[0])));
    reached.elect("__consumer_offsets", 0, NODES[1]);
    assert_eq!(told_of(&reached).await, (0, NODES[1], told(NODES[1])));
    // Where nobody says how to reach the other node, there is none yet.
    let alone = World::with(|options| options.config(partitions, "1"));
    assert_eq!(told_of(&alone).await.0, 0);
    let nobody = (COORDINATOR_NOT_AVAILABLE, -1, (String::new(), -1));
    for leader in [NODES[1], -1] {
        alone.elect("__consumer_offsets", 0, leader);
        assert_eq!(told_of(&alone).await, nobody);
    }
}
