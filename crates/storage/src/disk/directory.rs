//! The data directory as a whole: its lock, and what lies in it.

use super::files::{Files, SystemFiles, read_small, replace};
use super::folder::is_doomed;
use super::lock::{self, Lock};
use super::meta::{self, Identity, META};
use super::noted::Noted;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Left by Kafka where it has stopped in order.
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// What it says: no epoch of a broker, so that Kafka's controller does not count on one.
const CLEAN_CONTENT: &str = r#"{"version":0,"brokerEpoch":-1}"#;
/// No small file is larger than this: a row for each of very many partitions.
const SMALL_BYTES_MAX: u64 = 64 << 20;

/// What whoever started the broker can do about it.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it to be written to, or give a directory elsewhere"
        }
        io::ErrorKind::PermissionDenied => {
            "; let the broker's user read and write there, or give a directory of its own"
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "; give the path of a directory"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room there",
        _ => "; put that in order, or give another directory",
    }
}

/// Why a directory cannot be used: a sentence that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryError(pub String);

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DirectoryError {}

/// A data directory that is ours as long as this lives.
pub struct Directory {
    path: Arc<Path>,
    files: Arc<dyn Files>,
    identity: Identity,
    /// The names of folders in it.
    folders: BTreeSet<Box<str>>,
    is_clean: bool,
    noted: Noted,
    lock: Option<Lock>,
}

impl Directory {
    /// Opens a directory, or makes one that belongs to `newcomer`.
    pub fn open(path: &Path, newcomer: &Identity) -> Result<Directory, DirectoryError> {
        Directory::open_after(path, newcomer, |_, _| Ok(()))
    }

    /// The same, once somebody has looked at what is there and has nothing against it: whose it is, and whether it was
    /// left in order. Nothing is changed before, and no one else has the directory by then. The error goes on where the
    /// directory's name stands.
    pub fn open_after(
        path: &Path,
        newcomer: &Identity,
        look: impl FnOnce(&Identity, bool) -> Result<(), String>,
    ) -> Result<Directory, DirectoryError> {
        let about = |what: &str, error: &io::Error| {
            DirectoryError(format!(
                "the data directory {} {what}: {error}{}",
                path.display(),
                advice(error)
            ))
        };
        std::fs::create_dir_all(path).map_err(|error| about("cannot be made", &error))?;
        let lock = lock::take(path).map_err(|error| about("cannot be locked", &error))?;
        let Some(lock) = lock else {
            return Err(DirectoryError(format!(
                "the data directory {} is in use by another process: stop that one, or give this one a directory of its own",
                path.display()
            )));
        };
        match Directory::read(path, Arc::new(SystemFiles), newcomer, look) {
            Ok(directory) => Ok(Directory {
                lock: Some(lock),
                ..directory
            }),
            Err(refused) => {
                // What is refused stays as it was. An empty file that cannot be removed harms nobody.
                if lock.is_new {
                    let _removed = lock::release(lock, path);
                }
                Err(refused)
            }
        }
    }

    /// Looks at a directory through a file system that keeps it as it is; refused while somebody else has it.
    pub(super) fn look(
        files: Arc<dyn Files>,
        path: &Path,
        newcomer: &Identity,
    ) -> Result<Directory, DirectoryError> {
        let about =
            |why: String| DirectoryError(format!("the data directory {} {why}", path.display()));
        match lock::look(path) {
            Ok(true) => {}
            Ok(false) => {
                return Err(about(
                    "is in use by another process: stop that one first".to_owned(),
                ));
            }
            Err(error) => {
                return Err(about(format!("cannot be read: {error}{}", advice(&error))));
            }
        }
        if !path.join(META).is_file() {
            return Err(about(format!(
                "holds no {META}, so it is not one of Kafka's"
            )));
        }
        Directory::read(path, files, newcomer, |_, _| Ok(()))
    }

