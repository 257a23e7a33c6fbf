//! OAUTHBEARER: logins by tokens that somebody else signs, whose keys come from a file or from an address.

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Client, START_MS, World};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustka::{Broker, Options};
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use rustka_wire::sasl_handshake_response::SaslHandshakeResponse;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";
const INVALID: &str = "{\"status\":\"invalid_token\"}";
/// What takes longer will not come. Real time; reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who signs tokens.
struct Issuer {
    id: &'static str,
    key: Ed25519KeyPair,
}

impl Issuer {
    fn new(id: &'static str) -> Issuer {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("a key");
        Issuer { id, key }
    }

    fn keys(&self) -> String {
        let public = URL_SAFE_NO_PAD.encode(self.key.public_key());
        let id = self.id;
        format!(
            "{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"{id}\",\"x\":\"{public}\"}}]}}"
        )
    }

    /// A token for somebody, for so many seconds.
    fn token(&self, user: &str, seconds: i64) -> String {
        let id = self.id;
        let header = format!("{{\"alg\":\"EdDSA\",\"kid\":\"{id}\"}}");
        let now = START_MS / 1_000;
        let payload = format!(
            "{{\"sub\":\"{user}\",\"iss\":\"id\",\"aud\":\"kafka\",\"iat\":{now},\"exp\":{}}}",
            now + seconds
        );
        let parts = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = parts.join(".");
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn tokens(options: Options) -> Options {
    options
        .config("listeners", "SASL_PLAINTEXT://127.0.0.1:0")
        .config("sasl.enabled.mechanisms", "OAUTHBEARER")
}

/// Code, words, bytes and lifetime of an answer.
type Told = (i16, String, String, i64);

async fn say(world: &World, client: &mut Client, message: &str) -> Told {
    let request = SaslAuthenticateRequest {
        auth_bytes: message.as_bytes().into(),
    };
    client.send(SaslAuthenticateRequest::KEY, 2, &request).await;
    // Failures come after their delay.
    world.advance_ms(1_000).await;
    let answer = client.answer(SaslAuthenticateRequest::KEY, 2).await;
    let body: SaslAuthenticateResponse<'_> = answer.body();
    let bytes = String::from_utf8(body.auth_bytes.into_owned()).expect("text");
    let words = body.error_message.unwrap_or_default().into_owned();
    (body.error_code, words, bytes, body.session_lifetime_ms)
}

async fn show(world: &World, client: &mut Client, token: &str) -> Told {
    let request = SaslHandshakeRequest {
        mechanism: "OAUTHBEARER".into(),
    };
    let answer = client.ask(SaslHandshakeRequest::KEY, 1, &request).await;
    assert_eq!(answer.body::<SaslHandshakeResponse<'_>>().error_code, 0);
    say(
        world,
        client,
        &format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}"),
    )
    .await
}

/// Whether somebody comes in with a token, and as whom.
async fn comes_in(world: &World, token: &str) -> Option<String> {
    let mut client = world.connect();
    let (code, _, bytes, _) = show(world, &mut client, token).await;
    if code != 0 || !bytes.is_empty() {
        return None;
    }
    let peers = world.broker.node().peers.all();
    let newest = peers.iter().max_by_key(|peer| peer.id)?;
    newest.entry().map(|(_, principal)| principal.to_owned())
}

/// A file that is gone with the test.
struct File(std::path::PathBuf);

impl File {
    fn new(test: &str, text: &str) -> File {
        let name = format!("rustka-bearer-{}-{test}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file");
        File(path)
    }

    fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Nothing depends on it.
        drop(std::fs::remove_file(&self.0));
    }
}

#[tokio::test]
async fn whoever_shows_a_good_token_is_its_subject_for_as_long_as_it_lives() {
    let issuer = Issuer::new("k1");
    let file = File::new("good", &issuer.keys());
    let world = World::with(|options| {
        let options = tokens(options).config(URL, file.url());
        let options = options.config("sasl.oauthbearer.expected.issuer", "id");
        options.config("sasl.oauthbearer.expected.audience", "other,kafka")
    });
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
    let world = World::with(|options| tokens(options).config(URL, file.url()));
    assert_eq!(comes_in(&world, &token).await, None);
}

#[test]
fn keys_that_are_not_there_end_the_start_with_what_would_do() {
    let broken = File::new("broken", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"hush\"}]}");
    for (url, told) in [
        ("", "rustka.oauthbearer.unsecured=true"),
        ("file:///no/such/keys.json", "/no/such/keys.json"),
        (&*broken.url(), "RSA, EC with P-256"),
        ("http://id.example/keys", "only over TLS"),
        ("keys.json", "file:///PATH"),
    ] {
        let options = tokens(Broker::builder().sockets(false)).config(URL, url);
        let error = options.check().expect_err(url).to_string();
        assert!(error.contains(told) && !error.contains("hush"), "{error}");
    }
}

/// A web server with keys, which can be exchanged and counted.
struct Web {
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<Mutex<usize>>,
    url: String,
}

impl Web {
    async fn new(keys: String) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let web = Web {
            answer: Arc::new(Mutex::new((200, keys))),
            asked: Arc::default(),
            url: format!("http://{at}/keys"),
        };
        let (answer, asked) = (web.answer.clone(), web.asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.expect("a request");
                assert!(request[..read].starts_with(b"GET /keys HTTP/1.1\r\n"));
                let (status, body) = answer.lock().expect("keys").clone();
                let length = body.len();
                let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
                *asked.lock().expect("count") += 1;
                stream.write_all(text.as_bytes()).await.expect("an answer");
            }
        });
        web
    }

    fn says(&self, status: u16, body: impl Into<String>) {
        *self.answer.lock().expect("keys") = (status, body.into());
    }

    fn asked(&self) -> usize {
        *self.asked.lock().expect("count")
    }
}

