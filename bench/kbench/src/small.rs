//! What small requests cost and how long they take while others do heavy work: `small` and `search`.

use crate::args::Args;
use crate::consume;
use crate::stat::{self, Meter, mono_ns, pct};
use crate::wire::Conn;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// ApiVersions at `rate` per second, spread over `conns` connections, in open loop: a late answer delays only
/// the next request of its own connection, and its time counts from when it was due.
pub fn run(a: &Args) {
    let addr = a.addr();
    let conns = a.num("conns", 10) as u64;
    let rate = a.num("rate", 200) as u64;
    let secs = a.num("secs", 10) as u64;
    let socks: Vec<Conn> = (0..conns)
        .map(|_| Conn::open(&addr).expect("connect"))
        .collect();
    let total = rate * secs;
    let step = 1_000_000_000 / rate;
    let bad = AtomicU64::new(0);
    let m = Meter::start(a.pid());
    let t0 = mono_ns() + 1_000_000;
    let mut times: Vec<u64> = Vec::new();
    std::thread::scope(|s| {
        let threads: Vec<_> = socks
            .into_iter()
            .enumerate()
            .map(|(i, mut c)| {
                let bad = &bad;
                s.spawn(move || {
                    let mut own = Vec::new();
                    for k in (i as u64..total).step_by(conns as usize) {
                        let due = t0 + k * step;
                        let now = mono_ns();
                        if due > now {
                            std::thread::sleep(Duration::from_nanos(due - now));
                        }
                        let request = ApiVersionsRequest::default();
                        c.exchange(0, &request).expect("ApiVersions");
                        own.push(mono_ns() - due);
                        let told: (i32, ApiVersionsResponse) =
                            c.received(ApiVersionsRequest::KEY, 0).expect("ApiVersions");
                        if told.1.error_code != 0 {
                            bad.fetch_add(1, Relaxed);
                        }
                    }
                    own
                })
            })
            .collect();
        for t in threads {
            times.extend(t.join().expect("a connection's thread"));
        }
    });
    let mut out = m.stop();
    times.sort_unstable();
    let cpu = out[1].1;
    out.extend([
        ("reqs", times.len() as f64),
        ("errors", bad.load(Relaxed) as f64),
        ("p50_ms", pct(&times, 50.0) / 1e6),
        ("p99_ms", pct(&times, 99.0) / 1e6),
        ("max_ms", pct(&times, 100.0) / 1e6),
        ("cpu_us_per_req", cpu / times.len() as f64 * 1e6),
    ]);
    stat::print(&out);
}

/// ListOffsets by time, one after the other, at times spread over the last `span-ms`.
pub fn search(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let secs = Duration::from_secs(a.num("secs", 10) as u64);
    let span = a.num("span-ms", 10_000).max(1);
    let pause = Duration::from_millis(a.num("pause-ms", 20) as u64);
    let mut c = Conn::open(&addr).expect("connect");
    let mut times = Vec::new();
    let m = Meter::start(a.pid());
    let end = Instant::now() + secs;
    let mut seed = mono_ns() | 1;
    while Instant::now() < end {
        seed = stat::random(seed);
        let now = (stat::unix_ns() / 1_000_000) as i64;
        let t = mono_ns();
        consume::offsets(&mut c, &topic, &[0], now - (seed % span as u64) as i64);
        times.push(mono_ns() - t);
        std::thread::sleep(pause);
    }
    let mut out = m.stop();
    times.sort_unstable();
    out.extend([
        ("reqs", times.len() as f64),
        ("p50_ms", pct(&times, 50.0) / 1e6),
        ("p99_ms", pct(&times, 99.0) / 1e6),
    ]);
    stat::print(&out);
}

/// `readers` that each send a Fetch of everything and never read the answer, and a producer beside them.
pub fn stall(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let readers = a.num("readers", 200);
    let secs = a.num("secs", 20) as u64;
    let size = a.num("size", 1024) as usize;
    let per_batch = a.num("batch", 64) as usize;
    let fetches = a.num("fetches", 1);
    let preload = a.num("preload-mb", 64) as u64 * 1_000_000;

    let values: Vec<Vec<u8>> = (0..per_batch)
        .map(|i| crate::batch::payload(size, i as u64 + 7))
        .collect();
    let encoded = crate::batch::encode(&values, crate::batch::Packing::NONE, None);
    let produce = crate::batch::produce_frame(&topic, 0, 1, None, &encoded);
    let mut errors = 0u64;
    let mut send = |c: &mut Conn| -> std::io::Result<()> {
        c.s.write_all(&produce)?;
        c.recv()?;
        if crate::batch::produce_result(&c.buf[..c.last]).0 != 0 {
            errors += 1;
        }
        Ok(())
    };
    let rss_before = stat::mem(a.pid(), "VmRSS");
    let m = Meter::start(a.pid());
    let mut c = Conn::open(&addr).expect("connect");
    for _ in 0..preload.div_ceil(encoded.len() as u64) {
        send(&mut c).expect("produce");
    }
    let begin = consume::offsets(&mut c, &topic, &[0], -2);
    let (fetch, _) = crate::batch::fetch_frame(&topic, &[0], &begin, 500, 50 << 20);
    let mut stalled: Vec<Conn> = Vec::new();
    for _ in 0..readers {
        let mut r = Conn::open(&addr).expect("connect");
        for _ in 0..fetches {
            r.s.write_all(&fetch).expect("write");
        }
        stalled.push(r);
    }
    let mut per_second = vec![0u64; secs as usize];
    let t0 = Instant::now();
    loop {
        let second = t0.elapsed().as_secs();
        if second >= secs {
            break;
        }
        send(&mut c).expect("produce");
        // a slow answer counts in the second in which it came
        if let Some(n) = per_second.get_mut(t0.elapsed().as_secs() as usize) {
            *n += per_batch as u64;
        }
    }
    let mut out = m.stop();
    out.extend([
        ("readers", stalled.len() as f64),
        ("errors", errors as f64),
        ("rss_before_mib", rss_before),
        (
            "rss_peak_growth_mib",
            stat::mem(a.pid(), "VmHWM") - rss_before,
        ),
        ("msgs", per_second.iter().sum::<u64>() as f64),
        (
            "msgs_per_s_min",
            per_second.iter().copied().min().unwrap_or(0) as f64,
        ),
    ]);
    stat::print(&out);
}
