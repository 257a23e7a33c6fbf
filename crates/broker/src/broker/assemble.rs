//! What a broker is made of, put together from its options.

use super::start::{Bound, reachable};
use crate::api::parts::Parts;
use crate::apis::APIS;
use crate::base::budget::Budget;
use crate::base::config::LiveConfig;
use crate::base::features::Features;
use crate::base::health::Health;
use crate::base::heap;
use crate::base::join::join;
use crate::base::loggers::Loggers;
use crate::base::metrics::Metrics;
use crate::base::random;
use crate::base::rate::{PerSecond, Rate};
use crate::base::request_log::RequestLog;
use crate::base::start::StartError;
use crate::base::timeline::Timeline;
use crate::base::turns::Turns;
use crate::base::work::Work;
use crate::coordinators::cluster::{Cluster, TopicNews};
use crate::coordinators::groups::Groups;
use crate::coordinators::transactions::Transactions;
use crate::net::addresses::Address;
use crate::net::bearer::Kept;
use crate::net::tls::rules::Loaded;
use crate::net::tls::self_signed::SelfSigned;
use crate::node::peers::Peers;
use crate::node::topics::Topics;
use crate::node::{Compactor, Doctor, Listener, Node, Quotas, Security, State, Tokens};
use crate::options::Options;
use crate::upkeep::supervise;
use rustka_core::config::BrokerConfig;
use rustka_core::fetch::{FetchSessions, SessionLimits};
use rustka_core::security::quota::meter::MeterOptions;
use rustka_core::security::quota::rate::Windows;
use rustka_storage::disk::{Directory, DiskEngine};
use rustka_storage::memory::MemoryEngine;
use rustka_storage::{Engine, Memory, Opener};
use rustka_wire::codec::Uuid;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::{Notify, watch};

/// What the supervisor calls whoever keeps up the keys of tokens.
const KEYS_TASK: &str = "the keys of tokens";
/// Reads from files at a time, each of which may wait for a disk.
const LOADS_MAX: usize = 8;
/// Waiting fetches, each counted with the partitions it names; one more is answered with what is there.
const PARKED_MAX: usize = 500_000;
/// Topics that clients may create at once by naming them, and how many each second after that.
const AUTO_CREATIONS_AT_ONCE: u32 = 1_000;
/// See above.
const AUTO_CREATIONS_PER_SECOND: u32 = 20;

/// The parts of a broker that listens there; what its directory holds is read.
pub(super) fn parts(
    options: Options,
    directory: Option<Directory>,
    addresses: &[Address],
    bound: &[Bound],
    made: Option<&SelfSigned>,
) -> Result<Parts, StartError> {
    let own = listening(addresses, bound, false);
    let told = listening(addresses, bound, true);
    let config = options.broker_config_at(&own, &told)?;
    let id = config.value("node.id").and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| StartError::new("node.id has no value".to_owned()))?;
    let (mut listeners, mut kept_keys) = (Vec::new(), Vec::new());
    for (address, bound) in addresses.iter().zip(bound) {
        let (listener, kept) = listener(&options, address, &config, (id, bound.port), made)?;
        listeners.push(Arc::new(listener));
        kept_keys.extend(kept);
    }
    let security = Security::new(options.authorizer_options(&config)?);
    warn_of_open_doors(addresses);
    let directory_id = directory.as_ref().map(|one| one.identity().directory_id);
    let engine = engine(&options, directory, &config)?;
    let limits = SessionLimits::new(
        config.settings().fetch_session_slots,
        config.settings().fetch_sessions_fair_share,
    );
    let sessions = FetchSessions::new(limits, engine.memory().account.clone());
    let ids = (id, directory_id.unwrap_or_else(random::uuid));
    let node = Arc::new(node(&options, config, engine, ids, listeners, security));
    for kept in kept_keys {
        let (of, kept) = (node.clone(), Arc::new(kept));
        supervise::keep(&node, KEYS_TASK, move || {
            let (of, kept) = (of.clone(), kept.clone());
            async move { kept.keep_up(&of).await }
        });
    }
    let (cluster, groups, transactions) = coordinators(&options, &node)?;
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

