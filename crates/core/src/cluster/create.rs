//! CreateTopics: what may be created, and with what.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use rustka_wire::Uuid;

use super::command::{
    ClusterTopic, CreateInternal, CreateTopic, CreateTopics, Created, TopicOutcome,
};
use super::place::Place;
use super::records::Record;
use super::resource::{Resource, ResourceKind};
use super::{Cluster, Effects, names_given_twice};
use crate::config::{Overrides, Scope, TopicConfig, validate_topic};
use crate::error::{ErrorCode, Refusal};
use crate::names;
use crate::sync::lock;

/// Partitions that one CreateTopics or CreatePartitions request may make.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// The config whose changes make eligible leaders be found anew.
pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

impl Cluster {
    /// Creates topics, each succeeding or failing alone. Fails as a whole only when the request asks for too much.
    ///
    /// Names given twice come once, at the end, refused.
    pub(super) fn create_topics(
        &mut self,
        request: CreateTopics,
        out: &mut Effects,
    ) -> Result<Vec<TopicOutcome<Created>>, Refusal> {
        let twice = names_given_twice(request.topics.iter().map(|topic| topic.name.as_str()));
        let once = || {
            let topics = request.topics.iter();
            topics.filter(|topic| !twice.contains(topic.name.as_str()))
        };
        let default_partitions = self.broker.settings().num_partitions;
        let asked: usize = once()
            .map(|topic| asked_partitions(topic, default_partitions))
            .fold(0, usize::saturating_add);
        if asked > PARTITIONS_PER_REQUEST_MAX {
            return Err(too_many_partitions(asked));
        }
        // Names of one request do not collide with each other, as in Kafka.
        let mut outcomes = Vec::with_capacity(request.topics.len());
        let mut planned = BTreeSet::new();
        let mut partitions = 0;
        let mut records = Vec::with_capacity(2 * request.topics.len());
        for topic in once() {
            let plan = self.plan_topic(topic).and_then(|plan| {
                self.has_memory_for(plan.partitions as usize, partitions)?;
                self.pay(plan.partitions as usize)?;
                partitions += plan.partitions as usize;
                Ok(plan)
            });
            let result = plan.map(|plan| {
                let id = self.unused_id(&topic.name, topic.id, &planned);
                planned.insert(id);
                if !request.validate_only {
                    self.record_topic(&topic.name, id, &plan, &mut records);
                }
                plan.created(id)
            });
            outcomes.push(TopicOutcome {
                name: topic.name.as_str().into(),
                result,
            });
        }
        outcomes.extend(twice.into_iter().map(TopicOutcome::named_twice));
        self.write(records, out);
        Ok(outcomes)
    }

    /// Creates one of the broker's own topics, unless it is there.
    pub(super) fn create_internal(
        &mut self,
        topic: CreateInternal,
        out: &mut Effects,
    ) -> Result<Arc<ClusterTopic>, Refusal> {
        if let Some(known) = self.topics.by_name(topic.name) {
            return Ok(Arc::clone(known));
        }
        let plan = CreationPlan {
            partitions: topic.partitions,
            replication_factor: 1,
            config: self.resolved.of(&self.broker, &topic.configs),
        };
        let id = self.unused_id(topic.name, topic.id, &BTreeSet::new());
        let mut records = Vec::new();
        self.record_topic(topic.name, id, &plan, &mut records);
        self.write(records, out);
        let created = self.topics.by_id(id).cloned();
        created.ok_or_else(|| ErrorCode::UnknownServerError.into())
    }

    /// The records of a new topic, in Kafka's order.
    fn record_topic(&self, name: &str, id: Uuid, plan: &CreationPlan, records: &mut Vec<Record>) {
        let name: Arc<str> = name.into();
        records.push(Record::Topic {
            name: Arc::clone(&name),
            id,
        });
        let overrides = &plan.config.overrides;
        if !overrides.is_empty() {
            let resource = Resource {
                kind: ResourceKind::Topic,
                name: Arc::clone(&name),
            };
            records.extend(config_records(resource, overrides));
        }
        if overrides.get(MIN_INSYNC_REPLICAS).is_some() && self.has_eligible_leaders() {
            records.push(Record::ClearElr { topic: name });
        }
        let partitions = i32::try_from(plan.partitions).unwrap_or(i32::MAX);
        records.push(Record::Partitions {
            topic: id,
            numbers: 0..partitions,
            place: Place::new(self.places.here()),
        });
    }

