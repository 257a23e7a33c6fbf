//! Answers, written so that they can be compared: without what differs from run to run.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::batch;

/// Numbers this close to the start of the run are times, and are written relative to it.
const NEAR_MS: i64 = 8 * 86_400_000;

/// What is known about a run.
pub(crate) struct Known<'a> {
    pub(crate) captured: &'a Map<String, Value>,
    pub(crate) now_ms: i64,
    pub(crate) port: u16,
}

impl Known<'_> {
    /// Writes what is known by its name.
    pub(crate) fn normalise(&self, key: &str, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.normalise(key, item)),
            Value::Object(fields) => fields
                .iter_mut()
                .for_each(|(key, value)| self.normalise(key, value)),
            Value::Number(number) => {
                let number = number.as_i64().unwrap_or(0);
                let is_id = matches!(
                    key,
                    "sessionId"
                        | "producerId"
                        | "producer_id"
                        | "previousProducerId"
                        | "nextProducerId"
                );
                if is_id && number > 0 {
                    let known = self
                        .captured
                        .iter()
                        .find(|(_, known)| known.as_i64() == Some(number));
                    *value = known.map_or(json!("another"), |(name, _)| json!(format!("${name}")));
                } else if key == "port" && number == i64::from(self.port) {
                    *value = json!("$port");
                } else if key == "port" && number == i64::from(self.port) + 2 {
                    *value = json!("$login");
                } else if number.saturating_sub(self.now_ms).abs() < NEAR_MS {
                    *value = json!({ "now": number - self.now_ms });
                }
            }
            Value::String(text) if text.len() >= 20 => {
                let known = self
                    .captured
                    .iter()
                    .find(|(_, known)| known.as_str() == Some(text));
                if let Some((name, _)) = known {
                    *value = json!(format!("${name}"));
                } else if let Some(chosen) = without_uuid(text) {
                    *value = json!(format!("{chosen}$uuid"));
                }
            }
            _ => {}
        }
    }
}

/// A text without the UUID it ends in.
fn without_uuid(text: &str) -> Option<&str> {
    let (chosen, uuid) = text.split_at_checked(text.len().checked_sub(36)?)?;
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    uuid.bytes().enumerate().all(fits).then_some(chosen)
}

/// Whether there is one of these error codes anywhere.
pub(crate) fn has_error(value: &Value, codes: &[i64]) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| has_error(item, codes)),
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            (key == "errorCode" && value.as_i64().is_some_and(|code| codes.contains(&code)))
                || has_error(value, codes)
        }),
        _ => false,
    }
}

/// Batches in the place of every `records`.
pub(crate) fn describe_records(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(describe_records),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str().map(|text| STANDARD.decode(text)) {
                    Some(Ok(bytes)) if key == "records" => *value = batch::decode(&bytes),
                    _ => describe_records(value),
                }
            }
        }
        _ => {}
    }
}
