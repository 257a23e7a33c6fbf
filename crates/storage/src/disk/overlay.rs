//! A file system that shows what would become of a folder, and leaves it as it is: what is changed is kept in memory and
//! told at the end.

use super::files::{Files, Listed, Mode, OpenFile};
use crate::figures::Room;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Over another file system, which is only read.
pub(super) struct Overlay {
    below: Arc<dyn Files>,
    changed: Mutex<Changed>,
}

#[derive(Default)]
struct Changed {
    /// What lies at these paths now.
    files: BTreeMap<PathBuf, Arc<Layered>>,
    folders: BTreeSet<PathBuf>,
    /// What lies there below is not seen any more.
    gone: BTreeSet<PathBuf>,
    /// Files that were called otherwise before.
    renamed: BTreeSet<PathBuf>,
    /// Folders that are called otherwise now, and how they are below.
    moved: Vec<(PathBuf, PathBuf)>,
}

/// What would be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A file would be cut from the first of these sizes to the second.
    Cut(u64, u64),
    /// Bytes would be written into it that differ from those that are there.
    Write,
    /// A file or folder would be made.
    Make,
    /// It would go, or get another name.
    Remove,
}

/// A lock of no rank: whoever uses a file system may hold any other.
fn free<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Overlay {
    /// One in which nothing is changed yet.
    pub fn over(below: Arc<dyn Files>) -> Overlay {
        Overlay {
            below,
            changed: Mutex::default(),
        }
    }

    /// What was changed by now, by path.
    pub fn changes(&self) -> Vec<(PathBuf, Change)> {
        let changed = free(&self.changed);
        let mut all: Vec<(PathBuf, Change)> = Vec::new();
        for (path, file) in &changed.files {
            let change = match changed.renamed.contains(path) {
                true => Some(Change::Make),
                false => file.change(),
            };
            all.extend(change.map(|change| (path.clone(), change)));
        }
        let made = changed.folders.iter();
        all.extend(made.map(|path| (path.clone(), Change::Make)));
        let is_there = |path: &PathBuf| changed.files.contains_key(path);
        let gone = changed.gone.iter().filter(|path| !is_there(path));
        all.extend(gone.map(|path| (path.clone(), Change::Remove)));
        all.sort();
        all
    }
}

impl Changed {
    /// Where this lies below; nothing if it does not.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        let is_gone = |path: &Path| path.ancestors().any(|part| self.gone.contains(part));
        let moved = self.moved.iter().rev();
        let mut found = path.to_path_buf();
        for (now, before) in moved {
            if let Ok(rest) = found.strip_prefix(now) {
                // What went after it was moved went under its new name.
                if is_gone(path) {
                    return None;
                }
                found = match rest.as_os_str().is_empty() {
                    true => before.clone(),
                    false => before.join(rest),
                };
                return Some(found);
            }
        }
        (!is_gone(&found)).then_some(found)
    }
}

