//! What is measured, each case on a fresh broker. A table, therefore long.

use super::disk;
use super::loads::*;
use super::peer::Peer;
use super::security;
use super::starts;

/// One case: a name, the load, and who takes part.
pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    /// A peer and the script that stands for it here.
    scripts: &'static [(&'static str, &'static str)],
    /// Peers (and what they begin with) that cannot take part.
    without: &'static [&'static str],
    pub runs_min: u32,
    /// Where one run repeats it itself.
    pub runs_max: u32,
    /// Takes more than half a minute, so that `--quick` leaves it out.
    long: bool,
    /// Rustka makes what the peer is measured with, so it has to be there whoever takes part.
    pub filled_by_rustka: bool,
    pub set: Set,
    load: Load,
}

/// Which word chooses a case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// The engine's figures.
    Engine,
    /// The figures of consumer groups.
    Groups,
    /// The figures of what topics are configured to: compaction, retention, recompression.
    Topics,
    /// What a lock costs, beside Kafka's: `cargo xtask bench security`.
    Security,
    /// The same program locked and open: also by `cargo xtask bench security`.
    Locked,
    /// Records in files, beside a floor that syncs, and Kafka: `cargo xtask bench disk`.
    Disk,
    /// More to look at, without a goal.
    More,
}

impl Set {
    /// Those that have goals.
    pub const WITH_GOALS: [Set; 6] = [
        Set::Engine,
        Set::Groups,
        Set::Topics,
        Set::Security,
        Set::Locked,
        Set::Disk,
    ];

    /// What chooses its cases.
    fn word(self) -> &'static str {
        match self {
            Set::Engine => "engine",
            Set::Groups => "groups",
            Set::Topics => "topics",
            Set::Security => "security",
            Set::Locked => "locked",
            Set::Disk => "disk",
            Set::More => "more",
        }
    }

    /// What stands above its figures.
    pub fn heading(self) -> &'static str {
        match self {
            Set::Engine => "Engine",
            Set::Groups => "Consumer groups",
            Set::Topics => "Topic configs",
            Set::Security => "Security",
            Set::Locked => "With a login and 1,000 ACLs",
            Set::Disk => "Records in files",
            Set::More => "More",
        }
    }
}

/// What a case does.
enum Load {
    /// One topic `t` with so many partitions, then one kbench command whose figures are the case's.
    One(u32, &'static str),
    /// Anything else.
    Own(fn(&mut Peer) -> Result<(), String>),
}

const BASE: Case = Case {
    name: "",
    about: "",
    scripts: &[],
    without: &[],
    runs_min: 1,
    runs_max: u32::MAX,
    long: false,
    filled_by_rustka: false,
    set: Set::Engine,
    load: Load::One(1, ""),
};

const fn engine(name: &'static str, about: &'static str, load: Load) -> Case {
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
        ..engine(name, about, load)
    }
}

const fn topics(name: &'static str, about: &'static str, load: Load) -> Case {
    Case {
        set: Set::Topics,
        ..engine(name, about, load)
    }
}

/// Of a broker with TLS, logins and an authorizer.
const fn secure(name: &'static str, about: &'static str, load: Load) -> Case {
    Case {
        set: Set::Security,
        scripts: &[("rustka", "rustka-secure"), ("kafka", "kafka-secure")],
        without: &["floor"],
        ..engine(name, about, load)
    }
}

/// Of `rustka`, which is locked here, beside `open`, which is not.
const fn locked(name: &'static str, about: &'static str, load: Load) -> Case {
    Case {
        set: Set::Locked,
        scripts: &[("rustka", "rustka-locked")],
        without: &["floor"],
        ..engine(name, about, load)
    }
}

/// Of records in files; Kafka as it is by default.
const fn on_disk(name: &'static str, about: &'static str, load: Load) -> Case {
    Case {
        set: Set::Disk,
        scripts: &[("floor", "floor-disk"), ("rustka", "rustka-disk")],
        ..engine(name, about, load)
    }
}

/// The same beside a Kafka that syncs every batch.
const fn synced(name: &'static str, about: &'static str, load: Load) -> Case {
    Case {
        scripts: &[
            ("floor", "floor-disk"),
            ("rustka", "rustka-disk"),
            ("kafka", "kafka-flush"),
        ],
        ..on_disk(name, about, load)
    }
}

