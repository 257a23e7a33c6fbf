//! Rustka's decisions: what a Kafka broker must answer, without sockets, files, clocks or chance.
//!
//! Everything here touches memory only. Time and random numbers come in as arguments, effects go out as values.
pub mod account;
pub mod batch;
pub mod catalog;
pub mod cluster;
pub mod compression;
pub mod config;
pub mod epochs;
pub mod error;
pub mod expression;
pub mod fetch;
pub mod group;
pub mod log;
pub mod machine;
pub mod names;
pub mod producers;
pub mod security;
mod small_map;
pub mod sync;
pub mod telemetry;
pub mod time;
pub mod topic_ids;
pub mod transaction;
pub mod validate;
