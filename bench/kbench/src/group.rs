//! Consumer groups: members that speak the group protocol and nothing else, and how long a rebalance takes.

use crate::{
    args::Args,
    stat::{self, Meter, mono_ns},
    wire::{self, Conn, W},
};
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

pub fn subscription(topic: &str) -> Vec<u8> {
    let mut w = W::default();
    w.i16(0).i32(1).str(topic).i32(-1);
    w.0
}

pub fn assignment(topic: &str, parts: &[i32]) -> Vec<u8> {
    let mut w = W::default();
    w.i16(0).i32(1).str(topic).i32(parts.len() as i32);
    for p in parts {
        w.i32(*p);
    }
    w.i32(-1);
    w.0
}

fn leave(c: &mut Conn, group: &str, id: &str) {
    let mut w = W::default();
    w.str(group).str(id);
    let _ = c.call(wire::LEAVE_GROUP, &w.0).map(|_| ());
}

fn classic(cfg: &Cfg, n: usize, quit: &AtomicBool, tx: &Sender<Event>) {
    let mut c = Conn::open(cfg.addr).expect("connect");
    let mut id = String::new();
    'join: loop {
        let mut w = W::default();
        w.str(cfg.group)
            .i32(30_000)
            .i32(60_000)
            .str(&id)
            .str("consumer")
            .i32(1)
            .str("range")
            .bytes(&subscription(cfg.topic));
        let (generation, members) = {
            let mut r = c.call(wire::JOIN_GROUP, &w.0).expect("join");
            r.i32();
            let e = r.i16();
            let generation = r.i32();
            r.str();
            let leader = r.str();
            let me = r.str();
            match e {
                0 => {}
                25 => {
                    id.clear();
                    continue;
                }
                14..=16 | 27 | 79 => {
                    if e == 79 {
                        id = me;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                _ => panic!("join error {e}"),
            }
            let mut members = Vec::new();
            for _ in 0..r.i32() {
                members.push(r.str());
                r.bytes();
            }
            if leader != me {
                members.clear();
            }
            id = me;
            (generation, members)
        };
        let mut w = W::default();
        w.str(cfg.group)
            .i32(generation)
            .str(&id)
            .i32(members.len() as i32);
        for (i, m) in members.iter().enumerate() {
            let mine: Vec<i32> = (0..cfg.parts as i32)
                .filter(|p| *p as usize % members.len() == i)
                .collect();
            w.str(m).bytes(&assignment(cfg.topic, &mine));
        }
        let parts = {
            let mut r = c.call(wire::SYNC_GROUP, &w.0).expect("sync");
            r.i32();
            match r.i16() {
                0 => {}
                14..=16 | 22 | 27 => continue 'join,
                25 => {
                    id.clear();
                    continue 'join;
                }
                e => panic!("sync error {e}"),
            }
            let b = r.bytes();
            let mut parts = 0;
            if b.len() > 6 {
                let mut r = wire::R(b);
                r.i16();
                for _ in 0..r.i32() {
                    r.str();
                    let k = r.i32();
                    parts += k as usize;
                    r.take(4 * k as usize);
                }
            }
            parts
        };
        let _ = tx.send(Event {
            member: n,
            at: mono_ns(),
            generation,
            size: members.len(),
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
            let mut w = W::default();
            w.str(cfg.group).i32(generation).str(&id);
            let mut r = c.call(wire::HEARTBEAT, &w.0).expect("heartbeat");
            r.i32();
            match r.i16() {
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

/// The partitions of one topic that a KIP-848 member holds.
type Owned = ([u8; 16], Vec<i32>);

/// KIP-848 member: ConsumerGroupHeartbeat v1 until told to leave.
fn kip848(cfg: &Cfg, n: usize, quit: &AtomicBool, tx: &Sender<Event>) {
    let mut c = Conn::open(cfg.addr).expect("connect");
    let id = format!("AAAAAAAAAAAAAAAAAA{:04}", n);
    let mut epoch = 0;
    let mut owned: Vec<Owned> = vec![];
    let mut told = (0, usize::MAX);
    loop {
        let leaving = quit.load(Relaxed);
        let mut w = W::default();
        w.cstr(cfg.group)
            .cstr(&id)
            .i32(if leaving { -1 } else { epoch })
            .uvarint(0)
            .uvarint(0)
            .i32(60_000);
        w.uvarint(2).cstr(cfg.topic); // subscribed topics, sent in full every time
        w.uvarint(0).uvarint(0); // no regex, the default assignor
        w.uvarint(owned.len() as u32 + 1);
        for (t, ps) in &owned {
            w.0.extend(t);
            w.uvarint(ps.len() as u32 + 1);
            for p in ps {
                w.i32(*p);
            }
            w.i8(0);
        }
        w.i8(0);
        {
            let mut r = c
                .call(wire::CONSUMER_GROUP_HEARTBEAT, &w.0)
                .expect("group heartbeat");
            if leaving {
                return;
            }
            r.i32();
            let e = r.i16();
            let msg = r.cstr();
            r.cstr();
            let ep = r.i32();
            r.i32();
            match e {
                0 => epoch = ep,
                14..=16 => {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                25 | 110 => {
                    epoch = 0;
                    owned.clear();
                    continue;
                }
                _ => panic!("group heartbeat error {e} {msg}"),
            }
            if r.i8() > 0 {
                owned.clear();
                for _ in 1..r.uvarint() {
                    let t: [u8; 16] = r.take(16).try_into().unwrap();
                    let ps = (1..r.uvarint()).map(|_| r.i32()).collect();
                    r.tags();
                    owned.push((t, ps));
                }
            }
        }
        let parts = owned.iter().map(|(_, p)| p.len()).sum();
        if (epoch, parts) != told {
            told = (epoch, parts);
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
        let mut w = W::default();
        w.str(group).i8(0);
        let mut r = c
            .call(wire::FIND_COORDINATOR, &w.0)
            .expect("find coordinator");
        r.i32();
        if r.i16() == 0 {
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
