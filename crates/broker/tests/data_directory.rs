//! A broker whose records lie in files: what is there in its next life, after a stop and after a kill, and what it makes
//! of a directory that Apache Kafka has written.

mod common;

use common::{Client, World, batch, fetch_request, produce_request};
use rustka::{Broker, Clock};
use rustka_core::batch::BatchHeader;
use rustka_core::security::scram::Strength;
use rustka_storage::disk::{Files, SystemFiles};
use rustka_storage::testing::Folder;
use rustka_wire::describe_log_dirs_request::DescribeLogDirsRequest;
use rustka_wire::describe_log_dirs_response::DescribeLogDirsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use rustka_wire::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::metadata_response::MetadataResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::fs;
use std::path::Path;
use std::time::Duration;

const KAFKA_STORAGE_ERROR: i16 = 56;

/// A copy of a directory that Kafka 4.4 has written, one node of a broker and a controller, stopped in order. It has the
/// topic `orders` of two partitions with ten records each, `retention.ms=86400000` set for it, a committed and an aborted
/// transaction in partition 0, and the group `g` at offset 3 of partition 1.
fn of_kafka() -> Folder {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka-directory");
    Folder::copy_of(&from, "directory")
}

/// A copy of a directory of Kafka 4.4 that was killed: its metadata log begins at offset 507, and snapshots for 509 and 549
/// tell what came before. It has the topic `orders` of two partitions with `retention.ms=86400000` and twenty records, the
/// group `billing` that has read twelve, and alice with a password and a quota.
fn of_kafka_behind_a_snapshot() -> Folder {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka-directory-snapshot");
    Folder::copy_of(&from, "directory")
}

fn start(folder: &Folder) -> World {
    World::with(|options| options.data_dir(&folder.0))
}

/// Ends a broker in order.
async fn stop(world: World) {
    world.broker.stop().await;
}

