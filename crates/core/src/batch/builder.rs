//! Encodes batches: journals, transaction markers, tests.

use super::{
    BatchError, BatchHeader, CONTROL_BIT, HEADER_BYTES, LOG_APPEND_TIME_BIT, MAGIC, OVERHEAD_BYTES,
    TRANSACTIONAL_BIT, seal, varint,
};
use crate::compression::{Codec, compress};

/// A record to be encoded.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Milliseconds since the Unix epoch, -1 for none.
    pub timestamp: i64,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// The value, if any.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Collects records and encodes them as one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    level: Option<i32>,
    appended_at: Option<i64>,
    /// Room for the header, and the records behind it; empty while there is none.
    batch: Vec<u8>,
    /// The record that is just being added: its length stands before it.
    body: Vec<u8>,
    count: i32,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// An empty, uncompressed batch at offset 0 without a producer.
    pub fn new() -> BatchBuilder {
        BatchBuilder {
            header: BatchHeader {
                base_offset: 0,
                batch_length: 0,
                partition_leader_epoch: -1,
                magic: MAGIC,
                crc: 0,
                attributes: 0,
                last_offset_delta: -1,
                base_timestamp: -1,
                max_timestamp: -1,
                producer_id: -1,
                producer_epoch: -1,
                base_sequence: -1,
                record_count: 0,
            },
            codec: Codec::None,
            level: None,
            appended_at: None,
            batch: Vec::new(),
            body: Vec::new(),
            count: 0,
        }
    }

    /// Starts at this offset.
    pub fn base_offset(mut self, base_offset: i64) -> Self {
        self.header.base_offset = base_offset;
        self
    }

    /// Names the leader's epoch.
    pub fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.header.partition_leader_epoch = leader_epoch;
        self
    }

    /// Names the producer and the sequence of the first record (-1 for coordinators, which have none).
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Makes the batch part of the producer's transaction.
    pub fn transactional(mut self) -> Self {
        self.header.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// Makes the batch one of markers.
    pub fn control(mut self) -> Self {
        self.header.attributes |= CONTROL_BIT;
        self
    }

    /// Gives all records this time instead of their own.
    pub fn log_append_time(mut self, timestamp: i64) -> Self {
        self.header.attributes |= LOG_APPEND_TIME_BIT;
        self.appended_at = Some(timestamp);
        self
    }

    /// Compresses the records, at the codec's default level unless one is given.
    pub fn compression(mut self, codec: Codec, level: Option<i32>) -> Self {
        self.codec = codec;
        self.level = level;
        self
    }

    /// Adds a record.
    pub fn record(mut self, record: &NewRecord<'_>) -> Self {
        self.push(record);
        self
    }

    /// Adds a record.
    pub fn push(&mut self, record: &NewRecord<'_>) {
        let bytes_max = bytes_max(record);
        if self.count == 0 {
            self.header.base_timestamp = record.timestamp;
            self.batch.reserve(HEADER_BYTES + bytes_max);
            self.batch.resize(HEADER_BYTES, 0);
        }
        self.header.max_timestamp = self.header.max_timestamp.max(record.timestamp);
        let delta = record.timestamp.wrapping_sub(self.header.base_timestamp);
        let body = &mut self.body;
        body.clear();
        body.reserve(bytes_max);
        body.push(0);
        varint::put(body, delta);
        varint::put(body, i64::from(self.count));
        put_nullable(body, record.key);
        put_nullable(body, record.value);
        varint::put(body, record.headers.len() as i64);
        for (key, value) in record.headers {
            put_nullable(body, Some(key.as_bytes()));
            put_nullable(body, *value);
        }
        varint::put(&mut self.batch, body.len() as i64);
        self.batch.extend_from_slice(body);
        self.count = self.count.saturating_add(1);
    }

    /// How many records there are so far.
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Whether there are no records yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn bytes(&self) -> usize {
        self.batch.len().max(HEADER_BYTES)
    }

    /// Encodes the batch.
    pub fn build(self) -> Result<Vec<u8>, BatchError> {
        let mut header = self.header;
        header.attributes |= i16::from(self.codec.id());
        header.record_count = self.count;
        header.last_offset_delta = self.count - 1;
        if let Some(timestamp) = self.appended_at {
            header.max_timestamp = timestamp;
        }
        let mut batch = self.batch;
        batch.resize(batch.len().max(HEADER_BYTES), 0);
        match self.codec {
            Codec::None => finish(header, batch),
            codec => encode(
                header,
                &compress(codec, self.level, &batch[HEADER_BYTES..])?,
            ),
        }
    }
}

/// The control batch with which a coordinator ends a producer's transaction on a partition.
pub fn end_transaction_marker(
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    commit: bool,
    timestamp: i64,
) -> Result<Vec<u8>, BatchError> {
    let kind = i16::from(commit).to_be_bytes();
    let key = [[0, 0], kind].concat();
    let value = [&[0, 0][..], &coordinator_epoch.to_be_bytes()[..]].concat();
    BatchBuilder::new()
        .producer(producer_id, producer_epoch, -1)
        .transactional()
        .control()
        .record(&NewRecord {
            timestamp,
            key: Some(&key),
            value: Some(&value),
            headers: &[],
        })
        .build()
}

/// Puts `header` before record bytes that are already as it says, with the right length and CRC.
pub(crate) fn encode(header: BatchHeader, records: &[u8]) -> Result<Vec<u8>, BatchError> {
    let mut batch = Vec::with_capacity(HEADER_BYTES + records.len());
    batch.resize(HEADER_BYTES, 0);
    batch.extend_from_slice(records);
    finish(header, batch)
}

/// The same where room for the header was left before the records.
fn finish(mut header: BatchHeader, mut batch: Vec<u8>) -> Result<Vec<u8>, BatchError> {
    let length = batch.len() - OVERHEAD_BYTES;
    header.batch_length = i32::try_from(length).map_err(|_| BatchError::TooLong)?;
    let mut fixed = [0; HEADER_BYTES];
    header.write(&mut fixed);
    batch[..HEADER_BYTES].copy_from_slice(&fixed);
    seal(&mut batch);
    Ok(batch)
}

/// What a record takes at most, with its length before it.
fn bytes_max(record: &NewRecord<'_>) -> usize {
    let bytes = |bytes: Option<&[u8]>| varint::BYTES_MAX + bytes.map_or(0, <[u8]>::len);
    let headers = record.headers.iter();
    let headers = headers.map(|(key, value)| bytes(Some(key.as_bytes())) + bytes(*value));
    // Its length, attributes, the two deltas, the number of headers.
    let fixed = 4 * varint::BYTES_MAX + 1;
    fixed + bytes(record.key) + bytes(record.value) + headers.sum::<usize>()
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::put(out, -1),
    }
}
