//! The kinds of groups that share a shard and its journal. Each has a folder of its own; what its records say decides of
//! which kind a group is. Share groups (KIP-932) and streams groups (KIP-1071) will be two more.

use super::command::Name;
use super::consumer::{Beat, Opening};
use super::desk::Desk;
use super::durable::Durable;
use super::embedded::CONSUMER;
use super::offsets::HoldsOffsets;
use super::requests::no_consumer_group;
use super::timers::Timer;
use super::{classic, consumer};
use crate::account::Account;
use crate::error::{ErrorCode, Refusal};
use std::sync::Arc;

/// A group of whatever kind.
#[derive(Debug)]
pub(super) enum Group {
    /// Members assign among themselves; also a group that only holds offsets.
    Classic(classic::Group),
    /// The broker assigns (KIP-848).
    Consumer(consumer::Group),
}

impl Group {
    /// A group that nobody has joined.
    pub(super) fn new(id: Name, wall_ms: i64, account: &Arc<Account>) -> Group {
        let durable = Durable::default();
        Group::Classic(classic::Group::new(id, durable, wall_ms, account))
    }

    /// Counts anew what it takes. To be called whenever it may have changed.
    pub(super) fn weigh(&mut self) {
        match self {
            Group::Classic(group) => group.weigh(),
            Group::Consumer(group) => group.weigh(),
        }
    }

