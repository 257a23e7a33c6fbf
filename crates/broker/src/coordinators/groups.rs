//! Groups of every kind: one shard per partition of `__consumer_offsets`, and the task that drives their deadlines.
//!
//! The machines of `rustka_core::group` decide. Here are their locks, their journals, the requests that wait for them
//! and the time. The topic is created with the first request that needs a shard.

mod news;
mod resolve;
#[cfg(test)]
mod tests;

use super::answer;
use super::cluster::Cluster;
use super::journal::{PartitionJournal, Writes};
use super::shard::{Host, Shard, Teller};
use super::shards::Shards;
use crate::base::config::NamedResource;
use crate::base::fault::Point;
use crate::base::rate::LogLimit;
use crate::node::topics::TopicRef;
use crate::node::{Node, State, reached};
use news::News;
use rustka_core::cluster::features::{METADATA_VERSION, TOPIC_IDS_OF_OFFSETS_SINCE};
use rustka_core::config::{BrokerConfig, Overrides, Scope};
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{Command, Name};
use rustka_core::group::consumer::topics::{Topic as GroupTopic, Topics as GroupTopics};
use rustka_core::group::consumer::{Beaten, Settings};
use rustka_core::group::effects::{Event, Reply};
use rustka_core::group::records::Record;
use rustka_core::group::{
    Addresses, GroupOptions, GroupShard as Machine, MigrationPolicy, Reader, partition_for, refusal,
};
use rustka_core::names::CONSUMER_OFFSETS;
use rustka_core::sync::lock;
use rustka_core::time::Now;
use rustka_storage::Partition;
use std::sync::{Arc, Mutex};

/// What its supervisor calls the task that drives deadlines.
pub const TASK: &str = "the timers of groups";
/// After a line in the log about a refused request there is none for this long.
const REFUSALS_QUIET_MS: i64 = 10_000;

/// How a group's command is answered.
pub type Answer = answer::Answer<Machine>;

/// All groups of one broker.
pub struct Groups {
    node: Arc<Node>,
    cluster: Arc<Cluster>,
    options: GroupOptions,
    shards: Shards<Machine>,
    /// Who holds member ids that have not joined.
    addresses: Arc<Addresses>,
    /// The topics that there are, as groups of the new protocol see them.
    topics: Mutex<Arc<GroupTopics>>,
    news: News,
    refusals: LogLimit,
    failures: LogLimit,
}

impl Groups {
    /// No groups yet.
    pub fn new(node: Arc<Node>, cluster: Arc<Cluster>) -> Groups {
        let options = options(&node.config.broker());
        Groups {
            node,
            cluster,
            options,
            shards: Shards::default(),
            addresses: Arc::default(),
            topics: Mutex::default(),
            news: News::default(),
            refusals: LogLimit::new(1, REFUSALS_QUIET_MS),
            failures: LogLimit::default(),
        }
    }

    /// Reads what its journals have of groups and their offsets. Only while the broker starts: it holds the thread up.
    pub fn load(self: &Arc<Self>) {
        let Some(topic) = self.node.topics.by_name(CONSUMER_OFFSETS) else {
            return;
        };
        self.shards();
        self.shards.load(self, &topic, &self.node.opener);
        let (consumer_groups, _) = self.shards.counts(|machine| (machine.consumer_groups(), 0));
        if consumer_groups > 0 {
            self.look_at_topics();
        }
    }

    /// Whether it is known of all groups what they have committed.
    pub fn are_all_known(&self) -> bool {
        self.shards.are_readable()
    }

    /// Hands a command to the group's shard.
    pub fn call(self: &Arc<Self>, group: &str, command: Command) -> Answer {
        if !is_there(&self.node) {
            return refusal(&command, &self.options).map_or(Answer::Never, Answer::Now);
        }
        let (shards, at) = self.of(group);
        shards[at].call(self, at, command)
    }

    /// Hands a command to the shard of this partition of `__consumer_offsets`.
    pub fn call_at(self: &Arc<Self>, at: usize, command: Command) -> Answer {
        let shard = self.shards().get(at);
        shard.map_or(Answer::Never, |shard| shard.call(self, at, command))
    }

    /// The partition of `__consumer_offsets` with what a group remembers, and its number; none while there is no such
    /// topic.
    pub fn place_of(&self, group: &str) -> Option<(i32, Arc<Partition>)> {
        let topic = self.offsets_topic()?;
        let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        let at = i32::try_from(partition_for(group, count)).ok()?;
        Some((at, topic.partition(at)?.clone()))
    }

