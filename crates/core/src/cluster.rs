//! What all brokers of a cluster agree on: its topics and where their partitions are, configs, levels of features,
//! blocks of producer ids. One machine, whose journal is `__cluster_metadata` in Kafka's own records.
//!
//! A command is decided on what has been decided so far, and written as one entry. Others see it once it is durable:
//! then `Change`s are told, in order, before the answer leaves. So whoever publishes them shows nothing that could be
//! lost. Configs are those of `crate::config`; the index of topics is `crate::catalog`.

pub mod command;
mod configs;
mod create;
mod delete;
mod elect;
pub mod features;
mod image;
mod partitions;
pub mod place;
pub mod records;
mod replay;
pub mod resource;
mod returning;
mod security;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod weight;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use rustka_wire::Uuid;
use rustka_wire::partition_change_record::PartitionChangeRecord;

use crate::account::Account;
use crate::catalog::Catalog;
use crate::config::{BrokerConfig, DynamicLayer, Overrides, ResolvedConfigs};
use crate::error::{ErrorCode, Refusal};
use crate::machine::{self, Entry, Held, Machine, Ticket, Unsettled};
use crate::security::facts::Facts;
use crate::security::quota::mutation::Allowance;
use crate::security::tokens::Token;
use crate::sync::Rank;
use crate::time::Now;
use crate::topic_ids::TopicIds;

use command::{Change, Command, Everything, Reply};
use image::Image;
use place::{Place, Places, Replicas};
use records::{Record, Together};
use replay::Growing;
use resource::{Resource, ResourceKind};

pub use create::PARTITIONS_PER_REQUEST_MAX;
pub use features::FeatureLevels;

/// Producer ids that are handed out with one record.
pub const PRODUCER_IDS_PER_BLOCK: i64 = 1_000;

/// Everything one call asks for.
pub type Effects = machine::Effects<Cluster>;

/// How the cluster is made up; from the broker's configuration.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// This node.
    pub node_id: i32,
    /// The ids of the brokers; at least one.
    pub nodes: Vec<i32>,
    /// Where this node keeps its partitions.
    pub directory: Uuid,
    /// Where producer ids begin if none is on record.
    pub first_producer_id: i64,
    /// The features there are.
    pub features: &'static [FeatureLevels],
    /// What a new cluster begins with, where its directory was formatted with something.
    pub bootstrap: Arc<[Record]>,
    /// Where ids come from names: which. They outlive the machine.
    pub topic_ids: Option<Arc<Mutex<TopicIds>>>,
    /// What topics, users and rights take, and how much that may be.
    pub account: Arc<Account>,
}

/// How controllers agree, kept for Kafka.
#[derive(Debug, Default)]
struct Quorum {
    /// The level of `kraft.version`.
    version: Option<i16>,
    /// Who votes, as their record says it.
    voters: Option<Box<[u8]>>,
}

/// A cluster of one node.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    broker: Arc<BrokerConfig>,
    topics: Catalog<Place, Arc<Overrides>>,
    /// What follows for topics from what is set for them.
    resolved: ResolvedConfigs,
    /// What is set for most topics: nothing.
    unset: Arc<Overrides>,
    /// What is set for brokers, groups and client metrics.
    configs: BTreeMap<Resource, Arc<Overrides>>,
    /// Configs on record that this version does not know, or knows to be wrong: kept for those that do.
    unknown_configs: BTreeMap<(Resource, Box<str>), Box<str>>,
    features: BTreeMap<Arc<str>, i16>,
    next_producer_id: Option<i64>,
    /// How controllers agree.
    quorum: Quorum,
    /// Users and rights.
    facts: Facts,
    /// What the command at hand may create and delete, if that is limited.
    allowance: Option<Arc<Allowance>>,
    places: Places,
    /// The topic whose records are just being applied.
    growing: Option<Growing>,
    /// Records that hold once the row of them has ended.
    together: Option<Vec<Record>>,
    /// Whether anything is on record.
    is_blank: bool,
    position: u64,
    unsettled: Unsettled<Image, Vec<Change>>,
}

