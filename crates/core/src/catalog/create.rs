//! CreateTopics: what may be created, and with what.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustka_wire::codec::Uuid;

use super::{Assignment, Catalog, Cluster, Outcome, PartitionSeed, Topic, names_given_twice};
use crate::config::{BrokerConfig, Overrides, Scope, TopicConfig, validate_topic};
use crate::error::{ErrorCode, Refusal};
use crate::names;

/// Partitions that one CreateTopics or CreatePartitions request may make.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// A topic to create. The numbers are those of the request: -1 asks for the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopic {
    /// Its name.
    pub name: String,
    /// The id it is to have, if it must not be any. One that cannot be used is replaced by another.
    pub id: Option<Uuid>,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i16,
    /// Replicas chosen by the client; empty when the broker chooses.
    pub assignments: Vec<Assignment>,
    /// Its configs; null values are refused.
    pub configs: Vec<(String, Option<String>)>,
}

impl CreateTopic {
    /// A topic as auto-creation makes it: everything by default.
    pub fn by_default(name: impl Into<String>) -> Self {
        CreateTopic {
            name: name.into(),
            id: None,
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }
}

/// Topics to create with one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<CreateTopic>,
    /// Whether to say what would happen, and leave it at that.
    pub validate_only: bool,
}

/// A topic that was created, or would be.
#[derive(Clone, Debug)]
pub struct Created<P> {
    /// Its id; if it was only validated, one that it could get.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: u32,
    /// Replicas of each.
    pub replication_factor: i16,
    /// Its configs, as they take effect.
    pub config: Arc<TopicConfig>,
    /// The topic; none if it was only validated.
    pub topic: Option<Arc<Topic<P>>>,
}

