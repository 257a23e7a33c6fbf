//! Levels of features: what clients are told at first, and after they have been changed.

mod common;

use common::{Client, World};
use rustka_wire::Uuid;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustka_wire::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
use rustka_wire::describe_quorum_response::DescribeQuorumResponse;
use rustka_wire::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use rustka_wire::update_features_response::UpdateFeaturesResponse;

const REPLICAS: &str = "eligible.leader.replicas.version";
const GROUP: &str = "group.version";
const KRAFT: &str = "kraft.version";
const METADATA: &str = "metadata.version";
/// Which protocol producers of transactions speak (KIP-890).
const TRANSACTION: &str = "transaction.version";
const INVALID_UPDATE_VERSION: i16 = 95;
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

/// The levels that ApiVersions tells, and how often they have changed.
async fn levels(client: &mut Client) -> (Vec<(String, i16)>, i64) {
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let answer = client.ask(ApiVersionsRequest::KEY, 4, &request).await;
    let told: ApiVersionsResponse<'_> = answer.body();
    let features = told.finalized_features.iter();
    let levels = features.map(|feature| (feature.name.to_string(), feature.max_version_level));
    (levels.collect(), told.finalized_features_epoch)
}

async fn update(client: &mut Client, feature: &'static str, level: i16, upgrade_type: i8) -> i16 {
    let request = UpdateFeaturesRequest {
        timeout_ms: 10_000,
        feature_updates: vec![FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.ask(UpdateFeaturesRequest::KEY, 2, &request).await;
    answer.body::<UpdateFeaturesResponse<'_>>().error_code
}

/// The directory of the quorum's one voter.
async fn directory(client: &mut Client) -> Uuid {
    let partition = PartitionData { partition_index: 0 };
    let request = DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![partition],
        }],
    };
    let answer = client.ask(DescribeQuorumRequest::KEY, 2, &request).await;
    let quorum: DescribeQuorumResponse<'_> = answer.body();
    quorum.topics[0].partitions[0].current_voters[0].replica_directory_id
}

fn named(levels: &[(&str, i16)]) -> Vec<(String, i16)> {
    let levels = levels.iter();
    levels
        .map(|(name, level)| ((*name).to_owned(), *level))
        .collect()
}

// A tool that read features to find out what a cluster can do found none and took it for one from before KIP-584.
#[tokio::test]
async fn a_new_cluster_has_the_features_of_kafka_that_stand_for_what_is_there() {
    let world = World::start();
    let (told, epoch) = levels(&mut world.connect()).await;
    assert_eq!(
        told,
        named(&[(REPLICAS, 1), (GROUP, 1), (METADATA, 33), (TRANSACTION, 2)])
    );
    assert!(epoch >= 0, "{epoch}");
}

#[tokio::test]
async fn a_changed_level_is_told_at_once_and_the_epoch_grows() {
    let world = World::start();
    let mut client = world.connect();
    let (_, before) = levels(&mut client).await;
    assert_eq!(update(&mut client, REPLICAS, 0, SAFE_DOWNGRADE).await, 0);
    let (told, after) = levels(&mut client).await;
    assert_eq!(told, named(&[(GROUP, 1), (METADATA, 33), (TRANSACTION, 2)]));
    assert!(after > before, "{before} {after}");
    assert_eq!(update(&mut client, REPLICAS, 1, UPGRADE).await, 0);
    let refused = update(&mut client, METADATA, 32, SAFE_DOWNGRADE).await;
    assert_eq!(refused, INVALID_UPDATE_VERSION);
    let (told, _) = levels(&mut client).await;
    assert_eq!(
        told,
        named(&[(REPLICAS, 1), (GROUP, 1), (METADATA, 33), (TRANSACTION, 2)])
    );
}

#[tokio::test]
async fn voters_that_may_change_are_told_with_their_directories() {
    let world = World::start();
    let mut client = world.connect();
    assert_eq!(directory(&mut client).await, Uuid::ZERO);
    assert_eq!(update(&mut client, KRAFT, 1, UPGRADE).await, 0);
    assert_ne!(directory(&mut client).await, Uuid::ZERO);
    let refused = update(&mut client, KRAFT, 0, SAFE_DOWNGRADE).await;
    assert_eq!(refused, INVALID_UPDATE_VERSION);
}
