//! How many partitions may be created and deleted (KIP-599): a bucket that may be overdrawn once.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::rate::Windows;
use crate::error::{ErrorCode, Refusal};
use crate::sync::lock;

/// What one entity may still change. Filled anew with its quota every second, up to as many seconds as there are
/// windows.
#[derive(Debug, Default)]
pub struct Bucket {
    /// What is left; nothing has been taken yet while there is none.
    left: Option<f64>,
    filled_ms: i64,
}

impl Bucket {
    fn fill(&mut self, quota: f64, windows: Windows, now_ms: i64) -> f64 {
        let most = quota * f64::from(windows.count) * windows.size_ms as f64 / 1_000.0;
        let since_ms = now_ms.saturating_sub(self.filled_ms).max(0);
        let filled = self.left.unwrap_or(most) + quota * since_ms as f64 / 1_000.0;
        self.filled_ms = now_ms;
        *self.left.insert(filled.min(most))
    }

    /// When something was taken last.
    pub fn filled_ms(&self) -> i64 {
        self.filled_ms
    }

    /// Whether it is as full as a new one.
    pub fn is_full(&mut self, quota: f64, windows: Windows, now_ms: i64) -> bool {
        let most = quota * f64::from(windows.count) * windows.size_ms as f64 / 1_000.0;
        self.fill(quota, windows, now_ms) >= most
    }
}

/// What one request may change.
#[derive(Debug)]
pub struct Allowance {
    bucket: Arc<Mutex<Bucket>>,
    quota: f64,
    windows: Windows,
    now_ms: i64,
    /// Whether to refuse what an overdrawn bucket cannot pay; older clients are only made to wait.
    strict: bool,
    wait_ms: AtomicU32,
}

impl Allowance {
    /// What may be taken from a bucket now.
    pub fn new(
        bucket: Arc<Mutex<Bucket>>,
        quota: f64,
        windows: Windows,
        now_ms: i64,
        strict: bool,
    ) -> Allowance {
        Allowance {
            bucket,
            quota,
            windows,
            now_ms,
            strict,
            wait_ms: AtomicU32::new(0),
        }
    }

    /// Pays for so many partitions. The last of them may overdraw the bucket; while it is, nothing more is done.
    pub fn take(&self, partitions: usize) -> Result<(), Refusal> {
        let mut bucket = lock(&self.bucket);
        let left = bucket.fill(self.quota, self.windows, self.now_ms);
        if self.strict && left < 0.0 {
            self.note_wait(left);
            return Err(ErrorCode::ThrottlingQuotaExceeded.into());
        }
        let left = left - partitions as f64;
        bucket.left = Some(left);
        if !self.strict && left < 0.0 {
            self.note_wait(left);
        }
        Ok(())
    }

    fn note_wait(&self, left: f64) {
        let wait_ms = (-left / self.quota * 1_000.0).round();
        self.wait_ms.store(wait_ms as u32, Relaxed);
    }

    /// For how long whoever asked has to wait.
    pub fn wait_ms(&self) -> u32 {
        self.wait_ms.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(bucket: &Arc<Mutex<Bucket>>, now_ms: i64, strict: bool) -> Allowance {
        let windows = Windows::default();
        Allowance::new(bucket.clone(), 1.0, windows, now_ms, strict)
    }

    #[test]
    fn a_bucket_of_eleven_seconds_may_be_overdrawn_once() {
        let bucket = Arc::default();
        let strict = allowance(&bucket, 5, true);
        assert!(strict.take(5).is_ok() && strict.take(10).is_ok());
        assert_eq!(strict.wait_ms(), 0, "the next one waits");
        assert_eq!(
            strict.take(1).unwrap_err().code,
            ErrorCode::ThrottlingQuotaExceeded
        );
        assert_eq!(strict.wait_ms(), 4_000);
        let later = allowance(&bucket, 4_004, true);
        assert!(later.take(1).is_err());
        assert_eq!(later.wait_ms(), 1);
        assert!(allowance(&bucket, 4_005, true).take(1).is_ok());
        assert!(!lock(&bucket).is_full(1.0, Windows::default(), 16_004));
        assert!(lock(&bucket).is_full(1.0, Windows::default(), 16_005));
    }

    #[test]
    fn older_clients_get_what_they_ask_for_and_wait_longer() {
        let bucket = Arc::default();
        let permissive = allowance(&bucket, 0, false);
        assert!(permissive.take(18).is_ok());
        assert_eq!(permissive.wait_ms(), 7_000);
        assert!(permissive.take(3).is_ok());
        assert_eq!(permissive.wait_ms(), 10_000);
    }
}
