//! The real binary on a system that refuses: a limit on the size of files, system calls that fail, volumes that are full or
//! fail. Whatever was answered to acks=all is there in its next life, at its offset; what was refused harms no other topic;
//! nothing ends the broker.

mod process;
#[path = "system_faults/volumes.rs"]
mod volumes;

use process::server::Server;
use process::{Process, RUSTKA};
use rustka_client::{Client, ConsumeOptions, Consumer, NewRecord, ProduceOptions, Producer, Start};
use rustka_core::error::ErrorCode;
use rustka_storage::testing::Folder;
use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

const VALUE_BYTES: usize = 100_000;
/// More than the limits below let through.
const RECORDS: usize = 400;
/// Reached only by tests that fail.
const DEADLINE: Duration = Duration::from_secs(60);

/// Writes records until one is refused; what was answered. Each waits for the one before.
async fn write(
    client: &Client,
    topic: &str,
    records: usize,
    bytes: usize,
) -> BTreeMap<i64, String> {
    let options = ProduceOptions {
        is_idempotent: false,
        ..ProduceOptions::default()
    };
    let mut producer = Producer::new(client, options);
    let mut answered = BTreeMap::new();
    for number in 0..records {
        let value = format!("{number:08}{}", "x".repeat(bytes.saturating_sub(8)));
        let Ok(written) = producer
            .send(topic, &[NewRecord::value(value.as_str())])
            .await
        else {
            break;
        };
        let before = answered.insert(written[0].offset, value);
        assert_eq!(before, None, "an offset was given out twice");
    }
    answered
}

async fn read_all(client: &Client, topic: &str) -> BTreeMap<i64, String> {
    let options = ConsumeOptions {
        max_wait_ms: 0,
        ..ConsumeOptions::default()
    };
    let mut consumer = Consumer::new(client, options);
    let assigned = consumer.assign_all(topic, Start::Earliest).await;
    assigned.expect("there");
    let mut values = BTreeMap::new();
    // A partition that takes no more says so to whoever waits at its end.
    while let Ok(Some(fetched)) = consumer.poll().await {
        for record in fetched.records {
            let value = String::from_utf8(record.value.expect("a value")).expect("text");
            values.insert(record.offset, value);
        }
    }
    values
}

/// All that was answered is there; what was not may be.
async fn holds(client: &Client, topic: &str, answered: &BTreeMap<i64, String>) {
    let found = read_all(client, topic).await;
    for (offset, value) in answered {
        assert!(found.get(offset) == Some(value), "{topic}, offset {offset}");
    }
}

/// Starts a broker by way of another program.
fn start(folder: &Folder, through: &mut Command, arguments: &[&str]) -> Server {
    Server(Process::start(
        through
            .arg(RUSTKA)
            .args(["--port", "0", "--http-port", "0", "--data-dir"])
            .arg(&folder.0)
            .args(arguments)
            .env("RUST_LOG", "off"),
    ))
}

/// A process that writes more than it may is ended by the system unless it takes care of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_on_the_size_of_files_makes_a_partition_read_only_and_ends_nothing() {
    let folder = Folder::new("limit");
    // Some megabytes, whatever the shell counts in.
    let limit = "ulimit -f 8192 && exec \"$0\" \"$@\"";
    let mut server = start(&folder, Command::new("sh").args(["-c", limit]), &[]);
    let client = server.client();
    for topic in ["t", "u"] {
        client.create_topic(topic, 1, 1).await.expect("a topic");
    }
    let answered = write(&client, "t", RECORDS, VALUE_BYTES).await;
    assert!(
        (10..RECORDS).contains(&answered.len()),
        "{}",
        answered.len()
    );
    holds(&client, "t", &answered).await;
    let others = write(&client, "u", 10, 100).await;
    assert_eq!(others.len(), 10, "another topic is not concerned");
    assert!(server.0.child.try_wait().expect("a process").is_none());
    drop(server);

    let server = Server::start(&folder, &[]);
    let client = server.client();
    holds(&client, "t", &answered).await;
    holds(&client, "u", &others).await;
    assert_eq!(write(&client, "t", 1, 100).await.len(), 1);
}

