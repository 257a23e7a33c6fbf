//! Produce throughput: every connection keeps `inflight` pre-encoded requests on the wire.

use crate::{
    args::Args,
    batch::{self, Codec},
    stat::{self, Meter},
    wire::Conn,
};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let parts = a.num("partitions", 1) as i32;
    let conns = a.num("conns", 1) as i32;
    let inflight = a.num("inflight", 5) as u64;
    let size = a.num("size", 1024) as usize;
    let per_batch = a.num("batch", 64) as usize;
    let acks = a.num("acks", -1) as i16;
    let codec = Codec::parse(&a.str("codec", "none"));
    let total_reqs = (a.num("msgs", 100_000) as u64).div_ceil(per_batch as u64);
    let limit = Duration::from_secs(a.num("secs", 60) as u64);

    let values: Vec<Vec<u8>> = (0..per_batch)
        .map(|i| batch::payload(size, i as u64 + 7))
        .collect();
    let encoded = batch::encode(&values, codec, None);
    let frames: Vec<Vec<u8>> = (0..parts)
        .map(|p| batch::produce_frame(&topic, p, acks, None, &encoded))
        .collect();

    let (next, done, errs) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let sockets: Vec<Conn> = (0..conns)
        .map(|_| Conn::open(&addr).expect("connect"))
        .collect();
    let m = Meter::start(a.pid());
    let deadline = Instant::now() + limit;
    std::thread::scope(|s| {
        for (i, mut c) in sockets.into_iter().enumerate() {
            let (frames, next, done, errs) = (&frames, &next, &done, &errs);
            s.spawn(move || {
                // this connection's partitions, by turns
                let mine: Vec<usize> = if conns >= parts {
                    vec![i % parts as usize]
                } else {
                    (0..parts as usize)
                        .filter(|p| p % conns as usize == i)
                        .collect()
                };
                let mut own: Vec<Vec<u8>> = mine.iter().map(|&p| frames[p].clone()).collect();
                let (mut sent, mut got, mut more) = (0u64, 0u64, true);
                loop {
                    while more && sent - got < inflight {
                        if next.fetch_add(1, Relaxed) >= total_reqs || Instant::now() > deadline {
                            more = false;
                            break;
                        }
                        let k = (sent % own.len() as u64) as usize;
                        let f = &mut own[k];
                        f[8..12].copy_from_slice(&(sent as i32).to_be_bytes());
                        c.s.write_all(f).expect("write");
                        sent += 1;
                    }
                    if got == sent {
                        break;
                    }
                    c.recv().expect("produce response");
                    let corr = i32::from_be_bytes(c.buf[..4].try_into().unwrap());
                    assert_eq!(corr, got as i32, "responses out of order");
                    let (e, _) = batch::produce_result(&c.buf[4..c.last]);
                    if e != 0 && errs.fetch_add(1, Relaxed) == 0 {
                        eprintln!("produce error {e}");
                    }
                    got += 1;
                    done.fetch_add(1, Relaxed);
                }
            });
        }
    });
    let mut out = m.stop();
    let reqs = done.load(Relaxed) as f64;
    let msgs = reqs * per_batch as f64;
    let bytes = msgs * size as f64;
    let (secs, cpu) = (out[0].1, out[1].1);
    out.extend([
        ("reqs", reqs),
        ("msgs", msgs),
        ("value_bytes", bytes),
        ("wire_bytes", reqs * frames[0].len() as f64),
        ("errors", errs.load(Relaxed) as f64),
        ("msgs_per_s", msgs / secs),
        ("mb_per_s", bytes / secs / 1e6),
        ("cpu_s_per_mmsg", cpu / msgs * 1e6),
        ("cpu_s_per_gb", cpu / bytes * 1e9),
        ("cpu_us_per_req", cpu / reqs * 1e6),
    ]);
    stat::print(&out);
}
