//! Requests about topics and what is in them.

use super::{Names, Refusable, Row, alone, each};
use rustka_wire::alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
use rustka_wire::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use rustka_wire::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use rustka_wire::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use rustka_wire::codec::{Reader, Writer};
use rustka_wire::create_partitions_request::CreatePartitionsRequest;
use rustka_wire::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use rustka_wire::create_topics_request::CreateTopicsRequest;
use rustka_wire::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use rustka_wire::delete_records_request::DeleteRecordsRequest;
use rustka_wire::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use rustka_wire::delete_topics_request::DeleteTopicsRequest;
use rustka_wire::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use rustka_wire::describe_log_dirs_request::DescribeLogDirsRequest;
use rustka_wire::describe_log_dirs_response::{DescribeLogDirsResponse, DescribeLogDirsResult};
use rustka_wire::describe_producers_request::DescribeProducersRequest;
use rustka_wire::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, TopicResponse,
};
use rustka_wire::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use rustka_wire::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponseTopic,
};
use rustka_wire::elect_leaders_request::ElectLeadersRequest;
use rustka_wire::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use rustka_wire::list_offsets_request::ListOffsetsRequest;
use rustka_wire::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use rustka_wire::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use rustka_wire::list_partition_reassignments_response::ListPartitionReassignmentsResponse;
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::metadata_response::{MetadataResponse, MetadataResponseTopic};
use rustka_wire::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use rustka_wire::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};

