//! ConsumerGroupHeartbeat of one group: members come, say what they want and what they hold, and go.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::assignors::Assignor;
use super::places::{Place, Places};
use super::reconcile::Step;
use super::records::{ConsumerRecord, Current, Member, MemberState};
use super::{Draft, Group};
use crate::account::Share;
use crate::error::{ErrorCode, Refusal};
use crate::expression::Expression;
use crate::group::command::{NAME_BYTES_MAX, Name, TopicId};
use crate::group::desk::Desk;
use crate::group::effects::{Cause, Event};
use crate::group::options::{GroupOptions, MEMORY_LIMIT};
use crate::group::records::Record;
use crate::time::Now;

/// The epoch of a member that joins.
const JOINS: i32 = 0;
/// The epoch of a member that leaves.
const LEAVES: i32 = -1;
/// The epoch of a static member that leaves and comes back.
const AWAY: i32 = -2;

/// A member that is not settled is heard again after this many milliseconds, in a group of up to as many members.
const SETTLING_INTERVAL_MS: i32 = 100;
/// For so long after its epoch has risen a group may well change again: others are starting too.
const SETTLING_MS: i64 = 1_000;

/// What a new member takes at least, with its deadlines and its share.
const NEW_MEMBER_BYTES: usize = 2_000;

/// A ConsumerGroupHeartbeat request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The group.
    pub group: Name,
    /// The member; from v1 on its own choice.
    pub member_id: Name,
    /// 0 to join, -1 to leave, -2 to leave and come back.
    pub epoch: i32,
    /// Set by static members.
    pub instance_id: Option<Name>,
    /// Where it is.
    pub rack_id: Option<Name>,
    /// How long it may take to give partitions up; -1 as before.
    pub rebalance_timeout_ms: i32,
    /// The topics it wants; `None` as before.
    pub topics: Option<Vec<Name>>,
    /// The topics it wants by an expression, "" for none; `None` as before.
    pub expression: Option<Name>,
    /// The assignor it wishes for; `None` as before.
    pub assignor: Option<Name>,
    /// What it works on, in order; `None` as before.
    pub owned: Option<Places>,
    /// From the request header.
    pub client_id: Name,
    /// The client's address, as tools show it.
    pub client_host: Name,
    /// What is set for the group.
    pub settings: Settings,
}

/// What is set for a group, by itself or by the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a member may be silent.
    pub session_timeout_ms: i32,
    /// How often it should not be.
    pub heartbeat_interval_ms: i32,
    /// How long a target holds at least.
    pub assignment_interval_ms: i32,
    /// How often expressions are looked at again, whatever happens.
    pub refresh_interval_ms: i32,
    /// Whether members are heard more often until they have settled.
    pub hurries: bool,
}

