//! Connections that the broker makes to itself, for its pages: what Kafka has a request for is asked as any client would
//! ask, with the rights of whoever looks at the page. They pass by everything that is about clients: lists, limits, quotas,
//! counters, faults.

use crate::api::access::Access;
use crate::api::parts::Parts;
use crate::net::connection::Connection;
use crate::net::transport::{self, MemoryStream};
use crate::node::{Identity, Listener, Node, Peer, Protocol};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The name of the listener that such connections come in by.
pub const LISTENER: &str = "PAGES";
/// Unread bytes that such a connection holds in each direction.
const STREAM_BYTES: usize = 256 << 10;

/// A connection that is known to be from this principal at this address. It is served in a task of its own until the near
/// end is dropped.
pub fn connect(parts: &Arc<Parts>, principal: &str, address: SocketAddr) -> MemoryStream {
    let (near, far) = transport::pair(STREAM_BYTES);
    let identity = identity(&parts.node, principal, address);
    tokio::spawn(Connection::known(far, parts.clone(), identity));
    near
}

/// What this principal may do, for what Kafka has no request for.
pub fn access(node: &Arc<Node>, principal: &str, address: SocketAddr) -> Access {
    Access::of(node.clone(), identity(node, principal, address))
}

fn identity(node: &Node, principal: &str, address: SocketAddr) -> Identity {
    let id = node.next_peer.fetch_add(1, Relaxed);
    let peer = Peer::own(id, address, node.clock.monotonic_ms());
    let port = node.listeners.first().map_or(0, |first| first.port);
    let listener = Listener::new(LISTENER, Protocol::Plaintext, node.id, port, None);
    Identity::logged_in(peer, Arc::new(listener), principal, false)
}
