//! Groups: listing, describing, deleting, and their committed offsets.

use std::collections::BTreeMap;

use rustka_core::error::ErrorCode;
use rustka_wire::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use rustka_wire::consumer_group_describe_response::{
    Assignment, DescribedGroup as ConsumersDescribed,
};
use rustka_wire::delete_groups_request::DeleteGroupsRequest;
use rustka_wire::describe_groups_request::DescribeGroupsRequest;
use rustka_wire::describe_groups_response::DescribedGroup;
use rustka_wire::list_groups_request::ListGroupsRequest;
use rustka_wire::list_groups_response::ListedGroup;
use rustka_wire::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use rustka_wire::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};

use super::ANY;
use crate::assignor::{self, Partitions};
use crate::client::{Client, To};
use crate::cluster::{Coordinated, check, missing};
use crate::error::{Reason, Result};
use crate::group::{about, commit};

/// An offset that a group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Where the group goes on.
    pub offset: i64,
    /// The leader's epoch of the record before, -1 if it is not known.
    pub leader_epoch: i32,
    /// Whatever the group wanted to remember with it.
    pub metadata: Option<String>,
}

impl Client {
    /// The groups of all brokers.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup<'static>>> {
        let brokers = self.metadata(Some(&[])).await?.brokers;
        let mut groups = Vec::new();
        for broker in brokers {
            let request = ListGroupsRequest::default();
            let answer = self
                .call_at(To::Node(broker.node_id), ANY, &request)
                .await?;
            let told = answer.body()?;
            check("ListGroups", told.error_code, None)?;
            groups.extend(told.groups.into_iter().map(ListedGroup::into_owned));
        }
        Ok(groups)
    }

    /// A group of the classic protocol and its members. One that does not exist is described as dead by older brokers.
    pub async fn describe_group(&self, group: &str) -> Result<DescribedGroup<'static>> {
        let request = DescribeGroupsRequest {
            groups: vec![group.into()],
            ..Default::default()
        };
        let mut patience = self.patience();
        loop {
            let answer = self.call_at(To::Group(group), ANY, &request).await?;
            let told = answer.body()?.groups.into_iter().next();
            let told = told.ok_or_else(|| missing("DescribeGroups"))?;
            match check(
                &about(group),
                told.error_code,
                told.error_message.as_deref(),
            ) {
                Ok(()) => return Ok(told.into_owned()),
                Err(error) => patience.again(error).await?,
            }
        }
    }

    /// Deletes a group without members, and with it its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let request = DeleteGroupsRequest {
            groups_names: vec![group.into()],
        };
        let mut patience = self.patience();
        loop {
            let answer = self.call_at(To::Group(group), ANY, &request).await?;
            let told = answer.body()?;
            let told = told
                .results
                .first()
                .ok_or_else(|| missing("DeleteGroups"))?;
            match check(
                &about(group),
                told.error_code,
                told.error_message.as_deref(),
            ) {
                Ok(()) => return Ok(()),
                Err(error) => patience.again(error).await?,
            }
        }
    }

    /// What a group has committed, by topic and partition.
    pub async fn committed(&self, group: &str) -> Result<BTreeMap<(String, i32), Committed>> {
        let request = OffsetFetchRequest {
            group_id: group.into(),
            topics: None,
            // From version 8 on many groups are asked for.
            groups: vec![OffsetFetchRequestGroup {
                group_id: group.into(),
                topics: None,
                ..Default::default()
            }],
            require_stable: false,
        };
        let mut patience = self.patience();
        loop {
            // Before version 2 one has to name the partitions; from version 10 on topics go by their ids.
            let answer = self.call_at(To::Group(group), (2, 9), &request).await?;
            let told = answer.body()?;
            let mut rows = Vec::new();
            let code = match told.groups.first() {
                Some(one) => {
                    for topic in &one.topics {
                        rows.extend(topic.partitions.iter().map(|p| {
                            let place = (topic.name.to_string(), p.partition_index);
                            let at = (p.committed_offset, p.committed_leader_epoch);
                            (place, p.error_code, at, p.metadata.as_deref())
                        }));
                    }
                    one.error_code
                }
                None => {
                    for topic in &told.topics {
                        rows.extend(topic.partitions.iter().map(|p| {
                            let place = (topic.name.to_string(), p.partition_index);
                            let at = (p.committed_offset, p.committed_leader_epoch);
                            (place, p.error_code, at, p.metadata.as_deref())
                        }));
                    }
                    told.error_code
                }
            };
            if let Err(error) = check(&about(group), code, None) {
                patience.again(error).await?;
                continue;
            }
            let mut committed = BTreeMap::new();
            for (place, code, (offset, leader_epoch), metadata) in rows {
                check(&format!("partition {}-{}", place.0, place.1), code, None)?;
                if offset >= 0 {
                    let metadata = metadata.map(str::to_owned);
                    committed.insert(
                        place,
                        Committed {
                            offset,
                            leader_epoch,
                            metadata,
                        },
                    );
                }
            }
            return Ok(committed);
        }
    }

    /// Sets offsets of a group that has no members.
    pub async fn reset_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<(String, i32), i64>,
    ) -> Result<()> {
        let address = self.coordinator(Coordinated::Group, group).await?;
        let channel = self.channel(&address).await?;
        commit(self, &channel, group, None, offsets).await
    }

    /// Forgets what a group has committed of partitions of a topic that it is not subscribed to.
    pub async fn delete_offsets(
        &self,
        group: &str,
        topic: &str,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, Result<()>>> {
        let partitions = partitions
            .iter()
            .map(|&partition_index| OffsetDeleteRequestPartition { partition_index });
        let request = OffsetDeleteRequest {
            group_id: group.into(),
            topics: vec![OffsetDeleteRequestTopic {
                name: topic.into(),
                partitions: partitions.collect(),
            }],
        };
        let answer = self.call_at(To::Group(group), ANY, &request).await?;
        let told = answer.body()?;
        check(&about(group), told.error_code, None)?;
        let partitions = told.topics.iter().flat_map(|topic| &topic.partitions);
        let outcomes = partitions.map(|partition| {
            let about = format!("partition {topic}-{}", partition.partition_index);
            let outcome = check(&about, partition.error_code, None);
            (partition.partition_index, outcome)
        });
        Ok(outcomes.collect())
    }

    /// A group of either protocol and its members.
    pub async fn describe_any_group(&self, group: &str) -> Result<GroupDescription> {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![group.into()],
            ..Default::default()
        };
        let mut patience = self.patience();
        loop {
            let answer = match self.call_at(To::Group(group), ANY, &request).await {
                Err(error) if matches!(error.reason, Reason::Unsupported { .. }) => break,
                answer => answer?,
            };
            let told = answer.body()?.groups.into_iter().next();
            let told = told.ok_or_else(|| missing("ConsumerGroupDescribe"))?;
            let message = told.error_message.as_deref();
            match check(&about(group), told.error_code, message) {
                Ok(()) => return Ok(GroupDescription::of_consumers(told)),
                // It may be of the classic protocol.
                Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => break,
                Err(error) => patience.again(error).await?,
            }
        }
        Ok(GroupDescription::of_classic(
            self.describe_group(group).await?,
        ))
    }
}

