//! What the fuzz targets do with their input. A function here panics if the broker could be hurt by these bytes.
//!
//! `fuzz_targets/` hands them to libFuzzer; `crates/broker/tests/corpus.rs` includes this file and replays the corpus
//! and everything that was ever found, without a fuzzer.

mod batches;
mod codecs;
mod frames;
mod memory;

pub use batches::batch;
pub use codecs::{gzip, lz4, snappy, zstd};
pub use frames::{frames, join};
