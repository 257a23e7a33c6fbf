//! Whether a heartbeat may be followed: what can be said against it, and who sends it.

use std::borrow::Cow;

use super::{AWAY, Beat, JOINS, LEAVES};
use crate::account::Share;
use crate::error::{ErrorCode, Refusal};
use crate::expression::Expression;
use crate::group::command::{NAME_BYTES_MAX, Name};
use crate::group::consumer::Group;
use crate::group::consumer::assignors::Assignor;
use crate::group::consumer::membership::Sender;
use crate::group::consumer::places::{Place, holds};
use crate::group::desk::Desk;
use crate::group::effects::Event;
use crate::group::options::{GroupOptions, MEMORY_LIMIT};

/// What a new member takes at least, with its deadlines and its share.
const NEW_MEMBER_BYTES: usize = 2_000;

/// Different regular expressions that the members of one group may use: each is matched against every topic, and remembers
/// what it has matched.
const EXPRESSIONS_MAX: usize = 50;
/// Partitions that a member may say it works on, and topics that it may ask for. Looking through more would hold others up.
const LISTED_MAX: usize = 100_000;

/// Whether lists of so many topics and partitions may be looked at; to be asked before they are copied.
pub fn check_lists(topics: usize, partitions: usize) -> Result<(), Refusal> {
    if topics.max(partitions) > LISTED_MAX {
        return Err(invalid(
            "A member may not name more than 100,000 topics or partitions.",
        ));
    }
    Ok(())
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

/// Whether a group of so many members has room for one more.
pub(in crate::group) fn check_room(
    d: &mut Desk,
    group: &Name,
    beat: &Beat,
    members: usize,
) -> Result<(), Refusal> {
    let size_max = d.options.consumer_size_max.min(d.options.members_max);
    if members >= size_max {
        return Err(Refusal::new(
            ErrorCode::GroupMaxSizeReached,
            format!("The group has {size_max} members, which is as many as it may have."),
        ));
    }
    let topics = beat.topics.as_deref().unwrap_or_default();
    check_memory(d, group, beat, topics_bytes(topics) + NEW_MEMBER_BYTES)
}

fn topics_bytes(topics: &[Name]) -> usize {
    topics.iter().map(|topic| topic.len()).sum()
}

/// Whether groups may take so many bytes more.
fn check_memory(d: &mut Desk, group: &Name, beat: &Beat, more: usize) -> Result<(), Refusal> {
    if d.account.check(Share::Groups, more).is_err() {
        d.warn(Event::Refused {
            group: group.clone(),
            client_host: beat.client_host.clone(),
            code: ErrorCode::CoordinatorLoadInProgress,
            limit: MEMORY_LIMIT,
        });
        return Err(ErrorCode::CoordinatorLoadInProgress.into());
    }
    Ok(())
}

impl Group {
    pub(super) fn check_members(&self, d: &mut Desk, beat: &Beat) -> Result<(), Refusal> {
        let roster = self.roster();
        let instance_id = beat.instance_id.as_deref();
        let of_instance = instance_id.and_then(|instance_id| roster.instance(instance_id));
        let known = roster.member(&beat.member_id);
        let known = known.or_else(|| roster.member(of_instance?));
        self.check_expressions(beat, known.map(|known| &known.expression))?;
        let topics = beat.topics.as_deref().unwrap_or_default();
        let said_bytes = topics_bytes(topics);
        let known_bytes = known.map_or(0, |known| topics_bytes(&known.topics));
        let more = said_bytes.saturating_sub(known_bytes);
        if more > 0 && roster.bytes().saturating_add(more) > d.options.group_bytes_max {
            return Err(Refusal::new(
                ErrorCode::GroupMaxSizeReached,
                "The group takes as much memory as rustka.groups.bytes.max allows.",
            ));
        }
        match known {
            Some(_) if more == 0 => Ok(()),
            Some(_) => check_memory(d, &self.id, beat, more),
            None => check_room(d, &self.id, beat, roster.len()),
        }
    }

    /// Whether the group may have one more expression; what its sender has used so far gives way.
    fn check_expressions(&self, beat: &Beat, known: Option<&Name>) -> Result<(), Refusal> {
        let roster = self.roster();
        let said = beat.expression.as_deref().filter(|it| !it.is_empty());
        if said.is_none_or(|said| roster.expression_users(said) > 0) {
            return Ok(());
        }
        let gives_way = known.is_some_and(|known| roster.expression_users(known) == 1);
        let others = roster.used_expressions().count() - usize::from(gives_way);
        if others >= EXPRESSIONS_MAX {
            return Err(invalid(
                "The group's members use 50 different regular expressions, which is as many as they may.",
            ));
        }
        Ok(())
    }

    pub(super) fn identify(&self, beat: &Beat) -> Result<Sender, Refusal> {
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
            Some(id) if beat.epoch == JOINS && (self.is_away(&id) || roster.is_classic(&id)) => {
                Ok(Sender::Returns(id))
            }
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

    pub(in crate::group::consumer) fn unknown_member(&self, member_id: &str) -> Refusal {
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
            let is_assigned = |place: &Place| holds(assigned, *place);
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

    pub(super) fn leaver(&self, beat: &Beat) -> Result<Name, Refusal> {
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
}

fn fenced_instance() -> Refusal {
    let message = "Another member has taken over this instance id.";
    Refusal::new(ErrorCode::FencedInstanceId, message)
}
