//! Clients that ask too much of consumer groups get errors; groups of others do not notice.

mod common;

use common::{Client, World};
use rustka_core::error::ErrorCode;
use rustka_core::group::partition_for;
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
use std::collections::BTreeSet;

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
        // Who asks for more loses the oldest.
        let (code, _) = refused(&mut flood, &join(group, "", b"t")).await;
        assert_eq!(code, ErrorCode::MemberIdRequired);
    }
    let (_, pending) = world.broker.parts().groups.counts();
    assert_eq!(pending, 80);
    // Whoever comes from elsewhere, or uses its id, is let in, and the flood is gone when its sessions are over.
    let mut other = world.connect_from(([10, 0, 0, 8], 1).into());
    let (code, _) = refused(&mut other, &join("b", "", b"t")).await;
    assert_eq!(code, ErrorCode::MemberIdRequired);
    neighbour.is_well().await;
    world.advance_ms(9_000).await;
    neighbour.is_well().await;
    world.advance_ms(1_500).await;
    assert_eq!(world.broker.parts().groups.counts().1, 0);
    let (code, _) = refused(&mut flood, &join("a", "", b"t")).await;
    assert_eq!(code, ErrorCode::MemberIdRequired);
}

/// Each partition of `__consumer_offsets` counted for itself: who spread a flood over many groups had fifty times as
/// many ids as one address may have.
#[tokio::test]
async fn attack_23_an_address_has_as_many_ids_however_its_groups_are_spread() {
    const IDS_MAX: usize = 5;
    let world =
        World::with(|options| options.config("rustka.groups.pending.ids.per.address.max", "5"));
    let mut flood = world.connect();
    let names: Vec<String> = (0..20).map(|n| format!("group-{n}")).collect();
    let partitions: BTreeSet<u32> = names.iter().map(|name| partition_for(name, 50)).collect();
    let mut flooded = async || {
        let mut last = String::new();
        for group in &names {
            let (code, id) = refused(&mut flood, &join(group, "", b"t")).await;
            assert_eq!(code, ErrorCode::MemberIdRequired);
            last = id;
        }
        last
    };
    let groups = &world.broker.parts().groups;
    let held = || groups.counts().1;
    flooded().await;
    // Beyond the limit it has one in each partition, so that no other group is shut to it.
    let most = held();
    assert!(
        (IDS_MAX..=IDS_MAX + partitions.len()).contains(&most),
        "{most}"
    );
    let last = flooded().await;
    assert_eq!(held(), most, "each takes the place of one before it");
    let mut other = world.connect_from(([10, 0, 0, 8], 1).into());
    let (code, _) = refused(&mut other, &join("group-0", "", b"t")).await;
    assert_eq!(code, ErrorCode::MemberIdRequired);
    assert_eq!(held(), most + 1);
    // The owner of the youngest comes with it.
    other
        .send(
            JoinGroupRequest::KEY,
            VERSION,
            &join(&names[19], &last, b"t"),
        )
        .await;
    world.settle().await;
    assert_eq!(held(), most);
    // The others' sessions end; then the journals are lost with all they hold.
    world.advance_ms(10_500).await;
    assert_eq!(held(), 0);
    flooded().await;
    assert!(held() >= IDS_MAX);
    groups.topic_deleted(&groups.offsets_topic().expect("a topic"));
    assert_eq!((held(), groups.pending_ids()), (0, 0));
}

#[tokio::test]
async fn attack_24_a_flood_of_groups_ends_at_the_limit_and_is_forgotten() {
    /// Twice its part for one of one partitions.
    const GROUPS_MAX: usize = 20;
    let world = World::with(|options| {
        let options = options.config("offsets.topic.num.partitions", "1");
        options.config("rustka.groups.count.max", "10")
    });
    let mut neighbour = Neighbour::settle(&world).await;
    let mut flood = world.connect();
    flood.create_topic("t", 1).await;
    let count = || world.broker.parts().groups.counts().0;
    for made in 0..100 {
        let (code, _) = refused(&mut flood, &join(&format!("g{made}"), "", b"t")).await;
        assert_eq!(
            code,
            ErrorCode::MemberIdRequired,
            "the oldest of them gives way"
        );
        assert!(count() <= GROUPS_MAX);
    }
    neighbour.is_well().await;
    // Groups in which nothing ever happened go when offsets are looked through.
    for _ in 0..70 {
        world.advance_ms(9_000).await;
        neighbour.is_well().await;
    }
    assert_eq!(count(), 1);
    // The flood's own connection was idle for so long that it is gone. What holds offsets does not give way.
    let mut late = world.connect();
    for made in 1..GROUPS_MAX {
        let code = commit(&mut late, &format!("kept{made}"), "").await;
        assert_eq!(code, ErrorCode::None);
    }
    let code = commit(&mut late, "one more", "").await;
    assert_eq!(code, ErrorCode::CoordinatorLoadInProgress);
    let (code, _) = refused(&mut late, &join("one more", "", b"t")).await;
    assert_eq!(code, ErrorCode::CoordinatorLoadInProgress);
    neighbour.is_well().await;
}
