//! Requests about transactions.

use super::{Names, Refusable, Row, alone, each};
use rustka_wire::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use rustka_wire::add_offsets_to_txn_response::AddOffsetsToTxnResponse;
use rustka_wire::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use rustka_wire::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
};
use rustka_wire::codec::{Reader, Writer};
use rustka_wire::describe_transactions_request::DescribeTransactionsRequest;
use rustka_wire::describe_transactions_response::{DescribeTransactionsResponse, TransactionState};
use rustka_wire::end_txn_request::EndTxnRequest;
use rustka_wire::end_txn_response::EndTxnResponse;
use rustka_wire::list_transactions_request::ListTransactionsRequest;
use rustka_wire::list_transactions_response::ListTransactionsResponse;
use rustka_wire::txn_offset_commit_request::TxnOffsetCommitRequest;
use rustka_wire::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use rustka_wire::write_txn_markers_request::WriteTxnMarkersRequest;
use rustka_wire::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
};

fn added<'a>(
    topics: &[AddPartitionsToTxnTopic<'a>],
    code: i16,
) -> Vec<AddPartitionsToTxnTopicResult<'a>> {
    each(topics, |of| AddPartitionsToTxnTopicResult {
        name: of.name.clone(),
        results_by_partition: each(&of.partitions, |at| AddPartitionsToTxnPartitionResult {
            partition_index: *at,
            partition_error_code: code,
        }),
    })
}

refusals! {
    AddPartitionsToTxnRequest<'_>, |asked, code, version| AddPartitionsToTxnResponse {
        error_code: alone(code, asked.transactions.is_empty()),
        results_by_transaction: each(&asked.transactions, |of| AddPartitionsToTxnResult {
            transactional_id: of.transactional_id.clone(),
            topic_results: added(&of.topics, code),
        }),
        results_by_topic_v3_and_below: added(&asked.v3_and_below_topics, code),
        ..Default::default()
    }, |names| {
        asked.v3_and_below_topics.iter().for_each(|of| names.topic(&of.name));
        for of in asked.transactions.iter().flat_map(|of| &of.topics) {
            names.topic(&of.name);
        }
    };

    AddOffsetsToTxnRequest<'_>, |asked, code, version| AddOffsetsToTxnResponse {
        error_code: code,
        ..Default::default()
    }, |names| names.group(&asked.group_id);

    EndTxnRequest<'_>, |asked, code, version| EndTxnResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    WriteTxnMarkersRequest<'_>, |asked, code, version| WriteTxnMarkersResponse {
        markers: each(&asked.markers, |of| WritableTxnMarkerResult {
            producer_id: of.producer_id,
            topics: each(&of.topics, |of| WritableTxnMarkerTopicResult {
                name: of.name.clone(),
                partitions: each(&of.partition_indexes, |at| WritableTxnMarkerPartitionResult {
                    partition_index: *at,
                    error_code: code,
                }),
            }),
        }),
    }, |names| {
        for of in asked.markers.iter().flat_map(|of| &of.topics) {
            names.topic(&of.name);
        }
    };

    TxnOffsetCommitRequest<'_>, |asked, code, version| TxnOffsetCommitResponse {
        topics: each(&asked.topics, |of| TxnOffsetCommitResponseTopic {
            name: of.name.clone(),
            topic_id: of.topic_id,
            partitions: each(&of.partitions, |at| TxnOffsetCommitResponsePartition {
                partition_index: at.partition_index,
                error_code: code,
            }),
        }),
        ..Default::default()
    }, |names| {
        names.group(&asked.group_id);
        asked.topics.iter().for_each(|of| names.topic_or_id(&of.name, of.topic_id));
    };

    DescribeTransactionsRequest<'_>, |asked, code, version| DescribeTransactionsResponse {
        transaction_states: each(&asked.transactional_ids, |id| TransactionState {
            error_code: code,
            transactional_id: id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }, |names| ();

    ListTransactionsRequest<'_>, |asked, code, version| ListTransactionsResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

}
