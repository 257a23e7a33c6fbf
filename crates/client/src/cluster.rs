//! What a client knows of its cluster: brokers, topics and who leads what; asked when needed, forgotten when wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sync::lock;
use rustka_core::error::ErrorCode;
use rustka_wire::Uuid;
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use rustka_wire::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use crate::channel::Channel;
use crate::client::{Client, To};
use crate::dial::Address;
use crate::error::{Error, Problem, Reason, Result};

/// Topics whose leaders are remembered; beyond that all are forgotten and asked again.
const TOPICS_MAX: usize = 10_000;

/// What a coordinator is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinated {
    /// A group of consumers.
    Group,
    /// A transactional producer.
    Transaction,
}

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    brokers: BTreeMap<i32, Address>,
    topics: BTreeMap<String, Arc<Topic>>,
}

/// A topic and who leads its partitions.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero where the broker knows no ids.
    pub id: Uuid,
    /// Whether it is one of the cluster's own.
    pub is_internal: bool,
    /// Its partitions, by index.
    pub partitions: BTreeMap<i32, MetadataResponsePartition>,
}

impl Topic {
    fn of(told: MetadataResponseTopic<'_>) -> Topic {
        let partitions = told.partitions.into_iter();
        Topic {
            name: told.name.unwrap_or_default().into_owned(),
            id: told.topic_id,
            is_internal: told.is_internal,
            partitions: partitions.map(|p| (p.partition_index, p)).collect(),
        }
    }
}

impl Cluster {
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.brokers.values().cloned().collect()
    }

    fn learn_brokers(&mut self, brokers: &[MetadataResponseBroker<'_>]) {
        if !brokers.is_empty() {
            let known = brokers.iter().filter_map(|broker| {
                let port = u16::try_from(broker.port).ok()?;
                Some((broker.node_id, Address::new(&*broker.host, port)))
            });
            self.brokers = known.collect();
        }
    }

    fn learn_topic(&mut self, topic: &Arc<Topic>) {
        if self.topics.len() >= TOPICS_MAX {
            self.topics.clear();
        }
        self.topics.insert(topic.name.clone(), topic.clone());
    }
}

/// Refuses with this code, unless it is none.
pub(crate) fn check(about: &str, code: i16, message: Option<&str>) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Reason::Refused {
            about: about.to_owned(),
            code,
            message: message.map(str::to_owned),
        }
        .into()),
    }
}

/// The answer to `doing` leaves out what was asked for.
pub(crate) fn missing(doing: &'static str) -> Error {
    let problem = Problem::Missing;
    Reason::Malformed { doing, problem }.into()
}

