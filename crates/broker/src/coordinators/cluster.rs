//! The cluster's metadata: one machine whose journal is `__cluster_metadata`, and what follows from its changes.
//!
//! What is durable is published in the node: topics, configs, levels of features. Requests read there and never wait
//! for the machine. The log is no topic: clients cannot see it.

mod init;
pub mod keeping;
pub mod kept;
mod producer_ids;
mod publish;
#[cfg(test)]
mod tests;
mod users;

use super::answer;
use super::journal::{PartitionJournal, Writes};
use super::shard::{Host, Shard, Teller};
use crate::base::fault::Point;
use crate::base::features::FEATURES;
use crate::base::hooks::Event;
use crate::base::random;
use crate::base::rate::LogLimit;
use crate::base::start::StartError;
use crate::node::topics::TopicRef;
use crate::node::{Node, State, reached};
use keeping::KeptJournal;
use kept::Kept;
pub use producer_ids::ProducerId;
use producer_ids::ProducerIds;
use rustka_core::cluster::command::{
    Change, Command, CreateInternal, CreateTopic, CreateTopics, Reply,
};
use rustka_core::cluster::records::Record;
use rustka_core::cluster::{Cluster as Machine, ClusterOptions};
use rustka_core::config::{BrokerConfig, Overrides, ResolvedConfigs};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::names::CLUSTER_METADATA;
use rustka_core::sync::lock;
use rustka_core::time::Now;
use rustka_core::topic_ids::{TopicIds, are_by_name};
use rustka_storage::partition::Offsets;
use rustka_storage::{Fate, Partition, PartitionName, Safety};
use rustka_wire::codec::Uuid;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake};
use tokio::sync::Notify;

/// The log, whose id is the same in every cluster.
const LOG: PartitionName<'static> = PartitionName {
    topic: CLUSTER_METADATA,
    topic_id: Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    index: 0,
};

/// How a command is answered.
pub type Answer = answer::Answer<Machine>;

/// What the parts that write to topics of their own want to know of topics.
pub enum TopicNews {
    /// It is gone.
    Gone,
    /// One of the broker's own topics may have other leaders.
    Led,
}

type Follower = Box<dyn Fn(&TopicRef, TopicNews) + Send + Sync>;

/// The metadata of the cluster.
pub struct Cluster {
    node: Arc<Node>,
    options: ClusterOptions,
    /// The configs from start-up.
    fixed: BrokerConfig,
    shard: Shard<Machine>,
    log: Arc<Partition>,
    /// Snapshots beside it, where it is in files.
    kept: Option<Arc<Kept>>,
    producer_ids: ProducerIds,
    /// What follows for topics from what is set for them.
    resolved: Mutex<ResolvedConfigs>,
    /// What is left to do once the machine is unlocked.
    follow_ups: Mutex<Vec<FollowUp>>,
    follower: OnceLock<Follower>,
    told: Notify,
    lines: LogLimit,
}

/// What follows from a change and must not happen under the machine's lock.
enum FollowUp {
    Created(TopicRef),
    Gone(TopicRef),
    Led(TopicRef),
}

