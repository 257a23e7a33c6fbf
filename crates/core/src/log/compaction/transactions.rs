//! Which batches belong to aborted transactions, and which markers end nothing any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::{BatchError, BatchHeader, read_marker};
use crate::producers::AbortedTransaction;

/// Follows the transactions of a log while its batches are visited in order.
#[derive(Default)]
pub(super) struct Transactions {
    /// First offset of each aborted transaction, by producer and offset of the marker.
    aborted: BTreeMap<(i64, i64), i64>,
    /// Producers of which a transaction's records were seen, but not yet its marker.
    with_records: BTreeSet<i64>,
    /// Aborted transactions of which nothing but the marker is left.
    pub(super) emptied: Vec<AbortedTransaction>,
}

impl Transactions {
    pub(super) fn new(aborted: &[AbortedTransaction]) -> Transactions {
        let aborted = aborted
            .iter()
            .map(|txn| ((txn.producer_id, txn.last_offset), txn.first_offset));
        Transactions {
            aborted: aborted.collect(),
            ..Transactions::default()
        }
    }

    /// Whether the batch holds records of a transaction that was aborted.
    pub(super) fn is_aborted(&self, header: &BatchHeader) -> bool {
        if !header.is_transactional() || header.is_control() {
            return false;
        }
        let (producer, offset) = (header.producer_id, header.base_offset);
        let next = self
            .aborted
            .range((producer, offset)..=(producer, i64::MAX))
            .next();
        next.is_some_and(|(_, first_offset)| *first_offset <= offset)
    }

    /// Visits a batch; whether it has no meaning any more: aborted records, a marker without its transaction.
    pub(super) fn visit(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<bool, BatchError> {
        if !header.is_control() {
            if header.is_transactional() {
                self.with_records.insert(header.producer_id);
            }
            return Ok(self.is_aborted(header));
        }
        if header.record_count == 0 {
            return Ok(true);
        }
        let Some(marker) = read_marker(batch, header)? else {
            return Ok(false);
        };
        if self.with_records.remove(&header.producer_id) {
            return Ok(false);
        }
        let last_offset = header.base_offset;
        let key = (header.producer_id, last_offset);
        if let (false, Some(first_offset)) = (marker.commit, self.aborted.get(&key)) {
            self.emptied.push(AbortedTransaction {
                producer_id: header.producer_id,
                first_offset: *first_offset,
                last_offset,
            });
        }
        Ok(true)
    }
}
