//! Clients that ask too much of consumer groups get errors; groups of others do not notice.

mod common;

use common::{Client, World};
use rustka_core::error::ErrorCode;
use rustka_wire::heartbeat_request::HeartbeatRequest;
use rustka_wire::heartbeat_response::HeartbeatResponse;
use rustka_wire::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use rustka_wire::join_group_response::JoinGroupResponse;
use rustka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use rustka_wire::sync_group_response::SyncGroupResponse;

const VERSION: i16 = 4;

fn join<'a>(group: &'a str, member: &'a str, metadata: &'a [u8]) -> JoinGroupRequest<'a> {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: metadata.into(),
        }],
        ..Default::default()
    }
}

/// The code of a join that is answered at once, and the member id in it.
async fn refused(client: &mut Client, request: &JoinGroupRequest<'_>) -> (ErrorCode, String) {
    let answer = client.ask(JoinGroupRequest::KEY, VERSION, request).await;
    let joined: JoinGroupResponse<'_> = answer.body();
    let code = ErrorCode::from_code(joined.error_code).expect("a known code");
    (code, joined.member_id.into_owned())
}

/// A group with one member, which keeps asking whether all is well.
struct Neighbour {
    client: Client,
    member_id: String,
}

impl Neighbour {
    async fn settle(world: &World) -> Neighbour {
        let mut client = world.connect_from(([10, 0, 0, 7], 1).into());
        let (code, member_id) = refused(&mut client, &join("neighbour", "", b"t")).await;
        assert_eq!(code, ErrorCode::MemberIdRequired);
        let request = join("neighbour", &member_id, b"t");
        client.send(JoinGroupRequest::KEY, VERSION, &request).await;
        world.advance_ms(600).await;
        let answer = client.answer(JoinGroupRequest::KEY, VERSION).await;
        assert_eq!(answer.body::<JoinGroupResponse<'_>>().generation_id, 1);
        let request = SyncGroupRequest {
            group_id: "neighbour".into(),
            generation_id: 1,
            member_id: member_id.as_str().into(),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: member_id.as_str().into(),
                assignment: b"share"[..].into(),
            }],
            ..Default::default()
        };
        let answer = client.ask(SyncGroupRequest::KEY, 3, &request).await;
        assert_eq!(
            &*answer.body::<SyncGroupResponse<'_>>().assignment,
            b"share".as_slice()
        );
        Neighbour { client, member_id }
    }

    async fn is_well(&mut self) {
        let request = HeartbeatRequest {
            group_id: "neighbour".into(),
            generation_id: 1,
            member_id: self.member_id.as_str().into(),
            ..Default::default()
        };
        let answer = self.client.ask(HeartbeatRequest::KEY, 3, &request).await;
        assert_eq!(answer.body::<HeartbeatResponse>().error_code, 0);
    }
}

async fn commit(client: &mut Client, group: &str, metadata: &str) -> ErrorCode {
    let request = OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 1,
                committed_metadata: Some(metadata.into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.ask(OffsetCommitRequest::KEY, 7, &request).await;
    let committed: OffsetCommitResponse<'_> = answer.body();
    let code = committed.topics[0].partitions[0].error_code;
    ErrorCode::from_code(code).expect("a known code")
}

#[tokio::test]
async fn attack_22_giant_subscriptions_and_metadata_are_refused() {
    let world = World::start();
    let mut neighbour = Neighbour::settle(&world).await;
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let giant = vec![b'x'; (1 << 20) + 1];
    let (code, _) = refused(&mut client, &join("g", "", &giant)).await;
    assert_eq!(code, ErrorCode::UnknownServerError);
    let (code, _) = refused(&mut client, &join("neighbour", "", &giant)).await;
    assert_eq!(code, ErrorCode::UnknownServerError);
    let code = commit(&mut client, "g", &"x".repeat(4_096)).await;
    assert_eq!(code, ErrorCode::None);
    let code = commit(&mut client, "g", &"x".repeat(4_097)).await;
    assert_eq!(code, ErrorCode::OffsetMetadataTooLarge);
    neighbour.is_well().await;
}

#[tokio::test]
async fn attack_23_a_flood_of_member_ids_costs_its_sender_alone() {
    let limits = [
        ("rustka.groups.pending.ids.max", "50"),
        ("rustka.groups.pending.ids.per.address.max", "80"),
    ];
    let world = World::with(|options| {
        // Addresses are counted in each partition of `__consumer_offsets` by itself.
        let options = options.config("offsets.topic.num.partitions", "1");
        let options = options.config(limits[0].0, limits[0].1);
        options.config(limits[1].0, limits[1].1)
    });
    let mut neighbour = Neighbour::settle(&world).await;
    let mut flood = world.connect();
    for (group, ids) in [("a", 50), ("b", 30)] {
        for _ in 0..ids {
            let (code, _) = refused(&mut flood, &join(group, "", b"t")).await;
            assert_eq!(code, ErrorCode::MemberIdRequired);
        }
        let (code, _) = refused(&mut flood, &join(group, "", b"t")).await;
        assert_eq!(code, ErrorCode::CoordinatorLoadInProgress);
    }
    let (_, pending) = world.broker.shared().groups.counts();
    assert_eq!(pending, 80);
    // Whoever comes from elsewhere is let in, and the flood is gone when its sessions are over.
    let mut other = world.connect_from(([10, 0, 0, 8], 1).into());
    let (code, _) = refused(&mut other, &join("b", "", b"t")).await;
    assert_eq!(code, ErrorCode::MemberIdRequired);
    neighbour.is_well().await;
    world.advance_ms(9_000).await;
    neighbour.is_well().await;
    world.advance_ms(1_500).await;
    assert_eq!(world.broker.shared().groups.counts().1, 0);
    let (code, _) = refused(&mut flood, &join("a", "", b"t")).await;
    assert_eq!(code, ErrorCode::MemberIdRequired);
}

#[tokio::test]
async fn attack_24_a_flood_of_groups_ends_at_the_limit_and_is_forgotten() {
    let world = World::with(|options| {
        let options = options.config("offsets.topic.num.partitions", "1");
        options.config("rustka.groups.count.max", "10")
    });
    let mut neighbour = Neighbour::settle(&world).await;
    let mut flood = world.connect();
    flood.create_topic("t", 1).await;
    let mut made = 0;
    while refused(&mut flood, &join(&format!("g{made}"), "", b"t"))
        .await
        .0
        == ErrorCode::MemberIdRequired
    {
        made += 1;
        assert!(made < 1_000, "there is no limit");
    }
    let code = commit(&mut flood, "one more", "").await;
    assert_eq!(code, ErrorCode::CoordinatorLoadInProgress);
    neighbour.is_well().await;
    // Groups in which nothing ever happened go when offsets are looked through.
    for _ in 0..70 {
        world.advance_ms(9_000).await;
        neighbour.is_well().await;
    }
    assert_eq!(world.broker.shared().groups.counts().0, 1);
    // The flood's own connection was idle for so long that it is gone.
    let mut late = world.connect();
    assert_eq!(commit(&mut late, "one more", "").await, ErrorCode::None);
}
