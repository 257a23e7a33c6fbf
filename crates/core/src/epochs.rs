//! Which leader epoch began at which offset, so that clients can find out where a log was cut.

use crate::error::{ErrorCode, Refusal};

/// The first offset written in a leader's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The leader's epoch.
    pub epoch: i32,
    /// The log end when it began.
    pub start_offset: i64,
}

/// The answer to OffsetForLeaderEpoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch found, -1 for none.
    pub epoch: i32,
    /// The offset after its last record, -1 for none.
    pub end_offset: i64,
}

impl EpochEnd {
    /// Nothing is known of that epoch.
    pub const UNKNOWN: EpochEnd = EpochEnd {
        epoch: -1,
        end_offset: -1,
    };
}

/// The epochs of one partition; both fields rise from entry to entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    // Nearly every partition has one for all its life.
    entries: Box<[EpochStart]>,
}

impl Epochs {
    /// The epochs, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    /// Notes that `epoch` begins at `start_offset`. Entries that contradict it go; an older epoch is ignored.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) {
        if epoch < 0 || start_offset < 0 {
            return;
        }
        if self.latest().is_some_and(|last| {
            epoch < last.epoch || epoch == last.epoch && start_offset >= last.start_offset
        }) {
            return;
        }
        let kept = self.entries.iter().copied();
        let kept = kept.filter(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        let fresh = EpochStart {
            epoch,
            start_offset,
        };
        self.entries = kept.chain([fresh]).collect();
    }

    /// Forgets what lies wholly below `log_start`; the epoch that contains it begins there now.
    pub fn truncate_from_start(&mut self, log_start: i64) {
        let below = self
            .entries
            .partition_point(|entry| entry.start_offset <= log_start);
        let Some(containing) = below.checked_sub(1) else {
            return;
        };
        if containing > 0 {
            self.entries = self.entries.iter().skip(containing).copied().collect();
        }
        if let Some(first) = self.entries.first_mut() {
            first.start_offset = log_start;
        }
    }

    /// Forgets epochs that begin at or after `log_end`.
    pub fn truncate_from_end(&mut self, log_end: i64) {
        if self
            .latest()
            .is_some_and(|last| last.start_offset >= log_end)
        {
            let kept = self.entries.iter().copied();
            self.entries = kept.filter(|entry| entry.start_offset < log_end).collect();
        }
    }

    /// The epoch under which the record at `offset` was written.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.epoch)
    }

    /// Where the newest epoch not after `epoch` ends: at the log's end or where the next one begins.
    pub fn end_offset_for(&self, epoch: i32, log_end: i64) -> EpochEnd {
        if epoch == -1 {
            return EpochEnd::UNKNOWN;
        }
        if self.latest().is_some_and(|last| last.epoch == epoch) {
            return EpochEnd {
                epoch,
                end_offset: log_end,
            };
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let Some(next) = self.entries.get(higher) else {
            return EpochEnd::UNKNOWN;
        };
        let floor = higher.checked_sub(1).and_then(|at| self.entries.get(at));
        EpochEnd {
            // Older than all that is known: the answer names the epoch that was asked for.
            epoch: floor.map_or(epoch, |entry| entry.epoch),
            end_offset: next.start_offset,
        }
    }
}

/// Compares the epoch a client believes in (-1: none) with the leader's.
pub fn check_current_leader_epoch(leader_epoch: i32, claimed: i32) -> Result<(), Refusal> {
    if claimed == -1 || claimed == leader_epoch {
        return Ok(());
    }
    if claimed < leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch.into());
    }
    Err(ErrorCode::UnknownLeaderEpoch.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, start_offset) in entries {
            epochs.assign(*epoch, *start_offset);
        }
        epochs
    }

    fn end(epoch: i32, end_offset: i64) -> EpochEnd {
        EpochEnd { epoch, end_offset }
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = epochs(&[(2, 0), (4, 10), (7, 30)]);
        assert_eq!(epochs.end_offset_for(7, 50), end(7, 50));
        assert_eq!(epochs.end_offset_for(4, 50), end(4, 30));
        assert_eq!(epochs.end_offset_for(5, 50), end(4, 30));
        assert_eq!(epochs.end_offset_for(3, 50), end(2, 10));
        assert_eq!(epochs.end_offset_for(1, 50), end(1, 0));
        assert_eq!(epochs.end_offset_for(8, 50), EpochEnd::UNKNOWN);
        assert_eq!(epochs.end_offset_for(-1, 50), EpochEnd::UNKNOWN);
        assert_eq!(epochs.end_offset_for(-2, 50), end(-2, 0));
        assert_eq!(Epochs::default().end_offset_for(0, 50), EpochEnd::UNKNOWN);
    }

    #[test]
    fn epochs_without_records_are_replaced() {
        let epochs = epochs(&[(0, 0), (1, 5), (2, 5), (1, 9), (2, 9)]);
        let starts: Vec<_> = epochs
            .entries()
            .iter()
            .map(|e| (e.epoch, e.start_offset))
            .collect();
        assert_eq!(starts, [(0, 0), (2, 5)]);
    }

    #[test]
    fn a_moved_log_start_keeps_the_epoch_it_lies_in() {
        let mut epochs = epochs(&[(0, 0), (1, 5), (2, 8)]);
        epochs.truncate_from_start(6);
        let starts: Vec<_> = epochs
            .entries()
            .iter()
            .map(|e| (e.epoch, e.start_offset))
            .collect();
        assert_eq!(starts, [(1, 6), (2, 8)]);
        assert_eq!(epochs.epoch_at(5), None);
        assert_eq!(epochs.epoch_at(7), Some(1));
        assert_eq!(epochs.epoch_at(100), Some(2));
        epochs.truncate_from_end(8);
        assert_eq!(epochs.latest().map(|e| e.epoch), Some(1));
    }

    #[test]
    fn clients_with_another_epoch_are_told() {
        assert_eq!(check_current_leader_epoch(5, -1), Ok(()));
        assert_eq!(check_current_leader_epoch(5, 5), Ok(()));
        let code = |claimed| check_current_leader_epoch(5, claimed).unwrap_err().code;
        assert_eq!(code(4), ErrorCode::FencedLeaderEpoch);
        assert_eq!(code(6), ErrorCode::UnknownLeaderEpoch);
    }
}
