//! A look at a data directory that Apache Kafka has served last, before anything in it is changed: what it holds, and
//! whether that can be served here. Nothing is written before the answer is known.

use crate::base::features::FEATURES;
use crate::coordinators::cluster::kept;
use rustka_core::batch::{BatchHeader, HEADER_BYTES, Records, batches, record_bytes};
use rustka_core::cluster::command::{Command, Reply};
use rustka_core::cluster::features::METADATA_VERSION;
use rustka_core::cluster::records::Record;
use rustka_core::cluster::records::control::Quorum;
use rustka_core::cluster::snapshot::{self, SnapshotId};
use rustka_core::cluster::{Cluster, ClusterOptions, Effects};
use rustka_core::config::BrokerConfig;
use rustka_core::machine::{JournalRecord, Machine, Ticket};
use rustka_core::names::CLUSTER_METADATA;
use rustka_core::time::Now;
use rustka_storage::disk::Identity;
use rustka_wire::register_broker_record::RegisterBrokerRecord;
use rustka_wire::unregister_broker_record::UnregisterBrokerRecord;
use rustka_wire::voters_record::VotersRecord;
use rustka_wire::{DecodeError, Reader};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whom Kafka's controllers have elected; written with each of Kafka's starts, and never by us.
const QUORUM_STATE: &str = "quorum-state";
/// What stood there when we served the directory last: whoever has served it since is not us.
const SERVED: &str = "rustka-served";
/// A file of the metadata that is larger is not one.
const BYTES_MAX: u64 = 2 << 30;
/// Compressed records may not grow beyond this.
const INFLATED_BYTES_MAX: usize = 64 << 20;
/// Where a batch says its format, and the oldest that is still read.
const FORMAT_AT: usize = 16;
const FORMAT_LEAST: u8 = 2;

/// Looks at a directory that is `node`'s. Refused with a sentence if it cannot be served here; what was found is told once.
pub fn look(root: &Path, node: &Identity, is_clean: bool) -> Result<(), String> {
    let metadata = root.join(format!("{CLUSTER_METADATA}-0"));
    let state = read(&metadata.join(QUORUM_STATE))?;
    let Some(state) = state else { return Ok(()) };
    let served = root.join(SERVED);
    if read(&served)?.as_ref() == Some(&state) {
        return Ok(());
    }
    let mut seen = Seen::new(node)?;
    seen.voters.extend(static_voters(&state));
    seen.read(&metadata)?;
    let found = seen.found()?;
    check_formats(root)?;
    tracing::info!(
        target: "rustka::broker",
        "the data directory {} was last served by Apache Kafka, as node {} of cluster {}, {}, and it was {}: it is served in place, the epochs of leaders rise as after a restart of Kafka, and files named rustka-… are added",
        root.display(),
        node.node_id,
        node.cluster_id,
        found,
        match is_clean {
            true => "stopped in order",
            false => "not stopped in order, so that what is not known to be on disk is gone over",
        }
    );
    fs::write(&served, &state).map_err(|error| format!("cannot be written: {error}"))
}

/// What was seen of the metadata so far.
struct Seen {
    node_id: i32,
    cluster: Cluster,
    voters: BTreeSet<i32>,
    brokers: BTreeSet<i32>,
}

impl Seen {
    fn new(node: &Identity) -> Result<Seen, String> {
        let broker = BrokerConfig::new([], false);
        let broker = broker.map_err(|refusal| refusal.message.unwrap_or_default())?;
        let options = ClusterOptions {
            node_id: node.node_id,
            nodes: vec![node.node_id],
            directory: node.directory_id,
            first_producer_id: 0,
            features: FEATURES,
            bootstrap: Arc::default(),
            topic_ids: None,
            account: Arc::default(),
        };
        Ok(Seen {
            node_id: node.node_id,
            cluster: Cluster::new(options, broker),
            voters: BTreeSet::new(),
            brokers: BTreeSet::new(),
        })
    }

