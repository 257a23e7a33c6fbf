//! Plays the scenarios of the broker's tests against a real Apache Kafka and stores what it answers.
//!
//! Scenarios with the same broker configs share a broker, but for those that ask for a fresh one.

use rustka_oracle_player::play::{Line, Target, play};
use rustka_oracle_player::scenario::Scenario;
use rustka_oracle_player::schema::Schemas;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::root;

const START_MAX: Duration = Duration::from_secs(90);
/// How long Kafka may take until all its parts know of a changed topic, or have begun with a request.
const SETTLE: Duration = Duration::from_millis(400);
/// How long a read waits before it finds nothing.
const SILENCE: Duration = Duration::from_millis(10);

/// Records the named scenarios, or all.
pub fn record(names: &[String]) -> Result<(), String> {
    let schemas = Schemas::of_this_repository()?;
    let mut scenarios = Scenario::all(&root().join("crates/broker/tests/scenarios"))?;
    if let Some(unknown) = names
        .iter()
        .find(|name| scenarios.iter().all(|s| s.name != **name))
    {
        return Err(format!("no scenario {unknown}"));
    }
    scenarios.retain(|scenario| names.is_empty() || names.contains(&scenario.name));
    let mut groups: BTreeMap<(String, BTreeMap<String, String>), Vec<Scenario>> = BTreeMap::new();
    for scenario in scenarios {
        let own = if scenario.needs_fresh_broker() {
            scenario.name.clone()
        } else {
            String::new()
        };
        groups
            .entry((own, scenario.config()))
            .or_default()
            .push(scenario);
    }
    let mut failures = Vec::new();
    for ((_, config), scenarios) in groups {
        let kafka = Kafka::start(&config)?;
        for scenario in scenarios {
            match record_one(&schemas, &scenario, &kafka) {
                Ok(steps) => println!("{}: {steps} steps", scenario.name),
                Err(why) => failures.push(why),
            }
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

fn connect(address: SocketAddr) -> std::io::Result<Box<dyn Line>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    Ok(Box::new(stream))
}

fn record_one(schemas: &Schemas, scenario: &Scenario, kafka: &Kafka) -> Result<usize, String> {
    let runs = with_target(kafka, |target| {
        if has_groups(scenario) {
            wait_for_coordinators(schemas, target)?;
        }
        let runs = 0..scenario.runs().len();
        runs.map(|run| scenario.play(schemas, run, target))
            .collect::<Result<Vec<_>, _>>()
    })?;
    scenario.store(&runs)?;
    Ok(runs.iter().map(Vec::len).sum())
}

fn with_target<T>(kafka: &Kafka, run: impl FnOnce(&mut Target) -> T) -> T {
    let [first, login] = [kafka.address, kafka.login_address()];
    let (log, mut known) = (kafka.directory.join("asked.log"), 0);
    run(&mut Target {
        connect: &mut |listener| connect(if listener == 0 { first } else { login }),
        port: first.port(),
        now_ms: &mut || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
        },
        advance: &mut std::thread::sleep,
        settle: &mut || std::thread::sleep(SETTLE),
        asked: &mut || {
            // There is none before a first question.
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines = text.lines().skip(known).map(str::to_owned).collect();
            known = text.lines().count();
            lines
        },
        idle: &mut || {},
    })
}

fn has_groups(scenario: &Scenario) -> bool {
    if scenario.json["coordinators"] == false {
        return false;
    }
    let steps = scenario.json["steps"].as_array();
    steps
        .into_iter()
        .flatten()
        .any(|step| step["api"] == "FindCoordinator")
}

/// Kafka names a coordinator before that has begun to work. These four groups are of the four partitions there are.
fn wait_for_coordinators(schemas: &Schemas, target: &mut Target) -> Result<(), String> {
    let loading = json!([14, 15, 16]);
    let steps = [
        json!({"api": "FindCoordinator", "version": 3, "until_not": loading, "request": {"key": "a"}}),
        json!({"api": "DescribeGroups", "version": 5, "until_not": loading, "request": {"groups": ["a", "b", "c", "d"]}}),
    ];
    play(schemas, "waiting", &steps, 0, &json!({}), target)?;
    Ok(())
}

/// A real broker on a free port with an empty directory.
struct Kafka {
    process: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Kafka {
    /// Where clients log in, if the scenario's configs say so.
    fn login_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), self.address.port() + 2)
    }

    fn start(config: &BTreeMap<String, String>) -> Result<Self, String> {
        let port = free_ports()?;
        let directory =
            std::env::temp_dir().join(format!("kafka-oracle-{}-{port}", std::process::id()));
        let process = Command::new(root().join("clients/oracle/kafka"))
            .arg("start")
            .arg(port.to_string())
            .arg(&directory)
            .args(config.iter().map(|(key, value)| {
                let value = value.replace("$login", &(port + 2).to_string());
                let value = value.replace("$control", &(port + 1).to_string());
                format!("{key}={}", value.replace("$port", &port.to_string()))
            }))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let kafka = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            directory,
        };
        let deadline = Instant::now() + START_MAX;
        let log = kafka.directory.join("server.log");
        while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("Kafka Server started"))
        {
            if Instant::now() > deadline {
                return Err(format!("Kafka does not start: see {}", log.display()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(kafka)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // The start script replaces itself with the broker, so this is the broker's own process.
        if let Err(e) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("Kafka on {} was not stopped: {e}", self.address);
        }
        if let Err(e) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("{}: {e}", self.directory.display());
        }
    }
}

/// The start script uses a port and the one above it, and clients may log in at the next.
fn free_ports() -> Result<u16, String> {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
        let port = first.local_addr().map_err(|e| e.to_string())?.port();
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if port < u16::MAX - 1 && is_free(port + 1) && is_free(port + 2) {
            return Ok(port);
        }
    }
    Err("no three free ports in a row".into())
}