async fn produce(client: &mut Client, topic: &str, partition: i32) -> (i16, i64) {
    let request = ProduceRequest {
        acks: -1,
        ..produce_request(topic, partition, batch(10))
    };
    let answer = client.ask(ProduceRequest::KEY, 11, &request).await;
    let body: ProduceResponse<'_> = answer.body();
    let partition = &body.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

/// The high watermark, and the offsets of all batches, with their epochs. What is in files and what is in memory comes in
/// different answers.
async fn fetch(client: &mut Client, topic: &str, partition: i32) -> (i64, Vec<(i64, i32)>) {
    let (mut found, mut next) = (Vec::new(), 0);
    loop {
        let request = fetch_request(topic, partition, next, 0);
        let answer = client.ask(FetchRequest::KEY, 12, &request).await;
        let body: FetchResponse<'_> = answer.body();
        let partition = &body.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let records = partition.records.as_ref();
        let mut left = records.map_or(&[][..], |records| records.as_bytes());
        if left.is_empty() {
            return (partition.high_watermark, found);
        }
        while let Ok(header) = BatchHeader::parse(left) {
            found.push((header.base_offset, header.partition_leader_epoch));
            next = header.last_offset().expect("small") + 1;
            left = &left[header.total_bytes()..];
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_and_records_are_there_in_the_next_life() {
    let folder = Folder::new("directory");
    let world = start(&folder);
    let id = world.broker.node().cluster_id.clone();
    let mut client = world.connect();
    client.create_topic("t", 2).await;
    for offset in 0..3 {
        assert_eq!(produce(&mut client, "t", 1).await, (0, offset));
    }
    let topic_id = world.broker.node().topics.by_name("t").expect("there").id;
    stop(world).await;
    assert!(folder.0.join("t-1/00000000000000000000.log").exists());
    assert!(
        !folder.0.join("t-0").exists(),
        "nothing was ever written there"
    );
    assert!(!folder.0.join(".lock").exists());

    let world = start(&folder);
    let node = world.broker.node();
    assert_eq!(node.cluster_id, id);
    assert_eq!(node.topics.by_name("t").expect("there").id, topic_id);
    let mut client = world.connect();
    let (high, batches) = fetch(&mut client, "t", 1).await;
    assert_eq!((high, batches), (3, vec![(0, 0), (1, 0), (2, 0)]));
    assert_eq!(produce(&mut client, "t", 1).await, (0, 3));
    // As in Kafka, leaders have new epochs.
    assert_eq!(fetch(&mut client, "t", 1).await.1[3], (3, 2));
    stop(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topic_leaves_nothing_to_the_one_that_is_called_so_after_it() {
    let folder = Folder::new("directory");
    let world = start(&folder);
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    assert_eq!(produce(&mut client, "t", 0).await, (0, 0));
    client.delete_topic("t").await;
    client.create_topic("t", 1).await;
    assert_eq!(produce(&mut client, "t", 0).await, (0, 0));
    stop(world).await;
    let world = start(&folder);
    assert_eq!(fetch(&mut world.connect(), "t", 0).await.0, 1);
    stop(world).await;
    let folders = fs::read_dir(&folder.0).expect("the directory");
    let names = folders.map(|entry| entry.expect("an entry").file_name());
    let strays: Vec<_> = names
        .filter(|name| name.to_string_lossy().ends_with("-stray"))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_and_what_was_whole_stays() {
    let folder = Folder::new("directory");
    let world = start(&folder);
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    for offset in 0..3 {
        assert_eq!(produce(&mut client, "t", 0).await, (0, offset));
    }
    stop(world).await;
    let log = folder.0.join("t-0/00000000000000000000.log");
    let whole = fs::read(&log).expect("the log");
    let marks = [".kafka_cleanshutdown", "recovery-point-offset-checkpoint"];
    for lost in [1, 30, whole.len() / 3 - 1] {
        fs::write(&log, &whole[..whole.len() - lost]).expect("written");
        // As if it had not come to the sync.
        for mark in marks {
            fs::remove_file(folder.0.join(mark)).expect("removed");
        }
        let world = start(&folder);
        let mut client = world.connect();
        assert_eq!(
            fetch(&mut client, "t", 0).await.0,
            2,
            "{lost} bytes are lost"
        );
        assert_eq!(produce(&mut client, "t", 0).await, (0, 2));
        stop(world).await;
    }
}

/// Kafka cuts a log at the first batch that is damaged, also where what lies behind it was promised to be kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_what_was_promised_takes_its_own_offsets_out_and_no_others() {
    let folder = Folder::new("directory");
    let world = start(&folder);
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    for offset in 0..3 {
        assert_eq!(produce(&mut client, "t", 0).await, (0, offset));
    }
    stop(world).await;
    let log = folder.0.join("t-0/00000000000000000000.log");
    let mut damaged = fs::read(&log).expect("the log");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&log, &damaged).expect("written");
    fs::remove_file(folder.0.join(".kafka_cleanshutdown")).expect("removed");
    for life in 0..2 {
        let world = start(&folder);
        let partition = world.broker.node().partition("t", 0).expect("there");
        partition.opened().await;
        assert_eq!(partition.damaged(), std::slice::from_ref(&(1..2)));
        let mut client = world.connect();
        let mut read = Vec::new();
        for offset in 0..3 {
            read.push(client.first_batch("t", 0, offset).await);
        }
        let torn = (KAFKA_STORAGE_ERROR, None);
        assert_eq!(read, [(0, Some(0)), torn, (0, Some(2))]);
        assert_eq!(produce(&mut client, "t", 0).await, (0, 3 + life));
        stop(world).await;
        fs::remove_file(folder.0.join(".kafka_cleanshutdown")).expect("removed");
    }
    let after = fs::read(&log).expect("the log");
    assert_eq!(after[..damaged.len()], damaged, "nothing was cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_kafka_is_served_as_it_is() {
    let folder = of_kafka();
    let world = start(&folder);
    assert!(!folder.0.join(".kafka_cleanshutdown").exists());
    let node = world.broker.node();
    assert_eq!(node.cluster_id, "5L6g3nShT-eMCtK--X86sw");
    let orders = node.topics.by_name("orders").expect("there");
    assert_eq!(orders.config.now().retention_ms, 86_400_000);
    let mut client = world.connect();
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let answer = client.ask(MetadataRequest::KEY, 12, &all).await;
    let metadata: MetadataResponse<'_> = answer.body();
    let topic = metadata
        .topics
        .iter()
        .find(|topic| topic.name.as_deref() == Some("orders"))
        .expect("told");
    let leaders = topic
        .partitions
        .iter()
        .map(|one| (one.leader_id, one.leader_epoch));
    assert_eq!(leaders.collect::<Vec<_>>(), [(1, 2), (1, 2)]);
    drop(answer);
    // Ten records; one that was committed and one that was not, with their markers.
    assert_eq!(fetch(&mut client, "orders", 0).await.0, 14);
    assert_eq!(fetch(&mut client, "orders", 1).await.0, 10);
    let partition = node.partition("orders", 0).expect("there");
    let aborted = partition.with_state(|state| state.aborted_between(0, 14).len());
    assert_eq!(aborted, Ok(1));
    assert_eq!(committed(&mut client).await, 3);
    assert_eq!(produce(&mut client, "orders", 1).await, (0, 10));
    stop(world).await;

    let world = start(&folder);
    let mut client = world.connect();
    assert_eq!(fetch(&mut client, "orders", 1).await.0, 11);
    assert_eq!(committed(&mut client).await, 3);
    stop(world).await;
}

fn remove_snapshots(folder: &Folder) {
    let metadata = folder.0.join("__cluster_metadata-0");
    for entry in fs::read_dir(metadata).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "checkpoint") {
            fs::remove_file(path).expect("removed");
        }
    }
}

/// What a start is refused with.
fn refusal(folder: &Folder) -> String {
    let options = Broker::builder()
        .sockets(false)
        .clock(Clock::manual(common::START_MS));
    let refused = options.data_dir(&folder.0).start();
    refused.err().expect("refused").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_begins_behind_a_snapshot_is_all_there() {
    let folder = of_kafka_behind_a_snapshot();
    for produced in 20..22 {
        let world = start(&folder);
        let node = world.broker.node();
        let orders = node.topics.by_name("orders").expect("there");
        assert_eq!(orders.config.now().retention_ms, 86_400_000);
        assert!(
            node.security
                .credential(Strength::Sha256, "alice")
                .is_some()
        );
        let mut client = world.connect();
        assert_eq!(fetch(&mut client, "orders", 1).await.0, produced);
        assert_eq!(committed_by(&mut client, "billing").await, 12);
        assert_eq!(produce(&mut client, "orders", 1).await, (0, produced));
        stop(world).await;
    }
    remove_snapshots(&folder);
    let told = refusal(&folder);
    assert!(
        told.contains(
            "the log of its metadata begins at offset 507, and no snapshot tells what came before"
        ),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_damaged_or_ahead_of_its_log_is_told_of() {
    let folder = of_kafka_behind_a_snapshot();
    let name = |offset: u64| format!("__cluster_metadata-0/{offset:020}-0000000001.checkpoint");
    let newest = folder.0.join(name(549));
    let whole = fs::read(&newest).expect("a snapshot");
    fs::write(&newest, &whole[..whole.len() - 1]).expect("written");
    let told = refusal(&folder);
    assert!(
        told.contains("549-0000000001.checkpoint") && told.contains("cannot be used"),
        "{told}"
    );
    fs::write(&newest, &whole).expect("written");
    fs::copy(&newest, folder.0.join(name(9_999))).expect("copied");
    let told = refusal(&folder);
    assert!(
        told.contains("and its newest snapshot tells of what comes up to 9999"),
        "{told}"
    );
    fs::remove_file(folder.0.join(name(9_999))).expect("removed");
    stop(start(&folder)).await;
}

/// Kafka loads the snapshot and goes on behind it, so that a directory may be made of nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_is_a_snapshot_alone_is_all_there_and_goes_on_behind_it() {
    let folder = of_kafka_behind_a_snapshot();
    let metadata = folder.0.join("__cluster_metadata-0");
    for entry in fs::read_dir(&metadata).expect("a folder") {
        let path = entry.expect("an entry").path();
        let kept = path
            .extension()
            .is_some_and(|ending| ending == "checkpoint");
        if !kept || path.ends_with("00000000000000000509-0000000001.checkpoint") {
            fs::remove_file(&path).expect("removed");
        }
    }
    for round in 0..3 {
        let world = start(&folder);
        let mut client = world.connect();
        assert_eq!(client.metadata("orders").await.1.len(), 2);
        assert_eq!(client.metadata("new").await.0 == 0, round > 0);
        if round == 0 {
            client.create_topic("new", 1).await;
            assert_eq!(produce(&mut client, "new", 0).await, (0, 0));
        }
        let offsets = world.broker.parts().cluster.log_offsets();
        assert_eq!(offsets.log_start, 549, "round {round}");
        stop(world).await;
        let first = metadata.join("00000000000000000549.log");
        assert!(first.exists() && !metadata.join("00000000000000000000.log").exists());
    }
}

/// How many segments the cluster's log has.
fn metadata_segments(folder: &Folder) -> usize {
    let listed = fs::read_dir(folder.0.join("__cluster_metadata-0")).expect("a folder");
    let names = listed.map(|entry| entry.expect("an entry").path());
    names
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_of_the_metadata_log_are_cut_by_their_age() {
    let folder = Folder::new("directory");
    let world = World::with(|options| {
        options
            .data_dir(&folder.0)
            .config("metadata.log.segment.ms", "60000")
    });
    let mut client = world.connect();
    client.create_topic("a", 1).await;
    world.clock.advance(Duration::from_secs(50));
    client.create_topic("b", 1).await;
    assert_eq!(metadata_segments(&folder), 1);
    world.clock.advance(Duration::from_secs(50));
    client.create_topic("c", 1).await;
    assert_eq!(metadata_segments(&folder), 2);
    stop(world).await;
    let world = start(&folder);
    for name in ["a", "b", "c"] {
        assert_eq!(world.connect().metadata(name).await.0, 0, "{name}");
    }
    stop(world).await;
}

/// Gives the topic `t` a config whose value may be long.
async fn set_throttled(client: &mut Client, value: &str) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![AlterableConfig {
                name: "leader.replication.throttled.replicas".into(),
                config_operation: 0,
                value: Some(value.into()),
            }],
        }],
        validate_only: false,
    };
    let key = IncrementalAlterConfigsRequest::KEY;
    let answer = client.ask(key, 1, &request).await;
    let body: IncrementalAlterConfigsResponse<'_> = answer.body();
    assert_eq!(body.responses[0].error_code, 0, "{body:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_of_the_metadata_log_are_cut_by_their_size() {
    let folder = Folder::new("directory");
    // The least that Kafka allows.
    let least = 8 << 20;
    let world = World::with(|options| {
        options
            .data_dir(&folder.0)
            .config("metadata.log.segment.bytes", least.to_string())
    });
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let value_bytes = 24_000;
    for n in 0..=least / value_bytes {
        // What is there twice is kept once.
        let items: Vec<String> = (0..value_bytes / 6).map(|at| format!("{n}:{at}")).collect();
        set_throttled(&mut client, &items.join(",")).await;
        assert!(n > 100 || metadata_segments(&folder) == 1);
    }
    assert_eq!(metadata_segments(&folder), 2);
    stop(world).await;
}

/// A log that was never shortened filled the disk of a broker whose topics came and went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metadata_log_gets_snapshots_and_does_not_grow_for_ever() {
    let folder = Folder::new("directory");
    let begin = || {
        World::with(|options| {
            options
                .data_dir(&folder.0)
                .config("metadata.log.max.record.bytes.between.snapshots", "4000")
                .config("metadata.log.max.snapshot.interval.ms", "60000")
                .config("metadata.max.retention.bytes", "20000")
        })
    };
    let kept = || {
        let listed = fs::read_dir(folder.0.join("__cluster_metadata-0")).expect("a folder");
        let names = listed.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.into_string().expect("text"));
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".checkpoint")).collect();
        names.sort();
        names
    };
    let mut first_start = 0;
    for life in 0..2 {
        let world = begin();
        let mut client = world.connect();
        client.create_topic(&format!("stays-{life}"), 1).await;
        let cluster = world.broker.parts().cluster.clone();
        for n in 0..120 {
            client.create_topic(&format!("comes-{n}"), 3).await;
            client.delete_topic(&format!("comes-{n}")).await;
            cluster.keep_snapshots().await;
        }
        // What is retired is looked at once a minute.
        for _ in 0..2 {
            world.clock.advance(Duration::from_secs(61));
            cluster.keep_snapshots().await;
        }
        let log = world
            .broker
            .node()
            .metadata_log
            .get()
            .expect("a log")
            .clone();
        assert!(log.bytes() < 20_000, "{} bytes", log.bytes());
        let offsets = log.offsets();
        assert!(offsets.log_start > first_start, "{offsets:?}");
        first_start = offsets.log_start;
        let kept = kept();
        assert!((1..8).contains(&kept.len()), "{kept:?}");
        let last = format!("{:020}-", offsets.log_end);
        assert!(
            kept.last().expect("one").starts_with(&last),
            "{kept:?} {last}"
        );
        stop(world).await;
    }
    let world = begin();
    let topics = &world.broker.node().topics;
    let names: Vec<_> = topics
        .all()
        .iter()
        .map(|topic| topic.name.to_string())
        .collect();
    assert_eq!(names, ["stays-0", "stays-1"]);
    stop(world).await;
    remove_snapshots(&folder);
    let told = refusal(&folder);
    assert!(
        told.contains("no snapshot tells what came before"),
        "{told}"
    );
}

