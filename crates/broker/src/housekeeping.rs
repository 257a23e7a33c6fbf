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
    let expiry_ms = i64::from(
        shared
            .config
            .fixed()
            .producer_id_expiration_check_interval_ms,
    );
    let mut next_expiry_ms = shared.clock.now().monotonic_ms.saturating_add(expiry_ms);
    loop {
        let now = shared.clock.now();
        if now.monotonic_ms >= next_retention_ms {
            retain(&shared);
            next_retention_ms = now.monotonic_ms.saturating_add(retention_ms);
        }
        if now.monotonic_ms >= next_expiry_ms {
            expire_producers(&shared);
            next_expiry_ms = now.monotonic_ms.saturating_add(expiry_ms);
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

/// Forgets producers that have been silent for too long, so that their state does not pile up.
pub fn expire_producers(shared: &Shared) {
    let now = shared.clock.now();
    let silent_ms = i64::from(shared.config.settings().producer_id_expiration_ms);
    for topic in shared.topics.all() {
        for partition in &topic.partitions {
            // A partition that is offline has no producers to forget.
            let _expired = partition.with_state(|state| state.expire_producers(now, silent_ms));
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
