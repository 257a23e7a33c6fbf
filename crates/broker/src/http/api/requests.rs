//! The request log: what clients asked and were answered, decoded.

use crate::apis;
use crate::base::hooks::{Operation, Resource};
use crate::base::request_log::{Entry, LOG_BYTES_MAX, Message};
use crate::http::answer::{Answer, json, with};
use crate::http::ask::Ask;
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::node::Node;
use hyper::StatusCode;
use rustka_core::error::ErrorCode;
use rustka_wire::api::ApiKey;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of one answer, and rows unless told otherwise.
const ROWS_MAX: usize = 1_000;
const ROWS: usize = 200;
/// Entries that are decoded at a time for an export.
const EXPORTED_TOGETHER: usize = 64;
/// Answers that are looked into for errors, the last ones.
const LOOKED_INTO_MAX: usize = 500;
/// Fields that hold secrets, or what would help to find them.
const SECRETS: [&str; 4] = ["authBytes", "saltedPassword", "salt", "hmac"];

/// What was asked last, the last first. To ask for it has requests recorded for ten seconds.
pub async fn list(ask: Ask) -> Result<Answer, Problem> {
    may_see(&ask)?;
    let limit = ask.query.number("limit", 1..=ROWS_MAX)?.unwrap_or(ROWS);
    let wanted = Wanted::parse(&ask)?;
    let node = ask.node().clone();
    node.requests.watched(node.clock.monotonic_ms());
    // To look for errors means to decode answers.
    let looked = ask.node().work.run(move || {
        let found = wanted.found(&node);
        let last = found.iter().rev().take(limit);
        let rows: Vec<Value> = last.map(|entry| row(entry)).collect();
        json!({
            "recording": node.requests.is_switched_on(),
            "bytesMax": LOG_BYTES_MAX,
            "total": found.len(),
            "requests": rows,
        })
    });
    let told = looked.await.ok_or(ErrorCode::UnknownServerError)?;
    Ok(json(&told))
}

/// Which entries a query lets pass.
struct Wanted {
    connection: Option<u64>,
    api: Option<String>,
    client: Option<String>,
    only_errors: bool,
}

impl Wanted {
    fn parse(ask: &Ask) -> Result<Wanted, Problem> {
        let query = &ask.query;
        Ok(Wanted {
            connection: query.number("connection", 0..=u64::MAX)?,
            api: query.text("api").map(str::to_lowercase),
            client: query.text("client").map(str::to_lowercase),
            only_errors: query.word("errors", &["no", "yes"])? == "yes",
        })
    }

    /// The entries that pass, the oldest first.
    fn found(&self, node: &Node) -> Vec<Arc<Entry>> {
        let mut entries = node.requests.entries();
        entries.retain(|entry| self.lets_pass(entry));
        entries
    }

    fn lets_pass(&self, entry: &Entry) -> bool {
        let noted = &entry.noted;
        let has = |text: &str, wanted: &Option<String>| {
            let wanted = wanted.as_ref();
            wanted.is_none_or(|wanted| text.to_lowercase().contains(wanted))
        };
        let is_of = |connection| connection == noted.connection;
        self.connection.is_none_or(is_of)
            && has(name(noted.api.0), &self.api)
            && (has(&noted.client_id, &self.client)
                || has(&noted.address.to_string(), &self.client))
            && (!self.only_errors || error(entry).is_some())
    }
}

/// Requests hold records of any topic: only who may change the cluster sees them.
fn may_see(ask: &Ask) -> Result<(), Problem> {
    match ask.access().may(Operation::Alter, Resource::Cluster) {
        true => Ok(()),
        false => Err(ErrorCode::ClusterAuthorizationFailed.into()),
    }
}

fn name(api: i16) -> &'static str {
    ApiKey::find(api).map_or("unknown", |api| api.name)
}

fn row(entry: &Entry) -> Value {
    let noted = &entry.noted;
    json!({
        "number": entry.number.to_string(),
        "atMs": noted.wall_ms.to_string(),
        "tookUs": noted.took_us.to_string(),
        "connection": noted.connection.to_string(),
        "address": noted.address.to_string(),
        "principal": &*noted.principal,
        "clientId": &*noted.client_id,
        "api": name(noted.api.0),
        "version": noted.api.1,
        "requestBytes": noted.request.bytes,
        "answerBytes": noted.answer.as_ref().ok().map(|answer| answer.bytes),
        "error": error(entry),
    })
}

/// The first error that an answer tells, or why there is no answer.
fn error(entry: &Entry) -> Option<String> {
    let noted = &entry.noted;
    match &noted.answer {
        Err(reason) if reason == "no answer is due" => None,
        Err(reason) => Some(reason.clone()),
        Ok(answer) => {
            let said = decoded(noted.api, true, answer)?;
            let code = i16::try_from(first_code(&said)?).ok()?;
            let known = ErrorCode::from_code(code).map(ErrorCode::name);
            Some(known.map_or_else(|| format!("error {code}"), str::to_owned))
        }
    }
}

