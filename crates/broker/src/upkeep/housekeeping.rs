//! What has to be done now and then: retention when it is due, idle and slow connections, silent producers.

use super::{journals, retention};
use crate::api::parts::Parts;
use crate::base::heap::{self, Crowd, GIVE_BACK_BYTES_MIN};
use crate::base::hooks::Event;
use crate::base::machine::Gauge;
use crate::base::rate::LogLimit;
use crate::node::{Node, Overdue, State, reached};
use rustka_core::cluster::command::Command;
use rustka_core::time::{Now, WALL_DISTRUST_MS};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What its supervisor calls it.
pub const TASK: &str = "housekeeping";
/// Between two rounds, in milliseconds.
const ROUND_MS: i64 = 1_000;

/// Freed blocks that nobody has needed for this long go back to the system.
const IDLE_MS: i64 = 10_000;

/// How often logs are told of their partitions' states, as in Kafka
/// (`log.flush.offset.checkpoint.interval.ms`).
const CHECKPOINT_MS: i64 = 60_000;

/// When retention is looked at first, as in Kafka (`log.initial.task.delay.ms`).
const RETENTION_DELAY_MS: i64 = 30_000;

/// Works until the broker stops.
pub async fn run(parts: Arc<Parts>) {
    let Parts { node, groups, .. } = &*parts;
    let mut state = node.state.subscribe();
    let idle_max_ms = node.config.fixed().connections_idle_ms_max;
    let retention_ms = node.config.fixed().log_retention_check_interval_ms;
    let started_ms = node.clock.monotonic_ms();
    let mut next_retention_ms = started_ms.saturating_add(RETENTION_DELAY_MS);
    let expiry_ms = i64::from(node.config.fixed().producer_id_expiration_check_interval_ms);
    let mut next_expiry_ms = started_ms.saturating_add(expiry_ms);
    let tokens_ms = node.config.fixed().token_check_interval_ms;
    let mut next_tokens_ms = started_ms.saturating_add(tokens_ms);
    let mut clock_was_believed = true;
    let mut crowd = Crowd::of_things();
    let mut remembered = Crowd::of_bytes();
    let (mut has_started, mut has_settled) = (false, false);
    // With files, what was needed to open them is given back once.
    let mut was_open = node.engine.directory().is_none();
    let gauge = node.machine.gauge();
    let mut is_short = false;
    let strays = LogLimit::default();
    let mut next_idle_ms = started_ms.saturating_add(IDLE_MS);
    let mut journals = journals::Garbage::default();
    let mut next_checkpoint_ms = started_ms.saturating_add(CHECKPOINT_MS);
    loop {
        let now = node.clock.now();
        warn_of_a_jump(now, &mut clock_was_believed);
        rebuild(node).await;
        if now.monotonic_ms >= next_retention_ms || node.engine.is_full() {
            retention::retain(node, groups);
            next_retention_ms = now.monotonic_ms.saturating_add(retention_ms);
        }
        retention::keep_below_cap(node);
        if now.monotonic_ms >= next_expiry_ms {
            expire_producers(node);
            next_expiry_ms = now.monotonic_ms.saturating_add(expiry_ms);
        }
        if now.monotonic_ms >= next_tokens_ms {
            forget_tokens(&parts, now.wall_ms);
            next_tokens_ms = now.monotonic_ms.saturating_add(tokens_ms);
        }
        if now.monotonic_ms >= next_checkpoint_ms {
            node.checkpoint();
            next_checkpoint_ms = now.monotonic_ms.saturating_add(CHECKPOINT_MS);
        }
        close_overdue(node, now.monotonic_ms, idle_max_ms);
        miss(node, now.monotonic_ms, &strays);
        let connections = node.metrics.connections_open.load(Relaxed);
        let connections = usize::try_from(connections).unwrap_or(0);
        let mut much_is_free = crowd.has_gone(connections + groups.pending_ids());
        much_is_free |= remembered.has_gone(node.memory.account.kept());
        if now.monotonic_ms >= next_idle_ms {
            much_is_free |= journals.shorten(&parts);
            much_is_free |= node.pool.give_back_idle() >= GIVE_BACK_BYTES_MIN;
            next_idle_ms = now.monotonic_ms.saturating_add(IDLE_MS);
        }
        much_is_free |= give_way(node, &gauge, &mut is_short);
        let is_open = node.opener.left() == 0;
        if std::mem::replace(&mut was_open, is_open) != is_open {
            node.pool.trim();
            much_is_free = true;
        }
        // The first time what was needed to start, later what a crowd has needed.
        if much_is_free || has_started && !has_settled {
            // What is read to find them goes back with the rest.
            heap::let_go_of_program();
            heap::give_back();
            has_settled = true;
        }
        has_started = true;
        let next_round_ms = now
            .monotonic_ms
            .saturating_add(ROUND_MS)
            .min(next_retention_ms);
        tokio::select! {
            biased;
            () = reached(&mut state, |state| state >= State::Stopping) => return,
            () = node.clock.sleep_until(next_round_ms) => {}
        }
    }
}

/// Says once of each client that was told where to connect that it has not come.
fn miss(node: &Node, now_ms: i64, lines: &LogLimit) {
    for stray in node.doctor.newly_missed(|| node.peers.all(), now_ms) {
        if let Some(left_out) = lines.admits(now_ms) {
            tracing::warn!(target: "rustka::listener", "{stray}{left_out}");
        }
    }
}

/// While memory is short on the machine nothing is kept for later use; whether much was given back. Says so once.
fn give_way(node: &Node, gauge: &Gauge, is_short: &mut bool) -> bool {
    let shortage = gauge.shortage();
    let begins = shortage.is_some() && !*is_short;
    *is_short = shortage.is_some();
    if let Some(why) = shortage.filter(|_| begins) {
        tracing::info!(
            target: "rustka::housekeeping",
            "memory is short on this machine ({why}): freed memory is given back at once"
        );
    }
    let kept = node.pool.bytes_kept();
    if *is_short {
        node.pool.trim();
    }
    begins || *is_short && kept >= GIVE_BACK_BYTES_MIN
}

/// Says once of each jump that the wall clock is not believed for a while.
fn warn_of_a_jump(now: Now, clock_was_believed: &mut bool) {
    let jump_ms = now.distrusted_ms();
    if jump_ms > 0 && *clock_was_believed {
        tracing::warn!(
            target: "rustka::housekeeping",
            "the clock jumped ahead by {} seconds: nothing expires by it for {} seconds, in case it is set back",
            jump_ms / 1_000,
            WALL_DISTRUST_MS / 1_000
        );
    }
    *clock_was_believed = jump_ms == 0;
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
            Some(Overdue::NoLogin) => {
                let reason = "nobody logged in within 10 seconds";
                node.metrics.connection_closed(peer.address, reason, now_ms);
            }
            Some(Overdue::SlowFrame) => {
                let reason = "a request came in too slowly";
                node.closes(peer.address, reason);
            }
        }
        peer.close();
    }
}

/// Delegation tokens that have expired are of no use to anybody.
fn forget_tokens(parts: &Parts, now_ms: i64) {
    if parts.node.tokens.any_has_expired(now_ms) {
        // What cannot be written down now is forgotten next time.
        drop(parts.cluster.call(Command::ForgetTokens { now_ms }));
    }
}
