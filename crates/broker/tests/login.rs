//! Logins, each by what somebody at the far end notices. What Kafka answers is in the scenarios `login*`.

mod common;

use common::{Client, World};
use rustka::Options;
use rustka::hooks::{Authorizer, Context, Event, Observer, Operation, Resource};
use rustka_core::security::scram::{Strength, proof};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::describe_cluster_request::DescribeClusterRequest;
use rustka_wire::describe_cluster_response::DescribeClusterResponse;
use rustka_wire::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use rustka_wire::describe_configs_response::DescribeConfigsResponse;
use rustka_wire::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use rustka_wire::describe_user_scram_credentials_response::DescribeUserScramCredentialsResponse;
use rustka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use rustka_wire::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::metadata_response::MetadataResponse;
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use rustka_wire::sasl_handshake_response::SaslHandshakeResponse;
use std::sync::{Arc, Mutex};

const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
const INVALID_REQUEST: i16 = 42;
const SASL_AUTHENTICATION_FAILED: i16 = 58;
/// `sasl.server.max.receive.size` by default.
const LOGIN_BYTES_MAX: usize = 524_288;

fn guarded(options: Options) -> Options {
    options.user("alice", "secret").user("bob", "other")
}

async fn handshake(client: &mut Client, mechanism: &'static str) -> i16 {
    let request = SaslHandshakeRequest {
        mechanism: mechanism.into(),
    };
    let answer = client.ask(SaslHandshakeRequest::KEY, 1, &request).await;
    answer.body::<SaslHandshakeResponse<'_>>().error_code
}

async fn send_message(client: &mut Client, message: &[u8]) {
    let request = SaslAuthenticateRequest {
        auth_bytes: message.into(),
    };
    client.send(SaslAuthenticateRequest::KEY, 2, &request).await;
}

/// The code, the words and the bytes of the answer.
async fn told(client: &mut Client) -> (i16, String, Vec<u8>) {
    let answer = client.answer(SaslAuthenticateRequest::KEY, 2).await;
    let body: SaslAuthenticateResponse<'_> = answer.body();
    let words = body.error_message.unwrap_or_default().into_owned();
    (body.error_code, words, body.auth_bytes.into_owned())
}

async fn log_in(client: &mut Client, user: &str, password: &str) {
    assert_eq!(handshake(client, "PLAIN").await, 0);
    send_message(client, format!("\0{user}\0{password}").as_bytes()).await;
}

async fn is_served(client: &mut Client) -> bool {
    let request = DescribeClusterRequest {
        endpoint_type: 1,
        ..Default::default()
    };
    let answer = client.ask(DescribeClusterRequest::KEY, 1, &request).await;
    answer.body::<DescribeClusterResponse<'_>>().error_code == 0
}

#[tokio::test]
async fn users_log_in_by_every_mechanism_that_is_there() {
    let world = World::with(guarded);
    let mut client = world.connect();
    log_in(&mut client, "alice", "secret").await;
    assert_eq!(told(&mut client).await.0, 0);
    assert!(is_served(&mut client).await);
    for (mechanism, strength) in [
        ("SCRAM-SHA-256", Strength::Sha256),
        ("SCRAM-SHA-512", Strength::Sha512),
    ] {
        let mut client = world.connect();
        assert_eq!(handshake(&mut client, mechanism).await, 0);
        send_message(&mut client, b"n,,n=bob,r=abc").await;
        let (code, _, server) = told(&mut client).await;
        assert_eq!(code, 0);
        let server = String::from_utf8(server).expect("text");
        let last = proof(strength, "other", "n=bob,r=abc", &server).expect("a server's message");
        send_message(&mut client, &last).await;
        assert_eq!(told(&mut client).await.0, 0);
        assert!(is_served(&mut client).await);
    }
}

