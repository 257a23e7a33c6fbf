//! What the cluster can be asked and what it answers, free of API versions.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustka_wire::Uuid;

use super::place::Place;
use super::resource::Resource;
pub use super::security::UserOutcome;
use crate::catalog::Topic;
use crate::config::{
    Alteration, BrokerConfig, Overrides, TopicConfig, check_alterations, check_replacements,
};
use crate::error::{ErrorCode, Refusal};
use crate::security::acl::Acl;
use crate::security::facts::{Fact, Facts};
use crate::security::filter::AclFilter;
use crate::security::quota::alter::{QuotaOutcome, QuotaWish};
use crate::security::quota::mutation::Allowance;
use crate::security::tokens::{CreateToken, Prolonging, Token, TokenLives};
use crate::security::users::Wish;

/// A topic as the cluster knows it.
pub type ClusterTopic = Topic<Place, Arc<Overrides>>;

/// One request to the cluster.
#[derive(Clone, Debug)]
pub enum Command {
    /// CreateTopics, and what clients create by naming it.
    CreateTopics(CreateTopics),
    /// One of the broker's own topics, unless it is there.
    CreateInternal(CreateInternal),
    /// DeleteTopics.
    DeleteTopics(Vec<DeleteTopic>),
    /// CreatePartitions.
    CreatePartitions {
        /// Which topics are to grow.
        topics: Vec<AddPartitions>,
        /// Whether to say what would happen, and leave it at that.
        validate_only: bool,
    },
    /// AlterConfigs and IncrementalAlterConfigs.
    AlterConfigs(Vec<AlterConfigs>),
    /// UpdateFeatures.
    UpdateFeatures {
        /// One after the other, all or none.
        updates: Vec<UpdateFeature>,
        /// Whether to say what would happen, and leave it at that.
        validate_only: bool,
    },
    /// AlterUserScramCredentials.
    AlterUsers(Vec<Wish>),
    /// CreateAcls.
    CreateAcls(Vec<CreateAcl>),
    /// DeleteAcls.
    DeleteAcls(Vec<AclFilter>),
    /// AlterClientQuotas.
    AlterQuotas {
        /// One after the other, each whole or not at all.
        wishes: Vec<QuotaWish>,
        /// Whether to say what would happen, and leave it at that.
        validate_only: bool,
    },
    /// CreateDelegationToken.
    CreateToken(CreateToken),
    /// RenewDelegationToken and ExpireDelegationToken.
    ProlongToken {
        /// Which token.
        id: Box<str>,
        /// What is to become of it.
        wish: Prolonging,
        /// Who wants that.
        principal: Box<str>,
        /// The rules.
        lives: TokenLives,
        /// The wall clock's time.
        now_ms: i64,
    },
    /// Tokens that have expired are forgotten.
    ForgetTokens {
        /// The wall clock's time.
        now_ms: i64,
    },
    /// The same command, by somebody who may create and delete only so many partitions.
    Limited(Box<Command>, Arc<Allowance>),
    /// A block of producer ids.
    AllocateProducerIds,
    /// Another node leads a partition, or none (-1).
    Elect {
        /// The topic.
        topic: Uuid,
        /// The partition.
        partition: i32,
        /// The node.
        leader: i32,
    },
    /// ElectLeaders.
    ElectLeaders {
        /// Of which kind.
        election: Election,
        /// In which partitions of which topics; `None` for all.
        topics: Option<Vec<(Box<str>, Vec<i32>)>>,
    },
    /// This node has come back with a log of an earlier life: it leads what it holds, under new epochs.
    Return,
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To CreateTopics: one result per topic, or a refusal of all.
    CreateTopics(Result<Vec<TopicOutcome<Created>>, Refusal>),
    /// To CreateInternal: the topic as it is now.
    CreateInternal(Result<Arc<ClusterTopic>, Refusal>),
    /// To DeleteTopics: one result per topic, or a refusal of all.
    DeleteTopics(Result<Vec<Deleted>, Refusal>),
    /// To CreatePartitions: how many each topic has, or would have.
    CreatePartitions(Vec<TopicOutcome<u32>>),
    /// To AlterConfigs, in the order of the command.
    AlterConfigs(Vec<Result<(), Refusal>>),
    /// To UpdateFeatures.
    UpdateFeatures(Result<(), Refusal>),
    /// To AlterUsers: every user once, in the order of their first wish.
    AlterUsers(Vec<UserOutcome>),
    /// To CreateAcls, in the order of the command.
    CreateAcls(Vec<Result<(), Refusal>>),
    /// To DeleteAcls: what each filter meant, or a refusal of all.
    DeleteAcls(Result<Vec<Vec<Arc<Acl>>>, Refusal>),
    /// To AlterQuotas: every entity once, in the order in which they come.
    AlterQuotas(Vec<QuotaOutcome>),
    /// To CreateToken.
    CreateToken(Result<Arc<Token>, ErrorCode>),
    /// To ProlongToken: when it ends now.
    ProlongToken(Result<i64, ErrorCode>),
    /// To ForgetTokens: how many there were.
    ForgetTokens(Result<usize, ErrorCode>),
    /// To AllocateProducerIds: the first id of a block of `PRODUCER_IDS_PER_BLOCK`.
    AllocateProducerIds(Result<i64, ErrorCode>),
    /// To ElectLeaders, in the order of the command.
    ElectLeaders(Vec<ElectedTopic>),
    /// To Elect.
    Elect(Result<(), ErrorCode>),
    /// To Return.
    Return(Result<(), Refusal>),
}

