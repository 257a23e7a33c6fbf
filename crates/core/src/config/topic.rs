//! A topic's configs as they take effect.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use super::broker::{BrokerConfig, Resolved};
use super::describe::{ConfigEntry, ConfigSource, describe_topic};
use super::overrides::Overrides;
use super::skips::{DAMAGED_SKIP, Skip};
use super::table::{ConfigKey, Scope, find_key};
use crate::batch::Storage;
use crate::compression::{Codec, InflateLimits};
use crate::error::{ErrorCode, Refusal};

const MS_PER_MINUTE: i64 = 60_000;
const MS_PER_HOUR: i64 = 3_600_000;

/// The broker keys behind each topic key, strongest first, with the factor that turns them into the topic's unit.
const SYNONYMS: [(&str, &[(&str, i64)]); 30] = [
    ("cleanup.policy", &[("log.cleanup.policy", 1)]),
    ("compression.gzip.level", &[("compression.gzip.level", 1)]),
    ("compression.lz4.level", &[("compression.lz4.level", 1)]),
    ("compression.type", &[("compression.type", 1)]),
    ("compression.zstd.level", &[("compression.zstd.level", 1)]),
    (
        "delete.retention.ms",
        &[("log.cleaner.delete.retention.ms", 1)],
    ),
    (
        "file.delete.delay.ms",
        &[("log.segment.delete.delay.ms", 1)],
    ),
    ("flush.messages", &[("log.flush.interval.messages", 1)]),
    (
        "flush.ms",
        &[
            ("log.flush.interval.ms", 1),
            ("log.flush.scheduler.interval.ms", 1),
        ],
    ),
    ("index.interval.bytes", &[("log.index.interval.bytes", 1)]),
    ("local.retention.bytes", &[("log.local.retention.bytes", 1)]),
    ("local.retention.ms", &[("log.local.retention.ms", 1)]),
    (
        "max.compaction.lag.ms",
        &[("log.cleaner.max.compaction.lag.ms", 1)],
    ),
    (
        "max.decompressed.message.bytes",
        &[("max.decompressed.message.bytes", 1)],
    ),
    ("max.message.bytes", &[("message.max.bytes", 1)]),
    (
        "message.timestamp.after.max.ms",
        &[("log.message.timestamp.after.max.ms", 1)],
    ),
    (
        "message.timestamp.before.max.ms",
        &[("log.message.timestamp.before.max.ms", 1)],
    ),
    (
        "message.timestamp.type",
        &[("log.message.timestamp.type", 1)],
    ),
    (
        "min.cleanable.dirty.ratio",
        &[("log.cleaner.min.cleanable.ratio", 1)],
    ),
    (
        "min.compaction.lag.ms",
        &[("log.cleaner.min.compaction.lag.ms", 1)],
    ),
    ("min.insync.replicas", &[("min.insync.replicas", 1)]),
    ("preallocate", &[("log.preallocate", 1)]),
    ("remote.copy.lag.bytes", &[("log.remote.copy.lag.bytes", 1)]),
    ("remote.copy.lag.ms", &[("log.remote.copy.lag.ms", 1)]),
    ("retention.bytes", &[("log.retention.bytes", 1)]),
    (
        "retention.ms",
        &[
            ("log.retention.ms", 1),
            ("log.retention.minutes", MS_PER_MINUTE),
            ("log.retention.hours", MS_PER_HOUR),
        ],
    ),
    ("segment.bytes", &[("log.segment.bytes", 1)]),
    ("segment.index.bytes", &[("log.index.size.max.bytes", 1)]),
    (
        "segment.jitter.ms",
        &[
            ("log.roll.jitter.ms", 1),
            ("log.roll.jitter.hours", MS_PER_HOUR),
        ],
    ),
    (
        "segment.ms",
        &[("log.roll.ms", 1), ("log.roll.hours", MS_PER_HOUR)],
    ),
];

/// `unclean.leader.election.enable` goes by the same name in both scopes and means nothing on one node.
const SAME_NAME: &str = "unclean.leader.election.enable";

