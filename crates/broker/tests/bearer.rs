//! OAUTHBEARER: logins by tokens that somebody else signs, whose keys come from a file or from an address.

mod common;
#[path = "bearer/https.rs"]
mod https;
#[path = "bearer/scene.rs"]
mod scene;
#[path = "bearer/web.rs"]
mod web;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{START_MS, World};
use rustka::Broker;
use scene::{File, Issuer, comes_in, say, show, signed, tokens};
use web::{Web, comes_in_soon, until_it_is_come_to};

const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";
const INVALID: &str = "{\"status\":\"invalid_token\"}";

#[tokio::test]
async fn whoever_shows_a_good_token_is_its_subject_for_as_long_as_it_lives() {
    let issuer = Issuer::new("k1");
    let file = File::new("good", &issuer.keys());
    let world = World::with(|options| signed(options).config(URL, file.url()));
    let mut client = world.connect();
    let told = show(&world, &mut client, &issuer.token("alice", 3_600)).await;
    assert_eq!(told, (0, String::new(), String::new(), 3_600_000));
    let principal = comes_in(&world, &issuer.token("bob", 3_600)).await;
    assert_eq!(principal.as_deref(), Some("User:bob"));
    // It says nothing about what the token lacks, and then takes leave.
    let stranger = Issuer::new("k1");
    for bad in [
        stranger.token("alice", 60),
        issuer.token("alice", -60),
        "x".to_owned(),
    ] {
        let mut client = world.connect();
        let told = show(&world, &mut client, &bad).await;
        assert_eq!((told.0, &*told.2), (0, INVALID));
        let told = say(&world, &mut client, "\u{1}").await;
        assert_eq!((told.0, &*told.1), (58, INVALID));
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn tokens_that_nobody_has_signed_are_believed_only_where_that_is_asked_for() {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let expires = START_MS / 1_000 + 60;
    let claims = format!("{{\"sub\":\"alice\",\"exp\":{expires}}}");
    let token = format!("{}.{}.", part("{\"alg\":\"none\"}"), part(&claims));
    let unsecured = ("rustka.oauthbearer.unsecured", "true");
    let world = World::with(|options| tokens(options).config(unsecured.0, unsecured.1));
    assert_eq!(
        comes_in(&world, &token).await.as_deref(),
        Some("User:alice")
    );
    let issuer = Issuer::new("k1");
    assert_eq!(comes_in(&world, &issuer.token("alice", 60)).await, None);
    let file = File::new("unsigned", &issuer.keys());
    let world = World::with(|options| signed(options).config(URL, file.url()));
    assert_eq!(comes_in(&world, &token).await, None);
}

// Tokens that the same issuer had made for another service opened the door here, too.
#[tokio::test]
async fn tokens_for_others_and_of_others_are_believed_only_where_that_is_asked_for() {
    let issuer = Issuer::new("k1");
    let file = File::new("parties", &issuer.keys());
    let parties = ["audience", "issuer"];
    let options = tokens(Broker::builder().sockets(false)).config(URL, file.url());
    let error = options.check().expect_err("nobody is expected").to_string();
    for party in parties {
        let (expected, allowed) = (
            format!("expected.{party}"),
            format!("unverified.{party}=true"),
        );
        assert!(
            error.contains(&expected) && error.contains(&allowed),
            "{error}"
        );
        let key = format!("sasl.oauthbearer.allow.unverified.{party}");
        assert!(options.clone().config(key, "true").check().is_err());
    }
    let token = issuer.token("alice", 60);
    for (key, value) in [
        ("expected.audience", "others"),
        ("expected.issuer", "other"),
    ] {
        let key = format!("sasl.oauthbearer.{key}");
        let world =
            World::with(|options| signed(options).config(URL, file.url()).config(key, value));
        assert_eq!(comes_in(&world, &token).await, None);
    }
    let world = World::with(|options| {
        parties
            .into_iter()
            .fold(tokens(options).config(URL, file.url()), |options, party| {
                options.config(format!("sasl.oauthbearer.allow.unverified.{party}"), "true")
            })
    });
    assert_eq!(
        comes_in(&world, &token).await.as_deref(),
        Some("User:alice")
    );
}

#[test]
fn keys_that_are_not_there_end_the_start_with_what_would_do() {
    let broken = File::new("broken", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"hush\"}]}");
    for (url, told) in [
        ("", "rustka.oauthbearer.unsecured=true"),
        ("file:///no/such/keys.json", "/no/such/keys.json"),
        (&*broken.url(), "EC with P-256"),
        ("http://id.example/keys", "only over TLS"),
        ("keys.json", "file:///PATH"),
    ] {
        let options = signed(Broker::builder().sockets(false)).config(URL, url);
        let error = options.check().expect_err(url).to_string();
        assert!(error.contains(told) && !error.contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn keys_from_an_address_are_exchanged_when_a_token_names_a_new_one_and_stay_when_that_fails()
{
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let web = Web::new(old.keys()).await;
    let world = World::with(|options| signed(options).config(URL, &*web.url));
    comes_in_soon(&world, &web, &old.token("alice", 3_600)).await;
    // Whoever asks is never waited for: the first token with the new key is refused, and has the keys read again.
    web.says(500, "");
    assert_eq!(comes_in(&world, &new.token("alice", 3_600)).await, None);
    until_it_is_come_to(&world, &web).await;
    assert!(comes_in(&world, &old.token("alice", 3_600)).await.is_some());
    web.says(200, "x".repeat(2 << 20));
    assert!(comes_in(&world, &old.token("alice", 3_600)).await.is_some());
    web.says(200, new.keys());
    comes_in_soon(&world, &web, &new.token("alice", 3_600)).await;
    assert_eq!(comes_in(&world, &old.token("alice", 3_600)).await, None);
}

// Anybody could have had the keys fetched as often as they liked.
#[tokio::test]
async fn tokens_with_unknown_keys_have_the_keys_read_again_now_and_then_only() {
    let issuer = Issuer::new("known");
    let web = Web::new(issuer.keys()).await;
    let world = World::with(|options| signed(options).config(URL, &*web.url));
    comes_in_soon(&world, &web, &issuer.token("alice", 36_000)).await;
    let before = web.asked();
    let unknown = Issuer::new("unknown").token("alice", 36_000);
    for _ in 0..100 {
        assert_eq!(comes_in(&world, &unknown).await, None);
    }
    // A hundred logins took at least a hundred seconds by the broker's clock.
    assert!(web.asked() - before <= 15, "{}", web.asked() - before);
}
