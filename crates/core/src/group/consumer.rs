//! One consumer group of the new protocol (KIP-848): the broker assigns, and each member is led to its share by
//! heartbeats. All of it is on record but for deadlines, so that a restart goes on where the journal ends.
//!
//! `heartbeat` is what members say, `classic` what members of the classic protocol say that share the group, `membership`
//! what both have in common, `target` what they shall have, `reconcile` how one member gets there, `deadlines` by when,
//! `patience` whose answers wait for it.
//! `convert` is how a classic group becomes one of these, and back.

mod assignors;
mod classic;
pub(super) mod codec;
mod convert;
mod deadlines;
mod describe;
mod expressions;
mod heartbeat;
mod membership;
mod offsets;
mod patience;
pub mod places;
mod reconcile;
pub mod records;
mod roster;
mod target;
pub mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::{Account, Share, Weight};
use crate::error::ErrorCode;
use crate::time::Now;

use super::classic::GROUP_BYTES;
use super::command::Name;
use super::desk::Desk;
use super::durable::{Durable, Replaced};
use super::effects::{Cause, Event};
use super::records::Record;
pub(super) use convert::{Opening, Successor};
use deadlines::{DEADLINES_BYTES, Deadlines};
use expressions::Resolving;
use patience::{WAITER_BYTES, Waiters};
use records::{ConsumerRecord, GroupEpoch, TargetEpoch};
pub(super) use roster::Roster;
use topics::Topics;

pub(super) use classic::new_member_id;
pub use describe::{ConsumerDescribed, ConsumerMember};
pub use expressions::Resolved;
pub use heartbeat::{Beat, Beaten, Settings, check_lists};
pub(super) use heartbeat::{check as check_beat, check_room};

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
    /// Who is to hear in a moment.
    waiters: Waiters,
    /// The version of the topics that were looked at last.
    seen_version: Option<u64>,
    /// When expressions are and were resolved.
    resolving: Resolving,
    /// When the epoch has risen last, on the monotonic clock.
    raised_ms: Option<i64>,
    /// The state that was told last.
    told: ConsumerState,
    /// What it has become on record, until it is that.
    successor: Option<Box<Successor>>,
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
            waiters: Waiters::new(),
            seen_version: None,
            resolving: Resolving::default(),
            raised_ms: None,
            told: ConsumerState::Empty,
            successor: None,
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
        let waiters_bytes = self.waiters.len() * WAITER_BYTES;
        self.weight.set(own_bytes + deadlines_bytes + waiters_bytes);
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

    /// Takes back what is not to be written after all.
    fn abandon(&mut self, draft: Draft) {
        self.durable.take_back(draft.undo);
    }

    fn commit(&mut self, d: &mut Desk, draft: Draft) {
        self.durable.append(d, &self.id, draft.records, draft.undo);
    }

    // Members go.

    /// Takes members out and has the rest of the group assigned anew, or go on as a classic group.
    fn remove(&mut self, d: &mut Desk, ids: &[Name], cause: Cause) {
        let mut draft = Draft::default();
        for id in ids {
            let group = &self.id;
            d.event(|| Event::MemberGone {
                group: group.clone(),
                member: id.clone(),
                cause,
            });
        }
        if self.falls_back_without(d, ids) {
            let generation = self.roster().epoch();
            return self.fall_back(d, draft, ids, generation, true);
        }
        let mut expressions = Vec::new();
        for id in ids {
            let member = self.roster().member(id);
            expressions.extend(member.map(|member| member.expression.clone()));
            self.forget_deadlines(d, id);
            self.put(&mut draft, ConsumerRecord::Current(id.clone(), None));
            self.put(&mut draft, ConsumerRecord::Target(id.clone(), None));
            self.put(&mut draft, ConsumerRecord::Member(id.clone(), None));
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

    /// Stops every timer, and sends away who waits.
    pub(super) fn clear(&mut self, d: &mut Desk) {
        self.refuse_waiters(d, ErrorCode::NotCoordinator);
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
