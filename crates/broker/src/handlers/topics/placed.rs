//! Where clients are told that a partition is.

use rustka_storage::Partition;

/// A partition's place.
pub struct Placed {
    /// Who leads it; -1 for nobody.
    pub leader_id: i32,
    /// Since which epoch.
    pub leader_epoch: i32,
    /// The one node that holds it.
    pub replica: i32,
}

impl Placed {
    /// Where this partition is; without another leader on the node with this id.
    pub fn of(partition: &Partition, node_id: i32) -> Placed {
        let (elsewhere, leader_epoch) = partition.leader();
        let leader_id = elsewhere.unwrap_or(node_id);
        Placed {
            leader_id,
            leader_epoch,
            replica: if leader_id < 0 { node_id } else { leader_id },
        }
    }
}
