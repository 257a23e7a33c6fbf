//! The images without a container engine: a root directory made by the Dockerfile's own steps, in namespaces of its own, started as each launcher starts its container, by the scripts that the launchers put there. Each ends in a broker that
//! a client outside of that root reaches.
//!
//! Needs Linux, root and the tools of util-linux; skipped by name elsewhere. `apk add` is replaced by the shell and tools of
//! this machine, so what is not tried here is whether Alpine's do as well.
#![cfg(target_os = "linux")]

#[path = "images/container.rs"]
mod container;

use container::{Container, Launch, RUSTKA, folder, launch, missing};
use std::path::{Path, PathBuf};
use std::process::Command;

const J1_ENV: [(&str, &str); 14] = [
    ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
    (
        "KAFKA_LISTENERS",
        "CONTROLLER://0.0.0.0:9094,PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093",
    ),
    (
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    ),
    ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKER"),
    ("KAFKA_PROCESS_ROLES", "broker,controller"),
    ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
    ("KAFKA_NODE_ID", "1"),
    ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9094"),
    ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
    ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
    ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
    ("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES", "9223372036854775807"),
    ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
];

const JAVA_START: &str =
    "while [ ! -f /tmp/testcontainers_start.sh ]; do sleep 0.1; done; /tmp/testcontainers_start.sh";

#[test]
fn javas_kafka_container_starts() {
    launch(
        &Launch {
            name: "java-kafka",
            command: Some(&["sh", "-c", JAVA_START]),
            variables: &J1_ENV,
            files: &[(
                "/tmp/testcontainers_start.sh",
                0o777,
                "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,BROKER://box:9093\n\n/etc/kafka/docker/run \n",
            )],
            words: "Transitioning from RECOVERY to RUNNING",
            address: "localhost:9092",
            ..Launch::default()
        },
        |container| {
            // What people type, and what health checks run.
            for words in [
                &["/bin/sh", "-c", "nc -z localhost 9092"][..],
                &["/bin/bash", "-c", "</dev/tcp/localhost/9092"],
                &[
                    "/opt/kafka/bin/kafka-topics.sh",
                    "--bootstrap-server",
                    "localhost:9092",
                    "--describe",
                    "--topic",
                    "t",
                ],
                &[
                    "kafka-consumer-groups",
                    "--bootstrap-server",
                    "localhost:9093",
                    "--list",
                ],
            ] {
                let (is_fine, text) = container.exec(words);
                assert!(is_fine, "{words:?}: {text}");
            }
            let (_, told) =
                container.outside(&[RUSTKA, "health", "-b", "localhost:9092", "--format", "json"]);
            assert!(told.contains("4L6g3nShT-eMCtK--X86sw"), "{told}");
        },
    );
}

#[test]
fn javas_confluent_kafka_container_starts() {
    launch(
        &Launch {
            name: "java-confluent",
            command: Some(&["sh", "-c", JAVA_START]),
            variables: &J1_ENV,
            files: &[(
                "/tmp/testcontainers_start.sh",
                0o777,
                "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,BROKER://box:9093\n\n/etc/confluent/docker/run \n",
            )],
            words: "Transitioning from RECOVERY to RUNNING",
            address: "localhost:9092",
            ..Launch::default()
        },
        |_| {},
    );
}

/// Those of Python, Go and Node, where the port for clients is 9093.
const CONFLUENT_ENV: [(&str, &str); 7] = [
    (
        "KAFKA_LISTENERS",
        "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092",
    ),
    (
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    ),
    ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKER"),
    ("KAFKA_BROKER_ID", "1"),
    ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
    ("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES", "10000000"),
];

const KRAFT_ENV: [(&str, &str); 12] = [
    (
        "KAFKA_LISTENERS",
        "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094",
    ),
    (
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    ),
    ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKER"),
    ("KAFKA_BROKER_ID", "1"),
    ("KAFKA_NODE_ID", "1"),
    ("KAFKA_PROCESS_ROLES", "broker,controller"),
    ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
    ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9094"),
    ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
    ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    ("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES", "9223372036854775807"),
];

const PYTHON_START: [&str; 3] = [
    "sh",
    "-c",
    "while [ ! -f /tc-start.sh ]; do sleep 0.1; done; sh /tc-start.sh",
];

