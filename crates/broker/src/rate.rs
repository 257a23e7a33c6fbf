//! How often something may happen that costs the broker and is free for its clients.

use rustka_core::sync::lock;
use std::sync::Mutex;

/// So many at once, and so many more each second.
pub struct Rate {
    burst: i64,
    per_second: i64,
    /// Thousandths that are left, and when that was.
    left: Mutex<(i64, i64)>,
}

impl Rate {
    /// `burst` at once, `per_second` after that.
    pub fn new(burst: u32, per_second: u32) -> Rate {
        Rate {
            burst: i64::from(burst) * 1_000,
            per_second: i64::from(per_second),
            left: Mutex::new((i64::from(burst) * 1_000, 0)),
        }
    }

    /// Whether it may happen once more now.
    pub fn allows(&self, now_ms: i64) -> bool {
        let mut left = lock(&self.left);
        let since_ms = now_ms.saturating_sub(left.1).max(0);
        let refilled = left
            .0
            .saturating_add(since_ms.saturating_mul(self.per_second));
        *left = (refilled.min(self.burst), now_ms.max(left.1));
        let allowed = left.0 >= 1_000;
        if allowed {
            left.0 -= 1_000;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_burst_comes_the_rate() {
        let rate = Rate::new(3, 2);
        let count = |now_ms| (0..10).filter(|_| rate.allows(now_ms)).count();
        assert_eq!(count(0), 3);
        assert_eq!(count(499), 0);
        assert_eq!(count(500), 1);
        assert_eq!(count(1_500), 2);
        assert_eq!(count(1_000_000), 3);
        assert_eq!(count(0), 0, "a clock that jumps back gives nothing");
    }
}
