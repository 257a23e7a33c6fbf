//! What is written down of a run: operations, their outcomes, and when they began and ended.
//!
//! Times are ticks of one clock that all clients share; they need not be of any length. What ended before something else
//! began has a smaller number.

/// A partition, by a number that the run gives it.
pub type Place = u32;

/// A record, by a number that no other one of the run has.
pub type Value = u64;

/// What is known of how something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not done and never will be.
    NotDone,
    /// Either may be true, for all that the client was told.
    Unknown,
}

/// A record that somebody sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which.
    pub value: Value,
    /// The record that it was made from, where each may be used once.
    pub source: Option<Value>,
    /// Where it was sent to.
    pub place: Place,
    /// Whether it was appended.
    pub outcome: Outcome,
    /// Where, if the producer was told.
    pub offset: Option<i64>,
}

/// An offset of a group that a transaction committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetWrite {
    /// The partition that the group reads.
    pub place: Place,
    /// From where it goes on.
    pub offset: i64,
}

/// One transaction as its client saw it. A record outside of one is a transaction of its own that is done when the record
/// is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The transactional id; none outside of transactions.
    pub id: Option<String>,
    /// Which producer of that id, in the order in which they came.
    pub instance: u64,
    /// When its first request was sent.
    pub began: u64,
    /// When its commit was first asked for; none if it never was.
    pub commit_asked: Option<u64>,
    /// When its client learnt how it ended.
    pub ended: Option<u64>,
    /// Whether it was committed.
    pub outcome: Outcome,
    /// In the order of sending.
    pub writes: Vec<Write>,
    /// Committed records that it was made from.
    pub reads: Vec<Value>,
    /// Offsets of the group of its id.
    pub offsets: Vec<OffsetWrite>,
}

impl Transaction {
    /// One that has begun, and of which nothing more is known.
    pub fn begun(id: Option<&str>, instance: u64, began: u64) -> Transaction {
        Transaction {
            id: id.map(str::to_owned),
            instance,
            began,
            commit_asked: None,
            ended: None,
            outcome: Outcome::Unknown,
            writes: Vec::new(),
            reads: Vec::new(),
            offsets: Vec::new(),
        }
    }
}

/// A look at a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// When it was asked for.
    pub began: u64,
    /// When its answer came.
    pub ended: u64,
    /// Where.
    pub place: Place,
    /// Only committed records were asked for.
    pub committed: bool,
    /// From where.
    pub from: i64,
    /// From where the reader goes on: everything in between was either told or is not for this reader.
    pub next: i64,
    /// Up to where readers of committed records may read, as the answer said.
    pub stable: i64,
    /// Up to where anybody may read, as the answer said.
    pub high: i64,
    /// What was told, with its offsets.
    pub records: Vec<(i64, Value)>,
}

/// A look at a group's offset. Offsets that an open transaction may replace were not taken for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetRead {
    /// When it was asked for.
    pub began: u64,
    /// When its answer came.
    pub ended: u64,
    /// Whose.
    pub group: String,
    /// Of which partition.
    pub place: Place,
    /// What was told; none if nothing was committed.
    pub offset: Option<i64>,
}

/// A producer of a transactional id was let in, and all before it are fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The transactional id.
    pub id: String,
    /// Which producer.
    pub instance: u64,
    /// When it was told so.
    pub at: u64,
}

/// Everything that was written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In the order in which they began.
    pub transactions: Vec<Transaction>,
    /// In the order in which they ended.
    pub polls: Vec<Poll>,
    /// In the order in which they ended.
    pub offset_reads: Vec<OffsetRead>,
    /// In any order.
    pub arrivals: Vec<Arrival>,
    /// From this moment on nobody wrote any more, and every transaction has had the time to end. Whoever read from then
    /// on has read everything.
    pub quiet_from: Option<u64>,
}
