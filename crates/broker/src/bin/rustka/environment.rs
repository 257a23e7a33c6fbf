//! Settings from outside the command line: a properties file and, stronger, the environment.
//!
//! Variables are named as Kafka's container images do it: `KAFKA_` (or `KAFKA_CFG_`, weaker), then the key in capitals
//! with `_` for `.`, `__` for `_` and `___` for `-`. `RUSTKA_` stands before the keys that begin with `rustka.`.

use crate::properties;
use crate::users;
use rustka::Options;
use rustka::options::parse_size;
use rustka_core::config::{Scope, check_value, find_key, keys, nearest_name};
use std::collections::BTreeMap;

/// Variables that are no configs and are read elsewhere.
const ELSEWHERE: [&str; 2] = ["RUSTKA_CONFIG", crate::log_filter::FORMAT];
/// A properties file is read up to this size.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// So many names are told of what has no meaning here.
const NAMES_TOLD_MAX: usize = 20;
/// The variables that name the cluster, strongest first.
const CLUSTER_ID: [&str; 3] = ["CLUSTER_ID", "KAFKA_CLUSTER_ID", "KAFKA_KRAFT_CLUSTER_ID"];

/// Where Kafka's images have keystores and the files with their passwords.
const SECRETS: &str = "/etc/kafka/secrets";

/// What came from outside.
pub struct Outside {
    /// The options so far.
    pub options: Options,
    /// Sentences for the log, once there is one.
    pub notes: Vec<String>,
}