impl<P: Clone> Catalog<P> {
    /// Creates topics, each succeeding or failing alone. Fails as a whole only when the request asks for too much.
    ///
    /// Names given twice come once, at the end, refused. `new_id` gives random ids; a reserved or used one is passed over.
    pub fn create_topics(
        &mut self,
        request: &CreateTopics,
        cluster: Cluster<'_>,
        mut new_id: impl FnMut() -> Uuid,
        mut make: impl FnMut(PartitionSeed<'_>) -> P,
    ) -> Result<Vec<Outcome<Created<P>>>, Refusal> {
        let twice = names_given_twice(request.topics.iter().map(|topic| topic.name.as_str()));
        let once = || {
            let topics = request.topics.iter();
            topics.filter(|topic| !twice.contains(topic.name.as_str()))
        };
        let default_partitions = cluster.broker.settings().num_partitions;
        let asked: usize = once()
            .map(|topic| asked_partitions(topic, default_partitions))
            .fold(0, usize::saturating_add);
        if asked > PARTITIONS_PER_REQUEST_MAX {
            return Err(too_many_partitions(asked));
        }
        // All are checked before the first is created: names of one request do not collide with each other, as in Kafka.
        let plans: Vec<_> = once()
            .map(|topic| (topic, self.plan_topic(topic, cluster)))
            .collect();
        let mut outcomes = Vec::with_capacity(request.topics.len());
        for (topic, plan) in plans {
            let result = plan.map(|plan| {
                let wanted = topic.id.filter(|id| self.is_free(*id));
                let id = wanted.unwrap_or_else(|| self.unused_id(&mut new_id));
                match request.validate_only {
                    true => plan.validated(id),
                    false => self.create_topic(&topic.name, id, plan, &mut make),
                }
            });
            outcomes.push(Outcome {
                name: topic.name.as_str().into(),
                result,
            });
        }
        outcomes.extend(twice.into_iter().map(|name| Outcome {
            name: name.into(),
            result: Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "The request names this topic more than once.",
            )),
        }));
        Ok(outcomes)
    }

    /// Creates one of the broker's own topics, or puts a topic back that is known from before.
    pub fn restore_topic(
        &mut self,
        name: &str,
        id: Uuid,
        partitions: u32,
        overrides: Overrides,
        broker: &BrokerConfig,
        mut make: impl FnMut(PartitionSeed<'_>) -> P,
    ) -> Arc<Topic<P>> {
        let config = self.shared_config(broker, overrides);
        let plan = Plan {
            partitions,
            replication_factor: 1,
            config,
        };
        self.build(name, id, &plan, &mut make)
    }

    fn plan_topic(&mut self, topic: &CreateTopic, cluster: Cluster<'_>) -> Result<Plan, Refusal> {
        if topic.name == names::CLUSTER_METADATA {
            return Err(Refusal::new(
                ErrorCode::InvalidRequest,
                format!(
                    "'{}' is the cluster's own log and cannot be created.",
                    topic.name
                ),
            ));
        }
        if self.by_name(&topic.name).is_some() {
            return Err(Refusal::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{}' already exists.", topic.name),
            ));
        }
        names::validate_topic_name(&topic.name)?;
        if let Some(other) = self.colliding_name(&topic.name) {
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
        validate_topic(cluster.broker, &overrides)?;
        let (partitions, replication_factor) = match topic.assignments.is_empty() {
            true => chosen_counts(topic, cluster)?,
            false => assigned_counts(topic, cluster)?,
        };
        Ok(Plan {
            partitions,
            replication_factor,
            config: self.shared_config(cluster.broker, overrides),
        })
    }

    fn create_topic(
        &mut self,
        name: &str,
        id: Uuid,
        plan: Plan,
        make: &mut impl FnMut(PartitionSeed<'_>) -> P,
    ) -> Created<P> {
        let topic = self.build(name, id, &plan, make);
        Created {
            topic: Some(topic),
            ..plan.validated(id)
        }
    }

    fn build(
        &mut self,
        name: &str,
        id: Uuid,
        plan: &Plan,
        make: &mut impl FnMut(PartitionSeed<'_>) -> P,
    ) -> Arc<Topic<P>> {
        let name: Arc<str> = name.into();
        let seed = |partition| PartitionSeed {
            id,
            name: &name,
            partition,
            config: &plan.config,
        };
        let partitions = (0..plan.partitions).map(|p| make(seed(p))).collect();
        self.put(Topic {
            id,
            internal: names::is_internal(&name),
            config: Arc::clone(&plan.config),
            partitions,
            name,
        })
    }

    fn unused_id(&self, new_id: &mut impl FnMut() -> Uuid) -> Uuid {
        loop {
            let id = new_id();
            if self.is_free(id) {
                return id;
            }
        }
    }

    fn is_free(&self, id: Uuid) -> bool {
        !names::is_reserved_id(id) && !self.by_id.contains_key(&id)
    }
}

struct Plan {
    partitions: u32,
    replication_factor: i16,
    config: Arc<TopicConfig>,
}

impl Plan {
    fn validated<P>(self, id: Uuid) -> Created<P> {
        Created {
            id,
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            config: self.config,
            topic: None,
        }
    }
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

fn chosen_counts(topic: &CreateTopic, cluster: Cluster<'_>) -> Result<(u32, i16), Refusal> {
    let settings = cluster.broker.settings();
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
    let nodes = i32::try_from(cluster.nodes.len()).unwrap_or(i32::MAX);
    if wanted > nodes && cluster.broker.is_strict() {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicationFactor,
            format!("Replication factor {wanted} needs {wanted} brokers, there are {nodes}."),
        ));
    }
    let replication_factor = i16::try_from(wanted.clamp(1, nodes.max(1))).unwrap_or(i16::MAX);
    Ok((partitions, replication_factor))
}

fn assigned_counts(topic: &CreateTopic, cluster: Cluster<'_>) -> Result<(u32, i16), Refusal> {
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
        check_brokers(&assignment.brokers, replicas, cluster.nodes)?;
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
