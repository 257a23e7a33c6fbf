//! What has to be done about files now and then: the storage says what and when.

use crate::node::{Node, State, reached};
use rustka_storage::engine::ScrubPace;
use std::sync::Arc;

/// What its supervisor calls it.
pub const TASK: &str = "files";
/// Between two looks at what is to be done, in milliseconds, unless the storage wants to be asked earlier.
const ROUND_MS: i64 = 1_000;

/// Works until the broker stops.
pub async fn run(node: Arc<Node>) {
    let mut state = node.state.subscribe();
    loop {
        let now = node.clock.now();
        let latest_ms = now.monotonic_ms.saturating_add(ROUND_MS);
        let settings = node.config.settings();
        let pace = ScrubPace {
            bytes_per_second: settings.scrub_bytes_per_second.unsigned_abs(),
            interval_ms: settings.scrub_interval_ms,
        };
        node.engine.scrub(now, pace);
        let next_ms = node.engine.tick(now).unwrap_or(latest_ms);
        tokio::select! {
            biased;
            () = reached(&mut state, |state| state >= State::Stopping) => return,
            () = node.clock.sleep_until(next_ms.min(latest_ms)) => {}
        }
    }
}
