//! Keys from an address: one GET over TLS, or without it from this very machine, within limits of time and size. No
//! redirect is followed.

use super::KEYS_BYTES_MAX;
use crate::node::Node;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustka_core::security::bearer::KeySet;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// All of it takes no longer.
const FETCH_MS: i64 = 10_000;

/// An address of the web.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    has_tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Address {
    /// Reads it. Without TLS anybody on the way could put in keys of their own, so that only loopback may do without.
    pub fn parse(url: &str) -> Result<Address, String> {
        let expected = "expected file:///PATH, https://HOST/PATH, or http:// on this machine";
        let uri: Uri = url.parse().map_err(|_| expected.to_owned())?;
        let has_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(expected.to_owned()),
        };
        let host = uri
            .host()
            .ok_or(expected)?
            .trim_matches(['[', ']'])
            .to_owned();
        let ip = host.parse::<IpAddr>();
        if !has_tls && host != "localhost" && !ip.is_ok_and(|ip| ip.is_loopback()) {
            return Err(format!(
                "keys are fetched from elsewhere only over TLS: {expected}"
            ));
        }
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(
                "it holds a name or a password, which would be told: keys are for everybody"
                    .to_owned(),
            );
        }
        let port = uri.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Address {
            has_tls,
            host,
            port,
            path: path.to_owned(),
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.has_tls { "https" } else { "http" };
        let at = crate::base::join::join(&self.host, self.port);
        write!(f, "{scheme}://{at}{}", self.path.escape_debug())
    }
}

/// The keys that are there now.
pub async fn keys(address: &Address, node: &Node) -> Result<KeySet, String> {
    let until_ms = node.clock.monotonic_ms().saturating_add(FETCH_MS);
    tokio::select! {
        biased;
        fetched = fetched(address) => KeySet::parse(&fetched?),
        () = node.clock.sleep_until(until_ms) => Err(format!("it took longer than {FETCH_MS} ms")),
    }
}

async fn fetched(address: &Address) -> Result<Bytes, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
    let stream = stream.map_err(|error| failed(&error))?;
    if !address.has_tls {
        return asked(stream, address).await;
    }
    let name = ServerName::try_from(address.host.clone()).map_err(|error| failed(&error))?;
    let connector = TlsConnector::from(Arc::new(trusting()?));
    let stream = connector.connect(name, stream).await;
    asked(stream.map_err(|error| failed(&error))?, address).await
}

/// Trusts whom this machine trusts (or who is in SSL_CERT_FILE).
fn trusting() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "this machine trusts no authority: SSL_CERT_FILE can name a file of them".to_owned(),
        );
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn asked<T>(stream: T, address: &Address) -> Result<Bytes, String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| failed(&error))?;
    let request = Request::get(&address.path)
        .header("host", crate::base::join::join(&address.host, address.port))
        .header("accept", "application/json")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let answer = async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| failed(&error))?;
        if answer.status() != hyper::StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), KEYS_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| failed(&error))?;
        Ok(body.to_bytes())
    };
    // The connection is driven for as long as the answer takes, and is gone with it.
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answered = &mut answer => answered,
        _ended = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        let shown = |url: &str| Address::parse(url).map(|address| address.to_string());
        let good = [
            (
                "https://id.example/keys?x=1",
                "https://id.example:443/keys?x=1",
            ),
            ("http://localhost:8080", "http://localhost:8080/"),
            ("http://127.0.0.1/k", "http://127.0.0.1:80/k"),
            ("http://[::1]:81/k", "http://[::1]:81/k"),
        ];
        for (url, told) in good {
            assert_eq!(shown(url).as_deref(), Ok(told));
        }
        for wrong in [
            "http://id.example/keys",
            "ftp://x/y",
            "keys.json",
            "https://",
            "https://u:p@id/k",
        ] {
            let error = shown(wrong).unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
