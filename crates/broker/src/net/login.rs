//! Logging in: what a connection may say before anybody is known at its far end, and again when a login has to be
//! repeated (KIP-368). Only ApiVersions, SaslHandshake and SaslAuthenticate are understood here.

use crate::api::parts::Parts;
use crate::api::reply::Reply;
use crate::api::request::{Header, Respond};
use crate::apis;
use crate::base::random;
use crate::node::{Listener, LoginRules, Node, Peer};
use rustka_core::error::ErrorCode;
use rustka_core::security::bearer::{self, Unfit};
use rustka_core::security::sasl::{Entrant, Exchange, Failure, Mechanism, Secrets, Step};
use rustka_core::security::scram::{Credential, Strength};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::codec::Reader;
use rustka_wire::sasl_authenticate_request::SaslAuthenticateRequest;
use rustka_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use rustka_wire::sasl_handshake_response::SaslHandshakeResponse;
use std::borrow::Cow;

/// A login under way on one connection.
pub struct Login {
    stage: Stage,
    again: Option<Again>,
}

/// What a repeated login must not change.
struct Again {
    principal: String,
    mechanism: Mechanism,
}

enum Stage {
    /// Nothing is settled. ApiVersions may be asked, once with success.
    Open { versions_told: bool },
    /// A mechanism is settled; its messages come as they are (SaslHandshake v0) or in SaslAuthenticate.
    Chosen { exchange: Box<Exchange>, raw: bool },
}

/// What a message before or during a login leads to.
pub enum Verdict {
    /// This is the answer, and the login goes on.
    Reply(Reply),
    /// This is the answer, and somebody is in.
    In(Reply, Entered),
    /// The login has failed: after a delay this is the answer, if there is one, and then the connection is closed.
    Failed(Option<Reply>, String),
    /// The connection is closed at once.
    Close(String),
}

/// Who has come in.
pub struct Entered {
    /// Such as `User:alice`.
    pub principal: String,
    /// By which way.
    pub mechanism: Mechanism,
    /// For how long, 0 for ever.
    pub session_ms: i64,
    /// Whether with a delegation token.
    pub by_token: bool,
}

/// The secrets of one listener.
struct Known<'a> {
    node: &'a Node,
    rules: &'a LoginRules,
}

impl Secrets for Known<'_> {
    fn is_password(&self, user: &str, password: &str) -> bool {
        self.rules.passwords.is(user, password)
    }

    fn scram(&self, strength: Strength, user: &str) -> Option<Credential> {
        self.node.security.credential(strength, user)
    }

    fn bearer(&self, token: &str) -> Result<Entrant, Unfit> {
        let Some(bearer) = &self.rules.bearer else {
            return Err(Unfit("no tokens are taken here".to_owned()));
        };
        let now = self.node.clock.now();
        let claims = bearer.check(token, now.wall_ms, now.monotonic_ms)?;
        Ok(bearer::entrant(&claims))
    }

    fn token(&self, strength: Strength, id: &str) -> Option<(Credential, Entrant)> {
        let now_ms = self.node.clock.now().wall_ms;
        self.node.tokens.login(strength, id, now_ms)
    }
}

impl Login {
    /// The first login of a connection.
    pub fn new() -> Login {
        let stage = Stage::Open {
            versions_told: false,
        };
        Login { stage, again: None }
    }

    /// A repeated one; it begins with a SaslHandshake.
    pub fn again(principal: &str, mechanism: Mechanism) -> Login {
        Login {
            stage: Stage::Open {
                versions_told: true,
            },
            again: Some(Again {
                principal: principal.to_owned(),
                mechanism,
            }),
        }
    }

    /// Takes the next frame.
    pub fn take(
        &mut self,
        parts: &Parts,
        listener: &Listener,
        peer: &Peer,
        frame: &[u8],
    ) -> Verdict {
        let Some(rules) = &listener.login else {
            return Verdict::Close("nobody logs in at this listener".to_owned());
        };
        let node = &parts.node;
        if let Stage::Chosen { raw: true, .. } = self.stage {
            return self.authenticate(node, rules, frame, None);
        }
        let header = match Header::parse(frame) {
            Ok(header) => header,
            Err(error) => return Verdict::Close(format!("malformed before a login: {error}")),
        };
        let body = frame.get(header.body..).unwrap_or_default();
        match (&self.stage, header.api) {
            (Stage::Open { versions_told }, ApiVersionsRequest::KEY) if !versions_told => {
                self.versions(parts, peer, &header, body)
            }
            (Stage::Open { .. }, SaslHandshakeRequest::KEY) => self.handshake(rules, &header, body),
            (Stage::Chosen { .. }, SaslAuthenticateRequest::KEY) => {
                let version = header.version;
                match SaslAuthenticateRequest::decode(&mut Reader::new(body), version) {
                    Ok(asked) => self.authenticate(node, rules, &asked.auth_bytes, Some(&header)),
                    Err(error) => Verdict::Close(format!("malformed SaslAuthenticate: {error}")),
                }
            }
            (Stage::Chosen { .. }, api) => Verdict::Failed(
                out_of_place(&header),
                format!("API key {api} in the middle of a login"),
            ),
            (Stage::Open { .. }, api) => Verdict::Close(format!(
                "API key {api} before a login, which is needed here"
            )),
        }
    }

    fn versions(&mut self, parts: &Parts, peer: &Peer, header: &Header, body: &[u8]) -> Verdict {
        match apis::versions(parts, peer, header, body) {
            Ok((reply, code)) => {
                let versions_told = code == ErrorCode::None;
                self.stage = Stage::Open { versions_told };
                Verdict::Reply(reply)
            }
            Err(reason) => Verdict::Close(reason),
        }
    }

