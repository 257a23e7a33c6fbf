//! A file system that comes to an end.

use rustka_storage::disk::{Files, Listed, Mode, OpenFile, Room, SystemFiles};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A file system of which everything that changes something fails from some step on: what was done by then stays, as
/// when a process is killed.
pub struct Ending {
    left: Arc<AtomicU64>,
}

impl Ending {
    pub fn never() -> Arc<Ending> {
        Arc::new(Ending {
            left: Arc::new(AtomicU64::new(u64::MAX)),
        })
    }

    /// From now on fewer than so many steps are done.
    pub fn after(&self, steps: u64) {
        self.left.store(steps, Relaxed);
    }

    /// Whether a step was not done.
    pub fn has_come(&self) -> bool {
        self.left.load(Relaxed) == 0
    }

    fn step(&self) -> io::Result<()> {
        step(&self.left)
    }
}

fn step(left: &AtomicU64) -> io::Result<()> {
    let counted = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
    match counted {
        Ok(before) if before > 1 => Ok(()),
        _ => Err(io::Error::other("it has come to its end")),
    }
}

struct EndingFile(Arc<dyn OpenFile>, Arc<AtomicU64>);

impl OpenFile for EndingFile {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(into, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        step(&self.1)?;
        self.0.write_at(bytes, at)
    }
    fn cut(&self, bytes: u64) -> io::Result<()> {
        step(&self.1)?;
        self.0.cut(bytes)
    }
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
    fn sync(&self) -> io::Result<()> {
        step(&self.1)?;
        self.0.sync()
    }
}

impl Files for Ending {
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        SystemFiles.list(folder)
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        SystemFiles.create_folder(folder)
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn OpenFile>> {
        if mode != Mode::Read {
            self.step()?;
        }
        let file = SystemFiles.open(path, mode)?;
        Ok(Arc::new(EndingFile(file, self.left.clone())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        SystemFiles.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        SystemFiles.remove_file(path)
    }
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        SystemFiles.remove_folder(folder)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        SystemFiles.sync_folder(folder)
    }
    fn room(&self, folder: &Path) -> io::Result<Room> {
        SystemFiles.room(folder)
    }
}
