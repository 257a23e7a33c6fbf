//! Where a partition's files lie: `topic-partition`, and what is called how in there.

use super::files::{Files, Listed, Mode, OpenFile, read_small, replace};
use rustka_core::sync::lock;
use rustka_wire::codec::Uuid;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The file that says which topic a folder belongs to. Kafka sets folders without it aside.
pub(super) const METADATA: &str = "partition.metadata";
/// What a file is called that is about to go.
pub(super) const DELETED: &str = ".deleted";
/// There while the system may show bytes that are not on the disk: a sync has failed. Of use until the system itself
/// starts anew, so it is never synced.
pub(super) const UNSURE: &str = "rustka-sync-failed";
/// No small file is larger than this.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// The files of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The batches.
    Log,
    /// Where to find an offset.
    Index,
    /// Where to find a time.
    TimeIndex,
    /// Aborted transactions.
    TransactionIndex,
    /// What producers had written when the segment began.
    Snapshot,
}

impl Kind {
    pub const ALL: [Kind; 5] = [
        Kind::Log,
        Kind::Index,
        Kind::TimeIndex,
        Kind::TransactionIndex,
        Kind::Snapshot,
    ];

    pub fn suffix(self) -> &'static str {
        match self {
            Kind::Log => ".log",
            Kind::Index => ".index",
            Kind::TimeIndex => ".timeindex",
            Kind::TransactionIndex => ".txnindex",
            Kind::Snapshot => ".snapshot",
        }
    }

    /// What a file of this kind is called.
    pub fn name(self, base_offset: i64) -> String {
        format!("{base_offset:020}{}", self.suffix())
    }
}

/// The base offset in a file's name, if it is one of this kind.
pub(super) fn base_of(name: &str, kind: Kind) -> Option<i64> {
    let digits = name.strip_suffix(kind.suffix())?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok())?
}

/// A partition's folder, which is made with the first file in it.
pub(super) struct Folder {
    root: Arc<Path>,
    files: Arc<dyn Files>,
    name: Arc<str>,
    topic_id: Uuid,
    /// It has the name of one that is about to go.
    is_doomed: Mutex<bool>,
}

impl Folder {
    pub fn new(root: &Arc<Path>, files: &Arc<dyn Files>, name: Arc<str>, topic_id: Uuid) -> Folder {
        Folder {
            root: root.clone(),
            files: files.clone(),
            name,
            topic_id,
            is_doomed: Mutex::new(false),
        }
    }

