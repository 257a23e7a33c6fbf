//! The parts of one broker that all the others share: time, configs, memory, topics, connections, counters. Below
//! everything that answers requests; a part of the broker takes from here what it needs.

mod bearer;
mod compactor;
pub mod doctor;
mod identity;
mod listener;
mod peer;
pub mod peers;
mod quotas;
mod security;
mod tls;
mod tokens;
pub mod topics;

use crate::base::budget::Budget;
use crate::base::clock::Clock;
use crate::base::config::LiveConfig;
use crate::base::fault::Faults;
use crate::base::features::Features;
use crate::base::health::Health;
use crate::base::hooks::{Event, Hooks};
use crate::base::loggers::Loggers;
use crate::base::machine::Machine;
use crate::base::metrics::Metrics;
use crate::base::rate::PerSecond;
use crate::base::request_log::RequestLog;
use crate::base::timeline::Timeline;
use crate::base::turns::Turns;
use crate::base::work::Work;
pub use bearer::Bearer;
pub use compactor::Compactor;
pub use doctor::Doctor;
pub use identity::{ANONYMOUS, Identity};
pub use listener::{HostPort, Listener, ListenerLimits, LoginRules, Protocol};
pub use peer::{NOTHING, Overdue, Peer};
use peers::Peers;
pub use quotas::Quotas;
use rustka_core::config::SharedConfig;
use rustka_core::error::Refusal;
use rustka_core::log::Marker;
use rustka_core::time::Now;
use rustka_storage::Memory;
use rustka_storage::buffer::Pool;
use rustka_storage::{Appended, Engine, Opener, Partition, PartitionName};
use rustka_wire::codec::Uuid;
pub use security::Security;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
pub use tls::Tls;
pub use tokens::Tokens;
use tokio::sync::{Notify, watch};
use topics::Topics;

/// Frames below this size make no room before they come: it is made when their records are kept.
const FRAME_BYTES_NOTED: usize = 64 << 10;

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

/// What the parts of one broker share.
pub struct Node {
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
    /// Opens what there is of partitions after a start.
    pub opener: Opener,
    /// How much memory there is, and whether it is short.
    pub machine: Machine,
    /// Logs to be compacted.
    pub compactor: Compactor,
    /// Counters.
    pub metrics: Metrics,
    /// Topics and their partitions.
    pub topics: Topics,
    /// The log of the cluster's metadata, which is no topic.
    pub metadata_log: OnceLock<Arc<Partition>>,
    /// Levels of features.
    pub features: Features,
    /// When the broker began, in monotonic milliseconds.
    pub started_ms: i64,
    /// This broker's id.
    pub id: i32,
    /// The cluster's id.
    pub cluster_id: String,
    /// The id of the one directory that its partitions are in.
    pub directory_id: Uuid,
    /// Where clients come in, at least in one place.
    pub listeners: Vec<Arc<Listener>>,
    /// Who may log in, and who may do what.
    pub security: Security,
    /// With what else somebody logs in.
    pub tokens: Tokens,
    /// How much of it.
    pub quotas: Quotas,
    /// Largest request accepted.
    pub request_bytes_max: usize,
    /// Where the broker stands.
    pub state: watch::Sender<State>,
    /// Connections that were accepted in this second.
    pub creations: PerSecond,
    /// Open connections.
    pub peers: Peers,
    /// Who was told where to connect and has not come.
    pub doctor: Doctor,
    /// Bytes of frames that are being received.
    pub receiving: Arc<Budget>,
    /// When slow readers were last looked for.
    pub readers_checked_ms: AtomicI64,
    /// Number of the next connection.
    pub next_peer: AtomicU64,
    /// Told when a connection becomes quiet while the broker stops.
    pub quiet: Notify,
    /// Which tasks keep failing.
    pub health: Health,
    /// Requests, recorded while somebody watches.
    pub requests: RequestLog,
    /// What happened in groups of late.
    pub timeline: Timeline,
    /// Who has a say or a look.
    pub hooks: Hooks,
    /// What is to go wrong.
    pub faults: Arc<Faults>,
    /// A pool for work that takes long.
    pub work: Work,
    /// A pool for reads that may wait for a disk.
    pub loads: Work,
    /// Who is sending files.
    pub turns: Turns,
}