const fn more(name: &'static str, about: &'static str, load: Load) -> Case {
    Case {
        set: Set::More,
        ..engine(name, about, load)
    }
}

/// Sizes give the floor a second of CPU or more.
pub const CASES: &[Case] = &[
    engine(
        "p1k",
        "1 KiB values in batches of 64",
        Load::One(1, "produce --msgs 1200000"),
    ),
    engine(
        "p1k-idem",
        "the same as today's idempotent clients send it: Produce v13",
        Load::One(1, "produce --msgs 1200000 --version 13 --idempotent 1"),
    ),
    Case {
        scripts: &[("floor", "floor-1g"), ("rustka", "rustka-1g")],
        ..engine(
            "third-GB",
            "the third GB into one partition that keeps one",
            Load::Own(third_gb),
        )
    },
    engine(
        "p1k-lz4",
        "1 KiB values in batches of 64, lz4",
        Load::One(1, "produce --msgs 3500000 --codec lz4"),
    ),
    engine(
        "p1k-16part",
        "16 partitions in each request, 16 records of 1 KiB for each",
        Load::One(
            16,
            "produce --partitions 16 --parts-per-request 16 --batch 16 --msgs 1200000",
        ),
    ),
    engine(
        "p100-single",
        "one record of 100 B per request",
        Load::One(1, "produce --size 100 --batch 1 --msgs 400000"),
    ),
    engine(
        "p100-idem",
        "the same, idempotent: Produce v13",
        Load::One(
            1,
            "produce --size 100 --batch 1 --msgs 400000 --version 13 --idempotent 1",
        ),
    ),
    engine(
        "c1k-8",
        "8 consumers of the same data",
        Load::Own(|p| consume(p, "c1k-8", "--consumers 8 --bytes 1400000000")),
    ),
    engine(
        "c1k-1-part16k",
        "one consumer, at most 16 KiB per partition",
        Load::Own(|p| consume(p, "c1k-1-part16k", "--part-max 16384 --bytes 6500000000")),
    ),
    engine(
        "c1k-session",
        "a fetch session over 100 partitions, one of them written",
        Load::One(100, "consume --session 1 --partitions 100 --msgs 60000"),
    ),
    engine(
        "lat-200x10",
        "200 connections with 10 records per second each",
        Load::One(1, "latency --conns 200 --rate 2000 --secs 12"),
    ),
    Case {
        runs_min: 5,
        ..engine(
            "lat-1k",
            "1,000 records per second on one connection: end to end",
            Load::One(1, "latency --rate 1000 --secs 6 --warm 2"),
        )
    },
    Case {
        long: true,
        ..engine(
            "idle-100",
            "100 consumers that wait at the end of a quiet topic",
            Load::One(1, "idle-fetch --consumers 100 --secs 60"),
        )
    },
    engine(
        "startup",
        "start to the first answer; memory when idle",
        Load::Own(startup),
    ),
    engine(
        "partitions",
        "memory per idle partition: 1,000×4 against 60×1",
        Load::Own(partitions),
    ),
    engine(
        "connections",
        "memory per idle connection, 5,000 of them",
        Load::Own(|p| {
            let figures = p.load("conns --count 5000 --hold 3")?;
            p.row("connections", figures);
            Ok(())
        }),
    ),
    engine(
        "growth-64k",
        "memory per byte of 4 GB of 64 KiB batches",
        Load::Own(|p| growth(p, "growth-64k", "--msgs 3869000")),
    ),
    Case {
        long: true,
        ..engine(
            "growth-100",
            "memory per byte of 500 MB of single 100 B records",
            Load::Own(|p| {
                growth(
                    p,
                    "growth-100",
                    "--size 100 --batch 1 --msgs 2950000 --secs 120",
                )
            }),
        )
    },
    engine(
        "create-1000x4",
        "1,000 topics × 4 in one CreateTopics, then Metadata of all",
        Load::Own(create),
    ),
    Case {
        scripts: &[("rustka", "rustka-strict"), ("kafka", "kafka-50m")],
        ..engine(
            "small-under-zstd",
            "small requests while 50 MB zstd batches come and are searched",
            Load::Own(small_under_zstd),
        )
    },
    Case {
        scripts: &[("rustka", "rustka-256m")],
        ..engine(
            "stall",
            "200 readers that never read, and a producer",
            Load::One(1, "stall --readers 200 --secs 20"),
        )
    },
    Case {
        without: &["floor"],
        scripts: &[("rustka", "rustka-metrics")],
        long: true,
        ..topics(
            "compact-0.1",
            "10^5 keys of 1 KiB overwritten at random, min.cleanable.dirty.ratio 0.1",
            Load::Own(|p| compact(p, "0.1")),
        )
    },
    Case {
        without: &["floor"],
        scripts: &[("rustka", "rustka-metrics")],
        long: true,
        ..topics(
            "compact-0.5",
            "the same at the default ratio",
            Load::Own(|p| compact(p, "0.5")),
        )
    },
    Case {
        without: &["floor"],
        scripts: &[("rustka", "rustka-256m")],
        ..topics(
            "store-lz4",
            "1 KiB values in batches of 64 that the broker stores as lz4, against the codec alone",
            Load::Own(store_lz4),
        )
    },
    Case {
        scripts: &[("rustka", "rustka-50m"), ("kafka", "kafka-50m")],
        without: &["floor"],
        ..topics(
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
    Case {
        long: true,
        ..groups(
            "idle-group",
            "1,000 members that heartbeat every 3 s (the floor answers without having seen them join)",
            Load::Own(idle_group),
        )
    },
    Case {
        long: true,
        ..groups(
            "idle-consumers",
            "the same with members of the new protocol (KIP-848)",
            Load::Own(idle_consumers),
        )
    },
    Case {
        without: &["floor"],
        ..groups(
            "crowd",
            "1,000 members of the new protocol on 1,000 partitions, and one more that joins",
            Load::One(1000, "crowd --members 1000 --partitions 1000"),
        )
    },
    groups(
        "commit",
        "OffsetCommit of 10 partitions; of the floor: p100-single",
        Load::Own(commit),
    ),
    Case {
        without: &["floor"],
        runs_max: 1,
        long: true,
        ..groups(
            "clients",
            "ten confluent-kafka consumers, an eleventh, one leaves; 5 times (needs Python)",
            Load::Own(clients),
        )
    },
    secure(
        "tls-bytes",
        "1 GB by TLS 1.3 and AES-128-GCM in and out again, in batches of 64 KiB",
        Load::Own(security::tls_bytes),
    ),
    secure(
        "handshakes",
        "full TLS 1.3 handshakes with a certificate on P-256",
        Load::Own(security::handshakes),
    ),
    secure(
        "logins",
        "SCRAM-SHA-256, each on a connection of its own",
        Load::Own(security::logins),
    ),
    secure(
        "rights",
        "Metadata of 100 named topics under 10,000 ACLs, beyond the same without",
        Load::Own(security::rights),
    ),
    secure(
        "tls-conns",
        "memory per idle connection with TLS, 1,000 of them",
        Load::Own(security::tls_conns),
    ),
    secure(
        "startup-secure",
        "start to the first answer, and memory when idle, with TLS, logins and an authorizer",
        Load::Own(security::startup),
    ),
    locked(
        "locked-p100-single",
        "p100-single by somebody who has logged in, under 1,000 ACLs",
        Load::One(1, "produce --size 100 --batch 1 --msgs 400000"),
    ),
    locked(
        "locked-c1k-session",
        "c1k-session by somebody who has logged in, under 1,000 ACLs",
        Load::One(100, "consume --session 1 --partitions 100 --msgs 60000"),
    ),
    on_disk(
        "disk-p1k",
        "p1k with every batch on the disk before it is answered (Kafka: never)",
        Load::Own(disk::produce),
    ),
    synced(
        "disk-8-into-1",
        "8 idempotent producers, records of 1 KiB one by one, five on their way each, into one partition",
        Load::Own(disk::eight_into_one),
    ),
    synced(
        "disk-8-into-8",
        "the same into eight partitions",
        Load::Own(disk::eight_into_eight),
    ),
    synced(
        "disk-one",
        "one record at a time, by turns with one write and fdatasync of the same size",
        Load::Own(disk::one),
    ),
    synced(
        "disk-200x10",
        "200 connections with 10 records per second each, acks=all, into one partition",
        Load::Own(disk::crowd_into_one),
    ),
    synced(
        "disk-200x10-50part",
        "the same into 50 partitions",
        Load::Own(disk::crowd_into_fifty),
    ),
    Case {
        long: true,
        ..on_disk(
            "disk-cold",
            "--gb that are not in the broker's memory, read by 1 and by 8 consumers; small requests while that goes on",
            Load::Own(disk::cold),
        )
    },
    Case {
        long: true,
        scripts: &[
            ("floor", "floor-disk-secure"),
            ("rustka", "rustka-disk-secure"),
            ("kafka", "kafka-secure"),
        ],
        ..on_disk(
            "disk-cold-tls",
            "--gb that are not in the broker's memory, read by TLS by 1 and by 8 consumers; the floor reads a file, encrypts and sends",
            Load::Own(disk::cold_tls),
        )
    },
    Case {
        set: Set::More,
        without: &["rustka", "kafka"],
        ..on_disk(
            "disk-ways",
            "2,000 small batches per second into 1, 50 and 200 files, by no broker: a sync of each file, or of one journal",
            Load::Own(disk::ways),
        )
    },
    Case {
        without: &["floor"],
        long: true,
        filled_by_rustka: true,
        ..on_disk(
            "disk-start",
            "start over --gb in --partitions, the page cache warm: after a clean stop, and after kill -9 under load",
            Load::Own(starts::starts),
        )
    },
    Case {
        without: &["floor"],
        long: true,
        ..on_disk(
            "disk-partitions",
            "10,000 partitions with a record each, at rest",
            Load::Own(disk::partitions),
        )
    },
    more(
        "small",
        "ApiVersions at 200 per second over 10 connections",
        Load::One(1, "small --secs 10"),
    ),
    more(
        "alter",
        "a broker key behind topic configs, with 1,000 partitions of 100 kept batches",
        Load::One(1_000, "alter --partitions 1000"),
    ),
    more(
        "waiting",
        "appends of 100 B while 1,000 fetches wait for 1 MiB of their partition",
        Load::One(1, "waiting"),
    ),
    more(
        "lookup",
        "ListOffsets by time in a log of 1,000 chunks",
        Load::One(1, "lookup"),
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
        ..groups(
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
    Case {
        without: &["floor"],
        ..more(
            "txn-newer",
            "the same with two requests instead of three",
            Load::One(1, "txn --secs 5 --newer 1"),
        )
    },
    Case {
        without: &["floor"],
        ..more(
            "txn-100",
            "100 producers at once",
            Load::One(1, "txn --secs 5 --newer 1 --producers 100"),
        )
    },
    Case {
        without: &["floor"],
        ..more(
            "txn-100x20",
            "100 producers at once, each over 20 partitions",
            Load::One(20, "txn --secs 5 --newer 1 --producers 100 --partitions 20"),
        )
    },
    Case {
        without: &["floor"],
        scripts: &[("rustka", "rustka-retention")],
        runs_max: 1,
        long: true,
        ..more(
            "retention",
            "memory over ten minutes of 3,000 batches of 16 KiB per second under retention.ms",
            Load::Own(retention),
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

/// The cases that `figures` (all with goals but those of security), one of their sets, `all` or names stand for.
pub fn chosen(words: &str) -> Result<Vec<&'static Case>, String> {
    let mut found = Vec::new();
    for word in words.split(',') {
        let before = found.len();
        found.extend(CASES.iter().filter(|c| match word {
            "all" => true,
            "figures" => !matches!(c.set, Set::Security | Set::Locked | Set::Disk | Set::More),
            word => c.name == word || c.set.word() == word,
        }));
        if found.len() == before {
            return Err(format!(
                "{word}: no such case; see `cargo xtask bench list`"
            ));
        }
    }
    Ok(found)
}

/// Leaves out what takes long.
pub fn quick(cases: &mut Vec<&'static Case>) {
    cases.retain(|case| !case.long);
}

impl Case {
    /// The script that starts `peer` for this case.
    pub fn script<'a>(&self, peer: &'a str) -> &'a str {
        let own = self.scripts.iter().find(|(p, _)| *p == peer);
        own.map_or(peer, |(_, script)| script)
    }

    /// Whether a row of results comes from this case: it has its name, or its name and more (`scale-100`), and no other
    /// case has more of the row's name.
    pub fn made(&self, row: &str) -> bool {
        let cases = CASES.iter().filter(|case| row.starts_with(case.name));
        let longest = cases.max_by_key(|case| case.name.len());
        longest.is_some_and(|case| case.name == self.name)
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
