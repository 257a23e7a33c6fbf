//! `kbench floor`: not a broker but the measured floor under one. It does only what a broker cannot leave
//! out - receive, check the CRC, assign offsets, keep the batch where it was received, send it with one
//! vectored write - with a thread per connection. What it costs is what is there to be reached.
//! `--retain BYTES` drops the oldest batches of a partition, so that memory is used again.

use crate::{
    args::Args,
    wire::{self, R, W},
};
use std::collections::HashMap;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

#[derive(Clone)]
struct Piece {
    last: i64,
    frame: Arc<Vec<u8>>,
    from: usize,
    to: usize,
}

#[derive(Default)]
struct Log {
    pieces: std::collections::VecDeque<Piece>,
    next: i64,
    start: i64,
    bytes: usize,
}

struct Topic {
    logs: Vec<Mutex<Log>>,
    waiting: AtomicUsize,
    tick: Mutex<u64>,
    cond: Condvar,
}

struct Store {
    topics: RwLock<HashMap<String, Arc<Topic>>>,
    retain: usize,
    port: i32,
}

impl Store {
    fn topic(&self, n: &str) -> Option<Arc<Topic>> {
        self.topics.read().unwrap().get(n).cloned()
    }
    fn create(&self, n: &str, parts: i32) {
        self.topics
            .write()
            .unwrap()
            .entry(n.to_string())
            .or_insert_with(|| {
                Arc::new(Topic {
                    logs: (0..parts.max(1)).map(|_| Mutex::default()).collect(),
                    waiting: AtomicUsize::new(0),
                    tick: Mutex::new(0),
                    cond: Condvar::new(),
                })
            });
    }
}

pub fn run(a: &Args) {
    let l = TcpListener::bind(a.addr()).expect("bind");
    let port = l.local_addr().unwrap().port() as i32;
    let store = Arc::new(Store {
        topics: RwLock::default(),
        retain: a.num("retain", i64::MAX) as usize,
        port,
    });
    for c in l.incoming().flatten() {
        let store = store.clone();
        c.set_nodelay(true).unwrap();
        let _ = std::thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || {
                let _ = serve(c, &store);
            });
    }
}

fn serve(mut c: TcpStream, store: &Store) -> std::io::Result<()> {
    let mut buf = vec![0u8; 16 << 10];
    let (mut have, mut at) = (0, 0);
    let mut out = Vec::new();
    loop {
        if have - at < 4 {
            if !out.is_empty() {
                c.write_all(&out)?;
                out.clear();
            }
            buf.copy_within(at..have, 0);
            have -= at;
            at = 0;
            while have < 4 {
                let n = c.read(&mut buf[have..])?;
                if n == 0 {
                    return Ok(());
                }
                have += n;
            }
        }
        let len = u32::from_be_bytes(buf[at..at + 4].try_into().unwrap()) as usize;
        at += 4;
        // the frame's own memory: what came with the last read is moved, the rest is received into it
        let part = len.min(have - at);
        let mut frame = Vec::with_capacity(len);
        frame.extend_from_slice(&buf[at..at + part]);
        at += part;
        if part < len {
            if !out.is_empty() {
                c.write_all(&out)?;
                out.clear();
            }
            (&mut c).take((len - part) as u64).read_to_end(&mut frame)?;
            if frame.len() < len {
                return Ok(());
            }
        }
        request(frame, store, &mut c, &mut out)?;
    }
}

