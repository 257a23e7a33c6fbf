//! What has to be done now and then: retention, idle connections.

use crate::broker::{Shared, State, reached};
use crate::storage::Rules;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Between two rounds, in milliseconds.
const ROUND_MS: i64 = 1_000;

/// Retention is looked at at least this often.
const RETENTION_MS_MAX: i64 = 10_000;

/// Works until the broker stops.
pub async fn run(shared: Arc<Shared>) {
    let mut state = shared.state.subscribe();
    let idle_max_ms = shared.config.fixed().connections_idle_ms_max;
    let retention_ms = shared.config.fixed().log_retention_check_interval_ms;
    // More often than Kafka does by default: chunks are small, and memory is dear.
    let retention_ms = retention_ms.clamp(1, RETENTION_MS_MAX);
    let mut next_retention_ms = 0;
    loop {
        let now = shared.clock.now();
        if now.monotonic_ms >= next_retention_ms {
            retain(&shared);
            next_retention_ms = now.monotonic_ms.saturating_add(retention_ms);
        }
        if idle_max_ms >= 0 {
            close_idle(&shared, now.monotonic_ms.saturating_sub(idle_max_ms));
        }
        let next_round_ms = now
            .monotonic_ms
            .saturating_add(ROUND_MS)
            .min(next_retention_ms);
        tokio::select! {
            () = shared.clock.sleep_until(next_round_ms) => {}
            () = reached(&mut state, |state| state == State::Stopped) => return,
        }
    }
}

/// Applies every topic's retention once.
pub fn retain(shared: &Shared) {
    let now = shared.clock.now();
    for topic in shared.topics.all() {
        let config = &topic.config;
        let rules = Rules {
            retention_ms: config.retention_ms,
            retention_bytes: config.retention_bytes,
            segment_ms: config.segment_ms,
            delete: config.delete,
        };
        for partition in &topic.partitions {
            partition.retain(&rules, now);
        }
    }
}

fn close_idle(shared: &Shared, since_ms: i64) {
    let idle: Vec<_> = match shared.peers.lock() {
        Ok(peers) => peers
            .values()
            .filter(|peer| !peer.is_busy() && peer.active_ms.load(Relaxed) < since_ms)
            .cloned()
            .collect(),
        Err(_) => return,
    };
    for peer in idle {
        tracing::debug!("closing the idle connection from {}", peer.address);
        peer.close();
    }
}
