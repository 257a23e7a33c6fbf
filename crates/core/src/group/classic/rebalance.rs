//! The rebalance of a classic group: the join phase, the next generation, and the sync phase.

use crate::error::ErrorCode;

use super::Group;
use super::protocols;
use super::state::State;
use crate::group::command::Name;
use crate::group::desk::Desk;
use crate::group::effects::{Cause, Event, Joined, JoinedMember, Reply};
use crate::group::options::InitialDelay;
use crate::group::timers::Timer;

/// A join phase that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct JoinPhase {
    started_ms: i64,
    /// The longest rebalance timeout of those who were or came.
    timeout_ms: i64,
    /// Since when everybody has joined.
    complete_since_ms: Option<i64>,
    initial: Option<Initial>,
    armed_ms: Option<i64>,
}

/// The first rebalance of a group without members waits for company.
#[derive(Clone, Copy, Debug)]
struct Initial {
    delay: InitialDelay,
    /// For the fixed rule: the current wait and what may follow it.
    wait_ms: i64,
    remaining_ms: i64,
    member_added: bool,
    last_added_ms: i64,
}

impl Group {
    pub(super) fn rebalance_or_complete(&mut self, d: &mut Desk, cause: Cause) {
        match self.state {
            State::Empty | State::Stable | State::CompletingRebalance => self.prepare(d, cause),
            State::PreparingRebalance => self.complete_if_ready(d),
            State::Dead => {}
        }
    }

    /// A new member or a longer timeout: the join phase takes notice.
    pub(super) fn phase_joined(&mut self, d: &mut Desk, rebalance_timeout_ms: i32, added: bool) {
        let now_ms = d.now.monotonic_ms;
        let Some(phase) = &mut self.phase else { return };
        phase.timeout_ms = phase.timeout_ms.max(i64::from(rebalance_timeout_ms));
        if let Some(initial) = &mut phase.initial
            && added
        {
            initial.member_added = true;
            initial.last_added_ms = now_ms;
        }
    }

    /// Starts a rebalance.
    pub(super) fn prepare(&mut self, d: &mut Desk, cause: Cause) {
        let group = &self.id;
        d.event(|| Event::Rebalance {
            group: group.clone(),
            cause,
        });
        if self.state == State::CompletingRebalance {
            self.refuse_syncs(d, ErrorCode::RebalanceInProgress);
        }
        self.disarm_sync(d);
        let now_ms = d.now.monotonic_ms;
        let timeout_ms = self.members.rebalance_timeout_ms();
        let initial = (self.state == State::Empty).then(|| {
            let delay = d.options.initial_delay();
            let wait_ms = match delay {
                InitialDelay::Fixed { delay_ms } => delay_ms,
                InitialDelay::Quiet { quiet_ms, .. } => quiet_ms,
            };
            Initial {
                delay,
                wait_ms,
                remaining_ms: (timeout_ms - wait_ms).max(0),
                member_added: false,
                last_added_ms: now_ms,
            }
        });
        self.phase = Some(Box::new(JoinPhase {
            started_ms: now_ms,
            timeout_ms,
            complete_since_ms: None,
            initial,
            armed_ms: None,
        }));
        self.transition(d, State::PreparingRebalance);
        match initial {
            Some(initial) => self.arm_phase(d, now_ms.saturating_add(initial.wait_ms)),
            None => self.complete_if_ready(d),
        }
    }

    fn arm_phase(&mut self, d: &mut Desk, at_ms: i64) {
        let Some(phase) = &mut self.phase else { return };
        if phase.armed_ms == Some(at_ms) {
            return;
        }
        if let Some(old_ms) = phase.armed_ms.replace(at_ms) {
            d.timers.disarm(old_ms, &self.id, Timer::Rebalance);
        }
        d.timers.arm(at_ms, &self.id, Timer::Rebalance);
    }

    /// Completes the join phase if nobody is missing. The initial delay is not cut short.
    pub(super) fn complete_if_ready(&mut self, d: &mut Desk) {
        let Some(phase) = &mut self.phase else { return };
        if phase.initial.is_some() {
            return;
        }
        let deadline_ms = phase.started_ms.saturating_add(phase.timeout_ms);
        if self.members.joining() < self.members.len() {
            phase.complete_since_ms = None;
            self.arm_phase(d, deadline_ms);
            return;
        }
        let now_ms = d.now.monotonic_ms;
        let since_ms = *phase.complete_since_ms.get_or_insert(now_ms);
        let hold_ms = match self.pending.youngest_ms() {
            None => return self.complete(d),
            Some(_) if d.options.strict => deadline_ms,
            Some(youngest_ms) => deadline_ms
                .min(youngest_ms.saturating_add(d.options.pending_rebalance_wait_ms))
                .min(since_ms.saturating_add(d.options.pending_rebalance_wait_ms)),
        };
        if hold_ms <= now_ms {
            return self.complete(d);
        }
        self.arm_phase(d, hold_ms);
    }

