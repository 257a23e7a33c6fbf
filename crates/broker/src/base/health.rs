//! Which of the tasks that live as long as the broker keep failing.

use rustka_core::sync::lock;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// The names of tasks that have ended by a panic and have not run steadily since.
#[derive(Default)]
pub struct Health {
    failing: Mutex<BTreeSet<Arc<str>>>,
}

impl Health {
    /// A task has ended by a panic.
    pub fn fails(&self, task: &Arc<str>) {
        lock(&self.failing).insert(task.clone());
    }

    /// It has run for a while since.
    pub fn recovers(&self, task: &Arc<str>) {
        lock(&self.failing).remove(task);
    }

    /// What fails now, by name.
    pub fn failing(&self) -> Vec<Arc<str>> {
        lock(&self.failing).iter().cloned().collect()
    }
}
