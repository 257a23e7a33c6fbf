//! What is served: one row per API. ApiVersions, dispatch, documentation and tests read this table.

pub mod faulty;
mod timed;
mod unopened;
mod watched;

use crate::api::parts::Parts;
use crate::api::quota::Bill;
use crate::api::reply::Reply;
use crate::api::request::{Header, Outcome, Request, Respond};
use crate::api::served::{Api, is_offered};
use crate::handlers::cluster::*;
use crate::handlers::configs::*;
use crate::handlers::groups::*;
use crate::handlers::offsets::*;
use crate::handlers::security::*;
use crate::handlers::topics::*;
use crate::handlers::transactions::*;
use crate::handlers::{fetch, produce};
use crate::node::Peer;
use rustka_core::error::ErrorCode;
use rustka_wire::api::{self, ApiKey};
use rustka_wire::api_versions_response::ApiVersionsResponse;
use timed::Timed;
use watched::Asked;

macro_rules! apis {
    ($($request:ty, $min:literal to $max:literal => $handler:path;)*) => {
        /// Every API that is served, by key.
        pub static APIS: &[Api] = &[$(Api { key: <$request>::KEY, min: $min, max: $max, handler: |request| $handler(request).into() },)*];
        static PLACES: [u8; 128] = api::places(&[$(<$request>::KEY),*]);

        /// What a request of a client, or its answer, says; nothing where its bytes are none.
        #[cfg(feature = "http")]
        pub fn decoded(key: i16, version: i16, is_answer: bool, body: &[u8]) -> Option<serde_json::Value> {
            use rustka_wire::Reader;
            let mut reader = Reader::new(body);
            $(if key == <$request>::KEY {
                return match is_answer {
                    false => <$request>::decode(&mut reader, version).ok().map(|said| said.to_json(version)),
                    true => <$request as rustka_wire::Request>::Response::decode(&mut reader, version)
                        .ok()
                        .map(|said| said.to_json(version)),
                };
            })*
            None
        }
    };
}

use rustka_wire::{
    add_offsets_to_txn_request::AddOffsetsToTxnRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnRequest,
    alter_client_quotas_request::AlterClientQuotasRequest,
    alter_configs_request::AlterConfigsRequest,
    alter_partition_reassignments_request::AlterPartitionReassignmentsRequest,
    alter_replica_log_dirs_request::AlterReplicaLogDirsRequest,
    alter_user_scram_credentials_request::AlterUserScramCredentialsRequest,
    api_versions_request::ApiVersionsRequest,
    consumer_group_describe_request::ConsumerGroupDescribeRequest,
    consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest,
    create_acls_request::CreateAclsRequest,
    create_delegation_token_request::CreateDelegationTokenRequest,
    create_partitions_request::CreatePartitionsRequest, create_topics_request::CreateTopicsRequest,
    delete_acls_request::DeleteAclsRequest, delete_groups_request::DeleteGroupsRequest,
    delete_records_request::DeleteRecordsRequest, delete_topics_request::DeleteTopicsRequest,
    describe_acls_request::DescribeAclsRequest,
    describe_client_quotas_request::DescribeClientQuotasRequest,
    describe_cluster_request::DescribeClusterRequest,
    describe_configs_request::DescribeConfigsRequest,
    describe_delegation_token_request::DescribeDelegationTokenRequest,
    describe_groups_request::DescribeGroupsRequest,
    describe_log_dirs_request::DescribeLogDirsRequest,
    describe_producers_request::DescribeProducersRequest,
    describe_quorum_request::DescribeQuorumRequest,
    describe_topic_partitions_request::DescribeTopicPartitionsRequest,
    describe_transactions_request::DescribeTransactionsRequest,
    describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest,
    elect_leaders_request::ElectLeadersRequest, end_txn_request::EndTxnRequest,
    expire_delegation_token_request::ExpireDelegationTokenRequest, fetch_request::FetchRequest,
    find_coordinator_request::FindCoordinatorRequest,
    get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest,
    heartbeat_request::HeartbeatRequest,
    incremental_alter_configs_request::IncrementalAlterConfigsRequest,
    init_producer_id_request::InitProducerIdRequest, join_group_request::JoinGroupRequest,
    leave_group_request::LeaveGroupRequest,
    list_config_resources_request::ListConfigResourcesRequest,
    list_groups_request::ListGroupsRequest, list_offsets_request::ListOffsetsRequest,
    list_partition_reassignments_request::ListPartitionReassignmentsRequest,
    list_transactions_request::ListTransactionsRequest, metadata_request::MetadataRequest,
    offset_commit_request::OffsetCommitRequest, offset_delete_request::OffsetDeleteRequest,
    offset_fetch_request::OffsetFetchRequest,
    offset_for_leader_epoch_request::OffsetForLeaderEpochRequest, produce_request::ProduceRequest,
    push_telemetry_request::PushTelemetryRequest,
    renew_delegation_token_request::RenewDelegationTokenRequest,
    sasl_authenticate_request::SaslAuthenticateRequest,
    sasl_handshake_request::SaslHandshakeRequest, sync_group_request::SyncGroupRequest,
    txn_offset_commit_request::TxnOffsetCommitRequest,
    unregister_broker_request::UnregisterBrokerRequest,
    update_features_request::UpdateFeaturesRequest,
    write_txn_markers_request::WriteTxnMarkersRequest,
};

