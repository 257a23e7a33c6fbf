//! Configs of a broker that may change while it runs: for whom each of them can be set, and which values go with what
//! holds now. Kafka's brokers check the same before they take a change (KIP-226).

use super::listener;
use super::overrides::Overrides;
use super::table::{Scope, find_key};
use super::topic::{effective_value, is_behind_a_topic_key};
use super::value::split_list;
use super::{BrokerConfig, DynamicLayer};
use crate::error::{ErrorCode, Refusal};

/// Numbers of threads, which may be halved or doubled with one change.
const THREADS: [&str; 10] = [
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
];

/// What one broker has for itself, besides all that begins with `sasl.` or `ssl.`.
const OF_ONE_BROKER: [&str; 5] = [
    ADVERTISED,
    "cordoned.log.dirs",
    "listener.security.protocol.map",
    "listeners",
    "principal.builder.class",
];

/// What clients are told. Kafka lets it be set at the start only; who learns a mapped port late has no other way.
const ADVERTISED: &str = "advertised.listeners";

/// Classes that a broker without a class path has.
const CLASSES: [&str; 2] = [
    "org.apache.kafka.common.metrics.JmxReporter",
    "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
];

const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// Whether this broker has a class of this name.
pub(super) fn is_class(name: &str) -> bool {
    CLASSES.contains(&name)
}

/// Whether a broker key may change while the broker runs.
pub fn is_dynamic(name: &str) -> bool {
    is_behind_a_topic_key(name) || DYNAMIC.binary_search(&name).is_ok()
}

/// Whether this broker lets it change, which is more than Kafka does.
pub fn is_alterable(broker: &BrokerConfig, name: &str) -> bool {
    is_dynamic(name) || name == ADVERTISED && !broker.is_strict()
}

/// Broker keys that Kafka lets change at run time, besides those behind topic keys.
const DYNAMIC: [&str; 79] = [
    "background.threads",
    "config.providers",
    "cordoned.log.dirs",
    "errors.deadletterqueue.auto.create.topics.enable",
    "errors.deadletterqueue.topic.name.prefix",
    "follower.fetch.last.tiered.offset.enable",
    "follower.replication.throttled.rate",
    "group.consumer.assignment.interval.ms",
    "group.coordinator.cached.buffer.max.bytes",
    "group.share.assignment.interval.ms",
    "group.streams.assignment.interval.ms",
    "leader.replication.throttled.rate",
    "listener.security.protocol.map",
    "listeners",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "metric.reporters",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "principal.builder.class",
    "producer.id.expiration.ms",
    "remote.fetch.max.wait.ms",
    "remote.list.offsets.request.timeout.ms",
    "remote.log.index.file.cache.total.size.bytes",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.copy.max.bytes.per.second",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.fetch.max.bytes.per.second",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
    "replica.alter.log.dirs.io.max.bytes.per.second",
    "rustka.retention.total.bytes",
    "rustka.scrub.bytes.per.second",
    "rustka.scrub.interval.ms",
    "sasl.enabled.mechanisms",
    "sasl.jaas.config",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal.to.local.rules",
    "sasl.kerberos.service.name",
    "sasl.kerberos.ticket.renew.jitter",
    "sasl.kerberos.ticket.renew.window.factor",
    "sasl.login.refresh.buffer.seconds",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.mechanism.inter.broker.protocol",
    "share.coordinator.cached.buffer.max.bytes",
    "ssl.cipher.suites",
    "ssl.client.auth",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.factory.class",
    "ssl.key.password",
    "ssl.keymanager.algorithm",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.protocol",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
    "transaction.partition.verification.enable",
];

