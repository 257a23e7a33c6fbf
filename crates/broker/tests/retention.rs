//! Records that go by what groups have read, and by a cap over everything, in memory and in files.
#![cfg(feature = "http")]

mod common;
mod page;

use common::{Client, START_MS, World, batch, flip_bit, folder_of_group};
use page::Page;
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_storage::disk::{Directory, DiskEngine, Files, Fsync, Identity};
use rustka_storage::testing::Folder;
use rustka_storage::testing::disk::SimulatedDisk;
use rustka_storage::{Engine, Memory};
use rustka_wire::Uuid;
use rustka_wire::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rustka_wire::create_topics_response::CreateTopicsResponse;
use rustka_wire::produce_response::ProduceResponse;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;
/// Large enough for a chunk of its own.
const VALUE_BYTES: usize = 100_000;

/// A broker that looks at retention every second, and does not mind connections silent for hours.
fn keen(more: &[(&str, &str)]) -> World {
    World::with(|options| {
        let options = options
            .config("connections.max.idle.ms", "-1")
            .config("log.retention.check.interval.ms", "1000");
        more.iter().fold(options, |options, (key, value)| {
            options.config(*key, *value)
        })
    })
}

async fn create(client: &mut Client, name: &str, configs: &[(&str, &str)]) -> i16 {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.to_owned().into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: configs
                .iter()
                .map(|(key, value)| CreatableTopicConfig {
                    name: (*key).to_owned().into(),
                    value: Some((*value).to_owned().into()),
                })
                .collect(),
            ..Default::default()
        }],
        timeout_ms: 1_000,
        ..Default::default()
    };
    let answer = client.ask(CreateTopicsRequest::KEY, 7, &request).await;
    let created: CreateTopicsResponse<'_> = answer.body();
    created.topics[0].error_code
}

fn log_start(world: &World, topic: &str) -> i64 {
    let partition = world.broker.node().partition(topic, 0).expect("there");
    partition.offsets().log_start
}

/// Self-hosters lost records that their consumers had not come to, with OFFSET_OUT_OF_RANGE after each longer stop.
#[tokio::test]
async fn what_a_group_has_not_read_stays_until_it_is_read() {
    let world = keen(&[]);
    let mut client = world.connect();
    for (topic, how) in [("held", "hold"), ("free", "none")] {
        let configs = [
            ("retention.ms", "1000"),
            ("rustka.retention.consumers", how),
        ];
        assert_eq!(create(&mut client, topic, &configs).await, 0);
        for _ in 0..4 {
            client.produce(topic, 0, batch(VALUE_BYTES)).await;
        }
        client.commit("slow", topic, 1).await;
        client.commit("quick", topic, 4).await;
    }
    world.advance_ms(HOUR_MS).await;
    assert_eq!(log_start(&world, "free"), 4);
    assert_eq!(log_start(&world, "held"), 1, "what slow has read may go");
    let page = Page(&world);
    let told = page.get("/api/v1/topics/held/retention").await.json();
    assert_eq!(told["consumers"], "hold");
    assert_eq!(
        told["holders"],
        json!([{ "group": "slow", "records": "3" }])
    );
    client.commit("slow", "held", 4).await;
    world.advance_ms(HOUR_MS).await;
    assert_eq!(log_start(&world, "held"), 4);
}

#[tokio::test]
async fn nothing_is_held_for_anybody_where_no_group_reads() {
    let world = keen(&[]);
    let mut client = world.connect();
    let configs = [
        ("retention.ms", "1000"),
        ("rustka.retention.consumers", "hold"),
    ];
    assert_eq!(create(&mut client, "t", &configs).await, 0);
    client.produce("t", 0, batch(VALUE_BYTES)).await;
    world.advance_ms(HOUR_MS).await;
    assert_eq!(log_start(&world, "t"), 1);
}

#[tokio::test]
async fn what_every_group_has_read_goes_early_and_what_one_has_not_stays() {
    let world = keen(&[]);
    let mut client = world.connect();
    let configs = [("rustka.retention.consumers", "drop")];
    assert_eq!(create(&mut client, "t", &configs).await, 0);
    for _ in 0..4 {
        client.produce("t", 0, batch(VALUE_BYTES)).await;
    }
    // Longer than the first look takes to come.
    world.advance_ms(60_000).await;
    assert_eq!(log_start(&world, "t"), 0, "nobody has read anything");
    client.commit("slow", "t", 2).await;
    client.commit("quick", "t", 4).await;
    world.advance_ms(2_000).await;
    assert_eq!(log_start(&world, "t"), 2);
    client.commit("slow", "t", 4).await;
    world.advance_ms(2_000).await;
    assert_eq!(log_start(&world, "t"), 4);
}

