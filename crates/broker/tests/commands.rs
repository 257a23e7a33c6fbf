//! The commands of the `rustka` binary, against a broker that it runs itself: what they print and how they end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const RUSTKA: &str = env!("CARGO_BIN_EXE_rustka");

/// A broker that ends with the test.
struct Broker {
    process: Child,
    address: String,
}

impl Broker {
    fn start(flags: &[&str]) -> Broker {
        let mut process = Command::new(RUSTKA)
            .args(["--port", "0", "--http-port", "0"])
            .args(flags)
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("rustka runs");
        let stdout = process.stdout.take().expect("a pipe");
        let mut ready = String::new();
        let read = BufReader::new(stdout).read_line(&mut ready);
        read.expect("the ready line");
        let ready: Value = serde_json::from_str(&ready).expect("JSON");
        let address = ready["bootstrap"].as_str().expect("an address").to_owned();
        Broker { process, address }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(RUSTKA);
        command.args(arguments).args(["-b", &self.address]);
        command
    }

    /// What the command prints where it succeeds.
    fn run(&self, arguments: &[&str]) -> String {
        told(self.command(arguments).output().expect("it runs"))
    }

    /// What it complains of, and its exit code.
    fn fail(&self, arguments: &[&str]) -> (Option<i32>, String) {
        complaint(self.command(arguments).output().expect("it runs"))
    }

