//! Coming back in a new life. Epochs move as Kafka's do at a restart, whether that was an orderly one or not: once
//! when the leader goes, unless the log has it already, and once when it is back.

use rustka_wire::Uuid;
use rustka_wire::partition_change_record::PartitionChangeRecord;

use super::place::Place;
use super::records::Record;
use super::{Cluster, Effects};
use crate::error::{ErrorCode, Refusal};

/// Nobody leads.
const NO_LEADER: i32 = -1;

impl Cluster {
    /// Leads every partition again; refused if others hold some of them, too.
    pub(super) fn come_back(&mut self, out: &mut Effects) -> Result<(), Refusal> {
        let node = self.options.node_id;
        let mut rows = Vec::new();
        for topic in self.topics.topics() {
            let places = (0i32..).zip(&topic.partitions);
            let mut records = Vec::with_capacity(2 * topic.partitions.len());
            for (partition, place) in places {
                if place.replicas.all != [node] {
                    let message = format!(
                        "partition {partition} of {} is held by the nodes {:?}, and this one is node {node}: only data of a single node can be served",
                        topic.name, place.replicas.all
                    );
                    return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
                }
                records.extend(changes(topic.id, partition, place, node));
            }
            rows.push(records);
        }
        for records in rows {
            self.write(records, out);
        }
        Ok(())
    }
}

fn changes(topic_id: Uuid, partition_id: i32, place: &Place, node: i32) -> Vec<Record> {
    let change = |leader, in_sync: Vec<i32>, eligible: Option<Vec<i32>>| {
        Record::PartitionChange(Box::new(PartitionChangeRecord {
            partition_id,
            topic_id,
            leader,
            isr: Some(in_sync),
            eligible_leader_replicas: eligible,
            ..PartitionChangeRecord::default()
        }))
    };
    let is_led = place.leader != NO_LEADER;
    let was_eligible = place
        .replicas
        .eligible
        .as_ref()
        .is_some_and(|all| !all.is_empty());
    let gone = is_led.then(|| change(NO_LEADER, Vec::new(), None));
    let back = change(node, vec![node], was_eligible.then(Vec::new));
    gone.into_iter().chain([back]).collect()
}
