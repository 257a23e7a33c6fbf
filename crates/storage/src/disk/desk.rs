//! What a log's writer is to do, and how far it has come.

use super::hand::Dirty;
use super::step::Step;
use std::collections::VecDeque;

/// Bytes of batches that are held back while a sync is under way. Beyond them they are written beside it.
const HELD_BYTES_MAX: usize = 1 << 20;

/// What is to be done.
#[derive(Default)]
pub(super) struct Desk {
    pub steps: VecDeque<Step>,
    /// Bytes of batches among them.
    pub bytes: usize,
    /// Somebody waits for them to be written, durable or not.
    pub is_hurried: bool,
    /// Whatever is written is synced at once.
    pub syncs_always: bool,
    /// A job for the steps is queued or under way.
    pub is_writing: bool,
    /// A job for what is dirty is queued or under way.
    pub is_syncing: bool,
    pub dirty: Dirty,
    /// When what is dirty was seen first, on the monotonic clock.
    pub dirty_since_ms: Option<i64>,
    /// It is to be synced at once, whatever the rule.
    pub flush: bool,
    /// Up to where nothing is left to sync once `dirty` is synced.
    pub dirty_to: i64,
    /// How far it is synced is to be noted with the next sync.
    pub notes: bool,
    /// Anything was done in this life.
    pub is_touched: bool,
    /// Nothing more is to come; whether all is as Kafka believes it to be after an orderly stop.
    pub rests: Option<bool>,
    /// Up to where all is written.
    pub written: i64,
    /// Up to where all is synced, if anything was in this life.
    pub synced: Option<i64>,
    pub failed: bool,
}

impl Desk {
    /// Puts something behind the rest.
    pub fn put(&mut self, step: Step) {
        self.is_hurried |= matches!(step, Step::Clear { .. });
        self.bytes += match &step {
            Step::Write(write) => write.bytes.len(),
            _ => 0,
        };
        self.steps.push_back(step);
    }

    /// What is there is to be written soon, also while a sync is under way.
    pub fn hurry(&mut self) {
        self.is_hurried = !self.steps.is_empty();
    }

    /// Takes all that is to be written.
    pub fn take_steps(&mut self) -> VecDeque<Step> {
        self.bytes = 0;
        self.is_hurried = false;
        std::mem::take(&mut self.steps)
    }

    /// Whether a job is to be queued for what is to be written; it counts as queued from then on.
    pub fn begins_to_write(&mut self) -> bool {
        let begins = !self.is_writing && !self.steps.is_empty() && !self.is_held();
        self.is_writing |= begins;
        begins
    }

    /// Whether what has come is left to whoever syncs: it writes that before it syncs next, and so no other thread has to
    /// be woken. Nobody misses it meanwhile, but those who wait for no more than that it is written.
    fn is_held(&self) -> bool {
        self.syncs_always && self.is_syncing && !self.is_hurried && self.bytes < HELD_BYTES_MAX
    }

    /// Up to where it is synced, if that is to be noted.
    pub fn take_news(&mut self) -> Option<i64> {
        let is_news = std::mem::take(&mut self.notes);
        self.synced.filter(|_| is_news)
    }
}
