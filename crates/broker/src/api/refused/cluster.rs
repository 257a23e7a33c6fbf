//! Requests about the cluster, its configs, its users and its clients.

use super::{Names, Refusable, Row, alone, each};
use rustka_wire::alter_client_quotas_request::AlterClientQuotasRequest;
use rustka_wire::alter_client_quotas_response::{AlterClientQuotasResponse, EntityData, EntryData};
use rustka_wire::alter_configs_request::AlterConfigsRequest;
use rustka_wire::alter_configs_response::{self, AlterConfigsResponse};
use rustka_wire::alter_user_scram_credentials_request::AlterUserScramCredentialsRequest;
use rustka_wire::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustka_wire::codec::{Reader, Writer};
use rustka_wire::create_acls_request::CreateAclsRequest;
use rustka_wire::create_acls_response::{AclCreationResult, CreateAclsResponse};
use rustka_wire::create_delegation_token_request::CreateDelegationTokenRequest;
use rustka_wire::create_delegation_token_response::CreateDelegationTokenResponse;
use rustka_wire::delete_acls_request::DeleteAclsRequest;
use rustka_wire::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsResponse};
use rustka_wire::describe_acls_request::DescribeAclsRequest;
use rustka_wire::describe_acls_response::DescribeAclsResponse;
use rustka_wire::describe_client_quotas_request::DescribeClientQuotasRequest;
use rustka_wire::describe_client_quotas_response::DescribeClientQuotasResponse;
use rustka_wire::describe_cluster_request::DescribeClusterRequest;
use rustka_wire::describe_cluster_response::DescribeClusterResponse;
use rustka_wire::describe_configs_request::DescribeConfigsRequest;
use rustka_wire::describe_configs_response::{DescribeConfigsResponse, DescribeConfigsResult};
use rustka_wire::describe_delegation_token_request::DescribeDelegationTokenRequest;
use rustka_wire::describe_delegation_token_response::DescribeDelegationTokenResponse;
use rustka_wire::describe_quorum_request::DescribeQuorumRequest;
use rustka_wire::describe_quorum_response::{DescribeQuorumResponse, PartitionData, TopicData};
use rustka_wire::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use rustka_wire::describe_user_scram_credentials_response::{
    DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};
use rustka_wire::expire_delegation_token_request::ExpireDelegationTokenRequest;
use rustka_wire::expire_delegation_token_response::ExpireDelegationTokenResponse;
use rustka_wire::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use rustka_wire::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
use rustka_wire::incremental_alter_configs_request::IncrementalAlterConfigsRequest;
use rustka_wire::incremental_alter_configs_response::{self, IncrementalAlterConfigsResponse};
use rustka_wire::list_config_resources_request::ListConfigResourcesRequest;
use rustka_wire::list_config_resources_response::ListConfigResourcesResponse;
use rustka_wire::push_telemetry_request::PushTelemetryRequest;
use rustka_wire::push_telemetry_response::PushTelemetryResponse;
use rustka_wire::renew_delegation_token_request::RenewDelegationTokenRequest;
use rustka_wire::renew_delegation_token_response::RenewDelegationTokenResponse;
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use rustka_wire::sasl_handshake_response::SaslHandshakeResponse;
use rustka_wire::unregister_broker_request::UnregisterBrokerRequest;
use rustka_wire::unregister_broker_response::UnregisterBrokerResponse;
use rustka_wire::update_features_request::UpdateFeaturesRequest;
use rustka_wire::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};

