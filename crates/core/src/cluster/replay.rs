//! Records made true, live and in replay, and the records that say everything again.

use std::borrow::Cow;
use std::sync::Arc;

use rustka_wire::Uuid;

use super::command::ClusterTopic;
use super::features::METADATA_VERSION;
use super::place::Place;
use super::records::control::Quorum;
use super::records::{Record, Together};
use super::resource::{Resource, ResourceKind};
use super::{Cluster, create};
use crate::config::Overrides;
use crate::names;
use crate::sync::lock;

/// The config that stands for all brokers from the start (KIP-966).
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// A topic whose records come one after the other, not yet among the others.
#[derive(Debug)]
pub(super) struct Growing {
    id: Uuid,
    name: Arc<str>,
    overrides: Overrides,
    partitions: Vec<Place>,
}

impl Cluster {
    /// Makes one record of the log true. Those that hold together wait for the last of them.
    pub(super) fn replay(&mut self, record: Record) {
        match (&record, self.together.take()) {
            // Kafka begins no such row within another.
            (Record::Together(Together::Begin(_)), _) => self.together = Some(Vec::new()),
            (Record::Together(Together::End), Some(row)) => {
                row.iter().for_each(|record| self.absorb(record));
            }
            (Record::Together(_), _) => {}
            (_, Some(mut row)) => {
                row.push(record);
                self.together = Some(row);
            }
            (_, None) => self.absorb(&record),
        }
    }

    /// Makes one record true. `finish` ends a row of them.
    pub(super) fn absorb(&mut self, record: &Record) {
        // A log that holds only what controllers have agreed on among themselves is as good as new.
        self.is_blank &= matches!(record, Record::Quorum(_));
        match record {
            Record::Topic { name, id } => {
                self.finish_topic();
                self.growing = Some(Growing {
                    id: *id,
                    name: Arc::clone(name),
                    overrides: self.configs_of_new(name),
                    partitions: Vec::new(),
                });
            }
            Record::RemoveTopic { id } => {
                self.finish_topic();
                let gone = self.topics.take(*id);
                let Some(gone) = gone else { return };
                self.unknown_configs.retain(|(resource, _), _| {
                    resource.kind != ResourceKind::Topic || resource.name != gone.name
                });
                if let Some(ids) = &self.options.topic_ids {
                    lock(ids).deleted(&gone.name);
                }
            }
            Record::Partitions {
                topic,
                numbers,
                place,
            } => {
                let mut place = place.clone();
                self.places.share(&mut place);
                if let Some(growing) = self.grow(*topic) {
                    growing.partitions.reserve_exact(numbers.len());
                    numbers
                        .clone()
                        .for_each(|number| growing.put(number, place.clone()));
                }
            }
            Record::PartitionChange(change) => {
                let index = usize::try_from(change.partition_id).ok();
                // If there is no such topic, none is growing.
                self.grow(change.topic_id);
                if let Some(growing) = &mut self.growing
                    && let Some(place) = index.and_then(|at| growing.partitions.get_mut(at))
                {
                    place.change(change);
                    self.places.share(place);
                }
            }
            Record::Config {
                resource,
                name,
                value,
            } => self.absorb_config(resource, name, value.as_deref()),
            Record::ClearElr { .. } | Record::Together(_) => {}
            Record::Feature { name, level: 0 } => {
                self.features.remove(&**name);
            }
            Record::Feature { name, level } => {
                self.features.insert((&**name).into(), *level);
            }
            Record::ProducerIds { next, .. } => self.next_producer_id = Some(*next),
            Record::Security(fact) => self.facts.set(fact),
            Record::Quorum(Quorum::Version(level)) => self.quorum.version = Some(*level),
            Record::Quorum(Quorum::Voters(record)) => self.quorum.voters = Some(record.clone()),
        }
    }

