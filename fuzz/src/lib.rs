//! What the fuzz targets do with their input. A function here panics if the broker could be hurt by these bytes.
//!
//! `fuzz_targets/` hands them to libFuzzer; `crates/broker/tests/seeds.rs` includes this file and runs the targets on the
//! seeds and their neighbours, without a fuzzer.

mod batches;
mod codecs;
mod files;
mod frames;
mod memory;
mod seeds;

pub use batches::batch;
pub use codecs::{gzip, lz4, snappy, zstd};
pub use files::{checkpoint, index, segment, snapshot};
pub use frames::frames;
pub use seeds::{neighbours, seeds};
