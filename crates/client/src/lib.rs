//! A small Kafka client over any byte stream: TCP, TLS, or a broker in the same process.
//!
//! ```no_run
//! # async fn example() -> rustka_client::Result<()> {
//! use rustka_client::{Client, ConsumeOptions, Consumer, NewRecord, ProduceOptions, Producer, Start};
//!
//! let client = Client::at("127.0.0.1:9092")?;
//! client.create_topic("greetings", 3, 1).await?;
//! let mut producer = Producer::new(&client, ProduceOptions::default());
//! producer.send("greetings", &[NewRecord::value("hello").key("en")]).await?;
//! let mut consumer = Consumer::new(&client, ConsumeOptions::default());
//! consumer.assign_all("greetings", Start::Earliest).await?;
//! while let Some(fetched) = consumer.poll().await? {
//!     println!("{}-{}: {:?}", fetched.topic, fetched.partition, fetched.records);
//! }
//! # Ok(()) }
//! ```
//!
//! From below: [`frame`] makes requests to bytes and bytes to answers, [`incoming`] cuts a stream into frames,
//! [`connection`] is one connection with one owner, [`channel`] one that many share. [`Client`] knows the cluster and whom to
//! ask; [`Producer`], [`Consumer`], [`GroupConsumer`] and the calls of administrators stand on it.
//!
//! It starts no tasks: whoever waits for an answer drives its connection. What comes from a broker is believed as little as
//! what comes to one: no length takes memory before its bytes are there.

mod admin;
pub mod assignor;
pub mod channel;
mod client;
pub mod clock;
mod cluster;
pub mod connection;
mod consume;
pub mod dial;
pub mod error;
pub mod frame;
mod group;
pub mod incoming;
pub mod login;
mod offsets;
pub mod partitioner;
mod produce;
pub mod record;
mod sync;
pub mod versions;

pub use admin::{
    Committed, GroupDescription, MemberDescription, NewPassword, QuotaEntity, QuotaMatch, Resource,
    ScramChange, TransactionFilter,
};
pub use channel::Channel;
pub use client::{Client, ClientOptions, To};
pub use clock::{Clock, SystemClock};
pub use cluster::{Coordinated, Topic};
pub use connection::Connection;
pub use consume::{ConsumeOptions, Consumer, Fetched, Place};
#[cfg(feature = "tcp")]
pub use dial::Tcp;
pub use dial::{Address, BoxFuture, BoxStream, Dial, Login, Stream};
pub use error::{Error, Reason, Result};
pub use frame::{Answer, RawAnswer};
pub use group::{GroupConsumer, GroupOptions, GroupProtocol};
pub use login::{PasswordLogin, PasswordMechanism};
pub use offsets::{Isolation, Start};
pub use produce::{ProduceOptions, Producer, Written};
pub use record::{NewRecord, Record};
pub use versions::Versions;