impl Cluster {
    /// A cluster with nothing on record; `broker` has what was given at start-up.
    pub fn new(options: ClusterOptions, broker: BrokerConfig) -> Cluster {
        let places = Places::new(Replicas::on(options.node_id, options.directory));
        Cluster {
            next_producer_id: None,
            places,
            options,
            broker: Arc::new(broker),
            topics: Catalog::new(),
            resolved: ResolvedConfigs::default(),
            unset: Arc::default(),
            configs: BTreeMap::new(),
            unknown_configs: BTreeMap::new(),
            features: BTreeMap::new(),
            quorum: Quorum::default(),
            facts: Facts::default(),
            allowance: None,
            growing: None,
            together: None,
            is_blank: true,
            position: 0,
            unsettled: Unsettled::default(),
        }
    }

    /// The topics, as decided so far.
    pub fn topics(&self) -> &Catalog<Place, Arc<Overrides>> {
        &self.topics
    }

    /// The broker's configs, as decided so far.
    pub fn broker(&self) -> &Arc<BrokerConfig> {
        &self.broker
    }

    /// What is set for a resource that is no topic.
    pub fn configs(&self, resource: &Resource) -> Option<&Arc<Overrides>> {
        self.configs.get(resource)
    }

    /// The level of a feature; 0 for off.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Users and rights, as decided so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The position of the last entry handed out; 0 if there was none.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Writes one entry and makes it true here; others are told once it is durable.
    fn write(&mut self, records: Vec<Record>, out: &mut Effects) {
        if records.is_empty() {
            return;
        }
        let before: Vec<Image> = self.touched(&records);
        for record in &records {
            self.absorb(record);
        }
        self.finish();
        let changes = before.iter().filter_map(|image| self.change_since(image));
        let changes = changes.collect();
        self.position += 1;
        self.unsettled
            .appended(self.position, before, Some(changes));
        out.entries.push(Entry {
            position: self.position,
            owner: (),
            records,
        });
    }

    fn reply(&self, ticket: Ticket, reply: Reply, out: &mut Effects) {
        out.replies.push(Held {
            ticket,
            owner: Some(()),
            position: self.position,
            reply,
        });
    }

    /// The layer of this broker's configs that a resource is.
    fn layer(&self, resource: &Resource) -> Option<DynamicLayer> {
        if resource.kind != ResourceKind::Broker {
            return None;
        }
        match &*resource.name {
            "" => Some(DynamicLayer::Default),
            name if *name == *self.options.node_id.to_string() => Some(DynamicLayer::Broker),
            _ => None,
        }
    }

    fn allocate_producer_ids(&mut self, out: &mut Effects) -> Result<i64, ErrorCode> {
        let first = self
            .next_producer_id
            .unwrap_or(self.options.first_producer_id);
        let next = first
            .checked_add(PRODUCER_IDS_PER_BLOCK)
            .ok_or(ErrorCode::UnknownServerError)?;
        let record = Record::ProducerIds {
            node_id: self.options.node_id,
            broker_epoch: 0,
            next,
        };
        self.write(vec![record], out);
        Ok(first)
    }

    fn elect(
        &mut self,
        topic: Uuid,
        partition: i32,
        leader: i32,
        out: &mut Effects,
    ) -> Result<(), ErrorCode> {
        let known = self.topics.by_id(topic).ok_or(ErrorCode::UnknownTopicId)?;
        known
            .partition(partition)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let change = PartitionChangeRecord {
            partition_id: partition,
            topic_id: topic,
            leader,
            ..PartitionChangeRecord::default()
        };
        self.write(vec![Record::PartitionChange(Box::new(change))], out);
        Ok(())
    }

