//! Plays scenarios, scripted conversations with a broker, against a real Apache Kafka to record its answers and against
//! Rustka to compare. Only tests and `cargo xtask oracle` use it.

pub mod batch;
pub mod compare;
pub mod journal;
mod line;
mod outcome;
pub mod play;
pub mod sample;
mod sasl;
pub mod scenario;
pub mod schema;
