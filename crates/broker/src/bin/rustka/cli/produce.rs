//! `rustka produce`: each line of the input is a record.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rustka_client::{Client, NewRecord, ProduceOptions, Producer};
use rustka_core::compression::Codec;
use serde_json::Value;

use super::failure::Failure;
use super::lines::Lines;
use super::output::Output;

/// How batches are compressed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Codec {
        match compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        }
    }
}

/// What to write, and where.
#[derive(Args)]
pub struct ProduceArguments {
    /// The topic.
    topic: String,
    /// Read from this file instead of standard input.
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// The key of all records.
    #[arg(short, long)]
    key: Option<String>,
    /// What stands between key and value in a line.
    #[arg(short = 'K', long, conflicts_with = "key")]
    key_separator: Option<String>,
    /// Lines are JSON objects with value, key, headers, partition, timestamp; strings are sent as they are.
    #[arg(short, long, conflicts_with_all = ["key", "key_separator"])]
    json: bool,
    /// A header of all records; may be given many times.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = super::topic::pair)]
    headers: Vec<(String, String)>,
    /// The partition of all records.
    #[arg(short, long)]
    partition: Option<i32>,
    /// How batches are compressed.
    #[arg(short = 'z', long, value_enum, default_value = "none")]
    compression: Compression,
}

/// Writes the lines, and says how many.
pub async fn run(
    client: &Client,
    arguments: ProduceArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut lines = Lines::of(arguments.file.as_deref())
        .await
        .map_err(Failure::Usage)?;
    let options = ProduceOptions {
        codec: (arguments.compression.into(), None),
        ..ProduceOptions::default()
    };
    client.topic_or_create(&arguments.topic).await?;
    let mut producer = Producer::new(client, options);
    let (mut at, mut sent) = (0_usize, 0_usize);
    while let Some(some) = lines.next().await.map_err(Failure::Refused)? {
        let mut records = Vec::with_capacity(some.len());
        for line in some {
            at += 1;
            let record = arguments.record(line);
            let named = lines.named();
            records
                .push(record.map_err(|why| Failure::Usage(format!("{named}, line {at}: {why}")))?);
        }
        sent += producer.send(&arguments.topic, &records).await?.len();
    }
    output.done(&format!("{sent} records written to {}", arguments.topic))
}

impl ProduceArguments {
    fn record(&self, line: Vec<u8>) -> Result<NewRecord, String> {
        let mut record = match (self.json, &self.key_separator) {
            (true, _) => of_json(&line)?,
            (false, Some(separator)) => {
                let at = line
                    .windows(separator.len().max(1))
                    .position(|part| part == separator.as_bytes());
                let at =
                    at.ok_or_else(|| format!("there is no {separator:?} between key and value"))?;
                NewRecord::value(&line[at + separator.len()..]).key(&line[..at])
            }
            (false, None) => NewRecord::value(line),
        };
        if let Some(key) = &self.key {
            record.key = Some(key.clone().into_bytes());
        }
        record.partition = record.partition.or(self.partition);
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), Some(value.clone().into_bytes())));
        record.headers.extend(headers);
        Ok(record)
    }
}

/// A record as `rustka consume --format json` prints it. What is no string is sent as JSON, null as a tombstone.
fn of_json(line: &[u8]) -> Result<NewRecord, String> {
    let object: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let object = object.as_object().ok_or("this is no JSON object")?;
    let known = [
        "value",
        "key",
        "headers",
        "partition",
        "timestamp",
        "topic",
        "offset",
    ];
    if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("{name:?} is not among {}", known.join(", ")));
    }
    let bytes = |value: Option<&Value>| match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone().into_bytes()),
        Some(other) => Some(other.to_string().into_bytes()),
    };
    let partition = match object.get("partition") {
        None | Some(Value::Null) => None,
        Some(number) => {
            let partition = number
                .as_i64()
                .and_then(|number| i32::try_from(number).ok());
            Some(partition.ok_or("partition is a number")?)
        }
    };
    let timestamp = match object.get("timestamp") {
        None | Some(Value::Null) => None,
        Some(number) => Some(
            number
                .as_i64()
                .ok_or("timestamp is a number of milliseconds")?,
        ),
    };
    let headers = match object.get("headers") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(headers)) => headers
            .iter()
            .map(|(name, value)| (name.clone(), bytes(Some(value))))
            .collect(),
        Some(_) => return Err("headers is an object of names and values".to_owned()),
    };
    Ok(NewRecord {
        partition,
        timestamp,
        key: bytes(object.get("key")),
        value: bytes(object.get("value")),
        headers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_becomes_a_record() {
        let line = br#"{"key":"a","value":{"n":1},"headers":{"h":"x","none":null},"partition":2,"timestamp":5}"#;
        let record = of_json(line).expect("a record");
        assert_eq!(record.key.as_deref(), Some(&b"a"[..]));
        assert_eq!(record.value.as_deref(), Some(&br#"{"n":1}"#[..]));
        assert_eq!(record.partition, Some(2));
        assert_eq!(record.timestamp, Some(5));
        let headers = [
            ("h".to_owned(), Some(b"x".to_vec())),
            ("none".to_owned(), None),
        ];
        assert_eq!(record.headers, headers);
        assert_eq!(
            of_json(br#"{"value":null}"#).expect("a tombstone").value,
            None
        );
        assert!(of_json(br#"{"valu":1}"#).is_err_and(|why| why.contains("valu")));
        assert!(of_json(br#"[1]"#).is_err());
    }
}
