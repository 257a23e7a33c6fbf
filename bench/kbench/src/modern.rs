//! Produce v13 and Fetch v17, as today's clients send them: topics by id, tagged fields, fetch sessions.

use crate::wire::{self, Conn, R, W};
use std::io;

pub const PRODUCE_V: i16 = 13;
pub const FETCH_V: i16 = 17;
const METADATA_V: i16 = 12;

pub type TopicId = [u8; 16];

/// One partition as a Fetch request names it.
#[derive(Clone, Copy)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// The topic's id, by Metadata v12.
pub fn topic_id(c: &mut Conn, topic: &str) -> io::Result<TopicId> {
    let mut w = W::default();
    w.uvarint(2).0.extend([0; 16]);
    w.cstr(topic).i8(0).i8(0).i8(0).i8(0);
    let mut r = c.call_at(wire::METADATA, METADATA_V, &w.0)?;
    r.i32();
    for _ in 1..r.uvarint() {
        r.i32();
        r.cstr();
        r.i32();
        r.cstr();
        r.tags();
    }
    r.cstr();
    r.i32();
    if r.uvarint() != 2 {
        return Err(io::Error::other("Metadata names no topic"));
    }
    let error = r.i16();
    r.cstr();
    let id: TopicId = r.take(16).try_into().map_err(io::Error::other)?;
    match error {
        0 => Ok(id),
        e => Err(io::Error::other(format!("Metadata of {topic}: error {e}"))),
    }
}

/// A Produce v13 frame with one batch per partition, and the place of each batch in it.
pub fn produce_frame(
    topic: &TopicId,
    acks: i16,
    batches: &[(i32, &[u8])],
) -> (Vec<u8>, Vec<usize>) {
    let mut w = W::default();
    w.uvarint(0)
        .i16(acks)
        .i32(30_000)
        .uvarint(2)
        .0
        .extend(topic);
    w.uvarint(batches.len() as u32 + 1);
    let mut places = Vec::new();
    for (partition, batch) in batches {
        w.i32(*partition).uvarint(batch.len() as u32 + 1);
        places.push(w.0.len());
        w.0.extend(*batch);
        w.i8(0);
    }
    w.i8(0).i8(0);
    let frame = wire::frame_at(wire::PRODUCE, PRODUCE_V, 0, &w.0);
    let shift = frame.len() - w.0.len();
    (frame, places.into_iter().map(|p| p + shift).collect())
}

/// The first error of a Produce v13 response (what follows its correlation id).
pub fn produce_error(body: &[u8]) -> i16 {
    let mut r = R(body);
    let mut error = 0;
    r.tags();
    for _ in 1..r.uvarint() {
        r.take(16);
        for _ in 1..r.uvarint() {
            r.i32();
            let e = r.i16();
            r.take(3 * 8);
            for _ in 1..r.uvarint() {
                r.i32();
                r.cstr();
                r.tags();
            }
            r.cstr();
            r.tags();
            if error == 0 {
                error = e;
            }
        }
        r.tags();
    }
    error
}

/// Where a fetch session stands: `(0, 0)` opens one, `(id, n)` continues it.
#[derive(Clone, Copy, Default)]
pub struct SessionAt {
    pub id: i32,
    pub epoch: i32,
}

/// A Fetch v17 frame; without positions it asks for what the session knows already.
pub fn fetch_frame(
    topic: &TopicId,
    session: SessionAt,
    wait_ms: i32,
    positions: &[Position],
) -> Vec<u8> {
    let mut w = W::default();
    w.i32(wait_ms).i32(1).i32(64 << 20).i8(0);
    w.i32(session.id).i32(session.epoch);
    if positions.is_empty() {
        w.uvarint(1);
    } else {
        w.uvarint(2).0.extend(topic);
        w.uvarint(positions.len() as u32 + 1);
        for p in positions {
            w.i32(p.partition).i32(-1).i64(p.offset).i32(-1).i64(-1);
            w.i32(1 << 20).i8(0);
        }
        w.i8(0);
    }
    w.uvarint(1).cstr("").i8(0);
    wire::frame_at(wire::FETCH, FETCH_V, 0, &w.0)
}

/// Walks a Fetch v17 response: f(partition, error, records). Answers (error, session id).
pub fn each_fetched(body: &[u8], mut f: impl FnMut(i32, i16, &[u8])) -> (i16, i32) {
    let mut r = R(body);
    r.tags();
    r.i32();
    let (error, session) = (r.i16(), r.i32());
    for _ in 1..r.uvarint() {
        r.take(16);
        for _ in 1..r.uvarint() {
            let (partition, e) = (r.i32(), r.i16());
            r.take(3 * 8);
            for _ in 1..r.uvarint() {
                r.take(16);
                r.tags();
            }
            r.i32();
            let n = r.uvarint().saturating_sub(1) as usize;
            let records = r.take(n);
            r.tags();
            f(partition, e, records);
        }
        r.tags();
    }
    (error, session)
}