/// Tries until somebody comes in, or to no avail.
async fn comes_in_soon(world: &World, token: &str) {
    let trying = async {
        while comes_in(world, token).await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    let tried = tokio::time::timeout(PATIENCE, trying);
    tried.await.expect("the token is good enough at last");
}

#[tokio::test]
async fn keys_from_an_address_are_exchanged_when_a_token_names_a_new_one_and_stay_when_that_fails()
{
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let web = Web::new(old.keys()).await;
    let world = World::with(|options| tokens(options).config(URL, &*web.url));
    comes_in_soon(&world, &old.token("alice", 3_600)).await;
    // Whoever asks is never waited for: the first token with the new key is refused, and has the keys read again.
    web.says(500, "");
    assert_eq!(comes_in(&world, &new.token("alice", 3_600)).await, None);
    let before = web.asked();
    let waiting = async {
        while web.asked() == before {
            world.advance_ms(1_000).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting);
    waited.await.expect("the keys are asked for early");
    assert!(comes_in(&world, &old.token("alice", 3_600)).await.is_some());
    web.says(200, "x".repeat(2 << 20));
    assert!(comes_in(&world, &old.token("alice", 3_600)).await.is_some());
    web.says(200, new.keys());
    comes_in_soon(&world, &new.token("alice", 3_600)).await;
    assert_eq!(comes_in(&world, &old.token("alice", 3_600)).await, None);
}

// Anybody could have had the keys fetched as often as they liked.
#[tokio::test]
async fn tokens_with_unknown_keys_have_the_keys_read_again_now_and_then_only() {
    let issuer = Issuer::new("known");
    let web = Web::new(issuer.keys()).await;
    let world = World::with(|options| tokens(options).config(URL, &*web.url));
    comes_in_soon(&world, &issuer.token("alice", 36_000)).await;
    let before = web.asked();
    let unknown = Issuer::new("unknown").token("alice", 36_000);
    for _ in 0..100 {
        assert_eq!(comes_in(&world, &unknown).await, None);
    }
    // A hundred logins took at least a hundred seconds by the broker's clock.
    assert!(web.asked() - before <= 15, "{}", web.asked() - before);
}
