//! ElectLeaders: partitions that another node leads, or none, get back the leader that they should have (KIP-183, KIP-460).

use std::collections::BTreeMap;

use rustka_wire::Uuid;
use rustka_wire::partition_change_record::PartitionChangeRecord;

use super::command::{ClusterTopic, ElectedTopic, Election};
use super::place::{NO_LEADER, Place};
use super::records::Record;
use super::{Cluster, Effects};
use crate::error::{ErrorCode, Refusal};

/// In a record: its leader may lack what others had.
const RECOVERING: i8 = 1;

/// New leaders by topic and partition: one that is asked for twice is elected once.
type Planned = BTreeMap<(Uuid, i32), Record>;

impl Cluster {
    /// Elects in these partitions, each succeeding or failing alone; `None` stands for all, of which those are told where
    /// there was something to do.
    pub(super) fn elect_leaders(
        &mut self,
        election: Election,
        topics: Option<Vec<(Box<str>, Vec<i32>)>>,
        out: &mut Effects,
    ) -> Vec<ElectedTopic> {
        let mut planned = Planned::new();
        let elected = match topics {
            Some(topics) => topics
                .into_iter()
                .map(|(name, numbers)| {
                    let topic = self.topics.by_name(&name);
                    let outcome = |number: i32| {
                        let missing = |what| Refusal::new(ErrorCode::UnknownTopicOrPartition, what);
                        let topic = topic.ok_or_else(|| {
                            missing(format!("No such topic as {}", name.escape_debug()))
                        })?;
                        let place = topic.partition(number).ok_or_else(|| {
                            missing(format!("No such partition as {}-{number}", topic.name))
                        })?;
                        self.elected(election, topic, number, place)
                    };
                    let outcomes = numbers.into_iter().map(|number| (number, outcome(number)));
                    let id = topic.map_or(Uuid::default(), |topic| topic.id);
                    let partitions = noted(id, outcomes, &mut planned).collect();
                    ElectedTopic { name, partitions }
                })
                .collect(),
            None => self
                .topics
                .topics()
                .map(|topic| {
                    let outcomes = (0..).zip(&topic.partitions).map(|(number, place)| {
                        (number, self.elected(election, topic, number, place))
                    });
                    let outcomes = noted(topic.id, outcomes, &mut planned);
                    let partitions = outcomes.filter(|(_, outcome)| {
                        let refusal = outcome.as_ref().err();
                        refusal.is_none_or(|why| why.code != ErrorCode::ElectionNotNeeded)
                    });
                    ElectedTopic {
                        name: (*topic.name).into(),
                        partitions: partitions.collect(),
                    }
                })
                .collect(),
        };
        self.write(planned.into_values().collect(), out);
        elected
    }

    /// The record of a new leader.
    fn elected(
        &self,
        election: Election,
        topic: &ClusterTopic,
        partition: i32,
        place: &Place,
    ) -> Result<Record, Refusal> {
        let replicas = &place.replicas;
        let preferred = replicas.all.first().copied();
        let has_its_leader = match election {
            Election::Preferred => Some(place.leader) == preferred,
            Election::Unclean => place.leader != NO_LEADER,
        };
        if has_its_leader {
            return Err(Refusal::new(
                ErrorCode::ElectionNotNeeded,
                "Leader election not needed for topic partition.",
            ));
        }
        let is_alive = |node: &i32| self.options.nodes.contains(node);
        let is_in_sync = |node: &i32| replicas.in_sync.contains(node);
        let found = match election {
            Election::Preferred => preferred.filter(|node| is_alive(node) && is_in_sync(node)),
            Election::Unclean => {
                let mut alive = replicas.all.iter().copied().filter(is_alive);
                let clean = alive.clone().find(is_in_sync);
                clean.or_else(|| alive.next())
            }
        };
        let leader = found.ok_or_else(|| match election {
            Election::Preferred => Refusal::new(
                ErrorCode::PreferredLeaderNotAvailable,
                "The first of its replicas is not in step, or not there.",
            ),
            Election::Unclean => Refusal::new(
                ErrorCode::EligibleLeadersNotAvailable,
                "None of its replicas is there.",
            ),
        })?;
        let is_clean = is_in_sync(&leader);
        Ok(Record::PartitionChange(Box::new(PartitionChangeRecord {
            partition_id: partition,
            topic_id: topic.id,
            leader,
            isr: (!is_clean).then(|| vec![leader]),
            leader_recovery_state: match is_clean {
                true => PartitionChangeRecord::default().leader_recovery_state,
                false => RECOVERING,
            },
            ..PartitionChangeRecord::default()
        })))
    }
}

/// The outcomes of one topic, with their records put where all are.
fn noted(
    topic: Uuid,
    outcomes: impl Iterator<Item = (i32, Result<Record, Refusal>)>,
    planned: &mut Planned,
) -> impl Iterator<Item = (i32, Result<(), Refusal>)> {
    outcomes.map(move |(number, outcome)| {
        let noted = outcome.map(|record| {
            planned.insert((topic, number), record);
        });
        (number, noted)
    })
}
