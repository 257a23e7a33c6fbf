//! A running broker: what its connections share, how it starts and how it stops.

use crate::base::budget::Budget;
use crate::base::clock::Clock;
use crate::base::config::LiveConfig;
use crate::base::fault::Faults;
use crate::base::hooks::Hooks;
use crate::base::loggers::Loggers;
use crate::base::metrics::Metrics;
use crate::base::producer_ids::ProducerIds;
use crate::base::random;
use crate::base::rate::Rate;
use crate::base::work::Work;
use crate::coordinators::groups::{self, Groups};
use crate::handlers::fetch;
#[cfg(feature = "http")]
use crate::http;
use crate::net::addresses::Addresses;
use crate::net::listener;
use crate::net::peers::Peers;
use crate::net::transport::{self, MemoryStream};
use crate::options::Options;
use crate::storage::memory::{Memory, MemoryEngine};
use crate::storage::{Engine, Partition};
use crate::topics::Topics;
use crate::upkeep::compaction::Compactor;
use rustka_core::error::Refusal;
use rustka_core::fetch::{FetchSessions, SessionLimits};
use rustka_core::telemetry::Telemetry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, watch};

use crate::storage::buffer::Pool;

/// How long an ordered shutdown waits for parked requests to be answered.
const SHUTDOWN_MS: u64 = 5_000;

/// Waiting fetches, each counted with the partitions it names; one more is answered with what is there.
const PARKED_MAX: usize = 500_000;
/// Topics that clients may create at once by naming them, and how many each second after that.
const AUTO_CREATIONS_AT_ONCE: u32 = 1_000;
/// See above.
const AUTO_CREATIONS_PER_SECOND: u32 = 20;
/// Part of the memory limit that frames may take while they are being received.
const RECEIVING_PART: usize = 4;
/// Unread bytes that a connection in memory holds in each direction, about what a socket on loopback does.
const MEMORY_STREAM_BYTES: usize = 256 << 10;

/// Where a broker stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not yet accepting.
    Starting,
    /// Accepting and answering.
    Serving,
    /// No longer accepting; waiting requests are being answered.
    Stopping,
    /// Gone.
    Stopped,
}

/// Waits until the broker stands where `wanted` says, or is gone.
pub async fn reached(state: &mut watch::Receiver<State>, wanted: impl Fn(State) -> bool) {
    // An error means that the broker was dropped, which every waiter takes for the end.
    let _gone = state.wait_for(|state| wanted(*state)).await.map(|_| ());
}

/// What all connections of one broker share.
pub struct Shared {
    /// Configs of the broker, of groups and of client metrics.
    pub config: LiveConfig,
    /// Log levels.
    pub loggers: Loggers,
    /// Whether Kafka's own defaults hold everywhere.
    pub strict: bool,
    /// Time.
    pub clock: Clock,
    /// Memory of frames and chunks.
    pub pool: Arc<Pool>,
    /// Memory, its limit and eviction.
    pub memory: Arc<Memory>,
    /// Keeps the partitions' batches.
    pub engine: Arc<dyn Engine>,
    /// Logs to be compacted.
    pub compactor: Compactor,
    /// Counters.
    pub metrics: Metrics,
    /// Topics and their partitions.
    pub topics: Topics,
    /// Incremental fetch sessions (KIP-227).
    pub sessions: FetchSessions<fetch::Handle>,
    /// Clients that push metrics.
    pub telemetry: Mutex<Telemetry>,
    /// Consumer groups.
    pub groups: Groups,
    /// Producer ids.
    pub producer_ids: ProducerIds,
    /// This broker's id.
    pub node_id: i32,
    /// The cluster's id.
    pub cluster_id: String,
    /// The name of the one listener.
    pub listener: String,
    /// Where clients are told to connect.
    pub endpoint: (String, u16),
    /// Largest request accepted.
    pub request_bytes_max: usize,
    /// Where the broker stands.
    pub state: watch::Sender<State>,
    /// Open connections.
    pub peers: Peers,
    /// Open connections of the HTTP port.
    #[cfg(feature = "http")]
    pub http: http::Http,
    /// Bytes of frames that are being received.
    pub receiving: Arc<Budget>,
    /// Fetches that wait, counted with the partitions they wait for.
    pub parked: Arc<Budget>,
    /// Topics that Metadata may create.
    pub(crate) auto_creations: Rate,
    /// When slow readers were last looked for.
    pub readers_checked_ms: AtomicI64,
    /// Number of the next connection.
    pub next_peer: AtomicU64,
    /// Told when a connection becomes quiet while the broker stops.
    pub quiet: Notify,
    /// Who has a say or a look.
    pub hooks: Hooks,
    /// What is to go wrong.
    pub faults: Arc<Faults>,
    /// A pool for work that takes long.
    pub work: Work,
}

