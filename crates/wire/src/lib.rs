//! Kafka's messages as Rust values: bytes in, bytes out. Knows no sockets and no broker.
//!
//! Every message is a module named after it: `rustka_wire::metadata_request::MetadataRequest`.
//! Decoded values borrow from the frame; `into_owned` lets them outlive it.

pub mod api;
pub mod codec;
mod generated;
#[cfg(feature = "json")]
pub mod json;

pub use codec::{DecodeError, Reader, Records, Splice, Uuid, Writer};
#[allow(
    unused_imports,
    reason = "empty without the features that add messages"
)]
pub use generated::*;

/// A message that can be read from a frame in any version it supports.
pub trait Decode<'a>: Sized {
    /// Reads the message, or says why it cannot be one.
    fn decode(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;
}

/// A message that can be written in any version it supports.
pub trait Encode {
    /// Writes the message; panics on a version outside the message's range.
    fn encode(&self, w: &mut Writer, version: i16);
}
