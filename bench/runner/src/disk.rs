//! Cases of records in files: `cargo xtask bench disk`. The peers' folders are cleared after each.

use super::peer::Peer;
use super::room;
use std::fs;

/// Where syncs are counted.
fn metrics(p: &Peer) -> u16 {
    p.port() + 1
}

/// One load on a topic of its own, with its syncs counted where that can be asked for.
fn counted(p: &mut Peer, case: &str, partitions: u32, line: &str) -> Result<(), String> {
    super::loads::warm(p)?;
    p.load(&format!("create --name t --partitions {partitions}"))?;
    let counts = match p.name.starts_with("kafka") {
        true => 0,
        false => metrics(p),
    };
    let mut figures = p.load(&format!("{line} --topic t --metrics {counts}"))?;
    figures.retain(|(_, value)| value.is_finite());
    p.row(case, figures);
    Ok(())
}

/// Records before those that count, so that memory is used again.
const BEFORE: &str = "produce --topic before --msgs 400000";

pub fn produce(p: &mut Peer) -> Result<(), String> {
    p.load("create --name before")?;
    p.load(BEFORE)?;
    counted(p, "disk-p1k", 1, "produce --msgs 400000")
}

const IDEMPOTENT: &str =
    "produce --conns 8 --version 13 --idempotent 1 --size 1024 --batch 1 --msgs 40000 --secs 20";

pub fn eight_into_one(p: &mut Peer) -> Result<(), String> {
    counted(p, "disk-8-into-1", 1, IDEMPOTENT)
}

pub fn eight_into_eight(p: &mut Peer) -> Result<(), String> {
    counted(
        p,
        "disk-8-into-8",
        8,
        &format!("{IDEMPOTENT} --partitions 8"),
    )
}

pub fn crowd_into_one(p: &mut Peer) -> Result<(), String> {
    counted(
        p,
        "disk-200x10",
        1,
        "latency --conns 200 --rate 2000 --secs 10 --acks -1",
    )
}

pub fn crowd_into_fifty(p: &mut Peer) -> Result<(), String> {
    let line = "latency --conns 200 --rate 2000 --secs 10 --acks -1 --partitions 50";
    counted(p, "disk-200x10-50part", 50, line)
}

pub fn one(p: &mut Peer) -> Result<(), String> {
    super::loads::warm(p)?;
    p.load("create --name t")?;
    let folder = p.folder().display().to_string();
    let figures = p.load(&format!("one --topic t --dir {folder}"))?;
    p.row("disk-one", figures);
    Ok(())
}

/// What a sync of each file costs, and what one of a journal would.
pub fn ways(p: &mut Peer) -> Result<(), String> {
    let folder = p.folder().display().to_string();
    for way in ["files", "journal"] {
        for partitions in [1, 50, 200] {
            let line = format!("ways --way {way} --partitions {partitions} --dir {folder}");
            let figures = p.load(&line)?;
            p.row(&format!("disk-ways-{way}-{partitions}"), figures);
        }
    }
    Ok(())
}

/// How long a cold read may take, in seconds.
const COLD_SECS: u32 = 280;

/// Much, read by one consumer and by eight; then by eight while a topic is compacted and others write, with small requests
/// beside all that.
pub fn cold(p: &mut Peer) -> Result<(), String> {
    let gb = p.sizes().gb;
    p.load("create --name t")?;
    room::fill(p, "t", 1, gb)?;
    for consumers in [1, 8] {
        // of each
        let bytes = (gb * 1e9) as u64;
        let line =
            format!("consume --topic t --consumers {consumers} --bytes {bytes} --secs {COLD_SECS}");
        let figures = p.load(&line)?;
        p.row(&format!("disk-cold-{consumers}"), figures);
    }
    if p.name.starts_with("floor") {
        return Ok(());
    }
    p.load("create --name compacted --config cleanup.policy=compact,segment.bytes=4194304")?;
    p.load("create --name w --partitions 8")?;
    let mut others = [
        p.beside("consume --topic t --consumers 8 --bytes 200000000000 --secs 12")?,
        p.beside("produce --topic compacted --keys 1000 --msgs 100000000 --per-s 200 --secs 12")?,
        p.beside("produce --topic w --partitions 8 --conns 8 --batch 1 --msgs 100000000 --per-s 500 --secs 12")?,
    ];
    let figures = p.load("small --conns 10 --rate 200 --secs 8");
    for other in &mut others {
        other.wait().map_err(|e| format!("kbench: {e}"))?;
    }
    p.row("disk-cold-small", figures?);
    Ok(())
}

/// The same read by TLS; the floor reads a file, encrypts and sends.
pub fn cold_tls(p: &mut Peer) -> Result<(), String> {
    let is_floor = p.name.starts_with("floor");
    let gb = p.sizes().gb;
    if !is_floor {
        p.load("create --name t")?;
        room::fill(p, "t", 1, gb)?;
    }
    for consumers in [1, 8] {
        let folder = p.folder().display();
        let amount = format!("--consumers {consumers} --bytes {}", (gb * 1e9) as u64);
        let line = match is_floor {
            true => format!(
                "tls-floor {amount} --dir {folder} --cert {folder}/own.pem --ca {folder}/ca.pem"
            ),
            false => format!("tls-read --topic t {amount} {}", super::security::tls(p)),
        };
        let figures = p.load(&line)?;
        p.row(&format!("disk-cold-tls-{consumers}"), figures);
    }
    Ok(())
}

/// 10,000 partitions, in each of which something lies, and nobody who asks.
pub fn partitions(p: &mut Peer) -> Result<(), String> {
    p.load("create --prefix many- --count 10 --partitions 1000")?;
    for topic in 0..10 {
        p.load(&format!(
            "produce --topic many-{topic} --partitions 1000 --conns 2 --size 100 --batch 1 --msgs 1000"
        ))?;
    }
    std::thread::sleep(std::time::Duration::from_secs(5));
    let memory = p.memory_mib("VmRSS");
    let files =
        fs::read_dir(format!("/proc/{}/fd", p.pid())).map_or(f64::NAN, |fd| fd.count() as f64);
    p.one("disk-partitions", "rss_mib", memory);
    p.one("disk-partitions", "open_files", files);
    Ok(())
}
