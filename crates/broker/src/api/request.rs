//! One request on its way to a handler, and what can come back.

use crate::api::access::Caller;
use crate::api::parts::Parts;
use crate::api::quota::Bill;
use crate::api::reply::Reply;
use crate::node::{Node, Peer};
use rustka_storage::buffer::{BufMut, Pool};
use rustka_storage::cold::Piece;
use rustka_wire::codec::{DecodeError, Reader, Writer};
use rustka_wire::{Decode, api};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

/// The bytes of a request after its length: in the thread's read buffer, or in a block of its own.
pub enum Frame<'a> {
    /// Valid during the call only.
    Borrowed(&'a mut [u8]),
    /// May be kept, in part or whole.
    Owned(BufMut),
}

impl Frame<'_> {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Frame::Borrowed(bytes) => bytes,
            Frame::Owned(buffer) => buffer,
        }
    }

    /// The bytes in a block of their own, copied where they are not in one yet.
    pub fn into_owned(self, pool: &Arc<Pool>) -> BufMut {
        match self {
            Frame::Owned(buffer) => buffer,
            Frame::Borrowed(bytes) => {
                let mut buffer = pool.take(bytes.len());
                buffer.push(bytes);
                buffer
            }
        }
    }
}

/// A request that waits: for data, for members, for durability. Dropped when its connection goes away.
pub type Parked = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// An answer that comes once a write is durable. Dropped when its connection goes away.
pub type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What a handler decided.
pub enum Outcome {
    /// An answer.
    Reply(Reply),
    /// No answer is due (Produce with acks=0); for so many milliseconds the connection is not read.
    Nothing(u32),
    /// The answer comes later; the connection reads no further until then.
    Park(Parked),
    /// The work is done and its answer waits for durability alone; the connection reads on meanwhile.
    Later(Later),
    /// The connection is closed, for the reason given.
    Close(String),
    /// The same, after an answer if there is one.
    Refuse(Option<Reply>, String),
}

impl From<DecodeError> for Outcome {
    fn from(error: DecodeError) -> Self {
        Outcome::Close(format!("malformed request: {error}"))
    }
}

/// What a handler decided, or why it could not read the request, which ends the connection.
pub type Handled = Result<Outcome, DecodeError>;

impl From<Handled> for Outcome {
    fn from(handled: Handled) -> Self {
        handled.unwrap_or_else(Outcome::from)
    }
}

/// The fixed fields in front of every request.
#[derive(Clone, Debug)]
pub struct Header {
    /// API key.
    pub api: i16,
    /// API version.
    pub version: i16,
    /// Echoed in the answer.
    pub correlation: i32,
    /// Where the client id stands in the frame; empty when null (E9).
    pub client_id: Range<usize>,
    /// Where the body begins.
    pub body: usize,
}

impl Header {
    /// Reads the header of a frame. Key and version come first, so that they can be refused before the rest is read.
    pub fn parse(frame: &[u8]) -> Result<Header, DecodeError> {
        let mut r = Reader::new(frame);
        let api = r.i16()?;
        let version = r.i16()?;
        let correlation = r.i32()?;
        let length = r.i16()?;
        let from = frame.len() - r.remaining();
        let length = usize::try_from(length).unwrap_or(0);
        r.take(length)?;
        if api::request_header_version(api, version) >= 2 {
            r.skip_tags()?;
        }
        Ok(Header {
            api,
            version,
            correlation,
            client_id: from..from + length,
            body: frame.len() - r.remaining(),
        })
    }
}

/// Everything a handler may know about a request.
pub struct Request<'a> {
    /// What all parts of the broker share.
    pub node: &'a Arc<Node>,
    /// What requests reach beside it.
    pub parts: &'a Arc<Parts>,
    /// Who asks, and in what form.
    pub caller: &'a Caller,
    /// Key, version, correlation id, client id.
    pub header: Header,
    /// Header and body.
    pub frame: Frame<'a>,
    /// What it has to wait for after its answer, where there are quotas.
    pub bill: Option<Arc<Bill>>,
}

