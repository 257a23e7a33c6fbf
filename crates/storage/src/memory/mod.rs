//! Batches in memory, in chunks that are closed and dropped as a whole.
//!
//! A small batch is copied into its partition's open chunk; a large one stays in the frame it arrived in, which then
//! is a chunk of its own. Chunks grow while a partition fills them and their memory is used again after retention.

mod chunk;
mod log;
mod order;
mod sink;
#[cfg(test)]
mod tests;

use super::engine::{Engine, OpenFailed, Opened, PartitionName};
use super::limit::Memory;
use super::partition::Partition;
pub(super) use log::MemoryLog;
pub(super) use order::{Order, Place};
use rustka_core::error::Refusal;
use std::sync::{Arc, Weak};

/// Sizes of the chunks that small batches are copied into, each used once the one before it was filled and the log
/// holds as much.
const CHUNK_BYTES: [usize; 6] = [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// The engine that keeps everything in memory; what is appended is as durable as it gets.
pub struct MemoryEngine {
    memory: Arc<Memory>,
    order: Arc<Order>,
}

impl MemoryEngine {
    /// An engine in this memory.
    pub fn new(memory: Arc<Memory>) -> MemoryEngine {
        MemoryEngine {
            memory,
            order: Arc::default(),
        }
    }
}

impl Engine for MemoryEngine {
    fn open(
        &self,
        home: &Weak<Partition>,
        _name: &PartitionName<'_>,
    ) -> Result<Opened, OpenFailed> {
        let place = Place::new(self.order.clone(), home.clone());
        let log = MemoryLog::new(self.memory.pool.clone(), place);
        Ok(Opened::new(Box::new(log)))
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    fn make_room(&self) -> Result<(), Refusal> {
        self.memory
            .make_room(|| self.order.evict(), || self.order.has_any())
    }
}
