//! Fetch v4 to v11 and v17 of one topic, with the session of a connection (KIP-227).

use super::bytes::{R, W};
use super::{Piece, Store, Topic, disk};
use std::collections::HashMap;
use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

struct Asked {
    partition: i32,
    offset: i64,
    bytes_max: usize,
}

pub struct Session {
    topic: Arc<Topic>,
    asked: Vec<Asked>,
    place: HashMap<i32, usize>,
}

/// The id of every session: a connection has one at most.
const SESSION_ID: i32 = 1;

struct Limits {
    wait: Duration,
    bytes_min: usize,
    bytes_max: usize,
}

/// What one partition of the answer holds.
#[derive(Clone, Copy)]
struct Found {
    partition: i32,
    high_watermark: i64,
    pieces: usize,
    bytes: usize,
}

pub fn fetch(
    mut r: R,
    version: i16,
    w: W,
    store: &Store,
    c: &mut TcpStream,
    session: &mut Option<Session>,
) -> io::Result<()> {
    if version < 15 {
        r.i32();
    }
    let limits = Limits {
        wait: Duration::from_millis(r.i32() as u64),
        bytes_min: r.i32() as usize,
        bytes_max: r.i32() as usize,
    };
    r.i8();
    if version < 17 {
        return by_name(r, version, w, store, c, &limits);
    }
    let (id, epoch) = (r.i32(), r.i32());
    let mut topic = None;
    let mut asked = Vec::new();
    for _ in 1..r.uvarint() {
        topic = store.topic_by_id(r.take(16).try_into().unwrap());
        for _ in 1..r.uvarint() {
            let partition = r.i32();
            r.i32();
            let offset = r.i64();
            r.i32();
            r.i64();
            let bytes_max = r.i32() as usize;
            r.tags();
            asked.push(Asked {
                partition,
                offset,
                bytes_max,
            });
        }
        r.tags();
    }
    let unknown = || io::Error::other("no topic, or no session");
    if epoch <= 0 {
        let topic = topic.ok_or_else(unknown)?;
        let (pieces, found) = search(&topic, &asked, &limits, false);
        if epoch == 0 {
            let place = asked
                .iter()
                .enumerate()
                .map(|(i, a)| (a.partition, i))
                .collect();
            *session = Some(Session {
                topic: topic.clone(),
                asked,
                place,
            });
        }
        let id = if epoch == 0 { SESSION_ID } else { 0 };
        return by_id(w, id, &topic, &pieces, &found, c);
    }
    let session = session
        .as_mut()
        .filter(|_| id == SESSION_ID)
        .ok_or_else(unknown)?;
    for a in asked {
        let at = *session.place.get(&a.partition).ok_or_else(unknown)?;
        session.asked[at] = a;
    }
    let (pieces, found) = search(&session.topic, &session.asked, &limits, true);
    by_id(w, SESSION_ID, &session.topic, &pieces, &found, c)
}

/// Collects the stored pieces, waiting until there are enough. `changed_only` leaves out what has nothing new.
fn search(
    topic: &Topic,
    asked: &[Asked],
    limits: &Limits,
    changed_only: bool,
) -> (Vec<Piece>, Vec<Found>) {
    let until = Instant::now() + limits.wait;
    let mut pieces: Vec<Piece> = Vec::new();
    let mut found: Vec<Found> = Vec::new();
    loop {
        topic.waiting.fetch_add(1, SeqCst);
        let before = *topic.tick.lock().unwrap();
        pieces.clear();
        found.clear();
        let mut total = 0;
        for a in asked {
            let partition = &topic.partitions[a.partition as usize];
            let high_watermark = partition.end.load(SeqCst);
            if high_watermark <= a.offset {
                if !changed_only {
                    found.push(Found {
                        partition: a.partition,
                        high_watermark,
                        pieces: 0,
                        bytes: 0,
                    });
                }
                continue;
            }
            let log = partition.log.lock().unwrap();
            let first = log.pieces.partition_point(|x| x.last < a.offset);
            let (mut n, mut bytes) = (0, 0);
            for x in log.pieces.range(first..) {
                // what is not on the disk yet is not seen
                if x.frame.is_none() && x.last >= high_watermark {
                    break;
                }
                let k = x.to - x.from;
                if bytes > 0 && (bytes + k > a.bytes_max || total + k > limits.bytes_max) {
                    break;
                }
                pieces.push(x.clone());
                n += 1;
                bytes += k;
                total += k;
            }
            found.push(Found {
                partition: a.partition,
                high_watermark: partition.end.load(SeqCst),
                pieces: n,
                bytes,
            });
        }
        let left = until.saturating_duration_since(Instant::now());
        let enough = total >= limits.bytes_min || left.is_zero();
        if !enough {
            let tick = topic.tick.lock().unwrap();
            drop(
                topic
                    .changed
                    .wait_timeout_while(tick, left, |t| *t == before)
                    .unwrap(),
            );
        }
        topic.waiting.fetch_sub(1, SeqCst);
        if enough {
            return (pieces, found);
        }
    }
}

