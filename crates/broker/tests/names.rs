//! The binary called by the names of others' tools, as launchers do it.

mod process;

use process::{Process, RUSTKA};
use rustka_core::security::scram::Strength;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder with a link to the binary of each name, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("rustka-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        for name in [
            "nc",
            "kafka-storage",
            "kafka-storage.sh",
            "kafka-server-start.sh",
            "rpk",
        ] {
            symlink(RUSTKA, path.join(name)).expect("a link");
        }
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a name").to_owned()
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.0.join(name));
        command.args(arguments).env_clear();
        command.env("RUSTKA_HTTP_PORT", "0").stdin(Stdio::null());
        command
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name, arguments).output().expect("it runs")
    }

    /// A broker by this name, and the line of words behind the one that says where it is.
    fn broker(&self, name: &str, arguments: &[&str]) -> (Process, String) {
        let mut command = self.command(name, arguments);
        let mut process = Process::start(command.stderr(Stdio::null()));
        let words = process.line();
        (process, words)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Whatever is left lies among temporary files.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn port_of(broker: &Process) -> String {
    let address = broker.address("bootstrap");
    address.rsplit(':').next().expect("a port").to_owned()
}

#[test]
fn a_health_check_by_nc_sees_an_open_port_and_a_closed_one() {
    let folder = Folder::new("nc");
    let open = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = open.local_addr().expect("address").port().to_string();
    let seen = folder.run("nc", &["-z", "127.0.0.1", &port]);
    assert!(seen.status.success() && seen.stderr.is_empty(), "{seen:?}");
    let seen = folder.run("nc", &["-vz", "-w", "1", "127.0.0.1", &port]);
    assert!(complaint(&seen).contains("succeeded"), "{seen:?}");
    drop(open);
    let unseen = folder.run("nc", &["-z", "127.0.0.1", &port]);
    assert_eq!(unseen.status.code(), Some(1), "{unseen:?}");
    let chat = folder.run("nc", &["127.0.0.1", &port]);
    assert_eq!(chat.status.code(), Some(1));
    assert!(complaint(&chat).contains("-z"), "{chat:?}");
}

#[test]
fn a_formatted_directory_gives_the_broker_its_cluster_id() {
    let folder = Folder::new("format");
    let logs = folder.0.join("logs");
    let text = format!(
        "listeners=PLAINTEXT://127.0.0.1:0\nnode.id=7\nlog.dirs={}\n",
        logs.display()
    );
    let file = folder.file("server.properties", &text);
    let id = out(&folder.run("kafka-storage.sh", &["random-uuid"]));
    assert_eq!(id.trim().len(), 22, "{id}");

    let arguments = ["format", "-t", id.trim(), "-c", &file];
    let formatted = folder.run("kafka-storage", &arguments);
    assert!(formatted.status.success(), "{formatted:?}");
    assert!(out(&formatted).contains("\nFormatting metadata directory"));
    let again = folder.run("kafka-storage", &arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        complaint(&again).contains("--ignore-formatted"),
        "{again:?}"
    );
    let ignored = folder.run(
        "kafka-storage",
        &[&arguments[..], &["--ignore-formatted"]].concat(),
    );
    assert!(ignored.status.success(), "{ignored:?}");
    let other = ["format", "-g", "-t", "another", "-c", &file];
    let other = folder.run("kafka-storage", &other);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        complaint(&other).contains("Invalid cluster.id"),
        "{other:?}"
    );

    let (broker, words) = folder.broker("kafka-server-start.sh", &[&file]);
    assert!(broker.ready.contains("\"node_id\":7"), "{}", broker.ready);
    for word in [
        "[KafkaServer id=1] started",
        "Kafka Server started",
        "Transitioning from RECOVERY to RUNNING",
        "Started Kafka API server",
        "Successfully started Redpanda!",
    ] {
        assert!(words.contains(word), "{words}");
    }
    let address = format!("127.0.0.1:{}", port_of(&broker));
    let client = rustka_client::Client::at(&address).expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let cluster = runtime
        .block_on(client.describe_cluster())
        .expect("an answer");
    assert_eq!(cluster.cluster_id, id.trim());
}

