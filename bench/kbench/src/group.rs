//! Consumer groups: members that speak the group protocol and nothing else.

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

fn subscription(topic: &str) -> Vec<u8> {
    let mut w = W::default();
    w.i16(0).i32(1).str(topic).i32(-1);
    w.0
}

fn assignment(topic: &str, parts: &[i32]) -> Vec<u8> {
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

/// Join of all at once, leave of one, join of one.
pub fn rebalance(a: &Args) {
    let (addr, topic, group) = (a.addr(), a.str("topic", "t"), a.str("group", "g"));
    let n = a.num("members", 10) as usize;
    let parts = a.num("partitions", 10) as usize;
    let hb = Duration::from_millis(a.num("heartbeat-ms", 100) as u64);
    let kip = a.str("protocol", "classic") == "consumer";
    // wait for the coordinator first, so that its own start is not measured
    let mut c = Conn::open(&addr).expect("connect");
    for _ in 0..500 {
        let mut w = W::default();
        w.str(&group).i8(0);
        let mut r = c
            .call(wire::FIND_COORDINATOR, &w.0)
            .expect("find coordinator");
        r.i32();
        if r.i16() == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let cfg = Cfg {
        addr: &addr,
        group: &group,
        topic: &topic,
        heartbeat: hb,
        parts,
    };
    let quits: Vec<AtomicBool> = (0..=n).map(|_| AtomicBool::new(false)).collect();
    let (tx, rx) = channel();
    let mut state = vec![(0, 0, 0); n + 1];
    std::thread::scope(|s| {
        let start = |i: usize| {
            let (cfg, q, tx) = (&cfg, &quits[i], tx.clone());
            s.spawn(move || {
                if kip {
                    kip848(cfg, i, q, &tx)
                } else {
                    classic(cfg, i, q, &tx)
                }
            });
        };
        let m = Meter::start(a.pid());
        let t0 = mono_ns();
        (0..n).for_each(start);
        let live: Vec<usize> = (0..n).collect();
        let join = settled(&rx, &mut state, &live, parts, t0, kip);
        std::thread::sleep(Duration::from_millis(300));
        let t1 = mono_ns();
        quits[n - 1].store(true, Relaxed);
        let live: Vec<usize> = (0..n - 1).collect();
        let left = settled(&rx, &mut state, &live, parts, t1, kip);
        std::thread::sleep(Duration::from_millis(300));
        let t2 = mono_ns();
        start(n);
        let live: Vec<usize> = (0..n - 1).chain([n]).collect();
        let joined = settled(&rx, &mut state, &live, parts, t2, kip);
        quits.iter().for_each(|q| q.store(true, Relaxed));
        let mut out = m.stop();
        out.extend([
            ("join_all_ms", join),
            ("leave_ms", left),
            ("join_one_ms", joined),
        ]);
        stat::print(&out);
    });
}

/// `members` in groups of 10 (one connection each), then heartbeats every `interval-ms` for `secs`.
pub fn idle(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let n = a.num("members", 1000) as usize;
    let interval = Duration::from_millis(a.num("interval-ms", 3000) as u64);
    let secs = Duration::from_secs(a.num("secs", 10) as u64);
    // Joined one after the other in a group of their own pace: every group is joined by ten threads at once.
    let mut members: Vec<(Conn, String, i32, String)> = Vec::new();
    let rss0 = stat::mem(a.pid(), "VmRSS");
    for chunk in 0..n.div_ceil(10) {
        let group = format!("idle-{chunk}");
        let bar = std::sync::Barrier::new(10);
        let got: Vec<_> = std::thread::scope(|s| {
            let hs: Vec<_> = (0..10)
                .map(|_| {
                    let (addr, topic, group, bar) = (&addr, &topic, &group, &bar);
                    s.spawn(move || {
                        let mut c = Conn::open(addr).expect("connect");
                        bar.wait();
                        let mut id = String::new();
                        loop {
                            let mut w = W::default();
                            w.str(group)
                                .i32(60_000)
                                .i32(60_000)
                                .str(&id)
                                .str("consumer")
                                .i32(1)
                                .str("range")
                                .bytes(&subscription(topic));
                            let (e, generation, me, ids) = {
                                let mut r = c.call(wire::JOIN_GROUP, &w.0).expect("join");
                                r.i32();
                                let (e, generation) = (r.i16(), r.i32());
                                r.str();
                                let (leader, me) = (r.str(), r.str());
                                let ids: Vec<String> = (0..r.i32())
                                    .map(|_| {
                                        let i = r.str();
                                        r.bytes();
                                        i
                                    })
                                    .collect();
                                (
                                    e,
                                    generation,
                                    me.clone(),
                                    if leader == me { ids } else { vec![] },
                                )
                            };
                            if e == 0 || e == 79 {
                                id = me;
                            }
                            if e != 0 {
                                if e == 25 {
                                    id.clear();
                                }
                                std::thread::sleep(Duration::from_millis(20));
                                continue;
                            }
                            let mut w = W::default();
                            w.str(group).i32(generation).str(&id).i32(ids.len() as i32);
                            for m in &ids {
                                w.str(m).bytes(&assignment(topic, &[0]));
                            }
                            let e = {
                                let mut r = c.call(wire::SYNC_GROUP, &w.0).expect("sync");
                                r.i32();
                                r.i16()
                            };
                            if e != 0 {
                                continue;
                            }
                            // a late joiner starts another round: make sure that it is over
                            std::thread::sleep(Duration::from_millis(5));
                            let mut w = W::default();
                            w.str(group).i32(generation).str(&id);
                            let e = {
                                let mut r = c.call(wire::HEARTBEAT, &w.0).expect("heartbeat");
                                r.i32();
                                r.i16()
                            };
                            if e == 0 {
                                return (c, id, generation, group.clone());
                            }
                            if e == 25 {
                                id.clear();
                            }
                        }
                    })
                })
                .collect();
            hs.into_iter().map(|h| h.join().unwrap()).collect()
        });
        members.extend(got);
    }
    let m = Meter::start(a.pid());
    let end = Instant::now() + secs;
    let (mut sent, mut bad) = (0u64, 0u64);
    let (t0, count) = (Instant::now(), members.len() as u32);
    while Instant::now() < end {
        let i = (sent % count as u64) as usize;
        let due = t0 + interval / count * sent as u32;
        if let Some(d) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(d);
        }
        let (c, id, generation, group) = &mut members[i];
        let mut w = W::default();
        w.str(group).i32(*generation).str(id);
        let mut r = c.call(wire::HEARTBEAT, &w.0).expect("heartbeat");
        r.i32();
        if r.i16() != 0 {
            bad += 1;
        }
        sent += 1;
    }
    let mut out = m.stop();
    let cpu = out[1].1;
    let pct = cpu / out[0].1 * 100.0;
    out.extend([
        ("heartbeats", sent as f64),
        ("rejected", bad as f64),
        ("cpu_us_per_heartbeat", cpu / sent as f64 * 1e6),
        ("cpu_percent", pct),
        (
            "rss_kib_per_member",
            (stat::mem(a.pid(), "VmRSS") - rss0) * 1024.0 / count as f64,
        ),
    ]);
    stat::print(&out);
}
