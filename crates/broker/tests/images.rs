//! The compatible image without a container engine: a root directory made by the Dockerfile's own steps, in namespaces of its
//! own, started as each launcher starts its container, by the scripts that the launchers put there. Each ends in a broker that
//! a client outside of that root reaches.
//!
//! Needs Linux, root and the tools of util-linux; skipped by name elsewhere. `apk add` is replaced by the shell and tools of
//! this machine, so what is not tried here is whether Alpine's do as well.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const RUSTKA: &str = env!("CARGO_BIN_EXE_rustka");
/// What the base image and `apk add` bring.
const TOOLS: [&str; 17] = [
    "sh", "bash", "env", "sed", "grep", "awk", "cat", "sleep", "cut", "chmod", "mkdir", "ln", "rm",
    "hostname", "id", "true", "touch",
];
/// Launchers give up after 10 to 60 seconds. Reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything the Dockerfile says of an image.
#[derive(Default)]
struct Image {
    steps: Vec<(String, String)>,
    variables: BTreeMap<String, String>,
    workdir: String,
    user: String,
    entrypoint: Vec<String>,
    command: Vec<String>,
    /// What the image looks at to know that it is well.
    health: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images")
}

/// Reads a stage.
fn image(stage: &str) -> Image {
    let text = std::fs::read_to_string(folder().join("Dockerfile")).expect("a Dockerfile");
    let text = text.replace("\\\n", " ");
    let lines = text
        .lines()
        .skip_while(|line| !line.ends_with(&format!("AS {stage}")))
        .skip(1)
        .take_while(|line| !line.starts_with("FROM"));
    let mut image = Image {
        workdir: "/".to_owned(),
        ..Image::default()
    };
    for line in lines.filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (what, rest) = line.split_once(' ').expect(line);
        let list = || serde_json::from_str(rest).expect(line);
        match what {
            "ENV" => {
                let (name, value) = rest.split_once('=').expect(line);
                image.variables.insert(name.to_owned(), value.to_owned());
            }
            "WORKDIR" => image.workdir = rest.to_owned(),
            "USER" => image.user = rest.to_owned(),
            "ENTRYPOINT" => image.entrypoint = list(),
            "CMD" => image.command = list(),
            "HEALTHCHECK" => {
                let (_, command) = rest.split_once("CMD ").expect(line);
                image.health = serde_json::from_str(command).expect(line);
            }
            "EXPOSE" => {}
            "RUN" | "COPY" => image.steps.push((what.to_owned(), rest.to_owned())),
            other => panic!("a step that this test does not know: {other}"),
        }
    }
    image
}

fn shell(script: &str) {
    let status = Command::new("bash")
        .args(["-ec", script])
        .status()
        .expect("sh runs");
    assert!(status.success(), "{script}");
}

/// Why containers cannot be imitated here.
fn missing() -> Option<&'static str> {
    let tried = Command::new("unshare")
        .args(["-m", "-n", "-u", "true"])
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        _ => Some("namespaces cannot be made: root and unshare are needed"),
    }
}

/// A root directory with the image's files, gone with the test.
struct Root {
    path: PathBuf,
    image: Image,
}

