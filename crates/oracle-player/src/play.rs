//! One run of a scenario: sends each step's request and notes what came back.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustka_client::frame::{self, Head};

use crate::batch;
use crate::journal;
use crate::line::{Connection, Pending, is_hang_up, is_silence};
use crate::outcome::{Known, describe_records, has_error};
use crate::sasl;
use crate::schema::{Error, Schemas};

pub use crate::line::Line;

/// Connections with such names are made where clients log in.
const LOGIN: &str = "login";
/// How often `until_not` asks again.
const TRIES_MAX: usize = 50;

/// The broker a scenario is played against.
pub struct Target<'a> {
    /// Opens a connection to it, at the first of its listeners (0) or at the one where clients log in (1).
    pub connect: &'a mut dyn FnMut(usize) -> std::io::Result<Box<dyn Line>>,
    /// The port it names in its answers.
    pub port: u16,
    /// Its idea of the time, in milliseconds since 1970.
    pub now_ms: &'a mut dyn FnMut() -> i64,
    /// Lets that much time pass.
    pub advance: &'a mut dyn FnMut(Duration),
    /// Called after a change to topics and after a request whose answer is read later; a real Kafka needs a moment until
    /// every part of it has seen the one or the other.
    pub settle: &'a mut dyn FnMut(),
    /// What the broker's authorizer was asked since this was called last: `READ TOPIC name`.
    pub asked: &'a mut dyn FnMut() -> Vec<String>,
    /// Called while an answer is awaited; a broker with a manual clock needs time to pass then.
    pub idle: &'a mut dyn FnMut(),
}

struct Run<'a, 'b> {
    schemas: &'a Schemas,
    target: &'a mut Target<'b>,
    connections: BTreeMap<String, Connection>,
    variables: Map<String, Value>,
    captured: Map<String, Value>,
    now_ms: i64,
    correlation: i32,
}

/// Plays one run and returns what each step led to: `{"answer": tree}`, `"closed"`, `"sent"`, `"waits"`, `"answered"` or null.
///
/// In the answers ids chosen by the broker read `"another"` or end in `$uuid`, captured values read `"$name"`, times near the
/// present `{"now": milliseconds}`, and the broker's port `"$port"`. Steps with `"asked": true` also tell what the authorizer
/// was asked, each once and in order of the alphabet.
pub fn play(
    schemas: &Schemas,
    name: &str,
    steps: &[Value],
    index: usize,
    variables: &Value,
    target: &mut Target,
) -> Result<Vec<Value>, Error> {
    let mut all = variables.as_object().cloned().unwrap_or_default();
    all.insert(
        "T".into(),
        json!(format!("{}-{index}", name.to_lowercase())),
    );
    let now_ms = (target.now_ms)();
    let mut run = Run {
        schemas,
        target,
        connections: BTreeMap::new(),
        variables: all,
        captured: Map::new(),
        now_ms,
        correlation: 0,
    };
    let mut out = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let outcome = if run.applies(step)? {
            run.step(step)
        } else {
            Ok(json!("skipped"))
        };
        out.push(outcome.map_err(|e| format!("{name} run {index} step {number}: {e}"))?);
    }
    Ok(out)
}

impl Run<'_, '_> {
    /// `"when": "v>=4"` or `"v<4"`.
    fn applies(&self, step: &Value) -> Result<bool, Error> {
        let Some(when) = step["when"].as_str() else {
            return Ok(true);
        };
        let (name, limit, at_least) = match when.split_once(">=") {
            Some((name, limit)) => (name, limit, true),
            None => when
                .split_once('<')
                .map(|(name, limit)| (name, limit, false))
                .ok_or("bad when")?,
        };
        let value = self
            .variables
            .get(name)
            .and_then(Value::as_i64)
            .ok_or_else(|| format!("no number {name}"))?;
        let limit: i64 = limit.parse().map_err(|_| "bad when")?;
        Ok((value >= limit) == at_least)
    }

