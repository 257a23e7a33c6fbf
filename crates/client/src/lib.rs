//! A small Kafka client over any byte stream: TCP, TLS, or a broker in the same process.
//!
//! From below: [`frame`] makes requests to bytes and bytes to answers, [`incoming`] cuts a stream into frames,
//! [`connection`] is one connection with one owner, [`channel`] one that many share.
//!
//! It starts no tasks: whoever waits for an answer drives its connection.

pub mod channel;
pub mod clock;
pub mod connection;
pub mod dial;
pub mod error;
pub mod frame;
pub mod incoming;
pub mod versions;

pub use channel::Channel;
pub use clock::{Clock, SystemClock};
pub use connection::Connection;
#[cfg(feature = "tcp")]
pub use dial::Tcp;
pub use dial::{Address, BoxFuture, BoxStream, Dial, Login, Stream};
pub use error::{Error, Reason, Result};
pub use frame::{Answer, RawAnswer};
pub use versions::Versions;
