//! The messages of logins in scenarios.
//!
//! `{"plain": [identity, user, password]}`, `{"text": "n,,n=user,r=nonce"}`, and the last message of SCRAM
//! `{"proof": {"strength": 256, "password": …, "first": "n=user,r=nonce", "server": "$captured"}}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustka_core::security::scram::{Strength, proof};
use serde_json::{Map, Value};

use crate::schema::Error;

const KINDS: [&str; 3] = ["plain", "text", "proof"];

/// Whether this stands for such a message.
pub(crate) fn is_message(fields: &Map<String, Value>) -> bool {
    KINDS.iter().any(|kind| fields.contains_key(*kind))
}

/// Bytes as scenarios have them.
pub(crate) fn bytes(value: &Value) -> Result<Vec<u8>, Error> {
    let text = value.as_str().ok_or("bytes are text")?;
    STANDARD.decode(text).map_err(|e| format!("{text}: {e}"))
}

/// The message's bytes.
pub(crate) fn message(fields: &Map<String, Value>) -> Result<Vec<u8>, Error> {
    let word = |value: &Value| value.as_str().unwrap_or("").to_owned();
    if let Some(parts) = fields.get("plain").and_then(Value::as_array) {
        let parts: Vec<String> = parts.iter().map(word).collect();
        return Ok(parts.join("\0").into_bytes());
    }
    if let Some(text) = fields.get("text") {
        return Ok(word(text).into_bytes());
    }
    let last = fields.get("proof").ok_or("no message")?;
    let strength = match last["strength"].as_i64() {
        Some(256) => Strength::Sha256,
        Some(512) => Strength::Sha512,
        other => return Err(format!("{other:?} is no strength")),
    };
    let server = String::from_utf8(bytes(&last["server"])?).map_err(|e| e.to_string())?;
    let last = proof(
        strength,
        &word(&last["password"]),
        &word(&last["first"]),
        &server,
    );
    last.ok_or_else(|| format!("not a first message of a server: {server}"))
}