    fn step(&mut self, step: &Value) -> Result<Value, Error> {
        if let Some(ms) = step["advance"].as_u64() {
            (self.target.advance)(Duration::from_millis(ms));
            return Ok(Value::Null);
        }
        let connection = step["connection"].as_str().unwrap_or("main");
        if step["close"] == true {
            self.connections.remove(connection);
            return Ok(Value::Null);
        }
        if step["waits"] == true {
            return self.look(connection);
        }
        if let Some(message) = step.get("token") {
            return self.token(connection, message);
        }
        if let Some(secret) = step.get("as") {
            return self.log_in(connection, secret);
        }
        if step["receive"] == true {
            let outcome = self.receive(connection)?;
            return self.finish(step, outcome);
        }
        let retried: Vec<i64> = step["until_not"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_i64)
            .collect();
        (self.target.asked)();
        for _ in 1..step["times"].as_u64().unwrap_or(1) {
            let frame = self.frame(step, connection)?;
            self.send(connection, &frame, step)?;
            self.receive(connection)?;
        }
        for attempt in 0.. {
            let frame = self.frame(step, connection)?;
            self.send(connection, &frame, step)?;
            if step["send"] == true || step["one_way"] == true {
                (self.target.settle)();
                return Ok(json!("sent"));
            }
            let outcome = self.receive(connection)?;
            if !has_error(&outcome, &retried) || attempt >= TRIES_MAX {
                let mut outcome = self.finish(step, outcome)?;
                if step["asked"] == true {
                    let asked = (self.target.asked)().into_iter();
                    let asked: BTreeSet<String> = asked.map(|what| self.named(what)).collect();
                    let outcome = outcome.as_object_mut().ok_or("only answers tell that")?;
                    outcome.insert("asked".into(), json!(asked));
                }
                return Ok(outcome);
            }
            (self.target.settle)();
        }
        Err("never answered".into())
    }

    /// Sends a message of a login as it is, and reads its answer, which is one, too.
    fn token(&mut self, name: &str, message: &Value) -> Result<Value, Error> {
        let message = sasl::bytes(&self.fill(message)?)?;
        let mut frame = (message.len() as u32).to_be_bytes().to_vec();
        frame.extend(message);
        self.send(name, &frame, &json!({}))?;
        let connection = self.connections.get_mut(name).ok_or("no connection")?;
        let Some(answer) = connection.next_frame(self.target.idle)? else {
            self.connections.remove(name);
            return Ok(json!("closed"));
        };
        Ok(json!({ "token": STANDARD.encode(answer.bytes()) }))
    }

    /// Logs somebody in by PLAIN.
    fn log_in(&mut self, connection: &str, secret: &Value) -> Result<Value, Error> {
        let (user, password) = (&secret[0], &secret[1]);
        let steps = [
            json!({"api": "SaslHandshake", "version": 1, "connection": connection, "request": {"mechanism": "PLAIN"}}),
            json!({"api": "SaslAuthenticate", "version": 2, "connection": connection, "request": {"authBytes": {"plain": ["", user, password]}}}),
        ];
        for step in &steps {
            let outcome = self.step(step)?;
            if outcome["answer"]["errorCode"] != 0 {
                return Err(format!("{user} does not come in: {outcome}"));
            }
        }
        Ok(json!("in"))
    }

    /// The whole frame of a step, length included.
    fn frame(&mut self, step: &Value, connection: &str) -> Result<Vec<u8>, Error> {
        if let Some(hex) = step["raw"].as_str() {
            let api = step["api"].as_str().unwrap_or("").to_owned();
            let version = if api.is_empty() {
                0
            } else {
                self.version(&step["version"])?
            };
            self.connect(connection)?.pending.push_back(Pending {
                api,
                version,
                correlation: None,
            });
            return from_hex(hex);
        }
        let api = step["api"]
            .as_str()
            .ok_or("a step needs an api")?
            .to_owned();
        let version = self.version(&step["version"])?;
        let key = match step["key"].as_i64() {
            Some(key) => key as i16,
            None => self.schemas.api_key(&api)?,
        };
        self.correlation += 1;
        let client_id = match step.get("client") {
            Some(Value::Null) => None,
            client => Some(self.fill(client.unwrap_or(&json!("oracle")))?),
        };
        let head = Head {
            key,
            version,
            correlation: self.correlation,
            client_id: client_id.as_ref().map(|id| id.as_str().unwrap_or("")),
        };
        let request = format!("{api}Request");
        let body = match step["body"].as_str() {
            Some(hex) => from_hex(hex)?,
            None => {
                let tree = self.fill(step.get("request").unwrap_or(&json!({})))?;
                self.schemas.encode(&request, version, &tree)?
            }
        };
        // A key that does not exist has the header of the request whose body it is given.
        let header_version = 1 + i16::from(self.schemas.is_flexible(&request, version)?);
        let frame = frame::write_with(&head, header_version, |w| w.raw(&body)).buf;
        let answer_version = match &step["answer_version"] {
            Value::Null => version,
            other => self.version(other)?,
        };
        let correlation = Some(self.correlation);
        let pending = &mut self.connect(connection)?.pending;
        if step["one_way"] != true {
            pending.push_back(Pending {
                api,
                version: answer_version,
                correlation,
            });
        }
        Ok(frame)
    }

