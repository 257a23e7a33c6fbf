//! What a group shard can be asked, free of API versions. Handlers translate requests into these.

use std::sync::Arc;

use super::consumer::{Beat, Resolved};
use crate::producers::{Marker, Verification};

/// A name that is shared rather than copied: group, member, topic, protocol.
pub type Name = Arc<str>;

/// Bytes of a client that pass through unread.
pub type Bytes = Arc<[u8]>;

/// A topic id; all zeros means not known.
pub type TopicId = [u8; 16];

/// No topic id.
pub const NO_TOPIC_ID: TopicId = [0; 16];

/// What a name may weigh to fit into a record.
pub(super) const NAME_BYTES_MAX: usize = i16::MAX as usize;

/// One request to a group shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// JoinGroup: parks until the rebalance completes.
    Join(Join),
    /// SyncGroup: parks until the leader's assignment is durable.
    Sync(Sync),
    /// Heartbeat. `GroupShard::heartbeat` does the same without owned strings.
    Heartbeat(Heartbeat),
    /// LeaveGroup.
    Leave(Leave),
    /// OffsetCommit of partitions that exist.
    OffsetCommit(OffsetCommit),
    /// TxnOffsetCommit of partitions that exist, confirmed by the coordinator of its transaction.
    TransactionCommit(TransactionCommit),
    /// A transaction is over, for all groups of this shard.
    EndTransaction {
        /// Producer id, and the marker's epoch.
        producer: (i64, i16),
        /// What the marker says.
        marker: Marker,
    },
    /// OffsetFetch of one group.
    OffsetFetch(OffsetFetch),
    /// OffsetDelete of partitions that exist.
    OffsetDelete(OffsetDelete),
    /// ConsumerGroupHeartbeat.
    ConsumerBeat(Box<Beat>),
    /// Which topics expressions of a consumer group match.
    ExpressionsResolved(Resolved),
    /// ConsumerGroupDescribe, one group.
    DescribeConsumerGroup {
        /// The group to describe.
        group: Name,
    },
    /// DescribeGroups, one group.
    DescribeGroup {
        /// The group to describe.
        group: Name,
    },
    /// ListGroups of this shard.
    ListGroups(ListGroups),
    /// DeleteGroups, one group.
    DeleteGroup {
        /// The group to delete.
        group: Name,
    },
    /// A topic is gone: its committed offsets go too.
    TopicDeleted {
        /// The deleted topic's name.
        topic: Name,
        /// The deleted topic's id; zeros delete by name alone.
        topic_id: TopicId,
    },
}

impl Command {
    /// The group that it may change, if that is one alone.
    pub(super) fn changes(&self) -> Option<&Name> {
        match self {
            Command::Join(join) => Some(&join.group),
            Command::Sync(sync) => Some(&sync.group),
            Command::Leave(leave) => Some(&leave.group),
            Command::OffsetCommit(commit) => Some(&commit.group),
            Command::TransactionCommit(within) => Some(&within.commit.group),
            Command::OffsetDelete(delete) => Some(&delete.group),
            Command::ConsumerBeat(beat) => Some(&beat.group),
            Command::ExpressionsResolved(resolved) => Some(&resolved.group),
            Command::DeleteGroup { group } => Some(group),
            Command::Heartbeat(_)
            | Command::DescribeConsumerGroup { .. }
            | Command::EndTransaction { .. }
            | Command::OffsetFetch(_)
            | Command::DescribeGroup { .. }
            | Command::ListGroups(_)
            | Command::TopicDeleted { .. } => None,
        }
    }
}

/// An assignor a member supports, most wanted first in its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The assignor's name.
    pub name: Name,
    /// The member's subscription in that assignor's words.
    pub metadata: Bytes,
}