    /// The number of the partition that a group belongs to, whether there is one yet or not.
    pub fn number_of(&self, group: &str) -> Option<i32> {
        if is_there(&self.node) {
            return self.place_of(group).map(|(at, _)| at);
        }
        let count = self.node.config.broker().settings().offsets_partitions;
        let count = u32::try_from(count).unwrap_or(1);
        i32::try_from(partition_for(group, count)).ok()
    }

    /// A heartbeat copies nothing.
    pub fn heartbeat(self: &Arc<Self>, group: &str, member: (&str, Option<&str>, i32)) -> Answer {
        if !is_there(&self.node) {
            return match group {
                "" => Answer::Now(Reply::Heartbeat(ErrorCode::InvalidGroupId)),
                _ => Answer::Never,
            };
        }
        let (shards, at) = self.of(group);
        shards[at].attach(self, at);
        shards[at].decide(self, at, |machine, now, ticket, out| {
            if let Some(code) = machine.beat(now, group, member) {
                return Some(Reply::Heartbeat(code));
            }
            machine.heartbeat(now, ticket, group, member, out);
            None
        })
    }

    /// Hands a command about a consumer group to its shard, which knows today's topics.
    pub fn consumer_call(
        self: &Arc<Self>,
        group: &str,
        command: impl FnOnce(Settings) -> Command,
    ) -> Answer {
        self.look_at_topics();
        self.call(group, command(self.consumer_settings(group)))
    }

    /// Hands a command of the classic protocol to a group's shard, which knows today's topics if any group needs them.
    pub fn classic_call(
        self: &Arc<Self>,
        group: &str,
        command: impl FnOnce(Settings) -> Command,
    ) -> Answer {
        // Until somebody speaks the new protocol, nobody looks at topics.
        if lock(&self.topics).version != 0 {
            self.look_at_topics();
        }
        self.call(group, command(self.consumer_settings(group)))
    }

    /// The short way of a heartbeat that says nothing but who it is from; `None` where the group has to decide.
    pub fn consumer_beat(
        self: &Arc<Self>,
        group: &str,
        member: (&str, i32),
        client: (&str, &str),
    ) -> Option<Beaten> {
        if !is_there(&self.node) {
            return None;
        }
        let (settings, version) = (
            self.consumer_settings(group),
            self.node.topics.read().version(),
        );
        let (shards, at) = self.of(group);
        shards[at].glance(&**self, |machine, now| {
            machine.consumer_beat(now, group, member, client, settings, version)
        })
    }

    /// Looks which topics these expressions of a group match, of those that `may_see` lets pass, and tells the group.
    pub fn resolve(
        self: &Arc<Self>,
        group: Name,
        expressions: Vec<Name>,
        may_see: impl Fn(&str) -> bool + Send + 'static,
    ) {
        let groups = self.clone();
        let work = groups.node.work.clone();
        let looking = async move {
            self::resolve::look(groups, work, group, expressions, may_see).await;
        };
        // It is over in moments, or when the broker is.
        drop(tokio::spawn(looking));
    }

    /// The topics that there are now.
    fn topics_now(&self) -> Arc<GroupTopics> {
        self.look_at_topics();
        lock(&self.topics).clone()
    }

    /// Takes note of the topics that there are now, if there are others than before.
    fn look_at_topics(&self) {
        let catalog = self.node.topics.read();
        let version = catalog.version();
        let before = lock(&self.topics).clone();
        if before.version == version {
            return;
        }
        let topics = catalog.topics().map(|topic| {
            let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            let id = topic.id.0;
            (topic.name.clone(), GroupTopic { id, partitions })
        });
        *lock(&self.topics) = Arc::new(GroupTopics::after(&before, version, topics));
    }

