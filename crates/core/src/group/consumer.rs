//! One consumer group of the new protocol (KIP-848): the broker assigns, and each member is led to its share by
//! heartbeats. All of it is on record but for deadlines, so that a restart goes on where the journal ends.
//!
//! `heartbeat` is what members say, `target` what they shall have, `reconcile` how one member gets there.

mod assignors;
pub(super) mod codec;
mod describe;
mod expressions;
mod heartbeat;
mod offsets;
pub mod places;
mod reconcile;
pub mod records;
mod roster;
mod target;
pub mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::{Account, Share, Weight};
use crate::time::Now;

use super::classic::GROUP_BYTES;
use super::command::Name;
use super::desk::Desk;
use super::durable::{Durable, Replaced};
use super::effects::{Cause, Event};
use super::records::Record;
use super::timers::Timer;
use expressions::Resolving;
use records::{ConsumerRecord, GroupEpoch, MemberState, TargetEpoch};
pub(super) use roster::Roster;
use topics::Topics;

pub use describe::{ConsumerDescribed, ConsumerMember};
pub use expressions::Resolved;
pub(super) use heartbeat::check as check_beat;
pub use heartbeat::{Beat, Beaten, Settings};

/// The protocol type of consumers.
pub(super) const CONSUMER: &str = "consumer";

/// What a member's deadlines take with their timers.
const DEADLINES_BYTES: usize = 250;

/// Where a consumer group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerState {
    /// No members; may hold offsets.
    Empty,
    /// A new target is due.
    Assigning,
    /// Some member does not have its share yet, or is away.
    Reconciling,
    /// Everyone has its share.
    Stable,
}

impl ConsumerState {
    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            ConsumerState::Empty => "Empty",
            ConsumerState::Assigning => "Assigning",
            ConsumerState::Reconciling => "Reconciling",
            ConsumerState::Stable => "Stable",
        }
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Name,
    pub(super) durable: Durable,
    weight: Weight,
    pub(super) account: Arc<Account>,
    /// Of members, by their ids.
    deadlines: BTreeMap<Name, Deadlines>,
    /// The version of the topics that were looked at last.
    seen_version: Option<u64>,
    /// When expressions are and were resolved.
    resolving: Resolving,
    /// When the epoch has risen last, on the monotonic clock.
    raised_ms: Option<i64>,
    /// The state that was told last.
    told: ConsumerState,
}

/// What a member has to do by when, on the monotonic clock.
#[derive(Debug, Default)]
struct Deadlines {
    /// The end of its session.
    session_ms: i64,
    /// When a timer looks at the session; earlier, never later.
    armed_ms: Option<i64>,
    /// When what it has to give up must be given up.
    revoke_ms: Option<i64>,
}

/// Records on their way to the journal; already applied.
#[derive(Default)]
struct Draft {
    records: Vec<Record>,
    undo: Vec<Replaced>,
}

impl Group {
    pub(super) fn new(id: Name, durable: Durable, account: &Arc<Account>) -> Group {
        Group {
            weight: Weight::new(account, Share::Groups),
            account: account.clone(),
            id,
            durable,
            deadlines: BTreeMap::new(),
            seen_version: None,
            resolving: Resolving::default(),
            raised_ms: None,
            told: ConsumerState::Empty,
        }
    }

    fn roster(&self) -> &Roster {
        self.durable.consumer()
    }

    pub(super) fn state(&self) -> ConsumerState {
        let roster = self.roster();
        if roster.has_no_members() {
            ConsumerState::Empty
        } else if roster.epoch() > roster.target_epoch().epoch {
            ConsumerState::Assigning
        } else if roster.is_all_settled() {
            ConsumerState::Stable
        } else {
            ConsumerState::Reconciling
        }
    }

    /// Counts anew what it takes. To be called whenever it may have changed.
    pub(super) fn weigh(&mut self) {
        let deadlines_bytes = self.deadlines.len() * DEADLINES_BYTES;
        let own_bytes = GROUP_BYTES + self.id.len() + self.durable.bytes();
        self.weight.set(own_bytes + deadlines_bytes);
    }

    /// What it takes, as it was counted last.
    pub(super) fn bytes(&self) -> usize {
        self.weight.bytes()
    }

