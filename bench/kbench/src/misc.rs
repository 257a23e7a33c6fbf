//! Start-up, topics, metadata, idle connections.

use crate::{
    args::Args,
    batch::{self, Packing},
    stat::{self, mono_ns, pct},
    wire::{self, Conn},
};
use rustka_wire::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use std::io::Write;
use std::time::Duration;

fn metadata(c: &mut Conn, topic: Option<&str>) -> std::io::Result<usize> {
    let named = |t: &&str| !t.is_empty();
    let request = MetadataRequest {
        topics: topic.map(|t| {
            let one = Some(t).filter(named).map(|t| MetadataRequestTopic {
                name: Some(t.into()),
                ..Default::default()
            });
            one.into_iter().collect()
        }),
        ..Default::default()
    };
    c.exchange(wire::version(MetadataRequest::KEY), &request)?;
    Ok(c.last)
}

fn create_topics(
    c: &mut Conn,
    names: &[String],
    parts: i32,
    configs: &[(String, String)],
) -> std::io::Result<i16> {
    let topics = names.iter().map(|n| CreatableTopic {
        name: n.as_str().into(),
        num_partitions: parts,
        replication_factor: 1,
        configs: configs
            .iter()
            .map(|(k, v)| CreatableTopicConfig {
                name: k.as_str().into(),
                value: Some(v.as_str().into()),
            })
            .collect(),
        ..Default::default()
    });
    let request = CreateTopicsRequest {
        topics: topics.collect(),
        timeout_ms: 60_000,
        validate_only: false,
    };
    let told = c.call(&request)?;
    let mut errors = told.topics.iter().map(|t| t.error_code);
    Ok(errors.find(|e| !matches!(e, 0 | 36)).unwrap_or(0))
}

fn produce_one(c: &mut Conn, topic: &str, p: i32) -> std::io::Result<i16> {
    // with a key, as a compacted topic takes no record without
    let b = batch::encode_keyed(&[b"hello".to_vec()], Some(&[0]), Packing::NONE, None);
    c.s.write_all(&batch::produce_frame(topic, p, 1, None, &b))?;
    c.recv()?;
    Ok(batch::produce_result(&c.buf[..c.last]).0)
}

