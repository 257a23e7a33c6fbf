//! Whoever signs tokens, and whoever shows them.

use super::common::{Client, START_MS, World};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustka::Options;
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use rustka_wire::sasl_handshake_response::SaslHandshakeResponse;

/// Somebody who signs tokens.
pub struct Issuer {
    id: &'static str,
    key: Ed25519KeyPair,
}

impl Issuer {
    /// With a key of its own, and this name for it.
    pub fn new(id: &'static str) -> Issuer {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("a key");
        Issuer { id, key }
    }

    /// What the web server has of it.
    pub fn keys(&self) -> String {
        let public = URL_SAFE_NO_PAD.encode(self.key.public_key());
        let id = self.id;
        format!(
            "{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"{id}\",\"x\":\"{public}\"}}]}}"
        )
    }

    /// A token for somebody, for so many seconds.
    pub fn token(&self, user: &str, seconds: i64) -> String {
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

/// A listener where tokens are shown.
pub fn tokens(options: Options) -> Options {
    options
        .config("listeners", "SASL_PLAINTEXT://127.0.0.1:0")
        .config("sasl.enabled.mechanisms", "OAUTHBEARER")
}

/// One where those of our issuers for us are believed.
pub fn signed(options: Options) -> Options {
    tokens(options)
        .config("sasl.oauthbearer.expected.issuer", "id")
        .config("sasl.oauthbearer.expected.audience", "other,kafka")
}

/// Code, words, bytes and lifetime of an answer.
pub type Told = (i16, String, String, i64);

/// Sends a message of a login, and what is told.
pub async fn say(world: &World, client: &mut Client, message: &str) -> Told {
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

/// Begins a login with a token.
pub async fn show(world: &World, client: &mut Client, token: &str) -> Told {
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
pub async fn comes_in(world: &World, token: &str) -> Option<String> {
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
pub struct File(std::path::PathBuf);

impl File {
    /// One file for each test.
    pub fn new(test: &str, text: &str) -> File {
        let name = format!("rustka-bearer-{}-{test}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file");
        File(path)
    }

    /// Where its keys are.
    pub fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Nothing depends on it.
        drop(std::fs::remove_file(&self.0));
    }
}