    /// Reads the newest snapshot and the log behind it.
    fn read(&mut self, folder: &Path) -> Result<(), String> {
        let names = names(folder)?;
        let snapshots = names.iter().filter_map(|name| SnapshotId::of_file(name));
        let mut from = 0;
        if let Some(id) = snapshots.max() {
            let bytes = read(&folder.join(id.to_string()))?.unwrap_or_default();
            let snapshot = snapshot::read(&bytes)
                .map_err(|why| format!("has a snapshot {id} that cannot be used: {why}"))?;
            for record in snapshot.records {
                self.see(record);
            }
            for batch in batches(&bytes).map_while(Result::ok) {
                self.see_brokers(&bytes[batch.1], &batch.0)?;
            }
            from = id.end_offset;
        }
        let (mut begin, mut end) = (None, 0);
        for name in names.iter().filter(|name| name.ends_with(".log")) {
            let bytes = read(&folder.join(name))?.unwrap_or_default();
            // The name of an empty one says where the log goes on.
            let base = name.trim_end_matches(".log").parse().unwrap_or(0);
            begin = begin.or(Some(base));
            end = end.max(base);
            for (header, place) in batches(&bytes).map_while(Result::ok) {
                end = end.max(
                    header
                        .last_offset()
                        .map_or(end, |last| last.saturating_add(1)),
                );
                if header.base_offset >= from {
                    self.see_batch(&bytes[place], &header)?;
                }
            }
        }
        match begin {
            Some(begin) => kept::fits(from, begin, end),
            // It goes on behind the snapshot.
            None => Ok(()),
        }
    }

    fn see(&mut self, record: Record) {
        if let Record::Quorum(Quorum::Voters(record)) = &record
            && let Ok(record) = VotersRecord::decode(&mut Reader::new(record), 0)
        {
            self.voters = record.voters.iter().map(|voter| voter.voter_id).collect();
        }
        self.cluster.apply(record);
    }

    fn see_batch(&mut self, batch: &[u8], header: &BatchHeader) -> Result<(), String> {
        self.see_brokers(batch, header)?;
        each_record(batch, header, |key, value| {
            let record = match header.is_control() {
                true => Record::control(key, value),
                false => Record::decode(key, Some(value)),
            };
            record?.into_iter().for_each(|record| self.see(record));
            Ok(())
        })
    }

    /// Which brokers there are, of which nothing is kept here.
    fn see_brokers(&mut self, batch: &[u8], header: &BatchHeader) -> Result<(), String> {
        if header.is_control() {
            return Ok(());
        }
        each_record(batch, header, |_, value| {
            let mut r = Reader::new(value);
            let (_frame, key, version) = (r.uvarint()?, r.uvarint()?, r.uvarint()?);
            let version = i16::try_from(version).map_err(|_| DecodeError::UnsupportedVersion)?;
            match i16::try_from(key) {
                Ok(RegisterBrokerRecord::KEY) => {
                    let record = RegisterBrokerRecord::decode(&mut r, version)?;
                    self.brokers.insert(record.broker_id);
                }
                Ok(UnregisterBrokerRecord::KEY) => {
                    let record = UnregisterBrokerRecord::decode(&mut r, version)?;
                    self.brokers.remove(&record.broker_id);
                }
                _ => {}
            }
            Ok(())
        })
    }

    /// What it comes to, in a few words; refused if it cannot be served.
    fn found(mut self) -> Result<String, String> {
        let mut out = Effects::default();
        let now = Now::new(0, 0);
        self.cluster.loaded(now, &mut out);
        for (what, all) in [("controllers", &self.voters), ("brokers", &self.brokers)] {
            let others = all.iter().any(|id| *id != self.node_id);
            if others {
                return Err(format!(
                    "is that of one node of several: its {what} are {all:?}, and it is node {}; only data of a single node can be served",
                    self.node_id
                ));
            }
        }
        for topic in self.cluster.topics().topics() {
            if topic.config.get("remote.storage.enable") == Some("true") {
                return Err(format!(
                    "has a part of the topic {} in remote storage, which is not supported: have Kafka bring it back by setting remote.storage.enable=false with remote.log.delete.on.disable=true",
                    topic.name
                ));
            }
        }
        self.cluster
            .handle(now, Ticket(0), Command::Return, &mut out);
        let refused = out.replies.into_iter().find_map(|held| match held.reply {
            Reply::Return(Err(refusal)) => Some(refusal.message.unwrap_or_default()),
            _ => None,
        });
        if let Some(why) = refused {
            return Err(format!("cannot be served: {why}"));
        }
        let topics = self.cluster.topics();
        let partitions: usize = topics.topics().map(|topic| topic.partitions.len()).sum();
        Ok(format!(
            "with {METADATA_VERSION} {} and {partitions} partitions of {} topics",
            self.cluster.feature(METADATA_VERSION),
            topics.topics().count()
        ))
    }
}

