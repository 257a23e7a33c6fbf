//! All that a cluster remembers at one offset of its log, as a file of Kafka's: what a log begins with whose older part
//! is gone, and what `kafka-storage format` leaves for a new cluster to begin with.

#[cfg(test)]
mod tests;

use std::fmt;

use rustka_wire::snapshot_footer_record::SnapshotFooterRecord;
use rustka_wire::snapshot_header_record::SnapshotHeaderRecord;
use rustka_wire::{Reader, Writer};

use super::records::{Record, control};
use crate::batch::{
    BatchBuilder, BatchError, NewRecord, Records, batches, crc_matches, record_bytes,
};
use crate::machine::JournalRecord;

/// Digits of an offset in a name, and of an epoch.
const OFFSET_DIGITS: usize = 20;
const EPOCH_DIGITS: usize = 10;
/// A batch of records is closed at this size.
const BATCH_BYTES: usize = 1 << 20;
/// Compressed records may not grow beyond this.
const BYTES_MAX: usize = 16 << 20;

/// Which snapshot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// It says what all records before this offset do.
    pub end_offset: i64,
    /// The epoch of the last of them.
    pub epoch: i32,
}

impl SnapshotId {
    /// What the files are called behind offset and epoch.
    pub const SUFFIX: &str = ".checkpoint";

    /// What a directory was formatted with: nothing comes before it.
    pub const FORMATTED: SnapshotId = SnapshotId {
        end_offset: 0,
        epoch: 0,
    };

    /// The one that a file of this name holds.
    pub fn of_file(name: &str) -> Option<SnapshotId> {
        let digits = name.strip_suffix(SnapshotId::SUFFIX)?;
        let (end_offset, epoch) = digits.split_once('-')?;
        let is_number = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_number(end_offset, OFFSET_DIGITS) || !is_number(epoch, EPOCH_DIGITS) {
            return None;
        }
        Some(SnapshotId {
            end_offset: end_offset.parse().ok()?,
            epoch: epoch.parse().ok()?,
        })
    }
}

/// The name of its file.
impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SnapshotId { end_offset, epoch } = self;
        let suffix = SnapshotId::SUFFIX;
        write!(
            f,
            "{end_offset:0OFFSET_DIGITS$}-{epoch:0EPOCH_DIGITS$}{suffix}"
        )
    }
}

/// What was read of a file.
#[derive(Debug, PartialEq)]
pub struct Snapshot {
    /// The time of the last record that it stands for; 0 if nobody has noted it.
    pub last_timestamp: i64,
    /// The records; what the controllers agreed on among themselves first.
    pub records: Vec<Record>,
}

/// The bytes of a file with these records, written in this epoch. The last record that they stand for came at
/// `last_timestamp`.
pub fn write(
    records: impl Iterator<Item = Record>,
    epoch: i32,
    last_timestamp: i64,
    now_ms: i64,
) -> Result<Vec<u8>, BatchError> {
    let header = SnapshotHeaderRecord {
        version: 0,
        last_contained_log_timestamp: last_timestamp,
    };
    let mut records = records.peekable();
    // Features come before anything whose form depends on them.
    let mut level = i16::MAX;
    let mut written = Written {
        bytes: Vec::new(),
        next_offset: 0,
        epoch,
        now_ms,
    };
    let mut batch = written.begin().control();
    written.push_control(&mut batch, control::SNAPSHOT_HEADER, |w| {
        header.encode(w, 0);
    });
    while let Some(record) = records.next_if(|record| matches!(record, Record::Quorum(_))) {
        record.encode(&mut |key, value| written.push(&mut batch, key, value));
    }
    written.end(batch)?;
    let mut batch = written.begin();
    for record in records {
        level = record.metadata_version().unwrap_or(level);
        record.encode_at(level, &mut |key, value| {
            written.push(&mut batch, key, value);
        });
        if batch.bytes() >= BATCH_BYTES {
            written.end(batch)?;
            batch = written.begin();
        }
    }
    written.end(batch)?;
    let footer = SnapshotFooterRecord { version: 0 };
    let mut batch = written.begin().control();
    written.push_control(&mut batch, control::SNAPSHOT_FOOTER, |w| {
        footer.encode(w, 0);
    });
    written.end(batch)?;
    Ok(written.bytes)
}

