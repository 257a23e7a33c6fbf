//! Configs of one listener, `listener.name.<listener>.<key>`, as a running broker is given them. Kafka takes any name
//! that begins so, and looks at the value where it knows the key behind it.
//!
//! How a listener uses what it is given when the broker starts is the broker's business.

use std::borrow::Cow;

use super::describe::{ConfigEntry, ConfigSource, Synonym};
use super::dynamic::is_class;
use super::overrides::Overrides;
use super::table::{ConfigKey, ConfigType, Scope, find_key};
use super::value::check_value;
use super::{BrokerConfig, DynamicLayer, shorten};
use crate::error::{ErrorCode, Refusal};

/// What the names of these configs begin with.
const PREFIX: &str = "listener.name.";
/// The longest such name.
const NAME_BYTES_MAX: usize = 1000;
/// So many of them may be set in one layer.
const COUNT_MAX: usize = 1000;
/// What can be set for a listener on all brokers.
const OF_ALL_BROKERS: [&str; 3] = [
    "max.connection.creation.rate",
    "max.connections",
    "num.network.threads",
];

/// Whether this is the name of a config of one listener.
pub(super) fn is_of_listener(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The listener and the name behind it; none where no listener is named.
fn split(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PREFIX)?.split_once('.')
}

/// The key that stands behind the listener's name, where there is such a key.
fn key_behind(name: &str) -> Option<&'static ConfigKey> {
    find_key(Scope::Broker, split(name)?.1)
}

/// Refuses a value that its key cannot have. What is kept is what was given.
pub(super) fn check(name: &str, value: &str) -> Result<Box<str>, Refusal> {
    if name.len() > NAME_BYTES_MAX {
        let message = format!("The config '{}' has too long a name.", shorten(name));
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    let Some(key) = key_behind(name) else {
        return Ok(value.into());
    };
    check_value(key, value)?;
    match key.kind == ConfigType::Class && !is_class(value) {
        true => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("Invalid value for config '{name}': this broker loads no class."),
        )),
        false => Ok(value.into()),
    }
}