#[test]
fn pythons_kafka_container_starts_in_its_older_mode() {
    launch(
        &Launch {
            name: "python-zookeeper",
            command: Some(&PYTHON_START),
            variables: &CONFLUENT_ENV,
            files: &[(
                "/tc-start.sh",
                0o644,
                "#!/bin/bash\n
echo 'clientPort=2181' > zookeeper.properties
echo 'dataDir=/var/lib/zookeeper/data' >> zookeeper.properties
echo 'dataLogDir=/var/lib/zookeeper/log' >> zookeeper.properties
zookeeper-server-start zookeeper.properties &
export KAFKA_ZOOKEEPER_CONNECT='localhost:2181'
export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9093,BROKER://$(hostname -i):9092
. /etc/confluent/docker/bash-config
/etc/confluent/docker/configure
/etc/confluent/docker/launch",
            )],
            words: "[KafkaServer id=1] started",
            address: "localhost:9093",
            ..Launch::default()
        },
        |container| {
            let (is_open, text) = container.exec(&["/bin/sh", "-c", "nc -vz -w 1 localhost 2181"]);
            assert!(is_open, "{text}");
        },
    );
}

#[test]
fn pythons_kafka_container_starts_with_kraft() {
    let variables = [
        &KRAFT_ENV[..],
        &[("CLUSTER_ID", "m+0xdnl0QWuJc/8ooZPo3A==")],
    ]
    .concat();
    launch(
        &Launch {
            name: "python-kraft",
            command: Some(&PYTHON_START),
            variables: &variables,
            files: &[(
                "/tc-start.sh",
                0o644,
                "#!/bin/bash\n
sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' /etc/confluent/docker/configure
echo 'kafka-storage format --ignore-formatted -t m+0xdnl0QWuJc/8ooZPo3A== -c /etc/kafka/kafka.properties' >> /etc/confluent/docker/configure
export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9093,BROKER://$(hostname -i):9092
. /etc/confluent/docker/bash-config
/etc/confluent/docker/configure
/etc/confluent/docker/launch",
            )],
            words: "Kafka Server started",
            address: "localhost:9093",
            ..Launch::default()
        },
        |_| {},
    );
}

#[test]
fn gos_kafka_module_starts() {
    launch(
        &Launch {
            name: "go-kafka",
            entrypoint: Some(&["sh"]),
            command: Some(&[
                "-c",
                "while [ ! -f /usr/sbin/testcontainers_start.sh ]; do sleep 0.1; done; bash /usr/sbin/testcontainers_start.sh",
            ]),
            variables: &KRAFT_ENV,
            files: &[(
                "/usr/sbin/testcontainers_start.sh",
                0o755,
                "#!/bin/bash
source /etc/confluent/docker/bash-config
export KAFKA_ADVERTISED_LISTENERS=\"PLAINTEXT://localhost:9093,BROKER://box:9092${EXTRA_ADVERTISED_LISTENERS:+,${EXTRA_ADVERTISED_LISTENERS}}\"
echo Starting Kafka KRaft mode
sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' /etc/confluent/docker/configure
echo 'kafka-storage format --ignore-formatted -t \"$(kafka-storage random-uuid)\" -c /etc/kafka/kafka.properties' >> /etc/confluent/docker/configure
echo '' > /etc/confluent/docker/ensure
/etc/confluent/docker/configure
/etc/confluent/docker/launch",
            )],
            words: "Transitioning from RECOVERY to RUNNING",
            address: "localhost:9093",
            ..Launch::default()
        },
        |_| {},
    );
}

#[test]
fn nodes_kafka_container_starts() {
    let variables = [
        &KRAFT_ENV[..],
        &[
            ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
            ("KAFKA_ADVERTISED_LISTENERS", "BROKER://localhost:9092"),
            ("KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE", "false"),
        ],
    ]
    .concat();
    launch(
        &Launch {
            name: "node-kafka",
            entrypoint: Some(&["sh"]),
            command: Some(&[
                "-c",
                "echo 'Waiting for script...'; while [ ! -f /tmp/testcontainers_start.sh ]; do sleep 0.1; done; /tmp/testcontainers_start.sh",
            ]),
            variables: &variables,
            files: &[(
                "/tmp/testcontainers_start.sh",
                0o777,
                "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=BROKER://box:9092,PLAINTEXT://localhost:9093\n/etc/confluent/docker/run \n",
            )],
            words: "Kafka Server started",
            address: "localhost:9093",
            ..Launch::default()
        },
        |container| {
            let (is_open, text) = container.exec(&[
                "/bin/sh",
                "-c",
                "cat /proc/net/tcp* | awk '{print $2}' | grep -i :2385",
            ]);
            assert!(is_open, "{text}");
        },
    );
}

