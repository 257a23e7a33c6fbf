//! Consume throughput: K consumers, each with its own connection, each reading every partition
//! from the log start to the end (and again, until it has read `bytes`).

use crate::{
    args::Args,
    batch,
    stat::{self, Meter},
    wire::Conn,
};
use rustka_wire::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub fn offsets(c: &mut Conn, topic: &str, parts: &[i32], ts: i64) -> Vec<i64> {
    let partitions = parts.iter().map(|&partition_index| ListOffsetsPartition {
        partition_index,
        timestamp: ts,
        ..Default::default()
    });
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: partitions.collect(),
        }],
        ..Default::default()
    };
    let told = c.call(&request).expect("list offsets");
    let mut out = vec![0; parts.len()];
    for p in told.topics.iter().flat_map(|t| &t.partitions) {
        if let Some(i) = parts.iter().position(|x| *x == p.partition_index) {
            out[i] = p.offset.max(0);
        }
    }
    out
}

pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let parts: Vec<i32> = (0..a.num("partitions", 1) as i32).collect();
    let consumers = a.num("consumers", 1);
    let want = a.num("bytes", 0) as u64; // 0: one pass
    let part_max = a.num("part-max", 1 << 20) as i32;
    let size = a.num("size", 1024) as f64; // value size, to count value bytes
    let limit = Duration::from_secs(a.num("secs", 60) as u64);
    let ask = batch::Asking {
        wait_ms: 500,
        partition_bytes: part_max,
        session: (0, -1),
        committed: a.num("committed", 0) != 0,
    };

    let mut c0 = Conn::open(&addr).expect("connect");
    let begin = offsets(&mut c0, &topic, &parts, -2);
    let end = offsets(&mut c0, &topic, &parts, -1);
    let (msgs, bytes, reqs, empty, errs) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
    );
    let sockets: Vec<Conn> = (0..consumers)
        .map(|_| Conn::open(&addr).expect("connect"))
        .collect();
    let m = Meter::start(a.pid());
    let deadline = Instant::now() + limit;
    std::thread::scope(|s| {
        for mut c in sockets {
            let (parts, begin, end, topic) = (&parts, &begin, &end, &topic);
            let (msgs, bytes, reqs, empty, errs) = (&msgs, &bytes, &reqs, &empty, &errs);
            s.spawn(move || {
                let mut own = 0u64;
                'pass: loop {
                    let mut at = begin.clone();
                    let (mut f, places) = batch::fetch_frame_as(topic, parts, &at, ask);
                    let mut idle = 0;
                    while at.iter().zip(end).any(|(a, e)| a < e) {
                        if Instant::now() > deadline {
                            break 'pass;
                        }
                        for (pl, o) in places.iter().zip(&at) {
                            f[*pl..*pl + 8].copy_from_slice(&o.to_be_bytes());
                        }
                        c.s.write_all(&f).expect("write");
                        c.recv().expect("fetch response");
                        reqs.fetch_add(1, Relaxed);
                        own += c.last as u64;
                        bytes.fetch_add(c.last as u64, Relaxed);
                        let mut moved = false;
                        batch::each_fetched(&c.buf[..c.last], |p, e, _hw, recs| {
                            let i = p as usize;
                            if e != 0 {
                                if errs.fetch_add(1, Relaxed) == 0 {
                                    eprintln!("fetch error {e}");
                                }
                                return;
                            }
                            batch::each_batch(recs, |base, last, b| {
                                let n = i32::from_be_bytes(b[57..61].try_into().unwrap()) as i64;
                                if last >= at[i] {
                                    msgs.fetch_add(
                                        n.min(last + 1 - at[i].max(base)) as u64,
                                        Relaxed,
                                    );
                                    at[i] = last + 1;
                                    moved = true;
                                }
                            });
                        });
                        if !moved {
                            empty.fetch_add(1, Relaxed);
                            idle += 1;
                            if idle > 20 {
                                break 'pass;
                            }
                        } else {
                            idle = 0;
                        }
                        if want > 0 && own >= want {
                            break 'pass;
                        }
                    }
                    if want == 0 {
                        break;
                    }
                }
            });
        }
    });
    let mut out = m.stop();
    let (secs, cpu) = (out[0].1, out[1].1);
    let (n, b) = (msgs.load(Relaxed) as f64, bytes.load(Relaxed) as f64);
    let vb = n * size;
    out.extend([
        ("reqs", reqs.load(Relaxed) as f64),
        ("empty_fetches", empty.load(Relaxed) as f64),
        ("errors", errs.load(Relaxed) as f64),
        ("msgs", n),
        ("value_bytes", vb),
        ("wire_bytes", b),
        ("msgs_per_s", n / secs),
        ("mb_per_s", vb / secs / 1e6),
        ("cpu_s_per_mmsg", cpu / n * 1e6),
        ("cpu_s_per_gb", cpu / vb * 1e9),
        ("cpu_us_per_req", cpu / reqs.load(Relaxed) as f64 * 1e6),
    ]);
    stat::print(&out);
}