apis! {
    // Produce says 0 although 0 to 2 are not served: old librdkafka turns compression off otherwise (KAFKA-18659).
    ProduceRequest<'_>, 0 to 13 => produce::handle;
    FetchRequest<'_>, 4 to 18 => fetch::handle;
    ListOffsetsRequest<'_>, 1 to 11 => list_offsets::handle;
    MetadataRequest<'_>, 0 to 13 => metadata::handle;
    OffsetCommitRequest<'_>, 2 to 10 => offset_commit::handle;
    OffsetFetchRequest<'_>, 1 to 10 => offset_fetch::handle;
    FindCoordinatorRequest<'_>, 0 to 6 => find_coordinator::handle;
    JoinGroupRequest<'_>, 0 to 9 => join_group::handle;
    HeartbeatRequest<'_>, 0 to 4 => heartbeat::handle;
    LeaveGroupRequest<'_>, 0 to 5 => leave_group::handle;
    SyncGroupRequest<'_>, 0 to 5 => sync_group::handle;
    DescribeGroupsRequest<'_>, 0 to 6 => describe_groups::handle;
    ListGroupsRequest<'_>, 0 to 5 => list_groups::handle;
    SaslHandshakeRequest<'_>, 0 to 1 => sasl::handshake;
    ApiVersionsRequest<'_>, 0 to 5 => api_versions::handle;
    CreateTopicsRequest<'_>, 2 to 7 => create_topics::handle;
    DeleteTopicsRequest<'_>, 1 to 6 => delete_topics::handle;
    DeleteRecordsRequest<'_>, 0 to 2 => delete_records::handle;
    InitProducerIdRequest<'_>, 0 to 5 => init_producer_id::handle;
    OffsetForLeaderEpochRequest<'_>, 2 to 4 => offset_for_leader_epoch::handle;
    AddPartitionsToTxnRequest<'_>, 0 to 5 => add_partitions_to_txn::handle;
    AddOffsetsToTxnRequest<'_>, 0 to 4 => add_offsets_to_txn::handle;
    EndTxnRequest<'_>, 0 to 5 => end_txn::handle;
    WriteTxnMarkersRequest<'_>, 1 to 2 => write_txn_markers::handle;
    TxnOffsetCommitRequest<'_>, 0 to 6 => txn_offset_commit::handle;
    DescribeAclsRequest<'_>, 1 to 3 => acls::describe;
    CreateAclsRequest<'_>, 1 to 3 => acls::create;
    DeleteAclsRequest<'_>, 1 to 3 => acls::delete;
    DescribeConfigsRequest<'_>, 1 to 4 => describe_configs::handle;
    AlterConfigsRequest<'_>, 0 to 2 => alter_configs::replace;
    AlterReplicaLogDirsRequest<'_>, 1 to 2 => alter_replica_log_dirs::handle;
    DescribeLogDirsRequest<'_>, 1 to 5 => describe_log_dirs::handle;
    SaslAuthenticateRequest<'_>, 0 to 2 => sasl::authenticate;
    CreatePartitionsRequest<'_>, 0 to 3 => create_partitions::handle;
    CreateDelegationTokenRequest<'_>, 1 to 3 => tokens::create;
    RenewDelegationTokenRequest<'_>, 1 to 2 => tokens::renew;
    ExpireDelegationTokenRequest<'_>, 1 to 2 => tokens::expire;
    DescribeDelegationTokenRequest<'_>, 1 to 3 => tokens::describe;
    DeleteGroupsRequest<'_>, 0 to 3 => delete_groups::handle;
    ElectLeadersRequest<'_>, 0 to 2 => elect_leaders::handle;
    IncrementalAlterConfigsRequest<'_>, 0 to 1 => alter_configs::incremental;
    AlterPartitionReassignmentsRequest<'_>, 0 to 1 => reassignments::alter;
    ListPartitionReassignmentsRequest<'_>, 0 to 0 => reassignments::list;
    OffsetDeleteRequest<'_>, 0 to 0 => offset_delete::handle;
    DescribeClientQuotasRequest<'_>, 0 to 1 => quotas::describe;
    AlterClientQuotasRequest<'_>, 0 to 1 => quotas::alter;
    DescribeUserScramCredentialsRequest<'_>, 0 to 0 => scram_users::describe;
    AlterUserScramCredentialsRequest<'_>, 0 to 0 => scram_users::alter;
    DescribeQuorumRequest<'_>, 0 to 2 => describe_quorum::handle;
    UpdateFeaturesRequest<'_>, 0 to 2 => update_features::handle;
    DescribeClusterRequest, 0 to 2 => describe_cluster::handle;
    DescribeProducersRequest<'_>, 0 to 0 => describe_producers::handle;
    UnregisterBrokerRequest, 0 to 0 => unregister_broker::handle;
    DescribeTransactionsRequest<'_>, 0 to 0 => describe_transactions::handle;
    ListTransactionsRequest<'_>, 0 to 2 => list_transactions::handle;
    ConsumerGroupHeartbeatRequest<'_>, 0 to 1 => consumer_group_heartbeat::handle;
    ConsumerGroupDescribeRequest<'_>, 0 to 1 => consumer_group_describe::handle;
    GetTelemetrySubscriptionsRequest, 0 to 0 => telemetry::get;
    PushTelemetryRequest<'_>, 0 to 0 => telemetry::push;
    ListConfigResourcesRequest, 0 to 1 => list_config_resources::handle;
    DescribeTopicPartitionsRequest<'_>, 0 to 0 => describe_topic_partitions::handle;
}