refusals! {
    ProduceRequest<'_>, |asked, code, version| ProduceResponse {
        responses: each(&asked.topic_data, |of| TopicProduceResponse {
            name: of.name.clone(),
            topic_id: of.topic_id,
            partition_responses: each(&of.partition_data, |of| PartitionProduceResponse {
                index: of.index,
                error_code: code,
                base_offset: -1,
                error_message: None,
                ..Default::default()
            }),
        }),
        ..Default::default()
    }, |names| asked.topic_data.iter().for_each(|of| names.topic_or_id(&of.name, of.topic_id));

    FetchRequest<'_>, |asked, code, version| FetchResponse {
        error_code: alone(code, asked.topics.iter().all(|of| of.partitions.is_empty())),
        session_id: asked.session_id,
        responses: each(&asked.topics, |of| FetchableTopicResponse {
            topic: of.topic.clone(),
            topic_id: of.topic_id,
            partitions: each(&of.partitions, |of| PartitionData {
                partition_index: of.partition,
                error_code: code,
                high_watermark: -1,
                ..Default::default()
            }),
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic_or_id(&of.topic, of.topic_id));

    ListOffsetsRequest<'_>, |asked, code, version| ListOffsetsResponse {
        topics: each(&asked.topics, |of| ListOffsetsTopicResponse {
            name: of.name.clone(),
            partitions: each(&of.partitions, |of| ListOffsetsPartitionResponse {
                partition_index: of.partition_index,
                error_code: code,
                ..Default::default()
            }),
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic(&of.name));

    MetadataRequest<'_>, |asked, code, version| MetadataResponse {
        error_code: alone(code, asked.topics.as_ref().is_none_or(Vec::is_empty)),
        topics: each(asked.topics.as_deref().unwrap_or_default(), |of| MetadataResponseTopic {
            error_code: code,
            // Before version 12 the name may not be null.
            name: of.name.clone().or_else(|| (version < 12).then(Default::default)),
            topic_id: of.topic_id,
            ..Default::default()
        }),
        ..Default::default()
    }, |names| for of in asked.topics.iter().flatten() {
        names.topic_or_id(of.name.as_deref().unwrap_or_default(), of.topic_id);
    };

    CreateTopicsRequest<'_>, |asked, code, version| CreateTopicsResponse {
        topics: each(&asked.topics, |of| CreatableTopicResult {
            name: of.name.clone(),
            error_code: code,
            error_message: None,
            ..Default::default()
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic(&of.name));

    DeleteTopicsRequest<'_>, |asked, code, version| {
        let named = asked.topic_names.iter().map(|name| (Some(name.clone()), Default::default()));
        let stated = asked.topics.iter().map(|of| (of.name.clone(), of.topic_id));
        DeleteTopicsResponse {
            responses: named.chain(stated).map(|(name, topic_id)| DeletableTopicResult {
                name,
                topic_id,
                error_code: code,
                error_message: None,
            }).collect(),
            ..Default::default()
        }
    }, |names| {
        asked.topic_names.iter().for_each(|name| names.topic(name));
        for of in &asked.topics {
            names.topic_or_id(of.name.as_deref().unwrap_or_default(), of.topic_id);
        }
    };

    DeleteRecordsRequest<'_>, |asked, code, version| DeleteRecordsResponse {
        topics: each(&asked.topics, |of| DeleteRecordsTopicResult {
            name: of.name.clone(),
            partitions: each(&of.partitions, |of| DeleteRecordsPartitionResult {
                partition_index: of.partition_index,
                low_watermark: -1,
                error_code: code,
            }),
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic(&of.name));

    OffsetForLeaderEpochRequest<'_>, |asked, code, version| OffsetForLeaderEpochResponse {
        topics: each(&asked.topics, |of| OffsetForLeaderTopicResult {
            topic: of.topic.clone(),
            partitions: each(&of.partitions, |of| EpochEndOffset {
                error_code: code,
                partition: of.partition,
                ..Default::default()
            }),
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic(&of.topic));

    CreatePartitionsRequest<'_>, |asked, code, version| CreatePartitionsResponse {
        results: each(&asked.topics, |of| CreatePartitionsTopicResult {
            name: of.name.clone(),
            error_code: code,
            error_message: None,
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic(&of.name));

    ElectLeadersRequest<'_>, |asked, code, version| ElectLeadersResponse {
        error_code: alone(code, asked.topic_partitions.as_ref().is_none_or(Vec::is_empty)),
        replica_election_results: each(asked.topic_partitions.as_deref().unwrap_or_default(), |of| {
            ReplicaElectionResult {
                topic: of.topic.clone(),
                partition_result: each(&of.partitions, |index| PartitionResult {
                    partition_id: *index,
                    error_code: code,
                    error_message: None,
                }),
            }
        }),
        ..Default::default()
    }, |names| asked.topic_partitions.iter().flatten().for_each(|of| names.topic(&of.topic));

    AlterPartitionReassignmentsRequest<'_>, |asked, code, version| AlterPartitionReassignmentsResponse {
        error_code: alone(code, asked.topics.is_empty()),
        error_message: None,
        responses: each(&asked.topics, |of| ReassignableTopicResponse {
            name: of.name.clone(),
            partitions: each(&of.partitions, |of| ReassignablePartitionResponse {
                partition_index: of.partition_index,
                error_code: code,
                error_message: None,
            }),
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic(&of.name));

    ListPartitionReassignmentsRequest<'_>, |asked, code, version| ListPartitionReassignmentsResponse {
        error_code: code,
        error_message: None,
        ..Default::default()
    }, |names| asked.topics.iter().flatten().for_each(|of| names.topic(&of.name));

    DescribeProducersRequest<'_>, |asked, code, version| DescribeProducersResponse {
        topics: each(&asked.topics, |of| TopicResponse {
            name: of.name.clone(),
            partitions: each(&of.partition_indexes, |index| PartitionResponse {
                partition_index: *index,
                error_code: code,
                error_message: None,
                ..Default::default()
            }),
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic(&of.name));

    DescribeTopicPartitionsRequest<'_>, |asked, code, version| DescribeTopicPartitionsResponse {
        topics: each(&asked.topics, |of| DescribeTopicPartitionsResponseTopic {
            error_code: code,
            name: Some(of.name.clone()),
            ..Default::default()
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic(&of.name));

    AlterReplicaLogDirsRequest<'_>, |asked, code, version| AlterReplicaLogDirsResponse {
        results: asked.dirs.iter().flat_map(|dir| &dir.topics).map(|of| {
            AlterReplicaLogDirTopicResult {
                topic_name: of.name.clone(),
                partitions: each(&of.partitions, |index| AlterReplicaLogDirPartitionResult {
                    partition_index: *index,
                    error_code: code,
                }),
            }
        }).collect(),
        ..Default::default()
    }, |names| asked.dirs.iter().flat_map(|dir| &dir.topics).for_each(|of| names.topic(&of.name));

    DescribeLogDirsRequest<'_>, |asked, code, version| DescribeLogDirsResponse {
        error_code: code,
        // Before version 3 there is no code but that of a directory.
        results: match version {
            ..3 => vec![DescribeLogDirsResult { error_code: code, ..Default::default() }],
            _ => Vec::new(),
        },
        ..Default::default()
    }, |names| asked.topics.iter().flatten().for_each(|of| names.topic(&of.topic));

}
