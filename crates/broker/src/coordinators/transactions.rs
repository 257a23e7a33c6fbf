//! Transactions: one shard per partition of `__transaction_state`, the markers that follow from what they decide, and
//! the task that drives their deadlines.
//!
//! The machines of `rustka_core::transaction` decide. When it is durable how a transaction ends, its markers are written
//! before anybody is answered, so that a client which hears of a commit can read what it committed. Where that takes
//! time or fails, the task below goes on with it.

mod ends;

use super::answer;
use super::cluster::Cluster;
use super::groups::Groups;
use super::journal::{PartitionJournal, Writes};
use super::shard::{Host, Shard, Teller};
use super::shards::Shards;
use crate::base::fault::Point;
use crate::base::hooks;
use crate::base::metrics::printable;
use crate::base::rate::LogLimit;
use crate::node::topics::TopicRef;
use crate::node::{Node, State, reached};
use ends::Ends;
use rustka_core::cluster::features::TRANSACTION_VERSION;
use rustka_core::config::{BrokerConfig, Overrides, Scope};
use rustka_core::error::ErrorCode;
use rustka_core::names::TRANSACTION_STATE;
use rustka_core::time::Now;
use rustka_core::transaction::command::{Command, Event};
use rustka_core::transaction::record::Record;
use rustka_core::transaction::{TransactionOptions, TransactionShard as Machine, shard_for};
use rustka_storage::Partition;
use std::sync::{Arc, Weak};
use tokio::task::JoinSet;

/// What its supervisor calls the task that drives deadlines.
pub const TASK: &str = "the timers of transactions";
/// Transactional ids there may be, for all shards together.
const IDS_MAX: usize = 100_000;

/// How a command is answered.
pub type Answer = answer::Answer<Machine>;

/// All transactional ids of one broker.
pub struct Transactions {
    me: Weak<Transactions>,
    node: Arc<Node>,
    cluster: Arc<Cluster>,
    groups: Arc<Groups>,
    options: TransactionOptions,
    shards: Shards<Machine>,
    ends: Ends,
    lines: LogLimit,
}

impl Transactions {
    /// No transactional ids yet.
    pub fn new(node: Arc<Node>, cluster: Arc<Cluster>, groups: Arc<Groups>) -> Arc<Transactions> {
        let options = options(&node.config.broker());
        Arc::new_cyclic(|me| Transactions {
            me: me.clone(),
            node,
            cluster,
            groups,
            options,
            shards: Shards::default(),
            ends: Ends::default(),
            lines: LogLimit::default(),
        })
    }

    /// Reads what its journals have of transactional ids. Only while the broker starts: it holds the thread up.
    pub fn load(self: &Arc<Self>) {
        let Some(topic) = self.node.topics.by_name(TRANSACTION_STATE) else {
            return;
        };
        self.shards();
        self.shards.load(self, &topic, &self.node.opener);
    }

    /// Hands a command to the shard of a transactional id.
    pub fn call(self: &Arc<Self>, id: &str, command: Command) -> Answer {
        if !is_there(&self.node) {
            return Answer::Never;
        }
        let shards = self.shards();
        let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        let at = shard_for(id, count) as usize;
        shards[at].call(self, at, command)
    }

    /// Asks every shard there is, in their order.
    pub fn call_all(self: &Arc<Self>, command: &Command) -> Vec<Answer> {
        self.shards.call_all(self, command)
    }

    /// A topic is gone. Without their journal the shards remember nothing.
    pub fn topic_deleted(&self, topic: &TopicRef) {
        if &*topic.name == TRANSACTION_STATE {
            self.shards.detach(Machine::clear);
        }
    }

    /// Writes the journals down anew that are mostly about what is gone.
    pub fn shorten_journals(&self) {
        self.shards.shorten(self);
    }

    /// The leaders of a topic's partitions may have changed. Who leads one coordinates its ids.
    pub fn topic_led(&self, topic: &TopicRef) {
        if &*topic.name == TRANSACTION_STATE {
            self.shards.led(self);
        }
    }

    /// The partition of `__transaction_state` with what is known of an id; none while there is no such topic.
    pub fn place_of(&self, id: &str) -> Option<Arc<Partition>> {
        let topic = self.state_topic()?;
        partition_of(&topic, id).cloned()
    }

    /// How many transactional ids there are, and how many transactions are open.
    pub fn counts(&self) -> (usize, usize) {
        self.shards.counts(Machine::counts)
    }

    fn shards(&self) -> &[Shard<Machine>] {
        let count = || match self.state_topic() {
            Some(topic) => topic.partitions.len(),
            None => self.partitions() as usize,
        };
        self.shards.get_or_make(count, |count| self.machine(count))
    }

    fn machine(&self, shards: usize) -> Machine {
        // Names spread unevenly: each shard may hold twice its part.
        let ids_max = (IDS_MAX * 2).div_ceil(shards.max(1));
        Machine::new(TransactionOptions {
            ids_max,
            account: self.node.memory.account.clone(),
            ..self.options.clone()
        })
    }

    fn partitions(&self) -> u32 {
        let config = self.node.config.broker();
        u32::try_from(config.settings().transaction_partitions).unwrap_or(1)
    }

