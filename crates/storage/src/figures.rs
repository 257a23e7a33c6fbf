//! Numbers of an engine for whoever looks after a broker.

/// Upper ends of the buckets that syncs are counted in, in microseconds; one more bucket has no end.
pub const SYNC_BUCKETS_US: [u64; 12] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000,
];

/// Numbers of one engine of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Bytes of batches written in this life.
    pub written_bytes: u64,
    /// How often anything was synced.
    pub syncs: u64,
    /// How many syncs took as long as each of [`SYNC_BUCKETS_US`], and last those that took longer. All are zero in an
    /// engine that cannot tell the time.
    pub syncs_by_time: [u64; SYNC_BUCKETS_US.len() + 1],
    /// Microseconds of all syncs together.
    pub sync_us: u64,
    /// Partitions that wait to be written.
    pub waiting_writes: usize,
    /// Partitions that wait to be synced.
    pub waiting_syncs: usize,
    /// Writes and syncs that failed, each of which made a partition read-only.
    pub failures: u64,
    /// Bytes that were read only to see whether they are whole.
    pub scrubbed_bytes: u64,
    /// Ranges of offsets, of all partitions, that are known to be damaged.
    pub damaged_ranges: usize,
    /// The volume, when it was looked at last: within a second or so.
    pub volume: Option<Room>,
    /// What of it is left to coordinators, in bytes.
    pub reserve_bytes: u64,
}

/// Bytes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of them.
    pub total_bytes: u64,
    /// Those that may yet be written.
    pub free_bytes: u64,
}