impl Cluster {
    /// A cluster of this node alone, as its log says. An empty log gets what a new cluster begins with.
    pub fn new(node: Arc<Node>) -> Result<Arc<Cluster>, StartError> {
        let fixed = (*node.config.broker()).clone();
        let log = Partition::open(&*node.engine, &LOG, false, node.clock.now());
        let kept = Kept::open(&*node.engine, &log, node.clock.now())?;
        if kept.is_some() {
            log.obey(&keeping::log_config(&fixed)?);
        }
        let is_new = log.offsets().log_end == 0;
        let topic_ids = || Arc::new(Mutex::new(TopicIds::of_cluster(&node.cluster_id)));
        let options = ClusterOptions {
            node_id: node.id,
            nodes: vec![node.id],
            directory: node.directory_id,
            first_producer_id: match node.engine.directory() {
                Some(_) => 0,
                None => producer_ids::first(random::u32()),
            },
            features: FEATURES,
            bootstrap: match (&kept, node.engine.directory()) {
                (Some(kept), Some(path)) if is_new => kept.bootstrap(path)?,
                _ => Arc::default(),
            },
            topic_ids: are_by_name(&fixed).then(topic_ids),
            account: node.memory.account.clone(),
        };
        let machine = Machine::new(options.clone(), fixed.clone());
        let cluster = Arc::new(Cluster {
            log,
            kept,
            node,
            options,
            fixed,
            shard: Shard::new(machine),
            producer_ids: ProducerIds::default(),
            resolved: Mutex::default(),
            follow_ups: Mutex::default(),
            follower: OnceLock::new(),
            told: Notify::new(),
            lines: LogLimit::default(),
        });
        let first = cluster.node.metadata_log.set(cluster.log.clone()).is_ok();
        debug_assert!(first, "a node has one cluster");
        let last_epoch = cluster.log.with_state(|state| state.epochs.latest());
        let last_epoch = last_epoch.ok().flatten().map(|last| last.epoch);
        let kept_epoch = cluster.kept.as_ref().and_then(|kept| kept.epoch());
        if let Some(epoch) = last_epoch.max(kept_epoch) {
            cluster.log.set_leader(None, epoch);
        }
        cluster.shard.attach(&cluster, 0);
        let loaded = cluster.shard.load(&*cluster);
        loaded.map_err(|code| {
            let advice = cluster.node.engine.directory().map(|path| {
                let path = path.display();
                format!(
                    "; `rustka log check {path}` tells what of {path}/{CLUSTER_METADATA}-0 is damaged: put a copy of that folder in its place"
                )
            });
            StartError::new(format!(
                "the log of the cluster, {CLUSTER_METADATA}, cannot be read: {}{}",
                code.name(),
                advice.unwrap_or_default()
            ))
        })?;
        if cluster.node.engine.directory().is_some() {
            cluster.come_back(is_new)?;
        }
        Ok(cluster)
    }

    /// In a new life the node leads what it holds anew.
    fn come_back(self: &Arc<Self>, is_new: bool) -> Result<(), StartError> {
        if !is_new && let Answer::Now(Reply::Return(Err(refusal))) = self.call(Command::Return) {
            let why = refusal.message.unwrap_or_default();
            return Err(StartError::new(why));
        }
        self.settle()
    }

    /// Waits until all that is decided is durable and shown. Only while the broker starts: it holds the thread up.
    pub fn settle(&self) -> Result<(), StartError> {
        loop {
            let end = self.log.offsets().log_end;
            let fate = wait_for(self.log.settled(end, Safety::Durable));
            if fate == Fate::Failed {
                let sentence = "the log of the cluster cannot be written";
                return Err(StartError::new(sentence));
            }
            self.shard.expire(self, self.now());
            if self.log.offsets().log_end == end {
                return Ok(());
            }
        }
    }

    /// Has this called with the news of topics: of one that is gone after its partitions are.
    pub fn follow(&self, follower: impl Fn(&TopicRef, TopicNews) + Send + Sync + 'static) {
        let first = self.follower.set(Box::new(follower)).is_ok();
        assert!(first, "one part follows topics");
    }

    /// Writes the log down anew where it is mostly about what is gone.
    pub fn shorten_journal(&self) {
        self.shard.shorten(self);
    }

    /// How far the log goes, and how far others see it.
    pub fn log_offsets(&self) -> Offsets {
        self.log.offsets()
    }

    /// Hands a command to the machine.
    pub fn call(self: &Arc<Self>, command: Command) -> Answer {
        self.shard.call(self, 0, command)
    }

    /// Creates a topic with the broker's defaults, as Metadata does for unknown names (E22). It may be there a little
    /// later where writing takes time.
    pub fn auto_create(self: &Arc<Self>, name: &str) -> Result<(), Refusal> {
        self.auto_create_by(name, |command| command)
    }

