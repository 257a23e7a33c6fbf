//! Data directories that Apache Kafka has left: transactions in them that are open or half ended go on, and those that
//! are not to be served here are refused with a sentence and stay as they were.

mod common;
mod process;

use common::World;
use common::producer::{Producer, stable};
use process::server::Server;
use process::{Process, RUSTKA};
use rustka::{Broker, Clock};
use rustka_client::{Isolation, ProduceOptions, Start};
use rustka_core::batch::{BatchBuilder, NewRecord, Records, batches, record_bytes};
use rustka_core::cluster::place::{Place, Replicas};
use rustka_core::cluster::records::Record;
use rustka_core::cluster::resource::{Resource, ResourceKind};
use rustka_core::machine::JournalRecord;
use rustka_core::transaction::record::{Phase, Record as OfTransaction};
use rustka_storage::Safety;
use rustka_storage::testing::Folder;
use rustka_wire::register_broker_record::RegisterBrokerRecord;
use rustka_wire::{Uuid, Writer};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// As Kafka's controllers leave it where they are configured.
fn elected(voters: &[i32]) -> String {
    let voters: Vec<String> = voters
        .iter()
        .map(|id| format!(r#"{{"voterId":{id}}}"#))
        .collect();
    format!(
        r#"{{"clusterId":"","leaderId":1,"leaderEpoch":3,"votedId":-1,"appliedOffset":0,"currentVoters":[{}],"data_version":0}}"#,
        voters.join(",")
    )
}

/// A directory of Kafka's with a topic of one partition, to which `change` is done.
struct Foreign {
    folder: Folder,
    records: Vec<Vec<u8>>,
}

const TOPIC: Uuid = Uuid([9; 16]);

fn config(name: &'static str, value: &str) -> Record {
    Record::Config {
        resource: Resource::new(ResourceKind::Topic, "t"),
        name: name.into(),
        value: Some(value.into()),
    }
}

fn level(level: i16) -> Record {
    Record::Feature {
        name: "metadata.version".into(),
        level,
    }
}

fn held_by(nodes: &[i32]) -> Record {
    let mut replicas = Replicas::on(1, Uuid([2; 16]));
    replicas.all = nodes.to_vec();
    replicas.in_sync = nodes.to_vec();
    replicas.directories = vec![Uuid([2; 16]); nodes.len()];
    Record::Partitions {
        topic: TOPIC,
        numbers: 0..1,
        place: Place::new(&Arc::new(replicas)),
    }
}

impl Foreign {
    fn new(partition: &Record) -> Foreign {
        let folder = Folder::made("foreign");
        let root = &folder.0;
        let meta = "version=1\ncluster.id=5L6g3nShT-eMCtK--X86sw\nnode.id=1\n";
        fs::write(root.join("meta.properties"), meta).expect("written");
        let clean = r#"{"version":0,"brokerEpoch":18}"#;
        fs::write(root.join(".kafka_cleanshutdown"), clean).expect("written");
        for (name, id) in [("__cluster_metadata-0", Uuid([0; 16])), ("t-0", TOPIC)] {
            fs::create_dir(root.join(name)).expect("a folder");
            let id = match id {
                TOPIC => TOPIC.to_string(),
                _ => "AAAAAAAAAAAAAAAAAAAAAQ".to_owned(),
            };
            let owner = format!("version: 0\ntopic_id: {id}");
            fs::write(root.join(name).join("partition.metadata"), owner).expect("written");
        }
        let batch = batch(&[b"a record".to_vec()]);
        fs::write(root.join("t-0/00000000000000000000.log"), batch).expect("written");
        let state = root.join("__cluster_metadata-0/quorum-state");
        fs::write(state, elected(&[1])).expect("written");
        let topic = Record::Topic {
            name: "t".into(),
            id: TOPIC,
        };
        let mut foreign = Foreign {
            folder,
            records: Vec::new(),
        };
        for record in [&level(33), &topic, partition] {
            foreign.add(record);
        }
        foreign
    }

    fn add(&mut self, record: &Record) {
        record.encode(&mut |_, value| {
            self.records.push(value.expect("a value").to_vec());
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    fn start(&self) -> Result<Broker, String> {
        let log = self.path("__cluster_metadata-0/00000000000000000000.log");
        if !log.exists() {
            fs::write(log, batch(&self.records)).expect("written");
        }
        let options = Broker::builder()
            .sockets(false)
            .clock(Clock::manual(common::START_MS));
        let started = options.data_dir(&self.folder.0).start();
        started.map_err(|error| error.to_string())
    }

    /// Asserts that it is refused for this reason, and stays as it was.
    fn is_refused(&self, why: &str) {
        // The log of the metadata is written by the first try.
        let _first = self.start();
        let before = content(&self.folder.0);
        let told = self.start().err().expect("refused");
        assert!(told.contains(why), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert_eq!(content(&self.folder.0), before, "{told}");
        assert!(
            before
                .keys()
                .any(|name| name.ends_with(".kafka_cleanshutdown"))
        );
    }
}

fn batch(values: &[Vec<u8>]) -> Vec<u8> {
    let mut batch = BatchBuilder::new().leader_epoch(3);
    for value in values {
        batch.push(&NewRecord {
            value: Some(value),
            ..NewRecord::default()
        });
    }
    batch.build().expect("a batch")
}

/// All files and what is in them.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            all.insert(path, bytes);
        }
    }
    all
}

#[test]
fn a_directory_of_a_single_node_is_served() {
    let foreign = Foreign::new(&held_by(&[1]));
    let broker = foreign.start().expect("served");
    assert!(broker.node().topics.by_name("t").is_some());
    drop(broker);
    assert_eq!(
        fs::read_to_string(foreign.path("rustka-served")).expect("noted"),
        elected(&[1])
    );
}

/// What the broker logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("lines").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn with(&self, part: &str) -> usize {
        let bytes = self.0.lock().expect("lines").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().filter(|line| line.contains(part)).count()
    }
}

/// Runs a test again in a process of its own; whether this is not that one. Where several threads come to the same line of
/// the log for the first time, one that listens to it may miss it.
fn again_alone(test: &str) -> bool {
    const ALONE: &str = "RUSTKA_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let this = std::env::current_exe().expect("this program");
    let mut again = Command::new(this);
    let ended = again.args(["--exact", test]).env(ALONE, "1").output();
    let ended = ended.expect("it runs");
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && told.contains("1 passed"),
        "{told}"
    );
    true
}

