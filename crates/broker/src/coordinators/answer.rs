//! Answers of shards: now, later, or from nobody here.

use super::shard::Host;
use rustka_core::machine::{Machine, Ticket};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// How a command is answered.
pub enum Answer<M: Machine> {
    /// Now.
    Now(M::Reply),
    /// When the machine is ready.
    Later(Waiting<M>),
    /// Not here: the shard has no journal or the broker stops. The client looks for its coordinator again.
    Never,
}

impl<M: Machine> Answer<M> {
    /// The reply once it is there; none from nobody.
    pub async fn get(self) -> Option<M::Reply> {
        match self {
            Answer::Now(reply) => Some(reply),
            Answer::Later(waiting) => waiting.await,
            Answer::Never => None,
        }
    }
}

/// A request that waits in a machine. Resolves to `None` when the coordinator goes away; dropping it tells the machine
/// that its client hung up.
pub struct Waiting<M: Machine> {
    reply: oneshot::Receiver<M::Reply>,
    host: Arc<dyn Host<M>>,
    at: usize,
    ticket: Option<Ticket>,
}

impl<M: Machine> Waiting<M> {
    /// A request to the shard `at`.
    pub(super) fn new(
        reply: oneshot::Receiver<M::Reply>,
        host: Arc<dyn Host<M>>,
        at: usize,
        ticket: Ticket,
    ) -> Waiting<M> {
        Waiting {
            reply,
            host,
            at,
            ticket: Some(ticket),
        }
    }
}

impl<M: Machine> Future for Waiting<M> {
    type Output = Option<M::Reply>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<M::Reply>> {
        let reply = Pin::new(&mut self.reply).poll(cx);
        if reply.is_ready() {
            self.ticket = None;
        }
        reply.map(Result::ok)
    }
}

impl<M: Machine> Drop for Waiting<M> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && let Some(shard) = self.host.shard(self.at)
        {
            shard.disconnect(&*self.host, ticket);
        }
    }
}