    pub(in crate::group) fn rebalance_timer(&mut self, d: &mut Desk) {
        let now_ms = d.now.monotonic_ms;
        let Some(phase) = &mut self.phase else { return };
        phase.armed_ms = None;
        let deadline_ms = phase.started_ms.saturating_add(phase.timeout_ms);
        let Some(initial) = &mut phase.initial else {
            if now_ms >= deadline_ms {
                return self.complete(d);
            }
            return self.complete_if_ready(d);
        };
        match initial.delay {
            InitialDelay::Fixed { delay_ms }
                if initial.member_added && initial.remaining_ms > 0 =>
            {
                let waited_ms = initial.wait_ms;
                initial.member_added = false;
                initial.wait_ms = delay_ms.min(initial.remaining_ms);
                initial.remaining_ms = (initial.remaining_ms - waited_ms).max(0);
                let at_ms = now_ms.saturating_add(initial.wait_ms);
                self.arm_phase(d, at_ms);
            }
            InitialDelay::Fixed { .. } => self.complete(d),
            InitialDelay::Quiet { quiet_ms, total_ms } => {
                let at_ms = initial
                    .last_added_ms
                    .saturating_add(quiet_ms)
                    .min(phase.started_ms.saturating_add(total_ms))
                    .min(deadline_ms);
                if at_ms > now_ms {
                    return self.arm_phase(d, at_ms);
                }
                self.complete(d);
            }
        }
    }

    /// Ends the join phase: who has not come is out, who has come is in the next generation.
    fn complete(&mut self, d: &mut Desk) {
        let missing: Vec<Name> = self
            .members
            .iter()
            .filter(|member| member.joining.is_none() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in missing {
            self.remove(d, &id, Cause::NotRejoined);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none has come: wait for their sessions to end.
            let timeout_ms = self.members.rebalance_timeout_ms().max(1);
            if let Some(phase) = &mut self.phase {
                phase.initial = None;
                phase.started_ms = d.now.monotonic_ms;
                phase.timeout_ms = timeout_ms;
            }
            return self.arm_phase(d, d.now.monotonic_ms.saturating_add(timeout_ms));
        }
        self.end_phase(d);
        self.generation = self
            .generation
            .max(self.generation_floor)
            .checked_add(1)
            .unwrap_or(1);
        self.generation_floor = 0;
        if self.members.is_empty() {
            return self.become_empty(d);
        }
        let leader = self.leader.as_deref().and_then(|id| self.members.get(id));
        self.protocol_name = protocols::select(&self.members, leader);
        self.read_subscriptions();
        self.transition(d, State::CompletingRebalance);
        self.announce_generation(d);
        let at_ms = d
            .now
            .monotonic_ms
            .saturating_add(self.members.rebalance_timeout_ms().max(1));
        self.sync_armed_ms = Some(at_ms);
        d.timers.arm(at_ms, &self.id, Timer::Sync);
    }

    fn become_empty(&mut self, d: &mut Desk) {
        self.protocol_name = None;
        self.leader = None;
        self.read_subscriptions();
        self.transition(d, State::Empty);
        let value = self.snapshot(|member| member.assignment.clone());
        self.journal_group(d, value, false);
    }

    fn announce_generation(&mut self, d: &mut Desk) {
        for id in self.members.ids() {
            // A static member that has not come keeps its place until the shares are due.
            self.members.set_sync_due(&id, true);
            let Some(parked) = self.members.unpark_join(&id) else {
                continue;
            };
            let joined = self.joined(&id, self.is_leader(&id));
            self.answer(d, parked, Reply::Join(Ok(joined)));
            if let Some(member) = self.members.session(&id) {
                member.is_new = false;
            }
            self.touch(d, &id);
        }
    }

    /// The answer to a member that is in the current generation.
    pub(super) fn joined(&self, member_id: &Name, with_members: bool) -> Joined {
        Joined {
            member_id: member_id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: if with_members {
                self.joined_members()
            } else {
                Vec::new()
            },
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        self.members
            .iter()
            .map(|member| JoinedMember {
                member_id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                metadata: member.metadata(protocol).cloned().unwrap_or_default(),
            })
            .collect()
    }

    /// Makes sure that the leader is someone who has joined.
    fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |id: &Name| self.members.get(id).is_some_and(|m| m.joining.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let elected = self.members.iter().find(|m| m.joining.is_some());
        let Some(elected) = elected.map(|member| member.id.clone()) else {
            return false;
        };
        self.leader = Some(elected);
        true
    }

    pub(super) fn end_phase(&mut self, d: &mut Desk) {
        if let Some(phase) = self.phase.take()
            && let Some(at_ms) = phase.armed_ms
        {
            d.timers.disarm(at_ms, &self.id, Timer::Rebalance);
        }
    }

    pub(super) fn disarm_sync(&mut self, d: &mut Desk) {
        if let Some(at_ms) = self.sync_armed_ms.take() {
            d.timers.disarm(at_ms, &self.id, Timer::Sync);
        }
        if self.members.sync_due() > 0 {
            for id in self.members.ids() {
                self.members.set_sync_due(&id, false);
            }
        }
    }

    /// The member has asked for its share.
    pub(super) fn sync_arrived(&mut self, d: &mut Desk, member_id: &str) {
        self.members.set_sync_due(member_id, false);
        if self.members.sync_due() == 0 {
            self.disarm_sync(d);
        }
    }

    pub(in crate::group) fn sync_timer(&mut self, d: &mut Desk) {
        self.sync_armed_ms = None;
        let missing: Vec<Name> = self
            .members
            .iter()
            .filter(|member| member.sync_due)
            .map(|member| member.id.clone())
            .collect();
        if missing.is_empty() {
            return;
        }
        for id in missing {
            self.remove(d, &id, Cause::NotSynced);
        }
        self.after_removal(d, Cause::NotSynced);
    }

    pub(super) fn read_subscriptions(&mut self) {
        self.subscribed = protocols::subscribed_topics(
            &self.members,
            self.protocol_type.as_ref(),
            self.protocol_name.as_ref(),
        );
    }
}