refusals! {
    ApiVersionsRequest<'_>, |asked, code, version| ApiVersionsResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    SaslHandshakeRequest<'_>, |asked, code, version| SaslHandshakeResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    SaslAuthenticateRequest<'_>, |asked, code, version| SaslAuthenticateResponse {
        error_code: code,
        error_message: None,
        ..Default::default()
    }, |names| ();

    DescribeConfigsRequest<'_>, |asked, code, version| DescribeConfigsResponse {
        results: each(&asked.resources, |of| DescribeConfigsResult {
            error_code: code,
            error_message: None,
            resource_type: of.resource_type,
            resource_name: of.resource_name.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }, |names| for of in &asked.resources {
        names.resource(of.resource_type, &of.resource_name);
    };

    AlterConfigsRequest<'_>, |asked, code, version| AlterConfigsResponse {
        responses: each(&asked.resources, |of| alter_configs_response::AlterConfigsResourceResponse {
            error_code: code,
            error_message: None,
            resource_type: of.resource_type,
            resource_name: of.resource_name.clone(),
        }),
        ..Default::default()
    }, |names| for of in &asked.resources {
        names.resource(of.resource_type, &of.resource_name);
    };

    IncrementalAlterConfigsRequest<'_>, |asked, code, version| IncrementalAlterConfigsResponse {
        responses: each(&asked.resources, |of| incremental_alter_configs_response::AlterConfigsResourceResponse {
            error_code: code,
            error_message: None,
            resource_type: of.resource_type,
            resource_name: of.resource_name.clone(),
        }),
        ..Default::default()
    }, |names| for of in &asked.resources {
        names.resource(of.resource_type, &of.resource_name);
    };

    ListConfigResourcesRequest, |asked, code, version| ListConfigResourcesResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    DescribeQuorumRequest<'_>, |asked, code, version| DescribeQuorumResponse {
        error_code: alone(code, asked.topics.is_empty()),
        error_message: None,
        topics: each(&asked.topics, |of| TopicData {
            topic_name: of.topic_name.clone(),
            partitions: each(&of.partitions, |of| PartitionData {
                partition_index: of.partition_index,
                error_code: code,
                error_message: None,
                leader_id: -1,
                leader_epoch: -1,
                high_watermark: -1,
                ..Default::default()
            }),
        }),
        ..Default::default()
    }, |names| asked.topics.iter().for_each(|of| names.topic(&of.topic_name));

    UpdateFeaturesRequest<'_>, |asked, code, version| UpdateFeaturesResponse {
        // From version 2 on the answer has no other code.
        error_code: alone(code, version >= 2 || asked.feature_updates.is_empty()),
        error_message: None,
        results: match version {
            ..2 => each(&asked.feature_updates, |of| UpdatableFeatureResult {
                feature: of.feature.clone(),
                error_code: code,
                error_message: None,
            }),
            _ => Vec::new(),
        },
        ..Default::default()
    }, |names| ();

    DescribeClusterRequest, |asked, code, version| DescribeClusterResponse {
        error_code: code,
        error_message: None,
        ..Default::default()
    }, |names| ();

    UnregisterBrokerRequest, |asked, code, version| UnregisterBrokerResponse {
        error_code: code,
        error_message: None,
        ..Default::default()
    }, |names| ();

    GetTelemetrySubscriptionsRequest, |asked, code, version| GetTelemetrySubscriptionsResponse {
        error_code: code,
        client_instance_id: asked.client_instance_id,
        ..Default::default()
    }, |names| ();

    PushTelemetryRequest<'_>, |asked, code, version| PushTelemetryResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    DescribeClientQuotasRequest<'_>, |asked, code, version| DescribeClientQuotasResponse {
        error_code: code,
        error_message: None,
        entries: None,
        ..Default::default()
    }, |names| ();

    AlterClientQuotasRequest<'_>, |asked, code, version| AlterClientQuotasResponse {
        entries: each(&asked.entries, |entry| EntryData {
            error_code: code,
            error_message: None,
            entity: each(&entry.entity, |part| EntityData {
                entity_type: part.entity_type.clone(),
                entity_name: part.entity_name.clone(),
            }),
        }),
        ..Default::default()
    }, |names| ();

    DescribeUserScramCredentialsRequest<'_>, |asked, code, version| DescribeUserScramCredentialsResponse {
        error_code: alone(code, asked.users.as_ref().is_none_or(Vec::is_empty)),
        error_message: None,
        results: each(asked.users.as_deref().unwrap_or_default(), |of| {
            DescribeUserScramCredentialsResult {
                user: of.name.clone(),
                error_code: code,
                error_message: None,
                ..Default::default()
            }
        }),
        ..Default::default()
    }, |names| ();

    AlterUserScramCredentialsRequest<'_>, |asked, code, version| {
        let deleted = asked.deletions.iter().map(|of| &of.name);
        let mut users: Vec<_> = deleted.chain(asked.upsertions.iter().map(|of| &of.name)).collect();
        users.sort();
        users.dedup();
        AlterUserScramCredentialsResponse {
            results: each(&users, |user| AlterUserScramCredentialsResult {
                user: (*user).clone(),
                error_code: code,
                error_message: None,
            }),
            ..Default::default()
        }
    }, |names| ();


    CreateDelegationTokenRequest<'_>, |asked, code, version| CreateDelegationTokenResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    RenewDelegationTokenRequest<'_>, |asked, code, version| RenewDelegationTokenResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    ExpireDelegationTokenRequest<'_>, |asked, code, version| ExpireDelegationTokenResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    DescribeDelegationTokenRequest<'_>, |asked, code, version| DescribeDelegationTokenResponse {
        error_code: code,
        ..Default::default()
    }, |names| ();

    DescribeAclsRequest<'_>, |asked, code, version| DescribeAclsResponse {
        error_code: code,
        error_message: None,
        ..Default::default()
    }, |names| ();

    CreateAclsRequest<'_>, |asked, code, version| CreateAclsResponse {
        results: each(&asked.creations, |_| AclCreationResult {
            error_code: code,
            error_message: None,
        }),
        ..Default::default()
    }, |names| ();

    DeleteAclsRequest<'_>, |asked, code, version| DeleteAclsResponse {
        filter_results: each(&asked.filters, |_| DeleteAclsFilterResult {
            error_code: code,
            error_message: None,
            ..Default::default()
        }),
        ..Default::default()
    }, |names| ();
}
