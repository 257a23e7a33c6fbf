//! Sockets that accept.

use crate::api::parts::Parts;
use crate::apis::faulty;
use crate::base::fault::{Effect, Passing, Point};
use crate::base::hooks::Event;
use crate::base::join::join;
use crate::base::start::StartError;
use crate::net::connection::Connection;
use crate::net::tls;
use crate::net::transport::Transport;
use crate::node::{Identity, Listener, Node, Peer, State, reached};
use rustka_core::account::{Share, Weight};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

/// Connections the kernel may hold ready before they are accepted.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept, mostly for want of descriptors.
const ACCEPT_PAUSE_MS: i64 = 20;
/// While `max.connections` are open, how often the limit is read again: it may be raised meanwhile.
const CAP_LOOK_MS: i64 = 1_000;
/// A far end that vanished without a word is noticed after this long and a few probes.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered probes after which the far end is taken to be gone.
const KEEPALIVE_RETRIES: u32 = 6;
/// What an idle connection takes, about.
const CONNECTION_BYTES: usize = 1_700;
/// The same with TLS.
const ENCRYPTED_BYTES: usize = 12_000;
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
    StartError::new(match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "port {port} on {host} is in use: stop what listens there, or choose another port with --port (0 for a free one)"
            )
        }
        ErrorKind::PermissionDenied => format!(
            "port {port} on {host} may not be bound by this user: choose one above 1023 with --port"
        ),
        _ => format!(
            "cannot listen on {}: {error}; check --host and --port",
            join(host, port)
        ),
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
            StartError::new(format!(
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
            Err(error) => {
                tracing::debug!(target: "rustka::listener", "not listening on {address}: {error}")
            }
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
    StartError::new(format!(
        "cannot listen for HTTP on port {port}: {error}; choose another with --http-port (0 for a free one)"
    ))
}

/// What its supervisor calls the task that accepts here.
pub fn name(listener: &TcpListener) -> String {
    let address = listener.local_addr();
    address.map_or_else(
        |_| "accepting".to_owned(),
        |address| format!("accepting at {address}"),
    )
}

/// Accepts until the broker stops, for the listener that is called `of`.
pub async fn accept(listener: Arc<TcpListener>, of: Arc<Listener>, parts: Arc<Parts>) {
    let mut state = parts.node.state.subscribe();
    let mut gate = Gate::new();
    loop {
        tokio::select! {
            biased;
            // First, so that no flood of connections holds it up.
            () = reached(&mut state, |state| state >= State::Stopping) => return,
            () = gate.next(&listener, &of, &parts) => {}
        }
    }
}

/// What stands between the kernel's queue and a connection being served.
struct Gate {
    /// Given up for a moment when no descriptor is left, so that those who wait hear so instead of nothing.
    spare: Option<File>,
}

impl Gate {
    fn new() -> Gate {
        Gate { spare: spare() }
    }

    async fn next(&mut self, listener: &TcpListener, of: &Arc<Listener>, parts: &Arc<Parts>) {
        let node = &parts.node;
        room(node, of).await;
        match listener.accept().await {
            Ok((stream, address)) => {
                pace(node, of).await;
                connected(stream, address, of, parts);
            }
            Err(error) if is_out_of_descriptors(&error) && self.spare.is_some() => {
                self.turn_away(listener, node).await;
            }
            Err(error) => {
                tracing::debug!(target: "rustka::listener", "cannot accept a connection: {error}");
                let now_ms = node.clock.monotonic_ms();
                node.clock.sleep_until(now_ms + ACCEPT_PAUSE_MS).await;
                self.spare = self.spare.take().or_else(spare);
            }
        }
    }

    /// Accepts one connection with the spare descriptor, only to close it.
    async fn turn_away(&mut self, listener: &TcpListener, node: &Arc<Node>) {
        self.spare = None;
        let waiting = tokio::select! {
            biased;
            accepted = listener.accept() => accepted.ok(),
            () = std::future::ready(()) => None,
        };
        if let Some((stream, address)) = waiting {
            drop(stream);
            let reason = "no file descriptor is left; raise the limit on open files";
            turned_away(node, address, reason.to_owned());
        }
        self.spare = spare();
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Kafka counts connections per second, those of all sockets together and those of one listener, and lets the next one wait
/// after it was accepted (`max.connection.creation.rate`).
async fn pace(node: &Node, of: &Listener) {
    while let Err(next_ms) = of
        .limits
        .creates(&node.config.broker(), node.clock.monotonic_ms())
    {
        node.clock.sleep_until(next_ms).await;
    }
    loop {
        let rate = node.config.settings().connection_creation_rate_max;
        match node.creations.take(rate, node.clock.monotonic_ms()) {
            Ok(()) => return,
            Err(next_ms) => node.clock.sleep_until(next_ms).await,
        }
    }
}

/// Waits until there are fewer connections than `max.connections`, in all and at this listener; the kernel keeps the next
/// ones meanwhile, as in Kafka.
async fn room(node: &Node, of: &Listener) {
    loop {
        let left = node.peers.left.notified();
        let mut left = std::pin::pin!(left);
        left.as_mut().enable();
        let config = node.config.broker();
        let max = config.settings().connections_max;
        let has_room = usize::try_from(max).is_ok_and(|max| node.peers.count() < max);
        if has_room && of.limits.have_room(&config) {
            return;
        }
        let look_again_ms = node.clock.monotonic_ms() + CAP_LOOK_MS;
        tokio::select! {
            biased;
            () = left => {}
            () = node.clock.sleep_until(look_again_ms) => {}
        }
    }
}

fn connected(stream: TcpStream, address: SocketAddr, of: &Arc<Listener>, parts: &Arc<Parts>) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let prepared = stream
        .set_nodelay(true)
        .and_then(|()| socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = prepared {
        tracing::debug!(target: "rustka::listener", "connection from {address} is gone already: {error}");
        return;
    }
    let local = stream.local_addr().ok();
    serve(stream, address, local, of, parts);
}

/// Keeps a connection waiting that is one too many for the quota of its address, then closes it, so that its client does
/// not at once make the next one (KIP-612).
fn hold<T: Transport>(stream: T, node: &Arc<Node>, wait_ms: u32) {
    node.metrics.throttled_connections.fetch_add(1, Relaxed);
    let node = node.clone();
    tokio::spawn(async move {
        if let Some(_place) = node.quotas.hold() {
            let until_ms = node.clock.monotonic_ms() + i64::from(wait_ms);
            node.clock.sleep_until(until_ms).await;
        }
        drop(stream);
    });
}

/// Serves a connection in a task of its own, unless there are too many.
pub fn serve<T: Transport>(
    stream: T,
    address: SocketAddr,
    local: Option<SocketAddr>,
    of: &Arc<Listener>,
    parts: &Arc<Parts>,
) {
    let node = &parts.node;
    let held = match node.faults.strike(Point::Accept, &Passing::default()) {
        None => None,
        Some(Effect::Delay(ms)) => Some(faulty::delayed(node.clone(), ms)),
        Some(Effect::Hang) => Some(faulty::hung(node.clone())),
        Some(_) => return,
    };
    let now_ms = node.clock.monotonic_ms();
    if let Some(wait_ms) = node.quotas.connected(address.ip(), now_ms) {
        return hold(stream, node, wait_ms);
    }
    let bytes = match of.tls {
        Some(_) => ENCRYPTED_BYTES,
        None => CONNECTION_BYTES,
    };
    let mut weight = Weight::new(&node.memory.account, Share::Connections);
    if let Err(full) = node.memory.account.check(Share::Connections, bytes) {
        return turned_away(node, address, full.to_string());
    }
    weight.set(bytes);
    let peer = Peer::new(node.next_peer.fetch_add(1, Relaxed), address, local, now_ms);
    if let Err(refused) = node.peers.enter(&peer, &node.config.settings()) {
        return turned_away(node, address, refused.to_string());
    }
    let guard = Registered::new(node.clone(), peer.clone(), of.clone(), weight);
    if of.tls.is_some() {
        let (of, parts) = (of.clone(), parts.clone());
        tokio::spawn(async move {
            let mut guard = guard;
            guard.tell();
            if let Some(connection) = encrypted(stream, peer, of, parts).await {
                connection.held(held).await;
            }
            drop(guard);
        });
        return;
    }
    let connection = Connection::new(stream, parts.clone(), peer, of.clone()).held(held);
    tokio::spawn(Served { connection, guard });
}

/// A connection in its task. There may be very many: an `async` block would have two places for the connection, one
/// before it is awaited.
struct Served<T> {
    connection: Connection<T>,
    guard: Registered,
}

impl<T: Transport> Future for Served<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.guard.told {
            self.guard.tell();
        }
        Pin::new(&mut self.connection).poll(cx)
    }
}

/// Shakes hands at a listener with TLS. Where nobody logs in, a certificate says who is there.
async fn encrypted<T: Transport>(
    stream: T,
    peer: Arc<Peer>,
    of: Arc<Listener>,
    parts: Arc<Parts>,
) -> Option<Connection<TlsStream<T>>> {
    let tls = of.tls.as_ref()?;
    let mut stream = tls::shake(stream, tls, &peer, &parts.node).await?;
    let principal = match of.login {
        Some(_) => Ok(None),
        None => tls::principal(&stream, tls),
    };
    match principal {
        Ok(Some(principal)) => {
            peer.inside.store(true, Relaxed);
            let identity = Identity::logged_in(peer, of, &principal, false);
            Some(Connection::known(stream, parts, identity))
        }
        Ok(None) => Some(Connection::new(stream, parts, peer, of)),
        Err(reason) => {
            poll_fn(|cx| {
                stream.part(cx);
                Poll::Ready(())
            })
            .await;
            parts.node.closes(peer.address, &reason);
            None
        }
    }
}

/// Counts a connection that is not let in. Observers hear of it in a task of its own: accepting waits for nobody.
fn turned_away(node: &Arc<Node>, address: SocketAddr, reason: String) {
    let now_ms = node.clock.monotonic_ms();
    node.metrics.connection_closed(address, &reason, now_ms);
    node.requests
        .closed(address, &reason, node.clock.now().wall_ms);
    if node.hooks.has_observers() {
        let node = node.clone();
        tokio::spawn(async move { node.hooks.saw(|| Event::Refused(address, &reason)) });
    }
}

/// A connection's place among the broker's peers, given up when the connection ends.
struct Registered {
    node: Arc<Node>,
    peer: Arc<Peer>,
    of: Arc<Listener>,
    told: bool,
    /// What the connection takes.
    _weight: Weight,
}

impl Registered {
    fn new(node: Arc<Node>, peer: Arc<Peer>, of: Arc<Listener>, weight: Weight) -> Registered {
        of.limits.open.fetch_add(1, Relaxed);
        node.metrics.connections_accepted.fetch_add(1, Relaxed);
        node.metrics.connections_open.fetch_add(1, Relaxed);
        Registered {
            node,
            peer,
            of,
            told: false,
            _weight: weight,
        }
    }

    /// Tells observers, which must not hold up those who wait to be accepted.
    fn tell(&mut self) {
        self.told = true;
        let address = self.peer.address;
        self.node.hooks.saw(|| Event::Connected(address));
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.node.metrics.connections_open.fetch_sub(1, Relaxed);
        // Before those who wait for room are told.
        self.of.limits.open.fetch_sub(1, Relaxed);
        if self.told {
            let address = self.peer.address;
            self.node.hooks.saw(|| Event::Disconnected(address));
        }
        self.node.peers.leave(&self.peer);
        self.node.quiet.notify_one();
    }
}
