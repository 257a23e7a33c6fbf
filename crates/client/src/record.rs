//! Records as users have them, and how they come out of batches.

use std::borrow::Cow;
use std::collections::BTreeSet;

use rustka_core::batch::{
    BatchError, BatchHeader, Records, batches, crc_matches, read_marker, record_bytes,
};
use rustka_core::compression::InflateLimits;
use rustka_wire::fetch_response::AbortedTransaction;

use crate::error::{Problem, Reason, Result};

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Where to; chosen by the key, or by turns, if absent.
    pub partition: Option<i32>,
    /// Milliseconds since the Unix epoch; now if absent.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone on a compacted topic.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl NewRecord {
    /// A record with only this value.
    pub fn value(value: impl Into<Vec<u8>>) -> NewRecord {
        NewRecord {
            value: Some(value.into()),
            ..NewRecord::default()
        }
    }

    /// The same with this key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> NewRecord {
        self.key = Some(key.into());
        self
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, -1 for none.
    pub timestamp: i64,
    /// Whether the broker set the timestamp.
    pub is_append_time: bool,
    /// The leader's epoch when it was written.
    pub leader_epoch: i32,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// Headers in order; names that are not UTF-8 are shown as far as they are.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What a fetched partition holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Records from the wanted offset on.
    pub records: Vec<Record>,
    /// Where to read on: behind the last batch, which may hold less than its offsets say.
    pub next_offset: i64,
}

/// Reads whole batches from `offset` on, without markers and, given a list of aborted transactions, without what these wrote.
/// A batch that is cut off at the end is left for the next fetch.
pub fn unpack(
    bytes: &[u8],
    offset: i64,
    aborted: Option<&[AbortedTransaction]>,
    limits: InflateLimits,
) -> Result<Unpacked> {
    let mut out = Unpacked {
        records: Vec::new(),
        next_offset: offset,
    };
    let mut rolled_back = RolledBack::new(aborted.unwrap_or_default());
    for batch in batches(bytes) {
        let (header, place) = match batch {
            Ok(batch) => batch,
            Err(BatchError::Truncated) => break,
            Err(error) => return Err(error.into()),
        };
        let batch = bytes.get(place).unwrap_or_default();
        let last = header.last_offset().ok_or(BatchError::Overflow)?;
        let is_hidden = rolled_back.hides(batch, &header)?;
        if last < offset {
            continue;
        }
        out.next_offset = last.checked_add(1).ok_or(BatchError::Overflow)?;
        if !is_hidden && !header.is_control() {
            read_batch(batch, &header, offset, limits, &mut out.records)?;
        }
    }
    Ok(out)
}

fn read_batch(
    batch: &[u8],
    header: &BatchHeader,
    offset: i64,
    limits: InflateLimits,
    out: &mut Vec<Record>,
) -> Result<()> {
    if !crc_matches(batch) {
        let (doing, problem) = ("Fetch", Problem::Checksum);
        return Err(Reason::Malformed { doing, problem }.into());
    }
    let bytes = record_bytes(batch, header, limits.batch_bytes_max)?;
    for record in Records::of(header, &bytes, limits) {
        let record = record?;
        let at = header.offset_of(&record).ok_or(BatchError::Overflow)?;
        if at < offset {
            continue;
        }
        let headers = record.headers.into_iter();
        out.push(Record {
            offset: at,
            timestamp: header.timestamp_of(&record).ok_or(BatchError::Overflow)?,
            is_append_time: header.log_append_time(),
            leader_epoch: header.partition_leader_epoch,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers
                .map(|(key, value)| (text(key).into_owned(), value.map(<[u8]>::to_vec)))
                .collect(),
        });
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Which transactions of a fetched range were rolled back, while one walks over it.
struct RolledBack {
    /// What begins later, the earliest last.
    to_come: Vec<AbortedTransaction>,
    /// Producers whose transaction at this point was rolled back.
    producers: BTreeSet<i64>,
}

impl RolledBack {
    fn new(aborted: &[AbortedTransaction]) -> RolledBack {
        let mut to_come = aborted.to_vec();
        to_come.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        RolledBack {
            to_come,
            producers: BTreeSet::new(),
        }
    }

    fn hides(&mut self, batch: &[u8], header: &BatchHeader) -> Result<bool> {
        let last = header.last_offset().ok_or(BatchError::Overflow)?;
        while let Some(begun) = self.to_come.pop_if(|next| next.first_offset <= last) {
            self.producers.insert(begun.producer_id);
        }
        if !header.is_transactional() || !self.producers.contains(&header.producer_id) {
            return Ok(false);
        }
        let marker = read_marker(batch, header)?;
        if marker.is_some_and(|marker| !marker.commit) {
            self.producers.remove(&header.producer_id);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka_core::batch::{BatchBuilder, NewRecord as Plain, end_transaction_marker};
    use rustka_core::compression::Codec;

    fn batch(base: i64, values: &[&str], change: impl Fn(BatchBuilder) -> BatchBuilder) -> Vec<u8> {
        let mut builder = change(BatchBuilder::new().base_offset(base));
        for value in values {
            builder.push(&Plain {
                timestamp: 7,
                value: Some(value.as_bytes()),
                ..Plain::default()
            });
        }
        builder.build().unwrap()
    }

    fn values(unpacked: &Unpacked) -> Vec<&str> {
        let values = unpacked.records.iter().filter_map(|r| r.value.as_deref());
        values
            .map(|value| std::str::from_utf8(value).unwrap())
            .collect()
    }

    fn read(bytes: &[u8], offset: i64, aborted: Option<&[AbortedTransaction]>) -> Unpacked {
        unpack(bytes, offset, aborted, InflateLimits::default()).unwrap()
    }

    #[test]
    fn reading_begins_within_a_batch_and_ends_before_one_that_is_cut_off() {
        let first = batch(3, &["a", "b", "c"], |b| b.compression(Codec::Zstd, None));
        let second = batch(6, &["d"], |b| b);
        let all = [first.clone(), second.clone()].concat();
        let whole = read(&all, 4, None);
        assert_eq!(
            (values(&whole), whole.next_offset),
            (vec!["b", "c", "d"], 7)
        );
        let cut = read(&all[..all.len() - 1], 4, None);
        assert_eq!((values(&cut), cut.next_offset), (vec!["b", "c"], 6));
        assert_eq!(read(&all[..first.len() - 1], 4, None).next_offset, 4);
    }

    #[test]
    fn what_was_rolled_back_is_not_seen_by_who_asks_for_the_rest() {
        let transactional = |id| move |b: BatchBuilder| b.producer(id, 0, 0).transactional();
        let mut marker = end_transaction_marker(1, 0, 0, false, 7).unwrap();
        rustka_core::batch::set_base_offset(&mut marker, 3);
        let all = [
            batch(0, &["undone"], transactional(1)),
            batch(1, &["other"], transactional(2)),
            batch(2, &["plain"], |b| b),
            marker,
            batch(4, &["again"], transactional(1)),
        ]
        .concat();
        let aborted = [AbortedTransaction {
            producer_id: 1,
            first_offset: 0,
        }];
        assert_eq!(
            values(&read(&all, 0, Some(&aborted))),
            ["other", "plain", "again"]
        );
        assert_eq!(
            values(&read(&all, 0, None)),
            ["undone", "other", "plain", "again"]
        );
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let mut bytes = batch(0, &["a"], |b| b);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(unpack(&bytes, 0, None, InflateLimits::default()).is_err());
    }
}
