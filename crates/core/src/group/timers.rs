//! Everything a shard waits for, by time. A timer may fire early: whoever it wakes looks at its own deadline.

use std::collections::BTreeSet;

use super::command::Name;

/// What a group is woken for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The join phase.
    Rebalance,
    /// The sync phase.
    Sync,
    /// A member's session.
    Session(Name),
    /// A member id given out.
    Pending(Name),
    /// What a member has to give up.
    Revocation(Name),
    /// The next join of a classic member in a consumer group.
    Rejoin(Name),
    /// The next sync of one.
    Fetch(Name),
    /// An answer that was held back.
    Patience(Name),
}

/// Due times in order.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(i64, Name, Timer)>,
}

impl Timers {
    pub(super) fn arm(&mut self, at_ms: i64, group: &Name, timer: Timer) {
        self.due.insert((at_ms, group.clone(), timer));
    }

    pub(super) fn disarm(&mut self, at_ms: i64, group: &Name, timer: Timer) {
        self.due.remove(&(at_ms, group.clone(), timer));
    }

    pub(super) fn next(&self) -> Option<i64> {
        self.due.first().map(|due| due.0)
    }

    pub(super) fn pop_due(&mut self, now_ms: i64) -> Option<(Name, Timer)> {
        if self.next()? > now_ms {
            return None;
        }
        self.due.pop_first().map(|(_, group, timer)| (group, timer))
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}
