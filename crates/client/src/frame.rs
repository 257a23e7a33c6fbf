//! Requests to bytes, and bytes to answers: lengths, headers and numbers. Knows no stream.

use std::marker::PhantomData;

use rustka_wire::api::{ApiKey, request_header_version, response_header_version};
use rustka_wire::request_header::RequestHeader;
use rustka_wire::response_header::ResponseHeader;
use rustka_wire::{Decode, DecodeError, Encode, Reader, Request, Writer};

use crate::error::{Problem, Reason, Result};

/// Where a request's number stands in its frame, which one can change to send the same bytes again.
pub const CORRELATION_AT: std::ops::Range<usize> = 8..12;

/// Memory that the arrays of an answer may take for each of its bytes, or all that any answer may take at least.
const BUDGET_PER_BYTE: usize = 32;

/// Most requests are shorter; for those that are not, memory grows.
const REQUEST_BYTES: usize = 256;

/// What stands in front of a request's body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Which request.
    pub key: i16,
    /// In which version.
    pub version: i16,
    /// The number that its answer repeats.
    pub correlation: i32,
    /// Who asks.
    pub client_id: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// The head of a request of this kind.
    pub fn of<R: Request>(version: i16, correlation: i32, client_id: &'a str) -> Head<'a> {
        Head {
            key: R::KEY,
            version,
            correlation,
            client_id: Some(client_id),
        }
    }
}

/// The frame of a request, its length in front. Where the body has spliced records there are gaps to be filled, which the
/// length counts.
pub fn write(head: &Head<'_>, body: &impl Encode) -> Writer {
    let header_version = request_header_version(head.key, head.version);
    write_with(head, header_version, |w| body.encode(w, head.version))
}

/// A frame whose body the caller writes, behind a header of this version.
pub fn write_with(head: &Head<'_>, header_version: i16, body: impl FnOnce(&mut Writer)) -> Writer {
    let mut w = Writer::with_capacity(REQUEST_BYTES);
    w.begin_frame();
    let header = RequestHeader {
        request_api_key: head.key,
        request_api_version: head.version,
        correlation_id: head.correlation,
        client_id: head.client_id.map(Into::into),
    };
    header.encode(&mut w, header_version);
    body(&mut w);
    w.end_frame();
    w
}

/// The bytes of a request's frame, which has no gaps.
pub fn encode(head: &Head<'_>, body: &impl Encode) -> Vec<u8> {
    let w = write(head, body);
    assert!(w.splices.is_empty(), "records of a request are bytes");
    w.buf
}

/// Kafka's name for a request.
pub fn name_of(key: i16) -> &'static str {
    ApiKey::find(key).map_or("an unknown request", |api| api.name)
}

/// The number of an answer and its body, given without its length.
pub fn split(answer: &[u8], header_version: i16) -> std::result::Result<(i32, &[u8]), DecodeError> {
    let mut reader = Reader::new(answer);
    let header = ResponseHeader::decode(&mut reader, header_version)?;
    Ok((header.correlation_id, reader.rest()))
}

/// A frame as it came: bytes without their length.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    bytes: Vec<u8>,
    from: usize,
}

impl Frame {
    /// The bytes of `bytes` from there on.
    pub(crate) fn new(bytes: Vec<u8>, from: usize) -> Frame {
        Frame { bytes, from }
    }

    /// What follows the length.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }
}

/// An answer whose kind only its reader knows.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    frame: Frame,
    key: i16,
    version: i16,
    body: usize,
}