    fn plan_topic(&mut self, topic: &CreateTopic) -> Result<CreationPlan, Refusal> {
        if topic.name == names::CLUSTER_METADATA {
            return Err(Refusal::new(
                ErrorCode::InvalidRequest,
                format!(
                    "'{}' is the cluster's own log and cannot be created.",
                    topic.name
                ),
            ));
        }
        if self.topics.by_name(&topic.name).is_some() {
            return Err(Refusal::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{}' already exists.", topic.name),
            ));
        }
        names::validate_topic_name(&topic.name)?;
        if let Some(other) = self.topics.colliding_name(&topic.name) {
            return Err(Refusal::new(
                ErrorCode::InvalidTopicException,
                format!(
                    "Topic '{}' collides with '{other}': '.' and '_' are the same in metric names.",
                    topic.name
                ),
            ));
        }
        let pairs = topic
            .configs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()));
        let overrides = Overrides::parse(Scope::Topic, pairs)?;
        validate_topic(&self.broker, &overrides)?;
        let (partitions, replication_factor) = match topic.assignments.is_empty() {
            true => self.chosen_counts(topic)?,
            false => self.assigned_counts(topic)?,
        };
        Ok(CreationPlan {
            partitions,
            replication_factor,
            config: self.resolved.of(&self.broker, &overrides),
        })
    }

    /// The id that the name stands for, where ids come from names; else this one, or one made from it if it is
    /// reserved or in use.
    fn unused_id(&self, name: &str, mut id: Uuid, planned: &BTreeSet<Uuid>) -> Uuid {
        let is_free = |id: &Uuid| {
            let is_used = self.topics.by_id(*id).is_some() || planned.contains(id);
            !names::is_reserved_id(*id) && !is_used
        };
        let by_name = self.options.topic_ids.as_ref();
        let by_name = by_name.and_then(|ids| lock(ids).of(name));
        if let Some(id) = by_name.filter(is_free) {
            return id;
        }
        while !is_free(&id) {
            id = stirred(id);
        }
        id
    }

    fn chosen_counts(&self, topic: &CreateTopic) -> Result<(u32, i16), Refusal> {
        let settings = self.broker.settings();
        if topic.replication_factor == 0 || topic.replication_factor < -1 {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                format!(
                    "Replication factor {} is not valid: expected at least 1, or -1 for the default.",
                    topic.replication_factor
                ),
            ));
        }
        let partitions = match topic.partitions {
            -1 => settings.num_partitions,
            asked => asked,
        };
        let partitions = match u32::try_from(partitions) {
            Ok(partitions) if partitions > 0 => partitions,
            _ => {
                return Err(Refusal::new(
                    ErrorCode::InvalidPartitions,
                    format!(
                        "{} partitions are not valid: expected at least 1, or -1 for the default.",
                        topic.partitions
                    ),
                ));
            }
        };
        let wanted = match topic.replication_factor {
            -1 => settings.default_replication_factor,
            asked => i32::from(asked),
        };
        let nodes = i32::try_from(self.options.nodes.len()).unwrap_or(i32::MAX);
        if wanted > nodes && self.broker.is_strict() {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                format!("Replication factor {wanted} needs {wanted} brokers, there are {nodes}."),
            ));
        }
        let replication_factor = i16::try_from(wanted.clamp(1, nodes.max(1))).unwrap_or(i16::MAX);
        Ok((partitions, replication_factor))
    }

    fn assigned_counts(&self, topic: &CreateTopic) -> Result<(u32, i16), Refusal> {
        let both = |what| {
            Refusal::new(
                ErrorCode::InvalidRequest,
                format!("With replicas assigned by hand, {what} must be -1."),
            )
        };
        if topic.replication_factor != -1 {
            return Err(both("the replication factor"));
        }
        if topic.partitions != -1 {
            return Err(both("the number of partitions"));
        }
        let mut numbers = BTreeSet::new();
        let mut replicas = None;
        for assignment in &topic.assignments {
            if !numbers.insert(assignment.partition) {
                return Err(bad_assignment(format!(
                    "Partition {} is assigned more than once.",
                    assignment.partition
                )));
            }
            check_brokers(&assignment.brokers, replicas, &self.options.nodes)?;
            replicas = Some(assignment.brokers.len());
        }
        let consecutive = (0..)
            .zip(&numbers)
            .all(|(expected, n): (i32, _)| expected == *n);
        if !consecutive {
            return Err(bad_assignment(
                "The assigned partitions must be numbered from 0 without gaps.".to_owned(),
            ));
        }
        let partitions = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let factor = i16::try_from(replicas.unwrap_or(1)).unwrap_or(i16::MAX);
        Ok((partitions, factor))
    }
}

