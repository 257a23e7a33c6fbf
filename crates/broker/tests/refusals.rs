//! "Answer every field of this request with this code", for each API in each version that is served: a fault that says so
//! is told at every element that a request names.

mod common;

use common::World;
use rustka::fault::{Effect, Fault, Point};
use rustka_core::error::ErrorCode;
use rustka_oracle_player::sample::ELEMENTS;
use rustka_oracle_player::schema::Schemas;
use rustka_wire::{Encode, Writer};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CODE: ErrorCode = ErrorCode::BrokerNotAvailable;

/// What codes are called.
const CODE_FIELDS: [&str; 2] = ["errorCode", "partitionErrorCode"];
/// Versions that are told so that old clients go on, and in which nobody can ask.
const PRODUCE_FROM: i16 = 3;

/// How many elements a list of an answer has. As a rule it has one for each element of one list in the request.
fn expected_length(api: &str, path: &str) -> usize {
    match (api, path) {
        // One directory holds everything.
        ("DescribeLogDirs", ".results") => 1,
        // Topics of every directory that was named.
        ("AlterReplicaLogDirs", ".results") => ELEMENTS * ELEMENTS,
        // Deletions and additions.
        ("AlterUserScramCredentials", ".results") => ELEMENTS * 2,
        _ => ELEMENTS,
    }
}

/// A body that was encoded elsewhere.
struct Raw(Vec<u8>);

impl Encode for Raw {
    fn encode(&self, w: &mut Writer, _: i16) {
        w.raw(&self.0);
    }
}

/// A request in which every list has elements, as bytes.
fn request(schemas: &Schemas, api: &str, version: i16) -> Raw {
    let message = format!("{api}Request");
    let mut tree = schemas.sample(&message, version).expect("a schema");
    if api == "Produce" {
        // Without acks nobody is answered.
        tree["acks"] = json!(-1);
    }
    Raw(schemas.encode(&message, version, &tree).expect("encodes"))
}

/// Every code in an answer with the lists on the way to it, and every list of what has a code with its length.
#[derive(Default)]
struct Told {
    codes: Vec<(String, i64)>,
    lists: Vec<(String, usize)>,
}

impl Told {
    /// Walks over a part of an answer; whether a code stands in it that is not zero.
    fn walk(&mut self, path: &str, value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                let below = fields
                    .iter()
                    .map(|(key, value)| self.walk(&format!("{path}.{key}"), value));
                let below = below.fold(false, |any, has| any | has);
                let code = CODE_FIELDS.iter().find_map(|name| fields.get(*name));
                let Some(code) = code.and_then(Value::as_i64) else {
                    return below;
                };
                // Where those below have it, nothing has to stand above them.
                if code != 0 || !below {
                    self.codes.push((path.to_owned(), code));
                }
                code != 0 || below
            }
            Value::Array(elements) => {
                let has = elements
                    .iter()
                    .map(|element| self.walk(path, element))
                    .fold(false, |any, has| any | has);
                if has {
                    self.lists.push((path.to_owned(), elements.len()));
                }
                has
            }
            _ => false,
        }
    }
}

/// The rows behind this are written by hand: a version in which one cannot be encoded, or an element that it forgets, would
/// let a client under test go on as if nothing had happened.
#[tokio::test]
async fn each_api_says_the_code_at_every_element_in_every_version() {
    let schemas = Schemas::of_this_repository().expect("schemas");
    let requests = schemas
        .names()
        .filter_map(|name| name.strip_suffix("Request"));
    let names: BTreeMap<i16, &str> = requests
        .filter_map(|api| Some((schemas.api_key(api).ok()?, api)))
        .collect();
    let world = World::start();
    let mut client = world.connect();
    let served = world.broker.parts().apis;
    assert!(served.len() > 60, "{}", served.len());
    let mut wrong = Vec::new();
    for api in served {
        let name = names[&api.key];
        let from = if name == "Produce" {
            PRODUCE_FROM
        } else {
            api.min
        };
        for version in from..=api.max {
            let fault = Fault::at(Point::Dispatch).with(Effect::Error(CODE));
            world.broker.node().faults.arm(fault).expect("it fits");
            let request = request(&schemas, name, version);
            client.send(api.key, version, &request).await;
            let Some(frame) = client.receive().await else {
                wrong.push(format!("{name} v{version}: no answer"));
                world.broker.node().faults.disarm();
                client = world.connect();
                continue;
            };
            let message = format!("{name}Response");
            // Of ApiVersions the header never has tagged fields: who asks may not know the version.
            let is_flexible = schemas.is_flexible(&message, version).expect("known");
            let header = 4 + usize::from(is_flexible && name != "ApiVersions");
            let tree = schemas.decode(&message, version, &frame[header..]);
            let tree = tree.unwrap_or_else(|why| panic!("{name} v{version}: {why}"));
            let mut told = Told::default();
            told.walk("", &tree);
            let all_say_so = told
                .codes
                .iter()
                .all(|(_, code)| *code == i64::from(CODE.code()));
            let all_are_there = told
                .lists
                .iter()
                .all(|(path, length)| *length == expected_length(name, path));
            if told.codes.is_empty() || !all_say_so || !all_are_there {
                wrong.push(format!(
                    "{name} v{version}: {:?} {:?}",
                    told.codes, told.lists
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
