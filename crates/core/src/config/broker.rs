//! A broker's configs in their four layers, and the typed values the broker works with.

use std::borrow::Cow;

use super::describe::ConfigSource;
use super::dynamic::check_values;
use super::overrides::Overrides;
use super::table::{ConfigKey, Scope, find_key};
use super::value::split_list;
use crate::error::Refusal;

/// Where our default is not Kafka's. `strict` turns these off; a value that is set wins in both modes.
const DEFAULTS_THAT_DIFFER: [(&str, &str); 2] = [
    ("group.initial.rebalance.delay.ms", "100"),
    ("group.consumer.assignment.interval.ms", "0"),
];

/// Defaults of our own keys under `strict`, where they would otherwise change what a client sees.
const STRICT_DEFAULTS: [(&str, &str); 2] = [
    ("rustka.fetch.sessions.fair.share", "false"),
    ("rustka.validate.compressed", "true"),
];

/// Which dynamic values are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamicLayer {
    /// Of this broker.
    Broker,
    /// Of all brokers (the resource with the empty name).
    Default,
}

/// A value, who set it, and which other values stand behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// The value that holds; none for keys whose default is null.
    pub value: Option<Cow<'a, str>>,
    /// The layer it comes from.
    pub source: ConfigSource,
    /// All values in order of precedence, the one that holds first.
    pub synonyms: Vec<(&'static str, Option<Cow<'a, str>>, ConfigSource)>,
}

/// The configs of a broker: dynamic of this broker, dynamic for all, static from start-up, defaults.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    dynamic: Overrides,
    dynamic_default: Overrides,
    fixed: Overrides,
    strict: bool,
    settings: BrokerSettings,
}

