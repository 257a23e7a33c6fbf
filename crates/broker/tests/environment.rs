//! The binary with settings from the environment and a file: what Kafka's users set starts a broker, what makes no
//! sense ends with exit code 2 and a sentence.

mod process;

use process::{Process, RUSTKA};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Variables, arguments, and what the sentence tells.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);

fn rustka() -> Command {
    let mut command = Command::new(RUSTKA);
    command.env_clear().stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code and last line of a start that fails.
fn refused(variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = rustka();
    command.args(arguments).envs(variables.iter().copied());
    let output = command.output().expect("rustka");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code(),
        text.lines().last().unwrap_or("").to_owned(),
    )
}

#[test]
fn what_makes_no_sense_ends_the_start_with_a_sentence() {
    let (code, line) = refused(&[("KAFKA_LOG_RETENTION_HOURS", "three")], &[]);
    assert_eq!(code, Some(2));
    assert_eq!(
        line,
        "rustka: KAFKA_LOG_RETENTION_HOURS: Invalid value 'three' for config 'log.retention.hours': expected an integer of 32 bits."
    );
    let cases: [Case<'_>; 7] = [
        (&[("KAFKA_LISTENERS", "SSL://:9093")], &[], "certificate"),
        (
            &[("KAFKA_PROCESS_ROLES", "controller")],
            &[],
            "process.roles",
        ),
        (&[("RUSTKA_PORT", "x")], &[], "RUSTKA_PORT"),
        (&[("RUSTKA_FSYNC", "often")], &[], "interval:MS"),
        (&[("RUSTKA_CONFIG", "/no/such/file")], &[], "/no/such/file"),
        (&[], &["-c", "num.partition=3"], "num.partitions"),
        (&[], &["--override", "compression.type=brotli"], "zstd"),
    ];
    for (variables, arguments, told) in cases {
        let (code, line) = refused(variables, arguments);
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains(told), "{line}");
    }
}

#[test]
fn an_environment_made_for_kafka_starts_a_broker_and_one_note_tells_the_rest() {
    let path = std::env::temp_dir().join(format!(
        "rustka-environment-{}.properties",
        std::process::id()
    ));
    let data = path.with_extension("data");
    let shipped = format!(
        "# as shipped\nnum.partitions=3\nlog.dirs={0}/one,\\\n {0}/other\n",
        data.display()
    );
    std::fs::create_dir(&data).expect("folder");
    std::fs::write(&path, shipped).expect("file");
    let variables = [
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1001@127.0.0.1:29093"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_NODE_ID", "1001"),
        ("CLUSTER_ID", "MkU3OEVBNTcwNTJENDM2Qk"),
        (
            "KAFKA_LISTENERS",
            "CONTROLLER://127.0.0.1:0,PLAINTEXT://127.0.0.1:0",
        ),
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://127.0.0.1:29092"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        ),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_LOG_RETENTION_HOURS", "3"),
        ("KAFKA_MESSAGE_MAX_BYTES", "50000000"),
        ("KAFKA_MAX_REQUEST_SIZE", "50000000"),
        ("KAFKA_LOG4J_ROOT_LOGLEVEL", "WARN"),
        ("RUSTKA_HTTP_PORT", "0"),
    ];
    let mut broker = Process::start(rustka().arg(&path).envs(variables));
    // Its lines are written beside its work, and all of them are there when it has ended in order.
    broker.terminate();
    assert!(broker.child.wait().expect("end").success());
    std::fs::remove_file(&path).expect("file");
    // Records lie in the first of the directories.
    let meta = std::fs::read_to_string(data.join("one/meta.properties")).expect("a directory");
    assert!(meta.contains("node.id=1001\n"), "{meta}");
    assert!(
        meta.contains("cluster.id=MkU3OEVBNTcwNTJENDM2Qk\n"),
        "{meta}"
    );
    assert!(!data.join("other").exists());
    std::fs::remove_dir_all(&data).expect("folder");
    let ready = &broker.ready;
    assert!(ready.contains("\"node_id\":1001"), "{ready}");
    assert!(!ready.contains(":29092"), "{ready}");
    let log = broker.log();
    let notes: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("no meaning"))
        .collect();
    assert_eq!(notes.len(), 1, "{log}");
    assert!(notes[0].contains("KAFKA_MAX_REQUEST_SIZE"), "{log}");
}

#[test]
fn each_mistake_has_a_line_and_all_of_them_are_told() {
    let variables = [("KAFKA_NUM_PARTITIONS", "many"), ("RUSTKA_STRICT", "yes")];
    let mut command = rustka();
    command.args(["--prot", "1"]).envs(variables);
    let output = command.output().expect("rustka");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    let starts: Vec<_> = text
        .lines()
        .map(|line| line.split([':', ';']).take(2).collect::<String>())
        .collect();
    let expected = [
        "rustka unknown flag --prot",
        "rustka KAFKA_NUM_PARTITIONS",
        "rustka RUSTKA_STRICT",
    ];
    assert_eq!(starts, expected, "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_holds_is_explained_with_its_source_and_without_secrets() {
    let explained = |arguments: &[&str]| {
        let mut command = rustka();
        command.args(["config", "explain", "--format", "json"]);
        command.args(arguments).env("RUSTKA_CONFIG", "");
        command.env("KAFKA_NUM_PARTITIONS", "3");
        let output = command.output().expect("rustka");
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let rows = rows.as_array().expect("rows").clone();
        (output, rows)
    };
    let secret = "--user=alice:hush";
    let (output, rows) = explained(&[secret, "--port", "19092", "-c", "num.io.threads=4"]);
    assert_eq!(output.status.code(), Some(0));
    let row = |key: &str| {
        let row = rows.iter().find(|row| row["key"] == key).expect(key);
        ["value", "source", "effect"].map(|name| row[name].as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(row("num.partitions"), ["3", "KAFKA_NUM_PARTITIONS", "yes"]);
    assert_eq!(row("num.io.threads"), ["4", "-c", "none here"]);
    assert_eq!(row("rustka.user"), ["alice:(secret)", "--user", "yes"]);
    assert_eq!(row("log.retention.hours"), ["168", "default", "yes"]);
    let listeners = "SASL_PLAINTEXT://127.0.0.1:19092";
    assert_eq!(row("listeners")[0], listeners);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hush"));
    let (output, rows) = explained(&["--strict", "-c", "num.partitions=no"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(rows.len() > 300);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.starts_with("rustka: -c: Invalid value 'no'"), "{told}");
}

#[test]
fn lines_of_the_log_are_json_when_that_is_asked_for() {
    let mut command = rustka();
    command.args(["--port", "0", "--http-port", "0"]);
    let mut broker = command
        .env("RUSTKA_LOG_FORMAT", "json")
        .spawn()
        .expect("rustka");
    let mut line = String::new();
    let stderr = broker.stderr.take().expect("piped");
    BufReader::new(stderr)
        .read_line(&mut line)
        .expect("a line of the log");
    broker.kill().expect("it runs");
    broker.wait().expect("it ends");
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["level"], "INFO");
    assert!(line["message"].is_string() && line["target"].is_string());
}
