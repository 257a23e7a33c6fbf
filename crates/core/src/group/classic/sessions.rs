//! By when a member has to be heard of again.

use super::Group;
use super::members::Member;
use crate::group::command::Name;
use crate::group::desk::Desk;
use crate::group::effects::Cause;
use crate::group::timers::Timer;

/// How long a new member's first join may take instead of its session.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 300_000;

impl Group {
    /// The member lives: its session starts anew.
    pub(super) fn touch(&mut self, d: &mut Desk, member_id: &str) {
        let Some(member) = self.members.session(member_id) else {
            return;
        };
        let deadline_ms = member.session_end_ms(d.now);
        set_deadline(d, &self.id, member, deadline_ms);
    }

    pub(super) fn await_first_join(&mut self, d: &mut Desk, member_id: &str) {
        if let Some(member) = self.members.session(member_id) {
            let deadline_ms = d
                .now
                .monotonic_ms
                .saturating_add(NEW_MEMBER_JOIN_TIMEOUT_MS);
            set_deadline(d, &self.id, member, deadline_ms);
        }
    }

    pub(in crate::group) fn session_timer(&mut self, d: &mut Desk, member_id: &str) {
        let Some(member) = self.members.session(member_id) else {
            return;
        };
        member.armed_ms = None;
        if member.deadline_ms > d.now.monotonic_ms {
            let deadline_ms = member.deadline_ms;
            set_deadline(d, &self.id, member, deadline_ms);
            return;
        }
        if member.is_excused() {
            return;
        }
        self.remove(d, member_id, Cause::SessionExpired);
        self.after_removal(d, Cause::SessionExpired);
    }
}

fn set_deadline(d: &mut Desk, group: &Name, member: &mut Member, deadline_ms: i64) {
    member.deadline_ms = deadline_ms;
    match member.armed_ms {
        Some(at_ms) if at_ms <= deadline_ms => return,
        Some(at_ms) => d
            .timers
            .disarm(at_ms, group, Timer::Session(member.id.clone())),
        None => {}
    }
    member.armed_ms = Some(deadline_ms);
    d.timers
        .arm(deadline_ms, group, Timer::Session(member.id.clone()));
}
