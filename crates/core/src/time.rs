//! The two clocks of a broker, handed in by whoever drives a machine, and how far the wall clock is believed.

/// A wall clock that runs ahead of the other one by more than this at once has been set.
pub const WALL_JUMP_MS: i64 = 3_600_000;
/// How long a wall clock that jumped ahead has to stay there before things grow old by it.
pub const WALL_DISTRUST_MS: i64 = 600_000;
/// Differences between the clocks that need no thought: ticks, and a wall clock that is slowly put right.
const WALL_DRIFT_MS: u64 = 1_000;

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds that never go back, from an arbitrary start: deadlines, sessions, timeouts.
    pub monotonic_ms: i64,
    /// Milliseconds since the Unix epoch, which may jump: what is written down and told to clients.
    pub wall_ms: i64,
    /// The wall time by which things grow old, for whatever is lost when they do: retention, expiry, delete horizons,
    /// compaction lags. It is `wall_ms`, unless that jumped ahead a short while ago and may yet be set back.
    pub aging_ms: i64,
}

impl Now {
    /// An instant at which the wall clock is believed.
    pub const fn new(monotonic_ms: i64, wall_ms: i64) -> Now {
        Now {
            monotonic_ms,
            wall_ms,
            aging_ms: wall_ms,
        }
    }

    /// How far the wall clock is ahead of what is believed of it, in milliseconds; 0 while it is believed.
    pub fn distrusted_ms(&self) -> i64 {
        self.wall_ms.saturating_sub(self.aging_ms)
    }
}

/// What is believed of a wall clock. One that jumps ahead is believed when it has stayed there for
/// [`WALL_DISTRUST_MS`]; one that goes back at once, since that makes nothing older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTrust {
    /// The believed wall time minus the monotonic one.
    offset_ms: i64,
    /// Since when, on the monotonic clock, the wall clock has been ahead of that.
    ahead_since_ms: Option<i64>,
}

impl WallTrust {
    /// Believes the wall clock as it is.
    pub fn new(monotonic_ms: i64, wall_ms: i64) -> WallTrust {
        WallTrust {
            offset_ms: wall_ms.saturating_sub(monotonic_ms),
            ahead_since_ms: None,
        }
    }

    /// By how much the wall clock is known to be ahead of the monotonic one, while it is believed.
    pub fn settled_offset_ms(&self) -> Option<i64> {
        self.ahead_since_ms.is_none().then_some(self.offset_ms)
    }

    /// Takes note of what both clocks show.
    pub fn look(&mut self, monotonic_ms: i64, wall_ms: i64) -> Now {
        let ahead_ms = ahead_ms(self.offset_ms, monotonic_ms, wall_ms);
        if ahead_ms > WALL_JUMP_MS {
            let since_ms = *self.ahead_since_ms.get_or_insert(monotonic_ms);
            if monotonic_ms.saturating_sub(since_ms) < WALL_DISTRUST_MS {
                return Now {
                    monotonic_ms,
                    wall_ms,
                    aging_ms: monotonic_ms.saturating_add(self.offset_ms),
                };
            }
        }
        *self = WallTrust::new(monotonic_ms, wall_ms);
        Now::new(monotonic_ms, wall_ms)
    }
}

/// What both clocks show, if they agree with what was settled; else somebody has to [`WallTrust::look`].
pub fn as_settled(offset_ms: i64, monotonic_ms: i64, wall_ms: i64) -> Option<Now> {
    let drift_ms = ahead_ms(offset_ms, monotonic_ms, wall_ms).unsigned_abs();
    (drift_ms <= WALL_DRIFT_MS).then(|| Now::new(monotonic_ms, wall_ms))
}

fn ahead_ms(offset_ms: i64, monotonic_ms: i64, wall_ms: i64) -> i64 {
    wall_ms
        .saturating_sub(monotonic_ms)
        .saturating_sub(offset_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;
    const START_MS: i64 = 1_000 * DAY_MS;

    /// The aging time, relative to a clock that nobody ever set, when the wall clock is `ahead_ms` of that.
    fn believed(trust: &mut WallTrust, monotonic_ms: i64, ahead_ms: i64) -> i64 {
        let wall_ms = START_MS + monotonic_ms + ahead_ms;
        let now = trust
            .settled_offset_ms()
            .and_then(|offset_ms| as_settled(offset_ms, monotonic_ms, wall_ms))
            .unwrap_or_else(|| trust.look(monotonic_ms, wall_ms));
        assert_eq!((now.monotonic_ms, now.wall_ms), (monotonic_ms, wall_ms));
        now.aging_ms - START_MS - monotonic_ms
    }

    /// A clock that was wrong for a few seconds made committed offsets and records old for good.
    #[test]
    fn a_clock_that_jumps_ahead_makes_nothing_old_until_it_has_stayed_there() {
        let mut trust = WallTrust::new(0, START_MS);
        assert_eq!(believed(&mut trust, 1_000, 0), 0);
        assert_eq!(believed(&mut trust, 2_000, 8 * DAY_MS), 0);
        assert_eq!(
            believed(&mut trust, 2_000 + WALL_DISTRUST_MS - 1, 8 * DAY_MS),
            0
        );
        assert_eq!(
            believed(&mut trust, 2_000 + WALL_DISTRUST_MS, 8 * DAY_MS),
            8 * DAY_MS
        );
    }

    #[test]
    fn a_clock_that_is_set_back_was_never_ahead() {
        let mut trust = WallTrust::new(0, START_MS);
        assert_eq!(believed(&mut trust, 1_000, 8 * DAY_MS), 0);
        assert_eq!(believed(&mut trust, 2_000, 0), 0);
        // The next jump is distrusted as long as the first.
        assert_eq!(believed(&mut trust, WALL_DISTRUST_MS, 8 * DAY_MS), 0);
        assert_eq!(
            believed(&mut trust, 2 * WALL_DISTRUST_MS - 1, 8 * DAY_MS),
            0
        );
        assert_eq!(believed(&mut trust, 2 * WALL_DISTRUST_MS, -DAY_MS), -DAY_MS);
    }

    #[test]
    fn a_clock_that_is_put_right_little_by_little_is_followed() {
        let mut trust = WallTrust::new(0, START_MS);
        for n in 1..100 {
            let ahead_ms = n * (WALL_JUMP_MS - 1);
            assert_eq!(believed(&mut trust, n * 1_000, ahead_ms), ahead_ms);
        }
        assert_eq!(believed(&mut trust, 100_000, -5), -5);
    }
}
