//! What is left on the volume: writes are refused before it is full.

use super::Shared;
use super::files::Room;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::sync::lock;
use std::sync::atomic::Ordering::Relaxed;

/// What is left to coordinators on a volume that is full: at most this,
const RESERVE_BYTES_MAX: u64 = 64 << 20;
/// and no more than this part of it.
const RESERVE_PART: u64 = 20;

/// What is left on the volume, as far as is known.
#[derive(Default)]
pub(super) struct Left {
    /// The volume, when it was looked at last.
    pub volume: Option<Room>,
    /// What had been written by then.
    written_bytes: u64,
    /// Below this only coordinators write.
    pub reserve_bytes: u64,
}

impl Shared {
    /// Finds out how much is left on the volume.
    pub(super) fn look_at_room(&self) {
        let written_bytes = self.written_bytes.load(Relaxed);
        let Ok(room) = self.files.room(&self.root) else {
            // Then a write finds out.
            return;
        };
        *lock(&self.left) = Left {
            volume: Some(room),
            written_bytes,
            reserve_bytes: RESERVE_BYTES_MAX.min(room.total_bytes / RESERVE_PART),
        };
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
        if free_bytes >= left.reserve_bytes {
            return Ok(());
        }
        let message = format!(
            "the volume of the data directory {} is full: {free_bytes} bytes are left; make room there, or delete records",
            self.root.display()
        );
        Err(Refusal::new(ErrorCode::KafkaStorageError, message))
    }
}
