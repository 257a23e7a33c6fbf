//! Members of groups, on a broker in this process.

mod common;

use common::World;
use rustka::fault::{Fault, Point};
use rustka_client::{
    Client, GroupConsumer, GroupOptions, GroupProtocol, NewRecord, ProduceOptions, Producer, Start,
};
use rustka_core::error::ErrorCode;
use rustka_wire::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use std::collections::BTreeMap;

fn from_the_start() -> GroupOptions {
    GroupOptions {
        start: Start::Earliest,
        ..GroupOptions::default()
    }
}

fn member(client: &Client) -> GroupConsumer {
    GroupConsumer::new(client, "g", &["t"], from_the_start())
}

/// A member of the consumer protocol, to which the broker assigns.
fn assigned_member(client: &Client) -> GroupConsumer {
    let options = GroupOptions {
        protocol: GroupProtocol::Consumer,
        ..from_the_start()
    };
    GroupConsumer::new(client, "g", &["t"], options)
}

/// One record in each of so many partitions of `t`.
async fn fill(client: &Client, partitions: i32) {
    let mut producer = Producer::new(client, ProduceOptions::default());
    let records: Vec<NewRecord> = (0..partitions)
        .map(|partition| NewRecord {
            partition: Some(partition),
            ..NewRecord::value("v")
        })
        .collect();
    producer.send("t", &records).await.unwrap();
}

/// Polls until there is nothing for a while; the partitions that records came from.
async fn drain(member: &mut GroupConsumer) -> Vec<i32> {
    let mut partitions = Vec::new();
    while let Some(fetched) = member.poll().await.unwrap() {
        partitions.extend(fetched.records.iter().map(|_| fetched.partition));
    }
    partitions.sort_unstable();
    partitions
}

#[tokio::test]
async fn a_group_goes_on_where_it_has_committed() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 3, 1).await.unwrap();
            fill(&client, 3).await;
            let mut first = member(&client);
            assert_eq!(drain(&mut first).await, [0, 1, 2]);
            assert_eq!(first.assigned()["t"], [0, 1, 2]);
            first.leave().await.unwrap();
            fill(&client, 3).await;
            let mut second = member(&client);
            assert_eq!(drain(&mut second).await, [0, 1, 2]);
            second.commit().await.unwrap();
            let committed = client.committed("g").await.unwrap();
            let offsets: Vec<i64> = committed.values().map(|at| at.offset).collect();
            assert_eq!(offsets, [2, 2, 2]);
        })
        .await;
}

#[tokio::test]
async fn members_share_the_partitions_and_take_over_from_who_leaves() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 4, 1).await.unwrap();
            let (mut a, mut b) = (member(&client), member(&client));
            while share(&a) != 2 || share(&b) != 2 {
                let (of_a, of_b) = tokio::join!(a.poll(), b.poll());
                of_a.unwrap();
                of_b.unwrap();
            }
            assert_eq!(a.generation(), b.generation());
            fill(&client, 4).await;
            let (of_a, of_b) = tokio::join!(drain(&mut a), drain(&mut b));
            assert_eq!((of_a.len(), of_b.len()), (2, 2));
            b.leave().await.unwrap();
            while share(&a) != 4 {
                // What the other one has read is committed, so that nothing comes twice.
                assert!(a.poll().await.unwrap().is_none());
            }
            fill(&client, 4).await;
            assert_eq!(drain(&mut a).await, [0, 1, 2, 3]);
        })
        .await;
}

/// How many partitions of `t` a member has.
fn share(member: &GroupConsumer) -> usize {
    member.assigned().get("t").map_or(0, Vec::len)
}

#[tokio::test]
async fn members_of_the_consumer_protocol_are_told_by_the_broker_what_to_read() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 4, 1).await.unwrap();
            fill(&client, 4).await;
            let (mut a, mut b) = (assigned_member(&client), assigned_member(&client));
            assert_eq!(drain(&mut a).await, [0, 1, 2, 3]);
            while share(&a) != 2 || share(&b) != 2 {
                let (of_a, of_b) = tokio::join!(a.poll(), b.poll());
                // Nothing comes twice: who gives a partition up has committed how far it was read.
                assert!(of_a.unwrap().is_none() && of_b.unwrap().is_none());
            }
            let told = client.describe_any_group("g").await.unwrap();
            assert_eq!((told.members.len(), told.assignor.as_str()), (2, "uniform"));
            fill(&client, 4).await;
            let (of_a, of_b) = tokio::join!(drain(&mut a), drain(&mut b));
            assert_eq!((of_a.len(), of_b.len()), (2, 2));
            b.leave().await.unwrap();
            while share(&a) != 4 {
                assert!(a.poll().await.unwrap().is_none());
            }
            fill(&client, 4).await;
            assert_eq!(drain(&mut a).await, [0, 1, 2, 3]);
            a.leave().await.unwrap();
            let committed = client.committed("g").await.unwrap();
            assert!(committed.values().all(|at| at.offset == 3), "{committed:?}");
        })
        .await;
}

#[tokio::test]
async fn members_of_the_consumer_protocol_share_whichever_heartbeat_is_lost() {
    for point in [Point::Dispatch, Point::Reply] {
        for nth in 1..=8 {
            share_although(Fault {
                api: Some(ConsumerGroupHeartbeatRequest::KEY),
                nth,
                ..Fault::at(point)
            })
            .await;
        }
    }
}

