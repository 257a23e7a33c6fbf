//! `rpk redpanda start` as test modules call it: the listeners of its flags or of `/etc/redpanda/redpanda.yaml` become those
//! of a broker. There is no schema registry, no proxy and no admin API.

use std::ffi::OsString;
use std::path::Path;

use super::{Start, launched, value_of};

/// Where Redpanda has its configuration, and the settings that are read at its first start.
const CONFIG: &str = "/etc/redpanda/redpanda.yaml";
const BOOTSTRAP: &str = "/etc/redpanda/.bootstrap.yaml";

/// Reads `redpanda start …`.
pub fn rpk(arguments: &[String]) -> Result<Start, String> {
    let [what, how, flags @ ..] = arguments else {
        return Err("only `rpk redpanda start` is built in".to_owned());
    };
    if (what.as_str(), how.as_str()) != ("redpanda", "start") {
        return Err(format!(
            "`rpk {what} {how}` is Redpanda's, but not built in; there is `rpk redpanda start`"
        ));
    }
    let mut told = flags_of(flags)?;
    let read = |path: &str| match Path::new(path).exists() {
        true => {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
        }
        false => Ok(String::new()),
    };
    let (config, bootstrap) = (read(&told.config)?, read(BOOTSTRAP)?);
    if told.listeners.is_empty() {
        told.listeners = listeners(&config, "kafka_api")?;
        told.advertised = listeners(&config, "advertised_kafka_api")?;
    }
    if scalar(&bootstrap, "kafka_enable_authorization") == Some("true") {
        return Err(without_users("kafka_enable_authorization"));
    }
    let creates = scalar(&config, "auto_create_topics_enabled")
        .or(scalar(&bootstrap, "auto_create_topics_enabled"));
    Ok(launched(told.arguments(creates), Vec::new()))
}

/// Redpanda's users are made over an admin API.
fn without_users(what: &str) -> String {
    format!(
        "{what} needs users, which are made over an admin API that is not built in: start `rustka --user NAME:PASSWORD` instead"
    )
}

/// A listener or what is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Listener {
    name: String,
    host: String,
    port: String,
}

#[derive(Debug, Default)]
struct Told {
    config: String,
    listeners: Vec<Listener>,
    advertised: Vec<Listener>,
}

impl Told {
    /// The same as arguments of `rustka`.
    fn arguments(&self, creates_topics: Option<&str>) -> Vec<OsString> {
        let list = |all: &[Listener]| -> String {
            let places = all
                .iter()
                .map(|one| format!("{}://{}:{}", one.name, one.host, one.port));
            places.collect::<Vec<_>>().join(",")
        };
        let mut configs = Vec::new();
        if !self.listeners.is_empty() {
            let names = self
                .listeners
                .iter()
                .map(|one| format!("{}:PLAINTEXT", one.name));
            let map = names.collect::<Vec<_>>().join(",");
            configs.push(format!("listener.security.protocol.map={map}"));
            configs.push(format!("listeners={}", list(&self.listeners)));
            // Kafka wants it to be one that there is.
            configs.push(format!(
                "inter.broker.listener.name={}",
                self.listeners[0].name
            ));
        }
        if !self.advertised.is_empty() {
            configs.push(format!("advertised.listeners={}", list(&self.advertised)));
        }
        if let Some(value) = creates_topics {
            configs.push(format!("auto.create.topics.enable={value}"));
        }
        configs
            .into_iter()
            .flat_map(|config| ["--override".into(), config.into()])
            .collect()
    }
}

fn flags_of(flags: &[String]) -> Result<Told, String> {
    let mut told = Told {
        config: CONFIG.to_owned(),
        ..Told::default()
    };
    let mut rest = flags.iter();
    while let Some(argument) = rest.next() {
        let (flag, attached) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (argument.as_str(), None),
        };
        match flag {
            "--kafka-addr" => told.listeners = addresses(&value_of(flag, attached, &mut rest)?)?,
            "--advertise-kafka-addr" => {
                told.advertised = addresses(&value_of(flag, attached, &mut rest)?)?
            }
            "--config" => told.config = value_of(flag, attached, &mut rest)?,
            // How much of the machine Redpanda may use, and where its other services are.
            "--mode"
            | "--smp"
            | "--memory"
            | "--reserve-memory"
            | "--node-id"
            | "--default-log-level"
            | "--logger-log-level"
            | "--rpc-addr"
            | "--advertise-rpc-addr"
            | "--pandaproxy-addr"
            | "--advertise-pandaproxy-addr"
            | "--schema-registry-addr" => {
                value_of(flag, attached, &mut rest)?;
            }
            "--overprovisioned" | "--check" | "--unsafe-bypass-fsync" | "--lock-memory" => {}
            unknown => return Err(format!("unknown flag {unknown}")),
        }
    }
    Ok(told)
}

/// `NAME://HOST:PORT` or `HOST:PORT`, separated by commas.
fn addresses(text: &str) -> Result<Vec<Listener>, String> {
    let one = |text: &str| {
        let (name, place) = text.split_once("://").unwrap_or(("default", text));
        let (host, port) = place
            .rsplit_once(':')
            .ok_or(format!("{text} is not of the form NAME://HOST:PORT"))?;
        Ok(Listener {
            name: listener_name(name),
            host: host.to_owned(),
            port: port.to_owned(),
        })
    };
    text.split(',').map(str::trim).map(one).collect()
}

