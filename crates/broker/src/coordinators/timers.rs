//! When something in the shards of one kind is due next, and the wait for it.

use super::shard::{Host, NEVER_MS, Shard};
use crate::node::Node;
use rustka_core::machine::Machine;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use tokio::sync::Notify;

/// What the task of one kind of shards sleeps until.
pub struct Timers {
    armed_ms: AtomicI64,
    earlier: Notify,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            armed_ms: AtomicI64::new(NEVER_MS),
            earlier: Notify::new(),
        }
    }
}

impl Timers {
    /// A shard has this deadline now; it wakes the task if that is earlier than what it sleeps until.
    pub fn set(&self, deadline_ms: Option<i64>) {
        if deadline_ms.is_some_and(|at_ms| at_ms < self.armed_ms.load(SeqCst)) {
            self.wake();
        }
    }

    /// Wakes the task, which has something else to do.
    pub fn wake(&self) {
        self.earlier.notify_one();
    }

    /// Calls every shard in which something is due; the next deadline of them all.
    pub fn expire<'a, M: Machine + 'a>(
        &self,
        shards: impl Iterator<Item = &'a Shard<M>>,
        host: &dyn Host<M>,
    ) -> i64 {
        // Until the scan is over every new deadline wakes the task again: none is lost.
        self.armed_ms.store(NEVER_MS, SeqCst);
        let now = host.now();
        let mut next_ms = NEVER_MS;
        for shard in shards {
            if shard.is_due(now) {
                shard.expire(host, now);
            }
            next_ms = next_ms.min(shard.deadline_ms());
        }
        self.armed_ms.store(next_ms, SeqCst);
        next_ms
    }

    /// Waits until this deadline, or until the task is woken.
    pub async fn wait(&self, node: &Node, next_ms: i64) {
        let due = async {
            match next_ms {
                NEVER_MS => std::future::pending().await,
                at_ms => node.clock.sleep_until(at_ms).await,
            }
        };
        tokio::select! {
            biased;
            () = self.earlier.notified() => {}
            () = due => {}
        }
    }
}
