//! A broker whose memory is measured, and what is asked of it.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(
    clippy::disallowed_methods,
    reason = "the broker is a process of its own, on the system's clock"
)]

use crate::common::{commit_request, delete_request, produce_request};
use crate::process::{Process, RUSTKA};
use rustka_client::Connection;
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_wire::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::produce_request::PartitionProduceData;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::net::TcpStream;

pub const MIB: usize = 1 << 20;

/// Whether this is the long run that gives figures.
pub fn is_long() -> bool {
    let set = |name| std::env::var(name).is_ok();
    set("RUSTKA_MIX_BINARY") || set("RUSTKA_MIX_PEER")
}

/// A broker in a process of its own, in a control group where that can be had.
pub struct Running {
    process: Process,
    pub address: String,
    _group: Option<Group>,
}

/// A control group, removed when the process in it is gone.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir(&self.0);
    }
}

/// What a process takes.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    pub all: usize,
    /// Without the pages of the program's file, of which a debug build has many.
    pub own: usize,
}

impl Resident {
    /// What counts: all of it, but for a debug build.
    pub fn counted(self) -> usize {
        match is_long() {
            true => self.all,
            false => self.own,
        }
    }
}

/// A group of this size for one process, by the second version or the first.
fn control_group(bytes: usize) -> Option<Group> {
    let name = format!("rustka-mix-{}-{bytes}", std::process::id());
    for (root, file) in [
        ("/sys/fs/cgroup", "memory.max"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ] {
        let group = Path::new(root).join(&name);
        if std::fs::create_dir(&group).is_err() {
            continue;
        }
        if group.join(file).exists() && std::fs::write(group.join(file), bytes.to_string()).is_ok()
        {
            return Some(Group(group));
        }
        let _removed = std::fs::remove_dir(&group);
    }
    None
}

impl Running {
    /// One that is killed beyond its limit, a tenth of it and 16 MiB.
    pub fn confined(limit: usize) -> Running {
        let group = control_group(limit + limit / 10 + 16 * MIB);
        if group.is_none() {
            println!("skipped: a control group with memory.max, which this machine does not allow");
        }
        Running::start(limit, group)
    }

    /// One that may take what it likes.
    pub fn free(limit: usize) -> Running {
        Running::start(limit, None)
    }

    fn start(limit: usize, group: Option<Group>) -> Running {
        if let Ok(script) = std::env::var("RUSTKA_MIX_PEER") {
            return Running::peer(&script);
        }
        let binary = std::env::var("RUSTKA_MIX_BINARY");
        let binary = binary.unwrap_or_else(|_| RUSTKA.to_owned());
        let enter = match &group {
            Some(Group(group)) => format!("echo $$ > {}/cgroup.procs && ", group.display()),
            None => String::new(),
        };
        let command = format!(
            "{enter}exec {binary} --port 0 --http-port 0 --memory-limit {limit} -c log.cleaner.backoff.ms=500"
        );
        let mut shell = Command::new("sh");
        let process = Process::start(shell.args(["-c", &command]).stderr(Stdio::null()));
        Running {
            address: process.address("bootstrap"),
            process,
            _group: group,
        }
    }

    /// Another broker, by a script of `bench/peers`.
    fn peer(script: &str) -> Running {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let folder = std::env::temp_dir().join(format!("mix-peer-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let port = address.rsplit(':').next().expect("a port");
        let process = Process::spawn(
            Command::new(script)
                .arg(port)
                .arg(&folder)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(
                std::time::Instant::now() < until,
                "the peer does not listen"
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Running {
            process,
            address,
            _group: None,
        }
    }

    /// Whether it is Rustka, of which something is expected.
    pub fn is_ours(&self) -> bool {
        std::env::var("RUSTKA_MIX_PEER").is_err()
    }

    pub fn resident(&self) -> Resident {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id()));
        let status = status.expect("the broker lives");
        let kib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
            kib.expect("the broker was not killed") << 10
        };
        Resident {
            all: kib("VmRSS:"),
            own: kib("RssAnon:"),
        }
    }

    pub async fn connect(&self) -> Connection<TcpStream> {
        connect(&self.address).await
    }
}

pub async fn connect(address: &str) -> Connection<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("connects");
    let mut connection = Connection::over(stream, "broker", "mix");
    connection.negotiate().await.expect("negotiates");
    connection
}

/// A row of numbers that a seed repeats.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// 50 B to 900 kB, each order of magnitude as often as the others.
    pub fn batch_bytes(&mut self) -> usize {
        let (least, most) =
            [(50, 500), (500, 5_000), (5_000, 50_000), (50_000, 900_000)][self.below(4) as usize];
        (least + self.below(most - least)) as usize
    }
}