    fn version(&self, value: &Value) -> Result<i16, Error> {
        let value = self.fill(value)?;
        value
            .as_i64()
            .and_then(|v| i16::try_from(v).ok())
            .ok_or_else(|| format!("{value} is not a version"))
    }

    fn connect(&mut self, name: &str) -> Result<&mut Connection, Error> {
        if !self.connections.contains_key(name) {
            let listener = usize::from(name.starts_with(LOGIN));
            let stream = (self.target.connect)(listener).map_err(|e| e.to_string())?;
            self.connections
                .insert(name.to_owned(), Connection::over(stream));
        }
        self.connections
            .get_mut(name)
            .ok_or_else(|| "no connection".into())
    }

    /// Whether the answer that the connection owes us is still owed.
    fn look(&mut self, name: &str) -> Result<Value, Error> {
        (self.target.settle)();
        let connection = self.connections.get_mut(name).ok_or("no connection")?;
        Ok(match connection.read() {
            Ok(0) => json!("closed"),
            Ok(_) => json!("answered"),
            Err(e) if is_silence(&e) && connection.incoming.buffered() == 0 => json!("waits"),
            Err(e) if is_silence(&e) => json!("answered"),
            Err(e) => return Err(format!("{name}: {e}")),
        })
    }

    fn send(&mut self, connection: &str, frame: &[u8], step: &Value) -> Result<(), Error> {
        match self.connect(connection)?.stream.write_all(frame) {
            // A broker that closes early shows when the answer is read.
            Err(e) if is_hang_up(&e) => Ok(()),
            other => other.map_err(|e| format!("{}: {e}", step["api"])),
        }
    }

    fn receive(&mut self, name: &str) -> Result<Value, Error> {
        self.connect(name)?;
        let connection = self.connections.get_mut(name).ok_or("no connection")?;
        let pending = connection.pending.pop_front();
        let Some(frame) = connection.next_frame(self.target.idle)? else {
            self.connections.remove(name);
            return Ok(json!("closed"));
        };
        let pending = pending.ok_or("an answer nobody asked for")?;
        let response = format!("{}Response", pending.api);
        let flexible =
            pending.api != "ApiVersions" && self.schemas.is_flexible(&response, pending.version)?;
        let (correlation, body) = frame::split(frame.bytes(), i16::from(flexible))
            .map_err(|e| format!("the answer's header: {e}"))?;
        if pending.correlation.is_some_and(|sent| sent != correlation) {
            return Err(format!(
                "correlation {correlation} in place of {:?}",
                pending.correlation
            ));
        }
        Ok(json!({ "answer": self.schemas.decode(&response, pending.version, body)? }))
    }

    /// Captures what the step names and writes the rest so that it can be compared.
    fn finish(&mut self, step: &Value, mut outcome: Value) -> Result<Value, Error> {
        if matches!(
            step["api"].as_str(),
            Some(
                "CreateTopics"
                    | "DeleteTopics"
                    | "CreatePartitions"
                    | "AlterConfigs"
                    | "IncrementalAlterConfigs"
            )
        ) {
            (self.target.settle)();
        }
        if step["journal"] == true {
            journal::describe(self.schemas, &mut outcome)?;
        }
        describe_records(&mut outcome);
        for (name, path) in step["capture"].as_object().into_iter().flatten() {
            let pointer = format!("/answer/{}", path.as_str().unwrap_or("").replace('.', "/"));
            let slot = outcome
                .pointer_mut(&pointer)
                .ok_or_else(|| format!("nothing to capture at {pointer}"))?;
            self.captured.insert(name.clone(), slot.clone());
            *slot = json!(format!("${name}"));
        }
        let known = Known {
            captured: &self.captured,
            now_ms: self.now_ms,
            port: self.target.port,
        };
        known.normalise("", &mut outcome);
        Ok(outcome)
    }