#[test]
fn rusts_apache_module_starts() {
    let variables = [
        &J1_ENV[1..6],
        &J1_ENV[7..],
        &[
            ("CLUSTER_ID", "5L6g3nShT-eMCtK--X86sw"),
            ("KAFKA_BROKER_ID", "1"),
            (
                "KAFKA_ADVERTISED_LISTENERS",
                "PLAINTEXT://localhost:9092,BROKER://localhost:9092",
            ),
        ],
    ]
    .concat();
    launch(
        &Launch {
            name: "rust-apache",
            entrypoint: Some(&["bash"]),
            command: Some(&[
                "-c",
                "while [ ! -f /opt/kafka/testcontainers_start.sh ]; do sleep 0.1; done; chmod 755 /opt/kafka/testcontainers_start.sh && /opt/kafka/testcontainers_start.sh",
            ]),
            // The module writes it as the user of the container.
            user: Some("0:0"),
            variables: &variables,
            files: &[(
                "/opt/kafka/testcontainers_start.sh",
                0o644,
                "#!/usr/bin/env bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:9092,BROKER://localhost:9093\n/etc/kafka/docker/run\n",
            )],
            words: "Kafka Server started",
            address: "127.0.0.1:9092",
            ..Launch::default()
        },
        |_| {},
    );
}

const REDPANDA_YAML: &str = "# Injected by testcontainers
redpanda:
  admin:
    address: 0.0.0.0
    port: 9644

  kafka_api:
    - address: 0.0.0.0
      name: external
      port: 9092
      authentication_method: none
    - address: 0.0.0.0
      name: internal
      port: 9093
      authentication_method: none

  advertised_kafka_api:
    - address: localhost
      name: external
      port: 9092
    - address: 127.0.0.1
      name: internal
      port: 9093

schema_registry:
  schema_registry_api:
    - address: \"0.0.0.0\"
      name: main
      port: 8081
      authentication_method: none
";

#[test]
fn javas_redpanda_container_starts() {
    let script = "#!/usr/bin/env bash
until grep -q \"# Injected by testcontainers\" \"/etc/redpanda/redpanda.yaml\"
do
  sleep 0.1
done
exec /entrypoint.sh $@
";
    launch(
        &Launch {
            name: "java-redpanda",
            entrypoint: Some(&["sh"]),
            // The entry point is copied before the start; here the container waits for it instead.
            command: Some(&[
                "-c",
                "while [ ! -f /entrypoint-tc.sh ]; do sleep 0.1; done; exec /entrypoint-tc.sh redpanda start --mode=dev-container --smp=1 --memory=1G",
            ]),
            user: Some("0:0"),
            files: &[
                ("/entrypoint-tc.sh", 0o700, script),
                (
                    "/etc/redpanda/.bootstrap.yaml",
                    0o700,
                    "# Injected by testcontainers\nauto_create_topics_enabled: true\n",
                ),
                ("/etc/redpanda/redpanda.yaml", 0o700, REDPANDA_YAML),
            ],
            words: "Successfully started Redpanda!",
            address: "localhost:9092",
            ..Launch::default()
        },
        |_| {},
    );
}

#[test]
fn pythons_redpanda_container_starts() {
    launch(
        &Launch {
            name: "python-redpanda",
            entrypoint: Some(&["sh"]),
            command: Some(&[
                "-c",
                "while [ ! -f /var/lib/redpanda/tc-start.sh ]; do sleep 0.1; done; sh /var/lib/redpanda/tc-start.sh",
            ]),
            files: &[(
                "/var/lib/redpanda/tc-start.sh",
                0o644,
                "#!/bin/bash\n/usr/bin/rpk redpanda start --mode dev-container --smp 1 --memory 1G --kafka-addr PLAINTEXT://0.0.0.0:29092,OUTSIDE://0.0.0.0:9092 --advertise-kafka-addr PLAINTEXT://127.0.0.1:29092,OUTSIDE://localhost:9092",
            )],
            words: "Started Kafka API server",
            address: "localhost:9092",
            ..Launch::default()
        },
        |_| {},
    );
}