/// Reads the file, if there is one, and the environment. A value that makes no sense is an error that names its place.
pub fn read(
    options: Options,
    file: Option<&str>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Outside, String> {
    let environment: BTreeMap<String, String> = environment.collect();
    let mut outside = Outside {
        options,
        notes: Vec::new(),
    };
    let file = file.or(environment.get("RUSTKA_CONFIG").map(String::as_str));
    if let Some(path) = file {
        outside.read_file(path)?;
    }
    outside.read_environment(&environment)?;
    Ok(outside)
}

impl Outside {
    fn read_file(&mut self, path: &str) -> Result<(), String> {
        let cannot = |why: String| format!("cannot read the config file {path}: {why}");
        let size = std::fs::metadata(path).map_err(|error| cannot(error.to_string()))?;
        if size.len() > FILE_BYTES_MAX {
            return Err(cannot(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
        let mut unknown = Vec::new();
        for property in properties::parse(&text).map_err(cannot)? {
            let known = self.set(&property.key, &property.value);
            match known.map_err(|why| format!("{path}, line {}: {why}", property.line))? {
                true => {}
                false => unknown.push((property.key.clone(), property.key)),
            }
        }
        self.note(&format!("the config file {path}"), unknown);
        Ok(())
    }

    fn read_environment(&mut self, environment: &BTreeMap<String, String>) -> Result<(), String> {
        let mut unknown = Vec::new();
        let mut weaker = Vec::new();
        let mut plain = Vec::new();
        let mut own = Vec::new();
        for (variable, value) in environment {
            if CLUSTER_ID.contains(&variable.as_str()) {
                continue;
            }
            if let Some(rest) = variable.strip_prefix("KAFKA_CFG_") {
                weaker.push((variable, key_of(rest), value));
            } else if let Some(rest) = variable.strip_prefix("KAFKA_") {
                plain.push((variable, key_of(rest), value));
            } else if variable.starts_with("RUSTKA_") && !ELSEWHERE.contains(&variable.as_str()) {
                own.push((variable, key_of(variable), value));
            }
        }
        for (variable, key, value) in weaker.into_iter().chain(plain).chain(own) {
            let known = match secret(&key, value, SECRETS) {
                Some(found) => found.and_then(|(key, value)| self.set(key, &value)),
                None => self.set(&key, value),
            };
            match known.map_err(|why| format!("{variable}: {why}"))? {
                true => {}
                false => unknown.push((variable.clone(), key)),
            }
        }
        self.note("the environment", unknown);
        let cluster = CLUSTER_ID.iter().find_map(|name| environment.get(*name));
        if let Some(id) = cluster.filter(|id| !id.is_empty()) {
            self.options = self.options.clone().cluster_id(id);
        }
        Ok(())
    }

    /// Sets one key; false where nothing knows it.
    fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        if let Some(flag) = self.set_flag(key, value) {
            return flag.map(|()| true);
        }
        if let Some(checked) = rustka::options::check_apart(key, value) {
            checked?;
            self.options = self.options.clone().config(key, value);
            return Ok(true);
        }
        let Some(known) = find_key(Scope::Broker, key) else {
            return Ok(false);
        };
        let value = match key {
            "rustka.memory.limit" => match parse_size(value.trim()) {
                Some(bytes) => bytes.to_string(),
                None => value.to_owned(),
            },
            _ => value.to_owned(),
        };
        check_value(known, &value).map_err(|refusal| {
            let message = refusal.message.unwrap_or_default();
            message.into_owned()
        })?;
        self.options = self.options.clone().config(key, value);
        Ok(true)
    }

    /// What is a flag on the command line and no config of Kafka's goes by a name of ours; none for other keys.
    fn set_flag(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
        let wrong = |expected: &str| {
            let value = value.escape_debug();
            format!("Invalid value '{value}' for config '{key}': expected {expected}.")
        };
        let options = self.options.clone();
        let port = || {
            let port = value.trim().parse::<u16>();
            port.map_err(|_| wrong("a port from 0 to 65535"))
        };
        let changed = match key {
            "rustka.host" => Ok(options.host(value.trim())),
            "rustka.port" => port().map(|port| options.port(port)),
            "rustka.http.port" => port().map(|port| options.http_port(port)),
            "rustka.http.token" => Ok(options.http_token(value.trim())),
            "rustka.http.allowed.host" => {
                let hosts = value
                    .split(',')
                    .map(str::trim)
                    .filter(|host| !host.is_empty());
                Ok(hosts.fold(options, |options, host| options.http_allowed_host(host)))
            }
            "rustka.metrics.open" => match value.trim() {
                "true" => Ok(options.metrics_open(true)),
                "false" => Ok(options.metrics_open(false)),
                _ => Err(wrong("true or false")),
            },
            "rustka.user" => users::parse_one(value, "rustka.user")
                .map(|(name, password)| options.user(name, password)),
            "rustka.user.file" => users::read(value.trim()).map(|users| {
                let add = |options: Options, (name, password)| options.user(name, password);
                users.into_iter().fold(options, add)
            }),
            "rustka.tls.self.signed" => match value.trim() {
                "true" => Ok(options.tls_self_signed(true)),
                "false" => Ok(options.tls_self_signed(false)),
                _ => Err(wrong("true or false")),
            },
            "rustka.strict" => match value.trim() {
                "true" => Ok(options.strict(true)),
                "false" => Ok(options.strict(false)),
                _ => Err(wrong("true or false")),
            },
            _ => return None,
        };
        Some(changed.map(|options| self.options = options))
    }

    /// One sentence for all that has no meaning, with what may have been meant.
    fn note(&mut self, place: &str, unknown: Vec<(String, String)>) {
        if unknown.is_empty() {
            return;
        }
        let count = unknown.len();
        let known = || keys(Scope::Broker).iter().map(|key| key.name);
        let mut told: Vec<String> = Vec::new();
        for (name, key) in unknown.into_iter().take(NAMES_TOLD_MAX) {
            let name: String = name.escape_debug().take(100).collect();
            told.push(match nearest_name(&key, known()) {
                Some(nearest) => format!("{name} (did you mean {nearest}?)"),
                None => name,
            });
        }
        if count > NAMES_TOLD_MAX {
            told.push("…".to_owned());
        }
        self.notes.push(format!(
            "{count} settings of {place} have no meaning here: {}",
            told.join(", ")
        ));
    }
}

/// What Kafka's images make of a variable that names a file among the secrets: a keystore's place, or a password, which
/// is what the file holds. None for other keys.
fn secret(key: &str, file: &str, folder: &str) -> Option<Result<(&'static str, String), String>> {
    let (key, is_password) = match key {
        "ssl.keystore.filename" => ("ssl.keystore.location", false),
        "ssl.truststore.filename" => ("ssl.truststore.location", false),
        "ssl.keystore.credentials" => ("ssl.keystore.password", true),
        "ssl.truststore.credentials" => ("ssl.truststore.password", true),
        "ssl.key.credentials" => ("ssl.key.password", true),
        _ => return None,
    };
    let path = format!("{folder}/{}", file.trim());
    Some(match (is_password, std::fs::metadata(&path)) {
        (false, Ok(_)) => Ok((key, path)),
        (true, Ok(size)) if size.len() > FILE_BYTES_MAX => {
            Err(format!("{path} is larger than {FILE_BYTES_MAX} bytes"))
        }
        (true, Ok(_)) => match std::fs::read_to_string(&path) {
            Ok(password) => Ok((key, password.trim_end().to_owned())),
            Err(error) => Err(format!("cannot read {path}: {error}")),
        },
        (_, Err(error)) => Err(format!("cannot read {path}: {error}")),
    })
}

/// The key that the rest of a variable's name stands for.
fn key_of(rest: &str) -> String {
    let lower = rest.to_ascii_lowercase();
    lower
        .replace("___", "-")
        .replace("__", "\0")
        .replace('_', ".")
        .replace('\0', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka::Broker;

    fn from(pairs: &[(&str, &str)], file: Option<&str>) -> Result<Outside, String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        read(Broker::builder(), file, pairs)
    }

    fn effective(outside: &Outside, key: &str) -> Option<String> {
        let config = outside.options.broker_config().expect("config");
        config.value(key).map(str::to_owned)
    }

    #[test]
    fn variables_are_named_as_in_kafkas_images() {
        assert_eq!(key_of("LOG_RETENTION_HOURS"), "log.retention.hours");
        assert_eq!(key_of("A__B___C_D"), "a_b-c.d");
    }

    #[test]
    fn keystores_and_their_passwords_are_found_among_the_secrets() {
        let folder = std::env::temp_dir().join(format!("rustka-secrets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("creds"), "changeit\n").unwrap();
        let place = folder.to_str().unwrap();
        let found = |key| secret(key, "creds", place).map(Result::unwrap);
        let path = format!("{place}/creds");
        assert_eq!(
            found("ssl.keystore.filename"),
            Some(("ssl.keystore.location", path))
        );
        let password = "changeit".to_owned();
        assert_eq!(
            found("ssl.keystore.credentials"),
            Some(("ssl.keystore.password", password))
        );
        assert_eq!(found("ssl.keystore.location"), None);
        std::fs::remove_dir_all(&folder).unwrap();
        let missing = [("KAFKA_SSL_KEYSTORE_FILENAME", "no-such-store.p12")];
        let error = from(&missing, None).err().unwrap();
        assert!(
            error.starts_with("KAFKA_SSL_KEYSTORE_FILENAME: cannot read /etc/kafka/secrets/"),
            "{error}"
        );
    }

    #[test]
    fn what_sentry_sets_is_taken_and_the_rest_told_in_one_note() {
        let outside = from(
            &[
                ("KAFKA_PROCESS_ROLES", "broker,controller"),
                ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1001@127.0.0.1:29093"),
                ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
                ("KAFKA_NODE_ID", "1001"),
                ("CLUSTER_ID", "MkU3OEVBNTcwNTJENDM2Qk"),
                ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
                ("KAFKA_LOG_RETENTION_HOURS", "3"),
                ("KAFKA_MESSAGE_MAX_BYTES", "50000000"),
                ("KAFKA_MAX_REQUEST_SIZE", "50000000"),
                ("CONFLUENT_SUPPORT_METRICS_ENABLE", "false"),
                ("KAFKA_LOG4J_LOGGERS", "kafka.cluster=WARN"),
                ("KAFKA_LOG4J_ROOT_LOGLEVEL", "WARN"),
                ("KAFKA_TOOLS_LOG4J_LOGLEVEL", "WARN"),
                ("PATH", "/bin"),
            ],
            None,
        )
        .unwrap();
        assert_eq!(effective(&outside, "node.id").as_deref(), Some("1001"));
        assert_eq!(
            effective(&outside, "log.retention.hours").as_deref(),
            Some("3")
        );
        assert_eq!(
            effective(&outside, "message.max.bytes").as_deref(),
            Some("50000000")
        );
        assert_eq!(outside.notes.len(), 1, "{:?}", outside.notes);
        assert!(outside.notes[0].starts_with("4 settings of the environment"));
        assert!(outside.notes[0].contains("KAFKA_MAX_REQUEST_SIZE"));
    }

    /// The blocks that people have: self-hosted Sentry's, the Java module's of Testcontainers, one with a login.
    #[test]
    fn blocks_with_several_listeners_make_a_broker_as_they_are() {
        let sentry = [
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
        ];
        let container = [
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
            ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9094"),
            ("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES", "9223372036854775807"),
            (
                "KAFKA_ADVERTISED_LISTENERS",
                "PLAINTEXT://localhost:32768,BROKER://0a1b2c3d:9093",
            ),
        ];
        let guarded = [
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
        for block in [&sentry[..], &container, &guarded] {
            let outside = from(block, None).unwrap();
            assert!(outside.notes.is_empty(), "{:?}", outside.notes);
            outside.options.check().unwrap();
        }
        let typo = [("KAFKA_LISTENER_NAME_SECURE_PLAIN_SASL_JAAS_CONFIGS", "x")];
        let error = from(&typo, None).err().unwrap();
        assert!(error.contains("sasl.jaas.config"), "{error}");
    }

    #[test]
    fn flags_have_variables_of_their_own() {
        let good = [
            ("RUSTKA_PORT", "0"),
            ("RUSTKA_HOST", "::1"),
            ("RUSTKA_HTTP_PORT", "0"),
        ];
        let outside = from(&[&good[..], &[("RUSTKA_STRICT", "true")]].concat(), None).unwrap();
        assert!(outside.notes.is_empty(), "{:?}", outside.notes);
        assert!(outside.options.broker_config().unwrap().is_strict());
        for bad in [("RUSTKA_PORT", "65536"), ("RUSTKA_STRICT", "yes")] {
            let error = from(&[bad], None).err().unwrap();
            assert!(
                error.starts_with(bad.0) && error.contains("expected"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_typo_is_told_with_what_was_meant_and_a_bad_value_with_what_is_valid() {
        let outside = from(&[("KAFKA_NUM_PARTITION", "3")], None).unwrap();
        assert!(
            outside.notes[0].contains("did you mean num.partitions?"),
            "{:?}",
            outside.notes
        );
        let error = from(&[("KAFKA_NUM_PARTITIONS", "many")], None)
            .err()
            .unwrap();
        assert_eq!(
            error,
            "KAFKA_NUM_PARTITIONS: Invalid value 'many' for config 'num.partitions': expected an integer of 32 bits of at least 1."
        );
        assert!(
            from(&[], Some("/no/such/file"))
                .err()
                .unwrap()
                .contains("/no/such/file")
        );
    }

    #[test]
    fn the_environment_stands_before_the_file_and_our_own_names_before_kafkas() {
        let path = std::env::temp_dir().join(format!("rustka-{}.properties", std::process::id()));
        std::fs::write(
            &path,
            "num.partitions=2\nlog.segment.bytes=2000000\nrustka.memory.limit=64M\nno.such=1\n",
        )
        .unwrap();
        let file = path.to_str().unwrap();
        let outside = from(
            &[
                ("KAFKA_CFG_NUM_PARTITIONS", "3"),
                ("KAFKA_NUM_PARTITIONS", "4"),
                ("KAFKA_CFG_LOG_RETENTION_MS", "5"),
                ("KAFKA_RUSTKA_VALIDATE_COMPRESSED", "false"),
                ("RUSTKA_VALIDATE_COMPRESSED", "true"),
            ],
            Some(file),
        )
        .unwrap();
        assert_eq!(effective(&outside, "num.partitions").as_deref(), Some("4"));
        assert_eq!(
            effective(&outside, "log.segment.bytes").as_deref(),
            Some("2000000")
        );
        assert_eq!(
            effective(&outside, "log.retention.ms").as_deref(),
            Some("5")
        );
        assert_eq!(
            effective(&outside, "rustka.memory.limit").as_deref(),
            Some("67108864")
        );
        assert_eq!(
            effective(&outside, "rustka.validate.compressed").as_deref(),
            Some("true")
        );
        assert!(outside.notes[0].contains("no.such"));
        std::fs::write(&path, "a=b\nnum.partitions = 0\n").unwrap();
        let error = from(&[], Some(file)).err().unwrap();
        assert!(
            error.starts_with(&format!("{file}, line 2: Invalid value '0'")),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();
    }
}