/// Polls from now on; prints the Unix time in ns of the first ApiVersions, Metadata, and produce+fetch.
/// Exit status 3 when not ready within `secs`.
pub fn ready(a: &Args) {
    let addr = a.addr();
    let give_up = mono_ns() + a.num("secs", 60) as u64 * 1_000_000_000;
    let (mut api, mut meta) = (0, 0);
    let mut attempt = || -> std::io::Result<u64> {
        let mut c = Conn::open(&addr)?;
        c.s.set_read_timeout(Some(Duration::from_secs(5)))?;
        let list = wire::negotiate(&mut c)?;
        if api == 0 {
            api = stat::unix_ns();
        }
        metadata(&mut c, Some(""))?;
        if meta == 0 {
            meta = stat::unix_ns();
        }
        let t = "ready-probe".to_string();
        if list.iter().any(|k| k.0 == CreateTopicsRequest::KEY) {
            let e = create_topics(&mut c, std::slice::from_ref(&t), 1, &[])?;
            if e != 0 {
                return Err(std::io::Error::other(format!("create {e}")));
            }
        }
        loop {
            match produce_one(&mut c, &t, 0)? {
                0 => break,
                _ if mono_ns() > give_up => return Err(std::io::Error::other("produce")),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        for _ in 0..1000 {
            let (f, _) = batch::fetch_frame(&t, &[0], &[0], 100, 1 << 20);
            c.s.write_all(&f)?;
            c.recv()?;
            let mut n = 0;
            batch::each_fetched(&c.buf[..c.last], |_, _, _, r| {
                batch::each_batch(r, |_, _, _| n += 1)
            });
            if n > 0 {
                return Ok(stat::unix_ns());
            }
        }
        Err(std::io::Error::other("nothing fetched"))
    };
    loop {
        match attempt() {
            Ok(t) => {
                stat::print(&[
                    ("api_ns", api as f64),
                    ("metadata_ns", meta as f64),
                    ("roundtrip_ns", t as f64),
                ]);
                return;
            }
            Err(e) if mono_ns() > give_up => {
                eprintln!("not ready: {e}");
                std::process::exit(3);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The `k=v,k=v` of `--config`.
fn configs(a: &Args) -> Vec<(String, String)> {
    let text = a.str("config", "");
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((k, v)) => (k.to_string(), v.to_string()),
            None => panic!("--config {pair}: expected key=value"),
        })
        .collect()
}

/// `count` topics PREFIX0.. of `partitions`; by a produced record where the peer lacks CreateTopics.
pub fn create(a: &Args) {
    let mut c = Conn::open(&a.addr()).expect("connect");
    let (prefix, n, p) = (
        a.str("prefix", "t"),
        a.num("count", 1),
        a.num("partitions", 1) as i32,
    );
    let names: Vec<String> = if a.str("name", "").is_empty() {
        (0..n).map(|i| format!("{prefix}{i}")).collect()
    } else {
        vec![a.str("name", "")]
    };
    let configs = configs(a);
    let t0 = mono_ns();
    let by_api = wire::negotiate(&mut c)
        .expect("apis")
        .iter()
        .any(|k| k.0 == CreateTopicsRequest::KEY);
    let mut errors = 0;
    if by_api {
        for chunk in names.chunks(a.num("chunk", 100) as usize) {
            let e = create_topics(&mut c, chunk, p, &configs).expect("create");
            if e != 0 {
                eprintln!("create error {e}");
                errors += 1;
            }
        }
    } else {
        // pipelined, because such a peer may also be one that answers a lone request late (Nagle)
        let b = batch::encode(&[b"hello".to_vec()], Packing::NONE, None);
        let all: Vec<(&String, i32)> = names
            .iter()
            .flat_map(|n| (0..p).map(move |i| (n, i)))
            .collect();
        for chunk in all.chunks(200) {
            for (n, i) in chunk {
                c.s.write_all(&batch::produce_frame(n, *i, 1, None, &b))
                    .expect("produce");
            }
            for _ in chunk {
                c.recv().expect("produce");
                if batch::produce_result(&c.buf[..c.last]).0 != 0 {
                    errors += 1;
                }
            }
        }
    }
    // usable: every partition of the last topic takes a record
    if let Some(n) = names.last().filter(|_| by_api) {
        for i in 0..p {
            let mut k = 0;
            while produce_one(&mut c, n, i).expect("produce") != 0 && k < 5000 {
                std::thread::sleep(Duration::from_millis(2));
                k += 1;
            }
        }
    }
    stat::print(&[
        ("create_ms", (mono_ns() - t0) as f64 / 1e6),
        ("errors", errors as f64),
        ("create_topics_api", by_api as u8 as f64),
    ]);
}

/// Metadata of all topics, `n` times.
pub fn metadata_time(a: &Args) {
    let mut c = Conn::open(&a.addr()).expect("connect");
    let n = a.num("n", 20);
    let mut size = metadata(&mut c, None).expect("metadata");
    let cpu0 = stat::cpu(a.pid());
    let mut v: Vec<u64> = (0..n)
        .map(|_| {
            let t = mono_ns();
            size = metadata(&mut c, None).expect("metadata");
            mono_ns() - t
        })
        .collect();
    v.sort_unstable();
    stat::print(&[
        ("metadata_p50_us", pct(&v, 50.0) / 1e3),
        ("metadata_max_us", pct(&v, 100.0) / 1e3),
        ("metadata_bytes", size as f64),
        (
            "metadata_cpu_us",
            (stat::cpu(a.pid()) - cpu0) / n as f64 * 1e6,
        ),
    ]);
}

/// Opens `count` connections, one ApiVersions on each, and measures what they cost to hold.
pub fn conns(a: &Args) {
    let (addr, n, pid) = (a.addr(), a.num("count", 1000), a.pid());
    let rss0 = stat::mem(pid, "VmRSS");
    let m = stat::Meter::start(pid);
    let mut v: Vec<Conn> = Vec::new();
    let mut failed = 0;
    for _ in 0..n {
        match Conn::open(&addr).and_then(|mut c| wire::negotiate(&mut c).map(|_| c)) {
            Ok(c) => v.push(c),
            Err(_) => failed += 1,
        }
    }
    let mut out = m.stop();
    std::thread::sleep(Duration::from_millis(500));
    let rss = stat::mem(pid, "VmRSS");
    let cpu0 = stat::cpu(pid);
    std::thread::sleep(Duration::from_secs(a.num("hold", 3) as u64));
    let cpu = out[1].1;
    out.extend([
        ("opened", v.len() as f64),
        ("failed", failed as f64),
        ("rss_kib_per_conn", (rss - rss0) * 1024.0 / v.len() as f64),
        ("cpu_us_per_conn", cpu / n as f64 * 1e6),
        (
            "idle_cpu_percent",
            (stat::cpu(pid) - cpu0) / a.num("hold", 3) as f64 * 100.0,
        ),
    ]);
    stat::print(&out);
}
