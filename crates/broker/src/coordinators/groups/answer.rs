//! Answers of group shards: now, later, or from nobody here.

use super::Groups;
use rustka_core::group::command::Ticket;
use rustka_core::group::effects::Reply;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// How a command is answered.
pub enum Answer {
    /// Now.
    Now(Reply),
    /// When the group is ready.
    Later(Waiting),
    /// Not here: the shard has no journal or the broker stops. The client looks for its coordinator again.
    Never,
}

impl Answer {
    /// The reply once it is there; none from nobody.
    pub async fn get(self) -> Option<Reply> {
        match self {
            Answer::Now(reply) => Some(reply),
            Answer::Later(waiting) => waiting.await,
            Answer::Never => None,
        }
    }
}

/// A request that waits in its group. Resolves to `None` when the coordinator goes away; dropping it tells the group
/// that its client hung up.
pub struct Waiting {
    pub(super) reply: oneshot::Receiver<Reply>,
    pub(super) groups: Arc<Groups>,
    pub(super) at: usize,
    pub(super) ticket: Option<Ticket>,
}

impl Future for Waiting {
    type Output = Option<Reply>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let reply = Pin::new(&mut self.reply).poll(cx);
        if reply.is_ready() {
            self.ticket = None;
        }
        reply.map(Result::ok)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && let Some(shards) = self.groups.shards.get()
            && let Some(shard) = shards.get(self.at)
        {
            shard.disconnect(&self.groups, ticket);
        }
    }
}
