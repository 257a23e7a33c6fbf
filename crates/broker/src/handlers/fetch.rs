//! Fetch (key 1): batches from many partitions, now or as soon as there are enough.
//! v5 log start offset · v7 sessions (KIP-227) · v9 current leader epoch · v11 rack · v12 flexible, last fetched epoch
//! v13 topic ids · v15 replica state · v16 node endpoints

mod answer;
mod plan;
mod read;
mod wait;

use crate::api::access::Caller;
use crate::api::parts::{Parts, SessionPartition};
use crate::api::request::{Outcome, Request, Respond};
use answer::answer;
use plan::plan;
use read::{Pass, Read, read};
use rustka_core::error::ErrorCode;
use rustka_core::fetch::{FetchContext, TopicKey};
use rustka_storage::cold::Form;
use rustka_wire::fetch_response::FetchResponse;
use std::sync::Arc;
use wait::wait;

/// What a fetch wants apart from its partitions.
struct FetchPlan {
    min_bytes: usize,
    max_bytes: usize,
    deadline_ms: i64,
    committed_only: bool,
    /// Topics of this fetch that its client may not read.
    denied: Vec<TopicKey>,
    /// No batch is larger.
    batch_bytes_max: usize,
    /// In which form the connection takes what is not in memory.
    form: Form,
    respond: Respond,
    caller: Caller,
}

/// Reads what is there; waits if that is too little and the client has time.
pub fn handle(request: Request<'_>) -> Outcome {
    let (plan, mut context) = match plan(&request) {
        Ok(planned) => planned,
        Err(outcome) => return outcome,
    };
    let node = request.node;
    let read = match read(node, &plan, &mut context, Pass::First) {
        Ok(read) => read,
        Err(code) => return failed(&plan.respond, code),
    };
    if read.is_enough(&plan) || node.clock.monotonic_ms() >= plan.deadline_ms {
        return reply(request.parts, plan, context, read);
    }
    // At the cap a fetch is answered with what is there; others would have to be answered early instead.
    let Some(place) = request.parts.parked.try_take(1 + read.asked) else {
        return reply(request.parts, plan, context, read);
    };
    Outcome::Park(Box::pin(wait(request.parts.clone(), plan, context, place)))
}

/// Answers with what was read, once it is at hand.
fn reply(
    parts: &Arc<Parts>,
    plan: FetchPlan,
    context: FetchContext<SessionPartition>,
    mut read: Read,
) -> Outcome {
    if read.take_at_hand(plan.form) {
        return Outcome::Reply(answer(parts, &plan, context, read));
    }
    let parts = parts.clone();
    Outcome::Park(Box::pin(async move {
        read.load(&parts.node, plan.form).await;
        Outcome::Reply(answer(&parts, &plan, context, read))
    }))
}

/// An answer that concerns the whole session.
fn failed(respond: &Respond, code: ErrorCode) -> Outcome {
    let response = FetchResponse {
        error_code: code.code(),
        throttle_time_ms: respond.throttle_time_ms(),
        ..Default::default()
    };
    Outcome::Reply(respond.encode(&[], |w| response.encode(w, respond.version())))
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}