impl Root {
    fn build(test: &str, stage: &str) -> Root {
        let path = std::env::temp_dir().join(format!("rustka-image-{test}-{}", std::process::id()));
        let image = image(stage);
        let shown = path.display();
        for folder in [
            "bin", "usr/bin", "usr/sbin", "tmp", "dev", "proc", "etc", "home", "var/lib",
        ] {
            std::fs::create_dir_all(path.join(folder)).expect("a folder");
        }
        for tool in TOOLS {
            shell(&format!("cp -L \"$(type -P {tool})\" {shown}/bin/{tool}"));
        }
        shell(&format!(
            "ln -s /bin/env {shown}/usr/bin/env; chmod 1777 {shown}/tmp
            for file in {shown}/bin/* {RUSTKA}; do ldd $file | grep -o '/[^ ]*' ; done | sort -u |
            while read library; do mkdir -p {shown}$(dirname $library); cp -L $library {shown}$library; done
            printf '127.0.0.1 localhost box\\n' > {shown}/etc/hosts
            printf 'root:x:0:0::/:/bin/sh\\nappuser:x:1000:1000::/home/appuser:/bin/sh\\n' > {shown}/etc/passwd"
        ));
        let root = Root { path, image };
        for (what, rest) in &root.image.steps {
            match what.as_str() {
                "RUN" if rest.starts_with("apk add") => {}
                "RUN" => root.run(rest),
                _ => root.copy(rest),
            }
        }
        root
    }

    fn run(&self, script: &str) {
        let status = Command::new("chroot")
            .arg(&self.path)
            .args(["/bin/sh", "-ec", script])
            .env("PATH", "/usr/sbin:/usr/bin:/bin")
            .status();
        let path = self.path.display();
        assert!(
            status.expect("chroot runs").success(),
            "in {path}: {script}"
        );
    }

    fn copy(&self, words: &str) {
        let (from, to) = words.split_once(' ').expect(words);
        let from = match from {
            "rustka" => PathBuf::from(RUSTKA),
            from => folder().join(from),
        };
        let to = self.path.join(to.trim_start_matches('/'));
        match from.is_dir() {
            true => shell(&format!("cp -r {}/. {}", from.display(), to.display())),
            false => drop(std::fs::copy(&from, &to).expect("copied")),
        }
    }

    /// Copies a file into the running container, in one step, as launchers do it.
    fn put(&self, path: &str, mode: u32, text: &str) {
        let to = self.path.join(path.trim_start_matches('/'));
        let aside = to.with_extension("coming");
        std::fs::write(&aside, text).expect("written");
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(mode)).expect("a mode");
        std::fs::rename(&aside, &to).expect("renamed");
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Whatever is left lies among temporary files.
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// How a launcher starts its container.
#[derive(Default)]
struct Launch<'a> {
    name: &'a str,
    /// Of the Dockerfile; the compatible one if absent.
    stage: Option<&'a str>,
    user: Option<&'a str>,
    entrypoint: Option<&'a [&'a str]>,
    command: Option<&'a [&'a str]>,
    variables: &'a [(&'a str, &'a str)],
    /// Path, mode and text of what is copied into it while it runs.
    files: &'a [(&'a str, u32, &'a str)],
    /// What is waited for in the log.
    words: &'a str,
    /// Where a client outside finds the broker.
    address: &'a str,
}

/// A container, which ends with the test.
struct Container {
    process: Child,
    lines: Receiver<String>,
    /// All lines so far.
    log: String,
    root: Root,
}

impl Container {
    fn start(launch: &Launch<'_>) -> Container {
        let root = Root::build(launch.name, launch.stage.unwrap_or("compatible"));
        let own = |words: &Vec<String>| words.clone();
        let given = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let entrypoint = launch
            .entrypoint
            .map_or_else(|| own(&root.image.entrypoint), given);
        let command = match (launch.command, launch.entrypoint) {
            (Some(words), _) => given(words),
            (None, Some(_)) => Vec::new(),
            (None, None) => own(&root.image.command),
        };
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let path = root.path.display();
        let user = launch.user.unwrap_or(&root.image.user);
        let enter = format!(
            "ip link set lo up; hostname box; mount --rbind /dev {path}/dev; mount -t proc proc {path}/proc
            exec chroot --userspec={user} {path} /bin/sh -c 'cd {}; exec \"$@\"' - \"$@\"",
            root.image.workdir
        );
        let mut process = Command::new("unshare");
        process
            .args(["-m", "-n", "-u", "bash", "-ec", &enter, "-"])
            .args(entrypoint)
            .args(command)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .envs(&root.image.variables)
            .envs(launch.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("the pipe"))
            .stderr(writer)
            .process_group(0);
        let spawned = process.spawn().expect("unshare runs");
        // Its end of the pipe is closed with it.
        drop(process);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Container {
            process: spawned,
            lines,
            log: String::new(),
            root,
        }
    }

    fn wait(&mut self, words: &str) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                    if line.contains(words) {
                        return;
                    }
                }
                Err(why) => panic!("no {words:?}, {why}, in:\n{}", self.log),
            }
        }
    }

    /// Runs a program of this machine in the container's network.
    fn outside(&self, words: &[&str]) -> (bool, String) {
        self.enter(&["-n"], words)
    }

    fn enter(&self, namespaces: &[&str], words: &[&str]) -> (bool, String) {
        let output = Command::new("nsenter")
            .args(["-t", &self.process.id().to_string()])
            .args(namespaces)
            .arg("--")
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Runs a command in the container, as `docker exec` does.
    fn exec(&self, words: &[&str]) -> (bool, String) {
        let root = self.root.path.to_str().expect("text");
        let user = format!("--userspec={}", self.root.image.user);
        self.enter(&["-n", "-m"], &[&["chroot", &user, root], words].concat())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // All that it started, in its group.
        let group = format!("-{}", self.process.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        drop(self.process.wait());
    }
}

/// Starts a container as the launcher does, and reads back what a client outside wrote.
fn launch(launch: &Launch<'_>, more: impl FnOnce(&mut Container)) {
    if let Some(why) = missing() {
        eprintln!("skipped: {}: {why}", launch.name);
        return;
    }
    let mut container = Container::start(launch);
    for (path, mode, text) in launch.files {
        container.root.put(path, *mode, text);
    }
    container.wait(launch.words);
    let told = container.log.clone();
    for words in [
        &["topic", "create", "t", "-p", "1", "-b", launch.address][..],
        &["produce", "t", "-b", launch.address, "-f", "/etc/hostname"],
    ] {
        let (is_fine, text) = container.outside(&[&[RUSTKA], words].concat());
        assert!(is_fine, "{}: {words:?}: {text}\n{told}", launch.name);
    }
    let (is_fine, text) = container.outside(&[RUSTKA, "consume", "t", "-b", launch.address]);
    let written = std::fs::read_to_string("/etc/hostname").expect("a name");
    assert!(
        is_fine && text.trim() == written.trim(),
        "{}: {text}\n{told}",
        launch.name
    );
    more(&mut container);
}

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
