//! Where partitions keep their batches. Callers see partitions and offsets, never chunks.

pub mod memory;
pub mod waiters;
