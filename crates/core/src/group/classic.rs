//! One classic consumer group: who is in it, in which generation, and when the next one begins.
//! This file holds the group, its members' going, and its record. They come in `join`, are told to in `rebalance`, and wait
//! in `waiting`; `sessions` is by when they have to be heard of, `resume` how the group starts over.

mod convert;
mod join;
mod members;
mod offsets;
mod protocols;
mod rebalance;
mod requests;
mod resume;
mod sessions;
mod state;
mod waiting;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::account::{Account, Share, Weight};
use crate::error::ErrorCode;

use super::command::{Bytes, Name};
use super::desk::Desk;
use super::durable::{Assigned, Durable};
use super::effects::{Cause, Event, Reply, Synced};
use super::embedded::CONSUMER;
use super::on_demand::OnDemand;
use super::records::{GroupMetadata, MemberMetadata, Record};
use super::timers::Timer;
pub(super) use convert::{Downgraded, Upgraded};
pub(super) use join::check::{RefusedJoin, check as check_join, check_size, limited, refuse_join};
use members::{Member, Members, Pending};
pub(super) use protocols::weight as protocols_weight;
use rebalance::JoinPhase;
pub use state::State;

/// What a group takes with its place among the others, whatever is in it.
pub(super) const GROUP_BYTES: usize = size_of::<Group>() + 150;
/// What a member takes, with its timer and in the group's record, without what it says.
pub(super) const MEMBER_BYTES: usize = 900;
/// What a member id takes that was given out.
const PENDING_ID_BYTES: usize = 600;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Name,
    pub(super) durable: Durable,
    pub(super) state: State,
    /// Wall time; `None` in records that do not say.
    state_since_ms: Option<i64>,
    generation: i32,
    pub(super) protocol_type: Option<Name>,
    protocol_name: Option<Name>,
    leader: Option<Name>,
    members: OnDemand<Members>,
    pending: OnDemand<Pending>,
    subscribed: Option<BTreeSet<Box<str>>>,
    /// The leader's assignment is on its way to the journal.
    assigning: bool,
    phase: Option<Box<JoinPhase>>,
    sync_armed_ms: Option<i64>,
    /// No generation up to here is used again.
    generation_floor: i32,
    /// Stays although nothing of it may be on record any more, until offsets are looked through (E35).
    lingers: bool,
    /// What it takes, as it was counted last.
    weight: Weight,
    pub(super) account: Arc<Account>,
}

impl Group {
    pub(super) fn new(id: Name, durable: Durable, wall_ms: i64, account: &Arc<Account>) -> Group {
        Group {
            weight: Weight::new(account, Share::Groups),
            account: account.clone(),
            id,
            durable,
            state: State::Empty,
            state_since_ms: Some(wall_ms),
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: OnDemand::default(),
            pending: OnDemand::default(),
            subscribed: None,
            assigning: false,
            phase: None,
            sync_armed_ms: None,
            generation_floor: 0,
            lingers: false,
        }
    }

    /// Whether clients can see the group.
    pub(super) fn exists(&self) -> bool {
        self.lingers || self.durable.exists()
    }

    /// Counts anew what it takes. To be called whenever it may have changed.
    pub(super) fn weigh(&mut self) {
        self.members.tidy();
        self.pending.tidy();
        let members_bytes = self.members.len() * MEMBER_BYTES + self.members.bytes();
        let ids_bytes = self.pending.len() * PENDING_ID_BYTES;
        let own_bytes = GROUP_BYTES + self.id.len() + self.durable.bytes();
        self.weight.set(own_bytes + members_bytes + ids_bytes);
    }

    /// What it takes, as it was counted last.
    pub(super) fn bytes(&self) -> usize {
        self.weight.bytes()
    }

    /// Whether little would be missed if the group went: there is no member and no offset, at most ids that nobody has
    /// used yet.
    pub(super) fn is_of_no_use(&self) -> bool {
        let durable = &self.durable;
        let is_empty = self.state == State::Empty && durable.offsets.is_empty();
        is_empty && durable.pending.is_empty() && self.exists() && self.durable.is_settled()
    }