/// A group, whatever its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Kafka's name of its state.
    pub state: String,
    /// The assignor; empty where there is none.
    pub assignor: String,
    /// The group's epoch and that of its assignment, with KIP-848.
    pub epochs: Option<(i32, i32)>,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: String,
    /// The id of a static member.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it came from.
    pub host: String,
    /// What it reads.
    pub assigned: Partitions,
    /// Its epoch and what it is to read, with KIP-848.
    pub target: Option<(i32, Partitions)>,
}

impl GroupDescription {
    fn of_classic(told: DescribedGroup<'_>) -> GroupDescription {
        let members = told.members.into_iter().map(|member| MemberDescription {
            member_id: member.member_id.into_owned(),
            instance_id: member.group_instance_id.map(Into::into),
            client_id: member.client_id.into_owned(),
            host: member.client_host.into_owned(),
            // Groups of other kinds, such as Connect's, assign other things than partitions.
            assigned: assignor::assigned(&member.member_assignment).unwrap_or_default(),
            target: None,
        });
        GroupDescription {
            state: told.group_state.into_owned(),
            assignor: told.protocol_data.into_owned(),
            epochs: None,
            members: members.collect(),
        }
    }

    fn of_consumers(told: ConsumersDescribed<'_>) -> GroupDescription {
        let partitions = |assignment: Assignment<'_>| -> Partitions {
            let topics = assignment.topic_partitions.into_iter();
            topics
                .map(|topic| (topic.topic_name.into_owned(), topic.partitions))
                .collect()
        };
        let members = told.members.into_iter().map(|member| MemberDescription {
            member_id: member.member_id.into_owned(),
            instance_id: member.instance_id.map(Into::into),
            client_id: member.client_id.into_owned(),
            host: member.client_host.into_owned(),
            assigned: partitions(member.assignment),
            target: Some((member.member_epoch, partitions(member.target_assignment))),
        });
        GroupDescription {
            state: told.group_state.into_owned(),
            assignor: told.assignor_name.into_owned(),
            epochs: Some((told.group_epoch, told.assignment_epoch)),
            members: members.collect(),
        }
    }
}
