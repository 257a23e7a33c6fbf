//! The commands of the `rustka` binary, against a broker that it runs itself: what they print and how they end.

mod process;

use process::{Process, RUSTKA};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// A broker that ends with the test.
struct Broker {
    _process: Process,
    address: String,
}

impl Broker {
    fn start(flags: &[&str]) -> Broker {
        let process = started(flags);
        Broker {
            address: process.address("bootstrap"),
            _process: process,
        }
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

fn started(flags: &[&str]) -> Process {
    Process::start(
        Command::new(RUSTKA)
            .args(["--port", "0", "--http-port", "0"])
            .args(flags)
            .env("RUST_LOG", "off")
            .stderr(Stdio::null()),
    )
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
fn who_may_log_in_do_what_and_use_how_much_is_set_and_listed() {
    let broker = Broker::start(&[
        "-c",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "-c",
        "super.users=User:ANONYMOUS",
    ]);
    broker.run(&["user", "set", "alice", "--password", "secret"]);
    broker.feed(&["user", "set", "bob"], "hush\n");
    let users = rows(&broker.run(&["user", "list", "--format", "json"]));
    assert_eq!(users.len(), 4, "{users:?}");
    broker.run(&["user", "delete", "bob"]);
    assert!(!broker.run(&["user", "list"]).contains("bob"));
    let (code, why) = broker.fail(&["user", "delete", "bob"]);
    assert_eq!((code, why.contains("bob")), (Some(1), true), "{why}");

    broker.run(&[
        "acl",
        "allow",
        "User:alice",
        "read",
        "describe",
        "--topic",
        "or",
        "--prefix",
    ]);
    broker.run(&["acl", "deny", "User:eve", "all", "--cluster"]);
    let acls = rows(&broker.run(&["acl", "list", "--topic", "orders", "--format", "json"]));
    let operations: Vec<_> = acls.iter().map(|row| row["operation"].as_str()).collect();
    assert_eq!(acls.len(), 2, "{acls:?}");
    assert!(operations.contains(&Some("read")) && operations.contains(&Some("describe")));
    let removed = broker.run(&[
        "acl",
        "remove",
        "User:alice",
        "read",
        "--topic",
        "or",
        "--prefix",
    ]);
    assert_eq!(removed, "1 ACLs removed\n");
    assert_eq!(
        rows(&broker.run(&["acl", "list", "--format", "json"])).len(),
        2
    );
    let (code, why) = broker.fail(&["acl", "allow", "User:alice", "reed", "--topic", "t"]);
    assert_eq!((code, why.contains("read")), (Some(2), true), "{why}");
    let (code, why) = broker.fail(&["acl", "allow", "alice", "read", "--topic", "t"]);
    assert_eq!((code, why.contains("User:alice")), (Some(2), true), "{why}");

    broker.run(&["quota", "set", "--user", "alice", "producer_byte_rate=1024"]);
    broker.run(&[
        "quota",
        "set",
        "--user",
        "",
        "--client",
        "app",
        "consumer_byte_rate=7",
    ]);
    let quotas = rows(&broker.run(&["quota", "list", "--format", "json"]));
    assert_eq!(quotas.len(), 2, "{quotas:?}");
    assert_eq!(
        (&quotas[0]["user"], &quotas[0]["value"]),
        (&"alice".into(), &1024.0.into())
    );
    assert_eq!(
        (&quotas[1]["user"], &quotas[1]["client"]),
        (&"(default)".into(), &"app".into())
    );
    broker.run(&["quota", "unset", "--user", "alice", "producer_byte_rate"]);
    assert_eq!(
        rows(&broker.run(&["quota", "list", "--format", "json"])).len(),
        1
    );

    broker.run(&["topic", "create", "t", "-p", "1"]);
    broker.feed(&["produce", "t"], "one\n");
    let sizes = rows(&broker.run(&["log", "--topic", "t", "--format", "json"]));
    assert!(sizes[0]["bytes"].as_i64() > Some(0), "{sizes:?}");
}

/// Starts a broker with a certificate of its own, and keeps what has to be trusted in a file.
fn broker_with_tls(test: &str, flags: &[&str]) -> (Broker, std::path::PathBuf) {
    let mut process = started(&[&["--tls-self-signed"], flags].concat());
    let mut trusted = String::new();
    while !trusted.contains("END CERTIFICATE") {
        trusted += &process.line();
    }
    let file = std::env::temp_dir().join(format!("rustka-{test}-{}.pem", std::process::id()));
    std::fs::write(&file, trusted).expect("a file");
    let address = process.address("bootstrap");
    let port = address.rsplit(':').next().expect("a port");
    let address = format!("localhost:{port}");
    let broker = Broker {
        address,
        _process: process,
    };
    (broker, file)
}

#[test]
fn a_command_connects_by_tls_and_logs_in_behind_it() {
    let (broker, ca) = broker_with_tls("command-tls", &["--user", "alice:secret"]);
    let trusted = ca.to_str().expect("text");
    let login = ["--login", "alice:secret", "--tls-ca", trusted];
    broker.run(&[&["topic", "create", "t", "-p", "1"], &login[..]].concat());
    broker.feed(&[&["produce", "t"], &login[..]].concat(), "one\n");
    let read = broker.run(&[&["consume", "t"], &login[..]].concat());
    assert_eq!(read, "one\n");

    // As people have it for Java's clients, under Kafka's names too.
    let properties = ca.with_extension("properties");
    let text = format!(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.location={trusted}\nssl.truststore.type=PEM\n\
        sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"alice\" password=\"secret\";\n"
    );
    std::fs::write(&properties, text).expect("a file");
    let file = properties.to_str().expect("text");
    assert!(
        broker
            .run(&["topic", "list", "--client-config", file])
            .contains('t')
    );
    let tool = ca.with_file_name(format!("{}-kafka-topics", std::process::id()));
    std::fs::create_dir_all(&tool).expect("a folder");
    let name = tool.join("kafka-topics.sh");
    std::os::unix::fs::symlink(RUSTKA, &name).expect("a link");
    let listed = Command::new(&name)
        .args([
            "--bootstrap-server",
            &broker.address,
            "--command-config",
            file,
            "--list",
        ])
        .output();
    assert_eq!(told(listed.expect("it runs")), "t\n");

    // Who is not trusted is told so, and whoever speaks without TLS what is wanted.
    let (code, why) = broker.fail(&["health", "--login", "alice:secret", "--tls-ca", file]);
    assert_eq!(
        (code, why.contains("certificate")),
        (Some(2), true),
        "{why}"
    );
    let (code, why) = broker.fail(&["health", "--login", "alice:secret"]);
    assert_eq!((code, why.contains("TLS")), (Some(69), true), "{why}");
    for left in [&ca, &properties] {
        std::fs::remove_file(left).expect("removed");
    }
    std::fs::remove_dir_all(&tool).expect("removed");
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
    let page = told(
        Command::new(RUSTKA)
            .arg("manual")
            .output()
            .expect("it runs"),
    );
    assert!(
        page.contains(".TH rustka 1") && page.contains("consume"),
        "{page}"
    );
    let help = Command::new(RUSTKA)
        .args(["topic", "--help"])
        .output()
        .expect("it runs");
    assert!(told(help).contains("create"));
}

/// A transaction of "x" that is open on the topic "t"; `late`: one that its coordinator has ended already, by a write that
/// came after that.
fn open_transaction(address: &str, late: bool) {
    use rustka_client::{Client, To};
    use rustka_core::batch::{BatchBuilder, NewRecord};
    use rustka_wire::add_partitions_to_txn_request::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
    };
    use rustka_wire::end_txn_request::EndTxnRequest;
    use rustka_wire::init_producer_id_request::InitProducerIdRequest;
    use rustka_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = Client::at(address).expect("an address");
        let init = InitProducerIdRequest {
            transactional_id: Some("x".into()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let answer = client.call_at(To::Transaction("x"), (0, 4), &init).await;
        let answer = answer.expect("an answer");
        let me = answer.body().expect("it is well-formed");
        let add = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: "x".into(),
            v3_and_below_producer_id: me.producer_id,
            v3_and_below_producer_epoch: me.producer_epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: "t".into(),
                partitions: vec![0],
            }],
            ..Default::default()
        };
        let answer = client.call_at(To::Transaction("x"), (0, 3), &add).await;
        let answer = answer.expect("an answer");
        let told = answer.body().expect("it is well-formed");
        let told = &told.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(told.partition_error_code, 0);
        if !late {
            return;
        }
        let end = EndTxnRequest {
            transactional_id: "x".into(),
            producer_id: me.producer_id,
            producer_epoch: me.producer_epoch,
            committed: true,
        };
        let answer = client.call_at(To::Transaction("x"), (0, 4), &end).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.body().expect("it is well-formed").error_code, 0);
        let batch = BatchBuilder::new().producer(me.producer_id, me.producer_epoch, 0);
        let record = NewRecord {
            value: Some(b"late"),
            ..NewRecord::default()
        };
        let batch = batch.transactional().record(&record).build();
        let produce = ProduceRequest {
            transactional_id: Some("x".into()),
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: "t".into(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(batch.expect("a batch").into()),
                }],
                ..Default::default()
            }],
        };
        let answer = client.call_at(To::Any, (0, 11), &produce).await;
        let answer = answer.expect("an answer");
        let told = answer.body().expect("it is well-formed");
        let told = &told.responses[0].partition_responses[0];
        assert_eq!((told.error_code, told.base_offset), (0, 1));
    });
}

