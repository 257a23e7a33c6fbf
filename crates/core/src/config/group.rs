//! Configs of groups, behind which stand the broker's `group.` keys.

use std::borrow::Cow;

use super::broker::{BrokerConfig, Resolved};
use super::describe::{ConfigEntry, ConfigSource};
use super::overrides::Overrides;
use super::table::{ConfigKey, Scope, find_key, keys};
use crate::error::{ErrorCode, Refusal};

/// Every config of a group with these overrides, by name.
pub fn describe_group(broker: &BrokerConfig, overrides: &Overrides) -> Vec<ConfigEntry> {
    let shown = |key: &&ConfigKey| !key.internal || overrides.get(key.name).is_some();
    let describe = |key| ConfigEntry::new(key, resolve_group(broker, overrides, key), false);
    keys(Scope::Group)
        .iter()
        .filter(shown)
        .map(describe)
        .collect()
}

/// The value that holds for a group's key.
pub fn group_value<'a>(
    broker: &'a BrokerConfig,
    overrides: &'a Overrides,
    name: &str,
) -> Option<&'a str> {
    let key = find_key(Scope::Group, name)?;
    overrides
        .get(name)
        .or_else(|| broker.value(broker_key(name)?.name))
        .or_else(|| key.default_value())
}

fn broker_key(name: &str) -> Option<&'static ConfigKey> {
    match name {
        "streams.assignor.name" => find_key(Scope::Broker, "group.streams.assignors"),
        name => find_key(Scope::Broker, &format!("group.{name}")),
    }
}

fn resolve_group<'a>(
    broker: &'a BrokerConfig,
    overrides: &'a Overrides,
    key: &'static ConfigKey,
) -> Resolved<'a> {
    let mut synonyms = Vec::new();
    if let Some(value) = overrides.get(key.name) {
        synonyms.push((key.name, Some(Cow::Borrowed(value)), ConfigSource::Group));
    }
    match (broker_key(key.name), key.default_value()) {
        (Some(behind), _) => synonyms.extend(broker.synonyms(behind.name, &[behind.name])),
        (None, Some(default)) => {
            synonyms.push((
                key.name,
                Some(Cow::Borrowed(default)),
                ConfigSource::Default,
            ));
        }
        (None, None) => {}
    }
    Resolved {
        value: group_value(broker, overrides, key.name).map(Cow::Borrowed),
        source: synonyms.first().map_or(ConfigSource::Default, |s| s.2),
        synonyms,
    }
}

/// Refuses values outside what the broker allows its groups.
pub(super) fn validate_group(broker: &BrokerConfig, overrides: &Overrides) -> Result<(), Refusal> {
    let refuse = |name: &str, value: i64, expected: String| {
        Err(Refusal::new(
            ErrorCode::InvalidConfig,
            format!("Invalid value '{value}' for config '{name}': expected {expected}."),
        ))
    };
    for (name, value) in overrides.iter() {
        let (Ok(value), Some((kind, rest))) = (value.parse::<i64>(), name.split_once('.')) else {
            continue;
        };
        // The bounds of `num.standby.replicas` leave `num.` out.
        let rest = rest.strip_prefix("num.").unwrap_or(rest);
        let bound = |end: &str| -> Option<i64> {
            let name = format!("group.{kind}.{end}.{rest}");
            broker.value(&name)?.parse().ok()
        };
        if let Some(least) = bound("min")
            && value < least
        {
            return refuse(name, value, format!("at least {least} on this broker"));
        }
        if let Some(greatest) = bound("max")
            && value > greatest
        {
            return refuse(name, value, format!("at most {greatest} on this broker"));
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let number = |rest: &str| -> Option<(String, i64)> {
            let name = format!("{kind}.{rest}");
            let value = group_value(broker, overrides, &name)?.parse().ok()?;
            Some((name, value))
        };
        if let (Some((name, session)), Some((other, heartbeat))) = (
            number("session.timeout.ms"),
            number("heartbeat.interval.ms"),
        ) && session <= heartbeat
        {
            return refuse(
                &name,
                session,
                format!("more than {other}, which is {heartbeat}"),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &'static str)]) -> Overrides {
        Overrides::parse(Scope::Group, pairs.iter().map(|(n, v)| (*n, Some(*v)))).unwrap()
    }

    #[test]
    fn a_groups_own_value_stands_before_the_brokers() {
        let broker =
            BrokerConfig::new([("group.share.session.timeout.ms", "50000")], false).unwrap();
        let entries = describe_group(
            &broker,
            &overrides(&[("consumer.session.timeout.ms", "45001")]),
        );
        let told = |name| {
            let entry = entries.iter().find(|entry| entry.name == name).unwrap();
            (entry.value.as_deref().unwrap(), entry.source.code())
        };
        assert_eq!(told("consumer.session.timeout.ms"), ("45001", 8));
        assert_eq!(told("share.session.timeout.ms"), ("50000", 4));
        assert_eq!(told("consumer.heartbeat.interval.ms"), ("5000", 5));
        assert_eq!(told("streams.assignor.name"), ("sticky", 5));
    }

    #[test]
    fn the_broker_bounds_what_groups_may_set() {
        let broker = BrokerConfig::new([], false).unwrap();
        let check = |name, value| validate_group(&broker, &overrides(&[(name, value)])).is_ok();
        assert!(check("consumer.session.timeout.ms", "45001"));
        assert!(!check("consumer.session.timeout.ms", "10"));
        assert!(!check("consumer.session.timeout.ms", "60001"));
        assert!(!check("streams.num.standby.replicas", "3"));
        let loose = BrokerConfig::new([("group.consumer.min.session.timeout.ms", "1")], false);
        let low = overrides(&[("consumer.session.timeout.ms", "5000")]);
        assert!(validate_group(&loose.unwrap(), &low).is_err());
    }
}