/// A granted heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    /// The member.
    pub member_id: Name,
    /// Its epoch from now on.
    pub epoch: i32,
    /// When it should be heard again; 0 for a member that left.
    pub heartbeat_interval_ms: i32,
    /// What it may work on, in order; `None`: as before.
    pub assignment: Option<Places>,
    /// Expressions of the group that somebody has to look at now, on behalf of this member.
    pub unresolved: Vec<Name>,
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// What can be said against a request without knowing its group.
pub(in crate::group) fn check(beat: &Beat, options: &GroupOptions) -> Result<(), Refusal> {
    let is_blank = |text: &str| text.trim().is_empty();
    let is_set_blank = |text: &Option<Name>| text.as_deref().is_some_and(is_blank);
    if is_blank(&beat.group) {
        return Err(invalid("The group id is empty."));
    }
    // A member that goes away may be known by its instance alone; the group says whether it is.
    if is_blank(&beat.member_id) && beat.epoch != AWAY {
        return Err(invalid("The member id is empty."));
    }
    if is_set_blank(&beat.instance_id) {
        return Err(invalid("The instance id is empty."));
    }
    if is_set_blank(&beat.rack_id) {
        return Err(invalid("The rack id is empty."));
    }
    match beat.epoch {
        LEAVES => return Ok(()),
        AWAY if beat.instance_id.is_none() => {
            return Err(invalid(
                "Only a member with an instance id can leave for a while.",
            ));
        }
        AWAY => return Ok(()),
        ..AWAY => return Err(invalid("The member epoch is less than -2.")),
        JOINS if beat.rebalance_timeout_ms < 0 => {
            return Err(invalid("Who joins says its rebalance timeout."));
        }
        JOINS if beat.topics.is_none() && beat.expression.is_none() => {
            return Err(invalid("Who joins says which topics it wants."));
        }
        JOINS if beat.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return Err(invalid("Who joins holds no partitions, and says so."));
        }
        _ => {}
    }
    if let Some(expression) = beat.expression.as_deref().filter(|it| !it.is_empty()) {
        Expression::parse(expression)?;
    }
    if let Some(name) = &beat.assignor
        && Assignor::named(name).is_none()
    {
        let known = Assignor::ALL.map(Assignor::name).join(", ");
        let told: String = name.escape_debug().take(100).collect();
        let message = format!("There is no assignor \"{told}\"; this broker has {known}.");
        return Err(Refusal::new(ErrorCode::UnsupportedAssignor, message));
    }
    check_size(beat, options)
}

/// What does not fit into a record, or asks for more memory than one member may take.
fn check_size(beat: &Beat, options: &GroupOptions) -> Result<(), Refusal> {
    let topics = beat.topics.as_deref().unwrap_or_default();
    let texts = [&beat.group, &beat.member_id, &beat.client_id];
    let optional = [&beat.instance_id, &beat.rack_id, &beat.expression];
    let texts = texts.into_iter().chain(optional.into_iter().flatten());
    if texts.chain(topics).any(|text| text.len() > NAME_BYTES_MAX) {
        return Err(invalid("A name is too long to be kept."));
    }
    let bytes: usize = topics
        .iter()
        .map(|topic| topic.len() + size_of::<Name>())
        .sum();
    if bytes > options.member_metadata_bytes_max {
        let message = "The subscription is longer than rustka.groups.member.metadata.bytes.max.";
        return Err(invalid(message));
    }
    Ok(())
}

/// Who sends a heartbeat.
enum Sender {
    /// A member.
    Known,
    /// Nobody yet.
    New,
    /// A static member that was away comes back; this was its id.
    Returns(Name),
}

impl Group {
    /// Decides a heartbeat that `check` has passed.
    pub(in crate::group) fn heartbeat(
        &mut self,
        d: &mut Desk,
        beat: &Beat,
    ) -> Result<Beaten, Refusal> {
        match beat.epoch {
            LEAVES => self.leave(d, beat),
            AWAY => self.go_away(d, beat),
            _ => self.live(d, beat),
        }
    }

    /// The short way of a heartbeat that changes nothing but when its member is given up, as nearly all do.
    pub(in crate::group) fn beat(
        &mut self,
        now: Now,
        (member_id, epoch): (&str, i32),
        client: (&str, &str),
        settings: Settings,
        version: u64,
    ) -> Option<Beaten> {
        let roster = self.durable.consumer();
        let is_at_rest = self.durable.is_settled()
            && self.seen_version == Some(version)
            && roster.epoch() == roster.target_epoch().epoch
            && epoch == roster.epoch();
        if !is_at_rest || !roster.is_settled(member_id) || roster.current(member_id)?.epoch != epoch
        {
            return None;
        }
        if roster.used_expressions().next().is_some()
            && !self
                .resolving
                .is_at_rest(now, settings.refresh_interval_ms.into())
        {
            return None;
        }
        let member = roster.member(member_id)?;
        if (&*member.client_id, &*member.client_host) != client || member.classic.is_some() {
            return None;
        }
        let interval_ms = self.interval_ms(now, member_id, settings);
        let end_ms = now
            .monotonic_ms
            .saturating_add(settings.session_timeout_ms.into());
        let name = self.durable.consumer().name(member_id)?.clone();
        let deadlines = self.deadlines.get_mut(member_id)?;
        // A timer may fire early, never late.
        if deadlines.armed_ms.is_none_or(|at_ms| at_ms > end_ms) {
            return None;
        }
        deadlines.session_ms = end_ms;
        Some(Beaten {
            member_id: name,
            epoch,
            heartbeat_interval_ms: interval_ms,
            assignment: None,
            unresolved: Vec::new(),
        })
    }