/// What a group has read may be known by nobody any more.
#[tokio::test]
async fn nothing_goes_early_while_what_some_groups_have_committed_cannot_be_read() {
    let folder = Folder::new("retention");
    let start = || {
        World::with(|options| {
            let options = options.config("log.retention.check.interval.ms", "1000");
            options.data_dir(&folder.0)
        })
    };
    let world = start();
    let mut client = world.connect();
    let configs = [
        ("rustka.retention.consumers", "drop"),
        ("segment.bytes", "1048576"),
    ];
    assert_eq!(create(&mut client, "t", &configs).await, 0);
    client.commit("slow", "t", 0).await;
    client.commit("quick", "t", 0).await;
    for _ in 0..3 {
        client.produce("t", 0, batch(700_000)).await;
    }
    world.broker.stop().await;
    let journal = folder_of_group(&folder.0, "slow");
    flip_bit(&journal.join("00000000000000000000.log"), 70);
    let world = start();
    world.connect().commit("quick", "t", 3).await;
    world.advance_ms(60_000).await;
    assert_eq!(log_start(&world, "t"), 0, "slow has not read it");
    world.broker.stop().await;
    std::fs::remove_dir_all(journal).expect("a folder");
    let world = start();
    world.connect().commit("slow", "t", 3).await;
    world.advance_ms(60_000).await;
    assert_eq!(log_start(&world, "t"), 3, "all have read it");
    world.broker.stop().await;
}

#[tokio::test]
async fn values_of_these_configs_that_make_no_sense_are_refused() {
    const INVALID_CONFIG: i16 = 40;
    let world = keen(&[]);
    let mut client = world.connect();
    let configs = [("rustka.retention.consumers", "keep")];
    assert_eq!(create(&mut client, "t", &configs).await, INVALID_CONFIG);
    let refused = rustka::Broker::builder()
        .config("rustka.retention.total.bytes", "-2")
        .sockets(false)
        .start();
    let why = refused.err().expect("a refusal").to_string();
    assert!(why.contains("rustka.retention.total.bytes"), "{why}");
}

