//! A Kafka broker as a library: many per process, in memory, started in milliseconds.
//!
//! ```
//! let broker = rustka::Broker::builder().port(0).http_port(0).start()?;
//! assert!(broker.bootstrap().starts_with("127.0.0.1:"));
//! # Ok::<(), rustka::StartError>(())
//! ```
//! The library installs no allocator, no signal handler and no log subscriber, and runs inside or outside of a runtime.

pub mod api;
pub mod apis;
pub mod base;
pub mod broker;
pub mod coordinators;
pub mod handlers;
#[cfg(feature = "http")]
pub mod http;
pub mod net;
pub mod node;
pub mod options;
pub mod upkeep;

pub use base::clock::Clock;
pub use base::loggers::LogControl;
pub use base::start::StartError;
pub use base::{fault, hooks, init};
pub use broker::Broker;
pub use options::Options;
pub use rustka_storage as storage;
