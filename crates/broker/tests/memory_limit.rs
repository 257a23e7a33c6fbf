//! A broker at its memory limit goes on: what can be freed is freed before a write is refused.

mod common;

use common::{Client, START_MS, World, batch, commit_request, produce_request};
use rustka::base::machine::Machine;
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_wire::Records;
use rustka_wire::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rustka_wire::create_topics_response::CreateTopicsResponse;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::offset_commit_request::OffsetCommitRequest;
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::produce_request::{PartitionProduceData, ProduceRequest};
use rustka_wire::produce_response::ProduceResponse;
use std::time::Duration;

const LIMIT: u64 = 16 << 20;
/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR.
const COME_AGAIN: [i16; 3] = [14, 15, 16];
/// How often a commit is tried again at most.
const COMMITS_AGAIN_MAX: u32 = 10;

/// The errors of a Produce of this batch to that many partitions.
async fn refused(client: &mut Client, topic: &str, partitions: i32, batch: Vec<u8>) -> usize {
    let mut request = produce_request(topic, 0, Vec::new());
    request.topic_data[0].partition_data = (0..partitions)
        .map(|index| PartitionProduceData {
            index,
            records: Some(Records::from(batch.clone())),
        })
        .collect();
    let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
    let body: ProduceResponse<'_> = answer.body();
    let partitions = &body.responses[0].partition_responses;
    partitions.iter().filter(|one| one.error_code != 0).count()
}

/// The error of a commit, 0 if it has none.
async fn refused_commit(client: &mut Client, group: &str) -> i16 {
    let answer = client
        .ask(OffsetCommitRequest::KEY, 8, &commit_request(group, "t", 40))
        .await;
    let body: OffsetCommitResponse<'_> = answer.body();
    let codes = body.topics[0].partitions.iter().map(|one| one.error_code);
    codes.max().unwrap_or(0)
}

/// Three hundred groups that commit offsets took all memory within seconds, for journals of which next to nothing was
/// live, and every Produce was refused ever after.
#[tokio::test]
async fn commits_of_many_groups_leave_room_for_records() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let mut client = world.connect();
    client.create_topic("t", 40).await;
    let request = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    client.ask(FindCoordinatorRequest::KEY, 4, &request).await;
    for n in 0..6_000 {
        let request = commit_request(&format!("group-{}", n % 300), "t", 40);
        let answer = client.ask(OffsetCommitRequest::KEY, 8, &request).await;
        let body: OffsetCommitResponse<'_> = answer.body();
        let partitions = &body.topics[0].partitions;
        assert!(
            partitions.iter().all(|one| one.error_code == 0),
            "commit {n}"
        );
        if n % 50 == 0 {
            let refused = refused(&mut client, "t", 1, batch(1_000)).await;
            assert_eq!(refused, 0, "after {n} commits");
        }
    }
}

async fn create_compacted(client: &mut Client, partitions: i32, dirty_ratio: &'static str) {
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", dirty_ratio),
    ];
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: "state".into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs
                .map(|(name, value)| CreatableTopicConfig {
                    name: name.into(),
                    value: Some(value.into()),
                })
                .into(),
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer = client.ask(CreateTopicsRequest::KEY, 7, &request).await;
    let created: CreateTopicsResponse<'_> = answer.body();
    assert_eq!(created.topics[0].error_code, 0);
}

/// Writes one of ten keys to each partition; how many were refused.
async fn write_key(client: &mut Client, partitions: i32, key: u64) -> usize {
    let record = NewRecord {
        timestamp: START_MS,
        key: Some(&(key % 10).to_be_bytes()),
        value: Some(&[7; 1_000]),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().record(&record).build();
    refused(client, "state", partitions, batch.expect("a batch")).await
}

/// Compacted partitions with little that had to stay filled memory with what compaction would have freed, in open chunks
/// that only a further write would have closed; and that was refused.
#[tokio::test]
async fn keys_that_are_written_again_and_again_never_fill_memory() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let mut client = world.connect();
    create_compacted(&mut client, 100, "0.5").await;
    for n in 0..400 {
        assert_eq!(write_key(&mut client, 100, n).await, 0, "round {n}");
        if n % 20 == 0 {
            world.compacted().await;
        }
    }
}