/// Attacks, row 21: every key there is, on a connection of its own.
#[tokio::test]
async fn before_a_login_only_its_own_requests_are_answered() {
    let world = World::with(guarded);
    for key in
        (-1..=200).filter(|key| ![ApiVersionsRequest::KEY, SaslHandshakeRequest::KEY].contains(key))
    {
        let mut client = world.connect();
        let mut frame = Vec::new();
        frame.extend_from_slice(&i16::to_be_bytes(key));
        frame.extend_from_slice(&[0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0]);
        client.send_frame(&frame).await;
        assert!(client.is_closed().await, "key {key}");
        assert_eq!(world.broker.node().metrics.requests(key), 0, "key {key}");
    }
    let mut client = world.connect();
    let request = ApiVersionsRequest::default();
    client.ask(ApiVersionsRequest::KEY, 0, &request).await;
    log_in(&mut client, "alice", "secret").await;
    assert_eq!(told(&mut client).await.0, 0);
}

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn saw(&self, event: Event<'_>) {
        let mut seen = self.0.lock().expect("seen");
        seen.push(format!("{event:?}"));
    }
}

/// Attacks, row 35.
#[tokio::test]
async fn a_failed_login_is_answered_after_the_delay_and_closed_and_nobody_sees_the_secret() {
    let seen = Arc::new(Seen::default());
    let world = World::with(|options| {
        let options = options.config("connection.failed.authentication.delay.ms", "250");
        guarded(options).observer(seen.clone())
    });
    for (user, password) in [("alice", "wrong-secret"), ("nobody", "wrong-secret")] {
        let mut client = world.connect();
        log_in(&mut client, user, password).await;
        world.advance_ms(249).await;
        assert!(!client.has_answer());
        world.advance_ms(1).await;
        let (code, words, _) = told(&mut client).await;
        assert_eq!(code, SASL_AUTHENTICATION_FAILED);
        assert_eq!(words, "Authentication failed: Invalid username or password");
        assert!(client.is_closed().await);
    }
    let seen = seen.0.lock().expect("seen").join("\n");
    assert_eq!(seen.matches("LoginFailed").count(), 2, "{seen}");
    assert!(!seen.contains("wrong-secret"), "{seen}");
}

/// Attacks, rows 14 and 21.
#[tokio::test]
async fn who_does_not_log_in_is_closed_after_a_while_and_who_is_in_stays() {
    let world = World::with(guarded);
    let mut inside = world.connect();
    log_in(&mut inside, "alice", "secret").await;
    told(&mut inside).await;
    let mut outside = world.connect();
    assert_eq!(handshake(&mut outside, "PLAIN").await, 0);
    for _ in 0..9 {
        world.advance_ms(1_000).await;
    }
    assert_eq!(world.connections(), 2);
    for _ in 0..3 {
        world.advance_ms(1_000).await;
    }
    assert!(outside.is_closed().await);
    assert!(is_served(&mut inside).await);
}

/// Attacks, row 15.
#[tokio::test]
async fn before_a_login_a_frame_may_be_as_long_as_a_login_needs_and_no_longer() {
    let world = World::with(guarded);
    let length = |bytes: usize| u32::try_from(bytes).expect("short").to_be_bytes();
    let mut client = world.connect();
    client.send_raw(&length(LOGIN_BYTES_MAX + 1)).await;
    assert!(client.is_closed().await);
    let mut client = world.connect();
    client.send_raw(&length(LOGIN_BYTES_MAX)).await;
    world.settle().await;
    assert_eq!(world.connections(), 1);
    let mut client = world.connect();
    log_in(&mut client, "alice", "secret").await;
    told(&mut client).await;
    client.send_raw(&length(LOGIN_BYTES_MAX + 1)).await;
    world.settle().await;
    assert_eq!(world.connections(), 2, "inside, requests may be longer");
}

/// Attacks, row 37: a login that has to be repeated lasts as long as it was told, and is repeated by the same user.
#[tokio::test]
async fn a_session_ends_when_it_was_told_to_unless_its_user_logs_in_again() {
    let world = World::with(|options| guarded(options).config("connections.max.reauth.ms", "3000"));
    let begin = async || {
        let mut client = world.connect();
        log_in(&mut client, "alice", "secret").await;
        let answer = client.answer(SaslAuthenticateRequest::KEY, 2).await;
        let body: SaslAuthenticateResponse<'_> = answer.body();
        assert_eq!((body.error_code, body.session_lifetime_ms), (0, 3_000));
        client
    };
    let (mut silent, mut busy, mut other) = (begin().await, begin().await, begin().await);
    world.advance_ms(2_999).await;
    assert!(is_served(&mut silent).await);
    log_in(&mut busy, "alice", "secret").await;
    assert_eq!(told(&mut busy).await.0, 0);
    log_in(&mut other, "bob", "other").await;
    world.advance_ms(1_000).await;
    let (code, words, _) = told(&mut other).await;
    assert_eq!(code, SASL_AUTHENTICATION_FAILED);
    assert!(words.contains("from User.alice: User.bob"), "{words}");
    assert!(other.is_closed().await);
    assert!(is_served(&mut busy).await);
    let request = MetadataRequest::default();
    silent.send(MetadataRequest::KEY, 12, &request).await;
    assert!(silent.is_closed().await);
}

