//! What a log's batches say of it, for when nothing else can be trusted to say it.

use super::PartitionState;
use crate::batch::{BatchError, BatchHeader, crc_matches, read_marker};
use crate::producers::{AbortedTransaction, Attempt, Marker};
use crate::time::Now;

/// Why a log's batches give no state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A batch cannot be read.
    Batch(BatchError),
    /// A batch's checksum does not fit, at this offset.
    Checksum(i64),
    /// A batch does not begin behind the one before it, at this offset.
    Order(i64),
}

impl From<BatchError> for Unusable {
    fn from(error: BatchError) -> Self {
        Unusable::Batch(error)
    }
}

/// Goes over a log, oldest batch first.
pub struct Replay {
    state: PartitionState,
    now: Now,
}

impl Replay {
    /// Nothing seen yet of a log whose leader has this epoch. Producers count as last heard of `now`.
    pub fn new(leader_epoch: i32, now: Now) -> Replay {
        Replay {
            state: PartitionState::new(leader_epoch),
            now,
        }
    }

    /// Goes on from what earlier batches led to. Producers count as last heard of `now`.
    pub fn resume(state: PartitionState, now: Now) -> Replay {
        let mut state = PartitionState {
            failed_from: None,
            unsettled_from: None,
            ..state
        };
        state.hear_of_producers(now);
        Replay { state, now }
    }

    /// Takes the next batch.
    pub fn see(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<(), Unusable> {
        match crc_matches(batch) {
            true => self.see_whole(header, batch),
            false => Err(Unusable::Checksum(header.base_offset)),
        }
    }

    /// Remembers a batch that came before those it goes on from.
    pub fn recall(&mut self, header: &BatchHeader) {
        self.state.recall(header);
    }

    /// The transaction that the marker at this offset, the last batch, has aborted; see [`PartitionState::aborted_at`].
    pub fn aborted_at(&self, marker: i64) -> Option<(AbortedTransaction, i64)> {
        self.state.aborted_at(marker)
    }

    /// Takes the next batch, whose checksum is known to fit.
    pub fn see_whole(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<(), Unusable> {
        let base_offset = header.base_offset;
        let last_offset = header.last_offset().ok_or(BatchError::Overflow)?;
        let next_offset = last_offset.checked_add(1).ok_or(BatchError::Overflow)?;
        let state = &mut self.state;
        if base_offset < state.next_offset || last_offset < base_offset {
            return Err(Unusable::Order(base_offset));
        }
        state.next_offset = next_offset;
        state
            .epochs
            .assign(header.partition_leader_epoch, base_offset);
        let (timestamp, wall_ms) = (header.max_timestamp, self.now.wall_ms);
        if let Some(marker) = read_marker(batch, header)? {
            let marker = Marker {
                commit: marker.commit,
                coordinator_epoch: marker.coordinator_epoch,
                epoch_bumped: false,
            };
            let producer = (header.producer_id, header.producer_epoch);
            let producers = state.producers_mut();
            producers.ended(producer, &marker, last_offset, timestamp, wall_ms);
        } else if let Some(attempt) = Attempt::of(header).filter(|_| !header.is_control()) {
            let producers = state.producers_mut();
            producers.appended(&attempt, base_offset, timestamp, wall_ms);
        }
        Ok(())
    }

    /// The state of the log, of which everything below `log_start` counts as deleted. It ends there at least: what was
    /// deleted last was written once.
    pub fn finish(mut self, log_start: i64) -> PartitionState {
        self.state.next_offset = self.state.next_offset.max(log_start);
        self.state.advance_log_start(log_start);
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, NewRecord, end_transaction_marker, set_base_offset};
    use crate::log::{Origin, admit, admit_marker};

    const NOW: Now = Now::new(0, 50);

    fn batch(builder: BatchBuilder) -> Vec<u8> {
        builder.record(&NewRecord::default()).build().unwrap()
    }

    /// A state, and the batches that led to it.
    fn written() -> (PartitionState, Vec<Vec<u8>>) {
        let mut state = PartitionState::new(3);
        let mut batches = vec![
            batch(BatchBuilder::new()),
            batch(BatchBuilder::new().producer(7, 0, 0)),
            batch(BatchBuilder::new().producer(7, 0, 1)),
            batch(BatchBuilder::new().producer(8, 1, 0).transactional()),
            batch(BatchBuilder::new().producer(9, 0, 0).transactional()),
        ];
        for batch in &mut batches {
            let header = BatchHeader::parse(batch).unwrap();
            set_base_offset(batch, state.next_offset);
            crate::batch::set_leader_epoch(batch, 3);
            let origin = Origin::Verified {
                epoch_bumps: false,
                since: None,
            };
            admit(&mut state, &header, origin, NOW).unwrap();
        }
        let mut marker = end_transaction_marker(8, 1, 5, false, 60).unwrap();
        let header = BatchHeader::parse(&marker).unwrap();
        set_base_offset(&mut marker, state.next_offset);
        crate::batch::set_leader_epoch(&mut marker, 3);
        let ends = Marker {
            commit: false,
            coordinator_epoch: 5,
            epoch_bumped: false,
        };
        admit_marker(&mut state, &header, &ends, NOW).unwrap();
        batches.push(marker);
        (state, batches)
    }

    fn replay(batches: &[Vec<u8>], log_start: i64) -> Result<PartitionState, Unusable> {
        let mut replay = Replay::new(3, NOW);
        for batch in batches {
            replay.see(&BatchHeader::parse(batch)?, batch)?;
        }
        Ok(replay.finish(log_start))
    }

    #[test]
    fn batches_tell_the_state_that_they_led_to() {
        let (mut state, batches) = written();
        let rebuilt = replay(&batches, 0).unwrap();
        assert_eq!(format!("{rebuilt:?}"), format!("{state:?}"));
        assert_eq!(rebuilt.last_stable_offset(), 4);
        state.advance_log_start(2);
        let rebuilt = replay(&batches, 2).unwrap();
        assert_eq!(format!("{rebuilt:?}"), format!("{state:?}"));
    }

    #[test]
    fn an_empty_log_ends_where_it_was_deleted_up_to() {
        let state = replay(&[], 9).unwrap();
        assert_eq!((state.log_start, state.next_offset), (9, 9));
    }

    #[test]
    fn what_does_not_fit_together_gives_no_state() {
        let (_, mut batches) = written();
        batches.swap(1, 2);
        assert_eq!(replay(&batches, 0).err(), Some(Unusable::Order(1)));
        let (_, mut batches) = written();
        *batches[3].last_mut().unwrap() ^= 1;
        assert_eq!(replay(&batches, 0).err(), Some(Unusable::Checksum(3)));
    }
}
