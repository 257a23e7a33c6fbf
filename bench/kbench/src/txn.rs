//! Transactions: one producer, AddPartitionsToTxn + Produce + EndTxn, one after the other.

use crate::{
    args::Args,
    batch::{self, Packing, Txn},
    stat::{self, Meter, mono_ns, pct},
    wire::Conn,
};
use rustka_wire::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use rustka_wire::end_txn_request::EndTxnRequest;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
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
            let request = FindCoordinatorRequest {
                key: id.as_str().into(),
                key_type: 1,
                ..Default::default()
            };
            let mut e = c.call(&request).expect("coordinator").error_code;
            if e == 0 {
                let request = InitProducerIdRequest {
                    transactional_id: Some(id.as_str().into()),
                    transaction_timeout_ms: 60_000,
                    ..Default::default()
                };
                let told = c.call(&request).expect("init producer id");
                e = told.error_code;
                if e == 0 {
                    break (told.producer_id, told.producer_epoch);
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
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.as_str().into(),
            v3_and_below_producer_id: pid,
            v3_and_below_producer_epoch: epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.as_str().into(),
                partitions: vec![0],
            }],
            ..Default::default()
        };
        loop {
            let told = c.call(&request).expect("add partitions");
            let topics = told.results_by_topic_v3_and_below.iter();
            let mut partitions = topics.flat_map(|t| &t.results_by_partition);
            match partitions.next().map_or(0, |p| p.partition_error_code) {
                0 => break,
                51 | 14 | 16 => {
                    retries += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
                e => panic!("add partitions error {e}"),
            }
        }
        let b = batch::encode(&values, Packing::NONE, Some(&t));
        c.s.write_all(&batch::produce_frame(&topic, 0, -1, Some(&id), &b))
            .unwrap();
        c.recv().expect("produce");
        let e = batch::produce_result(&c.buf[..c.last]).0;
        assert_eq!(e, 0, "produce error");
        t.seq += per as i32;
        let request = EndTxnRequest {
            transactional_id: id.as_str().into(),
            producer_id: pid,
            producer_epoch: epoch,
            committed: true,
        };
        loop {
            match c.call(&request).expect("end txn").error_code {
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
