//! Transactions, one after the other: AddPartitionsToTxn, Produce and EndTxn of the older protocol, or only Produce and
//! EndTxn of the newer one (`--newer 1`), by `--producers` at once, each over `--partitions`. With `--hold 1` each producer
//! opens one transaction and holds it, to see what that takes; `--abort-every 2` aborts every second one.

use crate::{
    args::Args,
    batch::{self, Packing, Topic, Txn},
    stat::{self, Meter, mono_ns, pct},
    wire::{self, Conn},
};
use rustka_wire::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use rustka_wire::end_txn_request::EndTxnRequest;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::produce_request::ProduceRequest;
use std::io::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Versions of the newer protocol, still with the names of topics.
const NEWER_PRODUCE: i16 = 12;
const NEWER_END: i16 = 5;
/// A partition that is busy is asked again after this long.
const PAUSE: Duration = Duration::from_millis(1);

/// What a producer does.
struct Plan {
    topic: String,
    newer: bool,
    partitions: i32,
    values: Vec<Vec<u8>>,
    /// Each so many transactions one is aborted; 0: none.
    abort_every: u64,
}

/// A producer of its own transactional id, on a connection of its own.
struct Producer<'a> {
    c: Conn,
    id: String,
    /// Its `seq` is that of every partition.
    state: Txn,
    plan: &'a Plan,
    /// How many it has begun.
    begun: u64,
    retries: u64,
}

impl<'a> Producer<'a> {
    fn begin(addr: &str, id: String, plan: &'a Plan) -> Producer<'a> {
        let mut c = Conn::open(addr).expect("connect");
        let give_up = Instant::now() + Duration::from_secs(20);
        let (pid, epoch) = loop {
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
        };
        let state = Txn {
            pid,
            epoch,
            seq: 0,
            transactional: true,
        };
        Producer {
            c,
            id,
            state,
            plan,
            begun: 0,
            retries: 0,
        }
    }

    fn transaction(&mut self) {
        self.write();
        self.end();
    }

    fn write(&mut self) {
        let partitions = 0..self.plan.partitions;
        if !self.plan.newer {
            self.add(partitions.clone().collect());
        }
        let version = match self.plan.newer {
            true => NEWER_PRODUCE,
            false => wire::version(ProduceRequest::KEY),
        };
        let bytes = batch::encode(&self.plan.values, Packing::NONE, Some(&self.state));
        let batches: Vec<(i32, &[u8])> = partitions.map(|at| (at, bytes.as_slice())).collect();
        let topic = Topic::named(&self.plan.topic);
        let (frame, _) = batch::produce_frame_of(version, &topic, -1, Some(&self.id), &batches);
        loop {
            self.c.s.write_all(&frame).expect("send");
            self.c.recv().expect("produce");
            let told = &self.c.buf[..self.c.last];
            let told = batch::produce_result_at(version, told).expect("a Produce response");
            match told.0 {
                0 => break,
                51 => self.pause(),
                e => panic!("produce error {e}"),
            }
        }
        self.state.seq += self.plan.values.len() as i32;
    }

    fn add(&mut self, partitions: Vec<i32>) {
        let id = self.id.clone();
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.as_str().into(),
            v3_and_below_producer_id: self.state.pid,
            v3_and_below_producer_epoch: self.state.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: self.plan.topic.as_str().into(),
                partitions,
            }],
            ..Default::default()
        };
        loop {
            let told = self.c.call(&request).expect("add partitions");
            let topics = told.results_by_topic_v3_and_below.iter();
            let mut codes = topics.flat_map(|t| &t.results_by_partition);
            let code = codes.find(|p| p.partition_error_code != 0);
            match code.map_or(0, |p| p.partition_error_code) {
                0 => return,
                51 | 14 | 16 => self.pause(),
                e => panic!("add partitions error {e}"),
            }
        }
    }

    fn end(&mut self) {
        let id = self.id.clone();
        self.begun += 1;
        let every = self.plan.abort_every;
        let is_aborted = every > 0 && self.begun.is_multiple_of(every);
        let request = EndTxnRequest {
            transactional_id: id.as_str().into(),
            producer_id: self.state.pid,
            producer_epoch: self.state.epoch,
            committed: !is_aborted,
        };
        loop {
            let told = match self.plan.newer {
                true => self.c.call_at(NEWER_END, &request),
                false => self.c.call(&request),
            };
            let told = told.expect("end txn");
            match told.error_code {
                0 if self.plan.newer => {
                    (self.state.pid, self.state.epoch) = (told.producer_id, told.producer_epoch);
                    self.state.seq = 0;
                    return;
                }
                0 => return,
                51 | 14 | 16 => self.pause(),
                e => panic!("end txn error {e}"),
            }
        }
    }

    fn pause(&mut self) {
        self.retries += 1;
        std::thread::sleep(PAUSE);
    }
}