    fn absorb_config(&mut self, resource: &Resource, name: &str, value: Option<&str>) {
        // What this version does not know, or knows to be wrong, has no effect here.
        let scope = resource.kind.scope();
        let set = |values: &mut Overrides| match value {
            Some(value) => values.set(scope, name, value).is_ok(),
            None => {
                values.remove(name);
                true
            }
        };
        if resource.kind != ResourceKind::Topic {
            let values = self.configs.get(resource).cloned().unwrap_or_default();
            let mut values = (*values).clone();
            let is_known = set(&mut values);
            if is_known {
                self.set_configs(resource, Arc::new(values));
            }
            self.keep_unknown(resource, name, value.filter(|_| !is_known));
            return;
        }
        let id = match &self.growing {
            Some(growing) if growing.name == resource.name => Some(growing.id),
            _ => self.topics.by_name(&resource.name).map(|topic| topic.id),
        };
        let is_known = match id.and_then(|id| self.grow(id)) {
            Some(growing) => set(&mut growing.overrides),
            // Its topic may come next.
            None => false,
        };
        self.keep_unknown(resource, name, value.filter(|_| !is_known));
    }

    /// What was set for a topic before it was there: Kafka 3.3 writes the configs of a new topic first.
    fn configs_of_new(&mut self, topic: &Arc<str>) -> Overrides {
        let mut overrides = Overrides::default();
        self.unknown_configs.retain(|(resource, name), value| {
            let is_its_own = resource.kind == ResourceKind::Topic && resource.name == *topic;
            !is_its_own || overrides.set(resource.kind.scope(), name, value).is_err()
        });
        overrides
    }

    /// Keeps a value that has no effect here, or forgets the one that was kept before it.
    fn keep_unknown(&mut self, resource: &Resource, name: &str, value: Option<&str>) {
        if value.is_none() && self.unknown_configs.is_empty() {
            return;
        }
        let key = (resource.clone(), name.into());
        match value {
            Some(value) => self.unknown_configs.insert(key, value.into()),
            None => self.unknown_configs.remove(&key),
        };
    }

    /// Replaces what is set for a resource that is no topic.
    pub(super) fn set_configs(&mut self, resource: &Resource, values: Arc<Overrides>) {
        if let Some(layer) = self.layer(resource) {
            let before = Arc::clone(&self.broker);
            Arc::make_mut(&mut self.broker).set_dynamic_values(layer, (*values).clone());
            if !before.has_same_topic_defaults(&self.broker) {
                self.resolved.clear();
            }
        }
        match values.is_empty() {
            true => self.configs.remove(resource),
            false => self.configs.insert(resource.clone(), values),
        };
    }

    /// A row of records is over: everything they said shows.
    pub(super) fn finish(&mut self) {
        self.finish_topic();
    }

    fn finish_topic(&mut self) {
        let Some(growing) = self.growing.take() else {
            return;
        };
        let config = match growing.overrides.is_empty() {
            true => Arc::clone(&self.unset),
            false => Arc::new(growing.overrides),
        };
        let is_at_home =
            |place: &Place| place.leader == self.options.node_id && place.leader_epoch == 0;
        self.topics.put(ClusterTopic {
            id: growing.id,
            is_moved: !growing.partitions.iter().all(is_at_home),
            internal: names::is_internal(&growing.name),
            name: growing.name,
            config,
            partitions: growing.partitions,
        });
    }

    /// The topic with this id, to be changed.
    fn grow(&mut self, id: Uuid) -> Option<&mut Growing> {
        if self.growing.as_ref().is_none_or(|known| known.id != id) {
            self.finish_topic();
            let known = self.topics.by_id(id)?;
            self.growing = Some(Growing {
                id,
                name: Arc::clone(&known.name),
                overrides: (*known.config).clone(),
                partitions: known.partitions.clone(),
            });
        }
        self.growing.as_mut()
    }

