//! The configs of a running broker: read by every request, changed by few.
//!
//! Changes are made while the catalog is locked for writing, so that a topic created at the same time has either the
//! old values and is configured again, or the new ones.

use rustka_core::config::{
    BrokerConfig, BrokerSettings, DynamicLayer, Overrides, Scope, group_value,
};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::sync::{Held, Rank, read_at, write_at};
use rustka_core::telemetry::Subscriptions;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, RwLock, RwLockReadGuard};

/// Groups, and subscriptions to client metrics, that may have configs of their own.
const RESOURCES_MAX: usize = 10_000;

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

impl NamedResource {
    /// Which keys it has.
    pub fn scope(self) -> Scope {
        match self {
            NamedResource::Group => Scope::Group,
            NamedResource::ClientMetrics => Scope::ClientMetrics,
        }
    }
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

    /// Replaces one layer. The caller holds the catalog for writing and configures its topics anew.
    pub fn set_broker(&self, layer: DynamicLayer, values: Overrides) -> Arc<BrokerConfig> {
        let mut broker = write_at(Rank::Configs, &self.broker);
        Arc::make_mut(&mut broker).set_dynamic_values(layer, values);
        broker.clone()
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

    /// Changes what is set for a name as `change` says; without values the name is forgotten.
    pub fn alter(
        &self,
        kind: NamedResource,
        name: &str,
        validate_only: bool,
        change: impl FnOnce(&Overrides) -> Result<Overrides, Refusal>,
    ) -> Result<(), Refusal> {
        let mut all = write_at(Rank::NamedConfigs, self.named(kind));
        let next = change(&all.get(name).cloned().unwrap_or_default())?;
        if validate_only {
            return Ok(());
        }
        if next.is_empty() {
            all.remove(name);
            self.resubscribe(kind, &all);
            return Ok(());
        }
        if !all.contains_key(name) && all.len() >= RESOURCES_MAX {
            let message = format!("configs are kept for at most {RESOURCES_MAX} names of a kind");
            return Err(Refusal::new(ErrorCode::PolicyViolation, message));
        }
        all.insert(name.into(), Arc::new(next));
        self.resubscribe(kind, &all);
        Ok(())
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
