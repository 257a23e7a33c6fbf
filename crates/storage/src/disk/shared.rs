//! What all logs of an engine share, and which of them are there.

use super::Fsync;
use super::doomed::Doomed;
use super::figures::Counted;
use super::files::Files;
use super::noted::Noted;
use super::pool::Pool;
use super::readings::Readings;
use super::recent::Recent;
use super::room::Left;
use super::scrub::Scrub;
use super::writer::Writer;
use crate::limit::Memory;
use crate::memory::Order;
use rustka_core::sync::lock;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

/// What all logs of an engine share.
pub(super) struct Shared {
    pub files: Arc<dyn Files>,
    pub root: Arc<Path>,
    pub memory: Arc<Memory>,
    pub order: Arc<Order>,
    pub pool: Arc<Pool>,
    pub fsync: Fsync,
    pub last_sequence: AtomicU64,
    pub is_closed: AtomicBool,
    /// A partition could not be opened.
    pub is_untrue: AtomicBool,
    pub writers: Mutex<BTreeMap<Arc<str>, Weak<Writer>>>,
    /// Logs that are deleted and whose folders are perhaps still there.
    pub leaving: Mutex<BTreeMap<Arc<str>, Vec<Arc<Writer>>>>,
    pub noted: Mutex<Noted>,
    /// Held by whoever writes down what is noted.
    pub noting: Mutex<()>,
    pub doomed: Mutex<Doomed>,
    pub next_sync_ms: Mutex<Option<i64>>,
    pub syncs: AtomicU64,
    pub written_bytes: AtomicU64,
    pub counted: Counted,
    pub left: Mutex<Left>,
    /// Held by an opening that gives the reserve up. Of no rank: nothing else is locked meanwhile.
    pub giving_up: Mutex<()>,
    pub told: Mutex<BTreeSet<String>>,
    /// Logs whose files are open, in the order in which they were opened.
    pub open: Mutex<VecDeque<Weak<Writer>>>,
    pub scrub: Mutex<Scrub>,
    /// Segments that were read lately.
    pub readings: Readings,
    /// What was read of them into memory.
    pub recent: Recent,
}

/// So many logs have their files open, three each; then others are closed first.
const OPEN_LOGS_MAX: usize = 60;
/// So many things are told of, each once.
const TOLD_MAX: usize = 1_000;

impl Shared {
    /// Whether something that may come again and again is to be told of in the log: once each.
    pub fn is_news(&self, what: impl Into<String>) -> bool {
        let mut told = lock(&self.told);
        told.len() < TOLD_MAX && told.insert(what.into())
    }

    /// A log is deleted. Its name may be another one's soon.
    pub fn leaves(&self, writer: &Arc<Writer>) {
        let name = writer.folder.name();
        let is_its = |known: &Weak<Writer>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(writer));
        let mut writers = lock(&self.writers);
        if writers.get(name).is_some_and(is_its) {
            writers.remove(name);
        }
        drop(writers);
        let mut leaving = lock(&self.leaving);
        let of_its_name = leaving.entry(name.clone()).or_default();
        of_its_name.push(writer.clone());
    }

    /// Has the folders out of the way that deleted logs of this one's name may have left, and waits until nothing is written
    /// there any more: it would be written into the folder of this one.
    pub fn clear_way(&self, next: &Writer) -> io::Result<()> {
        let leaving = lock(&self.leaving);
        let of_its_name = leaving.get(next.folder.name()).into_iter().flatten();
        let before = of_its_name.filter(|one| one.is_before(next));
        let before: Vec<Arc<Writer>> = before.cloned().collect();
        drop(leaving);
        for writer in before {
            self.doom_folder(writer.end()?, 0);
            self.has_left(&writer);
        }
        Ok(())
    }

    /// A deleted log's folder is out of the way.
    pub fn has_left(&self, writer: &Writer) {
        let name = writer.folder.name();
        let mut leaving = lock(&self.leaving);
        let Some(of_its_name) = leaving.get_mut(name) else {
            return;
        };
        of_its_name.retain(|known| !std::ptr::eq(&**known, writer));
        if of_its_name.is_empty() {
            leaving.remove(name);
        }
    }

    /// A log has opened its files: where there are too many, those that were opened first are closed.
    pub fn opened(&self, writer: &Arc<Writer>) {
        let oldest = {
            let mut open = lock(&self.open);
            open.push_back(Arc::downgrade(writer));
            let too_many = open.len() > OPEN_LOGS_MAX;
            open.pop_front_if(|_| too_many)
        };
        let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) else {
            return;
        };
        // What is dirty keeps its file open until it is synced.
        oldest.flush();
        if !oldest.close_files() {
            lock(&self.open).push_back(Arc::downgrade(&oldest));
        }
    }

    pub fn next_sequence(&self) -> u64 {
        self.last_sequence.fetch_add(1, Relaxed)
    }

    /// Those of all logs that are there.
    pub fn live_writers(&self) -> Vec<Arc<Writer>> {
        let writers = lock(&self.writers);
        writers.values().filter_map(Weak::upgrade).collect()
    }

    /// Has everything synced that was written.
    pub fn flush_all(&self) {
        self.live_writers().iter().for_each(Writer::flush);
    }
}
