//! A client over quota is told so in every answer that has a field for it.

mod common;

use common::World;
use rustka::apis::APIS;
use rustka::hooks::{Context, QuotaMeter};
use rustka_oracle_player::schema::Schemas;
use rustka_wire::api::{ApiKey, response_header_version};
use rustka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use rustka_wire::{Encode, Writer};
use serde_json::json;
use std::sync::Arc;

const THROTTLE_MS: u32 = 1_234;
const CLIENT_METRICS: i8 = 16;
/// Answers of some versions have no such field, and those of these APIs in none.
const WITHOUT: &[&str] = &[
    "WriteTxnMarkers",
    "DescribeQuorum",
    "SaslAuthenticate",
    "SaslHandshake",
];

struct Metered;

impl QuotaMeter for Metered {
    fn charge(&self, context: &Context<'_>, _: usize) -> u32 {
        match context.client_id {
            "greedy" => THROTTLE_MS,
            _ => 0,
        }
    }
}

/// The body of a request.
struct Encoded(Vec<u8>);

impl Encode for Encoded {
    fn encode(&self, w: &mut Writer, _: i16) {
        w.raw(&self.0);
    }
}

async fn world() -> World {
    let world = World::with(|options| options.quota_meter(Arc::new(Metered)));
    // Two APIs are there only while somebody subscribes to the metrics of clients.
    let config = AlterableConfig {
        name: "metrics".into(),
        value: Some("org.".into()),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: CLIENT_METRICS,
            resource_name: "some".into(),
            configs: vec![config],
        }],
        ..Default::default()
    };
    let mut client = world.connect();
    client
        .ask(IncrementalAlterConfigsRequest::KEY, 1, &request)
        .await;
    world
}

#[tokio::test]
async fn every_answer_tells_the_throttle_time() {
    let schemas = Schemas::of_this_repository().expect("schemas");
    let world = world().await;
    for api in APIS {
        let known = ApiKey::find(api.key).expect("a known key");
        let (request, response) = (
            format!("{}Request", known.name),
            format!("{}Response", known.name),
        );
        let fields = match known.name {
            // Without acks there is no answer.
            "Produce" => json!({"acks": -1}),
            // A filter that is not known is hung up on.
            "DescribeAcls" => json!({
                "resourceTypeFilter": 1, "patternTypeFilter": 1, "operation": 1, "permissionType": 1
            }),
            _ => json!({}),
        };
        let mut told = 0;
        for version in known.min_version..=api.max {
            let body = schemas.encode(&request, version, &fields);
            let mut client = world.connect();
            client.client_id = "greedy".to_owned();
            let body = body.expect("a request of defaults");
            client.send(api.key, version, &Encoded(body)).await;
            let answer = client.receive().await.expect("an answer");
            let header = 4 + usize::from(response_header_version(api.key, version) > 0);
            let answer = schemas.decode(&response, version, &answer[header..]);
            let answer = answer.expect("an answer of this version");
            if let Some(throttle) = answer.get("throttleTimeMs") {
                assert_eq!(throttle, THROTTLE_MS, "{response} {version}");
                told += 1;
            }
        }
        assert_eq!(told == 0, WITHOUT.contains(&known.name), "{response}");
    }
}
