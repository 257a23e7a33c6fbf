//! A compacted segment on its way into the log: readers find its file under whatever name it has by now.

use super::files::{Files, Mode, OpenFile};
use rustka_core::sync::lock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Where such a segment's file is, until it has its name.
#[derive(Debug)]
pub(super) struct Moving(Mutex<Option<PathBuf>>);

impl Moving {
    /// One that lies there.
    pub fn new(path: PathBuf) -> Moving {
        Moving(Mutex::new(Some(path)))
    }

    /// Whether it has its name by now.
    pub fn has_arrived(&self) -> bool {
        lock(&self.0).is_none()
    }

    /// Opens it to be read, unless it has its name by now.
    pub fn open(&self, files: &dyn Files) -> io::Result<Option<Arc<dyn OpenFile>>> {
        // Under the lock: it is not renamed meanwhile.
        let path = lock(&self.0);
        path.as_deref()
            .map(|path| files.open(path, Mode::Read))
            .transpose()
    }

    /// Gives the file another name.
    pub fn rename(&self, files: &dyn Files, to: &Path) -> io::Result<()> {
        self.go(files, to, Some(to.to_path_buf()))
    }

    /// Gives the file the name that it keeps.
    pub fn arrive(&self, files: &dyn Files, to: &Path) -> io::Result<()> {
        self.go(files, to, None)
    }

    fn go(&self, files: &dyn Files, to: &Path, then: Option<PathBuf>) -> io::Result<()> {
        let mut path = lock(&self.0);
        if let Some(from) = path.as_deref() {
            files.rename(from, to)?;
        }
        *path = then;
        Ok(())
    }
}