#[test]
fn the_directory_knows_best_whose_it_is_and_what_was_found_is_told_once() {
    if again_alone("the_directory_knows_best_whose_it_is_and_what_was_found_is_told_once") {
        return;
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let foreign = Foreign::new(&held_by(&[1]));
    drop(foreign.start().expect("served"));
    let found = "was last served by Apache Kafka, as node 1 of cluster 5L6g3nShT-eMCtK--X86sw, with metadata.version 33 and 1 partitions of 1 topics, and it was stopped in order";
    assert_eq!(lines.with(found), 1);
    assert_eq!(lines.with("as configured"), 0);
    let options = Broker::builder()
        .sockets(false)
        .clock(Clock::manual(common::START_MS))
        .config("node.id", "7")
        .cluster_id("AAAAAAAAAAAAAAAAAAAAAA");
    let broker = options.data_dir(&foreign.folder.0).start().expect("served");
    assert_eq!(broker.node_id(), 1);
    assert_eq!(broker.node().cluster_id, "5L6g3nShT-eMCtK--X86sw");
    assert_eq!(lines.with("node.id is 1, as the data directory"), 1);
    assert_eq!(
        lines.with("the cluster id is 5L6g3nShT-eMCtK--X86sw, as the data directory"),
        1
    );
    assert_eq!(lines.with("was last served by Apache Kafka"), 1);
    drop(broker);
    // Kafka has had it in between.
    let state = foreign.path("__cluster_metadata-0/quorum-state");
    let later = elected(&[1]).replace("\"leaderEpoch\":3", "\"leaderEpoch\":4");
    fs::write(state, later).expect("written");
    drop(foreign.start().expect("served"));
    assert_eq!(lines.with("was last served by Apache Kafka"), 2);
}

#[test]
fn one_of_several_nodes_is_refused_and_left_alone() {
    let foreign = Foreign::new(&held_by(&[1, 2]));
    foreign.is_refused("is held by the nodes [1, 2], and this one is node 1");
    let foreign = Foreign::new(&held_by(&[1]));
    let state = foreign.path("__cluster_metadata-0/quorum-state");
    fs::write(state, elected(&[1, 2, 3])).expect("written");
    foreign.is_refused("its controllers are {1, 2, 3}");
    let mut foreign = Foreign::new(&held_by(&[1]));
    let mut other = Writer::new();
    for number in [1, 0, 4] {
        other.uvarint(number);
    }
    let record = RegisterBrokerRecord {
        broker_id: 7,
        ..RegisterBrokerRecord::default()
    };
    record.encode(&mut other, 4);
    foreign.records.push(other.buf);
    foreign.is_refused("its brokers are {7}");
}

#[test]
fn what_is_newer_or_older_is_refused_by_its_number_and_left_alone() {
    for (number, why) in [
        (
            34,
            "metadata.version is 34, and this one knows 7 to 33: a newer",
        ),
        (6, "metadata.version is 6"),
    ] {
        let mut foreign = Foreign::new(&held_by(&[1]));
        foreign.add(&level(number));
        foreign.is_refused(why);
    }
    let foreign = Foreign::new(&held_by(&[1]));
    let meta = "version=2\ncluster.id=5L6g3nShT-eMCtK--X86sw\nnode.id=1\n";
    fs::write(foreign.path("meta.properties"), meta).expect("written");
    foreign.is_refused("of version 2, and this one knows version 1");
    let mut old = batch(&[b"a record".to_vec()]);
    old[16] = 1;
    let foreign = Foreign::new(&held_by(&[1]));
    fs::write(foreign.path("t-0/00000000000000000000.log"), old).expect("written");
    foreign.is_refused("has records in format 1");
}

#[test]
fn remote_storage_and_zookeeper_are_refused_and_left_alone() {
    let mut foreign = Foreign::new(&held_by(&[1]));
    foreign.add(&config("remote.storage.enable", "true"));
    foreign.is_refused("has a part of the topic t in remote storage");
    let foreign = Foreign::new(&held_by(&[1]));
    let meta = "version=0\ncluster.id=5L6g3nShT-eMCtK--X86sw\nbroker.id=1\n";
    fs::write(foreign.path("meta.properties"), meta).expect("written");
    foreign.is_refused("of a broker that uses ZooKeeper");
}

/// A copy of a directory of Kafka 4.4 that was killed while `left-open` wrote into partition 0 of `orders`, whose sixteen
/// batches of one record are all of its transaction.
fn with_open_transaction() -> Folder {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka-directory-open");
    Folder::copy_of(&from, "foreign")
}

/// Has the coordinator's log say that it was decided how the transaction ends, and no more.
fn decide(folder: &Folder, phase: Phase) {
    let log = folder
        .0
        .join("__transaction_state-0/00000000000000000000.log");
    let mut bytes = fs::read(&log).expect("a log");
    let all = batches(&bytes).map(|batch| batch.expect("a batch"));
    let (last, place) = all.last().expect("one");
    let inner = record_bytes(&bytes[place], &last, 1 << 20).expect("records");
    let record = Records::new(&inner, last.record_count).next().expect("one");
    let record = record.expect("a record");
    let decoded = OfTransaction::decode(record.key, record.value).expect("a transaction's");
    let mut decided = decoded.expect("one of ours");
    let mut value = (**decided.value.as_ref().expect("a value")).clone();
    assert_eq!(value.phase, Phase::Ongoing);
    value.phase = phase;
    // By KIP-890 it has the epoch by then with which the markers are written.
    value.producer.epoch += i16::from(value.raises_epoch);
    decided.value = Some(Arc::new(value));
    let mut batch = BatchBuilder::new()
        .base_offset(last.last_offset().expect("small") + 1)
        .leader_epoch(last.partition_leader_epoch);
    decided.encode(&mut |key, value| {
        batch.push(&NewRecord {
            key,
            value,
            ..NewRecord::default()
        });
    });
    bytes.extend(batch.build().expect("a batch"));
    fs::write(&log, bytes).expect("written");
}

fn served(folder: &Folder) -> World {
    World::with(|options| options.data_dir(&folder.0))
}

const RECORDS: i64 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_kafka_has_left_open_is_open_and_ends_with_its_next_producer() {
    let folder = with_open_transaction();
    let left = Producer {
        id: "left-open".to_owned(),
        producer_id: 0,
        epoch: 0,
    };
    for _ in 0..2 {
        let world = served(&folder);
        let mut client = world.connect();
        assert_eq!(stable(&mut client, "orders", 0).await, (RECORDS, 0));
        assert_eq!(left.state(&mut client).await, "Ongoing");
        world.broker.stop().await;
    }
    let world = served(&folder);
    let mut client = world.connect();
    // It is told to come again until the markers are written.
    let next = in_time(async {
        loop {
            match Producer::try_init(&mut client, "left-open", 60_000).await {
                (0, next) => break next,
                (code, _) => assert_eq!(code, CONCURRENT_TRANSACTIONS),
            }
        }
    });
    let next = next.await;
    assert!(next.epoch > left.epoch, "{next:?}");
    let end = RECORDS + 1;
    assert_eq!(stable(&mut client, "orders", 0).await, (end, end));
    let partition = world.broker.node().partition("orders", 0).expect("there");
    let aborted = partition.with_state(|state| state.aborted_between(0, end).len());
    assert_eq!(aborted, Ok(1));
    world.broker.stop().await;
}

const CONCURRENT_TRANSACTIONS: i16 = 51;

/// What takes longer will not come.
async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(60);
    timeout(patience, awaited).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_kafka_has_decided_that_a_transaction_ends_is_how_it_ends() {
    for (phase, state, aborted) in [
        (Phase::PrepareCommit, "CompleteCommit", 0),
        (Phase::PrepareAbort, "CompleteAbort", 1),
    ] {
        let folder = with_open_transaction();
        decide(&folder, phase);
        let world = served(&folder);
        let mut client = world.connect();
        let end = RECORDS + 1;
        let partition = world.broker.node().partition("orders", 0).expect("there");
        in_time(partition.settled(end, Safety::Durable)).await;
        let left = Producer {
            id: "left-open".to_owned(),
            producer_id: 0,
            epoch: 0,
        };
        // The markers are there before the coordinator notes that.
        in_time(async {
            while left.state(&mut client).await != state {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(stable(&mut client, "orders", 0).await, (end, end));
        let seen = partition.with_state(|state| state.aborted_between(0, end).len());
        assert_eq!(seen, Ok(aborted));
        world.broker.stop().await;
    }
}

/// Ends a broker in order; all that it has said.
fn ended(mut server: Server) -> String {
    server.0.terminate();
    let status = server.0.child.wait().expect("an end");
    assert!(status.success());
    match server.0.child.stderr.is_some() {
        true => server.0.log(),
        false => String::new(),
    }
}

/// Each start of Kafka counts anew when the next entry is due, so that the indexes of a segment that has seen some have
/// fewer than ours would. After an orderly stop such a log was said not to have been left in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_with_fewer_entries_are_filled_in_without_a_word() {
    let folder = Folder::new("sparse");
    let server = Server::start(&folder, &[]);
    let client = server.client();
    client.create_topic("t", 1, 1).await.expect("a topic");
    let mut producer = rustka_client::Producer::new(&client, ProduceOptions::default());
    let value = "x".repeat(1_000);
    for _ in 0..30 {
        let record = rustka_client::NewRecord::value(value.as_str());
        let sent = producer.send("t", &[record]).await;
        sent.expect("written");
    }
    ended(server);
    let index = folder.0.join("t-0/00000000000000000000.index");
    let whole = fs::read(&index).expect("an index");
    assert!(whole.len() >= 32, "{} bytes", whole.len());
    let without_the_second = [&whole[..8], &whole[16..]].concat();
    for left in [&whole[..0], &whole[..8], &without_the_second] {
        fs::write(&index, left).expect("written");
        let server = Server(Process::start(
            Command::new(RUSTKA)
                .args(["--port", "0", "--http-port", "0", "--data-dir"])
                .arg(&folder.0)
                .env("RUST_LOG", "info")
                .stderr(Stdio::piped()),
        ));
        // An answer comes once the partition is open.
        let latest = [(0, Start::Latest)].into();
        let ends = server
            .client()
            .offsets("t", &latest, Isolation::ReadCommitted)
            .await;
        assert_eq!(ends.expect("an answer")[&0], 30);
        let said = ended(server);
        assert!(!said.contains("WARN"), "{said}");
        assert_eq!(fs::read(&index).expect("an index"), whole);
    }
}