/// Who may become leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first of the replicas, if it is in step.
    Preferred,
    /// Where nobody leads: one that is in step, or else any.
    Unclean,
}

/// What came of an election in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectedTopic {
    /// Its name.
    pub name: Box<str>,
    /// Which of its partitions have a new leader, or why not.
    pub partitions: Vec<(i32, Result<(), Refusal>)>,
}

/// What is different now that a change is durable. Told in the order of the changes, before they are answered.
#[derive(Clone, Debug)]
pub enum Change {
    /// A topic is new, or has other configs, partitions or leaders.
    Topic(Arc<ClusterTopic>),
    /// A topic is gone. This is how it was.
    TopicGone(Arc<ClusterTopic>),
    /// The broker's configs, and with them those of topics that have no value of their own.
    Broker(Arc<BrokerConfig>),
    /// What is set for a group or for client metrics.
    Configs {
        /// Whose.
        resource: Resource,
        /// All of it.
        values: Arc<Overrides>,
    },
    /// A feature is at another level.
    Feature {
        /// Its name.
        name: Arc<str>,
        /// The level; 0 for off.
        level: i16,
    },
    /// Something about users or rights.
    Security(Fact),
    /// All there is about users and rights; what was told before no longer counts.
    SecurityWhole(Facts),
    /// That was all: what was told before and not again is gone.
    NothingElse(Everything),
    /// A change could not be written; it was not made.
    Lost,
}

/// All that there is, by name, besides what is told as a whole.
#[derive(Clone, Debug)]
pub struct Everything {
    /// The topics.
    pub topics: BTreeSet<Uuid>,
    /// What has configs and is neither a topic nor this broker.
    pub resources: BTreeSet<Resource>,
    /// The features that are on.
    pub features: BTreeSet<Arc<str>>,
}

/// A name and what became of it.
#[derive(Clone, Debug)]
pub struct TopicOutcome<T> {
    /// The topic's name as it was given.
    pub name: Box<str>,
    /// The result for this topic alone.
    pub result: Result<T, Refusal>,
}

impl<T> TopicOutcome<T> {
    /// For a name that a request gives more than once.
    pub(super) fn named_twice(name: &str) -> TopicOutcome<T> {
        TopicOutcome {
            name: name.into(),
            result: Err(named_twice()),
        }
    }
}

