//! `kbench floor`: not a broker but the measured floor under one. It does only what a broker cannot leave
//! out - receive, check the CRC, assign offsets, keep the batch where it was received, send it with one
//! vectored write - with a thread per connection. What it costs is what is there to be reached.
//! It walks no records, keeps no producer state and knows no group.
//! `--dir DIR` writes and syncs them (`disk`).
//! `--retain BYTES` drops the oldest batches of a partition, so that memory is used again.

mod apis;
mod bytes;
mod disk;
mod fetch;
mod keys;
mod produce;

use crate::args::Args;
use bytes::{R, W};
use rustka_wire::api::request_header_version;
use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, RwLock};

type TopicId = [u8; 16];

/// One stored batch: a range of the request frame it came in.
#[derive(Clone)]
struct Piece {
    last: i64,
    /// None: it is sent from the partition's file, where `from` and `to` are.
    frame: Option<Arc<Vec<u8>>>,
    from: usize,
    to: usize,
}

#[derive(Default)]
struct Log {
    pieces: VecDeque<Piece>,
    next: i64,
    start: i64,
    bytes: usize,
}

#[derive(Default)]
struct Partition {
    /// `log.next`, to be read without the lock: most partitions of a fetch have nothing new.
    end: AtomicI64,
    log: Mutex<Log>,
    file: Option<disk::DiskFile>,
}

struct Topic {
    id: TopicId,
    partitions: Vec<Partition>,
    waiting: AtomicUsize,
    tick: Mutex<u64>,
    changed: Condvar,
}

struct Store {
    by_name: RwLock<HashMap<String, Arc<Topic>>>,
    by_id: RwLock<HashMap<TopicId, Arc<Topic>>>,
    producer_ids: AtomicI64,
    retain: usize,
    dir: Option<PathBuf>,
    port: i32,
}

impl Store {
    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.read().unwrap().get(name).cloned()
    }

    fn topic_by_id(&self, id: &TopicId) -> Option<Arc<Topic>> {
        self.by_id.read().unwrap().get(id).cloned()
    }

    fn create(&self, name: &str, partitions: i32) {
        let mut by_name = self.by_name.write().unwrap();
        if by_name.contains_key(name) {
            return;
        }
        let mut id = [0x40; 16];
        id[8..].copy_from_slice(&(by_name.len() as u64).to_be_bytes());
        let topic = Arc::new(Topic {
            id,
            partitions: (0..partitions.max(1))
                .map(|n| Partition {
                    file: self
                        .dir
                        .as_ref()
                        .map(|dir| disk::DiskFile::new(dir, name, n)),
                    ..Partition::default()
                })
                .collect(),
            waiting: AtomicUsize::new(0),
            tick: Mutex::new(0),
            changed: Condvar::new(),
        });
        by_name.insert(name.to_string(), topic.clone());
        self.by_id.write().unwrap().insert(id, topic);
    }
}

impl Topic {
    /// Wakes the fetches that wait for records of this topic.
    fn wake(&self) {
        if self.waiting.load(SeqCst) > 0 {
            *self.tick.lock().unwrap() += 1;
            self.changed.notify_all();
        }
    }
}

pub fn run(a: &Args) {
    let listener = TcpListener::bind(a.addr()).expect("bind");
    let dir = Some(PathBuf::from(a.str("dir", ""))).filter(|dir| !dir.as_os_str().is_empty());
    let port = listener.local_addr().unwrap().port();
    if dir.is_some() {
        disk::tell(format!("127.0.0.1:{}", port + 1));
    }
    let store = Arc::new(Store {
        by_name: RwLock::default(),
        by_id: RwLock::default(),
        producer_ids: AtomicI64::new(1000),
        retain: a.num("retain", i64::MAX) as usize,
        dir,
        port: i32::from(port),
    });
    for c in listener.incoming().flatten() {
        let store = store.clone();
        c.set_nodelay(true).unwrap();
        let serving = std::thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || serve(c, &store));
        if let Err(e) = serving {
            eprintln!("no thread for a connection: {e}");
        }
    }
}

fn serve(mut c: TcpStream, store: &Store) -> io::Result<()> {
    let mut buf = vec![0u8; 16 << 10];
    let (mut have, mut at) = (0, 0);
    let mut out = Out::default();
    let mut session = None;
    loop {
        if have - at < 4 {
            out.flush_unless_more(&mut c)?;
            buf.copy_within(at..have, 0);
            have -= at;
            at = 0;
            while have < 4 {
                let n = c.read(&mut buf[have..])?;
                if n == 0 {
                    return Ok(());
                }
                have += n;
            }
        }
        let len = u32::from_be_bytes(buf[at..at + 4].try_into().unwrap()) as usize;
        at += 4;
        // the frame's own memory: what came with the last read is moved, the rest is received into it
        let part = len.min(have - at);
        let mut frame = Vec::with_capacity(len);
        frame.extend_from_slice(&buf[at..at + part]);
        at += part;
        if part < len {
            out.flush_unless_more(&mut c)?;
            (&mut c).take((len - part) as u64).read_to_end(&mut frame)?;
            if frame.len() < len {
                return Ok(());
            }
        }
        request(frame, store, &mut c, &mut out, &mut session)?;
    }
}

/// Answers that did not leave yet.
#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    /// What has to be on the disk first.
    waits: Vec<disk::Wait>,
}

impl Out {
    fn flush(&mut self, c: &mut TcpStream) -> io::Result<()> {
        self.waits.drain(..).for_each(|wait| wait.wait());
        if !self.bytes.is_empty() {
            c.write_all(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    /// The same, but what has come already is read before anything is waited for.
    fn flush_unless_more(&mut self, c: &mut TcpStream) -> io::Result<()> {
        match !self.waits.is_empty() && disk::has_more(c) {
            true => Ok(()),
            false => self.flush(c),
        }
    }
}

/// Answers into `out`, except for Fetch, which writes by itself.
fn request(
    frame: Vec<u8>,
    store: &Store,
    c: &mut TcpStream,
    out: &mut Out,
    session: &mut Option<fetch::Session>,
) -> io::Result<()> {
    let mut r = R(&frame);
    let (api, version, correlation) = (r.i16(), r.i16(), r.i32());
    r.str();
    let mut w = W::default();
    w.i32(0).i32(correlation);
    if request_header_version(api, version) == 2 {
        r.tags();
        w.i8(0);
    }
    match api {
        keys::FETCH => {
            out.flush(c)?;
            return fetch::fetch(r, version, w, store, c, session);
        }
        keys::PRODUCE => {
            let body = frame.len() - r.0.len();
            produce::produce(frame, body, version, store, &mut w, &mut out.waits)?;
        }
        _ => apis::answer(api, version, r, store, &mut w)?,
    }
    let n = (w.0.len() - 4) as i32;
    w.0[..4].copy_from_slice(&n.to_be_bytes());
    out.bytes.extend_from_slice(&w.0);
    Ok(())
}