/// Refuses values of a layer that belong to single listeners, or to single brokers.
pub fn check_place(layer: DynamicLayer, values: &Overrides) -> Result<(), Refusal> {
    for (name, _) in values.iter() {
        let store = ["ssl.key.", "ssl.keystore.", "ssl.truststore."];
        if store.iter().any(|prefix| name.starts_with(prefix)) {
            let message = format!(
                "Config '{name}' can only be changed for one listener, as listener.name.<listener>.{name}."
            );
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        let is_own = name.starts_with("sasl.") || name.starts_with("ssl.");
        if layer == DynamicLayer::Default && (is_own || OF_ONE_BROKER.contains(&name)) {
            let message = format!("Config '{name}' can only be set for one broker, by its id.");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    }
    listener::check_place(layer, values)
}

/// Refuses what would hold after a change, for itself or beside what held before it.
pub fn check_change(before: &BrokerConfig, after: &BrokerConfig) -> Result<(), Refusal> {
    for name in THREADS {
        check_threads(name, before, after)?;
    }
    listener::check_change(before, after)?;
    check_values(after)?;
    check_fixed(before, after)
}

/// Refuses values that no broker can work with, alone or beside each other.
pub fn check_values(config: &BrokerConfig) -> Result<(), Refusal> {
    match contradictions(config).into_iter().next() {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

/// All values that no broker can work with, alone or beside each other.
pub fn contradictions(config: &BrokerConfig) -> Vec<Refusal> {
    let mut found = wrong_numbers(config);
    found.extend(check_overrides(config).err());
    found.extend(check_cordoned(config).err());
    found
}

fn number(config: &BrokerConfig, name: &str) -> Option<i64> {
    config.value(name)?.parse().ok()
}

fn check_threads(name: &str, before: &BrokerConfig, after: &BrokerConfig) -> Result<(), Refusal> {
    let (Some(now), Some(next)) = (number(before, name), number(after, name)) else {
        return Ok(());
    };
    let expected = (now / 2).max(1)..=now.saturating_mul(2).max(1);
    if next == now || expected.contains(&next) {
        return Ok(());
    }
    let (least, greatest) = expected.into_inner();
    refuse(
        after,
        name,
        &format!("{least} to {greatest}, since it is {now} now"),
    )
}

fn wrong_numbers(config: &BrokerConfig) -> Vec<Refusal> {
    let mut found = Vec::new();
    let mut wrong = |name: &str, expected: &str| found.extend(refuse(config, name, expected).err());
    let at_least_one = [
        "max.connections",
        "max.connection.creation.rate",
        "log.roll.ms",
    ];
    for name in at_least_one {
        if number(config, name).is_some_and(|number| number < 1) {
            wrong(name, "at least 1");
        }
    }
    let retention = "log.retention.ms";
    if number(config, retention) == Some(0) {
        wrong(retention, "at least 1, or -1 for no limit");
    }
    let per_address = "max.connections.per.ip";
    let overrides = config.value("max.connections.per.ip.overrides");
    if number(config, per_address) == Some(0) && overrides.unwrap_or("").is_empty() {
        let expected = "at least 1 where max.connections.per.ip.overrides is empty";
        wrong(per_address, expected);
    }
    let buffer = "log.cleaner.dedupe.buffer.size";
    let threads = number(config, "log.cleaner.threads").unwrap_or(1).max(1);
    if number(config, buffer).is_some_and(|bytes| bytes / threads <= 1 << 20) {
        wrong(buffer, "more than 1 MiB for each cleaner thread");
    }
    for (local, all) in [
        ("log.local.retention.ms", "retention.ms"),
        ("log.local.retention.bytes", "retention.bytes"),
    ] {
        found.extend(check_local_retention(config, local, all).err());
    }
    found
}

/// What is kept here is a part of what is kept at all; -2 stands for the same. `all` is the key of topics, which knows
/// all names that the broker has for it.
fn check_local_retention(config: &BrokerConfig, local: &str, all: &str) -> Result<(), Refusal> {
    let (all, none) = (find_key(Scope::Topic, all), Overrides::default());
    let kept = all.and_then(|key| effective_value(config, &none, key));
    let kept = kept.and_then(|kept| kept.parse::<i64>().ok());
    let (Some(here), Some(kept)) = (number(config, local), kept) else {
        return Ok(());
    };
    let fits = match (here, kept) {
        (-2, _) => true,
        (_, ..0) => true,
        (-1, _) => false,
        (here, kept) => here <= kept,
    };
    match fits {
        true => Ok(()),
        false => refuse(
            config,
            local,
            &format!("at most {kept}, which is kept in all, or -2"),
        ),
    }
}

fn check_overrides(config: &BrokerConfig) -> Result<(), Refusal> {
    let overrides = "max.connections.per.ip.overrides";
    let is_override = |item: &str| {
        let count = item.rsplit_once(':').map(|(_, count)| count.trim());
        count.is_some_and(|count| count.parse::<i32>().is_ok())
    };
    let mut items = split_list(config.value(overrides).unwrap_or("")).into_iter();
    match items.all(|item| item.is_empty() || is_override(item)) {
        true => Ok(()),
        false => refuse(config, overrides, "a list of ADDRESS:COUNT"),
    }
}

fn check_cordoned(config: &BrokerConfig) -> Result<(), Refusal> {
    let value = |name| config.value(name).unwrap_or("");
    let cordoned = "cordoned.log.dirs";
    let directories = [value("log.dirs"), value("log.dir")]
        .map(split_list)
        .concat();
    let is_ours = |path: &str| path == "*" || directories.contains(&path);
    match split_list(value(cordoned)).into_iter().all(is_ours) {
        true => Ok(()),
        false => refuse(config, cordoned, "directories of log.dirs"),
    }
}

/// Refuses changes that Kafka could make and this broker cannot: of what it loads, and of where it listens.
fn check_fixed(before: &BrokerConfig, after: &BrokerConfig) -> Result<(), Refusal> {
    let changed = |name| before.value(name) != after.value(name);
    for name in [
        "metric.reporters",
        "principal.builder.class",
        "ssl.engine.factory.class",
    ] {
        let known = is_class;
        let given = after.value(name).filter(|_| changed(name));
        let is_list = name == "metric.reporters";
        let fits = match (given, is_list) {
            (None, _) => true,
            (Some(list), true) => split_list(list).into_iter().all(known),
            (Some(class), false) => known(class),
        };
        if !fits {
            return refuse(
                after,
                name,
                "a class that is here, and this broker loads none",
            );
        }
    }
    let map = "listener.security.protocol.map";
    if changed(map) && !maps_all_listeners(after) {
        return refuse(after, map, "NAME:PROTOCOL for each listener");
    }
    if changed(ADVERTISED) && !advertises_listeners(after) {
        let expected =
            "NAME://HOST:PORT, each name one of listeners and each host one that clients can reach";
        return refuse(after, ADVERTISED, expected);
    }
    if changed("listeners") {
        return refuse(
            after,
            "listeners",
            "what it is now: it can only be set when the broker starts",
        );
    }
    Ok(())
}

/// Whether addresses are told of listeners that there are, and of each once.
fn advertises_listeners(config: &BrokerConfig) -> bool {
    let listeners = split_list(config.value("listeners").unwrap_or(""));
    let is_there = |name: &str| {
        let mut names = listeners.iter().filter_map(|one| one.split_once("://"));
        names.any(|(known, _)| known == name)
    };
    let mut told = Vec::new();
    for item in split_list(config.value(ADVERTISED).unwrap_or("")) {
        match listener_address(item) {
            Some((name, host, _)) if is_there(name) && !told.contains(&name) => {
                if matches!(host, "" | "0.0.0.0" | "::") {
                    return false;
                }
                told.push(name);
            }
            _ => return false,
        }
    }
    !told.is_empty()
}

/// Name, host and port of `NAME://HOST:PORT`; the host may be empty, or an IPv6 address in brackets.
pub fn listener_address(text: &str) -> Option<(&str, &str, u16)> {
    let (name, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let port = port.parse().ok()?;
    (!name.is_empty()).then_some((name, host, port))
}

/// Whether the map of protocols is one and leaves no listener out.
fn maps_all_listeners(config: &BrokerConfig) -> bool {
    let map = config.value("listener.security.protocol.map");
    let items = split_list(map.unwrap_or(""));
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        match item.split_once(':') {
            Some((name, protocol)) if PROTOCOLS.contains(&protocol.trim()) => {
                names.push(name.trim());
            }
            _ => return false,
        }
    }
    let listeners = split_list(config.value("listeners").unwrap_or(""));
    let listeners = listeners
        .iter()
        .filter_map(|listener| listener.split_once("://"));
    let controllers = split_list(config.value("controller.listener.names").unwrap_or(""));
    let mut used = listeners.map(|(name, _)| name).chain(controllers);
    used.all(|name| names.contains(&name))
}

fn refuse(config: &BrokerConfig, name: &str, expected: &str) -> Result<(), Refusal> {
    let value = super::shorten(config.value(name).unwrap_or(""));
    let message = format!("Invalid value '{value}' for config '{name}': expected {expected}.");
    Err(Refusal::new(ErrorCode::InvalidRequest, message))
}

#[cfg(test)]
mod tests {
    use super::super::{AlterOperation, Alteration, alter_broker};
    use super::*;

    #[test]
    fn the_dynamic_keys_are_sorted_and_known() {
        assert!(DYNAMIC.windows(2).all(|pair| pair[0] < pair[1]));
        for name in DYNAMIC {
            assert!(find_key(Scope::Broker, name).is_some(), "{name}");
        }
    }

    fn broker(pairs: &[(&str, &str)]) -> BrokerConfig {
        BrokerConfig::new(pairs.iter().copied(), true).unwrap()
    }

    /// What becomes of setting these for one broker, or for all.
    fn set(broker: &BrokerConfig, layer: DynamicLayer, pairs: &[(&str, &str)]) -> ErrorCode {
        let changes = pairs.iter().map(|(name, value)| Alteration {
            name: (*name).to_owned(),
            operation: AlterOperation::Set,
            value: Some((*value).to_owned()),
        });
        let altered = alter_broker(broker, layer, &changes.collect::<Vec<_>>());
        altered.map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
    }

    const ONE: DynamicLayer = DynamicLayer::Broker;
    const ALL: DynamicLayer = DynamicLayer::Default;

    #[test]
    fn what_one_broker_has_for_itself_is_not_set_for_all() {
        let broker = broker(&[]);
        for pair in [
            ("sasl.enabled.mechanisms", "PLAIN"),
            ("ssl.client.auth", "none"),
        ] {
            assert_eq!(set(&broker, ONE, &[pair]), ErrorCode::None, "{pair:?}");
            assert_eq!(
                set(&broker, ALL, &[pair]),
                ErrorCode::InvalidRequest,
                "{pair:?}"
            );
        }
        let store = [("ssl.keystore.location", "/x")];
        assert_eq!(set(&broker, ONE, &store), ErrorCode::InvalidRequest);
    }

    #[test]
    fn threads_are_halved_or_doubled_from_what_holds_now() {
        let mut broker = broker(&[("num.io.threads", "8")]);
        for (value, code) in [
            ("4", ErrorCode::None),
            ("16", ErrorCode::None),
            ("3", ErrorCode::InvalidRequest),
            ("17", ErrorCode::InvalidRequest),
        ] {
            let pairs = [("num.io.threads", value)];
            assert_eq!(set(&broker, ONE, &pairs), code, "{value}");
            assert_eq!(set(&broker, ALL, &pairs), code, "{value}");
        }
        let values = [("num.io.threads", Some("16"))];
        let own = Overrides::parse(Scope::Broker, values).unwrap();
        broker.set_dynamic_values(ONE, own);
        assert_eq!(
            set(&broker, ONE, &[("num.io.threads", "32")]),
            ErrorCode::None
        );
        // What is set for all does not hold here, so nothing changes.
        assert_eq!(
            set(&broker, ALL, &[("num.io.threads", "1")]),
            ErrorCode::None
        );
    }

    #[test]
    fn going_back_is_a_change_too() {
        let mut broker = broker(&[("num.io.threads", "8")]);
        let values = [("num.io.threads", Some("20"))];
        broker.set_dynamic_values(ALL, Overrides::parse(Scope::Broker, values).unwrap());
        let delete = Alteration {
            name: "num.io.threads".to_owned(),
            operation: AlterOperation::Delete,
            value: None,
        };
        let refused = alter_broker(&broker, ALL, &[delete]).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn values_are_looked_at_together() {
        let broker = broker(&[]);
        let none = [("max.connections.per.ip", "0")];
        assert_eq!(set(&broker, ONE, &none), ErrorCode::InvalidRequest);
        let some = [none[0], ("max.connections.per.ip.overrides", "127.0.0.1:9")];
        assert_eq!(set(&broker, ONE, &some), ErrorCode::None);
        let local = [("log.local.retention.ms", "604800001")];
        assert_eq!(set(&broker, ONE, &local), ErrorCode::InvalidRequest);
        let both = [local[0], ("log.retention.ms", "604800001")];
        assert_eq!(set(&broker, ONE, &both), ErrorCode::None);
    }
}
