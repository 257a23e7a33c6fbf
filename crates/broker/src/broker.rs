//! A running broker: what its connections share, how it starts and how it stops.

use crate::api::parts::Parts;
use crate::apis::APIS;
use crate::base::budget::Budget;
use crate::base::config::LiveConfig;
use crate::base::features::Features;
use crate::base::health::Health;
use crate::base::join::join;
use crate::base::loggers::Loggers;
use crate::base::metrics::Metrics;
use crate::base::random;
use crate::base::rate::{PerSecond, Rate};
use crate::base::request_log::RequestLog;
use crate::base::start::StartError;
use crate::base::timeline::Timeline;
use crate::base::work::Work;
use crate::coordinators::cluster::{self, Cluster, TopicNews};
use crate::coordinators::groups::{self, Groups};
use crate::coordinators::transactions::{self, Transactions};
#[cfg(feature = "http")]
use crate::http::{self, Http};
use crate::net::addresses::Address;
use crate::net::bearer::Kept;
use crate::net::listener;
use crate::net::login_rules::ListenerConfigs;
use crate::net::tls::reload::{self, Watched};
use crate::net::tls::rules::{self as tls_rules, Loaded};
use crate::net::tls::self_signed::SelfSigned;
use crate::net::transport::{self, MemoryStream};
use crate::node::peers::Peers;
use crate::node::topics::Topics;
use crate::node::{Compactor, Doctor, Listener, Node, Quotas, Security, State, Tokens};
use crate::options::{self, Options};
use crate::upkeep::{compaction, files, housekeeping, supervise};
use rustka_core::config::BrokerConfig;
use rustka_core::fetch::{FetchSessions, SessionLimits};
use rustka_core::security::quota::meter::MeterOptions;
use rustka_core::security::quota::rate::Windows;
use rustka_storage::disk::{Directory, DiskEngine};
use rustka_storage::memory::MemoryEngine;
use rustka_storage::{Engine, Memory};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, watch};

/// What the supervisor calls whoever keeps up the keys of tokens.
const KEYS_TASK: &str = "the keys of tokens";
/// How long an ordered shutdown waits for parked requests to be answered.
const SHUTDOWN_MS: u64 = 5_000;

