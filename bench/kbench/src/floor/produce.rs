//! Produce v3 to v7 and v13: one topic, any number of partitions in rising order, one batch each.

use super::bytes::{R, W};
use super::{Log, Piece, Store, Topic, disk};
use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, MutexGuard};

struct Batch {
    partition: i32,
    from: usize,
    to: usize,
    count: i64,
}

pub fn produce(
    frame: Vec<u8>,
    body: usize,
    version: i16,
    store: &Store,
    w: &mut W,
    waits: &mut Vec<disk::Wait>,
) -> io::Result<()> {
    let flexible = version >= 13;
    let mut r = R(&frame[body..]);
    if flexible {
        r.cstr();
    } else {
        r.str();
    }
    r.i16();
    r.i32();
    let topics = if flexible {
        r.uvarint() as i32 - 1
    } else {
        r.i32()
    };
    if topics != 1 {
        return Err(io::Error::other("one topic per request"));
    }
    let topic = if flexible {
        let id = r.take(16).try_into().unwrap();
        w.uvarint(2).0.extend(id);
        store.topic_by_id(&id)
    } else {
        let name = r.str();
        w.i32(1).str(&name);
        store.topic(&name)
    };
    let count = if flexible {
        r.uvarint() as i32 - 1
    } else {
        r.i32()
    };
    let mut batches: Vec<Batch> = Vec::with_capacity(count as usize);
    let mut error = if topic.is_some() { 0 } else { 3 };
    for _ in 0..count {
        let partition = r.i32();
        let len = if flexible {
            r.uvarint() as usize - 1
        } else {
            r.i32() as usize
        };
        let from = frame.len() - r.0.len();
        let batch = r.take(len);
        if flexible {
            r.tags();
        }
        if crc32c::crc32c(&batch[21..]) != u32::from_be_bytes(batch[17..21].try_into().unwrap()) {
            error = 2;
        }
        let count = i32::from_be_bytes(batch[23..27].try_into().unwrap()) as i64 + 1;
        if batches.last().is_some_and(|b| b.partition >= partition) {
            return Err(io::Error::other("partitions in rising order"));
        }
        batches.push(Batch {
            partition,
            from,
            to: from + len,
            count,
        });
    }
    let mut bases = vec![-1; batches.len()];
    if let (0, Some(topic)) = (error, &topic) {
        append(frame, &batches, topic, store.retain, &mut bases);
        match store.dir.is_some() {
            true => waits.extend(batches.iter().zip(&bases).map(|(b, base)| {
                disk::wake(topic, b.partition);
                disk::Wait::new(topic, b.partition, base + b.count)
            })),
            false => topic.wake(),
        }
    }
    if flexible {
        w.uvarint(batches.len() as u32 + 1);
    } else {
        w.i32(batches.len() as i32);
    }
    for (b, base) in batches.iter().zip(bases) {
        w.i32(b.partition).i16(error).i64(base).i64(-1);
        if version >= 5 {
            w.i64(0);
        }
        if flexible {
            w.uvarint(1).uvarint(0).i8(0);
        }
    }
    if flexible {
        w.i8(0).i32(0).i8(0);
    } else {
        w.i32(0);
    }
    Ok(())
}

/// Assigns the offsets and keeps the frame; all the partitions are held meanwhile, as the frame is one.
fn append(mut frame: Vec<u8>, batches: &[Batch], topic: &Topic, retain: usize, bases: &mut [i64]) {
    let mut logs: Vec<MutexGuard<Log>> = Vec::with_capacity(batches.len());
    for (b, base) in batches.iter().zip(bases) {
        let mut log = topic.partitions[b.partition as usize].log.lock().unwrap();
        *base = log.next;
        frame[b.from..b.from + 8].copy_from_slice(&base.to_be_bytes());
        log.next += b.count;
        logs.push(log);
    }
    let frame = Arc::new(frame);
    for (b, log) in batches.iter().zip(&mut logs) {
        let last = log.next - 1;
        if let Some(file) = &topic.partitions[b.partition as usize].file {
            let from = file.take(&frame, b.from..b.to, log.next) as usize;
            log.pieces.push_back(Piece {
                last,
                frame: None,
                from,
                to: from + b.to - b.from,
            });
            continue;
        }
        log.bytes += b.to - b.from;
        log.pieces.push_back(Piece {
            last,
            frame: Some(frame.clone()),
            from: b.from,
            to: b.to,
        });
        while log.bytes > retain {
            let Some(old) = log.pieces.pop_front() else {
                break;
            };
            log.bytes -= old.to - old.from;
            log.start = old.last + 1;
        }
        topic.partitions[b.partition as usize]
            .end
            .store(log.next, SeqCst);
    }
}
