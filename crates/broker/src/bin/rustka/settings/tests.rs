//! What people set, and what comes of it. The environments of launchers stand in `tests/environments.rs` beside this.

use super::environment;
use super::*;
use crate::flags::{self, Parsed};
use std::ffi::OsString;

mod environments;

fn read(pairs: &[(&str, &str)], arguments: &[&str]) -> Resolved {
    let mut flags = match flags::parse(arguments.iter().map(OsString::from)) {
        Parsed::Run(flags) => flags,
        Parsed::Print(text) => panic!("{text}"),
    };
    // What this machine has of Kafka does not matter here.
    flags.file.get_or_insert_default();
    let pairs = pairs.iter();
    let pairs = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
    Settings::from(flags, pairs.collect()).resolve()
}

fn from(pairs: &[(&str, &str)]) -> Resolved {
    read(pairs, &[])
}

fn effective(resolved: &Resolved, key: &str) -> Option<String> {
    let config = resolved.options.broker_config().expect("config");
    config.value(key).map(str::to_owned)
}

fn notes(resolved: &Resolved) -> Vec<&str> {
    resolved.notes.iter().map(|note| &*note.text).collect()
}

/// A file that is gone with the test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let name = format!("rustka-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Nothing depends on it.
        drop(std::fs::remove_file(&self.0));
    }
}

#[test]
fn variables_are_named_as_in_kafkas_images() {
    let key = environment::key;
    assert_eq!(key("LOG_RETENTION_HOURS"), "log.retention.hours");
    assert_eq!(key("A__B___C_D"), "a_b-c.d");
}

#[test]
fn keystores_and_their_passwords_are_found_among_the_secrets() {
    let file = File::new("creds", "changeit\n");
    let folder = file.0.parent().unwrap().to_str().unwrap();
    let found = |key: &str| {
        let setting = Setting {
            key: key.to_owned(),
            value: file.0.file_name().unwrap().to_str().unwrap().to_owned(),
            place: Place::Variable("V".to_owned()),
        };
        let setting = environment::from_secret(setting, folder).ok().unwrap();
        (setting.key, setting.value)
    };
    let location = ("ssl.keystore.location".to_owned(), file.path().to_owned());
    assert_eq!(found("ssl.keystore.filename"), location);
    let password = ("ssl.keystore.password".to_owned(), "changeit".to_owned());
    assert_eq!(found("ssl.keystore.credentials"), password);
    let resolved = from(&[("KAFKA_SSL_KEYSTORE_FILENAME", "no-such-store.p12")]);
    let error = &resolved.mistakes[0];
    assert!(
        error.starts_with("KAFKA_SSL_KEYSTORE_FILENAME: cannot read /etc/kafka/secrets/"),
        "{error}"
    );
}

// Whoever corrected one mistake met the next at the next start, and the one after that.
#[test]
fn all_mistakes_are_told_at_once_each_with_key_value_place_and_what_is_valid() {
    let file = File::new(
        "wrong.properties",
        "a=b\nnum.partitions = 0\nlog.roll.ms=0\n",
    );
    let resolved = read(
        &[
            ("KAFKA_LOG_RETENTION_HOURS", "three"),
            ("KAFKA_SSL_CLIENT_AUHT", "required"),
            ("RUSTKA_PORT", "65536"),
            ("KAFKA_CONFIG_PROVIDERS", "file"),
            ("KAFKA_PROCESS_ROLES", "controller"),
        ],
        &[
            file.path(),
            "--prot",
            "-c",
            "num.partition=3",
            "-c",
            "compression.type=brotli",
        ],
    );
    let path = file.path();
    let expected = [
        "unknown flag --prot; the nearest is --port (see --help)".to_owned(),
        format!("{path}, line 2: Invalid value '0' for config 'num.partitions': expected an integer of 32 bits of at least 1."),
        "KAFKA_LOG_RETENTION_HOURS: Invalid value 'three' for config 'log.retention.hours': expected an integer of 32 bits.".to_owned(),
        "KAFKA_SSL_CLIENT_AUHT: Unknown broker config 'ssl.client.auht', did you mean 'ssl.client.auth'?".to_owned(),
        "RUSTKA_PORT: Invalid value '65536' for config 'rustka.port': expected a port from 0 to 65535.".to_owned(),
        "-c: Unknown broker config 'num.partition', did you mean 'num.partitions'?".to_owned(),
        "-c: Invalid value 'brotli' for config 'compression.type': expected one of uncompressed, zstd, lz4, snappy, gzip, producer.".to_owned(),
        format!("{path}, line 3: Invalid value '0' for config 'log.roll.ms': expected at least 1."),
        "KAFKA_CONFIG_PROVIDERS: config.providers is 'file': values such as ${file:…} would be taken as they are, secrets too: write the values themselves".to_owned(),
        "KAFKA_PROCESS_ROLES: process.roles is 'controller': this is a broker, expected 'broker' or 'broker,controller'".to_owned(),
    ];
    assert_eq!(resolved.mistakes, expected);
}

