//! Segments that were read lately: their files stay open for a while, and what was found out about where batches lie in
//! them is remembered. Whoever reads on where somebody has ended finds that without looking at the file.

use super::files::OpenFile;
use super::moving::Moving;
use super::pool::{Job, Pool};
use super::seek::Part;
use crate::cold::SpanFile;
use rustka_core::sync::lock;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Segments whose files stay open after they were read.
const KEPT_MAX: usize = 32;
/// Files that are open for readers, those that slow ones are still being sent among them. Beyond that nobody is sent a file.
const OPEN_MAX: usize = 128;
/// Places in a segment that are remembered. Readers of one segment may be this many answers apart.
const PLACES_MAX: usize = 1_024;
/// After so long nobody reads there any more.
const IDLE_MS: i64 = 10_000;
/// The system reads at least so much at once. What lies between two bytes of its cache that are no further apart is
/// taken to be there as well.
const PROBE_BYTES: usize = 128 << 10;
/// The smallest page of any system.
const PAGE_BYTES: u64 = 4 << 10;
/// So much is read ahead of a consumer that reads on and on.
pub(super) const AHEAD_BYTES: u64 = 4 << 20;

/// See the file's top.
#[derive(Default)]
pub(super) struct Readings {
    /// The one that was used last stands at the end.
    kept: Mutex<VecDeque<Arc<Reading>>>,
    /// All that somebody holds.
    open: Arc<AtomicUsize>,
    last_number: AtomicU64,
    swept_ms: AtomicI64,
}

/// Where the batches are that somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where the one begins that holds the offset.
    pub at: u64,
    /// Whole batches from there on, once somebody has looked.
    pub extent: Option<Extent>,
}

/// Whole batches of which one more does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Into so many bytes.
    pub bytes_max: usize,
    /// They have so many.
    pub bytes: usize,
    /// The offset after the last one's.
    pub next_offset: i64,
}

/// A segment that is being read.
pub(super) struct Reading {
    /// No other has it.
    number: u64,
    sequence: u64,
    /// With the sequence this tells it from what compaction has put in the segment's place.
    moving: Option<Arc<Moving>>,
    /// Always there but while it is dropped.
    file: Option<Arc<dyn OpenFile>>,
    can_be_sent: bool,
    places: Mutex<BTreeMap<i64, Place>>,
    is_used: AtomicBool,
    /// Its segment is gone: closing it may be what removes it, which takes a while.
    is_gone: AtomicBool,
    pool: Arc<Pool>,
    open: Arc<AtomicUsize>,
}

impl Readings {
    /// The segment, if it was read lately.
    pub fn find(&self, part: &Part) -> Option<Arc<Reading>> {
        find_in(&mut lock(&self.kept), part)
    }

    /// Keeps this file of a segment open; nothing where too many are. Who comes second gets what the first one has left.
    pub fn keep(
        &self,
        part: &Part,
        file: &Arc<dyn OpenFile>,
        pool: &Arc<Pool>,
    ) -> Option<Arc<Reading>> {
        let can_be_sent = file.can_be_sent();
        let mut kept = lock(&self.kept);
        if let Some(first) = find_in(&mut kept, part) {
            return Some(first);
        }
        if self.open.load(Relaxed) >= OPEN_MAX {
            return None;
        }
        self.open.fetch_add(1, Relaxed);
        let reading = Arc::new(Reading {
            number: self.last_number.fetch_add(1, Relaxed),
            sequence: part.sequence,
            moving: part.moving.clone(),
            can_be_sent,
            file: Some(file.clone()),
            places: Mutex::default(),
            is_used: AtomicBool::new(true),
            is_gone: AtomicBool::new(false),
            pool: pool.clone(),
            open: self.open.clone(),
        });
        kept.push_back(reading.clone());
        let oldest = kept.len() > KEPT_MAX;
        let oldest = kept.pop_front_if(|_| oldest);
        drop(kept);
        drop(oldest);
        Some(reading)
    }

