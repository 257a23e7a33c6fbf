//! Work that takes longer than a connection may hold its thread: inflating at length, searching compressed batches.

use std::sync::Arc;
use tokio::sync::Semaphore;

/// A small pool: no more of such work at a time than leaves a processor for everything else.
#[derive(Clone)]
pub struct Work {
    places: Arc<Semaphore>,
    count: u32,
}

impl Default for Work {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Work::new(processors.saturating_sub(1))
    }
}

impl Work {
    /// A pool with so many places, and with at least one.
    pub fn new(places: usize) -> Work {
        let count = u32::try_from(places.max(1)).unwrap_or(u32::MAX);
        Work {
            places: Arc::new(Semaphore::new(count as usize)),
            count,
        }
    }

    /// Waits until everything is done that waits now.
    pub async fn finished(&self) {
        // Whoever asks for places first gets them first. An error means that there will be no more work.
        let _all = self.places.acquire_many(self.count).await;
    }

    /// Does one piece of work once it is its turn; nothing when it panicked or the broker is gone.
    /// What waits is bounded by the connections, each of which waits for one piece.
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let permit = self.places.clone().acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        done.await.ok()
    }
}
