//! Answers of group shards: now, later, or from nobody here.

use crate::api::request::{Outcome, Respond};
use crate::broker::Shared;
use rustka_core::group::command::Ticket;
use rustka_core::group::effects::Reply;
use rustka_wire::codec::Writer;
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
    async fn get(self) -> Option<Reply> {
        match self {
            Answer::Now(reply) => Some(reply),
            Answer::Later(waiting) => waiting.await,
            Answer::Never => None,
        }
    }
}

/// Answers a request of one part. `None` is for NOT_COORDINATOR.
pub fn respond(
    respond: Respond,
    answer: Answer,
    encode: impl FnOnce(Option<Reply>, &mut Writer, i16) + Send + 'static,
) -> Outcome {
    let version = respond.version();
    let finish = move |reply| Outcome::Reply(respond.encode(&[], |w| encode(reply, w, version)));
    match answer {
        Answer::Now(reply) => finish(Some(reply)),
        Answer::Never => finish(None),
        Answer::Later(waiting) => Outcome::Park(Box::pin(async move { finish(waiting.await) })),
    }
}

/// Answers a request of many parts once all are here, in the order of `answers`.
pub fn respond_all(
    respond: Respond,
    answers: Vec<Answer>,
    encode: impl FnOnce(Vec<Option<Reply>>, &mut Writer, i16) + Send + 'static,
) -> Outcome {
    let version = respond.version();
    let finish =
        move |replies| Outcome::Reply(respond.encode(&[], |w| encode(replies, w, version)));
    let is_later = |answer: &Answer| matches!(answer, Answer::Later(_));
    if answers.iter().any(is_later) {
        return Outcome::Park(Box::pin(async move {
            let mut replies = Vec::with_capacity(answers.len());
            for answer in answers {
                replies.push(answer.get().await);
            }
            finish(replies)
        }));
    }
    let replies = answers.into_iter().map(|answer| match answer {
        Answer::Now(reply) => Some(reply),
        Answer::Later(_) | Answer::Never => None,
    });
    finish(replies.collect())
}

/// A request that waits in its group. Resolves to `None` when the coordinator goes away; dropping it tells the group
/// that its client hung up.
pub struct Waiting {
    pub(super) reply: oneshot::Receiver<Reply>,
    pub(super) shared: Arc<Shared>,
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
            && let Some(shards) = self.shared.groups.shards.get()
            && let Some(shard) = shards.get(self.at)
        {
            shard.disconnect(&self.shared, ticket);
        }
    }
}