    fn live(&mut self, d: &mut Desk, beat: &Beat) -> Result<Beaten, Refusal> {
        self.check_room(d, beat)?;
        let sender = self.identify(beat)?;
        let mut draft = Draft::default();
        if self.durable.metadata.is_some() {
            // The classic group that it was ends with the first member of this kind.
            let group = self.id.clone();
            self.put_record(&mut draft, Record::Group { group, value: None });
        }
        let is_new = matches!(sender, Sender::New);
        if let Sender::Returns(old_id) = sender {
            self.replace(d, &mut draft, &old_id, &beat.member_id);
        }
        let id = match self.roster().name(&beat.member_id) {
            Some(name) => name.clone(),
            None => beat.member_id.clone(),
        };
        if is_new {
            let group = &self.id;
            d.event(|| Event::MemberJoins {
                group: group.clone(),
                member: id.clone(),
                client_id: beat.client_id.clone(),
                client_host: beat.client_host.clone(),
            });
        }
        let (wants_other, is_changed) = self.describe_itself(&mut draft, &id, beat);
        self.look_at_topics(
            d,
            &mut draft,
            is_changed.then_some(match is_new {
                true => Cause::Joined,
                false => Cause::SubscriptionChanged,
            }),
        );
        self.assign(d, &mut draft, beat.settings.assignment_interval_ms);
        let before = self.roster().current(&id).cloned();
        let after = self.lead_on(
            d,
            &mut draft,
            &id,
            before.as_deref(),
            beat.owned.as_deref(),
            wants_other,
        );
        self.commit(d, draft);
        self.touch(d, &id, beat.settings.session_timeout_ms);
        self.tell_state(d);
        let is_full = beat.rebalance_timeout_ms >= 0
            && (beat.topics.is_some() || beat.expression.is_some())
            && beat.owned.is_some();
        let assigned = |current: &Current| -> Places {
            current.assigned.iter().map(|held| held.place).collect()
        };
        let (had, has) = (before.as_deref().map(assigned), assigned(&after));
        let unresolved = self.expressions_due(d);
        let is_told = beat.epoch == JOINS || is_full || had.unwrap_or_default() != has;
        Ok(Beaten {
            epoch: after.epoch,
            heartbeat_interval_ms: self.interval_ms(d.now, &id, beat.settings),
            assignment: is_told.then_some(has),
            unresolved,
            member_id: id,
        })
    }

    /// When the member should be heard again.
    fn interval_ms(&self, now: Now, id: &str, settings: Settings) -> i32 {
        let roster = self.durable.consumer();
        let changes = self
            .raised_ms
            .is_some_and(|at_ms| now.monotonic_ms.saturating_sub(at_ms) < SETTLING_MS);
        let is_at_rest = roster.is_settled(id) && !changes && !self.resolving.is_running();
        if !settings.hurries || is_at_rest {
            return settings.heartbeat_interval_ms;
        }
        let members = i32::try_from(roster.len()).unwrap_or(i32::MAX);
        let beyond = members.saturating_sub(SETTLING_INTERVAL_MS).max(0);
        let often_ms = SETTLING_INTERVAL_MS.saturating_add(beyond);
        often_ms.min(settings.heartbeat_interval_ms)
    }

