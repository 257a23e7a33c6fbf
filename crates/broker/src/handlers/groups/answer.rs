//! Answers of group shards as answers of requests.

use crate::api::request::{Outcome, Respond};
use crate::coordinators::groups::Answer;
use rustka_core::group::effects::Reply;
use rustka_wire::codec::Writer;

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
