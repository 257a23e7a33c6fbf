//! Record batches (magic 2), encoded once and replayed.

use crate::wire::{self, R, W};
use std::io::Write;

#[derive(Clone, Copy, PartialEq)]
pub enum Codec {
    None,
    Lz4,
    Zstd,
}

impl Codec {
    pub fn parse(s: &str) -> Codec {
        match s {
            "none" => Codec::None,
            "lz4" => Codec::Lz4,
            "zstd" => Codec::Zstd,
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
pub fn encode(values: &[Vec<u8>], codec: Codec, txn: Option<&Txn>) -> Vec<u8> {
    encode_keyed(values, None, codec, txn)
}

/// The same; with keys when there is a number for each.
pub fn encode_keyed(
    values: &[Vec<u8>],
    keys: Option<&[usize]>,
    codec: Codec,
    txn: Option<&Txn>,
) -> Vec<u8> {
    let n = values.len();
    let mut recs = W::default();
    for (i, v) in values.iter().enumerate() {
        let mut r = W::default();
        r.i8(0).varint(0).varint(i as i64);
        match keys {
            Some(keys) => {
                let key = format!("key-{:08}", keys[i]);
                r.varint(key.len() as i64).0.extend(key.as_bytes());
            }
            None => {
                r.varint(-1);
            }
        }
        r.varint(v.len() as i64);
        r.0.extend(v);
        r.varint(0);
        recs.varint(r.0.len() as i64);
        recs.0.extend(r.0);
    }
    let (code, body) = match codec {
        Codec::None => (0, recs.0),
        Codec::Lz4 => {
            let mut e = lz4_flex::frame::FrameEncoder::new(Vec::new());
            e.write_all(&recs.0).unwrap();
            (3, e.finish().unwrap())
        }
        Codec::Zstd => (4, zstd::bulk::compress(&recs.0, 1).unwrap()),
    };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let attrs = code
        | if txn.is_some_and(|t| t.transactional) {
            0x10
        } else {
            0
        };
    let mut tail = W::default(); // everything the CRC covers
    tail.i16(attrs).i32(n as i32 - 1).i64(now).i64(now);
    match txn {
        Some(t) => tail.i64(t.pid).i16(t.epoch).i32(t.seq),
        None => tail.i64(-1).i16(-1).i32(-1),
    };
    tail.i32(n as i32);
    tail.0.extend(body);
    let mut b = W::default();
    b.i64(0)
        .i32(tail.0.len() as i32 + 9)
        .i32(-1)
        .i8(2)
        .i32(crc32c::crc32c(&tail.0) as i32);
    b.0.extend(tail.0);
    b.0
}

/// Makes a batch the next one of its producer: id, epoch and sequence, and the CRC over them.
pub fn stamp(batch: &mut [u8], t: &Txn) {
    batch[43..51].copy_from_slice(&t.pid.to_be_bytes());
    batch[51..53].copy_from_slice(&t.epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&t.seq.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A Produce v3 or v7 frame with one batch per partition, and the place of each batch in it.
pub fn produce_frame_of(topic: &str, acks: i16, batches: &[(i32, &[u8])]) -> (Vec<u8>, Vec<usize>) {
    let mut w = W::default();
    w.opt_str(None).i16(acks).i32(30_000).i32(1).str(topic);
    w.i32(batches.len() as i32);
    let mut places = Vec::new();
    for (partition, batch) in batches {
        w.i32(*partition).bytes(batch);
        places.push(w.0.len() - batch.len());
    }
    let frame = wire::frame(wire::PRODUCE, 0, &w.0);
    let shift = frame.len() - w.0.len();
    (frame, places.into_iter().map(|p| p + shift).collect())
}

/// A Produce v3 or v7 frame of one batch. Returns the frame; the batch is its tail.
pub fn produce_frame(
    topic: &str,
    partition: i32,
    acks: i16,
    txn_id: Option<&str>,
    batch: &[u8],
) -> Vec<u8> {
    let mut w = W::default();
    w.opt_str(txn_id)
        .i16(acks)
        .i32(30_000)
        .i32(1)
        .str(topic)
        .i32(1)
        .i32(partition)
        .bytes(batch);
    wire::frame(wire::PRODUCE, 0, &w.0)
}

/// First error code of a Produce response (body after the correlation id) and its base offset.
pub fn produce_result(body: &[u8]) -> (i16, i64) {
    let mut r = R(body);
    let (mut err, mut base) = (0, -1);
    for _ in 0..r.i32() {
        r.str();
        for _ in 0..r.i32() {
            r.i32();
            let e = r.i16();
            base = r.i64();
            r.i64();
            if wire::version(wire::PRODUCE) >= 5 {
                r.i64();
            }
            if e != 0 {
                err = e;
            }
        }
    }
    (err, base)
}

/// Sessionless Fetch v4 or v11 frame; returns the frame and the place of each partition's offset in it.
pub fn fetch_frame(
    topic: &str,
    parts: &[i32],
    offsets: &[i64],
    wait_ms: i32,
    part_max: i32,
) -> (Vec<u8>, Vec<usize>) {
    let mut w = W::default();
    let v11 = wire::version(wire::FETCH) >= 11;
    w.i32(-1).i32(wait_ms).i32(1).i32(64 << 20).i8(0);
    if v11 {
        w.i32(0).i32(-1);
    }
    w.i32(1).str(topic).i32(parts.len() as i32);
    let mut at = Vec::new();
    for (p, o) in parts.iter().zip(offsets) {
        w.i32(*p);
        if v11 {
            w.i32(-1);
        }
        at.push(w.0.len());
        w.i64(*o);
        if v11 {
            w.i64(-1);
        }
        w.i32(part_max);
    }
    if v11 {
        w.i32(0).str("");
    }
    let f = wire::frame(wire::FETCH, 0, &w.0);
    let shift = f.len() - w.0.len();
    (f, at.into_iter().map(|a| a + shift).collect())
}

/// Walks a Fetch response (after the correlation id): f(partition, error, high watermark, records).
pub fn each_fetched(body: &[u8], mut f: impl FnMut(i32, i16, i64, &[u8])) {
    let mut r = R(body);
    r.i32();
    let v11 = wire::version(wire::FETCH) >= 11;
    if v11 {
        r.i16();
        r.i32();
    }
    for _ in 0..r.i32() {
        r.str();
        for _ in 0..r.i32() {
            let (p, e, hw) = (r.i32(), r.i16(), r.i64());
            r.i64();
            if v11 {
                r.i64();
            }
            for _ in 0..r.i32().max(0) {
                r.i64();
                r.i64();
            }
            if v11 {
                r.i32();
            }
            f(p, e, hw, r.bytes());
        }
    }
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
    let base = i64::from_be_bytes(batch[..8].try_into().unwrap());
    let mut r = R(&batch[57..]);
    for _ in 0..r.i32() {
        let n = r.varint() as usize;
        let mut rec = R(r.take(n));
        rec.i8();
        rec.varint();
        let d = rec.varint();
        let k = rec.varint();
        if k > 0 {
            rec.take(k as usize);
        }
        let v = rec.varint();
        f(base + d, rec.take(v.max(0) as usize));
    }
}