/// Answers into `out`, except for Fetch, which writes by itself.
fn request(
    mut frame: Vec<u8>,
    store: &Store,
    c: &mut TcpStream,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    let mut r = R(&frame);
    let (api, v, corr) = (r.i16(), r.i16(), r.i32());
    r.str();
    let mut w = W::default();
    w.i32(0).i32(corr);
    match api {
        wire::API_VERSIONS => {
            w.i16(0);
            let list = [
                (wire::PRODUCE, 7),
                (wire::FETCH, 11),
                (wire::LIST_OFFSETS, 1),
                (wire::METADATA, 1),
                (wire::API_VERSIONS, 0),
                (wire::CREATE_TOPICS, 2),
            ];
            w.i32(list.len() as i32);
            for (k, m) in list {
                w.i16(k).i16(0).i16(m);
            }
        }
        wire::METADATA => {
            w.i32(1)
                .i32(0)
                .str("127.0.0.1")
                .i32(store.port)
                .opt_str(None)
                .i32(0);
            let n = r.i32();
            let map = store.topics.read().unwrap();
            let all: Vec<(&String, &Arc<Topic>)> =
                if n == 0 { vec![] } else { map.iter().collect() };
            w.i32(all.len() as i32);
            for (name, t) in all {
                w.i16(0).str(name).i8(0).i32(t.logs.len() as i32);
                for p in 0..t.logs.len() as i32 {
                    w.i16(0).i32(p).i32(0).i32(1).i32(0).i32(1).i32(0);
                }
            }
        }
        wire::CREATE_TOPICS => {
            let n = r.i32();
            w.i32(0).i32(n);
            for _ in 0..n {
                let t = r.str();
                store.create(&t, r.i32());
                r.i16();
                r.i32();
                r.i32();
                w.str(&t).i16(0).opt_str(None);
            }
        }
        wire::LIST_OFFSETS => {
            r.i32();
            let n = r.i32();
            w.i32(n);
            for _ in 0..n {
                let (t, k) = (r.str(), r.i32());
                w.str(&t).i32(k);
                for _ in 0..k {
                    let (p, ts) = (r.i32(), r.i64());
                    let o = store.topic(&t).map_or(0, |t| {
                        let l = t.logs[p as usize].lock().unwrap();
                        if ts == -2 { l.start } else { l.next }
                    });
                    w.i32(p).i16(0).i64(-1).i64(o);
                }
            }
        }
        wire::PRODUCE => {
            let n = r.i16().max(0) as usize;
            r.take(n);
            r.i16();
            r.i32();
            // one topic and one partition per request, as this driver sends them
            if r.i32() != 1 {
                return Err(std::io::Error::other("one topic per request"));
            }
            let t = r.str();
            if r.i32() != 1 {
                return Err(std::io::Error::other("one partition per request"));
            }
            let (p, recs) = (r.i32(), r.bytes());
            let good =
                crc32c::crc32c(&recs[21..]) == u32::from_be_bytes(recs[17..21].try_into().unwrap());
            let count = i32::from_be_bytes(recs[23..27].try_into().unwrap()) as i64 + 1;
            let (to, from) = (
                frame.len() - r.0.len(),
                frame.len() - r.0.len() - recs.len(),
            );
            let topic = store.topic(&t);
            let (mut err, mut base) = (0, -1);
            match topic {
                None => err = 3,
                Some(_) if !good => err = 2,
                Some(topic) => {
                    let mut l = topic.logs[p as usize].lock().unwrap();
                    base = l.next;
                    l.next += count;
                    frame[from..from + 8].copy_from_slice(&base.to_be_bytes());
                    l.bytes += to - from;
                    let last = l.next - 1;
                    l.pieces.push_back(Piece {
                        last,
                        frame: Arc::new(frame),
                        from,
                        to,
                    });
                    while l.bytes > store.retain {
                        let old = l.pieces.pop_front().unwrap();
                        l.bytes -= old.to - old.from;
                        l.start = old.last + 1;
                    }
                    drop(l);
                    if topic.waiting.load(SeqCst) > 0 {
                        *topic.tick.lock().unwrap() += 1;
                        topic.cond.notify_all();
                    }
                }
            }
            w.i32(1).str(&t).i32(1).i32(p).i16(err).i64(base).i64(-1);
            if v >= 5 {
                w.i64(0);
            }
            w.i32(0);
        }
        wire::FETCH => {
            if !out.is_empty() {
                c.write_all(out)?;
                out.clear();
            }
            return fetch(R(r.0), v, corr, store, c);
        }
        _ => return Err(std::io::Error::other("unknown request")),
    }
    let n = (w.0.len() - 4) as i32;
    w.0[..4].copy_from_slice(&n.to_be_bytes());
    out.extend_from_slice(&w.0);
    Ok(())
}

