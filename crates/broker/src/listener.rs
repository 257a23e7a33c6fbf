//! Sockets that accept.

use crate::broker::{Shared, StartError, State, reached};
use crate::connection::{Connection, Peer};
use crate::fault::Point;
use crate::hooks::Event;
use crate::transport::Transport;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Connections the kernel may hold ready before they are accepted.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept, mostly for want of descriptors.
const ACCEPT_PAUSE_MS: i64 = 20;
/// A far end that vanished is noticed after this long without an answer to a probe.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// HTTP port unless told otherwise.
const HTTP_PORT_DEFAULT: u16 = 8080;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn cannot_bind(host: &str, port: u16, error: &io::Error) -> StartError {
    StartError(match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "port {port} on {host} is in use: stop what listens there, or choose another port with --port (0 for a free one)"
            )
        }
        ErrorKind::PermissionDenied => format!(
            "port {port} on {host} may not be bound by this user: choose one above 1023 with --port"
        ),
        _ => format!("cannot listen on {host}:{port}: {error}; check --host and --port"),
    })
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, StartError> {
    if host == "127.0.0.1" || host == "localhost" || host.is_empty() {
        return Ok(vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ]);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let found: Vec<_> = (host, port)
        .to_socket_addrs()
        .map_err(|error| {
            StartError(format!(
                "cannot resolve the host {host}: {error}; give --host an address of this machine"
            ))
        })?
        .collect();
    Ok(found)
}

/// Binds the broker's port; on loopback both address families, where the second is a convenience that may be missing.
pub fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, StartError> {
    let addresses = resolve(host, port)?;
    let mut listeners: Vec<TcpListener> = Vec::new();
    for mut address in addresses {
        if let Some(first) = listeners
            .first()
            .and_then(|listener| listener.local_addr().ok())
        {
            address.set_port(first.port());
        }
        match listen(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if listeners.is_empty() => return Err(cannot_bind(host, port, &error)),
            Err(error) => tracing::debug!("not listening on {address}: {error}"),
        }
    }
    Ok(listeners)
}

/// Binds the HTTP port: the one asked for, else 8080 or, where that is taken, a free one.
pub fn bind_http(host: &str, asked: Option<u16>) -> Result<Option<TcpListener>, StartError> {
    let bind_one = |port| {
        resolve(host, port)?
            .first()
            .map(|address| listen(*address))
            .transpose()
            .map_err(|error| cannot_bind_http(port, &error))
    };
    match asked {
        Some(port) => bind_one(port),
        None => bind_one(HTTP_PORT_DEFAULT).or_else(|_| bind_one(0)),
    }
}

fn cannot_bind_http(port: u16, error: &io::Error) -> StartError {
    StartError(format!(
        "cannot listen for HTTP on port {port}: {error}; choose another with --http-port (0 for a free one)"
    ))
}

/// Accepts until the broker stops.
pub async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut state = shared.state.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => connected(stream, address, &shared),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    shared.clock.sleep_until(shared.clock.now().monotonic_ms + ACCEPT_PAUSE_MS).await;
                }
            },
            () = reached(&mut state, |state| state >= State::Stopping) => return,
        }
    }
}

fn connected(stream: TcpStream, address: SocketAddr, shared: &Arc<Shared>) {
    let prepared = stream.set_nodelay(true).and_then(|()| {
        socket2::SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
    });
    if let Err(error) = prepared {
        tracing::debug!("connection from {address} is gone already: {error}");
        return;
    }
    serve(stream, address, shared);
}

/// Serves a connection in a task of its own.
pub fn serve<T: Transport>(stream: T, address: SocketAddr, shared: &Arc<Shared>) {
    if shared.faults.strikes(Point::Accept) {
        return;
    }
    let peer = Peer::new(
        shared.next_peer.fetch_add(1, Relaxed),
        address,
        shared.clock.now().monotonic_ms,
    );
    let guard = Registered::new(shared.clone(), peer.clone());
    let connection = Connection::new(stream, shared.clone(), peer);
    tokio::spawn(async move {
        let _guard = guard;
        connection.await;
    });
}

/// A connection's place in the broker's list, given up when the connection ends.
pub struct Registered {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
}

impl Registered {
    /// Enters `peer` into the list.
    pub fn new(shared: Arc<Shared>, peer: Arc<Peer>) -> Registered {
        shared.metrics.connections_accepted.fetch_add(1, Relaxed);
        shared.metrics.connections_open.fetch_add(1, Relaxed);
        shared.hooks.saw(|| Event::Connected(peer.address));
        if let Ok(mut peers) = shared.peers.lock() {
            peers.insert(peer.id, peer.clone());
        }
        Registered { shared, peer }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.metrics.connections_open.fetch_sub(1, Relaxed);
        self.shared
            .hooks
            .saw(|| Event::Disconnected(self.peer.address));
        if let Ok(mut peers) = self.shared.peers.lock() {
            peers.remove(&self.peer.id);
        }
        self.shared.quiet.notify_one();
    }
}
