//! `rights`: what 10,000 ACLs add to a Metadata request of 100 named topics, of somebody whom one of them is about.

use crate::args::Args;
use crate::login::{self, USER};
use crate::stat;
use crate::wire::Conn;
use rustka_wire::create_acls_request::{AclCreation, CreateAclsRequest};
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use std::io;
use std::time::{Duration, Instant};

const METADATA_V: i16 = 12;
const ACLS_V: i16 = 2;
/// ACLs that are made with one request.
const CHUNK: usize = 500;
/// Kafka's numbers: a topic, a literal name and one that others begin with, DESCRIBE, ALLOW.
const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DESCRIBE: i8 = 8;
const ALLOW: i8 = 3;
/// A broker may go by rights a while after it has said so.
const HELD_WITHIN: Duration = Duration::from_secs(20);

/// `rights --door HOST:PORT --topics 100 --acls 10000 --secs 4`, with topics `t0`, `t1` … that are there.
pub fn run(a: &Args) {
    let (admin, door) = (a.addr(), a.str("door", ""));
    let topics = a.num("topics", 100) as usize;
    let request = MetadataRequest {
        topics: Some(
            (0..topics)
                .map(|n| MetadataRequestTopic {
                    name: Some(format!("t{n}").into()),
                    ..Default::default()
                })
                .collect(),
        ),
        ..Default::default()
    };
    let mut c = login::make_user(&admin, &door).expect("the user");
    let secs = Duration::from_secs(a.num("secs", 4) as u64);
    let mut measured = |pid| {
        // Code and caches first.
        let mut each = 0.0;
        for part in [1, 3] {
            each = cpu_of(&mut c, &request, pid, secs * part / 4).expect("metadata");
        }
        each
    };
    let before = measured(a.pid());
    let count = a.num("acls", 10_000) as usize;
    make(&admin, topics, count).expect("ACLs");
    std::thread::sleep(Duration::from_secs(1));
    let after = measured(a.pid());
    stat::print(&[
        ("acls", count as f64),
        ("open_cpu_us_per_req", before * 1e6),
        ("acls_cpu_us_per_req", after * 1e6),
        ("more_cpu_us_per_req", (after - before) * 1e6),
    ]);
}

/// CPU of one request; every topic has to be told.
fn cpu_of(
    c: &mut Conn,
    request: &MetadataRequest<'_>,
    pid: i32,
    secs: Duration,
) -> io::Result<f64> {
    let give_up = Instant::now() + HELD_WITHIN;
    while !all_are_told(c, request)? {
        if Instant::now() > give_up {
            return Err(io::Error::other("a topic is not told"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let (cpu, end, mut n) = (stat::cpu(pid), Instant::now() + secs, 0);
    while Instant::now() < end {
        c.exchange(METADATA_V, request)?;
        n += 1;
    }
    Ok((stat::cpu(pid) - cpu) / f64::from(n))
}

fn all_are_told(c: &mut Conn, request: &MetadataRequest<'_>) -> io::Result<bool> {
    let told = c.call_at(METADATA_V, request)?;
    Ok(told.topics.iter().all(|topic| topic.error_code == 0))
}

/// For every topic one ACL of the user, and of the rest one half names a topic, the other one how names begin.
fn make(admin: &str, topics: usize, count: usize) -> io::Result<()> {
    let mut c = Conn::open(admin)?;
    let of = |n: usize| match n {
        n if n < topics => (format!("t{n}"), LITERAL, format!("User:{USER}")),
        n if n % 2 == 0 => (format!("t{}", n % topics), LITERAL, format!("User:u{n}")),
        n => (format!("other-{n}-"), PREFIXED, format!("User:u{n}")),
    };
    let all: Vec<AclCreation<'_>> = (0..count)
        .map(|n| {
            let (name, pattern, principal) = of(n);
            AclCreation {
                resource_type: TOPIC,
                resource_name: name.into(),
                resource_pattern_type: pattern,
                principal: principal.into(),
                host: "*".into(),
                operation: DESCRIBE,
                permission_type: ALLOW,
            }
        })
        .collect();
    for chunk in all.chunks(CHUNK) {
        let request = CreateAclsRequest {
            creations: chunk.to_vec(),
        };
        let told = c.call_at(ACLS_V, &request)?;
        if let Some(refused) = told.results.iter().find(|one| one.error_code != 0) {
            return Err(io::Error::other(format!(
                "an ACL: error {}",
                refused.error_code
            )));
        }
    }
    Ok(())
}
