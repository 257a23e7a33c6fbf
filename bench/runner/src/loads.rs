//! What the cases do that is more than one command of kbench.

use super::Figures;
use super::peer::{Peer, figure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// A JVM's figures settle after hundreds of MB only; others need their code and buffers touched.
pub fn warm(p: &Peer) -> Result<(), String> {
    let (large, small) = match p.name.starts_with("kafka") {
        true => (400_000, 40_000),
        false => (20_000, 2_000),
    };
    p.load("create --name warm")?;
    p.load(&format!("produce --topic warm --msgs {large} --secs 20"))?;
    p.load(&format!(
        "produce --topic warm --size 100 --batch 1 --msgs {small} --secs 8"
    ))?;
    Ok(())
}

fn settle() {
    thread::sleep(Duration::from_secs(1));
}

pub fn third_gb(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t")?;
    for n in 1..=3 {
        let figures = p.load("produce --topic t --msgs 976640")?;
        if n == 3 {
            p.row("third-GB", figures);
        }
    }
    Ok(())
}

pub fn consume(p: &mut Peer, case: &str, how: &str) -> Result<(), String> {
    p.load("create --name t")?;
    p.load("produce --topic t --msgs 256000")?;
    // one pass for code and caches
    p.load("consume --topic t --bytes 100000000")?;
    let figures = p.load(&format!("consume --topic t {how}"))?;
    p.row(case, figures);
    Ok(())
}

pub fn startup(p: &mut Peer) -> Result<(), String> {
    let ready = p.ready.clone();
    p.row("startup", ready);
    settle();
    settle();
    let (memory, threads) = (p.memory_mib("VmRSS"), p.threads());
    p.one("startup", "rss_mib", memory);
    p.one("startup", "threads", threads);
    Ok(())
}

pub fn partitions(p: &mut Peer) -> Result<(), String> {
    p.load("create --prefix few- --count 60")?;
    settle();
    let few = p.memory_mib("VmRSS");
    p.load("create --prefix many- --count 1000 --partitions 4 --chunk 1000")?;
    settle();
    let many = p.memory_mib("VmRSS");
    p.one("partitions", "rss_60x1_mib", few);
    p.one("partitions", "rss_1000x4_mib", many);
    p.one(
        "partitions",
        "rss_kib_per_partition",
        (many - few) * 1024.0 / 4000.0,
    );
    Ok(())
}

pub fn growth(p: &mut Peer, case: &str, how: &str) -> Result<(), String> {
    p.load("create --name t")?;
    settle();
    let before = p.memory_mib("VmRSS");
    let figures = p.load(&format!("produce --topic t {how}"))?;
    settle();
    let grown = (p.memory_mib("VmRSS") - before) * 1024.0 * 1024.0;
    p.one(
        case,
        "rss_growth_per_byte",
        grown / figure(&figures, "batch_bytes"),
    );
    p.row(case, figures);
    Ok(())
}

pub fn create(p: &mut Peer) -> Result<(), String> {
    let created = p.load("create --prefix many- --count 1000 --partitions 4 --chunk 1000")?;
    let metadata = p.load("metadata --n 200")?;
    p.row("create-1000x4", created);
    p.row("create-1000x4", metadata);
    Ok(())
}

/// Batches of 500 × 100 kB, which are 50 MB when inflated.
pub fn small_under_zstd(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t --config max.message.bytes=52428800")?;
    let batches = "produce --topic t --codec zstd --size 100000 --batch 500 --inflight 2";
    p.load(&format!("{batches} --msgs 1000"))?;
    let mut others = [
        p.beside(&format!("{batches} --msgs 50000000 --secs 14"))?,
        p.beside("search --topic t --secs 14")?,
    ];
    settle();
    let figures = p.load("small --conns 10 --rate 200 --secs 10");
    for other in &mut others {
        let ended = other.wait().map_err(|e| format!("kbench: {e}"))?;
        if !ended.success() {
            return Err(format!("a load beside it failed: {ended}"));
        }
    }
    p.row("small-under-zstd", figures?);
    Ok(())
}

/// Bytes that the topic without compaction may keep.
const RETAINED: u32 = 110_000_000;
/// What may come on top of them.
const TWO_CHUNKS: u32 = 2 << 20;

/// The same load on a topic that deletes at the size of the live data: what is more than that is compaction's. How far
/// that topic grows tells how well retention holds.
pub fn compact(p: &mut Peer, ratio: &str) -> Result<(), String> {
    let metrics = p.port() + 1;
    let load = format!("--keys 100000 --secs 20 --rate-mb 40 --metrics {metrics}");
    p.load(&format!(
        "create --name deletes --config retention.bytes={RETAINED}"
    ))?;
    let without = p.load(&format!("compact --topic deletes {load}"))?;
    p.load(&format!(
        "create --name t --config cleanup.policy=compact,min.cleanable.dirty.ratio={ratio}"
    ))?;
    let mut figures = p.load(&format!("compact --topic t {load}"))?;
    let more = |name| figure(&figures, name) - figure(&without, name);
    let read = figure(&figures, "compaction_read_bytes");
    let per_gb_read = more("broker_cpu_s") / read * 1e9;
    let per_gb_written = more("cpu_s_per_written_gb");
    let slower = figure(&figures, "produce_p99_ms") / figure(&without, "produce_p99_ms");
    let retained = figure(&without, "largest_bytes") - f64::from(TWO_CHUNKS);
    figures.push((
        "retained_over_limit".to_owned(),
        retained / f64::from(RETAINED),
    ));
    figures.push(("cpu_s_per_gb_read".to_owned(), per_gb_read));
    figures.push(("cpu_s_more_per_gb_written".to_owned(), per_gb_written));
    figures.push(("produce_p99_ratio".to_owned(), slower));
    p.row(&format!("compact-{ratio}"), figures);
    Ok(())
}

/// Minutes that a log under retention is watched for.
const RETENTION_MINUTES: u32 = 10;

/// 3,000 batches per second that stay in their frames, each in memory until it is ten seconds old: what the process takes
/// at the end of each minute, and the most of the last ones over what the second one ended with.
pub fn retention(p: &mut Peer) -> Result<(), String> {
    // kbench encodes its batch once: by its own time all of it would be old after ten seconds
    let config = "retention.ms=10000,message.timestamp.type=LogAppendTime";
    p.load(&format!("create --name t --config {config}"))?;
    let load =
        "produce --topic t --size 16384 --batch 1 --conns 4 --per-s 3000 --msgs 1000000 --secs 60";
    let mut minutes = Vec::new();
    for minute in 1..=RETENTION_MINUTES {
        let mut figures = p.load(load)?;
        let memory = p.memory_mib("VmRSS");
        figures.push((format!("rss_{minute}_mib"), memory));
        p.row("retention", figures);
        minutes.push(memory);
    }
    let (first, last) = minutes.split_at(2);
    let most = last.iter().copied().fold(0.0, f64::max);
    p.one("retention", "rss_most_over_second", most / first[1]);
    Ok(())
}

/// What storing costs beyond taking the same batches as they are, as a ratio to the codec on one thread. Memory is used
/// again, or new pages would cost more than the codec.
pub fn store_lz4(p: &mut Peer) -> Result<(), String> {
    let load = "produce --msgs 1200000";
    p.load("create --name plain")?;
    p.load("create --name t --config compression.type=lz4")?;
    let mut measured = Vec::new();
    for topic in ["plain", "t"] {
        p.load(&format!("produce --msgs 400000 --topic {topic}"))?;
        measured.push(p.load(&format!("{load} --topic {topic}"))?);
    }
    let (Some(mut figures), Some(plain)) = (measured.pop(), measured.pop()) else {
        return Err("two loads are measured".to_owned());
    };
    let limits = p.load("limits --only lz4")?;
    let codec = figure(&limits, "lz4_frame_64k_s_per_gb");
    let more = figure(&figures, "cpu_s_per_gb") - figure(&plain, "cpu_s_per_gb");
    figures.push(("codec_s_per_gb".to_owned(), codec));
    figures.push(("cpu_over_codec".to_owned(), more / codec));
    p.row("store-lz4", figures);
    Ok(())
}

/// Batches of 500 × 100 kB that come as they are and are stored in lz4.
pub fn small_under_lz4(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t --config max.message.bytes=52428800,compression.type=lz4")?;
    let batches = "produce --topic t --size 100000 --batch 500 --inflight 2";
    p.load(&format!("{batches} --msgs 1000"))?;
    let mut other = p.beside(&format!("{batches} --msgs 50000000 --secs 14"))?;
    settle();
    let figures = p.load("small --conns 10 --rate 200 --secs 10");
    let ended = other.wait().map_err(|e| format!("kbench: {e}"))?;
    if !ended.success() {
        return Err(format!("the load beside it failed: {ended}"));
    }
    p.row("small-under-lz4", figures?);
    Ok(())
}

pub fn idle_group(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t")?;
    let join = u8::from(!p.name.starts_with("floor"));
    let mut figures = p.load(&format!(
        "idle-group --topic t --members 1000 --secs 60 --join {join}"
    ))?;
    figures.retain(|(name, _)| join == 1 || name != "rss_kib_per_member");
    p.row("idle-group", figures);
    Ok(())
}

/// The same with members of the new protocol; the floor answers their heartbeats as well.
pub fn idle_consumers(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t --partitions 10")?;
    let join = u8::from(!p.name.starts_with("floor"));
    let mut figures = p.load(&format!(
        "idle-group --topic t --members 1000 --secs 60 --join {join} --protocol consumer --partitions 10"
    ))?;
    figures.retain(|(name, _)| join == 1 || name != "rss_kib_per_member");
    p.row("idle-consumers", figures);
    Ok(())
}

/// Rebalances of real clients, by `bench/group_clients.py`.
pub fn clients(p: &mut Peer) -> Result<(), String> {
    let root = crate::root();
    let interpreter = python(&root)?;
    let output = Command::new(interpreter)
        .arg(root.join("bench/group_clients.py"))
        .arg(format!("127.0.0.1:{}", p.port()))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("group_clients.py: {e}"))?;
    let wrong = || format!("group_clients.py: {}, no summary", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.lines().last().filter(|_| output.status.success());
    let summary: serde_json::Value =
        serde_json::from_str(summary.ok_or_else(wrong)?).map_err(|_| wrong())?;
    for (step, times) in summary.as_object().ok_or_else(wrong)? {
        for (from, to) in [
            ("median_ms", format!("{step}_ms")),
            ("max_ms", format!("{step}_max_ms")),
            ("unsettled", format!("{step}_unsettled")),
        ] {
            p.one("clients", &to, times[from].as_f64().unwrap_or(f64::NAN));
        }
    }
    Ok(())
}

pub fn commit(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t --partitions 10")?;
    let figures = match p.name.starts_with("floor") {
        true => p.load("produce --topic t --size 100 --batch 1 --msgs 400000")?,
        false => p.load("commit --topic t --reqs 100000")?,
    };
    p.row("commit", figures);
    Ok(())
}

pub fn scale(p: &mut Peer) -> Result<(), String> {
    let mut partitions = 0;
    for topics in [1, 9, 90] {
        let before = p.memory_mib("VmRSS");
        p.load(&format!(
            "create --prefix of{topics}- --count {topics} --partitions 100"
        ))?;
        settle();
        partitions += topics * 100;
        let case = format!("scale-{partitions}");
        let each = (p.memory_mib("VmRSS") - before) * 1024.0 / f64::from(topics * 100);
        let metadata = p.load("metadata")?;
        p.row(&case, metadata);
        p.one(&case, "rss_kib_per_partition", each);
    }
    Ok(())
}

pub fn syscalls(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t")?;
    for (case, line) in [
        ("syscalls-p1k", "produce --topic t --msgs 19200"),
        (
            "syscalls-p100-single",
            "produce --topic t --size 100 --batch 1 --msgs 1000 --inflight 1",
        ),
        ("syscalls-c1k", "consume --topic t --bytes 10000000"),
    ] {
        let (figures, calls) = p.system_calls(line)?;
        let requests = figure(&figures, "reqs");
        let each: Figures = calls
            .into_iter()
            .map(|(name, count)| (name, count / requests))
            .filter(|(_, each)| *each >= 0.02)
            .collect();
        p.row(case, each);
    }
    Ok(())
}

/// The interpreter that has the packages of the client programs; `cargo xtask python` makes it.
fn python(root: &Path) -> Result<PathBuf, String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["xtask", "python"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cargo xtask python: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo xtask python: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}
