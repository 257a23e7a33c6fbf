//! What every machine looks like from outside: commands and time come in, records and answers go out.
//!
//! A machine remembers what its records say, and nothing else survives it. It hands out *entries* (records that are
//! written together) which it has applied already, so that it can go on deciding; what it tells a client leaves when
//! everything that the answer rests on is durable. `Release` is the queue for that. An entry that is lost concerns its
//! *owner* alone, such as one group: the machine goes back to what is durable of it and nobody else notices.

mod release;
#[cfg(test)]
pub(crate) mod tests;
mod unsettled;

use std::fmt::Debug;

use rustka_wire::DecodeError;

use crate::error::ErrorCode;
use crate::producers::{Marker, Verification};
use crate::sync::Rank;
use crate::time::Now;

pub use release::Release;
pub use unsettled::{Undo, Unsettled};

/// The request that waits for an answer; chosen by whoever drives a machine, never reused while open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Decisions over durable state, without I/O: the same state, time and command have the same effects.
pub trait Machine: Sized {
    /// Where its lock stands in the order of locks.
    const RANK: Rank;
    /// What it can be asked, free of API versions.
    type Command;
    /// What it answers.
    type Reply: Debug;
    /// What its journal consists of.
    type Record: JournalRecord;
    /// What happened, for whoever has to know.
    type Event: Debug;
    /// Whom an entry belongs to: a part that can go back to what is durable without the others.
    type Owner: Clone + Debug + Ord;

    /// Decides one request. A parked one is answered by a later call.
    fn handle(&mut self, now: Now, ticket: Ticket, command: Self::Command, out: &mut Effects<Self>);

    /// The connection behind the ticket hung up. Nothing is answered.
    fn disconnect(&mut self, _ticket: Ticket) {}

    /// Does what is due. Calling early does nothing.
    fn expire(&mut self, _now: Now, _out: &mut Effects<Self>) {}

    /// When `expire` should be called next, on the monotonic clock.
    fn next_deadline(&self) -> Option<i64> {
        None
    }

    /// Makes one record of the journal true. No answers, no timers: those begin with `loaded`.
    fn apply(&mut self, record: Self::Record);

    /// Replay is over; called once.
    fn loaded(&mut self, now: Now, out: &mut Effects<Self>);

    /// The fate of an entry, in whatever order the journal learns it. A lost one concerns its owner alone.
    fn committed(
        &mut self,
        now: Now,
        position: u64,
        result: Result<(), ErrorCode>,
        out: &mut Effects<Self>,
    );

    /// Whether the fate of every entry is known.
    fn is_settled(&self) -> bool;

    /// The records that say everything the machine remembers: what a shortened journal consists of.
    /// Only while `is_settled`, else they say more than is durable.
    fn live(&self) -> impl Iterator<Item = Self::Record>;

    /// The same answer, refused: what a client gets when a record that it depends on could not be written.
    fn refuse(reply: Self::Reply) -> Self::Reply;
}

/// Takes a record's key, of which a journal may have none, and its value; a tombstone has none.
pub type Put<'a> = dyn FnMut(Option<&[u8]>, Option<&[u8]>) + 'a;

/// One record of a journal, typed.
pub trait JournalRecord: Sized + Clone + Debug {
    /// Its key and value in Kafka's own schema, as they stand in the journal: of one record, or of several that follow
    /// each other.
    fn encode(&self, put: &mut Put<'_>);

    /// Reads it again; `None` for a kind that this journal's machine does not keep.
    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Self>, DecodeError>;

    /// Reads a record of a control batch that is no marker; `None` for what this journal's machine does not keep.
    fn control(_key: Option<&[u8]>, _value: &[u8]) -> Result<Option<Self>, DecodeError> {
        Ok(None)
    }

    /// In what kind of batch it stands.
    fn standing(&self) -> Standing {
        Standing::Plain
    }

    /// The record as one of a producer's transaction; `None` where this journal has no such records.
    fn within(self, _producer_id: i64, _epoch: i16) -> Option<Self> {
        None
    }

    /// The record that a marker is; `None` where this journal has none.
    fn marker(_producer_id: i64, _epoch: i16, _marker: Marker) -> Option<Self> {
        None
    }
}

/// In what kind of batch a record stands. Those of one entry stand in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// One of the coordinator's own.
    Plain,
    /// One of a producer's transaction.
    Open {
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
        /// Since when nothing may have ended the transaction.
        since: Option<Verification>,
    },
    /// It is the marker that ends such a transaction.
    Marker {
        /// The producer.
        producer_id: i64,
        /// The marker's epoch.
        epoch: i16,
        /// What it says.
        marker: Marker,
    },
}

/// Everything one call asks for. Reused between calls: the driver drains it.
pub struct Effects<M: Machine> {
    /// Batches for the journal, in order.
    pub entries: Vec<Entry<M>>,
    /// Answers, in order; `Release` says when each may leave.
    pub replies: Vec<Held<M>>,
    /// News. What somebody has to be told is always among them, the rest only while `observed`.
    pub events: Vec<M::Event>,
    /// Whether anyone reads all of `events`.
    pub observed: bool,
}

impl<M: Machine> Default for Effects<M> {
    fn default() -> Self {
        Effects {
            entries: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            observed: false,
        }
    }
}

/// One atomic batch of records of one owner. Its fate comes back through `Machine::committed`.
#[derive(Debug)]
pub struct Entry<M: Machine> {
    /// Counts up from 1 in the order of appending.
    pub position: u64,
    /// Whom it belongs to.
    pub owner: M::Owner,
    /// In order; already applied.
    pub records: Vec<M::Record>,
}

/// An answer that may leave when what it rests on is durable.
#[derive(Debug)]
pub struct Held<M: Machine> {
    /// Whose answer.
    pub ticket: Ticket,
    /// Whose entries it rests on, and fails with; `None`: it may rest on those of everybody.
    pub owner: Option<M::Owner>,
    /// The last position that it may rest on; 0 for an answer that rests on nothing.
    pub position: u64,
    /// The answer.
    pub reply: M::Reply,
}