    /// What is set for a consumer group.
    fn consumer_settings(&self, group: &str) -> Settings {
        let config = &self.node.config;
        let broker = config.settings();
        let mut settings = Settings {
            session_timeout_ms: broker.group_consumer_session_timeout_ms,
            heartbeat_interval_ms: broker.group_consumer_heartbeat_interval_ms,
            assignment_interval_ms: broker.group_consumer_assignment_interval_ms,
            refresh_interval_ms: broker.group_consumer_regex_refresh_interval_ms,
            hurries: !broker.consumer_heartbeat_interval_is_kafkas,
        };
        if !config.has_any(NamedResource::Group) {
            return settings;
        }
        let own = config.overrides(NamedResource::Group, group);
        let value = |name: &str| own.get(name)?.parse::<i32>().ok();
        if let Some(ms) = value("consumer.session.timeout.ms") {
            settings.session_timeout_ms = ms;
        }
        if let Some(ms) = value("consumer.heartbeat.interval.ms") {
            settings.heartbeat_interval_ms = ms;
            settings.hurries = false;
        }
        if let Some(ms) = value("consumer.assignment.interval.ms") {
            settings.assignment_interval_ms = ms;
        }
        settings
    }

    /// Asks every shard there is, in their order.
    pub fn call_all(self: &Arc<Self>, command: &Command) -> Vec<Answer> {
        self.shards.call_all(self, command)
    }

    /// A topic is gone, and with it what groups have committed for it (E35). Not to be called with the catalog locked.
    pub fn topic_deleted(self: &Arc<Self>, topic: &TopicRef) {
        if &*topic.name == CONSUMER_OFFSETS {
            self.shards.detach(Machine::clear);
            return;
        }
        let topic_id = topic.id.0;
        let topic = topic.name.clone();
        // It is forgotten from here on; nobody waits for the records that say so.
        drop(self.call_all(&Command::TopicDeleted { topic, topic_id }));
    }

    /// The leaders of a topic's partitions may have changed. Who leads one coordinates its groups.
    pub fn topic_led(&self, topic: &TopicRef) {
        if &*topic.name == CONSUMER_OFFSETS {
            self.shards.led(self);
        }
    }

    /// The groups that read a topic, and how far each has come.
    pub fn readers(&self, topic: &TopicRef) -> Vec<Reader> {
        let (name, id, partitions) = (&topic.name, topic.id.0, topic.partitions.len());
        let shards = self.shards.made().iter();
        let of_shard =
            |shard: &Shard<Machine>| shard.look(|machine| machine.readers(name, id, partitions));
        shards.flat_map(of_shard).collect()
    }

    /// Number of groups, and of member ids given out whose owners have not joined.
    pub fn counts(&self) -> (usize, usize) {
        self.shards
            .counts(|machine| (machine.len(), machine.soft_counts().pending))
    }

    /// Writes the journals down anew that are mostly about what is gone.
    pub fn shorten_journals(&self) {
        self.shards.shorten(self);
    }

    /// Number of member ids given out whose owners have not joined.
    pub fn pending_ids(&self) -> usize {
        self.addresses.ids()
    }

    fn shards(&self) -> &[Shard<Machine>] {
        let count = || match self.offsets_topic() {
            Some(topic) => topic.partitions.len(),
            None => self.node.config.fixed().offsets_partitions.unsigned_abs() as usize,
        };
        self.shards.get_or_make(count, |count| self.machine(count))
    }

    fn of(&self, group: &str) -> (&[Shard<Machine>], usize) {
        let shards = self.shards();
        let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        (shards, partition_for(group, count) as usize)
    }

    /// The machine of one of so many shards, without groups.
    fn machine(&self, shards: usize) -> Machine {
        // Names spread unevenly: each shard may hold twice its part.
        let groups_max = (self.options.groups_max * 2).div_ceil(shards.max(1));
        let options = GroupOptions {
            groups_max,
            ..self.options.clone()
        };
        let account = self.node.memory.account.clone();
        Machine::beside(options, self.addresses.clone(), account)
    }

    /// `__consumer_offsets`, created if need be; none while that cannot be done.
    pub fn offsets_topic(&self) -> Option<TopicRef> {
        let config = self.node.config.broker();
        let partitions = u32::try_from(config.settings().offsets_partitions).unwrap_or(1);
        self.cluster
            .internal_topic(CONSUMER_OFFSETS, partitions, || {
                let segment_bytes = config.value("offsets.topic.segment.bytes");
                let pairs = [
                    ("cleanup.policy", Some("compact")),
                    ("compression.type", Some("producer")),
                    ("segment.bytes", segment_bytes),
                ];
                Overrides::parse(Scope::Topic, pairs).unwrap_or_default()
            })
    }

    fn journal_partition(&self, at: usize) -> Option<Arc<Partition>> {
        self.offsets_topic()?.partitions.get(at).cloned()
    }

