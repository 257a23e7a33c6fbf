//! The places of HTTP connections. There are few; when all are taken, whoever has not asked for longest gives way.

use rustka_core::sync::lock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Connections served at a time.
pub const CONNECTIONS_MAX: usize = 64;

/// The connections that are open.
#[derive(Default)]
pub struct Places(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    by_number: BTreeMap<u64, Arc<Usage>>,
}

/// What is known of one connection.
pub struct Usage {
    /// When it came or began its last request, in monotonic milliseconds.
    asked_ms: AtomicI64,
    /// Told when its place goes to another one.
    displaced: Notify,
}

/// A connection's place, free again when this is dropped.
pub struct Place {
    places: Arc<Places>,
    number: u64,
    usage: Arc<Usage>,
}

impl Places {
    /// A place for a new connection, if need be that of the one which has not asked for longest.
    pub fn enter(self: &Arc<Places>, now_ms: i64) -> Place {
        let usage = Arc::new(Usage {
            asked_ms: AtomicI64::new(now_ms),
            displaced: Notify::new(),
        });
        let mut open = lock(&self.0);
        let number = open.next;
        open.next += 1;
        if open.by_number.len() >= CONNECTIONS_MAX {
            open.displace_oldest();
        }
        open.by_number.insert(number, usage.clone());
        Place {
            places: self.clone(),
            number,
            usage,
        }
    }
}

impl Open {
    fn displace_oldest(&mut self) {
        let usages = self.by_number.iter();
        let oldest = usages.min_by_key(|(number, usage)| (usage.asked_ms.load(Relaxed), **number));
        let Some(number) = oldest.map(|(number, _)| *number) else {
            return;
        };
        if let Some(usage) = self.by_number.remove(&number) {
            usage.displaced.notify_one();
        }
    }
}

impl Usage {
    /// A request begins, or its answer moves.
    pub fn asks(&self, now_ms: i64) {
        self.asked_ms.store(now_ms, Relaxed);
    }
}

impl Place {
    /// The connection's usage.
    pub fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// When it came or began its last request.
    pub fn asked_ms(&self) -> i64 {
        self.usage.asked_ms.load(Relaxed)
    }

    /// Waits until the place goes to another connection.
    pub async fn displaced(&self) {
        self.usage.displaced.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.0).by_number.remove(&self.number);
    }
}
