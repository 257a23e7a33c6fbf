//! What clients have the broker remember beside records is counted, bounded by its part of the memory limit, and told.

mod common;

use common::{Client, World, batch, produce_request};
use rustka_core::account::Share;
use rustka_core::error::ErrorCode;
use rustka_wire::delete_groups_request::DeleteGroupsRequest;
use rustka_wire::delete_groups_response::DeleteGroupsResponse;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;

const LIMIT: u64 = 16 << 20;

/// Commits ten offsets of a group; the code of the first, which is that of all.
async fn commit(client: &mut Client, group: &str) -> i16 {
    let request = OffsetCommitRequest {
        group_id: group.to_owned().into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: (0..10)
                .map(|partition_index| OffsetCommitRequestPartition {
                    partition_index,
                    committed_offset: 1,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.ask(OffsetCommitRequest::KEY, 8, &request).await;
    let body: OffsetCommitResponse<'_> = answer.body();
    let codes: Vec<i16> = body.topics[0]
        .partitions
        .iter()
        .map(|one| one.error_code)
        .collect();
    assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
    codes[0]
}

async fn produce(client: &mut Client) -> i16 {
    let request = produce_request("t", 0, batch(10_000));
    let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
    let body: ProduceResponse<'_> = answer.body();
    body.responses[0].partition_responses[0].error_code
}

/// Groups with ten offsets each took 2.5 kB that nothing counted: 200,000 of them took half a gigabyte of a machine that
/// had given the broker 64 MiB.
#[tokio::test]
async fn a_flood_of_groups_is_refused_while_those_that_are_there_and_producers_go_on() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let account = world.broker.node().memory.account.clone();
    let mut client = world.connect();
    client.create_topic("t", 10).await;
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    client.ask(FindCoordinatorRequest::KEY, 4, &find).await;
    let (mut made, mut refused) = (0, 0);
    for n in 0..10_000 {
        match commit(&mut client, &format!("flood-{n}")).await {
            0 => made += 1,
            code => {
                assert_eq!(code, ErrorCode::CoordinatorLoadInProgress.code());
                refused += 1;
            }
        }
        if n % 100 == 0 {
            assert_eq!(produce(&mut client).await, 0, "after {n} groups");
        }
    }
    assert!(made > 1_000 && refused > 1_000, "{made} {refused}");
    assert!(account.bytes(Share::Groups) <= LIMIT as usize / 8);
    for n in 0..1_000 {
        assert_eq!(commit(&mut client, &format!("flood-{n}")).await, 0);
    }
    let memory = &world.broker.node().memory;
    assert!(memory.bytes_taken() <= memory.limit());
    let delete = DeleteGroupsRequest {
        groups_names: vec!["flood-0".into()],
    };
    let answer = client.ask(DeleteGroupsRequest::KEY, 2, &delete).await;
    let body: DeleteGroupsResponse<'_> = answer.body();
    assert_eq!(body.results[0].error_code, 0);
    assert_eq!(commit(&mut client, "flood-9999").await, 0);
}
