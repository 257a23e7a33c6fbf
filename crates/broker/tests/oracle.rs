//! The scenarios of `scenarios/` against our broker, compared with the answers recorded from a real Apache Kafka.
//!
//! `cargo xtask oracle record` records. Under `--strict` answers must be equal; in the default mode equal but for the
//! `differences` a scenario lists. `pending.txt` names the scenarios that do not pass yet: it may only shrink.

mod common;
#[path = "oracle/denying.rs"]
mod denying;
#[path = "oracle/stage.rs"]
mod stage;

use rustka_oracle_player::compare::{ComparisonRules, Difference};
use rustka_oracle_player::scenario::Scenario;
use rustka_oracle_player::schema::Schemas;
use serde_json::{Value, json};
use stage::Stage;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// What differs from Kafka, one line each, and how many fields were compared.
fn replay(
    schemas: &Schemas,
    scenario: &Scenario,
    strict: bool,
) -> Result<(Vec<String>, usize), String> {
    let stage = Stage::start(scenario, strict)?;
    let recorded = scenario.recorded()?;
    let steps = scenario.json["steps"].as_array().map_or(0, Vec::len);
    if recorded.len() != scenario.runs().len() || recorded.iter().any(|run| run.len() != steps) {
        return Err("recorded answers belong to other runs or steps: record again".into());
    }
    let mut rules = ComparisonRules::of(&scenario.json);
    let mut expected: Vec<Value> = match strict {
        true => Vec::new(),
        false => scenario.json["differences"]
            .as_array()
            .cloned()
            .unwrap_or_default(),
    };
    let (mut problems, mut compared) = (Vec::new(), 0);
    for (run, recorded) in recorded.iter().enumerate() {
        let actual = stage.play(schemas, scenario, run)?;
        let (differences, count) = rules.compare(recorded, &actual);
        compared += count;
        for difference in differences {
            let found = expected
                .iter()
                .position(|e| is_expected(e, run, &difference));
            match found {
                Some(index) => drop(expected.swap_remove(index)),
                None => problems.push(describe(run, &difference)),
            }
        }
    }
    problems.extend(
        expected
            .iter()
            .map(|unused| format!("listed difference that is none: {unused}")),
    );
    problems.extend(
        rules
            .unused()
            .iter()
            .map(|rule| format!("rule without use: {rule}")),
    );
    Ok((problems, compared))
}

fn is_expected(expected: &Value, run: usize, difference: &Difference) -> bool {
    let of = |key: &str| {
        expected[key]
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
    };
    of("run") == Some(run)
        && of("step") == Some(difference.step)
        && expected["path"] == json!(difference.path)
        && expected["value"] == difference.actual
}

fn describe(run: usize, difference: &Difference) -> String {
    let Difference {
        step,
        path,
        recorded,
        actual,
    } = difference;
    format!("run {run} step {step} {path}: Kafka {recorded}, we {actual}")
}

fn pending(strict: bool) -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder().join("pending.txt")).expect("pending.txt");
    let mode = if strict { "strict" } else { "default" };
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(' ').unwrap_or((line, mode)));
    pairs
        .filter(|(_, of)| *of == mode)
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn replay_all(strict: bool) {
    let schemas = Schemas::of_this_repository().expect("schemas");
    // ORACLE=E29,E30 cargo test --test oracle -- --nocapture: shows what these differ in, pending or not.
    let only = std::env::var("ORACLE").unwrap_or_default();
    let only: Vec<&str> = only.split(',').filter(|name| !name.is_empty()).collect();
    let pending = pending(strict);
    let (mut failures, mut compared, mut equal) = (BTreeMap::new(), 0, BTreeSet::new());
    let scenarios = Scenario::all(&folder()).expect("scenarios");
    for scenario in scenarios.iter().filter(|s| s.name != "api-versions") {
        if !only.is_empty() && !only.contains(&scenario.name.as_str()) {
            continue;
        }
        match replay(&schemas, scenario, strict) {
            Ok((problems, count)) if problems.is_empty() => {
                compared += count;
                equal.insert(scenario.name.clone());
            }
            Ok((problems, _)) => drop(failures.insert(scenario.name.clone(), problems)),
            Err(why) => drop(failures.insert(scenario.name.clone(), vec![why])),
        }
    }
    // Straight to the terminal: the test harness holds back what macros print.
    let mode = if strict { "strict" } else { "default" };
    let (equal, unequal) = (equal.len(), failures.len());
    writeln!(
        io::stderr(),
        "{mode}: {equal} scenarios equal, {compared} fields compared, {unequal} not equal"
    )
    .expect("a terminal");
    if !only.is_empty() {
        assert!(failures.is_empty(), "{failures:#?}");
        return;
    }
    let known: BTreeSet<String> = failures
        .keys()
        .filter(|name| pending.contains(*name))
        .cloned()
        .collect();
    failures.retain(|name, _| !pending.contains(name));
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(
        known, pending,
        "these pass, or are gone: take them out of pending.txt"
    );
}

