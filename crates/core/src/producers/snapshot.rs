//! Producers as Kafka keeps them in `.snapshot` files: of each the last batch, and where its open transaction begins.

use super::producer::{BatchMark, Producer};
use super::{Aborted, AbortedTransaction, Producers};

/// The version of the format.
const VERSION: i16 = 1;
/// Version, checksum and count.
const HEAD_BYTES: usize = 10;
/// Where the checksum ends, which covers all behind it.
const COVERED_AT: usize = 6;
/// One producer.
const ENTRY_BYTES: usize = 46;

impl Producers {
    /// The content of such a file.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.by_id.len() * ENTRY_BYTES);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let count = u32::try_from(self.by_id.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_be_bytes());
        for (producer_id, producer) in &self.by_id {
            let last = producer.newest();
            bytes.extend_from_slice(&producer_id.to_be_bytes());
            bytes.extend_from_slice(&producer.epoch().to_be_bytes());
            bytes.extend_from_slice(&producer.last_sequence().to_be_bytes());
            bytes.extend_from_slice(&last.map_or(-1, |last| last.last_offset).to_be_bytes());
            bytes.extend_from_slice(&last.map_or(0, |last| last.offset_delta).to_be_bytes());
            bytes.extend_from_slice(&producer.last_timestamp.to_be_bytes());
            bytes.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            bytes.extend_from_slice(&producer.open_from().unwrap_or(-1).to_be_bytes());
        }
        let crc = crc32c::crc32c(bytes.get(COVERED_AT..).unwrap_or_default());
        if let Some(place) = bytes.get_mut(2..COVERED_AT) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
        bytes
    }

    /// The content of a file without producers.
    pub fn empty_snapshot() -> Vec<u8> {
        Producers::default().snapshot()
    }

    /// What such a file says, with the transactions that were aborted by then, in order of their markers. Nothing if it
    /// is damaged. Producers count as last heard of at this time.
    pub fn of_snapshot(
        bytes: &[u8],
        aborted: Vec<AbortedTransaction>,
        wall_ms: i64,
    ) -> Option<Producers> {
        let mut fields = Fields(bytes);
        if i16::from_be_bytes(fields.take()?) != VERSION {
            return None;
        }
        if u32::from_be_bytes(fields.take()?) != crc32c::crc32c(fields.0) {
            return None;
        }
        let count = u32::from_be_bytes(fields.take()?) as usize;
        if count.checked_mul(ENTRY_BYTES) != Some(fields.0.len()) {
            return None;
        }
        let mut producers = Producers::default();
        while !fields.0.is_empty() {
            producers.restore(&mut fields, wall_ms)?;
        }
        producers.restore_aborted(aborted);
        Some(producers)
    }

    fn restore_aborted(&mut self, aborted: Vec<AbortedTransaction>) {
        // Those that come may begin right behind the last of them, unless there are some that have begun already.
        let behind = aborted
            .last()
            .map_or(0, |last| last.last_offset.saturating_add(1));
        let mut later_from = self.open.first().unwrap_or(behind);
        let aborted = aborted.into_iter().rev().map(|transaction| {
            let remembered = Aborted {
                transaction,
                later_from,
            };
            later_from = later_from.min(transaction.first_offset);
            remembered
        });
        self.aborted = aborted.collect();
        self.aborted.reverse();
    }

    fn restore(&mut self, fields: &mut Fields<'_>, wall_ms: i64) -> Option<()> {
        let producer_id = i64::from_be_bytes(fields.take()?);
        let mut producer = Producer::new(i16::from_be_bytes(fields.take()?));
        let last_sequence = i32::from_be_bytes(fields.take()?);
        let last_offset = i64::from_be_bytes(fields.take()?);
        let offset_delta = i32::from_be_bytes(fields.take()?);
        let timestamp = i64::from_be_bytes(fields.take()?);
        producer.coordinator_epoch = i32::from_be_bytes(fields.take()?);
        let open_from = i64::from_be_bytes(fields.take()?);
        producer.last_timestamp = timestamp;
        producer.last_used_ms = wall_ms;
        if last_sequence >= 0 && last_offset >= 0 && offset_delta >= 0 {
            producer.push(BatchMark {
                last_offset,
                timestamp,
                last_sequence,
                offset_delta,
            });
        }
        if open_from >= 0 {
            producer.open(open_from);
            self.open.begin(open_from);
        }
        self.by_id.insert(producer_id, Box::new(producer));
        Some(())
    }
}