/// A second member gets its share before the rebalance timeout ends, which is longer than [`World::run`] takes at most.
async fn share_although(fault: Fault) {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 4, 1).await.unwrap();
            fill(&client, 4).await;
            let (mut a, mut b) = (assigned_member(&client), assigned_member(&client));
            assert_eq!(drain(&mut a).await, [0, 1, 2, 3]);
            let faults = &world.broker.node().faults;
            faults.arm(fault).unwrap();
            while share(&a) != 2 || share(&b) != 2 || faults.any_armed() {
                let (of_a, of_b) = tokio::join!(a.poll(), b.poll());
                of_a.unwrap();
                of_b.unwrap();
            }
            fill(&client, 4).await;
            let (of_a, of_b) = tokio::join!(drain(&mut a), drain(&mut b));
            let mut read = [of_a, of_b].concat();
            read.sort_unstable();
            read.dedup();
            assert_eq!(read, [0, 1, 2, 3]);
        })
        .await;
}

#[tokio::test]
async fn a_member_of_the_consumer_protocol_that_was_away_for_too_long_joins_again() {
    let world = World::start();
    let client = world.client();
    let mut absent = assigned_member(&client);
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            fill(&client, 1).await;
            assert_eq!(drain(&mut absent).await, [0]);
            absent.commit().await.unwrap();
        })
        .await;
    // Its session has ended by then, and its connections are closed.
    world.clock.advance(std::time::Duration::from_secs(3_600));
    world
        .run(async {
            fill(&client, 1).await;
            let mut read = Vec::new();
            while read.is_empty() {
                read.extend(drain(&mut absent).await);
            }
            // Only what came since: it goes on where it has committed.
            assert_eq!(read, [0]);
            absent.leave().await.unwrap();
            let told = client.describe_any_group("g").await.unwrap();
            assert!(told.members.is_empty());
        })
        .await;
}

#[tokio::test]
async fn a_member_that_was_away_for_too_long_joins_again() {
    let world = World::start();
    let client = world.client();
    let mut absent = member(&client);
    world
        .run(async {
            client.create_topic("t", 1, 1).await.unwrap();
            fill(&client, 1).await;
            assert_eq!(drain(&mut absent).await, [0]);
        })
        .await;
    // Its session has ended by then, and its connections are closed.
    world.clock.advance(std::time::Duration::from_secs(3_600));
    world
        .run(async {
            fill(&client, 1).await;
            // It had not committed the first record when it was taken for gone.
            let mut read = Vec::new();
            while read.len() < 2 {
                read.extend(drain(&mut absent).await);
            }
            assert_eq!(read, [0, 0]);
            absent.commit().await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_static_member_keeps_its_partitions_when_it_comes_back() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 2, 1).await.unwrap();
            let options = GroupOptions {
                instance_id: Some("one".into()),
                ..from_the_start()
            };
            let mut first = GroupConsumer::new(&client, "g", &["t"], options.clone());
            first.poll().await.unwrap();
            let generation = first.generation();
            first.leave().await.unwrap();
            let mut again = GroupConsumer::new(&client, "g", &["t"], options);
            again.poll().await.unwrap();
            assert_eq!(again.generation(), generation);
            assert_eq!(again.assigned()["t"], [0, 1]);
        })
        .await;
}

#[tokio::test]
async fn groups_are_listed_described_reset_and_deleted() {
    let world = World::start();
    let client = world.client();
    world
        .run(async {
            client.create_topic("t", 2, 1).await.unwrap();
            fill(&client, 2).await;
            let mut member = member(&client);
            drain(&mut member).await;
            let listed = client.list_groups().await.unwrap();
            let names: Vec<_> = listed.iter().map(|group| &*group.group_id).collect();
            assert_eq!(names, ["g"]);
            let described = client.describe_group("g").await.unwrap();
            assert_eq!(
                (&*described.group_state, described.members.len()),
                ("Stable", 1)
            );

            let busy = client.delete_group("g").await.unwrap_err();
            assert_eq!(busy.code(), Some(ErrorCode::NonEmptyGroup));
            let to = BTreeMap::from([(("t".to_owned(), 0), 1), (("t".to_owned(), 1), 0)]);
            let busy = client.reset_offsets("g", &to).await.unwrap_err();
            assert_eq!(busy.code(), Some(ErrorCode::UnknownMemberId), "{busy}");

            member.leave().await.unwrap();
            client.reset_offsets("g", &to).await.unwrap();
            let mut again = self::member(&client);
            assert_eq!(drain(&mut again).await, [1]);
            again.leave().await.unwrap();
            let forgotten = client.delete_offsets("g", "t", &[0]).await.unwrap();
            assert!(forgotten[&0].is_ok());
            let left: Vec<_> = client.committed("g").await.unwrap().into_keys().collect();
            assert_eq!(left, [("t".to_owned(), 1)]);
            client.delete_group("g").await.unwrap();
            assert!(client.list_groups().await.unwrap().is_empty());
        })
        .await;
}

/// Servers hand what they wait for from thread to thread.
#[tokio::test]
async fn whoever_waits_may_do_so_on_any_thread() {
    fn is_send<T: Send>(waiting: T) -> T {
        waiting
    }
    let world = World::start();
    let client = world.client();
    let mut member = member(&client);
    let mut producer = Producer::new(&client, ProduceOptions::default());
    let creating = is_send(client.create_topic("t", 1, 1));
    world.run(creating).await.unwrap();
    let sending = is_send(producer.send("t", &[]));
    assert!(world.run(sending).await.unwrap().is_empty());
    let polling = is_send(member.poll());
    assert!(world.run(polling).await.unwrap().is_none());
    world.run(is_send(member.leave())).await.unwrap();
}
