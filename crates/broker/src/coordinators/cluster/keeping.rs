//! The cluster's log in a data directory: a journal that begins with a snapshot, and how it gets new ones, so that it does
//! not grow as long as the cluster lives (KIP-630).

use super::super::journal::{PartitionJournal, Writes};
use super::super::shard::Host;
use super::Cluster;
use super::kept::Kept;
use crate::base::start::StartError;
use crate::node::{State, reached};
use rustka_core::cluster::records::Record;
use rustka_core::cluster::snapshot::{self, SnapshotId};
use rustka_core::config::{
    BrokerConfig, BrokerSettings, Overrides, Scope, SharedConfig, TopicConfig,
};
use rustka_core::error::ErrorCode;
use rustka_core::machine::{Machine, Standing};
use rustka_core::sync::lock;
use rustka_core::time::Now;
use rustka_storage::retired::{KeptRules, retire};
use rustka_storage::{Durability, Fate, Glance, Partition};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What its supervisor calls the task.
pub const TASK: &str = "snapshots of the cluster";
/// How often it is looked whether a snapshot is due.
const ROUND_MS: i64 = 1_000;
/// How often it is looked whether old ones may go, as in Kafka.
const RETENTION_MS: i64 = 60_000;
/// After a failure nothing is tried again for this long.
const RETRY_MS: i64 = 60_000;
/// A segment that holds this part of what makes a snapshot due is closed with it, so that it can go as a whole later.
const ROLL_PART: u64 = 2;

/// How the segments of the cluster's log are cut. None of them goes but with what snapshots tell of.
pub fn log_config(broker: &BrokerConfig) -> Result<Arc<SharedConfig>, StartError> {
    let settings = broker.settings();
    let bytes = settings.metadata_segment_bytes.to_string();
    let ms = settings.metadata_segment_ms.max(1).to_string();
    let pairs = [
        ("cleanup.policy", Some("delete")),
        ("retention.bytes", Some("-1")),
        ("segment.bytes", Some(&*bytes)),
        ("segment.ms", Some(&*ms)),
    ];
    let overrides = Overrides::parse(Scope::Topic, pairs);
    let overrides = overrides.map_err(|refusal| {
        let why = refusal.message.unwrap_or_default();
        StartError::new(format!("metadata.log.segment.bytes or .ms: {why}"))
    })?;
    let config = TopicConfig::resolve(broker, &overrides);
    Ok(Arc::new(SharedConfig::new(Arc::new(config))))
}

/// The cluster's log as a journal that begins with a snapshot.
pub struct KeptJournal {
    log: PartitionJournal,
    kept: Arc<Kept>,
    /// The level of `metadata.version`, which says in what form records are written.
    level: i16,
}

impl KeptJournal {
    /// A journal of which the older part is in snapshots.
    pub fn new(log: PartitionJournal, kept: Arc<Kept>) -> KeptJournal {
        KeptJournal {
            log,
            kept,
            level: i16::MAX,
        }
    }
}

impl Writes<Record> for KeptJournal {
    fn append(&mut self, records: &[Record], now: Now) -> Result<Durability, ErrorCode> {
        let mut level = self.level;
        let appended = self.log.append_as(Standing::Plain, now, |put| {
            for record in records {
                level = record.metadata_version().unwrap_or(level);
                record.encode_at(level, put);
            }
        })?;
        self.level = level;
        Ok(appended)
    }

    fn replay(&mut self, now: Now, apply: &mut dyn FnMut(Record)) -> Result<(), ErrorCode> {
        let level = &mut self.level;
        let mut apply = |record: Record| {
            *level = record.metadata_version().unwrap_or(*level);
            apply(record);
        };
        let from = self.kept.replay(&mut apply)?;
        self.log.replay_from(from, now, &mut apply)
    }

    fn fate(&self, at: i64) -> Fate {
        Writes::<Record>::fate(&self.log, at)
    }

    fn is_led_here(&self) -> bool {
        Writes::<Record>::is_led_here(&self.log)
    }

    fn finish_compaction(&mut self, _: Now) {
        if self.kept.has_shrunk.swap(false, Relaxed) {
            self.log.recount();
        }
    }
}

/// How far the snapshots have come.
#[derive(Debug, Default)]
pub struct Progress {
    /// The newest snapshot says what all before this offset do.
    reached: i64,
    /// Bytes of the log behind that when this life began, at most.
    inherited_bytes: u64,
    /// Bytes written in this life before the newest snapshot.
    covered_bytes: u64,
    /// When it was written, or this life began.
    since_ms: i64,
    /// Nothing is tried before this.
    next_try_ms: i64,
    /// When it is looked at what may go.
    next_retention_ms: i64,
}

impl Progress {
    /// How it stands at the start, beside a log that is told of up to this offset.
    pub fn begin(log: &Partition, reached: i64, now: Now) -> Progress {
        let mut inherited_bytes = 0;
        // An offline log has none, and gets no snapshots.
        let _seen = log.each_chunk(reached, |chunk| {
            inherited_bytes += chunk.bytes;
            true
        });
        Progress {
            reached,
            inherited_bytes,
            since_ms: now.monotonic_ms,
            ..Progress::default()
        }
    }

