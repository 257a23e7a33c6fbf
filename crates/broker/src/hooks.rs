//! Where a user of the library can have a say or a look: who may do what, who has to wait, what happens.
//!
//! Nothing is asked and nothing is built while no hook is set.

use std::net::SocketAddr;
use std::sync::Arc;

/// What is known of a request apart from its content.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Who asks; `User:ANONYMOUS` while nobody can log in.
    pub principal: &'a str,
    /// The listener it came through.
    pub listener: &'a str,
    /// The far end's address.
    pub peer: SocketAddr,
    /// Number of the connection in this broker's life.
    pub connection: u64,
    /// As in the request, "" when it has none.
    pub client_id: &'a str,
    /// API key.
    pub api: i16,
    /// API version.
    pub version: i16,
    /// When it was received, in milliseconds of the broker's monotonic clock.
    pub received_ms: i64,
}

/// What somebody wants to do, in the words of Kafka's ACLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Consume.
    Read,
    /// Produce.
    Write,
    /// Create the resource.
    Create,
    /// Delete it, or records of it.
    Delete,
    /// Change it.
    Alter,
    /// Know that it exists.
    Describe,
}

/// What it is to be done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
    /// The cluster as a whole.
    Cluster,
}

/// Decides who may do what. Called for every resource of a request, so that an answer may be denied in part.
pub trait Authorizer: Send + Sync {
    /// Whether it is allowed.
    fn is_allowed(
        &self,
        context: &Context<'_>,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool;
}

/// Decides who has sent too much.
pub trait QuotaMeter: Send + Sync {
    /// Charges a request of `bytes`. The answer leaves at once, tells this many milliseconds as its throttle time
    /// where its version has such a field, and the connection is not read until they have passed (KIP-219).
    fn charge(&self, context: &Context<'_>, bytes: usize) -> u32;
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A connection was accepted.
    Connected(SocketAddr),
    /// A connection has ended.
    Disconnected(SocketAddr),
    /// The broker closed a connection, for this reason.
    Refused(SocketAddr, &'a str),
    /// A topic was created, by whatever means.
    TopicCreated(&'a str),
    /// A topic was deleted.
    TopicDeleted(&'a str),
}

/// Is told what happens, on the thread on which it does: it has to be quick and must not call the broker.
pub trait Observer: Send + Sync {
    /// It has happened.
    fn saw(&self, event: Event<'_>);
}

/// The hooks of one broker.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Without one everything is allowed.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// Without one nobody waits.
    pub quota: Option<Arc<dyn QuotaMeter>>,
    /// Without one events are not even put together.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Hooks {
    /// Tells the observer, if there is one.
    pub fn saw<'e>(&self, event: impl FnOnce() -> Event<'e>) {
        if let Some(observer) = &self.observer {
            observer.saw(event());
        }
    }
}
