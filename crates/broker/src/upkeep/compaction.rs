//! Which logs are to be compacted, and the task that does it: one log at a time, on a thread for long work.
//!
//! What is due and what stays is decided by `storage::partition` and core.

use crate::base::metrics::Metrics;
use crate::base::random;
use crate::broker::{Shared, State, reached};
use crate::storage::Partition;
use crate::storage::partition::Cleaned;
use rustka_core::sync::lock;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tokio::sync::Notify;

/// Logs to be compacted, and what was done so far.
#[derive(Default)]
pub struct Compactor {
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Default)]
struct Queue {
    due: VecDeque<Weak<Partition>>,
    /// Nothing is left to be done before the monotonic clock shows this; nothing while there is work.
    settled_until_ms: Option<i64>,
}

impl Compactor {
    /// Has a log compacted that was found to be due. Each log is due once at most, so this is bounded by their number.
    pub fn submit(&self, partition: &Arc<Partition>) {
        let mut queue = self.queue();
        queue.due.push_back(Arc::downgrade(partition));
        queue.settled_until_ms = None;
        drop(queue);
        self.more.notify_one();
    }

    /// Whether everything is done that is due at this time of the monotonic clock.
    pub fn is_settled(&self, monotonic_ms: i64) -> bool {
        let until_ms = self.queue().settled_until_ms;
        until_ms.is_some_and(|until_ms| until_ms > monotonic_ms)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// The next log, or the news that there is none before `next_look_ms`.
    fn next(&self, next_look_ms: i64) -> Option<Weak<Partition>> {
        let mut queue = self.queue();
        let next = queue.due.pop_front();
        queue.settled_until_ms = next.is_none().then_some(next_look_ms);
        next
    }
}

/// Works until the broker stops.
pub async fn run(shared: Arc<Shared>) {
    let mut state = shared.state.subscribe();
    let mut next_look_ms = i64::MIN;
    loop {
        let now = shared.clock.now();
        if now.monotonic_ms >= next_look_ms {
            look_at_all(&shared);
            let backoff_ms = shared.config.settings().log_cleaner_backoff_ms.max(1);
            next_look_ms = now.monotonic_ms.saturating_add(backoff_ms);
        }
        if let Some(partition) = shared.compactor.next(next_look_ms) {
            if let Some(partition) = partition.upgrade() {
                compact(&shared, partition).await;
            }
            if *state.borrow() == State::Stopped {
                return;
            }
            continue;
        }
        tokio::select! {
            () = shared.compactor.more.notified() => {}
            () = shared.clock.sleep_until(next_look_ms) => {}
            () = reached(&mut state, |state| state == State::Stopped) => return,
        }
    }
}

/// Submits every log that is due.
fn look_at_all(shared: &Shared) {
    if !shared.config.settings().log_cleaner {
        return;
    }
    let now = shared.clock.now();
    for topic in shared.topics.all() {
        for partition in topic.partitions.iter().filter(|_| topic.config.compact) {
            if partition.wants_compaction(now) {
                shared.compactor.submit(partition);
            }
        }
    }
}

async fn compact(shared: &Arc<Shared>, partition: Arc<Partition>) {
    if !shared.config.settings().log_cleaner {
        partition.give_up_compaction();
        return;
    }
    let work = {
        let (shared, partition) = (shared.clone(), partition.clone());
        move || {
            let seed = u64::from(random::u32());
            partition.compact(&shared.pool, shared.clock.now(), seed)
        }
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(cleaned) => {
            count(&shared.metrics, &cleaned);
            if cleaned.again {
                shared.compactor.submit(&partition);
            }
        }
        Err(error) => {
            tracing::error!(target: "rustka::compaction", "compaction failed unexpectedly: {error}");
            partition.give_up_compaction();
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
