//! Which logs are to be compacted.

use rustka_core::sync::{Guard, lock};
use rustka_storage::Partition;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::Notify;

/// Logs to be compacted, and what was done so far.
#[derive(Default)]
pub struct Compactor {
    queue: Mutex<Queue>,
    /// Told when there is one more.
    pub more: Notify,
    /// Memory is full.
    pressed: AtomicBool,
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

    /// Has everything compacted that may be, since memory is full and a write was refused for it.
    pub fn press(&self) {
        if !self.pressed.swap(true, Relaxed) {
            self.queue().settled_until_ms = None;
            self.more.notify_one();
        }
    }

    /// Whether that is asked for.
    pub fn is_pressed(&self) -> bool {
        self.pressed.load(Relaxed)
    }

    /// Whether that was asked for since the last time somebody looked.
    pub fn take_pressed(&self) -> bool {
        self.pressed.swap(false, Relaxed)
    }

    /// Whether everything is done that is due at this time of the monotonic clock.
    pub fn is_settled(&self, monotonic_ms: i64) -> bool {
        let until_ms = self.queue().settled_until_ms;
        until_ms.is_some_and(|until_ms| until_ms > monotonic_ms)
    }

    fn queue(&self) -> Guard<'_, Queue> {
        lock(&self.queue)
    }

    /// The next log, or the news that there is none before `next_look_ms`.
    pub fn next(&self, next_look_ms: i64) -> Option<Weak<Partition>> {
        let mut queue = self.queue();
        let next = queue.due.pop_front();
        queue.settled_until_ms = next.is_none().then_some(next_look_ms);
        next
    }
}
