//! The task that compacts logs: one log at a time, on a thread for long work.
//!
//! What is due and what stays is decided by `storage::partition` and core.

use crate::base::metrics::Metrics;
use crate::base::random;
use crate::base::rate::LogLimit;
use crate::node::{Node, State, reached};
use crate::upkeep::unreadable::Unreadable;
use rustka_storage::Partition;
use rustka_storage::partition::{Cleaned, CompactionLimits};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::runtime::Handle;

/// What its supervisor calls it.
pub const TASK: &str = "compaction";

/// While memory is full, everything is gone over at most this often.
const PRESS_MS: i64 = 500;

/// Whoever waits since it was too fast looks that often whether it may be faster now.
const PACE_LOOK_MS: i64 = 1_000;

/// Works until the broker stops.
pub async fn run(node: Arc<Node>) {
    let mut state = node.state.subscribe();
    let (mut next_look_ms, mut next_press_ms) = (i64::MIN, i64::MIN);
    let mut unreadable = Unreadable::default();
    let failures = LogLimit::default();
    loop {
        let now = node.clock.now();
        if now.monotonic_ms >= next_look_ms {
            look_at_all(&node);
            unreadable.tell(now.monotonic_ms);
            let backoff_ms = node.config.settings().log_cleaner_backoff_ms.max(1);
            next_look_ms = now.monotonic_ms.saturating_add(backoff_ms);
        }
        if now.monotonic_ms >= next_press_ms && node.compactor.take_pressed() {
            press_all(&node);
            next_press_ms = now.monotonic_ms.saturating_add(PRESS_MS);
        }
        if let Some(partition) = node.compactor.next(next_look_ms) {
            if let Some(partition) = partition.upgrade() {
                let cleaned = compact(&node, &partition, &failures).await;
                unreadable.note(&partition, cleaned.newly_unreadable);
            }
            if *state.borrow() >= State::Stopping {
                return;
            }
            continue;
        }
        let wake_ms = match node.compactor.is_pressed() {
            true => next_look_ms.min(next_press_ms),
            false => next_look_ms,
        };
        tokio::select! {
            biased;
            () = reached(&mut state, |state| state >= State::Stopping) => return,
            () = node.compactor.more.notified() => {}
            () = node.clock.sleep_until(wake_ms) => {}
        }
    }
}

/// Submits every log from which anything may be freed.
fn press_all(node: &Node) {
    if !node.config.settings().log_cleaner {
        return;
    }
    for topic in node.topics.all() {
        for partition in topic
            .partitions
            .iter()
            .filter(|_| topic.config.now().compact)
        {
            if partition.press_compaction() {
                node.compactor.submit(partition);
            }
        }
    }
}

/// Submits every log that is due.
fn look_at_all(node: &Node) {
    if !node.config.settings().log_cleaner {
        return;
    }
    let now = node.clock.now();
    for topic in node.topics.all() {
        for partition in topic
            .partitions
            .iter()
            .filter(|_| topic.config.now().compact)
        {
            if partition.wants_compaction(now) {
                node.compactor.submit(partition);
            }
        }
    }
}

async fn compact(node: &Arc<Node>, partition: &Arc<Partition>, failures: &LogLimit) -> Cleaned {
    let mut round = Round {
        partition,
        ends_well: false,
    };
    if !node.config.settings().log_cleaner {
        return Cleaned::default();
    }
    let work = {
        let (node, partition) = (node.clone(), partition.clone());
        move || {
            let seed = u64::from(random::u32());
            let pace = Pace::of(&node);
            let limits = CompactionLimits {
                key_bytes_max: key_bytes_max(&node),
                pace: &|bytes| pace.took(bytes),
            };
            partition.compact_within(&limits, node.clock.now(), seed)
        }
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(cleaned) => {
            round.ends_well = true;
            count(&node.metrics, &cleaned);
            if cleaned.again {
                node.compactor.submit(partition);
            }
            cleaned
        }
        Err(error) => {
            if let Some(left_out) = failures.admits(node.clock.monotonic_ms()) {
                tracing::error!(target: "rustka::compaction", "compaction failed unexpectedly: {error}{left_out}");
            }
            Cleaned::default()
        }
    }
}

/// Memory for the keys of one round.
fn key_bytes_max(node: &Node) -> usize {
    let bytes = node.config.settings().log_cleaner_dedupe_buffer_bytes;
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Keeps reading and writing files to `log.cleaner.io.max.bytes.per.second`.
struct Pace<'a> {
    node: &'a Node,
    began_ms: i64,
    bytes: Cell<f64>,
}

impl Pace<'_> {
    fn of(node: &Node) -> Pace<'_> {
        Pace {
            node,
            began_ms: node.clock.monotonic_ms(),
            bytes: Cell::new(0.0),
        }
    }

    /// Waits where so many bytes more came too early. What stays in memory needs no pace, nor does a broker that stops.
    fn took(&self, bytes: usize) {
        if self.node.engine.directory().is_none() {
            return;
        }
        self.bytes.set(self.bytes.get() + bytes as f64);
        let mut state = self.node.state.subscribe();
        loop {
            // It may change meanwhile.
            let per_second = self.node.config.settings().log_cleaner_bytes_per_second_max;
            let due_ms = due_ms(self.began_ms, self.bytes.get(), per_second);
            let now_ms = self.node.clock.monotonic_ms();
            if due_ms <= now_ms || *state.borrow() >= State::Stopping {
                return;
            }
            let until_ms = due_ms.min(now_ms.saturating_add(PACE_LOOK_MS));
            Handle::current().block_on(async {
                tokio::select! {
                    biased;
                    () = reached(&mut state, |state| state >= State::Stopping) => {}
                    () = self.node.clock.sleep_until(until_ms) => {}
                }
            });
        }
    }
}

/// When so many bytes since then are within so many in a second.
fn due_ms(began_ms: i64, bytes: f64, per_second: f64) -> i64 {
    let takes_ms = bytes / per_second.max(1.0) * 1_000.0;
    // So far off that it does not matter: a float is cut to what there is.
    began_ms.saturating_add(takes_ms as i64)
}

/// The compaction of one log. Unless it ends well, the log may be submitted again.
struct Round<'a> {
    partition: &'a Partition,
    ends_well: bool,
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if !self.ends_well {
            self.partition.give_up_compaction();
        }
    }
}

fn count(metrics: &Metrics, cleaned: &Cleaned) {
    let counted = [
        (&metrics.compactions, 1),
        (&metrics.compaction_bytes_read, cleaned.bytes_before),
        (&metrics.compaction_bytes_kept, cleaned.bytes_after),
        (&metrics.compaction_records_dropped, cleaned.records_dropped),
    ];
    for (counter, more) in counted {
        counter.fetch_add(more, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_says_when_bytes_are_due() {
        assert_eq!(due_ms(10_000, 3_000_000.0, 1_000_000.0), 13_000);
        assert_eq!(due_ms(10_000, 500.0, 1_000_000.0), 10_000);
        // Kafka's default is no rate at all.
        assert_eq!(due_ms(10_000, 1e18, f64::MAX), 10_000);
        assert_eq!(due_ms(10_000, 1e30, 0.5), i64::MAX);
    }
}