    fn check_room(&self, d: &mut Desk, beat: &Beat) -> Result<(), Refusal> {
        let roster = self.roster();
        if roster.member(&beat.member_id).is_some() {
            return Ok(());
        }
        let size_max = d.options.consumer_size_max.min(d.options.members_max);
        if roster.len() >= size_max {
            return Err(Refusal::new(
                ErrorCode::GroupMaxSizeReached,
                format!("The group has {size_max} members, which is as many as it may have."),
            ));
        }
        let topics = beat.topics.as_deref().unwrap_or_default();
        let bytes: usize = topics.iter().map(|topic| topic.len()).sum();
        if d.account
            .check(Share::Groups, bytes + NEW_MEMBER_BYTES)
            .is_err()
        {
            d.warn(Event::Refused {
                group: self.id.clone(),
                client_host: beat.client_host.clone(),
                code: ErrorCode::CoordinatorLoadInProgress,
                limit: MEMORY_LIMIT,
            });
            return Err(ErrorCode::CoordinatorLoadInProgress.into());
        }
        Ok(())
    }

    fn identify(&self, beat: &Beat) -> Result<Sender, Refusal> {
        let roster = self.roster();
        let is_member = roster.member(&beat.member_id).is_some();
        let of_instance = match &beat.instance_id {
            None => None,
            Some(instance_id) => match roster.instance(instance_id) {
                Some(id) => Some(id.clone()),
                None if beat.epoch == JOINS => None,
                None => return Err(self.unknown_instance(instance_id)),
            },
        };
        match of_instance {
            Some(id) if beat.epoch == JOINS && self.is_away(&id) => Ok(Sender::Returns(id)),
            Some(id) if *id != *beat.member_id => Err(match beat.epoch {
                JOINS => Refusal::new(
                    ErrorCode::UnreleasedInstanceId,
                    "Another member uses this instance id and has not left.",
                ),
                _ => fenced_instance(),
            }),
            _ if beat.epoch == JOINS && is_member => Ok(Sender::Known),
            _ if beat.epoch == JOINS => Ok(Sender::New),
            _ if !is_member => Err(self.unknown_member(&beat.member_id)),
            _ => self.check_epoch(beat).map(|()| Sender::Known),
        }
    }

    fn is_away(&self, id: &str) -> bool {
        let current = self.roster().current(id);
        current.is_some_and(|current| current.epoch == AWAY)
    }

    pub(super) fn unknown_member(&self, member_id: &str) -> Refusal {
        let member_id: String = member_id.escape_debug().take(100).collect();
        let message = format!("The group has no member {member_id}.");
        Refusal::new(ErrorCode::UnknownMemberId, message)
    }

    fn unknown_instance(&self, instance_id: &str) -> Refusal {
        let instance_id: String = instance_id.escape_debug().take(100).collect();
        let message = format!("The group has no member with the instance id {instance_id}.");
        Refusal::new(ErrorCode::UnknownMemberId, message)
    }

    /// Whether the member knows its epoch. One whose last answer was lost goes on from the epoch before, if it holds
    /// nothing that it has not been given.
    fn check_epoch(&self, beat: &Beat) -> Result<(), Refusal> {
        let Some(current) = self.roster().current(&beat.member_id) else {
            return Err(self.unknown_member(&beat.member_id));
        };
        let is_covered = || {
            let assigned = &current.assigned;
            let is_assigned = |place: &Place| super::places::holds(assigned, *place);
            beat.owned
                .as_deref()
                .is_some_and(|owned| owned.iter().all(is_assigned))
        };
        if beat.epoch == current.epoch
            || beat.epoch == current.previous_epoch && beat.epoch < current.epoch && is_covered()
        {
            return Ok(());
        }
        let than = match beat.epoch > current.epoch {
            true => "greater",
            false => "smaller",
        };
        let (told, known) = (beat.epoch, current.epoch);
        let message = format!(
            "The member says epoch {told}, which is {than} than its epoch here, {known}. It has to give up all \
             partitions and join again."
        );
        Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
    }

