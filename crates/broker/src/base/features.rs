//! Features with levels (KIP-584): which there are, between which levels, and at which each of them is now. ApiVersions
//! tells this; UpdateFeatures changes it through the cluster.

pub use rustka_core::cluster::FeatureLevels;
use rustka_core::cluster::features::{
    ELIGIBLE_LEADER_REPLICAS, GROUP_VERSION, KRAFT_VERSION, METADATA_VERSION, TRANSACTION_VERSION,
};
use rustka_core::sync::{Rank, read_at, write_at};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};

/// Every feature, by name. What a level stands for is built before it is told: share groups and streams
/// of KIP-932 and KIP-1071 are not yet.
pub static FEATURES: &[FeatureLevels] = &[
    FeatureLevels {
        name: ELIGIBLE_LEADER_REPLICAS,
        min: 0,
        max: 1,
        first: 1,
        falls: true,
    },
    // Consumer groups of the new protocol (KIP-848).
    FeatureLevels {
        name: GROUP_VERSION,
        min: 0,
        max: 1,
        first: 1,
        falls: true,
    },
    FeatureLevels {
        name: KRAFT_VERSION,
        min: 0,
        max: 1,
        first: 0,
        falls: false,
    },
    // The metadata of Kafka 4.4.
    FeatureLevels {
        name: METADATA_VERSION,
        min: 7,
        max: 33,
        first: 33,
        falls: false,
    },
    // Epochs that rise with each transaction (KIP-890).
    FeatureLevels {
        name: TRANSACTION_VERSION,
        min: 0,
        max: 2,
        first: 2,
        falls: true,
    },
];

/// The levels in force.
pub struct Features {
    levels: RwLock<BTreeMap<Arc<str>, i16>>,
    epoch: AtomicI64,
}

impl Default for Features {
    fn default() -> Features {
        Features {
            levels: RwLock::default(),
            epoch: AtomicI64::new(-1),
        }
    }
}

impl Features {
    /// A feature is at this level from now on; 0 for off.
    pub fn set(&self, name: Arc<str>, level: i16) {
        let mut levels = write_at(Rank::Leaf, &self.levels);
        match level {
            0 => levels.remove(&name),
            level => levels.insert(name, level),
        };
        self.epoch.fetch_add(1, Relaxed);
    }

    /// The level of a feature, 0 for off.
    pub fn level(&self, name: &str) -> i16 {
        let levels = read_at(Rank::Leaf, &self.levels);
        levels.get(name).copied().unwrap_or(0)
    }

    /// The features that are on, with their levels, by name.
    pub fn all(&self) -> Vec<(Arc<str>, i16)> {
        let levels = read_at(Rank::Leaf, &self.levels);
        let all = levels.iter().map(|(name, level)| (name.clone(), *level));
        all.collect()
    }

    /// How often levels have changed, -1 for not known: where none was ever on.
    pub fn epoch(&self) -> i64 {
        self.epoch.load(Relaxed)
    }
}
