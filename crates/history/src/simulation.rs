//! Histories from a seed: a broker made of the machines of `rustka-core`, a network, and clients.
//!
//! What the real broker adds to its machines (asking the coordinator before a write, writing the markers, holding answers
//! back) is written here a second time and in few lines, with the order of events left to chance. [`Fault`]s are made in
//! these lines.

mod broker;
mod chance;
mod client;
mod fault;
mod host;
mod partition;
mod reader;
mod request;
mod world;

pub use fault::Fault;
pub use world::{Run, run};
