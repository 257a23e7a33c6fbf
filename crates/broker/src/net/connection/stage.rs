//! Where a connection stands: outside, while nobody is known at its far end, or inside, where requests are served.

use crate::api::access::Caller;
use crate::api::parts::Parts;
use crate::api::request::{Frame, Header, Outcome, Request};
use crate::apis;
use crate::base::hooks::Event;
use crate::net::login::{Entered, Login, Verdict};
use crate::node::{Doctor, Identity, Listener, Peer};
use rustka_core::security::sasl::Mechanism;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::sasl_handshake_request::SaslHandshakeRequest;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A login may be repeated as often as this, in milliseconds.
const AGAIN_MS_MIN: i64 = 1_000;

/// Where a connection stands. Requests are made by a [`Caller`], and there is none outside.
pub enum Stage {
    /// Somebody has to log in.
    Outside(Box<Outside>),
    /// Requests are served.
    Inside(Box<Inside>),
}

/// A connection before its login.
pub struct Outside {
    login: Login,
    listener: Arc<Listener>,
    peer: Arc<Peer>,
}

/// A connection whose far end is known.
pub struct Inside {
    caller: Caller,
    session: Option<Session>,
}

/// A login that does not hold for ever, and its repetition.
struct Session {
    mechanism: Mechanism,
    /// A request after this ends the connection.
    ends_ms: i64,
    /// When it was last repeated.
    again_ms: Option<i64>,
    login: Option<Login>,
}

impl Stage {
    /// At the beginning: outside only where there is a login.
    pub fn first(peer: &Arc<Peer>, listener: Arc<Listener>) -> Stage {
        let peer = peer.clone();
        if listener.login.is_some() {
            let login = Login::new();
            return Stage::Outside(Box::new(Outside {
                login,
                listener,
                peer,
            }));
        }
        peer.inside.store(true, Relaxed);
        Stage::known(Identity::anonymous(peer, listener))
    }

    /// Inside from the beginning, and for as long as the connection lasts.
    pub fn known(identity: Identity) -> Stage {
        Stage::Inside(Box::new(Inside {
            caller: Caller::new(Arc::new(identity)),
            session: None,
        }))
    }

    /// Bytes of one frame now, if that is less than later.
    pub fn frame_bytes_max(&self) -> Option<usize> {
        match self {
            Stage::Outside(outside) => {
                let login = outside.listener.login.as_ref();
                login.map(|rules| rules.message_bytes_max)
            }
            Stage::Inside(_) => None,
        }
    }

    /// Takes a frame that was complete at `received_ms`.
    pub fn take(&mut self, parts: &Arc<Parts>, frame: Frame<'_>, received_ms: i64) -> Outcome {
        match self {
            Stage::Outside(outside) => {
                let Outside {
                    login,
                    listener,
                    peer,
                } = &mut **outside;
                let verdict = login.take(parts, listener, peer, frame.bytes());
                let (outcome, entered) = outcome_of(verdict, parts, listener);
                if let Some(entered) = entered {
                    *self = Stage::inside(peer.clone(), listener.clone(), &entered, received_ms);
                }
                outcome
            }
            Stage::Inside(inside) => inside.take(parts, frame, received_ms),
        }
    }

    fn inside(peer: Arc<Peer>, listener: Arc<Listener>, who: &Entered, now_ms: i64) -> Stage {
        peer.inside.store(true, Relaxed);
        let identity = Identity::logged_in(peer, listener, &who.principal, who.by_token);
        let session = (who.session_ms > 0).then(|| Session {
            mechanism: who.mechanism,
            ends_ms: now_ms.saturating_add(who.session_ms),
            again_ms: None,
            login: None,
        });
        Stage::Inside(Box::new(Inside {
            caller: Caller::new(Arc::new(identity)),
            session,
        }))
    }
}

/// What a login has come to, as the outcome of its last message.
fn outcome_of(verdict: Verdict, parts: &Parts, listener: &Listener) -> (Outcome, Option<Entered>) {
    let outcome = match verdict {
        Verdict::Reply(reply) => Outcome::Reply(reply),
        Verdict::In(reply, entered) => return (Outcome::Reply(reply), Some(entered)),
        Verdict::Close(reason) => Outcome::Close(reason),
        Verdict::Failed(reply, reason) => {
            parts.node.metrics.logins_failed.fetch_add(1, Relaxed);
            parts.node.hooks.saw(|| Event::LoginFailed(&reason));
            let delay_ms = listener
                .login
                .as_ref()
                .map_or(0, |rules| rules.failure_delay_ms);
            let clock = parts.node.clock.clone();
            let until_ms = clock.monotonic_ms().saturating_add(delay_ms);
            Outcome::Park(Box::pin(async move {
                clock.sleep_until(until_ms).await;
                Outcome::Refuse(reply, reason)
            }))
        }
    };
    (outcome, None)
}

impl Inside {
    fn take(&mut self, parts: &Arc<Parts>, frame: Frame<'_>, received_ms: i64) -> Outcome {
        if self.is_logging_in_again() {
            return self.log_in_again(parts, frame.bytes(), received_ms);
        }
        let header = match Header::parse(frame.bytes()) {
            Ok(header) => header,
            Err(error) => {
                let reason = format!("malformed request header: {error}");
                return Outcome::Close(reason);
            }
        };
        if let Some(session) = &mut self.session {
            let is_handshake = header.api == SaslHandshakeRequest::KEY;
            if is_handshake && session.may_begin_again(received_ms) {
                session.login = Some(Login::again(self.caller.principal(), session.mechanism));
                return self.log_in_again(parts, frame.bytes(), received_ms);
            }
            if received_ms > session.ends_ms {
                let reason = "a request after the end of its session, without another login";
                return Outcome::Close(reason.to_owned());
            }
        }
        let client_id = frame.bytes().get(header.client_id.clone());
        let client_id = client_id.unwrap_or_default();
        self.caller.begin(&header, client_id, received_ms);
        let bytes = frame.bytes().len();
        let peer = self.caller.peer();
        peer.asks(header.api, bytes);
        if !peer.has_come() && Doctor::is_work(header.api) {
            parts.node.doctor.came(peer);
        }
        let is_introduction = header.api == ApiVersionsRequest::KEY;
        let outcome = apis::dispatch(Request {
            node: &parts.node,
            parts,
            caller: &self.caller,
            header,
            frame,
            bill: None,
        });
        if is_introduction {
            self.caller.note_software();
        }
        outcome
    }

    fn is_logging_in_again(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.login.is_some())
    }

    /// Takes a frame of a repeated login.
    fn log_in_again(&mut self, parts: &Parts, frame: &[u8], now_ms: i64) -> Outcome {
        let Some(session) = &mut self.session else {
            return Outcome::Close("a login is repeated that holds for ever".to_owned());
        };
        let Some(login) = &mut session.login else {
            return Outcome::Close("a login is repeated that has not begun".to_owned());
        };
        let listener = self.caller.listener();
        let verdict = login.take(parts, listener, self.caller.peer(), frame);
        let (outcome, entered) = outcome_of(verdict, parts, listener);
        if let Some(entered) = entered {
            session.login = None;
            session.ends_ms = now_ms.saturating_add(entered.session_ms);
        }
        outcome
    }
}

impl Session {
    /// Whether a login may be repeated now; if so, that is noted.
    fn may_begin_again(&mut self, now_ms: i64) -> bool {
        let is_early = |again_ms: i64| now_ms.saturating_sub(again_ms) < AGAIN_MS_MIN;
        if self.again_ms.is_some_and(is_early) {
            return false;
        }
        self.again_ms = Some(now_ms);
        true
    }
}