    /// A request with its variables, times and batches put in.
    /// A question that ends in a captured id, with the name of that instead.
    fn named(&self, question: String) -> String {
        let named = self.captured.iter().find_map(|(name, known)| {
            let known = known.as_str().filter(|known| known.len() >= 20)?;
            Some(format!("{}${name}", question.strip_suffix(known)?))
        });
        named.unwrap_or(question)
    }

    /// Puts captured text in the place of every `${name}`.
    fn fill_words(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in self.captured.iter().filter(|_| text.contains("${")) {
            filled = filled.replace(&format!("${{{name}}}"), value.as_str().unwrap_or(""));
        }
        filled
    }

    /// A message among consumers, behind its version.
    fn consumers(&self, message: &str, version: i16, tree: &Value) -> Result<Value, Error> {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend(self.schemas.encode(message, version, tree)?);
        Ok(json!(STANDARD.encode(bytes)))
    }

    /// `{topic: [partition]}` as such messages say it.
    fn partitions(&self, by_topic: Option<&Value>) -> Result<Value, Error> {
        let mut all = Vec::new();
        for (topic, partitions) in by_topic.and_then(Value::as_object).into_iter().flatten() {
            let topic = self.fill(&json!(topic))?;
            all.push(json!({ "topic": topic, "partitions": partitions }));
        }
        Ok(json!(all))
    }

    fn fill(&self, value: &Value) -> Result<Value, Error> {
        Ok(match value {
            Value::String(text) if text.starts_with('$') && !text.starts_with("$T") => self
                .captured
                .get(&text[1..])
                .or_else(|| self.variables.get(&text[1..]))
                .cloned()
                .ok_or_else(|| format!("nothing captured as {text}"))?,
            Value::String(text) => {
                let base = self
                    .variables
                    .get("T")
                    .and_then(Value::as_str)
                    .unwrap_or("");
                json!(self.fill_words(&text.replace("$T", base)))
            }
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.fill(item))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(fields) if fields.len() == 1 && fields.contains_key("now") => {
                json!(self.now_ms + fields["now"].as_i64().ok_or("now needs a number")?)
            }
            Value::Object(fields) if fields.contains_key("subscription") => {
                let topics = self.fill(&fields["subscription"])?;
                let owned = fields.get("owned");
                let version = i16::from(owned.is_some());
                let tree = json!({
                    "topics": topics,
                    "userData": null,
                    "ownedPartitions": self.partitions(owned)?,
                });
                self.consumers("ConsumerProtocolSubscription", version, &tree)?
            }
            Value::Object(fields) if fields.contains_key("share") => {
                let tree = json!({
                    "assignedPartitions": self.partitions(fields.get("share"))?,
                    "userData": null,
                });
                self.consumers("ConsumerProtocolAssignment", 0, &tree)?
            }
            Value::Object(fields) if fields.len() == 1 && sasl::is_message(fields) => {
                let mut filled = Map::new();
                for (key, value) in fields {
                    filled.insert(key.clone(), self.fill(value)?);
                }
                json!(STANDARD.encode(sasl::message(&filled)?))
            }
            Value::Object(fields) if fields.len() == 1 && fields.contains_key("long") => {
                json!("x".repeat(fields["long"].as_u64().ok_or("long needs a number")? as usize))
            }
            Value::Object(fields) => {
                let mut out = Map::new();
                for (key, value) in fields {
                    let value = self.fill(value)?;
                    let is_batch = key == "records"
                        && (value.is_object() || value.is_array())
                        && !fields.contains_key("codec");
                    let is_batch =
                        is_batch && (value.is_object() || value[0]["records"].is_array());
                    let value = if is_batch {
                        json!(STANDARD.encode(batch::encode(&value)?))
                    } else {
                        value
                    };
                    out.insert(key.clone(), value);
                }
                Value::Object(out)
            }
            other => other.clone(),
        })
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>, Error> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|e| e.to_string())?;
            u8::from_str_radix(pair, 16).map_err(|e| format!("{pair}: {e}"))
        })
        .collect()
}
