//! The configs of a running broker: read by every request, changed by few. The cluster decides about changes.

use rustka_core::config::{BrokerConfig, BrokerSettings, Overrides, group_value};
use rustka_core::sync::{Held, Rank, read_at, write_at};
use rustka_core::telemetry::Subscriptions;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, RwLock, RwLockReadGuard};

/// The broker's configs, and those of groups and client metrics.
pub struct LiveConfig {
    fixed: BrokerSettings,
    broker: RwLock<Arc<BrokerConfig>>,
    groups: RwLock<Named>,
    client_metrics: RwLock<Named>,
    subscriptions: RwLock<Arc<Subscriptions>>,
}

type Named = BTreeMap<Box<str>, Arc<Overrides>>;

/// What has configs by a name of its own and is neither topic nor broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedResource {
    /// A group, whether it exists or not.
    Group,
    /// A subscription to client metrics (KIP-714).
    ClientMetrics,
}

/// The broker's typed configs at one moment.
pub struct Settings(Arc<BrokerConfig>);

impl Deref for Settings {
    type Target = BrokerSettings;

    fn deref(&self) -> &BrokerSettings {
        self.0.settings()
    }
}

impl LiveConfig {
    /// The configs from start-up.
    pub fn new(broker: BrokerConfig) -> LiveConfig {
        LiveConfig {
            fixed: broker.settings().clone(),
            broker: RwLock::new(Arc::new(broker)),
            groups: RwLock::default(),
            client_metrics: RwLock::default(),
            subscriptions: RwLock::default(),
        }
    }

    /// The broker's typed configs as they were at start-up. Costs nothing; only for keys that cannot change later.
    pub fn fixed(&self) -> &BrokerSettings {
        &self.fixed
    }

    /// The broker's configs now.
    pub fn broker(&self) -> Arc<BrokerConfig> {
        read_at(Rank::Configs, &self.broker).clone()
    }

    /// The broker's typed configs now.
    pub fn settings(&self) -> Settings {
        Settings(self.broker())
    }

    /// Replaces the broker's. What follows from them for topics is for the caller.
    pub fn set_broker(&self, config: Arc<BrokerConfig>) {
        *write_at(Rank::Configs, &self.broker) = config;
    }

    fn named(&self, kind: NamedResource) -> &RwLock<Named> {
        match kind {
            NamedResource::Group => &self.groups,
            NamedResource::ClientMetrics => &self.client_metrics,
        }
    }

    fn read(&self, kind: NamedResource) -> Held<RwLockReadGuard<'_, Named>> {
        read_at(Rank::NamedConfigs, self.named(kind))
    }

    /// The configs set for a group or for client metrics.
    pub fn overrides(&self, kind: NamedResource, name: &str) -> Arc<Overrides> {
        self.read(kind).get(name).cloned().unwrap_or_default()
    }

    /// The names that have configs, in order.
    pub fn names(&self, kind: NamedResource) -> Vec<Box<str>> {
        self.read(kind).keys().cloned().collect()
    }

    /// Whether anything of this kind has configs.
    pub fn has_any(&self, kind: NamedResource) -> bool {
        !self.read(kind).is_empty()
    }

    /// Replaces what is set for a name; without values it is forgotten.
    pub fn set_named(&self, kind: NamedResource, name: &str, values: Arc<Overrides>) {
        let mut all = write_at(Rank::NamedConfigs, self.named(kind));
        match values.is_empty() {
            true => all.remove(name),
            false => all.insert(name.into(), values),
        };
        self.resubscribe(kind, &all);
    }

    /// What clients are to push, as the subscriptions are now.
    pub fn subscriptions(&self) -> Arc<Subscriptions> {
        read_at(Rank::Configs, &self.subscriptions).clone()
    }

    fn resubscribe(&self, kind: NamedResource, all: &Named) {
        if kind == NamedResource::ClientMetrics {
            let mut subscriptions = write_at(Rank::Configs, &self.subscriptions);
            let version = subscriptions.version() + 1;
            let configs = all.values().map(|overrides| &**overrides);
            *subscriptions = Arc::new(Subscriptions::new(version, configs));
        }
    }

    /// The value that holds for a group's key, such as `consumer.session.timeout.ms`.
    pub fn group_value(&self, group: &str, key: &str) -> Option<String> {
        let (broker, overrides) = (self.broker(), self.overrides(NamedResource::Group, group));
        group_value(&broker, &overrides, key).map(str::to_owned)
    }
}
