//! One question to the API: who asks, for what, and whom to ask for it in turn.

use super::Http;
use super::guard::Who;
use super::input::{Fields, Query};
use super::problem::Problem;
use crate::api::access::Access;
use crate::api::parts::Parts;
use crate::base::clock::Clock;
use crate::base::hooks::{Operation, Resource};
use crate::net::own;
use crate::net::transport::MemoryStream;
use crate::node::Node;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use rustka_client::dial::BoxFuture;
use rustka_client::{Address, Client, ClientOptions};
use std::net::SocketAddr;
use std::sync::Arc;

/// Bytes of what may be sent with a question.
const BODY_BYTES_MAX: usize = 16 << 20;
/// How long the broker may take for one request of ours, and how long we ask again while it is not ready.
const PATIENCE_MS: (i64, i64) = (10_000, 3_000);

/// A request as it came.
pub struct Asked {
    /// Its head, and its body to come.
    pub request: Request<Incoming>,
    /// Where from.
    pub address: SocketAddr,
}

/// A question, checked as far as all questions are alike.
pub struct Ask {
    /// The port it came to.
    pub http: Arc<Http>,
    /// Who asks.
    pub who: Who,
    /// Where from.
    pub address: SocketAddr,
    /// Its headers.
    pub headers: HeaderMap,
    /// What stands in the path where its route has braces.
    pub path: Vec<String>,
    /// Its parameters.
    pub query: Query,
    /// What was sent with it.
    pub body: Bytes,
}

impl Ask {
    /// The broker's shared parts.
    pub fn node(&self) -> &Arc<Node> {
        &self.http.parts.node
    }

    /// The broker's parts.
    pub fn parts(&self) -> &Arc<Parts> {
        &self.http.parts
    }

    /// What stands in the path in this place.
    pub fn name(&self, place: usize) -> &str {
        self.path.get(place).map_or("", String::as_str)
    }

    /// The fields of what was sent.
    pub fn fields(&self) -> Result<Fields, Problem> {
        Fields::parse(&self.body)
    }

    /// What they may do.
    pub fn access(&self) -> Access {
        own::access(self.node(), &self.who.principal, self.address)
    }

    /// Whether they may know of a topic.
    pub fn may_see_topic(&self, access: &Access, topic: &str) -> bool {
        access.may(Operation::Describe, Resource::Topic(topic))
    }

    /// Whoever asks, for an answer that goes on.
    pub fn viewer(&self) -> Viewer {
        Viewer {
            http: self.http.clone(),
            address: self.address,
            headers: self.headers.clone(),
            principal: self.who.principal.clone(),
        }
    }

    /// A client of this broker with the rights of whoever asks.
    pub fn client(&self) -> Client {
        client(self.parts(), &self.who.principal, self.address)
    }
}

/// Whoever gets an answer that goes on, such as events: what they may do can change meanwhile.
pub struct Viewer {
    /// The port they came to.
    pub http: Arc<Http>,
    /// Where from.
    pub address: SocketAddr,
    /// The headers of their request.
    pub headers: HeaderMap,
    principal: String,
}

impl Viewer {
    /// Who they are now; a problem once they are not who they were, because their session is over.
    pub fn who(&self) -> Result<Who, Problem> {
        let node = self.http.node();
        let who = self.http.guard.who(&self.headers, self.address, node)?;
        match who.principal == self.principal {
            true => Ok(who),
            false => Err(Problem::new(
                hyper::StatusCode::UNAUTHORIZED,
                "the session is over",
            )),
        }
    }
}

/// A client of this broker in the same process, with the rights of this principal.
pub fn client(parts: &Arc<Parts>, principal: &str, address: SocketAddr) -> Client {
    let (of, principal) = (parts.clone(), principal.to_owned());
    let dial = move |_: &Address| -> std::io::Result<MemoryStream> {
        Ok(own::connect(&of, &principal, address))
    };
    let here = Address::new("here", 0);
    ClientOptions::new(vec![here], dial)
        .clock(Ours(parts.node.clock.clone()))
        .client_id("rustka-page")
        .patience_ms(PATIENCE_MS.0, PATIENCE_MS.1)
        .client()
}

/// The broker's clock for its own clients.
struct Ours(Clock);

impl rustka_client::Clock for Ours {
    fn monotonic_ms(&self) -> i64 {
        self.0.monotonic_ms()
    }

    fn wall_ms(&self) -> i64 {
        self.0.now().wall_ms
    }

    fn sleep_until(&self, monotonic_ms: i64) -> BoxFuture<'_, ()> {
        Box::pin(self.0.sleep_until(monotonic_ms))
    }
}

/// Reads what was sent, which has to be JSON if there is anything.
pub async fn body(headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
    let collected = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let bytes = collected.map_err(|error| {
        let status = match error.is::<http_body_util::LengthLimitError>() {
            true => hyper::StatusCode::PAYLOAD_TOO_LARGE,
            false => hyper::StatusCode::BAD_REQUEST,
        };
        Problem::new(status, format!("the body cannot be taken: {error}"))
    })?;
    let bytes = bytes.to_bytes();
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.split(';').next() == Some("application/json"));
    // A form of a page from elsewhere cannot send this type.
    if !bytes.is_empty() && !is_json {
        let status = hyper::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "send content-type: application/json"));
    }
    Ok(bytes)
}
