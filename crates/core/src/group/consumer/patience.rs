//! Answers that are held back for moments. A member that waits for what another is giving up hears of it as soon as it is
//! free, instead of a heartbeat later. What it is answered is what the same heartbeat would be, sent at that moment.
//! Only where members are heard more often until they have settled; that is `heartbeat`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::heartbeat::{Beat, Beaten, Settings};
use super::places::places;
use super::records::{Current, MemberState};
use super::{Draft, Group};
use crate::error::{ErrorCode, Refusal};
use crate::group::command::Name;
use crate::group::desk::Desk;
use crate::group::effects::Reply;
use crate::group::timers::Timer;
use crate::machine::Ticket;

/// After so long a member that waits is answered that there is nothing yet: clients send what else they have behind their
/// heartbeats, and that should not wait.
const PATIENCE_MS: i64 = 20;
/// In larger groups everybody is answered at once. While one has not asked yet, others have given up what it waits for.
const MEMBERS_MAX: usize = 100;
/// What one takes, with its timer and its place among the parked requests.
pub(super) const WAITER_BYTES: usize = 300;

/// Heartbeats that are not answered yet, by their members.
pub(super) type Waiters = BTreeMap<Name, Waiter>;

/// A heartbeat that is not answered yet.
#[derive(Debug)]
pub(super) struct Waiter {
    ticket: Ticket,
    until_ms: i64,
    settings: Settings,
    /// Whether it said everything, and so is told everything.
    is_full: bool,
    /// Where the member stood then.
    stood: Arc<Current>,
}

impl Group {
    /// Whether this answer has no news for a member that waits for some, which may come in a moment.
    pub(in crate::group) fn may_wait(&self, beat: &Beat, beaten: &Beaten) -> bool {
        let roster = self.roster();
        let is_known = match &beaten.assignment {
            None => true,
            told => *told == beat.owned,
        };
        let current = roster.current(&beaten.member_id);
        let waits = current.is_some_and(|current| current.state == MemberState::Unreleased);
        beat.settings.hurries
            && waits
            && is_known
            && beat.epoch == beaten.epoch
            && beaten.unresolved.is_empty()
            && roster.len() <= MEMBERS_MAX
    }

    /// Keeps the answer until there is news, for moments at most.
    pub(in crate::group) fn hold(
        &mut self,
        d: &mut Desk,
        ticket: Ticket,
        beat: &Beat,
        beaten: Beaten,
    ) {
        let until_ms = d.now.monotonic_ms.saturating_add(PATIENCE_MS);
        let id = &beaten.member_id;
        let Some(stood) = self.roster().current(id).cloned() else {
            return d.reply(ticket, &self.id, Reply::ConsumerBeat(Ok(beaten)));
        };
        let waiter = Waiter {
            ticket,
            until_ms,
            settings: beat.settings,
            is_full: beaten.assignment.is_some(),
            stood,
        };
        d.timers
            .arm(until_ms, &self.id, Timer::Patience(id.clone()));
        d.parked.insert(ticket, (self.id.clone(), id.clone()));
        self.waiters.insert(beaten.member_id, waiter);
    }

    /// The member is heard of in another way: what it has asked before is answered first.
    pub(in crate::group) fn answer_before(&mut self, d: &mut Desk, member_id: &str) {
        if let Some((id, waiter)) = self.waiters.remove_entry(member_id) {
            self.answer_waiter(d, &id, waiter);
        }
    }

    /// Answers whoever waits for what is free by now. To be called whenever that may have changed.
    pub(in crate::group) fn answer_waiters(&mut self, d: &mut Desk) {
        if self.waiters.is_empty() {
            return;
        }
        let ids: Vec<Name> = self.waiters.keys().cloned().collect();
        for id in ids {
            let has_news = self.go_on(d, &id);
            let waiter = has_news.then(|| self.waiters.remove(&id)).flatten();
            if let Some(waiter) = waiter {
                self.answer_waiter(d, &id, waiter);
            }
        }
    }

    /// The step that a heartbeat of this member would cause now; whether there was one, or it is no member any more.
    fn go_on(&mut self, d: &mut Desk, id: &Name) -> bool {
        let Some(before) = self.roster().current(id).cloned() else {
            return true;
        };
        let interval_ms = self
            .waiters
            .get(id)
            .map_or(0, |waiter| waiter.settings.assignment_interval_ms);
        let mut draft = Draft::default();
        self.assign(d, &mut draft, interval_ms);
        let after = self.lead_on(d, &mut draft, id, None, false);
        self.commit(d, draft);
        self.tell_state(d);
        after != before
    }

    fn answer_waiter(&self, d: &mut Desk, id: &Name, waiter: Waiter) {
        let timer = Timer::Patience(id.clone());
        d.timers.disarm(waiter.until_ms, &self.id, timer);
        d.parked.remove(&waiter.ticket);
        let has_other =
            |current: &Current| places(&current.assigned) != places(&waiter.stood.assigned);
        let result = match self.roster().current(id) {
            None => Err(self.unknown_member(id)),
            Some(current) => Ok(Beaten {
                member_id: id.clone(),
                epoch: current.epoch,
                heartbeat_interval_ms: self.interval_ms(d.now, id, waiter.settings),
                assignment: (waiter.is_full || has_other(current))
                    .then(|| places(&current.assigned)),
                unresolved: Vec::new(),
            }),
        };
        d.reply(waiter.ticket, &self.id, Reply::ConsumerBeat(result));
    }

    /// Nothing has come of it in time.
    pub(in crate::group) fn patience_timer(&mut self, d: &mut Desk, id: &Name) {
        let now_ms = d.now.monotonic_ms;
        let is_due = |waiter: &Waiter| waiter.until_ms <= now_ms;
        if self.waiters.get(id).is_some_and(is_due)
            && let Some(waiter) = self.waiters.remove(id)
        {
            self.answer_waiter(d, id, waiter);
        }
    }

    /// Sends everybody away who waits.
    pub(super) fn refuse_waiters(&mut self, d: &mut Desk, code: ErrorCode) {
        for (id, waiter) in std::mem::take(&mut self.waiters) {
            let timer = Timer::Patience(id);
            d.timers.disarm(waiter.until_ms, &self.id, timer);
            d.parked.remove(&waiter.ticket);
            let refused = Err(Refusal::from(code));
            d.reply(waiter.ticket, &self.id, Reply::ConsumerBeat(refused));
        }
    }

    /// Whoever waits for this answer has hung up. Its timer finds nobody.
    pub(in crate::group) fn disconnect(&mut self, member_id: &str, ticket: Ticket) {
        let waiter = self.waiters.get(member_id);
        if waiter.is_some_and(|waiter| waiter.ticket == ticket) {
            self.waiters.remove(member_id);
        }
    }
}
