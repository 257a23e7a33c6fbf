//! Pages with TLS: the certificate of a listener, which nobody has to answer with one of their own.

use super::places::Place;
use super::{Http, REQUEST_MS, connection};
use crate::net::tls::reason;
use crate::node::Listener;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Serves a connection in a task of its own, once hands are shaken.
pub fn connected(stream: TcpStream, address: SocketAddr, of: &Arc<Listener>, http: &Arc<Http>) {
    let place = http.places.enter(http.node().clock.monotonic_ms());
    let (of, http) = (of.clone(), http.clone());
    tokio::spawn(async move {
        if let Some(stream) = shaken(stream, address, &of, &http, &place).await {
            connection(stream, address, http, place).await;
        }
    });
}

/// The connection after its handshake, which has as long as a request.
async fn shaken(
    stream: TcpStream,
    address: SocketAddr,
    of: &Listener,
    http: &Http,
    place: &Place,
) -> Option<TlsStream<TcpStream>> {
    let node = http.node();
    let shaking = TlsAcceptor::from(of.tls.as_ref()?.pages()).accept(stream);
    let until_ms = node.clock.monotonic_ms() + REQUEST_MS;
    tokio::select! {
        biased;
        shaken = shaking => match shaken {
            Ok(stream) => Some(stream),
            Err(error) => {
                node.closes(address, &reason(&error));
                None
            }
        },
        () = place.displaced() => None,
        () = node.clock.sleep_until(until_ms) => {
            node.closes(address, "no TLS handshake for as long as a request may take");
            None
        }
    }
}
