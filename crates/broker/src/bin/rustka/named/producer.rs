//! `kafka-console-producer`.

use rustka_client::{NewRecord, ProduceOptions, Producer};
use rustka_core::compression::Codec;

use super::options::Given;
use super::options::Takes::{Many, Maybe, Nothing, One};
use super::tool::{Call, Failed, Outcome, Tool, exception, properties};
use crate::cli::connect::Reach;
use crate::cli::lines::Lines;

pub const TOOL: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("producer.config", One),
        ("command-property", Many),
        ("producer-property", Many),
        ("topic", One),
        ("reader-property", Many),
        ("property", Many),
        ("reader-config", One),
        ("compression-codec", Maybe),
        ("request-required-acks", One),
        ("batch-size", One),
        ("sync", Nothing),
        ("timeout", One),
        ("max-block-ms", One),
        ("request-timeout-ms", One),
        ("message-send-max-retries", One),
        ("retry-backoff-ms", One),
        ("metadata-expiry-ms", One),
        ("max-memory-bytes", One),
        ("max-partition-memory-bytes", One),
        ("socket-buffer-size", One),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &["line-reader"],
    config_options: &["command-config", "producer.config"],
    client_id: Some("console-producer"),
    mistake: Failed::Usage,
};

pub async fn run(call: &mut Call) -> Outcome {
    let given = &call.given;
    given.required("topic").map_err(Failed::Usage)?;
    given.required("bootstrap-server").map_err(Failed::Usage)?;
    super::tool::renamed(
        given,
        &[
            ("property", "reader-property"),
            ("producer-property", "command-property"),
            ("producer.config", "command-config"),
        ],
    )?;
    let topic = given.one("topic").unwrap_or_default().to_owned();
    let reader = Reader::of(given)?;
    let reach = call.reach(&["producer-property", "command-property"])?;
    let options = options(given, &reach)?;
    let client = reach.client().await?;
    let mut producer = Producer::new(&client, options);
    let mut lines = Lines::of(None).await.map_err(Failed::Complaint)?;
    let mut at = 0;
    while let Some(some) = lines.next().await.map_err(Failed::Complaint)? {
        let mut records = Vec::with_capacity(some.len());
        let mut wrong = None;
        for line in &some {
            at += 1;
            match reader.record(line, at) {
                Ok(record) => records.push(record),
                Err(sentence) => {
                    wrong = Some(Failed::Complaint(sentence));
                    break;
                }
            }
        }
        if !records.is_empty()
            && let Err(error) = producer.send(&topic, &records).await
        {
            // As with Kafka's tool: told, and the exit code is 0 all the same.
            eprintln!(
                "ERROR records for topic {topic} could not be written: {}",
                exception(&error)
            );
        }
        if let Some(failed) = wrong {
            return Err(failed);
        }
    }
    Ok(())
}

fn options(given: &Given, reach: &Reach) -> Outcome<ProduceOptions> {
    let codec = match (
        given.has("compression-codec"),
        given.one("compression-codec"),
    ) {
        (true, name) => name.unwrap_or("gzip"),
        (false, _) => reach.property("compression.type").unwrap_or("none"),
    };
    let codec = match codec {
        "none" => Codec::None,
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        other => {
            return Err(Failed::Complaint(format!(
                "Unknown compression name: {other}"
            )));
        }
    };
    let acks = given.one("request-required-acks");
    let acks = acks.or(reach.property("acks")).unwrap_or("-1");
    let acks = match acks {
        "all" | "-1" => -1,
        "0" => 0,
        "1" => 1,
        other => {
            return Err(Failed::Complaint(format!(
                "{other} is no number of acknowledgements: 0, 1 or all"
            )));
        }
    };
    let batch_bytes = reach
        .property("batch.size")
        .and_then(|text| text.parse().ok());
    let defaults = ProduceOptions::default();
    Ok(ProduceOptions {
        acks,
        codec: (codec, None),
        is_idempotent: acks == -1 && reach.property("enable.idempotence") != Some("false"),
        batch_bytes_max: batch_bytes.unwrap_or(defaults.batch_bytes_max),
        ..defaults
    })
}

