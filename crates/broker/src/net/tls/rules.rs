//! How a listener speaks TLS, from Kafka's `ssl.` configs: those of all listeners and, stronger, its own.

use super::self_signed::SelfSigned;
use super::store::{self, Own};
use crate::base::start::StartError;
use crate::net::addresses::Address;
use crate::net::login_rules::{ListenerConfigs, View};
use crate::node::{Protocol, Tls};
use rustka_core::config::BrokerConfig;
use rustka_core::security::mapping::MappingRules;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

const KEYSTORE: &str = "ssl.keystore.location";
const KEY_PASSWORD: &str = "ssl.key.password";
const TRUSTSTORE: &str = "ssl.truststore.location";
const CLIENTS: &str = "ssl.client.auth";
const VERSIONS: &str = "ssl.enabled.protocols";
const SUITES: &str = "ssl.cipher.suites";
const NAMES: &str = "ssl.principal.mapping.rules";

/// A listener's TLS, and what was left out of it.
pub struct Loaded {
    /// What is spoken.
    pub config: Arc<ServerConfig>,
    /// The same for pages, whose readers are never asked for certificates.
    pub pages: Arc<ServerConfig>,
    /// How clients are called by their certificates.
    pub names: MappingRules,
    /// A sentence for the log about each value that has no meaning here.
    pub notes: Vec<String>,
}

impl Loaded {
    /// As a listener has it.
    pub fn tls(self) -> Tls {
        Tls::new(self.config, self.pages, self.names)
    }
}

/// The files whose change concerns a listener.
pub fn files(address: &Address, config: &BrokerConfig, own: &ListenerConfigs) -> Vec<String> {
    let view = View::of(address, config, own);
    let named = [KEYSTORE, TRUSTSTORE].into_iter();
    named
        .filter_map(|key| set(&view, key))
        .map(str::to_owned)
        .collect()
}

/// What is set for a listener that its certificate, and whom it trusts, hang on.
pub fn values(
    address: &Address,
    config: &BrokerConfig,
    own: &ListenerConfigs,
) -> Vec<Option<String>> {
    let view = View::of(address, config, own);
    let all = rustka_core::config::keys(rustka_core::config::Scope::Broker).iter();
    let names = all
        .map(|key| key.name)
        .filter(|name| name.starts_with("ssl."));
    names
        .map(|name| view.value(name).map(str::to_owned))
        .collect()
}

/// Whether the listener has a certificate of its own.
pub fn has_certificate(address: &Address, config: &BrokerConfig, own: &ListenerConfigs) -> bool {
    let view = View::of(address, config, own);
    set(&view, KEYSTORE).is_some() || set(&view, "ssl.keystore.certificate.chain").is_some()
}

