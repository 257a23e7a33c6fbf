//! CreatePartitions: a topic grows, never shrinks.

use std::sync::Arc;

use super::command::{AddPartitions, ClusterTopic, TopicOutcome};
use super::create::{
    PARTITIONS_PER_REQUEST_MAX, bad_assignment, check_brokers, too_many_partitions,
};
use super::place::Place;
use super::records::Record;
use super::{Cluster, Effects, names_given_twice};
use crate::error::{ErrorCode, Refusal};

impl Cluster {
    /// Adds partitions, each topic succeeding or failing alone; names given twice come once, at the end, refused.
    pub(super) fn create_partitions(
        &mut self,
        topics: &[AddPartitions],
        validate_only: bool,
        out: &mut Effects,
    ) -> Vec<TopicOutcome<u32>> {
        let twice = names_given_twice(topics.iter().map(|topic| topic.name.as_str()));
        let mut outcomes = Vec::with_capacity(topics.len());
        let mut left = PARTITIONS_PER_REQUEST_MAX;
        let mut records = Vec::new();
        for asked in topics {
            if twice.contains(asked.name.as_str()) {
                continue;
            }
            let result = self.plan_growth(asked, &mut left).map(|old| {
                if !validate_only {
                    let from = i32::try_from(old.partitions.len()).unwrap_or(i32::MAX);
                    records.push(Record::Partitions {
                        topic: old.id,
                        numbers: from..asked.count,
                        place: Place::new(self.places.here()),
                    });
                }
                u32::try_from(asked.count).unwrap_or(0)
            });
            outcomes.push(TopicOutcome {
                name: asked.name.as_str().into(),
                result,
            });
        }
        outcomes.extend(twice.into_iter().map(TopicOutcome::named_twice));
        self.write(records, out);
        outcomes
    }

    fn plan_growth(
        &self,
        asked: &AddPartitions,
        left: &mut usize,
    ) -> Result<Arc<ClusterTopic>, Refusal> {
        let topic = self
            .topics
            .by_name(&asked.name)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let has = topic.partitions.len();
        let added = usize::try_from(asked.count)
            .ok()
            .and_then(|count| count.checked_sub(has))
            .filter(|added| *added > 0)
            .ok_or_else(|| {
                Refusal::new(
                    ErrorCode::InvalidPartitions,
                    format!(
                        "Topic '{}' has {has} partitions: {} is no increase.",
                        asked.name, asked.count
                    ),
                )
            })?;
        if let Some(assignments) = &asked.assignments {
            if assignments.len() != added {
                return Err(bad_assignment(format!(
                    "{added} partitions are added, but {} are assigned.",
                    assignments.len()
                )));
            }
            for brokers in assignments {
                check_brokers(brokers, Some(1), &self.options.nodes)?;
            }
        }
        *left = left
            .checked_sub(added)
            .ok_or_else(|| too_many_partitions(added))?;
        self.has_memory_for(added, PARTITIONS_PER_REQUEST_MAX - *left - added)?;
        self.pay(added)?;
        Ok(Arc::clone(topic))
    }
}