    /// `__transaction_state`, created if need be; none while that cannot be done.
    pub fn state_topic(&self) -> Option<TopicRef> {
        let config = self.node.config.broker();
        self.cluster
            .internal_topic(TRANSACTION_STATE, self.partitions(), || {
                let pairs = [
                    ("cleanup.policy", Some("compact")),
                    ("compression.type", Some("uncompressed")),
                    (
                        "segment.bytes",
                        config.value("transaction.state.log.segment.bytes"),
                    ),
                    ("unclean.leader.election.enable", Some("false")),
                    (
                        "min.insync.replicas",
                        config.value("transaction.state.log.min.isr"),
                    ),
                ];
                Overrides::parse(Scope::Topic, pairs).unwrap_or_default()
            })
    }

    /// The epoch in which this node coordinates an id: that of its shard's partition.
    fn coordinator_epoch(&self, id: &str) -> i32 {
        let Some(topic) = self.node.topics.by_name(TRANSACTION_STATE) else {
            return 0;
        };
        partition_of(&topic, id).map_or(0, |partition| partition.leader().1)
    }

    /// Says in the log what no client is to blame for.
    fn failed(&self, line: impl FnOnce() -> String) {
        if let Some(left_out) = self.lines.admits(self.node.clock.monotonic_ms()) {
            tracing::warn!(target: "rustka::transactions", "{}{left_out}", line());
        }
    }
}

impl Host<Machine> for Transactions {
    fn now(&self) -> Now {
        self.node.clock.now()
    }

    fn shard(&self, at: usize) -> Option<&Shard<Machine>> {
        self.shards.made().get(at)
    }

    fn open_journal(
        &self,
        at: usize,
        teller: Arc<Teller<Machine>>,
    ) -> Option<Box<dyn Writes<Record>>> {
        let partition = self.state_topic()?.partitions.get(at).cloned()?;
        let journal = PartitionJournal::new(TRANSACTION_STATE, &self.node, partition, teller);
        Some(Box::new(journal))
    }

    fn blank(&self) -> Machine {
        self.machine(self.shards.made().len())
    }

    fn prepare(&self, machine: &mut Machine) {
        let level = self.node.features.level(TRANSACTION_VERSION);
        machine.set_transaction_version(level);
    }

    fn decided(&self) {
        let faults = &self.node.faults;
        faults.panic_point(Point::Decide, TRANSACTION_STATE);
    }

    fn rebuilt(&self, result: Result<(), ErrorCode>) {
        let what = match result {
            Ok(()) => "transactions were read again from their journal after a mistake of ours",
            Err(_) => {
                "transactions cannot be read again from their journal after a mistake of ours"
            }
        };
        self.failed(|| what.to_owned());
        self.node.hooks.saw(|| hooks::Event::Failed(what));
    }

    fn is_observed(&self) -> bool {
        false
    }

    fn tell(&self, event: Event, _: Now) {
        match event {
            Event::Decided { .. } => self.ends.push(event),
            Event::TimedOut { id } => {
                let id = printable(&id);
                tracing::debug!(target: "rustka::transactions", "the transaction of {id} took too long and is aborted");
            }
            Event::Full => self
                .failed(|| format!("a transactional id was refused: there are {IDS_MAX} already")),
            Event::OutOfMemory(full) => self.failed(|| full.to_string()),
            Event::RolledBack { id } => self.failed(|| {
                let id = printable(&id);
                format!("a record of the transactional id {id} could not be written")
            }),
        }
    }

    fn unlocking(&self) -> Option<Box<dyn FnOnce() + '_>> {
        let decided = self.ends.take_own();
        if decided.is_empty() {
            return None;
        }
        Some(Box::new(move || {
            for event in decided {
                self.end(event);
            }
        }))
    }

    fn wake(&self, deadline_ms: Option<i64>) {
        self.shards.set(deadline_ms);
    }
}

/// The partition of `__transaction_state` with what is known of an id.
fn partition_of<'a>(topic: &'a TopicRef, id: &str) -> Option<&'a Arc<Partition>> {
    let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
    topic.partitions.get(shard_for(id, count) as usize)
}

/// Whether transactional ids have a coordinator. By Kafka's own rules it takes somebody who looks for one first.
pub fn is_there(node: &Node) -> bool {
    !node.strict || node.topics.by_name(TRANSACTION_STATE).is_some()
}

fn options(config: &BrokerConfig) -> TransactionOptions {
    let settings = config.settings();
    let rounds = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
    let in_rounds = config.is_strict() || config.is_set(rounds);
    let round_ms = i64::from(settings.transaction_timeout_check_interval_ms);
    TransactionOptions {
        timeout_ms_max: settings.transaction_timeout_max_ms,
        id_expiration_ms: settings.transactional_id_expiration_ms.into(),
        id_check_interval_ms: settings.transactional_id_check_interval_ms.into(),
        timeout_round_ms: in_rounds.then_some(round_ms.max(1)),
        ids_max: IDS_MAX,
        ..TransactionOptions::default()
    }
}

/// Calls every shard when something in it is due and writes the markers that could not be written at once, until the
/// broker stops; then refuses what still waits.
pub async fn run(transactions: Arc<Transactions>) {
    let node = &transactions.node;
    let mut state = node.state.subscribe();
    let mut ending = JoinSet::new();
    loop {
        for end in transactions.ends.take_later() {
            ending.spawn(ends::finish(transactions.clone(), end));
        }
        let next_ms = transactions.shards.expire(&*transactions);
        tokio::select! {
            biased;
            () = reached(&mut state, |state| state >= State::Stopping) => break,
            () = transactions.shards.wait(node, next_ms) => {}
            Some(_) = ending.join_next() => {}
        }
    }
    transactions.shards.close();
}
