//! Snapshots of metadata beside their log, in files of their own. What is in them is decided elsewhere.

use super::files::{Files, Mode, read_small, remove_if_there, with_suffix};
use crate::engine::Snapshots;
use rustka_core::cluster::snapshot::SnapshotId;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What a snapshot is called until it is whole. Kafka removes such files at its start, as we do.
const PARTIAL: &str = ".part";
/// No snapshot is larger than this: that of a few million partitions.
const BYTES_MAX: u64 = 1 << 30;

/// The snapshots in one folder.
pub(super) struct SnapshotFiles {
    files: Arc<dyn Files>,
    folder: PathBuf,
}

impl SnapshotFiles {
    pub fn new(files: &Arc<dyn Files>, folder: PathBuf) -> SnapshotFiles {
        SnapshotFiles {
            files: files.clone(),
            folder,
        }
    }

    fn path(&self, id: SnapshotId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

impl Snapshots for SnapshotFiles {
    fn all(&self) -> io::Result<Vec<(SnapshotId, u64)>> {
        let listed = match self.files.list(&self.folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in listed.iter().filter(|entry| !entry.is_folder) {
            let id = SnapshotId::of_file(&entry.name);
            all.extend(id.map(|id| (id, entry.bytes)));
            let part_of = entry.name.strip_suffix(PARTIAL);
            if part_of.is_some_and(|name| name.ends_with(SnapshotId::SUFFIX)) {
                remove_if_there(&*self.files, &self.folder.join(&entry.name))?;
            }
        }
        all.sort_unstable();
        Ok(all)
    }

    fn read(&self, id: SnapshotId) -> io::Result<Vec<u8>> {
        let bytes = read_small(&*self.files, &self.path(id), BYTES_MAX)?;
        bytes.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&self, id: SnapshotId, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(id);
        let partial = with_suffix(&path, PARTIAL);
        let file = self.files.open(&partial, Mode::Anew)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        drop(file);
        self.files.rename(&partial, &path)?;
        self.files.sync_folder(&self.folder)
    }

    fn remove(&self, id: SnapshotId) -> io::Result<()> {
        remove_if_there(&*self.files, &self.path(id))
    }
}
