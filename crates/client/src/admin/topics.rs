//! Topics: creating, deleting, adding partitions, deleting records.

use std::collections::BTreeMap;

use rustka_core::error::ErrorCode;
use rustka_wire::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use rustka_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use rustka_wire::create_topics_response::CreatableTopicResult;
use rustka_wire::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rustka_wire::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use rustka_wire::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use rustka_wire::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition as DescribedPartition,
    DescribeTopicPartitionsResponseTopic as DescribedTopic,
};

use super::{ANY, TIMEOUT_MS};
use crate::client::{Client, To};
use crate::cluster::{check, missing};
use crate::error::{Reason, Result};

/// Partitions that are asked for at a time.
const PAGE_PARTITIONS: i32 = 2_000;

impl Client {
    /// Creates topics, or only says whether that could be done.
    pub async fn create_topics(
        &self,
        topics: Vec<CreatableTopic<'_>>,
        validate_only: bool,
    ) -> Result<Vec<Result<CreatableTopicResult<'static>>>> {
        let request = CreateTopicsRequest {
            topics,
            timeout_ms: TIMEOUT_MS,
            validate_only,
        };
        let answer = self.call(&request).await?;
        let told = answer.body()?.topics.into_iter().map(|topic| {
            let about = format!("topic {}", topic.name);
            check(&about, topic.error_code, topic.error_message.as_deref())?;
            Ok(topic.into_owned())
        });
        Ok(told.collect())
    }

    /// Creates one topic; with -1 the number of partitions or replicas is the broker's default.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replicas: i16,
    ) -> Result<CreatableTopicResult<'static>> {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: replicas,
            ..Default::default()
        };
        let created = self.create_topics(vec![topic], false).await?;
        let first = created.into_iter().next();
        first.unwrap_or_else(|| Err(missing("CreateTopics")))
    }

    /// Topics with all that a broker knows of their partitions. Those that do not exist any more are left out.
    pub async fn describe_topics(&self, names: &[String]) -> Result<Vec<DescribedTopic<'static>>> {
        let mut topics: Vec<DescribedTopic<'static>> = Vec::new();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        let mut cursor = None;
        while !names.is_empty() {
            let request = DescribeTopicPartitionsRequest {
                topics: names
                    .iter()
                    .map(|name| TopicRequest {
                        name: (*name).into(),
                    })
                    .collect(),
                response_partition_limit: PAGE_PARTITIONS,
                cursor: cursor.take(),
            };
            let answer = match self.call(&request).await {
                Err(error) if matches!(error.reason, Reason::Unsupported { .. }) => {
                    return self.topics_of_metadata(&names).await;
                }
                answer => answer?,
            };
            let told = answer.body()?.into_owned();
            for topic in told.topics {
                if is_gone(topic.error_code) {
                    continue;
                }
                let about = format!("topic {}", topic.name.as_deref().unwrap_or_default());
                check(&about, topic.error_code, None)?;
                match topics.last_mut() {
                    // The rest of one that did not fit.
                    Some(last) if last.name == topic.name => {
                        last.partitions.extend(topic.partitions);
                    }
                    _ => topics.push(topic),
                }
            }
            let Some(next) = told.next_cursor else { break };
            names.retain(|name| *name >= &*next.topic_name);
            cursor = Some(Cursor {
                topic_name: next.topic_name,
                partition_index: next.partition_index,
            });
        }
        Ok(topics)
    }

    /// The same from brokers that know less.
    async fn topics_of_metadata(&self, names: &[&str]) -> Result<Vec<DescribedTopic<'static>>> {
        let told = self.metadata(Some(names)).await?;
        let mut topics = Vec::new();
        for topic in told.topics {
            if is_gone(topic.error_code) {
                continue;
            }
            let partitions = topic.partitions.into_iter();
            topics.push(DescribedTopic {
                name: topic.name,
                topic_id: topic.topic_id,
                is_internal: topic.is_internal,
                partitions: partitions
                    .map(|partition| DescribedPartition {
                        error_code: partition.error_code,
                        partition_index: partition.partition_index,
                        leader_id: partition.leader_id,
                        leader_epoch: partition.leader_epoch,
                        replica_nodes: partition.replica_nodes,
                        isr_nodes: partition.isr_nodes,
                        offline_replicas: partition.offline_replicas,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            });
        }
        Ok(topics)
    }

    /// Deletes topics.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<Vec<Result<()>>> {
        let states = names.iter().map(|name| DeleteTopicState {
            name: Some((*name).into()),
            ..Default::default()
        });
        let request = DeleteTopicsRequest {
            topics: states.collect(),
            // Before version 6 there are only names.
            topic_names: names.iter().map(|name| (*name).into()).collect(),
            timeout_ms: TIMEOUT_MS,
        };
        let answer = self.call(&request).await?;
        names.iter().for_each(|name| self.forget_topic(name));
        let told = answer.body()?.responses.into_iter().map(|topic| {
            let about = format!("topic {}", topic.name.unwrap_or_default());
            check(&about, topic.error_code, topic.error_message.as_deref())
        });
        Ok(told.collect())
    }

    /// Gives a topic more partitions, so that it has `count` of them.
    pub async fn add_partitions(&self, name: &str, count: i32) -> Result<()> {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.into(),
                count,
                assignments: None,
            }],
            timeout_ms: TIMEOUT_MS,
            validate_only: false,
        };
        let answer = self.call(&request).await?;
        self.forget_topic(name);
        let told = answer.body()?;
        let topic = told
            .results
            .first()
            .ok_or_else(|| missing("CreatePartitions"))?;
        let about = format!("topic {name}");
        check(&about, topic.error_code, topic.error_message.as_deref())
    }

    /// Deletes the records before an offset of each partition, -1 for all there are; where the partitions begin then.
    pub async fn delete_records(
        &self,
        name: &str,
        before: &BTreeMap<i32, i64>,
    ) -> Result<BTreeMap<i32, Result<i64>>> {
        let topic = self.topic(name).await?;
        let mut by_leader: BTreeMap<i32, Vec<DeleteRecordsPartition>> = BTreeMap::new();
        for (&partition_index, &offset) in before {
            let leader = self.leader(&topic, partition_index)?;
            by_leader
                .entry(leader)
                .or_default()
                .push(DeleteRecordsPartition {
                    partition_index,
                    offset,
                });
        }
        let mut begins = BTreeMap::new();
        for (leader, partitions) in by_leader {
            let request = DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: name.into(),
                    partitions,
                }],
                timeout_ms: TIMEOUT_MS,
            };
            let answer = self.call_at(To::Node(leader), ANY, &request).await?;
            for partition in answer
                .body()?
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
            {
                let about = format!("partition {name}-{}", partition.partition_index);
                let outcome = check(&about, partition.error_code, None);
                let outcome = outcome.map(|()| partition.low_watermark);
                begins.insert(partition.partition_index, outcome);
            }
        }
        Ok(begins)
    }
}

fn is_gone(code: i16) -> bool {
    code == ErrorCode::UnknownTopicOrPartition.code()
}
