//! What lies beside the cluster's log in a data directory and says what its older part has led to: snapshots, and what
//! `kafka-storage format` has left for a new cluster to begin with.

use super::LOG;
use super::keeping::Progress;
use crate::base::start::StartError;
use rustka_core::cluster::records::Record;
use rustka_core::cluster::snapshot::{self, Snapshot, SnapshotId};
use rustka_core::error::ErrorCode;
use rustka_core::names::CLUSTER_METADATA;
use rustka_core::sync::lock;
use rustka_core::time::Now;
use rustka_storage::engine::Snapshots;
use rustka_storage::{Engine, Partition};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// Where Kafka before 4.1 has left what a new cluster begins with.
const OLDER: &str = "bootstrap.checkpoint";
/// No such file is larger than this.
const OLDER_BYTES_MAX: u64 = 16 << 20;

/// The snapshots of the cluster.
pub struct Kept {
    files: Box<dyn Snapshots>,
    /// The newest, as it was read for the start.
    first: Mutex<Option<(SnapshotId, Snapshot)>>,
    pub(super) progress: Mutex<Progress>,
    /// Something of the log has gone.
    pub(super) has_shrunk: AtomicBool,
}

impl Kept {
    /// Reads the newest snapshot beside a log, which begins behind it if there is nothing of it; nothing where the engine
    /// keeps no files. Refused where the two do not make a whole.
    pub fn open(
        engine: &dyn Engine,
        log: &Partition,
        now: Now,
    ) -> Result<Option<Arc<Kept>>, StartError> {
        let (Some(files), Some(directory)) = (engine.snapshots(&LOG), engine.directory()) else {
            return Ok(None);
        };
        let folder = directory.join(format!("{CLUSTER_METADATA}-0"));
        let cannot = |what: &str, why: String| {
            let path = folder.join(what);
            StartError::new(format!("{} {why}", path.display()))
        };
        let all = files
            .all()
            .map_err(|error| cannot("", format!("cannot be read: {error}")))?;
        let newest = all.last().map(|(id, _)| *id);
        let reached = newest.map_or(0, |id| id.end_offset);
        // A snapshot without a log is as good as one with it, as in Kafka: the log goes on behind it.
        if reached > 0 {
            log.begin_at(reached);
        }
        let offsets = log.offsets();
        fits(reached, offsets.log_start, offsets.log_end).map_err(|why| cannot("", why))?;
        let first = match newest {
            Some(id) => {
                let snapshot = read(&*files, id)
                    .map_err(|why| cannot(&id.to_string(), format!("cannot be used: {why}")))?;
                Some((id, snapshot))
            }
            None => None,
        };
        Ok(Some(Arc::new(Kept {
            files,
            first: Mutex::new(first),
            progress: Mutex::new(Progress::begin(log, reached, now)),
            has_shrunk: AtomicBool::new(false),
        })))
    }

    /// Where they lie.
    pub(super) fn files(&self) -> &dyn Snapshots {
        &*self.files
    }

    /// The epoch of the last record that snapshots stand for.
    pub fn epoch(&self) -> Option<i32> {
        lock(&self.first).as_ref().map(|(id, _)| id.epoch)
    }

    /// What a cluster with an empty log begins with.
    pub fn bootstrap(&self, directory: &Path) -> Result<Arc<[Record]>, StartError> {
        let formatted: Vec<Record> = match &*lock(&self.first) {
            Some((_, snapshot)) => snapshot.records.iter().filter(is_data).cloned().collect(),
            None => Vec::new(),
        };
        match formatted.is_empty() {
            true => older(&directory.join(OLDER)),
            false => Ok(formatted.into()),
        }
    }

    /// Shows what all before the offset that is returned has led to.
    pub(super) fn replay(&self, apply: &mut dyn FnMut(Record)) -> Result<i64, ErrorCode> {
        let first = lock(&self.first).take();
        let (id, snapshot) = match first {
            Some(first) => first,
            None => match self.newest() {
                Ok(Some(newest)) => newest,
                Ok(None) => return Ok(0),
                Err(why) => {
                    tracing::error!(target: "rustka::cluster", "a snapshot of the cluster cannot be read: {why}");
                    return Err(ErrorCode::KafkaStorageError);
                }
            },
        };
        // What a new cluster begins with it has in its log by itself, but for what only controllers say.
        let is_whole = id.end_offset > 0;
        let records = snapshot.records.into_iter();
        records
            .filter(|record| is_whole || !is_data(&record))
            .for_each(apply);
        Ok(id.end_offset)
    }

    fn newest(&self) -> Result<Option<(SnapshotId, Snapshot)>, String> {
        let all = self.files.all().map_err(|error| error.to_string())?;
        let Some((id, _)) = all.last().copied() else {
            return Ok(None);
        };
        Ok(Some((id, read(&*self.files, id)?)))
    }
}

fn read(files: &dyn Snapshots, id: SnapshotId) -> Result<Snapshot, String> {
    let bytes = files.read(id).map_err(|error| error.to_string())?;
    snapshot::read(&bytes)
}

/// Whether a snapshot of what comes before an offset and a log with these ends make a whole; why, if they do not.
pub fn fits(reached: i64, log_start: i64, log_end: i64) -> Result<(), String> {
    if reached < log_start {
        return Err(format!(
            "cannot be served: the log of its metadata begins at offset {log_start}, and no snapshot tells what came before"
        ));
    }
    if reached > log_end {
        return Err(format!(
            "cannot be served: the log of its metadata ends at offset {log_end}, and its newest snapshot tells of what comes up to {reached}"
        ));
    }
    Ok(())
}

/// Whether it is a record of the log's, and not of its controllers among themselves.
fn is_data(record: &&Record) -> bool {
    !matches!(record, Record::Quorum(_))
}

/// Reads what older Kafkas have left in the root, if they have.
fn older(path: &Path) -> Result<Arc<[Record]>, StartError> {
    let cannot = |why: String| {
        StartError::new(format!(
            "{} cannot be used: {why}; format the directory again",
            path.display()
        ))
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Arc::default()),
        Err(error) => return Err(cannot(error.to_string())),
        Ok(found) if found.len() > OLDER_BYTES_MAX => {
            return Err(cannot("it is too large".to_owned()));
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(|error| cannot(error.to_string()))?;
    let snapshot = snapshot::read(&bytes).map_err(cannot)?;
    Ok(snapshot
        .records
        .into_iter()
        .filter(|record| is_data(&record))
        .collect())
}