/// The broker keys that stand behind topic keys; these may be altered while the broker runs.
pub(super) fn is_behind_a_topic_key(broker_name: &str) -> bool {
    broker_name == SAME_NAME
        || SYNONYMS
            .iter()
            .any(|(_, names)| names.first().is_some_and(|(name, _)| *name == broker_name))
}

impl BrokerConfig {
    /// Whether every topic is configured the same by both, so that no topic has to be told.
    pub fn has_same_topic_defaults(&self, other: &BrokerConfig) -> bool {
        let stands_behind = |broker_name: &str| {
            let mut behind = SYNONYMS.iter().flat_map(|(_, names)| *names);
            broker_name == SAME_NAME || behind.any(|(name, _)| *name == broker_name)
        };
        self.has_same_values(other, stands_behind)
    }
}

fn synonyms_of(name: &str) -> &'static [(&'static str, i64)] {
    if name == SAME_NAME {
        return &[(SAME_NAME, 1)];
    }
    match SYNONYMS.binary_search_by(|(topic, _)| (*topic).cmp(name)) {
        Ok(at) => SYNONYMS[at].1,
        Err(_) => &[],
    }
}

/// The broker keys behind a topic key.
pub(super) fn broker_keys_behind(name: &str) -> impl Iterator<Item = &'static str> {
    synonyms_of(name).iter().map(|(broker, _)| *broker)
}

/// The value that holds for a topic key.
pub(super) fn effective_value<'a>(
    broker: &'a BrokerConfig,
    overrides: &'a Overrides,
    key: &'a ConfigKey,
) -> Option<Cow<'a, str>> {
    if let Some(value) = overrides.get(key.name) {
        return Some(Cow::Borrowed(value));
    }
    for (name, factor) in synonyms_of(key.name) {
        let Some(value) = broker.set_value(name) else {
            continue;
        };
        if key.name == "retention.ms" || *factor != 1 {
            let Ok(number) = value.parse::<i64>() else {
                continue;
            };
            // Any negative retention means forever.
            let ms = match number {
                ..0 => -1,
                number => number.saturating_mul(*factor),
            };
            return Some(Cow::Owned(ms.to_string()));
        }
        return Some(Cow::Borrowed(value));
    }
    key.default_value().map(Cow::Borrowed)
}

/// A topic key's value with its source and synonyms.
pub(super) fn resolve<'a>(
    broker: &'a BrokerConfig,
    overrides: &'a Overrides,
    key: &'a ConfigKey,
) -> Resolved<'a> {
    let mut synonyms = Vec::new();
    if let Some(value) = overrides.get(key.name) {
        synonyms.push((key.name, Some(Cow::Borrowed(value)), ConfigSource::Topic));
    }
    let behind = synonyms_of(key.name);
    if let Some((first, _)) = behind.first() {
        let names: Vec<&'static str> = behind.iter().map(|(name, _)| *name).collect();
        synonyms.extend(broker.synonyms(first, &names));
    }
    Resolved {
        value: effective_value(broker, overrides, key),
        source: synonyms.first().map_or(ConfigSource::Default, |s| s.2),
        synonyms,
    }
}

/// How the broker stores what it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum CompressionType {
    /// As the producer sent it.
    #[default]
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// What it means for records that consumer groups have read them, or have not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConsumerRetention {
    /// Nothing, as in Kafka.
    #[default]
    None,
    /// Neither time nor size drops what a group has not read.
    Hold,
    /// What every group has read goes early.
    Drop,
}

impl ConsumerRetention {
    const ALL: [ConsumerRetention; 3] = [
        ConsumerRetention::None,
        ConsumerRetention::Hold,
        ConsumerRetention::Drop,
    ];

    /// The value of `rustka.retention.consumers` that means it.
    pub fn name(self) -> &'static str {
        match self {
            ConsumerRetention::None => "none",
            ConsumerRetention::Hold => "hold",
            ConsumerRetention::Drop => "drop",
        }
    }

    fn named(name: &str) -> Option<ConsumerRetention> {
        ConsumerRetention::ALL
            .into_iter()
            .find(|meaning| meaning.name() == name)
    }
}