/// What is left to be read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Attempt, Check, Marker, Origin};
    use super::*;

    fn attempt(producer_id: i64, first_sequence: i32, transactional: bool) -> Attempt {
        Attempt {
            producer_id,
            epoch: 3,
            first_sequence,
            last_sequence: first_sequence + 1,
            offset_delta: 1,
            transactional,
        }
    }

    fn known() -> Producers {
        let mut producers = Producers::default();
        producers.appended(&attempt(7, 0, false), 10, 1_000, 50);
        producers.appended(&attempt(7, 2, false), 12, 1_001, 50);
        producers.appended(&attempt(8, 0, true), 14, 1_002, 50);
        producers.appended(&attempt(9, 0, true), 16, 1_003, 50);
        let marker = Marker {
            commit: false,
            coordinator_epoch: 4,
            epoch_bumped: true,
        };
        // With its epoch raised nothing but that is left of the producer.
        producers.ended((9, 4), &marker, 18, 1_004, 50);
        producers
    }

    #[test]
    fn a_snapshot_tells_of_each_producer_what_kafka_tells() {
        let bytes = known().snapshot();
        assert_eq!(bytes.len(), HEAD_BYTES + 3 * ENTRY_BYTES);
        assert_eq!(bytes[..2], [0, 1]);
        let first: [&[u8]; 8] = [
            &7_i64.to_be_bytes(),
            &3_i16.to_be_bytes(),
            &3_i32.to_be_bytes(),
            &13_i64.to_be_bytes(),
            &1_i32.to_be_bytes(),
            &1_001_i64.to_be_bytes(),
            &(-1_i32).to_be_bytes(),
            &(-1_i64).to_be_bytes(),
        ];
        assert_eq!(bytes[HEAD_BYTES..][..ENTRY_BYTES], first.concat());
        let last: [&[u8]; 8] = [
            &9_i64.to_be_bytes(),
            &4_i16.to_be_bytes(),
            &(-1_i32).to_be_bytes(),
            &(-1_i64).to_be_bytes(),
            &0_i32.to_be_bytes(),
            &1_004_i64.to_be_bytes(),
            &4_i32.to_be_bytes(),
            &(-1_i64).to_be_bytes(),
        ];
        assert_eq!(bytes[HEAD_BYTES + 2 * ENTRY_BYTES..], last.concat());
        assert_eq!(Producers::empty_snapshot().len(), HEAD_BYTES);
    }

    #[test]
    fn what_is_read_again_says_the_same() {
        let before = known();
        let aborted: Vec<_> = before.aborted_between(0, 100).collect();
        let after = Producers::of_snapshot(&before.snapshot(), aborted, 60).expect("whole");
        assert_eq!(after.snapshot(), before.snapshot());
        assert_eq!(after.first_unstable_offset(i64::MAX), Some(14));
        assert_eq!(after.aborted_between(0, 100).count(), 1);
        let again = after.check(&attempt(7, 2, false), Origin::Client);
        assert!(matches!(again, Ok(Check::Duplicate(found)) if found.base_offset == 12));
        assert_eq!(
            after.check(&attempt(7, 4, false), Origin::Client),
            Ok(Check::New)
        );
    }

    #[test]
    fn what_is_aborted_after_it_was_read_again_is_told_of_as_well() {
        let mut before = known();
        let commit = Marker {
            commit: true,
            coordinator_epoch: 4,
            epoch_bumped: false,
        };
        before.ended((8, 3), &commit, 20, 1_005, 50);
        let aborted: Vec<_> = before.aborted_between(0, 100).collect();
        let mut after = Producers::of_snapshot(&before.snapshot(), aborted, 60).expect("whole");
        after.appended(&attempt(8, 2, true), 21, 1_006, 70);
        let abort = Marker {
            commit: false,
            ..commit
        };
        after.ended((8, 3), &abort, 23, 1_007, 70);
        let told = |end| {
            let told = after.aborted_between(0, end);
            told.map(|it| it.first_offset).collect::<Vec<_>>()
        };
        assert_eq!(told(i64::MAX), [16, 21]);
        assert_eq!(told(22), [16, 21]);
        assert_eq!(told(21), [16]);
    }

    #[test]
    fn a_damaged_snapshot_says_nothing() {
        let whole = known().snapshot();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            let read = Producers::of_snapshot(&bad, Vec::new(), 0);
            assert!(read.is_none(), "byte {at}");
            let read = Producers::of_snapshot(&whole[..at], Vec::new(), 0);
            assert!(read.is_none(), "{at} bytes");
        }
    }
}
