//! What must not be in a history. A rule that cannot decide, because an outcome is unknown, says nothing.

mod offsets;
mod order;
mod reads;

use crate::history::{History, Outcome, Transaction, Value, Write};
use std::collections::BTreeMap;

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A record that was answered is not there.
    Lost,
    /// A record is there twice, or was made twice from the same one.
    Duplicated,
    /// Some records of a transaction can be read and others cannot.
    Torn,
    /// A record of an aborted transaction, or one that was refused, was read as committed.
    AbortedRead,
    /// A record was read as committed before its producer asked for the commit.
    UncommittedRead,
    /// Nobody sent this record, or it is not where its producer was told.
    Misplaced,
    /// Records of one producer are not in the order in which it sent them.
    Reordered,
    /// What could be read before cannot be read any more.
    Stale,
    /// Two readers saw different records in one place.
    Rewritten,
    /// Transactions saw each other's records in a circle, or one saw a record of the future.
    Cycle,
    /// The offset of a group went back, or a committed one is missing.
    OffsetBack,
    /// A group's offset is none that a transaction committed.
    OffsetUncommitted,
    /// A producer that was fenced has committed.
    Zombie,
    /// A transaction was never ended, and hides what stands behind it.
    Hanging,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Which.
    pub kind: Kind,
    /// What was seen, for a person.
    pub story: String,
}

/// Everything in a history that cannot be true of a broker that keeps its promises.
pub fn check(history: &History) -> Vec<Anomaly> {
    let known = Known::of(history);
    let mut found = Found::default();
    reads::check(&known, &mut found);
    order::check(&known, &mut found);
    offsets::check(&known, &mut found);
    found.0
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<Anomaly>);

impl Found {
    fn add(&mut self, kind: Kind, story: impl Into<String>) {
        let story = story.into();
        self.0.push(Anomaly { kind, story });
    }
}

/// A history with its writes by value.
struct Known<'a> {
    history: &'a History,
    writes: BTreeMap<Value, (usize, &'a Write)>,
}

impl<'a> Known<'a> {
    fn of(history: &'a History) -> Known<'a> {
        let mut writes = BTreeMap::new();
        for (at, transaction) in history.transactions.iter().enumerate() {
            for write in &transaction.writes {
                writes.insert(write.value, (at, write));
            }
        }
        Known { history, writes }
    }

    fn write(&self, value: Value) -> Option<(usize, &'a Transaction, &'a Write)> {
        let (at, write) = self.writes.get(&value)?;
        Some((*at, self.history.transactions.get(*at)?, write))
    }
}

/// Whether a record must be readable as committed, if it was appended at all.
fn is_committed(transaction: &Transaction) -> bool {
    transaction.outcome == Outcome::Done
}
