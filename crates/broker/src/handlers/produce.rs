//! Produce (key 0): appends one record batch to each partition named.
//! v5 log start offset · v7 zstd · v8 errors of single records · v9 flexible · v10 current leader · v13 topic ids

mod answer;
mod append;
mod plan;
mod verify;

use crate::api::request::{Frame, Outcome, Request, Respond};
use crate::node::Node;
use answer::{PartitionAnswer, answer, commit, encode};
use append::{append_copied, append_kept};
use plan::ProducePlan;
use rustka_storage::buffer::BufMut;
use std::ops::Range;
use std::sync::Arc;

/// A batch at least this large may stay in the frame it arrived in.
const KEEP_BYTES_MIN: usize = 16 << 10;

/// Validates and appends. Batches that have to be inflated at length go to the work pool.
pub fn handle(mut request: Request<'_>) -> Outcome {
    let mut plan = match ProducePlan::of(&request) {
        Ok(plan) => plan,
        Err(outcome) => return outcome,
    };
    let respond = request.respond();
    let takes_long = plan.takes_long(&request);
    let waiting = verify::ask(&request, &mut plan);
    if takes_long || waiting.is_some() {
        let node = request.node.clone();
        let mut frame = request.frame.into_owned(&node.pool);
        return Outcome::Park(Box::pin(async move {
            if let Some((question, answer)) = waiting {
                verify::settle(&mut plan, question, answer, &node.clock).await;
            }
            if !takes_long {
                return run(&node, plan, Bytes::Owned(&mut frame), respond);
            }
            let work = node.work.clone();
            let done = work.run(move || run(&node, plan, Bytes::Owned(&mut frame), respond));
            done.await.unwrap_or_else(|| {
                Outcome::Close("validating a batch failed unexpectedly".to_owned())
            })
        }));
    }
    match &mut request.frame {
        Frame::Borrowed(bytes) => run(request.node, plan, Bytes::Borrowed(bytes), respond),
        Frame::Owned(buffer) => run(request.node, plan, Bytes::Owned(buffer), respond),
    }
}

/// The request's bytes, in either place.
enum Bytes<'a> {
    Borrowed(&'a mut [u8]),
    Owned(&'a mut BufMut),
}

impl Bytes<'_> {
    fn get(&mut self) -> &mut [u8] {
        match self {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Owned(buffer) => buffer,
        }
    }

    /// The one batch that may stay where it is: large, and most of its frame.
    fn keeps(&self, range: &Range<usize>) -> bool {
        matches!(self, Bytes::Owned(buffer) if range.len() >= KEEP_BYTES_MIN && range.len() * 2 >= buffer.len())
    }
}

fn run(node: &Arc<Node>, plan: ProducePlan, mut bytes: Bytes<'_>, respond: Respond) -> Outcome {
    let mut answers: Vec<Vec<PartitionAnswer>> = Vec::with_capacity(plan.topics.len());
    let mut kept = None;
    let mut pending = Vec::new();
    let whole = plan.whole_request_error(bytes.get());
    for (t, topic) in plan.topics.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (p, (index, range)) in topic.partitions.iter().enumerate() {
            if whole.is_none()
                && kept.is_none()
                && range.as_ref().is_some_and(|range| bytes.keeps(range))
            {
                // Its buffer is cut apart when everybody else has been served from it.
                kept = Some((t, p));
                partitions.push(PartitionAnswer {
                    index: *index,
                    ..Default::default()
                });
                continue;
            }
            let result = match &whole {
                Some(refusal) => Err(refusal.clone().into()),
                None => append_copied(
                    node,
                    &plan,
                    topic,
                    *index,
                    range.clone(),
                    &mut bytes,
                    respond.version(),
                ),
            };
            partitions.push(answer(*index, result, (t, p), &mut pending));
        }
        answers.push(partitions);
    }
    if let (Some((t, p)), Bytes::Owned(buffer)) = (kept, &mut bytes) {
        let topic = &plan.topics[t];
        let (index, range) = &topic.partitions[p];
        let range = range.clone().unwrap_or_default();
        drop(buffer.split_to(range.start));
        let batch = buffer.split_to(range.len());
        let result = append_kept(node, &plan, topic, *index, batch, respond.version());
        answers[t][p] = answer(*index, result, (t, p), &mut pending);
    }
    if plan.acks == 0 {
        return match answers
            .iter()
            .flatten()
            .find(|partition| partition.error_code != 0)
        {
            Some(failed) => Outcome::Close(format!(
                "a Produce with acks=0 failed with error {}",
                failed.error_code
            )),
            None => respond.nothing(),
        };
    }
    if !pending.is_empty() {
        let node = node.clone();
        return Outcome::Later(Box::pin(commit(node, plan, answers, pending, respond)));
    }
    Outcome::Reply(encode(node, &plan, answers, respond))
}
