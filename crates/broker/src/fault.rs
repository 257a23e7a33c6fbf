//! Faults on purpose, for tests of clients and of the broker itself: armed at named points, and one relaxed load each
//! while nothing is armed.

use rustka_core::sync::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where something can be made to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A new connection is closed at once.
    Accept,
    /// A request's connection is closed before anything was done.
    Dispatch,
    /// A batch is refused with KAFKA_STORAGE_ERROR, without harm to its partition.
    Admit,
    /// A batch's write fails, which makes its partition read-only.
    Append,
    /// The connection is closed in the place of an answer: the work is done, the client does not know.
    Reply,
}

/// What is armed.
#[derive(Default)]
pub struct Faults {
    count: AtomicUsize,
    armed: Mutex<Vec<Point>>,
}

impl Faults {
    /// The next time anything passes `point`, it goes wrong; armed twice, two times.
    pub fn arm(&self, point: Point) {
        let mut armed = lock(&self.armed);
        armed.push(point);
        self.count.store(armed.len(), Relaxed);
    }

    /// Whether it goes wrong here and now.
    pub fn strikes(&self, point: Point) -> bool {
        self.count.load(Relaxed) > 0 && self.take(point)
    }

    #[cold]
    fn take(&self, point: Point) -> bool {
        let mut armed = lock(&self.armed);
        let at = armed.iter().position(|other| *other == point);
        if let Some(at) = at {
            armed.remove(at);
            self.count.store(armed.len(), Relaxed);
        }
        at.is_some()
    }
}
