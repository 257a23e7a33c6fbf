//! One record at a time, acks=all, by turns with one write and `fdatasync` of a batch of the same size into a file at
//! `--dir`: the disk is the same for both at any moment.

use crate::args::Args;
use crate::batch::{self, Packing};
use crate::stat::{self, Meter, mono_ns, pct};
use crate::wire::Conn;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Rounds that are not counted.
const WARM: i64 = 50;

pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let size = a.num("size", 1024) as usize;
    let rounds = a.num("rounds", 1000);
    let path = Path::new(&a.str("dir", ".")).join("one");
    let mut file = File::create(&path).expect("a file");
    let value = batch::payload(size, 7);
    let batch = batch::encode(std::slice::from_ref(&value), Packing::NONE, None);
    let frame = batch::produce_frame(&topic, 0, -1, None, &batch);
    let mut c = Conn::open(&addr).expect("connect");
    let (mut answered, mut synced) = (Vec::new(), Vec::new());
    let m = Meter::start(a.pid());
    for round in 0..rounds + WARM {
        let begun = mono_ns();
        file.write_all(&batch).expect("write");
        file.sync_data().expect("fdatasync");
        let between = mono_ns();
        c.s.write_all(&frame).expect("write");
        c.recv().expect("produce response");
        let ended = mono_ns();
        assert_eq!(
            batch::produce_result(&c.buf[..c.last]).0,
            0,
            "produce error"
        );
        if round >= WARM {
            synced.push(between - begun);
            answered.push(ended - between);
        }
    }
    let mut out = m.stop();
    std::fs::remove_file(&path).expect("it is ours");
    answered.sort_unstable();
    synced.sort_unstable();
    let us = |times: &[u64], part| pct(times, part) / 1e3;
    out.extend([
        ("ack_p50_us", us(&answered, 50.0)),
        ("ack_p99_us", us(&answered, 99.0)),
        ("sync_p50_us", us(&synced, 50.0)),
        ("sync_p99_us", us(&synced, 99.0)),
        ("over_sync_p50", us(&answered, 50.0) / us(&synced, 50.0)),
        ("more_than_sync_us", us(&answered, 50.0) - us(&synced, 50.0)),
    ]);
    stat::print(&out);
}