/// Attacks, row 36: how much work a login makes is the server's word, and never the client's.
#[tokio::test]
async fn no_client_can_make_a_login_cost_more_than_its_own_password_does() {
    let world = World::with(guarded);
    // Whatever a client says of iterations is an extension that nobody reads, and a long name is no name.
    let long = format!("n,,n={},r=abc", "x".repeat(400_000));
    for (message, code) in [
        (b"n,,n=bob,r=abc,i=2147483".to_vec(), 0),
        (long.into_bytes(), SASL_AUTHENTICATION_FAILED),
    ] {
        let mut client = world.connect();
        assert_eq!(handshake(&mut client, "SCRAM-SHA-256").await, 0);
        send_message(&mut client, &message).await;
        world.advance_ms(1_000).await;
        let (found, _, server) = told(&mut client).await;
        assert_eq!(found, code);
        if code == 0 {
            let server = String::from_utf8(server).expect("text");
            assert!(server.ends_with(",i=4096"), "{server}");
        }
    }
}

#[tokio::test]
async fn secrets_are_in_no_description_of_configs() {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_a=\"hush\";";
    let world = World::with(|options| {
        options
            .config("ssl.keystore.password", "hush")
            .config("ssl.key.password", "hush")
            .config("ssl.keystore.key", "hush")
            .config("delegation.token.secret.key", "hush")
            .config("sasl.jaas.config", jaas)
            .config("listener.name.plaintext.plain.sasl.jaas.config", jaas)
    });
    let mut client = world.connect();
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 4,
            resource_name: "1".into(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    let answer = client.ask(DescribeConfigsRequest::KEY, 4, &request).await;
    let body: DescribeConfigsResponse<'_> = answer.body();
    let told = format!("{body:?}");
    assert!(told.contains("ssl.keystore.password") && !told.contains("hush"));
    let options = rustka::Broker::builder().user("a", "hush");
    let options = options.config("listeners", "SASL_PLAINTEXT://127.0.0.1:0");
    let broker = options.sockets(false).start().expect("a broker");
    let rules = format!("{:?}", broker.node().listeners[0].login);
    assert!(!rules.contains("hush"), "{rules}");
}

#[tokio::test]
async fn a_client_that_vanishes_while_its_failure_is_delayed_is_forgotten_at_once() {
    let world = World::with(guarded);
    let mut client = world.connect();
    log_in(&mut client, "alice", "wrong").await;
    world.settle().await;
    drop(client);
    world.settle().await;
    assert_eq!(world.connections(), 0);
}

struct OnlyAlice;

impl Authorizer for OnlyAlice {
    fn is_allowed(&self, context: &Context<'_>, _: Operation, _: Resource<'_>) -> bool {
        assert_eq!(context.listener, "SASL_PLAINTEXT");
        context.principal == "User:alice"
    }

    fn is_allowed_for_some_topic(&self, context: &Context<'_>, _: Operation) -> bool {
        context.principal == "User:alice"
    }
}

// Kafka fails while it builds this refusal, and its client waits until it times out.
#[tokio::test]
async fn who_may_not_see_the_users_is_told_so() {
    let world = World::with(|options| guarded(options).authorizer(Arc::new(OnlyAlice)));
    for (user, password, code) in [
        ("alice", "secret", 0),
        ("bob", "other", CLUSTER_AUTHORIZATION_FAILED),
    ] {
        let mut client = world.connect();
        log_in(&mut client, user, password).await;
        told(&mut client).await;
        let request = DescribeUserScramCredentialsRequest { users: None };
        let key = DescribeUserScramCredentialsRequest::KEY;
        let answer = client.ask(key, 0, &request).await;
        let body: DescribeUserScramCredentialsResponse<'_> = answer.body();
        assert_eq!(body.error_code, code);
        assert_eq!(body.results.len(), if code == 0 { 2 } else { 0 });
    }
}

async fn told_address(client: &mut Client) -> (String, i32) {
    let request = MetadataRequest {
        topics: Some(Vec::new()),
        ..Default::default()
    };
    let answer = client.ask(MetadataRequest::KEY, 12, &request).await;
    let body: MetadataResponse<'_> = answer.body();
    (body.brokers[0].host.to_string(), body.brokers[0].port)
}

#[tokio::test]
async fn each_listener_tells_its_own_address() {
    let world = World::with(|options| {
        let options = options
            .config("listeners", "CONTROLLER://:1,A://:9092,B://:9093,C://:9094")
            .config(
                "advertised.listeners",
                "C://c.example:39094,A://a.example:39092",
            )
            .config("controller.listener.names", "CONTROLLER")
            .config(
                "listener.security.protocol.map",
                "A:PLAINTEXT,B:PLAINTEXT,C:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            );
        guarded(options)
    });
    let loopback = ([127, 0, 0, 1], 50_000).into();
    let at = |listener| Client::over(world.broker.connect_at(listener, loopback));
    let address = told_address(&mut at(0)).await;
    assert_eq!(address, ("a.example".to_owned(), 39_092));
    let address = told_address(&mut at(1)).await;
    assert_eq!(address, ("localhost".to_owned(), 9_093));
    let mut guarded = at(2);
    log_in(&mut guarded, "alice", "secret").await;
    told(&mut guarded).await;
    let address = told_address(&mut guarded).await;
    assert_eq!(address, ("c.example".to_owned(), 39_094));
    assert!(at(3).is_closed().await, "there is no fourth one");
}

/// Sets or takes back what the broker tells its clients, as somebody who learns a mapped port late does; the code.
async fn advertise(client: &mut Client, value: Option<&'static str>) -> i16 {
    let change = AlterableConfig {
        name: "advertised.listeners".into(),
        config_operation: if value.is_some() { 0 } else { 1 },
        value: value.map(Into::into),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 4,
            resource_name: "1".into(),
            configs: vec![change],
        }],
        validate_only: false,
    };
    let answer = client.ask(IncrementalAlterConfigsRequest::KEY, 1, &request);
    let answer = answer.await;
    let body: IncrementalAlterConfigsResponse<'_> = answer.body();
    body.responses[0].error_code
}