/// Redpanda's listeners go by any text; Kafka's by capitals.
fn listener_name(name: &str) -> String {
    let letter = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    };
    name.chars().map(letter).collect()
}

/// A line of YAML without its comment: how far it is indented, and whether it begins an item of a list.
fn lines(text: &str) -> impl Iterator<Item = (usize, bool, &str)> {
    text.lines().filter_map(|line| {
        let line = line.split(" #").next().unwrap_or_default().trim_end();
        let content = line.trim_start();
        let indent = line.len() - content.len();
        let item = content.strip_prefix("- ");
        let (is_item, content) = (item.is_some(), item.unwrap_or(content).trim_start());
        (!content.is_empty() && !content.starts_with('#')).then_some((indent, is_item, content))
    })
}

fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    Some((key.trim(), value.trim().trim_matches(['"', '\''])))
}

/// The value of a key wherever it stands.
fn scalar<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    let mut pairs = lines(text).filter_map(|(_, _, line)| key_and_value(line));
    pairs
        .find(|(key, value)| *key == wanted && !value.is_empty())
        .map(|(_, value)| value)
}

/// The listeners below this key of the section `redpanda`.
fn listeners(text: &str, wanted: &str) -> Result<Vec<Listener>, String> {
    let mut all: Vec<Listener> = Vec::new();
    let (mut is_ours, mut within) = (false, None);
    for (indent, is_item, line) in lines(text) {
        let Some((key, value)) = key_and_value(line) else {
            continue;
        };
        if indent == 0 && !is_item {
            (is_ours, within) = (key == "redpanda", None);
            continue;
        }
        // A list may stand as far to the left as its key, but for its dashes.
        if within
            .is_some_and(|key_indent| indent < key_indent || (indent == key_indent && !is_item))
        {
            within = None;
        }
        if is_ours && within.is_none() && key == wanted && value.is_empty() {
            within = Some(indent);
            continue;
        }
        if within.is_none() {
            continue;
        }
        if is_item {
            all.push(Listener::default());
        }
        let Some(last) = all.last_mut() else {
            continue;
        };
        match key {
            "name" => last.name = listener_name(value),
            "address" => last.host = value.to_owned(),
            "port" => last.port = value.to_owned(),
            "authentication_method" if value != "none" && !value.is_empty() => {
                return Err(without_users(&format!("authentication_method: {value}")));
            }
            _ => {}
        }
    }
    for one in &mut all {
        if one.name.is_empty() {
            one.name = listener_name("default");
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# Injected by testcontainers
redpanda:
  admin:
    address: 0.0.0.0
    port: 9644

  kafka_api:
    - address: 0.0.0.0
      name: external
      port: 9092
      authentication_method: none

    # inside
    - address: 0.0.0.0
      name: internal
      port: 9093
  advertised_kafka_api:
  - address: \"some-host\"
    name: external
    port: 32768
  - address: 127.0.0.1
    name: internal
    port: 9093
  auto_create_topics_enabled: false
schema_registry:
  kafka_api:
  - address: \"0.0.0.0\"
    port: 8081
";

    fn shown(all: &[Listener]) -> Vec<String> {
        let places = all
            .iter()
            .map(|one| format!("{}://{}:{}", one.name, one.host, one.port));
        places.collect()
    }

    #[test]
    fn listeners_are_read_from_the_file_of_a_test_module() {
        let all = listeners(FILE, "kafka_api").unwrap();
        assert_eq!(
            shown(&all),
            ["EXTERNAL://0.0.0.0:9092", "INTERNAL://0.0.0.0:9093"]
        );
        let told = listeners(FILE, "advertised_kafka_api").unwrap();
        assert_eq!(
            shown(&told),
            ["EXTERNAL://some-host:32768", "INTERNAL://127.0.0.1:9093"]
        );
        assert_eq!(scalar(FILE, "auto_create_topics_enabled"), Some("false"));
        let guarded = FILE.replace("_method: none", "_method: sasl");
        assert!(
            listeners(&guarded, "kafka_api")
                .unwrap_err()
                .contains("--user")
        );
        assert!(listeners("", "kafka_api").unwrap().is_empty());
    }

    #[test]
    fn flags_are_taken_with_and_without_an_equals_sign() {
        let line = "--mode dev-container --smp=1 --memory 1G --kafka-addr PLAINTEXT://0.0.0.0:29092,OUTSIDE://0.0.0.0:9092 \
            --advertise-kafka-addr=PLAINTEXT://127.0.0.1:29092,OUTSIDE://box:1234";
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let told = flags_of(&words).unwrap();
        assert_eq!(
            shown(&told.listeners),
            ["PLAINTEXT://0.0.0.0:29092", "OUTSIDE://0.0.0.0:9092"]
        );
        assert_eq!(shown(&told.advertised)[1], "OUTSIDE://box:1234");
        let arguments = told.arguments(Some("true"));
        assert!(arguments.contains(
            &"advertised.listeners=PLAINTEXT://127.0.0.1:29092,OUTSIDE://box:1234".into()
        ));
        assert!(
            flags_of(&["--what".to_owned()])
                .unwrap_err()
                .contains("--what")
        );
        assert!(addresses("nowhere").is_err());
    }
}
