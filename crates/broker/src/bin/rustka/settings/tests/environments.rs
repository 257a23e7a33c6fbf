//! Environments that people have for Kafka, as they are: each starts a broker, without listening.

use super::{Resolved, from};

type Block = &'static [(&'static str, &'static str)];

/// Starts one and compares what the clients of each listener are told.
fn serves(block: Block, told: &[(&str, &str)]) -> Resolved {
    let resolved = from(block);
    assert_eq!(resolved.mistakes, Vec::<String>::new());
    assert!(
        resolved.notes.len() <= 1 && resolved.notes.iter().all(|note| !note.is_warning),
        "{:?}",
        resolved.notes
    );
    let broker = resolved.options.clone().sockets(false).start().unwrap();
    let listeners: Vec<_> = (broker.node().listeners.iter())
        .map(|listener| {
            let told = listener.advertised();
            let told = told.map_or_else(String::new, |(host, port)| format!("{host}:{port}"));
            (listener.name.to_string(), told)
        })
        .collect();
    let told: Vec<_> = (told.iter())
        .map(|(name, at)| (name.to_string(), at.to_string()))
        .collect();
    assert_eq!(listeners, told);
    resolved
}

/// Self-hosted Sentry's service.
const SENTRY: Block = &[
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
        "PLAINTEXT://127.0.0.1:29092,INTERNAL://kafka:9093,EXTERNAL://kafka:9092",
    ),
    (
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
    ),
    ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
    ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
    ("KAFKA_LOG_RETENTION_HOURS", "24"),
    ("KAFKA_MESSAGE_MAX_BYTES", "50000000"),
    ("KAFKA_MAX_REQUEST_SIZE", "50000000"),
    ("CONFLUENT_SUPPORT_METRICS_ENABLE", "false"),
    (
        "KAFKA_LOG4J_LOGGERS",
        "kafka.cluster=WARN,kafka.controller=WARN,kafka.coordinator=WARN,kafka.log=WARN,kafka.server=WARN,state.change.logger=WARN",
    ),
    ("KAFKA_LOG4J_ROOT_LOGLEVEL", "WARN"),
    ("KAFKA_TOOLS_LOG4J_LOGLEVEL", "WARN"),
    ("PATH", "/bin"),
];

#[test]
fn sentry_starts_as_it_is() {
    let told = [
        ("PLAINTEXT", "127.0.0.1:29092"),
        ("INTERNAL", "kafka:9093"),
        ("EXTERNAL", "kafka:9092"),
    ];
    let resolved = serves(SENTRY, &told);
    let note = &resolved.notes[0].text;
    assert!(
        note.contains("KAFKA_MAX_REQUEST_SIZE") && note.contains("KAFKA_CONTROLLER_QUORUM_VOTERS"),
        "{note}"
    );
    assert!(!note.contains("PATH"), "{note}");
    let config = resolved.options.broker_config().unwrap();
    assert_eq!(config.value("node.id"), Some("1001"));
    assert_eq!(config.value("message.max.bytes"), Some("50000000"));
}

#[test]
fn what_apaches_image_documents_starts_as_it_is() {
    // `docker run`, with configs overridden.
    let run: Block = &[
        ("KAFKA_NODE_ID", "1"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        (
            "KAFKA_LISTENERS",
            "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
        ),
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:9092"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        ),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_NUM_PARTITIONS", "3"),
    ];
    serves(run, &[("PLAINTEXT", "localhost:9092")]);
    // Its compose file of a single node.
    let compose: Block = &[
        ("KAFKA_NODE_ID", "1"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
        ),
        (
            "KAFKA_ADVERTISED_LISTENERS",
            "PLAINTEXT_HOST://localhost:9092,PLAINTEXT://broker:19092",
        ),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@broker:29093"),
        (
            "KAFKA_LISTENERS",
            "CONTROLLER://:29093,PLAINTEXT_HOST://:9092,PLAINTEXT://:19092",
        ),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        (
            "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR",
            "1",
        ),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
    ];
    let told = [
        ("PLAINTEXT_HOST", "localhost:9092"),
        ("PLAINTEXT", "broker:19092"),
    ];
    serves(compose, &told);
}

