//! What handlers work with: the node, and what is there for requests alone.

use crate::api::served::Api;
use crate::base::budget::Budget;
use crate::base::rate::Rate;
use crate::coordinators::cluster::Cluster;
use crate::coordinators::groups::Groups;
use crate::coordinators::transactions::Transactions;
use crate::node::Node;
use rustka_core::error::ErrorCode;
use rustka_core::fetch::FetchSessions;
use rustka_core::sync::{Guard, Rank, lock_at};
use rustka_core::telemetry::Telemetry;
use rustka_storage::Partition;
use std::sync::{Arc, Mutex, Weak};

/// The parts of a broker that requests reach.
pub struct Parts {
    /// What all parts share.
    pub node: Arc<Node>,
    /// Topics, configs and what else the cluster agrees on.
    pub cluster: Arc<Cluster>,
    /// Consumer groups.
    pub groups: Arc<Groups>,
    /// Transactional ids.
    pub transactions: Arc<Transactions>,
    /// Incremental fetch sessions (KIP-227).
    pub sessions: FetchSessions<SessionPartition>,
    /// Clients that push metrics.
    pub telemetry: Mutex<Telemetry>,
    /// Fetches that wait, counted with the partitions they wait for.
    pub parked: Arc<Budget>,
    /// Topics that Metadata may create.
    pub auto_creations: Rate,
    /// Every API that is served, by key.
    pub apis: &'static [Api],
}

impl Parts {
    /// Clients that push metrics. After a panic under their lock nobody is known any more: they ask for their
    /// subscriptions again, and nothing is lost by that.
    pub fn telemetry(&self) -> Guard<'_, Telemetry> {
        let mut telemetry = lock_at(Rank::Telemetry, &self.telemetry);
        if self.telemetry.is_poisoned() {
            *telemetry = Telemetry::default();
            self.telemetry.clear_poison();
        }
        telemetry
    }
}

/// A session's partition as it was found last, good as long as the catalog does not change.
#[derive(Default)]
pub struct SessionPartition {
    /// The catalog's version at that moment.
    pub catalog_version: u64,
    /// The partition, or why there is none. A session keeps no partition alive that is deleted.
    pub found: Option<Result<Weak<Partition>, ErrorCode>>,
    /// The topic's name, once it was found.
    pub name: Option<Arc<str>>,
}
