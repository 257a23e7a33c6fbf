//! Group requests that need no member: offset commits, and member ids that never come back.

use crate::args::Args;
use crate::group;
use crate::stat::{self, Meter, mono_ns, pct};
use crate::wire::{self, Conn};
use rustka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use std::io::Write;
use std::time::{Duration, Instant};

/// What a coordinator answers while it loads or moves.
const NOT_YET: std::ops::RangeInclusive<i16> = 14..=16;

/// OffsetCommit v7 of a group without members: `partitions` of one topic, `inflight` on the wire.
pub fn commit(a: &Args) {
    let (addr, topic, group) = (a.addr(), a.str("topic", "t"), a.str("group", "commits"));
    let parts = a.num("partitions", 10) as i32;
    let inflight = a.num("inflight", 5) as usize;
    let total = a.num("reqs", 100_000) as usize;
    let limit = Duration::from_secs(a.num("secs", 60) as u64);
    let body = |offset: i64| {
        let partitions = (0..parts).map(|partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset,
            committed_metadata: Some("".into()),
            ..Default::default()
        });
        OffsetCommitRequest {
            group_id: group.as_str().into(),
            topics: vec![OffsetCommitRequestTopic {
                name: topic.as_str().into(),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    };
    let error = |told: &OffsetCommitResponse| {
        let mut all = told.topics.iter().flat_map(|t| &t.partitions);
        all.find(|p| p.error_code != 0).map_or(0, |p| p.error_code)
    };
    let version = wire::version(OffsetCommitRequest::KEY);
    let mut c = Conn::open(&addr).expect("connect");
    group::await_coordinator(&mut c, &group);
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        match error(&c.call(&body(0)).expect("commit")) {
            0 => break,
            e if NOT_YET.contains(&e) && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(20));
            }
            e => panic!("commit error {e}"),
        }
    }
    let (mut sent, mut got, mut errors) = (0, 0, 0u64);
    let mut at = vec![0u64; total];
    let mut times = Vec::with_capacity(total);
    let m = Meter::start(a.pid());
    let deadline = Instant::now() + limit;
    loop {
        while sent < total && sent - got < inflight && Instant::now() < deadline {
            let frame = wire::frame(sent as i32, &body(sent as i64 + 1));
            at[sent] = mono_ns();
            c.s.write_all(&frame).expect("write");
            sent += 1;
        }
        if got == sent {
            break;
        }
        c.recv().expect("commit response");
        times.push(mono_ns() - at[got]);
        let (corr, told) = c
            .received(OffsetCommitRequest::KEY, version)
            .expect("commit response");
        assert_eq!(corr, got as i32, "responses out of order");
        if error(&told) != 0 {
            errors += 1;
        }
        got += 1;
    }
    let mut out = m.stop();
    times.sort_unstable();
    let (secs, cpu, reqs) = (out[0].1, out[1].1, got as f64);
    out.extend([
        ("reqs", reqs),
        ("errors", errors as f64),
        ("reqs_per_s", reqs / secs),
        ("p50_us", pct(&times, 50.0) / 1e3),
        ("p99_us", pct(&times, 99.0) / 1e3),
        ("cpu_us_per_req", cpu / reqs * 1e6),
    ]);
    stat::print(&out);
}

/// `ids` members that ask for an id (JoinGroup v4) and never come back with it, over `conns` connections;
/// then ten real members join the same group.
pub fn pending(a: &Args) {
    let (addr, topic, group) = (a.addr(), a.str("topic", "t"), a.str("group", "pending"));
    let ids = a.num("ids", 5000) as usize;
    let conns = a.num("conns", 10).max(1) as usize;
    let session_ms = a.num("session-ms", 10_000) as i32;
    wire::join_with(4);
    let mut socks: Vec<Conn> = (0..conns)
        .map(|_| Conn::open(&addr).expect("connect"))
        .collect();
    group::await_coordinator(&mut socks[0], &group);
    let rss0 = stat::mem(a.pid(), "VmRSS");
    let (mut given, mut refused) = (0u64, 0u64);
    let m = Meter::start(a.pid());
    for i in 0..ids {
        let request = group::join_request(&group, session_ms, "", &topic);
        let told = socks[i % conns].call(&request).expect("join");
        match told.error_code {
            79 => given += 1,
            _ => refused += 1,
        }
    }
    let mut out = m.stop();
    let rss1 = stat::mem(a.pid(), "VmRSS");
    let settle_ms = group::join_all(a, &group);
    // after their session the ids are gone, and with them their memory
    let after = Duration::from_millis(a.num("after-ms", session_ms as i64 + 2000) as u64);
    std::thread::sleep(after);
    let rss2 = stat::mem(a.pid(), "VmRSS");
    out.extend([
        ("ids", given as f64),
        ("refused", refused as f64),
        (
            "rss_kib_per_id",
            (rss1 - rss0) * 1024.0 / given.max(1) as f64,
        ),
        ("join_all_ms", settle_ms),
        (
            "rss_kept_kib_per_id",
            (rss2 - rss0) * 1024.0 / given.max(1) as f64,
        ),
        ("rss_before_mib", rss0),
        ("rss_after_mib", rss2),
    ]);
    stat::print(&out);
}
