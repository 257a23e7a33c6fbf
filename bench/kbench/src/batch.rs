//! Record batches (magic 2), encoded once and replayed.

use crate::wire;
use rustka_core::batch::{BatchBuilder, BatchHeader, HEADER_BYTES, NewRecord, Records as Walk};
use rustka_core::compression::{Codec, LZ4_LEVEL_FAST};
use rustka_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rustka_wire::produce_response::ProduceResponse;
use rustka_wire::{Records, Uuid};
use std::io::{self, Write};

/// A codec, and a level that costs a producer little.
#[derive(Clone, Copy)]
pub struct Packing(Codec, Option<i32>);

impl Packing {
    pub const NONE: Packing = Packing(Codec::None, None);

    pub fn parse(s: &str) -> Packing {
        match s {
            "none" => Packing::NONE,
            "lz4" => Packing(Codec::Lz4, Some(LZ4_LEVEL_FAST)),
            "zstd" => Packing(Codec::Zstd, Some(1)),
            _ => panic!("codec {s}"),
        }
    }
}

/// JSON-like text, different in every record: compresses about 4-5 times, as events do.
pub fn payload(size: usize, seed: u64) -> Vec<u8> {
    let mut v = Vec::with_capacity(size + 64);
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while v.len() < size {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        write!(v, "{{\"event_id\":\"{:016x}\",\"level\":\"info\",\"project\":{},\"message\":\"request done\",\"ms\":{}}},", x, x % 97, x % 1009).unwrap();
    }
    v.truncate(size);
    v
}

pub struct Txn {
    pub pid: i64,
    pub epoch: i16,
    pub seq: i32,
    pub transactional: bool,
}

/// One batch of records without keys or headers.
pub fn encode(values: &[Vec<u8>], packing: Packing, txn: Option<&Txn>) -> Vec<u8> {
    encode_keyed(values, None, packing, txn)
}

/// The same; with keys when there is a number for each.
pub fn encode_keyed(
    values: &[Vec<u8>],
    keys: Option<&[usize]>,
    packing: Packing,
    txn: Option<&Txn>,
) -> Vec<u8> {
    let timestamp = (crate::stat::unix_ns() / 1_000_000) as i64;
    let mut b = BatchBuilder::new().compression(packing.0, packing.1);
    if let Some(t) = txn {
        b = b.producer(t.pid, t.epoch, t.seq);
        if t.transactional {
            b = b.transactional();
        }
    }
    for (i, value) in values.iter().enumerate() {
        let key = keys.map(|keys| format!("key-{:08}", keys[i]));
        b.push(&NewRecord {
            timestamp,
            key: key.as_ref().map(String::as_bytes),
            value: Some(value),
            headers: &[],
        });
    }
    b.build().expect("a batch")
}

/// Makes a batch the next one of its producer: id, epoch and sequence, and the CRC over them.
pub fn stamp(batch: &mut [u8], t: &Txn) {
    batch[43..51].copy_from_slice(&t.pid.to_be_bytes());
    batch[51..53].copy_from_slice(&t.epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&t.seq.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A topic by its name, and by its id for the versions that want that.
#[derive(Clone)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
}

impl Topic {
    pub fn named(name: &str) -> Topic {
        Topic {
            name: name.to_string(),
            id: Uuid::ZERO,
        }
    }
}

/// A Produce frame of this version with one batch per partition, and the place of each batch in it.
pub fn produce_frame_of(
    version: i16,
    topic: &Topic,
    acks: i16,
    txn_id: Option<&str>,
    batches: &[(i32, &[u8])],
) -> (Vec<u8>, Vec<usize>) {
    let partitions =
        batches
            .iter()
            .enumerate()
            .map(|(slot, (index, batch))| PartitionProduceData {
                index: *index,
                records: Some(Records::Spliced {
                    slot: slot as u32,
                    len: batch.len() as u32,
                }),
            });
    let request = ProduceRequest {
        transactional_id: txn_id.map(Into::into),
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.name.as_str().into(),
            topic_id: topic.id,
            partition_data: partitions.collect(),
        }],
    };
    let batches: Vec<&[u8]> = batches.iter().map(|(_, batch)| *batch).collect();
    wire::frame_with(version, &request, &batches)
}

/// A Produce v3 or v7 frame of one batch.
pub fn produce_frame(
    topic: &str,
    partition: i32,
    acks: i16,
    txn_id: Option<&str>,
    batch: &[u8],
) -> Vec<u8> {
    let version = wire::version(ProduceRequest::KEY);
    produce_frame_of(
        version,
        &Topic::named(topic),
        acks,
        txn_id,
        &[(partition, batch)],
    )
    .0
}

/// First error code of a Produce response of this version, and its base offset.
pub fn produce_result_at(version: i16, bytes: &[u8]) -> io::Result<(i16, i64)> {
    let (_, told): (i32, ProduceResponse) = wire::response(ProduceRequest::KEY, version, bytes)?;
    let (mut err, mut base) = (0, -1);
    for partition in told.responses.iter().flat_map(|t| &t.partition_responses) {
        base = partition.base_offset;
        if err == 0 {
            err = partition.error_code;
        }
    }
    Ok((err, base))
}