struct Written {
    bytes: Vec<u8>,
    next_offset: i64,
    epoch: i32,
    now_ms: i64,
}

impl Written {
    fn begin(&self) -> BatchBuilder {
        BatchBuilder::new()
            .base_offset(self.next_offset)
            .leader_epoch(self.epoch)
    }

    fn push(&self, batch: &mut BatchBuilder, key: Option<&[u8]>, value: Option<&[u8]>) {
        batch.push(&NewRecord {
            timestamp: self.now_ms,
            key,
            value,
            headers: &[],
        });
    }

    fn push_control(&self, batch: &mut BatchBuilder, kind: i16, encode: impl FnOnce(&mut Writer)) {
        let mut value = Writer::with_capacity(64);
        encode(&mut value);
        self.push(batch, Some(&control::key(kind)), Some(&value.buf));
    }

    fn end(&mut self, batch: BatchBuilder) -> Result<(), BatchError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.next_offset += i64::try_from(batch.len()).unwrap_or(0);
        self.bytes.extend(batch.build()?);
        Ok(())
    }
}

/// What such a file says. The error is what it is not.
pub fn read(bytes: &[u8]) -> Result<Snapshot, String> {
    let mut reading = Reading {
        snapshot: Snapshot {
            last_timestamp: 0,
            records: Vec::new(),
        },
        has_begun: false,
        has_ended: false,
    };
    for batch in batches(bytes) {
        let broken = |what: &str| Err(format!("it has a batch {what}"));
        let Ok((header, place)) = batch else {
            return broken("that cannot be read");
        };
        let batch = &bytes[place];
        if !crc_matches(batch) {
            return broken("that does not match its checksum");
        }
        let Ok(inner) = record_bytes(batch, &header, BYTES_MAX) else {
            return broken("that cannot be inflated");
        };
        for record in Records::new(&inner, header.record_count) {
            let Ok(record) = record else {
                return broken("with a record that cannot be read");
            };
            let (key, value) = (record.key, record.value.unwrap_or_default());
            let read = match header.is_control() {
                true => reading.control(key, value),
                false => reading.record(key, value),
            };
            read?;
        }
    }
    match reading {
        Reading {
            has_begun: false, ..
        } => Err("it does not begin like one".to_owned()),
        Reading {
            has_ended: false, ..
        } => Err("its end is missing".to_owned()),
        Reading { snapshot, .. } if snapshot.records.is_empty() => {
            Err("it holds no records".to_owned())
        }
        Reading { snapshot, .. } => Ok(snapshot),
    }
}

struct Reading {
    snapshot: Snapshot,
    has_begun: bool,
    has_ended: bool,
}

impl Reading {
    fn control(&mut self, key: Option<&[u8]>, value: &[u8]) -> Result<(), String> {
        match control::kind(key) {
            Some(control::SNAPSHOT_HEADER) => {
                let header = SnapshotHeaderRecord::decode(&mut Reader::new(value), 0)
                    .map_err(|error| format!("its beginning cannot be read: {error}"))?;
                self.snapshot.last_timestamp = header.last_contained_log_timestamp;
                self.has_begun = true;
            }
            Some(control::SNAPSHOT_FOOTER) => self.has_ended = true,
            _ => {
                let record = Record::control(key, value).map_err(|error| {
                    format!("what it says of controllers cannot be read: {error}")
                })?;
                self.snapshot.records.extend(record);
            }
        }
        Ok(())
    }

    fn record(&mut self, key: Option<&[u8]>, value: &[u8]) -> Result<(), String> {
        let record = Record::decode(key, Some(value)).map_err(|error| {
            format!("it has a record that is none of those that are known here: {error}")
        })?;
        self.snapshot.records.extend(record);
        Ok(())
    }
}