/// A topic's configs, typed, as its partitions obey them. Shared by topics with equal overrides.
pub struct TopicConfig {
    /// What was set for the topic itself.
    pub overrides: Overrides,
    /// How old records get before they go; -1: forever.
    pub retention_ms: i64,
    /// How large a partition gets before its oldest go; -1: without limit.
    pub retention_bytes: i64,
    /// What groups have to do with it.
    pub retention_consumers: ConsumerRetention,
    /// Offsets that cannot be read and are passed over.
    pub damaged_skip: Box<[Skip]>,
    /// How long the active part stays active.
    pub segment_ms: i64,
    /// How large the active part gets; a larger batch is refused.
    pub segment_bytes: i32,
    /// How large each of its indexes gets.
    pub segment_index_bytes: i32,
    /// What lies between two entries of an index.
    pub index_interval_bytes: i32,
    /// How long files stay that are no longer needed.
    pub file_delete_delay_ms: i64,
    /// After how many records what is written is synced, whatever holds for the broker.
    pub flush_messages: i64,
    /// After how long what is written is synced, whatever holds for the broker.
    pub flush_ms: i64,
    /// The largest batch.
    pub max_message_bytes: i32,
    /// The largest record of a compressed batch.
    pub max_decompressed_message_bytes: i32,
    /// Whether records get the broker's time (LogAppendTime).
    pub log_append_time: bool,
    /// How far in the past a record's time may lie.
    pub timestamp_before_max_ms: i64,
    /// How far in the future a record's time may lie.
    pub timestamp_after_max_ms: i64,
    /// Whether only the newest record of each key is kept.
    pub compact: bool,
    /// Whether old records go.
    pub delete: bool,
    /// How batches are stored.
    pub compression_type: CompressionType,
    /// The level when the broker compresses with gzip.
    pub gzip_level: i32,
    /// The level when the broker compresses with lz4.
    pub lz4_level: i32,
    /// The level when the broker compresses with zstd.
    pub zstd_level: i32,
    /// How long a record is safe from compaction.
    pub min_compaction_lag_ms: i64,
    /// After how long a record must have been compacted.
    pub max_compaction_lag_ms: i64,
    /// How long tombstones stay readable.
    pub delete_retention_ms: i64,
    /// The share of a log that must be dirty before it is compacted.
    pub min_cleanable_dirty_ratio: f64,
    entries: OnceLock<Box<[ConfigEntry]>>,
    created_entries: OnceLock<Box<[ConfigEntry]>>,
}

impl fmt::Debug for TopicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicConfig")
            .field("overrides", &self.overrides)
            .finish_non_exhaustive()
    }
}

impl TopicConfig {
    /// The codec and level in which batches are stored; nothing: as their producers sent them.
    pub fn storage(&self) -> Option<Storage> {
        let (codec, level) = match self.compression_type {
            CompressionType::Producer => return None,
            CompressionType::Uncompressed => (Codec::None, None),
            CompressionType::Gzip => (Codec::Gzip, Some(self.gzip_level)),
            CompressionType::Snappy => (Codec::Snappy, None),
            CompressionType::Lz4 => (Codec::Lz4, Some(self.lz4_level)),
            CompressionType::Zstd => (Codec::Zstd, Some(self.zstd_level)),
        };
        Some(Storage { codec, level })
    }

    /// How far batches are inflated. All of one batch together has a bound of our own, whatever is configured: it is
    /// held in memory.
    pub fn inflate_limits(&self) -> InflateLimits {
        InflateLimits {
            record_bytes_max: usize::try_from(self.max_decompressed_message_bytes)
                .unwrap_or(usize::MAX),
            ..InflateLimits::default()
        }
    }

