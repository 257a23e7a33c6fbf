//! A running broker: how others reach it, and how it stops.

mod assemble;
mod start;

use crate::api::parts::Parts;
use crate::base::join::join;
#[cfg(feature = "http")]
use crate::http::{self, Http};
use crate::net::listener;
use crate::net::transport::{self, MemoryStream};
use crate::node::peers::Peers;
use crate::node::{Node, State};
use crate::options::Options;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};

/// How long an ordered shutdown waits for parked requests to be answered.
const SHUTDOWN_MS: u64 = 5_000;

/// Unread bytes that a connection in memory holds in each direction, about what a socket on loopback does.
const MEMORY_STREAM_BYTES: usize = 256 << 10;

/// A running broker. Dropping it stops it.
pub struct Broker {
    parts: Arc<Parts>,
    #[cfg(feature = "http")]
    pages: Arc<Http>,
    host: String,
    bootstrap: u16,
    http: Option<SocketAddr>,
    authority: Option<String>,
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Broker {
    /// Options of a broker to be.
    pub fn builder() -> Options {
        Options::default()
    }

    /// Where clients on this machine connect, as `host:port`.
    pub fn bootstrap(&self) -> String {
        join(&self.host, self.bootstrap)
    }

    /// Where health and metrics are served, if they are.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The certificate that clients have to trust, in PEM, where it was made at the start.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// This broker's id.
    pub fn node_id(&self) -> i32 {
        self.parts.node.id
    }

    /// What its requests reach; for tests of parts.
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// What its parts share; for tests of parts.
    pub fn node(&self) -> &Arc<Node> {
        &self.parts.node
    }

    /// A connection to this broker that needs no socket, as if from the loopback address.
    /// Must be called within a runtime that goes on running: the broker's end is served there.
    pub fn connect(&self) -> MemoryStream {
        self.connect_from((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same, as if from this address. A refused connection is closed at once.
    pub fn connect_from(&self, address: SocketAddr) -> MemoryStream {
        self.connect_at(0, address)
    }

    /// The same at the listener of this place in `listeners`, those for clients counted from 0. Where there is none the
    /// connection is closed at once.
    pub fn connect_at(&self, listener: usize, address: SocketAddr) -> MemoryStream {
        let (near, far) = transport::pair(MEMORY_STREAM_BYTES);
        if let Some(listener) = self.parts.node.listeners.get(listener) {
            listener::serve(far, address, None, listener, &self.parts);
        }
        near
    }

    /// A connection to the pages of the HTTP port that needs no socket.
    #[cfg(feature = "http")]
    pub fn connect_http(&self) -> MemoryStream {
        let (near, far) = transport::pair(MEMORY_STREAM_BYTES);
        http::connected(far, (Ipv4Addr::LOCALHOST, 0).into(), &self.pages);
        near
    }

    /// Stops in order: accepts no more, answers what waits, then closes the connections.
    pub async fn stop(mut self) {
        drain(self.parts.node.clone()).await;
        self.end();
    }

    fn end(&mut self) {
        close_all(&self.parts.node);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Broker {
    /// In order, too. In a runtime of its own the broker is gone when this returns; within somebody else's it cannot
    /// be waited for and ends in the background.
    fn drop(&mut self) {
        if *self.parts.node.state.borrow() == State::Stopped {
            return;
        }
        self.parts.node.state.send_replace(State::Stopping);
        let inside = Handle::try_current().is_ok();
        match (self.runtime.take(), inside) {
            (Some(runtime), false) => {
                runtime.block_on(drain(self.parts.node.clone()));
                close_all(&self.parts.node);
                runtime.shutdown_background();
            }
            (runtime, _) => {
                let node = self.parts.node.clone();
                self.handle.spawn(async move {
                    drain(node.clone()).await;
                    close_all(&node);
                    if let Some(runtime) = runtime {
                        runtime.shutdown_background();
                    }
                });
            }
        }
    }
}

/// Stops accepting and reading, then has the engine write what is queued, and waits until everything that waits is
/// answered.
async fn drain(node: Arc<Node>) {
    node.state.send_replace(State::Stopping);
    node.peers.end_reading();
    let drained = async {
        quiet(&node, Peers::all_have_ended).await;
        node.work.finished().await;
        node.loads.finished().await;
        let last = node.clone();
        let finish = move || {
            last.opener.stop();
            last.checkpoint();
            last.engine.close();
        };
        if let Err(error) = tokio::task::spawn_blocking(finish).await {
            tracing::error!(target: "rustka::broker", "the storage did not end in order: {error}");
        }
        quiet(&node, |peers| !peers.any_busy()).await;
    };
    if tokio::time::timeout(Duration::from_millis(SHUTDOWN_MS), drained)
        .await
        .is_err()
    {
        tracing::warn!(target: "rustka::broker", "some requests were not answered before the broker stopped");
    }
}

/// Waits for something that connections tell of.
async fn quiet(node: &Node, reached: impl Fn(&Peers) -> bool) {
    loop {
        let told = node.quiet.notified();
        if reached(&node.peers) {
            return;
        }
        told.await;
    }
}

fn close_all(node: &Node) {
    node.state.send_replace(State::Stopped);
    for peer in node.peers.all() {
        peer.close();
    }
}
