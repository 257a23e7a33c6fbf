//! A topic of `keys` keys that are overwritten at random for `secs`, at `rate-mb` MB per second: how large it becomes
//! beside what is live, what that costs, and how long the heartbeats of a group and produce take meanwhile.
//!
//! A produce is timed from when it was due if the one before ended later than that, else from when it was sent.
//!
//! With `--metrics PORT` also what compaction read, from Rustka's metrics.

use crate::args::Args;
use crate::batch::{self, Packing};
use crate::idle;
use crate::stat::{self, Meter, mono_ns, pct};
use crate::wire::Conn;
use rustka_wire::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// What two chunks hold, which may come on top.
const TWO_CHUNKS: f64 = (2 << 20) as f64;
/// Members of the group beside it.
const MEMBERS: usize = 10;
/// From one heartbeat of the group to the next.
const HEARTBEAT_NS: u64 = 5_000_000;

/// Bytes of the topic's first partition, from DescribeLogDirs v1.
fn size_of(c: &mut Conn, topic: &str) -> f64 {
    let request = DescribeLogDirsRequest {
        topics: Some(vec![DescribableLogDirTopic {
            topic: topic.into(),
            partitions: vec![0],
        }]),
    };
    let told = c.call_at(1, &request).expect("DescribeLogDirs");
    let topics = told.results.iter().flat_map(|directory| &directory.topics);
    let mut partitions = topics.flat_map(|topic| &topic.partitions);
    partitions
        .next()
        .map_or(f64::NAN, |p| p.partition_size as f64)
}

/// How often anything was synced.
pub const SYNCS: &str = "rustka_disk_sync_duration_seconds_count ";

/// A counter of Rustka's metrics page.
pub fn counter(port: i64, name: &str) -> f64 {
    if port == 0 {
        return f64::NAN;
    }
    let mut page = String::new();
    let mut s = TcpStream::connect(("127.0.0.1", port as u16)).expect("metrics");
    s.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .expect("metrics");
    s.read_to_string(&mut page).expect("metrics");
    let value = page
        .lines()
        .find_map(|l| l.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(f64::NAN)
}

/// Sends one batch and waits for its answer; how long that took.
fn produce(c: &mut Conn, frame: &[u8]) -> u64 {
    let t = mono_ns();
    c.s.write_all(frame).expect("write");
    c.recv().expect("produce response");
    let error = batch::produce_result(&c.buf[..c.last]).0;
    assert_eq!(error, 0, "produce error");
    mono_ns() - t
}

/// The members heartbeat in turn, 200 times a second, until `done`; the time of each heartbeat from when it was due.
fn heartbeats(mut members: Vec<idle::Member>, done: &AtomicBool) -> Vec<u64> {
    let mut times = Vec::new();
    let start = mono_ns();
    while !done.load(Relaxed) {
        let due = start + times.len() as u64 * HEARTBEAT_NS;
        let now = mono_ns();
        if due > now {
            std::thread::sleep(Duration::from_nanos(due - now));
        }
        let error = idle::heartbeat(&mut members[times.len() % MEMBERS]);
        assert_eq!(error, 0, "heartbeat error");
        times.push(mono_ns() - due);
    }
    times
}

pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let keys = a.num("keys", 100_000) as usize;
    let per_batch = a.num("batch", 16) as usize;
    let size = a.num("size", 1024) as usize;
    let secs = a.num("secs", 20) as u64;
    let rate = a.num("rate-mb", 50) as f64 * 1e6;
    let port = a.num("metrics", 0);
    let values: Vec<Vec<u8>> = (0..per_batch)
        .map(|i| batch::payload(size, i as u64 + 7))
        .collect();
    let frame = |own: &[usize]| {
        let batch = batch::encode_keyed(&values, Some(own), Packing::NONE, None);
        (
            batch::produce_frame(&topic, 0, -1, None, &batch),
            batch.len(),
        )
    };
    let mut c = Conn::open(&addr).expect("connect");
    let all: Vec<usize> = (0..keys).collect();
    let mut batch_bytes = 0;
    for own in all.chunks_exact(per_batch) {
        let (frame, bytes) = frame(own);
        batch_bytes = bytes;
        produce(&mut c, &frame);
    }
    // Each record's bytes; compaction may leave one in a batch of its own, whose header is not counted as live.
    let live = (batch_bytes - 61) as f64 / per_batch as f64 * keys as f64;
    let mut seed = 88_172_645_463_325_252;
    let read_before = counter(port, "rustka_compaction_bytes_read_total ");
    let open = |_| Conn::open(&addr).expect("connect");
    let group = format!("beside-{topic}");
    let members = idle::join_all((0..MEMBERS).map(open).collect(), &group, &topic);
    let done = AtomicBool::new(false);
    let (sizes, beats, mut sent) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()), 0u64);
    let (mut times, mut own) = (Vec::new(), vec![0; per_batch]);
    let m = Meter::start(a.pid());
    let mut out = Vec::new();
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut c = Conn::open(&addr).expect("connect");
            while !done.load(Relaxed) {
                let size = size_of(&mut c, &topic);
                sizes.lock().unwrap().push(size);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        s.spawn(|| *beats.lock().unwrap() = heartbeats(members, &done));
        let start = mono_ns();
        let end = start + secs * 1_000_000_000;
        let step = batch_bytes as f64 / rate * 1e9;
        while mono_ns() < end {
            for key in &mut own {
                seed = stat::random(seed);
                *key = (seed % keys as u64) as usize;
            }
            let (frame, _) = frame(&own);
            let due = start + (sent as f64 * step) as u64;
            let now = mono_ns();
            let late = now.saturating_sub(due);
            if due > now {
                std::thread::sleep(Duration::from_nanos(due - now));
            }
            times.push(late + produce(&mut c, &frame));
            sent += 1;
        }
        out = m.stop();
        done.store(true, Relaxed);
    });
    let read = counter(port, "rustka_compaction_bytes_read_total ") - read_before;
    let (mut beats, sizes) = (beats.into_inner().unwrap(), sizes.into_inner().unwrap());
    beats.sort_unstable();
    times.sort_unstable();
    let largest = sizes.iter().copied().fold(0.0, f64::max);
    let cpu = out[1].1;
    let written = sent as f64 * batch_bytes as f64;
    out.extend([
        ("live_bytes", live),
        ("written_bytes", written),
        ("compaction_read_bytes", read),
        ("largest_bytes", largest),
        (
            "mean_over_live",
            sizes.iter().sum::<f64>() / sizes.len() as f64 / live,
        ),
        ("largest_over_live", (largest - TWO_CHUNKS) / live),
        ("cpu_s_per_written_gb", cpu / written * 1e9),
        ("heartbeats", beats.len() as f64),
        ("heartbeat_p50_ms", pct(&beats, 50.0) / 1e6),
        ("heartbeat_p99_ms", pct(&beats, 99.0) / 1e6),
        ("heartbeat_max_ms", pct(&beats, 100.0) / 1e6),
        ("produce_p50_ms", pct(&times, 50.0) / 1e6),
        ("produce_p99_ms", pct(&times, 99.0) / 1e6),
    ]);
    stat::print(&out);
}