    // The journal.

    /// Makes a record true at once; `commit` has it written.
    fn put(&mut self, draft: &mut Draft, value: ConsumerRecord) {
        let group = self.id.clone();
        self.put_record(draft, Record::Consumer { group, value });
    }

    fn put_record(&mut self, draft: &mut Draft, record: Record) {
        draft.undo.push(self.durable.apply(record.clone()));
        draft.records.push(record);
    }

    fn commit(&mut self, d: &mut Desk, draft: Draft) {
        self.durable.append(d, &self.id, draft.records, draft.undo);
    }

    // Members go.

    /// Takes members out and has the rest of the group assigned anew.
    fn remove(&mut self, d: &mut Desk, ids: &[Name], cause: Cause) {
        let mut draft = Draft::default();
        let mut expressions = Vec::new();
        for id in ids {
            let member = self.roster().member(id);
            expressions.extend(member.map(|member| member.expression.clone()));
            self.forget_deadlines(d, id);
            self.put(&mut draft, ConsumerRecord::Current(id.clone(), None));
            self.put(&mut draft, ConsumerRecord::Target(id.clone(), None));
            self.put(&mut draft, ConsumerRecord::Member(id.clone(), None));
            let group = &self.id;
            d.event(|| Event::MemberGone {
                group: group.clone(),
                member: id.clone(),
                cause,
            });
        }
        for expression in expressions {
            self.forget_unused(&mut draft, &expression);
        }
        let epoch = self.raise_epoch(d, &mut draft, cause);
        if self.roster().has_no_members() {
            let none_yet = TargetEpoch {
                epoch,
                computed_ms: 0,
            };
            self.put(&mut draft, ConsumerRecord::TargetEpoch(Some(none_yet)));
        }
        self.commit(d, draft);
        self.tell_state(d);
    }

    /// Forgets what an expression has matched once nobody uses it.
    fn forget_unused(&mut self, draft: &mut Draft, expression: &Name) {
        let roster = self.roster();
        let is_known = roster.expressions.contains_key(expression);
        if is_known && roster.expression_users(expression) == 0 {
            self.put(draft, ConsumerRecord::Expression(expression.clone(), None));
        }
    }

    /// A new target is due from now on.
    fn raise_epoch(&mut self, d: &mut Desk, draft: &mut Draft, cause: Cause) -> i32 {
        let epoch = self.roster().epoch().saturating_add(1);
        let metadata_hash = self.metadata_hash(d.topics);
        let value = GroupEpoch {
            epoch,
            metadata_hash,
        };
        self.put(draft, ConsumerRecord::Group(Some(value)));
        self.seen_version = Some(d.topics.version);
        self.raised_ms = Some(d.now.monotonic_ms);
        let group = &self.id;
        d.event(|| Event::Rebalance {
            group: group.clone(),
            cause,
        });
        epoch
    }

    /// What the topics look like that members want.
    fn metadata_hash(&self, topics: &Topics) -> i64 {
        let roster = self.roster();
        let matched = roster.used_expressions();
        let matched = matched.filter_map(|expression| roster.expressions.get(expression));
        let mut names: Vec<&Name> = roster.subscribed().collect();
        names.extend(matched.flat_map(|matched| &matched.topics));
        names.sort_unstable();
        names.dedup();
        topics.hash(names)
    }

    // Deadlines.

    /// The member lives: its session starts anew.
    fn touch(&mut self, d: &mut Desk, id: &Name, session_timeout_ms: i32) {
        let deadlines = self.deadlines.entry(id.clone()).or_default();
        let end_ms = d.now.monotonic_ms.saturating_add(session_timeout_ms.into());
        deadlines.session_ms = end_ms;
        if deadlines.armed_ms.is_some_and(|at_ms| at_ms <= end_ms) {
            return;
        }
        if let Some(at_ms) = deadlines.armed_ms.replace(end_ms) {
            d.timers.disarm(at_ms, &self.id, Timer::Session(id.clone()));
        }
        d.timers.arm(end_ms, &self.id, Timer::Session(id.clone()));
    }

