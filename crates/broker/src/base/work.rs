//! Work that takes longer than a connection may hold its thread: inflating at length, searching compressed batches.

use std::sync::Arc;
use tokio::sync::Semaphore;

/// A small pool: no more of such work at a time than leaves a processor for everything else.
#[derive(Clone)]
pub struct Work(Arc<Semaphore>);

impl Default for Work {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Work::new(processors.saturating_sub(1))
    }
}

impl Work {
    /// A pool with so many places, and with at least one.
    pub fn new(places: usize) -> Work {
        Work(Arc::new(Semaphore::new(places.max(1))))
    }

    /// Does one piece of work once it is its turn; nothing when it panicked or the broker is gone.
    /// What waits is bounded by the connections, each of which waits for one piece.
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let permit = self.0.clone().acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        done.await.ok()
    }
}