    /// What a new cluster begins with: what its directory was formatted with, or else the features at their first levels, and
    /// the config that Kafka's controller sets. Features that there are not, or not at that level, stay off.
    pub(super) fn first_records(&self) -> Vec<Record> {
        let features = self.options.features;
        let formatted = self.options.bootstrap.iter().filter(|record| match record {
            Record::Feature { name, level } => features
                .iter()
                .any(|known| known.name == name && (known.min..=known.max).contains(level)),
            _ => true,
        });
        let mut records: Vec<Record> = formatted.cloned().collect();
        if self.options.bootstrap.is_empty() {
            let on = features.iter().filter(|feature| feature.first > 0);
            records.extend(on.map(|feature| Record::Feature {
                name: Cow::Borrowed(feature.name),
                level: feature.first,
            }));
        }
        let value = self.broker.value(MIN_INSYNC_REPLICAS).unwrap_or("1");
        records.push(Record::Config {
            resource: Resource::new(ResourceKind::Broker, ""),
            name: Cow::Borrowed(MIN_INSYNC_REPLICAS),
            value: Some(value.into()),
        });
        records
    }

    /// Everything, as a snapshot has it: first how controllers agree, then all that is live.
    pub fn snapshot(&self) -> impl Iterator<Item = Record> {
        let version = self.quorum.version.map(Quorum::Version);
        let voters = self.quorum.voters.clone().map(Quorum::Voters);
        let quorum = version.into_iter().chain(voters).map(Record::Quorum);
        quorum.chain(self.everything())
    }

    /// Everything, in the order of Kafka's snapshots: features, topics with their partitions, configs, quotas, producer ids, ACLs,
    /// users, tokens.
    pub(super) fn everything(&self) -> impl Iterator<Item = Record> {
        // By the level of this one the form of the rest is chosen.
        let is_first = |name: &str| name == METADATA_VERSION;
        let first = self.features.iter().filter(move |(name, _)| is_first(name));
        let rest = self
            .features
            .iter()
            .filter(move |(name, _)| !is_first(name));
        let features = first.chain(rest).map(|(name, level)| Record::Feature {
            name: Cow::Owned(name.to_string()),
            level: *level,
        });
        let topics = self.topics.topics().flat_map(|topic| {
            let first = Record::Topic {
                name: Arc::clone(&topic.name),
                id: topic.id,
            };
            let partitions = (0i32..).zip(&topic.partitions);
            let partitions = partitions.map(|(number, place)| Record::Partitions {
                topic: topic.id,
                numbers: number..number.saturating_add(1),
                place: place.clone(),
            });
            std::iter::once(first).chain(partitions)
        });
        let of_topics = self.topics.topics().flat_map(|topic| {
            let resource = Resource {
                kind: ResourceKind::Topic,
                name: Arc::clone(&topic.name),
            };
            create::config_records(resource, &topic.config)
        });
        let of_others = self
            .configs
            .iter()
            .flat_map(|(resource, values)| create::config_records(resource.clone(), values));
        let unknown = self.unknown_configs.iter();
        let unknown = unknown.map(|((resource, name), value)| Record::Config {
            resource: resource.clone(),
            name: Cow::Owned(name.to_string()),
            value: Some(value.clone()),
        });
        let producer_ids = self.next_producer_id.map(|next| Record::ProducerIds {
            node_id: -1,
            broker_epoch: -1,
            next,
        });
        let quotas = self.facts.all_quotas().map(Record::from);
        let facts = self.facts.all().map(Record::from);
        features
            .chain(topics)
            .chain(of_topics)
            .chain(of_others)
            .chain(unknown)
            .chain(quotas)
            .chain(producer_ids)
            .chain(facts)
    }
}

impl Growing {
    /// Puts a partition in its place. Those that are left out before it are nowhere until their records come.
    fn put(&mut self, partition: i32, place: Place) {
        let Ok(at) = usize::try_from(partition) else {
            return;
        };
        if at < self.partitions.len() {
            self.partitions[at] = place;
            return;
        }
        let missing = at - self.partitions.len();
        if missing > create::PARTITIONS_PER_REQUEST_MAX {
            return;
        }
        let nowhere = Place {
            leader: -1,
            leader_epoch: -1,
            partition_epoch: -1,
            replicas: Arc::default(),
        };
        let nowhere = std::iter::repeat_n(nowhere, missing);
        self.partitions.extend(nowhere);
        self.partitions.push(place);
    }
}