#[tokio::test]
async fn what_clients_are_told_may_change_while_the_broker_runs() {
    let two = |options: Options| {
        let options = options.config("listeners", "A://:9092,B://:9093");
        options.config("listener.security.protocol.map", "A:PLAINTEXT,B:PLAINTEXT")
    };
    let world = World::with(two);
    let loopback = ([127, 0, 0, 1], 50_000).into();
    let mut a = Client::over(world.broker.connect_at(0, loopback));
    let mut b = Client::over(world.broker.connect_at(1, loopback));
    assert_eq!(advertise(&mut a, Some("A://box:32768")).await, 0);
    assert_eq!(told_address(&mut a).await, ("box".to_owned(), 32_768));
    assert_eq!(told_address(&mut b).await, ("localhost".to_owned(), 9_093));
    for wrong in [
        "",
        "box:1",
        "C://box:1",
        "A://:1",
        "A://0.0.0.0:1",
        "A://x:1,A://y:2",
    ] {
        assert_eq!(
            advertise(&mut a, Some(wrong)).await,
            INVALID_REQUEST,
            "{wrong}"
        );
    }
    assert_eq!(told_address(&mut a).await, ("box".to_owned(), 32_768));
    assert_eq!(advertise(&mut a, None).await, 0);
    assert_eq!(told_address(&mut a).await, ("localhost".to_owned(), 9_092));
    let strict = World::with(|options| two(options).strict(true));
    let mut client = Client::over(strict.broker.connect_at(0, loopback));
    let code = advertise(&mut client, Some("A://box:32768")).await;
    assert_eq!(code, INVALID_REQUEST);
}
