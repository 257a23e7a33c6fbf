//! Which records somebody looks for: words that all have to fit, each of them a text that is contained, or a field and
//! what it has to be.
//!
//! | | |
//! |---|---|
//! | `order` | key, value or a header's value contains it |
//! | `key:42`, `value:late`, `header.trace:abc` | this one contains it |
//! | `key=42` | this one is exactly that |
//! | `.user.id=7` | the value is JSON and has this there |
//! | `.error` | … and has something other than null there |
//! | `-word` | does not fit |
//! | `"two words"` | a text with spaces |

use rustka_core::batch::Record;
use serde_json::Value;

/// Words of a filter.
const WORDS_MAX: usize = 16;

/// What records have to fit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filter(Vec<Word>);

#[derive(Debug, PartialEq, Eq)]
struct Word {
    is_not: bool,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Anywhere(Vec<u8>),
    Within(Part, Vec<u8>),
    Equal(Part, Vec<u8>),
    Json(Vec<String>, Option<String>),
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Key,
    Value,
    Header(String),
}

impl Filter {
    /// Reads a filter; an empty one lets everything pass.
    pub fn parse(text: &str) -> Result<Filter, String> {
        let words = words(text)?;
        if words.len() > WORDS_MAX {
            return Err(format!("the filter has more than {WORDS_MAX} words"));
        }
        let words = words.into_iter().map(|(is_not, is_quoted, word)| {
            let what = match is_quoted {
                true => What::Anywhere(word.into_bytes()),
                false => what(&word)?,
            };
            Ok(Word { is_not, what })
        });
        words.collect::<Result<_, String>>().map(Filter)
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a record fits.
    pub fn passes(&self, record: &Record<'_>) -> bool {
        let mut value = None;
        self.0
            .iter()
            .all(|word| word.fits(record, &mut value) != word.is_not)
    }
}

/// The words of a text: whether each is negated and quoted.
fn words(text: &str) -> Result<Vec<(bool, bool, String)>, String> {
    let (mut all, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let is_not = rest.len() > 1 && rest.starts_with('-');
        rest = rest.strip_prefix('-').filter(|_| is_not).unwrap_or(rest);
        let is_quoted = rest.starts_with('"');
        let (mut word, mut within, mut end) = (String::new(), false, rest.len());
        for (at, c) in rest.char_indices() {
            match c {
                '"' => within = !within,
                c if c.is_whitespace() && !within => {
                    end = at;
                    break;
                }
                c => word.push(c),
            }
        }
        if within {
            return Err("the filter has a quotation mark without its second".to_owned());
        }
        all.push((is_not, is_quoted, word));
        rest = rest[end..].trim_start();
    }
    Ok(all)
}

fn what(word: &str) -> Result<What, String> {
    if let Some(path) = word.strip_prefix('.') {
        let (path, expected) = match path.split_once('=') {
            Some((path, expected)) => (path, Some(expected.to_owned())),
            None => (path, None),
        };
        let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
        if steps.iter().any(String::is_empty) {
            return Err(format!(
                "{word:?} is no path: expected one such as .user.id=7"
            ));
        }
        return Ok(What::Json(steps, expected));
    }
    let at = word.find([':', '=']);
    let split = at.map(|at| (&word[..at], &word[at..=at], &word[at + 1..]));
    let Some((name, sign, text)) = split else {
        return Ok(What::Anywhere(word.as_bytes().to_vec()));
    };
    let part = match name {
        "key" => Part::Key,
        "value" => Part::Value,
        _ => match name.strip_prefix("header.") {
            Some(header) => Part::Header(header.to_owned()),
            // A text that happens to have a colon.
            None => return Ok(What::Anywhere(word.as_bytes().to_vec())),
        },
    };
    let text = text.as_bytes().to_vec();
    Ok(match sign {
        "=" => What::Equal(part, text),
        _ => What::Within(part, text),
    })
}

impl Word {
    fn fits<'a>(&self, record: &Record<'a>, value: &mut Option<Value>) -> bool {
        match &self.what {
            What::Anywhere(text) => {
                let parts = [record.key, record.value].into_iter().flatten();
                let headers = record.headers.into_iter().filter_map(|(_, value)| value);
                parts.chain(headers).any(|part| contains(part, text))
            }
            What::Within(part, text) => any(part, record, |bytes| contains(bytes, text)),
            What::Equal(part, text) => any(part, record, |bytes| bytes == text),
            What::Json(path, expected) => {
                let value = value.get_or_insert_with(|| {
                    let bytes = record.value.unwrap_or_default();
                    serde_json::from_slice(bytes).unwrap_or(Value::Null)
                });
                has(value, path, expected.as_deref())
            }
        }
    }
}

fn any(part: &Part, record: &Record<'_>, fits: impl Fn(&[u8]) -> bool) -> bool {
    match part {
        Part::Key => record.key.is_some_and(fits),
        Part::Value => record.value.is_some_and(fits),
        Part::Header(name) => record
            .headers
            .into_iter()
            .any(|(key, value)| key == name.as_bytes() && value.is_some_and(&fits)),
    }
}

fn has(value: &Value, path: &[String], expected: Option<&str>) -> bool {
    let Some((step, rest)) = path.split_first() else {
        return match (expected, value) {
            (None, value) => !value.is_null(),
            (Some(expected), Value::String(text)) => text == expected,
            (Some(expected), value) => {
                let written = value.to_string();
                written == expected
            }
        };
    };
    match value {
        Value::Object(fields) => fields
            .get(step)
            .is_some_and(|next| has(next, rest, expected)),
        Value::Array(list) => match step.parse::<usize>() {
            Ok(at) => list.get(at).is_some_and(|next| has(next, rest, expected)),
            Err(_) => list.iter().any(|next| has(next, path, expected)),
        },
        _ => false,
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else {
        return true;
    };
    let mut from = bytes;
    while let Some(at) = from.iter().position(|byte| byte == first) {
        from = &from[at + 1..];
        if from.starts_with(rest) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord, Records, record_bytes};

    fn fits(filter: &str) -> bool {
        let mut builder = BatchBuilder::new();
        builder.push(&NewRecord {
            key: Some(b"order-42"),
            value: Some(
                br#"{"user":{"id":7,"name":"A B"},"tags":[{"x":"a"},{"x":"b"}],"none":null}"#,
            ),
            headers: &[("trace", Some(b"abc"))],
            ..NewRecord::default()
        });
        let batch = builder.build().unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        let bytes = record_bytes(&batch, &header, usize::MAX).unwrap();
        let record = Records::new(&bytes, 1).next().unwrap().unwrap();
        Filter::parse(filter).unwrap().passes(&record)
    }

    #[test]
    fn all_words_of_a_filter_have_to_fit() {
        for filter in [
            "",
            "42",
            "key:order user",
            "key=order-42",
            "header.trace:b",
            ".user.id=7",
            ".user.name=\"A B\"",
            "\"A B\"",
            ".tags.x=b",
            ".tags.1.x=b",
            ".user",
            "-.none",
            "-key=order",
            "abc",
            "-\"A  B\"",
        ] {
            assert!(fits(filter), "{filter}");
        }
        for filter in [
            "43",
            "key:user",
            "key=order",
            "header.other:b",
            ".user.id=8",
            ".none",
            "-42",
            ".tags.0.x=b",
            "order nothing",
        ] {
            assert!(!fits(filter), "{filter}");
        }
        for wrong in ["\"open", ".a..b", ".", "a b c d e f g h i j k l m n o p q"] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
    }
}
