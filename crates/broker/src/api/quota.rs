//! Asks the quota meter on behalf of a request: before it is served, and again before its answer is encoded.

use crate::api::access::Caller;
use crate::node::Node;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The request's time still runs.
const RUNNING: u64 = u64::MAX;

/// What one request has to wait for after its answer. There is none while no meter is set.
pub struct Bill {
    node: Arc<Node>,
    caller: Caller,
    began_us: u64,
    used_us: AtomicU64,
    before_ms: u32,
    total_ms: OnceLock<u32>,
}

impl Bill {
    /// Charges a request of `bytes`, if there is anybody to charge it.
    pub fn open(node: &Arc<Node>, caller: &Caller, bytes: usize) -> Option<Arc<Bill>> {
        let meter = node.hooks.quota.as_ref()?;
        if caller.peer().is_own {
            return None;
        }
        Some(Arc::new(Bill {
            before_ms: meter.charge(&caller.context(), bytes),
            node: node.clone(),
            caller: caller.clone(),
            began_us: node.clock.monotonic_us(),
            used_us: AtomicU64::new(RUNNING),
            total_ms: OnceLock::new(),
        }))
    }

    /// The request waits for something from here on, which costs nothing.
    pub fn pause(&self) {
        self.used_us.store(self.running_us(), Relaxed);
    }

    fn running_us(&self) -> u64 {
        let now_us = self.node.clock.monotonic_us();
        now_us.saturating_sub(self.began_us)
    }

    /// Charges the answer, of so many bytes of records, and the time used until now; the first call does. What comes
    /// back is the wait in milliseconds.
    pub fn settle(&self, bytes: usize) -> u32 {
        *self.total_ms.get_or_init(|| {
            let used_us = match self.used_us.load(Relaxed) {
                RUNNING => self.running_us(),
                paused => paused,
            };
            let meter = self.node.hooks.quota.as_ref();
            let used = Duration::from_micros(used_us);
            let after_ms = meter.map_or(0, |meter| {
                meter.charge_answer(&self.caller.context(), bytes, used)
            });
            self.before_ms.max(after_ms)
        })
    }
}
