//! The environment: variables as Kafka's container images have them.
//!
//! `KAFKA_` (or `KAFKA_CFG_`, weaker), then the key in capitals with `_` for `.`, `__` for `_` and `___` for `-`.
//! `RUSTKA_` stands before the keys that begin with `rustka.`.

use super::own::LOGIN_FILE;
use super::{Note, Place, Setting, Settings};
use std::collections::BTreeMap;

/// Variables that are no configs and are read elsewhere.
const ELSEWHERE: [&str; 8] = [
    "RUSTKA_CONFIG",
    crate::log_filter::FORMAT,
    // By the commands.
    "RUSTKA_BOOTSTRAP_SERVER",
    "RUSTKA_LOGIN",
    "RUSTKA_TLS_CA",
    "RUSTKA_TLS_CERT",
    "RUSTKA_CLIENT_CONFIG",
    "RUSTKA_PASSWORD",
];
/// Variables whose names are no keys, and the keys that they stand for.
const OTHER_NAMES: [(&str, &str); 3] = [
    ("KAFKA_KRAFT_CLUSTER_ID", "cluster.id"),
    ("KAFKA_CLUSTER_ID", "cluster.id"),
    ("CLUSTER_ID", "cluster.id"),
];
/// Names and passwords of clients, as Bitnami's image has them, in lists of the same length.
const CLIENTS: (&str, &str) = ("KAFKA_CLIENT_USERS", "KAFKA_CLIENT_PASSWORDS");
/// Options of Java.
const JAVA: &str = "KAFKA_OPTS";
/// Where Kafka's images have keystores and the files with their passwords.
const SECRETS: &str = "/etc/kafka/secrets";

impl Settings {
    pub(super) fn read_environment(&mut self, environment: &BTreeMap<String, String>) {
        let mut ranks: [Vec<Setting>; 4] = Default::default();
        for (variable, value) in environment {
            let (rank, key) = match variable.as_str() {
                name if ELSEWHERE.contains(&name) => continue,
                JAVA if login_file(value).is_some() => continue,
                name if name == CLIENTS.0 || name == CLIENTS.1 => continue,
                name if OTHER_NAMES.iter().any(|(other, _)| *other == name) => continue,
                name => match key_of(name) {
                    Some(found) => found,
                    None => continue,
                },
            };
            if is_service(variable, value) {
                let text = format!(
                    "{variable} is taken for the address of a service, as Kubernetes tells it, and not for a config"
                );
                let is_warning = false;
                self.notes.push(Note { is_warning, text });
                continue;
            }
            let setting = Setting {
                key,
                value: value.clone(),
                place: Place::Variable(variable.clone()),
            };
            match from_secret(setting, SECRETS) {
                Ok(setting) => ranks[rank].push(setting),
                Err(mistake) => self.mistakes.push(mistake),
            }
        }
        if let Some(path) = environment.get(JAVA).and_then(|text| login_file(text)) {
            ranks[1].push(Setting {
                key: LOGIN_FILE.to_owned(),
                value: path.to_owned(),
                place: Place::Variable(JAVA.to_owned()),
            });
        }
        for (variable, key) in OTHER_NAMES {
            let value = environment.get(variable).filter(|value| !value.is_empty());
            ranks[3].extend(value.map(|value| Setting {
                key: key.to_owned(),
                value: value.clone(),
                place: Place::Variable(variable.to_owned()),
            }));
        }
        match clients(environment) {
            Ok(clients) => ranks[1].extend(clients),
            Err(mistake) => self.mistakes.push(mistake),
        }
        self.given.extend(ranks.into_iter().flatten());
    }
}

/// How strong a variable is, and the key that its name stands for; none for those of others.
fn key_of(variable: &str) -> Option<(usize, String)> {
    if let Some(rest) = variable.strip_prefix("KAFKA_CFG_") {
        return Some((0, key(rest)));
    }
    if let Some(rest) = variable.strip_prefix("KAFKA_") {
        return Some((1, key(rest)));
    }
    variable.starts_with("RUSTKA_").then(|| (2, key(variable)))
}

/// The file that Java's option for logins names.
fn login_file(options: &str) -> Option<&str> {
    let mut options = options.split_whitespace();
    let found = options.find_map(|option| {
        option
            .trim_matches(['"', '\''])
            .strip_prefix("-D")?
            .strip_prefix(LOGIN_FILE)?
            .strip_prefix('=')
    });
    found.map(|path| path.trim_matches(['"', '\'']))
}

/// The key that the rest of a variable's name stands for.
pub(super) fn key(rest: &str) -> String {
    let lower = rest.to_ascii_lowercase();
    lower
        .replace("___", "-")
        .replace("__", "\0")
        .replace('_', ".")
        .replace('\0', "_")
}

/// Whether this is how Kubernetes tells of a service that is called like us: `RUSTKA_PORT=tcp://10.0.0.1:9092`.
fn is_service(variable: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    is_address && variable.ends_with("_PORT")
}

/// The users of [`CLIENTS`].
fn clients(environment: &BTreeMap<String, String>) -> Result<Vec<Setting>, String> {
    let list = |name| {
        let items = environment
            .get(name)
            .map_or("", String::as_str)
            .split([',', ';']);
        let items = items.map(str::trim).filter(|item| !item.is_empty());
        items.collect::<Vec<_>>()
    };
    let (users, passwords) = (list(CLIENTS.0), list(CLIENTS.1));
    if users.len() != passwords.len() {
        return Err(format!(
            "{} has {} names and {} has {} passwords: expected one for each",
            CLIENTS.0,
            users.len(),
            CLIENTS.1,
            passwords.len()
        ));
    }
    let pairs = users.into_iter().zip(passwords);
    let settings = pairs.map(|(user, password)| Setting {
        key: "rustka.user".to_owned(),
        value: format!("{user}:{password}"),
        place: Place::Variable(CLIENTS.0.to_owned()),
    });
    Ok(settings.collect())
}

/// What Kafka's images make of a variable that names a file among the secrets: a keystore's place, or a password, which
/// is what the file holds. Other settings stay as they are.
pub(super) fn from_secret(setting: Setting, folder: &str) -> Result<Setting, String> {
    let (key, is_password) = match setting.key.as_str() {
        "ssl.keystore.filename" => ("ssl.keystore.location", false),
        "ssl.truststore.filename" => ("ssl.truststore.location", false),
        "ssl.keystore.credentials" => ("ssl.keystore.password", true),
        "ssl.truststore.credentials" => ("ssl.truststore.password", true),
        "ssl.key.credentials" => ("ssl.key.password", true),
        _ => return Ok(setting),
    };
    let path = format!("{folder}/{}", setting.value.trim());
    let cannot = |why: String| format!("{}: cannot read {path}: {why}", setting.place);
    let value = match is_password {
        true => {
            let text = crate::files::read(&path).map_err(cannot)?;
            text.trim_end().to_owned()
        }
        false => {
            std::fs::metadata(&path).map_err(|error| cannot(error.to_string()))?;
            path
        }
    };
    Ok(Setting {
        key: key.to_owned(),
        value,
        place: setting.place,
    })
}
