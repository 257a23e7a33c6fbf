//! `consume --session 1`: one consumer with a fetch session over many partitions (Fetch v17), of which one
//! is written meanwhile. Each round is one Fetch that waits and the Produce that ends its wait, so that every
//! broker serves the same number of both.

use crate::args::Args;
use crate::batch::{self, Asking, Packing, Position};
use crate::consume;
use crate::modern;
use crate::stat::{self, Meter, mono_ns, pct};
use crate::wire::Conn;
use std::io::Write;
use std::time::{Duration, Instant};

pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let parts: Vec<i32> = (0..a.num("partitions", 100) as i32).collect();
    let rounds = a.num("msgs", 20_000) as u64;
    let size = a.num("size", 1024) as usize;
    let per_batch = a.num("batch", 1) as usize;
    let wait_ms = a.num("max-wait", 500) as i32;
    let limit = Duration::from_secs(a.num("secs", 60) as u64);
    let written = a.num("written", parts.len() as i64 / 2) as i32;

    let mut reader = Conn::open(&addr).expect("connect");
    let mut writer = Conn::open(&addr).expect("connect");
    let of = modern::topic(&mut reader, &topic).expect("topic id");
    let mut at: Vec<i64> = consume::offsets(&mut reader, &topic, &parts, -1);
    let positions: Vec<Position> = parts
        .iter()
        .zip(&at)
        .map(|(&partition, &offset)| Position { partition, offset })
        .collect();
    let ask = |session, wait_ms| Asking {
        wait_ms,
        partition_bytes: 1 << 20,
        session,
        committed: false,
    };

    // the full request that opens the session finds nothing and comes back at once
    let open = batch::fetch_frame_of(modern::FETCH_V, &of, &positions, ask((0, 0), 0));
    reader.s.write_all(&open).expect("write");
    reader.recv().expect("fetch");
    let (error, session_id) =
        batch::each_fetched_at(modern::FETCH_V, &reader.buf[..reader.last], |_, _, _, _| {});
    assert_eq!(error, 0, "fetch error");
    assert_ne!(session_id, 0, "the peer keeps no fetch sessions");
    let mut session = (session_id, 1);

    let values: Vec<Vec<u8>> = (0..per_batch)
        .map(|i| batch::payload(size, i as u64 + 7))
        .collect();
    let encoded = batch::encode(&values, Packing::NONE, None);
    let (produce, _) =
        batch::produce_frame_of(modern::PRODUCE_V, &of, 1, None, &[(written, &encoded)]);

    let (mut msgs, mut reqs, mut empty, mut partitions_told) = (0u64, 0u64, 0u64, 0u64);
    let mut latency = Vec::with_capacity(rounds as usize);
    let mut moved: Vec<Position> = Vec::new();
    let m = Meter::start(a.pid());
    let deadline = Instant::now() + limit;
    for _ in 0..rounds {
        if Instant::now() > deadline {
            break;
        }
        let end = at[written as usize] + per_batch as i64;
        let mut sent = None;
        while at[written as usize] < end {
            let frame = batch::fetch_frame_of(modern::FETCH_V, &of, &moved, ask(session, wait_ms));
            reader.s.write_all(&frame).expect("write");
            if sent.is_none() {
                sent = Some(mono_ns());
                writer.s.write_all(&produce).expect("write");
                writer.recv().expect("produce");
                let response = &writer.buf[..writer.last];
                let result = batch::produce_result_at(modern::PRODUCE_V, response);
                assert_eq!(result.expect("a Produce response").0, 0, "produce error");
            }
            reader.recv().expect("fetch");
            reqs += 1;
            moved.clear();
            let response = &reader.buf[..reader.last];
            let (error, _) =
                batch::each_fetched_at(modern::FETCH_V, response, |p, e, _, records| {
                    assert_eq!(e, 0, "error of partition {p}");
                    partitions_told += 1;
                    let i = p as usize;
                    batch::each_batch(records, |_, last, b| {
                        if last >= at[i] {
                            msgs += i32::from_be_bytes(b[57..61].try_into().unwrap()) as u64;
                            at[i] = last + 1;
                        }
                    });
                    moved.push(Position {
                        partition: p,
                        offset: at[i],
                    });
                });
            assert_eq!(error, 0, "fetch session error");
            if moved.is_empty() {
                empty += 1;
            }
            session.1 += 1;
        }
        latency.push(mono_ns() - sent.expect("a produce per round"));
    }
    let mut out = m.stop();
    latency.sort_unstable();
    let (secs, cpu) = (out[0].1, out[1].1);
    let value_bytes = (msgs * size as u64) as f64;
    out.extend([
        ("reqs", reqs as f64),
        ("empty_fetches", empty as f64),
        ("partitions_per_fetch", partitions_told as f64 / reqs as f64),
        ("msgs", msgs as f64),
        ("value_bytes", value_bytes),
        ("msgs_per_s", msgs as f64 / secs),
        ("round_p50_us", pct(&latency, 50.0) / 1e3),
        ("round_p99_us", pct(&latency, 99.0) / 1e3),
        ("cpu_s_per_gb", cpu / value_bytes * 1e9),
        ("cpu_us_per_req", cpu / reqs as f64 * 1e6),
    ]);
    stat::print(&out);
}