impl BrokerConfig {
    /// Checks the pairs given at start-up. `strict` changes defaults only.
    pub fn new<'a>(
        static_pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        strict: bool,
    ) -> Result<BrokerConfig, Refusal> {
        let config = BrokerConfig::parse(static_pairs, strict)?;
        check_values(&config)?;
        Ok(config)
    }

    /// The same without looking at how they go together (see [`super::contradictions`]).
    pub fn parse<'a>(
        static_pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        strict: bool,
    ) -> Result<BrokerConfig, Refusal> {
        let pairs = static_pairs
            .into_iter()
            .map(|(name, value)| (name, Some(value)));
        let fixed = Overrides::parse(Scope::Broker, pairs)?;
        // With eligible leader replicas (KIP-966) Kafka's controller writes this one for all brokers.
        let min_insync_replicas = fixed.get("min.insync.replicas").unwrap_or("1");
        let mut dynamic_default = Overrides::default();
        dynamic_default.set(Scope::Broker, "min.insync.replicas", min_insync_replicas)?;
        let mut config = BrokerConfig {
            dynamic: Overrides::default(),
            dynamic_default,
            fixed,
            strict,
            settings: BrokerSettings::default(),
        };
        config.settings = BrokerSettings::resolve(&config);
        Ok(config)
    }

    /// The typed values.
    pub fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    /// Whether every default is Kafka's.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// The dynamic values of one layer.
    pub fn dynamic_values(&self, layer: DynamicLayer) -> &Overrides {
        match layer {
            DynamicLayer::Broker => &self.dynamic,
            DynamicLayer::Default => &self.dynamic_default,
        }
    }

    /// Replaces the dynamic values of one layer (see [`super::alter_overrides`]).
    pub fn set_dynamic_values(&mut self, layer: DynamicLayer, values: Overrides) {
        let layer = match layer {
            DynamicLayer::Broker => &mut self.dynamic,
            DynamicLayer::Default => &mut self.dynamic_default,
        };
        let concerns_settings = {
            let mut changed = layer.differing(&values);
            changed.any(|name| BrokerSettings::NAMES.contains(&name))
        };
        *layer = values;
        if concerns_settings {
            self.settings = BrokerSettings::resolve(self);
        }
    }

    /// Whether the same is set in every layer of both, but for keys for which `matters` is false.
    pub(super) fn has_same_values(
        &self,
        other: &BrokerConfig,
        matters: impl Fn(&str) -> bool,
    ) -> bool {
        let layers = [
            (&self.dynamic, &other.dynamic),
            (&self.dynamic_default, &other.dynamic_default),
            (&self.fixed, &other.fixed),
        ];
        let mut layers = layers.into_iter();
        layers.all(|(one, other)| !one.differing(other).any(&matters))
    }

    /// Whether somebody set this key, rather than its default holding.
    pub fn is_set(&self, name: &str) -> bool {
        self.set_value(name).is_some()
    }

    /// The strongest layer in which somebody set this key.
    pub(super) fn source_of_set_value(&self, name: &str) -> Option<ConfigSource> {
        let layers = [
            (&self.dynamic, ConfigSource::DynamicBroker),
            (&self.dynamic_default, ConfigSource::DynamicDefaultBroker),
            (&self.fixed, ConfigSource::StaticBroker),
        ];
        let mut layers = layers.into_iter();
        layers.find_map(|(layer, source)| layer.get(name).map(|_| source))
    }

    /// The value that somebody set, from the strongest layer that has one.
    pub fn set_value(&self, name: &str) -> Option<&str> {
        [&self.dynamic, &self.dynamic_default, &self.fixed]
            .into_iter()
            .find_map(|layer| layer.get(name))
    }

    /// The value that holds for a broker key; none where it is null or the key is unknown.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.set_value(name).or_else(|| {
            let key = find_key(Scope::Broker, name)?;
            self.default_value(key)
        })
    }

    /// The value of a broker key with its source and synonyms.
    pub fn resolve(&self, key: &ConfigKey) -> Resolved<'_> {
        let synonyms = self.synonyms(key.name, broker_synonyms(key.name));
        Resolved {
            value: self.value(key.name).map(Cow::Borrowed),
            source: synonyms.first().map_or(ConfigSource::Default, |s| s.2),
            synonyms,
        }
    }

    /// The values of these keys, layer by layer, from the first one set under `name` itself.
    pub(super) fn synonyms(
        &self,
        name: &str,
        names: &[&'static str],
    ) -> Vec<(&'static str, Option<Cow<'_, str>>, ConfigSource)> {
        let own = [name];
        let names: &[&str] = match names {
            [] => &own,
            names => names,
        };
        let layers = [
            (&self.dynamic, ConfigSource::DynamicBroker),
            (&self.dynamic_default, ConfigSource::DynamicDefaultBroker),
            (&self.fixed, ConfigSource::StaticBroker),
        ];
        let keys = || {
            names
                .iter()
                .filter_map(|name| find_key(Scope::Broker, name))
        };
        let mut found = Vec::new();
        for (layer, source) in layers {
            for key in keys() {
                if let Some(value) = layer.get(key.name) {
                    found.push((key.name, Some(Cow::Borrowed(value)), source));
                }
            }
        }
        for key in keys() {
            if let Some(value) = self.default_value(key) {
                found.push((key.name, Some(Cow::Borrowed(value)), ConfigSource::Default));
            }
        }
        // Kafka shows nothing that stands before the first value under the key's own name.
        let shown_from = found.iter().position(|synonym| synonym.0 == name);
        found.drain(..shown_from.unwrap_or(found.len()));
        for synonym in &mut found {
            if find_key(Scope::Broker, synonym.0).is_some_and(ConfigKey::is_sensitive) {
                synonym.1 = None;
            }
        }
        found
    }

    /// The default of a broker key in this mode.
    pub(super) fn default_value<'a>(&self, key: &'a ConfigKey) -> Option<&'a str> {
        let differing: &[(&str, &'static str)] = match self.strict {
            true => &STRICT_DEFAULTS,
            false => &DEFAULTS_THAT_DIFFER,
        };
        match differing.iter().find(|(name, _)| *name == key.name) {
            Some((_, value)) => Some(value),
            None => key.default_value(),
        }
    }
}

/// The keys that mean the same in different units; empty when there is only the key itself.
fn broker_synonyms(name: &str) -> &'static [&'static str] {
    match name {
        "log.roll.ms" | "log.roll.hours" => &["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => {
            &["log.roll.jitter.ms", "log.roll.jitter.hours"]
        }
        "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ],
        _ => &[],
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty = $name:literal;)*) => {
        /// The broker's honoured configs, typed.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct BrokerSettings {
            $($(#[doc = $doc])* pub $field: $type,)*
            /// Whether `group.initial.rebalance.delay.ms` follows Kafka's own rule (set, or strict).
            pub initial_rebalance_delay_is_kafkas: bool,
            /// Whether `group.consumer.heartbeat.interval.ms` holds at all times (set, or strict).
            pub consumer_heartbeat_interval_is_kafkas: bool,
        }

        impl BrokerSettings {
            fn resolve(config: &BrokerConfig) -> BrokerSettings {
                BrokerSettings {
                    $($field: Setting::parse(config.value($name), $name),)*
                    initial_rebalance_delay_is_kafkas: config.strict
                        || config.is_set("group.initial.rebalance.delay.ms"),
                    consumer_heartbeat_interval_is_kafkas: config.strict
                        || config.is_set("group.consumer.heartbeat.interval.ms"),
                }
            }

            /// The names of the keys behind the fields.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            /// The names of the fields, each with that of its key and what it means.
            pub const FIELDS: &'static [(&'static str, &'static str, &'static str)] =
                &[$((stringify!($field), $name, concat!($($doc),*)),)*];
        }
    };
}