fn fetch(mut r: R, v: i16, corr: i32, store: &Store, c: &mut TcpStream) -> std::io::Result<()> {
    r.i32();
    let (wait, min, max) = (r.i32(), r.i32(), r.i32() as usize);
    r.i8();
    if v >= 11 {
        r.i32();
        r.i32();
    }
    r.i32();
    let name = r.str();
    let asked: Vec<(i32, i64, usize)> = (0..r.i32())
        .map(|_| {
            let p = r.i32();
            if v >= 11 {
                r.i32();
            }
            let o = r.i64();
            if v >= 11 {
                r.i64();
            }
            (p, o, r.i32() as usize)
        })
        .collect();
    let topic = store
        .topic(&name)
        .ok_or_else(|| std::io::Error::other("no topic"))?;
    let until = Instant::now() + Duration::from_millis(wait as u64);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut per: Vec<(i64, usize, usize)> = Vec::new(); // high watermark, pieces, bytes
    loop {
        topic.waiting.fetch_add(1, SeqCst);
        let before = *topic.tick.lock().unwrap();
        pieces.clear();
        per.clear();
        let mut total = 0;
        for (p, o, pmax) in &asked {
            let l = topic.logs[*p as usize].lock().unwrap();
            let first = l.pieces.partition_point(|x| x.last < *o);
            let (mut n, mut bytes) = (0, 0);
            for x in l.pieces.range(first..) {
                let k = x.to - x.from;
                if bytes > 0 && (bytes + k > *pmax || total + k > max) {
                    break;
                }
                pieces.push(x.clone());
                n += 1;
                bytes += k;
                total += k;
            }
            per.push((l.next, n, bytes));
        }
        let left = until.saturating_duration_since(Instant::now());
        let enough = total >= min as usize || left.is_zero();
        if !enough {
            let t = topic.tick.lock().unwrap();
            drop(
                topic
                    .cond
                    .wait_timeout_while(t, left, |t| *t == before)
                    .unwrap(),
            );
        }
        topic.waiting.fetch_sub(1, SeqCst);
        if enough {
            break;
        }
    }
    // headers in one buffer, cut at the places where record bytes go in
    let mut w = W::default();
    let mut cuts = Vec::new();
    w.i32(0).i32(corr).i32(0);
    if v >= 11 {
        w.i16(0).i32(0);
    }
    w.i32(1).str(&name).i32(asked.len() as i32);
    for ((p, _, _), (hw, _, bytes)) in asked.iter().zip(&per) {
        w.i32(*p).i16(0).i64(*hw).i64(*hw);
        if v >= 11 {
            w.i64(0);
        }
        w.i32(0);
        if v >= 11 {
            w.i32(-1);
        }
        w.i32(*bytes as i32);
        cuts.push(w.0.len());
    }
    let n = (w.0.len() - 4 + per.iter().map(|x| x.2).sum::<usize>()) as i32;
    w.0[..4].copy_from_slice(&n.to_be_bytes());
    let mut io = Vec::new();
    let (mut from, mut i) = (0, 0);
    for (cut, (_, n, _)) in cuts.iter().zip(&per) {
        io.push(IoSlice::new(&w.0[from..*cut]));
        from = *cut;
        for x in &pieces[i..i + n] {
            io.push(IoSlice::new(&x.frame[x.from..x.to]));
        }
        i += n;
    }
    let mut s = &mut io[..];
    while !s.is_empty() {
        let k = c.write_vectored(&s[..s.len().min(512)])?;
        IoSlice::advance_slices(&mut s, k);
    }
    Ok(())
}
