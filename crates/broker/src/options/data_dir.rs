//! The data directory: where it is, and what follows from whose it is.

use super::{Options, foreign};
use crate::base::random;
use crate::base::start::StartError;
use rustka_core::config::BrokerConfig;
use rustka_core::names::CLUSTER_METADATA;
use rustka_storage::disk::{Directory, Fsync, Identity};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Kafka's names for it, the stronger first.
const KEYS: [&str; 2] = ["log.dirs", "log.dir"];
/// What every partition's folder holds.
const PARTITION: &str = "partition.metadata";
/// What makes a directory one that is in use already.
const META: &str = "meta.properties";

impl Options {
    /// Keeps records in files in this directory, which is made if it is not there.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// When records in files are made durable; as soon as the device is free by default.
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// Opens the data directory, if there is to be one. It knows its node and its cluster better than the configs do.
    pub(crate) fn open_directory(&mut self) -> Result<Option<Directory>, StartError> {
        let config = self.broker_config()?;
        let Some(path) = self.directory(&config)? else {
            return Ok(None);
        };
        let node_id = config.value("node.id").and_then(|id| id.parse().ok());
        let newcomer = Identity {
            node_id: node_id.unwrap_or(1),
            cluster_id: self
                .cluster_id
                .clone()
                .unwrap_or_else(|| random::uuid().to_string()),
            directory_id: random::uuid(),
        };
        let directory = Directory::open_after(&path, &newcomer, |found, is_clean| {
            check_metadata(&path)?;
            foreign::look(&path, found, is_clean)
        });
        let directory = directory.map_err(|why| StartError::new(why.0))?;
        let found = directory.identity();
        let told = [
            (
                "node.id",
                found.node_id.to_string(),
                Some(newcomer.node_id.to_string()),
            ),
            (
                "the cluster id",
                found.cluster_id.clone(),
                self.cluster_id.clone(),
            ),
        ];
        for (what, found, wanted) in told {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
                tracing::warn!(
                    target: "rustka::broker",
                    "{what} is {found}, as the data directory {} says, and not {wanted}, as configured",
                    path.display()
                );
            }
        }
        self.configs
            .push(("node.id".to_owned(), found.node_id.to_string()));
        self.cluster_id = Some(found.cluster_id.clone());
        Ok(Some(directory))
    }

    /// Where records are to be kept, if not in memory.
    fn directory(&self, config: &BrokerConfig) -> Result<Option<PathBuf>, StartError> {
        if self.engine.is_some() {
            return Ok(None);
        }
        if let Some(path) = &self.data_dir {
            return Ok(Some(path.clone()));
        }
        let set = KEYS.iter().find_map(|key| config.set_value(key));
        let Some(set) = set else {
            return Ok(None);
        };
        let paths = set
            .split(',')
            .map(str::trim)
            .filter(|path| !path.is_empty());
        let paths: Vec<&Path> = paths.map(Path::new).collect();
        let in_use: Vec<&&Path> = paths
            .iter()
            .filter(|path| path.join(META).exists())
            .collect();
        match in_use[..] {
            [] => match paths.first() {
                Some(first) => Ok(Some(first.to_path_buf())),
                None => Err(StartError::contradiction(
                    "log.dirs names no directory: give the path of one, or leave it away to keep records in memory",
                )),
            },
            [one] => Ok(Some(one.to_path_buf())),
            [one, other, ..] => Err(StartError::new(format!(
                "both {} and {} hold data, and only one data directory is supported: name one of them in log.dirs",
                one.display(),
                other.display()
            ))),
        }
    }
}

/// Refuses a directory that holds partitions and nothing that says which topics they are of: a cluster would begin anew
/// beside them.
fn check_metadata(root: &Path) -> Result<(), String> {
    let metadata = root.join(format!("{CLUSTER_METADATA}-0"));
    let cannot_be_read =
        |path: &Path, error: io::Error| format!("cannot be read: {}: {error}", path.display());
    let listed = |folder: &Path| -> Result<Vec<PathBuf>, String> {
        let entries = match folder.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| cannot_be_read(folder, error))?,
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let paths: io::Result<Vec<PathBuf>> = paths.collect();
        paths.map_err(|error| cannot_be_read(folder, error))
    };
    for path in listed(&metadata)? {
        let is_log = path.extension().is_some_and(|of| of == "log");
        let is_snapshot = path.extension().is_some_and(|of| of == "checkpoint");
        let holds = || path.metadata().map(|found| found.len() > 0);
        if is_snapshot || is_log && holds().map_err(|error| cannot_be_read(&path, error))? {
            return Ok(());
        }
    }
    let all = listed(root)?;
    let mut others = all.iter().filter(|path| **path != metadata);
    let partition = others.find(|path| path.join(PARTITION).is_file());
    let name = partition.and_then(|path| path.file_name());
    name.map_or(Ok(()), |name| {
        Err(format!(
            "holds partitions, such as {}, but {CLUSTER_METADATA}-0 is empty or not there, which says what topics they are of: put that folder back, from a copy or from where metadata.log.dir had it",
            name.display()
        ))
    })
}

/// Reads a value of `--fsync`; what would be one, if it is none.
pub fn parse_fsync(text: &str) -> Result<Fsync, String> {
    const EXPECTED: &str = "always, interval:MS with a number of milliseconds, or never";
    match (text, text.strip_prefix("interval:")) {
        ("always", _) => Ok(Fsync::Always),
        ("never", _) => Ok(Fsync::Never),
        (_, Some(ms)) => match ms.parse() {
            Ok(ms @ 1..=i64::MAX) => Ok(Fsync::Interval(ms)),
            _ => Err(EXPECTED.to_owned()),
        },
        _ => Err(EXPECTED.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fsync_is_always_now_and_then_or_never() {
        assert_eq!(parse_fsync("always"), Ok(Fsync::Always));
        assert_eq!(parse_fsync("interval:50"), Ok(Fsync::Interval(50)));
        assert_eq!(parse_fsync("never"), Ok(Fsync::Never));
        for bad in [
            "",
            "Always",
            "interval",
            "interval:",
            "interval:0",
            "interval:-1",
            "5",
        ] {
            assert!(parse_fsync(bad).is_err(), "{bad}");
        }
    }
}
