//! How clients log in at a listener, from the configs that begin with `listener.name.` and those for all listeners.

use crate::base::start::StartError;
use crate::net::addresses::Address;
use crate::net::bearer::{self, Kept};
use crate::node::LoginRules;
use rustka_core::config::{BrokerConfig, Scope, check_value, find_key, nearest_name};
use rustka_core::security::jaas;
use rustka_core::security::plain::Passwords;
use rustka_core::security::sasl::Mechanism;
use std::collections::BTreeMap;

/// What the keys of one listener begin with.
pub const PREFIX: &str = "listener.name.";
/// The login module that keeps names and passwords in its options.
const PLAIN_MODULE: &str = "PlainLoginModule";

/// The sections of a file of logins, by name.
pub type LoginFile = BTreeMap<String, Vec<jaas::Entry>>;

/// The section for listeners that have none of their own.
const SECTION: &str = "KafkaServer";

/// The configs of single listeners, as they were given.
pub type ListenerConfigs = BTreeMap<String, String>;

/// Checks a key of one listener, `listener.name.NAME.[MECHANISM.]KEY`, and its value.
pub fn check(key: &str, value: &str) -> Result<(), String> {
    let rest = key.strip_prefix(PREFIX).unwrap_or(key);
    let (_, rest) = rest.split_once('.').ok_or_else(|| {
        format!("'{key}' names a listener but no config: expected {PREFIX}NAME.KEY")
    })?;
    let after_mechanism = rest.split_once('.').map(|(_, after)| after);
    let candidates = [Some(rest), after_mechanism];
    let known = candidates
        .into_iter()
        .flatten()
        .find_map(|name| find_key(Scope::Broker, name));
    let Some(known) = known else {
        let names = rustka_core::config::keys(Scope::Broker)
            .iter()
            .map(|key| key.name);
        return Err(match nearest_name(rest, names) {
            Some(nearest) => {
                format!("'{key}': there is no config {rest}; the nearest is {nearest}")
            }
            None => format!("'{key}': there is no config {rest}"),
        });
    };
    let is_limit = ["max.connections", "max.connection.creation.rate"].contains(&known.name);
    if is_limit && value.trim().parse::<i64>().is_ok_and(|number| number < 1) {
        let value = value.trim();
        return Err(format!(
            "Invalid value '{value}' for config '{key}': expected at least 1."
        ));
    }
    let checked = check_value(known, value);
    checked.map(drop).map_err(|refusal| {
        // The sentence may repeat the value, which may be a secret.
        match known.is_sensitive() {
            true => format!("'{key}' has a value that makes no sense"),
            false => refusal.message.unwrap_or_default().into_owned(),
        }
    })
}

/// The configs as one listener has them.
pub struct View<'a> {
    config: &'a BrokerConfig,
    own: &'a ListenerConfigs,
    prefix: String,
}

impl<'a> View<'a> {
    /// Those of the listener at this address.
    pub fn of(address: &Address, config: &'a BrokerConfig, own: &'a ListenerConfigs) -> View<'a> {
        View {
            config,
            own,
            prefix: format!("{PREFIX}{}.", address.name.to_lowercase()),
        }
    }

    /// What was set for this listener alone: while the broker runs, or at its start.
    pub fn own_value(&self, key: &str) -> Option<&'a str> {
        let name = format!("{}{key}", self.prefix);
        let own = self.own.get(&name).map(String::as_str);
        self.config.set_value(&name).or(own)
    }

    /// What holds for this listener.
    pub fn value(&self, key: &str) -> Option<&'a str> {
        self.own_value(key).or_else(|| self.config.value(key))
    }

    /// What holds for one mechanism at this listener.
    pub fn value_of(&self, mechanism: &str, key: &str) -> Option<&'a str> {
        let own = self.own_value(&format!("{mechanism}.{key}"));
        own.or_else(|| self.value(key))
    }

    fn number(&self, key: &str) -> i64 {
        self.value(key)
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    }

    fn jaas(&self, mechanism: Mechanism) -> Option<(String, &'a str)> {
        let mechanism = mechanism.name().to_lowercase();
        let key = format!("{}{mechanism}.sasl.jaas.config", self.prefix);
        let own = self.own.get(&key).map(String::as_str);
        let value = self.config.set_value(&key).or(own)?;
        Some((key, value))
    }
}

