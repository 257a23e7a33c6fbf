//! What a directory was formatted with: the records that a new cluster begins with, as the snapshot that Kafka's
//! `kafka-storage format` leaves in the folder of the metadata log, where Kafka's start and ours look for it.

#[cfg(test)]
mod tests;

use rustka_wire::Writer;
use rustka_wire::kraft_version_record::KRaftVersionRecord;
use rustka_wire::snapshot_footer_record::SnapshotFooterRecord;
use rustka_wire::snapshot_header_record::SnapshotHeaderRecord;
use rustka_wire::voters_record::VotersRecord;

use super::records::Record;
use crate::batch::{
    BatchBuilder, BatchError, NewRecord, Records, batches, crc_matches, record_bytes,
};
use crate::machine::JournalRecord;

/// What the file is called: a snapshot of all before offset 0.
pub const FILE: &str = "00000000000000000000-0000000000.checkpoint";

/// The kinds of the control records in it.
const SNAPSHOT_HEADER: i16 = 3;
const SNAPSHOT_FOOTER: i16 = 4;
const KRAFT_VERSION: i16 = 5;
const KRAFT_VOTERS: i16 = 6;
/// Compressed records may not grow beyond this.
const BYTES_MAX: usize = 16 << 20;

/// The file's bytes: the records, and where controllers find each other by themselves, who they are.
pub fn write(
    records: &[Record],
    voters: Option<&VotersRecord<'_>>,
    now_ms: i64,
) -> Result<Vec<u8>, BatchError> {
    let header = SnapshotHeaderRecord {
        version: 0,
        last_contained_log_timestamp: now_ms,
    };
    let mut first = vec![(SNAPSHOT_HEADER, encoded(|w| header.encode(w, 0)))];
    if let Some(voters) = voters {
        let kraft = KRaftVersionRecord {
            version: 0,
            kraft_version: 1,
        };
        first.push((KRAFT_VERSION, encoded(|w| kraft.encode(w, 0))));
        first.push((KRAFT_VOTERS, encoded(|w| voters.encode(w, 0))));
    }
    let footer = SnapshotFooterRecord { version: 0 };
    let last = vec![(SNAPSHOT_FOOTER, encoded(|w| footer.encode(w, 0)))];
    let mut written = Written::default();
    written.control(&first, now_ms)?;
    let mut batch = written.begin();
    for record in records {
        record.encode(&mut |key, value| {
            batch.push(&NewRecord {
                timestamp: now_ms,
                key,
                value,
                headers: &[],
            });
        });
    }
    written.end(batch)?;
    written.control(&last, now_ms)?;
    Ok(written.bytes)
}

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    next_offset: i64,
}

impl Written {
    fn begin(&self) -> BatchBuilder {
        BatchBuilder::new()
            .base_offset(self.next_offset)
            .leader_epoch(0)
    }

    fn end(&mut self, batch: BatchBuilder) -> Result<(), BatchError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.next_offset += i64::try_from(batch.len()).unwrap_or(0);
        self.bytes.extend(batch.build()?);
        Ok(())
    }

    fn control(&mut self, records: &[(i16, Vec<u8>)], now_ms: i64) -> Result<(), BatchError> {
        let mut batch = self.begin().control();
        for (kind, value) in records {
            let key = [[0, 0], kind.to_be_bytes()].concat();
            batch.push(&NewRecord {
                timestamp: now_ms,
                key: Some(&key),
                value: Some(value),
                headers: &[],
            });
        }
        self.end(batch)
    }
}

fn encoded(encode: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    encode(&mut writer);
    writer.buf
}

/// The records of such a file, but for what controllers say among themselves. The error is what it is not.
pub fn read(bytes: &[u8]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for batch in batches(bytes) {
        let broken = |what: &str| Err(format!("it has a batch {what}"));
        let Ok((header, place)) = batch else {
            return broken("that cannot be read");
        };
        let batch = &bytes[place];
        if !crc_matches(batch) {
            return broken("that does not match its checksum");
        }
        if header.is_control() {
            continue;
        }
        let Ok(inner) = record_bytes(batch, &header, BYTES_MAX) else {
            return broken("that cannot be inflated");
        };
        for record in Records::new(&inner, header.record_count) {
            let Ok(record) = record else {
                return broken("with a record that cannot be read");
            };
            match Record::decode(record.key, record.value) {
                Ok(record) => records.extend(record),
                Err(error) => {
                    return broken(&format!("with a record that is none of Kafka's: {error}"));
                }
            }
        }
    }
    match records.is_empty() {
        true => Err("it holds no records".to_owned()),
        false => Ok(records),
    }
}
