//! What a heartbeat says, what is set for its group, and what it is answered.

use crate::group::command::Name;
use crate::group::consumer::places::Places;

/// A ConsumerGroupHeartbeat request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The group.
    pub group: Name,
    /// The member; from v1 on its own choice.
    pub member_id: Name,
    /// 0 to join, -1 to leave, -2 to leave and come back.
    pub epoch: i32,
    /// Set by static members.
    pub instance_id: Option<Name>,
    /// Where it is.
    pub rack_id: Option<Name>,
    /// How long it may take to give partitions up; -1 as before.
    pub rebalance_timeout_ms: i32,
    /// The topics it wants; `None` as before.
    pub topics: Option<Vec<Name>>,
    /// The topics it wants by an expression, "" for none; `None` as before.
    pub expression: Option<Name>,
    /// The assignor it wishes for; `None` as before.
    pub assignor: Option<Name>,
    /// What it works on, in order; `None` as before.
    pub owned: Option<Places>,
    /// From the request header.
    pub client_id: Name,
    /// The client's address, as tools show it.
    pub client_host: Name,
    /// What is set for the group.
    pub settings: Settings,
}

/// What is set for a group, by itself or by the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a member may be silent.
    pub session_timeout_ms: i32,
    /// How often it should not be.
    pub heartbeat_interval_ms: i32,
    /// How long a target holds at least.
    pub assignment_interval_ms: i32,
    /// How often expressions are looked at again, whatever happens.
    pub refresh_interval_ms: i32,
    /// Whether members are heard more often until they have settled.
    pub hurries: bool,
}

/// A granted heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    /// The member.
    pub member_id: Name,
    /// Its epoch from now on.
    pub epoch: i32,
    /// When it should be heard again; 0 for a member that left.
    pub heartbeat_interval_ms: i32,
    /// What it may work on, in order; `None`: as before.
    pub assignment: Option<Places>,
    /// Expressions of the group that somebody has to look at now, on behalf of this member.
    pub unresolved: Vec<Name>,
}
