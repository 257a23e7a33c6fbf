//! ACLs, by what clients notice. What Kafka answers is in the scenarios `acls` and `acl-rules`.

mod common;

use common::{Client, World, batch, fetch_request};
use rustka_wire::create_acls_request::{AclCreation, CreateAclsRequest};
use rustka_wire::create_acls_response::CreateAclsResponse;
use rustka_wire::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use rustka_wire::delete_acls_response::DeleteAclsResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::produce_response::ProduceResponse;
use std::net::SocketAddr;

const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const READ: i8 = 3;
const ALLOW: i8 = 3;
const ANY: i8 = 1;
const INVALID_REQUEST: i16 = 42;
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// Everybody is anonymous here; clients differ by the network they come from.
const ADMIN: [u8; 4] = [10, 0, 0, 1];
const GUEST: [u8; 4] = [192, 168, 0, 1];

fn world() -> World {
    World::with(|options| {
        options
            .config(
                "authorizer.class.name",
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            )
            .config("allow.everyone.if.no.acl.found", "true")
    })
}

fn from(world: &World, ip: [u8; 4]) -> Client {
    world.connect_from(SocketAddr::from((ip, 1)))
}

fn acl(host: &'static str, operation: i8) -> AclCreation<'static> {
    AclCreation {
        resource_type: TOPIC,
        resource_name: "t".into(),
        resource_pattern_type: LITERAL,
        principal: "User:ANONYMOUS".into(),
        host: host.into(),
        operation,
        permission_type: ALLOW,
    }
}

async fn create(client: &mut Client, acl: AclCreation<'static>) -> i16 {
    let request = CreateAclsRequest {
        creations: vec![acl],
    };
    let answer = client.ask(CreateAclsRequest::KEY, 3, &request).await;
    answer.body::<CreateAclsResponse<'_>>().results[0].error_code
}

async fn fetched(client: &mut Client) -> i16 {
    let request = fetch_request("t", 0, 0, 0);
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    answer.body::<FetchResponse<'_>>().responses[0].partitions[0].error_code
}

/// Attacks, row 38.
#[tokio::test]
async fn a_right_that_is_revoked_is_gone_at_the_next_request() {
    let world = world();
    let (mut admin, mut guest) = (from(&world, ADMIN), from(&world, GUEST));
    admin.create_topic("t", 1).await;
    assert_eq!(
        fetched(&mut guest).await,
        0,
        "without any ACL it is everybody's"
    );
    assert_eq!(create(&mut admin, acl("10.0.0.0/8", READ)).await, 0);
    assert_eq!(fetched(&mut guest).await, TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(create(&mut admin, acl("192.168.0.0/16", READ)).await, 0);
    assert_eq!(fetched(&mut guest).await, 0);
    let answer = guest.produce("t", 0, batch(1)).await;
    let body: ProduceResponse<'_> = answer.body();
    let code = body.responses[0].partition_responses[0].error_code;
    assert_eq!(code, TOPIC_AUTHORIZATION_FAILED);
    let request = DeleteAclsRequest {
        filters: vec![DeleteAclsFilter {
            resource_type_filter: TOPIC,
            resource_name_filter: None,
            principal_filter: None,
            pattern_type_filter: ANY,
            host_filter: Some("192.168.0.0/16".into()),
            operation: ANY,
            permission_type: ANY,
        }],
    };
    let answer = admin.ask(DeleteAclsRequest::KEY, 3, &request).await;
    let body: DeleteAclsResponse<'_> = answer.body();
    assert_eq!(body.filter_results[0].matching_acls.len(), 1);
    assert_eq!(fetched(&mut guest).await, TOPIC_AUTHORIZATION_FAILED);
}

// Kafka answers with an unknown server error, which tells nobody what to change.
#[tokio::test]
async fn an_acl_for_any_operation_is_refused_as_a_mistake() {
    let world = world();
    let mut admin = from(&world, ADMIN);
    assert_eq!(create(&mut admin, acl("*", ANY)).await, INVALID_REQUEST);
}