    /// Since when it is in its state, in wall time.
    pub(super) fn state_since_ms(&self) -> Option<i64> {
        self.state_since_ms
    }

    /// Member ids given out whose owners have not joined.
    pub(super) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn is_consumer_type(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    fn transition(&mut self, d: &mut Desk, state: State) {
        self.state = state;
        self.state_since_ms = Some(d.now.wall_ms);
        let (group, generation) = (&self.id, self.generation);
        d.event(|| Event::State {
            group: group.clone(),
            state: state.name(),
            generation,
        });
    }

    // The journal.

    /// Writes records of this group and applies them.
    fn journal(&mut self, d: &mut Desk, records: Vec<Record>, after: Option<Assigned>) {
        self.durable.write(d, &self.id, records, after);
    }

    fn journal_group(&mut self, d: &mut Desk, value: Arc<GroupMetadata>, assigned: bool) {
        let after = assigned.then(|| Assigned {
            generation: self.generation,
            value: value.clone(),
        });
        let record = Record::Group {
            group: self.id.clone(),
            value: Some(value),
        };
        self.journal(d, vec![record], after);
    }

    /// The group is on record before anyone hears of it.
    pub(super) fn create(&mut self, d: &mut Desk) {
        let value = self.snapshot(|member| member.assignment.clone());
        self.journal_group(d, value, false);
    }

    /// The group as its record says it, with shares chosen by the caller.
    fn snapshot(&self, share: impl Fn(&Member) -> Bytes) -> Arc<GroupMetadata> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        Arc::new(GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            state_timestamp_ms: self.state_since_ms.unwrap_or(-1),
            members: self
                .members
                .iter()
                .map(|member| MemberMetadata {
                    member_id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    rebalance_timeout_ms: member.rebalance_timeout_ms,
                    session_timeout_ms: member.session_timeout_ms,
                    subscription: member.metadata(protocol).cloned().unwrap_or_default(),
                    assignment: share(member),
                })
                .collect(),
        })
    }

    /// The assignment is durable: if nothing has happened since, everybody gets its share.
    pub(super) fn assigned(&mut self, d: &mut Desk, assigned: &Assigned) {
        let current = self.assigning && self.generation == assigned.generation;
        if self.state != State::CompletingRebalance || !current {
            return;
        }
        self.assigning = false;
        for member in &assigned.value.members {
            self.members
                .set_assignment(&member.member_id, member.assignment.clone());
        }
        for id in self.members.ids() {
            let Some(parked) = self.members.unpark_sync(&id) else {
                continue;
            };
            let share = self.share(&id);
            self.answer(d, parked, Reply::Sync(Ok(share)));
            // Its session rested while it waited for us.
            self.touch(d, &id);
        }
        self.transition(d, State::Stable);
    }

    fn share(&self, member_id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }

    // Members come and go.

    /// Takes a member out; the caller then looks at what that means for the generation.
    fn remove(&mut self, d: &mut Desk, member_id: &str, cause: Cause) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(at_ms) = member.armed_ms {
            let timer = Timer::Session(member.id.clone());
            d.timers.disarm(at_ms, &self.id, timer);
        }
        self.answer_waiting(d, &member, ErrorCode::UnknownMemberId);
        if self.is_leader(&member.id) {
            self.leader = self.members.first_id().cloned();
        }
        let group = &self.id;
        d.event(|| Event::MemberGone {
            group: group.clone(),
            member: member.id,
            cause,
        });
    }

    fn after_removal(&mut self, d: &mut Desk, cause: Cause) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare(d, cause),
            State::PreparingRebalance => self.complete_if_ready(d),
            State::Empty | State::Dead => {}
        }
    }

    fn forget_pending(&mut self, d: &mut Desk, member_id: &str) -> bool {
        let Some((id, pending)) = self.pending.remove(member_id) else {
            return false;
        };
        d.timers
            .disarm(pending.deadline_ms, &self.id, Timer::Pending(id));
        true
    }
}