/// Refuses what only single brokers have, where it is set for all, and too many.
pub(super) fn check_place(layer: DynamicLayer, values: &Overrides) -> Result<(), Refusal> {
    let names = || (values.iter()).filter_map(|(name, _)| is_of_listener(name).then_some(name));
    if names().count() > COUNT_MAX {
        let message = format!("More than {COUNT_MAX} configs of single listeners are set.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    let is_own = |name: &&str| split(name).is_some_and(|(_, key)| !OF_ALL_BROKERS.contains(&key));
    match names()
        .find(is_own)
        .filter(|_| layer == DynamicLayer::Default)
    {
        Some(name) => {
            let name = shorten(name);
            let message = format!("Config '{name}' can only be set for one broker, by its id.");
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        }
        None => Ok(()),
    }
}

/// The values that a running broker uses of this listener, after a change: numbers of connections, and of threads, which
/// may be halved or doubled from what holds now. What no listener has is not looked at.
pub(super) fn check_change(before: &BrokerConfig, after: &BrokerConfig) -> Result<(), Refusal> {
    let listeners = super::value::split_list(after.value("listeners").unwrap_or(""));
    let names = (listeners.iter())
        .filter_map(|listener| listener.split_once("://"))
        .map(|(name, _)| name.to_lowercase());
    for listener in names {
        let own = |key: &str| format!("{PREFIX}{listener}.{key}");
        let number = |config: &BrokerConfig, name: &str| -> Option<i64> {
            config.set_value(name)?.trim().parse().ok()
        };
        for key in ["max.connections", "max.connection.creation.rate"] {
            let name = own(key);
            if number(after, &name).is_some_and(|number| number < 1) {
                return refuse(&name, "at least 1");
            }
        }
        let (key, name) = ("num.network.threads", own("num.network.threads"));
        let behind = before.value(key).and_then(|value| value.parse().ok());
        let now = number(before, &name).or(behind).unwrap_or(1);
        let next = number(after, &name);
        let expected = (now / 2).max(1)..=now.saturating_mul(2).max(1);
        if next.is_some_and(|next| next != now && !expected.contains(&next)) {
            let (least, greatest) = expected.into_inner();
            return refuse(
                &name,
                &format!("{least} to {greatest}, since it is {now} now"),
            );
        }
    }
    Ok(())
}

fn refuse(name: &str, expected: &str) -> Result<(), Refusal> {
    let message = format!("Invalid value for config '{name}': expected {expected}.");
    Err(Refusal::new(ErrorCode::InvalidRequest, message))
}

/// What is set of single listeners, as it is told: after the values of its own name comes what holds for all listeners.
/// What stands behind unknown names may be a secret.
pub(super) fn describe(broker: &BrokerConfig, cluster_default: bool) -> Vec<ConfigEntry> {
    let layers = [
        (DynamicLayer::Broker, ConfigSource::DynamicBroker),
        (DynamicLayer::Default, ConfigSource::DynamicDefaultBroker),
    ];
    let shown = layers.into_iter();
    let shown = shown.filter(|(layer, _)| !cluster_default || *layer == DynamicLayer::Default);
    let layers: Vec<_> = shown
        .map(|(layer, source)| (broker.dynamic_values(layer), source))
        .collect();
    let mut names: Vec<&str> = (layers.iter())
        .flat_map(|(values, _)| values.iter().map(|(name, _)| name))
        .filter(|name| is_of_listener(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    let entry = |name: &str| entry(broker, name, &layers, cluster_default);
    names.into_iter().filter_map(entry).collect()
}

fn entry(
    broker: &BrokerConfig,
    name: &str,
    layers: &[(&Overrides, ConfigSource)],
    cluster_default: bool,
) -> Option<ConfigEntry> {
    let key = key_behind(name);
    let is_login = split(name).is_some_and(|(_, key)| key.ends_with(".sasl.jaas.config"));
    let sensitive = key.is_none_or(ConfigKey::is_sensitive);
    let owned = |value: &str| (!sensitive).then(|| Cow::Owned(value.to_owned()));
    let own = layers.iter().filter_map(|(values, source)| {
        Some(Synonym {
            name: Cow::Owned(name.to_owned()),
            value: owned(values.get(name)?),
            source: *source,
        })
    });
    let mut synonyms: Vec<Synonym> = own.collect();
    if let Some(key) = key.filter(|_| !cluster_default) {
        let behind = broker.synonyms(key.name, &[key.name]).into_iter();
        synonyms.extend(behind.map(|(name, value, source)| Synonym {
            name: Cow::Borrowed(name),
            value: value.and_then(|value| owned(&value)),
            source,
        }));
    }
    let first = synonyms.first()?;
    Some(ConfigEntry {
        name: Cow::Owned(name.to_owned()),
        value: first.value.clone(),
        read_only: true,
        source: first.source,
        sensitive,
        synonyms,
        config_type: match key {
            Some(key) => Some(key.kind),
            None => is_login.then_some(ConfigType::Password),
        },
        documentation: "A config of one listener, kept until the broker stops.",
    })
}

#[cfg(test)]
mod tests {
    use super::super::{AlterOperation, Alteration, alter_broker, describe_broker};
    use super::*;

    const ONE: DynamicLayer = DynamicLayer::Broker;

    fn set(name: &str, value: &str) -> Alteration {
        Alteration {
            name: name.to_owned(),
            operation: AlterOperation::Set,
            value: Some(value.to_owned()),
        }
    }

    #[test]
    fn a_listeners_secrets_are_never_shown() {
        let mut broker = BrokerConfig::new([], true).unwrap();
        let names = [
            "listener.name.out.ssl.keystore.password",
            "listener.name.out.plain.sasl.jaas.config",
            "listener.name.out.no.such",
        ];
        let changes = names.map(|name| set(name, "hush"));
        let next = alter_broker(&broker, ONE, &changes).unwrap();
        broker.set_dynamic_values(ONE, next);
        let told = describe_broker(&broker, false);
        for name in names {
            let entry = told.iter().find(|entry| entry.name == name).unwrap();
            assert!(entry.sensitive && entry.value.is_none(), "{name}");
        }
        assert!(!format!("{told:?}").contains("hush"));
    }

    #[test]
    fn names_of_listeners_have_an_end() {
        let broker = BrokerConfig::new([], true).unwrap();
        let alter = |changes: &[Alteration]| {
            let altered = alter_broker(&broker, ONE, changes);
            altered.map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
        };
        let longest = "x".repeat(NAME_BYTES_MAX - PREFIX.len());
        let name = |text: &str| format!("{PREFIX}{text}");
        assert_eq!(alter(&[set(&name(&longest), "1")]), ErrorCode::None);
        let longer = name(&format!("{longest}x"));
        assert_eq!(alter(&[set(&longer, "1")]), ErrorCode::InvalidRequest);
        let many = |count: usize| -> Vec<_> {
            (0..count)
                .map(|n| set(&name(&n.to_string()), "1"))
                .collect()
        };
        assert_eq!(alter(&many(COUNT_MAX)), ErrorCode::None);
        assert_eq!(alter(&many(COUNT_MAX + 1)), ErrorCode::InvalidRequest);
    }
}
