//! What was read into memory lately: of several who want the same at about the same time one reads it. It counts towards
//! the memory limit, and is what is given back first.

use crate::buffer::Slice;
use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// This part of the memory limit may be held for those who come after,
const KEPT_PART: usize = 16;
/// and no more than this: what consumers are apart that read side by side.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// See the file's top.
pub(super) struct Recent {
    state: Mutex<State>,
    /// Somebody has read something, or could not.
    done: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    /// The one that was used last stands at the end.
    kept: VecDeque<Kept>,
    bytes: usize,
    /// What is being read.
    loading: Vec<Range>,
    /// Nobody has used any of it since this was asked last.
    is_idle: bool,
}

/// Where bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The number of the file that is being read.
    pub file: u64,
    pub at: u64,
    pub bytes: usize,
}

impl Range {
    /// Whether the first bytes of another one lie in this.
    fn begins(&self, other: &Range, first_bytes: usize) -> bool {
        let end = other.at.saturating_add(first_bytes as u64);
        self.file == other.file && self.at <= other.at && end <= self.at + self.bytes as u64
    }
}

struct Kept {
    range: Range,
    slice: Slice,
}

impl Kept {
    /// What it has of a range that begins in it.
    fn part(&self, wanted: &Range) -> Slice {
        let from = (wanted.at - self.range.at) as usize;
        let to = self.range.bytes.min(from.saturating_add(wanted.bytes));
        self.slice.slice(from, to)
    }
}

impl Recent {
    /// Nothing yet, where so much memory may be taken by everything.
    pub fn new(limit: usize) -> Recent {
        Recent {
            state: Mutex::default(),
            done: Condvar::new(),
            bytes_max: (limit / KEPT_PART).min(KEPT_BYTES_MAX),
        }
    }

    /// Of no rank: nothing else is locked meanwhile.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read there lately, which may be less than all of it but not less than its first bytes.
    pub fn find(&self, wanted: &Range, first_bytes: usize) -> Option<Slice> {
        self.lock().find(wanted, first_bytes)
    }

    /// The same, and if there is none, what `read` reads; who wants the same meanwhile waits for that.
    ///
    /// # Errors
    /// That of `read`.
    pub fn read(
        &self,
        wanted: Range,
        first_bytes: usize,
        read: impl FnOnce() -> io::Result<Slice>,
    ) -> io::Result<Slice> {
        let mut state = self.lock();
        loop {
            if let Some(slice) = state.find(&wanted, first_bytes) {
                return Ok(slice);
            }
            let mut loading = state.loading.iter();
            if !loading.any(|range| range.begins(&wanted, first_bytes)) {
                break;
            }
            state = self
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.loading.push(wanted);
        drop(state);
        let loading = Loading {
            recent: self,
            range: wanted,
        };
        let slice = read()?;
        self.lock().keep(wanted, &slice, self.bytes_max);
        drop(loading);
        Ok(slice)
    }

    /// Gives back what was used longest ago; whether there was anything.
    pub fn give_back(&self) -> bool {
        let oldest = self.lock().take_oldest();
        oldest.is_some()
    }

    /// Gives back what nobody has used since this was called last.
    pub fn sweep(&self) {
        let mut state = self.lock();
        let idle = match std::mem::replace(&mut state.is_idle, true) {
            true => std::mem::take(&mut state.kept),
            false => return,
        };
        state.bytes = 0;
        drop(state);
        drop(idle);
    }
}

impl State {
    fn find(&mut self, wanted: &Range, first_bytes: usize) -> Option<Slice> {
        let mut kept = self.kept.iter();
        let at = kept.position(|kept| kept.range.begins(wanted, first_bytes))?;
        let kept = self.kept.remove(at)?;
        let part = kept.part(wanted);
        self.kept.push_back(kept);
        self.is_idle = false;
        Some(part)
    }

    fn keep(&mut self, range: Range, slice: &Slice, bytes_max: usize) {
        let bytes = slice.block_bytes();
        if bytes > bytes_max || slice.len() != range.bytes {
            return;
        }
        while self.bytes + bytes > bytes_max {
            if self.take_oldest().is_none() {
                return;
            }
        }
        self.is_idle = false;
        self.bytes += bytes;
        self.kept.push_back(Kept {
            range,
            slice: slice.clone(),
        });
    }

    fn take_oldest(&mut self) -> Option<Kept> {
        let oldest = self.kept.pop_front()?;
        self.bytes -= oldest.slice.block_bytes();
        Some(oldest)
    }
}

/// Somebody reads; whatever becomes of it, those who wait hear of it.
struct Loading<'a> {
    recent: &'a Recent,
    range: Range,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut state = self.recent.lock();
        let at = state.loading.iter().position(|range| *range == self.range);
        at.map(|at| state.loading.swap_remove(at));
        drop(state);
        self.recent.done.notify_all();
    }
}
