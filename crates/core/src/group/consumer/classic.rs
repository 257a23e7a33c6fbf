//! Members of the classic protocol in a consumer group: JoinGroup is their heartbeat, SyncGroup their answer, and a
//! heartbeat tells them to join again. To them the epoch is a generation, and nobody leads.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustka_wire::Uuid;

use super::deadlines::Task;
use super::membership::{JOINS, Sender};
use super::records::{ClassicMember, Current, Member, MemberState};
use super::{Draft, Group};
use crate::error::ErrorCode;
use crate::group::classic::{RefusedJoin, check_size, limited, protocols_weight};
use crate::group::command::{Join, Leaver, Name, Sync};
use crate::group::desk::Desk;
use crate::group::effects::{Cause, Joined, Left, Synced};
use crate::group::embedded::{self, CONSUMER, Subscription};
use crate::group::options::MigrationPolicy;

impl Group {
    /// Whether the group can take this join; nothing is changed.
    pub(in crate::group) fn check_join(&self, d: &Desk, join: &Join) -> Result<(), RefusedJoin> {
        if d.options.migration == MigrationPolicy::Disabled {
            return Err(ErrorCode::InconsistentGroupProtocol.into());
        }
        let roster = self.roster();
        let instance_id = join.instance_id.as_deref();
        let of_instance = instance_id.and_then(|instance_id| roster.instance(instance_id));
        let known = roster.member(&join.member_id);
        let known = known.or_else(|| roster.member(of_instance?));
        let is_new = known.is_none();
        if is_new && roster.len() >= d.options.consumer_size_max {
            let limit = "group.consumer.max.size";
            return Err(limited(ErrorCode::GroupMaxSizeReached, limit));
        }
        if is_new && roster.len() >= d.options.members_max {
            let limit = "rustka.groups.members.max";
            return Err(limited(ErrorCode::GroupMaxSizeReached, limit));
        }
        if !self.supports(join) {
            return Err(ErrorCode::InconsistentGroupProtocol.into());
        }
        let known_bytes = known.map(|known| match &known.classic {
            Some(classic) => protocols_weight(&classic.protocols),
            None => 0,
        });
        check_size(d, join, roster.bytes(), known_bytes)
    }

    /// Whether the members of the classic protocol, if there are any, have an assignor in common with this one.
    fn supports(&self, join: &Join) -> bool {
        let by_all = |name: &Name| {
            let members = self.roster().members();
            let mut classic = members.filter_map(|(_, member)| member.classic.as_ref());
            classic.all(|one| one.protocols.iter().any(|protocol| protocol.name == *name))
        };
        let mut names = join.protocols.iter().map(|protocol| &protocol.name);
        &*join.protocol_type == CONSUMER && names.any(by_all)
    }

