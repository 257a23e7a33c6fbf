//! Who may see and change what by HTTP.
//!
//! On a broker without logins everybody who reaches the port sees what every Kafka client sees, and changes come only from
//! this machine or with the token. On one with logins a user of the broker logs in, and has the rights that this user has.
//! A page from elsewhere can have a visitor's browser send requests here, but it cannot hide where they come from:
//! browsers say so in Origin and Sec-Fetch-Site.

use super::host;
use super::problem::Problem;
use crate::base::random;
use crate::node::{ANONYMOUS, LoginRules, Node};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, ORIGIN};
use hyper::{Method, Request, StatusCode};
use rustka_core::security::scram::{Credential, Strength};
use rustka_core::sync::lock;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;

/// The cookie of whoever has logged in or shown the token.
pub const COOKIE_NAME: &str = "rustka-session";
/// Sessions at a time; one more ends the one that was not used for longest.
const SESSIONS_MAX: usize = 1_000;
/// A session that was not used for this long is over.
const SESSION_IDLE_MS: i64 = 12 * 3_600_000;

/// How the HTTP port is guarded.
#[derive(Clone, Debug, Default)]
pub struct PageOptions {
    /// Who shows it may change things from anywhere.
    pub token: Option<String>,
    /// Names by which pages are served beside addresses, localhost and the advertised names.
    pub allowed_hosts: Vec<String>,
    /// Whether metrics are told to everybody, also on a broker with logins.
    pub metrics_open: bool,
    /// Whether pages are served with a listener's certificate, and not without TLS.
    pub tls: bool,
}

/// The guard of one HTTP port.
pub struct Guard {
    options: PageOptions,
    has_logins: bool,
    sessions: Mutex<BTreeMap<String, Session>>,
}

struct Session {
    /// Who logged in; none who has shown the token.
    login: Option<Login>,
    used_ms: i64,
}

/// A user who has logged in. It holds as long as the password with which that was done.
#[derive(Clone)]
pub struct Login {
    user: String,
    proof: Proof,
}

#[derive(Clone)]
enum Proof {
    /// A password that the broker was started with, which cannot be taken away.
    Start,
    /// What the broker kept of a password then.
    Kept(Strength, Credential),
}

impl Login {
    fn principal(&self) -> String {
        format!("User:{}", self.user)
    }

    /// Whether the user is still there and has the same password.
    fn holds(&self, node: &Node) -> bool {
        match &self.proof {
            Proof::Start => true,
            Proof::Kept(strength, then) => {
                let now = node.security.credential(*strength, &self.user);
                now.is_some_and(|now| now == *then)
            }
        }
    }
}

/// Whoever asks, and what for all resources alike is open to them.
#[derive(Clone, Debug)]
pub struct Who {
    /// Such as `User:alice`.
    pub principal: String,
    /// Why nothing may be changed; none if it may.
    pub read_only: Option<&'static str>,
}

const NOT_LOGGED_IN: &str = "log in with a user of this broker";
const FROM_AFAR: &str = "changes are taken from this machine only: start with --http-token TOKEN (or RUSTKA_HTTP_TOKEN) and give the token here";
const TOKEN_WANTED: &str = "changes are taken from this machine, or with the token";

impl Guard {
    /// A guard for the pages of this node.
    pub fn new(options: PageOptions, node: &Node) -> Guard {
        Guard {
            has_logins: node.listeners.iter().any(|one| one.login.is_some()),
            options,
            sessions: Mutex::default(),
        }
    }

    /// Names that were allowed.
    pub fn hosts(&self) -> &[String] {
        &self.options.allowed_hosts
    }

    /// Whether one has to log in.
    pub fn has_logins(&self) -> bool {
        self.has_logins
    }

    /// Whether there is a token.
    pub fn has_token(&self) -> bool {
        self.options.token.is_some()
    }

    /// Whether this one is told the metrics.
    pub fn tells_metrics(&self, request: &Request<Incoming>, node: &Node) -> bool {
        !self.has_logins
            || self.options.metrics_open
            || self.shows_token(request.headers())
            || self.session(request.headers(), node).is_some()
    }

    /// Refuses what a page from elsewhere has a browser send.
    pub fn check_origin(&self, request: &Request<Incoming>) -> Result<(), Problem> {
        let headers = request.headers();
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let site = text("sec-fetch-site").unwrap_or("none");
        let host = host::told(request).and_then(Result::ok).unwrap_or("");
        let is_ours = |origin: &str| {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        };
        let from_elsewhere = !matches!(site, "same-origin" | "none")
            || text(ORIGIN.as_str()).is_some_and(|origin| !is_ours(origin));
        match from_elsewhere {
            true => Err(Problem::forbidden("pages from elsewhere are not served")),
            false => Ok(()),
        }
    }

