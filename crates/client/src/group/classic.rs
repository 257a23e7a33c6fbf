//! What only members of classic groups do: they join, their leader says who reads what, and each is told its part.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rustka_core::error::ErrorCode;
use rustka_wire::heartbeat_request::HeartbeatRequest;
use rustka_wire::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use rustka_wire::join_group_response::JoinGroupResponse;
use rustka_wire::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use rustka_wire::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::{GroupConsumer, about};
use crate::assignor::{self, Member, Partitions, RANGE};
use crate::channel::Channel;
use crate::cluster::check;
use crate::error::{Problem, Reason, Result};

/// What members of a classic group that read topics call themselves.
const PROTOCOL_TYPE: &str = "consumer";

impl GroupConsumer {
    /// Joins, takes what the leader assigns, which may be this member itself, and goes on where the group has committed.
    pub(super) async fn join(&mut self) -> Result<()> {
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

    pub(super) async fn heartbeat(&mut self) -> Result<()> {
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

    pub(super) async fn leave_as_classic(&mut self) -> Result<()> {
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
}
