//! A folder for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A folder that a test has to itself, and that goes with it.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// A place among the system's temporary files where there is nothing yet.
    pub fn new(name: &str) -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("rustka-{name}-{}-{number}", std::process::id());
        Folder(std::env::temp_dir().join(name))
    }

    /// One that is there, with nothing in it.
    pub fn made(name: &str) -> Folder {
        let folder = Folder::new(name);
        fs::create_dir_all(&folder.0).expect("a folder");
        folder
    }

    /// One with everything in it that is in another.
    pub fn copy_of(from: &Path, name: &str) -> Folder {
        let folder = Folder::new(name);
        copy(from, &folder.0);
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it stays in the system's folder for such things.
        let _removed = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}