    fn is_due(&self, glance: &Glance, settings: &BrokerSettings, now_ms: i64) -> bool {
        if glance.offsets.log_end <= self.reached || now_ms < self.next_try_ms {
            return false;
        }
        let written = glance.appended_bytes.saturating_sub(self.covered_bytes);
        let bytes = written.saturating_add(self.inherited_bytes);
        let interval_ms = settings.metadata_snapshot_interval_ms;
        u64::try_from(settings.metadata_snapshot_bytes).is_ok_and(|limit| bytes >= limit)
            || interval_ms > 0 && now_ms.saturating_sub(self.since_ms) >= interval_ms
    }
}

/// A snapshot to be written.
struct Due {
    id: SnapshotId,
    records: Vec<Record>,
    last_timestamp: i64,
    covered_bytes: u64,
}

/// Keeps snapshots until the broker stops.
pub async fn run(cluster: Arc<Cluster>) {
    let mut state = cluster.node.state.subscribe();
    loop {
        cluster.keep_snapshots().await;
        let next_ms = cluster.now().monotonic_ms.saturating_add(ROUND_MS);
        tokio::select! {
            biased;
            () = reached(&mut state, |state| state >= State::Stopping) => return,
            () = cluster.node.clock.sleep_until(next_ms) => {}
        }
    }
}

impl Cluster {
    /// Writes a snapshot if one is due, and lets go what is told by newer ones, if it is time. Does nothing in memory.
    pub async fn keep_snapshots(self: &Arc<Self>) {
        let Some(kept) = self.kept.clone() else {
            return;
        };
        let now = self.now();
        let broker = self.node.config.broker();
        let settings = broker.settings();
        let glance = self.log.glance();
        let is_due = lock(&kept.progress).is_due(&glance, settings, now.monotonic_ms);
        let due = match is_due {
            true => self.take(u64::try_from(settings.metadata_snapshot_bytes).unwrap_or(u64::MAX)),
            false => None,
        };
        let is_time = now.monotonic_ms >= lock(&kept.progress).next_retention_ms;
        if due.is_none() && !is_time {
            return;
        }
        lock(&kept.progress).next_retention_ms = now.monotonic_ms.saturating_add(RETENTION_MS);
        let rules = KeptRules {
            bytes: settings.metadata_retention_bytes,
            ms: settings.metadata_retention_ms,
        };
        let log = self.log.clone();
        let work = move || {
            let written = due.map(|due| kept.write(due, now)).transpose();
            let retired = retire(&log, kept.files(), rules, now.wall_ms);
            if retired.as_ref().is_ok_and(|count| *count > 0) {
                kept.has_shrunk.store(true, Relaxed);
            }
            let failed = written
                .err()
                .or(retired.err().map(|error| error.to_string()));
            if failed.is_some() {
                lock(&kept.progress).next_try_ms = now.monotonic_ms.saturating_add(RETRY_MS);
            }
            failed
        };
        if let Some(Some(why)) = self.node.work.run(work).await {
            self.failed(&format!(
                "a snapshot of the cluster could not be kept: {why}"
            ));
        }
    }

    /// All that the cluster remembers, if all of it is durable.
    fn take(self: &Arc<Self>, snapshot_bytes: u64) -> Option<Due> {
        self.shard.glance(&**self, |machine, _| {
            let glance = self.log.glance();
            let log_end = glance.offsets.log_end;
            if !machine.is_settled() || glance.offsets.high_watermark != log_end {
                return None;
            }
            let latest = self.log.with_state(|state| state.epochs.latest());
            let epoch = latest.ok()??.epoch;
            let (mut last_timestamp, mut newest_bytes) = (0, 0);
            let seen = self.log.each_chunk(0, |chunk| {
                (last_timestamp, newest_bytes) = (chunk.max_timestamp, chunk.bytes);
                true
            });
            seen.ok()?;
            if newest_bytes >= snapshot_bytes / ROLL_PART {
                self.log.roll();
            }
            Some(Due {
                id: SnapshotId {
                    end_offset: log_end,
                    epoch,
                },
                records: machine.snapshot().collect(),
                last_timestamp,
                covered_bytes: glance.appended_bytes,
            })
        })
    }
}

impl Kept {
    fn write(&self, due: Due, now: Now) -> Result<(), String> {
        let Due {
            id,
            records,
            last_timestamp,
            covered_bytes,
        } = due;
        let records = records.into_iter();
        let bytes = snapshot::write(records, id.epoch, last_timestamp, now.wall_ms);
        let bytes = bytes.map_err(|error| error.to_string())?;
        let written = self.files().write(id, &bytes);
        written.map_err(|error| error.to_string())?;
        tracing::debug!(
            target: "rustka::cluster",
            "wrote {id} with {} bytes",
            bytes.len()
        );
        let mut progress = lock(&self.progress);
        progress.reached = id.end_offset;
        progress.inherited_bytes = 0;
        progress.covered_bytes = covered_bytes;
        progress.since_ms = now.monotonic_ms;
        Ok(())
    }
}
