//! InitProducerId (key 22): an id for an idempotent or a transactional producer (E122–E125).
//! v2 flexible · v3 producer id and epoch, to keep an id (KIP-360) · v4 PRODUCER_FENCED · v5 transactions part 2 (KIP-890)

use super::fenced;
use crate::api::request::{Handled, Outcome, Request, Respond};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::cluster::ProducerId;
use crate::coordinators::transactions::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::transaction::command::{Command, Init, Producer, Reply};
use rustka_wire::codec::Writer;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::init_producer_id_response::InitProducerIdResponse;

/// PRODUCER_FENCED is known from this version on.
const FENCED_FROM: i16 = 4;

/// Gives out an id, under a transactional id one that fences all before it.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: InitProducerIdRequest<'_> = request.decode()?;
    let error = match asked.transactional_id.as_deref() {
        id if !is_allowed(&request, id) => match id {
            Some(_) => ErrorCode::TransactionalIdAuthorizationFailed,
            None => ErrorCode::ClusterAuthorizationFailed,
        },
        Some("") => ErrorCode::InvalidRequest,
        // Only both or neither name an existing producer.
        _ if (asked.producer_id == -1) != (asked.producer_epoch == -1) => ErrorCode::InvalidRequest,
        _ => ErrorCode::None,
    };
    let respond = request.respond();
    if error != ErrorCode::None {
        return Ok(request.reply(|w| response(Err(error), &respond).encode(w, version)));
    }
    let Some(id) = asked.transactional_id.as_deref() else {
        let cluster = request.parts.cluster.clone();
        return match cluster.producer_id() {
            ProducerId::Here(id) => {
                let producer = Producer { id, epoch: 0 };
                Ok(request.reply(|w| response(Ok(producer), &respond).encode(w, version)))
            }
            ProducerId::Asked(answer) => {
                answer::respond(respond.clone(), answer, move |reply, w, version| {
                    let id = cluster.producer_id_of(reply);
                    let producer = id.map(|id| Producer { id, epoch: 0 });
                    response(producer, &respond).encode(w, version);
                })
            }
        };
    };
    let init = Init {
        id: id.into(),
        timeout_ms: asked.transaction_timeout_ms,
        expected: (asked.producer_id != -1).then_some(Producer {
            id: asked.producer_id,
            epoch: asked.producer_epoch,
        }),
        new_id: None,
    };
    let again = move |new_id| {
        Command::Init(Init {
            new_id,
            ..init.clone()
        })
    };
    with_id(&request, id.into(), again, |result, respond, w, version| {
        let result = result.map_err(|code| fenced(code, version >= FENCED_FROM));
        response(result, respond).encode(w, version);
    })
}

/// Hands a command to a transactional id's shard, and once more with a new producer id if it needs one.
pub fn with_id(
    request: &Request<'_>,
    id: Box<str>,
    command: impl Fn(Option<i64>) -> Command + Send + 'static,
    encode: impl FnOnce(Result<Producer, ErrorCode>, &Respond, &mut Writer, i16) + Send + 'static,
) -> Handled {
    let (transactions, cluster) = (&request.parts.transactions, &request.parts.cluster);
    let respond = request.respond();
    let producer = |reply: Option<Reply>| match reply {
        Some(Reply::Producer(result)) => result,
        _ => Err(ErrorCode::NotCoordinator),
    };
    let answer = match transactions.call(&id, command(None)) {
        Answer::Now(Reply::NeedsId) => match cluster.producer_id() {
            ProducerId::Here(new_id) => transactions.call(&id, command(Some(new_id))),
            ProducerId::Asked(asked) => {
                let (transactions, cluster) = (transactions.clone(), cluster.clone());
                return Ok(Outcome::Park(Box::pin(async move {
                    let result = match cluster.producer_id_of(asked.get().await) {
                        Ok(new_id) => {
                            let answer = transactions.call(&id, command(Some(new_id)));
                            producer(answer.get().await)
                        }
                        Err(code) => Err(code),
                    };
                    let version = respond.version();
                    Outcome::Reply(respond.encode(&[], |w| encode(result, &respond, w, version)))
                })));
            }
        },
        answer => answer,
    };
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        encode(producer(reply), &respond, w, version);
    })
}

fn response(result: Result<Producer, ErrorCode>, respond: &Respond) -> InitProducerIdResponse {
    let nobody = Producer { id: -1, epoch: -1 };
    let (error, producer) = match result {
        Ok(producer) => (ErrorCode::None, producer),
        Err(code) => (code, nobody),
    };
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        throttle_time_ms: respond.throttle_time_ms(),
        ..Default::default()
    }
}

/// Whoever may write to any topic may do so idempotently.
fn is_allowed(request: &Request<'_>, transactional_id: Option<&str>) -> bool {
    match transactional_id {
        Some(id) => request.may(Operation::Write, Resource::TransactionalId(id)),
        None => {
            request.may(Operation::IdempotentWrite, Resource::Cluster)
                || request.may_for_some_topic(Operation::Write)
        }
    }
}
