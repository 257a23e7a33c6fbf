//! What topics, users and rights take, and whether there may be more of them.

use super::Cluster;
use crate::account::Share;
use crate::error::{ErrorCode, Refusal};

/// What a topic takes without its partitions, here and where requests look it up.
const TOPIC_BYTES: usize = 1_000;
/// What a partition takes without records.
const PARTITION_BYTES: usize = 600;
/// What a user, an ACL, a token or a quota takes, here and where requests look it up.
const FACT_BYTES: usize = 500;

impl Cluster {
    /// Counts anew what there is.
    pub(super) fn weigh(&self) {
        let account = &self.options.account;
        let topics = self.topics.len() * TOPIC_BYTES;
        let partitions = self.topics.partition_count() * PARTITION_BYTES;
        account.set(Share::Topics, topics + partitions);
        account.set(Share::Security, self.facts.count() * FACT_BYTES);
    }

    /// Whether there is memory for one more topic of so many partitions, beside so many partitions that are planned.
    pub(super) fn has_memory_for(&self, partitions: usize, planned: usize) -> Result<(), Refusal> {
        let more =
            TOPIC_BYTES + (partitions.saturating_add(planned)).saturating_mul(PARTITION_BYTES);
        self.has_memory(Share::Topics, more)
    }

    /// Whether there is memory for so many more users, ACLs, tokens or quotas.
    pub(super) fn has_memory_for_facts(&self, count: usize) -> Result<(), Refusal> {
        self.has_memory(Share::Security, count.saturating_mul(FACT_BYTES))
    }

    fn has_memory(&self, share: Share, more: usize) -> Result<(), Refusal> {
        let checked = self.options.account.check(share, more);
        checked.map_err(|full| Refusal::new(ErrorCode::PolicyViolation, full.to_string()))
    }
}
