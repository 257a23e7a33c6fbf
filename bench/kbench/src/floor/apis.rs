//! Everything but Produce and Fetch: small requests, answered from the topic map.

use super::bytes::{R, W};
use super::keys;
use super::{Store, Topic};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const VERSIONS: [(i16, i16); 9] = [
    (keys::PRODUCE, 13),
    (keys::FETCH, 17),
    (keys::LIST_OFFSETS, 1),
    (keys::METADATA, 12),
    (keys::HEARTBEAT, 1),
    (keys::GROUP_HEARTBEAT, 1),
    (keys::API_VERSIONS, 0),
    (keys::CREATE_TOPICS, 2),
    (keys::INIT_PRODUCER_ID, 0),
];

pub fn answer(api: i16, version: i16, mut r: R, store: &Store, w: &mut W) -> io::Result<()> {
    match api {
        keys::API_VERSIONS => {
            w.i16(0).i32(VERSIONS.len() as i32);
            for (key, max) in VERSIONS {
                w.i16(key).i16(0).i16(max);
            }
        }
        keys::METADATA if version >= 9 => metadata_by_id(r, store, w),
        keys::METADATA => metadata(r, store, w),
        keys::CREATE_TOPICS => create_topics(r, store, w),
        keys::LIST_OFFSETS => list_offsets(r, store, w),
        keys::INIT_PRODUCER_ID => {
            w.i32(0).i16(0);
            w.i64(store.producer_ids.fetch_add(1, Relaxed)).i16(0);
        }
        // every member is alive and its group is stable
        keys::HEARTBEAT => {
            r.str();
            if version >= 1 {
                w.i32(0);
            }
            w.i16(0);
        }
        // the same, and it holds what it held: no message, the epoch it said, and nothing new
        keys::GROUP_HEARTBEAT => {
            r.cstr();
            let member = r.cstr();
            let epoch = r.i32();
            w.i32(0).i16(0).uvarint(0).cstr(&member);
            w.i32(epoch).i32(5_000).i8(-1).i8(0);
        }
        _ => return Err(io::Error::other("unknown request")),
    }
    Ok(())
}

/// v1: all topics, none, or those named.
fn metadata(mut r: R, store: &Store, w: &mut W) {
    w.i32(1).i32(0).str("127.0.0.1").i32(store.port);
    w.opt_str(None).i32(0);
    let one = |w: &mut W, name: &str, t: &Topic| {
        w.i16(0).str(name).i8(0).i32(t.partitions.len() as i32);
        for p in 0..t.partitions.len() as i32 {
            w.i16(0).i32(p).i32(0).i32(1).i32(0).i32(1).i32(0);
        }
    };
    let asked = r.i32();
    if asked < 0 {
        let map = store.by_name.read().unwrap();
        w.i32(map.len() as i32);
        for (name, t) in map.iter() {
            one(w, name, t);
        }
        return;
    }
    w.i32(asked);
    for _ in 0..asked {
        let name = r.str();
        match store.topic(&name) {
            Some(t) => one(w, &name, &t),
            None => {
                w.i16(3).str(&name).i8(0).i32(0);
            }
        }
    }
}

/// v12, for topics by name; it is there to tell their ids.
fn metadata_by_id(mut r: R, store: &Store, w: &mut W) {
    w.i32(0).uvarint(2).i32(0).cstr("127.0.0.1").i32(store.port);
    w.uvarint(0).i8(0).uvarint(0).i32(0);
    let asked = r.uvarint();
    w.uvarint(asked.max(1));
    for _ in 1..asked {
        r.take(16);
        let name = r.cstr();
        r.tags();
        let topic: Option<Arc<Topic>> = store.topic(&name);
        w.i16(if topic.is_some() { 0 } else { 3 }).cstr(&name);
        w.0.extend(topic.as_ref().map_or([0; 16], |t| t.id));
        let partitions = topic.map_or(0, |t| t.partitions.len() as i32);
        w.i8(0).uvarint(partitions as u32 + 1);
        for p in 0..partitions {
            w.i16(0).i32(p).i32(0).i32(0);
            w.uvarint(2).i32(0).uvarint(2).i32(0).uvarint(1).i8(0);
        }
        w.i32(i32::MIN).i8(0);
    }
    w.i8(0);
}

fn create_topics(mut r: R, store: &Store, w: &mut W) {
    let n = r.i32();
    w.i32(0).i32(n);
    for _ in 0..n {
        let name = r.str();
        store.create(&name, r.i32());
        r.i16();
        for _ in 0..r.i32() {
            r.i32();
            for _ in 0..r.i32() {
                r.i32();
            }
        }
        for _ in 0..r.i32() {
            r.str();
            r.str();
        }
        w.str(&name).i16(0).opt_str(None);
    }
}

fn list_offsets(mut r: R, store: &Store, w: &mut W) {
    r.i32();
    let n = r.i32();
    w.i32(n);
    for _ in 0..n {
        let (name, k) = (r.str(), r.i32());
        w.str(&name).i32(k);
        for _ in 0..k {
            let (p, timestamp) = (r.i32(), r.i64());
            let offset = store.topic(&name).map_or(0, |t| {
                let log = t.partitions[p as usize].log.lock().unwrap();
                if timestamp == -2 { log.start } else { log.next }
            });
            w.i32(p).i16(0).i64(-1).i64(offset);
        }
    }
}
