//! What a group has read of each partition, said to its coordinator.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rustka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use super::about;
use crate::channel::Channel;
use crate::client::Client;
use crate::cluster::check;
use crate::error::Result;

/// Who commits, as a member of a group.
pub(crate) struct Committer<'a> {
    pub(super) generation: i32,
    pub(super) member_id: &'a str,
    pub(super) instance_id: Option<&'a str>,
}

/// Commits offsets of a group, as one of its members or, while it has none, as nobody.
pub(crate) async fn commit(
    client: &Client,
    channel: &Channel,
    group: &str,
    by: Option<Committer<'_>>,
    offsets: &BTreeMap<(String, i32), i64>,
) -> Result<()> {
    let mut topics: Vec<OffsetCommitRequestTopic<'_>> = Vec::new();
    for ((topic, partition_index), &committed_offset) in offsets {
        if topics.last().is_none_or(|last| last.name != topic.as_str()) {
            topics.push(OffsetCommitRequestTopic {
                name: Cow::Borrowed(topic),
                ..Default::default()
            });
        }
        if let Some(last) = topics.last_mut() {
            last.partitions.push(OffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset,
                committed_metadata: Some("".into()),
                ..Default::default()
            });
        }
    }
    let nobody = Committer {
        generation: -1,
        member_id: "",
        instance_id: None,
    };
    let by = by.unwrap_or(nobody);
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: by.generation,
        member_id: by.member_id.into(),
        group_instance_id: by.instance_id.map(Cow::Borrowed),
        topics,
        ..Default::default()
    };
    // From version 10 on topics go by their ids.
    let version = channel.pick::<OffsetCommitRequest<'_>>(2, 9)?;
    let answer = channel
        .call_in(version, &request, client.request_ms())
        .await?;
    let told = answer.body()?;
    for topic in &told.topics {
        for partition in &topic.partitions {
            let of = format!("partition {}-{}", topic.name, partition.partition_index);
            let of = format!("{}, {of}", about(group));
            check(&of, partition.error_code, None)?;
        }
    }
    Ok(())
}
