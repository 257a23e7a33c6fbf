//! Reading as a member of a group: the group's members share the partitions of its topics, and the group remembers how far
//! each was read. What only one of the protocols does is in [`classic`] and [`heartbeats`].

mod classic;
mod commit;
mod heartbeats;

use std::collections::{BTreeMap, BTreeSet};

use rustka_core::error::ErrorCode;

use crate::assignor::Partitions;
use crate::channel::Channel;
use crate::client::{Client, Patience, until};
use crate::cluster::Coordinated;
use crate::consume::{ConsumeOptions, Consumer, Fetched, Place};
use crate::error::{Error, Result};
use crate::offsets::Start;

pub(crate) use commit::{Committer, commit};

/// How a group settles who reads what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// Its members do, all stopping meanwhile.
    #[default]
    Classic,
    /// The broker does, with each member's heartbeats (KIP-848).
    Consumer,
}

/// How to be a member of a group.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// The group's protocol.
    pub protocol: GroupProtocol,
    /// A member that is silent for longer is taken for gone. [`GroupConsumer::poll`] must be called more often than that.
    pub session_ms: i32,
    /// How long a rebalance waits for a member to come back.
    pub rebalance_ms: i32,
    /// From one sign of life to the next.
    pub heartbeat_ms: i64,
    /// The id of a static member, which keeps its partitions while it is away for less than a session (KIP-345).
    pub instance_id: Option<String>,
    /// Where to begin in partitions of which the group has committed nothing.
    pub start: Start,
    /// Whether what was handed out is committed by itself: with the heartbeats, before a rebalance and when leaving.
    pub is_committing: bool,
    /// How records are read.
    pub consume: ConsumeOptions,
}

impl Default for GroupOptions {
    fn default() -> Self {
        GroupOptions {
            protocol: GroupProtocol::default(),
            session_ms: 45_000,
            rebalance_ms: 300_000,
            heartbeat_ms: 3_000,
            instance_id: None,
            start: Start::Latest,
            is_committing: true,
            consume: ConsumeOptions::default(),
        }
    }
}

/// A member of a group.
pub struct GroupConsumer {
    client: Client,
    group: String,
    topics: BTreeSet<String>,
    options: GroupOptions,
    consumer: Consumer,
    coordinator: Option<Channel>,
    member_id: String,
    /// The group's generation that this member is in; by the consumer protocol, the member's own epoch.
    generation: Option<i32>,
    assigned: Partitions,
    /// Whether the next heartbeat has to say everything, since the broker may not know it, or what it told is not done. Only
    /// by the consumer protocol.
    owes_word: bool,
    committed: BTreeMap<(String, i32), i64>,
    heartbeat_due_ms: i64,
}

/// What errors call a group.
pub(crate) fn about(group: &str) -> String {
    format!("group {group}")
}

impl GroupConsumer {
    /// A member to be of this group, which joins when it is first polled.
    pub fn new(client: &Client, group: &str, topics: &[&str], options: GroupOptions) -> Self {
        let mut consume = options.consume.clone();
        // What was committed may have been deleted since.
        consume.reset = consume.reset.or(Some(options.start));
        GroupConsumer {
            client: client.clone(),
            group: group.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            consumer: Consumer::new(client, consume),
            options,
            coordinator: None,
            member_id: String::new(),
            generation: None,
            assigned: Partitions::new(),
            owes_word: false,
            committed: BTreeMap::new(),
            heartbeat_due_ms: 0,
        }
    }

    /// What this member reads at present.
    pub fn assigned(&self) -> &Partitions {
        &self.assigned
    }

    /// Goes on at this offset of a partition that this member reads; what was handed out beyond it does not count as done.
    pub fn seek(&mut self, place: &Place, offset: i64) {
        let is_assigned = self.assigned.get(&*place.0);
        if is_assigned.is_some_and(|partitions| partitions.contains(&place.1)) {
            self.consumer.seek(place, offset);
        }
    }

    /// The group's generation that this member is in, if it is in one.
    pub fn generation(&self) -> Option<i32> {
        self.generation
    }

