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
    /// A change of a partition is refused with KAFKA_STORAGE_ERROR, without harm to it: a batch of a client's or of a
    /// group's, or the deletion of records.
    Admit,
    /// A batch's write fails, which makes its partition read-only.
    Append,
    /// A shard of groups panics when it has decided and nothing is written yet. Armed with its journal's topic.
    Decide,
    /// A task that lives as long as the broker panics when it is next woken. Armed with the task's name in the place of
    /// a topic.
    Task,
    /// The connection is closed in the place of an answer: the work is done, the client does not know.
    Reply,
}

struct Armed {
    point: Point,
    /// The only topic it is meant for.
    topic: Option<Box<str>>,
}

/// What is armed.
#[derive(Default)]
pub struct Faults {
    count: AtomicUsize,
    armed: Mutex<Vec<Armed>>,
}

impl Faults {
    /// The next time anything passes `point`, it goes wrong; armed twice, two times.
    pub fn arm(&self, point: Point) {
        self.add(Armed { point, topic: None });
    }

    /// The same for what happens in one topic, such as `__consumer_offsets`. For `Admit` and `Append`.
    pub fn arm_in(&self, point: Point, topic: &str) {
        let topic = Some(topic.into());
        self.add(Armed { point, topic });
    }

    fn add(&self, fault: Armed) {
        let mut armed = lock(&self.armed);
        armed.push(fault);
        self.count.store(armed.len(), Relaxed);
    }

    /// Whether it goes wrong here and now.
    pub fn strikes(&self, point: Point) -> bool {
        self.count.load(Relaxed) > 0 && self.take(point, None)
    }

    /// Whether it goes wrong now in this topic.
    pub fn strikes_in(&self, point: Point, topic: &str) -> bool {
        self.count.load(Relaxed) > 0 && self.take(point, Some(topic))
    }

    #[cold]
    fn take(&self, point: Point, topic: Option<&str>) -> bool {
        let mut armed = lock(&self.armed);
        let is_meant = |fault: &Armed| match &fault.topic {
            None => true,
            Some(meant) => topic == Some(meant),
        };
        let at = armed
            .iter()
            .position(|fault| fault.point == point && is_meant(fault));
        if let Some(at) = at {
            armed.remove(at);
            self.count.store(armed.len(), Relaxed);
        }
        at.is_some()
    }
}
