//! The sparse indexes beside a segment, `.index` by offset and `.timeindex` by time: which batches get an entry, and
//! what the entries look like.

/// Size of an entry by offset.
pub(super) const OFFSET_ENTRY_BYTES: u64 = 8;
/// Size of an entry by time.
pub(super) const TIME_ENTRY_BYTES: u64 = 12;

/// One place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// The last offset of a batch, from the segment's base on.
    pub offset_delta: u32,
    /// Where that batch begins.
    pub at: u32,
}

impl OffsetEntry {
    pub fn encode(self) -> [u8; 8] {
        (u64::from(self.offset_delta) << 32 | u64::from(self.at)).to_be_bytes()
    }

    pub fn decode(bytes: [u8; 8]) -> OffsetEntry {
        let both = u64::from_be_bytes(bytes);
        OffsetEntry {
            offset_delta: (both >> 32) as u32,
            at: both as u32,
        }
    }
}

/// The latest time so far, and who brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeEntry {
    /// Milliseconds.
    pub timestamp: i64,
    /// The last offset of that batch, from the segment's base on.
    pub offset_delta: u32,
}

impl TimeEntry {
    pub fn decode(bytes: [u8; 12]) -> TimeEntry {
        let (mut timestamp, mut delta) = ([0; 8], [0; 4]);
        timestamp.copy_from_slice(&bytes[..8]);
        delta.copy_from_slice(&bytes[8..]);
        TimeEntry {
            timestamp: i64::from_be_bytes(timestamp),
            offset_delta: u32::from_be_bytes(delta),
        }
    }

    pub fn encode(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.offset_delta.to_be_bytes());
        bytes
    }
}

/// Entries that a batch leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    pub by_offset: Option<OffsetEntry>,
    pub by_time: Option<TimeEntry>,
}

/// What is known of a batch that is about to be appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appending {
    /// Where it begins in the segment.
    pub at: u64,
    pub bytes: u64,
    /// Its last offset, from the segment's base on.
    pub offset_delta: i64,
    pub max_timestamp: i64,
}

/// Decides about entries, as Kafka does (facts measured on 4.4): before a batch is appended, if more than
/// `index.interval.bytes` were since the last entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexing {
    since_entry_bytes: u64,
    /// Entries by offset so far.
    pub by_offset: u64,
    /// Entries by time so far.
    pub by_time: u64,
    latest: Option<TimeEntry>,
    timed: Option<i64>,
}

impl Indexing {
    /// Counts a batch; the entries that it gets.
    pub fn append(&mut self, batch: &Appending, interval_bytes: u64) -> Entries {
        let mut entries = Entries::default();
        let (Ok(offset_delta), Ok(at)) =
            (u32::try_from(batch.offset_delta), u32::try_from(batch.at))
        else {
            // Such a segment is never begun: it is rolled before.
            return entries;
        };
        let latest = self.latest.map_or(-1, |latest| latest.timestamp);
        if batch.max_timestamp > latest {
            self.latest = Some(TimeEntry {
                timestamp: batch.max_timestamp,
                offset_delta,
            });
        }
        if self.since_entry_bytes > interval_bytes {
            self.since_entry_bytes = 0;
            self.by_offset += 1;
            entries.by_offset = Some(OffsetEntry { offset_delta, at });
            entries.by_time = self.time_entry();
        }
        self.since_entry_bytes = self.since_entry_bytes.saturating_add(batch.bytes);
        entries
    }

    /// Goes on behind so many entries, of which the last one by time is this.
    pub fn resume(by_offset: u64, by_time: u64, latest: Option<TimeEntry>) -> Indexing {
        Indexing {
            since_entry_bytes: 0,
            by_offset,
            by_time,
            latest,
            timed: latest.map(|latest| latest.timestamp),
        }
    }

    /// There are so many entries by time already, and this is the last of them.
    pub fn go_on_after(&mut self, by_time: u64, last: TimeEntry) {
        self.by_time = by_time;
        self.timed = Some(last.timestamp);
    }

    /// The next batch gets an entry.
    pub fn want_entry(&mut self, interval_bytes: u64) {
        self.since_entry_bytes = interval_bytes.saturating_add(1);
    }

    /// The entry by time that a segment would get if it were closed now, with its number.
    pub fn closing(&self) -> Option<(u64, TimeEntry)> {
        let mut closed = self.clone();
        let entry = closed.close()?;
        Some((self.by_time, entry))
    }

    /// The entry by time that a segment gets when it is closed.
    pub fn close(&mut self) -> Option<TimeEntry> {
        self.time_entry()
    }

    fn time_entry(&mut self) -> Option<TimeEntry> {
        let latest = self.latest?;
        if self.timed.is_some_and(|timed| timed >= latest.timestamp) {
            return None;
        }
        self.timed = Some(latest.timestamp);
        self.by_time += 1;
        Some(latest)
    }

    /// Whether one of the indexes, which may grow to `bytes_max`, has no room for another entry. The last place by time
    /// is for the entry at the end.
    pub fn is_full(&self, bytes_max: u64) -> bool {
        self.by_offset >= bytes_max / OFFSET_ENTRY_BYTES
            || self.by_time + 1 >= bytes_max / TIME_ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(indexing: &mut Indexing, at: u64, bytes: u64, offset: i64, time: i64) -> Entries {
        let batch = Appending {
            at,
            bytes,
            offset_delta: offset,
            max_timestamp: time,
        };
        indexing.append(&batch, 4_096)
    }

    // Measured on Kafka 4.4 with batches of 991 bytes.
    #[test]
    fn the_sixth_batch_of_a_kilobyte_is_the_first_with_an_entry() {
        let mut indexing = Indexing::default();
        for n in 0..5 {
            let entries = append(&mut indexing, n * 991, 991, n as i64, 100);
            assert_eq!(entries, Entries::default());
        }
        let entries = append(&mut indexing, 4_955, 991, 5, 90);
        let expected = OffsetEntry {
            offset_delta: 5,
            at: 4_955,
        };
        assert_eq!(entries.by_offset, Some(expected));
        let first = TimeEntry {
            timestamp: 100,
            offset_delta: 0,
        };
        assert_eq!(entries.by_time, Some(first));
        // Older times add nothing, also not at the end.
        assert_eq!(append(&mut indexing, 5_946, 20_000, 6, 80).by_offset, None);
        let entries = append(&mut indexing, 25_946, 991, 7, 80);
        assert!(entries.by_offset.is_some() && entries.by_time.is_none());
        assert_eq!(indexing.close(), None);
        append(&mut indexing, 26_937, 991, 8, 200);
        let last = TimeEntry {
            timestamp: 200,
            offset_delta: 8,
        };
        assert_eq!(indexing.close(), Some(last));
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let entry = OffsetEntry {
            offset_delta: 7,
            at: u32::MAX,
        };
        assert_eq!(OffsetEntry::decode(entry.encode()), entry);
        let entry = TimeEntry {
            timestamp: 1,
            offset_delta: 2,
        };
        assert_eq!(entry.encode(), [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    }

    // Measured on Kafka 4.4: 100 bytes leave room for 12 entries by offset and 8 by time, the last of them for the end.
    #[test]
    fn the_time_index_is_full_one_entry_early() {
        let mut indexing = Indexing {
            by_time: 6,
            ..Indexing::default()
        };
        assert!(!indexing.is_full(100));
        indexing.by_time = 7;
        assert!(indexing.is_full(100));
    }
}