    /// What holds for a topic with these overrides on this broker.
    pub fn resolve(broker: &BrokerConfig, overrides: &Overrides) -> TopicConfig {
        let text = |name: &str| {
            let key = find_key(Scope::Topic, name);
            let value = key.and_then(|key| effective_value(broker, overrides, key));
            // Values are checked when they are set, and the defaults are tested.
            value.unwrap_or_else(|| panic!("topic config {name} has no value"))
        };
        let long = |name: &str| -> i64 {
            let value = text(name);
            let number = value.parse();
            number.unwrap_or_else(|_| panic!("topic config {name} is no number: {value}"))
        };
        let int = |name: &str| i32::try_from(long(name)).unwrap_or(i32::MAX);
        let policy = text("cleanup.policy");
        let has_policy = |wanted: &str| policy.split(',').any(|policy| policy == wanted);
        TopicConfig {
            retention_ms: long("retention.ms"),
            retention_bytes: long("retention.bytes"),
            retention_consumers: ConsumerRetention::named(&text("rustka.retention.consumers"))
                .unwrap_or_default(),
            damaged_skip: text(DAMAGED_SKIP)
                .split(',')
                .filter_map(Skip::parse)
                .collect(),
            segment_ms: long("segment.ms"),
            segment_bytes: int("segment.bytes"),
            segment_index_bytes: int("segment.index.bytes"),
            index_interval_bytes: int("index.interval.bytes"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            max_message_bytes: int("max.message.bytes"),
            max_decompressed_message_bytes: int("max.decompressed.message.bytes"),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            compact: has_policy("compact"),
            delete: has_policy("delete"),
            compression_type: match &*text("compression.type") {
                "uncompressed" => CompressionType::Uncompressed,
                "gzip" => CompressionType::Gzip,
                "snappy" => CompressionType::Snappy,
                "lz4" => CompressionType::Lz4,
                "zstd" => CompressionType::Zstd,
                _ => CompressionType::Producer,
            },
            gzip_level: int("compression.gzip.level"),
            lz4_level: int("compression.lz4.level"),
            zstd_level: int("compression.zstd.level"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            delete_retention_ms: long("delete.retention.ms"),
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            overrides: overrides.clone(),
            entries: OnceLock::new(),
            created_entries: OnceLock::new(),
        }
    }

    /// All of a topic's configs as DescribeConfigs tells them, made at the first call.
    pub fn entries(&self, broker: &BrokerConfig) -> &[ConfigEntry] {
        self.entries
            .get_or_init(|| describe_topic(broker, &self.overrides).into())
    }

    /// All of a topic's configs as CreateTopics tells them, made at the first call.
    ///
    /// DescribeConfigs leaves the source out where a value comes from a key in another unit; this names the layer.
    pub fn created_entries(&self, broker: &BrokerConfig) -> &[ConfigEntry] {
        self.created_entries.get_or_init(|| {
            let mut entries = describe_topic(broker, &self.overrides);
            for entry in &mut entries {
                if entry.source == ConfigSource::Default {
                    let mut names = synonyms_of(&entry.name).iter();
                    let set = names.find_map(|(name, _)| broker.source_of_set_value(name));
                    entry.source = set.unwrap_or(ConfigSource::Default);
                }
                entry.synonyms = Vec::new();
            }
            entries.into()
        })
    }
}

/// Refuses values that are each valid but not together, or not on this broker.
pub(crate) fn validate_topic(broker: &BrokerConfig, overrides: &Overrides) -> Result<(), Refusal> {
    if overrides.is_empty() {
        return Ok(());
    }
    let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidConfig, message));
    let number = |name: &str| {
        let key = find_key(Scope::Topic, name)?;
        effective_value(broker, overrides, key)?.parse::<i64>().ok()
    };
    let least = number("min.compaction.lag.ms");
    let greatest = number("max.compaction.lag.ms");
    if let (Some(least), Some(greatest)) = (least, greatest)
        && least > greatest
    {
        return refuse(format!(
            "Invalid value '{least}' for config 'min.compaction.lag.ms': expected at most max.compaction.lag.ms, which is {greatest}."
        ));
    }
    let tiered = broker.value("remote.log.storage.system.enable") == Some("true");
    if !tiered && overrides.get("remote.storage.enable") == Some("true") {
        return refuse(
            "Invalid value 'true' for config 'remote.storage.enable': expected false, this broker has no tiered storage."
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &'static str)]) -> Overrides {
        Overrides::parse(Scope::Topic, pairs.iter().map(|(n, v)| (*n, Some(*v)))).unwrap()
    }

    #[test]
    fn the_table_of_synonyms_is_sorted_and_known() {
        assert!(SYNONYMS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (topic, brokers) in SYNONYMS {
            assert!(find_key(Scope::Topic, topic).is_some(), "{topic}");
            for (broker, _) in brokers {
                assert!(find_key(Scope::Broker, broker).is_some(), "{broker}");
            }
        }
    }

    /// Every change of a broker's configs configured all topics and partitions anew, with the catalog locked.
    #[test]
    fn only_what_stands_behind_topic_keys_concerns_topics() {
        let with =
            |pairs: &[(&str, &str)]| BrokerConfig::new(pairs.iter().copied(), false).unwrap();
        let none = with(&[]);
        for (name, concerns) in [
            ("max.connections", false),
            ("log.retention.ms", true),
            ("log.retention.hours", true),
            ("unclean.leader.election.enable", true),
        ] {
            let value = if name.ends_with("enable") {
                "true"
            } else {
                "100"
            };
            let same = none.has_same_topic_defaults(&with(&[(name, value)]));
            assert_eq!(same, !concerns, "{name}");
        }
    }

    #[test]
    fn defaults_of_topics_and_brokers_agree() {
        let broker = BrokerConfig::new([], true).unwrap();
        for key in super::super::keys(Scope::Topic) {
            let Some((name, factor)) = synonyms_of(key.name).last() else {
                continue;
            };
            let value = broker.value(name).unwrap();
            let scaled = match value.parse::<i64>() {
                Ok(number) => number.saturating_mul(*factor).to_string(),
                Err(_) => value.to_owned(),
            };
            assert_eq!(key.default_value(), Some(&*scaled), "{}", key.name);
        }
    }

    #[test]
    fn a_topic_without_overrides_follows_the_broker() {
        let broker = BrokerConfig::new(
            [
                ("log.retention.hours", "24"),
                ("log.message.timestamp.type", "LogAppendTime"),
            ],
            false,
        )
        .unwrap();
        let config = TopicConfig::resolve(&broker, &Overrides::default());
        assert_eq!(config.retention_ms, 86_400_000);
        assert!(config.log_append_time && config.delete && !config.compact);
        let own = TopicConfig::resolve(
            &broker,
            &overrides(&[
                ("retention.ms", "-1"),
                ("cleanup.policy", "compact,delete"),
                ("message.timestamp.type", "CreateTime"),
            ]),
        );
        assert_eq!(own.retention_ms, -1);
        assert!(!own.log_append_time && own.delete && own.compact);
    }

    #[test]
    fn milliseconds_stand_before_minutes_before_hours() {
        let retention = |pairs: &[(&'static str, &'static str)]| {
            let broker = BrokerConfig::new(pairs.iter().copied(), false).unwrap();
            TopicConfig::resolve(&broker, &Overrides::default()).retention_ms
        };
        let hours = ("log.retention.hours", "1");
        let minutes = ("log.retention.minutes", "1");
        assert_eq!(retention(&[hours, minutes]), 60_000);
        assert_eq!(retention(&[hours, minutes, ("log.retention.ms", "7")]), 7);
        assert_eq!(retention(&[("log.retention.hours", "-1")]), -1);
    }

    #[test]
    fn create_topics_names_the_layer_of_a_value_in_another_unit() {
        let broker = BrokerConfig::new([("log.retention.hours", "24")], false).unwrap();
        let source = |entries: &[ConfigEntry]| {
            let retention = entries.iter().find(|entry| entry.name == "retention.ms");
            retention.map(|entry| (entry.value.clone(), entry.source))
        };
        let value = Some(Cow::Borrowed("86400000"));
        let config = TopicConfig::resolve(&broker, &Overrides::default());
        assert_eq!(
            source(config.created_entries(&broker)),
            Some((value.clone(), ConfigSource::StaticBroker))
        );
        assert_eq!(
            source(config.entries(&broker)),
            Some((value, ConfigSource::Default))
        );
    }

    #[test]
    fn lags_that_contradict_are_refused() {
        let broker = BrokerConfig::new([], false).unwrap();
        let bad = overrides(&[
            ("min.compaction.lag.ms", "2"),
            ("max.compaction.lag.ms", "1"),
        ]);
        assert!(validate_topic(&broker, &bad).is_err());
        let tiered = overrides(&[("remote.storage.enable", "true")]);
        assert!(validate_topic(&broker, &tiered).is_err());
    }
}