impl Shared {
    /// Makes room for a batch: over the limit the oldest records go, and before them those who read so slowly that
    /// dropping records frees nothing.
    pub fn make_room(&self) -> Result<(), Refusal> {
        if self.memory.readers_hold_too_much() {
            self.close_slowest_readers();
        }
        self.engine.make_room()
    }

    fn close_slowest_readers(&self) {
        let now_ms = self.clock.monotonic_ms();
        // Those closed last time may not have let go yet, and looking at all connections takes a while.
        if self.readers_checked_ms.swap(now_ms, Relaxed) == now_ms {
            return;
        }
        for peer in self.peers.slowest_readers(self.memory.tolerated_bytes()) {
            let reason = "it reads its answer so slowly that it keeps dropped records in memory, which is at its limit";
            self.metrics.connection_closed(peer.address, reason, now_ms);
            self.metrics.slow_readers_closed.fetch_add(1, Relaxed);
            peer.close();
        }
    }

    /// The partition of a topic, if both exist.
    pub fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        self.topics.partition(topic, index)
    }
}

/// Why a broker did not start, in a sentence for its user.
#[derive(Debug)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A running broker. Dropping it stops it.
pub struct Broker {
    shared: Arc<Shared>,
    host: String,
    bootstrap: SocketAddr,
    http: Option<SocketAddr>,
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Broker {
    /// Options of a broker to be.
    pub fn builder() -> Options {
        Options::default()
    }

    pub(crate) fn start(options: Options) -> Result<Broker, StartError> {
        let runtime = match Handle::try_current() {
            Ok(_) => None,
            Err(_) => Some(
                tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .thread_name("rustka")
                    .build()
                    .map_err(|error| StartError(format!("cannot start the runtime: {error}")))?,
            ),
        };
        let handle = runtime
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone());
        let _entered = handle.enter();
        let addresses = options.addresses()?;
        let (listeners, http_listener) = match (options.sockets, cfg!(feature = "http")) {
            (false, _) => (Vec::new(), None),
            (true, false) => (listener::bind(&addresses.host, addresses.port)?, None),
            (true, true) => (
                listener::bind(&addresses.host, addresses.port)?,
                listener::bind_http(&addresses.host, options.http_port)?,
            ),
        };
        let bootstrap = match listeners.first() {
            Some(listener) => listener
                .local_addr()
                .map_err(|error| StartError(error.to_string()))?,
            None => (Ipv4Addr::LOCALHOST, addresses.port).into(),
        };
        let http_address = http_listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let shared = Arc::new(Self::share(options, &addresses, bootstrap)?);
        for listener in listeners {
            handle.spawn(listener::accept(listener, shared.clone()));
        }
        #[cfg(feature = "http")]
        if let Some(listener) = http_listener {
            handle.spawn(http::serve(listener, shared.clone()));
        }
        handle.spawn(crate::upkeep::housekeeping::run(shared.clone()));
        handle.spawn(crate::upkeep::compaction::run(shared.clone()));
        handle.spawn(groups::run(shared.clone()));
        shared.state.send_replace(State::Serving);
        Ok(Broker {
            host: advertised(&addresses.host),
            shared,
            bootstrap,
            http: http_address,
            handle: handle.clone(),
            runtime,
        })
    }

    fn share(
        options: Options,
        addresses: &Addresses,
        bootstrap: SocketAddr,
    ) -> Result<Shared, StartError> {
        let here = (advertised(&addresses.host), bootstrap.port());
        let endpoint = addresses.advertised.clone().unwrap_or(here);
        if !addresses.not_served.is_empty() {
            let names = addresses.not_served.join(", ");
            tracing::warn!(target: "rustka::broker", "only one listener is served, not these: {names}");
        }
        let config = options.broker_config_at(&endpoint.0, endpoint.1)?;
        let node_id = config.value("node.id").and_then(|id| id.parse().ok());
        let node_id = node_id.ok_or_else(|| StartError("node.id has no value".to_owned()))?;
        let engine = options.engine.clone().unwrap_or_else(|| {
            let limit = options.memory_limit_bytes(&config);
            Arc::new(MemoryEngine::new(Memory::new(limit)))
        });
        let memory = engine.memory().clone();
        let receiving_bytes = usize::try_from(config.settings().connections_buffer_bytes)
            .unwrap_or(usize::MAX)
            .min(memory.limit() / RECEIVING_PART);
        tracing::info!(
            target: "rustka::broker",
            "records and frames may take {} MiB of memory",
            memory.limit() >> 20
        );
        let cluster_id = options
            .cluster_id
            .clone()
            .unwrap_or_else(|| random::uuid().to_string());
        Ok(Shared {
            loggers: Loggers::new(options.log_control.clone()),
            strict: options.strict,
            clock: options.clock.clone(),
            pool: memory.pool.clone(),
            memory,
            engine,
            compactor: Compactor::default(),
            metrics: Metrics::default(),
            topics: Topics::default(),
            sessions: FetchSessions::new(SessionLimits::new(
                config.settings().fetch_session_slots,
                config.settings().fetch_sessions_fair_share,
            )),
            telemetry: Mutex::default(),
            groups: Groups::new(&config),
            producer_ids: ProducerIds::new(random::u32()),
            node_id,
            cluster_id,
            listener: addresses.listener.clone(),
            endpoint,
            request_bytes_max: usize::try_from(config.settings().request_bytes_max)
                .unwrap_or(100 << 20),
            state: watch::Sender::new(State::Starting),
            peers: Peers::default(),
            #[cfg(feature = "http")]
            http: http::Http::default(),
            receiving: Budget::new(receiving_bytes),
            parked: Budget::new(PARKED_MAX),
            auto_creations: Rate::new(AUTO_CREATIONS_AT_ONCE, AUTO_CREATIONS_PER_SECOND),
            readers_checked_ms: AtomicI64::new(i64::MIN),
            next_peer: AtomicU64::new(0),
            quiet: Notify::new(),
            hooks: options.hooks.clone(),
            faults: Arc::default(),
            work: Work::default(),
            config: LiveConfig::new(config),
        })
    }