impl Files for Overlay {
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let changed = free(&self.changed);
        let below = changed.below(folder);
        let mut all: BTreeMap<String, Listed> = BTreeMap::new();
        match below.map(|below| self.below.list(&below)) {
            Some(Ok(listed)) => {
                let stays = |entry: &Listed| !changed.gone.contains(&folder.join(&entry.name));
                let stay = listed.into_iter().filter(stays);
                all.extend(stay.map(|entry| (entry.name.clone(), entry)));
            }
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ if changed.folders.contains(folder) => {}
            _ => return Err(io::ErrorKind::NotFound.into()),
        }
        let name = |path: &Path| {
            let is_here = path.parent() == Some(folder);
            let name = path.file_name().map(OsStr::to_string_lossy);
            name.filter(|_| is_here).map(|name| name.into_owned())
        };
        for (path, file) in &changed.files {
            if let Some(name) = name(path) {
                let entry = all.entry(name.clone()).or_insert(Listed {
                    name,
                    is_folder: false,
                    bytes: 0,
                    written_ms: 0,
                });
                entry.bytes = file.bytes()?;
            }
        }
        for path in &changed.folders {
            if let Some(name) = name(path) {
                all.entry(name.clone()).or_insert(Listed {
                    name,
                    is_folder: true,
                    bytes: 0,
                    written_ms: 0,
                });
            }
        }
        Ok(all.into_values().collect())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if self.list(folder).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        free(&self.changed).folders.insert(folder.to_path_buf());
        Ok(())
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn OpenFile>> {
        let mut changed = free(&self.changed);
        if let Some(file) = changed.files.get(path).cloned() {
            if mode == Mode::Anew {
                file.cut(0)?;
            }
            return Ok(file);
        }
        let below = changed.below(path);
        let below = below.map(|below| self.below.open(&below, Mode::Read));
        let below = match below {
            Some(Ok(file)) => Some(file),
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => None,
        };
        if mode == Mode::Read {
            let there: Option<Arc<dyn OpenFile>> = below;
            return there.ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        let bytes = below.as_ref().map_or(Ok(0), |file| file.bytes())?;
        let file = Arc::new(Layered {
            was: below.is_some().then_some(bytes),
            below,
            layer: Mutex::new(Layer {
                bytes,
                below_bytes: bytes,
                ..Layer::default()
            }),
        });
        if mode == Mode::Anew {
            file.cut(0)?;
        }
        changed.files.insert(path.to_path_buf(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let is_folder = self.list(from).is_ok();
        if is_folder {
            let mut changed = free(&self.changed);
            if let Some(below) = changed.below(from) {
                changed.moved.push((to.to_path_buf(), below));
            }
            changed.gone.insert(from.to_path_buf());
            changed.gone.remove(to);
            let inside = |path: &PathBuf| path.starts_with(from);
            let files: Vec<PathBuf> = changed
                .files
                .keys()
                .filter(|path| inside(path))
                .cloned()
                .collect();
            for path in files {
                if let (Some(file), Ok(rest)) =
                    (changed.files.remove(&path), path.strip_prefix(from))
                {
                    changed.files.insert(to.join(rest), file);
                }
            }
            changed.folders.remove(from);
            changed.folders.insert(to.to_path_buf());
            return Ok(());
        }
        // To be seen under its new name it has to be one of those that are changed.
        self.open(from, Mode::Read)?;
        self.open(from, Mode::Write)?;
        let mut changed = free(&self.changed);
        let file = changed.files.remove(from);
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        changed.gone.insert(from.to_path_buf());
        changed.files.insert(to.to_path_buf(), file);
        changed.renamed.remove(from);
        changed.renamed.insert(to.to_path_buf());
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.open(path, Mode::Read)?;
        let mut changed = free(&self.changed);
        changed.files.remove(path);
        changed.gone.insert(path.to_path_buf());
        Ok(())
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        if !self.list(folder)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let mut changed = free(&self.changed);
        changed.folders.remove(folder);
        changed.gone.insert(folder.to_path_buf());
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn room(&self, folder: &Path) -> io::Result<Room> {
        self.below.room(folder)
    }
}

/// A file with what was written into it.
struct Layered {
    below: Option<Arc<dyn OpenFile>>,
    /// Its size below, if it is there.
    was: Option<u64>,
    layer: Mutex<Layer>,
}

#[derive(Default)]
struct Layer {
    bytes: u64,
    /// So much of what is below is seen.
    below_bytes: u64,
    /// What was written, in order.
    written: Vec<(u64, Vec<u8>)>,
}

impl Layered {
    fn change(&self) -> Option<Change> {
        let layer = free(&self.layer);
        match self.was {
            None => Some(Change::Make),
            Some(was) if layer.written.is_empty() => {
                (layer.bytes != was).then_some(Change::Cut(was, layer.bytes))
            }
            // Cut to nothing and written as it was: that is how indexes are made anew.
            Some(was) => {
                drop(layer);
                let is_same = self.bytes().is_ok_and(|bytes| bytes == was) && self.is_as_below();
                (!is_same).then_some(Change::Write)
            }
        }
    }

    fn is_as_below(&self) -> bool {
        let Some(below) = &self.below else {
            return false;
        };
        let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut at = 0;
        loop {
            let (Ok(here), Ok(there)) = (self.read_at(&mut one, at), below.read_at(&mut other, at))
            else {
                return false;
            };
            if here != there || one[..here] != other[..there] {
                return false;
            }
            if here == 0 {
                return true;
            }
            at += here as u64;
        }
    }
}

impl OpenFile for Layered {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let layer = free(&self.layer);
        let wanted = layer.bytes.saturating_sub(at).min(into.len() as u64) as usize;
        let into = &mut into[..wanted];
        into.fill(0);
        let seen = layer.below_bytes.saturating_sub(at).min(wanted as u64) as usize;
        if let Some(below) = self.below.as_ref().filter(|_| seen > 0) {
            below.read_at(&mut into[..seen], at)?;
        }
        for (start, bytes) in &layer.written {
            let from = at.max(*start);
            let to = (at + wanted as u64).min(start + bytes.len() as u64);
            if from < to {
                let (there, here) = ((from - start) as usize, (from - at) as usize);
                let count = (to - from) as usize;
                into[here..here + count].copy_from_slice(&bytes[there..there + count]);
            }
        }
        Ok(wanted)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut there = vec![0; bytes.len()];
        if self.read_at(&mut there, at)? == bytes.len() && there == bytes {
            return Ok(());
        }
        let mut layer = free(&self.layer);
        layer.bytes = layer.bytes.max(at + bytes.len() as u64);
        layer.written.push((at, bytes.to_vec()));
        Ok(())
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        let mut layer = free(&self.layer);
        layer.below_bytes = layer.below_bytes.min(bytes);
        layer.bytes = bytes;
        layer.written.retain_mut(|(at, written)| {
            let left = bytes.saturating_sub(*at).min(written.len() as u64);
            written.truncate(left as usize);
            left > 0
        });
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(free(&self.layer).bytes)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