    /// The member has to give partitions up by then; or need not any more.
    fn await_revocation(&mut self, d: &mut Desk, id: &Name, at_ms: Option<i64>) {
        let deadlines = self.deadlines.entry(id.clone()).or_default();
        if let Some(old_ms) = std::mem::replace(&mut deadlines.revoke_ms, at_ms) {
            d.timers
                .disarm(old_ms, &self.id, Timer::Revocation(id.clone()));
        }
        if let Some(at_ms) = at_ms {
            d.timers.arm(at_ms, &self.id, Timer::Revocation(id.clone()));
        }
    }

    fn forget_deadlines(&mut self, d: &mut Desk, id: &Name) {
        let Some(deadlines) = self.deadlines.remove(id) else {
            return;
        };
        if let Some(at_ms) = deadlines.armed_ms {
            d.timers.disarm(at_ms, &self.id, Timer::Session(id.clone()));
        }
        if let Some(at_ms) = deadlines.revoke_ms {
            d.timers
                .disarm(at_ms, &self.id, Timer::Revocation(id.clone()));
        }
    }

    pub(super) fn session_timer(&mut self, d: &mut Desk, id: &Name) {
        let Some(deadlines) = self.deadlines.get_mut(id) else {
            return;
        };
        deadlines.armed_ms = None;
        let end_ms = deadlines.session_ms;
        if end_ms > d.now.monotonic_ms {
            deadlines.armed_ms = Some(end_ms);
            d.timers.arm(end_ms, &self.id, Timer::Session(id.clone()));
            return;
        }
        self.remove(d, std::slice::from_ref(id), Cause::SessionExpired);
    }

    /// The member did not give up in time what others wait for, although it may well have sent heartbeats.
    pub(super) fn revocation_timer(&mut self, d: &mut Desk, id: &Name) {
        let Some(deadlines) = self.deadlines.get_mut(id) else {
            return;
        };
        deadlines.revoke_ms = None;
        let current = self.roster().current(id);
        if current.is_some_and(|current| current.state == MemberState::Unrevoked) {
            self.remove(d, std::slice::from_ref(id), Cause::NotRevoked);
        }
    }

    /// Goes on from what is on record: sessions start from now.
    pub(super) fn resume(&mut self, d: &mut Desk) {
        self.clear(d);
        let members = self.roster().members();
        let members = members.map(|(id, member)| (id.clone(), member.rebalance_timeout_ms));
        let members: Vec<(Name, i32)> = members.collect();
        for (id, rebalance_timeout_ms) in members {
            self.touch(d, &id, d.options.consumer_session_timeout_ms);
            let current = self.roster().current(&id);
            if current.is_some_and(|current| current.state == MemberState::Unrevoked) {
                let at_ms = d
                    .now
                    .monotonic_ms
                    .saturating_add(rebalance_timeout_ms.into());
                self.await_revocation(d, &id, Some(at_ms));
            }
        }
        self.told = self.state();
    }

    /// Stops every timer.
    pub(super) fn clear(&mut self, d: &mut Desk) {
        let ids: Vec<Name> = self.deadlines.keys().cloned().collect();
        for id in ids {
            self.forget_deadlines(d, &id);
        }
        self.seen_version = None;
        self.resolving = Resolving::default();
    }

    /// Says in which state the group is, if that is news.
    fn tell_state(&mut self, d: &mut Desk) {
        if !d.out.observed {
            return;
        }
        let state = self.state();
        if state == self.told {
            return;
        }
        self.told = state;
        let (group, generation) = (&self.id, self.roster().epoch());
        d.event(|| Event::State {
            group: group.clone(),
            state: state.name(),
            generation,
        });
    }

    /// Whether nothing could be missed if the group went: no member and no offset.
    pub(super) fn is_of_no_use(&self) -> bool {
        let durable = &self.durable;
        let holds_nothing = durable.offsets.is_empty() && durable.pending.is_empty();
        holds_nothing && self.roster().has_no_members() && durable.is_settled()
    }
}

/// The time of day at which a target was computed, against now.
fn is_over(since_ms: i64, interval_ms: i32, now: Now) -> bool {
    // A clock that was set back must not keep a group waiting.
    let waited_ms = now.wall_ms.saturating_sub(since_ms);
    since_ms == 0 || !(0..i64::from(interval_ms)).contains(&waited_ms)
}
