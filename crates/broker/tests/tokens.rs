//! Delegation tokens, by what clients notice as time passes. What Kafka answers is in the scenarios `delegation-tokens…`.

mod common;

use common::{Client, World};
use rustka_core::security::scram::{Strength, proof};
use rustka_wire::codec::encode_standard;
use rustka_wire::create_delegation_token_request::CreateDelegationTokenRequest;
use rustka_wire::create_delegation_token_response::CreateDelegationTokenResponse;
use rustka_wire::describe_delegation_token_request::DescribeDelegationTokenRequest;
use rustka_wire::describe_delegation_token_response::DescribeDelegationTokenResponse;
use rustka_wire::list_groups_request::ListGroupsRequest;
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;

const SASL_AUTHENTICATION_FAILED: i16 = 58;

fn world() -> World {
    World::with(|options| {
        options
            .user("alice", "secret")
            .config("delegation.token.secret.key", "key")
            .config("delegation.token.expiry.check.interval.ms", "60000")
            .config("connection.failed.authentication.delay.ms", "0")
    })
}

async fn message(client: &mut Client, bytes: &[u8]) -> (i16, Vec<u8>, i64) {
    let request = SaslAuthenticateRequest {
        auth_bytes: bytes.into(),
    };
    let answer = client.ask(SaslAuthenticateRequest::KEY, 2, &request).await;
    let told: SaslAuthenticateResponse<'_> = answer.body();
    let bytes = told.auth_bytes.to_vec();
    (told.error_code, bytes, told.session_lifetime_ms)
}

async fn at_login(world: &World, mechanism: &'static str) -> Client {
    let mut client = world.connect();
    let request = SaslHandshakeRequest {
        mechanism: mechanism.into(),
    };
    client.ask(SaslHandshakeRequest::KEY, 1, &request).await;
    client
}

async fn alice(world: &World) -> Client {
    let mut client = at_login(world, "PLAIN").await;
    assert_eq!(message(&mut client, b"\0alice\0secret").await.0, 0);
    client
}

/// A token that lives for so long: its id and its secret.
async fn token(client: &mut Client, lifetime_ms: i64) -> (String, String) {
    let request = CreateDelegationTokenRequest {
        max_lifetime_ms: lifetime_ms,
        ..Default::default()
    };
    let answer = client
        .ask(CreateDelegationTokenRequest::KEY, 3, &request)
        .await;
    let made: CreateDelegationTokenResponse<'_> = answer.body();
    assert_eq!(made.error_code, 0);
    assert_eq!(
        made.expiry_timestamp_ms - made.issue_timestamp_ms,
        lifetime_ms
    );
    (made.token_id.to_string(), encode_standard(&made.hmac))
}

/// Logs in with a token: how long the login holds, or the error.
async fn log_in(client: &mut Client, id: &str, secret: &str) -> Result<i64, i16> {
    let first = format!("n={id},r=abc,tokenauth=true");
    let (code, server, _) = message(client, format!("n,,{first}").as_bytes()).await;
    if code != 0 {
        return Err(code);
    }
    let server = String::from_utf8(server).expect("text");
    let last = proof(Strength::Sha256, secret, &first, &server).expect("a server's message");
    match message(client, &last).await {
        (0, _, session_ms) => Ok(session_ms),
        (code, ..) => Err(code),
    }
}

#[tokio::test]
async fn a_login_by_a_token_holds_as_long_as_the_token() {
    let world = world();
    let (id, secret) = token(&mut alice(&world).await, 30_000).await;
    world.advance_ms(10_000).await;
    let mut client = at_login(&world, "SCRAM-SHA-256").await;
    assert_eq!(log_in(&mut client, &id, &secret).await, Ok(20_000));
    let request = ListGroupsRequest::default();
    world.advance_ms(20_000).await;
    client.ask(ListGroupsRequest::KEY, 4, &request).await;
    world.advance_ms(1).await;
    client.send(ListGroupsRequest::KEY, 4, &request).await;
    assert!(
        client.is_closed().await,
        "it has to log in again, and cannot"
    );
    let mut late = at_login(&world, "SCRAM-SHA-256").await;
    let refused = log_in(&mut late, &id, &secret).await;
    assert_eq!(
        refused,
        Err(SASL_AUTHENTICATION_FAILED),
        "also before it is forgotten"
    );
}

#[tokio::test]
async fn tokens_that_have_expired_are_forgotten_now_and_then() {
    let world = world();
    let mut client = alice(&world).await;
    token(&mut client, 30_000).await;
    token(&mut client, 80_000_000).await;
    let known = async |client: &mut Client| {
        let request = DescribeDelegationTokenRequest { owners: None };
        let answer = client
            .ask(DescribeDelegationTokenRequest::KEY, 3, &request)
            .await;
        answer
            .body::<DescribeDelegationTokenResponse<'_>>()
            .tokens
            .len()
    };
    world.advance_ms(40_000).await;
    assert_eq!(known(&mut client).await, 2);
    world.advance_ms(21_000).await;
    assert_eq!(known(&mut client).await, 1);
}