/// Loads what a listener needs, reading its files. A certificate that is not valid at `now_ms` is refused. Where none is
/// configured there may be a self-signed one.
pub fn load(
    address: &Address,
    config: &BrokerConfig,
    own: &ListenerConfigs,
    self_signed: Option<&SelfSigned>,
    now_ms: i64,
) -> Result<Loaded, StartError> {
    let view = View::of(address, config, own);
    let mut notes = Vec::new();
    let of = |key: &str, why: String| {
        StartError::new(format!("listener {}, {key}: {why}", address.name))
    };
    let identity = match (self_signed, has_certificate(address, config, own)) {
        (Some(made), false) => made.own(),
        _ => identity(&view, address)?,
    };
    store::check_times(&identity.chain, now_ms).map_err(|why| of(KEYSTORE, why))?;
    let provider = Arc::new(provider(&view, &mut notes).map_err(|why| of(SUITES, why))?);
    let versions = versions(&view, &mut notes).map_err(|why| of(VERSIONS, why))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|error| of(VERSIONS, format!("no cipher suite is left for it: {error}")))?;
    let asked = clients(&view, address).map_err(|why| of(CLIENTS, why))?;
    let fits = |error| {
        let why = format!("the key and the certificate do not fit: {error}");
        of(KEYSTORE, why)
    };
    let pages = match asked {
        Clients::Unasked => None,
        _ => Some(
            builder
                .clone()
                .with_no_client_auth()
                .with_single_cert(identity.chain.clone(), identity.key.clone_key())
                .map_err(fits)?,
        ),
    };
    let builder = match asked {
        Clients::Unasked => builder.with_no_client_auth(),
        asked => {
            let roots = roots(&view, &of)?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            let verifier = match asked {
                Clients::Required => verifier.build(),
                _ => verifier.allow_unauthenticated().build(),
            };
            let verifier = verifier.map_err(|error| of(TRUSTSTORE, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder
        .with_single_cert(identity.chain, identity.key)
        .map_err(fits)?;
    // Tickets that the client keeps cost no memory here.
    server.ticketer = ring::Ticketer::new()
        .map_err(|error| StartError::new(format!("cannot make keys for TLS sessions: {error}")))?;
    let names = MappingRules::parse(view.value(NAMES).unwrap_or("DEFAULT"));
    let config = Arc::new(server);
    Ok(Loaded {
        pages: pages.map_or_else(|| config.clone(), Arc::new),
        config,
        names: names.map_err(|why| of(NAMES, why))?,
        notes,
    })
}

fn set<'a>(view: &View<'a>, key: &str) -> Option<&'a str> {
    view.value(key).filter(|value| !value.trim().is_empty())
}

fn identity(view: &View<'_>, address: &Address) -> Result<Own, StartError> {
    let of = |key: &str, why: String| {
        StartError::new(format!("listener {}, {key}: {why}", address.name))
    };
    if let Some(chain) = set(view, "ssl.keystore.certificate.chain") {
        let key = set(view, "ssl.keystore.key").ok_or_else(|| {
            let why = "the certificate is there without its key: expected a private key in PEM";
            of("ssl.keystore.key", why.to_owned())
        })?;
        return store::pem(key, chain, set(view, KEY_PASSWORD))
            .map_err(|why| of("ssl.keystore.key", why));
    }
    let path = set(view, KEYSTORE).ok_or_else(|| {
        StartError::new(format!(
            "listener {} uses {}, but has no certificate: set {KEYSTORE} to a PEM or PKCS12 file, or start with --tls-self-signed",
            address.name,
            address.protocol.name()
        ))
    })?;
    let bytes = store::file(path).map_err(|why| of(KEYSTORE, why))?;
    let password = set(view, "ssl.keystore.password");
    store::own(&bytes, password, set(view, KEY_PASSWORD))
        .map_err(|why| of(KEYSTORE, format!("{path}: {why}")))
}

fn roots(
    view: &View<'_>,
    of: &dyn Fn(&str, String) -> StartError,
) -> Result<RootCertStore, StartError> {
    let (key, certificates) = match (
        set(view, "ssl.truststore.certificates"),
        set(view, TRUSTSTORE),
    ) {
        (Some(text), _) => {
            let key = "ssl.truststore.certificates";
            (key, store::certificates(text).map_err(|why| of(key, why))?)
        }
        (None, Some(path)) => (
            TRUSTSTORE,
            trusted(view, path).map_err(|why| of(TRUSTSTORE, why))?,
        ),
        (None, None) => {
            let why = "clients are asked for certificates, but nobody is trusted to sign them: set it to a PEM or PKCS12 file";
            return Err(of(TRUSTSTORE, why.to_owned()));
        }
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    match added {
        0 => Err(of(
            key,
            "no certificate in it can be trusted to sign others".to_owned(),
        )),
        _ => Ok(roots),
    }
}

fn trusted(view: &View<'_>, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = store::file(path)?;
    let password = set(view, "ssl.truststore.password");
    store::trusted(&bytes, password).map_err(|why| format!("{path}: {why}"))
}

/// Whether clients are asked who they are.
enum Clients {
    Unasked,
    Requested,
    Required,
}

fn clients(view: &View<'_>, address: &Address) -> Result<Clients, String> {
    // Where there is a login, a certificate is asked for only if that was said of this very listener (KIP-684).
    let value = match address.protocol {
        Protocol::SaslSsl => view.own_value(CLIENTS),
        _ => view.value(CLIENTS),
    };
    match value.unwrap_or("none").trim().to_ascii_lowercase().as_str() {
        "none" | "" => Ok(Clients::Unasked),
        "requested" => Ok(Clients::Requested),
        "required" => Ok(Clients::Required),
        other => {
            let other = other.escape_debug();
            Err(format!("'{other}' is none of required, requested, none"))
        }
    }
}

fn list<'a>(view: &View<'a>, key: &str) -> Vec<&'a str> {
    let items = view.value(key).unwrap_or("").split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).collect()
}

fn versions(
    view: &View<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let asked = list(view, VERSIONS);
    let mut versions = Vec::new();
    for name in &asked {
        match *name {
            "TLSv1.2" => versions.push(&TLS12),
            "TLSv1.3" => versions.push(&TLS13),
            other => notes.push(format!(
                "{VERSIONS}: '{}' is not spoken here, only TLSv1.2 and TLSv1.3",
                other.escape_debug()
            )),
        }
    }
    match (asked.is_empty(), versions.is_empty()) {
        (true, _) => Ok(vec![&TLS12, &TLS13]),
        (false, true) => {
            Err("none of its versions is spoken here: expected TLSv1.2, TLSv1.3 or both".to_owned())
        }
        (false, false) => Ok(versions),
    }
}

fn provider(view: &View<'_>, notes: &mut Vec<String>) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    let asked = list(view, SUITES);
    if asked.is_empty() {
        return Ok(provider);
    }
    // Java writes TLS_AES_… where rustls has TLS13_AES_….
    let java_name = |debug: String| debug.replacen("TLS13_", "TLS_", 1);
    let known: Vec<String> = provider
        .cipher_suites
        .iter()
        .map(|suite| java_name(format!("{:?}", suite.suite())))
        .collect();
    for name in &asked {
        if !known.iter().any(|known| known == name) {
            notes.push(format!(
                "{SUITES}: there is no '{}' here",
                name.escape_debug()
            ));
        }
    }
    provider.cipher_suites.retain(|suite| {
        let name = java_name(format!("{:?}", suite.suite()));
        asked.iter().any(|asked| *asked == name)
    });
    match provider.cipher_suites.is_empty() {
        true => Err(format!(
            "none of them is here: expected some of {}",
            known.join(", ")
        )),
        false => Ok(provider),
    }
}