pub fn run(a: &Args) {
    let (addr, id) = (a.addr(), a.str("txn-id", "tx"));
    let size = a.num("size", 100) as usize;
    let count = a.num("batch", 10) as u64;
    let plan = Plan {
        topic: a.str("topic", "t"),
        newer: a.num("newer", 0) != 0,
        partitions: a.num("partitions", 1) as i32,
        values: (0..count).map(|i| batch::payload(size, i)).collect(),
        abort_every: a.num("abort-every", 0) as u64,
    };
    let producers = a.num("producers", 1) as usize;
    if a.num("hold", 0) != 0 {
        return hold(a, &addr, &id, &plan, producers);
    }
    let secs = Duration::from_secs(a.num("secs", 5) as u64);
    let (ready, phase) = (AtomicUsize::new(0), AtomicU64::new(WARM));
    let (fields, done) = std::thread::scope(|scope| {
        let (plan, ready, phase) = (&plan, &ready, &phase);
        let threads: Vec<_> = (0..producers)
            .map(|n| {
                let (addr, id) = (addr.clone(), format!("{id}-{n}"));
                scope.spawn(move || {
                    let mut producer = Producer::begin(&addr, id, plan);
                    ready.fetch_add(1, SeqCst);
                    measure(&mut producer, phase)
                })
            })
            .collect();
        while ready.load(SeqCst) < producers {
            std::thread::sleep(PAUSE);
        }
        std::thread::sleep(Duration::from_secs(1));
        let meter = Meter::start(a.pid());
        phase.store(MEASURED, SeqCst);
        std::thread::sleep(secs);
        phase.store(OVER, SeqCst);
        let fields = meter.stop();
        let done = threads.into_iter().map(|it| it.join().expect("a producer"));
        (fields, done.collect::<Vec<_>>())
    });
    let mut out = fields;
    let mut lat: Vec<u64> = done
        .iter()
        .flat_map(|(lat, _)| lat.iter().copied())
        .collect();
    lat.sort_unstable();
    let commits = lat.len() as f64;
    let (s, cpu) = (out[0].1, out[1].1);
    out.extend([
        ("commits", commits),
        ("commits_per_s", commits / s),
        (
            "retries",
            done.iter().map(|(_, retries)| *retries).sum::<u64>() as f64,
        ),
        ("commit_p50_us", pct(&lat, 50.0) / 1e3),
        ("commit_p99_us", pct(&lat, 99.0) / 1e3),
        ("cpu_us_per_commit", cpu / commits * 1e6),
    ]);
    stat::print(&out);
}

const WARM: u64 = 0;
const MEASURED: u64 = 1;
const OVER: u64 = 2;

/// How long each transaction took that began and ended while it was measured, and how often something was tried again.
fn measure(producer: &mut Producer<'_>, phase: &AtomicU64) -> (Vec<u64>, u64) {
    let mut lat = Vec::new();
    loop {
        let began = phase.load(SeqCst);
        let t0 = mono_ns();
        producer.transaction();
        match phase.load(SeqCst) {
            OVER => return (lat, producer.retries),
            MEASURED if began == MEASURED => lat.push(mono_ns() - t0),
            MEASURED => producer.retries = 0,
            _ => {}
        }
    }
}

/// What open transactions take: resident memory before, with them, and for each.
fn hold(a: &Args, addr: &str, id: &str, plan: &Plan, producers: usize) {
    let mut all: Vec<Producer<'_>> = (0..producers)
        .map(|n| Producer::begin(addr, format!("{id}-{n}"), plan))
        .collect();
    let before = stat::mem(a.pid(), "VmRSS");
    all.iter_mut().for_each(Producer::write);
    let with = stat::mem(a.pid(), "VmRSS");
    stat::print(&[
        ("open", producers as f64),
        ("rss_before_mib", before),
        ("rss_with_mib", with),
        ("kib_per_open", (with - before) * 1024.0 / producers as f64),
    ]);
}
