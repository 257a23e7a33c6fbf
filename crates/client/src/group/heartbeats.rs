//! A member of a consumer group (KIP-848): it joins, learns what to read and leaves by heartbeats. The broker decides; a
//! member gives up what it is no longer to read, says so, and is given the rest.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rustka_wire::Uuid;
use rustka_wire::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions as Owned,
};
use rustka_wire::consumer_group_heartbeat_response::Assignment;

use super::{GroupConsumer, about};
use crate::assignor::Partitions;
use crate::cluster::check;
use crate::error::Result;

/// The epoch of a member that joins.
const JOINING: i32 = 0;
/// That of one that leaves, and of a static one that will be back.
const LEAVING: i32 = -1;
const AWAY: i32 = -2;
/// From the next version on members choose their ids themselves.
const VERSION: i16 = 0;

impl GroupConsumer {
    /// Joins, and reads what it is given.
    pub(super) async fn join_by_heartbeat(&mut self) -> Result<()> {
        self.owes_word = true;
        self.exchange(JOINING).await
    }

    /// Stays in the group, and reads what it is given from now on.
    pub(super) async fn go_on(&mut self, epoch: i32) -> Result<()> {
        if self.options.is_committing {
            self.commit().await?;
        }
        self.exchange(epoch).await
    }

    /// Leaves, so that others get its partitions at once, unless it is a static member.
    pub(super) async fn leave_by_heartbeat(&mut self) -> Result<()> {
        let epoch = match self.options.instance_id {
            Some(_) => AWAY,
            None => LEAVING,
        };
        let channel = self.coordinator().await?;
        let request = ConsumerGroupHeartbeatRequest {
            member_epoch: epoch,
            ..self.request()
        };
        let version = channel.pick::<ConsumerGroupHeartbeatRequest<'_>>(VERSION, VERSION)?;
        let limit_ms = self.client.request_ms();
        let answer = channel.call_in(version, &request, limit_ms).await?;
        let told = answer.body()?;
        check(
            &about(&self.group),
            told.error_code,
            told.error_message.as_deref(),
        )
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest<'_> {
        ConsumerGroupHeartbeatRequest {
            group_id: Cow::Borrowed(&self.group),
            member_id: Cow::Borrowed(&self.member_id),
            instance_id: self.options.instance_id.as_deref().map(Cow::Borrowed),
            ..Default::default()
        }
    }

    /// One heartbeat in this epoch. What has not changed since the last one is left out, unless that was not answered, or
    /// what it told could not be done: then all is said again, and told again.
    async fn exchange(&mut self, epoch: i32) -> Result<()> {
        let channel = self.coordinator().await?;
        let ids = self.topic_ids().await?;
        let owned = self.assigned.iter().filter_map(|(name, partitions)| {
            let (id, _) = ids.iter().find(|(_, known)| *known == name)?;
            Some(Owned {
                topic_id: *id,
                partitions: partitions.clone(),
            })
        });
        let owned: Vec<Owned> = owned.collect();
        let owes_word = std::mem::replace(&mut self.owes_word, true);
        let mut request = self.request();
        request.member_epoch = epoch;
        if owes_word {
            let topics = self.topics.iter();
            request.rebalance_timeout_ms = self.options.rebalance_ms;
            request.subscribed_topic_names =
                Some(topics.map(|topic| Cow::Borrowed(topic.as_str())).collect());
            request.topic_partitions = Some(owned);
        }
        let version = channel.pick::<ConsumerGroupHeartbeatRequest<'_>>(VERSION, VERSION)?;
        let limit_ms = self.client.request_ms();
        let answer = channel.call_in(version, &request, limit_ms).await?;
        let told = answer.body()?.into_owned();
        check(
            &about(&self.group),
            told.error_code,
            told.error_message.as_deref(),
        )?;
        if let Some(id) = told.member_id.as_ref().filter(|id| !id.is_empty()) {
            self.member_id = id.to_string();
        }
        self.generation = Some(told.member_epoch);
        let now_ms = self.client.clock().monotonic_ms();
        self.heartbeat_due_ms = now_ms.saturating_add(i64::from(told.heartbeat_interval_ms.max(1)));
        let is_new = match told.assignment {
            Some(assignment) => self.take(&assignment, &ids).await?,
            None => false,
        };
        self.owes_word = is_new;
        Ok(())
    }

    /// The names of this member's topics, by their ids. Those that are not there yet have none.
    async fn topic_ids(&self) -> Result<BTreeMap<Uuid, String>> {
        let names: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let told = self.client.metadata(Some(&names)).await?.topics.into_iter();
        let there = told.filter(|topic| topic.error_code == 0);
        Ok(there
            .map(|topic| (topic.topic_id, topic.name.unwrap_or_default().into_owned()))
            .collect())
    }

    /// Reads this from now on; whether it is new, which the next heartbeat says, and is due at once.
    async fn take(
        &mut self,
        assignment: &Assignment,
        ids: &BTreeMap<Uuid, String>,
    ) -> Result<bool> {
        let given = assignment.topic_partitions.iter().filter_map(|topic| {
            let mut partitions = topic.partitions.clone();
            partitions.sort_unstable();
            Some((ids.get(&topic.topic_id)?.clone(), partitions))
        });
        let given: Partitions = given
            .filter(|(_, partitions)| !partitions.is_empty())
            .collect();
        if given == self.assigned {
            return Ok(false);
        }
        if self.options.is_committing {
            self.commit().await?;
        }
        let positions = self.consumer.positions().into_iter();
        let positions: BTreeMap<(String, i32), i64> = positions
            .map(|((topic, partition), at)| ((topic.to_string(), partition), at))
            .collect();
        self.begin_from(given, &positions).await?;
        self.heartbeat_due_ms = 0;
        Ok(true)
    }
}
