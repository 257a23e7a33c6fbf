//! What an append costs while many fetches wait on its partition for more than it brings, and what it costs to find a
//! time in a log of many chunks: `waiting` and `lookup`.

use crate::args::Args;
use crate::batch::{self, Packing};
use crate::consume;
use crate::stat::{self, Meter, mono_ns, pct};
use crate::wire::{self, Conn};
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use std::io::Write;
use std::time::Duration;

/// How long every fetch may wait: longer than the appends take.
const WAIT_MS: i32 = 300_000;
/// What every fetch waits for; all appends together stay below it.
const MIN_BYTES: i32 = 1 << 20;
/// The broker has parked what was sent when it takes no more CPU for so long.
const QUIET: Duration = Duration::from_millis(300);
/// Less than this is no CPU, in seconds.
const QUIET_CPU_S: f64 = 0.002;
/// How far one of the times that `lookup` writes is from the next, in milliseconds.
const STEP_MS: i64 = 2;

/// `fetches` that wait for 1 MiB at the end of the topic, each on a connection of its own, and `appends` of one record,
/// `inflight` of them sent together, which end no wait.
pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let (fetches, appends) = (a.num("fetches", 1_000), a.num("appends", 4_000));
    let value = batch::payload(a.num("size", 100) as usize, 7);
    let one = batch::encode(&[value], Packing::NONE, None);
    let in_all = one.len() as i64 * appends;
    assert!(in_all < i64::from(MIN_BYTES), "{in_all} bytes end the wait");
    let mut c = Conn::open(&addr).expect("connect");
    let end = consume::offsets(&mut c, &topic, &[0], -1)[0];
    let request = FetchRequest {
        max_wait_ms: WAIT_MS,
        min_bytes: MIN_BYTES,
        max_bytes: 64 << 20,
        topics: vec![FetchTopic {
            topic: topic.as_str().into(),
            partitions: vec![FetchPartition {
                partition: 0,
                fetch_offset: end,
                partition_max_bytes: 2 * MIN_BYTES,
                ..Default::default()
            }],
            ..Default::default()
        }],
        session_epoch: -1,
        ..Default::default()
    };
    let fetch = wire::frame(1, &request);
    let waiting: Vec<Conn> = (0..fetches)
        .map(|_| {
            let mut c = Conn::open(&addr).expect("connect");
            c.s.write_all(&fetch).expect("write");
            c
        })
        .collect();
    parked(a.pid());
    let inflight = a.num("inflight", 5);
    let together = batch::produce_frame(&topic, 0, 1, None, &one).repeat(inflight as usize);
    let mut took = Vec::new();
    let m = Meter::start(a.pid());
    for n in 0..appends / inflight {
        let t = mono_ns();
        c.s.write_all(&together).expect("write");
        for _ in 0..inflight {
            c.recv().expect("an answer");
            assert_eq!(batch::produce_result(&c.buf[..c.last]).0, 0, "turn {n}");
            took.push(mono_ns() - t);
        }
    }
    let out = m.stop();
    for c in &waiting {
        c.s.set_nonblocking(true).expect("a socket");
        let ended = c.s.peek(&mut [0]);
        assert!(ended.is_err(), "a fetch ended before its time: {ended:?}");
    }
    print(out, took);
}

/// Returns once everything that was sent waits.
fn parked(pid: i32) {
    loop {
        let before = stat::cpu(pid);
        std::thread::sleep(QUIET);
        // without a process to look at there is nothing to wait for
        if !(stat::cpu(pid) - before).ge(&QUIET_CPU_S) {
            return;
        }
    }
}

/// `batches` of `size` bytes, each a little later than the one before, and then `times` ListOffsets for random ones of
/// these times. Chunks of a MiB hold many batches; one of 16 KiB or more is a chunk of its own.
pub fn lookup(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let (batches, times) = (a.num("batches", 128_000), a.num("times", 1_000));
    // later than whatever is there, and sooner than a broker refuses
    let first_ms = (stat::unix_ns() / 1_000_000) as i64 + STEP_MS;
    let mut c = Conn::open(&addr).expect("connect");
    let end = consume::offsets(&mut c, &topic, &[0], -1)[0];
    let value = batch::payload(a.num("size", 8_000) as usize, 7);
    for number in 0..batches {
        let record = NewRecord {
            timestamp: first_ms + number * STEP_MS,
            value: Some(&value),
            ..NewRecord::default()
        };
        let one = BatchBuilder::new()
            .record(&record)
            .build()
            .expect("a batch");
        c.s.write_all(&batch::produce_frame(&topic, 0, 1, None, &one))
            .expect("write");
        c.recv().expect("an answer");
        let code = batch::produce_result(&c.buf[..c.last]).0;
        assert_eq!(code, 0, "batch {number}");
    }
    let mut took = Vec::new();
    let mut seed = 7;
    let m = Meter::start(a.pid());
    for _ in 0..times {
        seed = stat::random(seed);
        let number = (seed % batches as u64) as i64;
        let t = mono_ns();
        let found = consume::offsets(&mut c, &topic, &[0], first_ms + number * STEP_MS);
        took.push(mono_ns() - t);
        assert_eq!(found[0], end + number, "the offset at that time");
    }
    print(m.stop(), took);
}

fn print(mut out: Vec<(&'static str, f64)>, mut took: Vec<u64>) {
    took.sort_unstable();
    let (cpu, count) = (out[1].1, took.len() as f64);
    out.extend([
        ("reqs", count),
        ("p50_us", pct(&took, 50.0) / 1e3),
        ("p99_us", pct(&took, 99.0) / 1e3),
        ("cpu_us_per_req", cpu / count * 1e6),
    ]);
    stat::print(&out);
}
