//! ListTransactions (key 66): the transactional ids that there are (KIP-664).
//! v1 duration filter (KIP-994) · v2 pattern (KIP-1152)

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::expression::Expression;
use rustka_core::transaction::command::{Command, Reply};
use rustka_core::transaction::record::{Phase, Transaction};
use rustka_wire::list_transactions_request::ListTransactionsRequest;
use rustka_wire::list_transactions_response::{ListTransactionsResponse, TransactionState};
use std::borrow::Cow;

/// What a client wants to see.
struct Filter {
    phases: Vec<Phase>,
    /// Only unknown states were named, which no id is in.
    is_hopeless: bool,
    producer_ids: Vec<i64>,
    duration_ms: i64,
    pattern: Option<Expression>,
}

/// Lists what passes every filter and the client may see.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: ListTransactionsRequest<'_> = request.decode()?;
    let asked = asked.into_owned();
    let respond = request.respond();
    let pattern = asked.transactional_id_pattern.as_deref();
    let pattern = pattern
        .filter(|pattern| !pattern.is_empty())
        .map(Expression::parse);
    let Ok(pattern) = pattern.transpose() else {
        let response = ListTransactionsResponse {
            error_code: ErrorCode::InvalidRegularExpression.code(),
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        return Ok(request.reply(|w| response.encode(w, version)));
    };
    let named = |name: &str| Phase::ALL.into_iter().find(|phase| phase.name() == name);
    let phases = asked.state_filters.iter().filter_map(|name| named(name));
    let unknown = asked
        .state_filters
        .iter()
        .filter(|name| named(name).is_none());
    let unknown: Vec<Cow<'static, str>> = unknown.cloned().collect();
    let phases: Vec<Phase> = phases.collect();
    let filter = Filter {
        is_hopeless: phases.is_empty() && !unknown.is_empty(),
        phases,
        producer_ids: asked.producer_id_filters,
        duration_ms: asked.duration_filter,
        pattern,
    };
    let answers = request.parts.transactions.call_all(&Command::List);
    let (access, now_ms) = (request.access(), request.node.clock.now().wall_ms);
    answer::respond_all(respond.clone(), answers, move |replies, w, version| {
        let listed = replies.iter().flatten().filter_map(|reply| match reply {
            Reply::Listed(ids) => Some(ids),
            _ => None,
        });
        let passing = listed.flatten().filter(|(id, known)| {
            filter.passes(id, known, now_ms)
                && access.may(Operation::Describe, Resource::TransactionalId(id))
        });
        let states = passing.map(|(id, known)| TransactionState {
            transactional_id: Cow::Borrowed(&**id),
            producer_id: known.producer.id,
            transaction_state: Cow::Borrowed(known.phase.name()),
        });
        let response = ListTransactionsResponse {
            error_code: 0,
            unknown_state_filters: unknown,
            transaction_states: states.collect(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}

impl Filter {
    fn passes(&self, id: &str, known: &Transaction, now_ms: i64) -> bool {
        let of_phase =
            !self.is_hopeless && (self.phases.is_empty() || self.phases.contains(&known.phase));
        let of_producer =
            self.producer_ids.is_empty() || self.producer_ids.contains(&known.producer.id);
        // Without a transaction it counts as running since before all time, as in Kafka.
        let running_ms = now_ms.saturating_sub(known.started_ms);
        let of_duration = self.duration_ms < 0 || running_ms > self.duration_ms;
        let of_pattern = self
            .pattern
            .as_ref()
            .is_none_or(|pattern| pattern.matches(id));
        of_phase && of_producer && of_duration && of_pattern
    }
}