    /// The same by somebody who may be limited in what they create.
    pub fn auto_create_by(
        self: &Arc<Self>,
        name: &str,
        limited: impl FnOnce(Command) -> Command,
    ) -> Result<(), Refusal> {
        let command = CreateTopics {
            topics: vec![CreateTopic::by_default(name, random::uuid())],
            validate_only: false,
        };
        match self.call(limited(Command::CreateTopics(command))) {
            Answer::Now(Reply::CreateTopics(created)) => {
                let mut outcomes = created?.into_iter();
                match outcomes.next().map(|outcome| outcome.result) {
                    Some(Err(refusal)) if self.node.topics.by_name(name).is_none() => Err(refusal),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// One of the broker's own topics, created if need be; none while that cannot be done or is under way.
    pub fn internal_topic(
        self: &Arc<Self>,
        name: &'static str,
        partitions: u32,
        configs: impl FnOnce() -> Overrides,
    ) -> Option<TopicRef> {
        if let Some(topic) = self.node.topics.by_name(name) {
            return Some(topic);
        }
        let command = CreateInternal {
            name,
            id: random::uuid(),
            partitions,
            configs: configs(),
        };
        // Whoever waits for it asks again.
        drop(self.call(Command::CreateInternal(command)));
        self.node.topics.by_name(name)
    }

    fn follow_up(&self, follow_up: FollowUp) {
        match follow_up {
            FollowUp::Created(topic) => {
                self.node.hooks.saw(|| Event::TopicCreated(&topic.name));
            }
            FollowUp::Gone(topic) => {
                self.node.hooks.saw(|| Event::TopicDeleted(&topic.name));
                for partition in &topic.partitions {
                    partition.delete();
                }
                self.tell_follower(&topic, TopicNews::Gone);
            }
            FollowUp::Led(topic) => self.tell_follower(&topic, TopicNews::Led),
        }
    }
}

impl Cluster {
    fn tell_follower(&self, topic: &TopicRef, news: TopicNews) {
        if let Some(follower) = self.follower.get() {
            follower(topic, news);
        }
    }

    /// Says in the log that something went wrong that no client is to blame for.
    fn failed(&self, what: &str) {
        if let Some(left_out) = self.lines.admits(self.node.clock.monotonic_ms()) {
            tracing::error!(target: "rustka::cluster", "{what}{left_out}");
        }
    }
}

impl Host<Machine> for Cluster {
    fn now(&self) -> Now {
        self.node.clock.now()
    }

    fn shard(&self, _: usize) -> Option<&Shard<Machine>> {
        Some(&self.shard)
    }

    fn open_journal(
        &self,
        _: usize,
        teller: Arc<Teller<Machine>>,
    ) -> Option<Box<dyn Writes<Record>>> {
        let log = self.log.clone();
        let journal = PartitionJournal::new(CLUSTER_METADATA, &self.node, log, teller);
        Some(match &self.kept {
            // Kafka takes a log whose beginning is gone for one whose snapshot is lost.
            Some(kept) => Box::new(KeptJournal::new(journal, kept.clone())),
            None => Box::new(journal),
        })
    }

    fn blank(&self) -> Machine {
        Machine::new(self.options.clone(), self.fixed.clone())
    }

    fn decided(&self) {
        let faults = &self.node.faults;
        faults.panic_point(Point::Decide, CLUSTER_METADATA);
    }

    fn rebuilt(&self, result: Result<(), ErrorCode>) {
        let what = match result {
            Ok(()) => "topics and configs were read again from their log after a mistake of ours",
            Err(_) => {
                "topics and configs cannot be read again from their log after a mistake of ours"
            }
        };
        self.failed(what);
        self.node.hooks.saw(|| Event::Failed(what));
    }

    fn is_observed(&self) -> bool {
        true
    }

    fn tell(&self, change: Change, now: Now) {
        let _again = ShowAgain(self);
        self.publish(change, now);
    }

    fn unlocking(&self) -> Option<Box<dyn FnOnce() + '_>> {
        let follow_ups = std::mem::take(&mut *lock(&self.follow_ups));
        if follow_ups.is_empty() {
            return None;
        }
        Some(Box::new(move || {
            for follow_up in follow_ups {
                self.follow_up(follow_up);
            }
        }))
    }

    fn wake(&self, deadline_ms: Option<i64>) {
        if deadline_ms.is_some() {
            self.told.notify_one();
        }
    }
}

/// Runs a future in this thread alone.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Parked(std::thread::Thread);
    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Parked(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Where a panic leaves something half shown, the task below has the machine made anew from its log, which shows
/// everything again: requests that only look would not.
struct ShowAgain<'a>(&'a Cluster);

impl Drop for ShowAgain<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.shard.journal_told();
            self.0.told.notify_one();
        }
    }
}

/// The task that takes note of durability, by name.
pub const TASK: &str = "the log of the cluster";

/// Takes note of what becomes of writes, until the broker stops; then refuses what still waits.
pub async fn run(cluster: Arc<Cluster>) {
    let mut state = cluster.node.state.subscribe();
    loop {
        tokio::select! {
            () = cluster.told.notified() => {}
            () = reached(&mut state, |state| state >= State::Stopping) => break,
        }
        let now = cluster.now();
        if cluster.shard.is_due(now) {
            cluster.shard.expire(&*cluster, now);
        }
    }
    cluster.shard.close();
}