/// The same where compaction is not yet due by the topic's own ratio: memory was full for good.
#[tokio::test]
async fn what_compaction_can_free_is_freed_before_its_time_once_a_write_is_refused() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let mut client = world.connect();
    create_compacted(&mut client, 20, "1.0").await;
    let mut refusals = 0;
    for n in 0..2_000 {
        if write_key(&mut client, 20, n).await > 0 {
            refusals += 1;
            world.compacted().await;
            world.clock.advance(Duration::from_millis(500));
            assert_eq!(write_key(&mut client, 20, n).await, 0, "round {n}");
        }
    }
    assert!(refusals > 0, "the limit was reached");
}

/// A broker kept what it had freed for whoever came next, also while others on its machine waited for memory.
#[tokio::test]
async fn while_memory_is_short_on_the_machine_nothing_is_kept_for_later() {
    let root = std::env::temp_dir().join(format!("rustka-short-{}", std::process::id()));
    let pressure = root.join("proc/pressure");
    std::fs::create_dir_all(&pressure).expect("made");
    let tell = |text: &str| std::fs::write(pressure.join("memory"), text).expect("written");
    tell("some avg10=0.00 avg60=0.00\n");
    let world = World::with(|options| options.memory_limit(LIMIT).machine(Machine::at(&root)));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    for _ in 0..20 {
        assert_eq!(refused(&mut client, "t", 1, batch(100_000)).await, 0);
    }
    client.delete_topic("t").await;
    let pool = &world.broker.node().pool;
    world.advance_ms(1_000).await;
    assert!(pool.bytes_kept() >= 1_000_000, "{}", pool.bytes_kept());
    tell("some avg10=20.00 avg60=1.00\n");
    world.advance_ms(1_000).await;
    assert_eq!(pool.bytes_kept(), 0);
    std::fs::remove_dir_all(root).expect("removed");
}

/// Records that stay for good filled all memory there was; then no group could commit, and a journal that had no room to
/// be shortened in was never shortened.
#[tokio::test]
async fn records_that_stay_leave_room_for_groups_and_say_what_fills_the_memory() {
    let world = World::with(|options| options.memory_limit(LIMIT));
    let mut client = world.connect();
    create_compacted(&mut client, 10, "1.0").await;
    client.create_topic("t", 40).await;
    let mut sentence = None;
    for n in 0u64..40_000 {
        let record = NewRecord {
            timestamp: START_MS,
            key: Some(&n.to_be_bytes()),
            value: Some(&[7; 4_000]),
            ..NewRecord::default()
        };
        let batch = BatchBuilder::new()
            .record(&record)
            .build()
            .expect("a batch");
        let request = produce_request("state", 0, batch);
        let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
        let body: ProduceResponse<'_> = answer.body();
        let partition = &body.responses[0].partition_responses[0];
        if partition.error_code != 0 {
            sentence = partition.error_message.clone().map(String::from);
            break;
        }
    }
    let sentence = sentence.expect("the limit is reached, and told");
    for part in [
        "the memory limit of 16777216 bytes is reached and nothing may be dropped",
        "bytes of records of topics without delete in their cleanup.policy",
        "raise --memory-limit",
    ] {
        assert!(sentence.contains(part), "{sentence}");
    }
    for n in 0..3_000 {
        let group = format!("group-{}", n % 100);
        let mut refused = refused_commit(&mut client, &group).await;
        for _ in 0..COMMITS_AGAIN_MAX {
            if refused == 0 {
                break;
            }
            // Journals are shortened beside the requests; who comes too early is told to come again.
            assert!(COME_AGAIN.contains(&refused), "commit {n}: {refused}");
            world.done().await;
            refused = refused_commit(&mut client, &group).await;
        }
        assert_eq!(refused, 0, "commit {n}");
    }
    let memory = &world.broker.node().memory;
    assert!(memory.bytes_taken() <= memory.limit() + memory.limit() / 16);
    client.delete_topic("state").await;
    create_compacted(&mut client, 10, "1.0").await;
    assert_eq!(write_key(&mut client, 10, 1).await, 0);
}