impl RawAnswer {
    /// The frame as an answer of this kind; `expected` is its number, unless that does not matter.
    pub fn read(frame: Frame, key: i16, version: i16, expected: Option<i32>) -> Result<RawAnswer> {
        let malformed = |problem| Reason::Malformed {
            doing: name_of(key),
            problem,
        };
        let (found, body) = split(frame.bytes(), response_header_version(key, version))
            .map_err(|error| malformed(Problem::Decode(error)))?;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(malformed(Problem::Correlation { expected, found }).into());
        }
        let body = frame.bytes().len() - body.len();
        Ok(RawAnswer {
            frame,
            key,
            version,
            body,
        })
    }

    /// The version it is in.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The bytes behind the header.
    pub fn body_bytes(&self) -> &[u8] {
        self.frame.bytes().get(self.body..).unwrap_or_default()
    }

    /// All of the body as this message.
    pub fn decode<'a, T: Decode<'a>>(&'a self) -> Result<T> {
        self.decode_as(self.version)
    }

    /// The same in another version, which the broker may have chosen.
    pub fn decode_as<'a, T: Decode<'a>>(&'a self, version: i16) -> Result<T> {
        let malformed = |problem| Reason::Malformed {
            doing: name_of(self.key),
            problem,
        };
        let bytes = self.body_bytes();
        let budget =
            rustka_wire::codec::BUDGET_DEFAULT.max(bytes.len().saturating_mul(BUDGET_PER_BYTE));
        let mut reader = Reader::with_budget(bytes, budget);
        let body =
            T::decode(&mut reader, version).map_err(|error| malformed(Problem::Decode(error)))?;
        if !reader.is_empty() {
            return Err(malformed(Problem::LeftOver(reader.remaining())).into());
        }
        Ok(body)
    }
}

/// The answer to a request of kind `R`.
#[derive(Clone, Debug)]
pub struct Answer<R> {
    raw: RawAnswer,
    kind: PhantomData<fn() -> R>,
}

impl<R: Request> Answer<R> {
    /// Takes the answer for one of this kind.
    pub fn of(raw: RawAnswer) -> Answer<R> {
        Answer {
            raw,
            kind: PhantomData,
        }
    }

    /// The version it is in.
    pub fn version(&self) -> i16 {
        self.raw.version
    }

    /// The same, of no kind.
    pub fn raw(&self) -> &RawAnswer {
        &self.raw
    }

    /// What it says, borrowed from its bytes.
    pub fn body(&self) -> Result<R::Response<'_>> {
        self.raw.decode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka_wire::heartbeat_request::HeartbeatRequest;
    use rustka_wire::heartbeat_response::HeartbeatResponse;

    fn head(version: i16) -> Head<'static> {
        Head::of::<HeartbeatRequest<'_>>(version, 7, "me")
    }

    #[test]
    fn a_request_has_its_length_header_and_body() {
        let bytes = encode(&head(3), &HeartbeatRequest::default());
        assert_eq!(bytes[..4], (bytes.len() as u32 - 4).to_be_bytes());
        assert_eq!(bytes[4..14], [0, 12, 0, 3, 0, 0, 0, 7, 0, 2]);
        assert_eq!(bytes[CORRELATION_AT], [0, 0, 0, 7]);
        // From version 4 on there are tagged fields: none in the header, none in the body.
        let flexible = encode(&head(4), &HeartbeatRequest::default());
        assert_eq!(flexible[14..17], [b'm', b'e', 0]);
    }

    #[test]
    fn an_answer_is_read_only_if_it_is_that_and_nothing_more() {
        let mut w = Writer::new();
        ResponseHeader { correlation_id: 7 }.encode(&mut w, 1);
        HeartbeatResponse::default().encode(&mut w, 4);
        let read = |bytes: &[u8], expected| {
            let frame = Frame::new(bytes.to_vec(), 0);
            let raw = RawAnswer::read(frame, HeartbeatRequest::KEY, 4, expected)?;
            Answer::<HeartbeatRequest<'_>>::of(raw).body()
        };
        assert_eq!(read(&w.buf, Some(7)).unwrap().error_code, 0);
        let mismatch = read(&w.buf, Some(8)).unwrap_err().to_string();
        assert!(mismatch.contains("number 7, not 8"), "{mismatch}");
        let short = read(&w.buf[..w.buf.len() - 1], Some(7)).unwrap_err();
        assert!(short.to_string().contains("ends before"), "{short}");
        let long = [&w.buf[..], &[0]].concat();
        let long = read(&long, Some(7)).unwrap_err();
        assert!(long.to_string().contains("1 bytes are left over"), "{long}");
    }
}