/// The rules of a listener with a login, and the keys of tokens that have to be kept up for it. `users` are those who may log
/// in at every listener.
pub fn of(
    address: &Address,
    config: &BrokerConfig,
    own: &ListenerConfigs,
    users: &[(String, String)],
    file: &LoginFile,
) -> Result<(LoginRules, Option<Kept>), StartError> {
    let view = View::of(address, config, own);
    let mechanisms = mechanisms(&view, !users.is_empty())?;
    let takes_tokens = mechanisms.contains(&Mechanism::Bearer);
    let kept = takes_tokens.then(|| bearer::of(&view)).transpose()?;
    let mut passwords = Passwords::default();
    for (user, password) in users {
        passwords.set(user, password);
    }
    for (user, password) in plain_users(&view, address, file)? {
        passwords.set(&user, &password);
    }
    let bytes = view.number("sasl.server.max.receive.size");
    let rules = LoginRules {
        mechanisms,
        passwords,
        session_ms_max: view.number("connections.max.reauth.ms"),
        failure_delay_ms: view.number("connection.failed.authentication.delay.ms"),
        message_bytes_max: usize::try_from(bytes).unwrap_or(0),
        bearer: kept.as_ref().map(|kept| kept.bearer.clone()),
    };
    Ok((rules, kept))
}

/// The users of PLAIN: of the listener's own config, or else of its section in the file.
fn plain_users(
    view: &View<'_>,
    address: &Address,
    file: &LoginFile,
) -> Result<Vec<(String, String)>, StartError> {
    let (entries, place) = match view.jaas(Mechanism::Plain) {
        Some((key, value)) => {
            let entries =
                jaas::parse_value(value).map_err(|why| StartError::new(format!("{key}: {why}")))?;
            (entries, Some(key))
        }
        None => {
            let own = format!("{}.{SECTION}", address.name.to_lowercase());
            let section = file.get(&own).or_else(|| file.get(SECTION));
            (section.cloned().unwrap_or_default(), None)
        }
    };
    let plain = entries
        .iter()
        .find(|entry| entry.short_name() == PLAIN_MODULE);
    match (plain, place) {
        (Some(plain), _) => {
            let users = plain.users();
            Ok(users
                .map(|(name, password)| (name.to_owned(), password.to_owned()))
                .collect())
        }
        // A section may be about other mechanisms alone.
        (None, None) => Ok(Vec::new()),
        (None, Some(key)) => Err(StartError::new(format!(
            "{key}: expected org.apache.kafka.common.security.plain.{PLAIN_MODULE} required user_NAME=\"PASSWORD\";"
        ))),
    }
}