/// What serves this key.
fn find(key: i16) -> Option<&'static Api> {
    let at = *PLACES.get(usize::try_from(key).ok()?)?;
    APIS.get(usize::from(at))
}

/// Serves a request, once what it asks for is open after a start, and records it while somebody watches.
pub fn dispatch(request: Request<'_>) -> Outcome {
    let (asked, timed) = (Asked::of(&request), Timed::of(&request));
    let outcome = match request.node.opener.left() {
        0 => struck(request),
        _ => unopened::park(request, struck).unwrap_or_else(struck),
    };
    let outcome = match timed {
        Some(timed) => timed.answered(outcome),
        None => outcome,
    };
    match asked {
        Some(asked) => asked.answered(outcome),
        None => outcome,
    }
}

/// Serves a request, unless a fault was armed for it.
fn struck(request: Request<'_>) -> Outcome {
    match request.node.faults.any_armed() && !request.peer().is_own {
        true => faulty::dispatch(request),
        false => serve(request),
    }
}

/// Hands a request to its handler. An unknown key or version ends the connection, as in Kafka (E5); only
/// ApiVersions answers what it does not understand (E2).
fn serve(mut request: Request<'_>) -> Outcome {
    let node = request.node;
    request.bill = Bill::open(node, request.caller, request.frame.bytes().len());
    let bill = request.bill.clone();
    let outcome = route(request);
    if let (Outcome::Park(_) | Outcome::Later(_), Some(bill)) = (&outcome, &bill) {
        bill.pause();
    }
    outcome
}