    /// What it takes, as it was counted last.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Group::Classic(group) => group.bytes(),
            Group::Consumer(group) => group.bytes(),
        }
    }

    fn account(&self) -> Arc<Account> {
        match self {
            Group::Classic(group) => group.account.clone(),
            Group::Consumer(group) => group.account.clone(),
        }
    }

    /// What all kinds have in common.
    pub(super) fn holder(&self) -> &dyn HoldsOffsets {
        match self {
            Group::Classic(group) => group,
            Group::Consumer(group) => group,
        }
    }

    pub(super) fn holder_mut(&mut self) -> &mut dyn HoldsOffsets {
        match self {
            Group::Classic(group) => group,
            Group::Consumer(group) => group,
        }
    }

    pub(super) fn id(&self) -> &Name {
        self.holder().id()
    }

    pub(super) fn durable(&self) -> &Durable {
        self.holder().durable()
    }

    pub(super) fn durable_mut(&mut self) -> &mut Durable {
        match self {
            Group::Classic(group) => &mut group.durable,
            Group::Consumer(group) => &mut group.durable,
        }
    }

    /// Whether clients can see the group.
    pub(super) fn exists(&self) -> bool {
        match self {
            Group::Classic(group) => group.exists(),
            Group::Consumer(group) => group.durable.exists(),
        }
    }

    /// Whether nothing is left of it, and nothing of it is on its way to the journal.
    pub(super) fn is_gone(&self) -> bool {
        !self.exists() && self.durable().is_settled()
    }

    /// Kafka's name of its kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Group::Classic(_) => "classic",
            Group::Consumer(_) => "consumer",
        }
    }

    /// Kafka's name of its state.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Group::Classic(group) => group.state.name(),
            Group::Consumer(group) => group.state().name(),
        }
    }

    /// Whether it has no members, so that it may be deleted, or become one of another kind.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Group::Classic(group) => group.state == classic::State::Empty,
            Group::Consumer(group) => group.state() == consumer::ConsumerState::Empty,
        }
    }

    /// Such as "consumer"; "" for a group that only holds offsets.
    pub(super) fn protocol_type(&self) -> Name {
        match self {
            Group::Classic(group) => group.protocol_type.clone().unwrap_or_default(),
            Group::Consumer(_) => CONSUMER.into(),
        }
    }

    /// Whether little would be missed if the group went.
    pub(super) fn is_of_no_use(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_of_no_use(),
            Group::Consumer(group) => group.is_of_no_use(),
        }
    }

    /// Since when it is in its state, in wall time, where that is known.
    pub(super) fn state_since_ms(&self) -> Option<i64> {
        match self {
            Group::Classic(group) => group.state_since_ms(),
            Group::Consumer(_) => None,
        }
    }

    /// Member ids given out whose owners have not joined.
    pub(super) fn pending_count(&self) -> usize {
        match self {
            Group::Classic(group) => group.pending_count(),
            Group::Consumer(_) => 0,
        }
    }

    /// Its records say of which kind it is. Only where it has no timers: in replay, or after `clear`.
    pub(super) fn follow_records(&mut self, wall_ms: i64) {
        let is_consumer = self.durable().is_consumer();
        if is_consumer == matches!(self, Group::Consumer(_)) {
            return;
        }
        let (id, account) = (self.id().clone(), self.account());
        let durable = std::mem::take(self.durable_mut());
        *self = match is_consumer {
            true => Group::Consumer(consumer::Group::new(id, durable, &account)),
            false => Group::Classic(classic::Group::new(id, durable, wall_ms, &account)),
        };
    }

    /// A record was lost: forgets all that is not on record.
    pub(super) fn roll_back(&mut self, d: &mut Desk, position: u64) {
        self.durable_mut().lost(position);
        let is_consumer = self.durable().is_consumer();
        match self {
            Group::Classic(group) if is_consumer => group.clear(d, ErrorCode::NotCoordinator),
            Group::Classic(_) => {}
            Group::Consumer(group) => group.clear(d),
        }
        self.follow_records(d.now.wall_ms);
        self.resume(d);
    }

    /// Goes on from what is on record.
    pub(super) fn resume(&mut self, d: &mut Desk) {
        match self {
            Group::Classic(group) => group.resume(d),
            Group::Consumer(group) => group.resume(d),
        }
    }

    /// Something is due.
    pub(super) fn due(&mut self, d: &mut Desk, timer: Timer) {
        match (&mut *self, timer) {
            (Group::Classic(group), Timer::Rebalance) => group.rebalance_timer(d),
            (Group::Classic(group), Timer::Sync) => group.sync_timer(d),
            (Group::Classic(group), Timer::Session(id)) => group.session_timer(d, &id),
            (Group::Classic(group), Timer::Pending(id)) => group.give_up_id(d, &id),
            (Group::Consumer(group), Timer::Session(id)) => group.session_timer(d, &id),
            (Group::Consumer(group), Timer::Revocation(id)) => group.revocation_timer(d, &id),
            (Group::Consumer(group), Timer::Rejoin(id)) => group.rejoin_timer(d, &id),
            (Group::Consumer(group), Timer::Fetch(id)) => group.fetch_timer(d, &id),
            (Group::Consumer(group), Timer::Patience(id)) => group.patience_timer(d, &id),
            // A timer of the kind that the group was: whoever it is for is gone.
            (
                Group::Classic(_),
                Timer::Revocation(_) | Timer::Rejoin(_) | Timer::Fetch(_) | Timer::Patience(_),
            )
            | (Group::Consumer(_), Timer::Rebalance | Timer::Sync | Timer::Pending(_)) => {}
        }
        self.succeed(d);
        self.changed(d);
    }

    /// Answers whoever has waited for what has happened, and counts anew what the group takes. To be called whenever it may
    /// have changed.
    pub(super) fn changed(&mut self, d: &mut Desk) {
        if let Group::Consumer(group) = self {
            group.answer_waiters(d);
        }
        self.weigh();
    }

    /// Goes on as what the group has become on record: a consumer group that all members of the new protocol have left is
    /// a classic one. To be called whenever members may have gone.
    pub(super) fn succeed(&mut self, d: &mut Desk) {
        let Group::Consumer(group) = self else {
            return;
        };
        let Some(successor) = group.take_successor() else {
            return;
        };
        group.clear(d);
        let durable = std::mem::take(&mut group.durable);
        let consumer::Successor {
            mut group,
            rebalances,
        } = *successor;
        group.take_over(d, durable, rebalances);
        *self = Group::Classic(group);
    }

    /// The group as a classic one; one of another kind becomes it if it has no members.
    pub(super) fn as_classic(&mut self, d: &mut Desk) -> Option<&mut classic::Group> {
        if !matches!(self, Group::Classic(_)) && self.is_empty() {
            self.become_classic(d);
        }
        match self {
            Group::Classic(group) => Some(group),
            Group::Consumer(_) => None,
        }
    }

    /// A consumer group without members begins anew as a classic one; its offsets stay.
    fn become_classic(&mut self, d: &mut Desk) {
        let Group::Consumer(group) = self else {
            return;
        };
        group.clear(d);
        group.end(d);
        self.follow_records(d.now.wall_ms);
    }

    /// The group as a consumer group, for somebody who joins it. A classic one becomes it, with what it hands over, if it may.
    pub(super) fn as_consumer(
        &mut self,
        d: &mut Desk,
        beat: &Beat,
    ) -> Result<(&mut consumer::Group, Option<Opening>), Refusal> {
        let mut opening = None;
        if let Group::Classic(group) = self {
            let hands_over = Opening::of(group, d)?;
            consumer::check_room(d, &group.id, beat, hands_over.len())?;
            opening = Some(hands_over);
            // Members that wait for a rebalance are to join again, and find the consumer group.
            group.clear(d, ErrorCode::RebalanceInProgress);
            let (id, durable) = (group.id.clone(), std::mem::take(&mut group.durable));
            *self = Group::Consumer(consumer::Group::new(id, durable, d.account));
        }
        match self {
            Group::Consumer(group) => Ok((group, opening)),
            Group::Classic(group) => Err(no_consumer_group(&group.id)),
        }
    }
}