/// As somebody runs it who names no command, with what the README says.
#[test]
fn the_image_serves_where_nobody_says_anything() {
    launch(
        &Launch {
            name: "bare",
            words: "Kafka Server started",
            address: "localhost:9092",
            ..Launch::default()
        },
        |_| {},
    );
}

/// Self-hosted Sentry's service with nothing changed but the image, as root on a volume of somebody else.
#[test]
fn sentrys_service_starts_and_its_health_check_passes() {
    launch(
        &Launch {
            name: "sentry",
            user: Some("0:0"),
            variables: &[
                ("KAFKA_PROCESS_ROLES", "broker,controller"),
                ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1001@127.0.0.1:29093"),
                ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
                ("KAFKA_NODE_ID", "1001"),
                ("CLUSTER_ID", "MkU3OEVBNTcwNTJENDM2Qk"),
                (
                    "KAFKA_LISTENERS",
                    "PLAINTEXT://0.0.0.0:29092,INTERNAL://0.0.0.0:9093,EXTERNAL://0.0.0.0:9092,CONTROLLER://0.0.0.0:29093",
                ),
                (
                    "KAFKA_ADVERTISED_LISTENERS",
                    "PLAINTEXT://127.0.0.1:29092,INTERNAL://box:9093,EXTERNAL://box:9092",
                ),
                (
                    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
                    "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
                ),
                ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
                ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
                ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
                ("KAFKA_LOG_RETENTION_HOURS", "3"),
                ("KAFKA_MESSAGE_MAX_BYTES", "50000000"),
                ("KAFKA_MAX_REQUEST_SIZE", "50000000"),
                ("CONFLUENT_SUPPORT_METRICS_ENABLE", "false"),
                (
                    "KAFKA_LOG4J_LOGGERS",
                    "kafka.cluster=WARN,kafka.controller=WARN,kafka.coordinator=WARN,kafka.log=WARN,kafka.server=WARN,state.change.logger=WARN",
                ),
                ("KAFKA_LOG4J_ROOT_LOGLEVEL", "WARN"),
                ("KAFKA_TOOLS_LOG4J_LOGLEVEL", "WARN"),
            ],
            words: "Kafka Server started",
            address: "127.0.0.1:29092",
            ..Launch::default()
        },
        |container| {
            let (is_open, text) = container.exec(&["/bin/sh", "-c", "nc -z localhost 9092"]);
            assert!(is_open, "{text}");
            let group = [
                "kafka-consumer-groups",
                "--bootstrap-server",
                "127.0.0.1:29092",
            ];
            let reset = [
                "--all-groups",
                "--all-topics",
                "--reset-offsets",
                "--to-latest",
                "--execute",
            ];
            let (is_fine, text) = container.exec(&[&group[..], &reset].concat());
            assert!(is_fine, "{text}");
            let (_, told) = container.outside(&[
                RUSTKA,
                "health",
                "-b",
                "127.0.0.1:29092",
                "--format",
                "json",
            ]);
            assert!(
                told.contains("MkU3OEVBNTcwNTJENDM2Qk") && told.contains("1001"),
                "{told}"
            );
        },
    );
}

/// The quick start: the static image with the variables of the compose file, and its own health check.
#[test]
fn the_compose_file_of_the_quick_start_serves() {
    let text = std::fs::read_to_string(folder().join("compose.yaml")).expect("a compose file");
    let variables: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(name, _)| name.starts_with("KAFKA_"))
        .collect();
    assert_eq!(variables.len(), 3, "{text}");
    launch(
        &Launch {
            name: "compose",
            stage: Some("static"),
            variables: &variables,
            words: "\"ready\":true",
            address: "localhost:9092",
            ..Launch::default()
        },
        |container| {
            let health = container.root.image.health.clone();
            let words: Vec<&str> = health.iter().map(String::as_str).collect();
            let (is_well, text) = container.exec(&words);
            assert!(!words.is_empty() && is_well, "{words:?}: {text}");
        },
    );
}

#[test]
fn sentrys_compose_file_changes_the_image_alone() {
    let path = folder().join("sentry.override.yaml");
    let text = std::fs::read_to_string(path).expect("a compose file");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        ["services:", "  kafka:", "    image: rustka:compatible"]
    );
}

