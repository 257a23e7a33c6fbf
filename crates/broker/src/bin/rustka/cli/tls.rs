//! TLS of commands, by Kafka's `ssl.` properties: whom to trust, and a certificate to show.

use std::io;
use std::sync::Arc;

use rustka::net::tls::store;
use rustka_client::{Address, BoxFuture, BoxStream, Dial};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Where systems keep whom they trust.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/openssl@3/cert.pem",
];

/// Connects by TLS over TCP.
pub struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// As properties of Kafka's clients say. The error is a sentence.
    pub fn of<'a>(property: impl Fn(&str) -> Option<&'a str>) -> Result<Tls, String> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots(&property)?);
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let checks_name = property("ssl.endpoint.identification.algorithm") != Some("");
        let builder = match checks_name {
            true => builder.with_root_certificates(roots),
            false => {
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| error.to_string())?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AnyName(verifier)))
            }
        };
        let config = match own(&property)? {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(own.chain, own.key)
                .map_err(|error| format!("the certificate to be shown: {error}"))?,
        };
        Ok(Tls {
            connector: TlsConnector::from(Arc::new(config)),
        })
    }
}

/// Whom to trust: a truststore, or else whom the system trusts.
fn roots<'a>(property: &impl Fn(&str) -> Option<&'a str>) -> Result<RootCertStore, String> {
    let password = property("ssl.truststore.password");
    let trusted = match (
        property("ssl.truststore.certificates"),
        property("ssl.truststore.location"),
    ) {
        (Some(text), _) => store::certificates(text)?,
        (None, Some(path)) => {
            let read = store::file(path)?;
            store::trusted(&read, password).map_err(|why| format!("{path}: {why}"))?
        }
        (None, None) => {
            let named = std::env::var("SSL_CERT_FILE").ok();
            let mut paths = named.iter().map(String::as_str).chain(SYSTEM_ROOTS);
            let path = paths.find(|path| std::path::Path::new(path).exists());
            let path = path.ok_or(
                "this system keeps no list of authorities where one is looked for; name one by --tls-ca",
            )?;
            let read = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
            store::certificates(&String::from_utf8_lossy(&read))
                .map_err(|why| format!("{path}: {why}"))?
        }
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(trusted);
    match added {
        0 => Err("none of the certificates to be trusted can be used".to_owned()),
        _ => Ok(roots),
    }
}

/// The certificate to be shown, if there is one.
fn own<'a>(property: &impl Fn(&str) -> Option<&'a str>) -> Result<Option<store::Own>, String> {
    let key_password = property("ssl.key.password");
    if let (Some(key), Some(chain)) = (
        property("ssl.keystore.key"),
        property("ssl.keystore.certificate.chain"),
    ) {
        return store::pem(key, chain, key_password).map(Some);
    }
    let Some(path) = property("ssl.keystore.location") else {
        return Ok(None);
    };
    let read = store::file(path)?;
    let own = store::own(&read, property("ssl.keystore.password"), key_password);
    own.map(Some).map_err(|why| format!("{path}: {why}"))
}

impl Dial for Tls {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let name = ServerName::try_from(address.host.clone())
                .map_err(|_| io::Error::other(format!("{} is no host name", address.host)))?;
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
            stream.set_nodelay(true)?;
            let stream = self.connector.connect(name, stream).await;
            let stream = stream
                .map_err(|error| io::Error::new(error.kind(), format!("TLS failed: {error}")))?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

/// Trusts a certificate whatever name it is for, as `ssl.endpoint.identification.algorithm=` asks.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
