//! What a group shard answers, and its news.

use crate::error::{ErrorCode, Refusal};

use super::GroupShard;
use super::classic::State;
use super::command::{Bytes, Name, TopicId};
use super::consumer::{Beaten, ConsumerDescribed};
use crate::machine;

/// Everything one call asks for.
pub type Effects = machine::Effects<GroupShard>;

/// One atomic batch of records of one group.
pub type Entry = machine::Entry<GroupShard>;

/// An answer that waits for the records of its group.
pub type Held = machine::Held<GroupShard>;

/// An answer, free of API versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To Join.
    Join(Result<Joined, JoinRefused>),
    /// To Sync.
    Sync(Result<Synced, ErrorCode>),
    /// To Heartbeat.
    Heartbeat(ErrorCode),
    /// To Leave: one result per leaver, or an error for all.
    Leave(Result<Vec<Left>, ErrorCode>),
    /// To OffsetCommit: one result per partition, in the order asked.
    OffsetCommit(Vec<TopicResults>),
    /// To TransactionCommit: one result per partition, in the order asked.
    TransactionCommit(Vec<TopicResults>),
    /// To EndTransaction.
    Ended(Result<(), ErrorCode>),
    /// To OffsetFetch.
    OffsetFetch(Result<Vec<FetchedTopic>, ErrorCode>),
    /// To OffsetDelete: one result per partition, or an error for all.
    OffsetDelete(Result<Vec<TopicResults>, ErrorCode>),
    /// To ConsumerBeat.
    ConsumerBeat(Result<Beaten, Refusal>),
    /// To ExpressionsResolved.
    ExpressionsResolved,
    /// To DescribeConsumerGroup.
    DescribeConsumerGroup(Result<ConsumerDescribed, Refusal>),
    /// To DescribeGroup; `Ok(None)`: no such group.
    DescribeGroup(Result<Option<Described>, ErrorCode>),
    /// To ListGroups.
    ListGroups(Vec<Listed>),
    /// To DeleteGroup.
    DeleteGroup(Deleted),
    /// To TopicDeleted.
    TopicDeleted,
}

/// What became of a group that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Whether it was.
    pub code: ErrorCode,
    /// Whether the answer begins with it, wherever it stood in the request: so do consumer groups that have members.
    pub is_told_first: bool,
}

impl From<ErrorCode> for Deleted {
    fn from(code: ErrorCode) -> Deleted {
        Deleted {
            code,
            is_told_first: false,
        }
    }
}

impl Reply {
    /// The same answer, refused: what the client gets when a record it depends on could not be written.
    pub fn failed(self, code: ErrorCode) -> Reply {
        match self {
            Reply::Join(joined) => Reply::Join(Err(JoinRefused {
                code,
                member_id: match joined {
                    Ok(joined) => joined.member_id,
                    Err(refused) => refused.member_id,
                },
            })),
            Reply::Sync(_) => Reply::Sync(Err(code)),
            Reply::Heartbeat(_) => Reply::Heartbeat(code),
            Reply::Leave(_) => Reply::Leave(Err(code)),
            Reply::OffsetCommit(topics) => Reply::OffsetCommit(all_failed(topics, code)),
            Reply::TransactionCommit(topics) => Reply::TransactionCommit(all_failed(topics, code)),
            Reply::Ended(_) => Reply::Ended(Err(code)),
            Reply::OffsetFetch(_) => Reply::OffsetFetch(Err(code)),
            Reply::OffsetDelete(_) => Reply::OffsetDelete(Err(code)),
            Reply::ConsumerBeat(_) => Reply::ConsumerBeat(Err(code.into())),
            Reply::DescribeConsumerGroup(_) => Reply::DescribeConsumerGroup(Err(code.into())),
            Reply::DescribeGroup(_) => Reply::DescribeGroup(Err(code)),
            Reply::DeleteGroup(_) => Reply::DeleteGroup(code.into()),
            whole @ (Reply::ListGroups(_) | Reply::TopicDeleted | Reply::ExpressionsResolved) => {
                whole
            }
        }
    }
}

fn all_failed(mut topics: Vec<TopicResults>, code: ErrorCode) -> Vec<TopicResults> {
    let results = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    results.for_each(|(_, result)| *result = code);
    topics
}

