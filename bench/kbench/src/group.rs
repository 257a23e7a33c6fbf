//! Consumer groups: members that speak the group protocol and nothing else, and how long a rebalance takes.

use crate::{
    args::Args,
    stat::{self, Meter, mono_ns},
    wire::Conn,
};
use rustka_client::assignor::{self, Partitions};
use rustka_wire::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::heartbeat_request::HeartbeatRequest;
use rustka_wire::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use rustka_wire::leave_group_request::LeaveGroupRequest;
use rustka_wire::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

struct Event {
    member: usize,
    at: u64,
    generation: i32,
    size: usize,
    parts: usize,
}

/// What one member is told; it leaves when `leave` is set.
struct Cfg<'a> {
    addr: &'a str,
    group: &'a str,
    topic: &'a str,
    heartbeat: Duration,
    parts: usize,
}

/// A JoinGroup of a consumer of one topic.
pub fn join_request<'a>(
    group: &'a str,
    session_timeout_ms: i32,
    id: &'a str,
    topic: &str,
) -> JoinGroupRequest<'a> {
    let topics = BTreeSet::from([topic.to_string()]);
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms,
        rebalance_timeout_ms: 60_000,
        member_id: id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: assignor::RANGE.into(),
            metadata: assignor::subscription(&topics).into(),
        }],
        ..Default::default()
    }
}

/// A member's share, as its leader says it.
pub fn assignment(topic: &str, parts: &[i32]) -> Vec<u8> {
    assignor::assignment(&Partitions::from([(topic.to_string(), parts.to_vec())]))
}

/// A SyncGroup with the share of each member.
pub fn sync_request<'a>(
    group: &'a str,
    generation_id: i32,
    id: &'a str,
    shares: impl Iterator<Item = (String, Vec<u8>)>,
) -> SyncGroupRequest<'a> {
    let assignments = shares.map(|(member, share)| SyncGroupRequestAssignment {
        member_id: member.into(),
        assignment: share.into(),
    });
    SyncGroupRequest {
        group_id: group.into(),
        generation_id,
        member_id: id.into(),
        assignments: assignments.collect(),
        ..Default::default()
    }
}

/// A member's heartbeat.
pub fn heartbeat_of<'a>(group: &'a str, generation_id: i32, id: &'a str) -> HeartbeatRequest<'a> {
    HeartbeatRequest {
        group_id: group.into(),
        generation_id,
        member_id: id.into(),
        ..Default::default()
    }
}

fn leave(c: &mut Conn, group: &str, id: &str) {
    let request = LeaveGroupRequest {
        group_id: group.into(),
        member_id: id.into(),
        ..Default::default()
    };
    let _ = c.call(&request).map(|_| ());
}

