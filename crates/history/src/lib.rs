//! Transactions judged from outside: what clients asked for, what they were told and what they read, and whether all of
//! that can be true of a broker that keeps its promises.
//!
//! [`history`] says what is written down, also of requests whose outcome nobody knows. [`check`] finds what must not be in
//! it. [`simulation`] makes histories from a seed: the machines of `rustka-core` as a broker that crashes, on a network
//! that loses, delays and repeats, with clients of both protocols. It can be told to make one mistake, for the test that
//! each is found.
//!
//! Nothing in `history` and `check` knows the simulation: a test that drives a real broker writes the same history down.

pub mod check;
pub mod history;
pub mod simulation;

pub use check::{Anomaly, Kind, check};
pub use history::History;