    /// What the command prints given this input.
    fn feed(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(arguments);
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("it runs");
        let mut stdin = process.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        told(process.wait_with_output().expect("it ends"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn told(output: Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    String::from_utf8(output.stdout).expect("text")
}

fn complaint(output: Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

fn rows(text: &str) -> Vec<Value> {
    let rows: Value = serde_json::from_str(text).expect("JSON");
    rows.as_array().expect("a list").clone()
}

#[test]
fn topics_are_created_seen_grown_emptied_and_deleted() {
    let broker = Broker::start(&[]);
    let created = broker.run(&[
        "topic",
        "create",
        "orders",
        "-p",
        "2",
        "-c",
        "retention.ms=60000",
    ]);
    assert_eq!(created, "orders created\n");
    let (code, why) = broker.fail(&["topic", "create", "orders", "paid"]);
    assert_eq!(code, Some(1));
    assert!(
        why.contains("orders") && why.contains("TOPIC_ALREADY_EXISTS"),
        "{why}"
    );
    broker.run(&["topic", "create", "orders", "--if-not-exists"]);
    let listed = rows(&broker.run(&["topic", "list", "--format", "json"]));
    let names: Vec<_> = listed.iter().map(|row| row["topic"].as_str()).collect();
    assert_eq!(names, [Some("orders"), Some("paid")]);
    let configs = rows(&broker.run(&["config", "describe", "topic", "orders", "--format", "json"]));
    let retention = configs.iter().find(|row| row["key"] == "retention.ms");
    assert_eq!(retention.expect("a row")["value"], "60000");
    broker.run(&[
        "config",
        "set",
        "topic",
        "orders",
        "retention.ms=5000",
        "max.message.bytes=2000",
    ]);
    broker.run(&["config", "unset", "topic", "orders", "retention.ms"]);
    let configs = broker.run(&["config", "describe", "topic", "orders"]);
    assert!(!configs.contains("retention.ms"), "{configs}");
    assert!(configs.contains("max.message.bytes    2000"), "{configs}");
    broker.run(&["topic", "grow", "orders", "-p", "3"]);
    broker.feed(&["produce", "orders", "-p", "1"], "one\ntwo\n");
    let described = rows(&broker.run(&["topic", "describe", "orders", "--format", "json"]));
    assert_eq!(described.len(), 3);
    assert_eq!(
        (&described[1]["first"], &described[1]["end"]),
        (&0.into(), &2.into())
    );
    broker.run(&["topic", "empty", "orders"]);
    let described = rows(&broker.run(&["topic", "describe", "orders", "--format", "json"]));
    assert_eq!(
        (&described[1]["first"], &described[1]["end"]),
        (&2.into(), &2.into())
    );
    broker.run(&["topic", "delete", "orders", "paid"]);
    assert!(rows(&broker.run(&["topic", "list", "--format", "json"])).is_empty());
    let (code, why) = broker.fail(&["topic", "describe", "orders"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{why}");
}

#[test]
fn records_go_in_as_lines_and_come_out_as_wished() {
    let broker = Broker::start(&[]);
    broker.run(&["topic", "create", "t", "-p", "1"]);
    let wrote = broker.feed(
        &["produce", "t", "-K", ":", "-z", "zstd"],
        "a:one\nb:two\r\nc:three",
    );
    assert_eq!(wrote, "3 records written to t\n");
    assert_eq!(broker.run(&["consume", "t"]), "one\ntwo\nthree\n");
    assert_eq!(
        broker.run(&["consume", "t", "--from", "1", "-f", "%p %o %k=%s\\n"]),
        "0 1 b=two\n0 2 c=three\n"
    );
    assert_eq!(
        broker.run(&["consume", "t", "-n", "1", "--filter", "w"]),
        "two\n"
    );
    assert_eq!(broker.run(&["consume", "t", "--from", "latest"]), "");
    let line = r#"{"key":"d","value":{"n":4},"headers":{"h":"x"},"timestamp":5}"#;
    broker.feed(&["produce", "t", "--json"], line);
    let read = broker.run(&["consume", "t", "--from", "3", "--format", "json"]);
    let read: Value = serde_json::from_str(&read).expect("JSON");
    assert_eq!(
        (&read["key"], &read["value"]),
        (&"d".into(), &r#"{"n":4}"#.into())
    );
    assert_eq!(
        (&read["headers"]["h"], &read["timestamp"]),
        (&"x".into(), &5.into())
    );
    // What was printed can be written again as it is.
    broker.feed(&["produce", "t", "--json"], &read.to_string());
    assert_eq!(
        broker.run(&["consume", "t", "--from", "4", "-f", "%k %T"]),
        "d 5"
    );
}

#[test]
fn a_group_remembers_how_far_it_read_and_can_be_sent_back() {
    let broker = Broker::start(&[]);
    broker.run(&["topic", "create", "t", "-p", "1"]);
    broker.feed(&["produce", "t"], "one\ntwo\nthree\n");
    assert_eq!(
        broker.run(&["consume", "t", "--group", "g", "-n", "3"]),
        "one\ntwo\nthree\n"
    );
    let listed = broker.run(&["group", "list"]);
    assert!(listed.contains('g') && listed.contains("Empty"), "{listed}");
    let described = rows(&broker.run(&["group", "describe", "g", "--format", "json"]));
    assert_eq!(
        (&described[0]["committed"], &described[0]["lag"]),
        (&3.into(), &0.into())
    );
    let shown = broker.run(&["group", "reset", "g", "--to", "earliest"]);
    assert!(shown.contains("--execute"), "{shown}");
    let described = rows(&broker.run(&["group", "describe", "g", "--format", "json"]));
    assert_eq!(described[0]["committed"], 3);
    broker.run(&[
        "group",
        "reset",
        "g",
        "--topic",
        "t",
        "--to",
        "1",
        "--execute",
    ]);
    assert_eq!(
        broker.run(&["consume", "t", "--group", "g", "-n", "1"]),
        "two\n"
    );
    broker.run(&["group", "delete", "g"]);
    assert!(rows(&broker.run(&["group", "list", "--format", "json"])).is_empty());
    let (code, why) = broker.fail(&["group", "describe", "g"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("GROUP_ID_NOT_FOUND"), "{why}");
}

/// The rest of a fetched batch counted as read, so that whoever took records of a group one by one lost most of them.
/// For anybody who runs `rustka consume --group G -n 1` as a worker.
#[test]
fn a_group_goes_on_behind_the_last_record_that_was_printed() {
    let broker = Broker::start(&[]);
    broker.run(&["topic", "create", "t", "-p", "1"]);
    broker.feed(&["produce", "t"], "one\ntwo\nthree\n");
    for value in ["one\n", "two\n", "three\n"] {
        let read = broker.run(&["consume", "t", "--group", "g", "-n", "1"]);
        assert_eq!(read, value);
    }
}

#[test]
fn a_command_logs_in_as_it_is_told_and_says_why_it_could_not() {
    let broker = Broker::start(&["--user", "alice:secret"]);
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"] {
        let arguments = [
            "health",
            "--login",
            "alice:secret",
            "--sasl-mechanism",
            mechanism,
        ];
        assert!(broker.run(&arguments).contains("NODE"));
    }
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let arguments = [
            "health",
            "--login",
            "alice:wrong",
            "--sasl-mechanism",
            mechanism,
        ];
        let (code, why) = broker.fail(&arguments);
        assert_eq!(code, Some(1));
        assert!(
            why.contains("SASL_AUTHENTICATION_FAILED") && !why.contains("wrong"),
            "{why}"
        );
    }
    let file =
        std::env::temp_dir().join(format!("rustka-client-{}.properties", std::process::id()));
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"alice\" password=\"secret\";";
    let text = format!(
        "bootstrap.servers={}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={jaas}\n",
        broker.address
    );
    std::fs::write(&file, text).expect("a file");
    let path = file.to_str().expect("text");
    let output = Command::new(RUSTKA)
        .args(["topic", "list", "--client-config", path])
        .output();
    std::fs::remove_file(&file).expect("removed");
    assert!(told(output.expect("it runs")).starts_with("TOPIC"));
}

#[test]
fn a_mistake_ends_with_2_and_names_what_is_near_and_no_broker_ends_with_69() {
    for (arguments, named) in [
        (&["topic", "lst"][..], "list"),
        (&["consume", "t", "--form", "latest"], "--from"),
        (&["consume", "t", "--from", "soon"], "soon"),
        (&["topic", "create", "t", "-c", "retention.ms"], "key=value"),
        (&["health", "-b", "nowhere"], "nowhere"),
        (&["health", "--client-config", "/none/such"], "/none/such"),
    ] {
        let (code, why) = complaint(
            Command::new(RUSTKA)
                .args(arguments)
                .output()
                .expect("it runs"),
        );
        assert_eq!(code, Some(2), "{arguments:?}: {why}");
        assert!(why.contains(named), "{arguments:?}: {why}");
    }
    let (code, why) = complaint(
        Command::new(RUSTKA)
            .args(["health", "-b", "127.0.0.1:1"])
            .output()
            .expect("it runs"),
    );
    assert_eq!(code, Some(69), "{why}");
    assert!(why.contains("127.0.0.1:1"), "{why}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = listener.local_addr().expect("an address").to_string();
    let output = Command::new(RUSTKA)
        .args(["health", "-b", &silent])
        .output()
        .expect("it runs");
    let (code, why) = complaint(output);
    assert_eq!(code, Some(69), "{why}");
    assert!(why.contains(&silent), "{why}");
}

#[test]
fn what_needs_no_broker_asks_none() {
    let output = Command::new(RUSTKA)
        .arg("version")
        .output()
        .expect("it runs");
    assert_eq!(told(output).trim(), env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(RUSTKA)
            .args(["completions", shell])
            .output()
            .expect("it runs");
        assert!(told(output).contains("consume"));
    }
    let help = Command::new(RUSTKA)
        .args(["topic", "--help"])
        .output()
        .expect("it runs");
    assert!(told(help).contains("create"));
}