/// The answer to ApiVersions before a login, with the error code in it; or why there is none.
pub fn versions(
    parts: &Parts,
    peer: &Peer,
    header: &Header,
    body: &[u8],
) -> Result<(Reply, ErrorCode), String> {
    let version = header.version;
    if !(0..=ApiVersionsRequest::MAX_VERSION).contains(&version) {
        let response = api_versions::unsupported(parts);
        let reply = Respond::to(header).encode(&[], |w| response.encode(w, 0));
        return Ok((reply, ErrorCode::UnsupportedVersion));
    }
    let (response, code) = api_versions::answer(parts, peer, version, body)
        .map_err(|error| format!("malformed ApiVersions: {error}"))?;
    let reply = Respond::to(header).encode(&[], |w| response.encode(w, version));
    Ok((reply, code))
}

/// An ApiVersions that comes out of place, if its version is known.
pub fn refused_versions(header: &Header, code: ErrorCode) -> Option<Reply> {
    let version = header.version;
    let response = ApiVersionsResponse {
        error_code: code.code(),
        ..Default::default()
    };
    (0..=ApiVersionsRequest::MAX_VERSION)
        .contains(&version)
        .then(|| Respond::to(header).encode(&[], |w| response.encode(w, version)))
}

fn route(request: Request<'_>) -> Outcome {
    let (key, version) = (request.header.api, request.header.version);
    let Some(api) = find(key) else {
        return Outcome::Close(match ApiKey::find(key) {
            Some(api) => format!("{} (API key {key}) is not served", api.name),
            None => format!("unknown API key {key}"),
        });
    };
    if !is_offered(request.node, key) {
        return Outcome::Close(format!("API key {key} is not served now"));
    }
    if !request.peer().is_own {
        request.node.metrics.request(key);
    }
    let served =
        ApiKey::find(key).is_some_and(|known| version >= known.min_version) && version <= api.max;
    if !served {
        if key == ApiVersionsRequest::KEY {
            let mut response = api_versions::unsupported(request.parts);
            response.throttle_time_ms = request.throttle_time_ms();
            return request.reply(|w| response.encode(w, 0));
        }
        return Outcome::Close(format!("API key {key} is not served in version {version}"));
    }
    (api.handler)(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::refused;

    #[test]
    fn every_api_can_be_refused_on_purpose() {
        for api in APIS {
            assert!(refused::is_known(api.key), "api/refused needs {}", api.key);
        }
    }

    #[test]
    fn the_table_is_sorted_and_within_kafkas_versions() {
        for pair in APIS.windows(2) {
            assert!(pair[0].key < pair[1].key);
        }
        for api in APIS {
            let known = ApiKey::find(api.key).unwrap();
            let told = api.min..=api.max;
            assert!(told.contains(&known.min_version), "{}", known.name);
            let is_first = api.min == known.min_version || api.key == ProduceRequest::KEY;
            assert!(is_first, "{}", known.name);
        }
    }

    /// A version is told when somebody has written what it changes, not when a schema begins to know it.
    #[test]
    fn no_schema_knows_a_version_that_the_table_does_not() {
        for api in APIS {
            let known = ApiKey::find(api.key).unwrap();
            let why = "serve what the new version asks for, then raise the number in the table";
            assert_eq!(api.max, known.max_version, "{}: {why}", known.name);
        }
    }
}