    fn decide(&mut self, command: Command, out: &mut Effects) -> Reply {
        match command {
            Command::CreateTopics(request) => Reply::CreateTopics(self.create_topics(request, out)),
            Command::CreateInternal(topic) => {
                Reply::CreateInternal(self.create_internal(topic, out))
            }
            Command::DeleteTopics(topics) => Reply::DeleteTopics(self.delete_topics(&topics, out)),
            Command::CreatePartitions {
                topics,
                validate_only,
            } => Reply::CreatePartitions(self.create_partitions(&topics, validate_only, out)),
            Command::AlterConfigs(changes) => {
                Reply::AlterConfigs(self.alter_configs(&changes, out))
            }
            Command::UpdateFeatures {
                updates,
                validate_only,
            } => Reply::UpdateFeatures(self.update_features(&updates, validate_only, out)),
            Command::AlterUsers(wishes) => Reply::AlterUsers(self.alter_users(&wishes, out)),
            Command::CreateAcls(creations) => Reply::CreateAcls(self.create_acls(creations, out)),
            Command::DeleteAcls(filters) => Reply::DeleteAcls(Ok(self.delete_acls(&filters, out))),
            Command::AlterQuotas {
                wishes,
                validate_only,
            } => Reply::AlterQuotas(self.alter_quotas(&wishes, validate_only, out)),
            Command::CreateToken(asked) => Reply::CreateToken(self.create_token(asked, out)),
            Command::ProlongToken {
                id,
                wish,
                principal,
                lives,
                now_ms,
            } => {
                let prolonged = |token: &Token| token.after(wish, &principal, lives, now_ms);
                Reply::ProlongToken(self.prolong_token(&id, now_ms, prolonged, out))
            }
            Command::ForgetTokens { now_ms } => {
                Reply::ForgetTokens(Ok(self.forget_tokens(now_ms, out)))
            }
            Command::Limited(command, allowance) => {
                self.allowance = Some(allowance);
                let reply = self.decide(*command, out);
                self.allowance = None;
                reply
            }
            Command::AllocateProducerIds => {
                Reply::AllocateProducerIds(self.allocate_producer_ids(out))
            }
            Command::Elect {
                topic,
                partition,
                leader,
            } => Reply::Elect(self.elect(topic, partition, leader, out)),
            Command::ElectLeaders { election, topics } => {
                Reply::ElectLeaders(self.elect_leaders(election, topics, out))
            }
            Command::Return => Reply::Return(self.come_back(out)),
        }
    }
}

impl Machine for Cluster {
    const RANK: Rank = Rank::Cluster;

    type Command = Command;
    type Reply = Reply;
    type Record = Record;
    type Event = Change;
    /// There is one log and one truth: what is decided rests on everything before it.
    type Owner = ();

    fn handle(&mut self, _: Now, ticket: Ticket, command: Command, out: &mut Effects) {
        let reply = self.decide(command, out);
        self.weigh();
        self.reply(ticket, reply, out);
    }

    fn apply(&mut self, record: Record) {
        self.replay(record);
    }

    /// Writes down what a new cluster begins with, if nothing is on record, and tells what there is.
    fn loaded(&mut self, _: Now, out: &mut Effects) {
        let (is_within_row, is_blank) = (self.together.take().is_some(), self.is_blank);
        self.finish();
        self.weigh();
        if is_within_row {
            // What has not ended does not hold, and what comes next is no part of it.
            let why = Some("the controller that began it is gone".into());
            self.write(vec![Record::Together(Together::Abort(why))], out);
        }
        if is_blank {
            self.write(self.first_records(), out);
            return;
        }
        out.events.push(Change::Broker(Arc::clone(&self.broker)));
        let topics = self.topics.topics().cloned().map(Change::Topic);
        out.events.extend(topics);
        for (resource, values) in &self.configs {
            if self.layer(resource).is_none() {
                out.events.push(Change::Configs {
                    resource: resource.clone(),
                    values: Arc::clone(values),
                });
            }
        }
        for (name, level) in &self.features {
            out.events.push(Change::Feature {
                name: Arc::clone(name),
                level: *level,
            });
        }
        out.events.push(Change::SecurityWhole(self.facts.clone()));
        out.events.push(Change::NothingElse(Everything {
            topics: self.topics.topics().map(|topic| topic.id).collect(),
            resources: self.configs.keys().cloned().collect(),
            features: self.features.keys().cloned().collect(),
        }));
    }