/// The records that set all of these values.
pub(super) fn config_records(
    resource: Resource,
    values: &Overrides,
) -> impl Iterator<Item = Record> {
    values.iter().map(move |(name, value)| Record::Config {
        resource: resource.clone(),
        name: Cow::Owned(name.to_owned()),
        value: Some(value.into()),
    })
}

struct CreationPlan {
    partitions: u32,
    replication_factor: i16,
    config: Arc<TopicConfig>,
}

impl CreationPlan {
    fn created(self, id: Uuid) -> Created {
        Created {
            id,
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            config: self.config,
        }
    }
}

/// Another id, as random as the first (SplitMix64 over each half).
fn stirred(id: Uuid) -> Uuid {
    let number = u128::from_be_bytes(id.0).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let stir = |half: u64| {
        let half = (half ^ (half >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let half = (half ^ (half >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        half ^ (half >> 31)
    };
    let (high, low) = ((number >> 64) as u64, number as u64);
    let (high, low) = (stir(high.wrapping_add(low)), stir(low));
    Uuid(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
}

pub(super) fn too_many_partitions(asked: usize) -> Refusal {
    Refusal::new(
        ErrorCode::PolicyViolation,
        format!(
            "{asked} partitions in one request, at most {PARTITIONS_PER_REQUEST_MAX} are allowed."
        ),
    )
}

fn asked_partitions(topic: &CreateTopic, default: i32) -> usize {
    if !topic.assignments.is_empty() {
        return topic.assignments.len();
    }
    let asked = match topic.partitions {
        -1 => default,
        asked => asked,
    };
    usize::try_from(asked).unwrap_or(0)
}

pub(super) fn bad_assignment(why: String) -> Refusal {
    Refusal::new(ErrorCode::InvalidReplicaAssignment, why)
}

/// Refuses replicas that are none, unknown, doubled, or not as many as elsewhere.
pub(super) fn check_brokers(
    brokers: &[i32],
    replicas: Option<usize>,
    nodes: &[i32],
) -> Result<(), Refusal> {
    if brokers.is_empty() {
        return Err(bad_assignment("A partition needs a replica.".to_owned()));
    }
    if let Some(unknown) = brokers.iter().find(|broker| !nodes.contains(broker)) {
        return Err(bad_assignment(format!("There is no broker {unknown}.")));
    }
    let different: BTreeSet<_> = brokers.iter().collect();
    if different.len() != brokers.len() {
        return Err(bad_assignment(
            "A broker can hold a partition only once.".to_owned(),
        ));
    }
    match replicas {
        Some(replicas) if replicas != brokers.len() => Err(bad_assignment(format!(
            "All partitions need the same number of replicas: {} here, {replicas} elsewhere.",
            brokers.len()
        ))),
        _ => Ok(()),
    }
}
