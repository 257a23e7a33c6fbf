//! What a request says, read once and strictly: what is not known is refused, so that a typing mistake is no silent no.

use super::problem::Problem;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Percent-decodes a part of a path or of a query; none if that is no UTF-8.
pub fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// The parameters behind the question mark.
#[derive(Clone, Default)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Those of this query, which may only have known names, each once.
    pub fn parse(query: &str, known: &[&str]) -> Result<Query, Problem> {
        let mut all = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name, true).zip(decode(value, true));
            let (name, value) = decoded.ok_or_else(|| Problem::bad("the query is no UTF-8"))?;
            if !known.contains(&name.as_str()) {
                let known = match known {
                    [] => "there are none here".to_owned(),
                    _ => format!("there are {}", known.join(", ")),
                };
                let sentence = format!("unknown parameter {name:?}: {known}");
                return Err(Problem::bad(sentence));
            }
            let again = format!("parameter {name} is given twice");
            if all.insert(name, value).is_some() {
                return Err(Problem::bad(again));
            }
        }
        Ok(Query(all))
    }

    /// A parameter, if it is there and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Sets a parameter that is known.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// A number within a range.
    pub fn number<N>(&self, name: &str, range: RangeInclusive<N>) -> Result<Option<N>, Problem>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        number(name, text, &range).map(Some)
    }

    /// One of these words, or the first.
    pub fn word<'w>(&self, name: &str, words: &[&'w str]) -> Result<&'w str, Problem> {
        let first = words.first().copied().unwrap_or_default();
        let Some(text) = self.text(name) else {
            return Ok(first);
        };
        let found = words.iter().find(|word| **word == text);
        found.copied().ok_or_else(|| {
            Problem::bad(format!("{name} is {text:?}: expected {}", words.join(", ")))
        })
    }
}

fn number<N>(name: &str, text: &str, range: &RangeInclusive<N>) -> Result<N, Problem>
where
    N: FromStr + PartialOrd + Display,
{
    let found = text.parse().ok().filter(|found| range.contains(found));
    found.ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        Problem::bad(format!(
            "{name} is {text:?}: expected a whole number from {low} to {high}"
        ))
    })
}

/// The fields of a JSON object that was sent.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Those of this text; of nothing at all there are none.
    pub fn parse(text: &[u8]) -> Result<Fields, Problem> {
        if text.is_empty() {
            return Ok(Fields(Map::new()));
        }
        let value = serde_json::from_slice(text)
            .map_err(|error| Problem::bad(format!("the body is no JSON: {error}")))?;
        Fields::of(value, "the body")
    }

    /// Those of an object within.
    pub fn of(value: Value, name: &str) -> Result<Fields, Problem> {
        match value {
            Value::Object(fields) => Ok(Fields(fields)),
            _ => Err(Problem::bad(format!("{name} is no JSON object"))),
        }
    }

    /// Takes a field as it is; null counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a text that may be absent.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::bad(format!("{name} is no text"))),
        }
    }

    /// Takes a text that has to be there.
    pub fn required(&mut self, name: &str) -> Result<String, Problem> {
        self.text(name)?
            .ok_or_else(|| Problem::bad(format!("{name} is missing")))
    }

    /// Takes a number, given as one or as text.
    pub fn number<N>(&mut self, name: &str, range: RangeInclusive<N>) -> Result<Option<N>, Problem>
    where
        N: FromStr + PartialOrd + Display,
    {
        let text = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text,
            Some(Value::Number(found)) => found.to_string(),
            Some(_) => return Err(Problem::bad(format!("{name} is no number"))),
        };
        number(name, &text, &range).map(Some)
    }

    /// Takes a yes or no; absent is no.
    pub fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Problem::bad(format!("{name} is neither true nor false"))),
        }
    }

    /// Takes a list; absent is an empty one.
    pub fn list(&mut self, name: &str) -> Result<Vec<Value>, Problem> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(Problem::bad(format!("{name} is no list"))),
        }
    }

    /// Takes an object whose values are texts or null, such as configs; absent is an empty one.
    pub fn texts(&mut self, name: &str) -> Result<Vec<(String, Option<String>)>, Problem> {
        let Some(value) = self.take(name) else {
            return Ok(Vec::new());
        };
        let fields = Fields::of(value, name)?;
        let pairs = fields.0.into_iter().map(|(key, value)| match value {
            Value::Null => Ok((key, None)),
            Value::String(text) => Ok((key, Some(text))),
            Value::Number(number) => Ok((key, Some(number.to_string()))),
            Value::Bool(flag) => Ok((key, Some(flag.to_string()))),
            _ => Err(Problem::bad(format!("{name}.{key} is no text"))),
        });
        pairs.collect()
    }

    /// Nothing more is expected.
    pub fn end(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::bad(format!("unknown field {name:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused_and_what_is_encoded_is_read() {
        let query = Query::parse("a=x%2Fy+z&b=", &["a", "b"]).unwrap();
        assert_eq!((query.text("a"), query.text("b")), (Some("x/y z"), None));
        for wrong in ["c=1", "a=1&a=2", "a=%ff", "a=%f", "%zz=1"] {
            assert!(Query::parse(wrong, &["a", "b"]).is_err(), "{wrong}");
        }
        let mut fields = Fields::parse(br#"{"n": "7", "m": 8, "x": 1}"#).unwrap();
        assert_eq!(fields.number("n", 0..=9), Ok(Some(7)));
        assert!(fields.number("m", 0..=7).is_err());
        assert!(fields.end().is_err());
    }
}
