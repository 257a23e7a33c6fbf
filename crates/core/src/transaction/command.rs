//! What a shard of transactional ids can be asked and what it answers, free of API versions.

use std::sync::Arc;

use super::record::{Phase, Places, Transaction};
use crate::error::ErrorCode;

/// A name that is shared rather than copied.
pub type Name = Arc<str>;

/// A partition of a topic.
pub type Place = (Name, i32);

/// A producer id with its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The id.
    pub id: i64,
    /// The epoch.
    pub epoch: i16,
}

/// Who speaks for a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The transactional id.
    pub id: Name,
    /// As which producer.
    pub producer: Producer,
}

/// One request to a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// InitProducerId: a producer begins and fences those before it (KIP-98, KIP-360).
    Init(Init),
    /// AddPartitionsToTxn, AddOffsetsToTxn, and what a Produce or TxnOffsetCommit of the newer protocol adds by itself.
    Add(Add),
    /// Whether these partitions are in the open transaction; changes nothing.
    Verify {
        /// Who asks.
        speaker: Speaker,
        /// What is asked for.
        places: Vec<Place>,
    },
    /// EndTxn.
    End(End),
    /// Every marker of the transaction that this producer has ended is written.
    MarkersWritten(Speaker),
    /// DescribeTransactions, one id.
    Describe {
        /// The transactional id.
        id: Name,
    },
    /// ListTransactions of this shard, without a filter.
    List,
}

/// An InitProducerId request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// The transactional id.
    pub id: Name,
    /// After this long the coordinator aborts an open transaction.
    pub timeout_ms: i32,
    /// Whom the client takes itself for, if it was somebody before.
    pub expected: Option<Producer>,
    /// A producer id that nobody has, if the machine has said that it needs one.
    pub new_id: Option<i64>,
}

/// Partitions to be added to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// Who adds.
    pub speaker: Speaker,
    /// What is added.
    pub places: Vec<Place>,
    /// The client raises its epoch with each transaction (transaction version 2, KIP-890).
    pub raises_epoch: bool,
}

/// An EndTxn request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Who ends it.
    pub speaker: Speaker,
    /// Commit or abort.
    pub commit: bool,
    /// The epoch is raised by it (transaction version 2, KIP-890).
    pub raises_epoch: bool,
    /// A producer id that nobody has, if the machine has said that it needs one.
    pub new_id: Option<i64>,
}

/// An answer, free of API versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To Init and End: who the producer is from now on.
    Producer(Result<Producer, ErrorCode>),
    /// To Init and End: the same once more, please, with a producer id that nobody has.
    NeedsId,
    /// To Add: all or nothing.
    Added(Result<(), ErrorCode>),
    /// To Verify: one for each partition, or an error for all.
    Verified(Result<Vec<bool>, ErrorCode>),
    /// To MarkersWritten.
    Noted,
    /// To Describe; `Ok(None)`: no such id.
    Described(Result<Option<Arc<Transaction>>, ErrorCode>),
    /// To List.
    Listed(Vec<(Name, Arc<Transaction>)>),
}

impl Reply {
    /// The same answer, refused.
    pub fn failed(self, code: ErrorCode) -> Reply {
        match self {
            Reply::Producer(_) | Reply::NeedsId => Reply::Producer(Err(code)),
            Reply::Added(_) => Reply::Added(Err(code)),
            Reply::Verified(_) => Reply::Verified(Err(code)),
            Reply::Described(_) => Reply::Described(Err(code)),
            whole @ (Reply::Noted | Reply::Listed(_)) => whole,
        }
    }
}

/// What happened, for whoever has to act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is decided, for good, how a transaction ends: its markers have to be written.
    Decided {
        /// Who has ended it; the epoch is that of the markers.
        speaker: Speaker,
        /// Commit or abort.
        commit: bool,
        /// The markers' epoch is above that of the records.
        epoch_raised: bool,
        /// Where.
        places: Places,
    },
    /// A transaction took too long and is aborted.
    TimedOut {
        /// The transactional id.
        id: Name,
    },
    /// A new transactional id was refused, since there are as many as there may be.
    Full,
    /// A new transactional id or partition was refused: transactions take all the memory that they may.
    OutOfMemory(crate::account::Full),
    /// A record could not be written: the id is back at what is durable.
    RolledBack {
        /// The transactional id.
        id: Name,
    },
}

impl Event {
    /// How a transaction in this phase is to be ended, if it is decided.
    pub(super) fn decided(id: &Name, transaction: &Transaction) -> Option<Event> {
        let commit = match transaction.phase {
            Phase::PrepareCommit => true,
            Phase::PrepareAbort => false,
            _ => return None,
        };
        Some(Event::Decided {
            speaker: Speaker {
                id: id.clone(),
                producer: transaction.producer,
            },
            commit,
            epoch_raised: transaction.raises_epoch,
            places: transaction.places.clone().unwrap_or_default(),
        })
    }
}
