//! Configs as DescribeConfigs tells them.

use std::borrow::Cow;

use super::broker::{BrokerConfig, Resolved};
use super::documentation::documentation;
use super::dynamic::is_dynamic;
use super::listener;
use super::overrides::Overrides;
use super::table::{ConfigKey, ConfigType, Scope, keys};
use super::topic;

/// Which layer a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl ConfigSource {
    /// The number in DescribeConfigs.
    pub const fn code(self) -> i8 {
        match self {
            ConfigSource::Topic => 1,
            ConfigSource::DynamicBroker => 2,
            ConfigSource::DynamicDefaultBroker => 3,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
            ConfigSource::BrokerLogger => 6,
            ConfigSource::ClientMetrics => 7,
            ConfigSource::Group => 8,
        }
    }
}

/// One value that stands behind an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The key it was set under.
    pub name: Cow<'static, str>,
    /// The value; none where it is sensitive.
    pub value: Option<Cow<'static, str>>,
    /// The layer.
    pub source: ConfigSource,
}

/// One config as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: Cow<'static, str>,
    /// The value that holds; none where it is null or sensitive.
    pub value: Option<Cow<'static, str>>,
    /// Whether it can only be set at start-up.
    pub read_only: bool,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether the value is hidden.
    pub sensitive: bool,
    /// All values in order of precedence.
    pub synonyms: Vec<Synonym>,
    /// The type of the value, where Kafka knows one.
    pub config_type: Option<ConfigType>,
    /// What the config does here.
    pub documentation: &'static str,
}

impl ConfigEntry {
    /// Whether nobody set it (all that DescribeConfigs v0 tells about the source).
    pub fn is_default(&self) -> bool {
        self.source == ConfigSource::Default
    }

    /// A logger and its level.
    pub fn of_logger(name: &'static str, level: &'static str) -> ConfigEntry {
        ConfigEntry {
            name: Cow::Borrowed(name),
            value: Some(Cow::Borrowed(level)),
            read_only: false,
            source: ConfigSource::BrokerLogger,
            sensitive: false,
            synonyms: Vec::new(),
            config_type: None,
            documentation: "How much this part of the broker logs.",
        }
    }

    pub(super) fn new(
        key: &'static ConfigKey,
        resolved: Resolved<'_>,
        read_only: bool,
    ) -> ConfigEntry {
        let sensitive = key.is_sensitive();
        let owned = |value: Option<Cow<'_, str>>| {
            let value = value.filter(|_| !sensitive)?;
            Some(Cow::Owned(value.into_owned()))
        };
        // The defaults live as long as the table, so most entries need no copy.
        let value = match (key.default_value(), resolved.value) {
            (Some(default), Some(value)) if !sensitive && value == default => {
                Some(Cow::Borrowed(default))
            }
            (_, value) => owned(value),
        };
        let synonyms = resolved.synonyms.into_iter();
        ConfigEntry {
            name: Cow::Borrowed(key.name),
            value,
            read_only,
            source: resolved.source,
            sensitive,
            synonyms: synonyms
                .map(|(name, value, source)| Synonym {
                    name: Cow::Borrowed(name),
                    value: owned(value),
                    source,
                })
                .collect(),
            config_type: Some(key.kind),
            documentation: documentation(key),
        }
    }
}

/// Every config of a topic with these overrides, by name.
pub fn describe_topic(broker: &BrokerConfig, overrides: &Overrides) -> Vec<ConfigEntry> {
    let shown = |key: &&ConfigKey| !key.internal || overrides.get(key.name).is_some();
    keys(Scope::Topic)
        .iter()
        .filter(shown)
        .map(|key| ConfigEntry::new(key, topic::resolve(broker, overrides, key), false))
        .collect()
}

/// Every config of a broker, by name; only the dynamic defaults when `cluster_default` is asked for.
pub fn describe_broker(broker: &BrokerConfig, cluster_default: bool) -> Vec<ConfigEntry> {
    let mut entries = Vec::new();
    for key in keys(Scope::Broker) {
        if key.internal && !broker.is_set(key.name) {
            continue;
        }
        let mut resolved = broker.resolve(key);
        if cluster_default {
            let defaults = broker.dynamic_values(super::DynamicLayer::Default);
            let Some(value) = defaults.get(key.name) else {
                continue;
            };
            resolved.value = Some(Cow::Borrowed(value));
            resolved.source = ConfigSource::DynamicDefaultBroker;
            let is_default_layer =
                |synonym: &(_, _, ConfigSource)| synonym.2 == ConfigSource::DynamicDefaultBroker;
            resolved.synonyms.retain(is_default_layer);
        }
        entries.push(ConfigEntry::new(key, resolved, !is_dynamic(key.name)));
    }
    entries.extend(listener::describe(broker, cluster_default));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(entries: &'a [ConfigEntry], name: &str) -> &'a ConfigEntry {
        entries.iter().find(|entry| entry.name == name).unwrap()
    }

    #[test]
    fn a_topics_override_comes_first_among_its_synonyms() {
        let broker = BrokerConfig::new([("message.max.bytes", "50000000")], false).unwrap();
        let overrides =
            Overrides::parse(Scope::Topic, [("cleanup.policy", Some("compact"))]).unwrap();
        let entries = describe_topic(&broker, &overrides);
        let policy = entry(&entries, "cleanup.policy");
        assert_eq!(policy.source.code(), 1);
        assert_eq!(policy.synonyms[0].name, "cleanup.policy");
        assert_eq!(policy.synonyms[1].name, "log.cleanup.policy");
        let bytes = entry(&entries, "max.message.bytes");
        assert_eq!(
            (bytes.value.as_deref(), bytes.source.code()),
            (Some("50000000"), 4)
        );
        assert_eq!(bytes.config_type.unwrap().code(), 3);
        let retention = entry(&entries, "retention.ms");
        assert!(retention.is_default() && retention.synonyms.is_empty());
        assert!(
            !entries
                .iter()
                .any(|entry| entry.name == "internal.segment.bytes")
        );
    }

    #[test]
    fn passwords_are_never_shown() {
        let broker = BrokerConfig::new([("ssl.key.password", "hush")], false).unwrap();
        let entries = describe_broker(&broker, false);
        let password = entry(&entries, "ssl.key.password");
        assert!(password.sensitive && password.value.is_none());
        assert_eq!(password.synonyms.len(), 1);
        assert!(!format!("{entries:?}").contains("hush"));
    }

    #[test]
    fn the_cluster_default_tells_only_what_was_set_for_all() {
        let broker = BrokerConfig::new([("num.partitions", "3")], false).unwrap();
        let defaults = describe_broker(&broker, true);
        let told: Vec<_> = defaults
            .iter()
            .map(|e| (&*e.name, e.source.code()))
            .collect();
        assert_eq!(told, [("min.insync.replicas", 3)]);
        let entries = describe_broker(&broker, false);
        assert_eq!(entry(&entries, "num.partitions").source.code(), 4);
        assert!(entry(&entries, "num.partitions").read_only);
        assert!(!entry(&entries, "log.retention.ms").read_only);
    }
}