    fn committed(
        &mut self,
        _: Now,
        position: u64,
        result: Result<(), ErrorCode>,
        out: &mut Effects,
    ) {
        match result {
            Ok(()) => out
                .events
                .extend(self.unsettled.durable(position).into_iter().flatten()),
            Err(_) => {
                for image in self.unsettled.lost(position) {
                    self.put_back(image);
                }
                self.finish();
                self.weigh();
                out.events.push(Change::Lost);
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    fn live(&self) -> impl Iterator<Item = Record> {
        self.everything()
    }

    fn refuse(reply: Reply) -> Reply {
        let refusal = || {
            let message = "The change could not be written to the log of the cluster.";
            Refusal::new(ErrorCode::KafkaStorageError, message)
        };
        match reply {
            Reply::CreateTopics(_) => Reply::CreateTopics(Err(refusal())),
            Reply::CreateInternal(_) => Reply::CreateInternal(Err(refusal())),
            Reply::DeleteTopics(_) => Reply::DeleteTopics(Err(refusal())),
            Reply::CreatePartitions(mut outcomes) => {
                for outcome in &mut outcomes {
                    outcome.result = Err(refusal());
                }
                Reply::CreatePartitions(outcomes)
            }
            Reply::AlterConfigs(mut results) => {
                results.fill_with(|| Err(refusal()));
                Reply::AlterConfigs(results)
            }
            Reply::UpdateFeatures(_) => Reply::UpdateFeatures(Err(refusal())),
            Reply::AlterUsers(mut outcomes) => {
                for (_, outcome) in &mut outcomes {
                    *outcome = Err(refusal());
                }
                Reply::AlterUsers(outcomes)
            }
            Reply::CreateAcls(mut results) => {
                results.fill_with(|| Err(refusal()));
                Reply::CreateAcls(results)
            }
            Reply::DeleteAcls(_) => Reply::DeleteAcls(Err(refusal())),
            Reply::CreateToken(_) => Reply::CreateToken(Err(ErrorCode::KafkaStorageError)),
            Reply::ProlongToken(_) => Reply::ProlongToken(Err(ErrorCode::KafkaStorageError)),
            Reply::ForgetTokens(_) => Reply::ForgetTokens(Err(ErrorCode::KafkaStorageError)),
            Reply::AlterQuotas(mut outcomes) => {
                for (_, outcome) in &mut outcomes {
                    *outcome = Err(refusal());
                }
                Reply::AlterQuotas(outcomes)
            }
            Reply::AllocateProducerIds(_) => {
                Reply::AllocateProducerIds(Err(ErrorCode::KafkaStorageError))
            }
            Reply::ElectLeaders(mut topics) => {
                let outcomes = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                outcomes.for_each(|(_, outcome)| *outcome = Err(refusal()));
                Reply::ElectLeaders(topics)
            }
            Reply::Elect(_) => Reply::Elect(Err(ErrorCode::KafkaStorageError)),
            Reply::Return(_) => Reply::Return(Err(refusal())),
        }
    }
}

/// The names that come more than once, each once, in order.
fn names_given_twice<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut sorted: Vec<&str> = names.collect();
    sorted.sort_unstable();
    let pairs = sorted.windows(2).filter(|pair| pair[0] == pair[1]);
    pairs.map(|pair| pair[0]).collect()
}
