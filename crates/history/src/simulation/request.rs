//! What clients and the broker say to each other, free of bytes.

use super::partition::Fetched;
use crate::history::{Place, Value};
use rustka_core::error::ErrorCode;
use rustka_core::transaction::command::{Name, Producer, Speaker};

/// Partitions of the topic that is copied from.
pub(super) const IN: [Place; 2] = [0, 1];
/// Partitions of the topic that is copied to.
pub(super) const OUT: [Place; 2] = [2, 3];
/// The partition of all groups' offsets.
pub(super) const OFFSETS: Place = 4;

/// A record with the one that it was made from.
pub(super) type Made = (Value, Option<Value>);

/// A batch of a producer.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) id: Option<Name>,
    pub(super) producer: Producer,
    pub(super) place: Place,
    pub(super) sequence: i32,
    pub(super) values: Vec<Made>,
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Init {
        id: Name,
        expected: Option<Producer>,
    },
    /// AddPartitionsToTxn and AddOffsetsToTxn.
    Add {
        speaker: Speaker,
        places: Vec<Place>,
    },
    Produce {
        newer: bool,
        batch: Batch,
    },
    Offsets {
        newer: bool,
        speaker: Speaker,
        place: Place,
        offset: i64,
    },
    End {
        newer: bool,
        speaker: Speaker,
        commit: bool,
    },
    Fetch {
        place: Place,
        from: i64,
        committed: bool,
    },
    Offset {
        group: Name,
        place: Place,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Response {
    Producer(Result<Producer, ErrorCode>),
    /// To Add and Offsets.
    Done(Result<(), ErrorCode>),
    Produced(Result<i64, ErrorCode>),
    Fetched(Fetched),
    Offset(Result<Option<i64>, ErrorCode>),
}
