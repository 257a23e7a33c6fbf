//! Requests about groups, their offsets and producers.

use super::{Names, Refusable, Row, alone, each};
use rustka_wire::codec::{Reader, Writer};
use rustka_wire::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use rustka_wire::consumer_group_describe_response::{
    ConsumerGroupDescribeResponse, DescribedGroup as ConsumerDescribed,
};
use rustka_wire::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use rustka_wire::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use rustka_wire::delete_groups_request::DeleteGroupsRequest;
use rustka_wire::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use rustka_wire::describe_groups_request::DescribeGroupsRequest;
use rustka_wire::describe_groups_response::{DescribeGroupsResponse, DescribedGroup};
use rustka_wire::find_coordinator_request::FindCoordinatorRequest;
use rustka_wire::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use rustka_wire::heartbeat_request::HeartbeatRequest;
use rustka_wire::heartbeat_response::HeartbeatResponse;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::init_producer_id_response::InitProducerIdResponse;
use rustka_wire::join_group_request::JoinGroupRequest;
use rustka_wire::join_group_response::JoinGroupResponse;
use rustka_wire::leave_group_request::LeaveGroupRequest;
use rustka_wire::leave_group_response::{LeaveGroupResponse, MemberResponse};
use rustka_wire::list_groups_request::ListGroupsRequest;
use rustka_wire::list_groups_response::ListGroupsResponse;
use rustka_wire::offset_commit_request::OffsetCommitRequest;
use rustka_wire::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use rustka_wire::offset_delete_request::OffsetDeleteRequest;
use rustka_wire::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use rustka_wire::offset_fetch_request::OffsetFetchRequest;
use rustka_wire::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponseTopic,
};
use rustka_wire::sync_group_request::SyncGroupRequest;
use rustka_wire::sync_group_response::SyncGroupResponse;

refusals! {
    OffsetCommitRequest<'_>, |asked, code, version| OffsetCommitResponse {
        topics: each(&asked.topics, |of| OffsetCommitResponseTopic {
            name: of.name.clone(),
            topic_id: of.topic_id,
            partitions: each(&of.partitions, |of| OffsetCommitResponsePartition {
                partition_index: of.partition_index,
                error_code: code,
            }),
        }),
        ..Default::default()
    }, |names| {
        names.group(&asked.group_id);
        asked.topics.iter().for_each(|of| names.topic_or_id(&of.name, of.topic_id));
    };

    OffsetFetchRequest<'_>, |asked, code, version| OffsetFetchResponse {
        error_code: code,
        // From version 2 on the group has a code.
        topics: match version {
            ..2 => each(asked.topics.as_deref().unwrap_or_default(), |of| OffsetFetchResponseTopic {
                name: of.name.clone(),
                partitions: each(&of.partition_indexes, |index| OffsetFetchResponsePartition {
                    partition_index: *index,
                    committed_offset: -1,
                    metadata: Some("".into()),
                    error_code: code,
                    ..Default::default()
                }),
            }),
            _ => Vec::new(),
        },
        groups: each(&asked.groups, |of| OffsetFetchResponseGroup {
            group_id: of.group_id.clone(),
            error_code: code,
            ..Default::default()
        }),
        ..Default::default()
    }, |names| {
        asked.groups.iter().for_each(|of| names.group(&of.group_id));
        asked.topics.iter().flatten().for_each(|of| names.topic(&of.name));
        if asked.groups.is_empty() {
            names.group(&asked.group_id);
        }
        for of in asked.groups.iter().filter_map(|of| of.topics.as_ref()).flatten() {
            names.topic_or_id(&of.name, of.topic_id);
        }
    };

    OffsetDeleteRequest<'_>, |asked, code, version| OffsetDeleteResponse {
        error_code: alone(code, asked.topics.is_empty()),
        topics: each(&asked.topics, |of| OffsetDeleteResponseTopic {
            name: of.name.clone(),
            partitions: each(&of.partitions, |of| OffsetDeleteResponsePartition {
                partition_index: of.partition_index,
                error_code: code,
            }),
        }),
        ..Default::default()
    }, |names| {
        names.group(&asked.group_id);
        asked.topics.iter().for_each(|of| names.topic(&of.name));
    };

    FindCoordinatorRequest<'_>, |asked, code, version| FindCoordinatorResponse {
        error_code: code,
        error_message: None,
        node_id: -1,
        port: -1,
        coordinators: each(&asked.coordinator_keys, |key| Coordinator {
            key: key.clone(),
            node_id: -1,
            port: -1,
            error_code: code,
            error_message: None,
            ..Default::default()
        }),
        ..Default::default()
    }, |names| if asked.key_type == 0 {
        asked.coordinator_keys.iter().for_each(|key| names.group(key));
        if asked.coordinator_keys.is_empty() {
            names.group(&asked.key);
        }
    };

    JoinGroupRequest<'_>, |asked, code, version| JoinGroupResponse {
        error_code: code,
        member_id: asked.member_id.clone(),
        ..Default::default()
    }, |names| names.group(&asked.group_id);

    HeartbeatRequest<'_>, |asked, code, version| HeartbeatResponse {
        error_code: code,
        ..Default::default()
    }, |names| names.group(&asked.group_id);

    SyncGroupRequest<'_>, |asked, code, version| SyncGroupResponse {
        error_code: code,
        ..Default::default()
    }, |names| names.group(&asked.group_id);

    LeaveGroupRequest<'_>, |asked, code, version| LeaveGroupResponse {
        // Before version 3 there is one member, and one code.
        error_code: alone(code, asked.members.is_empty()),
        members: each(&asked.members, |of| MemberResponse {
            member_id: of.member_id.clone(),
            group_instance_id: of.group_instance_id.clone(),
            error_code: code,
        }),
        ..Default::default()
    }, |names| names.group(&asked.group_id);

    DescribeGroupsRequest<'_>, |asked, code, version| DescribeGroupsResponse {
        groups: each(&asked.groups, |id| DescribedGroup {
            error_code: code,
            error_message: None,
            group_id: id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }, |names| asked.groups.iter().for_each(|id| names.group(id));

    ConsumerGroupHeartbeatRequest<'_>, |asked, code, version| ConsumerGroupHeartbeatResponse {
        error_code: code,
        error_message: None,
        ..Default::default()
    }, |names| {
        names.group(&asked.group_id);
        asked.subscribed_topic_names.iter().flatten().for_each(|topic| names.topic(topic));
    };

    ConsumerGroupDescribeRequest<'_>, |asked, code, version| ConsumerGroupDescribeResponse {
        groups: each(&asked.group_ids, |id| ConsumerDescribed {
            error_code: code,
            error_message: None,
            group_id: id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }, |names| asked.group_ids.iter().for_each(|id| names.group(id));

    ListGroupsRequest<'_>, |asked, code, version| ListGroupsResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    DeleteGroupsRequest<'_>, |asked, code, version| DeleteGroupsResponse {
        results: each(&asked.groups_names, |id| DeletableGroupResult {
            group_id: id.clone(),
            error_code: code,
            error_message: None,
        }),
        ..Default::default()
    }, |names| asked.groups_names.iter().for_each(|id| names.group(id));

    InitProducerIdRequest<'_>, |asked, code, version| InitProducerIdResponse {
        error_code: code,
        producer_epoch: -1,
        ..Default::default()
    }, |names| ();

}