    /// A segment is gone, or another one is in its place. Nothing is closed here.
    pub fn forget(&self, sequence: u64) {
        lock(&self.kept).retain(|reading| {
            let is_its = reading.sequence == sequence;
            if is_its {
                reading.is_gone.store(true, Relaxed);
            }
            !is_its
        });
    }

    /// Closes those that nobody has read for long; whether it was time to look.
    pub fn sweep(&self, now_ms: i64) -> bool {
        if now_ms.saturating_sub(self.swept_ms.load(Relaxed)) < IDLE_MS {
            return false;
        }
        self.swept_ms.store(now_ms, Relaxed);
        let mut idle = Vec::new();
        lock(&self.kept).retain(|reading| {
            let is_used = reading.is_used.swap(false, Relaxed);
            if !is_used {
                idle.push(reading.clone());
            }
            is_used
        });
        true
    }
}

/// The segment's among these, of which it is the one that was used last from now on.
fn find_in(kept: &mut VecDeque<Arc<Reading>>, part: &Part) -> Option<Arc<Reading>> {
    let at = kept.iter().position(|reading| reading.is_of(part))?;
    let reading = kept.remove(at)?;
    reading.is_used.store(true, Relaxed);
    kept.push_back(reading.clone());
    Some(reading)
}

impl Reading {
    fn is_of(&self, part: &Part) -> bool {
        let is_its = match (&self.moving, &part.moving) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        is_its && self.sequence == part.sequence
    }

    /// What tells it apart.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its file.
    pub fn file(&self) -> &Arc<dyn OpenFile> {
        self.file.as_ref().expect("taken in drop only")
    }

    /// Whether spans of it can be sent.
    pub fn can_be_sent(&self) -> bool {
        self.can_be_sent
    }

    /// Where the batch lies that holds this offset, if somebody has found that out.
    pub fn place(&self, offset: i64) -> Option<Place> {
        lock(&self.places).get(&offset).copied()
    }

    /// Remembers where the batch lies that holds this offset, and what begins there. What follows on whole batches is known
    /// with that as well.
    pub fn note(&self, offset: i64, place: Place) {
        let mut places = lock(&self.places);
        let known = places.entry(offset).or_insert(place);
        if place.extent.is_some() || known.at != place.at {
            *known = place;
        }
        if let Some(extent) = place.extent {
            let at = place.at + extent.bytes as u64;
            let next = Place { at, extent: None };
            places.entry(extent.next_offset).or_insert(next);
        }
        while places.len() > PLACES_MAX {
            places.pop_first();
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
        if *self.is_gone.get_mut()
            && let Some(file) = self.file.take()
        {
            self.pool.push(Job::Other(Box::new(move || drop(file))));
        }
    }
}

impl SpanFile for Reading {
    fn at_hand(&self, at: u64, bytes: usize) -> usize {
        let is_there = |offset: usize| {
            let read = self.file().read_now(&mut [0], at + offset as u64);
            matches!(read, Ok(Some(1)))
        };
        if bytes == 0 || !is_there(0) {
            return 0;
        }
        let mut done = 0;
        while done < bytes {
            let next = (done + PROBE_BYTES).min(bytes);
            if !is_there(next - 1) {
                break;
            }
            done = next;
        }
        done
    }

    fn fetch(&self, at: u64, bytes: usize) -> io::Result<()> {
        if self.at_hand(at, bytes) == bytes {
            return Ok(());
        }
        let file = self.file();
        file.read_ahead(at, bytes as u64);
        let end = at + bytes as u64;
        let mut page = at;
        while page < end {
            if file.read_at(&mut [0], page)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            page = page - page % PAGE_BYTES + PAGE_BYTES;
        }
        match file.read_at(&mut [0], end - 1)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn send(&self, socket: BorrowedFd<'_>, at: u64, bytes: usize) -> io::Result<usize> {
        self.file().send(socket, at, bytes)
    }
}
