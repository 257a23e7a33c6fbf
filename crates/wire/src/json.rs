//! Kafka's JsonConverter trees: what the generated `to_json` and `from_json` share.
//!
//! One difference from Kafka: records are their bytes in base64, not only their size.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use crate::codec::{Records, Uuid, decode_standard, encode_standard};
#[cfg(feature = "client")]
pub use crate::generated::registry::{MESSAGES, MessageEntry};

/// Why a tree is not the message it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// A field that the version requires is missing.
    Missing(&'static str),
    /// A value has the wrong type or does not fit it.
    Invalid(&'static str),
    /// The message has no such version.
    UnsupportedVersion,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "field {name} is missing"),
            Self::Invalid(expected) => write!(f, "expected {expected}"),
            Self::UnsupportedVersion => f.write_str("message has no such version"),
        }
    }
}

impl std::error::Error for JsonError {}

type Result<T> = std::result::Result<T, JsonError>;

pub(crate) fn check_version(version: i16, low: i16, high: i16) -> Result<()> {
    if version < low || version > high {
        return Err(JsonError::UnsupportedVersion);
    }
    Ok(())
}

pub(crate) fn put(map: &mut Map<String, Value>, name: &str, value: Value) {
    map.insert(name.to_owned(), value);
}

pub(crate) fn of_bytes(bytes: &[u8]) -> Value {
    Value::from(encode_standard(bytes))
}

pub(crate) fn of_records(records: &Records<'_>) -> Value {
    of_bytes(records.as_bytes())
}

pub(crate) fn of_uuid(uuid: Uuid) -> Value {
    Value::from(uuid.to_string())
}

pub(crate) fn of_array<T>(values: &[T], element: impl Fn(&T) -> Value) -> Value {
    Value::Array(values.iter().map(element).collect())
}

pub(crate) fn of_nullable<T>(value: Option<&T>, write: impl FnOnce(&T) -> Value) -> Value {
    value.map_or(Value::Null, write)
}

pub(crate) fn field<'v>(tree: &'v Value, name: &'static str) -> Result<&'v Value> {
    tree.get(name).ok_or(JsonError::Missing(name))
}

pub(crate) fn bool(v: &Value) -> Result<bool> {
    v.as_bool().ok_or(JsonError::Invalid("a boolean"))
}

fn integer<T: TryFrom<i64>>(v: &Value, expected: &'static str) -> Result<T> {
    let wide = v.as_i64().ok_or(JsonError::Invalid(expected))?;
    T::try_from(wide).map_err(|_| JsonError::Invalid(expected))
}

pub(crate) fn i8(v: &Value) -> Result<i8> {
    integer(v, "an int8")
}

pub(crate) fn i16(v: &Value) -> Result<i16> {
    integer(v, "an int16")
}

pub(crate) fn u16(v: &Value) -> Result<u16> {
    integer(v, "a uint16")
}

pub(crate) fn i32(v: &Value) -> Result<i32> {
    integer(v, "an int32")
}

pub(crate) fn u32(v: &Value) -> Result<u32> {
    integer(v, "a uint32")
}

pub(crate) fn i64(v: &Value) -> Result<i64> {
    integer(v, "an int64")
}

pub(crate) fn f64(v: &Value) -> Result<f64> {
    v.as_f64().ok_or(JsonError::Invalid("a number"))
}

pub(crate) fn uuid(v: &Value) -> Result<Uuid> {
    let text = v.as_str().ok_or(JsonError::Invalid("a uuid"))?;
    text.parse().map_err(|_| JsonError::Invalid("a uuid"))
}

pub(crate) fn string(v: &Value) -> Result<Cow<'static, str>> {
    let text = v.as_str().ok_or(JsonError::Invalid("a string"))?;
    Ok(Cow::Owned(text.to_owned()))
}

pub(crate) fn bytes(v: &Value) -> Result<Cow<'static, [u8]>> {
    let text = v.as_str().ok_or(JsonError::Invalid("base64"))?;
    decode_standard(text)
        .map(Cow::Owned)
        .ok_or(JsonError::Invalid("base64"))
}

pub(crate) fn records(v: &Value) -> Result<Records<'static>> {
    bytes(v).map(Records::Bytes)
}

pub(crate) fn array<T>(v: &Value, element: impl Fn(&Value) -> Result<T>) -> Result<Vec<T>> {
    v.as_array()
        .ok_or(JsonError::Invalid("an array"))?
        .iter()
        .map(element)
        .collect()
}

pub(crate) fn nullable<T>(v: &Value, read: impl FnOnce(&Value) -> Result<T>) -> Result<Option<T>> {
    if v.is_null() {
        Ok(None)
    } else {
        read(v).map(Some)
    }
}