/// Waiting fetches, each counted with the partitions it names; one more is answered with what is there.
const PARKED_MAX: usize = 500_000;
/// Topics that clients may create at once by naming them, and how many each second after that.
const AUTO_CREATIONS_AT_ONCE: u32 = 1_000;
/// See above.
const AUTO_CREATIONS_PER_SECOND: u32 = 20;
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

    pub(crate) fn start(mut options: Options) -> Result<Broker, StartError> {
        let runtime = match Handle::try_current() {
            Ok(_) => None,
            Err(_) => Some(
                tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .thread_name("rustka")
                    .build()
                    .map_err(|error| {
                        StartError::new(format!("cannot start the runtime: {error}"))
                    })?,
            ),
        };
        let handle = runtime
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone());
        let _entered = handle.enter();
        options.check()?;
        let directory = options.open_directory()?;
        let addresses = options.addresses().map_err(options::first)?;
        let bound = match options.sockets {
            true => Bound::all(&addresses)?,
            false => addresses.iter().map(Bound::nowhere).collect(),
        };
        let http_listener = match options.sockets && cfg!(feature = "http") {
            true => listener::bind_http(&addresses[0].host, options.http_port)?,
            false => None,
        };
        let http_address = http_listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        #[cfg(feature = "http")]
        let page_options = options.pages.clone();
        let own = options.listener_configs.clone();
        let made = match options.self_signed {
            true => Some(SelfSigned::new(&names_of(&addresses))?),
            false => None,
        };
        let parts = Self::parts_of(options, directory, &addresses, &bound, made.as_ref())?;
        let parts = Arc::new(parts);
        let node = &parts.node;
        let bootstrap = bound[0].port;
        for (bound, of) in bound.into_iter().zip(&node.listeners) {
            for socket in bound.sockets {
                let (socket, of, parts) = (Arc::new(socket), of.clone(), parts.clone());
                let name = listener::name(&socket);
                supervise::keep(node, name, move || {
                    listener::accept(socket.clone(), of.clone(), parts.clone())
                });
            }
        }
        #[cfg(feature = "http")]
        let pages = Arc::new(Http::new(parts.clone(), page_options));
        #[cfg(feature = "http")]
        if let Some(listener) = http_listener {
            let (listener, pages) = (Arc::new(listener), pages.clone());
            supervise::keep(node, http::TASK, move || {
                http::serve(listener.clone(), pages.clone())
            });
        }
        #[cfg(feature = "http")]
        {
            let pages = pages.clone();
            supervise::keep(node, http::HISTORY_TASK, move || {
                http::keep_history(pages.clone())
            });
        }
        Self::keep_up(&parts);
        Self::watch_certificates(&parts, &addresses, &own);
        node.state.send_replace(State::Serving);
        Ok(Broker {
            host: reachable(&addresses[0].host),
            parts,
            #[cfg(feature = "http")]
            pages,
            bootstrap,
            http: http_address,
            authority: made.map(|made| made.authority().to_owned()),
            handle: handle.clone(),
            runtime,
        })
    }

    fn parts_of(
        options: Options,
        directory: Option<Directory>,
        addresses: &[Address],
        bound: &[Bound],
        made: Option<&SelfSigned>,
    ) -> Result<Parts, StartError> {
        let listening = |told: bool| {
            let each = addresses.iter().zip(bound).map(|(address, bound)| {
                let (host, port) = match &address.advertised {
                    Some((host, port)) if told => (host.to_string(), *port),
                    _ => (reachable(&address.host), bound.port),
                };
                format!("{}://{}", address.name, join(&host, port))
            });
            each.collect::<Vec<_>>().join(",")
        };
        let config = options.broker_config_at(&listening(false), &listening(true))?;
        let id = config.value("node.id").and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| StartError::new("node.id has no value".to_owned()))?;
        let mut kept_keys = Vec::new();
        let listeners = addresses.iter().zip(bound).map(|(address, bound)| {
            let (name, protocol) = (&address.name, address.protocol);
            let advertised = address.advertised.clone();
            let mut listener = Listener::new(name, protocol, id, bound.port, advertised);
            if let Some((rules, kept)) = options.login_rules(address, &config)? {
                listener.login = Some(rules);
                kept_keys.extend(kept.filter(Kept::has_source));
            }
            listener.limits = options.limits(name);
            let loaded = options.tls(address, &config, made)?;
            for note in loaded.iter().flat_map(|loaded| &loaded.notes) {
                tracing::warn!(target: "rustka::listener", "listener {name}: {note}");
            }
            listener.tls = loaded.map(Loaded::tls);
            Ok(Arc::new(listener))
        });
        let listeners: Vec<_> = listeners.collect::<Result<_, StartError>>()?;
        let security = Security::new(options.authorizer_options(&config)?);
        warn_of_open_doors(addresses);
        let limit = options.memory_limit_of(&config);
        let memory = || Memory::new(limit.bytes);
        let directory_id = directory.as_ref().map(|one| one.identity().directory_id);
        let engine: Arc<dyn Engine> = match (options.engine.clone(), directory) {
            (Some(engine), _) => engine,
            (None, None) => Arc::new(MemoryEngine::new(memory())),
            (None, Some(directory)) => {
                let clock = options.clock.clone();
                let now_us = Box::new(move || clock.monotonic_us());
                let engine = DiskEngine::timed(directory, memory(), options.fsync, now_us);
                Arc::new(engine.map_err(|why| StartError::new(why.0))?)
            }
        };
        let memory = engine.memory().clone();
        let receiving_bytes =
            usize::try_from(config.settings().connections_buffer_bytes).unwrap_or(usize::MAX);
        tracing::info!(
            target: "rustka::broker",
            "the memory limit is {} MiB, {}",
            memory.limit() >> 20,
            limit.told
        );
        let cluster_id = options
            .cluster_id
            .clone()
            .unwrap_or_else(|| random::uuid().to_string());
        let limits = SessionLimits::new(
            config.settings().fetch_session_slots,
            config.settings().fetch_sessions_fair_share,
        );
        let sessions = FetchSessions::new(limits, memory.account.clone());
        let node = Arc::new(Node {
            loggers: Loggers::new(options.log_control.clone()),
            strict: options.strict,
            started_ms: options.clock.monotonic_ms(),
            clock: options.clock.clone(),
            pool: memory.pool.clone(),
            memory,
            engine,
            compactor: Compactor::default(),
            machine: options.machine.clone(),
            metrics: Metrics::default(),
            topics: Topics::default(),
            features: Features::default(),
            id,
            cluster_id,
            directory_id: directory_id.unwrap_or_else(random::uuid),
            listeners,
            security,
            tokens: Tokens::new(&config),
            quotas: Quotas::new(meter_options(&config)),
            request_bytes_max: usize::try_from(config.settings().request_bytes_max)
                .unwrap_or(100 << 20),
            state: watch::Sender::new(State::Starting),
            creations: PerSecond::default(),
            peers: Peers::default(),
            doctor: Doctor::default(),
            receiving: Budget::new(receiving_bytes),
            readers_checked_ms: AtomicI64::new(i64::MIN),
            next_peer: AtomicU64::new(0),
            quiet: Notify::new(),
            health: Health::default(),
            requests: RequestLog::default(),
            timeline: Timeline::default(),
            hooks: options.hooks.clone(),
            faults: Arc::default(),
            work: Work::default(),
            config: LiveConfig::new(config),
        });
        for kept in kept_keys {
            let (of, kept) = (node.clone(), Arc::new(kept));
            supervise::keep(&node, KEYS_TASK, move || {
                let (of, kept) = (of.clone(), kept.clone());
                async move { kept.keep_up(&of).await }
            });
        }
        let cluster = Cluster::new(node.clone())?;
        cluster.let_in(&options.users)?;
        if node.engine.directory().is_some() {
            cluster.settle()?;
        }
        let groups = Arc::new(Groups::new(node.clone(), cluster.clone()));
        let transactions = Transactions::new(node.clone(), cluster.clone(), groups.clone());
        let followers = (Arc::downgrade(&groups), Arc::downgrade(&transactions));
        cluster.follow(move |topic, news| {
            let (Some(groups), Some(transactions)) = (followers.0.upgrade(), followers.1.upgrade())
            else {
                return;
            };
            match news {
                TopicNews::Gone => {
                    groups.topic_deleted(topic);
                    transactions.topic_deleted(topic);
                }
                TopicNews::Led => {
                    groups.topic_led(topic);
                    transactions.topic_led(topic);
                }
            }
        });
        cluster.complete(&options.init)?;
        if node.engine.directory().is_some() {
            cluster.settle()?;
        }
        groups.load()?;
        transactions.load()?;
        Ok(Parts {
            cluster,
            groups,
            transactions,
            node,
            sessions,
            telemetry: Mutex::default(),
            parked: Budget::new(PARKED_MAX),
            auto_creations: Rate::new(AUTO_CREATIONS_AT_ONCE, AUTO_CREATIONS_PER_SECOND),
            apis: APIS,
        })
    }

    /// Has new certificates take the place of the old ones.
    fn watch_certificates(parts: &Arc<Parts>, addresses: &[Address], own: &ListenerConfigs) {
        let config = parts.node.config.broker();
        let all = addresses.iter().zip(&parts.node.listeners);
        // Those that were made for this start stay for as long as it lives.
        let given = all.filter(|(address, _)| tls_rules::has_certificate(address, &config, own));
        let watched = given.filter(|(_, listener)| listener.tls.is_some());
        let watched: Vec<_> = watched
            .map(|(address, listener)| Watched {
                listener: listener.clone(),
                address: address.clone(),
                own: own.clone(),
            })
            .collect();
        if watched.is_empty() {
            return;
        }
        let (node, watched) = (parts.node.clone(), Arc::new(watched));
        supervise::keep(&parts.node, reload::TASK, move || {
            reload::run(node.clone(), watched.clone())
        });
    }

    /// Starts what the broker does without being asked.
    fn keep_up(parts: &Arc<Parts>) {
        let node = &parts.node;
        let for_housekeeping = parts.clone();
        supervise::keep(node, housekeeping::TASK, move || {
            housekeeping::run(for_housekeeping.clone())
        });
        let for_compaction = node.clone();
        supervise::keep(node, compaction::TASK, move || {
            compaction::run(for_compaction.clone())
        });
        if node.engine.directory().is_some() {
            let for_files = node.clone();
            supervise::keep(node, files::TASK, move || files::run(for_files.clone()));
        }
        let for_cluster = parts.cluster.clone();
        supervise::keep(node, cluster::TASK, move || {
            cluster::run(for_cluster.clone())
        });
        let for_transactions = parts.transactions.clone();
        supervise::keep(node, transactions::TASK, move || {
            transactions::run(for_transactions.clone())
        });
        let for_groups = parts.groups.clone();
        supervise::keep(node, groups::TASK, move || groups::run(for_groups.clone()));
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

fn meter_options(config: &BrokerConfig) -> MeterOptions {
    let settings = config.settings();
    let windows = |count: i32, seconds: i32| Windows {
        count: count.max(1).unsigned_abs(),
        size_ms: i64::from(seconds.max(1)) * 1_000,
    };
    MeterOptions {
        windows: windows(settings.quota_window_count, settings.quota_window_seconds),
        mutation_windows: windows(
            settings.mutation_window_count,
            settings.mutation_window_seconds,
        ),
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
        let last = node.clone();
        let finish = move || {
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

/// The names by which clients come, for a certificate.
fn names_of(addresses: &[Address]) -> Vec<String> {
    let told = addresses
        .iter()
        .filter_map(|address| address.advertised.as_ref());
    let mut names: Vec<String> = told.map(|(host, _)| host.to_string()).collect();
    names.extend(addresses.iter().map(|address| reachable(&address.host)));
    names
}

/// A listener's sockets and the port they share.
struct Bound {
    sockets: Vec<TcpListener>,
    port: u16,
}

impl Bound {
    fn all(addresses: &[Address]) -> Result<Vec<Bound>, StartError> {
        let bound = addresses.iter().map(|address| {
            let sockets = listener::bind(&address.host, address.port)?;
            let port = match sockets.first().map(TcpListener::local_addr) {
                Some(Ok(local)) => local.port(),
                Some(Err(error)) => return Err(StartError::new(error.to_string())),
                None => address.port,
            };
            Ok(Bound { sockets, port })
        });
        bound.collect()
    }

    /// Without sockets.
    fn nowhere(address: &Address) -> Bound {
        Bound {
            sockets: Vec::new(),
            port: address.port,
        }
    }
}

/// Whoever listens on a network without encryption hears of it once.
fn warn_of_open_doors(addresses: &[Address]) {
    let is_open = |address: &&Address| {
        let host = reachable(&address.host);
        let is_loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        address.protocol.has_login()
            && !address.protocol.has_tls()
            && (!is_loopback || address.host != host)
    };
    let names: Vec<&str> = addresses
        .iter()
        .filter(is_open)
        .map(|one| &*one.name)
        .collect();
    if !names.is_empty() {
        let names = names.join(", ");
        tracing::warn!(
            target: "rustka::broker",
            "whoever can listen in on the network can read passwords and records that are sent to {names}: these listeners have a login, but no TLS"
        );
    }
}

/// A wildcard address is no use to a client on this machine; it connects to the loopback address instead.
fn reachable(host: &str) -> String {
    match host {
        "" | "0.0.0.0" | "::" | "localhost" => "127.0.0.1".to_owned(),
        other => other.to_owned(),
    }
}