    /// Decides a JoinGroup that `check_join` has passed, of a sender that has an id or need not have one.
    pub(in crate::group) fn join(
        &mut self,
        d: &mut Desk,
        mut join: Join,
    ) -> Result<Joined, ErrorCode> {
        let sender = self.identify_classic(&join)?;
        let mut seen = BTreeSet::new();
        join.protocols
            .retain(|protocol| seen.insert(protocol.name.clone()));
        let inconsistent = ErrorCode::InconsistentGroupProtocol;
        let first = join.protocols.first().ok_or(inconsistent)?;
        let subscription = Subscription::read(&first.metadata, d.topics).ok_or(inconsistent)?;
        let protocol_name = Some(first.name.clone());
        let falls_back = match &sender {
            Sender::Returns(old_id) => self.falls_back_by(d, old_id),
            Sender::Known | Sender::New => false,
        };
        let generation = self.roster().epoch();
        let mut draft = Draft::default();
        let member_id = match join.member_id.is_empty() {
            true => new_member_id(&join),
            false => join.member_id.clone(),
        };
        let client = (&join.client_id, &join.client_host);
        let id = self.enter(d, &mut draft, &sender, &member_id, client);
        let timeouts_ms = (join.session_timeout_ms, join.rebalance_timeout_ms.max(0));
        let interval_ms = join.assignment_interval_ms;
        let owned = subscription.owned.clone();
        let member = self.of_join(&id, join, subscription);
        let news = self.describe_member(&mut draft, &id, member);
        self.look_at_topics(d, &mut draft, &sender, news);
        let rebalances = falls_back && self.roster().epoch() > generation;
        if !falls_back {
            self.assign(d, &mut draft, interval_ms);
        }
        // Who has to rebalance at once need not know its share before.
        let led_to = (!rebalances).then(|| {
            self.lead_on(d, &mut draft, &id, Some(&*owned), news.wants_other)
                .epoch
        });
        if falls_back {
            self.fall_back(d, draft, &[], generation, rebalances);
        } else {
            self.commit(d, draft);
            self.touch(d, &id, timeouts_ms.0);
            self.forgive(d, &id, Task::Rejoin);
            self.await_task(d, &id, Task::Fetch, timeouts_ms.1);
            self.tell_state(d);
        }
        Ok(Joined {
            member_id: id,
            generation: led_to.unwrap_or(JOINS),
            protocol_type: Some(CONSUMER.into()),
            protocol_name,
            leader: Name::default(),
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    fn identify_classic(&self, join: &Join) -> Result<Sender, ErrorCode> {
        let roster = self.roster();
        let Some(instance_id) = &join.instance_id else {
            return Ok(match roster.member(&join.member_id) {
                Some(_) => Sender::Known,
                None => Sender::New,
            });
        };
        match roster.instance(instance_id) {
            Some(old_id) if join.member_id.is_empty() => Ok(Sender::Returns(old_id.clone())),
            Some(id) if *id == join.member_id => Ok(Sender::Known),
            Some(_) => Err(ErrorCode::FencedInstanceId),
            None if join.member_id.is_empty() => Ok(Sender::New),
            None => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// The member as this join describes it; what it does not say is as before.
    fn of_join(&self, id: &str, join: Join, subscription: Subscription) -> Member {
        let known = self.roster().member(id).cloned().unwrap_or_default();
        let classic = ClassicMember {
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
        };
        Member {
            instance_id: join.instance_id.or_else(|| known.instance_id.clone()),
            rack_id: subscription.rack_id.or_else(|| known.rack_id.clone()),
            client_id: join.client_id,
            client_host: join.client_host,
            topics: subscription.topics,
            expression: Name::default(),
            rebalance_timeout_ms: join.rebalance_timeout_ms.max(0),
            assignor: known.assignor.clone(),
            classic: Some(Arc::new(classic)),
        }
    }

    /// SyncGroup: the member's share, in the version of its own subscription.
    pub(in crate::group) fn sync(&mut self, d: &mut Desk, sync: Sync) -> Result<Synced, ErrorCode> {
        let (id, classic) = self.classic_member(&sync.member_id, sync.instance_id.as_deref())?;
        let current = self.in_generation(&id, sync.generation)?;
        let first = classic.protocols.first();
        let differs =
            |said: &Option<Name>, known: &str| said.as_deref().is_some_and(|said| said != known);
        if differs(&sync.protocol_type, CONSUMER)
            || differs(&sync.protocol_name, first.map_or("", |first| &*first.name))
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let is_behind = current.epoch < self.roster().target_epoch().epoch;
        if is_behind && current.state != MemberState::Unrevoked {
            self.await_rejoin(d, &id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.forgive(d, &id, Task::Fetch);
        self.touch(d, &id, classic.session_timeout_ms);
        let version = first.and_then(|first| embedded::version(&first.metadata));
        let places = current.assigned.iter().map(|held| held.place);
        Ok(Synced {
            protocol_type: sync.protocol_type,
            protocol_name: sync.protocol_name,
            assignment: embedded::share(places, d.topics, version.unwrap_or(0)),
        })
    }

    /// Heartbeat: whether the member is to join again, to hear of a new target, to say that it has given partitions up, or
    /// to get those that others have given up.
    pub(in crate::group) fn heartbeat_classic(
        &mut self,
        d: &mut Desk,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let (id, classic) = self.classic_member(member_id, instance_id)?;
        let current = self.in_generation(&id, generation)?;
        self.touch(d, &id, classic.session_timeout_ms);
        let roster = self.roster();
        let joins_again = current.epoch < roster.target_epoch().epoch
            || match current.state {
                MemberState::Unrevoked => true,
                MemberState::Unreleased => !roster.waits_for_others(&id),
                MemberState::Stable | MemberState::Unknown(_) => false,
            };
        if joins_again {
            self.await_rejoin(d, &id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// The member has to come by its rebalance timeout, which begins when it is told so first.
    fn await_rejoin(&mut self, d: &mut Desk, id: &Name) {
        if self.is_awaited(id, Task::Rejoin) {
            return;
        }
        let member = self.roster().member(id);
        let timeout_ms = member.map_or(0, |member| member.rebalance_timeout_ms);
        self.await_task(d, id, Task::Rejoin, timeout_ms);
    }

    /// LeaveGroup, which takes out members of both protocols.
    pub(in crate::group) fn leave_all(&mut self, d: &mut Desk, leavers: Vec<Leaver>) -> Vec<Left> {
        let mut gone = BTreeSet::new();
        let mut left = Vec::with_capacity(leavers.len());
        for leaver in leavers {
            let found = self.leaving(&leaver);
            let code = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
            gone.extend(found);
            left.push(Left {
                member_id: leaver.member_id,
                instance_id: leaver.instance_id,
                code,
            });
        }
        if !gone.is_empty() {
            let gone: Vec<Name> = gone.into_iter().collect();
            self.remove(d, &gone, Cause::Left);
        }
        left
    }

    fn leaving(&self, leaver: &Leaver) -> Result<Name, ErrorCode> {
        let roster = self.roster();
        let Some(instance_id) = &leaver.instance_id else {
            let is_member = roster.member(&leaver.member_id).is_some();
            let id = roster.name(&leaver.member_id).filter(|_| is_member);
            return id.cloned().ok_or(ErrorCode::UnknownMemberId);
        };
        // An administrator knows the instance id only.
        let id = roster.instance(instance_id);
        let id = id.ok_or(ErrorCode::UnknownMemberId)?;
        match leaver.member_id.is_empty() || *id == leaver.member_id {
            true => Ok(id.clone()),
            false => Err(ErrorCode::FencedInstanceId),
        }
    }

    /// The member of the classic protocol that this is.
    fn classic_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(Name, Arc<ClassicMember>), ErrorCode> {
        let roster = self.roster();
        if let Some(instance_id) = instance_id {
            let id = roster.instance(instance_id);
            if **id.ok_or(ErrorCode::UnknownMemberId)? != *member_id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        let member = roster.member(member_id);
        let classic = member.and_then(|member| member.classic.clone());
        let id = roster.name(member_id).cloned();
        id.zip(classic).ok_or(ErrorCode::UnknownMemberId)
    }

    fn in_generation(&self, id: &str, generation: i32) -> Result<Arc<Current>, ErrorCode> {
        let current = self.roster().current(id);
        let current = current.ok_or(ErrorCode::UnknownMemberId)?;
        match current.epoch == generation {
            true => Ok(current.clone()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }
}

/// An id as Kafka gives one to classic members of consumer groups: of chance alone.
pub(in crate::group) fn new_member_id(join: &Join) -> Name {
    Uuid(join.uuid).to_string().into()
}