fn mechanisms(view: &View<'_>, has_users: bool) -> Result<Vec<Mechanism>, StartError> {
    let key = "sasl.enabled.mechanisms";
    let is_set = view.config.is_set(key) || view.own_value(key).is_some();
    if has_users && !is_set {
        return Ok(Mechanism::BY_PASSWORD.to_vec());
    }
    let names = view.value(key).unwrap_or("");
    let names = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let mechanisms = names.map(|name| {
        Mechanism::named(name).ok_or_else(|| {
            let known = Mechanism::ALL.map(Mechanism::name).join(",");
            StartError::new(format!(
                "{key} has '{}': expected some of {known}",
                name.escape_debug()
            ))
        })
    });
    mechanisms.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Protocol;

    fn address() -> Address {
        Address {
            name: "Outside".into(),
            protocol: Protocol::SaslPlaintext,
            host: "127.0.0.1".to_owned(),
            port: 0,
            advertised: None,
        }
    }

    fn rules(own: &[(&str, &str)], users: &[(&str, &str)]) -> Result<LoginRules, String> {
        let config = BrokerConfig::new([("connections.max.reauth.ms", "5")], false).unwrap();
        let text = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
        let own = own.iter().map(text).collect();
        let users: Vec<_> = users.iter().map(text).collect();
        of(&address(), &config, &own, &users, &LoginFile::new())
            .map(|(rules, _)| rules)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_a_section_for_all_listeners_and_for_some_their_own() {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let text = format!(
            "KafkaServer {{ a.ScramLoginModule required; {module} required user_all=\"1\"; }};\n\
             outside.KafkaServer {{ {module} required user_own=\"2\"; }};\n\
             KafkaClient {{ {module} required username=\"x\" password=\"y\"; }};"
        );
        let config = BrokerConfig::new([("sasl.enabled.mechanisms", "PLAIN")], false).unwrap();
        let file = jaas::parse_file(&text).unwrap();
        let rules = |name: &str, own: &[(&str, &str)]| {
            let mut address = address();
            address.name = name.into();
            let own = own
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()));
            of(&address, &config, &own.collect(), &[], &file).unwrap().0
        };
        let outside = rules("OUTSIDE", &[]);
        assert!(outside.passwords.is("own", "2") && !outside.passwords.is("all", "1"));
        assert!(rules("INSIDE", &[]).passwords.is("all", "1"));
        let value = format!("{module} required user_third=\"3\";");
        let key = "listener.name.outside.plain.sasl.jaas.config";
        let stronger = rules("OUTSIDE", &[(key, &value)]);
        assert!(stronger.passwords.is("third", "3") && !stronger.passwords.is("own", "2"));
    }

    #[test]
    fn a_listener_has_its_own_mechanisms_users_and_times() {
        let plain =
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_a=\"1\";";
        let own = [
            (
                "listener.name.outside.sasl.enabled.mechanisms",
                "PLAIN, SCRAM-SHA-512",
            ),
            ("listener.name.outside.plain.sasl.jaas.config", plain),
            ("listener.name.outside.connections.max.reauth.ms", "7"),
            ("listener.name.inside.connections.max.reauth.ms", "9"),
        ];
        let rules = rules(&own, &[("b", "2")]).unwrap();
        let names: Vec<_> = rules.mechanisms.iter().map(|one| one.name()).collect();
        assert_eq!(names, ["PLAIN", "SCRAM-SHA-512"]);
        assert!(rules.passwords.is("a", "1") && rules.passwords.is("b", "2"));
        assert_eq!((rules.session_ms_max, rules.failure_delay_ms), (7, 100));
        assert_eq!(rules.message_bytes_max, 524_288);
    }

    #[test]
    fn users_open_every_mechanism_unless_one_is_chosen() {
        assert_eq!(
            rules(&[], &[("b", "2")]).unwrap().mechanisms,
            Mechanism::BY_PASSWORD
        );
        let error = rules(&[], &[]).unwrap_err();
        assert!(
            error.contains("GSSAPI") && error.contains("PLAIN,SCRAM-SHA-256"),
            "{error}"
        );
    }

    #[test]
    fn mistakes_are_told_without_the_secrets() {
        let own = [(
            "listener.name.outside.plain.sasl.jaas.config",
            "Module required user_a=\"hush",
        )];
        let error = rules(&own, &[("b", "2")]).unwrap_err();
        assert!(
            error.contains("outside.plain") && !error.contains("hush"),
            "{error}"
        );
        let own = [(
            "listener.name.outside.plain.sasl.jaas.config",
            "Other required user_a=\"hush\";",
        )];
        let error = rules(&own, &[("b", "2")]).unwrap_err();
        assert!(
            error.contains("PlainLoginModule") && !error.contains("hush"),
            "{error}"
        );
        assert!(check("listener.name.x.connections.max.reauth.ms", "1").is_ok());
        assert!(check("listener.name.x.plain.sasl.jaas.config", "a").is_ok());
        let error = check("listener.name.x.connections.max.reauth", "1").unwrap_err();
        assert!(error.contains("connections.max.reauth.ms"), "{error}");
        assert!(check("listener.name.x.connections.max.reauth.ms", "soon").is_err());
        assert!(check("listener.name.x", "1").is_err());
        assert!(check("listener.name.x.max.connections", "1").is_ok());
        assert!(check("listener.name.x.max.connections", "0").is_err());
    }
}
