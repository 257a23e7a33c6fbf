//! Locks that are held while a stream is polled, which may have locks of its own: outside of the broker's order of locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. A panic under it left plain values behind, each of them whole, so it is not passed on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
