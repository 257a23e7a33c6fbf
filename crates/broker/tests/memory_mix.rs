//! What the process takes under a mix of everything, against `--memory-limit`: batches of 50 B to 900 kB, readers that
//! hardly read, compaction, commits of thousands of groups, topics and connections that come and go. Where the machine
//! allows it, it runs in a control group that kills it beyond the limit, a tenth of it and 16 MiB.
//!
//! A few seconds of it belong to the suite. The long run, over the release build, with all pages counted, is
//! `cargo xtask bench memory`.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    reason = "the broker is a process of its own, on the system's clock"
)]

mod common;
mod measured;
mod process;

use common::produce_request;
use measured::{
    Dice, MIB, Resident, Running, batch, commit, connect, create, delete, find_coordinator, write,
};
use rustka_client::Connection;
use rustka_client::frame::{Head, encode};
use rustka_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PARTITIONS: i32 = 20;
const WRITERS: u64 = 8;
const SLOW_READERS: u64 = 40;
/// Resident beyond 1.10 times the limit.
const ALLOWED_BYTES: usize = 8 * MIB;
/// Groups that commit.
const GROUPS: u64 = 3_000;
/// What waits longer will not come; reached only by runs that fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all parts of the mix share.
struct Mix {
    address: String,
    ends: AtomicBool,
    /// The first offset of each partition, as far as it is known.
    starts: Vec<AtomicI64>,
    written_bytes: AtomicU64,
    refused: AtomicU64,
}

impl Mix {
    async fn connect(&self) -> Connection<TcpStream> {
        connect(&self.address).await
    }

    fn goes_on(&self) -> bool {
        !self.ends.load(Relaxed)
    }
}

async fn write_all_sizes(mix: Arc<Mix>, seed: u64) {
    let mut dice = Dice(seed);
    let mut connection = mix.connect().await;
    while mix.goes_on() {
        let compacted = dice.below(5) == 0;
        let partition = dice.below(PARTITIONS as u64) as i32;
        let (topic, bytes) = match compacted {
            true => ("state", 1_000),
            false => ("mix", dice.batch_bytes()),
        };
        let request = produce_request(topic, partition, batch(dice.below(50), bytes));
        let answer = connection.call_in(11, &request).await.expect("answers");
        let body = answer.body().expect("body");
        let told = &body.responses[0].partition_responses[0];
        if told.error_code != 0 {
            mix.refused.fetch_add(1, Relaxed);
        } else if !compacted {
            mix.written_bytes.fetch_add(bytes as u64, Relaxed);
            mix.starts[partition as usize].store(told.log_start_offset, Relaxed);
        }
        if dice.below(500) == 0 {
            connection = mix.connect().await;
        }
    }
}

/// Asks for megabytes and takes a few kilobytes of them now and then.
async fn read_slowly(mix: Arc<Mix>, seed: u64) {
    let mut dice = Dice(seed);
    let mut taken = vec![0; 4 << 10];
    while mix.goes_on() {
        let mut stream = TcpStream::connect(&mix.address).await.expect("connects");
        let partition = dice.below(PARTITIONS as u64) as i32;
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 16 << 20,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: "mix".into(),
                partitions: vec![FetchPartition {
                    partition,
                    fetch_offset: mix.starts[partition as usize].load(Relaxed),
                    partition_max_bytes: 16 << 20,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let frame = encode(&Head::of::<FetchRequest<'_>>(12, 1, "slow"), &request);
        if stream.write_all(&frame).await.is_err() {
            continue;
        }
        let turns = 20 + dice.below(100);
        for _ in 0..turns {
            let read = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut taken));
            // The broker closes those that keep what it has dropped.
            if !mix.goes_on() || matches!(read.await, Ok(Ok(0) | Err(_))) {
                break;
            }
            // What it leaves unread in real time is what the broker has to hold: that is the question.
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

async fn commit_all(mix: Arc<Mix>, seed: u64) {
    let mut dice = Dice(seed);
    let mut connection = mix.connect().await;
    find_coordinator(&mut connection).await;
    while mix.goes_on() {
        let group = format!("group-{}", dice.below(GROUPS));
        if commit(&mut connection, group, "mix").await != 0 {
            mix.refused.fetch_add(1, Relaxed);
        }
    }
}

async fn make_and_delete_topics(mix: Arc<Mix>) {
    let mut connection = mix.connect().await;
    let mut number = 0;
    while mix.goes_on() {
        let name = format!("short-lived-{number}");
        number += 1;
        create(&mut connection, &name, 10, "delete").await;
        for partition in 0..10 {
            write(&mut connection, &name, partition, batch(0, 3_000)).await;
        }
        delete(&mut connection, &name).await;
        // The pace of the mix, in real time.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The most of it while the mix lasts.
async fn watch(running: &Running, seconds: u64) -> Resident {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut most = Resident { all: 0, own: 0 };
    while Instant::now() < until {
        let now = running.resident();
        most = Resident {
            all: most.all.max(now.all),
            own: most.own.max(now.own),
        };
        // A sample of what the system says of a process that goes on in real time.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    most
}

async fn run(limit: usize, seconds: u64) {
    let running = Running::confined(limit);
    let mix = Arc::new(Mix {
        address: running.address.clone(),
        ends: AtomicBool::new(false),
        starts: (0..PARTITIONS).map(|_| AtomicI64::new(0)).collect(),
        written_bytes: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let mut connection = mix.connect().await;
    create(&mut connection, "mix", PARTITIONS, "delete").await;
    create(&mut connection, "state", PARTITIONS, "compact").await;
    let mut tasks = Vec::new();
    tasks.extend((0..WRITERS).map(|seed| tokio::spawn(write_all_sizes(mix.clone(), seed))));
    tasks.extend((0..SLOW_READERS).map(|seed| tokio::spawn(read_slowly(mix.clone(), seed))));
    tasks.push(tokio::spawn(commit_all(mix.clone(), 1)));
    tasks.push(tokio::spawn(make_and_delete_topics(mix.clone())));
    let most = watch(&running, seconds).await;
    mix.ends.store(true, Relaxed);
    for task in tasks {
        let ended = tokio::time::timeout(PATIENCE, task).await;
        ended.expect("ends").expect("no part of the mix fails");
    }
    let (written, refused) = (mix.written_bytes.load(Relaxed), mix.refused.load(Relaxed));
    println!(
        "limit {} MiB: resident at most {:.1} MiB, {:.1} MiB of it not of the program's file; {} MB written, {refused} refused",
        limit / MIB,
        most.all as f64 / MIB as f64,
        most.own as f64 / MIB as f64,
        written / 1_000_000,
    );
    if !running.is_ours() {
        return;
    }
    assert!(written > 0 && refused == 0, "nothing is refused: {refused}");
    let counted = most.counted();
    let allowed = limit + limit / 10 + ALLOWED_BYTES;
    assert!(counted <= allowed, "{counted} of {allowed} bytes");
    for topic in ["mix", "state"] {
        delete(&mut connection, topic).await;
    }
}

fn setting(name: &str, default: &str) -> Vec<u64> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let numbers = text.split(',').map(|part| part.parse().expect("a number"));
    numbers.collect()
}

/// With batches of all sizes and slow readers a broker with a limit of 64 MiB took 121 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_process_takes_stays_near_the_limit_under_any_mix() {
    let seconds = setting("RUSTKA_MIX_SECONDS", "5")[0];
    for mib in setting("RUSTKA_MIX_MIB", "64") {
        run(mib as usize * MIB, seconds).await;
    }
}
