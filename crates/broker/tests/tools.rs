//! The binary under the names of Kafka's tools: each session of commands in `tests/tools` prints here, to the field, what
//! Kafka's own tools printed of a real Kafka (`tests/tools/recorded`, by clients/oracle/record_tools.py), and ends as they did.

mod process;
#[path = "tools/transact.rs"]
mod transact;

use process::{Process, RUSTKA};
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// As the recording starts Kafka.
const CONFIGS: [&str; 6] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
    "super.users=User:ANONYMOUS",
    "group.initial.rebalance.delay.ms=0",
    "offsets.topic.num.partitions=4",
    "transaction.state.log.num.partitions=4",
];

/// A broker and a folder, gone with the test.
struct World {
    _broker: Process,
    address: String,
    folder: PathBuf,
}

impl World {
    fn start(session: &str) -> World {
        let folder =
            std::env::temp_dir().join(format!("rustka-tools-{session}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let configs = CONFIGS.iter().flat_map(|config| ["-c", *config]);
        let broker = Process::start(
            Command::new(RUSTKA)
                .args([
                    "--port",
                    "0",
                    "--http-port",
                    "0",
                    "--strict",
                    "--fsync",
                    "never",
                ])
                // Records in files begin with the first producer id, as Kafka does.
                .arg("--data-dir")
                .arg(folder.join("data"))
                .args(configs)
                .env("RUST_LOG", "off")
                .stderr(Stdio::null()),
        );
        let address = broker.address("bootstrap");
        World {
            // By address, as Kafka was recorded.
            address: address.replace("localhost", "127.0.0.1"),
            _broker: broker,
            folder,
        }
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{b}", &self.address)
            .replace("{dir}", &self.folder.display().to_string())
    }

    /// What the step's command prints, and its exit code.
    fn run(&self, step: &Value) -> (String, Option<i32>) {
        if step["transact"].is_object() {
            transact::run(&self.address, &step["transact"]);
            return (String::new(), Some(0));
        }
        if let Some(files) = step["files"].as_object() {
            for (name, text) in files {
                let text = self.filled(text.as_str().expect("text"));
                std::fs::write(self.folder.join(name), text).expect("a file");
            }
        }
        let words = words(&self.filled(step["run"].as_str().expect("a command")));
        let tool = self.folder.join(&words[0]);
        if !tool.exists() {
            symlink(RUSTKA, &tool).expect("a link");
        }
        let mut process = Command::new(&tool)
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdin = process.stdin.take().expect("a pipe");
        // One that makes no sense of its arguments reads nothing.
        drop(stdin.write_all(step["input"].as_str().unwrap_or("").as_bytes()));
        drop(stdin);
        let output = process.wait_with_output().expect("it ends");
        let port = self.address.rsplit(':').next().expect("a port");
        let told = String::from_utf8_lossy(&output.stdout)
            .replace(&self.address, "{b}")
            // What a client on this machine is told.
            .replace(&format!("localhost:{port}"), "{b}")
            .replace(&self.folder.display().to_string(), "{dir}");
        if output.status.code() != Some(0) && told.is_empty() {
            assert!(
                !output.stderr.is_empty(),
                "{}: a failure that nobody is told of",
                step["run"]
            );
        }
        (told, output.status.code())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever is left lies among temporary files.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A line cut into words as a shell does it, as far as sessions need.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for character in line.chars() {
        match character {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            other => words.last_mut().expect("a word").push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Puts a mark where a value differs from run to run: ids of topics, times, names of members.
fn without_chance(text: &str) -> String {
    let marks = [
        ("TopicId: [A-Za-z0-9_-]{22}", "TopicId: (id)"),
        ("(CreateTime|LogAppendTime):[0-9]+", "$1:(time)"),
        (
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "(uuid)",
        ),
        ("\"size\":[0-9]+", "\"size\":(bytes)"),
        ("(?i)(timestamp(ms)?)\":[0-9]+", "$1\":(time)"),
        ("\"topicId\":\"[A-Za-z0-9_-]{22}\"", "\"topicId\":(id)"),
        ("\"producerId\":[0-9]+", "\"producerId\":(id)"),
        // The columns LastTimestamp and CurrentTransactionStartTimeMs, and TransactionDurationMs behind that.
        ("\\b1[0-9]{12}( *\t)([0-9]+ +\t)?", "(time)$1"),
        ("\"logDir\":\"[^\"]*\"", "\"logDir\":\"(dir)\""),
        ("directory.id=[A-Za-z0-9_-]{22}", "directory.id=(id)"),
        ("(salt|storedKey|serverKey)=\\[[0-9, -]*\\]", "$1=(bytes)"),
    ];
    marks.iter().fold(text.to_owned(), |text, (pattern, mark)| {
        let pattern = regex_lite::Regex::new(pattern).expect("a pattern");
        pattern.replace_all(&text, *mark).into_owned()
    })
}

/// The text to be compared. Where Kafka's tools have no order, lines are sorted; old names of options are told of on standard
/// error here; configs stand in the broker's order.
fn comparable(text: &str, step: &Value) -> String {
    let text = without_chance(text);
    let mut lines: Vec<String> = text
        .split('\n')
        .filter(|line| !line.contains("is deprecated and will be removed"))
        .map(|line| match line.split_once("Configs: ") {
            Some((before, configs)) => {
                let mut configs: Vec<&str> = configs.split(',').collect();
                configs.sort_unstable();
                format!("{before}Configs: {}", configs.join(","))
            }
            None => line.to_owned(),
        })
        .collect();
    if step["order"] == "any" {
        lines = lines
            .iter()
            .map(|line| line.trim_start_matches(' ').to_owned())
            .collect();
        lines.sort_unstable();
    }
    // What the broker says against something, it says in words of its own.
    if step["words"] == "the broker's" {
        for line in &mut lines {
            let end = line.find(" : ").map_or(line.len(), |at| at + 3);
            line.truncate(end);
        }
    }
    lines.join("\n")
}

/// Requests that Rustka does not serve are told as such; of the others every line has to be Kafka's.
fn served(ours: &str, kafkas: &str) -> (String, String) {
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let mut missing = Vec::new();
    let mut left = Vec::new();
    for line in ours.lines() {
        match line.contains("UNSUPPORTED") {
            true => missing.push(name(line)),
            false => left.push(line.trim_end_matches(',').to_owned()),
        }
    }
    let kafkas = kafkas.lines().filter(|line| !missing.contains(&name(line)));
    let kafkas: Vec<&str> = kafkas.map(|line| line.trim_end_matches(',')).collect();
    (left.join("\n"), kafkas.join("\n"))
}

fn read(path: &str) -> Vec<Value> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tools")
        .join(path);
    let text = std::fs::read_to_string(file).expect("a session");
    serde_json::from_str(&text).expect("JSON")
}

/// Runs a session and compares each step.
fn compare(session: &str) {
    let steps = read(&format!("{session}.json"));
    let recorded = read(&format!("recorded/{session}.json"));
    assert_eq!(steps.len(), recorded.len(), "to be recorded again");
    let world = World::start(session);
    let mut wrong = Vec::new();
    for (step, recorded) in steps.iter().zip(&recorded) {
        assert_eq!(step["run"], recorded["run"], "to be recorded again");
        let (mut told, code) = world.run(step);
        let mut expected = recorded["out"].as_str().expect("text").to_owned();
        if step["compare"] == "what is served" {
            (told, expected) = served(&told, &expected);
        }
        let codes = (code.map(i64::from), recorded["code"].as_i64());
        let same = codes.0 == codes.1 && comparable(&told, step) == comparable(&expected, step);
        if !same {
            wrong.push(format!(
                "{}\n  code {codes:?}\n  Kafka  {expected:?}\n  Rustka {told:?}",
                step["run"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} steps:\n{}",
        wrong.len(),
        steps.len(),
        wrong.join("\n")
    );
}

#[test]
fn topics_as_kafka_topics_has_them() {
    compare("topics");
}

#[test]
fn groups_as_kafka_consumer_groups_has_them() {
    compare("groups");
}

#[test]
fn configs_quotas_and_users_as_kafka_configs_has_them() {
    compare("configs");
}

#[test]
fn acls_as_kafka_acls_has_them() {
    compare("acls");
}

#[test]
fn offsets_records_versions_and_directories_as_the_small_tools_have_them() {
    compare("small");
}

#[test]
fn directories_as_kafka_storage_formats_them() {
    compare("storage");
}

#[test]
fn transactions_as_kafka_transactions_has_them() {
    compare("transactions");
}

#[test]
fn the_brokers_own_topics_as_the_console_consumers_formatters_have_them() {
    compare("journals");
}

#[test]
fn records_as_the_console_tools_have_them() {
    compare("console");
}
