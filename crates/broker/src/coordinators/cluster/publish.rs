//! What has changed in the cluster, shown where requests look: the node's topics, configs, features,
//! users, rights, tokens and quotas.

use super::{Cluster, FollowUp};
use crate::base::config::NamedResource;
use rustka_core::catalog::{PartitionSeed, Topic};
use rustka_core::cluster::command::{Change, ClusterTopic};
use rustka_core::cluster::place::Place;
use rustka_core::cluster::resource::ResourceKind;
use rustka_core::config::{BrokerConfig, DynamicLayer, listener_address};
use rustka_core::security::facts::Fact;
use rustka_core::sync::lock;
use rustka_storage::Partition;
use std::sync::Arc;

impl Cluster {
    /// Shows one change. Changes come one at a time, in order.
    pub(super) fn publish(&self, change: Change) {
        match change {
            Change::Topic(topic) => self.show(&topic),
            Change::TopicGone(topic) => {
                // The catalog is unlocked before partitions are: waiting fetches wake on the way.
                let gone = self.node.topics.write().take(topic.id);
                let gone = gone.map(FollowUp::Gone);
                lock(&self.follow_ups).extend(gone);
            }
            Change::Broker { config, topics } => {
                // A topic has either the old values or the new ones.
                let mut catalog = self.node.topics.write();
                self.advertise(&config);
                self.node.config.set_broker(config);
                for topic in topics {
                    if let Some(known) = catalog.by_id(topic.id) {
                        let shown = Topic {
                            config: topic.config.clone(),
                            ..(**known).clone()
                        };
                        configure(&catalog.put(shown));
                    }
                }
            }
            Change::Configs { resource, values } => {
                let kind = match resource.kind {
                    ResourceKind::Group => NamedResource::Group,
                    ResourceKind::ClientMetrics => NamedResource::ClientMetrics,
                    // Of other brokers; those of topics come with their topics.
                    ResourceKind::Topic | ResourceKind::Broker => return,
                };
                self.node.config.set_named(kind, &resource.name, values);
            }
            Change::Feature { name, level } => self.node.features.set(name, level),
            Change::Security(Fact::Quota(change)) => self.node.quotas.show(&change),
            Change::Security(Fact::Token { id, token }) => {
                self.node.tokens.show(&id, token.as_ref());
            }
            Change::Security(fact) => self.node.security.show(&fact),
            Change::SecurityWhole(facts) => {
                self.node.quotas.show_all(&facts);
                self.node.tokens.show_all(&facts);
                self.node.security.show_all(&facts);
            }
            Change::Lost => {
                self.failed("a change of topics or configs could not be written and was not made");
            }
        }
    }

    /// Has every listener tell the address that was set while the broker runs, if there is one.
    fn advertise(&self, config: &BrokerConfig) {
        let values = config.dynamic_values(DynamicLayer::Broker);
        let told = values.get("advertised.listeners").unwrap_or("");
        let told = || {
            told.split(',')
                .filter_map(|item| listener_address(item.trim()))
        };
        for listener in &self.node.listeners {
            let mut own = told().filter(|(name, _, _)| *name == &*listener.name);
            listener.advertise(own.next().map(|(_, host, port)| (host.into(), port)));
        }
    }

    fn show(&self, topic: &Arc<ClusterTopic>) {
        let mut catalog = self.node.topics.write();
        let known = catalog.by_id(topic.id).cloned();
        let mut partitions = match &known {
            Some(known) => known.partitions.clone(),
            None => Vec::with_capacity(topic.partitions.len()),
        };
        for number in partitions.len()..topic.partitions.len() {
            partitions.push(self.node.new_partition(&PartitionSeed {
                id: topic.id,
                name: &topic.name,
                partition: u32::try_from(number).unwrap_or(u32::MAX),
                config: &topic.config,
            }));
        }
        let shown = catalog.put(Topic {
            id: topic.id,
            name: topic.name.clone(),
            internal: topic.internal,
            config: topic.config.clone(),
            is_moved: topic.is_moved,
            partitions,
        });
        drop(catalog);
        if topic.is_moved {
            for (partition, place) in shown.partitions.iter().zip(&topic.partitions) {
                self.lead(partition, place);
            }
        }
        match known {
            Some(known) if !Arc::ptr_eq(&known.config, &shown.config) => configure(&shown),
            Some(_) => {}
            None if self.node.hooks.has_observers() && !shown.internal => {
                lock(&self.follow_ups).push(FollowUp::Created(shown));
            }
            None => {}
        }
    }

    /// Tells a partition who leads it.
    fn lead(&self, partition: &Partition, place: &Place) {
        let leader = (place.leader != self.node.id).then_some(place.leader);
        if partition.leader() != (leader, place.leader_epoch) {
            partition.set_leader(leader, place.leader_epoch);
        }
    }
}

/// Tells a topic's partitions what its configs are now.
fn configure(topic: &Topic<Arc<Partition>>) {
    for partition in &topic.partitions {
        if topic.internal {
            partition.set_evictable(topic.config.delete);
        } else {
            partition.obey(&topic.config);
        }
    }
}