/// The same of v3 or v7.
pub fn produce_result(bytes: &[u8]) -> (i16, i64) {
    produce_result_at(wire::version(ProduceRequest::KEY), bytes).expect("a Produce response")
}

/// One partition as a Fetch request names it.
#[derive(Clone, Copy)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// How a Fetch waits and where it stands in a session: `(0, -1)` has none, `(0, 0)` opens one, `(id, n)` continues it.
#[derive(Clone, Copy)]
pub struct Asking {
    pub wait_ms: i32,
    pub partition_bytes: i32,
    pub session: (i32, i32),
    /// Only what transactions have committed.
    pub committed: bool,
}

/// A Fetch frame of this version; without positions it asks for what the session knows already.
pub fn fetch_frame_of(version: i16, topic: &Topic, positions: &[Position], ask: Asking) -> Vec<u8> {
    let partitions = positions.iter().map(|p| FetchPartition {
        partition: p.partition,
        fetch_offset: p.offset,
        partition_max_bytes: ask.partition_bytes,
        ..Default::default()
    });
    let of = FetchTopic {
        topic: topic.name.as_str().into(),
        topic_id: topic.id,
        partitions: partitions.collect(),
    };
    let request = FetchRequest {
        max_wait_ms: ask.wait_ms,
        min_bytes: 1,
        max_bytes: 64 << 20,
        isolation_level: ask.committed.into(),
        session_id: ask.session.0,
        session_epoch: ask.session.1,
        topics: if positions.is_empty() {
            vec![]
        } else {
            vec![of]
        },
        ..Default::default()
    };
    wire::frame_at(version, 0, &request)
}

/// Sessionless Fetch v4 or v11 frame; returns the frame and the place of each partition's offset in it.
pub fn fetch_frame(
    topic: &str,
    parts: &[i32],
    offsets: &[i64],
    wait_ms: i32,
    partition_bytes: i32,
) -> (Vec<u8>, Vec<usize>) {
    let ask = Asking {
        wait_ms,
        partition_bytes,
        session: (0, -1),
        committed: false,
    };
    fetch_frame_as(topic, parts, offsets, ask)
}

/// The same, asked so.
pub fn fetch_frame_as(
    topic: &str,
    parts: &[i32],
    offsets: &[i64],
    ask: Asking,
) -> (Vec<u8>, Vec<usize>) {
    // Two frames that differ in every byte of each offset, and in nothing else, show where the offsets lie.
    let frame = |offset: i64| {
        let positions: Vec<Position> = parts
            .iter()
            .map(|&partition| Position { partition, offset })
            .collect();
        let version = wire::version(FetchRequest::KEY);
        fetch_frame_of(version, &Topic::named(topic), &positions, ask)
    };
    let (mut f, other) = (frame(0), frame(-1));
    let differs: Vec<usize> = (0..f.len()).filter(|&i| f[i] != other[i]).collect();
    let at: Vec<usize> = differs.chunks(8).map(|offset| offset[0]).collect();
    assert_eq!(differs.len(), 8 * parts.len(), "an offset has eight bytes");
    for (at, o) in at.iter().zip(offsets) {
        f[*at..*at + 8].copy_from_slice(&o.to_be_bytes());
    }
    (f, at)
}

/// Walks a Fetch response of this version: f(partition, error, high watermark, records). Answers (error, session id).
pub fn each_fetched_at(
    version: i16,
    bytes: &[u8],
    mut f: impl FnMut(i32, i16, i64, &[u8]),
) -> (i16, i32) {
    let (_, told): (i32, FetchResponse) =
        wire::response(FetchRequest::KEY, version, bytes).expect("a Fetch response");
    for p in told.responses.iter().flat_map(|t| &t.partitions) {
        let records = p.records.as_ref().map_or(&[][..], Records::as_bytes);
        f(p.partition_index, p.error_code, p.high_watermark, records);
    }
    (told.error_code, told.session_id)
}

/// The same of v4 or v11.
pub fn each_fetched(bytes: &[u8], f: impl FnMut(i32, i16, i64, &[u8])) {
    each_fetched_at(wire::version(FetchRequest::KEY), bytes, f);
}

/// Walks the batches of a record set by their headers only: f(base offset, last offset, whole batch).
pub fn each_batch(mut recs: &[u8], mut f: impl FnMut(i64, i64, &[u8])) {
    while recs.len() >= 61 {
        let len = i32::from_be_bytes(recs[8..12].try_into().unwrap()) as usize + 12;
        if len > recs.len() {
            break;
        } // partial last batch
        let base = i64::from_be_bytes(recs[..8].try_into().unwrap());
        let last = base + i32::from_be_bytes(recs[23..27].try_into().unwrap()) as i64;
        f(base, last, &recs[..len]);
        recs = &recs[len..];
    }
}

/// Values of an uncompressed batch.
pub fn each_value(batch: &[u8], mut f: impl FnMut(i64, &[u8])) {
    let header = BatchHeader::parse(batch).expect("a batch");
    for record in Walk::new(&batch[HEADER_BYTES..], header.record_count) {
        let record = record.expect("a record");
        let offset = header.base_offset + i64::from(record.offset_delta);
        f(offset, record.value.unwrap_or_default());
    }
}
