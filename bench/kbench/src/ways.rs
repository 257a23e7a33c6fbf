//! Two ways to make small batches in many files durable, without any broker: `fdatasync` of each file that was written,
//! side by side on a few threads, or one of a journal that holds the batches of all of them (`--way files|journal`).
//! Records come at `--rate` for `--secs`, spread over `--partitions` files in `--dir`. What has come during a sync has the
//! next one in common, in both ways.
//!
//! The journal is written over and over in place, so that a sync of it changes no file's size. When half of it is full,
//! the files are synced, side by side, and that half may be written over.

use crate::args::Args;
use crate::batch::{self, Packing};
use crate::stat::{self, cpu, mono_ns, pct};
use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Threads that sync files.
const SYNCERS: usize = 7;
/// Bytes that tell of each batch in a journal: where it belongs.
const ENTRY_BYTES: usize = 24;

/// Files and what is to go into them.
struct Crowd {
    files: Vec<File>,
    batch: Vec<u8>,
    state: Mutex<State>,
    told: Condvar,
    syncs: AtomicU64,
    is_over: AtomicBool,
    /// How long each record took, in nanoseconds.
    took: Mutex<Vec<u64>>,
}

#[derive(Default)]
struct State {
    /// When what waits for each file came.
    coming: Vec<Vec<u64>>,
    /// Files for which something has come, each once; not those that somebody is about.
    ready: Vec<usize>,
    is_busy: Vec<bool>,
}

impl Crowd {
    fn new(folder: &Path, partitions: usize, size: usize) -> Crowd {
        let open = |n| {
            let path = folder.join(format!("ways-{n}"));
            let file = OpenOptions::new().append(true).create_new(true).open(&path);
            file.unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let value = batch::payload(size, 7);
        Crowd {
            files: (0..partitions).map(open).collect(),
            batch: batch::encode(std::slice::from_ref(&value), Packing::NONE, None),
            state: Mutex::new(State {
                coming: vec![Vec::new(); partitions],
                ready: Vec::new(),
                is_busy: vec![false; partitions],
            }),
            told: Condvar::new(),
            syncs: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            took: Mutex::default(),
        }
    }

    fn add(&self, partition: usize) {
        let mut state = self.state.lock().unwrap();
        state.coming[partition].push(mono_ns());
        if !std::mem::replace(&mut state.is_busy[partition], true) {
            state.ready.push(partition);
            drop(state);
            self.told.notify_one();
        }
    }

    fn end(&self) {
        self.is_over.store(true, SeqCst);
        // Whoever was about to wait holds the lock.
        drop(self.state.lock().unwrap());
        self.told.notify_all();
    }

    /// Writes so many batches into a file.
    fn write(&self, partition: usize, count: usize) {
        let mut pieces = vec![IoSlice::new(&self.batch); count];
        let mut rest = &mut pieces[..];
        while !rest.is_empty() {
            let some = rest.len().min(512);
            let mut file = &self.files[partition];
            let n = file.write_vectored(&rest[..some]).expect("write");
            IoSlice::advance_slices(&mut rest, n);
        }
    }

    fn sync(&self, file: &File) {
        file.sync_data().expect("fdatasync");
        self.syncs.fetch_add(1, SeqCst);
    }

    fn are_durable(&self, came: &[u64]) {
        let now = mono_ns();
        let mut took = self.took.lock().unwrap();
        took.extend(came.iter().map(|came| now.saturating_sub(*came)));
    }

    /// One of the threads that sync files.
    fn sync_files(&self) {
        let mut state = self.state.lock().unwrap();
        loop {
            if state.ready.is_empty() {
                if self.is_over.load(SeqCst) {
                    return;
                }
                state = self.told.wait(state).unwrap();
                continue;
            }
            let partition = state.ready.remove(0);
            let came = std::mem::take(&mut state.coming[partition]);
            drop(state);
            self.write(partition, came.len());
            self.sync(&self.files[partition]);
            self.are_durable(&came);
            state = self.state.lock().unwrap();
            match state.coming[partition].is_empty() {
                true => state.is_busy[partition] = false,
                false => state.ready.push(partition),
            }
        }
    }

    /// The one thread that has a journal.
    fn keep_journal(&self, mut journal: Journal) {
        std::thread::scope(|scope| {
            let mut clearing: Option<std::thread::ScopedJoinHandle<'_, ()>> = None;
            loop {
                let mut state = self.state.lock().unwrap();
                while state.ready.is_empty() {
                    if self.is_over.load(SeqCst) {
                        return;
                    }
                    state = self.told.wait(state).unwrap();
                }
                let ready = std::mem::take(&mut state.ready);
                let mut all: Vec<(usize, Vec<u64>)> = Vec::with_capacity(ready.len());
                for partition in ready {
                    all.push((partition, std::mem::take(&mut state.coming[partition])));
                    state.is_busy[partition] = false;
                }
                drop(state);
                for (partition, came) in &all {
                    self.write(*partition, came.len());
                }
                let count = all.iter().map(|(_, came)| came.len()).sum();
                if journal.write(&self.batch, count) {
                    // The other half is free once what it holds is in the files.
                    if let Some(clearing) = clearing.take() {
                        clearing.join().expect("synced");
                    }
                    clearing = Some(scope.spawn(|| self.sync_all_files()));
                }
                self.sync(&journal.file);
                all.iter().for_each(|(_, came)| self.are_durable(came));
            }
        });
    }

    fn sync_all_files(&self) {
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..SYNCERS {
                scope.spawn(|| {
                    while let Some(file) = self.files.get(next.fetch_add(1, SeqCst) as usize) {
                        self.sync(file);
                    }
                });
            }
        });
    }
}