    /// The same in a file system of a test, without a lock.
    #[cfg(feature = "testing")]
    pub fn open_in(
        files: Arc<dyn Files>,
        path: &Path,
        newcomer: &Identity,
    ) -> Result<Directory, DirectoryError> {
        Directory::read(path, files, newcomer, |_, _| Ok(()))
    }

    fn read(
        path: &Path,
        files: Arc<dyn Files>,
        newcomer: &Identity,
        look: impl FnOnce(&Identity, bool) -> Result<(), String>,
    ) -> Result<Directory, DirectoryError> {
        let about =
            |what: String| DirectoryError(format!("the data directory {} {what}", path.display()));
        let broken = |error: io::Error| about(format!("cannot be read: {error}{}", advice(&error)));
        let unwritten =
            |error: io::Error| about(format!("cannot be written: {error}{}", advice(&error)));
        let meta = read_small(&*files, &path.join(META), SMALL_BYTES_MAX).map_err(broken)?;
        let listed = files.list(path).map_err(broken)?;
        let names = listed.iter().filter(|entry| entry.is_folder);
        let folders: BTreeSet<Box<str>> = names.map(|entry| entry.name.as_str().into()).collect();
        let is_clean = listed.iter().any(|entry| entry.name == CLEAN_SHUTDOWN);
        let noted = Noted::read(&*files, path)?;
        let identity = match meta {
            Some(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let found =
                    meta::parse(&text).map_err(|why| about(format!("has a {META} {why}")))?;
                let is_known = found.directory_id.is_some();
                let identity = Identity {
                    node_id: found.node_id,
                    cluster_id: found.cluster_id,
                    directory_id: found.directory_id.unwrap_or(newcomer.directory_id),
                };
                look(&identity, is_clean).map_err(about)?;
                if !is_known {
                    meta::write(&*files, path, &identity).map_err(unwritten)?;
                }
                identity
            }
            None if folders.is_empty() => {
                meta::write(&*files, path, newcomer).map_err(unwritten)?;
                newcomer.clone()
            }
            None => {
                return Err(about(format!(
                    "holds folders but no {META}, so it is not one of Kafka's: give an empty or a new one, such as a folder in it"
                )));
            }
        };
        // From here on it is no longer as it was left. Kafka believes the mark whatever the files say.
        if is_clean {
            files
                .remove_file(&path.join(CLEAN_SHUTDOWN))
                .and_then(|()| files.sync_folder(path))
                .map_err(unwritten)?;
        }
        Ok(Directory {
            path: path.into(),
            files,
            identity,
            folders,
            is_clean,
            noted,
            lock: None,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The file system that it is in.
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// Folders that an earlier life was about to remove.
    pub(super) fn take_doomed(&mut self) -> Vec<PathBuf> {
        let doomed = self.folders.extract_if(.., |name| is_doomed(name));
        doomed.map(|name| self.path.join(&*name)).collect()
    }

    /// What its last owner has noted of logs beside their files.
    pub(super) fn take_noted(&mut self) -> Noted {
        std::mem::take(&mut self.noted)
    }

    /// Whether whoever had it before says that it was left in order.
    pub(super) fn is_clean(&self) -> bool {
        self.is_clean
    }

    /// The names of all other folders.
    pub(super) fn take_folders(&mut self) -> BTreeSet<Box<str>> {
        std::mem::take(&mut self.folders)
    }

    /// Says that it is left in order: Kafka believes that whatever the files say.
    pub(super) fn mark_clean(&self) -> io::Result<()> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        replace(&*self.files, &path, CLEAN_CONTENT.as_bytes())
    }

    /// Lets others have it.
    pub(super) fn release(self) {
        if let Some(lock) = self.lock
            && let Err(error) = lock::release(lock, &self.path)
        {
            tracing::warn!(
                target: "rustka::storage",
                "the lock file in {} could not be removed: {error}",
                self.path.display()
            );
        }
    }
}
