//! Transactional batches are confirmed by their coordinator before they begin a transaction in a partition.

use super::plan::ProducePlan;
use crate::api::request::Request;
use crate::base::clock::Clock;
use crate::coordinators::transactions::{Answer, Transactions};
use crate::handlers::transactions::confirm::{self, Confirming};
use rustka_core::batch::BatchHeader;
use rustka_core::error::ErrorCode;
use rustka_core::log::Origin;
use rustka_core::names::is_internal;
use rustka_core::transaction::command::{Place, Producer, Reply, Speaker};
use std::sync::Arc;

/// Partitions are added by the Produce itself from this version on (KIP-890).
pub const ADDS_FROM: i16 = 12;
/// TRANSACTION_ABORTABLE is known from this version on.
const ABORTABLE_FROM: i16 = 11;

/// A batch whose transaction has to be confirmed.
pub struct Verifying {
    /// The number of its partition.
    pub index: i32,
    confirming: Confirming,
    /// Whether it was.
    result: Result<(), ErrorCode>,
}

impl Verifying {
    /// With what right the batch is appended.
    pub fn origin(&self, version: i16) -> Result<Origin, ErrorCode> {
        self.result?;
        Ok(Origin::Verified {
            epoch_bumps: version >= ADDS_FROM,
            since: Some(self.confirming.since()),
        })
    }
}

/// What is asked of a coordinator.
pub struct Question {
    transactions: Arc<Transactions>,
    speaker: Speaker,
    places: Vec<Place>,
    version: i16,
    /// Until when it is asked again while the transaction before it ends.
    until_ms: i64,
}

impl Question {
    fn ask(&self) -> Answer {
        let (speaker, places) = (self.speaker.clone(), self.places.clone());
        let command = confirm::question(speaker, places, self.version >= ADDS_FROM);
        self.transactions.call(&self.speaker.id, command)
    }

    /// Whether this is no answer yet: the producer's former transaction is about to end. Clients of the newer protocol
    /// need not wait for that before they write, and are not told of it unless it takes long (E69).
    fn is_to_be_asked_again(&self, reply: Option<&Reply>) -> bool {
        let ends = ErrorCode::ConcurrentTransactions;
        self.version >= ADDS_FROM && matches!(reply, Some(Reply::Added(Err(code))) if *code == ends)
    }
}

/// Asks until the transaction before is over, or for as long as is worth it, and notes what the coordinator has said.
pub async fn settle(plan: &mut ProducePlan, question: Question, mut answer: Answer, clock: &Clock) {
    loop {
        let over = question.transactions.next_end();
        let reply = answer.get().await;
        let is_late = clock.monotonic_ms() >= question.until_ms;
        if is_late || !question.is_to_be_asked_again(reply.as_ref()) {
            return note(plan, reply, question.version);
        }
        tokio::select! {
            biased;
            () = over => {}
            () = clock.sleep_until(question.until_ms) => {}
        }
        let asked = plan
            .topics
            .iter_mut()
            .flat_map(|topic| &mut topic.verifying);
        asked.for_each(|it| it.confirming.again());
        answer = question.ask();
    }
}

/// Asks the coordinator about every batch that would begin a transaction in its partition, if there is one. None: there
/// is nothing to be waited for.
pub fn ask(request: &Request<'_>, plan: &mut ProducePlan) -> Option<(Question, Answer)> {
    let question = question(request, plan)?;
    if !confirm::is_asked_for(request.node, question.version >= ADDS_FROM) {
        return None;
    }
    match question.ask() {
        Answer::Now(reply) if !question.is_to_be_asked_again(Some(&reply)) => {
            note(plan, Some(reply), question.version);
            None
        }
        Answer::Never => {
            note(plan, None, question.version);
            None
        }
        waits => Some((question, waits)),
    }
}

fn question(request: &Request<'_>, plan: &mut ProducePlan) -> Option<Question> {
    let frame = request.frame.bytes();
    plan.transactional_id()?;
    if plan.whole_request_error(frame).is_some() || !plan.has_valid_acks() {
        return None;
    }
    let version = request.header.version;
    let mut places: Vec<Place> = Vec::new();
    let mut producer = None;
    for topic in plan.topics.iter_mut().filter(|topic| !topic.denied) {
        let mut verifying = Vec::new();
        for (index, range) in &topic.partitions {
            let header = range.clone().and_then(|range| frame.get(range));
            let header = header.and_then(|batch| BatchHeader::parse(batch).ok());
            let Some(header) = header.filter(BatchHeader::is_transactional) else {
                continue;
            };
            let Ok((found, partition)) = topic.find(request.node, *index, version) else {
                continue;
            };
            if is_internal(&found.name) {
                continue;
            }
            let since = partition.with_state(|state| state.await_verification(&header));
            let Ok(Some(since)) = since else {
                continue;
            };
            let writes = Producer {
                id: header.producer_id,
                epoch: header.producer_epoch,
            };
            // There is one producer in a request (E68).
            producer = Some(writes);
            verifying.push(Verifying {
                index: *index,
                confirming: Confirming::of(partition, since),
                result: Ok(()),
            });
            places.push((found.name.clone(), *index));
        }
        topic.verifying = verifying;
    }
    let wait_ms = request
        .node
        .config
        .broker()
        .settings()
        .transaction_end_wait_max_ms;
    let now_ms = request.node.clock.monotonic_ms();
    Some(Question {
        transactions: request.parts.transactions.clone(),
        speaker: Speaker {
            producer: producer?,
            id: plan.transactional_id()?.into(),
        },
        places,
        version,
        until_ms: now_ms.saturating_add(wait_ms.into()),
    })
}

/// Notes what the coordinator has said.
fn note(plan: &mut ProducePlan, reply: Option<Reply>, version: i16) {
    let asked = plan
        .topics
        .iter_mut()
        .flat_map(|topic| &mut topic.verifying);
    for (place, verifying) in asked.enumerate() {
        let result = match &reply {
            Some(Reply::Added(result)) => *result,
            Some(Reply::Verified(Err(code))) => Err(*code),
            Some(Reply::Verified(Ok(each))) if each.get(place) == Some(&true) => Ok(()),
            Some(Reply::Verified(Ok(_))) => Err(ErrorCode::TransactionAbortable),
            _ => Err(ErrorCode::NotCoordinator),
        };
        verifying.result = result.map_err(|code| told(code, version));
    }
}

/// In the words of this request (E69).
fn told(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_FROM => ErrorCode::InvalidTxnState,
        ErrorCode::ConcurrentTransactions if version >= ADDS_FROM => code,
        ErrorCode::ConcurrentTransactions
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}