fn each_record(
    batch: &[u8],
    header: &BatchHeader,
    mut see: impl FnMut(Option<&[u8]>, &[u8]) -> Result<(), DecodeError>,
) -> Result<(), String> {
    let broken = |why: String| {
        let offset = header.base_offset;
        format!("has metadata that cannot be read, at offset {offset}: {why}")
    };
    let inner = record_bytes(batch, header, INFLATED_BYTES_MAX);
    let inner = inner.map_err(|error| broken(error.to_string()))?;
    for record in Records::new(&inner, header.record_count) {
        let record = record.map_err(|error| broken(error.to_string()))?;
        let seen = see(record.key, record.value.unwrap_or_default());
        seen.map_err(|error| broken(error.to_string()))?;
    }
    Ok(())
}

/// The voters that `quorum-state` names where they are configured; none where the log tells them.
fn static_voters(state: &[u8]) -> Vec<i32> {
    let text = String::from_utf8_lossy(state);
    let ids = text.split("\"voterId\"").skip(1);
    ids.filter_map(|rest| {
        let digits = rest.trim_start_matches([':', ' ']);
        let end = digits.find(|c: char| !c.is_ascii_digit() && c != '-')?;
        digits[..end].parse().ok()
    })
    .collect()
}

/// Refuses logs that begin with a batch of a format that is no longer read.
fn check_formats(root: &Path) -> Result<(), String> {
    for folder in folders(root)? {
        for name in names(&folder)?.iter().filter(|name| name.ends_with(".log")) {
            let path = folder.join(name);
            let mut first = [0; HEADER_BYTES];
            let file = File::open(&path).and_then(|file| {
                let mut whole = file.take(first.len() as u64);
                whole.read_exact(&mut first)
            });
            match file {
                // It is empty, or torn: recovery has a look.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(cannot_be_read(&path, &error)),
                Ok(()) if first[FORMAT_AT] < FORMAT_LEAST => {
                    return Err(format!(
                        "has records in format {}, in {}, and formats before {FORMAT_LEAST} are no longer read: have a Kafka of 3.x write them anew",
                        first[FORMAT_AT],
                        path.display()
                    ));
                }
                Ok(()) => {}
            }
        }
    }
    Ok(())
}

fn folders(root: &Path) -> Result<Vec<PathBuf>, String> {
    let all = names(root)?.into_iter().map(|name| root.join(name));
    Ok(all.filter(|path| path.is_dir()).collect())
}

/// The names in a folder, in order; none if it is not there.
fn names(folder: &Path) -> Result<Vec<String>, String> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot_be_read(folder, &error)),
    };
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|error| cannot_be_read(folder, &error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// All of a file; nothing if it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_be_read(path, &error)),
        Ok(found) if found.len() > BYTES_MAX => {
            let why = io::Error::other("it is too large");
            return Err(cannot_be_read(path, &why));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|error| cannot_be_read(path, &error))?;
    Ok(Some(bytes))
}

fn cannot_be_read(path: &Path, error: &io::Error) -> String {
    format!("cannot be read: {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_read_where_kafka_writes_them() {
        let state = br#"{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId": 12}],"data_version":0}"#;
        assert_eq!(static_voters(state), [1, 12]);
        let state = br#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
        assert!(static_voters(state).is_empty());
    }
}
