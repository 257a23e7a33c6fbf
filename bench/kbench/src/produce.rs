//! Produce throughput: every connection keeps `inflight` encoded requests on the wire.
//!
//! `--version 13` names the topic by its id, `--idempotent 1` gives every connection a producer id and patches
//! sequence and CRC into each request, `--parts-per-request N` sends N partitions in one request,
//! `--metrics PORT` counts syncs, from Rustka's metrics or the floor's,
//! `--keys N` gives the records N different keys, `--per-s N` sends so many requests per second in all.

use crate::args::Args;
use crate::batch::{self, Packing, Topic, Txn};
use crate::compact;
use crate::modern;
use crate::stat::{self, Meter};
use crate::wire::{self, Conn};
use rustka_client::frame::CORRELATION_AT;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::produce_request::ProduceRequest;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What every connection sends.
struct Plan {
    topic: Topic,
    version: i16,
    acks: i16,
    inflight: u64,
    per_batch: usize,
    idempotent: bool,
    /// Requests by turns: the batch of each partition that one request carries.
    groups: Vec<Vec<i32>>,
    /// Different batches, used by turns: one, or as many as the keys need.
    batches: Vec<Vec<u8>>,
}

/// One encoded request and its batches.
struct Template {
    frame: Vec<u8>,
    batches: Vec<std::ops::Range<usize>>,
    group: usize,
}

impl Plan {
    fn template(&self, group: usize, batch: usize) -> Template {
        let batch = &self.batches[batch][..];
        let of: Vec<(i32, &[u8])> = self.groups[group].iter().map(|p| (*p, batch)).collect();
        let (frame, places) =
            batch::produce_frame_of(self.version, &self.topic, self.acks, None, &of);
        let batches = places.into_iter().map(|p| p..p + batch.len()).collect();
        Template {
            frame,
            batches,
            group,
        }
    }

    fn error(&self, response: &[u8]) -> i16 {
        batch::produce_result_at(self.version, response)
            .expect("a Produce response")
            .0
    }
}

fn producer_id(c: &mut Conn) -> Txn {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let told = c.call(&request).expect("init producer id");
        match told.error_code {
            0 => {
                return Txn {
                    pid: told.producer_id,
                    epoch: told.producer_epoch,
                    seq: 0,
                    transactional: false,
                };
            }
            14..=16 if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(20)),
            e => panic!("init producer id error {e}"),
        }
    }
}

pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let parts = a.num("partitions", 1) as i32;
    let conns = a.num("conns", 1) as i32;
    let size = a.num("size", 1024) as usize;
    let per_batch = a.num("batch", 64) as usize;
    let per_request = a.num("parts-per-request", 1).max(1) as usize;
    let keys = a.num("keys", 0) as usize;
    let codec = Packing::parse(&a.str("codec", "none"));
    let records_per_request = (per_batch * per_request) as u64;
    let total_reqs = (a.num("msgs", 100_000) as u64).div_ceil(records_per_request);
    let limit = Duration::from_secs(a.num("secs", 60) as u64);
    let step = Duration::from_secs(1).checked_div(a.num("per-s", 0) as u32);

    let values: Vec<Vec<u8>> = (0..per_batch)
        .map(|i| batch::payload(size, i as u64 + 7))
        .collect();
    let different = keys.div_ceil(per_batch).clamp(1, 4096);
    let batches: Vec<Vec<u8>> = (0..different)
        .map(|i| {
            let own: Option<Vec<usize>> =
                (keys > 0).then(|| (0..per_batch).map(|k| (i * per_batch + k) % keys).collect());
            batch::encode_keyed(&values, own.as_deref(), codec, None)
        })
        .collect();
    let all: Vec<i32> = (0..parts).collect();
    let (version, topic) = match a.num("version", 7) {
        13 => {
            let mut c = Conn::open(&addr).expect("connect");
            let topic = modern::topic(&mut c, &topic).expect("topic id");
            (modern::PRODUCE_V, topic)
        }
        7 => (wire::version(ProduceRequest::KEY), Topic::named(&topic)),
        v => panic!("--version {v}: 7 or 13"),
    };
    let plan = Plan {
        version,
        topic,
        acks: a.num("acks", -1) as i16,
        inflight: a.num("inflight", 5) as u64,
        per_batch,
        idempotent: a.num("idempotent", 0) != 0,
        groups: all.chunks(per_request).map(<[i32]>::to_vec).collect(),
        batches,
    };
    let groups = plan.groups.len() as i32;

    let (next, done, errs) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let mut sockets: Vec<(Conn, Option<Txn>)> = Vec::new();
    for _ in 0..conns {
        let mut c = Conn::open(&addr).expect("connect");
        let producer = plan.idempotent.then(|| producer_id(&mut c));
        sockets.push((c, producer));
    }
    let port = a.num("metrics", 0);
    let syncs = compact::counter(port, compact::SYNCS);
    let m = Meter::start(a.pid());
    let begun = Instant::now();
    let deadline = begun + limit;
    std::thread::scope(|s| {
        for (i, (mut c, producer)) in sockets.into_iter().enumerate() {
            let (plan, next, done, errs) = (&plan, &next, &done, &errs);
            s.spawn(move || {
                // this connection's partitions, by turns
                let mine: Vec<usize> = if conns >= groups {
                    vec![i % groups as usize]
                } else {
                    (0..groups as usize)
                        .filter(|g| g % conns as usize == i)
                        .collect()
                };
                let mut own: Vec<Template> = Vec::new();
                for b in 0..plan.batches.len() {
                    own.extend(mine.iter().map(|&g| plan.template(g, b)));
                }
                let mut sequences = vec![0i32; groups as usize];
                let (mut sent, mut got, mut more) = (0u64, 0u64, true);
                loop {
                    while more && sent - got < plan.inflight {
                        let number = next.fetch_add(1, Relaxed);
                        if let Some(step) = step {
                            let due = begun + step * number as u32;
                            std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        }
                        if number >= total_reqs || Instant::now() > deadline {
                            more = false;
                            break;
                        }
                        let k = (sent % own.len() as u64) as usize;
                        let t = &mut own[k];
                        t.frame[CORRELATION_AT].copy_from_slice(&(sent as i32).to_be_bytes());
                        if let Some(p) = &producer {
                            let seq = sequences[t.group];
                            let stamp = Txn { seq, ..*p };
                            for b in &t.batches {
                                batch::stamp(&mut t.frame[b.clone()], &stamp);
                            }
                            // sequences go on at 0 after the largest
                            let after = (seq as i64 + plan.per_batch as i64) % (1 << 31);
                            sequences[t.group] = after as i32;
                        }
                        c.s.write_all(&t.frame).expect("write");
                        sent += 1;
                    }
                    if got == sent {
                        break;
                    }
                    if plan.acks == 0 {
                        got += 1;
                        done.fetch_add(1, Relaxed);
                        continue;
                    }
                    c.recv().expect("produce response");
                    let corr = i32::from_be_bytes(c.buf[..4].try_into().unwrap());
                    assert_eq!(corr, got as i32, "responses out of order");
                    let e = plan.error(&c.buf[..c.last]);
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
    let msgs = reqs * records_per_request as f64;
    let bytes = msgs * size as f64;
    let (secs, cpu) = (out[0].1, out[1].1);
    let batch_bytes = reqs * per_request as f64 * plan.batches[0].len() as f64;
    out.extend([
        ("reqs", reqs),
        (
            "syncs_per_batch",
            (compact::counter(port, compact::SYNCS) - syncs) / (reqs * per_request as f64),
        ),
        ("msgs", msgs),
        ("value_bytes", bytes),
        ("batch_bytes", batch_bytes),
        ("wire_bytes", reqs * plan.template(0, 0).frame.len() as f64),
        ("errors", errs.load(Relaxed) as f64),
        ("msgs_per_s", msgs / secs),
        ("mb_per_s", bytes / secs / 1e6),
        ("cpu_s_per_mmsg", cpu / msgs * 1e6),
        ("cpu_s_per_gb", cpu / bytes * 1e9),
        ("cpu_us_per_req", cpu / reqs * 1e6),
    ]);
    stat::print(&out);
}
