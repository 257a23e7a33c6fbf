//! Every API that is served is checked against the authorizer as in Kafka.
//!
//! The scenarios `authorizer-*` record, of a real Kafka, what a client gets that may not do this or that, and what the
//! authorizer was asked for it; the oracle test compares both with ours. Here is shown that they leave out no API.

use rustka::apis::APIS;
use rustka_oracle_player::scenario::Scenario;
use rustka_wire::api::ApiKey;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// May not do anything.
const DENIED: &str = "deny:* * *";
/// May do everything.
const ALLOWED: &str = "deny:";
/// Kafka asks nothing for these: ApiVersions, what clients tell of themselves, and what a token's own people do with it.
const UNCHECKED: &[&str] = &[
    "ApiVersions",
    "ExpireDelegationToken",
    "GetTelemetrySubscriptions",
    "PushTelemetry",
    "RenewDelegationToken",
    "SaslAuthenticate",
    "SaslHandshake",
];
/// These leave out what the client may not know, without an error.
const SILENT: &[&str] = &[
    "DescribeCluster",
    "DescribeDelegationToken",
    "ListGroups",
    "ListTransactions",
];
/// The error codes of what is denied: topic, group, cluster, transactional id, token.
const CODES: [i64; 5] = [29, 30, 31, 53, 65];

/// What the scenarios show of one API.
#[derive(Default)]
struct Shown {
    asked: BTreeSet<String>,
    /// What was asked of anybody, without the names of resources.
    needed: BTreeSet<String>,
    denied_codes: BTreeSet<i64>,
    allowed_codes: BTreeSet<i64>,
}

fn codes(value: &Value, into: &mut BTreeSet<i64>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| codes(item, into)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_i64() {
                    Some(code) if key == "errorCode" => drop(into.insert(code)),
                    _ => codes(value, into),
                }
            }
        }
        _ => {}
    }
}

fn shown() -> BTreeMap<String, Shown> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let scenarios = Scenario::all(&folder).expect("scenarios");
    let mut all: BTreeMap<String, Shown> = BTreeMap::new();
    let guarded = scenarios
        .iter()
        .filter(|scenario| scenario.name.starts_with("authorizer-"));
    for scenario in guarded {
        assert_eq!(scenario.config()["authorizer.class.name"], "Denying");
        let steps = scenario.json["steps"].as_array().expect("steps");
        for recorded in scenario.recorded().expect("recorded") {
            for (step, outcome) in steps.iter().zip(&recorded) {
                let Some(asked) = outcome["asked"].as_array() else {
                    continue;
                };
                let api = step["api"].as_str().expect("an api");
                let shown = all.entry(api.to_owned()).or_default();
                let asked = asked.iter().filter_map(Value::as_str).map(str::to_owned);
                let asked: Vec<String> = asked.collect();
                let needed = asked.iter().map(|asked| {
                    let words: Vec<&str> = asked.splitn(3, ' ').collect();
                    words[..2].join(" ")
                });
                shown.needed.extend(needed);
                match step["client"].as_str() {
                    Some(DENIED) => {
                        shown.asked.extend(asked);
                        codes(&outcome["answer"], &mut shown.denied_codes);
                    }
                    Some(ALLOWED) => codes(&outcome["answer"], &mut shown.allowed_codes),
                    _ => {}
                }
            }
        }
    }
    all
}

#[test]
fn every_api_is_checked_and_says_what_is_denied() {
    let shown = shown();
    for api in APIS {
        let name = ApiKey::find(api.key).expect("a known key").name;
        let shown = shown.get(name);
        let shown = shown.unwrap_or_else(|| panic!("{name}: no scenario with a denied client"));
        let says_so = CODES.iter().any(|code| shown.denied_codes.contains(code));
        let checked = !shown.asked.is_empty();
        assert_eq!(checked, !UNCHECKED.contains(&name), "{name} is asked for");
        assert_eq!(says_so, checked && !SILENT.contains(&name), "{name} denies");
        let denies_all = CODES.iter().any(|code| shown.allowed_codes.contains(code));
        assert!(!denies_all, "{name} denies who may do everything");
    }
}

/// Attacks, row 38: somebody without a name, where nobody may do what no ACL allows, asked of Kafka's own authorizer. The
/// oracle test compares the answers with ours; here is shown that no API is left out, and that each says no.
#[test]
fn every_api_was_asked_for_by_somebody_who_has_not_logged_in() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let scenarios = Scenario::all(&folder).expect("scenarios");
    let anonymous = scenarios.iter().find(|one| one.name == "anonymous");
    let anonymous = anonymous.expect("the scenario");
    let config = anonymous.config();
    assert_eq!(config["allow.everyone.if.no.acl.found"], "false");
    assert_eq!(config["super.users"], "User:admin");
    let steps = anonymous.json["steps"].as_array().expect("steps");
    // What comes behind has been allowed.
    let denied = steps
        .iter()
        .take_while(|step| step["api"] != "CreateAcls" || step["connection"].is_null());
    let recorded = &anonymous.recorded().expect("recorded")[0];
    let mut told: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for (step, outcome) in denied.zip(recorded) {
        if let (Some(api), true) = (step["api"].as_str(), step["connection"].is_null()) {
            codes(&outcome["answer"], told.entry(api).or_default());
        }
    }
    for api in APIS {
        let name = ApiKey::find(api.key).expect("a known key").name;
        let told = told.get(name);
        let told = told.unwrap_or_else(|| panic!("{name}: nobody without a name asked"));
        let says_so = CODES.iter().any(|code| told.contains(code));
        let is_open = UNCHECKED.contains(&name) || SILENT.contains(&name);
        // Whoever is nobody cannot have tokens at all, whatever it may do.
        let is_token = name.ends_with("DelegationToken");
        assert_eq!(says_so, !is_open && !is_token, "{name}: {told:?}");
    }
}

/// The row of an API in `docs/rights.md`.
fn row(name: &str, shown: &Shown) -> String {
    let join = |words: Vec<String>, nothing: &str| match words.is_empty() {
        true => nothing.to_owned(),
        false => words.join(", "),
    };
    let needed = join(shown.needed.iter().cloned().collect(), "nothing");
    let denied = shown.denied_codes.iter();
    let denied = denied.filter(|code| CODES.contains(code));
    let denied = join(denied.map(i64::to_string).collect(), "–");
    format!("| {name} | {needed} | {denied} |")
}

/// Attacks, row 38: one table of what each request needs, with those to come, that people can read and nobody can forget.
#[test]
fn the_table_of_rights_has_every_api_as_it_was_recorded_and_those_to_come() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rights.md");
    let table = std::fs::read_to_string(table).expect("docs/rights.md");
    let rows: BTreeMap<&str, &str> = table
        .lines()
        .filter_map(|line| Some((line.strip_prefix("| ")?.split(" |").next()?, line)))
        .collect();
    let shown = shown();
    for api in APIS {
        let name = ApiKey::find(api.key).expect("a known key").name;
        let expected = row(name, shown.get(name).expect(name));
        assert_eq!(
            rows.get(name),
            Some(&&*expected),
            "the row in docs/rights.md"
        );
    }
    let to_come = rows.keys().filter(|name| !shown.contains_key(**name));
    for name in to_come.filter(|name| **name != "request") {
        let is_kafkas = (0..=200).any(|key| ApiKey::find(key).is_some_and(|api| api.name == *name));
        assert!(is_kafkas, "{name} is a request");
    }
}