    fn handshake(&mut self, rules: &LoginRules, header: &Header, body: &[u8]) -> Verdict {
        let version = header.version;
        let asked = match SaslHandshakeRequest::decode(&mut Reader::new(body), version) {
            Ok(asked) => asked,
            Err(error) => return Verdict::Close(format!("malformed SaslHandshake: {error}")),
        };
        let mechanism = Mechanism::named(&asked.mechanism)
            .filter(|mechanism| rules.mechanisms.contains(mechanism));
        let answer = |code: ErrorCode| {
            let mechanisms = rules.mechanisms.iter();
            let response = SaslHandshakeResponse {
                error_code: code.code(),
                mechanisms: mechanisms
                    .map(|known| Cow::Borrowed(known.name()))
                    .collect(),
            };
            Respond::to(header).encode(&[], |w| response.encode(w, version))
        };
        let Some(mechanism) = mechanism else {
            let reason = "a login by a mechanism that is not enabled".to_owned();
            let reply = answer(ErrorCode::UnsupportedSaslMechanism);
            // Whoever is in already gets no second list.
            let reply = self.again.is_none().then_some(reply);
            return Verdict::Failed(reply, reason);
        };
        self.stage = Stage::Chosen {
            exchange: Box::new(Exchange::new(mechanism, &random::nonce())),
            raw: version == 0,
        };
        Verdict::Reply(answer(ErrorCode::None))
    }

    /// Takes a message of the mechanism, in a request with this header or as it is.
    fn authenticate(
        &mut self,
        node: &Node,
        rules: &LoginRules,
        message: &[u8],
        header: Option<&Header>,
    ) -> Verdict {
        let Stage::Chosen { exchange, .. } = &mut self.stage else {
            return Verdict::Close("a login without its mechanism".to_owned());
        };
        let mechanism = exchange.mechanism();
        if let Some(again) = &self.again
            && again.mechanism != mechanism
        {
            let reason = "a login was repeated by another mechanism".to_owned();
            return Verdict::Failed(None, reason);
        }
        let outcome = exchange.step(message, &Known { node, rules });
        let outcome = outcome.and_then(|step| match step {
            Step::Continue(bytes) => Ok((bytes, None)),
            Step::Done(bytes, entrant) => self
                .entered(node, rules, mechanism, entrant)
                .map(|who| (bytes, Some(who))),
        });
        let answer = |bytes: &[u8], session_ms: i64, failure: Option<&Failure>| match header {
            Some(header) => {
                let code = failure.map_or(ErrorCode::None, |_| ErrorCode::SaslAuthenticationFailed);
                let response = SaslAuthenticateResponse {
                    error_code: code.code(),
                    error_message: Some(failure.map_or("", |failure| &failure.0).into()),
                    auth_bytes: Cow::Borrowed(bytes),
                    session_lifetime_ms: session_ms,
                };
                Some(Respond::to(header).encode(&[], |w| response.encode(w, header.version)))
            }
            None => failure.is_none().then(|| Reply::raw(bytes)),
        };
        match outcome {
            Ok((bytes, who)) => {
                let session_ms = who.as_ref().map_or(0, |who| who.session_ms);
                match (answer(&bytes, session_ms, None), who) {
                    (Some(reply), Some(who)) => Verdict::In(reply, who),
                    (Some(reply), None) => Verdict::Reply(reply),
                    (None, _) => Verdict::Close("a login has no answer".to_owned()),
                }
            }
            Err(failure) => {
                let reason = format!("a login by {} failed", mechanism.name());
                Verdict::Failed(answer(&[], 0, Some(&failure)), reason)
            }
        }
    }

    fn entered(
        &self,
        node: &Node,
        rules: &LoginRules,
        mechanism: Mechanism,
        entrant: Entrant,
    ) -> Result<Entered, Failure> {
        let principal = entrant.principal;
        if let Some(again) = &self.again
            && again.principal != principal
        {
            let [before, now] =
                [&again.principal, &principal].map(|name| name.replacen(':', ".", 1));
            return Err(Failure(format!(
                "Cannot change principals during re-authentication from {before}: {now}"
            )));
        }
        // A login holds no longer than the secret that was shown, also where it need not be repeated.
        let now_ms = node.clock.now().wall_ms;
        let left_ms = entrant
            .expires_ms
            .map(|ms| ms.saturating_sub(now_ms).max(1));
        let session_ms = match (rules.session_ms_max, left_ms) {
            (..=0, left_ms) => left_ms.unwrap_or(0),
            (most_ms, left_ms) => left_ms.map_or(most_ms, |left_ms| left_ms.min(most_ms)),
        };
        Ok(Entered {
            principal,
            mechanism,
            session_ms,
            by_token: entrant.by_token,
        })
    }
}

impl Default for Login {
    fn default() -> Self {
        Login::new()
    }
}

/// What is answered in the middle of a login to what does not belong there; most of it nothing.
fn out_of_place(header: &Header) -> Option<Reply> {
    let code = ErrorCode::IllegalSaslState;
    match header.api {
        ApiVersionsRequest::KEY => apis::refused_versions(header, code),
        SaslHandshakeRequest::KEY if (0..=1).contains(&header.version) => {
            let response = SaslHandshakeResponse {
                error_code: code.code(),
                mechanisms: Vec::new(),
            };
            Some(Respond::to(header).encode(&[], |w| response.encode(w, header.version)))
        }
        _ => None,
    }
}
