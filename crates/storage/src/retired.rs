//! Letting the older part of a log go that snapshots tell of (KIP-630): the oldest snapshot, and the log up to the next one.

use crate::engine::Snapshots;
use crate::partition::Partition;
use rustka_core::cluster::snapshot::{self, SnapshotId};
use std::io;

/// What may stay of a log and its snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRules {
    /// Bytes of both together; negative for no limit.
    pub bytes: i64,
    /// Age of what a snapshot tells last; negative for no limit.
    pub ms: i64,
}

/// Drops the oldest snapshots as long as there is more than these rules allow, and what they are based on. The newest one
/// stays always. How many have gone.
///
/// A crash at any moment leaves a snapshot for all that is missing of the log: the log goes first, up to what the next
/// snapshot, which is durable, begins with.
pub fn retire(
    log: &Partition,
    snapshots: &dyn Snapshots,
    rules: KeptRules,
    wall_ms: i64,
) -> io::Result<usize> {
    let all = snapshots.all()?;
    let mut left = &all[..];
    while let [(oldest, _), rest @ ..] = left
        && let Some((next, _)) = rest.first()
        && is_too_much(log, snapshots, left, rules, wall_ms)?
    {
        if log.offsets().log_start < next.end_offset {
            let moved = log.delete_records(next.end_offset);
            moved.map_err(|refusal| io::Error::other(refusal.code.name()))?;
        }
        snapshots.remove(*oldest)?;
        left = rest;
    }
    Ok(all.len() - left.len())
}

fn is_too_much(
    log: &Partition,
    snapshots: &dyn Snapshots,
    left: &[(SnapshotId, u64)],
    rules: KeptRules,
    wall_ms: i64,
) -> io::Result<bool> {
    let sizes = left.iter().map(|(_, bytes)| *bytes);
    let bytes = sizes.fold(log.bytes(), u64::saturating_add);
    if u64::try_from(rules.bytes).is_ok_and(|limit| bytes > limit) {
        return Ok(true);
    }
    let Some((oldest, _)) = left.first().filter(|_| rules.ms >= 0) else {
        return Ok(false);
    };
    let oldest = snapshot::read(&snapshots.read(*oldest)?).map_err(io::Error::other)?;
    Ok(wall_ms.saturating_sub(oldest.last_timestamp) > rules.ms)
}
