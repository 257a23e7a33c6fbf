//! CreatePartitions: a topic grows, never shrinks.

use std::sync::Arc;

use super::create::{
    PARTITIONS_PER_REQUEST_MAX, bad_assignment, check_brokers, too_many_partitions,
};
use super::{Catalog, Cluster, Outcome, PartitionSeed, Topic, names_given_twice};
use crate::error::{ErrorCode, Refusal};

/// A topic that is to have more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPartitions {
    /// The topic.
    pub name: String,
    /// How many it is to have in all.
    pub count: i32,
    /// The replicas of each new partition, if the client chooses them.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// A topic that grew, or would.
#[derive(Clone, Debug)]
pub struct Extended<P> {
    /// How many partitions it has, or would have.
    pub partitions: u32,
    /// The topic as it is now; none if it was only validated.
    pub topic: Option<Arc<Topic<P>>>,
}

impl<P: Clone> Catalog<P> {
    /// Adds partitions, each topic succeeding or failing alone; names given twice come once, at the end, refused.
    pub fn create_partitions(
        &mut self,
        topics: &[AddPartitions],
        validate_only: bool,
        cluster: Cluster<'_>,
        mut make: impl FnMut(PartitionSeed<'_>) -> P,
    ) -> Vec<Outcome<Extended<P>>> {
        let twice = names_given_twice(topics.iter().map(|topic| topic.name.as_str()));
        let mut outcomes = Vec::with_capacity(topics.len());
        let mut left = PARTITIONS_PER_REQUEST_MAX;
        for asked in topics {
            if twice.contains(asked.name.as_str()) {
                continue;
            }
            let result = self.plan_growth(asked, cluster, &mut left).map(|old| {
                let partitions = u32::try_from(asked.count).unwrap_or(0);
                let topic = (!validate_only).then(|| self.grow(&old, partitions, &mut make));
                Extended { partitions, topic }
            });
            outcomes.push(Outcome {
                name: asked.name.as_str().into(),
                result,
            });
        }
        outcomes.extend(twice.into_iter().map(|name| Outcome {
            name: name.into(),
            result: Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "The request names this topic more than once.",
            )),
        }));
        outcomes
    }

    fn plan_growth(
        &self,
        asked: &AddPartitions,
        cluster: Cluster<'_>,
        left: &mut usize,
    ) -> Result<Arc<Topic<P>>, Refusal> {
        let topic = self
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
                check_brokers(brokers, Some(1), cluster.nodes)?;
            }
        }
        *left = left
            .checked_sub(added)
            .ok_or_else(|| too_many_partitions(added))?;
        Ok(Arc::clone(topic))
    }

    fn grow(
        &mut self,
        old: &Topic<P>,
        partitions: u32,
        make: &mut impl FnMut(PartitionSeed<'_>) -> P,
    ) -> Arc<Topic<P>> {
        let mut topic = old.clone();
        let from = u32::try_from(old.partitions.len()).unwrap_or(u32::MAX);
        for partition in from..partitions {
            topic.partitions.push(make(PartitionSeed {
                id: old.id,
                name: &old.name,
                partition,
                config: &old.config,
            }));
        }
        self.put(topic)
    }
}