/// The old form: no session, topic by name.
fn by_name(
    mut r: R,
    version: i16,
    mut w: W,
    store: &Store,
    c: &mut TcpStream,
    limits: &Limits,
) -> io::Result<()> {
    let v11 = version >= 11;
    if v11 {
        r.i32();
        r.i32();
    }
    r.i32();
    let name = r.str();
    let asked: Vec<Asked> = (0..r.i32())
        .map(|_| {
            let partition = r.i32();
            if v11 {
                r.i32();
            }
            let offset = r.i64();
            if v11 {
                r.i64();
            }
            Asked {
                partition,
                offset,
                bytes_max: r.i32() as usize,
            }
        })
        .collect();
    let topic = store
        .topic(&name)
        .ok_or_else(|| io::Error::other("no topic"))?;
    let (pieces, found) = search(&topic, &asked, limits, false);
    let mut cuts = Vec::with_capacity(found.len());
    w.i32(0);
    if v11 {
        w.i16(0).i32(0);
    }
    w.i32(1).str(&name).i32(found.len() as i32);
    for f in &found {
        w.i32(f.partition)
            .i16(0)
            .i64(f.high_watermark)
            .i64(f.high_watermark);
        if v11 {
            w.i64(0);
        }
        w.i32(0);
        if v11 {
            w.i32(-1);
        }
        w.i32(f.bytes as i32);
        cuts.push(w.0.len());
    }
    send(w, &cuts, &pieces, &found, &topic, c)
}

/// Fetch v17: topic by id, tagged fields.
fn by_id(
    mut w: W,
    session: i32,
    topic: &Topic,
    pieces: &[Piece],
    found: &[Found],
    c: &mut TcpStream,
) -> io::Result<()> {
    let mut cuts = Vec::with_capacity(found.len());
    w.i32(0).i16(0).i32(session);
    if found.is_empty() {
        w.uvarint(1);
    } else {
        w.uvarint(2).0.extend(topic.id);
        w.uvarint(found.len() as u32 + 1);
        for f in found {
            w.i32(f.partition)
                .i16(0)
                .i64(f.high_watermark)
                .i64(f.high_watermark)
                .i64(0);
            w.uvarint(0).i32(-1).uvarint(f.bytes as u32 + 1);
            cuts.push(w.0.len());
            w.i8(0);
        }
        w.i8(0);
    }
    w.i8(0);
    send(w, &cuts, pieces, found, topic, c)
}

/// Headers are in one buffer, cut at the places where record bytes go in.
fn send(
    mut w: W,
    cuts: &[usize],
    pieces: &[Piece],
    found: &[Found],
    topic: &Topic,
    c: &mut TcpStream,
) -> io::Result<()> {
    let n = w.0.len() - 4 + found.iter().map(|f| f.bytes).sum::<usize>();
    w.0[..4].copy_from_slice(&(n as i32).to_be_bytes());
    if pieces.iter().any(|x| x.frame.is_none()) {
        return send_from_files(&w, cuts, pieces, found, topic, c);
    }
    let mut io = Vec::with_capacity(cuts.len() + pieces.len() + 1);
    let (mut from, mut i) = (0, 0);
    for (cut, f) in cuts.iter().zip(found) {
        io.push(IoSlice::new(&w.0[from..*cut]));
        from = *cut;
        for x in &pieces[i..i + f.pieces] {
            let frame = x.frame.as_ref().expect("in memory");
            io.push(IoSlice::new(&frame[x.from..x.to]));
        }
        i += f.pieces;
    }
    if from < w.0.len() {
        io.push(IoSlice::new(&w.0[from..]));
    }
    let mut s = &mut io[..];
    while !s.is_empty() {
        let k = c.write_vectored(&s[..s.len().min(512)])?;
        IoSlice::advance_slices(&mut s, k);
    }
    Ok(())
}

/// The same where batches are in files, one behind the other.
fn send_from_files(
    w: &W,
    cuts: &[usize],
    pieces: &[Piece],
    found: &[Found],
    topic: &Topic,
    c: &mut TcpStream,
) -> io::Result<()> {
    let (mut from, mut i) = (0, 0);
    for (cut, f) in cuts.iter().zip(found) {
        c.write_all(&w.0[from..*cut])?;
        from = *cut;
        let file = topic.partitions[f.partition as usize].file.as_ref();
        if let (Some(file), Some(first)) = (file, pieces[i..i + f.pieces].first()) {
            disk::send(c, &file.file, first.from as u64, f.bytes)?;
        }
        i += f.pieces;
    }
    c.write_all(&w.0[from..])
}