    /// Takes over what the member says about itself. Whether it wants something else than before, and whether a new
    /// target is due for it.
    fn describe_itself(&mut self, draft: &mut Draft, id: &Name, beat: &Beat) -> (bool, bool) {
        let known = self.roster().member(id).cloned().unwrap_or_default();
        let topics = match &beat.topics {
            None => known.topics.clone(),
            Some(topics) => {
                let names: BTreeSet<&Name> = topics.iter().collect();
                names.into_iter().cloned().collect()
            }
        };
        let or_known = |said: &Option<Name>, known: &Option<Name>| match said {
            Some(said) => Some(said.clone()),
            None => known.clone(),
        };
        let member = Member {
            instance_id: or_known(&beat.instance_id, &known.instance_id),
            rack_id: or_known(&beat.rack_id, &known.rack_id),
            client_id: beat.client_id.clone(),
            client_host: beat.client_host.clone(),
            topics,
            expression: beat
                .expression
                .clone()
                .unwrap_or_else(|| known.expression.clone()),
            rebalance_timeout_ms: match beat.rebalance_timeout_ms {
                ..0 => known.rebalance_timeout_ms,
                said => said,
            },
            assignor: or_known(&beat.assignor, &known.assignor),
            classic: None,
        };
        if self.roster().member(id).is_some() && member == *known {
            return (false, false);
        }
        let wants_other = member.topics != known.topics || member.expression != known.expression;
        // What an expression matches is not known at once, unless another member has asked for it.
        let roster = self.roster();
        let is_known =
            member.expression.is_empty() || roster.expressions.contains_key(&member.expression);
        let is_changed = member.topics != known.topics
            || member.expression != known.expression && is_known
            || member.assignor != known.assignor;
        let old_expression = known.expression.clone();
        let value = Some(Arc::new(member));
        self.put(draft, ConsumerRecord::Member(id.clone(), value));
        self.forget_unused(draft, &old_expression);
        (wants_other, is_changed)
    }

    /// Raises the epoch if the member wants something else, or if topics that the group wants have changed.
    fn look_at_topics(&mut self, d: &mut Desk, draft: &mut Draft, cause: Option<Cause>) {
        let is_news = self.seen_version != Some(d.topics.version);
        let cause = match cause {
            Some(cause) => Some(cause),
            None if is_news => {
                let is_other = self.metadata_hash(d.topics) != self.roster().metadata_hash();
                is_other.then_some(Cause::TopicsChanged)
            }
            None => None,
        };
        self.seen_version = Some(d.topics.version);
        if let Some(cause) = cause {
            self.raise_epoch(d, draft, cause);
        }
    }

    /// One step of a member towards what it shall have.
    fn lead_on(
        &mut self,
        d: &mut Desk,
        draft: &mut Draft,
        id: &Name,
        before: Option<&Current>,
        owned: Option<&[Place]>,
        wants_other: bool,
    ) -> Arc<Current> {
        let joins = Current {
            epoch: JOINS,
            previous_epoch: JOINS,
            state: MemberState::Stable,
            assigned: Box::default(),
            revoking: Box::default(),
        };
        let now = before.unwrap_or(&joins);
        let roster = self.roster();
        let wanted: BTreeSet<TopicId> = roster
            .wanted_by(id)
            .filter_map(|name| d.topics.get(name).map(|topic| topic.id))
            .collect();
        let wants = |place: Place| wanted.contains(&place.topic);
        let step = Step {
            target_epoch: roster.target_epoch().epoch,
            target: roster.target(id),
            owned,
            wants: &wants,
            is_taken: &|place| roster.owner(place).is_some(),
            wants_nothing: wanted.is_empty(),
            drops_unwanted: wants_other || now.assigned.iter().any(|held| !wants(held.place)),
        };
        let after = Arc::new(step.of(now));
        if before == Some(&*after) {
            return after;
        }
        let rebalance_timeout_ms = match roster.member(id) {
            Some(member) => i64::from(member.rebalance_timeout_ms),
            None => 0,
        };
        self.put(
            draft,
            ConsumerRecord::Current(id.clone(), Some(after.clone())),
        );
        let until_ms = d.now.monotonic_ms.saturating_add(rebalance_timeout_ms);
        let has_to_revoke = after.state == MemberState::Unrevoked;
        self.await_revocation(d, id, has_to_revoke.then_some(until_ms));
        after
    }

