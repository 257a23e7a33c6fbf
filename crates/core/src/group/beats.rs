//! Heartbeats, which are most of what a shard is asked: of classic groups and of consumer groups, and the short ways for
//! those that change nothing.

use std::collections::BTreeMap;

use super::command::Name;
use super::consumer::{Beat, Beaten, Settings};
use super::desk::Desk;
use super::effects::{Effects, Event, Reply};
use super::kinds::Group;
use super::requests::{no_consumer_group, no_group};
use super::room::make_room_for_group;
use super::{GroupShard, desk, existing};
use crate::error::{ErrorCode, Refusal};
use crate::machine::Ticket;
use crate::time::Now;

impl GroupShard {
    /// Heartbeat without owned strings: member id, instance id, generation.
    pub fn heartbeat(
        &mut self,
        now: Now,
        ticket: Ticket,
        group: &str,
        member: (&str, Option<&str>, i32),
        out: &mut Effects,
    ) {
        let (mut d, groups) = desk(self, now, out);
        let (member_id, instance_id, generation) = member;
        match groups.get_mut(group).map(|group| &mut **group) {
            _ if group.is_empty() => {
                d.reply_at_once(ticket, Reply::Heartbeat(ErrorCode::InvalidGroupId));
            }
            Some(Group::Classic(group)) => {
                let code = group.heartbeat(&mut d, member_id, instance_id, generation);
                d.reply(ticket, &group.id, Reply::Heartbeat(code));
            }
            Some(Group::Consumer(group)) => {
                let result = group.heartbeat_classic(&mut d, member_id, instance_id, generation);
                let code = result.err().unwrap_or(ErrorCode::None);
                d.reply(ticket, &group.id, Reply::Heartbeat(code));
            }
            None => d.reply_at_once(ticket, Reply::Heartbeat(ErrorCode::UnknownMemberId)),
        }
    }

    /// The short way for a heartbeat that changes nothing but when its member is given up, as nearly all do: its answer,
    /// which may leave at once. `None` where `heartbeat` has to decide: for a refusal, for a timer that has to move,
    /// and while an answer may rest on a record whose fate is open.
    pub fn beat(
        &mut self,
        now: Now,
        group: &str,
        member: (&str, Option<&str>, i32),
    ) -> Option<ErrorCode> {
        let (member_id, instance_id, generation) = member;
        if instance_id.is_some() {
            return None;
        }
        match &mut **self.groups.get_mut(group)? {
            Group::Classic(group) => group.beat(now, member_id, generation),
            Group::Consumer(_) => None,
        }
    }

    /// The same for a heartbeat of a consumer group that says nothing but who it is from: its client's id and address,
    /// what is set for the group, and the version of the topics that there are now.
    pub fn consumer_beat(
        &mut self,
        now: Now,
        group: &str,
        member: (&str, i32),
        client: (&str, &str),
        settings: Settings,
        version: u64,
    ) -> Option<Beaten> {
        match &mut **self.groups.get_mut(group)? {
            Group::Consumer(group) => group.beat(now, member, client, settings, version),
            Group::Classic(_) => None,
        }
    }

    pub(super) fn beat_consumer(
        &mut self,
        now: Now,
        ticket: Ticket,
        beat: &Beat,
        out: &mut Effects,
    ) {
        let (mut d, groups) = desk(self, now, out);
        if let Some(Group::Consumer(group)) = existing(groups, &beat.group) {
            group.answer_before(&mut d, &beat.member_id);
        }
        let result = decide_beat(&mut d, groups, beat);
        match (result, existing(groups, &beat.group)) {
            (Ok(beaten), Some(Group::Consumer(group))) if group.may_wait(beat, &beaten) => {
                group.hold(&mut d, ticket, beat, beaten);
            }
            (result, _) => d.reply(ticket, &beat.group, Reply::ConsumerBeat(result)),
        }
        self.drop_if_gone(&beat.group);
        self.arm_offsets(now);
    }
}

/// A heartbeat of a group that may be none yet, or may be one of another kind.
fn decide_beat(
    d: &mut Desk,
    groups: &mut BTreeMap<Name, Box<Group>>,
    beat: &Beat,
) -> Result<Beaten, Refusal> {
    let id = &beat.group;
    match existing(groups, id) {
        Some(group) => {
            if beat.epoch != 0 && matches!(group, Group::Classic(_)) {
                return Err(no_consumer_group(id));
            }
            return beat_group(d, group, beat);
        }
        None if beat.epoch != 0 => return Err(no_group(id)),
        None => {}
    }
    if let Err(limit) = make_room_for_group(d, groups, 0) {
        let code = ErrorCode::CoordinatorLoadInProgress;
        d.warn(Event::Refused {
            group: id.clone(),
            client_host: beat.client_host.clone(),
            code,
            limit,
        });
        return Err(code.into());
    }
    // A deleted group may still be waiting for its tombstone: then it lives again.
    let wall_ms = d.now.wall_ms;
    let group = groups
        .entry(id.clone())
        .or_insert_with(|| Box::new(Group::new(id.clone(), wall_ms, d.account)));
    beat_group(d, group, beat)
}

fn beat_group(d: &mut Desk, group: &mut Group, beat: &Beat) -> Result<Beaten, Refusal> {
    let (consumer, opening) = group.as_consumer(d, beat)?;
    let result = consumer.heartbeat(d, beat, opening);
    group.succeed(d);
    result
}