#[test]
fn transactions_are_listed_described_and_aborted() {
    let broker = Broker::start(&[]);
    broker.run(&["topic", "create", "t"]);
    assert_eq!(
        broker
            .run(&["transaction", "list", "--format", "json"])
            .trim(),
        "[]"
    );
    open_transaction(&broker.address, false);
    let json = |arguments: &[&str]| -> Value {
        let told = broker.run(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&told).expect("JSON")
    };
    let listed = json(&["transaction", "list", "--state", "Ongoing"]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["state"]),
        (&"x".into(), &"Ongoing".into())
    );
    assert_eq!(
        json(&["transaction", "list", "--open-for", "3600"])
            .as_array()
            .map(Vec::len),
        Some(0)
    );
    assert_eq!(
        json(&["transaction", "list", "--pattern", "y.*"])
            .as_array()
            .map(Vec::len),
        Some(0)
    );
    let described = json(&["transaction", "describe", "x"]);
    assert_eq!(
        (&described[0]["topic"], &described[0]["partition"]),
        (&"t".into(), &0.into())
    );
    assert!(
        broker
            .run(&["transaction", "abort", "x"])
            .contains("x has no open transaction")
    );
    assert_eq!(json(&["transaction", "list"])[0]["state"], "Empty");
    let (code, complaint) = broker.fail(&["transaction", "abort", "nobody"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("nobody"), "{complaint}");
    let hanging = ["--topic", "t", "--partition", "0", "--start-offset", "5"];
    let (code, complaint) = broker.fail(&[&["transaction", "abort"][..], &hanging].concat());
    assert_eq!(code, Some(1));
    assert!(complaint.contains("t-0 begins at 5"), "{complaint}");
    assert_eq!(broker.fail(&["transaction", "abort"]).0, Some(2));
}

#[test]
fn a_transaction_that_hangs_is_ended_by_the_operator() {
    let broker = Broker::start(&["-c", "transaction.partition.verification.enable=false"]);
    broker.run(&["topic", "create", "t"]);
    open_transaction(&broker.address, true);
    let read = || {
        let arguments = ["consume", "t", "--committed"];
        broker.run(&arguments)
    };
    broker.feed(&["produce", "t"], "behind it\n");
    assert_eq!(read(), "");
    // Its coordinator knows nothing of it.
    let listed = broker.run(&["transaction", "list", "--state", "Ongoing"]);
    assert!(!listed.contains("Ongoing"), "{listed}");
    let hanging = ["--topic", "t", "--partition", "0", "--start-offset", "1"];
    let aborted = broker.run(&[&["transaction", "abort"][..], &hanging].concat());
    assert!(aborted.contains("t-0 is aborted"), "{aborted}");
    assert_eq!(read(), "behind it\n");
}
