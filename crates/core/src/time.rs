//! The two clocks of a broker, handed in by whoever drives a machine.

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds that never go back, from an arbitrary start: deadlines, sessions, timeouts.
    pub monotonic_ms: i64,
    /// Milliseconds since the Unix epoch, which may jump: retention, LogAppendTime, offset expiry.
    pub wall_ms: i64,
}
