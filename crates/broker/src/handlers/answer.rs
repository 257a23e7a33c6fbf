//! Answers of machines as answers of requests: the last that a handler does.

use crate::api::request::{Handled, Outcome, Respond};
use crate::coordinators::Answer;
use rustka_core::machine::Machine;
use rustka_wire::codec::Writer;

/// Answers a request of one part. `None` is from nobody: the machine has no journal, or the broker stops.
pub fn respond<M: Machine<Reply: Send> + 'static>(
    respond: Respond,
    answer: Answer<M>,
    encode: impl FnOnce(Option<M::Reply>, &mut Writer, i16) + Send + 'static,
) -> Handled {
    let version = respond.version();
    let finish = move |reply| Outcome::Reply(respond.encode(&[], |w| encode(reply, w, version)));
    Ok(match answer {
        Answer::Now(reply) => finish(Some(reply)),
        Answer::Never => finish(None),
        Answer::Later(waiting) => Outcome::Park(Box::pin(async move { finish(waiting.await) })),
    })
}

/// Answers a request of many parts once all are here, in the order of `answers`.
pub fn respond_all<M: Machine<Reply: Send> + 'static>(
    respond: Respond,
    answers: Vec<Answer<M>>,
    encode: impl FnOnce(Vec<Option<M::Reply>>, &mut Writer, i16) + Send + 'static,
) -> Handled {
    let version = respond.version();
    let finish =
        move |replies| Outcome::Reply(respond.encode(&[], |w| encode(replies, w, version)));
    let is_later = |answer: &Answer<M>| matches!(answer, Answer::Later(_));
    if answers.iter().any(is_later) {
        return Ok(Outcome::Park(Box::pin(async move {
            let mut replies = Vec::with_capacity(answers.len());
            for answer in answers {
                replies.push(answer.get().await);
            }
            finish(replies)
        })));
    }
    let replies = answers.into_iter().map(|answer| match answer {
        Answer::Now(reply) => Some(reply),
        Answer::Later(_) | Answer::Never => None,
    });
    Ok(finish(replies.collect()))
}