#[test]
fn users_and_levels_that_a_directory_was_formatted_with_are_there_at_the_start() {
    let folder = Folder::new("scram");
    let logs = folder.0.join("logs");
    let text = format!(
        "listeners=SASL_PLAINTEXT://127.0.0.1:0\nsasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512\nlog.dirs={}\n",
        logs.display()
    );
    let file = folder.file("server.properties", &text);
    let formatted = folder.run(
        "kafka-storage",
        &[
            "format",
            "-t",
            "formatted",
            "-c",
            &file,
            "-S",
            "SCRAM-SHA-256=[name=alice,password=secret]",
            "--add-scram=SCRAM-SHA-512=[name=alice,password=secret,iterations=8192]",
            "--release-version",
            "4.1",
            "--feature",
            "transaction.version=1",
        ],
    );
    assert!(formatted.status.success(), "{formatted:?}");
    let told = out(&folder.run("kafka-storage", &["info", "-c", &file]));
    assert!(told.contains("cluster.id=formatted"), "{told}");
    let (broker, _) = folder.broker("kafka-server-start.sh", &[&file]);
    let address = format!("127.0.0.1:{}", port_of(&broker));
    for (login, code) in [("alice:secret", 0), ("alice:wrong", 1)] {
        let output = Command::new(RUSTKA)
            .args(["topic", "list", "-b", &address, "--login", login])
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{login}: {output:?}");
    }
    drop(broker);
    // The next life finds in its log what the first one took from the file.
    let open = ["--override", "listeners=PLAINTEXT://127.0.0.1:0"];
    let (broker, _) = folder.broker("kafka-server-start.sh", &[&[&*file], &open[..]].concat());
    let client = rustka_client::Client::at(&format!("127.0.0.1:{}", port_of(&broker)));
    let client = client.expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let users = client.describe_users(None).await.expect("an answer");
        let strengths = [(Strength::Sha256, 4096), (Strength::Sha512, 8192)];
        assert_eq!(users, [("alice".to_owned(), strengths.to_vec())]);
        let request = ApiVersionsRequest {
            client_software_name: "test".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        let answer = client.call(&request).await.expect("an answer");
        let told = answer.body().expect("an answer");
        let levels = told.finalized_features.iter();
        let levels: Vec<(&str, i16)> = levels
            .map(|feature| (&*feature.name, feature.max_version_level))
            .collect();
        // Those of 4.1 but for the one that was chosen; what is Kafka's alone is off.
        let expected = [
            ("eligible.leader.replicas.version", 1),
            ("group.version", 1),
            ("metadata.version", 27),
            ("transaction.version", 1),
        ];
        assert_eq!(levels, expected);
    });
}

#[test]
fn what_kafka_or_redpanda_know_but_we_do_not_is_refused_by_name() {
    let folder = Folder::new("refused");
    let file = folder.file("server.properties", "num.partitions=1\n");
    let cases: [(&str, &[&str], &str); 7] = [
        ("kafka-server-start.sh", &[], "USAGE"),
        ("kafka-server-start.sh", &["-daemon", &file], "-daemon"),
        (
            "kafka-server-start.sh",
            &[&file, "--override", "num.partitions=x"],
            "num.partitions",
        ),
        ("kafka-storage", &["info"], "--config/-c"),
        (
            "kafka-storage",
            &["format", "-t", "x", "-c", &file, "-I", "1@b:9093:x"],
            "--initial-controllers",
        ),
        ("rpk", &["topic", "list"], "rpk topic list"),
        (
            "rpk",
            &["redpanda", "start", "--frobnicate"],
            "--frobnicate",
        ),
    ];
    for (name, arguments, told) in cases {
        let output = folder.run(name, arguments);
        assert_eq!(output.status.code(), Some(1), "{name} {arguments:?}");
        assert!(complaint(&output).contains(told), "{output:?}");
    }
}

/// Two listeners as the Python module of Testcontainers asks for them; each tells its own address.
#[test]
fn rpk_starts_a_broker_with_the_listeners_of_its_flags() {
    let folder = Folder::new("rpk");
    let missing = Path::new("/nowhere/redpanda.yaml")
        .to_str()
        .expect("a name");
    let (broker, words) = folder.broker(
        "rpk",
        &[
            "redpanda",
            "start",
            "--mode",
            "dev-container",
            "--smp=1",
            "--memory",
            "1G",
            "--config",
            missing,
            "--kafka-addr",
            "OUTSIDE://127.0.0.1:0,inside://127.0.0.1:0",
            "--advertise-kafka-addr",
            "OUTSIDE://localhost:32768,inside://127.0.0.1:29092",
        ],
    );
    assert!(words.contains("Started Kafka API server"), "{words}");
    let client = rustka_client::Client::at(&format!("127.0.0.1:{}", port_of(&broker)));
    let client = client.expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let told = runtime.block_on(client.metadata(None)).expect("an answer");
    assert_eq!(
        (&*told.brokers[0].host, told.brokers[0].port),
        ("localhost", 32768)
    );
}
