//! How the console consumer prints records.

use std::collections::BTreeMap;

use rustka_client::{Fetched, Record};

use super::journals::Journal;
use crate::cli::output::Output;
use crate::named::tool::{Call, Failed, Outcome, properties};

/// Prints records, up to a number of them.
pub struct Printer<'a> {
    /// How.
    pub format: Format,
    /// Records still to be printed.
    pub left: Option<i64>,
    /// Records printed so far.
    pub printed: u64,
    /// Where to.
    pub output: &'a mut Output,
}

impl Printer<'_> {
    /// Whether another one may be printed.
    pub fn wants_more(&self) -> bool {
        self.left != Some(0)
    }

    /// Prints these; the offset of the first that was too many.
    pub fn print(&mut self, fetched: &Fetched) -> Outcome<Option<i64>> {
        let (mut text, mut rest) = (Vec::new(), None);
        for record in &fetched.records {
            if !self.wants_more() {
                rest = Some(record.offset);
                break;
            }
            self.left = self.left.map(|left| left - 1);
            self.printed += 1;
            self.format.write(fetched, record, &mut text)?;
        }
        self.output.bytes(&text)?;
        Ok(rest)
    }
}

/// How a record is printed.
pub struct Format {
    properties: BTreeMap<String, String>,
    formatter: Formatter,
    key: Deserializer,
    value: Deserializer,
}

/// What is printed of a record.
enum Formatter {
    /// What the properties ask for.
    Fields,
    /// Nothing.
    Nothing,
    /// What the broker has noted in a journal of its own.
    Journal(Journal),
}

impl Formatter {
    fn named(name: &str) -> Outcome<Formatter> {
        const PACKAGE: &str = "org.apache.kafka.tools.consumer.";
        Ok(match name.strip_prefix(PACKAGE).unwrap_or(name) {
            "DefaultMessageFormatter" | "LoggingMessageFormatter" => Formatter::Fields,
            "NoOpMessageFormatter" => Formatter::Nothing,
            "OffsetsMessageFormatter" => Formatter::Journal(Journal::Offsets),
            "GroupMetadataMessageFormatter" => Formatter::Journal(Journal::Groups),
            "TransactionLogMessageFormatter" => Formatter::Journal(Journal::Transactions),
            _ => {
                return Err(Failed::Usage(format!(
                    "{name} is not built in; there are, all behind {PACKAGE}: DefaultMessageFormatter, LoggingMessageFormatter, NoOpMessageFormatter, OffsetsMessageFormatter, GroupMetadataMessageFormatter and TransactionLogMessageFormatter"
                )));
            }
        })
    }
}

/// How bytes become text.
#[derive(Clone, Copy)]
enum Deserializer {
    /// As they are.
    Bytes,
    /// A number of so many bytes, as Java writes it.
    Number(usize),
}

impl Deserializer {
    fn named(name: &str) -> Outcome<Deserializer> {
        match name.rsplit('.').next().unwrap_or_default() {
            "StringDeserializer" | "ByteArrayDeserializer" | "BytesDeserializer" => {
                Ok(Deserializer::Bytes)
            }
            "LongDeserializer" => Ok(Deserializer::Number(8)),
            "IntegerDeserializer" => Ok(Deserializer::Number(4)),
            "ShortDeserializer" => Ok(Deserializer::Number(2)),
            other => Err(Failed::Complaint(format!(
                "{other} is not built in; there are StringDeserializer, LongDeserializer, IntegerDeserializer and ShortDeserializer"
            ))),
        }
    }

    fn write(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Deserializer::Number(length) if length == bytes.len() => {
                let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
                let mut whole = [if negative { 0xff } else { 0 }; 8];
                whole[8 - length..].copy_from_slice(bytes);
                out.extend(i64::from_be_bytes(whole).to_string().into_bytes());
            }
            _ => out.extend(bytes),
        }
    }
}

impl Format {
    /// As the options say.
    pub fn of(call: &Call) -> Outcome<Format> {
        let given = &call.given;
        let properties = properties(
            given,
            given.one("formatter-config"),
            &["property", "formatter-property"],
        )?;
        let formatter = given.one("formatter").unwrap_or("DefaultMessageFormatter");
        let deserializer = |option: &str, property: &str| {
            let name = given.one(option);
            let name = name.or(properties.get(property).map(String::as_str));
            name.map_or(Ok(Deserializer::Bytes), Deserializer::named)
        };
        Ok(Format {
            key: deserializer("key-deserializer", "key.deserializer")?,
            value: deserializer("value-deserializer", "value.deserializer")?,
            properties,
            formatter: Formatter::named(formatter)?,
        })
    }

    fn is(&self, key: &str, default: bool) -> bool {
        let value = self.properties.get(key);
        value.map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    fn text(&self, key: &str, default: &'static str) -> &str {
        self.properties.get(key).map_or(default, String::as_str)
    }

    fn write(&self, fetched: &Fetched, record: &Record, out: &mut Vec<u8>) -> Outcome {
        match &self.formatter {
            Formatter::Fields => self.write_fields(fetched, record, out),
            Formatter::Nothing => {}
            Formatter::Journal(journal) => journal.write(record, out).map_err(|why| {
                let offset = record.offset;
                Failed::Complaint(format!(
                    "Could not read record at offset {offset} due to: {why}"
                ))
            })?,
        }
        Ok(())
    }

    fn write_fields(&self, fetched: &Fetched, record: &Record, out: &mut Vec<u8>) {
        let separator = self.text("key.separator", "\t").as_bytes();
        let null = self.text("null.literal", "null").as_bytes();
        let mut is_first = true;
        let mut field = |out: &mut Vec<u8>, write: &mut dyn FnMut(&mut Vec<u8>)| {
            if !std::mem::take(&mut is_first) {
                out.extend(separator);
            }
            write(out);
        };
        let plain = [
            ("print.timestamp", time(record)),
            (
                "print.partition",
                format!("Partition:{}", fetched.partition),
            ),
            ("print.offset", format!("Offset:{}", record.offset)),
            // Of share groups, and of what the tool does not look at.
            ("print.delivery", "Delivery:NOT_PRESENT".to_owned()),
            ("print.epoch", "Epoch:NOT_PRESENT".to_owned()),
        ];
        for (key, text) in plain {
            if self.is(key, false) {
                field(out, &mut |out| out.extend(text.as_bytes()));
            }
        }
        if self.is("print.headers", false) {
            field(out, &mut |out| self.write_headers(record, null, out));
        }
        for (key, default, bytes, deserializer) in [
            ("print.key", false, &record.key, self.key),
            ("print.value", true, &record.value, self.value),
        ] {
            if self.is(key, default) {
                field(out, &mut |out| match bytes {
                    Some(bytes) => deserializer.write(bytes, out),
                    None => out.extend(null),
                });
            }
        }
        out.extend(self.text("line.separator", "\n").as_bytes());
    }

    fn write_headers(&self, record: &Record, null: &[u8], out: &mut Vec<u8>) {
        if record.headers.is_empty() {
            out.extend(b"NO_HEADERS");
        }
        for (at, (name, value)) in record.headers.iter().enumerate() {
            if at > 0 {
                out.extend(self.text("headers.separator", ",").as_bytes());
            }
            out.extend(name.as_bytes());
            out.push(b':');
            out.extend(value.as_deref().unwrap_or(null));
        }
    }
}

fn time(record: &Record) -> String {
    match (record.timestamp, record.is_append_time) {
        (-1, _) => "NO_TIMESTAMP".to_owned(),
        (time, true) => format!("LogAppendTime:{time}"),
        (time, false) => format!("CreateTime:{time}"),
    }
}
