//! A Kafka broker as a library: many per process, in memory, started in milliseconds.
//!
//! ```
//! let broker = rustka::Broker::builder().port(0).http_port(0).start()?;
//! assert!(broker.bootstrap().starts_with("127.0.0.1:"));
//! # Ok::<(), rustka::StartError>(())
//! ```
//! The library installs no allocator, no signal handler and no log subscriber, and runs inside or outside of a runtime.

mod addresses;
pub mod alter;
pub mod apis;
pub mod authorize;
pub mod broker;
pub mod budget;
pub mod buffer;
pub mod clock;
pub mod compaction;
pub mod config;
pub mod connection;
mod endpoints;
pub mod fault;
pub mod features;
pub mod groups;
pub mod handlers;
mod heap;
pub mod hooks;
pub mod housekeeping;
#[cfg(feature = "http")]
pub mod http;
pub mod listener;
pub mod loggers;
pub mod metrics;
pub mod options;
pub mod out;
pub mod peers;
mod producer_ids;
mod random;
mod rate;
pub mod request;
pub mod storage;
pub mod topics;
pub mod transport;
pub mod work;

pub use broker::{Broker, StartError};
pub use clock::Clock;
pub use loggers::LogControl;
pub use options::Options;
