//! Writing records: new ones, and copies of those that are there.

use super::topics::find;
use crate::http::answer::{Answer, created};
use crate::http::ask::Ask;
use crate::http::input::Fields;
use crate::http::problem::Problem;
use crate::http::reader::{Budget, Data, Reader};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustka_client::{NewRecord, ProduceOptions, Producer};
use rustka_core::error::ErrorCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Writes one record, or with `from` a copy of one that is there.
pub async fn produce(ask: Ask) -> Result<Answer, Problem> {
    let topic = find(&ask, ask.name(0))?;
    let mut fields = ask.fields()?;
    let partition = fields.number("partition", 0..=i32::MAX)?;
    if partition.is_some_and(|partition| topic.partition(partition).is_none()) {
        return Err(Problem::missing("the topic has no such partition"));
    }
    let record = match fields.take("from") {
        Some(from) => copy(&ask, Fields::of(from, "from")?).await?,
        None => NewRecord {
            key: data(fields.take("key"), "key")?,
            value: data(fields.take("value"), "value")?,
            timestamp: fields.number("timestamp", 0..=i64::MAX)?,
            headers: headers(&mut fields)?,
            partition: None,
        },
    };
    fields.end()?;
    let record = NewRecord {
        partition,
        ..record
    };
    let options = ProduceOptions {
        is_idempotent: false,
        ..ProduceOptions::default()
    };
    let mut producer = Producer::new(&ask.client(), options);
    let written = producer.send(&topic.name, &[record]).await?;
    let written = written.first().ok_or(ErrorCode::UnknownServerError)?;
    Ok(created(&json!({
        "partition": written.partition,
        "offset": written.offset.to_string(),
    })))
}

/// A header's name and value.
type Header = (String, Option<Vec<u8>>);

fn headers(fields: &mut Fields) -> Result<Vec<Header>, Problem> {
    let list = fields.list("headers")?.into_iter().map(|header| {
        let mut header = Fields::of(header, "a header")?;
        let name = header.required("name")?;
        let value = data(header.take("value"), "a header's value")?;
        header.end()?;
        Ok((name, value))
    });
    list.collect()
}

/// Bytes as text, or as an object that says how they are written.
fn data(value: Option<Value>, name: &str) -> Result<Option<Vec<u8>>, Problem> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.into_bytes())),
        Some(value) => {
            let mut fields = Fields::of(value, name)?;
            let (encoding, data) = (fields.required("encoding")?, fields.required("data")?);
            fields.end()?;
            match encoding.as_str() {
                "utf-8" => Ok(Some(data.into_bytes())),
                "base64" => STANDARD
                    .decode(data)
                    .map(Some)
                    .map_err(|error| Problem::bad(format!("{name} is no base64: {error}"))),
                _ => Err(Problem::bad(format!(
                    "the encoding of {name} is {encoding:?}: expected utf-8 or base64"
                ))),
            }
        }
    }
}

/// Key, value and headers of a record that is there, all of them whole.
async fn copy(ask: &Ask, mut from: Fields) -> Result<NewRecord, Problem> {
    let topic = find(ask, &from.required("topic")?)?;
    let partition = from.number("partition", 0..=i32::MAX)?.unwrap_or(0);
    let offset = from.number("offset", 0..=i64::MAX - 1)?.unwrap_or(0);
    from.end()?;
    let mut reader = Reader::new(ask.client(), &topic, &ask.node().work);
    reader.shown_bytes_max = usize::MAX;
    reader.headers_max = usize::MAX;
    let mut budget = Budget::new(&ask.node().clock);
    let found = reader
        .read(
            partition,
            offset..offset + 1,
            1,
            &Arc::default(),
            &mut budget,
        )
        .await?;
    let row = found.rows.into_iter().find(|row| row.offset == offset);
    let row = row.ok_or_else(|| Problem::missing("the record to be sent again is gone"))?;
    if let Some(why) = row.unreadable {
        return Err(Problem::bad(format!("the record cannot be read: {why}")));
    }
    let whole = |data: Option<Data>| data.map(|data| data.data);
    let headers = row
        .headers
        .into_iter()
        .map(|(name, value)| (name, whole(value)));
    Ok(NewRecord {
        key: whole(row.key),
        value: whole(row.value),
        headers: headers.collect(),
        ..NewRecord::default()
    })
}
