//! OAUTHBEARER at a listener, from Kafka's `sasl.oauthbearer.` configs: where the keys are, and keeping up with them.
//!
//! Keys are never fetched while a login waits for them: a task does it, and until it has succeeded tokens are refused.

#[cfg(feature = "http")]
mod fetch;

use super::login_rules::View;
use crate::base::rate::LogLimit;
use crate::base::start::StartError;
use crate::node::{Bearer, Node};
use rustka_core::security::bearer::{KeySet, Rules};
use std::sync::Arc;

const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";
/// Has tokens believed that nobody has signed.
const UNSECURED: &str = "rustka.oauthbearer.unsecured";
/// What a token has to say, and what lets it say anything.
const PARTIES: [(&str, &str); 2] = [
    (AUDIENCE, "sasl.oauthbearer.allow.unverified.audience"),
    (ISSUER, "sasl.oauthbearer.allow.unverified.issuer"),
];
const AUDIENCE: &str = "sasl.oauthbearer.expected.audience";
const ISSUER: &str = "sasl.oauthbearer.expected.issuer";
/// A set of keys is read up to this size.
const KEYS_BYTES_MAX: usize = 1 << 20;

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(String),
    /// At an address of the web.
    #[cfg(feature = "http")]
    Web(fetch::Address),
}

/// A listener's keys and how they are kept up.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What the listener goes by.
    pub bearer: Arc<Bearer>,
    /// Where its keys are; none where nobody signs.
    source: Option<Source>,
    refresh_ms: i64,
    retry_ms: i64,
    retry_ms_max: i64,
}

impl Source {
    fn parse(url: &str) -> Result<Source, String> {
        if let Some(path) = url.strip_prefix("file:") {
            return Ok(Source::File(path.trim_start_matches("//").to_owned()));
        }
        #[cfg(feature = "http")]
        return fetch::Address::parse(url).map(Source::Web);
        #[cfg(not(feature = "http"))]
        Err("only files are read here: expected file:///PATH".to_owned())
    }

    async fn load(&self, node: &Node) -> Result<KeySet, String> {
        #[cfg(not(feature = "http"))]
        let _: &Node = node;
        match self {
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read(&path)).await;
                read.unwrap_or_else(|_| Err("reading it has failed".to_owned()))
            }
            #[cfg(feature = "http")]
            Source::Web(address) => fetch::keys(address, node).await,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) => f.write_str(path),
            #[cfg(feature = "http")]
            Source::Web(address) => address.fmt(f),
        }
    }
}

fn read(path: &str) -> Result<KeySet, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if size.len() > KEYS_BYTES_MAX as u64 {
        return Err(format!("it is larger than {KEYS_BYTES_MAX} bytes"));
    }
    KeySet::parse(&std::fs::read(path).map_err(|error| error.to_string())?)
}

/// Reads the rules of a listener with OAUTHBEARER. A file has to be there at the start; an address is asked later.
pub fn of(view: &View<'_>) -> Result<Kept, StartError> {
    let wrong = |key: &str, why: String| StartError::new(format!("{key}: {why}"));
    let value = |key: &str| view.value_of("oauthbearer", key).map(str::trim);
    let text = |key: &str| value(key).filter(|value| !value.is_empty());
    let number = |key: &str| text(key).and_then(|value| value.parse::<i64>().ok());
    let unsecured = text(UNSECURED) == Some("true");
    let url = text(URL);
    let source = match (url, unsecured) {
        (Some(url), false) => Some(Source::parse(url).map_err(|why| wrong(URL, why))?),
        (None, true) => None,
        (Some(_), true) => {
            let why = "with it nobody's signature is looked at, so that no keys are needed: unset one of both";
            return Err(wrong(UNSECURED, format!("{why}, {URL} or this")));
        }
        (None, false) => {
            return Err(StartError::new(format!(
                "sasl.enabled.mechanisms has OAUTHBEARER, but there are no keys to check tokens with: set {URL} to a file (file:///PATH) or an address, or for tests {UNSECURED}=true, which believes everybody"
            )));
        }
    };
    // Whoever issues tokens does so for others, too, and one key may be that of many issuers.
    let is_allowed = |key: &str| text(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let is_open =
        |(expected, allowed): &(&str, &str)| text(expected).is_none() && !is_allowed(allowed);
    let open: Vec<_> = PARTIES.into_iter().filter(is_open).collect();
    if source.is_some() && !open.is_empty() {
        let list = |names: Vec<&str>, between| names.join(between);
        let (expected, allowed) = open.into_iter().unzip();
        return Err(StartError::new(format!(
            "OAUTHBEARER would believe tokens that are meant for others, or come from others: set {}, or to have that {}=true",
            list(expected, " and "),
            list(allowed, "=true and ")
        )));
    }
    let keys = match &source {
        Some(Source::File(path)) => {
            read(path).map_err(|why| wrong(URL, format!("{path}: {why}")))?
        }
        _ => KeySet::default(),
    };
    let audience = text(AUDIENCE).unwrap_or("");
    let audience = audience.split(',').map(str::trim);
    let rules = Rules {
        subject_claim: text("sasl.oauthbearer.sub.claim.name")
            .unwrap_or("sub")
            .to_owned(),
        scope_claim: text("sasl.oauthbearer.scope.claim.name")
            .unwrap_or("scope")
            .to_owned(),
        issuer: text(ISSUER).map(str::to_owned),
        audience: audience
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect(),
        // Without keys there is no other clock than that of whoever makes the token.
        skew_ms: match unsecured {
            true => 0,
            false => number("sasl.oauthbearer.clock.skew.seconds")
                .unwrap_or(0)
                .saturating_mul(1_000),
        },
        unsecured,
    };
    let at_least = |key: &str| number(key).unwrap_or(1).max(1);
    Ok(Kept {
        bearer: Arc::new(Bearer::new(rules, keys)),
        source,
        refresh_ms: at_least("sasl.oauthbearer.jwks.endpoint.refresh.ms"),
        retry_ms: at_least("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms"),
        retry_ms_max: at_least("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms"),
    })
}

impl Kept {
    /// Whether there are keys to be kept up.
    pub fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Keeps the keys up for as long as the broker lives. What fails leaves the old ones in force, and is tried again.
    pub async fn keep_up(&self, node: &Node) {
        let Some(source) = &self.source else {
            return std::future::pending().await;
        };
        let mut wait_ms = self.retry_ms;
        let lines = LogLimit::default();
        loop {
            let began_ms = node.clock.monotonic_ms();
            let next_ms = match source.load(node).await {
                Ok(keys) => {
                    let count = self.bearer.replace(keys);
                    tracing::debug!(target: "rustka::listener", "{count} keys of tokens were read from {source}");
                    wait_ms = self.retry_ms;
                    self.refresh_ms
                }
                Err(why) => {
                    if let Some(left_out) = lines.admits(node.clock.monotonic_ms()) {
                        tracing::warn!(target: "rustka::listener", "the keys of tokens stay as they are, since {source} has none that can be used: {why}{left_out}");
                    }
                    let next_ms = wait_ms.min(self.retry_ms_max);
                    wait_ms = wait_ms.saturating_mul(2).min(self.retry_ms_max);
                    next_ms
                }
            };
            let until = |ms: i64| node.clock.sleep_until(began_ms.saturating_add(ms));
            tokio::select! {
                biased;
                () = until(next_ms) => {}
                () = self.bearer.wanted.notified() => until(self.retry_ms_max).await,
            }
        }
    }
}