impl Client {
    /// Brokers, the cluster's id and its controller, and these topics, or all; none of them is created by that.
    pub async fn metadata(&self, topics: Option<&[&str]>) -> Result<MetadataResponse<'static>> {
        self.ask_metadata(topics, false).await
    }

    async fn ask_metadata(
        &self,
        topics: Option<&[&str]>,
        create: bool,
    ) -> Result<MetadataResponse<'static>> {
        let asked = topics.map(|topics| topics.iter().map(|name| named(name)).collect());
        let request = MetadataRequest {
            topics: asked,
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        // Before version 4 every question creates.
        let answer = self.call_at(To::Any, (4, i16::MAX), &request).await?;
        let told = answer.body()?.into_owned();
        check("Metadata", told.error_code, None)?;
        lock(&self.0.cluster).learn_brokers(&told.brokers);
        Ok(told)
    }

    /// A topic, as it was when last asked for. One that does not exist is an error.
    pub async fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        self.find_topic(name, false).await
    }

    /// A topic, which the cluster may create for the question.
    pub async fn topic_or_create(&self, name: &str) -> Result<Arc<Topic>> {
        self.find_topic(name, true).await
    }

    async fn find_topic(&self, name: &str, create: bool) -> Result<Arc<Topic>> {
        let known = lock(&self.0.cluster).topics.get(name).cloned();
        if let Some(topic) = known {
            return Ok(topic);
        }
        let mut patience = self.patience();
        loop {
            let told = self.ask_metadata(Some(&[name]), create).await?;
            let mut topics = told.topics.into_iter();
            let topic = topics.find(|topic| topic.name.as_deref() == Some(name));
            let topic = topic.ok_or_else(|| missing("Metadata"))?;
            let error = match check(&format!("topic {name}"), topic.error_code, None) {
                Ok(()) => {
                    let topic = Arc::new(Topic::of(topic));
                    lock(&self.0.cluster).learn_topic(&topic);
                    return Ok(topic);
                }
                Err(error) => error,
            };
            // A topic that is being created is unknown for a moment; another will not come by waiting.
            if !create && error.code() == Some(ErrorCode::UnknownTopicOrPartition) {
                return Err(error);
            }
            patience.again(error).await?;
        }
    }

    /// Asks for the topic anew next time: its leader is another, or it is gone.
    pub fn forget_topic(&self, name: &str) {
        lock(&self.0.cluster).topics.remove(name);
    }

    /// The leader of a partition.
    pub fn leader(&self, topic: &Topic, partition: i32) -> Result<i32> {
        let about = format!("partition {}-{partition}", topic.name);
        let refuse = |code: ErrorCode| Err(check_code(&about, code));
        match topic.partitions.get(&partition) {
            None => {
                // It may be new.
                self.forget_topic(&topic.name);
                refuse(ErrorCode::UnknownTopicOrPartition)
            }
            Some(partition) if partition.leader_id < 0 => {
                self.forget_topic(&topic.name);
                refuse(ErrorCode::LeaderNotAvailable)
            }
            Some(partition) => Ok(partition.leader_id),
        }
    }

    /// Where a broker listens.
    pub async fn address(&self, node: i32) -> Result<Address> {
        let known = lock(&self.0.cluster).brokers.get(&node).cloned();
        if let Some(address) = known {
            return Ok(address);
        }
        self.metadata(Some(&[])).await?;
        let known = lock(&self.0.cluster).brokers.get(&node).cloned();
        known.ok_or_else(|| check_code(&format!("broker {node}"), ErrorCode::LeaderNotAvailable))
    }

    /// The shared connection to a broker.
    pub async fn node(&self, node: i32) -> Result<Channel> {
        let address = self.address(node).await?;
        let reached = self.channel(&address).await;
        reached.inspect_err(|_| self.forget_node(node))
    }

    /// Asks for the broker's address anew next time: it may have moved.
    pub fn forget_node(&self, node: i32) {
        lock(&self.0.cluster).brokers.remove(&node);
    }

    /// The id of the broker that listens there; none if there is no such broker.
    pub async fn node_at(&self, address: &Address) -> Result<Option<i32>> {
        let brokers = self.metadata(Some(&[])).await?.brokers;
        let found = brokers
            .iter()
            .find(|broker| *broker.host == *address.host && broker.port == i32::from(address.port));
        Ok(found.map(|broker| broker.node_id))
    }

    /// Where the coordinator of this group or producer listens.
    pub async fn coordinator(&self, of: Coordinated, key: &str) -> Result<Address> {
        let (kind, name) = match of {
            Coordinated::Group => (0, "group"),
            Coordinated::Transaction => (1, "transactional id"),
        };
        let request = FindCoordinatorRequest {
            key: key.into(),
            key_type: kind,
            coordinator_keys: vec![key.into()],
        };
        let about = format!("{name} {key}");
        let mut patience = self.patience();
        loop {
            // Versions before 1 know no kinds.
            let answer = self.call_at(To::Any, (1, i16::MAX), &request).await?;
            let told = answer.body()?;
            // From version 4 on a list of keys is asked for, and answered.
            let (code, message, host, port) = match told.coordinators.first() {
                Some(one) => (one.error_code, &one.error_message, &one.host, one.port),
                None if answer.version() >= 4 => return Err(missing("FindCoordinator")),
                None => (told.error_code, &told.error_message, &told.host, told.port),
            };
            match check(&about, code, message.as_deref()) {
                Ok(()) => {
                    let port = u16::try_from(port).map_err(|_| missing("FindCoordinator"))?;
                    return Ok(Address::new(&**host, port));
                }
                Err(error) => patience.again(error).await?,
            }
        }
    }
}

fn named(name: &str) -> MetadataRequestTopic<'_> {
    MetadataRequestTopic {
        topic_id: Uuid::ZERO,
        name: Some(name.into()),
    }
}

fn check_code(about: &str, code: ErrorCode) -> Error {
    Reason::Refused {
        about: about.to_owned(),
        code: code.code(),
        message: None,
    }
    .into()
}