/// A folder of this machine that containers mount, gone with the test.
struct Volume(PathBuf);

impl Volume {
    fn of(name: &str, owner: u32) -> Volume {
        let path =
            std::env::temp_dir().join(format!("rustka-volume-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        let volume = Volume(path);
        volume.give_to(owner);
        volume
    }

    fn give_to(&self, owner: u32) {
        let given = Command::new("chown")
            .args(["-R", &format!("{owner}:{owner}")])
            .arg(&self.0)
            .status();
        assert!(given.expect("chown runs").success());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Whatever is left lies among temporary files.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Where the images of Kafka keep their data.
const DATA: &str = "/var/lib/kafka/data";
const READY: &str = "Kafka Server started";

fn on<'a>(volume: &'a Volume, user: &'a str, name: &'a str) -> Launch<'a> {
    Launch {
        name,
        user: Some(user),
        volume: Some((&volume.0, DATA)),
        words: READY,
        address: "localhost:9092",
        ..Launch::default()
    }
}

fn consumed(container: &Container, topic: &str) -> String {
    let (is_fine, text) = container.outside(&[RUSTKA, "consume", topic, "-b", "localhost:9092"]);
    assert!(is_fine, "{text}\n{}", container.log);
    text
}

/// Both launch scripts of the image, by its own user and by root, on a volume that belongs to uid 1000.
#[test]
fn records_on_a_volume_outlive_the_container() {
    if let Some(why) = missing() {
        eprintln!("skipped: volumes: {why}");
        return;
    }
    let scripts: [&[&str]; 2] = [&["/etc/kafka/docker/run"], &["/etc/confluent/docker/run"]];
    for (user, name) in [("1000:1000", "volume-own"), ("0:0", "volume-root")] {
        for script in scripts {
            let volume = Volume::of(name, 1000);
            let first = Launch {
                command: Some(script),
                ..on(&volume, user, name)
            };
            launch(&first, |container| {
                container.stop();
            });
            assert!(volume.0.join("t-0").is_dir(), "{script:?} as {user}");
            let mut second = Container::start(&first);
            second.wait(READY);
            let written = std::fs::read_to_string("/etc/hostname").expect("a name");
            assert_eq!(consumed(&second, "t").trim(), written.trim());
        }
    }
}

#[test]
fn without_a_volume_records_stay_in_memory() {
    launch(
        &Launch {
            name: "no-volume",
            command: Some(&["/etc/confluent/docker/run"]),
            words: READY,
            address: "localhost:9092",
            ..Launch::default()
        },
        |container| {
            let data = container.root.path.join("var/lib/kafka/data");
            let left = std::fs::read_dir(data).expect("a folder").count();
            assert_eq!(left, 0);
        },
    );
}

#[test]
fn a_volume_that_may_not_be_written_to_is_told_by_its_path() {
    if let Some(why) = missing() {
        eprintln!("skipped: volumes: {why}");
        return;
    }
    let volume = Volume::of("foreign", 4321);
    let mut container = Container::start(&on(&volume, "1000:1000", "volume-foreign"));
    assert_eq!(container.ended(), Some(1), "{}", container.log);
    let told = &container.log;
    assert!(told.contains(DATA) && told.contains("ermission"), "{told}");
}

/// Sentry's S3: the volume of a Kafka that was here before. Nothing of it is lost, and nothing strange is added.
#[test]
fn the_volume_of_a_kafka_is_taken_over() {
    if let Some(why) = missing() {
        eprintln!("skipped: volumes: {why}");
        return;
    }
    let volume = Volume::of("kafkas", 1000);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka-directory");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(from.join("."))
        .arg(&volume.0)
        .status();
    assert!(copied.expect("cp runs").success());
    volume.give_to(1000);
    let names = || {
        let entries = std::fs::read_dir(&volume.0).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    let mut container = Container::start(&on(&volume, "1000:1000", "volume-kafka"));
    container.wait(READY);
    assert!(!consumed(&container, "orders").is_empty());
    container.stop();
    let folders = |names: &std::collections::BTreeSet<std::ffi::OsString>| {
        let folders = names.iter().filter(|name| volume.0.join(name).is_dir());
        folders.cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        folders(&names()),
        folders(&before),
        "folders are those of Kafka"
    );
}