    fn leave(&mut self, d: &mut Desk, beat: &Beat) -> Result<Beaten, Refusal> {
        let id = self.leaver(beat)?;
        self.remove(d, std::slice::from_ref(&id), Cause::Left);
        Ok(gone(id, LEAVES))
    }

    /// A static member leaves for a while: it keeps what it has until its session ends.
    fn go_away(&mut self, d: &mut Desk, beat: &Beat) -> Result<Beaten, Refusal> {
        let id = self.leaver(beat)?;
        let mut draft = Draft::default();
        if let Some(current) = self.roster().current(&id) {
            let away = Arc::new(away(current));
            self.put(&mut draft, ConsumerRecord::Current(id.clone(), Some(away)));
        }
        self.await_revocation(d, &id, None);
        self.commit(d, draft);
        self.tell_state(d);
        Ok(gone(id, AWAY))
    }

    fn leaver(&self, beat: &Beat) -> Result<Name, Refusal> {
        let roster = self.roster();
        if let Some(instance_id) = &beat.instance_id {
            let id = roster.instance(instance_id);
            let id = id.ok_or_else(|| self.unknown_instance(instance_id))?;
            return match **id == *beat.member_id {
                true => Ok(id.clone()),
                false => Err(fenced_instance()),
            };
        }
        let is_member = roster.member(&beat.member_id).is_some();
        let id = roster.name(&beat.member_id).filter(|_| is_member);
        id.cloned()
            .ok_or_else(|| self.unknown_member(&beat.member_id))
    }

    /// A static member came back under its instance id: the new member id takes the old one's place.
    fn replace(&mut self, d: &mut Desk, draft: &mut Draft, old_id: &Name, new_id: &Name) {
        let roster = self.roster();
        let member = roster.member(old_id).cloned();
        let target = Arc::new(Places::from(roster.target(old_id)));
        let current = roster.current(old_id).map(|current| {
            Arc::new(Current {
                epoch: JOINS,
                previous_epoch: JOINS,
                ..(**current).clone()
            })
        });
        self.forget_deadlines(d, old_id);
        self.put(draft, ConsumerRecord::Current(old_id.clone(), None));
        self.put(draft, ConsumerRecord::Target(old_id.clone(), None));
        self.put(draft, ConsumerRecord::Member(old_id.clone(), None));
        self.put(draft, ConsumerRecord::Member(new_id.clone(), member));
        self.put(draft, ConsumerRecord::Target(new_id.clone(), Some(target)));
        self.put(draft, ConsumerRecord::Current(new_id.clone(), current));
    }
}

/// A member that is away, with what it keeps.
fn away(current: &Current) -> Current {
    let mut assigned = current.assigned.clone();
    for held in &mut assigned {
        held.since_epoch = 0;
    }
    Current {
        epoch: AWAY,
        previous_epoch: current.previous_epoch,
        state: current.state,
        assigned,
        revoking: Box::default(),
    }
}

fn gone(member_id: Name, epoch: i32) -> Beaten {
    Beaten {
        member_id,
        epoch,
        heartbeat_interval_ms: 0,
        assignment: None,
        unresolved: Vec::new(),
    }
}

fn fenced_instance() -> Refusal {
    let message = "Another member has taken over this instance id.";
    Refusal::new(ErrorCode::FencedInstanceId, message)
}
