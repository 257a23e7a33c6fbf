//! The system's files, with what is asked of them counted, and with what a test says of their volume and their disk.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use rustka_storage::disk::{Files, Listed, Mode, OpenFile, Room, SystemFiles};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What is read at once to look for something is less.
const MUCH: usize = 64 << 10;

/// See the file's top.
#[derive(Clone, Default)]
pub struct Counting(Arc<Counts>);

#[derive(Default)]
pub struct Counts {
    /// Files that are open.
    pub open: AtomicUsize,
    /// What is free of the volume, where that is not what the system says.
    free_bytes: Mutex<Option<u64>>,
    /// Bytes that were read at length.
    read_bytes: AtomicU64,
    /// The disk has gone bad.
    pub is_bad: AtomicBool,
    /// Whoever reads at length waits for it to be open.
    gate: Mutex<bool>,
    opened: Condvar,
    /// Whoever has just opened a file to read it waits until so many have.
    missing: Mutex<usize>,
    met: Condvar,
}

impl std::ops::Deref for Counting {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.0
    }
}

impl Counting {
    /// So much is free of the volume from now on.
    pub fn has_free(&self, bytes: u64) {
        *self.free_bytes.lock().expect("whole") = Some(bytes);
    }

    /// Whether whoever reads at length waits from now on.
    pub fn shut(&self, is_shut: bool) {
        *self.gate.lock().expect("whole") = is_shut;
        self.opened.notify_all();
    }

    /// The next so many who open a file to read it wait for each other.
    pub fn meet(&self, readers: usize) {
        *self.missing.lock().expect("whole") = readers;
    }

    fn wait_for_others(&self) {
        let mut missing = self.missing.lock().expect("whole");
        *missing = missing.saturating_sub(1);
        self.met.notify_all();
        let wait = |missing: &mut usize| *missing > 0;
        let (missing, waited) = self
            .met
            .wait_timeout_while(missing, Duration::from_secs(60), wait)
            .expect("whole");
        assert!(!waited.timed_out(), "{missing} have not come");
    }

    fn check(&self) -> io::Result<()> {
        const EIO: i32 = 5;
        match self.is_bad.load(Relaxed) {
            true => Err(io::Error::from_raw_os_error(EIO)),
            false => Ok(()),
        }
    }

    /// How often so many bytes were read since this was asked last.
    pub fn times(&self, bytes: usize) -> f64 {
        self.read_bytes.swap(0, Relaxed) as f64 / bytes as f64
    }
}

struct CountingFile(Arc<dyn OpenFile>, Counting);

impl Drop for CountingFile {
    fn drop(&mut self) {
        self.1.open.fetch_sub(1, Relaxed);
    }
}

impl OpenFile for CountingFile {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.1.check()?;
        if into.len() >= MUCH {
            let counts = &*self.1;
            counts.read_bytes.fetch_add(into.len() as u64, Relaxed);
            let gate = counts.gate.lock().expect("whole");
            drop(counts.opened.wait_while(gate, |is_shut| *is_shut));
        }
        self.0.read_at(into, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(bytes, at)
    }
    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.0.cut(bytes)
    }
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn can_be_sent(&self) -> bool {
        self.1.wait_for_others();
        self.0.can_be_sent()
    }
    fn read_now(&self, into: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        self.1.check()?;
        self.0.read_now(into, at)
    }
    fn read_ahead(&self, at: u64, bytes: u64) {
        self.0.read_ahead(at, bytes);
    }
    fn send(&self, socket: BorrowedFd<'_>, at: u64, bytes: usize) -> io::Result<usize> {
        self.0.send(socket, at, bytes)
    }
}

impl Files for Counting {
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        SystemFiles.list(folder)
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.create_folder(folder)
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn OpenFile>> {
        let file = SystemFiles.open(path, mode)?;
        self.open.fetch_add(1, Relaxed);
        Ok(Arc::new(CountingFile(file, self.clone())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemFiles.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemFiles.remove_file(path)
    }
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.remove_folder(folder)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.sync_folder(folder)
    }
    fn room(&self, folder: &Path) -> io::Result<Room> {
        let free_bytes = *self.free_bytes.lock().expect("whole");
        match free_bytes {
            None => SystemFiles.room(folder),
            Some(free_bytes) => Ok(Room {
                total_bytes: 1 << 40,
                free_bytes,
            }),
        }
    }
}
