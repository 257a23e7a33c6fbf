//! Transactions: which are open, who holds readers of committed records back, and ending what nobody ends.

use super::groups::refuse;
use crate::http::answer::{Answer, done, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use hyper::StatusCode;
use rustka_client::To;
use rustka_client::TransactionFilter;
use rustka_core::error::ErrorCode;
use rustka_core::transaction::record::Phase;
use rustka_wire::list_transactions_request::ListTransactionsRequest;
use rustka_wire::list_transactions_response::TransactionState as Listed;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Rows of one answer, and rows unless told otherwise.
const ROWS_MAX: usize = 500;
const ROWS: usize = 100;
/// Partitions that are held back and told one by one.
const HELD_MAX: usize = 200;
/// Whatever version both sides know.
const ANY: (i16, i16) = (0, i16::MAX);

/// The transactional ids in sight, and every partition that an open transaction holds back.
pub async fn list(ask: Ask) -> Result<Answer, Problem> {
    let query = &ask.query;
    let search = query.text("search").unwrap_or("").to_lowercase();
    let states: Vec<&str> = [""]
        .into_iter()
        .chain(Phase::ALL.map(Phase::name))
        .collect();
    let state = query.word("state", &states)?;
    let from = query.number("from", 0..=usize::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1..=ROWS_MAX)?.unwrap_or(ROWS);
    let listed = listed(&ask).await?;
    let open = listed.iter().filter(|it| is_open(it)).count();
    let held = held(&ask, &listed);
    let mut rows: Vec<&Listed<'_>> = listed
        .iter()
        .filter(|it| state.is_empty() || it.transaction_state == state)
        .filter(|it| it.transactional_id.to_lowercase().contains(&search))
        .collect();
    // What is open comes first.
    rows.sort_by_key(|it| (!is_open(it), &it.transactional_id));
    let total = rows.len();
    let mut shown = Vec::new();
    for row in rows.into_iter().skip(from).take(limit) {
        shown.push(show(&ask, row).await?);
    }
    Ok(json(&json!({
        "total": total,
        "open": open,
        "from": from,
        "transactions": shown,
        "held": held,
    })))
}

async fn listed(ask: &Ask) -> Result<Vec<Listed<'static>>, Problem> {
    let request = ListTransactionsRequest {
        duration_filter: -1,
        ..Default::default()
    };
    let answer = ask.client().call_at(To::Any, ANY, &request).await?;
    let told = answer.body()?;
    refuse(told.error_code)?;
    let states = told.transaction_states.into_iter();
    Ok(states.map(Listed::into_owned).collect())
}

fn is_open(listed: &Listed<'_>) -> bool {
    let is = |phase: Phase| listed.transaction_state == phase.name();
    is(Phase::Ongoing) || is(Phase::PrepareCommit) || is(Phase::PrepareAbort)
}

async fn show(ask: &Ask, listed: &Listed<'_>) -> Result<Value, Problem> {
    let id = &*listed.transactional_id;
    let mut told = json!({
        "id": id,
        "state": listed.transaction_state,
        "isOpen": is_open(listed),
        "producerId": listed.producer_id.to_string(),
    });
    if !is_open(listed) {
        return Ok(told);
    }
    let described = ask.client().describe_transaction(id).await?;
    let now_ms = ask.node().clock.now().wall_ms;
    let open_ms = now_ms.saturating_sub(described.transaction_start_time_ms);
    let partitions = described.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|at| json!({ "topic": topic.topic, "partition": at }))
    });
    told["epoch"] = described.producer_epoch.into();
    told["timeoutMs"] = described.transaction_timeout_ms.to_string().into();
    told["openMs"] = open_ms.max(0).to_string().into();
    told["partitionCount"] = described
        .topics
        .iter()
        .map(|it| it.partitions.len())
        .sum::<usize>()
        .into();
    told["partitions"] = partitions.take(HELD_MAX).collect();
    Ok(told)
}

/// Partitions whose readers of committed records wait, with the producer that holds them back and its id, if a coordinator
/// knows of one. One that none knows of hangs: only an operator ends it.
fn held(ask: &Ask, listed: &[Listed<'_>]) -> Vec<Value> {
    let open = listed.iter().filter(|it| is_open(it));
    let ids: BTreeMap<i64, &str> = open
        .map(|it| (it.producer_id, &*it.transactional_id))
        .collect();
    let access = ask.access();
    let topics = ask.node().topics.all();
    let seen = topics
        .iter()
        .filter(|topic| ask.may_see_topic(&access, &topic.name));
    let partitions = seen.flat_map(|topic| {
        let partitions = topic.partitions.iter().enumerate();
        partitions.map(move |(index, partition)| (&topic.name, index, partition))
    });
    let held = partitions.filter_map(|(topic, index, partition)| {
        let offsets = partition.offsets();
        if offsets.last_stable >= offsets.high_watermark {
            return None;
        }
        let holder = partition.with_state(|state| {
            let open = state.producers().filter(|it| it.txn_first_offset.is_some());
            open.min_by_key(|it| it.txn_first_offset)
        });
        let holder = holder.ok().flatten()?;
        let id = ids.get(&holder.producer_id);
        Some(json!({
            "topic": &**topic,
            "partition": index,
            "since": offsets.last_stable.to_string(),
            "startOffset": holder.txn_first_offset.map(|at| at.to_string()),
            "records": offsets.high_watermark.saturating_sub(offsets.last_stable).to_string(),
            "producerId": holder.producer_id.to_string(),
            "epoch": holder.epoch,
            "id": id,
        }))
    });
    held.take(HELD_MAX).collect()
}

/// Aborts the open transaction of an id and fences its producer.
pub async fn abort(ask: Ask) -> Result<Answer, Problem> {
    let client = ask.client();
    // An id that nobody uses is not made only to be fenced.
    client.describe_transaction(ask.name(0)).await?;
    client.fence_transaction(ask.name(0)).await?;
    Ok(done())
}

/// Aborts a transaction that hangs in a partition: one that no coordinator knows.
pub async fn abort_hanging(ask: Ask) -> Result<Answer, Problem> {
    let mut fields = ask.fields()?;
    let topic = fields.required("topic")?;
    let partition = fields.number("partition", 0..=i32::MAX)?.unwrap_or(0);
    let start = fields.number("startOffset", 0..=i64::MAX)?;
    fields.end()?;
    let start = start.ok_or_else(|| Problem::bad("startOffset is missing"))?;
    let client = ask.client();
    let producers = client.describe_producers(&topic, partition).await?;
    let found = producers
        .iter()
        .find(|it| it.current_txn_start_offset == start);
    let Some(found) = found else {
        let sentence = format!("no transaction of {topic}-{partition} begins at {start}");
        return Err(Problem::missing(sentence));
    };
    let filter = TransactionFilter {
        producer_ids: vec![found.producer_id],
        ..TransactionFilter::default()
    };
    let known = client.list_transactions(&filter).await?;
    if let Some((_, known)) = known.iter().find(|(_, it)| is_open(it)) {
        return Err(Problem {
            status: StatusCode::CONFLICT,
            detail: format!(
                "it is that of {}, which can be aborted as a whole",
                known.transactional_id
            ),
            ..ErrorCode::InvalidTxnState.into()
        });
    }
    client.abort_in_partition(&topic, partition, found).await?;
    Ok(done())
}
