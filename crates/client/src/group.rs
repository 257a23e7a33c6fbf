//! Reading as a member of a group: the group's members share the partitions of its topics, and the group remembers how far
//! each was read. What only the consumer protocol does is in [`heartbeats`].

mod heartbeats;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rustka_core::error::ErrorCode;
use rustka_wire::heartbeat_request::HeartbeatRequest;
use rustka_wire::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use rustka_wire::join_group_response::JoinGroupResponse;
use rustka_wire::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use rustka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rustka_wire::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};

use crate::assignor::{self, Member, Partitions, RANGE};
use crate::channel::Channel;
use crate::client::{Client, Patience, until};
use crate::cluster::{Coordinated, check};
use crate::consume::{ConsumeOptions, Consumer, Fetched, Place};
use crate::error::{Error, Problem, Reason, Result};
use crate::offsets::Start;

/// What members of a classic group that read topics call themselves.
const PROTOCOL_TYPE: &str = "consumer";

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
    /// Whether the broker has not been told yet what this member reads. Only by the consumer protocol.
    owes_word: bool,
    committed: BTreeMap<(String, i32), i64>,
    heartbeat_due_ms: i64,
}

/// What errors call a group.
pub(crate) fn about(group: &str) -> String {
    format!("group {group}")
}

/// Who commits, as a member of a group.
pub(crate) struct Committer<'a> {
    generation: i32,
    member_id: &'a str,
    instance_id: Option<&'a str>,
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

    async fn leave_as_classic(&mut self) -> Result<()> {
        let channel = self.coordinator().await?;
        let request = LeaveGroupRequest {
            group_id: Cow::Borrowed(&self.group),
            member_id: Cow::Borrowed(&self.member_id),
            // From version 3 on many may leave at once.
            members: vec![MemberIdentity {
                member_id: Cow::Borrowed(&self.member_id),
                ..Default::default()
            }],
        };
        let answer = channel.call(&request, self.client.request_ms()).await?;
        let told = answer.body()?;
        let code = told.members.first().map_or(0, |member| member.error_code);
        check(&about(&self.group), told.error_code, None)?;
        check(&about(&self.group), code, None)
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

    async fn heartbeat(&mut self) -> Result<()> {
        let Some(generation_id) = self.generation else {
            return Ok(());
        };
        if self.options.is_committing {
            self.commit().await?;
        }
        let request = HeartbeatRequest {
            group_id: Cow::Borrowed(&self.group),
            generation_id,
            member_id: Cow::Borrowed(&self.member_id),
            group_instance_id: self.options.instance_id.as_deref().map(Cow::Borrowed),
        };
        let channel = match &self.coordinator {
            Some(channel) => channel.clone(),
            None => self.find_coordinator().await?,
        };
        let answer = channel.call(&request, self.client.request_ms()).await?;
        let code = answer.body()?.error_code;
        self.coordinator = Some(channel);
        check(&about(&self.group), code, None)?;
        self.wait_for_heartbeat();
        Ok(())
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

    /// Joins, takes what the leader assigns, which may be this member itself, and goes on where the group has committed.
    async fn join(&mut self) -> Result<()> {
        let channel = self.coordinator().await?;
        let request = JoinGroupRequest {
            group_id: Cow::Owned(self.group.clone()),
            session_timeout_ms: self.options.session_ms,
            rebalance_timeout_ms: self.options.rebalance_ms,
            member_id: Cow::Owned(self.member_id.clone()),
            group_instance_id: self.options.instance_id.clone().map(Cow::Owned),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: RANGE.into(),
                metadata: assignor::subscription(&self.topics).into(),
            }],
            reason: None,
        };
        let request_ms = self.client.request_ms();
        let limit_ms = i64::from(self.options.rebalance_ms).saturating_add(request_ms);
        let answer = channel.call(&request, limit_ms).await?;
        let told = answer.body()?;
        if told.error_code == ErrorCode::MemberIdRequired.code() && self.member_id.is_empty() {
            // The broker has chosen an id, and waits for the member to come back with it (KIP-394).
            self.member_id = told.member_id.into_owned();
            return Box::pin(self.join()).await;
        }
        check(&about(&self.group), told.error_code, None)?;
        self.member_id = told.member_id.to_string();
        let plan = match told.leader == told.member_id && !told.skip_assignment {
            true => self.plan(&told).await?,
            false => BTreeMap::new(),
        };
        let assigned = self.sync(&channel, told.generation_id, &plan).await?;
        self.begin(assigned).await?;
        self.generation = Some(told.generation_id);
        self.wait_for_heartbeat();
        Ok(())
    }

    /// Who is to read what, for the leader to say.
    async fn plan(&self, told: &JoinGroupResponse<'_>) -> Result<BTreeMap<String, Partitions>> {
        let mut members = Vec::new();
        for member in &told.members {
            let topics =
                assignor::subscribed(&member.metadata).map_err(|error| Reason::Malformed {
                    doing: "JoinGroup",
                    problem: Problem::Decode(error),
                })?;
            let instance_id = member.group_instance_id.as_deref();
            members.push(Member::new(&member.member_id, instance_id, topics));
        }
        let topics: BTreeSet<&str> = members
            .iter()
            .flat_map(|member| member.topics.iter().map(String::as_str))
            .collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        // Topics that do not exist have no partitions to be read.
        let metadata = self.client.metadata(Some(&topics)).await?;
        let known = metadata
            .topics
            .into_iter()
            .filter(|topic| topic.error_code == 0);
        let counts = known.map(|topic| {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            (topic.name.unwrap_or_default().into_owned(), count)
        });
        Ok(assignor::range(members, &counts.collect()))
    }

    async fn sync(
        &self,
        channel: &Channel,
        generation_id: i32,
        plan: &BTreeMap<String, Partitions>,
    ) -> Result<Partitions> {
        let assignments = plan
            .iter()
            .map(|(member, partitions)| SyncGroupRequestAssignment {
                member_id: Cow::Borrowed(member),
                assignment: assignor::assignment(partitions).into(),
            });
        let request = SyncGroupRequest {
            group_id: Cow::Borrowed(&self.group),
            generation_id,
            member_id: Cow::Borrowed(&self.member_id),
            group_instance_id: self.options.instance_id.as_deref().map(Cow::Borrowed),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(RANGE.into()),
            assignments: assignments.collect(),
        };
        let limit_ms =
            i64::from(self.options.rebalance_ms).saturating_add(self.client.request_ms());
        let answer = channel.call(&request, limit_ms).await?;
        let told = answer.body()?;
        check(&about(&self.group), told.error_code, None)?;
        let assigned = assignor::assigned(&told.assignment);
        let assigned = assigned.map_err(|error| Reason::Malformed {
            doing: "SyncGroup",
            problem: Problem::Decode(error),
        });
        Ok(assigned?)
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
        self.consumer.clear();
        self.committed.clear();
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

/// Commits offsets of a group, as one of its members or, while it has none, as nobody.
pub(crate) async fn commit(
    client: &Client,
    channel: &Channel,
    group: &str,
    by: Option<Committer<'_>>,
    offsets: &BTreeMap<(String, i32), i64>,
) -> Result<()> {
    let mut topics: Vec<OffsetCommitRequestTopic<'_>> = Vec::new();
    for ((topic, partition_index), &committed_offset) in offsets {
        if topics.last().is_none_or(|last| last.name != topic.as_str()) {
            topics.push(OffsetCommitRequestTopic {
                name: Cow::Borrowed(topic),
                ..Default::default()
            });
        }
        if let Some(last) = topics.last_mut() {
            last.partitions.push(OffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset,
                committed_metadata: Some("".into()),
                ..Default::default()
            });
        }
    }
    let nobody = Committer {
        generation: -1,
        member_id: "",
        instance_id: None,
    };
    let by = by.unwrap_or(nobody);
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: by.generation,
        member_id: by.member_id.into(),
        group_instance_id: by.instance_id.map(Cow::Borrowed),
        topics,
        ..Default::default()
    };
    // From version 10 on topics go by their ids.
    let version = channel.pick::<OffsetCommitRequest<'_>>(2, 9)?;
    let answer = channel
        .call_in(version, &request, client.request_ms())
        .await?;
    let told = answer.body()?;
    for topic in &told.topics {
        for partition in &topic.partitions {
            let of = format!("partition {}-{}", topic.name, partition.partition_index);
            let of = format!("{}, {of}", about(group));
            check(&of, partition.error_code, None)?;
        }
    }
    Ok(())
}
