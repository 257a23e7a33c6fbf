//! What is left on the volume. Writes of clients are refused before it is full; what is on its way when it is, waits. A
//! file in the root keeps room for coordinators, and is given up where there is no other.

use super::Shared;
use super::files::remove_if_there;
use super::pool::Job;
use super::writer::Writer;
use crate::figures::Room;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::sync::lock;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

/// The file whose room is for coordinators. Kafka looks at no file that it does not know.
const RESERVE: &str = "rustka-reserve";
/// How large it is at most,
const RESERVE_BYTES_MAX: u64 = 16 << 20;
/// and no more than this part of the volume.
const RESERVE_PART: u64 = 40;

/// What is left on the volume, as far as is known.
#[derive(Default)]
pub(super) struct Left {
    /// The volume, when it was looked at last.
    pub volume: Option<Room>,
    /// What had been written by then.
    written_bytes: u64,
    /// Below this only coordinators write. The file takes as much.
    pub reserve_bytes: u64,
    /// There was no room, and nobody has made enough since.
    pub is_full: bool,
    /// Whether the file is there, once that is known.
    is_held: Option<bool>,
    /// Logs whose writes wait for room.
    waiting: Vec<Arc<Writer>>,
}

impl Shared {
    /// Finds out how much is left on the volume.
    pub(super) fn look_at_room(&self) {
        let written_bytes = self.written_bytes.load(Relaxed);
        let Ok(room) = self.files.room(&self.root) else {
            // Then a write finds out.
            return;
        };
        let mut left = lock(&self.left);
        left.volume = Some(room);
        left.written_bytes = written_bytes;
        left.reserve_bytes = RESERVE_BYTES_MAX.min(room.total_bytes / RESERVE_PART);
    }

    /// Whether clients' writes are refused for want of room.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.left).is_full
    }

    /// Looks again, and does what follows: gives the reserve up or takes it again, and has what waits tried once more.
    pub(super) fn keep_room(self: &Arc<Shared>) {
        self.look_at_room();
        let (waiting, free_bytes, reserve_bytes, was_full, is_full) = {
            let mut left = lock(&self.left);
            let Some(volume) = left.volume else {
                return;
            };
            let waiting = std::mem::take(&mut left.waiting);
            let was_full = left.is_full;
            if waiting.is_empty() && volume.free_bytes >= 3 * left.reserve_bytes {
                left.is_full = false;
            } else if volume.free_bytes < left.reserve_bytes {
                left.is_full = true;
            }
            let (free_bytes, is_full) = (volume.free_bytes, left.is_full);
            (waiting, free_bytes, left.reserve_bytes, was_full, is_full)
        };
        if is_full {
            self.give_reserve_up();
        } else if free_bytes >= 2 * reserve_bytes {
            self.take_reserve(reserve_bytes);
        }
        if is_full != was_full {
            self.tell(is_full, free_bytes);
        }
        for writer in waiting {
            self.pool.push(Job::Write(writer));
        }
    }

    fn tell(&self, is_full: bool, free_bytes: u64) {
        let root = self.root.display();
        match is_full {
            true => tracing::error!(
                target: "rustka::storage",
                "the volume of the data directory {root} is full, {free_bytes} bytes are left: writes are refused until there is room, reading and committing go on"
            ),
            false => tracing::info!(
                target: "rustka::storage",
                "there is room again on the volume of the data directory {root}, {free_bytes} bytes: writes are accepted"
            ),
        }
    }

    /// A log has found no room for what it was to write; it goes on once there is some.
    pub(super) fn is_out_of_room(self: &Arc<Shared>, writer: &Arc<Writer>) {
        let was_full = {
            let mut left = lock(&self.left);
            left.waiting.push(writer.clone());
            std::mem::replace(&mut left.is_full, true)
        };
        if !was_full {
            self.tell(true, 0);
        }
        if self.give_reserve_up() {
            let waiting = std::mem::take(&mut lock(&self.left).waiting);
            for writer in waiting {
                self.pool.push(Job::Write(writer));
            }
        }
    }

    /// Gives the reserve up for what an opening has to write. Whoever comes meanwhile goes on once it is gone.
    pub(super) fn make_way(&self) {
        let _held = self
            .giving_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.give_reserve_up();
    }

    fn reserve(&self) -> PathBuf {
        self.root.join(RESERVE)
    }

    /// Whether that has made room.
    fn give_reserve_up(&self) -> bool {
        if lock(&self.left).is_held.replace(false) == Some(false) {
            return false;
        }
        let there = self.files.open(&self.reserve(), super::Mode::Read).is_ok();
        there && remove_if_there(&*self.files, &self.reserve()).is_ok()
    }

    fn take_reserve(&self, bytes: u64) {
        let is_held = lock(&self.left).is_held;
        let is_held = is_held.unwrap_or_else(|| {
            let file = self.files.open(&self.reserve(), super::Mode::Read);
            file.and_then(|file| file.bytes())
                .is_ok_and(|there| there >= bytes)
        });
        let taken = is_held || self.files.reserve(&self.reserve(), bytes).is_ok();
        lock(&self.left).is_held = Some(taken);
        if !taken {
            // A part of it would be in the way. What cannot be removed now is when room is needed.
            let _gone = remove_if_there(&*self.files, &self.reserve());
        }
    }

    /// Refuses a write that would take what is left for coordinators. So nothing fails in the middle, and all goes on by
    /// itself once there is room.
    pub(super) fn check_room(&self) -> Result<(), Refusal> {
        let left = lock(&self.left);
        let since = self
            .written_bytes
            .load(Relaxed)
            .saturating_sub(left.written_bytes);
        let Some(volume) = left.volume else {
            return Ok(());
        };
        let free_bytes = volume.free_bytes.saturating_sub(since);
        if free_bytes >= left.reserve_bytes && !left.is_full {
            return Ok(());
        }
        let message = format!(
            "the volume of the data directory {} is full: {free_bytes} bytes are left; make room there, or delete records",
            self.root.display()
        );
        Err(Refusal::new(ErrorCode::KafkaStorageError, message))
    }
}
