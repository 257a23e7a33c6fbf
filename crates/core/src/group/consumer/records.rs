//! What stands in `__consumer_offsets` of a consumer group of the new protocol, typed. Each record replaces the last one
//! of its place; `None` is a tombstone.

use std::sync::Arc;

use super::places::{Held, Places};
use crate::group::command::{Name, Protocol};

/// One record of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerRecord {
    /// The group's epoch (key type 3).
    Group(Option<GroupEpoch>),
    /// Only ever forgotten: what releases before 4.1 knew of topics (4).
    Metadata,
    /// A member as it describes itself (5).
    Member(Name, Option<Arc<Member>>),
    /// Of which group epoch the target is (6).
    TargetEpoch(Option<TargetEpoch>),
    /// What a member shall have (7).
    Target(Name, Option<Arc<Places>>),
    /// What a member has (8).
    Current(Name, Option<Arc<Current>>),
    /// The topics that a regular expression has matched (16).
    Expression(Name, Option<Arc<Matched>>),
}

impl ConsumerRecord {
    /// Whether both are about the same place, of which the later one holds.
    pub(in crate::group) fn is_of_same_place(&self, other: &ConsumerRecord) -> bool {
        use ConsumerRecord::*;
        match (self, other) {
            (Group(_), Group(_)) | (Metadata, Metadata) | (TargetEpoch(_), TargetEpoch(_)) => true,
            (Member(name, _), Member(other, _))
            | (Target(name, _), Target(other, _))
            | (Current(name, _), Current(other, _))
            | (Expression(name, _), Expression(other, _)) => name == other,
            _ => false,
        }
    }
}

/// The group's epoch: it rises whenever a new target is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEpoch {
    /// The epoch.
    pub epoch: i32,
    /// What the topics in use looked like; 0 for none.
    pub metadata_hash: i64,
}

/// Of which group epoch the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The epoch.
    pub epoch: i32,
    /// When the target was computed; 0 for never.
    pub computed_ms: i64,
}

/// A member as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its instance id, if it is static.
    pub instance_id: Option<Name>,
    /// Where it is.
    pub rack_id: Option<Name>,
    /// The client's name for itself.
    pub client_id: Name,
    /// Where it comes from.
    pub client_host: Name,
    /// The topics it wants, in order and each once.
    pub topics: Box<[Name]>,
    /// The topics it wants by their names' form; "" for none.
    pub expression: Name,
    /// How long it may take to give partitions up.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it wishes for.
    pub assignor: Option<Name>,
    /// Of a member of the classic protocol: its session and protocols.
    pub classic: Option<Arc<ClassicMember>>,
}

/// What a consumer group knows of a member that speaks the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its assignors, most wanted first, with its subscription in their words.
    pub protocols: Vec<Protocol>,
}

/// What a member has, and what it still has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The member's epoch; -2 for a static member that is away.
    pub epoch: i32,
    /// The epoch before; what a client goes on with whose last answer was lost.
    pub previous_epoch: i32,
    /// What it has to do next.
    pub state: MemberState,
    /// What it may work on, in order.
    pub assigned: Box<[Held]>,
    /// What it has to give up first, in order.
    pub revoking: Box<[Held]>,
}

/// What a member has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Nothing.
    Stable,
    /// To give partitions up.
    Unrevoked,
    /// To wait for partitions that others have to give up.
    Unreleased,
    /// Something that only a later release knows.
    Unknown(i8),
}

impl MemberState {
    pub(super) fn code(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
            MemberState::Unknown(code) => code,
        }
    }

    pub(super) fn of_code(code: i8) -> MemberState {
        match code {
            0 => MemberState::Stable,
            1 => MemberState::Unrevoked,
            2 => MemberState::Unreleased,
            code => MemberState::Unknown(code),
        }
    }
}

/// The topics that a regular expression has matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Their names, in order.
    pub topics: Box<[Name]>,
    /// How many changes of metadata there had been.
    pub version: i64,
    /// When.
    pub at_ms: i64,
}
