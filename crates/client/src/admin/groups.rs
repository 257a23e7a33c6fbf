//! Groups: listing, describing, deleting, and their committed offsets.

use std::collections::BTreeMap;

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
use crate::client::{Client, To};
use crate::cluster::{Coordinated, check, missing};
use crate::error::Result;
use crate::group::commit;

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
    pub async fn delete_offsets(&self, group: &str, topic: &str, partitions: &[i32]) -> Result<()> {
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
        for partition in told.topics.iter().flat_map(|topic| &topic.partitions) {
            let about = format!("partition {topic}-{}", partition.partition_index);
            check(&about, partition.error_code, None)?;
        }
        Ok(())
    }
}

pub(crate) fn about(group: &str) -> String {
    format!("group {group}")
}