#[test]
fn a_strict_broker_answers_what_kafka_answers() {
    replay_all(true);
}

#[test]
fn a_broker_with_our_defaults_differs_only_where_listed() {
    replay_all(false);
}

#[test]
fn the_readme_has_a_row_for_every_difference_and_no_row_without_one() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    let (_, table) = readme
        .split_once("## How Rustka differs from Kafka")
        .expect("the table");
    let rows = table.lines().skip_while(|line| !line.starts_with("|---"));
    // Rows with a star hold under --strict too, so no scenario can show them.
    let said: BTreeSet<&str> = rows
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .filter(|line| !line.ends_with("* |"))
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .collect();
    let scenarios = Scenario::all(&folder()).expect("scenarios");
    let shown: BTreeSet<&str> = scenarios
        .iter()
        .filter(|scenario| scenario.json["differences"].is_array())
        .map(|scenario| scenario.json["row"].as_str().expect(&scenario.name))
        .collect();
    assert_eq!(said, shown);
}

/// What a stock Kafka serves that we do not yet: may only shrink.
const MISSING_KEYS: &[i64] = &[
    76, 77, 78, 79, 80, 81, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94,
];

/// Features of a stock Kafka that we do not have yet: may only shrink.
const MISSING_FEATURES: &[&str] = &["share.version", "streams.version"];

/// The features of a list, by name, without those that we lack; `ours` has none of these.
fn features(answer: &Value, list: &str, ours: bool) -> BTreeMap<String, Value> {
    let list = answer["answer"][list].as_array().into_iter().flatten();
    let mut features: BTreeMap<String, Value> = list
        .map(|feature| {
            (
                feature["name"].to_string().replace('"', ""),
                feature.clone(),
            )
        })
        .collect();
    if ours {
        let had: Vec<_> = MISSING_FEATURES
            .iter()
            .filter(|name| features.contains_key(**name))
            .collect();
        assert!(had.is_empty(), "take out of MISSING_FEATURES: {had:?}");
    }
    features.retain(|name, _| !MISSING_FEATURES.contains(&name.as_str()));
    features
}

#[test]
fn api_versions_differ_from_a_stock_kafka_only_by_what_is_missing() {
    let schemas = Schemas::of_this_repository().expect("schemas");
    let scenarios = Scenario::all(&folder()).expect("scenarios");
    let scenario = scenarios
        .iter()
        .find(|s| s.name == "api-versions")
        .expect("scenario");
    let stage = Stage::start(scenario, true).expect("broker");
    let keys = |answer: &Value| -> BTreeMap<i64, Value> {
        let list = answer["answer"]["apiKeys"].as_array().into_iter().flatten();
        list.map(|key| (key["apiKey"].as_i64().unwrap_or(-1), key.clone()))
            .collect()
    };
    for (run, recorded) in scenario.recorded().expect("recorded").iter().enumerate() {
        let actual = stage.play(&schemas, scenario, run).expect("answer");
        let (mut theirs, ours) = (keys(&recorded[0]), keys(&actual[0]));
        let served: Vec<_> = MISSING_KEYS
            .iter()
            .filter(|key| ours.contains_key(key))
            .collect();
        assert_eq!(
            served,
            Vec::<&i64>::new(),
            "these are served: take them out of MISSING_KEYS"
        );
        theirs.retain(|key, _| !MISSING_KEYS.contains(key));
        assert_eq!(theirs, ours, "run {run}");
        // The scenario "E6" of supported features is part of this: before version 4 none that begins at 0 is told.
        for list in ["supportedFeatures", "finalizedFeatures"] {
            let (theirs, ours) = (
                features(&recorded[0], list, false),
                features(&actual[0], list, true),
            );
            assert_eq!(theirs, ours, "run {run} {list}");
        }
    }
}
