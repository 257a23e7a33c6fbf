//! End-to-end latency at a fixed rate: one record per Produce request, spread over `conns`
//! connections; one consumer long-polls all partitions. Time stamps travel in the value.

use crate::{
    args::Args,
    batch::{self, Packing},
    compact, consume,
    stat::{self, Meter, mono_ns, pct},
    wire::Conn,
};
use rustka_client::frame::CORRELATION_AT;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::time::Duration;

pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let parts = a.num("partitions", 1) as i32;
    let conns = a.num("conns", 1) as usize;
    let rate = a.num("rate", 1000) as u64;
    let secs = a.num("secs", 10) as u64;
    let size = (a.num("size", 100) as usize).max(16);
    let acks = a.num("acks", 1) as i16;
    let warm = a.num("warm", 1) as u64 * rate; // first messages are not counted

    let socks: Vec<Conn> = (0..conns)
        .map(|_| Conn::open(&addr).expect("connect"))
        .collect();
    let total = rate * secs + warm;
    let stop = AtomicBool::new(false);
    let (sent, acked, received, errs) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
    );
    let (e2e, ack) = (Mutex::new(Vec::<u64>::new()), Mutex::new(Vec::<u64>::new()));
    let sent_at: Vec<AtomicU64> = (0..total).map(|_| AtomicU64::new(0)).collect();
    let late = AtomicU64::new(0);
    let plist: Vec<i32> = (0..parts).collect();
    let mut cc = Conn::open(&addr).expect("connect");
    let begin = consume::offsets(&mut cc, &topic, &plist, -1);
    let mut meter = None;
    let (port, mut syncs) = (a.num("metrics", 0), f64::NAN);
    let mut out = Vec::new();

    std::thread::scope(|s| {
        // consumer
        s.spawn(|| {
            let mut at = begin.clone();
            let (mut f, places) =
                batch::fetch_frame(&topic, &plist, &at, a.num("max-wait", 500) as i32, 1 << 20);
            let mut v = Vec::new();
            while !stop.load(Relaxed) {
                for (pl, o) in places.iter().zip(&at) {
                    f[*pl..*pl + 8].copy_from_slice(&o.to_be_bytes());
                }
                cc.s.write_all(&f).expect("write");
                cc.recv().expect("fetch");
                let now = mono_ns();
                batch::each_fetched(&cc.buf[..cc.last], |p, e, _, recs| {
                    if e != 0 {
                        errs.fetch_add(1, Relaxed);
                        return;
                    }
                    batch::each_batch(recs, |_, last, b| {
                        if last < at[p as usize] {
                            return;
                        } // an older batch, sent along
                        batch::each_value(b, |o, val| {
                            // Nor one that `create` has left: the newest offset may lag behind it.
                            if o < at[p as usize] || val.len() < 16 {
                                return;
                            }
                            let t = u64::from_be_bytes(val[..8].try_into().unwrap());
                            let seq = u64::from_be_bytes(val[8..16].try_into().unwrap());
                            received.fetch_add(1, Relaxed);
                            if seq >= warm {
                                v.push(now.saturating_sub(t));
                            }
                        });
                        at[p as usize] = at[p as usize].max(last + 1);
                    });
                });
            }
            *e2e.lock().unwrap() = v;
        });
        // acknowledgements of all connections, by epoll
        s.spawn(|| {
            let ep = unsafe { libc::epoll_create1(0) };
            let mut fds: HashMap<i32, usize> = HashMap::new();
            for (i, c) in socks.iter().enumerate() {
                let fd = c.s.as_raw_fd();
                fds.insert(fd, i);
                let mut ev = libc::epoll_event {
                    events: libc::EPOLLIN as u32,
                    u64: fd as u64,
                };
                unsafe { libc::epoll_ctl(ep, libc::EPOLL_CTL_ADD, fd, &mut ev) };
            }
            let mut bufs: Vec<Vec<u8>> = vec![Vec::new(); conns];
            let mut evs = vec![libc::epoll_event { events: 0, u64: 0 }; 256];
            let mut chunk = vec![0u8; 65536];
            let mut v = Vec::new();
            while !stop.load(Relaxed) {
                let n = unsafe { libc::epoll_wait(ep, evs.as_mut_ptr(), 256, 100) };
                for ev in &evs[..n.max(0) as usize] {
                    let i = fds[&(ev.u64 as i32)];
                    let k = (&socks[i].s).read(&mut chunk).unwrap_or(0);
                    if k == 0 {
                        errs.fetch_add(1, Relaxed);
                        stop.store(true, Relaxed);
                        break;
                    }
                    let now = mono_ns();
                    let b = &mut bufs[i];
                    b.extend_from_slice(&chunk[..k]);
                    let mut o = 0;
                    while b.len() - o >= 4 {
                        let len = u32::from_be_bytes(b[o..o + 4].try_into().unwrap()) as usize;
                        if b.len() - o < 4 + len {
                            break;
                        }
                        let seq = i32::from_be_bytes(b[o + 4..o + 8].try_into().unwrap()) as u64;
                        if batch::produce_result(&b[o + 4..o + 4 + len]).0 != 0 {
                            errs.fetch_add(1, Relaxed);
                        }
                        acked.fetch_add(1, Relaxed);
                        if seq >= warm {
                            v.push(now - sent_at[seq as usize].load(Relaxed));
                        }
                        o += 4 + len;
                    }
                    b.drain(..o);
                }
            }
            unsafe { libc::close(ep) };
            *ack.lock().unwrap() = v;
        });
        // sender, open loop
        let mut value = vec![b'x'; size];
        let mut w = &socks[0].s;
        let step = 1_000_000_000 / rate;
        let t0 = mono_ns();
        for seq in 0..total {
            if stop.load(Relaxed) {
                break;
            }
            if seq == warm {
                syncs = compact::counter(port, compact::SYNCS);
                meter = Some(Meter::start(a.pid()));
            }
            let due = t0 + seq * step;
            let now = mono_ns();
            if due > now {
                std::thread::sleep(Duration::from_nanos(due - now));
            }
            if conns > 1 {
                w = &socks[seq as usize % conns].s;
            }
            let t = mono_ns();
            if t > due + 1_000_000 {
                late.fetch_add(1, Relaxed);
            }
            value[..8].copy_from_slice(&t.to_be_bytes());
            value[8..16].copy_from_slice(&seq.to_be_bytes());
            let b = batch::encode(std::slice::from_ref(&value), Packing::NONE, None);
            let mut f = batch::produce_frame(&topic, (seq % parts as u64) as i32, acks, None, &b);
            f[CORRELATION_AT].copy_from_slice(&(seq as i32).to_be_bytes());
            sent_at[seq as usize].store(t, Relaxed);
            w.write_all(&f).expect("write");
            sent.fetch_add(1, Relaxed);
        }
        out = meter.as_ref().expect("at least the warm-up").stop();
        syncs = compact::counter(port, compact::SYNCS) - syncs;
        let wait = mono_ns();
        while mono_ns() - wait < 3_000_000_000
            && (received.load(Relaxed) < total || acked.load(Relaxed) < total)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Relaxed);
    });
    let (mut e, mut k) = (e2e.into_inner().unwrap(), ack.into_inner().unwrap());
    e.sort_unstable();
    k.sort_unstable();
    let cpu = out[1].1;
    let us = |v: &[u64], p| pct(v, p) / 1e3;
    out.extend([
        ("sent", sent.load(Relaxed) as f64),
        ("acked", acked.load(Relaxed) as f64),
        ("received", received.load(Relaxed) as f64),
        ("errors", errs.load(Relaxed) as f64),
        ("late_sends", late.load(Relaxed) as f64),
        ("e2e_p50_us", us(&e, 50.0)),
        ("e2e_p99_us", us(&e, 99.0)),
        ("e2e_p999_us", us(&e, 99.9)),
        ("e2e_max_us", us(&e, 100.0)),
        ("ack_p50_us", us(&k, 50.0)),
        ("ack_p99_us", us(&k, 99.0)),
        ("ack_p999_us", us(&k, 99.9)),
        ("syncs_per_msg", syncs / (rate * secs) as f64),
        ("cpu_us_per_msg", cpu / (rate * secs) as f64 * 1e6),
    ]);
    stat::print(&out);
}