/// What the group `g` has committed for partition 1 of `orders`.
async fn committed(client: &mut Client) -> i64 {
    committed_by(client, "g").await
}

async fn committed_by(client: &mut Client, group: &'static str) -> i64 {
    let (code, offset) = client.committed(group, "orders", 1).await;
    assert_eq!(code, 0);
    offset.expect("the partition that was asked for")
}

#[test]
fn a_directory_that_cannot_be_used_is_told_with_the_reason() {
    let started = refusal;
    let foreign = Folder::new("directory");
    fs::create_dir_all(foreign.0.join("photographs")).expect("a folder");
    assert!(started(&foreign).contains("holds folders but no meta.properties"));
    let old = Folder::new("directory");
    fs::create_dir_all(&old.0).expect("a folder");
    fs::write(
        old.0.join("meta.properties"),
        "version=0\nbroker.id=1\ncluster.id=x\n",
    )
    .expect("a file");
    assert!(started(&old).contains("ZooKeeper"));
    let file = Folder::new("directory");
    fs::write(&file.0, "").expect("a file");
    assert!(started(&file).contains("cannot be made"));
    fs::remove_file(&file.0).expect("removed");
    let shared = Folder::new("directory");
    let first = Broker::builder()
        .sockets(false)
        .data_dir(&shared.0)
        .start()
        .expect("a broker");
    assert!(started(&shared).contains("in use by another process"));
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cluster_begins_anew_beside_partitions_of_another() {
    let folder = Folder::new("directory");
    let world = start(&folder);
    world.connect().create_topic("t", 1).await;
    assert_eq!(produce(&mut world.connect(), "t", 0).await, (0, 0));
    stop(world).await;
    let metadata = folder.0.join("__cluster_metadata-0");
    let (log, away) = (
        metadata.join("00000000000000000000.log"),
        folder.0.join("away"),
    );
    fs::rename(&log, &away).expect("a file");
    let refused = || {
        let why = refusal(&folder);
        assert!(why.contains("holds partitions, such as t-0"), "{why}");
        assert!(why.contains("put that folder back"), "{why}");
        assert!(folder.0.join(".kafka_cleanshutdown").exists());
    };
    refused();
    fs::write(&log, "").expect("a file");
    refused();
    fs::rename(&away, &log).expect("a file");
    // Kafka does without this one of its metadata, too.
    fs::remove_file(metadata.join("partition.metadata")).expect("removed");
    let world = start(&folder);
    assert_eq!(produce(&mut world.connect(), "t", 0).await, (0, 1));
    stop(world).await;
    assert!(metadata.join("partition.metadata").exists());
    // Damage in it is told with what can be done.
    let mut bytes = fs::read(&log).expect("a file");
    bytes[100] ^= 1;
    fs::write(&log, bytes).expect("a file");
    let why = refusal(&folder);
    let advice = format!("`rustka log check {}` tells", folder.0.display());
    assert!(why.contains(&advice), "{why}");
}

#[test]
fn directories_that_nobody_has_named_are_not_taken_for_memory() {
    for value in ["", ",", " , "] {
        let options = Broker::builder().sockets(false).config("log.dirs", value);
        let why = options.start().err().expect("refused");
        assert!(why.to_string().contains("names no directory"), "{why}");
        assert!(why.is_contradiction());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_full_the_volume_is_and_how_long_syncs_take_is_told() {
    let folder = Folder::new("directory");
    let world = start(&folder);
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    assert_eq!(produce(&mut client, "t", 0).await, (0, 0));
    let request = DescribeLogDirsRequest { topics: None };
    let answer = client.ask(DescribeLogDirsRequest::KEY, 4, &request).await;
    let told: DescribeLogDirsResponse<'_> = answer.body();
    let volume = SystemFiles.room(&folder.0).expect("a volume");
    let directory = &told.results[0];
    assert_eq!(directory.log_dir, folder.0.to_string_lossy());
    assert_eq!(
        directory.total_bytes,
        i64::try_from(volume.total_bytes).expect("a size")
    );
    assert!((1..directory.total_bytes).contains(&directory.usable_bytes));
    let topic = directory.topics.iter().find(|topic| topic.name == "t");
    let size = topic.expect("there").partitions[0].partition_size;
    assert_eq!(size, batch(10).len() as i64);

    let figures = world.broker.node().engine.figures().expect("files");
    let timed: u64 = figures.syncs_by_time.iter().sum();
    assert!(timed > 0 && timed <= figures.syncs, "{figures:?}");
    assert!(
        figures.written_bytes > batch(10).len() as u64,
        "{figures:?}"
    );
    assert_eq!(figures.failures, 0);
    stop(world).await;
}
