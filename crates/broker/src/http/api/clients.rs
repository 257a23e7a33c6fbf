//! Who is connected: with what, as whom, how much they ask and what went wrong.

use super::requests::last_errors;
use crate::base::hooks::{Operation, Resource};
use crate::http::answer::{Answer, done, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use crate::node::Peer;
use rustka_core::error::ErrorCode;
use rustka_wire::api::ApiKey;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Rows of one answer, and rows unless told otherwise.
const ROWS_MAX: usize = 500;
const ROWS: usize = 100;

/// The connections in sight, and those that the broker closed last.
pub async fn list(ask: Ask) -> Result<Answer, Problem> {
    may_see(&ask)?;
    let query = &ask.query;
    let search = query.text("search").unwrap_or("").to_lowercase();
    let words = ["since", "requests", "largest", "idle", "client"];
    let sort = query.word("sort", &words)?;
    let is_down = query.word("order", &["down", "up"])? == "down";
    let from = query.number("from", 0..=usize::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1..=ROWS_MAX)?.unwrap_or(ROWS);
    let node = ask.node();
    let now_ms = node.clock.monotonic_ms();
    node.requests.watched(now_ms);
    let mut rows: Vec<Arc<Peer>> = node.peers.all();
    rows.retain(|peer| search.is_empty() || fits(peer, &search));
    rows.sort_by(|one, other| {
        let order = compare(sort, one, other).then(one.id.cmp(&other.id));
        match is_down {
            true => order.reverse(),
            false => order,
        }
    });
    let total = rows.len();
    let of = node.clone();
    let errors = node.work.run(move || last_errors(&of)).await;
    let errors = errors.unwrap_or_default();
    let rows = rows.iter().skip(from).take(limit).map(|peer| {
        let mut row = row(peer, now_ms);
        row["lastError"] = errors.get(&peer.id).cloned().unwrap_or(Value::Null);
        row
    });
    let rows: Vec<Value> = rows.collect();
    let closings = node.requests.closings();
    let closed = closings.iter().map(|closing| {
        json!({
            "atMs": closing.wall_ms.to_string(),
            "address": closing.address.to_string(),
            "reason": closing.reason,
        })
    });
    let strays = node.doctor.strays(now_ms);
    let strays = strays.iter().map(|stray| {
        json!({
            "address": stray.address.to_string(),
            "clientId": &*stray.client_id,
            "software": stray.software.as_ref().map(|software| &software.name),
            "listener": &*stray.listener,
            "told": stray.told,
            "reachedAt": stray.reached.map(|at| at.to_string()),
            "sinceMs": stray.since_ms.to_string(),
            "advice": stray.advice,
        })
    });
    Ok(json(&json!({
        "strays": strays.collect::<Vec<_>>(),
        "total": total,
        "from": from,
        "clients": rows,
        "closed": closed.collect::<Vec<_>>(),
    })))
}

/// Refuses those who may not know the cluster.
fn may_see(ask: &Ask) -> Result<(), Problem> {
    match ask.access().may(Operation::Describe, Resource::Cluster) {
        true => Ok(()),
        false => Err(ErrorCode::ClusterAuthorizationFailed.into()),
    }
}

fn fits(peer: &Peer, search: &str) -> bool {
    let software = peer.software();
    let mut texts = vec![peer.client_id().to_string(), peer.address.to_string()];
    texts.extend(software.map(|software| format!("{} {}", software.name, software.version)));
    texts.extend(
        peer.entry()
            .map(|(listener, user)| format!("{listener} {user}")),
    );
    texts
        .iter()
        .any(|text| text.to_lowercase().contains(search))
}

fn compare(sort: &str, one: &Peer, other: &Peer) -> Ordering {
    match sort {
        "requests" => one.requests().cmp(&other.requests()),
        "largest" => one.largest_bytes().cmp(&other.largest_bytes()),
        "idle" => other
            .active_ms
            .load(Relaxed)
            .cmp(&one.active_ms.load(Relaxed)),
        "client" => one.client_id().cmp(&other.client_id()),
        _ => one.since_ms.cmp(&other.since_ms),
    }
}

fn row(peer: &Peer, now_ms: i64) -> Value {
    let software = peer.software();
    let (listener, principal) = peer.entry().unzip();
    let api = ApiKey::find(peer.last_api()).map(|api| api.name);
    let since = |ms: i64| now_ms.saturating_sub(ms).to_string();
    json!({
        "id": peer.id.to_string(),
        "address": peer.address.to_string(),
        "reachedAt": peer.local.map(|local| local.to_string()),
        "listener": listener,
        "principal": principal,
        "clientId": &*peer.client_id(),
        "software": software.as_ref().map(|software| &software.name),
        "softwareVersion": software.as_ref().map(|software| &software.version),
        "connectedMs": since(peer.since_ms),
        "idleMs": since(peer.active_ms.load(Relaxed)),
        "requests": peer.requests().to_string(),
        "largestBytes": peer.largest_bytes(),
        "lastApi": api,
        "waits": peer.is_waiting(),
    })
}

/// Closes a connection.
pub async fn close(ask: Ask) -> Result<Answer, Problem> {
    if !ask.access().may(Operation::Alter, Resource::Cluster) {
        return Err(ErrorCode::ClusterAuthorizationFailed.into());
    }
    let id: Option<u64> = ask.name(0).parse().ok();
    let all = ask.node().peers.all();
    let peer = all.iter().find(|peer| Some(peer.id) == id);
    let peer = peer.ok_or_else(|| Problem::missing("there is no such connection"))?;
    peer.close();
    Ok(done())
}