impl Node {
    /// The names and addresses that clients are told, as they were set.
    pub fn advertised_hosts(&self) -> Vec<Box<str>> {
        let told = self.listeners.iter().filter_map(|one| one.advertised());
        told.map(|(host, _)| host).collect()
    }

    /// How long the broker has been running.
    pub fn uptime_ms(&self) -> i64 {
        self.clock.monotonic_ms().saturating_sub(self.started_ms)
    }

    /// Makes room for a batch: over the limit the oldest records go, and before them those who read so slowly that
    /// dropping records frees nothing. Where nothing may go, what compaction can free is freed for the next try.
    pub fn make_room(&self) -> Result<(), Refusal> {
        if self.memory.readers_hold_too_much() {
            self.close_slowest_readers();
        }
        let room = self.engine.make_room();
        if room.is_err() {
            self.compactor.press();
        }
        room
    }

    /// The same for a frame that is being received, which is let in all the same: what it brings may be refused later.
    pub fn make_room_for_frame(&self, bytes: usize) {
        if bytes >= FRAME_BYTES_NOTED {
            // Whether its records find room is asked again once they are here.
            let _room = self.make_room();
        }
    }

    /// Ends a producer's transaction in a partition with its marker, and has the log compacted if that is due now.
    pub fn append_marker(
        &self,
        partition: &Arc<Partition>,
        producer: (i64, i16),
        marker: &Marker,
    ) -> Result<Appended, Refusal> {
        let appended = partition.append_marker(producer, marker, self.clock.now())?;
        if appended.compaction_due {
            self.compactor.submit(partition);
        }
        Ok(appended)
    }

    /// Tells every log what its partition's batches have led to, where the engine wants to know.
    pub fn checkpoint(&self) {
        if !self.engine.wants_checkpoints() {
            return;
        }
        // What a log could not take in, it reads again when it is opened.
        if let Some(log) = self.metadata_log.get() {
            let _told = log.checkpoint();
        }
        for topic in self.topics.all() {
            for partition in &topic.partitions {
                let _told = partition.checkpoint();
            }
        }
    }

    /// Counts a connection that the broker closes, says so in the log and to observers. Not to be called under a lock,
    /// nor by those who accept.
    pub fn closes(&self, address: SocketAddr, reason: &str) {
        let now_ms = self.clock.monotonic_ms();
        self.metrics.connection_closed(address, reason, now_ms);
        self.requests
            .closed(address, reason, self.clock.now().wall_ms);
        self.hooks.saw(|| Event::Refused(address, reason));
    }

    fn close_slowest_readers(&self) {
        let now_ms = self.clock.monotonic_ms();
        // Those closed last time may not have let go yet, and looking at all connections takes a while.
        if self.readers_checked_ms.swap(now_ms, Relaxed) == now_ms {
            return;
        }
        for peer in self.peers.slowest_readers(self.memory.tolerated_bytes()) {
            let reason = "it reads its answer so slowly that it keeps dropped records in memory, which is at its limit";
            self.closes(peer.address, reason);
            self.metrics.slow_readers_closed.fetch_add(1, Relaxed);
            peer.close();
        }
    }

    /// The partition of a topic, if both exist.
    pub fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        self.topics.partition(topic, index)
    }

    /// Waits until everything is open that this start has found.
    pub async fn all_opened(&self) {
        if self.opener.left() == 0 {
            return;
        }
        for topic in self.topics.all() {
            for partition in &topic.partitions {
                partition.opened().await;
            }
        }
    }

    /// A partition of a topic, with what the engine has of it, now or a little later; as a rule that is nothing.
    pub fn new_partition(
        &self,
        name: &PartitionName<'_>,
        config: &Arc<SharedConfig>,
        internal: bool,
        now: Now,
    ) -> Arc<Partition> {
        let partition = self.opener.open(name, config.now().delete, now);
        // What is written to a journal rests on what is in it. A start reads them all, once it knows which there are.
        if internal && *self.state.borrow() != State::Starting {
            self.opener.wait_for(&partition);
        }
        // Journals are compacted by those who write them.
        match internal {
            true => partition.obey_as_journal(config),
            false => partition.obey(config),
        }
        partition
    }
}