/// Headers of a record, in order.
type Headers = Vec<(String, Option<Vec<u8>>)>;

/// How a line becomes a record: headers, key and value, each behind the other.
struct Reader {
    has_headers: bool,
    has_key: bool,
    key_separator: String,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    null_marker: Option<String>,
    ignores_errors: bool,
}

impl Reader {
    fn of(given: &Given) -> Outcome<Reader> {
        let told = properties(
            given,
            given.one("reader-config"),
            &["property", "reader-property"],
        )?;
        let known = [
            "parse.headers",
            "parse.key",
            "key.separator",
            "headers.delimiter",
            "headers.separator",
            "headers.key.separator",
            "null.marker",
            "ignore.error",
            "topic",
        ];
        if let Some(key) = told.keys().find(|key| !known.contains(&key.as_str())) {
            eprintln!(
                "WARN: {key} is no property of lines; there are {}",
                known.join(", ")
            );
        }
        let is = |key: &str| {
            told.get(key)
                .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        };
        let text =
            |key: &str, default: &str| told.get(key).map_or(default, String::as_str).to_owned();
        Ok(Reader {
            has_headers: is("parse.headers"),
            has_key: is("parse.key"),
            key_separator: text("key.separator", "\t"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            null_marker: told.get("null.marker").cloned(),
            ignores_errors: is("ignore.error"),
        })
    }

    fn record(&self, line: &[u8], at: usize) -> Result<NewRecord, String> {
        let mut record = NewRecord::default();
        let mut rest = line;
        if self.has_headers
            && let Some(headers) =
                self.part(&mut rest, &self.headers_delimiter, "headers end", line, at)?
            && !self.is_null(headers)
        {
            record.headers = self.headers(headers, line, at)?;
        }
        if self.has_key {
            let key = self.part(&mut rest, &self.key_separator, "key separator", line, at)?;
            record.key = key.filter(|key| !self.is_null(key)).map(<[u8]>::to_vec);
        }
        record.value = (!self.is_null(rest)).then(|| rest.to_vec());
        Ok(record)
    }

    /// What stands before the separator, which is taken off the rest; nothing where errors are ignored.
    fn part<'a>(
        &self,
        rest: &mut &'a [u8],
        separator: &str,
        named: &str,
        line: &[u8],
        at: usize,
    ) -> Result<Option<&'a [u8]>, String> {
        match find(rest, separator) {
            Some((before, behind)) => {
                *rest = behind;
                Ok(Some(before))
            }
            None if self.ignores_errors => Ok(None),
            None => Err(format!(
                "No {named} found on line number {at}: '{}'",
                String::from_utf8_lossy(line)
            )),
        }
    }

    fn headers(&self, text: &[u8], line: &[u8], at: usize) -> Result<Headers, String> {
        let mut headers = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (one, behind) = match find(text, &self.headers_separator) {
                Some((one, behind)) => (one, Some(behind)),
                None => (text, None),
            };
            rest = behind;
            match find(one, &self.headers_key_separator) {
                Some((name, value)) => headers.push((
                    String::from_utf8_lossy(name).into_owned(),
                    (!self.is_null(value)).then(|| value.to_vec()),
                )),
                None if self.ignores_errors => {
                    headers.push((String::from_utf8_lossy(one).into_owned(), None));
                }
                None => {
                    return Err(format!(
                        "No header key separator found in pair '{}' on line number {at}: '{}'",
                        String::from_utf8_lossy(one),
                        String::from_utf8_lossy(line)
                    ));
                }
            }
        }
        Ok(headers)
    }

    fn is_null(&self, text: &[u8]) -> bool {
        self.null_marker
            .as_ref()
            .is_some_and(|marker| marker.as_bytes() == text)
    }
}

/// What stands before and behind the first of these separators.
fn find<'a>(text: &'a [u8], separator: &str) -> Option<(&'a [u8], &'a [u8])> {
    let length = separator.len().max(1);
    let at = text
        .windows(length)
        .position(|part| part == separator.as_bytes())?;
    Some((&text[..at], &text[at + separator.len()..]))
}
