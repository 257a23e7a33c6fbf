//! AlterConfigs and IncrementalAlterConfigs: what is set for a topic, a broker, a group or client metrics.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{AlterConfigs, ConfigChange};
use super::create::MIN_INSYNC_REPLICAS;
use super::features::ELIGIBLE_LEADER_REPLICAS;
use super::records::Record;
use super::resource::{Resource, ResourceKind};
use super::{Cluster, Effects};
use crate::config::{
    DynamicLayer, Overrides, alter_broker, alter_overrides, keep_min_insync_replicas,
    replace_broker, replace_overrides,
};
use crate::error::{ErrorCode, Refusal};
use crate::names;

/// Groups, and subscriptions to client metrics, that may have configs of their own.
const NAMES_PER_KIND_MAX: usize = 10_000;

impl Cluster {
    /// Changes one resource after the other, each whole or not at all, and writes what changed as one entry.
    pub(super) fn alter_configs(
        &mut self,
        changes: &[AlterConfigs],
        out: &mut Effects,
    ) -> Vec<Result<(), Refusal>> {
        let mut records = Vec::new();
        let mut added: BTreeMap<ResourceKind, usize> = BTreeMap::new();
        let results = changes.iter().map(|asked| {
            let (before, next) = self.values_after(asked)?;
            let is_new = before.is_empty() && !next.is_empty();
            if is_new
                && matches!(
                    asked.resource.kind,
                    ResourceKind::Group | ResourceKind::ClientMetrics
                )
            {
                let added = added.entry(asked.resource.kind).or_default();
                if self.names_with_configs(asked.resource.kind) + *added >= NAMES_PER_KIND_MAX {
                    let message = format!(
                        "configs are kept for at most {NAMES_PER_KIND_MAX} names of a kind"
                    );
                    return Err(Refusal::new(ErrorCode::PolicyViolation, message));
                }
                *added += 1;
            }
            if !asked.validate_only {
                let clears = self.has_eligible_leaders();
                record_changes(&asked.resource, &before, &next, clears, &mut records);
            }
            Ok(())
        });
        let results = results.collect();
        self.write(records, out);
        results
    }

    /// What is set for a resource, and what is set after a change.
    fn values_after(&self, asked: &AlterConfigs) -> Result<(Arc<Overrides>, Overrides), Refusal> {
        let Resource { kind, name } = &asked.resource;
        match kind {
            ResourceKind::Topic => self.topic_after(name, &asked.change),
            ResourceKind::Broker => {
                let layer = match &**name {
                    "" => DynamicLayer::Default,
                    _ => DynamicLayer::Broker,
                };
                let before = Arc::new(self.broker.dynamic_values(layer).clone());
                let next = match &asked.change {
                    ConfigChange::Replace(pairs) => {
                        replace_broker(&self.broker, layer, borrowed(pairs))?
                    }
                    ConfigChange::Alter(changes) => alter_broker(&self.broker, layer, changes)?,
                };
                if self.feature(ELIGIBLE_LEADER_REPLICAS) > 0 {
                    keep_min_insync_replicas(layer, &next)?;
                }
                Ok((before, next))
            }
            ResourceKind::Group | ResourceKind::ClientMetrics => {
                if name.is_empty() {
                    return Err(no_default(kind.scope().name()));
                }
                let before = self
                    .configs
                    .get(&asked.resource)
                    .cloned()
                    .unwrap_or_default();
                let next = self.overrides_after(*kind, &asked.change, &before)?;
                Ok((before, next))
            }
        }
    }

    fn topic_after(
        &self,
        name: &str,
        change: &ConfigChange,
    ) -> Result<(Arc<Overrides>, Overrides), Refusal> {
        if name.is_empty() {
            return Err(no_default("topic"));
        }
        names::validate_topic_name(name)?;
        // The values are looked at first, also of a topic that does not exist.
        let topic = self.topics.by_name(name);
        let before = topic.map_or_else(Arc::default, |topic| Arc::clone(&topic.config));
        let next = self.overrides_after(ResourceKind::Topic, change, &before)?;
        match topic {
            Some(_) => Ok((before, next)),
            None => Err(Refusal::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("The topic '{name}' does not exist."),
            )),
        }
    }

    fn overrides_after(
        &self,
        kind: ResourceKind,
        change: &ConfigChange,
        before: &Overrides,
    ) -> Result<Overrides, Refusal> {
        match change {
            ConfigChange::Replace(pairs) => {
                replace_overrides(kind.scope(), &self.broker, borrowed(pairs))
            }
            ConfigChange::Alter(changes) => {
                alter_overrides(kind.scope(), &self.broker, before, changes)
            }
        }
    }

    fn names_with_configs(&self, kind: ResourceKind) -> usize {
        let from = Resource::new(kind, "");
        let resources = self.configs.range(from..);
        resources
            .take_while(|(resource, _)| resource.kind == kind)
            .count()
    }
}

fn borrowed(pairs: &[(String, Option<String>)]) -> impl Iterator<Item = (&str, Option<&str>)> {
    let pairs = pairs.iter();
    pairs.map(|(name, value)| (name.as_str(), value.as_deref()))
}

/// Only brokers have configs for all of their kind.
fn no_default(kind: &str) -> Refusal {
    Refusal::new(
        ErrorCode::InvalidRequest,
        format!("Default {kind} resources are not allowed: the name is empty."),
    )
}

/// The records that lead from one set of values to another; what stays the same is not written. `clears` says whether
/// eligible leaders are on record, which are found anew where it is said how many have to be in step.
fn record_changes(
    resource: &Resource,
    before: &Overrides,
    next: &Overrides,
    clears: bool,
    records: &mut Vec<Record>,
) {
    let mut changed: BTreeMap<&str, Option<Box<str>>> = BTreeMap::new();
    for (name, value) in next.iter() {
        if before.get(name) != Some(value) {
            changed.insert(name, Some(value.into()));
        }
    }
    for (name, _) in before.iter() {
        if next.get(name).is_none() {
            changed.insert(name, None);
        }
    }
    let clears = clears
        && changed.contains_key(MIN_INSYNC_REPLICAS)
        && matches!(resource.kind, ResourceKind::Topic | ResourceKind::Broker);
    records.extend(changed.into_iter().map(|(name, value)| Record::Config {
        resource: resource.clone(),
        name: Cow::Owned(name.to_owned()),
        value,
    }));
    if clears {
        let topic = match resource.kind {
            ResourceKind::Topic => Arc::clone(&resource.name),
            _ => Arc::default(),
        };
        records.push(Record::ClearElr { topic });
    }
}
