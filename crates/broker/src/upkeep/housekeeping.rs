//! What has to be done now and then: retention, idle and slow connections, silent producers.

use crate::base::heap::{self, Crowd};
use crate::base::hooks::Event;
use crate::coordinators::groups::Groups;
use crate::node::{Node, Overdue, State, reached};
use rustka_core::time::Now;
use rustka_storage::Rules;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Between two rounds, in milliseconds.
const ROUND_MS: i64 = 1_000;

/// Retention is looked at at least this often.
const RETENTION_MS_MAX: i64 = 10_000;
/// A wall clock that runs ahead of the other one by more than this at once has been set.
const WALL_JUMP_MS: i64 = 3_600_000;
/// How long retention waits after that.
const WALL_DISTRUST_MS: i64 = 600_000;

/// Works until the broker stops.
pub async fn run(node: Arc<Node>, groups: Arc<Groups>) {
    let mut state = node.state.subscribe();
    let idle_max_ms = node.config.fixed().connections_idle_ms_max;
    let retention_ms = node.config.fixed().log_retention_check_interval_ms;
    // More often than Kafka does by default: chunks are small, and memory is dear.
    let retention_ms = retention_ms.clamp(1, RETENTION_MS_MAX);
    let mut next_retention_ms = 0;
    let expiry_ms = i64::from(node.config.fixed().producer_id_expiration_check_interval_ms);
    let mut next_expiry_ms = node.clock.monotonic_ms().saturating_add(expiry_ms);
    let mut wall = WallClock::new(node.clock.now());
    let mut crowd = Crowd::default();
    loop {
        let now = node.clock.now();
        wall.look(now);
        if now.monotonic_ms >= next_retention_ms {
            if wall.is_trusted(now) {
                retain(&node);
            }
            rebuild(&node).await;
            next_retention_ms = now.monotonic_ms.saturating_add(retention_ms);
        }
        if now.monotonic_ms >= next_expiry_ms {
            expire_producers(&node);
            next_expiry_ms = now.monotonic_ms.saturating_add(expiry_ms);
        }
        close_overdue(&node, now.monotonic_ms, idle_max_ms);
        let connections = node.metrics.connections_open.load(Relaxed);
        let connections = usize::try_from(connections).unwrap_or(0);
        if crowd.has_gone(connections + groups.pending_ids()) {
            heap::give_back();
        }
        let next_round_ms = now
            .monotonic_ms
            .saturating_add(ROUND_MS)
            .min(next_retention_ms);
        tokio::select! {
            () = node.clock.sleep_until(next_round_ms) => {}
            () = reached(&mut state, |state| state == State::Stopped) => return,
        }
    }
}

/// Notices when the wall clock jumps ahead, which by itself must not make records old.
struct WallClock {
    last: Now,
    distrusted_until_ms: i64,
}

impl WallClock {
    fn new(now: Now) -> WallClock {
        WallClock {
            last: now,
            distrusted_until_ms: i64::MIN,
        }
    }

    fn look(&mut self, now: Now) {
        let passed_ms = now.monotonic_ms.saturating_sub(self.last.monotonic_ms);
        let jump_ms = now
            .wall_ms
            .saturating_sub(self.last.wall_ms)
            .saturating_sub(passed_ms);
        if jump_ms > WALL_JUMP_MS {
            tracing::warn!(
                target: "rustka::housekeeping",
                "the clock jumped ahead by {} seconds: retention waits for {} seconds, in case it is set back",
                jump_ms / 1_000,
                WALL_DISTRUST_MS / 1_000
            );
            self.distrusted_until_ms = now.monotonic_ms.saturating_add(WALL_DISTRUST_MS);
        } else if jump_ms < -WALL_JUMP_MS {
            self.distrusted_until_ms = i64::MIN;
        }
        self.last = now;
    }

    fn is_trusted(&self, now: Now) -> bool {
        now.monotonic_ms >= self.distrusted_until_ms
    }
}

/// Applies every topic's retention once.
pub fn retain(node: &Node) {
    let now = node.clock.now();
    for topic in node.topics.all() {
        let rules = Rules::of(&topic.config);
        for partition in &topic.partitions {
            partition.retain(&rules, now);
        }
    }
}

/// Brings partitions back that a panic took offline.
async fn rebuild(node: &Arc<Node>) {
    for topic in node.topics.all() {
        for partition in topic.partitions.iter().filter(|one| one.wants_rebuild()) {
            let what = "a partition went offline by a mistake of ours";
            node.hooks.saw(|| Event::Failed(what));
            let (partition, now) = (partition.clone(), node.clock.now());
            // It says in the log how it went.
            let _back = node.work.run(move || partition.rebuild(now)).await;
        }
    }
}

/// Forgets producers that have been silent for too long, so that their state does not pile up.
pub fn expire_producers(node: &Node) {
    let now = node.clock.now();
    let silent_ms = i64::from(node.config.settings().producer_id_expiration_ms);
    for topic in node.topics.all() {
        for partition in &topic.partitions {
            // A partition that is offline has no producers to forget.
            let _expired = partition.with_state(|state| state.expire_producers(now, silent_ms));
        }
    }
}

fn close_overdue(node: &Node, now_ms: i64, idle_max_ms: i64) {
    for peer in node.peers.all() {
        match peer.overdue(now_ms, idle_max_ms) {
            None => continue,
            Some(Overdue::Idle) => {
                tracing::debug!(target: "rustka::housekeeping", "closing the idle connection from {}", peer.address);
            }
            Some(Overdue::SlowFrame) => {
                let reason = "a request came in too slowly";
                node.metrics.connection_closed(peer.address, reason, now_ms);
            }
        }
        peer.close();
    }
}