/// A batch of one large record with a key.
fn keyed(timestamp: i64) -> Vec<u8> {
    let record = NewRecord {
        timestamp,
        key: Some(b"k"),
        value: Some(&[b'x'; 400_000]),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().record(&record).build();
    batch.expect("a batch")
}

/// Writes into two topics in turn and checks that the oldest of both went, down to the cap.
async fn check_cap(world: World) {
    const CAP: u64 = 3_000_000;
    let mut client = world.connect();
    // It is compacted and has more than its share, and none of it may go.
    let compacted = [("cleanup.policy", "compact")];
    let small = [("segment.bytes", "1048576")];
    let held = [
        ("segment.bytes", "1048576"),
        ("rustka.retention.consumers", "hold"),
    ];
    assert_eq!(create(&mut client, "compacted", &compacted).await, 0);
    assert_eq!(create(&mut client, "one", &small).await, 0);
    assert_eq!(create(&mut client, "other", &held).await, 0);
    client.commit("slow", "other", 0).await;
    let mut written = 0;
    for round in 0..12u64 {
        for topic in ["one", "other"] {
            // One is always a little older than the other.
            client.produce(topic, 0, keyed(START_MS + written)).await;
            written += 1;
        }
        if round == 0 {
            for _ in 0..2 {
                client.produce("compacted", 0, keyed(START_MS)).await;
            }
        }
    }
    world.pass_ms(3_000).await;
    let node = world.broker.node();
    let total: u64 = ["compacted", "one", "other"]
        .map(|topic| node.partition(topic, 0).expect("there").bytes())
        .iter()
        .sum();
    assert!(total <= CAP, "{total}");
    assert_eq!(log_start(&world, "compacted"), 0);
    let (one, other) = (log_start(&world, "one"), log_start(&world, "other"));
    assert!(
        one > 0 && other > 0 && (one - other).abs() <= 3,
        "{one} {other}"
    );
    assert!(total > CAP / 3, "it drops no more than it has to: {total}");
    world.broker.stop().await;
}

const CAPPED: [(&str, &str); 1] = [("rustka.retention.total.bytes", "3000000")];

#[tokio::test]
async fn a_cap_over_everything_drops_the_oldest_records_of_all_topics_in_memory() {
    check_cap(keen(&CAPPED)).await;
}

#[tokio::test]
async fn a_cap_over_everything_drops_the_oldest_records_of_all_topics_in_files() {
    let folder = Folder::new("retention");
    let world = World::with(|options| {
        let options = options.config("log.retention.check.interval.ms", "1000");
        let (key, value) = CAPPED[0];
        options.config(key, value).data_dir(&folder.0)
    });
    check_cap(world).await;
}

#[tokio::test]
async fn the_volume_and_the_syncs_are_among_the_metrics_and_on_the_page() {
    let folder = Folder::new("volume");
    let world = World::with(|options| options.data_dir(&folder.0));
    let mut client = world.connect();
    assert_eq!(create(&mut client, "t", &[]).await, 0);
    client.produce("t", 0, batch(100)).await;
    let page = Page(&world);
    let told = page.get("/metrics").await.body;
    let value = |name: &str| -> f64 {
        let line = told.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{name} is missing"));
        line.trim().parse().expect("a number")
    };
    assert!(value("rustka_disk_written_bytes_total ") > 100.0);
    assert!(value("rustka_disk_sync_duration_seconds_count ") >= 1.0);
    let all = value("rustka_disk_sync_duration_seconds_bucket{le=\"+Inf\"} ");
    assert_eq!(all, value("rustka_disk_sync_duration_seconds_count "));
    assert_eq!(value("rustka_disk_failures_total "), 0.0);
    assert!(value("rustka_disk_waiting{for=\"sync\"} ") >= 0.0);
    assert!(value("rustka_disk_free_bytes ") < value("rustka_disk_size_bytes "));
    let disk = &page.get("/api/v1/overview").await.json()["disk"];
    assert_eq!(disk["directory"], folder.0.to_string_lossy().as_ref());
    assert_eq!(disk["failures"], "0");
    world.broker.stop().await;

    let world = World::start();
    let page = Page(&world);
    assert!(page.get("/api/v1/overview").await.json()["disk"].is_null());
    assert!(!page.get("/metrics").await.body.contains("rustka_disk_"));
}

/// Real time; reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// A volume of 400 kB, of which a fortieth is reserved.
fn small_disk() -> (SimulatedDisk, Arc<DiskEngine>) {
    let root = Path::new("/data");
    let disk = SimulatedDisk::new(root);
    disk.resize(400_000);
    let owner = Identity {
        node_id: 1,
        cluster_id: "small".to_owned(),
        directory_id: Uuid([3; 16]),
    };
    let directory = Directory::open_in(Arc::new(disk.clone()), root, &owner);
    let directory = directory.expect("a directory");
    let engine = DiskEngine::new(directory, Memory::new(64 << 20), Fsync::Always);
    (disk, Arc::new(engine.expect("an engine")))
}

// The page took a volume for free again as soon as its reserve was given up, while writes were still refused.
#[tokio::test]
async fn the_page_says_that_the_volume_is_full_as_long_as_writes_are_refused() {
    let (disk, engine) = small_disk();
    let world = World::with(|options| options.engine(engine.clone()));
    let mut client = world.connect();
    assert_eq!(create(&mut client, "t", &[]).await, 0);
    let page = Page(&world);
    let is_full = async || page.get("/api/v1/overview").await.json()["disk"]["isFull"].clone();
    let used = || {
        let volume = disk.room(Path::new("/data")).expect("a volume");
        volume.total_bytes - volume.free_bytes
    };
    for _ in 0..30 {
        client.produce("t", 0, batch(10_000)).await;
    }
    world.advance_ms(1_000).await;
    assert_eq!(is_full().await, false);
    disk.resize(used() + used() / 100);
    until(&world, || engine.is_full()).await;
    // Its reserve is given up with the look that finds it full, and seen by the next one.
    for _ in 0..3 {
        world.advance_ms(1_000).await;
    }
    let refused = client.produce("t", 0, batch(100)).await;
    let refused: ProduceResponse<'_> = refused.body();
    let code = refused.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::KafkaStorageError.code());
    assert_eq!(is_full().await, true);
    disk.resize(1_000_000);
    until(&world, || !engine.is_full()).await;
    assert_eq!(is_full().await, false);
    let taken = client.produce("t", 0, batch(100)).await;
    let taken: ProduceResponse<'_> = taken.body();
    assert_eq!(taken.responses[0].partition_responses[0].error_code, 0);
}

/// Lets seconds pass until this is so: files are looked after on threads that no clock waits for.
async fn until(world: &World, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            world.advance_ms(1_000).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, waiting).await;
    in_time.expect("it comes in time");
}
