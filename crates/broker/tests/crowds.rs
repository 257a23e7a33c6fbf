//! Clients of every kind at once, on threads that really run side by side: each is served, and the broker stops when it
//! is told to. What one thread does while it holds something that another waits for shows here or nowhere.

mod common;

use common::producer::{NEWER, Producer};
use common::{Client, World, batch, commit_request, join_request};
use rustka_core::error::ErrorCode;
use rustka_wire::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use rustka_wire::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use rustka_wire::join_group_request::JoinGroupRequest;
use rustka_wire::join_group_response::JoinGroupResponse;
use rustka_wire::leave_group_request::LeaveGroupRequest;
use rustka_wire::leave_group_response::LeaveGroupResponse;
use rustka_wire::offset_commit_request::OffsetCommitRequest;
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::produce_response::ProduceResponse;
use std::sync::mpsc;
use std::time::Duration;

/// Clients of each kind, and how often each of them does its work.
const CLIENTS: usize = 3;
const ROUNDS: usize = 60;
/// Real time; reached only where a thread stands still.
const PATIENCE: Duration = Duration::from_secs(60);

/// A member of classic groups: comes, commits, goes.
async fn joins(mut client: Client, who: usize) {
    for round in 0..ROUNDS {
        let group = format!("classic-{}", (who + round) % CLIENTS);
        let mut request = join_request(&format!("{group}-{who}-{round}"));
        let given = client.ask(JoinGroupRequest::KEY, 4, &request).await;
        let given: JoinGroupResponse<'_> = given.body();
        assert_eq!(given.error_code, ErrorCode::MemberIdRequired.code());
        request.member_id = given.member_id.into_owned().into();
        let joined = client.ask(JoinGroupRequest::KEY, 4, &request).await;
        let joined: JoinGroupResponse<'_> = joined.body();
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        let leaves = LeaveGroupRequest {
            group_id: request.group_id,
            member_id: request.member_id,
            ..Default::default()
        };
        let left = client.ask(LeaveGroupRequest::KEY, 2, &leaves).await;
        assert_eq!(left.body::<LeaveGroupResponse<'_>>().error_code, 0);
        let commits = commit_request(&group, "t", 1);
        let committed = client.ask(OffsetCommitRequest::KEY, 7, &commits).await;
        let committed: OffsetCommitResponse<'_> = committed.body();
        assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    }
}

/// A member of a consumer group that others come to and leave as well.
async fn beats(mut client: Client, who: usize) {
    for round in 0..ROUNDS {
        let member = format!("member-{who}-{round}");
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: "consumers".into(),
            member_id: member.as_str().into(),
            rebalance_timeout_ms: 10_000,
            subscribed_topic_names: Some(vec!["t".into()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        for epoch in [0, -1] {
            request.member_epoch = epoch;
            let beat = client
                .ask(ConsumerGroupHeartbeatRequest::KEY, 1, &request)
                .await;
            let beat: ConsumerGroupHeartbeatResponse<'_> = beat.body();
            assert_eq!(beat.error_code, 0, "{:?}", beat.error_message);
        }
    }
}

/// A producer of transactions.
async fn transacts(mut client: Client, who: usize) {
    let id = format!("id-{who}");
    let mut producer = Producer::init(&mut client, &id, 60_000).await;
    for round in 0..ROUNDS {
        // The markers of the transaction before may still be on their way.
        let code = loop {
            let (code, _) = producer.produce(&mut client, NEWER, ("t", 0), 0).await;
            if code != ErrorCode::ConcurrentTransactions.code() {
                break code;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(code, 0);
        let (code, next) = producer.end(&mut client, NEWER, round % 2 == 0).await;
        assert_eq!(code, 0);
        producer = next;
    }
}

/// Somebody whose topics come and go.
async fn creates(mut client: Client, who: usize) {
    for round in 0..ROUNDS {
        let topic = format!("topic-{who}-{round}");
        client.create_topic(&topic, 2).await;
        let produced = client.produce(&topic, 1, batch(10)).await;
        let produced: ProduceResponse<'_> = produced.body();
        assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
        client.delete_topic(&topic).await;
    }
}

async fn crowd() {
    let world = World::with(|options| options.config("group.initial.rebalance.delay.ms", "0"));
    world.connect().create_topic("t", 1).await;
    let mut tasks = tokio::task::JoinSet::new();
    for who in 0..CLIENTS {
        tasks.spawn(joins(world.connect(), who));
        tasks.spawn(beats(world.connect(), who));
        tasks.spawn(transacts(world.connect(), who));
        tasks.spawn(creates(world.connect(), who));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a client that got its answers");
    }
    world.broker.stop().await;
}

// A thread that told news of groups while another did held up itself and soon all others: with a crowd of groups nobody
// was served any more, and the broker did not stop when told to.
#[test]
fn everybody_in_a_crowd_is_served_and_the_broker_stops() {
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .expect("threads");
        runtime.block_on(crowd());
        sender.send(()).expect("the test waits");
    });
    let ended = ended.recv_timeout(PATIENCE);
    ended.expect("everybody is served, and nobody's assertion failed");
}
