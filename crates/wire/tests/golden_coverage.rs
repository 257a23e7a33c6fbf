//! The reference bytes cover every schema in every stable version, so none is left out of the comparison unnoticed.

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// Name and version of every case in the golden file, and how many cases there are.
fn golden() -> (BTreeSet<(String, i64)>, usize) {
    let packed = &include_bytes!("../testdata/golden.jsonl.gz")[..];
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_string(&mut text)
        .expect("golden file is gzip");
    let key = |line: &str| {
        let case: Value = serde_json::from_str(line).expect("golden row is JSON");
        let name = case["message"].as_str().expect("name").to_owned();
        (name, case["version"].as_i64().expect("version"))
    };
    (text.lines().map(key).collect(), text.lines().count())
}

/// Name and version of everything the schemas declare stable.
fn declared() -> BTreeSet<(String, i64)> {
    let mut out = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema");
    for folder in std::fs::read_dir(root).expect("schemas") {
        for file in std::fs::read_dir(folder.expect("folder").path()).expect("folder") {
            let text = std::fs::read_to_string(file.expect("file").path()).expect("text");
            let schema: Value = serde_json::from_str(&text).expect("schema is JSON");
            let range = schema["validVersions"].as_str().expect("versions");
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let low: i64 = low.parse().expect("lowest version");
            let high: i64 = high.parse().expect("highest version");
            let stable = high - i64::from(schema["latestVersionUnstable"] == true);
            let name = schema["name"].as_str().expect("name");
            out.extend((low..=stable).map(|version| (name.to_owned(), version)));
        }
    }
    out
}

#[test]
fn every_schema_has_reference_bytes_in_every_stable_version() {
    let (covered, cases) = golden();
    println!("{cases} cases of {} messages and versions", covered.len());
    assert_eq!(covered, declared());
}
