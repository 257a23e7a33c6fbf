//! Producer ids: given out one by one from blocks that the cluster writes down. In memory they begin at a random place
//! in each life, so that a client that outlived the last one cannot have its sequence numbers taken for duplicates.

use super::{Answer, Cluster};
use rustka_core::cluster::PRODUCER_IDS_PER_BLOCK;
use rustka_core::cluster::command::{Command, Reply};
use rustka_core::error::ErrorCode;
use rustka_core::sync::lock;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Where ids begin, by chance.
pub(super) fn first(seed: u32) -> i64 {
    i64::from(seed) << 20
}

/// What is left of the last block.
#[derive(Default)]
pub(super) struct ProducerIds(Mutex<Range<i64>>);

/// A producer id, or the way to one.
pub enum ProducerId {
    /// Here it is; nobody else has it.
    Here(i64),
    /// A new block is asked for; see [`Cluster::producer_id_of`].
    Asked(Answer),
}

impl Cluster {
    /// A producer id that nobody else has.
    pub fn producer_id(self: &Arc<Self>) -> ProducerId {
        let next = lock(&self.producer_ids.0).next();
        match next {
            Some(id) => ProducerId::Here(id),
            None => ProducerId::Asked(self.call(Command::AllocateProducerIds)),
        }
    }

    /// The first id of a block that was asked for; the others are given out from now on.
    pub fn producer_id_of(&self, reply: Option<Reply>) -> Result<i64, ErrorCode> {
        let Some(Reply::AllocateProducerIds(first)) = reply else {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        };
        let first = first.map_err(|_| ErrorCode::CoordinatorLoadInProgress)?;
        let mut left = lock(&self.producer_ids.0);
        // Of two blocks that were asked for at once one is left unused.
        if left.is_empty() {
            *left = first + 1..first.saturating_add(PRODUCER_IDS_PER_BLOCK);
        }
        Ok(first)
    }
}
