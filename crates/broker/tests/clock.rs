//! What a wall clock that is set wrong may do to what the broker holds, and when housekeeping looks.

mod common;

use common::{Client, START_MS, World, batch, fetch_request};
use rustka::fault::{Effect, Fault, Point};
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_wire::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rustka_wire::create_topics_response::CreateTopicsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use rustka_wire::offset_fetch_response::OffsetFetchResponse;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 86_400_000;

async fn create(client: &mut Client, name: &'static str, configs: &[(&'static str, &'static str)]) {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    });
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer = client.ask(CreateTopicsRequest::KEY, 7, &request).await;
    let created: CreateTopicsResponse<'_> = answer.body();
    assert_eq!(created.topics[0].error_code, 0, "{created:?}");
}

/// A record with this key and time, as long as a thousand others.
fn record(key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Vec<u8> {
    let record = NewRecord {
        timestamp,
        key: Some(key),
        value,
        headers: &[],
    };
    let built = BatchBuilder::new().record(&record).build();
    built.expect("a batch")
}

async fn commit(client: &mut Client) {
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "deleting".into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.ask(OffsetCommitRequest::KEY, 8, &request).await;
    let body: OffsetCommitResponse<'_> = answer.body();
    assert_eq!(body.topics[0].partitions[0].error_code, 0);
}

async fn committed(client: &mut Client) -> i64 {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "deleting".into(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.ask(OffsetFetchRequest::KEY, 8, &request).await;
    let body: OffsetFetchResponse<'_> = answer.body();
    body.groups[0].topics[0].partitions[0].committed_offset
}

/// What is left: the log start of both topics, records in the compacted one, the group's offset.
async fn left(world: &World, client: &mut Client) -> [i64; 4] {
    world.compacted().await;
    let node = world.broker.node();
    let partition = |topic| node.partition(topic, 0).expect("a partition");
    let mut batches = 0;
    let compacting = partition("compacting");
    let counted = compacting.each_batch(0, i64::MAX, |_| {
        batches += 1;
        true
    });
    counted.expect("readable");
    let start = |topic| partition(topic).offsets().log_start;
    let committed = committed(client).await;
    [start("deleting"), start("compacting"), batches, committed]
}

/// Lets time pass in steps, so that whatever looks now and then does.
async fn pass(world: &World, ms: u64) {
    for _ in 0..ms / MINUTE_MS {
        world.advance_ms(MINUTE_MS).await;
    }
}

/// A running broker whose clock was eight days ahead for a few seconds lost all offsets of groups that were between
/// two runs, and the records of topics that compact and delete. Setting the clock back brought nothing back.
#[tokio::test]
async fn a_clock_that_is_wrong_for_a_while_costs_nothing() {
    let world = World::with(|options| options.config("connections.max.idle.ms", "-1"));
    let mut client = world.connect();
    create(&mut client, "deleting", &[]).await;
    let configs = [
        ("cleanup.policy", "compact,delete"),
        ("min.cleanable.dirty.ratio", "0"),
        ("segment.ms", "1000"),
        ("max.compaction.lag.ms", "5000000000"),
        ("delete.retention.ms", "172800000"),
    ];
    create(&mut client, "compacting", &configs).await;
    client.produce("deleting", 0, batch(10)).await;
    // A tombstone among them, which is given its delete horizon before the clock jumps.
    for n in 0..4 {
        let at_ms = START_MS + n * 2_000;
        let value = (n != 1).then_some(&b"value"[..]);
        let record = record(&n.to_be_bytes(), value, at_ms);
        client.produce("compacting", 0, record).await;
    }
    commit(&mut client).await;
    pass(&world, 2 * MINUTE_MS).await;
    let all = left(&world, &mut client).await;
    assert_eq!(all, [0, 0, 4, 1]);

    world.clock.jump_wall(8 * DAY_MS);
    pass(&world, 9 * MINUTE_MS).await;
    assert_eq!(left(&world, &mut client).await, all, "not believed yet");
    world.clock.jump_wall(-8 * DAY_MS);
    pass(&world, HOUR_MS).await;
    assert_eq!(left(&world, &mut client).await, all);

    // A clock that stays where it is, is right.
    world.clock.jump_wall(8 * DAY_MS);
    pass(&world, HOUR_MS).await;
    assert_eq!(left(&world, &mut client).await, [1, 4, 0, -1]);
}

/// Tests and imports with old times lost their records ten seconds after they were acknowledged, whatever interval was
/// set: the check came every ten seconds at least.
#[tokio::test]
async fn retention_looks_when_kafka_does_and_as_often_as_is_set() {
    for (set, strict, first_ms, next_ms) in [
        (None, false, 30_000, 300_000),
        (None, true, 30_000, 300_000),
        (Some("1200000"), false, 30_000, 1_200_000),
        (Some("5000"), true, 30_000, 5_000),
    ] {
        let world = World::with(|options| {
            let options = options
                .strict(strict)
                .config("connections.max.idle.ms", "-1");
            match set {
                Some(ms) => options.config("log.retention.check.interval.ms", ms),
                None => options,
            }
        });
        let mut client = world.connect();
        create(&mut client, "t", &[]).await;
        let node = world.broker.node();
        let partition = node.partition("t", 0).expect("a partition");
        let mut start = 0;
        for wait_ms in [first_ms, next_ms, next_ms] {
            client.produce("t", 0, record(b"k", None, 1_000)).await;
            world.advance_ms(wait_ms - 1).await;
            assert_eq!(partition.offsets().log_start, start, "{set:?} {wait_ms}");
            world.advance_ms(1).await;
            start += 1;
            assert_eq!(partition.offsets().log_start, start, "{set:?} {wait_ms}");
        }
    }
}

/// A topic filled with its history kept everything: all of it lay in one chunk with a record of now.
#[tokio::test]
async fn old_records_go_though_new_ones_came_right_behind_them() {
    let world = World::start();
    let mut client = world.connect();
    let configs = [("segment.ms", "3600000"), ("retention.ms", "86400000")];
    create(&mut client, "t", &configs).await;
    for hours_ago in [100.0, 99.9, 0.0] {
        let at_ms = START_MS - (hours_ago * HOUR_MS as f64) as i64;
        client.produce("t", 0, record(b"k", None, at_ms)).await;
    }
    world.advance_ms(30_000).await;
    let node = world.broker.node();
    let partition = node.partition("t", 0).expect("a partition");
    assert_eq!(partition.offsets().log_start, 2);
}

/// A fetch that waits for a second, and whose answer is held back for another one: the second wait begins when the first
/// one ends, not when the test next looks at the clock.
#[tokio::test]
async fn time_that_passes_meets_each_deadline_in_its_turn() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let late = Fault {
        api: Some(FetchRequest::KEY),
        times: 2,
        ..Fault::at(Point::Reply).with(Effect::Delay(1_000))
    };
    world.broker.node().faults.arm(late).expect("it fits");
    let request = fetch_request("t", 0, 0, 1_000);
    client.send(FetchRequest::KEY, 12, &request).await;
    world.pass_ms(1_999).await;
    assert!(!client.has_answer());
    world.pass_ms(1).await;
    assert!(client.has_answer());
    client.answer(FetchRequest::KEY, 12).await;
    client.send(FetchRequest::KEY, 12, &request).await;
    world.advance_ms(2_000).await;
    assert!(
        !client.has_answer(),
        "a clock that jumps is later than both"
    );
}