/// A file that is written over in place.
struct Journal {
    file: File,
    bytes: u64,
    at: u64,
    piece: Vec<u8>,
}

impl Journal {
    fn new(folder: &Path, bytes: u64) -> Journal {
        let path = folder.join("ways-journal");
        let file = File::create_new(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        file.write_all_at(&vec![0; bytes as usize], 0)
            .expect("write");
        file.sync_all().expect("fsync");
        Journal {
            file,
            bytes,
            at: 0,
            piece: Vec::new(),
        }
    }

    /// Writes so many batches; whether another half begins with them.
    fn write(&mut self, batch: &[u8], count: usize) -> bool {
        self.piece.clear();
        for _ in 0..count {
            self.piece.extend_from_slice(&[1; ENTRY_BYTES]);
            self.piece.extend_from_slice(batch);
        }
        let half = self.bytes / 2;
        let length = self.piece.len() as u64;
        assert!(
            length < half,
            "--journal is too small for what comes at once"
        );
        let (was, will) = (self.at / half, (self.at + length) / half);
        let begins = was != will;
        if begins {
            self.at = will % 2 * half;
        }
        self.file.write_all_at(&self.piece, self.at).expect("write");
        self.at += length;
        begins
    }
}

/// CPU seconds of this thread.
fn own_cpu() -> f64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to the local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

pub fn run(a: &Args) {
    let partitions = a.num("partitions", 50) as usize;
    let (rate, secs) = (a.num("rate", 2000) as u64, a.num("secs", 10) as u64);
    let is_journal = match a.str("way", "files").as_str() {
        "files" => false,
        "journal" => true,
        other => panic!("--way {other}"),
    };
    let folder = Path::new(&a.str("dir", ".")).join(format!("ways-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    let crowd = Crowd::new(&folder, partitions, a.num("size", 100) as usize);
    let journal = is_journal.then(|| Journal::new(&folder, a.num("journal", 4 << 20) as u64));
    let me = std::process::id() as i32;
    let (before, own_before) = (cpu(me), own_cpu());
    let total = rate * secs;
    std::thread::scope(|scope| {
        match journal {
            Some(journal) => {
                scope.spawn(|| crowd.keep_journal(journal));
            }
            None => {
                for _ in 0..SYNCERS {
                    scope.spawn(|| crowd.sync_files());
                }
            }
        }
        let begun = mono_ns();
        for n in 0..total {
            let due = begun + n * 1_000_000_000 / rate;
            let now = mono_ns();
            if due > now {
                std::thread::sleep(Duration::from_nanos(due - now));
            }
            // Clients are in no order.
            let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            crowd.add(scattered as usize % partitions);
        }
        crowd.end();
    });
    let used = cpu(me) - before - (own_cpu() - own_before);
    let mut took = crowd.took.into_inner().unwrap();
    assert_eq!(took.len() as u64, total, "all of them are durable");
    took.sort_unstable();
    std::fs::remove_dir_all(&folder).expect("it is ours");
    stat::print(&[
        ("cpu_us_per_msg", used * 1e6 / total as f64),
        (
            "syncs_per_msg",
            crowd.syncs.load(SeqCst) as f64 / total as f64,
        ),
        ("p50_us", pct(&took, 50.0) / 1e3),
        ("p99_us", pct(&took, 99.0) / 1e3),
    ]);
}
