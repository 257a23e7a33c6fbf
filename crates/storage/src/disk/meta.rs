//! Whose data directory it is: `meta.properties`, as Kafka writes it.

use super::files::{Files, replace};
use rustka_wire::codec::Uuid;
use std::io;
use std::path::{Path, PathBuf};

/// Says whose directory it is.
pub(super) const META: &str = "meta.properties";

/// Whose directory it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The broker's id.
    pub node_id: i32,
    /// The cluster's id.
    pub cluster_id: String,
    /// The directory's own id.
    pub directory_id: Uuid,
}

/// What `meta.properties` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub node_id: i32,
    pub cluster_id: String,
    pub directory_id: Option<Uuid>,
}

/// Reads it; what is wrong with it goes on where its name stands.
pub(super) fn parse(text: &str) -> Result<Meta, String> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with(['#', '!']));
    let pairs: Vec<(&str, &str)> = lines
        .filter_map(|line| line.split_once(['=', ':']))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let get = |key: &str| {
        pairs
            .iter()
            .rev()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    };
    match get("version") {
        Some("1") => {}
        Some("0") | None if get("broker.id").is_some() => {
            return Err(
                "of a broker that uses ZooKeeper: have Kafka migrate it to KRaft first".to_owned(),
            );
        }
        Some(other) => {
            return Err(format!(
                "of version {}, and this one knows version 1: a newer Rustka may know it",
                other.escape_debug()
            ));
        }
        None => return Err("without a version".to_owned()),
    }
    let node_id = get("node.id").ok_or("without a node.id")?;
    let node_id = node_id
        .parse()
        .map_err(|_| format!("whose node.id is '{}'", node_id.escape_debug()))?;
    let directory_id = get("directory.id").map(|id| {
        id.parse()
            .map_err(|_| format!("whose directory.id is '{}'", id.escape_debug()))
    });
    Ok(Meta {
        node_id,
        cluster_id: get("cluster.id").ok_or("without a cluster.id")?.to_owned(),
        directory_id: directory_id.transpose()?,
    })
}

/// Says it.
pub(super) fn write(files: &dyn Files, folder: &Path, identity: &Identity) -> io::Result<()> {
    let Identity {
        node_id,
        cluster_id,
        directory_id,
    } = identity;
    let text = format!(
        "#\nversion=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n"
    );
    let path: PathBuf = folder.join(META);
    replace(files, &path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_writes_about_itself_is_understood() {
        let text = "#\n#Sun Nov 29 08:00:00 UTC 2026\nnode.id=3\ndirectory.id=AQEBAQEBAQEBAQEBAQEBAQ\nversion=1\ncluster.id=abc\n";
        let meta = parse(text).unwrap();
        assert_eq!((meta.node_id, &*meta.cluster_id), (3, "abc"));
        assert_eq!(meta.directory_id, Some(Uuid([1; 16])));
    }

    #[test]
    fn directories_of_other_times_are_refused_with_a_reason() {
        for (text, why) in [
            ("version=0\nbroker.id=1\ncluster.id=x\n", "ZooKeeper"),
            ("version=2\nnode.id=1\ncluster.id=x\n", "version 2"),
            ("node.id=1\n", "without a version"),
            ("version=1\ncluster.id=x\n", "node.id"),
            ("version=1\nnode.id=1\n", "cluster.id"),
            ("version=1\nnode.id=one\ncluster.id=x\n", "'one'"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