pub fn batch(key: u64, value_bytes: usize) -> Vec<u8> {
    let record = NewRecord {
        timestamp: 1_760_000_000_000,
        key: Some(&key.to_be_bytes()),
        value: Some(&vec![b'x'; value_bytes]),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new().record(&record).build();
    batch.expect("a batch")
}

/// A producer of this transactional id: its own id and its epoch.
pub async fn begin_producer(connection: &mut Connection<TcpStream>, id: &str) -> (i64, i16) {
    let request = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 600_000,
        ..InitProducerIdRequest::default()
    };
    let answer = connection.call_in(4, &request).await.expect("answers");
    let body = answer.body().expect("body");
    assert_eq!(body.error_code, 0);
    (body.producer_id, body.producer_epoch)
}

/// Opens its transaction with one small record in each partition of a topic; how many bytes those are.
pub async fn write_within(
    connection: &mut Connection<TcpStream>,
    (id, epoch): (i64, i16),
    transactional_id: &str,
    (topic, partitions): (&str, i32),
) -> usize {
    let record = NewRecord {
        value: Some(b"x"),
        ..NewRecord::default()
    };
    let batch = BatchBuilder::new()
        .producer(id, epoch, 0)
        .transactional()
        .record(&record)
        .build()
        .expect("a batch");
    let mut request = produce_request(topic, 0, Vec::new());
    request.transactional_id = Some(transactional_id.into());
    request.topic_data[0].partition_data = (0..partitions)
        .map(|index| PartitionProduceData {
            index,
            records: Some(batch.clone().into()),
        })
        .collect();
    let answer = connection.call_in(12, &request).await.expect("answers");
    let body = answer.body().expect("body");
    let answered = &body.responses[0].partition_responses;
    assert!(answered.iter().all(|it| it.error_code == 0));
    batch.len() * partitions as usize
}

/// Writes a batch; the error it got.
pub async fn write(
    connection: &mut Connection<TcpStream>,
    topic: &str,
    index: i32,
    batch: Vec<u8>,
) -> i16 {
    let request = produce_request(topic, index, batch);
    let answer = connection.call_in(11, &request).await.expect("answers");
    let body = answer.body().expect("body");
    body.responses[0].partition_responses[0].error_code
}

pub async fn create(
    connection: &mut Connection<TcpStream>,
    topic: &str,
    partitions: i32,
    policy: &'static str,
) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.to_owned().into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: vec![CreatableTopicConfig {
                name: "cleanup.policy".into(),
                value: Some(policy.into()),
            }],
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer = connection.call_in(7, &request).await.expect("answers");
    assert_eq!(answer.body().expect("body").topics[0].error_code, 0);
}

pub async fn delete(connection: &mut Connection<TcpStream>, topic: &str) {
    let request = delete_request(topic);
    let answer = connection.call_in(6, &request).await.expect("answers");
    assert_eq!(answer.body().expect("body").responses[0].error_code, 0);
}

/// Has groups found, so that they may commit.
pub async fn find_coordinator(connection: &mut Connection<TcpStream>) {
    let request = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    let _found = connection.call_in(4, &request).await.expect("answers");
}

/// Commits ten offsets of a group; the error they got.
pub async fn commit(connection: &mut Connection<TcpStream>, group: String, topic: &str) -> i16 {
    let request = commit_request(&group, topic, 10);
    let answer = connection.call_in(8, &request).await.expect("answers");
    let body = answer.body().expect("body");
    let partitions = &body.topics[0].partitions;
    let refused = partitions.iter().find(|one| one.error_code != 0);
    refused.map_or(0, |one| one.error_code)
}