/// Why nothing is done to a topic that one request names more than once.
pub(super) fn named_twice() -> Refusal {
    let message = "The request names this topic more than once.";
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// The replicas of one partition, as a client wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub partition: i32,
    /// The brokers.
    pub brokers: Vec<i32>,
}

/// A topic to create. The numbers are those of the request: -1 asks for the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopic {
    /// Its name.
    pub name: String,
    /// A random id for it. One that cannot be used is replaced by another.
    pub id: Uuid,
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
    pub fn by_default(name: impl Into<String>, id: Uuid) -> Self {
        CreateTopic {
            name: name.into(),
            id,
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
pub struct Created {
    /// Its id; if it was only validated, one that it could get.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: u32,
    /// Replicas of each.
    pub replication_factor: i16,
    /// Its configs, as they take effect.
    pub config: Arc<TopicConfig>,
}

/// One of the broker's own topics.
#[derive(Clone, Debug)]
pub struct CreateInternal {
    /// Its name.
    pub name: &'static str,
    /// A random id for it.
    pub id: Uuid,
    /// How many partitions.
    pub partitions: u32,
    /// Its configs.
    pub configs: Overrides,
}

/// A topic to delete: by its name, or by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTopic {
    /// The name, if it is given by name.
    pub name: Option<String>,
    /// The id, if it is given by id; else zero.
    pub id: Uuid,
}

/// What became of a topic that was to be deleted.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The name, where it is known.
    pub name: Option<Arc<str>>,
    /// The id, where it is known; else zero.
    pub id: Uuid,
    /// Whether it is gone.
    pub result: Result<(), Refusal>,
}

/// A topic that is to have more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPartitions {
    /// The topic.
    pub name: String,
    /// How many it is to have in all.
    pub count: i32,
    /// The replicas of each new partition, if the client chooses them.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// Changes of what is set for one resource, made whole or not at all.
#[derive(Clone, Debug)]
pub struct AlterConfigs {
    /// Whose.
    pub resource: Resource,
    /// What is to become of them.
    pub change: ConfigChange,
    /// Whether to say what would happen, and leave it at that.
    pub validate_only: bool,
}

/// What is to become of a resource's configs.
#[derive(Clone, Debug)]
pub enum ConfigChange {
    /// These, and nothing that was set before (AlterConfigs).
    Replace(Vec<(String, Option<String>)>),
    /// Each as told, the others as they are (IncrementalAlterConfigs).
    Alter(Vec<Alteration>),
}

impl ConfigChange {
    /// Refuses keys that come twice and values that are missing, whatever the resource.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            ConfigChange::Replace(pairs) => {
                let pairs = pairs.iter();
                let pairs: Vec<_> = pairs.map(|(n, v)| (n.as_str(), v.as_deref())).collect();
                check_replacements(&pairs)
            }
            ConfigChange::Alter(changes) => check_alterations(changes),
        }
    }
}

/// An ACL to create.
#[derive(Clone, Debug)]
pub struct CreateAcl {
    /// A random id for it.
    pub id: Uuid,
    /// What it says, or why it says nothing.
    pub acl: Result<Acl, Refusal>,
}

/// A feature that is to be at another level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateFeature {
    /// Its name.
    pub name: String,
    /// The level.
    pub level: i16,
    /// Which way the client thinks it goes.
    pub direction: Option<Direction>,
}

/// Which way a feature's level may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Up.
    Upgrade,
    /// Down, if nothing is lost by it.
    SafeDowngrade,
    /// Down, whatever is lost by it.
    UnsafeDowngrade,
}

impl Direction {
    /// By the number of an upgrade type in UpdateFeatures.
    pub const fn from_code(code: i8) -> Option<Direction> {
        Some(match code {
            1 => Direction::Upgrade,
            2 => Direction::SafeDowngrade,
            3 => Direction::UnsafeDowngrade,
            _ => return None,
        })
    }
}
