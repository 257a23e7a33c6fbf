//! Transactions: one producer, AddPartitionsToTxn + Produce + EndTxn, one after the other.

use crate::{
    args::Args,
    batch::{self, Codec, Txn},
    stat::{self, Meter, mono_ns, pct},
    wire::{self, Conn, W},
};
use std::io::Write;
use std::time::{Duration, Instant};

pub fn run(a: &Args) {
    let (addr, topic, id) = (a.addr(), a.str("topic", "t"), a.str("txn-id", "tx"));
    let per = a.num("batch", 10) as usize;
    let size = a.num("size", 100) as usize;
    let secs = a.num("secs", 5) as u64;
    let mut c = Conn::open(&addr).expect("connect");
    let (pid, epoch) = {
        let give_up = Instant::now() + Duration::from_secs(20);
        loop {
            let mut w = W::default();
            w.str(&id).i8(1);
            let mut e = {
                let mut r = c.call(wire::FIND_COORDINATOR, &w.0).expect("coordinator");
                r.i32();
                r.i16()
            };
            if e == 0 {
                let mut w = W::default();
                w.str(&id).i32(60_000);
                let mut r = c
                    .call(wire::INIT_PRODUCER_ID, &w.0)
                    .expect("init producer id");
                r.i32();
                e = r.i16();
                if e == 0 {
                    break (r.i64(), r.i16());
                }
            }
            if Instant::now() > give_up {
                eprintln!("no producer id: error {e}");
                std::process::exit(3);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let values: Vec<Vec<u8>> = (0..per).map(|i| batch::payload(size, i as u64)).collect();
    let mut t = Txn {
        pid,
        epoch,
        seq: 0,
        transactional: true,
    };
    let (mut lat, mut retries, mut commits) = (Vec::new(), 0u64, 0u64);
    let mut m = None;
    let warm = Instant::now() + Duration::from_secs(1);
    let mut end = warm + Duration::from_secs(secs);
    while Instant::now() < end {
        if m.is_none() && Instant::now() > warm {
            m = Some(Meter::start(a.pid()));
            end = Instant::now() + Duration::from_secs(secs);
            lat.clear();
            commits = 0;
            retries = 0;
        }
        let t0 = mono_ns();
        let mut w = W::default();
        w.str(&id)
            .i64(pid)
            .i16(epoch)
            .i32(1)
            .str(&topic)
            .i32(1)
            .i32(0);
        loop {
            let mut r = c
                .call(wire::ADD_PARTITIONS_TO_TXN, &w.0)
                .expect("add partitions");
            r.i32();
            let mut e = 0;
            for _ in 0..r.i32() {
                r.str();
                for _ in 0..r.i32() {
                    r.i32();
                    e = r.i16();
                }
            }
            match e {
                0 => break,
                51 | 14 | 16 => {
                    retries += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
                e => panic!("add partitions error {e}"),
            }
        }
        let b = batch::encode(&values, Codec::None, Some(&t));
        c.s.write_all(&batch::produce_frame(&topic, 0, -1, Some(&id), &b))
            .unwrap();
        c.recv().expect("produce");
        let e = batch::produce_result(&c.buf[4..c.last]).0;
        assert_eq!(e, 0, "produce error");
        t.seq += per as i32;
        let mut w = W::default();
        w.str(&id).i64(pid).i16(epoch).i8(1);
        loop {
            let mut r = c.call(wire::END_TXN, &w.0).expect("end txn");
            r.i32();
            match r.i16() {
                0 => break,
                51 | 14 | 16 => {
                    retries += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
                e => panic!("end txn error {e}"),
            }
        }
        commits += 1;
        lat.push(mono_ns() - t0);
    }
    let mut out = m.expect("warm-up over").stop();
    lat.sort_unstable();
    let (s, cpu) = (out[0].1, out[1].1);
    out.extend([
        ("commits", commits as f64),
        ("commits_per_s", commits as f64 / s),
        ("retries", retries as f64),
        ("commit_p50_us", pct(&lat, 50.0) / 1e3),
        ("commit_p99_us", pct(&lat, 99.0) / 1e3),
        ("cpu_us_per_commit", cpu / commits as f64 * 1e6),
    ]);
    stat::print(&out);
}