/// A request of which nothing is done yet, with all that it takes to serve it later.
pub struct Kept {
    node: Arc<Node>,
    parts: Arc<Parts>,
    caller: Caller,
    header: Header,
    buffer: BufMut,
}

impl Kept {
    /// Serves it now.
    pub fn serve(self, serve: impl FnOnce(Request<'_>) -> Outcome) -> Outcome {
        serve(Request {
            node: &self.node,
            parts: &self.parts,
            caller: &self.caller,
            header: self.header,
            frame: Frame::Owned(self.buffer),
            bill: None,
        })
    }
}

impl Request<'_> {
    /// Keeps it for later. To be called before there is a bill for it.
    pub fn keep(self) -> Kept {
        Kept {
            node: self.node.clone(),
            parts: self.parts.clone(),
            caller: self.caller.clone(),
            header: self.header,
            buffer: self.frame.into_owned(&self.node.pool),
        }
    }

    /// The body, to be decoded.
    pub fn body(&self) -> &[u8] {
        self.frame
            .bytes()
            .get(self.header.body..)
            .unwrap_or_default()
    }

    /// What is asked, read in the version it was asked in.
    pub fn decode<'s, T: Decode<'s>>(&'s self) -> Result<T, DecodeError> {
        T::decode(&mut Reader::new(self.body()), self.header.version)
    }

    /// The connection it came over.
    pub fn peer(&self) -> &'_ Peer {
        self.caller.peer()
    }

    /// The client id as text, "" when there is none.
    pub fn client_id(&self) -> &str {
        self.caller.client_id()
    }

    /// The throttle time as answers have it; see [`Respond::throttle_time_ms`].
    pub fn throttle_time_ms(&self) -> i32 {
        throttle_time_ms(self.bill.as_deref())
    }

    /// What is needed to answer later.
    pub fn respond(&self) -> Respond {
        Respond {
            api: self.header.api,
            version: self.header.version,
            correlation: self.header.correlation,
            bill: self.bill.clone(),
        }
    }

    /// Answers now.
    pub fn reply(&self, encode: impl FnOnce(&mut Writer)) -> Outcome {
        Outcome::Reply(self.respond().encode(&[], encode))
    }
}

/// Encodes the answer of one request.
#[derive(Clone)]
pub struct Respond {
    api: i16,
    version: i16,
    correlation: i32,
    bill: Option<Arc<Bill>>,
}

fn throttle_time_ms(bill: Option<&Bill>) -> i32 {
    let ms = bill.map_or(0, Bill::settle);
    i32::try_from(ms).unwrap_or(i32::MAX)
}

impl Respond {
    /// For a request that is answered before anybody is known to have made it, and charged to nobody.
    pub fn to(header: &Header) -> Respond {
        Respond {
            api: header.api,
            version: header.version,
            correlation: header.correlation,
            bill: None,
        }
    }

    /// The throttle time as answers have it. Where there are quotas, the request is charged with what it has cost
    /// until now, so this is for whoever is about to encode the answer.
    pub fn throttle_time_ms(&self) -> i32 {
        throttle_time_ms(self.bill.as_deref())
    }

    /// What the request costs, if anybody keeps account.
    pub fn bill(&self) -> Option<&Bill> {
        self.bill.as_deref()
    }

    /// No answer is due; what the request has cost is waited for all the same.
    pub fn nothing(&self) -> Outcome {
        Outcome::Nothing(self.bill().map_or(0, Bill::settle_unanswered))
    }

    /// The frame of an answer; `slots` are the records that the body's splices name.
    pub fn encode(&self, slots: &[Vec<Piece>], encode: impl FnOnce(&mut Writer)) -> Reply {
        let mut writer = Writer::with_capacity(128);
        writer.i32(0);
        writer.i32(self.correlation);
        if api::response_header_version(self.api, self.version) >= 1 {
            writer.uvarint(0);
        }
        encode(&mut writer);
        let mute_ms = self.bill.as_ref().map_or(0, |bill| bill.settle());
        Reply::finish(writer, slots).then_mute(mute_ms)
    }

    /// The version the request was made in.
    pub fn version(&self) -> i16 {
        self.version
    }
}