    /// A limit was hit. Says so in the log, or counts what it leaves out.
    fn refused(&self, now: Now, line: impl FnOnce() -> String) {
        if let Some(left_out) = self.refusals.admits(now.monotonic_ms) {
            tracing::warn!(target: "rustka::groups", "{}{left_out}", line());
        }
    }

    /// A mistake of ours, or of the storage below.
    fn failed(&self, now: Now, line: impl FnOnce() -> String) {
        if let Some(left_out) = self.failures.admits(now.monotonic_ms) {
            tracing::error!(target: "rustka::groups", "{}{left_out}", line());
        }
    }
}

impl Host<Machine> for Groups {
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
        let partition = self.journal_partition(at)?;
        let journal = PartitionJournal::new(CONSUMER_OFFSETS, &self.node, partition, teller);
        Some(Box::new(journal))
    }

    fn blank(&self) -> Machine {
        self.machine(self.shards.made().len())
    }

    fn decided(&self) {
        let faults = &self.node.faults;
        faults.panic_point(Point::Decide, CONSUMER_OFFSETS);
    }

    fn rebuilt(&self, result: Result<(), ErrorCode>) {
        news::rebuilt(self, result);
    }

    fn prepare(&self, machine: &mut Machine) {
        machine.set_topics(&lock(&self.topics));
        let level = self.node.features.level(METADATA_VERSION);
        machine.keep_topic_ids(level >= TOPIC_IDS_OF_OFFSETS_SINCE);
    }

    fn is_observed(&self) -> bool {
        // The timeline of rebalances is told afterwards, to whoever wonders.
        true
    }

    fn tell(&self, event: Event, now: Now) {
        self.news.add(event, now);
    }

    fn unlocked(&self) {
        self.news.tell(|event, now| news::tell(self, event, now));
    }

    fn wake(&self, deadline_ms: Option<i64>) {
        self.shards.set(deadline_ms);
    }
}

/// Whether groups have a coordinator. By Kafka's own rules it takes somebody who looks for one first.
pub fn is_there(node: &Node) -> bool {
    !node.strict || node.topics.by_name(CONSUMER_OFFSETS).is_some()
}

fn options(config: &BrokerConfig) -> GroupOptions {
    let settings = config.settings();
    let size = |value: i32| usize::try_from(value).unwrap_or(0);
    let initial_delay = "group.initial.rebalance.delay.ms";
    GroupOptions {
        strict: config.is_strict(),
        initial_rebalance_delay_ms: config
            .is_set(initial_delay)
            .then_some(settings.group_initial_rebalance_delay_ms),
        initial_rebalance_delay_max_ms: settings.group_initial_rebalance_delay_max_ms.into(),
        pending_rebalance_wait_ms: settings.group_pending_rebalance_wait_ms.into(),
        session_timeout_ms_min: settings.group_session_timeout_min_ms,
        session_timeout_ms_max: settings.group_session_timeout_max_ms,
        group_size_max: size(settings.group_size_max),
        consumer_size_max: size(settings.group_consumer_size_max),
        migration: settings
            .group_consumer_migration_policy
            .as_deref()
            .and_then(MigrationPolicy::named)
            .unwrap_or(MigrationPolicy::Bidirectional),
        expression_refresh_interval_ms: settings.group_consumer_regex_refresh_interval_ms.into(),
        consumer_session_timeout_ms: settings.group_consumer_session_timeout_ms,
        groups_max: size(settings.group_count_max),
        members_max: size(settings.group_members_max),
        member_metadata_bytes_max: size(settings.group_member_metadata_bytes_max),
        group_bytes_max: size(settings.group_bytes_max),
        pending_per_group_max: size(settings.group_pending_ids_max),
        pending_per_address_max: size(settings.group_pending_ids_per_address_max),
        offset_metadata_bytes_max: size(settings.offset_metadata_bytes_max),
        offsets_retention_ms: i64::from(settings.offsets_retention_minutes) * 60_000,
        offsets_retention_check_interval_ms: settings.offsets_retention_check_interval_ms,
    }
}

/// Calls every shard when something in it is due, until the broker stops; then refuses what still waits.
pub async fn run(groups: Arc<Groups>) {
    let node = &groups.node;
    let mut state = node.state.subscribe();
    loop {
        let next_ms = groups.shards.expire(&*groups);
        tokio::select! {
            biased;
            () = reached(&mut state, |state| state >= State::Stopping) => break,
            () = groups.shards.wait(node, next_ms) => {}
        }
    }
    groups.shards.close();
}
