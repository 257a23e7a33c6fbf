//! The floor with a disk (`kbench floor --dir DIR`): a partition is one file. What has come while the file was being
//! synced is one write and one `fdatasync`; an answer leaves, and a record is seen, once that has returned. What is
//! read is sent from the file by `sendfile`. How often it synced stands at the port after its own, under the name that
//! Rustka has for it.

use super::Topic;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

/// Syncs of all files.
static SYNCS: AtomicU64 = AtomicU64::new(0);

/// A batch on its way into a file: a range of the frame it came in, and the offset behind it.
type Coming = (Arc<Vec<u8>>, std::ops::Range<usize>, i64);

/// The file of a partition.
pub struct DiskFile {
    pub file: File,
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct State {
    coming: Vec<Coming>,
    /// Bytes that are written or about to be.
    bytes: u64,
    /// All before this offset is on the disk.
    durable: i64,
    has_thread: bool,
}

/// An answer waits for this partition to be on the disk so far.
pub struct Wait {
    topic: Arc<Topic>,
    partition: usize,
    next: i64,
}

impl Wait {
    pub fn new(topic: &Arc<Topic>, partition: i32, next: i64) -> Wait {
        Wait {
            topic: topic.clone(),
            partition: partition as usize,
            next,
        }
    }

    pub fn wait(&self) {
        if let Some(file) = &self.topic.partitions[self.partition].file {
            let state = file.state.lock().unwrap();
            let waits = |state: &mut State| state.durable < self.next;
            drop(file.done.wait_while(state, waits).unwrap());
        }
    }
}

impl DiskFile {
    pub fn new(folder: &Path, topic: &str, partition: i32) -> DiskFile {
        let path = folder.join(format!("{topic}-{partition}"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        DiskFile {
            file: file.unwrap_or_else(|e| panic!("{}: {e}", path.display())),
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// Takes a batch, whose partition is locked; where in the file it will lie.
    pub fn take(&self, frame: &Arc<Vec<u8>>, bytes: std::ops::Range<usize>, next: i64) -> u64 {
        let mut state = self.state.lock().unwrap();
        let at = state.bytes;
        state.bytes += bytes.len() as u64;
        state.coming.push((frame.clone(), bytes, next));
        at
    }
}

/// Has it written; the thread of the file begins with its first batch.
pub fn wake(topic: &Arc<Topic>, partition: i32) {
    let Some(file) = &topic.partitions[partition as usize].file else {
        return;
    };
    let is_new = !std::mem::replace(&mut file.state.lock().unwrap().has_thread, true);
    if is_new {
        let topic = topic.clone();
        std::thread::spawn(move || work(&topic, partition as usize));
    } else {
        file.work.notify_one();
    }
}

fn work(topic: &Arc<Topic>, partition: usize) {
    let partition = &topic.partitions[partition];
    let file = partition.file.as_ref().expect("it has one");
    loop {
        let coming = {
            let state = file.state.lock().unwrap();
            let idle = |state: &mut State| state.coming.is_empty();
            let mut state = file.work.wait_while(state, idle).unwrap();
            std::mem::take(&mut state.coming)
        };
        let mut parts: Vec<IoSlice> = coming
            .iter()
            .map(|(frame, bytes, _)| IoSlice::new(&frame[bytes.clone()]))
            .collect();
        let mut rest = &mut parts[..];
        while !rest.is_empty() {
            let batches = rest.len().min(512);
            let n = (&file.file)
                .write_vectored(&rest[..batches])
                .expect("write");
            IoSlice::advance_slices(&mut rest, n);
        }
        file.file.sync_data().expect("fdatasync");
        SYNCS.fetch_add(1, SeqCst);
        let next = coming.last().expect("something came").2;
        partition.end.store(next, SeqCst);
        file.state.lock().unwrap().durable = next;
        file.done.notify_all();
        topic.wake();
    }
}

/// Whether the peer has sent something that was not read yet.
pub fn has_more(c: &TcpStream) -> bool {
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: one byte is read into a local.
    unsafe { libc::recv(c.as_raw_fd(), (&raw mut byte).cast(), 1, flags) > 0 }
}

/// Sends so many bytes of a file.
pub fn send(c: &TcpStream, file: &File, at: u64, bytes: usize) -> io::Result<()> {
    let (mut at, mut left) = (at as libc::off_t, bytes);
    while left > 0 {
        // SAFETY: the call only reads and writes the local offset.
        let n = unsafe { libc::sendfile(c.as_raw_fd(), file.as_raw_fd(), &mut at, left) };
        match n {
            1.. => left -= n as usize,
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

/// Tells how often it synced to whoever asks at this address, as a page of metrics.
pub fn tell(address: String) {
    let listener = TcpListener::bind(address).expect("bind");
    std::thread::spawn(move || {
        for mut c in listener.incoming().flatten() {
            let _asked = c.read(&mut [0; 1024]);
            let syncs = SYNCS.load(SeqCst);
            let page = format!("rustka_disk_sync_duration_seconds_count {syncs}\n");
            let _told = write!(c, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{page}");
        }
    });
}