fn classic(cfg: &Cfg, n: usize, quit: &AtomicBool, tx: &Sender<Event>) {
    let mut c = Conn::open(cfg.addr).expect("connect");
    let mut id = String::new();
    'join: loop {
        let (generation, members) = {
            let request = join_request(cfg.group, 30_000, &id, cfg.topic);
            let told = c.call(&request).expect("join");
            let me = told.member_id.to_string();
            match told.error_code {
                0 => {}
                25 => {
                    id.clear();
                    continue;
                }
                e @ (14..=16 | 27 | 79) => {
                    if e == 79 {
                        id = me;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                e => panic!("join error {e}"),
            }
            // only the leader is told the members
            let members = told.members.into_iter();
            let members: Vec<String> = members.map(|m| m.member_id.into_owned()).collect();
            id = me;
            (told.generation_id, members)
        };
        let size = members.len();
        let shares = members.into_iter().enumerate().map(|(i, m)| {
            let mine: Vec<i32> = (0..cfg.parts as i32)
                .filter(|p| *p as usize % size == i)
                .collect();
            (m, assignment(cfg.topic, &mine))
        });
        let parts = {
            let request = sync_request(cfg.group, generation, &id, shares);
            let told = c.call(&request).expect("sync");
            match told.error_code {
                0 => {}
                14..=16 | 22 | 27 => continue 'join,
                25 => {
                    id.clear();
                    continue 'join;
                }
                e => panic!("sync error {e}"),
            }
            let share = assignor::assigned(&told.assignment).expect("an assignment");
            share.values().map(Vec::len).sum()
        };
        let _ = tx.send(Event {
            member: n,
            at: mono_ns(),
            generation,
            size,
            parts,
        });
        loop {
            let until = Instant::now() + cfg.heartbeat;
            while Instant::now() < until {
                if quit.load(Relaxed) {
                    leave(&mut c, cfg.group, &id);
                    return;
                }
                std::thread::sleep(cfg.heartbeat.min(Duration::from_millis(2)));
            }
            let request = heartbeat_of(cfg.group, generation, &id);
            match c.call(&request).expect("heartbeat").error_code {
                0 => {}
                14..=16 | 22 | 27 => continue 'join,
                25 => {
                    id.clear();
                    continue 'join;
                }
                e => panic!("heartbeat error {e}"),
            }
        }
    }
}

/// KIP-848 member: ConsumerGroupHeartbeat v1 until told to leave.
fn kip848(cfg: &Cfg, n: usize, quit: &AtomicBool, tx: &Sender<Event>) {
    let mut c = Conn::open(cfg.addr).expect("connect");
    let id = format!("AAAAAAAAAAAAAAAAAA{:04}", n);
    let mut epoch = 0;
    let mut owned: Vec<TopicPartitions> = vec![];
    let mut told_last = (0, usize::MAX);
    loop {
        let leaving = quit.load(Relaxed);
        let request = ConsumerGroupHeartbeatRequest {
            group_id: cfg.group.into(),
            member_id: id.as_str().into(),
            member_epoch: if leaving { -1 } else { epoch },
            rebalance_timeout_ms: 60_000,
            // sent in full every time
            subscribed_topic_names: Some(vec![cfg.topic.into()]),
            topic_partitions: Some(owned.clone()),
            ..Default::default()
        };
        let told = c.call(&request).expect("group heartbeat");
        if leaving {
            return;
        }
        match told.error_code {
            0 => epoch = told.member_epoch,
            14..=16 => {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            25 | 110 => {
                epoch = 0;
                owned.clear();
                continue;
            }
            e => panic!("group heartbeat error {e} {:?}", told.error_message),
        }
        if let Some(given) = told.assignment {
            let topics = given.topic_partitions.into_iter();
            owned = topics
                .map(|t| TopicPartitions {
                    topic_id: t.topic_id,
                    partitions: t.partitions,
                })
                .collect();
        }
        let parts = owned.iter().map(|t| t.partitions.len()).sum();
        if (epoch, parts) != told_last {
            told_last = (epoch, parts);
            let _ = tx.send(Event {
                member: n,
                at: mono_ns(),
                generation: epoch,
                size: 0,
                parts,
            });
        }
        let until = Instant::now() + cfg.heartbeat;
        while Instant::now() < until && !quit.load(Relaxed) {
            std::thread::sleep(cfg.heartbeat.min(Duration::from_millis(2)));
        }
    }
}

/// Waits until `live` members all hold a share of the last generation and all partitions are given out.
fn settled(
    rx: &Receiver<Event>,
    state: &mut [(i32, usize, usize)],
    live: &[usize],
    parts: usize,
    since: u64,
    kip: bool,
) -> f64 {
    let give_up = Instant::now() + Duration::from_secs(12);
    let mut last = since;
    loop {
        let g = live.iter().map(|&m| state[m].0).max().unwrap_or(0);
        let sum: usize = live.iter().map(|&m| state[m].2).sum();
        let max = live.iter().map(|&m| state[m].2).max().unwrap_or(0);
        let same = kip || live.iter().all(|&m| state[m].0 == g && g > 0);
        let whole = kip || live.iter().map(|&m| state[m].1).max() == Some(live.len());
        if same && whole && sum == parts && max == parts.div_ceil(live.len()) && last > since {
            return (last - since) as f64 / 1e6;
        }
        match rx.recv_timeout(Duration::from_millis(200)) {
            Ok(e) => {
                state[e.member] = (e.generation, e.size, e.parts);
                if live.contains(&e.member) {
                    last = e.at;
                }
            }
            Err(_) if Instant::now() > give_up => return f64::NAN,
            Err(_) => {}
        }
    }
}

/// Waits until the group's coordinator is known, so that its own start is not measured.
pub fn await_coordinator(c: &mut Conn, group: &str) {
    for _ in 0..500 {
        let request = FindCoordinatorRequest {
            key: group.into(),
            ..Default::default()
        };
        let told = c.call(&request).expect("find coordinator");
        if told.error_code == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no coordinator for {group}");
}

/// The times of one group's life, in ms; NaN where it did not settle.
struct Times {
    join_all: f64,
    leave: f64,
    join_one: f64,
}

/// Join of all at once; then, when `further`, leave of one after a random pause, and join of another.
/// The pause is up to one heartbeat interval, so that the leave meets the others anywhere between two of theirs.
fn lifetime(a: &Args, group: &str, further: bool, seed: &mut u64) -> Times {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let n = a.num("members", 10) as usize;
    let parts = a.num("partitions", 10) as usize;
    let heartbeat_ms = a.num("heartbeat-ms", 100) as u64;
    let kip = a.str("protocol", "classic") == "consumer";
    let mut c = Conn::open(&addr).expect("connect");
    await_coordinator(&mut c, group);
    let cfg = Cfg {
        addr: &addr,
        group,
        topic: &topic,
        heartbeat: Duration::from_millis(heartbeat_ms),
        parts,
    };
    let quits: Vec<AtomicBool> = (0..=n).map(|_| AtomicBool::new(false)).collect();
    let (tx, rx) = channel();
    let mut state = vec![(0, 0, 0); n + 1];
    std::thread::scope(|s| {
        let start = |i: usize| {
            let (cfg, q, tx) = (&cfg, &quits[i], tx.clone());
            s.spawn(move || match kip {
                true => kip848(cfg, i, q, &tx),
                false => classic(cfg, i, q, &tx),
            });
        };
        let t0 = mono_ns();
        (0..n).for_each(start);
        let live: Vec<usize> = (0..n).collect();
        let join_all = settled(&rx, &mut state, &live, parts, t0, kip);
        let (mut leave, mut join_one) = (f64::NAN, f64::NAN);
        if further {
            *seed = stat::random(*seed);
            let pause_us = *seed % (heartbeat_ms * 1000).max(1);
            std::thread::sleep(Duration::from_millis(300) + Duration::from_micros(pause_us));
            let t1 = mono_ns();
            quits[n - 1].store(true, Relaxed);
            let live: Vec<usize> = (0..n - 1).collect();
            leave = settled(&rx, &mut state, &live, parts, t1, kip);
            std::thread::sleep(Duration::from_millis(300));
            let t2 = mono_ns();
            start(n);
            let live: Vec<usize> = (0..n - 1).chain([n]).collect();
            join_one = settled(&rx, &mut state, &live, parts, t2, kip);
        }
        quits.iter().for_each(|q| q.store(true, Relaxed));
        Times {
            join_all,
            leave,
            join_one,
        }
    })
}

/// How long `members` take to settle in a group that others have used, in ms.
pub fn join_all(a: &Args, group: &str) -> f64 {
    lifetime(a, group, false, &mut 1).join_all
}

/// Join of all at once, leave of one, join of one: medians over `repeat` groups, and the slowest.
pub fn rebalance(a: &Args) {
    let group = a.str("group", "g");
    let mut seed = mono_ns() | 1;
    let m = Meter::start(a.pid());
    let times: Vec<Times> = (0..a.num("repeat", 1))
        .map(|i| lifetime(a, &format!("{group}-{i}"), true, &mut seed))
        .collect();
    let mut out = m.stop();
    let unsettled = |t: &&Times| !(t.join_all + t.leave + t.join_one).is_finite();
    let failed = times.iter().filter(unsettled).count();
    let of = |f: fn(&Times) -> f64| -> Vec<f64> { times.iter().map(f).collect() };
    let max = |v: &[f64]| v.iter().copied().fold(f64::NAN, f64::max);
    let (all, leave, one) = (of(|t| t.join_all), of(|t| t.leave), of(|t| t.join_one));
    out.extend([
        ("groups", times.len() as f64),
        ("unsettled", failed as f64),
        ("join_all_ms", stat::median(&all)),
        ("join_all_max_ms", max(&all)),
        ("leave_ms", stat::median(&leave)),
        ("leave_max_ms", max(&leave)),
        ("join_one_ms", stat::median(&one)),
        ("join_one_max_ms", max(&one)),
    ]);
    stat::print(&out);
}