/// The value of `listeners`, or of `advertised.listeners`, that holds.
fn listening(addresses: &[Address], bound: &[Bound], told: bool) -> String {
    let each = addresses.iter().zip(bound).map(|(address, bound)| {
        let (host, port) = match &address.advertised {
            Some((host, port)) if told => (host.to_string(), *port),
            _ => (reachable(&address.host), bound.port),
        };
        format!("{}://{}", address.name, join(&host, port))
    });
    each.collect::<Vec<_>>().join(",")
}

/// What clients meet at this address, and the keys of tokens that have to be kept up for it.
fn listener(
    options: &Options,
    address: &Address,
    config: &BrokerConfig,
    (id, port): (i32, u16),
    made: Option<&SelfSigned>,
) -> Result<(Listener, Option<Kept>), StartError> {
    let name = &address.name;
    let advertised = address.advertised.clone();
    let mut listener = Listener::new(name, address.protocol, id, port, advertised);
    let mut kept_keys = None;
    if let Some((rules, kept)) = options.login_rules(address, config)? {
        listener.login = Some(rules);
        kept_keys = kept.filter(Kept::has_source);
    }
    listener.limits = options.limits(name);
    let loaded = options.tls(address, config, made)?;
    for note in loaded.iter().flat_map(|loaded| &loaded.notes) {
        tracing::warn!(target: "rustka::listener", "listener {name}: {note}");
    }
    listener.tls = loaded.map(Loaded::tls);
    Ok((listener, kept_keys))
}

/// The engine that was given, or one of files where there is a directory, or one of memory.
fn engine(
    options: &Options,
    directory: Option<Directory>,
    config: &BrokerConfig,
) -> Result<Arc<dyn Engine>, StartError> {
    let limit = options.memory_limit_of(config);
    let memory = || Memory::new(limit.bytes);
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
    tracing::info!(
        target: "rustka::broker",
        "the memory limit is {} MiB, {}",
        engine.memory().limit() >> 20,
        limit.told
    );
    heap::suit(engine.memory().limit());
    Ok(engine)
}

/// What all parts share.
fn node(
    options: &Options,
    config: BrokerConfig,
    engine: Arc<dyn Engine>,
    (id, directory_id): (i32, Uuid),
    listeners: Vec<Arc<Listener>>,
    security: Security,
) -> Node {
    let settings = config.settings();
    let request_bytes_max = usize::try_from(settings.request_bytes_max).unwrap_or(100 << 20);
    let receiving_bytes = usize::try_from(settings.connections_buffer_bytes);
    let receiving_bytes = receiving_bytes.unwrap_or(usize::MAX);
    let memory = engine.memory().clone();
    let cluster_id = options.cluster_id.clone();
    Node {
        loggers: Loggers::new(options.log_control.clone()),
        strict: options.strict,
        started_ms: options.clock.monotonic_ms(),
        clock: options.clock.clone(),
        pool: memory.pool.clone(),
        memory,
        opener: Opener::new(engine.clone(), options.openers),
        engine,
        compactor: Compactor::default(),
        machine: options.machine.clone(),
        metrics: Metrics::default(),
        topics: Topics::default(),
        metadata_log: OnceLock::new(),
        features: Features::default(),
        id,
        cluster_id: cluster_id.unwrap_or_else(|| random::uuid().to_string()),
        directory_id,
        listeners,
        security,
        tokens: Tokens::new(&config),
        quotas: Quotas::new(meter_options(&config)),
        request_bytes_max,
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
        loads: Work::new(LOADS_MAX),
        turns: Turns::default(),
        config: LiveConfig::new(config),
    }
}

type Coordinators = (Arc<Cluster>, Arc<Groups>, Arc<Transactions>);

/// The coordinators, as their logs say, with what the options add.
fn coordinators(options: &Options, node: &Arc<Node>) -> Result<Coordinators, StartError> {
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
    groups.load();
    transactions.load();
    Ok((cluster, groups, transactions))
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