    /// Who asks; a problem if they have to log in first.
    pub fn who(
        &self,
        headers: &HeaderMap,
        address: SocketAddr,
        node: &Node,
    ) -> Result<Who, Problem> {
        let session = self.session(headers, node);
        if self.has_logins {
            let principal = session.flatten();
            let principal =
                principal.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, NOT_LOGGED_IN))?;
            let read_only = None;
            return Ok(Who {
                principal,
                read_only,
            });
        }
        // Behind a proxy on this machine everybody seems to be on it.
        let is_forwarded = ["forwarded", "x-forwarded-for"]
            .iter()
            .any(|name| headers.contains_key(*name));
        let is_near = address.ip().to_canonical().is_loopback() && !is_forwarded;
        let may_change = is_near || session.is_some() || self.shows_token(headers);
        let why = match self.has_token() {
            true => TOKEN_WANTED,
            false => FROM_AFAR,
        };
        Ok(Who {
            principal: ANONYMOUS.to_owned(),
            read_only: (!may_change).then_some(why),
        })
    }

    /// Refuses changes by whoever may only look.
    pub fn check_change(&self, method: &Method, who: &Who) -> Result<(), Problem> {
        match who.read_only {
            Some(why) if *method != Method::GET && *method != Method::HEAD => {
                Err(Problem::forbidden(why))
            }
            _ => Ok(()),
        }
    }

    fn shows_token(&self, headers: &HeaderMap) -> bool {
        let told = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let told = told.and_then(|told| told.strip_prefix("Bearer "));
        told.is_some_and(|told| self.is_token(told))
    }

    /// Whether this is the token; takes as long whatever was given.
    pub fn is_token(&self, told: &str) -> bool {
        let mut known = rustka_core::security::plain::Passwords::default();
        if let Some(token) = &self.options.token {
            known.set("token", token);
        }
        known.is("token", told)
    }

    /// The session of these headers: who it is of, none of whom for the token.
    fn session(&self, headers: &HeaderMap, node: &Node) -> Option<Option<String>> {
        let id = session_id(headers)?;
        let now_ms = node.clock.monotonic_ms();
        let login = {
            let mut sessions = lock(&self.sessions);
            let session = sessions.get_mut(id)?;
            let is_idle = now_ms.saturating_sub(session.used_ms) > SESSION_IDLE_MS;
            session.used_ms = now_ms;
            if is_idle {
                sessions.remove(id);
                return None;
            }
            session.login.clone()
        };
        if login.as_ref().is_some_and(|login| !login.holds(node)) {
            lock(&self.sessions).remove(id);
            return None;
        }
        Some(login.as_ref().map(Login::principal))
    }

    /// Begins a session; its cookie.
    pub fn begin(&self, login: Option<Login>, now_ms: i64) -> String {
        let id = random::nonce();
        let mut sessions = lock(&self.sessions);
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used_ms);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                sessions.remove(&oldest);
            }
        }
        let used_ms = now_ms;
        sessions.insert(id.clone(), Session { login, used_ms });
        format!("{COOKIE_NAME}={id}{}", self.cookie_attributes())
    }

    /// What browsers are to do with the cookie: keep it from scripts and other sites, and from connections without TLS
    /// where there are others.
    pub fn cookie_attributes(&self) -> &'static str {
        match self.options.tls {
            true => "; HttpOnly; SameSite=Strict; Path=/; Secure",
            false => "; HttpOnly; SameSite=Strict; Path=/",
        }
    }

    /// Ends a session.
    pub fn end(&self, headers: &HeaderMap) {
        if let Some(id) = session_id(headers) {
            lock(&self.sessions).remove(id);
        }
    }
}

fn session_id(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    let mut cookies = cookies
        .split(';')
        .filter_map(|one| one.trim().split_once('='));
    cookies.find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

/// How long a failed login has to wait for its answer.
pub fn failure_delay_ms(node: &Node) -> i64 {
    let rules = node.listeners.iter().filter_map(|one| one.login.as_ref());
    rules.map(|rules| rules.failure_delay_ms).max().unwrap_or(0)
}

/// The login of this user, if this is the password at any listener, by PLAIN or by SCRAM. Takes milliseconds.
pub fn login(node: &Node, user: &str, password: &str) -> Option<Login> {
    let rules = node.listeners.iter().filter_map(|one| one.login.as_ref());
    let by_plain = |rules: &LoginRules| rules.passwords.is(user, password);
    // All of them are asked, so that the time tells nothing.
    let is_plain = rules.fold(false, |found, rules| by_plain(rules) | found);
    let by_scram = |strength| {
        let known = node.security.credential(strength, user);
        let (salt, rounds) = match &known {
            Some(known) => (known.salt.clone(), known.iterations),
            None => (vec![0; 16], rustka_core::security::scram::ITERATIONS_MIN),
        };
        let given = Credential::of_password(strength, password, &salt, rounds);
        let known = known.filter(|known| *known == given)?;
        Some(Proof::Kept(strength, known))
    };
    let [weak, strong] = Strength::ALL.map(by_scram);
    let proof = is_plain.then_some(Proof::Start).or(strong).or(weak)?;
    let user = user.to_owned();
    Some(Login { user, proof })
}
