//! Locks whose data stays usable after a panic elsewhere. Not for data that a panic can leave half changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. A panic under it left plain values behind, each of them whole, so it is not passed on.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
