//! What is measured, each case on a fresh broker, and what Rustka must reach. A table, therefore long.

use super::Figures;
use super::peer::{Peer, figure};
use std::thread;
use std::time::Duration;

/// One case: a name, the load, and who takes part.
pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    /// A peer and the script that stands for it here.
    scripts: &'static [(&'static str, &'static str)],
    /// Peers (and what they begin with) that cannot take part.
    without: &'static [&'static str],
    pub runs_min: u32,
    set: Set,
    load: Load,
}

/// Which word chooses a case.
#[derive(Clone, Copy, PartialEq)]
enum Set {
    /// The engine's figures.
    Figures,
    /// The figures of consumer groups.
    Groups,
    /// More to look at, without a goal.
    More,
}

/// What a case does.
enum Load {
    /// One topic `t` with so many partitions, then one kbench command whose figures are the case's.
    One(u32, &'static str),
    /// Anything else.
    Own(fn(&mut Peer) -> Result<(), String>),
}

/// How a figure is judged.
pub enum Limit {
    /// At most so many times the first peer.
    Ratio(f64),
    Most(f64),
    Least(f64),
}

/// One figure that Rustka has to reach.
pub struct Goal {
    pub case: &'static str,
    pub metric: &'static str,
    pub limit: Limit,
}

const fn goal(case: &'static str, metric: &'static str, limit: Limit) -> Goal {
    Goal {
        case,
        metric,
        limit,
    }
}

pub const GOALS: &[Goal] = &[
    goal("p1k", "cpu_us_per_req", Limit::Ratio(1.3)),
    goal("p1k-idem", "cpu_us_per_req", Limit::Ratio(1.3)),
    goal("third-GB", "cpu_s_per_gb", Limit::Ratio(1.35)),
    goal("p1k-lz4", "cpu_us_per_req", Limit::Ratio(1.4)),
    goal("p1k-16part", "cpu_us_per_req", Limit::Ratio(1.4)),
    goal("p100-single", "cpu_us_per_req", Limit::Ratio(1.7)),
    goal("p100-idem", "cpu_us_per_req", Limit::Ratio(1.7)),
    goal("c1k-8", "cpu_s_per_gb", Limit::Ratio(1.4)),
    goal("c1k-1-part16k", "cpu_us_per_req", Limit::Ratio(1.5)),
    goal("c1k-session", "cpu_us_per_req", Limit::Ratio(1.5)),
    goal("lat-200x10", "cpu_us_per_msg", Limit::Ratio(1.4)),
    goal("lat-1k", "e2e_p50_us", Limit::Ratio(1.3)),
    goal("lat-1k", "e2e_p99_us", Limit::Ratio(1.5)),
    goal("idle-100", "cpu_us_per_fetch", Limit::Ratio(1.3)),
    goal("startup", "api_ms", Limit::Most(20.0)),
    goal("startup", "rss_mib", Limit::Most(6.0)),
    goal("partitions", "rss_kib_per_partition", Limit::Most(2.0)),
    goal("connections", "rss_kib_per_conn", Limit::Most(4.0)),
    goal("growth-64k", "rss_growth_per_byte", Limit::Most(1.05)),
    goal("growth-100", "rss_growth_per_byte", Limit::Most(1.35)),
    goal("create-1000x4", "create_ms", Limit::Most(30.0)),
    goal("create-1000x4", "metadata_p50_us", Limit::Most(300.0)),
    goal("small-under-zstd", "p99_ms", Limit::Most(20.0)),
    goal("stall", "rss_peak_growth_mib", Limit::Most(282.0)),
    goal("stall", "msgs_per_s_min", Limit::Least(1.0)),
    goal("rebalance", "join_all_ms", Limit::Most(160.0)),
    goal("rebalance", "leave_ms", Limit::Most(115.0)),
    goal("pending", "join_all_ms", Limit::Most(2000.0)),
    goal("pending", "rss_kib_per_id", Limit::Most(1.0)),
    goal("idle-group", "cpu_us_per_heartbeat", Limit::Ratio(1.3)),
    goal("idle-group", "rss_kib_per_member", Limit::Most(4.0)),
    goal("commit", "cpu_us_per_req", Limit::Ratio(4.0)),
    goal("compact-0.1", "largest_over_live", Limit::Most(1.3)),
    goal("compact-0.1", "cpu_s_per_gb_read", Limit::Most(1.0)),
    goal("compact-0.1", "small_p99_ms", Limit::Most(20.0)),
    goal("compact-0.1", "produce_p99_ratio", Limit::Most(3.0)),
    goal("compact-0.5", "largest_over_live", Limit::Most(2.2)),
    goal("compact-0.5", "cpu_s_per_gb_read", Limit::Most(1.0)),
    goal("compact-0.5", "small_p99_ms", Limit::Most(20.0)),
    goal("compact-0.5", "produce_p99_ratio", Limit::Most(3.0)),
    goal("store-lz4", "cpu_over_codec", Limit::Most(1.3)),
    goal("small-under-lz4", "p99_ms", Limit::Most(20.0)),
];

const BASE: Case = Case {
    name: "",
    about: "",
    scripts: &[],
    without: &[],
    runs_min: 1,
    set: Set::Figures,
    load: Load::One(1, ""),
};

const fn figures(name: &'static str, about: &'static str, load: Load) -> Case {
    Case {
        name,
        about,
        load,
        ..BASE
    }
}

const fn groups(name: &'static str, about: &'static str, load: Load) -> Case {
    Case {
        set: Set::Groups,
        ..figures(name, about, load)
    }
}

const fn more(name: &'static str, about: &'static str, load: Load) -> Case {
    Case {
        set: Set::More,
        ..figures(name, about, load)
    }
}

/// Sizes give the floor a second of CPU or more.
pub const CASES: &[Case] = &[
    figures(
        "p1k",
        "1 KiB values in batches of 64",
        Load::One(1, "produce --msgs 1200000"),
    ),
    figures(
        "p1k-idem",
        "the same as today's idempotent clients send it: Produce v13",
        Load::One(1, "produce --msgs 1200000 --version 13 --idempotent 1"),
    ),
    Case {
        scripts: &[("floor", "floor-1g"), ("rustka", "rustka-1g")],
        ..figures(
            "third-GB",
            "the third GB into one partition that keeps one",
            Load::Own(third_gb),
        )
    },
    figures(
        "p1k-lz4",
        "1 KiB values in batches of 64, lz4",
        Load::One(1, "produce --msgs 3500000 --codec lz4"),
    ),
    figures(
        "p1k-16part",
        "16 partitions in each request, 16 records of 1 KiB for each",
        Load::One(
            16,
            "produce --partitions 16 --parts-per-request 16 --batch 16 --msgs 1200000",
        ),
    ),
    figures(
        "p100-single",
        "one record of 100 B per request",
        Load::One(1, "produce --size 100 --batch 1 --msgs 400000"),
    ),
    figures(
        "p100-idem",
        "the same, idempotent: Produce v13",
        Load::One(
            1,
            "produce --size 100 --batch 1 --msgs 400000 --version 13 --idempotent 1",
        ),
    ),
    figures(
        "c1k-8",
        "8 consumers of the same data",
        Load::Own(|p| consume(p, "c1k-8", "--consumers 8 --bytes 1400000000")),
    ),
    figures(
        "c1k-1-part16k",
        "one consumer, at most 16 KiB per partition",
        Load::Own(|p| consume(p, "c1k-1-part16k", "--part-max 16384 --bytes 6500000000")),
    ),
    figures(
        "c1k-session",
        "a fetch session over 100 partitions, one of them written",
        Load::One(100, "consume --session 1 --partitions 100 --msgs 60000"),
    ),
    figures(
        "lat-200x10",
        "200 connections with 10 records per second each",
        Load::One(1, "latency --conns 200 --rate 2000 --secs 12"),
    ),
    Case {
        runs_min: 5,
        ..figures(
            "lat-1k",
            "1,000 records per second on one connection: end to end",
            Load::One(1, "latency --rate 1000 --secs 6 --warm 2"),
        )
    },
    figures(
        "idle-100",
        "100 consumers that wait at the end of a quiet topic",
        Load::One(1, "idle-fetch --consumers 100 --secs 60"),
    ),
    figures(
        "startup",
        "start to the first answer; memory when idle",
        Load::Own(startup),
    ),
    figures(
        "partitions",
        "memory per idle partition: 1,000×4 against 60×1",
        Load::Own(partitions),
    ),
    figures(
        "connections",
        "memory per idle connection, 5,000 of them",
        Load::Own(|p| {
            let figures = p.load("conns --count 5000 --hold 3")?;
            p.row("connections", figures);
            Ok(())
        }),
    ),
    figures(
        "growth-64k",
        "memory per byte of 4 GB of 64 KiB batches",
        Load::Own(|p| growth(p, "growth-64k", "--msgs 3869000")),
    ),
    figures(
        "growth-100",
        "memory per byte of 500 MB of single 100 B records",
        Load::Own(|p| {
            growth(
                p,
                "growth-100",
                "--size 100 --batch 1 --msgs 2950000 --secs 120",
            )
        }),
    ),
    figures(
        "create-1000x4",
        "1,000 topics × 4 in one CreateTopics, then Metadata of all",
        Load::Own(create),
    ),
    Case {
        scripts: &[("rustka", "rustka-strict"), ("kafka", "kafka-50m")],
        ..figures(
            "small-under-zstd",
            "small requests while 50 MB zstd batches come and are searched",
            Load::Own(small_under_zstd),
        )
    },
    Case {
        scripts: &[("rustka", "rustka-256m")],
        ..figures(
            "stall",
            "200 readers that never read, and a producer",
            Load::One(1, "stall --readers 200 --secs 20"),
        )
    },
    Case {
        without: &["floor"],
        scripts: &[("rustka", "rustka-metrics")],
        ..figures(
            "compact-0.1",
            "10^5 keys of 1 KiB overwritten at random, min.cleanable.dirty.ratio 0.1",
            Load::Own(|p| compact(p, "0.1")),
        )
    },
    Case {
        without: &["floor"],
        scripts: &[("rustka", "rustka-metrics")],
        ..figures(
            "compact-0.5",
            "the same at the default ratio",
            Load::Own(|p| compact(p, "0.5")),
        )
    },
    Case {
        without: &["floor"],
        ..figures(
            "store-lz4",
            "1 KiB values in batches of 64 that the broker stores as lz4, against the codec alone",
            Load::Own(store_lz4),
        )
    },
    Case {
        scripts: &[("rustka", "rustka-50m"), ("kafka", "kafka-50m")],
        without: &["floor"],
        ..figures(
            "small-under-lz4",
            "small requests while 50 MB batches come that the broker stores as lz4",
            Load::Own(small_under_lz4),
        )
    },
    Case {
        without: &["floor"],
        ..groups(
            "rebalance",
            "10 raw members join, one leaves, one joins; 20 times",
            Load::One(10, "rebalance --members 10 --partitions 10 --repeat 20"),
        )
    },
    Case {
        without: &["floor"],
        ..groups(
            "pending",
            "5,000 ids that never come back, then 10 real members",
            Load::One(10, "pending --ids 5000"),
        )
    },
    groups(
        "idle-group",
        "1,000 members that heartbeat every 3 s (the floor answers without having seen them join)",
        Load::Own(idle_group),
    ),
    groups(
        "commit",
        "OffsetCommit of 10 partitions; of the floor: p100-single",
        Load::Own(commit),
    ),
    more(
        "small",
        "ApiVersions at 200 per second over 10 connections",
        Load::One(1, "small --secs 10"),
    ),
    more(
        "p100",
        "100 B values in batches of 160",
        Load::One(1, "produce --size 100 --batch 160 --msgs 8000000"),
    ),
    more(
        "p10k",
        "10 KiB values in batches of 12",
        Load::One(1, "produce --size 10240 --batch 12 --msgs 120000"),
    ),
    more(
        "p1k-8part",
        "8 connections, each to a partition of its own",
        Load::One(8, "produce --partitions 8 --conns 8 --msgs 1200000"),
    ),
    more(
        "p1k-1mib",
        "1 KiB values in batches of 900",
        Load::One(1, "produce --batch 900 --msgs 1200000"),
    ),
    more(
        "p1k-zstd",
        "1 KiB values in batches of 64, zstd",
        Load::One(1, "produce --msgs 3500000 --codec zstd"),
    ),
    more(
        "p1k-keys",
        "1 KiB values with 1,000 different keys into a compacted topic",
        Load::Own(|p| {
            p.load("create --name t --config cleanup.policy=compact")?;
            let figures = p.load("produce --topic t --keys 1000 --msgs 1200000")?;
            p.row("p1k-keys", figures);
            Ok(())
        }),
    ),
    more(
        "c1k-1",
        "one consumer, 1 MiB per fetch",
        Load::Own(|p| consume(p, "c1k-1", "--bytes 8000000000")),
    ),
    Case {
        without: &["floor"],
        ..more(
            "rebalance-848",
            "the same as rebalance with the consumer protocol",
            Load::One(
                10,
                "rebalance --members 10 --partitions 10 --repeat 5 --protocol consumer",
            ),
        )
    },
    Case {
        without: &["floor"],
        ..more(
            "txn",
            "10 records per transaction, one after the other",
            Load::One(1, "txn --secs 5"),
        )
    },
    more(
        "scale",
        "Metadata and memory with up to 10,000 partitions",
        Load::Own(scale),
    ),
    more(
        "syscalls",
        "system calls per request (needs strace)",
        Load::Own(syscalls),
    ),
];

/// The cases that `figures`, `groups`, `all` or a list of names stand for.
pub fn chosen(words: &str) -> Result<Vec<&'static Case>, String> {
    let mut found = Vec::new();
    for word in words.split(',') {
        let before = found.len();
        found.extend(CASES.iter().filter(|c| match word {
            "all" => true,
            "figures" => c.set == Set::Figures,
            "groups" => c.set == Set::Groups,
            name => c.name == name,
        }));
        if found.len() == before {
            return Err(format!(
                "{word}: no such case; see `cargo xtask bench list`"
            ));
        }
    }
    Ok(found)
}

