//! Kafka's messages as Rust values: bytes in, bytes out. Knows no sockets and no broker.
//!
//! Every message is a module named after it: `rustka_wire::metadata_request::MetadataRequest`.
//! Decoded values borrow from the frame; `into_owned` lets them outlive it.
//!
//! ```
//! use rustka_wire::api::{request_header_version, response_header_version};
//! use rustka_wire::metadata_request::MetadataRequest;
//! use rustka_wire::metadata_response::MetadataResponse;
//! use rustka_wire::request_header::RequestHeader;
//! use rustka_wire::response_header::ResponseHeader;
//! use rustka_wire::{DecodeError, Reader, Writer};
//!
//! /// Answers the frame of a Metadata request, given without its length.
//! fn answer(frame: &[u8]) -> Result<Writer, DecodeError> {
//!     let mut r = Reader::new(frame);
//!     let mut peek = r.clone();
//!     let (key, version) = (peek.i16()?, peek.i16()?);
//!     let header = RequestHeader::decode(&mut r, request_header_version(key, version))?;
//!     let request = MetadataRequest::decode(&mut r, version)?;
//!     assert!(request.topics.is_none(), "asks for all topics");
//!
//!     let mut w = Writer::new();
//!     w.begin_frame();
//!     let correlation_id = header.correlation_id;
//!     ResponseHeader { correlation_id }.encode(&mut w, response_header_version(key, version));
//!     MetadataResponse { controller_id: 1, ..Default::default() }.encode(&mut w, version);
//!     w.end_frame();
//!     Ok(w)
//! }
//!
//! let frame = [0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
//! let answered = answer(&frame)?;
//! assert_eq!(answered.buf[..8], [0, 0, 0, 16, 0, 0, 0, 7]);
//! # Ok::<(), DecodeError>(())
//! ```
//!
//! Two things to know: a field's default is the schema's, so a nullable field is `Some` of nothing unless the
//! schema says null; and encoding leaves out what the version has no place for.

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

/// A request as its sender sees it.
#[cfg(feature = "client")]
pub trait Request: Encode {
    /// The number in the request's header.
    const KEY: i16;
    /// What answers it, in the same version.
    type Response<'a>: Decode<'a>;
}
