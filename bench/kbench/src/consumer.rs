//! Members of groups of the new protocol (KIP-848) that do nothing but heartbeat: what idle ones cost, and what it costs
//! until a crowd of them knows of one that joins.

use crate::args::Args;
use crate::group::await_coordinator;
use crate::stat::{self, Meter};
use crate::wire::{self, Conn};
use rustka_wire::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use std::time::{Duration, Instant};

/// Rounds after which a group should have settled.
const ROUNDS_MAX: usize = 500;

/// A member with a connection of its own.
pub struct Member {
    c: Conn,
    id: String,
    group: String,
    epoch: i32,
    owned: Vec<TopicPartitions>,
    /// What it holds has changed, and nobody has been told yet.
    has_news: bool,
}

impl Member {
    pub fn new(c: Conn, group: &str, number: usize) -> Member {
        Member {
            c,
            id: format!("AAAAAAAAAAAAAAAAAA{number:04}"),
            group: group.to_string(),
            epoch: 0,
            owned: Vec::new(),
            has_news: false,
        }
    }

    /// As `new`, already at rest in an epoch: for the floor, which knows no group.
    pub fn at_rest(c: Conn, group: &str, number: usize) -> Member {
        Member {
            epoch: 1,
            ..Member::new(c, group, number)
        }
    }

    /// One heartbeat: in full to join, with what it holds where that has changed, and else as short as they are.
    /// The answer's error.
    pub fn beat(&mut self, topic: &str) -> i16 {
        let joins = self.epoch == 0;
        let tells = joins || std::mem::take(&mut self.has_news);
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.as_str().into(),
            member_id: self.id.as_str().into(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if joins { 60_000 } else { -1 },
            subscribed_topic_names: joins.then(|| vec![topic.into()]),
            topic_partitions: tells.then(|| self.owned.clone()),
            ..Default::default()
        };
        let told = self.c.call(&request).expect("group heartbeat");
        if told.error_code != 0 {
            return told.error_code;
        }
        self.epoch = told.member_epoch;
        if let Some(given) = told.assignment {
            let topics = given.topic_partitions.into_iter();
            self.owned = topics
                .map(|of| TopicPartitions {
                    topic_id: of.topic_id,
                    partitions: of.partitions,
                })
                .collect();
            self.has_news = true;
        }
        0
    }

    fn share(&self) -> usize {
        self.owned.iter().map(|of| of.partitions.len()).sum()
    }
}

/// Lets all join, and heartbeat in turn until they are in one epoch and hold all partitions; how many heartbeats it took.
pub fn settle(members: &mut [Member], topic: &str, partitions: usize) -> Result<u64, String> {
    let mut sent = 0;
    for _ in 0..ROUNDS_MAX {
        for member in members.iter_mut() {
            sent += 1;
            match member.beat(topic) {
                0 => {}
                14..=16 => std::thread::sleep(Duration::from_millis(5)),
                25 | 110 => member.epoch = 0,
                error => return Err(format!("a heartbeat was answered with error {error}")),
            }
        }
        let epoch = members.first().map(|member| member.epoch);
        let has_news = members.iter().any(|member| member.has_news);
        let held: usize = members.iter().map(Member::share).sum();
        if !has_news && held == partitions && members.iter().all(|m| Some(m.epoch) == epoch) {
            return Ok(sent);
        }
        // Not faster than time goes by: some brokers compute shares once a second.
        if members.len() < 100 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Err("the group did not settle".to_string())
}

/// `members` of one group on a topic of `partitions`; then one more joins: what that costs until all know of it.
pub fn crowd(a: &Args) {
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let n = a.num("members", 1000) as usize;
    let partitions = a.num("partitions", 1000) as usize;
    let mut members: Vec<Member> = (0..=n)
        .map(|number| {
            let mut c = Conn::open(&addr).expect("connect");
            wire::negotiate(&mut c).expect("ApiVersions");
            Member::new(c, "crowd", number)
        })
        .collect();
    await_coordinator(&mut members[0].c, "crowd");
    let mut last = members.pop().expect("the last one");
    let t0 = Instant::now();
    let joining = Meter::start(a.pid());
    let joined = settle(&mut members, &topic, partitions).expect("a settled group");
    let all_cpu_ms = joining.stop()[1].1 * 1e3;
    let all_ms = t0.elapsed().as_secs_f64() * 1e3;
    // What is at rest costs less, and no broker waits any more before it computes.
    std::thread::sleep(Duration::from_secs(2));
    let t1 = Instant::now();
    let m = Meter::start(a.pid());
    let first = last.beat(&topic);
    assert_eq!(first, 0, "the last one joins");
    members.push(last);
    let told = settle(&mut members, &topic, partitions).expect("a settled group");
    let mut out = m.stop();
    let (cpu, took_ms) = (out[1].1, t1.elapsed().as_secs_f64() * 1e3);
    out.extend([
        ("all_cpu_ms", all_cpu_ms),
        ("all_ms", all_ms),
        ("all_heartbeats", joined as f64),
        ("one_cpu_ms", cpu * 1e3),
        ("one_ms", took_ms),
        ("one_heartbeats", told as f64 + 1.0),
    ]);
    stat::print(&out);
}