/// `consumers` that long-poll the end of an idle topic: what waiting costs.
pub fn idle_fetch(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let n = a.num("consumers", 100);
    let secs = Duration::from_secs(a.num("secs", 5) as u64);
    let mut socks: Vec<Conn> = (0..n)
        .map(|_| Conn::open(&addr).expect("connect"))
        .collect();
    let end = consume::offsets(&mut socks[0], &topic, &[0], -1);
    let count = AtomicU64::new(0);
    let m = Meter::start(a.pid());
    let until = std::time::Instant::now() + secs;
    let mut out = Vec::new();
    std::thread::scope(|s| {
        for mut c in socks {
            let (topic, end, count) = (&topic, &end, &count);
            s.spawn(move || {
                let (f, _) = batch::fetch_frame(topic, &[0], end, 500, 1 << 20);
                while std::time::Instant::now() < until {
                    c.s.write_all(&f).expect("write");
                    c.recv().expect("fetch");
                    count.fetch_add(1, Relaxed);
                }
            });
        }
        std::thread::sleep(secs);
        out = m.stop();
    });
    let (s, cpu) = (out[0].1, out[1].1);
    let k = count.load(Relaxed) as f64;
    out.extend([
        ("fetches", k),
        ("fetches_per_s", k / s),
        ("idle_cpu_percent", cpu / s * 100.0),
        ("cpu_us_per_fetch", cpu / k * 1e6),
    ]);
    stat::print(&out);
}