    /// The next records of some partition; none if there were none for a while. Joins, and keeps the member alive; what was
    /// handed out before counts as done. Dropping the future loses nothing.
    pub async fn poll(&mut self) -> Result<Option<Fetched>> {
        let mut patience = self.client.patience();
        loop {
            let outcome = self.poll_once().await;
            match outcome {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) => self.recover(error, &mut patience).await?,
            }
        }
    }

    async fn poll_once(&mut self) -> Result<Option<Option<Fetched>>> {
        let clock = self.client.clock().clone();
        match (self.options.protocol, self.generation) {
            (GroupProtocol::Consumer, None) => self.join_by_heartbeat().await?,
            (GroupProtocol::Classic, None) => self.join().await?,
            (protocol, Some(epoch)) if clock.monotonic_ms() >= self.heartbeat_due_ms => {
                match protocol {
                    GroupProtocol::Classic => self.heartbeat().await?,
                    GroupProtocol::Consumer => self.go_on(epoch).await?,
                }
            }
            _ => {}
        }
        match until(&*clock, self.heartbeat_due_ms, self.consumer.poll()).await {
            Some(outcome) => outcome.map(Some),
            None => Ok(None),
        }
    }

    /// Commits where reading goes on in every partition that this member reads.
    pub async fn commit(&mut self) -> Result<()> {
        let Some(generation) = self.generation else {
            return Ok(());
        };
        let positions = self.consumer.positions().into_iter();
        let positions =
            positions.map(|((topic, partition), at)| ((topic.to_string(), partition), at));
        let changed: BTreeMap<(String, i32), i64> = positions
            .filter(|(place, at)| self.committed.get(place) != Some(at))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let channel = self.coordinator().await?;
        let by = Committer {
            generation,
            member_id: &self.member_id,
            instance_id: self.options.instance_id.as_deref(),
        };
        commit(&self.client, &channel, &self.group, Some(by), &changed).await?;
        self.committed.extend(changed);
        Ok(())
    }

    /// Leaves the group, so that the others need not wait for the session's end. A static member only stops.
    pub async fn leave(mut self) -> Result<()> {
        if self.options.is_committing {
            self.commit().await?;
        }
        if self.generation.is_none() {
            return Ok(());
        }
        let mut patience = self.client.patience();
        loop {
            let outcome = match (self.options.protocol, &self.options.instance_id) {
                (GroupProtocol::Consumer, _) => self.leave_by_heartbeat().await,
                (GroupProtocol::Classic, Some(_)) => Ok(()),
                (GroupProtocol::Classic, None) => self.leave_as_classic().await,
            };
            match outcome {
                // It is not a member any more, perhaps since an answer was lost.
                Err(error)
                    if matches!(
                        error.code(),
                        Some(ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound)
                    ) =>
                {
                    return Ok(());
                }
                Err(error) => {
                    self.coordinator = None;
                    patience.again(error).await?;
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// What an error means for this member; the error itself where it means that there is no going on.
    async fn recover(&mut self, error: Error, patience: &mut Patience) -> Result<()> {
        match error.code() {
            Some(ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound) => {
                // The group took this member for gone, and has given its partitions to others or ended.
                self.member_id.clear();
                self.forget();
                patience.pause(error).await
            }
            Some(ErrorCode::FencedMemberEpoch) => {
                self.forget();
                patience.pause(error).await
            }
            // The group has gone on since the last heartbeat, and the next one tells where to.
            Some(ErrorCode::StaleMemberEpoch) => {
                self.heartbeat_due_ms = 0;
                patience.pause(error).await
            }
            Some(ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress) => {
                self.generation = None;
                patience.pause(error).await
            }
            _ => {
                self.coordinator = None;
                patience.again(error).await
            }
        }
    }

    /// Reads nothing and is in no generation any more.
    fn forget(&mut self) {
        self.generation = None;
        self.assigned.clear();
        self.consumer.clear();
    }

    fn wait_for_heartbeat(&mut self) {
        let now_ms = self.client.clock().monotonic_ms();
        self.heartbeat_due_ms = now_ms.saturating_add(self.options.heartbeat_ms);
    }

    /// This member's connection to its coordinator, of its own since joining waits there.
    async fn coordinator(&mut self) -> Result<Channel> {
        if let Some(channel) = self.coordinator.as_ref().filter(|known| !known.has_ended()) {
            return Ok(channel.clone());
        }
        let channel = self.find_coordinator().await?;
        self.coordinator = Some(channel.clone());
        Ok(channel)
    }

    async fn find_coordinator(&self) -> Result<Channel> {
        let of = Coordinated::Group;
        let address = self.client.coordinator(of, &self.group).await?;
        self.client.open(&address).await
    }

    /// Reads what was assigned from where the group has committed.
    async fn begin(&mut self, assigned: Partitions) -> Result<()> {
        self.begin_from(assigned, &BTreeMap::new()).await
    }

    /// The same, but goes on in `kept` partitions where it is.
    async fn begin_from(
        &mut self,
        assigned: Partitions,
        kept: &BTreeMap<(String, i32), i64>,
    ) -> Result<()> {
        let committed = self.client.committed(&self.group).await?;
        // Whatever fails from here on, it does not read what it has read, and is to be given that anew.
        self.consumer.clear();
        self.committed.clear();
        self.assigned.clear();
        for (topic, partitions) in &assigned {
            let mut places = BTreeMap::new();
            for &partition in partitions {
                let place = (topic.clone(), partition);
                let known = committed.get(&place).map(|at| at.offset);
                let start = match kept.get(&place).copied().or(known) {
                    Some(offset) => Start::Offset(offset),
                    None => self.options.start,
                };
                self.committed.extend(known.map(|offset| (place, offset)));
                places.insert(partition, start);
            }
            self.consumer.assign(topic, &places).await?;
        }
        self.assigned = assigned;
        Ok(())
    }
}