#[test]
fn a_mistake_that_something_stronger_takes_back_is_none() {
    let wrong = [("KAFKA_NUM_PARTITIONS", "many")];
    assert!(
        read(&wrong, &["-c", "num.partitions=2"])
            .mistakes
            .is_empty()
    );
}

#[test]
fn a_typo_is_warned_of_with_what_was_meant() {
    let resolved = from(&[("KAFKA_NUM_PARTITION", "3"), ("KAFKA_HEAP_OPTS", "-Xmx1G")]);
    let expected = [
        (
            true,
            "1 setting has no meaning here: KAFKA_NUM_PARTITION (did you mean num.partitions?)",
        ),
        (false, "1 setting has no meaning here: KAFKA_HEAP_OPTS"),
    ];
    let told: Vec<_> = (resolved.notes.iter())
        .map(|note| (note.is_warning, &*note.text))
        .collect();
    assert_eq!(told, expected);
    assert!(resolved.mistakes.is_empty());
    let typo = [("KAFKA_LISTENER_NAME_SECURE_PLAIN_SASL_JAAS_CONFIGS", "x")];
    let error = &from(&typo).mistakes[0];
    assert!(error.contains("sasl.jaas.config"), "{error}");
}

/// Whoever brought the server.properties of a Kafka was told that where its data lies has no meaning.
#[test]
fn where_the_data_lies_has_a_meaning_in_kafkas_words() {
    let resolved = read(&[("KAFKA_LOG_DIRS", "/a,/b")], &["-c", "log.dir=/c"]);
    assert!(resolved.notes.is_empty());
    assert!(resolved.mistakes.is_empty());
}

/// Whoever sets RUSTKA_LOGIN for the commands and starts a broker in the same shell was told that it is perhaps a slip.
#[test]
fn variables_of_the_commands_are_no_slips() {
    let variables = crate::cli::variables();
    assert!(variables.contains(&"RUSTKA_LOGIN".to_owned()));
    for variable in variables {
        let resolved = from(&[(variable.as_str(), "x")]);
        assert!(resolved.notes.is_empty(), "{variable}");
        assert!(resolved.mistakes.is_empty(), "{variable}");
    }
}

#[test]
fn flags_have_variables_of_their_own() {
    let good = [
        ("RUSTKA_PORT", "0"),
        ("RUSTKA_HOST", "::1"),
        ("RUSTKA_HTTP_PORT", "0"),
        ("RUSTKA_STRICT", "true"),
        ("RUSTKA_BOOTSTRAP_SERVER", "elsewhere:9092"),
    ];
    let resolved = from(&good);
    assert!(resolved.notes.is_empty(), "{:?}", resolved.notes);
    assert!(resolved.options.broker_config().unwrap().is_strict());
    let error = &from(&[("RUSTKA_STRICT", "yes")]).mistakes[0];
    assert!(error.ends_with("expected true or false."), "{error}");
}

// A service that is called rustka sets RUSTKA_PORT=tcp://… in every pod, and the broker did not start.
#[test]
fn what_kubernetes_tells_of_services_is_no_config() {
    let resolved = from(&[
        ("RUSTKA_PORT", "tcp://10.0.0.1:9092"),
        ("KAFKA_PORT", "tcp://10.0.0.2:9092"),
    ]);
    assert!(resolved.mistakes.is_empty(), "{:?}", resolved.mistakes);
    assert!(notes(&resolved)[0].starts_with("KAFKA_PORT is taken for the address of a service"));
    assert_eq!(resolved.notes.len(), 2);
}

#[test]
fn the_environment_stands_before_the_file_and_our_own_names_before_kafkas() {
    let text = "num.partitions=2\nlog.segment.bytes=2000000\nrustka.memory.limit=64M\nno.such=1\n";
    let file = File::new("order.properties", text);
    let resolved = read(
        &[
            ("KAFKA_CFG_NUM_PARTITIONS", "3"),
            ("KAFKA_NUM_PARTITIONS", "4"),
            ("KAFKA_CFG_LOG_RETENTION_MS", "5"),
            ("KAFKA_RUSTKA_VALIDATE_COMPRESSED", "false"),
            ("RUSTKA_VALIDATE_COMPRESSED", "true"),
        ],
        &[file.path(), "-c", "log.segment.bytes=3000000"],
    );
    for (key, value) in [
        ("num.partitions", "4"),
        ("log.segment.bytes", "3000000"),
        ("log.retention.ms", "5"),
        ("rustka.memory.limit", "67108864"),
        ("rustka.validate.compressed", "true"),
    ] {
        assert_eq!(effective(&resolved, key).as_deref(), Some(value), "{key}");
    }
    assert!(notes(&resolved)[0].contains("no.such"));
    let missing = &read(&[], &["/no/such/file"]).mistakes[0];
    assert!(missing.contains("/no/such/file"), "{missing}");
}