    /// Where clients on this machine connect, as `host:port`.
    pub fn bootstrap(&self) -> String {
        format!("{}:{}", self.host, self.bootstrap.port())
    }

    /// Where health and metrics are served, if they are.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// This broker's id.
    pub fn node_id(&self) -> i32 {
        self.shared.node_id
    }

    /// What its connections share; for tests of parts.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A connection to this broker that needs no socket, as if from the loopback address.
    /// Must be called within a runtime that goes on running: the broker's end is served there.
    pub fn connect(&self) -> MemoryStream {
        self.connect_from((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same, as if from this address. A refused connection is closed at once.
    pub fn connect_from(&self, address: SocketAddr) -> MemoryStream {
        let (near, far) = transport::pair(MEMORY_STREAM_BYTES);
        listener::serve(far, address, &self.shared);
        near
    }

    /// A connection to the pages of the HTTP port that needs no socket.
    #[cfg(feature = "http")]
    pub fn connect_http(&self) -> MemoryStream {
        let (near, far) = transport::pair(MEMORY_STREAM_BYTES);
        http::connected(far, (Ipv4Addr::LOCALHOST, 0).into(), &self.shared);
        near
    }

    /// Stops in order: accepts no more, answers what waits, then closes the connections.
    pub async fn stop(mut self) {
        drain(self.shared.clone()).await;
        self.end();
    }

    fn end(&mut self) {
        close_all(&self.shared);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Broker {
    /// In order, too. In a runtime of its own the broker is gone when this returns; within somebody else's it cannot
    /// be waited for and ends in the background.
    fn drop(&mut self) {
        if *self.shared.state.borrow() == State::Stopped {
            return;
        }
        self.shared.state.send_replace(State::Stopping);
        let inside = Handle::try_current().is_ok();
        match (self.runtime.take(), inside) {
            (Some(runtime), false) => {
                runtime.block_on(drain(self.shared.clone()));
                close_all(&self.shared);
                runtime.shutdown_background();
            }
            (runtime, _) => {
                let shared = self.shared.clone();
                self.handle.spawn(async move {
                    drain(shared.clone()).await;
                    close_all(&shared);
                    if let Some(runtime) = runtime {
                        runtime.shutdown_background();
                    }
                });
            }
        }
    }
}

/// Stops accepting, has the engine write what is queued, and waits until everything that waits is answered.
async fn drain(shared: Arc<Shared>) {
    shared.state.send_replace(State::Stopping);
    let engine = shared.engine.clone();
    let drained = async {
        if let Err(error) = tokio::task::spawn_blocking(move || engine.close()).await {
            tracing::error!(target: "rustka::broker", "the storage did not end in order: {error}");
        }
        loop {
            let quiet = shared.quiet.notified();
            let busy = shared.peers.any_busy();
            if !busy {
                return;
            }
            quiet.await;
        }
    };
    if tokio::time::timeout(Duration::from_millis(SHUTDOWN_MS), drained)
        .await
        .is_err()
    {
        tracing::warn!(target: "rustka::broker", "some requests were not answered before the broker stopped");
    }
}

fn close_all(shared: &Shared) {
    shared.state.send_replace(State::Stopped);
    for peer in shared.peers.all() {
        peer.close();
    }
}

/// A wildcard address is no use to a client; it is told the loopback address instead.
fn advertised(host: &str) -> String {
    match host {
        "" | "0.0.0.0" | "::" | "localhost" => "127.0.0.1".to_owned(),
        other => other.to_owned(),
    }
}
