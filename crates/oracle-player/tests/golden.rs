//! The interpreter that plays the scenarios agrees with Kafka's own classes, so an answer it decodes is what Kafka meant.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustka_oracle_player::schema::Schemas;
use serde_json::Value;
use std::io::Read;

#[test]
fn every_message_and_version_is_read_and_written_as_kafka_does() {
    let mut text = String::new();
    let packed = &include_bytes!("../../wire/testdata/golden.jsonl.gz")[..];
    flate2::read::GzDecoder::new(packed)
        .read_to_string(&mut text)
        .unwrap();
    let schemas = Schemas::of_this_repository().unwrap();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let message = case["message"].as_str().unwrap();
        let version = case["version"].as_i64().unwrap() as i16;
        let bytes = STANDARD.decode(case["bytes"].as_str().unwrap()).unwrap();
        let what = format!("{message} v{version} {}", case["variant"]);
        assert_eq!(
            schemas.decode(message, version, &bytes).as_ref(),
            Ok(&case["tree"]),
            "{what}"
        );
        assert_eq!(
            schemas.encode(message, version, &case["tree"]).as_ref(),
            Ok(&bytes),
            "{what}"
        );
    }
}