#[test]
fn what_confluents_image_documents_starts_as_it_is() {
    let kraft: Block = &[
        ("KAFKA_NODE_ID", "1"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
        ),
        (
            "KAFKA_ADVERTISED_LISTENERS",
            "PLAINTEXT://kafka-kraft:29092,PLAINTEXT_HOST://localhost:9092",
        ),
        ("KAFKA_JMX_PORT", "9101"),
        ("KAFKA_JMX_HOSTNAME", "localhost"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@kafka-kraft:29093"),
        (
            "KAFKA_LISTENERS",
            "PLAINTEXT://kafka-kraft:29092,CONTROLLER://kafka-kraft:29093,PLAINTEXT_HOST://0.0.0.0:9092",
        ),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("CLUSTER_ID", "MkU3OEVBNTcwNTJENDM2Qk"),
    ];
    let told = [
        ("PLAINTEXT", "kafka-kraft:29092"),
        ("PLAINTEXT_HOST", "localhost:9092"),
    ];
    serves(kraft, &told);
    // Its older ones, which name no listeners: they follow from what is advertised.
    let zookeeper: Block = &[
        ("KAFKA_BROKER_ID", "1"),
        ("KAFKA_ZOOKEEPER_CONNECT", "zookeeper:2181"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
        ),
        (
            "KAFKA_ADVERTISED_LISTENERS",
            "PLAINTEXT://broker:29092,PLAINTEXT_HOST://localhost:9092",
        ),
        (
            "KAFKA_METRIC_REPORTERS",
            "io.confluent.metrics.reporter.ConfluentMetricsReporter",
        ),
        ("KAFKA_CONFLUENT_LICENSE_TOPIC_REPLICATION_FACTOR", "1"),
        (
            "KAFKA_CONFLUENT_METRICS_REPORTER_BOOTSTRAP_SERVERS",
            "broker:29092",
        ),
        ("CONFLUENT_METRICS_ENABLE", "true"),
    ];
    let told = [
        ("PLAINTEXT", "broker:29092"),
        ("PLAINTEXT_HOST", "localhost:9092"),
    ];
    serves(zookeeper, &told);
}

/// What all modules of Testcontainers have in common.
const JAVA: Block = &[
    ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
    (
        "KAFKA_LISTENERS",
        "CONTROLLER://0.0.0.0:9094,BROKER://0.0.0.0:9093,PLAINTEXT://0.0.0.0:9092",
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
    (
        "KAFKA_ADVERTISED_LISTENERS",
        "PLAINTEXT://localhost:32768,BROKER://0a1b2c3d:9093",
    ),
];

/// The older modules, where the ports stand the other way round.
const OLDER: Block = &[
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
    ("KAFKA_ZOOKEEPER_CONNECT", "localhost:2181"),
    ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
    ("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES", "10000000"),
    ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    ("KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE", "false"),
    (
        "KAFKA_ADVERTISED_LISTENERS",
        "PLAINTEXT://localhost:32769,BROKER://0a1b2c3d:9092",
    ),
];

/// The module for Rust, with a node that is called by its older name.
const RUST: Block = &[
    ("CLUSTER_ID", "5L6g3nShT-eMCtK--X86sw"),
    ("KAFKA_BROKER_ID", "1"),
    ("KAFKA_PROCESS_ROLES", "broker,controller"),
    (
        "KAFKA_LISTENERS",
        "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094",
    ),
    (
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    ),
    ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKER"),
    ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
    ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9094"),
    (
        "KAFKA_ADVERTISED_LISTENERS",
        "PLAINTEXT://127.0.0.1:32770,BROKER://localhost:9093",
    ),
    ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
];

#[test]
fn what_testcontainers_sets_starts_as_it_is() {
    let java = [
        ("BROKER", "0a1b2c3d:9093"),
        ("PLAINTEXT", "localhost:32768"),
    ];
    serves(JAVA, &java);
    let older = [
        ("PLAINTEXT", "localhost:32769"),
        ("BROKER", "0a1b2c3d:9092"),
    ];
    serves(OLDER, &older);
    let rust = [
        ("PLAINTEXT", "127.0.0.1:32770"),
        ("BROKER", "localhost:9093"),
    ];
    let resolved = serves(RUST, &rust);
    let config = resolved.options.broker_config().unwrap();
    assert_eq!(config.value("node.id"), Some("1"));
}

/// A listener with a login, its variable with dashes in its name, as the module for Node has it.
#[test]
fn a_listener_with_a_login_starts_as_it_is() {
    let block: Block = &[
        ("KAFKA_LISTENERS", "SECURE://:9092"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "SECURE:SASL_PLAINTEXT",
        ),
        ("KAFKA_SASL_ENABLED_MECHANISMS", "PLAIN,SCRAM-SHA-256"),
        (
            "KAFKA_LISTENER_NAME_SECURE_PLAIN_SASL_JAAS_CONFIG",
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_admin=\"x\";",
        ),
        (
            "KAFKA_LISTENER_NAME_SECURE_SCRAM-SHA-256_SASL_JAAS_CONFIG",
            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        ),
        ("KAFKA_SUPER_USERS", "User:admin"),
        ("KAFKA_ALLOW_EVERYONE_IF_NO_ACL_FOUND", "false"),
    ];
    serves(block, &[("SECURE", "")]);
}
