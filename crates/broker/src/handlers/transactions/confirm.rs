//! Before a transaction begins in a partition its coordinator confirms that it is open: what that does not know as open,
//! nobody would ever end. Between the confirmation and the append no marker may come.

use crate::node::Node;
use rustka_core::error::ErrorCode;
use rustka_core::log::Verification;
use rustka_core::transaction::command::{Add, Command, Place, Speaker};
use rustka_storage::Partition;
use std::sync::Arc;

/// A partition that waits for a confirmation, given back in whatever way the request ends.
pub struct Confirming {
    partition: Arc<Partition>,
    since: Verification,
}

impl Confirming {
    /// From now on a marker is noticed, whatever is written meanwhile.
    pub fn begin(partition: Arc<Partition>, producer_id: i64) -> Result<Confirming, ErrorCode> {
        let since = partition.with_state(|state| state.await_verification_of(producer_id))?;
        Ok(Confirming { partition, since })
    }

    /// A confirmation that the partition awaits already.
    pub fn of(partition: Arc<Partition>, since: Verification) -> Confirming {
        Confirming { partition, since }
    }

    /// Since when no marker may have come.
    pub fn since(&self) -> Verification {
        self.since
    }

    /// The coordinator is asked once more: a marker that came meanwhile ended the transaction before.
    pub fn again(&mut self) {
        let (producer_id, before) = (self.since.producer_id(), self.since);
        let since = self.partition.with_state(|state| {
            state.end_verification(before);
            state.await_verification_of(producer_id)
        });
        // A partition that is gone refuses the batch itself.
        self.since = since.unwrap_or(before);
    }
}

impl Drop for Confirming {
    fn drop(&mut self) {
        // A partition that is gone waits for nobody.
        let _gone = self
            .partition
            .with_state(|state| state.end_verification(self.since));
    }
}

/// Whether the coordinator is asked at all. Of writes that do not add their partition operators may want to believe that it
/// was added before. Where Kafka then adds nothing either, nobody could ever commit what a newer client writes.
pub fn is_asked_for(node: &Node, adds: bool) -> bool {
    (adds && !node.strict) || node.config.broker().settings().transaction_verification
}

/// What the coordinator is asked. In newer protocols the partitions are added by the write itself (KIP-890).
pub fn question(speaker: Speaker, places: Vec<Place>, adds: bool) -> Command {
    match adds {
        true => Command::Add(Add {
            speaker,
            places,
            raises_epoch: true,
        }),
        false => Command::Verify { speaker, places },
    }
}