settings! {
    /// Whether Metadata creates unknown topics.
    auto_create_topics: bool = "auto.create.topics.enable";
    /// Idle connections are closed after this; negative: never.
    connections_idle_ms_max: i64 = "connections.max.idle.ms";
    /// Connections in all.
    connections_max: i32 = "max.connections";
    /// New connections in a second.
    connection_creation_rate_max: i32 = "max.connection.creation.rate";
    /// Connections from one address.
    connections_per_address_max: i32 = "max.connections.per.ip";
    /// Replicas of a topic that names no number.
    default_replication_factor: i32 = "default.replication.factor";
    /// Whether topics may be deleted.
    delete_topics: bool = "delete.topic.enable";
    /// Bytes of one Fetch answer, at most.
    fetch_bytes_max: i32 = "fetch.max.bytes";
    /// Whether a full session cache favours principals with few sessions.
    fetch_sessions_fair_share: bool = "rustka.fetch.sessions.fair.share";
    /// Fetch sessions in all.
    fetch_session_slots: i32 = "max.incremental.fetch.session.cache.slots";
    /// The wait of a group's first rebalance.
    group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms";
    /// The longest initial wait when it counts from the last new member.
    group_initial_rebalance_delay_max_ms: i32 = "rustka.groups.initial.rebalance.delay.max.ms";
    /// The longest session timeout a classic member may ask for.
    group_session_timeout_max_ms: i32 = "group.max.session.timeout.ms";
    /// The shortest session timeout a classic member may ask for.
    group_session_timeout_min_ms: i32 = "group.min.session.timeout.ms";
    /// Members of one classic group.
    group_size_max: i32 = "group.max.size";
    /// Bytes of the subscriptions and shares of one classic group.
    group_bytes_max: i32 = "rustka.groups.bytes.max";
    /// Bytes of one classic member's subscriptions, or of its share.
    group_member_metadata_bytes_max: i32 = "rustka.groups.member.metadata.bytes.max";
    /// Groups there may be.
    group_count_max: i32 = "rustka.groups.count.max";
    /// Members of one classic group, whatever `group.max.size` says.
    group_members_max: i32 = "rustka.groups.members.max";
    /// Pending member ids of one group.
    group_pending_ids_max: i32 = "rustka.groups.pending.ids.max";
    /// Pending member ids of one address.
    group_pending_ids_per_address_max: i32 = "rustka.groups.pending.ids.per.address.max";
    /// How long a delegation token lives until it has to be renewed.
    token_renewal_ms: i64 = "delegation.token.expiry.time.ms";
    /// How long it lives in all.
    token_lifetime_ms_max: i64 = "delegation.token.max.lifetime.ms";
    /// How often expired ones are looked for.
    token_check_interval_ms: i64 = "delegation.token.expiry.check.interval.ms";
    /// Samples in which quotas count what was used.
    quota_window_count: i32 = "quota.window.num";
    /// How long each is.
    quota_window_seconds: i32 = "quota.window.size.seconds";
    /// The same for partitions that are created and deleted.
    mutation_window_count: i32 = "controller.quota.window.num";
    /// The same for these.
    mutation_window_seconds: i32 = "controller.quota.window.size.seconds";
    /// How long a pending member id holds up a rebalance.
    group_pending_rebalance_wait_ms: i32 = "rustka.groups.pending.rebalance.wait.ms";
    /// The heartbeat interval told to members of the new protocol.
    group_consumer_heartbeat_interval_ms: i32 = "group.consumer.heartbeat.interval.ms";
    /// The session timeout of members of the new protocol.
    group_consumer_session_timeout_ms: i32 = "group.consumer.session.timeout.ms";
    /// How long an assignment of the new protocol holds at least.
    group_consumer_assignment_interval_ms: i32 = "group.consumer.assignment.interval.ms";
    /// How often regular expressions of groups are looked at again.
    group_consumer_regex_refresh_interval_ms: i32 = "group.consumer.regex.refresh.interval.ms";
    /// Members of one group of the new protocol.
    group_consumer_size_max: i32 = "group.consumer.max.size";
    /// Whether groups with members change between the protocols.
    group_consumer_migration_policy: Option<Box<str>> = "group.consumer.migration.policy";
    /// How often every compacted log is looked at; a log that has just grown is looked at at once.
    log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms";
    /// Whether logs are compacted at all.
    log_cleaner: bool = "log.cleaner.enable";
    /// Bytes of keys that one round of compaction remembers.
    log_cleaner_dedupe_buffer_bytes: i64 = "log.cleaner.dedupe.buffer.size";
    /// Bytes that compaction reads and writes in a second.
    log_cleaner_bytes_per_second_max: f64 = "log.cleaner.io.max.bytes.per.second";
    /// How often retention is looked at.
    log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms";
    /// The cap on all records together: beyond it the oldest of topics that delete go; -1: none.
    retention_total_bytes: i64 = "rustka.retention.total.bytes";
    /// Bytes that are read in a second only to see whether they are whole; 0: none.
    scrub_bytes_per_second: i64 = "rustka.scrub.bytes.per.second";
    /// From the beginning of one such round to that of the next.
    scrub_interval_ms: i64 = "rustka.scrub.interval.ms";
    /// The cap on memory; 0: chosen from what the process may use.
    memory_limit_bytes: i64 = "rustka.memory.limit";
    /// Bytes of all frames that are being received.
    connections_buffer_bytes: i64 = "rustka.connections.buffer.bytes";
    /// How many bytes of changes the cluster's log takes before a snapshot of it is written (KIP-630); with a data directory.
    metadata_snapshot_bytes: i64 = "metadata.log.max.record.bytes.between.snapshots";
    /// After how long a snapshot of the cluster is written if anything has changed; 0: never by time.
    metadata_snapshot_interval_ms: i64 = "metadata.log.max.snapshot.interval.ms";
    /// No segment of the cluster's log grows beyond this; with a data directory.
    metadata_segment_bytes: i32 = "metadata.log.segment.bytes";
    /// Nor spans more time than this.
    metadata_segment_ms: i64 = "metadata.log.segment.ms";
    /// The cap on the cluster's log with its snapshots, beyond which the oldest go; negative: none.
    metadata_retention_bytes: i64 = "metadata.max.retention.bytes";
    /// How long a snapshot of the cluster stays once there is another; negative: for good.
    metadata_retention_ms: i64 = "metadata.max.retention.ms";
    /// Replicas that must have a write for acks=all; one node always has one.
    min_insync_replicas: i32 = "min.insync.replicas";
    /// Partitions of a topic that names no number.
    num_partitions: i32 = "num.partitions";
    /// Bytes of metadata with a committed offset.
    offset_metadata_bytes_max: i32 = "offset.metadata.max.bytes";
    /// Partitions of `__consumer_offsets`.
    offsets_partitions: i32 = "offsets.topic.num.partitions";
    /// How often expired offsets are looked for.
    offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms";
    /// How long offsets of an empty group live.
    offsets_retention_minutes: i32 = "offsets.retention.minutes";
    /// Partitions in one DescribeTopicPartitions answer.
    partitions_per_describe_max: i32 = "max.request.partition.size.limit";
    /// How long an idle producer's state lives.
    producer_id_expiration_ms: i32 = "producer.id.expiration.ms";
    /// How often expired producers are looked for.
    producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms";
    /// Bytes of one request frame.
    request_bytes_max: i32 = "socket.request.max.bytes";
    /// Partitions of `__share_group_state`.
    share_state_partitions: i32 = "share.coordinator.state.topic.num.partitions";
    /// Bytes of metrics in one push of a client.
    telemetry_bytes_max: i32 = "telemetry.max.bytes";
    /// Partitions of `__transaction_state`.
    transaction_partitions: i32 = "transaction.state.log.num.partitions";
    /// How long a Produce waits for its producer's former transaction to end.
    transaction_end_wait_max_ms: i32 = "add.partitions.to.txn.retry.backoff.max.ms";
    /// The longest transaction timeout a producer may ask for.
    transaction_timeout_max_ms: i32 = "transaction.max.timeout.ms";
    /// Where the ids of topics come from.
    topic_ids: Option<Box<str>> = "rustka.topic.ids";
    /// How often expired transactional ids are looked for.
    transactional_id_check_interval_ms: i32 = "transaction.remove.expired.transaction.cleanup.interval.ms";
    /// How often transactions that took too long are looked for, where that is done in rounds.
    transaction_timeout_check_interval_ms: i32 = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
    /// Whether a coordinator is asked before a write of the older protocol begins a transaction in a partition. Where it is
    /// not, a late one begins a transaction that nobody ends.
    transaction_verification: bool = "transaction.partition.verification.enable";
    /// How long an unused transactional id lives.
    transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms";
    /// Whether compressed batches are always inflated to check their records.
    validate_compressed: bool = "rustka.validate.compressed";
    /// The rack told in Metadata.
    rack: Option<Box<str>> = "broker.rack";
    /// Limits for single addresses, over `max.connections.per.ip`.
    connections_per_address_overrides: Vec<Box<str>> = "max.connections.per.ip.overrides";
}