/// A JoinGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The group.
    pub group: Name,
    /// Empty on the first join.
    pub member_id: Name,
    /// Set by static members (v5+).
    pub instance_id: Option<Name>,
    /// From the request header; becomes the start of the member id.
    pub client_id: Name,
    /// The client's address, as tools show it.
    pub client_host: Name,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// How long others wait for it in a rebalance (v0: the session timeout).
    pub rebalance_timeout_ms: i32,
    /// "consumer" for consumers.
    pub protocol_type: Name,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// v4+: a dynamic member must come back with the id it is given.
    pub member_id_required: bool,
    /// v9+: the leader may be told to skip the assignment.
    pub skip_assignment: bool,
    /// Randomness for a new member id.
    pub uuid: [u8; 16],
    /// How long a target holds at least, should it be a consumer group.
    pub assignment_interval_ms: i32,
}

impl Join {
    /// Whether its sender is to get an id first, and to come back with it.
    pub(super) fn wants_pending_id(&self) -> bool {
        self.member_id.is_empty() && self.instance_id.is_none() && self.member_id_required
    }
}

/// A SyncGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The group.
    pub group: Name,
    /// The member.
    pub member_id: Name,
    /// Set by static members.
    pub instance_id: Option<Name>,
    /// The generation of the member's last join.
    pub generation: i32,
    /// v5+; the handler refuses v5+ without it.
    pub protocol_type: Option<Name>,
    /// v5+; the handler refuses v5+ without it.
    pub protocol_name: Option<Name>,
    /// From the leader: who gets what.
    pub assignments: Vec<(Name, Bytes)>,
}

/// A Heartbeat request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group: Name,
    /// The member.
    pub member_id: Name,
    /// Set by static members.
    pub instance_id: Option<Name>,
    /// The generation of the member's last join.
    pub generation: i32,
}

/// A LeaveGroup request; up to v2 with exactly one leaver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The group.
    pub group: Name,
    /// Who leaves, or is removed by an administrator.
    pub members: Vec<Leaver>,
}

/// One member of a LeaveGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// Empty when a static member is removed by its instance id.
    pub member_id: Name,
    /// Set for static members.
    pub instance_id: Option<Name>,
}

/// An OffsetCommit request. Unknown topics and partitions have been taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The group; "" is a group like any other here.
    pub group: Name,
    /// Empty for consumers without group management.
    pub member_id: Name,
    /// Set by static members.
    pub instance_id: Option<Name>,
    /// Negative for consumers without group management.
    pub generation: i32,
    /// v2 to v4: how long the offsets are kept, if the client says so.
    pub retention_ms: Option<i64>,
    /// v9+: an absent group is GROUP_ID_NOT_FOUND instead of ILLEGAL_GENERATION, and members of consumer groups may commit.
    pub knows_epochs: bool,
    /// What is committed.
    pub topics: Vec<CommitTopic>,
}

/// A TxnOffsetCommit request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionCommit {
    /// Producer id and epoch.
    pub producer: (i64, i16),
    /// When its transaction was confirmed.
    pub since: Option<Verification>,
    /// What is committed with it.
    pub commit: OffsetCommit,
}

/// One topic of an OffsetCommit request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitTopic {
    /// The topic's name.
    pub topic: Name,
    /// Its id, always known to the handler.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<CommitPartition>,
}

/// One partition of an OffsetCommit request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: Box<str>,
}

/// An OffsetFetch of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetFetch {
    /// The group.
    pub group: Name,
    /// `None`: every committed offset.
    pub topics: Option<Vec<TopicPartitions>>,
    /// v9+: who asks, and its epoch; nobody in particular with a negative one.
    pub member: (Option<Name>, i32),
    /// v7+: an offset that an open transaction may yet replace is refused (KIP-447).
    pub require_stable: bool,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    /// The topic's name.
    pub topic: Name,
    /// Its id where the request has one (v10+), else zeros.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// An OffsetDelete request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetDelete {
    /// The group.
    pub group: Name,
    /// What to forget.
    pub topics: Vec<TopicPartitions>,
}

/// A ListGroups request; empty filters let everything through, case does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListGroups {
    /// State names (v4+).
    pub states: Vec<Name>,
    /// Type names (v5+).
    pub types: Vec<Name>,
}
