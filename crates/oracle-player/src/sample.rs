//! A full tree of any message, for tests that go over all of them: every field is there, every list has two elements.

use super::schema::{Context, Error, Schemas, has_version, key_of, text_of};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Elements of each list.
pub const ELEMENTS: usize = 2;

impl Schemas {
    /// A tree of this message in which no two names are the same.
    pub fn sample(&self, message: &str, version: i16) -> Result<Value, Error> {
        let context = self.context(message, version)?;
        Ok(context.sample(self.fields(message)?, &mut 0))
    }
}

impl<'a> Context<'a> {
    fn sample(&self, fields: &'a Value, count: &mut u8) -> Value {
        let fields = fields.as_array().into_iter().flatten();
        let present = fields.filter(|field| has_version(field, self.version));
        let values = present.map(|field| {
            let kind = text_of(&field["type"]);
            (key_of(field), self.sample_of(field, kind, count))
        });
        Value::Object(values.collect())
    }

    fn sample_of(&self, field: &'a Value, kind: &str, count: &mut u8) -> Value {
        if let Some(element) = kind.strip_prefix("[]") {
            let elements = (0..ELEMENTS).map(|_| self.sample_of(field, element, count));
            return Value::Array(elements.collect());
        }
        if let Some(fields) = self.fields_of(field, kind) {
            return self.sample(fields, count);
        }
        *count = count.wrapping_add(1);
        let n = *count;
        match kind {
            "bool" => json!(true),
            "string" => json!(format!("name-{n}")),
            "bytes" => json!(STANDARD.encode([n])),
            "records" => json!(""),
            "uuid" => json!(URL_SAFE_NO_PAD.encode([n; 16])),
            "float64" => json!(f64::from(n)),
            _ => json!(n % 100),
        }
    }
}
