//! TLS at a listener: its handshake, and what a client is called by its certificate.

mod names;
pub mod reload;
pub mod rules;
pub mod self_signed;
pub mod store;

use crate::net::transport::Transport;
use crate::node::{Node, Peer, Tls};
use rustka_core::sync::lock;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};
use tokio_rustls::server::TlsStream;

/// Shakes hands with a client; nothing where that does not succeed, or not before the connection is closed by those who
/// watch over connections. The log and observers are told why.
pub async fn shake<T: Transport>(
    stream: T,
    tls: &Tls,
    peer: &Peer,
    node: &Node,
) -> Option<TlsStream<T>> {
    let mut shaking = pin!(TlsAcceptor::from(tls.config()).accept(stream));
    let shaken = poll_fn(|cx| {
        *lock(&peer.waker) = Some(cx.waker().clone());
        if peer.closed.load(Relaxed) || node.peers.reading_has_ended() {
            return Poll::Ready(None);
        }
        shaking.as_mut().poll(cx).map(Some)
    });
    match shaken.await? {
        Ok(stream) => Some(stream),
        Err(error) => {
            node.closes(peer.address, &reason(&error));
            None
        }
    }
}

/// Who the client's certificate says is there: no principal without a certificate, an error where no rule fits its name.
pub fn principal<T>(stream: &TlsStream<T>, tls: &Tls) -> Result<Option<String>, String> {
    let (_, connection) = stream.get_ref();
    let Some(certificate) = connection.peer_certificates().and_then(<[_]>::first) else {
        return Ok(None);
    };
    let name = names::subject(certificate).ok_or("a certificate whose name cannot be read")?;
    match tls.names.name(&name) {
        Some(user) => Ok(Some(format!("User:{user}"))),
        None => {
            Err("a certificate whose name fits no rule of ssl.principal.mapping.rules".to_owned())
        }
    }
}

/// Why a handshake failed, in a sentence for whoever runs the broker.
pub fn reason(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let untrusted = "a client that does not trust this listener's certificate, or finds another name in it than it has connected to";
    match inner {
        Some(Error::InvalidMessage(_)) => {
            "a client without TLS on a port with TLS: it needs security.protocol SSL or SASL_SSL (https for pages)".to_owned()
        }
        Some(Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown,
        )) => untrusted.to_owned(),
        Some(Error::AlertReceived(AlertDescription::CertificateExpired)) => {
            "a client to which this listener's certificate has expired".to_owned()
        }
        Some(Error::NoCertificatesPresented) => {
            "a client without a certificate, which ssl.client.auth=required asks for".to_owned()
        }
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "a client whose certificate has expired".to_owned(),
        Some(Error::InvalidCertificate(_)) => {
            "a client whose certificate is not signed by anybody in the truststore".to_owned()
        }
        _ => format!("a TLS handshake that failed: {error}"),
    }
}
