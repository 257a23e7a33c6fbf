//! Transactional batches are confirmed by their coordinator before they begin a transaction in a partition: what it does
//! not know as open, nobody would ever end. Between the confirmation and the append no marker may come.

use super::plan::ProducePlan;
use crate::api::request::Request;
use crate::coordinators::transactions::Answer;
use rustka_core::batch::BatchHeader;
use rustka_core::error::ErrorCode;
use rustka_core::log::{Origin, Verification};
use rustka_core::names::is_internal;
use rustka_core::transaction::command::{Add, Command, Place, Producer, Reply, Speaker};
use rustka_storage::Partition;
use std::sync::Arc;

/// Partitions are added by the Produce itself from this version on (KIP-890).
pub const ADDS_FROM: i16 = 12;
/// TRANSACTION_ABORTABLE is known from this version on.
const ABORTABLE_FROM: i16 = 11;

/// A batch whose transaction has to be confirmed, given back in whatever way the request ends.
pub struct Verifying {
    /// The number of its partition.
    pub index: i32,
    partition: Arc<Partition>,
    since: Verification,
    /// Whether it was.
    result: Result<(), ErrorCode>,
}

impl Drop for Verifying {
    fn drop(&mut self) {
        // A partition that is gone waits for nobody.
        let _gone = self
            .partition
            .with_state(|state| state.end_verification(self.since));
    }
}

impl Verifying {
    /// With what right the batch is appended.
    pub fn origin(&self, version: i16) -> Result<Origin, ErrorCode> {
        self.result?;
        Ok(Origin::Verified {
            epoch_bumps: version >= ADDS_FROM,
            since: Some(self.since),
        })
    }
}

/// Asks the coordinator about every batch that would begin a transaction in its partition, if there is one.
pub fn ask(request: &Request<'_>, plan: &mut ProducePlan) -> Option<Answer> {
    let frame = request.frame.bytes();
    let id: Arc<str> = plan.transactional_id()?.into();
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
            let is_one = *producer.get_or_insert(writes) == writes;
            verifying.push(Verifying {
                index: *index,
                partition,
                since,
                result: match is_one {
                    true => Ok(()),
                    false => Err(ErrorCode::InvalidProducerIdMapping),
                },
            });
            if is_one {
                places.push((found.name.clone(), *index));
            }
        }
        topic.verifying = verifying;
    }
    let speaker = Speaker {
        id: id.clone(),
        producer: producer?,
    };
    let command = match version {
        ADDS_FROM.. => Command::Add(Add {
            speaker,
            places,
            raises_epoch: true,
        }),
        _ => Command::Verify { speaker, places },
    };
    Some(request.parts.transactions.call(&id, command))
}

/// Notes what the coordinator has said.
pub fn note(plan: &mut ProducePlan, reply: Option<Reply>, version: i16) {
    let asked = plan
        .topics
        .iter_mut()
        .flat_map(|topic| &mut topic.verifying);
    let asked = asked.filter(|it| it.result.is_ok());
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
