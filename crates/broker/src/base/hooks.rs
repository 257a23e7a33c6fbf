//! Where a user of the library can have a say or a look: who may do what, who has to wait, what happens.
//!
//! Nothing is asked and nothing is built while no hook is set.

use rustka_core::error::ErrorCode;
pub use rustka_core::group::effects::Cause;
pub use rustka_core::security::acl::{Operation, Resource};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The program at a connection's far end, as it introduces itself in ApiVersions (KIP-511).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// Such as `apache-kafka-java`.
    pub name: String,
    /// Such as `4.4.0`.
    pub version: String,
}

/// What is known of a request apart from its content.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// Who asks; `User:ANONYMOUS` where nobody has to log in.
    pub principal: &'a str,
    /// The name of the listener it came through.
    pub listener: &'a str,
    /// The far end's address.
    pub peer: SocketAddr,
    /// Number of the connection in this broker's life.
    pub connection: u64,
    /// As in the request, "" when it has none.
    pub client_id: &'a str,
    /// Once the client has said it.
    pub software: Option<&'a Software>,
    /// API key.
    pub api: i16,
    /// API version.
    pub version: i16,
    /// When it was received, in milliseconds of the broker's monotonic clock.
    pub received_ms: i64,
}

/// Decides who may do what. Asked for every resource of a request, so that an answer may be denied in part, on the
/// thread that serves it: it has to be quick and must not call the broker.
pub trait Authorizer: Send + Sync {
    /// Whether it is allowed.
    fn is_allowed(
        &self,
        context: &Context<'_>,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool;

    /// Whether it is allowed for some topic at least: who may write to any may have a producer id.
    fn is_allowed_for_some_topic(&self, context: &Context<'_>, operation: Operation) -> bool;
}

/// Decides who has sent too much.
pub trait QuotaMeter: Send + Sync {
    /// Charges a request of `bytes`. The answer leaves at once, tells this many milliseconds as its throttle time
    /// where its version has such a field, and the connection is not read until they have passed (KIP-219).
    fn charge(&self, context: &Context<'_>, bytes: usize) -> u32;

    /// Charges its answer, of so many bytes of records, and the time that was spent on it, before the answer is
    /// encoded; the longer one of the two waits is told and held to.
    fn charge_answer(&self, _context: &Context<'_>, _bytes: usize, _used: Duration) -> u32 {
        0
    }
}

/// Decides which addresses clients are told.
pub trait Endpoints: Send + Sync {
    /// Host and port of a node for this client; none if it shall not know any. `usual` is what it is told without this
    /// hook: nothing for any node but this one.
    fn endpoint(
        &self,
        context: &Context<'_>,
        node_id: i32,
        usual: Option<(&str, u16)>,
    ) -> Option<(String, u16)>;
}

/// Something that happened. More may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A connection was accepted.
    Connected(SocketAddr),
    /// A connection has ended.
    Disconnected(SocketAddr),
    /// A login failed, told without the secret.
    LoginFailed(&'a str),
    /// The broker closed a connection, for this reason.
    Refused(SocketAddr, &'a str),
    /// A topic was created, by whatever means.
    TopicCreated(&'a str),
    /// A topic was deleted.
    TopicDeleted(&'a str),
    /// A consumer group begins a rebalance.
    GroupRebalances {
        /// The group.
        group: &'a str,
        /// Why.
        cause: Cause,
    },
    /// A consumer group is in another state.
    GroupState {
        /// The group.
        group: &'a str,
        /// The new state, such as `Stable`.
        state: &'static str,
        /// The generation at that moment.
        generation: i32,
    },
    /// A member is no longer in its group.
    MemberGone {
        /// The group.
        group: &'a str,
        /// The member's id.
        member: &'a str,
        /// Why.
        cause: Cause,
    },
    /// A request about a group was refused because of a limit.
    GroupRefused {
        /// The group.
        group: &'a str,
        /// Where from, as tools show it; "" when it is not known.
        client_host: &'a str,
        /// What was answered.
        code: ErrorCode,
        /// The option that limits it.
        limit: &'static str,
    },
    /// Something went wrong that no client is to blame for, in words.
    Failed(&'a str),
}

/// Is told what happens, on the thread on which it does, but never under a lock of the broker nor by the task that accepts
/// connections: it has to be quick and must not call the broker. A panic of it harms nobody.
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
    /// Without one every client is told the address of `advertised.listeners`.
    pub endpoints: Option<Arc<dyn Endpoints>>,
    /// Without any events are not even put together.
    pub observers: Vec<Arc<dyn Observer>>,
}

impl Hooks {
    /// Whether anybody wants to hear of events.
    pub fn has_observers(&self) -> bool {
        !self.observers.is_empty()
    }

    /// Tells every observer, in the order in which they were given.
    pub fn saw<'e>(&self, event: impl FnOnce() -> Event<'e>) {
        if self.observers.is_empty() {
            return;
        }
        let event = event();
        for observer in &self.observers {
            // The program's panic hook says what went wrong in it; the others hear of the event all the same.
            let _panic = catch_unwind(AssertUnwindSafe(|| observer.saw(event)));
        }
    }
}
