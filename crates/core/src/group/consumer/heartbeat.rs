//! ConsumerGroupHeartbeat of one group: members come, say what they want and what they hold, and go.
//! What speaks against one, and who sends it, is in `check`; what follows from what it says in `membership`.

mod beat;
mod check;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::convert::Opening;
use super::deadlines::Task;
use super::membership::JOINS;
use super::places::places;
use super::records::{ConsumerRecord, Current, Member};
use super::{Draft, Group};
use crate::error::Refusal;
use crate::group::command::Name;
use crate::group::desk::Desk;
use crate::group::effects::Cause;
use crate::time::Now;

pub use beat::{Beat, Beaten, Settings};
pub use check::check_lists;
pub(in crate::group) use check::{check, check_room};

/// The epoch of a member that leaves.
const LEAVES: i32 = -1;
/// The epoch of a static member that leaves and comes back.
const AWAY: i32 = -2;

/// A member that is not settled is heard again after this many milliseconds, in a group of up to as many members.
const SETTLING_INTERVAL_MS: i32 = 100;
/// For so long after its epoch has risen a group may well change again: others are starting too.
const SETTLING_MS: i64 = 1_000;

impl Group {
    /// Decides a heartbeat that `check` has passed; with what the group begins if it was a classic one until now.
    pub(in crate::group) fn heartbeat(
        &mut self,
        d: &mut Desk,
        beat: &Beat,
        opening: Option<Opening>,
    ) -> Result<Beaten, Refusal> {
        match beat.epoch {
            LEAVES => self.leave(d, beat),
            AWAY => self.go_away(d, beat),
            _ => self.live(d, beat, opening),
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

    fn live(
        &mut self,
        d: &mut Desk,
        beat: &Beat,
        opening: Option<Opening>,
    ) -> Result<Beaten, Refusal> {
        let mut draft = Draft::default();
        match opening {
            // There is room: whoever opened the group has looked.
            Some(opening) => self.open(d, &mut draft, opening),
            None => self.check_members(d, beat)?,
        }
        let sender = match self.identify(beat) {
            Ok(sender) => sender,
            Err(refusal) => {
                self.abandon(draft);
                return Err(refusal);
            }
        };
        let client = (&beat.client_id, &beat.client_host);
        let id = self.enter(d, &mut draft, &sender, &beat.member_id, client);
        let member = self.described(&id, beat);
        let news = self.describe_member(&mut draft, &id, member);
        self.look_at_topics(d, &mut draft, &sender, news);
        self.assign(d, &mut draft, beat.settings.assignment_interval_ms);
        let before = self.roster().current(&id).cloned();
        let owned = beat.owned.as_deref();
        let after = self.lead_on(d, &mut draft, &id, owned, news.wants_other);
        self.commit(d, draft);
        self.touch(d, &id, beat.settings.session_timeout_ms);
        // It may have been a member of the classic protocol, of which other things were awaited.
        self.forgive(d, &id, Task::Rejoin);
        self.forgive(d, &id, Task::Fetch);
        self.tell_state(d);
        let is_full = beat.rebalance_timeout_ms >= 0
            && (beat.topics.is_some() || beat.expression.is_some())
            && beat.owned.is_some();
        let had = before.map(|before| places(&before.assigned));
        let has = places(&after.assigned);
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
    pub(super) fn interval_ms(&self, now: Now, id: &str, settings: Settings) -> i32 {
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

    /// The member as this heartbeat describes it; what it does not say is as before.
    fn described(&self, id: &str, beat: &Beat) -> Member {
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
        Member {
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
        }
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
        self.forgive(d, &id, Task::Revoke);
        self.commit(d, draft);
        self.tell_state(d);
        Ok(gone(id, AWAY))
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