/// A member is in the group's new generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The member.
    pub member_id: Name,
    /// The generation.
    pub generation: i32,
    /// Such as "consumer".
    pub protocol_type: Option<Name>,
    /// The chosen assignor.
    pub protocol_name: Option<Name>,
    /// The leader's member id.
    pub leader: Name,
    /// To a leader that shall not compute a new assignment.
    pub skip_assignment: bool,
    /// All members, to the leader only.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member_id: Name,
    /// Its instance id, if static.
    pub instance_id: Option<Name>,
    /// Its subscription for the chosen assignor.
    pub metadata: Bytes,
}

/// A join that was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// Why.
    pub code: ErrorCode,
    /// The id given out with MEMBER_ID_REQUIRED, else the one of the request.
    pub member_id: Name,
}

/// A member's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Such as "consumer".
    pub protocol_type: Option<Name>,
    /// The chosen assignor.
    pub protocol_name: Option<Name>,
    /// Empty if the leader did not mention the member.
    pub assignment: Bytes,
}

/// What became of one leaver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// As in the request.
    pub member_id: Name,
    /// As in the request.
    pub instance_id: Option<Name>,
    /// Whether it left.
    pub code: ErrorCode,
}

/// Results for the partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicResults {
    /// As in the request.
    pub topic: Name,
    /// As in the request.
    pub topic_id: TopicId,
    /// Partition and result.
    pub partitions: Vec<(i32, ErrorCode)>,
}

/// Committed offsets of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic's name.
    pub topic: Name,
    /// As in the request; when everything was asked for, the id at the time of the commit.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// One committed offset; offset -1, epoch -1 and "" if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition.
    pub partition: i32,
    /// The committed offset.
    pub offset: i64,
    /// The epoch committed with it.
    pub leader_epoch: i32,
    /// The note committed with it.
    pub metadata: Box<str>,
    /// Why it is not told.
    pub code: ErrorCode,
}

/// A group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The state.
    pub state: State,
    /// Such as "consumer"; "" for groups that only hold offsets.
    pub protocol_type: Name,
    /// The chosen assignor while Stable, else "".
    pub protocol_data: Name,
    /// The members; without their bytes unless Stable.
    pub members: Vec<DescribedMember>,
}

/// A member as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member.
    pub member_id: Name,
    /// Its instance id, if static.
    pub instance_id: Option<Name>,
    /// The client's name for itself.
    pub client_id: Name,
    /// Where it joined from.
    pub client_host: Name,
    /// Its subscription.
    pub metadata: Bytes,
    /// Its share.
    pub assignment: Bytes,
}

/// A group as ListGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The group.
    pub group: Name,
    /// Such as "consumer"; "" for groups that only hold offsets.
    pub protocol_type: Name,
    /// The state, by Kafka's name.
    pub state: &'static str,
    /// "classic" or "consumer".
    pub kind: &'static str,
}

/// Why something happened in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A new member joined.
    Joined,
    /// A member joined again with another subscription.
    SubscriptionChanged,
    /// The leader joined again, which is how it asks for a new assignment.
    LeaderRejoined,
    /// A static member came back.
    StaticMemberReturned,
    /// A member said goodbye.
    Left,
    /// A member was silent for its session timeout.
    SessionExpired,
    /// A member did not join again in time.
    NotRejoined,
    /// A member did not fetch its share in time.
    NotSynced,
    /// The group is larger than it may be.
    TooLarge,
    /// Topics that the group wants were created, deleted or enlarged.
    TopicsChanged,
    /// A member did not give partitions up in time.
    NotRevoked,
    /// The last member of the new protocol is gone, and the members that stay assign among themselves again.
    Downgraded,
}

/// What an observer may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A rebalance begins.
    Rebalance {
        /// The group.
        group: Name,
        /// Why.
        cause: Cause,
    },
    /// The group is in another state.
    State {
        /// The group.
        group: Name,
        /// The new state, by Kafka's name.
        state: &'static str,
        /// The generation at that moment.
        generation: i32,
    },
    /// A member asks to be in the next generation. What that causes follows.
    MemberJoins {
        /// The group.
        group: Name,
        /// The member.
        member: Name,
        /// The client's name for itself.
        client_id: Name,
        /// Where it joins from.
        client_host: Name,
    },
    /// A member is gone. What that causes follows.
    MemberGone {
        /// The group.
        group: Name,
        /// The member.
        member: Name,
        /// Why.
        cause: Cause,
    },
    /// A limit was hit; worth one rate-limited line in the log.
    Refused {
        /// The group.
        group: Name,
        /// Where from.
        client_host: Name,
        /// What was answered.
        code: ErrorCode,
        /// Which limit, by the name of its option.
        limit: &'static str,
    },
    /// A record could not be written; the group is back at what is durable.
    RolledBack {
        /// The group.
        group: Name,
    },
}
