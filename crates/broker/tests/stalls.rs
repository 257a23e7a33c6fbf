//! A disk that stalls, as Sentry's S12 has it: who waits for what is on its way there waits, and nobody else does.

mod common;

use common::{Client, World, batch, commit_request, fetch_request, join_request, produce_request};
use rustka_storage::testing::{PLENTY, TestEngine};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::find_coordinator_response::FindCoordinatorResponse;
use rustka_wire::heartbeat_request::HeartbeatRequest;
use rustka_wire::heartbeat_response::HeartbeatResponse;
use rustka_wire::join_group_request::JoinGroupRequest;
use rustka_wire::join_group_response::JoinGroupResponse;
use rustka_wire::offset_commit_request::OffsetCommitRequest;
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::sync_group_request::SyncGroupRequest;
use rustka_wire::sync_group_response::SyncGroupResponse;

const PRODUCE: i16 = 11;
/// Before members were sent away once for their ids.
const JOIN: i16 = 3;

/// The only member of its group.
async fn member(client: &mut Client, group: &str) -> JoinGroupResponse<'static> {
    let request = JoinGroupRequest {
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        ..join_request(group)
    };
    let answer = client.ask(JoinGroupRequest::KEY, JOIN, &request).await;
    let joined = answer.body::<JoinGroupResponse<'_>>().into_owned();
    assert_eq!(joined.error_code, 0);
    let request = SyncGroupRequest {
        group_id: group.to_owned().into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    let answer = client.ask(SyncGroupRequest::KEY, JOIN, &request).await;
    assert_eq!(answer.body::<SyncGroupResponse<'_>>().error_code, 0);
    joined
}

async fn coordinator(client: &mut Client) -> i16 {
    let request = FindCoordinatorRequest {
        key: "g".into(),
        ..Default::default()
    };
    let answer = client.ask(FindCoordinatorRequest::KEY, 3, &request).await;
    answer.body::<FindCoordinatorResponse<'_>>().error_code
}

async fn heartbeat(client: &mut Client, group: &str, of: &JoinGroupResponse<'_>) -> i16 {
    let request = HeartbeatRequest {
        group_id: group.to_owned().into(),
        generation_id: of.generation_id,
        member_id: of.member_id.clone(),
        ..Default::default()
    };
    let answer = client.ask(HeartbeatRequest::KEY, 3, &request).await;
    answer.body::<HeartbeatResponse>().error_code
}

#[tokio::test]
async fn heartbeats_metadata_and_reads_are_answered_while_the_disk_stalls() {
    let engine = TestEngine::new(PLENTY);
    let world = World::with(|options| {
        let options = options.config("group.initial.rebalance.delay.ms", "0");
        options.engine(engine.clone())
    });
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client.produce("t", 0, batch(10)).await;
    // As every client does it first.
    coordinator(&mut client).await;
    let joined = member(&mut client, "g").await;
    let committed = client
        .ask(
            OffsetCommitRequest::KEY,
            8,
            &commit_request("other", "t", 1),
        )
        .await;
    let committed: OffsetCommitResponse<'_> = committed.body();
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    engine.hold();

    let mut writer = world.connect();
    let write = ProduceRequest {
        acks: -1,
        ..produce_request("t", 0, batch(10))
    };
    writer.send(ProduceRequest::KEY, PRODUCE, &write).await;
    let mut committer = world.connect();
    let commit = commit_request("other", "t", 1);
    committer.send(OffsetCommitRequest::KEY, 8, &commit).await;
    world.settle().await;
    assert!(!writer.has_answer() && !committer.has_answer());

    // Nothing here moves the clock or the disk: whatever is answered is answered at once.
    assert_eq!(heartbeat(&mut client, "g", &joined).await, 0);
    assert_eq!(client.metadata("t").await.0, 0);
    assert_eq!(coordinator(&mut client).await, 0);
    assert_eq!(client.committed("g", "t", 0).await, (0, Some(-1)));
    let request = fetch_request("t", 0, 0, 0);
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    let partition = &body.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark), (0, 1));
    // Members keep up heartbeats for as long as the disk takes.
    for _ in 0..4 {
        world.advance_ms(20_000).await;
        assert_eq!(heartbeat(&mut client, "g", &joined).await, 0);
    }
    let mut newcomer = world.connect();
    let request = ApiVersionsRequest::default();
    newcomer.ask(ApiVersionsRequest::KEY, 0, &request).await;
}
