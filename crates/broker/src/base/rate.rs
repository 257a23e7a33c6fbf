//! How often something may happen that costs the broker and is free for its clients, lines in the log among them.

use rustka_core::sync::lock;
use std::fmt::{Display, Formatter};
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

/// So many in each second of the clock, for all who ask together; who comes too early is told when to come again.
#[derive(Default)]
pub struct PerSecond {
    /// The second that is being counted, and how many there were in it.
    counted: Mutex<(i64, i32)>,
}

impl PerSecond {
    /// Counts one more, unless there were `max` in this second already: then when the next one begins.
    pub fn take(&self, max: i32, now_ms: i64) -> Result<(), i64> {
        let mut counted = lock(&self.counted);
        let second = now_ms.div_euclid(1_000);
        if second != counted.0 {
            *counted = (second, 0);
        }
        if counted.1 >= max {
            return Err((second + 1) * 1_000);
        }
        counted.1 += 1;
        Ok(())
    }
}

/// Lines of the log of one kind that clients can cause: so many in a window of time, the others are only counted. Every
/// such line from warnings on goes by one of these and ends with what was left out before it; lines for those who look
/// for a fault are only as many as the log can take.
pub struct LogLimit {
    lines_max: u64,
    window_ms: i64,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    since_ms: Option<i64>,
    lines: u64,
    dropped: u64,
}

impl Default for LogLimit {
    /// Ten lines in ten seconds.
    fn default() -> Self {
        LogLimit::new(10, 10_000)
    }
}

/// How many lines of a kind were left out before this one, as its last words; nothing if none were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut(u64);

impl Display for LeftOut {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, "; {count} more lines of this kind before"),
        }
    }
}

impl LogLimit {
    /// `lines_max` lines within `window_ms` of the first of them.
    pub fn new(lines_max: u64, window_ms: i64) -> LogLimit {
        LogLimit {
            lines_max,
            window_ms,
            window: Mutex::default(),
        }
    }

    /// Whether a line may be written now; if so, how many were left out since the last window.
    pub fn admits(&self, now_ms: i64) -> Option<LeftOut> {
        let mut window = lock(&self.window);
        let over = |since_ms| now_ms.saturating_sub(since_ms) >= self.window_ms;
        let mut dropped = 0;
        if window.since_ms.is_none_or(over) {
            dropped = window.dropped;
            *window = Window {
                since_ms: Some(now_ms),
                ..Window::default()
            };
        }
        if window.lines == self.lines_max {
            window.dropped += 1;
            return None;
        }
        window.lines += 1;
        Some(LeftOut(dropped))
    }

    /// Lines written in this window.
    #[cfg(test)]
    pub fn lines(&self) -> u64 {
        lock(&self.window).lines
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

    #[test]
    fn each_second_has_its_own_count() {
        let rate = PerSecond::default();
        let at = |now_ms| rate.take(2, now_ms);
        assert_eq!([at(0), at(999), at(999)], [Ok(()), Ok(()), Err(1_000)]);
        assert_eq!(
            [at(1_000), at(1_001), at(1_002)],
            [Ok(()), Ok(()), Err(2_000)]
        );
        assert_eq!(
            rate.take(3, 1_003),
            Ok(()),
            "the limit may be raised meanwhile"
        );
    }

    #[test]
    fn lines_beyond_the_limit_are_counted_and_told_with_the_next_window() {
        let limit = LogLimit::new(2, 1_000);
        let at = |now_ms| limit.admits(now_ms).map(|left_out| left_out.0);
        assert_eq!([at(900), at(1_500), at(1_899)], [Some(0), Some(0), None]);
        assert_eq!(
            [at(1_899), at(1_900), at(1_900)],
            [None, Some(2), Some(0)],
            "a window begins with its first line"
        );
        assert_eq!([at(2_000), at(9_000)], [None, Some(1)]);
        assert_eq!(LeftOut(0).to_string(), "");
        assert!(LeftOut(7).to_string().contains("7 more lines"));
    }
}
