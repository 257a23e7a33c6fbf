//! Ids of topics that are made from their names, so that a topic which comes back in the next life of a broker in memory
//! has the id it had.
//!
//! Clients that know a topic by its id (franz-go) take another one for a topic that is gone for good. The other side: an
//! offset from before may now be that of another record, and nobody can tell.

use std::collections::BTreeSet;

use rustka_wire::codec::Uuid;

use crate::config::BrokerConfig;
use crate::names;

/// Names of deleted topics that are remembered, at 8 bytes each. When there are more, new topics get random ids.
pub const DELETED_MAX: usize = 100_000;

/// Whether topics get their ids by their names (`rustka.topic.ids`).
pub fn are_by_name(config: &BrokerConfig) -> bool {
    config.settings().topic_ids.as_deref() == Some("by-name")
}

/// Which id a topic gets.
#[derive(Debug)]
pub struct TopicIds {
    cluster_id: Box<str>,
    /// Of each name whose topic was deleted in this life, a hash.
    deleted: BTreeSet<u64>,
}

impl TopicIds {
    /// Ids of the topics of this cluster.
    pub fn of_cluster(cluster_id: &str) -> TopicIds {
        TopicIds {
            cluster_id: cluster_id.into(),
            deleted: BTreeSet::new(),
        }
    }

    /// The id of a topic with this name: the same in every life, until one with this name is deleted. None where it has
    /// to be another one.
    pub fn of(&self, name: &str) -> Option<Uuid> {
        let hash = self.hash(name);
        let is_first = self.deleted.len() < DELETED_MAX && !self.deleted.contains(&low(hash));
        is_first.then(|| id(hash))
    }

    /// A topic with this name is gone: who knew it must not take another one for it.
    pub fn deleted(&mut self, name: &str) {
        if self.deleted.len() < DELETED_MAX {
            self.deleted.insert(low(self.hash(name)));
        }
    }

    /// FNV-1a of 128 bits over the cluster's id and the name, apart from each other by a byte that neither contains.
    fn hash(&self, name: &str) -> u128 {
        const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let bytes = self.cluster_id.bytes().chain([0]).chain(name.bytes());
        bytes.fold(BASIS, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(PRIME)
        })
    }
}

fn low(hash: u128) -> u64 {
    hash as u64
}

/// The hash as an id of version 8 (RFC 9562) that Kafka would take.
fn id(hash: u128) -> Uuid {
    let mut bytes = hash.to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    if names::is_reserved_id(Uuid(bytes)) {
        bytes[0] ^= 0x80;
    }
    Uuid(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_id_in_a_cluster_and_another_in_the_next() {
        let (one, same) = (TopicIds::of_cluster("c"), TopicIds::of_cluster("c"));
        let id = one.of("orders").unwrap();
        assert_eq!(same.of("orders"), Some(id));
        assert_ne!(one.of("orders2"), Some(id));
        assert_ne!(TopicIds::of_cluster("d").of("orders"), Some(id));
        assert_eq!(id.to_string(), "ztIfEvxli1megPKKbJEU3w");
    }

    #[test]
    fn no_id_is_one_that_kafka_keeps_for_itself() {
        let ids = TopicIds::of_cluster("c");
        for number in 0..10_000 {
            let id = ids.of(&format!("t{number}")).unwrap();
            assert!(!id.to_string().starts_with('-'), "{id}");
            assert_eq!(id.0[6] >> 4, 8);
        }
    }

    #[test]
    fn a_topic_that_was_deleted_comes_back_as_another_one() {
        let mut ids = TopicIds::of_cluster("c");
        ids.deleted("orders");
        assert_eq!(ids.of("orders"), None);
        assert!(ids.of("others").is_some());
    }

    #[test]
    fn when_too_many_were_deleted_to_be_remembered_no_id_is_given_again() {
        let mut ids = TopicIds::of_cluster("c");
        for number in 0..=DELETED_MAX {
            ids.deleted(&format!("t{number}"));
        }
        assert_eq!(ids.deleted.len(), DELETED_MAX);
        assert_eq!(ids.of("never-there"), None);
    }
}