/// A typed value of a checked config.
trait Setting: Sized {
    fn parse(value: Option<&str>, name: &str) -> Self;
}

macro_rules! setting_by_from_str {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn parse(value: Option<&str>, name: &str) -> Self {
                // Every value was checked when it was set, and the table's defaults are tested.
                match value.and_then(|value| value.parse().ok()) {
                    Some(value) => value,
                    None => panic!("config {name} has no valid value: {value:?}"),
                }
            }
        }
    )*};
}
setting_by_from_str!(bool, i32, i64, f64);

impl Setting for Option<Box<str>> {
    fn parse(value: Option<&str>, _: &str) -> Self {
        value.filter(|value| !value.is_empty()).map(Into::into)
    }
}

impl Setting for Vec<Box<str>> {
    fn parse(value: Option<&str>, _: &str) -> Self {
        split_list(value.unwrap_or(""))
            .into_iter()
            .map(Into::into)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn defaults_are_kafkas_but_for_the_listed_ones() {
        let ours = BrokerConfig::new([], false).unwrap();
        let kafkas = BrokerConfig::new([], true).unwrap();
        assert_eq!(ours.settings().fetch_bytes_max, 57_671_680);
        assert_eq!(ours.settings().group_initial_rebalance_delay_ms, 100);
        assert_eq!(kafkas.settings().group_initial_rebalance_delay_ms, 3000);
        assert!(kafkas.settings().initial_rebalance_delay_is_kafkas);
        assert!(!ours.settings().initial_rebalance_delay_is_kafkas);
        let set = BrokerConfig::new([("group.initial.rebalance.delay.ms", "0")], false).unwrap();
        assert_eq!(set.settings().group_initial_rebalance_delay_ms, 0);
        assert!(set.settings().initial_rebalance_delay_is_kafkas);
    }

    #[test]
    fn every_typed_setting_is_in_the_table() {
        for name in BrokerSettings::NAMES {
            assert!(find_key(Scope::Broker, name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_wrong_key_names_the_nearest() {
        let refusal = BrokerConfig::new([("num.partition", "3")], false).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidConfig);
        assert!(refusal.message.unwrap().contains("'num.partitions'"));
        let refusal = BrokerConfig::new([("num.partitions", "many")], false).unwrap_err();
        let message = refusal.message.unwrap();
        assert!(
            message.contains("'many'") && message.contains("at least 1"),
            "{message}"
        );
    }

    #[test]
    fn dynamic_values_stand_before_static_ones() {
        let mut config = BrokerConfig::new([("log.segment.bytes", "2000000")], false).unwrap();
        let set =
            |value| Overrides::parse(Scope::Broker, [("log.segment.bytes", Some(value))]).unwrap();
        config.set_dynamic_values(DynamicLayer::Default, set("3000000"));
        config.set_dynamic_values(DynamicLayer::Broker, set("4000000"));
        let key = find_key(Scope::Broker, "log.segment.bytes").unwrap();
        let resolved = config.resolve(key);
        assert_eq!(resolved.value.as_deref(), Some("4000000"));
        assert_eq!(resolved.source, ConfigSource::DynamicBroker);
        let sources: Vec<i8> = resolved.synonyms.iter().map(|s| s.2.code()).collect();
        assert_eq!(sources, [2, 3, 4, 5]);
        config.set_dynamic_values(DynamicLayer::Broker, Overrides::default());
        assert_eq!(config.value("log.segment.bytes"), Some("3000000"));
    }
}
