//! What has changed in the cluster, shown where requests look: the node's topics, configs, features,
//! users, rights, tokens and quotas.

use super::{Cluster, FollowUp};
use crate::base::config::NamedResource;
use crate::base::fault::Point;
use crate::node::topics::{TopicHere, TopicRef};
use rustka_core::cluster::command::{Change, ClusterTopic, Everything};
use rustka_core::cluster::place::Place;
use rustka_core::cluster::resource::{Resource, ResourceKind};
use rustka_core::config::{
    BrokerConfig, DynamicLayer, Overrides, SharedConfig, TopicConfig, listener_address,
};
use rustka_core::names::CLUSTER_METADATA;
use rustka_core::security::facts::Fact;
use rustka_core::sync::lock;
use rustka_core::time::Now;
use rustka_storage::{Partition, PartitionName};
use rustka_wire::codec::Uuid;
use std::sync::Arc;

impl Cluster {
    /// Shows one change. Changes come one at a time, in order.
    pub(super) fn publish(&self, change: Change, now: Now) {
        let faults = &self.node.faults;
        faults.panic_point(Point::Publish, CLUSTER_METADATA);
        match change {
            Change::Topic(topic) => self.show(&topic, now),
            Change::TopicGone(topic) => self.hide(topic.id),
            Change::Broker(config) => self.show_broker(config),
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
            Change::NothingElse(all) => self.hide_others(&all),
            Change::Lost => {
                self.failed("a change of topics or configs could not be written and was not made");
            }
        }
    }

    /// A topic is gone.
    fn hide(&self, id: Uuid) {
        // The catalog is unlocked before partitions are: waiting fetches wake on the way.
        let gone = self.node.topics.write().take(id);
        let gone = gone.map(FollowUp::Gone);
        lock(&self.follow_ups).extend(gone);
    }

    /// Takes back what was shown once and is no more.
    fn hide_others(&self, all: &Everything) {
        for topic in self.node.topics.all() {
            if !all.topics.contains(&topic.id) {
                self.hide(topic.id);
            }
        }
        for (kind, of) in [
            (NamedResource::Group, ResourceKind::Group),
            (NamedResource::ClientMetrics, ResourceKind::ClientMetrics),
        ] {
            for name in self.node.config.names(kind) {
                if !all.resources.contains(&Resource::new(of, &name)) {
                    self.node.config.set_named(kind, &name, Arc::default());
                }
            }
        }
        for (name, _) in self.node.features.all() {
            if !all.features.contains(&name) {
                self.node.features.set(name, 0);
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

    fn show_broker(&self, config: Arc<BrokerConfig>) {
        let before = self.node.config.broker();
        let concerns_topics = !before.has_same_topic_defaults(&config);
        let topics = self.node.topics.read();
        self.advertise(&config);
        // Before the topics: what one tells of a broker's value never follows from an older one.
        self.node.config.set_broker(config.clone());
        if !concerns_topics {
            return;
        }
        let mut resolved = lock(&self.resolved);
        resolved.clear();
        let replaced = topics.topics().filter(|topic| {
            let next = resolved.of(&config, &topic.config.now().overrides);
            has_new_policy(&next, &topic.config.replace(next.clone()))
        });
        let replaced: Vec<TopicRef> = replaced.cloned().collect();
        drop((resolved, topics));
        replaced.iter().for_each(|topic| follow(topic));
    }

    fn resolve(&self, overrides: &Overrides) -> Arc<TopicConfig> {
        let broker = self.node.config.broker();
        lock(&self.resolved).of(&broker, overrides)
    }

    fn show(&self, topic: &Arc<ClusterTopic>, now: Now) {
        let known = self.node.topics.by_id(topic.id);
        let config = self.resolve(&topic.config);
        let shown = match &known {
            Some(known) if has_same_partitions(known, topic) => known.clone(),
            _ => self.put(topic, known.as_deref(), &config, now),
        };
        if topic.is_moved {
            for (partition, place) in shown.partitions.iter().zip(&topic.partitions) {
                self.lead(partition, place);
            }
            if shown.internal {
                lock(&self.follow_ups).push(FollowUp::Led(shown.clone()));
            }
        }
        if known.is_some() {
            if has_new_policy(&config, &shown.config.replace(config.clone())) {
                follow(&shown);
            }
        } else if self.node.hooks.has_observers() && !shown.internal {
            lock(&self.follow_ups).push(FollowUp::Created(shown));
        }
    }

    /// Puts a topic among those that requests see, with the partitions that it has already and those it lacks.
    fn put(
        &self,
        topic: &ClusterTopic,
        known: Option<&TopicHere>,
        config: &Arc<TopicConfig>,
        now: Now,
    ) -> TopicRef {
        let config = match known {
            Some(known) => known.config.clone(),
            None => Arc::new(SharedConfig::new(config.clone())),
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        partitions.extend(
            known
                .into_iter()
                .flat_map(|known| &known.partitions)
                .cloned(),
        );
        for index in partitions.len()..topic.partitions.len() {
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            let name = PartitionName {
                topic: &topic.name,
                topic_id: topic.id,
                index,
            };
            let partition = self.node.new_partition(&name, &config, topic.internal, now);
            partitions.push(partition);
        }
        self.node.topics.write().put(TopicHere {
            id: topic.id,
            name: topic.name.clone(),
            internal: topic.internal,
            config,
            is_moved: topic.is_moved,
            partitions,
        })
    }

    /// Tells a partition who leads it.
    fn lead(&self, partition: &Partition, place: &Place) {
        let leader = (place.leader != self.node.id).then_some(place.leader);
        if partition.leader() != (leader, place.leader_epoch) {
            partition.set_leader(leader, place.leader_epoch);
        }
    }
}

/// Whether nothing but a topic's configs and leaders can have changed.
fn has_same_partitions(known: &TopicHere, topic: &ClusterTopic) -> bool {
    known.partitions.len() == topic.partitions.len() && known.is_moved == topic.is_moved
}

/// Whether other records go by time, size or key than did before, which each partition keeps count of.
fn has_new_policy(next: &TopicConfig, before: &TopicConfig) -> bool {
    (next.delete, next.compact) != (before.delete, before.compact)
}

/// Has a topic's partitions follow a new policy. All else in its configs they see by themselves.
fn follow(topic: &TopicHere) {
    for partition in &topic.partitions {
        match topic.internal {
            true => partition.obey_as_journal(&topic.config),
            false => partition.obey(&topic.config),
        }
    }
}
