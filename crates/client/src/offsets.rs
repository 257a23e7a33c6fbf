//! Where things are in a partition: its ends, and the first record at or after a time.

use std::collections::BTreeMap;

use rustka_core::error::ErrorCode;
use rustka_wire::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

use crate::client::Client;
use crate::cluster::{check, missing};
use crate::error::Result;

/// A place in a partition by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first record there is.
    Earliest,
    /// Behind the last record.
    Latest,
    /// This offset.
    Offset(i64),
    /// The first record with this timestamp or a later one; behind the last record if there is none.
    Time(i64),
}

/// ListOffsets' words for the ends of a partition.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All.
    #[default]
    ReadUncommitted,
    /// Those outside of transactions and of those that were committed.
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn id(self) -> i8 {
        i8::from(self == Isolation::ReadCommitted)
    }
}

impl Client {
    /// The offsets of these places in partitions of a topic.
    pub async fn offsets(
        &self,
        topic: &str,
        places: &BTreeMap<i32, Start>,
        isolation: Isolation,
    ) -> Result<BTreeMap<i32, i64>> {
        let mut found = BTreeMap::new();
        let (mut by_time, mut none_later) = (BTreeMap::new(), Vec::new());
        for (&partition, start) in places {
            match *start {
                Start::Offset(offset) => drop(found.insert(partition, offset)),
                Start::Earliest => drop(by_time.insert(partition, EARLIEST)),
                Start::Latest => drop(by_time.insert(partition, LATEST)),
                // Times before the epoch would be taken for one of the words.
                Start::Time(timestamp) => drop(by_time.insert(partition, timestamp.max(0))),
            }
        }
        for (partition, offset) in self.list_offsets(topic, by_time, isolation).await? {
            match offset {
                0.. => drop(found.insert(partition, offset)),
                _ => none_later.push((partition, LATEST)),
            }
        }
        let none_later = none_later.into_iter().collect();
        found.extend(self.list_offsets(topic, none_later, isolation).await?);
        Ok(found)
    }

    /// The first offset of each partition with this timestamp or a later one, or for one of ListOffsets' negative words; -1
    /// where there is none.
    pub async fn list_offsets(
        &self,
        topic: &str,
        wanted: BTreeMap<i32, i64>,
        isolation: Isolation,
    ) -> Result<BTreeMap<i32, i64>> {
        let mut found = BTreeMap::new();
        let mut patience = self.patience();
        while found.len() < wanted.len() {
            let left = wanted
                .iter()
                .filter(|(partition, _)| !found.contains_key(*partition));
            let left = left.map(|(partition, time)| (*partition, *time)).collect();
            if let Err(error) = self.list_some(topic, &left, isolation, &mut found).await {
                self.forget_topic(topic);
                // Nothing is waited for that does not exist.
                if error.code() == Some(ErrorCode::UnknownTopicOrPartition) {
                    return Err(error);
                }
                patience.again(error).await?;
            }
        }
        Ok(found)
    }

    /// Asks one leader for its part of what is left.
    async fn list_some(
        &self,
        topic: &str,
        left: &BTreeMap<i32, i64>,
        isolation: Isolation,
        found: &mut BTreeMap<i32, i64>,
    ) -> Result<()> {
        let known = self.topic(topic).await?;
        let Some((&first, _)) = left.first_key_value() else {
            return Ok(());
        };
        let leader = self.leader(&known, first)?;
        let mut partitions = Vec::new();
        for (&partition, &timestamp) in left {
            let of = known.partitions.get(&partition);
            if of.is_some_and(|of| of.leader_id == leader) {
                partitions.push(ListOffsetsPartition {
                    partition_index: partition,
                    current_leader_epoch: -1,
                    timestamp,
                });
            }
        }
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: isolation.id(),
            topics: vec![ListOffsetsTopic {
                name: topic.into(),
                partitions,
            }],
            ..Default::default()
        };
        let channel = self.node(leader).await?;
        let answer = channel.call(&request, self.request_ms()).await?;
        let told = answer.body()?;
        let mut answered = false;
        for partition in told.topics.iter().flat_map(|topic| &topic.partitions) {
            let index = partition.partition_index;
            check(
                &format!("partition {topic}-{index}"),
                partition.error_code,
                None,
            )?;
            if left.contains_key(&index) {
                found.insert(index, partition.offset);
                answered = true;
            }
        }
        answered.then_some(()).ok_or_else(|| missing("ListOffsets"))
    }
}