    /// Such as `orders-0`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        match *lock(&self.is_doomed) {
            true => self.root.join(self.doomed_name()),
            false => self.root.join(&*self.name),
        }
    }

    /// What it is called once it is about to go.
    fn doomed_name(&self) -> String {
        aside(&self.name, self.topic_id, "delete")
    }

    /// Where a file in it lies.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn open(&self, kind: Kind, base_offset: i64, mode: Mode) -> io::Result<Arc<dyn OpenFile>> {
        self.files.open(&self.at(&kind.name(base_offset)), mode)
    }

    pub fn list(&self) -> io::Result<Vec<Listed>> {
        self.files.list(&self.path())
    }

    /// The topic it belongs to according to itself; nothing if that is not readable.
    pub fn owner(&self) -> io::Result<Option<Uuid>> {
        self.owner_of(&self.path())
    }

    fn owner_of(&self, folder: &Path) -> io::Result<Option<Uuid>> {
        let content = read_small(&*self.files, &folder.join(METADATA), SMALL_BYTES_MAX)?;
        Ok(content.and_then(|content| {
            let text = String::from_utf8(content).ok()?;
            let mut lines = text.lines();
            let id = lines.find_map(|line| line.strip_prefix("topic_id:"))?;
            id.trim().parse().ok()
        }))
    }

    /// Whether it holds no partition yet, but at most what a cluster begins with: `kafka-storage format` leaves that in the
    /// metadata log's folder.
    pub fn is_unclaimed(&self) -> io::Result<bool> {
        let listed = self.list()?;
        let is_partition = |name: &str| name == METADATA || base_of(name, Kind::Log).is_some();
        Ok(!listed.iter().any(|entry| is_partition(&entry.name)))
    }

    /// Whether it holds no segment.
    fn is_empty(&self) -> io::Result<bool> {
        let listed = self.list()?;
        let is_segment = |entry: &Listed| base_of(&entry.name, Kind::Log).is_some();
        Ok(!listed.iter().any(is_segment))
    }

    /// Makes the folder. One of another topic that is still there goes first.
    pub fn create(&self) -> io::Result<()> {
        let path = self.path();
        match self.files.create_folder(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.owner()? == Some(self.topic_id) {
                    if !self.is_empty()? {
                        // Whoever begins it would overwrite them.
                        return Err(io::Error::other("it holds records, which were not opened"));
                    }
                    // Whoever made it may not have come so far.
                    self.files.sync_folder(&path)?;
                    return self.files.sync_folder(&self.root);
                }
                if !self.is_unclaimed()? {
                    self.set_aside("stray")?;
                    self.files.create_folder(&path)?;
                }
            }
            Err(error) => return Err(error),
        }
        self.claim()?;
        self.files.sync_folder(&self.root)
    }

    /// Has the folder say whose it is.
    pub fn claim(&self) -> io::Result<()> {
        let content = format!("version: 0\ntopic_id: {}", self.topic_id);
        replace(&*self.files, &self.at(METADATA), content.as_bytes())
    }

    /// A sync has failed: notes for the next start that what is read here may not be on the disk.
    pub fn mark_unsure(&self) {
        if let Err(error) = self.files.open(&self.at(UNSURE), Mode::Anew) {
            tracing::error!(
                target: "rustka::storage",
                "{} cannot be marked for the next start: {error}; start the machine anew before the broker",
                self.name
            );
        }
    }

    /// Gives whatever has this name another one, so that a new folder can have it.
    pub fn set_aside(&self, why: &str) -> io::Result<String> {
        let owner = self.owner()?.unwrap_or(self.topic_id);
        let aside = aside(&self.name, owner, why);
        let (from, to) = (self.root.join(&*self.name), self.root.join(&aside));
        self.files.rename(&from, &to)?;
        self.files.sync_folder(&self.root)?;
        Ok(aside)
    }

    /// The partition is gone: renames its folder as Kafka does, to be removed later. Where it is now, if it was there.
    pub fn doom(&self) -> io::Result<Option<PathBuf>> {
        let (from, to) = (
            self.root.join(&*self.name),
            self.root.join(self.doomed_name()),
        );
        // Under the lock: a reader finds the files in one place or the other.
        let mut is_doomed = lock(&self.is_doomed);
        if *is_doomed {
            return Ok(None);
        }
        // It may never have been made, or be another topic's.
        if self.owner_of(&from)? != Some(self.topic_id) {
            return Ok(None);
        }
        self.files.rename(&from, &to)?;
        *is_doomed = true;
        drop(is_doomed);
        self.files.sync_folder(&self.root)?;
        Ok(Some(to))
    }
}

/// Whether a folder is one that was about to be removed.
pub(super) fn is_doomed(name: &str) -> bool {
    let hex = name
        .strip_suffix("-delete")
        .and_then(|name| name.rsplit_once('.'));
    hex.is_some_and(|(_, hex)| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What a folder is called that is no longer a partition's, as in Kafka: no name grows beyond what a file system takes.
fn aside(name: &str, topic_id: Uuid, why: &str) -> String {
    const NAME_BYTES_MAX: usize = 255;
    let hex: String = topic_id
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let suffix = format!(".{hex}-{why}");
    let kept = name.len().min(NAME_BYTES_MAX - suffix.len());
    format!("{}{suffix}", &name[..kept])
}

/// Removes a folder with its files. What is no longer there is no error.
pub(super) fn remove(files: &dyn Files, folder: &Path) -> io::Result<()> {
    let listed = match files.list(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in listed.iter().filter(|entry| !entry.is_folder) {
        files.remove_file(&folder.join(&entry.name))?;
    }
    files.remove_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_in_kafka() {
        assert_eq!(Kind::Log.name(42), "00000000000000000042.log");
        assert_eq!(base_of("00000000000000000042.log", Kind::Log), Some(42));
        for other in [
            "42.log",
            "00000000000000000042.index",
            "00000000000000000042.log.deleted",
            "+0000000000000000042.log",
            "99999999999999999999.log",
        ] {
            assert_eq!(base_of(other, Kind::Log), None, "{other}");
        }
        let long = aside(&"x".repeat(249), Uuid([0xab; 16]), "delete");
        assert_eq!(long.len(), 255);
        assert!(long.ends_with(&format!(".{}-delete", "ab".repeat(16))));
        assert!(is_doomed(&long));
        for other in ["orders-0", "orders.x-delete", "a-delete", "a-b.c-delete-0"] {
            assert!(!is_doomed(other), "{other}");
        }
    }
}