/// Whether system calls can be made to fail here.
fn may_inject() -> bool {
    let tried = Command::new("strace")
        .args(["-D", "-f", "-qq", "-o", "/dev/null"])
        .args(["-e", "inject=fdatasync:error=EIO:when=1", "true"])
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Skipped by saying so where there is no `strace`, or it may not trace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_calls_that_fail_lose_nothing_that_was_answered() {
    if !may_inject() {
        eprintln!("skipped: strace cannot make system calls fail here");
        return;
    }
    for (call, error) in [
        ("fdatasync", "EIO"),
        ("fdatasync", "ENOSPC"),
        ("pwrite64", "EIO"),
        ("pwrite64", "ENOSPC"),
        ("rename", "EIO"),
    ] {
        // Once, and from there on, for each thread that comes so far.
        for when in ["12", "5+"] {
            let folder = Folder::new("inject");
            let about = format!("{call} {error} {when}");
            // In order first: what a start makes is not what this is about.
            let server = Server::start(&folder, &[]);
            let client = server.client();
            client.create_topic("t", 1, 1).await.expect("a topic");
            let mut answered = write(&client, "t", 5, 100).await;
            assert_eq!(answered.len(), 5, "{about}");
            drop(server);
            let inject = format!("inject={call}:error={error}:when={when}");
            let mut strace = Command::new("strace");
            strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject]);
            let mut server = start(&folder, &mut strace, &[]);
            let client = server.client();
            answered.extend(write(&client, "t", 60, 100).await);
            assert!(
                server.0.child.try_wait().expect("a process").is_none(),
                "{about}"
            );
            drop(server);
            let server = Server::start(&folder, &[]);
            let client = server.client();
            holds(&client, "t", &answered).await;
            assert_eq!(write(&client, "t", 1, 100).await.len(), 1, "{about}");
        }
    }
}

/// Has calls fail in a process that runs, until this goes.
struct Injecting(Child);

impl Injecting {
    async fn into(pid: u32, inject: &str) -> Injecting {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", inject]);
        let strace = strace.args(["-p", &pid.to_string()]).spawn();
        let injecting = Injecting(strace.expect("strace runs"));
        let comes = async {
            while !is_traced(pid) {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, comes).await;
        in_time.expect("strace comes in time");
        injecting
    }
}

impl Drop for Injecting {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether somebody looks at every thread of a process.
fn is_traced(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let mut threads = threads.filter_map(|thread| {
        // It may end meanwhile.
        fs::read_to_string(thread.ok()?.path().join("status")).ok()
    });
    threads.all(|status| !status.contains("TracerPid:\t0\n"))
}

/// Row 8: the disk does not give back what is on it, this time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fails_is_told_and_the_next_one_is_served() {
    if !may_inject() {
        eprintln!("skipped: strace cannot make system calls fail here");
        return;
    }
    let folder = Folder::new("reads");
    let server = Server::start(&folder, &[]);
    let client = server.client();
    client.create_topic("t", 1, 1).await.expect("a topic");
    let answered = write(&client, "t", 20, VALUE_BYTES).await;
    assert_eq!(answered.len(), 20);
    drop(server);

    // What was written in an earlier life is not in memory.
    let server = Server::start(&folder, &[]);
    let client = server.client();
    let mut consumer = Consumer::new(&client, ConsumeOptions::default());
    let assigned = consumer.assign_all("t", Start::Earliest).await;
    assigned.expect("there");
    let reads = "inject=pread64,preadv2,sendfile:error=EIO";
    let injecting = Injecting::into(server.0.child.id(), reads).await;
    let told = consumer.poll().await.expect_err("it cannot be read");
    // In the midst of an answer there is nothing left but to hang up.
    let code = told.code().unwrap_or(ErrorCode::KafkaStorageError);
    assert_eq!(code, ErrorCode::KafkaStorageError);
    assert!(told.is_retriable());
    drop(injecting);

    holds(&client, "t", &answered).await;
    assert_eq!(write(&client, "t", 1, 100).await.len(), 1);
}