#[test]
fn topics_hosts_and_users_have_variables_that_kafka_does_not_know() {
    let resolved = from(&[
        (
            "KAFKA_CREATE_TOPICS",
            "orders:3:1,events:1:1:compact, plain",
        ),
        ("KAFKA_ADVERTISED_HOST_NAME", "box"),
        ("KAFKA_ADVERTISED_PORT", "19092"),
        ("KAFKA_CLIENT_USERS", "alice,bob"),
        ("KAFKA_CLIENT_PASSWORDS", "a-secret,b-secret"),
    ]);
    assert!(resolved.mistakes.is_empty(), "{:?}", resolved.mistakes);
    let (_, advertised) = resolved.options.listening().unwrap();
    assert_eq!(advertised, "SASL_PLAINTEXT://box:19092");
    let broker = resolved.options.sockets(false).start().unwrap();
    let topics: Vec<_> = (broker.node().topics.all().iter())
        .map(|topic| (topic.name.to_string(), topic.partitions.len()))
        .collect();
    let expected = [("events", 1), ("orders", 3), ("plain", 1)];
    assert_eq!(
        topics,
        expected.map(|(name, count)| (name.to_owned(), count))
    );

    for (wrong, told) in [
        ("KAFKA_CREATE_TOPICS", "not 'a:0:1'"),
        ("KAFKA_CLIENT_USERS", "expected one for each"),
    ] {
        let error = from(&[(wrong, "a:0:1")]).mistakes.remove(0);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_file_of_logins_is_found_where_java_is_told_of_it() {
    let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let text = format!("KafkaServer {{\n  {module} required user_alice=\"hush\";\n}};\n");
    let file = File::new("jaas.conf", &text);
    let options = format!(
        "-Xmx1G -Djava.security.auth.login.config={} -Dx=y",
        file.path()
    );
    let listeners = ("KAFKA_LISTENERS", "SASL_PLAINTEXT://:9092");
    let plain = ("KAFKA_SASL_ENABLED_MECHANISMS", "PLAIN");
    let resolved = from(&[listeners, plain, ("KAFKA_OPTS", &options)]);
    assert!(resolved.mistakes.is_empty(), "{:?}", resolved.mistakes);
    assert!(resolved.notes.is_empty(), "{:?}", resolved.notes);
    let broker = resolved.options.sockets(false).start().unwrap();
    let login = broker.node().listeners[0].login.as_ref().unwrap();
    assert!(login.passwords.is("alice", "hush") && !login.passwords.is("alice", "x"));
    let broken = File::new(
        "broken.conf",
        "KafkaServer {\n x required user_a=\"hush;\n};",
    );
    let options = format!("-Djava.security.auth.login.config={}", broken.path());
    let error = from(&[("KAFKA_OPTS", &options)]).mistakes.remove(0);
    assert!(
        error.starts_with("KAFKA_OPTS: ") && error.contains("line 2"),
        "{error}"
    );
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn secrets_are_hidden_from_whoever_asks_what_holds() {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_a=\"hush\";";
    let resolved = read(
        &[
            ("KAFKA_SSL_KEYSTORE_PASSWORD", "hush"),
            ("KAFKA_DELEGATION_TOKEN_SECRET_KEY", "hush"),
            ("KAFKA_LISTENER_NAME_A_PLAIN_SASL_JAAS_CONFIG", jaas),
            ("KAFKA_NO_SUCH_PASSWORD", "hush"),
            ("RUSTKA_HTTP_TOKEN", "hush"),
            ("KAFKA_SUPER_USERS", "User:admin"),
        ],
        &[
            "--user",
            "alice:hush",
            "-c",
            "listener.name.a.ssl.key.password=hush",
        ],
    );
    let shown: Vec<String> = (resolved.holding.iter())
        .map(|one| format!("{}={}", one.setting.key, one.setting.shown()))
        .collect();
    assert_eq!(shown.len(), 8);
    assert!(shown.iter().all(|one| !one.contains("hush")), "{shown:?}");
    assert!(shown.contains(&"super.users=User:admin".to_owned()));
    assert!(shown.contains(&"rustka.user=alice:(secret)".to_owned()));
}
