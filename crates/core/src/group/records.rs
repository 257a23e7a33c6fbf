//! The durable state of groups: what stands in `__consumer_offsets`, typed.

use std::sync::Arc;

use super::command::{Bytes, Name, TopicId};
use super::consumer::records::ConsumerRecord;
use crate::producers::{Marker, Verification};

/// One record of the journal; `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A group and its members.
    Group {
        /// The group.
        group: Name,
        /// `None`: the group is deleted.
        value: Option<Arc<GroupMetadata>>,
    },
    /// A committed offset.
    Offset {
        /// The group.
        group: Name,
        /// The topic.
        topic: Name,
        /// The partition.
        partition: i32,
        /// `None`: forgotten.
        value: Option<CommittedOffset>,
    },
    /// A record of a consumer group of the new protocol.
    Consumer {
        /// The group.
        group: Name,
        /// What it says.
        value: ConsumerRecord,
    },
    /// An offset that is committed if a transaction is.
    Pending {
        /// Producer id and epoch.
        producer: (i64, i16),
        /// Since when nothing may have ended the transaction; only before it is written.
        since: Option<Verification>,
        /// The group.
        group: Name,
        /// The topic.
        topic: Name,
        /// The partition.
        partition: i32,
        /// What is committed.
        value: CommittedOffset,
    },
    /// The marker that ends a transaction in all groups of the journal.
    End {
        /// Producer id and epoch.
        producer: (i64, i16),
        /// What it says.
        marker: Marker,
    },
}

impl Record {
    /// The group the record belongs to, if it is one alone.
    pub fn group(&self) -> Option<&Name> {
        match self {
            Record::Group { group, .. }
            | Record::Offset { group, .. }
            | Record::Consumer { group, .. }
            | Record::Pending { group, .. } => Some(group),
            Record::End { .. } => None,
        }
    }
}

/// A group as of its last completed rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// Such as "consumer"; "" if no member ever joined.
    pub protocol_type: Name,
    /// The generation.
    pub generation: i32,
    /// The chosen assignor.
    pub protocol: Option<Name>,
    /// The leader's member id.
    pub leader: Option<Name>,
    /// When the group entered its state, or -1.
    pub state_timestamp_ms: i64,
    /// The members.
    pub members: Vec<MemberMetadata>,
}

/// A member as of the last completed rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// The member.
    pub member_id: Name,
    /// Its instance id, if static.
    pub instance_id: Option<Name>,
    /// The client's name for itself.
    pub client_id: Name,
    /// Where it joined from.
    pub client_host: Name,
    /// How long others wait for it; -1 in old records.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its subscription for the chosen assignor.
    pub subscription: Bytes,
    /// Its share.
    pub assignment: Bytes,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: Box<str>,
    /// When it was committed.
    pub commit_timestamp_ms: i64,
    /// When it ends, if its client said so.
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id when it was committed, or zeros.
    pub topic_id: TopicId,
}