impl Case {
    /// The script that starts `peer` for this case.
    pub fn script<'a>(&self, peer: &'a str) -> &'a str {
        let own = self.scripts.iter().find(|(p, _)| *p == peer);
        own.map_or(peer, |(_, script)| script)
    }

    /// Whether a row of results comes from this case: it has its name, or its name and more (`scale-100`).
    pub fn made(&self, row: &str) -> bool {
        self.name == row || row.starts_with(self.name) && CASES.iter().all(|c| c.name != row)
    }

    /// Whether `peer` cannot take part.
    pub fn leaves_out(&self, peer: &str) -> bool {
        self.without.iter().any(|p| peer.starts_with(p))
    }

    /// Loads the peer and keeps the figures in it.
    pub fn run(&self, peer: &mut Peer) -> Result<(), String> {
        match self.load {
            Load::One(partitions, line) => {
                warm(peer)?;
                peer.load(&format!("create --name t --partitions {partitions}"))?;
                let figures = peer.load(&format!("{line} --topic t"))?;
                peer.row(self.name, figures);
                Ok(())
            }
            Load::Own(load) => load(peer),
        }
    }
}

/// A JVM's figures settle after hundreds of MB only; others need their code and buffers touched.
fn warm(p: &Peer) -> Result<(), String> {
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

fn third_gb(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t")?;
    for n in 1..=3 {
        let figures = p.load("produce --topic t --msgs 976640")?;
        if n == 3 {
            p.row("third-GB", figures);
        }
    }
    Ok(())
}

fn consume(p: &mut Peer, case: &str, how: &str) -> Result<(), String> {
    p.load("create --name t")?;
    p.load("produce --topic t --msgs 256000")?;
    // one pass for code and caches
    p.load("consume --topic t --bytes 100000000")?;
    let figures = p.load(&format!("consume --topic t {how}"))?;
    p.row(case, figures);
    Ok(())
}

fn startup(p: &mut Peer) -> Result<(), String> {
    let ready = p.ready.clone();
    p.row("startup", ready);
    settle();
    settle();
    let (memory, threads) = (p.memory_mib("VmRSS"), p.threads());
    p.one("startup", "rss_mib", memory);
    p.one("startup", "threads", threads);
    Ok(())
}

fn partitions(p: &mut Peer) -> Result<(), String> {
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

fn growth(p: &mut Peer, case: &str, how: &str) -> Result<(), String> {
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

fn create(p: &mut Peer) -> Result<(), String> {
    let created = p.load("create --prefix many- --count 1000 --partitions 4 --chunk 1000")?;
    let metadata = p.load("metadata --n 200")?;
    p.row("create-1000x4", created);
    p.row("create-1000x4", metadata);
    Ok(())
}

/// Batches of 500 × 100 kB, which are 50 MB when inflated.
fn small_under_zstd(p: &mut Peer) -> Result<(), String> {
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

/// The same load on a topic that deletes at the size of the live data: what is more than that is compaction's.
fn compact(p: &mut Peer, ratio: &str) -> Result<(), String> {
    let metrics = p.port() + 1;
    let load = format!("--keys 100000 --secs 20 --rate-mb 40 --metrics {metrics}");
    p.load("create --name deletes --config retention.bytes=110000000")?;
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
    figures.push(("cpu_s_per_gb_read".to_owned(), per_gb_read));
    figures.push(("cpu_s_more_per_gb_written".to_owned(), per_gb_written));
    figures.push(("produce_p99_ratio".to_owned(), slower));
    p.row(&format!("compact-{ratio}"), figures);
    Ok(())
}

/// What storing costs beyond taking the same batches as they are, as a ratio to the codec on one thread.
fn store_lz4(p: &mut Peer) -> Result<(), String> {
    let load = "produce --msgs 1200000";
    p.load("create --name plain")?;
    p.load("create --name t --config compression.type=lz4")?;
    p.load(&format!("{load} --topic plain --secs 2"))?;
    let plain = p.load(&format!("{load} --topic plain"))?;
    let mut figures = p.load(&format!("{load} --topic t"))?;
    let limits = p.load("limits --only lz4")?;
    let codec = figure(&limits, "lz4_frame_64k_s_per_gb");
    let more = figure(&figures, "cpu_s_per_gb") - figure(&plain, "cpu_s_per_gb");
    figures.push(("codec_s_per_gb".to_owned(), codec));
    figures.push(("cpu_over_codec".to_owned(), more / codec));
    p.row("store-lz4", figures);
    Ok(())
}

/// Batches of 500 × 100 kB that come as they are and are stored in lz4.
fn small_under_lz4(p: &mut Peer) -> Result<(), String> {
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

fn idle_group(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t")?;
    let join = u8::from(!p.name.starts_with("floor"));
    let mut figures = p.load(&format!(
        "idle-group --topic t --members 1000 --secs 60 --join {join}"
    ))?;
    figures.retain(|(name, _)| join == 1 || name != "rss_kib_per_member");
    p.row("idle-group", figures);
    Ok(())
}

fn commit(p: &mut Peer) -> Result<(), String> {
    p.load("create --name t --partitions 10")?;
    let figures = match p.name.starts_with("floor") {
        true => p.load("produce --topic t --size 100 --batch 1 --msgs 400000")?,
        false => p.load("commit --topic t --reqs 100000")?,
    };
    p.row("commit", figures);
    Ok(())
}

fn scale(p: &mut Peer) -> Result<(), String> {
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

fn syscalls(p: &mut Peer) -> Result<(), String> {
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