fn first_code(said: &Value) -> Option<i64> {
    match said {
        Value::Object(fields) => {
            let own = fields.get("errorCode").and_then(Value::as_i64);
            let own = own.filter(|code| *code != 0);
            own.or_else(|| fields.values().find_map(first_code))
        }
        Value::Array(list) => list.iter().find_map(first_code),
        _ => None,
    }
}

fn decoded((api, version): (i16, i16), is_answer: bool, message: &Message) -> Option<Value> {
    let mut said = apis::decoded(api, version, is_answer, message.whole()?)?;
    hide(&mut said);
    Some(said)
}

/// Takes secrets out of what is shown: those of logins, and the values of configs that may hold some.
fn hide(said: &mut Value) {
    const HIDDEN: &str = "(hidden)";
    match said {
        Value::Object(fields) => {
            let config = fields.get("name").and_then(Value::as_str).unwrap_or("");
            let config = config.to_lowercase();
            let is_secret = ["password", "jaas", "secret", "token", "credential"]
                .iter()
                .any(|word| config.contains(word));
            for (name, value) in fields {
                match SECRETS.contains(&name.as_str()) || is_secret && name == "value" {
                    true => *value = HIDDEN.into(),
                    false => hide(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(hide),
        _ => {}
    }
}

/// The last error of each connection, among the last requests that were recorded.
pub fn last_errors(node: &Node) -> BTreeMap<u64, Value> {
    let mut errors = BTreeMap::new();
    for entry in node.requests.entries().iter().rev().take(LOOKED_INTO_MAX) {
        let noted = &entry.noted;
        if !errors.contains_key(&noted.connection)
            && let Some(error) = error(entry)
        {
            let told = json!({
                "error": error,
                "api": name(noted.api.0),
                "atMs": noted.wall_ms.to_string(),
                "number": entry.number.to_string(),
            });
            errors.insert(noted.connection, told);
        }
    }
    errors
}

/// One request with its answer, decoded.
pub async fn show(ask: Ask) -> Result<Answer, Problem> {
    may_see(&ask)?;
    let number = ask.name(0).parse().ok();
    let entry = number.and_then(|number| ask.node().requests.entry(number));
    let entry = entry.ok_or_else(|| Problem::missing("this request is not kept any more"))?;
    Ok(json(&whole(&entry)))
}

fn whole(entry: &Entry) -> Value {
    let noted = &entry.noted;
    let mut shown = row(entry);
    shown["request"] = decoded(noted.api, false, &noted.request).into();
    shown["answer"] = match &noted.answer {
        Ok(answer) => decoded(noted.api, true, answer).into(),
        Err(reason) => json!({ "none": reason }),
    };
    shown
}

/// Everything that is kept and that the query lets pass, as JSON lines, the oldest first.
pub async fn export(ask: Ask) -> Result<Answer, Problem> {
    may_see(&ask)?;
    let wanted = Wanted::parse(&ask)?;
    let (node, viewer) = (ask.node().clone(), ask.viewer());
    let (body, pieces) = Body::stream();
    tokio::spawn(async move {
        let entries = node.requests.entries();
        let wanted = Arc::new(wanted);
        for some in entries.chunks(EXPORTED_TOGETHER) {
            if let Err(problem) = viewer.who() {
                return pieces.fail(&problem.detail).await;
            }
            let (some, wanted) = (some.to_vec(), wanted.clone());
            let lines = node.work.run(move || lines(&some, &wanted)).await;
            let lines = lines.unwrap_or_default();
            if !lines.is_empty() && !pieces.send(lines).await {
                return;
            }
        }
    });
    let mut answer = with(StatusCode::OK, "application/jsonl", body);
    let headers = answer.headers_mut();
    crate::http::answer::set(
        headers,
        "content-disposition",
        "attachment; filename=\"requests.jsonl\"",
    );
    Ok(answer)
}

fn lines(entries: &[Arc<Entry>], wanted: &Wanted) -> String {
    let mut lines = String::new();
    for entry in entries.iter().filter(|entry| wanted.lets_pass(entry)) {
        lines.push_str(&whole(entry).to_string());
        lines.push('\n');
    }
    lines
}

/// Records requests whether anybody watches or not, or no more.
pub async fn switch(ask: Ask) -> Result<Answer, Problem> {
    may_see(&ask)?;
    let mut fields = ask.fields()?;
    let on = fields.flag("on")?;
    fields.end()?;
    let node = ask.node();
    node.requests.switch(on, node.clock.monotonic_ms());
    Ok(json(&json!({ "recording": on })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut said = json!({
            "upsertions": [{ "name": "alice", "saltedPassword": "c2VjcmV0", "salt": "c2FsdA==" }],
            "configs": [
                { "name": "ssl.key.password", "value": "secret" },
                { "name": "retention.ms", "value": "5" },
            ],
        });
        hide(&mut said);
        let text = said.to_string();
        assert!(
            !text.contains("c2Vj") && !text.contains("secret") && text.contains("\"5\""),
            "{text}"
        );
    }

    #[test]
    fn the_first_error_of_an_answer_is_found_wherever_it_stands() {
        let said = json!({ "errorCode": 0, "topics": [{ "partitions": [{ "errorCode": 0 }, { "errorCode": 3 }] }] });
        assert_eq!(first_code(&said), Some(3));
    }
}
