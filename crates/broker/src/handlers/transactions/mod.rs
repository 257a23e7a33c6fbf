//! Producers with ids of their own, and their transactions.

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod confirm;
pub mod describe_producers;
pub mod describe_transactions;
pub mod end_txn;
pub mod init_producer_id;
pub mod list_transactions;
pub mod txn_offset_commit;
pub mod write_txn_markers;

use rustka_core::error::ErrorCode;
use rustka_core::transaction::command::{Producer, Speaker};

/// Who a request speaks for.
fn speaker(id: &str, producer_id: i64, epoch: i16) -> Speaker {
    Speaker {
        id: id.into(),
        producer: Producer {
            id: producer_id,
            epoch,
        },
    }
}

/// PRODUCER_FENCED under the name that clients know which do not know it yet.
fn fenced(code: ErrorCode, is_known: bool) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced if !is_known => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}
