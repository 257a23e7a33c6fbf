//! What members cost that only heartbeat.

use crate::args::Args;
use crate::consumer;
use crate::group::{assignment, await_coordinator, heartbeat_of, join_request, sync_request};
use crate::stat::{self, Meter};
use crate::wire::{self, Conn};
use std::sync::Barrier;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Members per group.
const GROUP: usize = 10;

/// A member of a group, with a connection of its own.
pub struct Member {
    c: Conn,
    id: String,
    generation: i32,
    group: String,
}

/// A member of either protocol.
enum Beating {
    Classic(Member),
    Consumer(consumer::Member),
}

impl Beating {
    /// One heartbeat; the answer's error.
    fn beat(&mut self, topic: &str) -> i16 {
        match self {
            Beating::Classic(member) => heartbeat(member),
            Beating::Consumer(member) => member.beat(topic),
        }
    }
}

/// `members` in groups of ten (one connection each), then heartbeats every `interval-ms` for `secs`; of the protocol
/// `classic` or `consumer`, on a topic of `partitions`.
/// `--join 0` leaves the joining out: for the floor, which knows no group and answers every heartbeat.
pub fn run(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let n = (a.num("members", 1000) as usize).next_multiple_of(GROUP);
    let interval = Duration::from_millis(a.num("interval-ms", 3000) as u64);
    let secs = Duration::from_secs(a.num("secs", 10) as u64);
    let join = a.num("join", 1) != 0;
    let is_consumer = a.str("protocol", "classic") == "consumer";
    let partitions = a.num("partitions", 1) as usize;

    // the connections first, each with a first request, so that the rest is the members' own
    let mut free: Vec<Conn> = (0..n)
        .map(|_| {
            let mut c = Conn::open(&addr).expect("connect");
            wire::negotiate(&mut c).expect("ApiVersions");
            c
        })
        .collect();
    let rss0 = stat::mem(a.pid(), "VmRSS");
    let mut members: Vec<Beating> = Vec::new();
    while !free.is_empty() {
        let group = format!("idle-{}", members.len() / GROUP);
        let conns: Vec<Conn> = free.drain(..GROUP).collect();
        match is_consumer {
            true => members.extend(consumers(conns, &group, join, (&topic, partitions))),
            false => members.extend(classics(conns, &group, join, &topic)),
        }
    }
    let rss1 = stat::mem(a.pid(), "VmRSS");
    let m = Meter::start(a.pid());
    let (t0, count) = (Instant::now(), members.len() as u64);
    let step = interval / count as u32;
    let (mut sent, mut bad) = (0u64, 0u64);
    loop {
        let due = t0 + step.mul_f64(sent as f64);
        if due > t0 + secs {
            break;
        }
        if let Some(d) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(d);
        }
        let member = &mut members[(sent % count) as usize];
        if member.beat(&topic) != 0 {
            bad += 1;
        }
        sent += 1;
    }
    let mut out = m.stop();
    let (took, cpu) = (out[0].1, out[1].1);
    out.extend([
        ("heartbeats", sent as f64),
        ("rejected", bad as f64),
        ("cpu_us_per_heartbeat", cpu / sent as f64 * 1e6),
        ("cpu_percent", cpu / took * 100.0),
        ("rss_kib_per_member", (rss1 - rss0) * 1024.0 / count as f64),
    ]);
    stat::print(&out);
}

fn classics(conns: Vec<Conn>, group: &str, join: bool, topic: &str) -> Vec<Beating> {
    let members = match join {
        true => join_all(conns, group, topic),
        false => {
            let members = conns.into_iter().enumerate().map(|(i, c)| Member {
                c,
                id: format!("member-{i}"),
                generation: 1,
                group: group.to_string(),
            });
            members.collect()
        }
    };
    members.into_iter().map(Beating::Classic).collect()
}

fn consumers(
    mut conns: Vec<Conn>,
    group: &str,
    join: bool,
    (topic, partitions): (&str, usize),
) -> Vec<Beating> {
    if join {
        await_coordinator(&mut conns[0], group);
    }
    let member = match join {
        true => consumer::Member::new,
        false => consumer::Member::at_rest,
    };
    let members = conns.into_iter().enumerate();
    let mut members: Vec<consumer::Member> = members.map(|(i, c)| member(c, group, i)).collect();
    if join {
        consumer::settle(&mut members, topic, partitions).expect("a settled group");
    }
    members.into_iter().map(Beating::Consumer).collect()
}

/// A group with one member on each connection, once all of them are in its last generation.
pub fn join_all(mut conns: Vec<Conn>, group: &str, topic: &str) -> Vec<Member> {
    await_coordinator(&mut conns[0], group);
    let bar = Barrier::new(conns.len());
    let generations: Vec<AtomicI32> = conns.iter().map(|_| AtomicI32::new(-1)).collect();
    std::thread::scope(|s| {
        let threads: Vec<_> = conns
            .into_iter()
            .enumerate()
            .map(|(at, c)| {
                let (bar, generations) = (&bar, &generations);
                s.spawn(move || {
                    bar.wait();
                    enter(c, group, topic, (at, generations))
                })
            })
            .collect();
        let joined = threads.into_iter().map(|h| h.join().expect("a member"));
        joined.collect()
    })
}

/// One heartbeat; the answer's error.
pub fn heartbeat(m: &mut Member) -> i16 {
    let request = heartbeat_of(&m.group, m.generation, &m.id);
    m.c.call(&request).expect("heartbeat").error_code
}

/// Joins and syncs until every member is in the same generation. Nobody leaves the round before: one that joins late
/// begins another, in which all the others have to join again.
fn enter(c: Conn, group: &str, topic: &str, (at, generations): (usize, &[AtomicI32])) -> Member {
    let mut member = Member {
        c,
        id: String::new(),
        generation: -1,
        group: group.to_string(),
    };
    loop {
        if !is_synced(&mut member, topic) {
            continue;
        }
        generations[at].store(member.generation, Relaxed);
        loop {
            let mut others = generations.iter().map(|other| other.load(Relaxed));
            if others.all(|other| other == member.generation) {
                return member;
            }
            match heartbeat(&mut member) {
                0 => std::thread::sleep(Duration::from_millis(2)),
                25 => {
                    member.id.clear();
                    break;
                }
                _ => break,
            }
        }
    }
}

/// One round of joining and syncing; whether the member is in a generation.
fn is_synced(member: &mut Member, topic: &str) -> bool {
    let request = join_request(&member.group, 60_000, &member.id, topic);
    let told = member.c.call(&request).expect("join");
    let (error, generation, me) = (told.error_code, told.generation_id, told.member_id);
    // only the leader is told the members
    let others = told.members.into_iter();
    let others: Vec<String> = others.map(|m| m.member_id.into_owned()).collect();
    let me = me.into_owned();
    match error {
        0 => (member.id, member.generation) = (me, generation),
        79 => {
            member.id = me;
            return false;
        }
        25 => {
            member.id.clear();
            return false;
        }
        _ => {
            std::thread::sleep(Duration::from_millis(20));
            return false;
        }
    }
    let shares = others.into_iter().map(|m| (m, assignment(topic, &[0])));
    let request = sync_request(&member.group, generation, &member.id, shares);
    member.c.call(&request).expect("sync").error_code == 0
}
