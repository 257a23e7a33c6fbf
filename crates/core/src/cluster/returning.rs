//! Coming back in a new life. Epochs move as Kafka's do at a restart, whether that was an orderly one or not: once
//! when the leader goes, unless the log has it already, and once when it is back.

use rustka_wire::Uuid;
use rustka_wire::partition_change_record::PartitionChangeRecord;

use super::features::METADATA_VERSION;
use super::place::Place;
use super::records::Record;
use super::{Cluster, Effects};
use crate::error::{ErrorCode, Refusal};

/// Nobody leads.
const NO_LEADER: i32 = -1;

impl Cluster {
    /// What another version has written, which says more or less than this one understands, is left alone.
    fn check_metadata_version(&self) -> Result<(), Refusal> {
        let known = self.options.features.iter();
        let Some(known) = known.clone().find(|known| known.name == METADATA_VERSION) else {
            return Ok(());
        };
        let level = self.feature(METADATA_VERSION);
        let why = match level {
            level if level > known.max => "a newer Rustka may know it",
            level if level < known.min => "have a Kafka from 3.3 to 3.9 raise it first",
            _ => return Ok(()),
        };
        let (min, max) = (known.min, known.max);
        let message =
            format!("its {METADATA_VERSION} is {level}, and this one knows {min} to {max}: {why}");
        Err(Refusal::new(ErrorCode::UnsupportedVersion, message))
    }

    /// Leads every partition again; refused if others hold some of them, too.
    pub(super) fn come_back(&mut self, out: &mut Effects) -> Result<(), Refusal> {
        self.check_metadata_version()?;
        let node = self.options.node_id;
        // Who has no eligible leaders keeps the last one that was in step.
        let empties = self.has_eligible_leaders();
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
                records.extend(changes(topic.id, partition, place, node, empties));
            }
            rows.push(records);
        }
        for records in rows {
            self.write(records, out);
        }
        Ok(())
    }
}

fn changes(
    topic_id: Uuid,
    partition_id: i32,
    place: &Place,
    node: i32,
    empties: bool,
) -> Vec<Record> {
    let change = |leader, in_sync: Option<Vec<i32>>, eligible: Option<Vec<i32>>| {
        Record::PartitionChange(Box::new(PartitionChangeRecord {
            partition_id,
            topic_id,
            leader,
            isr: in_sync,
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
    let gone = is_led.then(|| change(NO_LEADER, empties.then(Vec::new), None));
    let back = change(node, Some(vec![node]), was_eligible.then(Vec::new));
    gone.into_iter().chain([back]).collect()
}
