//! Every message in every version against the bytes Kafka's own classes write (`cargo xtask oracle golden`).

use std::io::Read;

use rustka_wire::codec::decode_standard;
use rustka_wire::json::{MESSAGES, MessageEntry};
use rustka_wire::{Reader, Writer};
use serde_json::Value;

struct Case {
    name: String,
    message: &'static MessageEntry,
    version: i16,
    tree: Value,
    bytes: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let packed = &include_bytes!("../testdata/golden.jsonl.gz")[..];
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_string(&mut text)
        .expect("golden file is gzip");
    text.lines().map(case).collect()
}

fn case(line: &str) -> Case {
    let mut row: Value = serde_json::from_str(line).expect("golden row is JSON");
    let name = row["message"].as_str().expect("name").to_owned();
    let version = row["version"].as_i64().expect("version");
    Case {
        message: entry(&name),
        version: i16::try_from(version).expect("version"),
        bytes: decode_standard(row["bytes"].as_str().expect("bytes")).expect("base64"),
        name: format!("{name} v{version} {}", row["variant"]),
        tree: row["tree"].take(),
    }
}

fn entry(name: &str) -> &'static MessageEntry {
    MESSAGES
        .iter()
        .find(|m| m.name == name)
        .unwrap_or_else(|| panic!("{name} is not generated"))
}

fn decode(case: &Case, frame: &[u8]) -> Result<Value, rustka_wire::DecodeError> {
    (case.message.decode)(&mut Reader::new(frame), case.version)
}

#[test]
fn every_message_is_read_as_kafka_reads_it() {
    for case in cases() {
        let mut reader = Reader::new(&case.bytes);
        let tree = (case.message.decode)(&mut reader, case.version);
        assert_eq!(tree.as_ref(), Ok(&case.tree), "{}", case.name);
        assert!(
            reader.is_empty(),
            "{}: {} bytes left",
            case.name,
            reader.remaining()
        );
    }
}

#[test]
fn every_message_is_written_as_kafka_writes_it() {
    for case in cases() {
        let mut writer = Writer::new();
        let written = (case.message.encode)(&case.tree, &mut writer, case.version);
        assert_eq!(written, Ok(()), "{}", case.name);
        assert_eq!(writer.buf, case.bytes, "{}", case.name);
    }
}

#[test]
fn defaults_survive_every_version_even_unstable_ones() {
    for message in MESSAGES {
        for version in message.min_version..=message.max_version {
            let tree = (message.default)(version);
            let mut writer = Writer::new();
            let written = (message.encode)(&tree, &mut writer, version);
            assert_eq!(written, Ok(()), "{} v{version}", message.name);
            let mut reader = Reader::new(&writer.buf);
            let read = (message.decode)(&mut reader, version);
            assert_eq!(read, Ok(tree), "{} v{version}", message.name);
            assert!(reader.is_empty(), "{} v{version}", message.name);
        }
    }
}

#[test]
fn a_message_cut_short_is_refused_wherever_it_is_cut() {
    for case in cases() {
        for len in 0..case.bytes.len() {
            let cut = decode(&case, &case.bytes[..len]);
            assert!(cut.is_err(), "{} cut to {len} bytes: {cut:?}", case.name);
        }
    }
}

#[test]
fn a_damaged_message_is_read_or_refused_but_never_panics() {
    for case in cases().iter().filter(|case| case.name.contains("all")) {
        let mut frame = case.bytes.clone();
        // Every byte of small messages, about a hundred of large ones.
        for at in (0..frame.len()).step_by(frame.len() / 100 + 1) {
            let whole = frame[at];
            for damage in [whole.wrapping_sub(1), whole.wrapping_add(1)] {
                frame[at] = damage;
                // Any answer will do; what counts is that there is one.
                let _answer = decode(case, &frame);
            }
            frame[at] = whole;
        }
    }
}

#[test]
fn versions_outside_the_schema_are_refused() {
    for message in MESSAGES {
        for version in [
            i16::MIN,
            message.min_version - 1,
            message.max_version + 1,
            i16::MAX,
        ] {
            let read = (message.decode)(&mut Reader::new(&[0; 64]), version);
            let expected = Err(rustka_wire::DecodeError::UnsupportedVersion);
            assert_eq!(read, expected, "{} v{version}", message.name);
        }
    }
}
